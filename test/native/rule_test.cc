// rtnl/rule.h, rtnl/nexthop.h: what routing goes by besides routes, as the kernel tells it.
#include "rtnl/rule.h"

#include <linux/fib_rules.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include "captures/rules.h"
#include "rtnl/nexthop.h"
#include "support.h"

using namespace overns;
using support::from_hex;
using support::ip;

namespace {

template <class Entry>
std::vector<Entry> all(std::string_view capture, std::optional<Entry> (*decode)(const Message&)) {
  const support::ByteVector bytes = from_hex(capture);
  MessageReader reader(bytes);
  std::vector<Entry> found;
  while (const auto message = reader.next()) {
    auto entry = decode(*message);
    REQUIRE(entry);
    found.push_back(std::move(*entry));
  }
  CHECK_FALSE(reader.malformed());
  return found;
}

std::uint64_t number(const std::vector<AttributeValue>& values, std::string_view name) {
  for (const AttributeValue& each : values) {
    if (each.policy->name == name) return std::get<std::uint64_t>(each.value);
  }
  return ~std::uint64_t{0};
}

}  // namespace

TEST_CASE("rules as the kernel tells them") {
  const auto rules = all(captures::kRules, decode_rule);
  REQUIRE(rules.size() == 6);
  CHECK(rules[0].priority == 0);
  CHECK(rules[0].table == RT_TABLE_LOCAL);
  CHECK(rules[0].values.empty());  // no suppressor
  const RuleEntry& ends = rules[1];
  CHECK(ends.priority == 101);
  CHECK(ends.action == FR_ACT_UNREACHABLE);
  CHECK(ends.flags == FIB_RULE_INVERT);
  CHECK(ends.from == ip("10.1.0.0"));
  CHECK(ends.from_prefix == 16);
  CHECK(ends.to == ip("10.2.0.7"));
  CHECK(ends.to_prefix == 32);
  CHECK(ends.tos == 0x10);
  const RuleEntry& many = rules[2];
  CHECK(many.table == 4'000'000'000U);
  CHECK(many.protocol == RTPROT_STATIC);
  CHECK(number(many.values, "mark") == 5);
  CHECK(number(many.values, "markMask") == 255);
  CHECK(number(many.values, "ipProtocol") == 6);
  CHECK(number(many.values, "sourcePorts") == (80U << 16 | 80U));
  CHECK(number(many.values, "destinationPorts") == (1000U << 16 | 2000U));
  CHECK(number(many.values, "uids") == (std::uint64_t{1} << 32 | 4'000'000'000U));
  CHECK(number(many.values, "tunnel") == 99);
  CHECK(number(many.values, "suppressPrefixLength") == 0);
  CHECK(number(rules[3].values, "goto") == 20000);
  CHECK(number(rules[3].values, "realms") == 0x30004);
  for (const RuleEntry& rule : rules) CHECK(rule.unknown.empty());
}

TEST_CASE("nexthops as the kernel tells them") {
  const auto nexthops = all(captures::kNexthops, decode_nexthop);
  REQUIRE(nexthops.size() == 7);
  CHECK(nexthops[0].gateway == ip("10.0.0.2"));
  CHECK(nexthops[1].flags == RTNH_F_ONLINK);
  CHECK(nexthops[1].protocol == RTPROT_STATIC);
  CHECK(nexthops[2].blackhole);
  CHECK(nexthops[3].fdb);
  REQUIRE(nexthops[4].unknown.size() == 2);
  CHECK(nexthops[5].group == std::vector<NexthopMember>{{1, 256}, {2, 1}});
  CHECK(nexthops[5].group_type == NEXTHOP_GRP_TYPE_MPATH);
  CHECK(nexthops[5].unknown.empty());
  CHECK(nexthops[6].group_type == NEXTHOP_GRP_TYPE_RES);
  CHECK(number(nexthops[6].resilient, "buckets") == 64);
  CHECK(number(nexthops[6].resilient, "idleTimer") == 500);
  CHECK(number(nexthops[6].resilient, "unbalancedTimer") == 700);
}

TEST_CASE("an attribute that is cut is kept beside the rule") {
  RequestBatch batch;
  MessageWriter& writer = batch.begin(RTM_NEWRULE, 0);
  writer.header(fib_rule_hdr{});
  writer.u16(FRA_FWMARK, 7);
  writer.u16(FRA_SPORT_RANGE, 80);
  writer.u32(FRA_UID_RANGE, 80);
  writer.u32(FRA_TUN_ID, 80);
  batch.end();
  MessageReader reader(batch.request(0));
  const auto rule = decode_rule(*reader.next());
  REQUIRE(rule);
  CHECK(rule->values.empty());
  CHECK(rule->unknown.size() == 4);
}
