#include "resolver/endpoint_alias.h"

#include <algorithm>

namespace overns {

std::optional<EndpointAlias> parse_endpoint_alias(std::string_view alias) {
  constexpr std::string_view kPrefix = "overns ";
  if (!alias.starts_with(kPrefix)) return std::nullopt;
  alias.remove_prefix(kPrefix.size());
  const std::size_t space = alias.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto mac = Mac::parse(alias.substr(0, space));
  if (!mac) return std::nullopt;
  EndpointAlias endpoint;
  endpoint.mac = *mac;
  std::string_view list = alias.substr(space + 1);
  list = list.substr(0, list.find(' '));
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    const auto ip = Ip::parse(item.substr(0, item.find('/')));
    if (!ip) return std::nullopt;
    endpoint.ips.push_back(*ip);
    list.remove_prefix(std::min(item.size() + 1, list.size()));
  }
  if (endpoint.ips.empty()) return std::nullopt;
  return endpoint;
}

}  // namespace overns
