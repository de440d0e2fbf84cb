#include "rtnl/rule.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace overns {
namespace {

using enum ValueType;

// Bookworm's headers end at 6.1; the numbers are ABI.
enum : std::uint16_t {
  kDscp = FRA_DPORT_RANGE + 1,
  kFlowLabel,
  kFlowLabelMask,
  kSourcePortMask,
  kDestinationPortMask,
  kDscpMask,
};

constexpr AttributePolicy kRule[] = {
    {"iif", FRA_IIFNAME, kText},
    {"oif", FRA_OIFNAME, kText},
    {"mark", FRA_FWMARK, kU32},
    {"markMask", FRA_FWMASK, kU32},
    {"goto", FRA_GOTO, kU32},
    {"realms", FRA_FLOW, kU32},
    {"suppressPrefixLength", FRA_SUPPRESS_PREFIXLEN, kU32},
    {"suppressGroup", FRA_SUPPRESS_IFGROUP, kU32},
    {"ipProtocol", FRA_IP_PROTO, kU8},
    {"sourcePorts", FRA_SPORT_RANGE, kRange16},
    {"sourcePortMask", kSourcePortMask, kU16},
    {"destinationPorts", FRA_DPORT_RANGE, kRange16},
    {"destinationPortMask", kDestinationPortMask, kU16},
    {"uids", FRA_UID_RANGE, kRange32},
    {"tunnel", FRA_TUN_ID, kBe64},
    {"l3mdev", FRA_L3MDEV, kBool},
    {"dscp", kDscp, kU8},
    {"dscpMask", kDscpMask, kU8},
    {"flowLabel", kFlowLabel, kBe32},
    {"flowLabelMask", kFlowLabelMask, kBe32},
};

// Said where there is no suppressor.
bool says_nothing(const Attribute& attribute) {
  return (attribute.type == FRA_SUPPRESS_PREFIXLEN || attribute.type == FRA_SUPPRESS_IFGROUP) &&
         attribute.as<std::uint32_t>() == 0xffffffff;
}

bool has_all(const std::vector<AttributeValue>& values, const std::vector<AttributeValue>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const AttributeValue& each) {
    return std::find(values.begin(), values.end(), each) != values.end();
  });
}

// A mask of all bits, which the kernel tells where none was given.
bool is_full_mask(const AttributeValue& value) {
  const std::uint16_t type = value.policy->type;
  if (type == FRA_FWMASK) return value.value == AttributeValue{nullptr, std::uint64_t{UINT32_MAX}}.value;
  if (type == kSourcePortMask || type == kDestinationPortMask)
    return value.value == AttributeValue{nullptr, std::uint64_t{UINT16_MAX}}.value;
  return type == kDscpMask && value.value == AttributeValue{nullptr, std::uint64_t{0x3f}}.value;
}

// As the kernel's rule_find() and the families' compare functions do.
bool finds(const RuleEntry& given, const RuleEntry& rule) {
  return (given.action == 0 || given.action == rule.action) && (given.table == 0 || given.table == rule.table) &&
         (!given.priority || given.priority == rule.priority) &&
         (given.from.empty() || (given.from == rule.from && given.from_prefix == rule.from_prefix)) &&
         (given.to.empty() || (given.to == rule.to && given.to_prefix == rule.to_prefix)) &&
         (given.tos == 0 || given.tos == rule.tos) && (given.protocol == 0 || given.protocol == rule.protocol) &&
         has_all(rule.values, given.values);
}

// The very rule that is given.
bool is(const RuleEntry& given, const RuleEntry& rule) {
  std::vector<AttributeValue> values = rule.values;
  std::erase_if(values, is_full_mask);
  return finds(given, rule) && given.action == rule.action && given.table == rule.table && given.from == rule.from &&
         given.to == rule.to && given.tos == rule.tos &&
         (given.flags & FIB_RULE_INVERT) == (rule.flags & FIB_RULE_INVERT) && has_all(given.values, values) &&
         given.unknown == rule.unknown;
}

}  // namespace

std::span<const AttributePolicy> rule_policies() { return kRule; }

void encode_rule(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const RuleEntry& rule) {
  MessageWriter& writer = batch.begin(type, flags);
  fib_rule_hdr header{};
  header.family = rule.family;
  header.dst_len = rule.to_prefix;
  header.src_len = rule.from_prefix;
  header.tos = rule.tos;
  header.table = RT_TABLE_UNSPEC;  // has room for 255 of them
  header.action = rule.action;
  header.flags = rule.flags;
  writer.header(header);
  if (rule.priority) writer.u32(FRA_PRIORITY, *rule.priority);
  if (rule.table != 0) writer.u32(FRA_TABLE, rule.table);
  if (!rule.from.empty()) writer.attribute(FRA_SRC, rule.from.raw());
  if (!rule.to.empty()) writer.attribute(FRA_DST, rule.to.raw());
  if (rule.protocol != 0) writer.u8(FRA_PROTOCOL, rule.protocol);
  encode_values(writer, rule.values);
  encode_unknown(writer, rule.unknown);
  batch.end();
}

void encode_get_rules(RequestBatch& batch, std::uint8_t family) {
  MessageWriter& writer = batch.begin(RTM_GETRULE, 0);
  fib_rule_hdr header{};
  header.family = family;
  writer.header(header);
  batch.end();
}

Result<std::vector<RuleEntry>*> RuleList::of(std::uint8_t family) {
  const auto known = rules_.find(family);
  if (known != rules_.end()) return &known->second;
  std::vector<RuleEntry> listed;
  RequestBatch batch;
  encode_get_rules(batch, family);
  auto dumped = socket_.dump(
      batch, [&] { listed.clear(); },
      [&](const Message& message) {
        if (auto rule = decode_rule(message)) listed.push_back(std::move(*rule));
      });
  if (!dumped) return dumped.failure();
  return &rules_.emplace(family, std::move(listed)).first->second;
}

Status RuleList::deletes(const RuleEntry& given) {
  auto listed = of(given.family);
  if (!listed) return listed.failure();
  std::vector<RuleEntry>& rules = **listed;
  const auto first = std::find_if(rules.begin(), rules.end(), [&](const auto& rule) { return finds(given, rule); });
  if (first == rules.end()) return done();  // the kernel says what it thinks of that
  const auto meant = std::find_if(first, rules.end(), [&](const auto& rule) { return is(given, rule); });
  if (given.priority && meant != rules.end() && meant != first)
    return Failure{EBUSY, "RTM_DELRULE", "another rule of this priority would go in its place", {}, {}};
  // Without it nothing is reached any more, not even the namespace's own addresses.
  if (!given.priority && first->protocol == RTPROT_KERNEL)
    return Failure{EBUSY, "RTM_DELRULE", "a rule that the kernel itself has made would go", {}, {}};
  rules.erase(first);
  return done();
}

Result<bool> RuleList::has(const RuleEntry& given) {
  auto listed = of(given.family);
  if (!listed) return listed.failure();
  return std::any_of((*listed)->begin(), (*listed)->end(), [&](const auto& rule) { return is(given, rule); });
}

std::optional<RuleEntry> decode_rule(const Message& message) {
  const auto header = message.family_header<fib_rule_hdr>();
  if (!header || (message.header.nlmsg_type != RTM_NEWRULE && message.header.nlmsg_type != RTM_DELRULE))
    return std::nullopt;
  RuleEntry rule;
  rule.family = header->family;
  rule.priority = 0;
  rule.action = header->action;
  rule.table = header->table;
  rule.flags = header->flags;
  rule.from_prefix = header->src_len;
  rule.to_prefix = header->dst_len;
  rule.tos = header->tos;
  auto attributes = message.attributes<fib_rule_hdr>();
  while (const auto attribute = attributes.next()) {
    bool known = true;
    switch (attribute->type) {
      case FRA_PRIORITY: known = take(attribute->as<std::uint32_t>(), rule.priority); break;
      case FRA_TABLE: known = take(attribute->as<std::uint32_t>(), rule.table); break;
      case FRA_SRC: known = take(Ip::from(attribute->payload), rule.from); break;
      case FRA_DST: known = take(Ip::from(attribute->payload), rule.to); break;
      case FRA_PROTOCOL: known = take(attribute->as<std::uint8_t>(), rule.protocol); break;
      case FRA_PAD: break;
      default: known = says_nothing(*attribute) || decode_value(kRule, *attribute, rule.values); break;
    }
    if (!known) rule.unknown.push_back(keep(*attribute));
  }
  return rule;
}

}  // namespace overns
