#include "binding/name_resolver.h"

#include "netns/namespace.h"

namespace overns {

Status NameResolver::index(const LinkRef& link, std::int32_t& index, bool deletion) {
  if (link.empty()) return done();
  const auto key = std::tuple(link.name, link.index, deletion);
  const auto known = indexes_.find(key);
  if (known != indexes_.end()) {
    index = known->second;
    return done();
  }
  auto found = resolve_link(socket_, link, deletion);
  if (!found) return found.failure();
  index = indexes_[key] = *found;
  return done();
}

Status NameResolver::values(std::vector<AttributeValue>& values) {
  for (AttributeValue& each : values) {
    const auto* name = std::get_if<std::string>(&each.value);
    if (name == nullptr || each.policy->value != ValueType::kLink) continue;
    std::int32_t found = 0;
    if (Status status = index(*name, found); !status) return status;
    each.value = static_cast<std::uint64_t>(found);
  }
  return done();
}

Status NameResolver::descriptor(const std::string& path, int& fd) {
  if (path.empty()) return done();
  auto opened = open_namespace(path);
  if (!opened) return opened.failure();
  fd = opened->get();
  descriptors_.push_back(std::move(*opened));
  return done();
}

}  // namespace overns
