// Policy routing rules: RTM_NEWRULE, include/uapi/linux/fib_rules.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct NumberRange {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
};

struct RuleEntry {
  std::uint8_t family = 0;
  std::uint32_t priority = 0;
  std::uint8_t action = 0;  // FR_ACT_*
  std::uint32_t table = 0;
  std::uint32_t flags = 0;  // FIB_RULE_*
  Ip from;                  // empty: any
  std::uint8_t from_prefix = 0;
  Ip to;
  std::uint8_t to_prefix = 0;
  std::string iif;
  std::string oif;
  std::uint8_t tos = 0;
  std::optional<std::uint32_t> mark;
  std::optional<std::uint32_t> mark_mask;
  std::optional<std::uint32_t> go_to;  // the priority to go on at
  std::optional<std::uint32_t> suppress_prefix_length;
  std::optional<std::uint32_t> suppress_group;
  std::optional<std::uint8_t> ip_protocol;
  std::optional<NumberRange> source_ports;
  std::optional<NumberRange> destination_ports;
  std::optional<NumberRange> uids;
  std::optional<std::uint64_t> tunnel;
  bool l3mdev = false;
  std::uint8_t protocol = 0;  // RTPROT_*: who made it
  std::vector<UnknownAttribute> unknown;
};

void encode_get_rules(RequestBatch& batch, std::uint8_t family);
std::optional<RuleEntry> decode_rule(const Message& message);

}  // namespace overns
