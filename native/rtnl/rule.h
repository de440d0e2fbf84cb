// Policy routing rules: RTM_NEWRULE, include/uapi/linux/fib_rules.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct RuleEntry {
  std::uint8_t family = 0;
  std::optional<std::uint32_t> priority;  // none in a request: the kernel's choice, or any
  std::uint8_t action = 0;                // FR_ACT_*
  std::uint32_t table = 0;
  std::uint32_t flags = 0;  // FIB_RULE_*
  Ip from;                  // empty: any
  std::uint8_t from_prefix = 0;
  Ip to;
  std::uint8_t to_prefix = 0;
  std::uint8_t tos = 0;
  std::uint8_t protocol = 0;           // RTPROT_*: who made it
  std::vector<AttributeValue> values;  // of rule_policies()
  std::vector<UnknownAttribute> unknown;

  bool operator==(const RuleEntry&) const = default;
};

std::span<const AttributePolicy> rule_policies();

void encode_rule(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const RuleEntry& rule);
void encode_get_rules(RequestBatch& batch, std::uint8_t family);
std::optional<RuleEntry> decode_rule(const Message& message);

// The rules as they are listed, for where the kernel does not tell one from another (rule_find, rule_exists,
// net/core/fib_rules.c): what a request leaves out is anything, so that of two rules with one priority it takes the
// first, which may be for fewer packets, to be the second.
class RuleList {
 public:
  explicit RuleList(CommandSocket& socket) : socket_(socket) {}
  // Before its deletion: EBUSY where another rule than the one given in full would go, or without a priority one of the
  // kernel's own.
  Status deletes(const RuleEntry& given);
  // Whether it is there, and not just one that is for fewer packets.
  Result<bool> has(const RuleEntry& given);
  // The next question is answered anew.
  void forget() { rules_.clear(); }

 private:
  Result<std::vector<RuleEntry>*> of(std::uint8_t family);

  CommandSocket& socket_;
  std::map<std::uint8_t, std::vector<RuleEntry>> rules_;  // by family, in the kernel's order
};

}  // namespace overns
