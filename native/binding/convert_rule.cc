// Rules and nexthop objects, by which routing goes besides routes, to and from JavaScript.
#include "base/text.h"
#include "binding/fields.h"

#include <linux/fib_rules.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {
namespace {

constexpr Name<std::uint8_t> kRuleFamilies[] = {
    {"inet", AF_INET}, {"inet6", AF_INET6}, {"ipmr", RTNL_FAMILY_IPMR}, {"ip6mr", RTNL_FAMILY_IP6MR}};
constexpr Name<std::uint8_t> kRuleActions[] = {
    {"table", FR_ACT_TO_TBL},
    {"goto", FR_ACT_GOTO},
    {"nop", FR_ACT_NOP},
    {"blackhole", FR_ACT_BLACKHOLE},
    {"unreachable", FR_ACT_UNREACHABLE},
    {"prohibit", FR_ACT_PROHIBIT},
};
constexpr Name<std::uint32_t> kRuleFlags[] = {
    {"permanent", FIB_RULE_PERMANENT},       {"invert", FIB_RULE_INVERT},
    {"unresolved", FIB_RULE_UNRESOLVED},     {"iif_detached", FIB_RULE_IIF_DETACHED},
    {"oif_detached", FIB_RULE_OIF_DETACHED},
};
constexpr Name<std::uint16_t> kGroupTypes[] = {{"mpath", NEXTHOP_GRP_TYPE_MPATH}, {"resilient", NEXTHOP_GRP_TYPE_RES}};

// One end of what a rule is for; a prefix of no bits is as good as none.
void parse_end(const Fields& fields, const char* name, RuleEntry& rule, Ip& ip, std::uint8_t& length) {
  const auto prefix = fields.prefix(name);
  if (!prefix) return;
  const std::uint8_t family = prefix->ip.family;
  if (rule.family == 0) rule.family = family;
  const bool inet = rule.family == AF_INET || rule.family == RTNL_FAMILY_IPMR;
  if (inet != (family == AF_INET)) fields.out_of_range<Unit>(name, "an address of the rule's family");
  length = prefix->length;
  if (length > 0) ip = prefix->ip;
}

bool has(const RuleEntry& rule, std::string_view name) {
  for (const AttributeValue& each : rule.values) {
    if (each.policy->name == name) return true;
  }
  return false;
}

void parse_group(const Fields& fields, NexthopEntry& nexthop) {
  const auto members = fields.objects("group");
  if (!members) return;
  for (const Fields& each : *members) {
    const auto id = each.number("id", UINT32_MAX, 1);
    const auto weight = each.number("weight", 1 << 16, 1);
    if (each.failed()) return;
    if (!id) {
      each.wrong<Unit>("id", "the id of a nexthop");
      return;
    }
    nexthop.group.push_back({static_cast<std::uint32_t>(*id), static_cast<std::uint32_t>(weight.value_or(1))});
  }
  if (nexthop.group.empty()) fields.out_of_range<Unit>("group", "an array of at least one nexthop");
}

}  // namespace

std::optional<std::uint8_t> parse_rule_family(const Fields& fields) { return fields.word("family", kRuleFamilies); }

void parse_rule(const Fields& fields, Command& command) {
  RuleEntry rule;
  const bool deletion = command.verb == Verb::kDelete;
  rule.family = parse_rule_family(fields).value_or(std::uint8_t{AF_UNSPEC});
  parse_end(fields, "from", rule, rule.from, rule.from_prefix);
  parse_end(fields, "to", rule, rule.to, rule.to_prefix);
  if (rule.family == AF_UNSPEC) rule.family = AF_INET;
  if (const auto priority = fields.number("priority", UINT32_MAX))
    rule.priority = static_cast<std::uint32_t>(*priority);
  rule.tos = static_cast<std::uint8_t>(fields.number("tos", UINT8_MAX).value_or(0));
  // The others are told by the kernel.
  rule.flags = fields.bits("flags", kRuleFlags).value_or(0) & FIB_RULE_INVERT;
  fields.values(rule_policies(), rule.values);
  // The kernel knows it as true only (fib_nl2rule_l3mdev).
  std::erase_if(rule.values, [](const AttributeValue& each) {
    return each.policy->type == FRA_L3MDEV && each.value == AttributeValue{}.value;
  });
  rule.unknown = fields.unknown();
  rule.protocol = fields.word_or_number("protocol", kRouteProtocols).value_or(RTPROT_UNSPEC);
  std::uint8_t action = FR_ACT_UNSPEC;
  if (!deletion) action = has(rule, "goto") ? FR_ACT_GOTO : FR_ACT_TO_TBL;
  rule.action = fields.word_or_number("action", kRuleActions).value_or(action);
  // As `ip rule` chooses; without one the kernel takes a table that is empty.
  const bool looks_up = !deletion && rule.action == FR_ACT_TO_TBL && !has(rule, "l3mdev");
  rule.table = static_cast<std::uint32_t>(
      fields.number("table", UINT32_MAX, 1).value_or(looks_up ? RT_TABLE_MAIN : RT_TABLE_UNSPEC));
  command.item = std::move(rule);
}

void parse_nexthop(const Fields& fields, Command& command) {
  NexthopEntry nexthop;
  const auto id = fields.number("id", UINT32_MAX, 1);
  if (!id) {
    if (!fields.failed()) fields.wrong<Unit>("id", "a number");
    return;
  }
  nexthop.id = static_cast<std::uint32_t>(*id);
  const auto family = fields.family();
  nexthop.gateway = fields.ip("gateway").value_or(Ip{});
  parse_group(fields, nexthop);
  if (!fields.failed() && !nexthop.gateway.empty() && family.value_or(nexthop.gateway.family) != nexthop.gateway.family)
    fields.out_of_range<Unit>("family", "that of gateway");
  if (!nexthop.gateway.empty()) {
    nexthop.family = nexthop.gateway.family;
  } else if (nexthop.group.empty()) {
    nexthop.family = family.value_or(std::uint8_t{AF_INET});
  }
  nexthop.protocol = fields.word_or_number("protocol", kRouteProtocols).value_or(RTPROT_UNSPEC);
  nexthop.flags = fields.bits("flags", kRouteFlags).value_or(0) & RTNH_F_ONLINK;
  nexthop.blackhole = fields.boolean("blackhole").value_or(false);
  nexthop.fdb = fields.boolean("fdb").value_or(false);
  nexthop.group_type = fields.word_or_number("groupType", kGroupTypes).value_or(NEXTHOP_GRP_TYPE_MPATH);
  if (const auto resilient = fields.object("resilient"))
    resilient->values(resilient_group_policies(), nexthop.resilient);
  nexthop.unknown = fields.unknown();
  command.item = std::move(nexthop);
}

Napi::Object to_js(Napi::Env env, const RuleEntry& rule, const LinkNames&) {
  auto object = Napi::Object::New(env);
  object.Set("priority", rule.priority.value_or(0));
  object.Set("family", family_word(rule.family));
  object.Set("action", word_or_number(env, rule.action, kRuleActions));
  if (rule.table != 0) object.Set("table", rule.table);
  if (!rule.from.empty()) object.Set("from", with_prefix(rule.from, rule.from_prefix));
  if (!rule.to.empty()) object.Set("to", with_prefix(rule.to, rule.to_prefix));
  if (rule.tos != 0) object.Set("tos", static_cast<double>(rule.tos));
  set_values(object, rule.values);
  object.Set("protocol", word_or_number(env, rule.protocol, kRouteProtocols));
  if (rule.flags != 0) object.Set("flags", words_of(env, rule.flags, kRuleFlags));
  set_unknown(object, rule.unknown);
  return object;
}

Napi::Object to_js(Napi::Env env, const NexthopEntry& nexthop, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  object.Set("id", nexthop.id);
  if (nexthop.family != AF_UNSPEC) object.Set("family", family_word(nexthop.family));
  if (!nexthop.gateway.empty()) object.Set("gateway", nexthop.gateway.to_string());
  set_link(object, "link", "linkIndex", names, nexthop.index);
  set_link(object, "master", "masterIndex", names, static_cast<std::int32_t>(nexthop.master));
  object.Set("scope", word_or_number(env, nexthop.scope, kScopes));
  object.Set("protocol", word_or_number(env, nexthop.protocol, kRouteProtocols));
  if (nexthop.flags != 0) object.Set("flags", words_of(env, nexthop.flags, kRouteFlags));
  if (nexthop.blackhole) object.Set("blackhole", true);
  if (nexthop.fdb) object.Set("fdb", true);
  if (!nexthop.group.empty()) {
    auto list = Napi::Array::New(env, nexthop.group.size());
    for (std::uint32_t i = 0; i < nexthop.group.size(); ++i) {
      auto each = Napi::Object::New(env);
      each.Set("id", nexthop.group[i].id);
      each.Set("weight", nexthop.group[i].weight);
      list.Set(i, each);
    }
    object.Set("group", list);
    object.Set("groupType", word_or_number(env, nexthop.group_type, kGroupTypes));
  }
  if (!nexthop.resilient.empty()) {
    auto resilient = Napi::Object::New(env);
    set_values(resilient, nexthop.resilient);
    object.Set("resilient", resilient);
  }
  set_unknown(object, nexthop.unknown);
  return object;
}

}  // namespace overns
