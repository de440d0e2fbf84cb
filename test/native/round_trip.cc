#include "round_trip.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <string_view>

#include "rtnl/address.h"
#include "rtnl/link.h"
#include "rtnl/neighbor.h"
#include "rtnl/nexthop.h"
#include "rtnl/route.h"
#include "rtnl/rule.h"

namespace support {

using namespace overns;

namespace {

template <class Value>
RoundTrip compare(const Value& value, RequestBatch& batch, std::optional<Value> (*decode)(const Message&)) {
  if (batch.too_long(0)) return RoundTrip::kOther;
  MessageReader reader(batch.request(0));
  const auto message = reader.next();
  if (!message || reader.next() || reader.malformed()) return RoundTrip::kDifferent;
  return decode(*message) == value ? RoundTrip::kSame : RoundTrip::kDifferent;
}

// No kernel tells a field twice; of bits, which share an attribute, one writing has both.
bool told_twice(const std::vector<AttributeValue>& values) {
  for (auto each = values.begin(); each != values.end(); ++each) {
    const auto same = [&](const AttributeValue& other) { return other.policy == each->policy; };
    if (std::any_of(values.begin(), each, same)) return true;
  }
  return false;
}

RoundTrip link(const Message& message) {
  auto link = decode_link(message);
  if (!link || told_twice(link->attributes) || told_twice(link->info) || told_twice(link->bridge_port))
    return RoundTrip::kOther;
  // What the kernel tells and nobody can ask for.
  link->family = 0;
  link->flags &= IFF_UP;
  link->hardware = 0;
  link->alternative_names.clear();
  link->link.reset();
  link->link_netnsid.reset();
  link->operstate = 0;
  // Of what is not read, the attributes of the kind are written as they are.
  std::erase_if(link->unknown, [&](const UnknownAttribute& each) {
    return link->kind.empty() || each.within == nullptr || std::string_view(each.within) != "info";
  });
  for (auto* values : {&link->attributes, &link->info, &link->bridge_port}) {
    std::erase_if(*values, [](const AttributeValue& item) {
      // A flag that is not set is left out.
      const auto* number = std::get_if<std::uint64_t>(&item.value);
      const bool unset = item.policy->value == ValueType::kFlag && number != nullptr && *number == 0;
      return item.policy->read_only || unset;
    });
  }
  if (link->bridge_port.empty()) link->slave_kind.clear();
  LinkSpec spec;
  spec.kind = link->kind;
  spec.name = link->name;
  spec.index = link->index;
  spec.up = (link->flags & IFF_UP) != 0;
  spec.mtu = link->mtu;
  spec.mac = link->mac;
  spec.master = link->master;
  spec.alias = link->alias;
  spec.addr_gen_mode = link->addr_gen_mode;
  spec.attributes = link->attributes;
  spec.info = link->info;
  spec.bridge_port = link->bridge_port;
  spec.unknown = link->unknown;
  RequestBatch batch;
  encode_link(batch, spec, 0);
  return compare(*link, batch, decode_link);
}

RoundTrip address(const Message& message) {
  auto address = decode_address(message);
  if (!address) return RoundTrip::kOther;
  address->unknown.clear();
  RequestBatch batch;
  encode_address(batch, RTM_NEWADDR, 0, *address);
  return compare(*address, batch, decode_address);
}

RoundTrip route(const Message& message) {
  auto route = decode_route(message);
  if (!route || told_twice(route->metrics)) return RoundTrip::kOther;
  // In the order that they are written in: the metrics' are in a nest of their own.
  std::stable_partition(route->unknown.begin(), route->unknown.end(),
                        [](const UnknownAttribute& each) { return each.within != nullptr; });
  // Told of the packet that was asked about.
  route->input_index = 0;
  route->mark.reset();
  route->uid.reset();
  // Told as the time that is left (RTA_CACHEINFO), asked for as RTA_EXPIRES.
  route->expires.reset();
  if (route->nexthop != 0) {
    // The kernel tells the nexthop's ways as well, and takes one or the other.
    route->gateway = Ip{};
    route->index = 0;
    route->hops.clear();
  }
  if (route->table == RT_TABLE_UNSPEC) route->table = RT_TABLE_MAIN;  // what that means in a request
  RequestBatch batch;
  encode_route(batch, RTM_NEWROUTE, 0, *route);
  return compare(*route, batch, decode_route);
}

RoundTrip neighbor(const Message& message) {
  auto entry = decode_neighbor(message);
  if (!entry) return RoundTrip::kOther;
  // What the kernel tells and nobody can ask for.
  entry->master = 0;
  entry->link_netnsid.reset();
  entry->probes.reset();
  entry->unknown.clear();
  RequestBatch batch;
  encode_neighbor(batch, RTM_NEWNEIGH, 0, *entry);
  return compare(*entry, batch, decode_neighbor);
}

RoundTrip rule(const Message& message) {
  auto rule = decode_rule(message);
  if (!rule || told_twice(rule->values)) return RoundTrip::kOther;
  RequestBatch batch;
  encode_rule(batch, RTM_NEWRULE, 0, *rule);
  return compare(*rule, batch, decode_rule);
}

RoundTrip nexthop(const Message& message) {
  auto nexthop = decode_nexthop(message);
  if (!nexthop || told_twice(nexthop->resilient)) return RoundTrip::kOther;
  // What the kernel tells and nobody can ask for.
  nexthop->scope = 0;
  nexthop->master = 0;
  std::erase_if(nexthop->resilient, [](const AttributeValue& item) { return item.policy->read_only; });
  std::erase_if(nexthop->unknown, [](const UnknownAttribute& each) { return each.within != nullptr; });
  if (nexthop->group.empty()) nexthop->group_type = 0;
  RequestBatch batch;
  encode_nexthop(batch, 0, *nexthop);
  return compare(*nexthop, batch, decode_nexthop);
}

constexpr Codec kCodecs[] = {{"links", link},         {"addresses", address}, {"routes", route},
                             {"neighbors", neighbor}, {"rules", rule},        {"nexthops", nexthop}};

}  // namespace

std::span<const Codec> codecs() { return kCodecs; }

}  // namespace support
