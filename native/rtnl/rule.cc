#include "rtnl/rule.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

namespace overns {
namespace {

template <class Range>
std::optional<NumberRange> range_of(const Attribute& attribute) {
  const auto range = attribute.as<Range>();
  return range ? std::optional(NumberRange{range->start, range->end}) : std::nullopt;
}

}  // namespace

void encode_get_rules(RequestBatch& batch, std::uint8_t family) {
  MessageWriter& writer = batch.begin(RTM_GETRULE, 0);
  fib_rule_hdr header{};
  header.family = family;
  writer.header(header);
  batch.end();
}

std::optional<RuleEntry> decode_rule(const Message& message) {
  const auto header = message.family_header<fib_rule_hdr>();
  if (!header || (message.header.nlmsg_type != RTM_NEWRULE && message.header.nlmsg_type != RTM_DELRULE))
    return std::nullopt;
  RuleEntry rule;
  rule.family = header->family;
  rule.action = header->action;
  rule.table = header->table;
  rule.flags = header->flags;
  rule.from_prefix = header->src_len;
  rule.to_prefix = header->dst_len;
  rule.tos = header->tos;
  constexpr std::uint32_t kNone = 0xffffffff;  // said where there is no suppressor
  const auto unless_none = [](std::optional<std::uint32_t> value) {
    return value && *value != kNone ? value : std::nullopt;
  };
  auto attributes = message.attributes<fib_rule_hdr>();
  while (const auto attribute = attributes.next()) {
    switch (attribute->type) {
      case FRA_PRIORITY: rule.priority = attribute->as<std::uint32_t>().value_or(0); break;
      case FRA_TABLE: rule.table = attribute->as<std::uint32_t>().value_or(rule.table); break;
      case FRA_SRC: rule.from = Ip::from(attribute->payload).value_or(Ip{}); break;
      case FRA_DST: rule.to = Ip::from(attribute->payload).value_or(Ip{}); break;
      case FRA_IIFNAME: rule.iif = attribute->text(); break;
      case FRA_OIFNAME: rule.oif = attribute->text(); break;
      case FRA_GOTO: rule.go_to = attribute->as<std::uint32_t>(); break;
      case FRA_FWMARK: rule.mark = attribute->as<std::uint32_t>(); break;
      case FRA_FWMASK: rule.mark_mask = attribute->as<std::uint32_t>(); break;
      case FRA_SUPPRESS_PREFIXLEN: rule.suppress_prefix_length = unless_none(attribute->as<std::uint32_t>()); break;
      case FRA_SUPPRESS_IFGROUP: rule.suppress_group = unless_none(attribute->as<std::uint32_t>()); break;
      case FRA_IP_PROTO: rule.ip_protocol = attribute->as<std::uint8_t>(); break;
      case FRA_SPORT_RANGE: rule.source_ports = range_of<fib_rule_port_range>(*attribute); break;
      case FRA_DPORT_RANGE: rule.destination_ports = range_of<fib_rule_port_range>(*attribute); break;
      case FRA_UID_RANGE: rule.uids = range_of<fib_rule_uid_range>(*attribute); break;
      case FRA_TUN_ID:
        if (attribute->payload.size() == sizeof(std::uint64_t)) {
          std::uint64_t id = 0;
          for (const std::uint8_t byte : attribute->payload) id = id << 8 | byte;
          rule.tunnel = id;
        }
        break;
      case FRA_L3MDEV: rule.l3mdev = attribute->as<std::uint8_t>().value_or(0) != 0; break;
      case FRA_PROTOCOL: rule.protocol = attribute->as<std::uint8_t>().value_or(0); break;
      case FRA_PAD: break;
      default: rule.unknown.push_back(keep(*attribute)); break;
    }
  }
  return rule;
}

}  // namespace overns
