// Links' names as indexes and namespaces' paths as descriptors, which is what the kernel is given.
#pragma once

#include "binding/convert.h"

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "binding/entries.h"

namespace overns {

// Finds each name once a batch.
class NameResolver {
 public:
  explicit NameResolver(CommandSocket& socket) : socket_(socket), rules_(socket) {}

  Status index(const std::string& name, std::int32_t& index) { return this->index(LinkRef{name}, index); }
  Status index(const LinkRef& link, std::int32_t& index, bool deletion = false);
  // Replaces the names of links among values by their indexes.
  Status values(std::vector<AttributeValue>& values);
  // Opens the namespace at a path, unless it is empty; the descriptor lives as long as this.
  Status descriptor(const std::string& path, int& fd);
  RuleList& rules() { return rules_; }

 private:
  CommandSocket& socket_;
  std::map<std::tuple<std::string, std::int32_t, bool>, std::int32_t> indexes_;
  std::vector<UniqueFd> descriptors_;
  RuleList rules_;
};

}  // namespace overns
