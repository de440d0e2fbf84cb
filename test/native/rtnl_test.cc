// rtnl/*.h: typed structs from bytes captured from the kernel, and back.
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>

#include "captures/addresses.h"
#include "captures/links.h"
#include "captures/misses.h"
#include "captures/neighbors.h"
#include "captures/routes.h"
#include "rtnl/address.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"
#include "rtnl/neighbor.h"
#include "rtnl/nexthop.h"
#include "rtnl/route.h"
#include "rtnl/rule.h"
#include "support.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;
using support::ip;
using support::mac;

namespace {

rtmsg route_header(std::uint8_t family) {
  rtmsg header{};
  header.rtm_family = family;
  return header;
}

template <class Decode>
auto decode(std::string_view capture, Decode decode_message) {
  const ByteVector bytes = from_hex(capture);
  MessageReader reader(bytes);
  const auto message = reader.next();
  REQUIRE(message);
  auto decoded = decode_message(*message);
  CHECK_FALSE(reader.next());
  CHECK_FALSE(reader.malformed());
  return decoded;
}

Link link_of(std::string_view capture) {
  const auto link = decode(capture, decode_link);
  REQUIRE(link);
  return *link;
}

NeighborEntry neighbor_of(std::string_view capture) {
  const auto entry = decode(capture, decode_neighbor);
  REQUIRE(entry);
  return *entry;
}

// IFLA_INFO_DATA by name.
std::map<std::string, decltype(AttributeValue::value)> info_of(const Link& link) {
  std::map<std::string, decltype(AttributeValue::value)> values;
  for (const AttributeValue& item : link.info) values[item.policy->name] = item.value;
  return values;
}

bool has(const Link& link, const std::string& name) { return info_of(link).contains(name); }

std::uint64_t number(const Link& link, const std::string& name) {
  const auto values = info_of(link);
  const auto found = values.find(name);
  INFO(name);
  REQUIRE(found != values.end());
  return std::get<std::uint64_t>(found->second);
}

Ip address(const Link& link, const std::string& name) {
  const auto values = info_of(link);
  const auto found = values.find(name);
  INFO(name);
  REQUIRE(found != values.end());
  return std::get<Ip>(found->second);
}

}  // namespace

TEST_CASE("links: a bridge") {
  const Link link = link_of(captures::kBridge);
  CHECK(link.family == AF_UNSPEC);
  CHECK(link.name == "br0");
  CHECK(link.kind == "bridge");
  CHECK(link.slave_kind.empty());
  CHECK(link.mac == mac("02:00:00:00:b0:00"));
  CHECK(link.mtu == 1500);
  CHECK((link.flags & IFF_UP) != 0);
  CHECK(link.hardware == ARPHRD_ETHER);
  CHECK(link.master == 0);
  CHECK_FALSE(link.link);
  CHECK(number(link, "mcastSnooping") == 0);
  CHECK(number(link, "stpState") == 0);
  CHECK(number(link, "ageingTime") == 30000);
  CHECK(number(link, "forwardDelay") == 1500);
  CHECK(number(link, "priority") == 0x8000);
  CHECK(number(link, "vlanFiltering") == 0);
  CHECK(number(link, "mcastRouter") == 1);
}

TEST_CASE("links: a vxlan that was moved out of its host's namespace") {
  const Link link = link_of(captures::kMovedVxlan);
  CHECK(link.name == "vxlan1");
  CHECK(link.kind == "vxlan");
  CHECK(link.slave_kind == "bridge");
  CHECK(link.alias == "the overlay");
  CHECK(link.alternative_names == std::vector<std::string>{"overlay-of-host"});
  CHECK(link.master == 2);
  CHECK(link.link_netnsid == 0);
  CHECK(number(link, "vni") == 42);
  CHECK(address(link, "local") == ip("10.0.0.10"));
  CHECK(number(link, "port") == 4789);
  for (const std::string flag : {"proxy", "learning", "l2miss", "l3miss", "localbypass", "udpCsum"}) {
    INFO(flag);
    CHECK(number(link, flag) == 1);
  }
  for (const std::string flag : {"rsc", "collectMetadata", "ttlInherit", "remcsumTx"}) {
    INFO(flag);
    CHECK(number(link, flag) == 0);
  }
  // Told by being there at all.
  for (const std::string flag : {"gbp", "gpe", "remcsumNopartial"}) {
    INFO(flag);
    CHECK_FALSE(has(link, flag));
  }
  CHECK_FALSE(has(link, "group"));
}

TEST_CASE("links: a vxlan with a group, a device and other than default values") {
  const Link link = link_of(captures::kVxlan);
  CHECK(link.kind == "vxlan");
  CHECK_FALSE(link.link_netnsid);
  CHECK(number(link, "vni") == 7);
  CHECK(address(link, "group") == ip("239.1.1.1"));
  CHECK(address(link, "local") == ip("10.0.0.10"));
  CHECK(number(link, "device") != 0);
  CHECK(number(link, "port") == 8472);
  CHECK(number(link, "ttl") == 5);
  CHECK(number(link, "tos") == 0x10);
  CHECK(number(link, "ageing") == 60);
  CHECK(number(link, "limit") == 1000);
  CHECK(number(link, "udpCsum") == 0);
  CHECK(number(link, "df") == 1);
}

TEST_CASE("links: a vxlan over IPv6") {
  const Link link = link_of(captures::kVxlanOverIpv6);
  CHECK(number(link, "vni") == 16777215);
  CHECK(address(link, "local") == ip("fd00:10::10"));
  CHECK(number(link, "udpZeroCsum6Tx") == 1);
  CHECK(number(link, "udpZeroCsum6Rx") == 1);
  CHECK(number(link, "ttlInherit") == 1);
  CHECK(number(link, "gbp") == 1);
}

TEST_CASE("links: one end of a veth, with an alias") {
  const Link link = link_of(captures::kVeth);
  CHECK(link.name == "veth0");
  CHECK(link.kind == "veth");
  CHECK(link.slave_kind == "bridge");
  CHECK(link.alias == "overns 02:42:c0:a8:00:02 192.168.0.2/24,fd00::2/64 c1");
  CHECK(link.mac == mac("02:00:00:00:e0:00"));
  CHECK(link.mtu == 1450);
  CHECK(link.link);
  CHECK(link.link_netnsid == 0);
  CHECK((link.flags & IFF_UP) == 0);
  CHECK(link.info.empty());
}

TEST_CASE("links: the loopback, and what has gone") {
  const Link loopback = link_of(captures::kLoopback);
  CHECK(loopback.name == "lo");
  CHECK(loopback.index == 1);
  CHECK(loopback.hardware == ARPHRD_LOOPBACK);
  CHECK(loopback.mac == Mac{});
  CHECK(loopback.kind.empty());

  const Link port = link_of(captures::kPortGone);
  CHECK(port.family == AF_BRIDGE);  // the bridge has lost a port, the link is still there
  CHECK(port.name == "gone0");
  const Link gone = link_of(captures::kLinkGone);
  CHECK(gone.family == AF_UNSPEC);
  CHECK(gone.name == "gone0");
  CHECK(gone.index == port.index);
}

TEST_CASE("links: what the data of a kind means does not depend on where the kind stands") {
  const auto vni = [](MessageWriter& writer) {
    const std::size_t data = writer.begin_nested(IFLA_INFO_DATA);
    writer.u32(IFLA_VXLAN_ID, 42);
    writer.end_nested(data);
  };
  // Behind its data; and another one first, to which the data would mean forwardDelay.
  for (const bool another : {false, true}) {
    INFO(another);
    MessageWriter writer;
    writer.begin(RTM_NEWLINK, 0, 1);
    writer.header(ifinfomsg{});
    std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
    if (another) writer.text(IFLA_INFO_KIND, "bridge");
    vni(writer);
    writer.text(IFLA_INFO_KIND, "vxlan");
    writer.end_nested(linkinfo);
    writer.end();
    MessageReader reader(writer.bytes());
    const auto link = decode_link(*reader.next());
    REQUIRE(link);
    CHECK(link->kind == "vxlan");
    CHECK(link->info.size() == 1);
    CHECK(number(*link, "vni") == 42);
  }
  // Of two, the last: nothing of the first is left.
  MessageWriter writer;
  writer.begin(RTM_NEWLINK, 0, 1);
  writer.header(ifinfomsg{});
  std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
  writer.text(IFLA_INFO_KIND, "vxlan");
  vni(writer);
  writer.end_nested(linkinfo);
  linkinfo = writer.begin_nested(IFLA_LINKINFO);
  writer.text(IFLA_INFO_KIND, "bridge");
  writer.end_nested(linkinfo);
  writer.end();
  MessageReader reader(writer.bytes());
  const auto link = decode_link(*reader.next());
  REQUIRE(link);
  CHECK(link->kind == "bridge");
  CHECK(link->info.empty());
}

TEST_CASE("links: a dump holds them all") {
  const ByteVector bytes = from_hex(captures::kLinkDump);
  MessageReader reader(bytes);
  std::vector<std::string> names;
  while (const auto message = reader.next()) {
    if (const auto link = decode_link(*message)) names.push_back(link->name);
  }
  CHECK_FALSE(reader.malformed());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"eth0", "lo", "under0", "under1", "vxlan6", "vxlan7"});
}

TEST_CASE("addresses") {
  const auto labelled = decode(captures::kAddress, decode_address);
  REQUIRE(labelled);
  CHECK(labelled->ip == ip("192.168.0.1"));
  CHECK(labelled->prefix == 24);
  CHECK(labelled->label == "br0:x");
  CHECK(labelled->scope == RT_SCOPE_UNIVERSE);
  CHECK(labelled->index == 2);

  // IFA_LOCAL is ours, IFA_ADDRESS the other end.
  const auto pointed = decode(captures::kPointToPoint, decode_address);
  REQUIRE(pointed);
  CHECK(pointed->ip == ip("10.9.0.1"));
  CHECK(pointed->prefix == 32);

  const auto ipv6 = decode(captures::kIpv6Address, decode_address);
  REQUIRE(ipv6);
  CHECK(ipv6->ip == ip("fd00::1"));
  CHECK(ipv6->prefix == 64);
  CHECK((ipv6->flags & IFA_F_PERMANENT) != 0);
  CHECK((ipv6->flags & IFA_F_NODAD) != 0);

  const auto gone = decode(captures::kAddressGone, decode_address);
  REQUIRE(gone);
  CHECK(gone->ip == ip("10.9.0.1"));
}

TEST_CASE("routes") {
  const auto fallback = decode(captures::kDefaultRoute, decode_route);
  REQUIRE(fallback);
  CHECK(fallback->family == AF_INET);
  CHECK(fallback->destination.empty());
  CHECK(fallback->prefix == 0);
  CHECK(fallback->gateway == ip("192.168.0.254"));
  CHECK(fallback->index == 2);
  CHECK(fallback->table == RT_TABLE_MAIN);
  CHECK(fallback->protocol == RTPROT_BOOT);
  CHECK(fallback->type == RTN_UNICAST);

  // A table beyond 255 stands in an attribute only.
  const auto other = decode(captures::kTableRoute, decode_route);
  REQUIRE(other);
  CHECK(other->destination == ip("10.7.0.0"));
  CHECK(other->prefix == 16);
  CHECK(other->source == ip("192.168.0.1"));
  CHECK(other->table == 1000);
  CHECK(other->priority == 77);
  CHECK(other->scope == RT_SCOPE_LINK);

  const auto ipv6 = decode(captures::kIpv6Route, decode_route);
  REQUIRE(ipv6);
  CHECK(ipv6->family == AF_INET6);
  CHECK(ipv6->destination == ip("fd77::"));
  CHECK(ipv6->prefix == 48);
  CHECK(ipv6->gateway == ip("fd00::2"));
  CHECK(ipv6->priority == 5);

  CHECK(decode(captures::kRouteGone, decode_route));
}

TEST_CASE("neighbours and FDB entries") {
  const NeighborEntry neighbor = neighbor_of(captures::kNeighbor);
  CHECK(neighbor.family == AF_INET);
  CHECK(neighbor.state == NUD_PERMANENT);
  CHECK(neighbor.ip == ip("192.168.0.3"));
  CHECK(neighbor.mac == mac("02:42:c0:a8:00:03"));
  CHECK_FALSE(neighbor.vni);

  const NeighborEntry ipv6 = neighbor_of(captures::kIpv6Neighbor);
  CHECK(ipv6.family == AF_INET6);
  CHECK(ipv6.ip == ip("fd00::3"));
  CHECK(ipv6.mac == mac("02:42:c0:a8:00:03"));

  // One that is deleted has lost its MAC.
  const NeighborEntry gone = neighbor_of(captures::kNeighborGone);
  CHECK(gone.ip == ip("192.168.0.3"));
  CHECK(gone.state == NUD_FAILED);
  CHECK_FALSE(gone.mac);

  // NDA_LINK_NETNSID comes first.
  const NeighborEntry fdb = neighbor_of(captures::kFdb);
  CHECK(fdb.family == AF_BRIDGE);
  CHECK(fdb.state == NUD_REACHABLE);
  CHECK(fdb.flags == NTF_SELF);
  CHECK(fdb.mac == mac("02:42:c0:a8:00:04"));
  CHECK(fdb.ip == ip("10.0.0.11"));
  CHECK(fdb.link_netnsid == 0);
  CHECK(neighbor_of(captures::kFdbGone).mac == fdb.mac);

  const NeighborEntry all = neighbor_of(captures::kFdbWithAll);
  CHECK(all.state == (NUD_PERMANENT | NUD_NOARP));
  CHECK(all.ip == ip("10.0.0.12"));
  CHECK(all.port == 4790);
  CHECK(all.vni == 99);
  CHECK(all.via == 3);
  CHECK_FALSE(all.link_netnsid);

  const NeighborEntry zero = neighbor_of(captures::kFdbOverIpv6);
  CHECK(zero.mac == Mac{});
  CHECK(zero.ip == ip("fd00:10::11"));

  const NeighborEntry bridge = neighbor_of(captures::kBridgeFdb);
  CHECK(bridge.mac == mac("02:42:c0:a8:00:06"));
  CHECK(bridge.master == 2);
  CHECK(bridge.ip.empty());
}

TEST_CASE("misses: all attributes are walked") {
  const auto miss = [](std::string_view capture) { return decode(capture, decode_miss); };
  CHECK(miss(captures::kMovedL3)->ip == ip("192.168.0.9"));
  CHECK(miss(captures::kMovedL3)->is_l3());
  CHECK(miss(captures::kMovedL3Ipv6)->ip == ip("fd00::9"));
  CHECK(miss(captures::kMovedL2)->mac == mac("02:42:c0:a8:00:08"));
  CHECK_FALSE(miss(captures::kMovedL2)->is_l3());
  CHECK(miss(captures::kL3)->ip == ip("192.168.7.9"));
  CHECK(miss(captures::kL3)->index == 5);
  CHECK(miss(captures::kL3Ipv6)->ip == ip("fd07::9"));
  CHECK(miss(captures::kL2)->mac == mac("02:42:c0:a8:07:08"));
  CHECK_FALSE(miss(captures::kL2)->is_l3());

  // An ordinary device's question is none of vxlan's.
  CHECK_FALSE(miss(captures::kAppSolicit));
  const NeighborEntry asked = neighbor_of(captures::kAppSolicit);
  CHECK(asked.state == NUD_INCOMPLETE);
  CHECK(asked.ip == ip("10.0.0.77"));
  CHECK(asked.probes);
}

TEST_CASE("links: nothing that this kernel tells is unknown, and nothing is lost") {
  for (const auto& capture : {captures::kBridge, captures::kMovedVxlan, captures::kVxlan, captures::kVxlanOverIpv6,
                              captures::kVeth, captures::kLoopback}) {
    const Link link = link_of(capture);
    INFO(link.name);
    for (const UnknownAttribute& each : link.unknown) {
      INFO(each.type);
      CHECK(each.within == nullptr);
    }
    CHECK(link.unknown.empty());
    CHECK(link.addr_gen_mode);
  }
  const Link port = link_of(captures::kVeth);
  std::map<std::string, decltype(AttributeValue::value)> of;
  for (const AttributeValue& each : port.bridge_port) of[each.policy->name] = each.value;
  CHECK(of["learning"] == decltype(AttributeValue::value)(std::uint64_t{1}));
  CHECK(of["hairpin"] == decltype(AttributeValue::value)(std::uint64_t{0}));
  CHECK(of.contains("designatedPort"));
}

// This kernel has no such devices: the bytes are built to include/uapi/linux/if_link.h and if_vlan.h.
TEST_CASE("links: vlan and dummy, from the headers") {
  RequestBatch batch;
  MessageWriter& writer = batch.begin(RTM_NEWLINK, 0);
  ifinfomsg header{};
  header.ifi_index = 9;
  writer.header(header);
  writer.text(IFLA_IFNAME, "eth0.100");
  writer.u32(IFLA_LINK, 2);
  std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
  writer.text(IFLA_INFO_KIND, "vlan");
  const std::size_t data = writer.begin_nested(IFLA_INFO_DATA);
  writer.u16(IFLA_VLAN_ID, 100);
  writer.be16(IFLA_VLAN_PROTOCOL, 0x8100);
  const std::uint32_t flags[2] = {0x1 | 0x10, 0xffffffff};  // struct ifla_vlan_flags: REORDER_HDR, BRIDGE_BINDING
  writer.attribute(IFLA_VLAN_FLAGS, {reinterpret_cast<const std::uint8_t*>(flags), sizeof flags});
  const std::size_t qos = writer.begin_nested(IFLA_VLAN_EGRESS_QOS);
  writer.u32(IFLA_VLAN_QOS_MAPPING, 3);
  writer.end_nested(qos);
  writer.end_nested(data);
  writer.end_nested(linkinfo);
  batch.end();
  MessageWriter& other = batch.begin(RTM_NEWLINK, 0);
  other.header(ifinfomsg{});
  other.text(IFLA_IFNAME, "dummy0");
  linkinfo = other.begin_nested(IFLA_LINKINFO);
  other.text(IFLA_INFO_KIND, "dummy");
  other.end_nested(linkinfo);
  batch.end();

  MessageReader reader(batch.request(0));
  const auto vlan = decode_link(*reader.next());
  REQUIRE(vlan);
  CHECK(vlan->link == 2);
  CHECK(number(*vlan, "vlanId") == 100);
  CHECK(number(*vlan, "vlanProtocol") == 0x8100);
  CHECK(number(*vlan, "reorderHdr") == 1);
  CHECK(number(*vlan, "gvrp") == 0);
  CHECK(number(*vlan, "bridgeBinding") == 1);
  REQUIRE(vlan->unknown.size() == 1);
  CHECK(vlan->unknown[0].type == IFLA_VLAN_EGRESS_QOS);
  CHECK(std::string_view(vlan->unknown[0].within) == "info");
  CHECK(vlan->unknown[0].bytes == from_hex("0800010003000000"));
  MessageReader second(batch.request(1));
  const auto dummy = decode_link(*second.next());
  REQUIRE(dummy);
  CHECK(dummy->kind == "dummy");
  CHECK(dummy->info.empty());
  CHECK(dummy->unknown.empty());
}

TEST_CASE("what no table knows is kept as it came") {
  const auto unknown = [](std::uint16_t type, auto header, auto decode_message) {
    RequestBatch batch;
    MessageWriter& writer = batch.begin(type, 0);
    writer.header(header);
    writer.attribute(IFA_LOCAL, ip("10.0.0.1").raw());  // an address needs one; to the others it is not to be read
    writer.attribute(1234, from_hex("0102030405"));
    batch.end();
    MessageReader reader(batch.request(0));
    const auto decoded = decode_message(*reader.next());
    REQUIRE(decoded);
    REQUIRE_FALSE(decoded->unknown.empty());
    CHECK(decoded->unknown.back() == UnknownAttribute{1234, nullptr, from_hex("0102030405")});
  };
  unknown(RTM_NEWLINK, ifinfomsg{}, decode_link);
  unknown(RTM_NEWADDR, ifaddrmsg{}, decode_address);
  unknown(RTM_NEWROUTE, route_header(AF_INET), decode_route);
  unknown(RTM_NEWNEIGH, ndmsg{}, decode_neighbor);
  unknown(RTM_NEWRULE, fib_rule_hdr{}, decode_rule);
  unknown(RTM_NEWNEXTHOP, nhmsg{}, decode_nexthop);
}

TEST_CASE("a bridge's word on a port is the port's data; a wireless driver's news is none of the link") {
  const auto decoded = [](std::uint8_t family, auto write) {
    RequestBatch batch;
    MessageWriter& writer = batch.begin(RTM_NEWLINK, 0);
    ifinfomsg header{};
    header.ifi_family = family;
    header.ifi_index = 7;
    writer.header(header);
    writer.text(IFLA_IFNAME, "v0");
    write(writer);
    batch.end();
    MessageReader reader(batch.request(0));
    return decode_link(*reader.next());
  };
  const auto port = [](MessageWriter& writer) {
    const std::size_t nest = writer.begin_nested(IFLA_PROTINFO);
    writer.u8(IFLA_BRPORT_STATE, 3);
    writer.u32(IFLA_BRPORT_COST, 77);
    writer.u8(1234, 1);
    writer.end_nested(nest);
  };
  const auto bridge = decoded(AF_BRIDGE, port);
  REQUIRE(bridge);
  REQUIRE(bridge->bridge_port.size() == 2);
  CHECK(std::string_view(bridge->bridge_port[1].policy->name) == "cost");
  REQUIRE(bridge->unknown.size() == 1);
  CHECK(std::string_view(bridge->unknown[0].within) == "slaveInfo");
  const auto other = decoded(AF_UNSPEC, port);
  REQUIRE(other);
  CHECK(other->bridge_port.empty());
  CHECK(other->unknown.size() == 1);
  CHECK_FALSE(decoded(AF_UNSPEC, [](MessageWriter& writer) { writer.u32(IFLA_WIRELESS, 0); }));
}

TEST_CASE("routes of other families are none") {
  for (const std::uint8_t family : {std::uint8_t{28} /* AF_MPLS */, std::uint8_t{128} /* RTNL_FAMILY_IPMR */}) {
    RequestBatch batch;
    MessageWriter& writer = batch.begin(RTM_NEWROUTE, 0);
    writer.header(route_header(family));
    writer.attribute(RTA_DST, ip("10.0.0.1").raw());
    batch.end();
    MessageReader reader(batch.request(0));
    CHECK_FALSE(decode_route(*reader.next()));
  }
}

TEST_CASE("routes: one question and its answer") {
  const auto metric = [](const RouteEntry& route, std::string_view name) -> std::uint64_t {
    for (const AttributeValue& each : route.metrics) {
      if (each.policy->name == name) return std::get<std::uint64_t>(each.value);
    }
    return 0;
  };
  const auto answer = decode(captures::kRouteAnswer, decode_route);
  REQUIRE(answer);
  CHECK(answer->destination == ip("192.0.2.1"));
  CHECK(answer->prefix == 32);
  CHECK(answer->from == ip("10.1.0.1"));
  CHECK(answer->gateway == ip("10.1.0.254"));
  CHECK(answer->index == 3);
  CHECK(answer->mark == 7);
  CHECK(answer->uid == 0);
  CHECK(metric(*answer, "mtu") == 1400);
  CHECK(metric(*answer, "lock") == 1U << RTAX_MTU);
  CHECK(answer->unknown.empty());
  const auto ipv6 = decode(captures::kIpv6RouteAnswer, decode_route);
  REQUIRE(ipv6);
  CHECK(ipv6->source == ip("fd00:1::1"));
  CHECK(metric(*ipv6, "mtu") == 1410);
  CHECK_FALSE(ipv6->uid);

  RequestBatch batch;
  RouteQuery query;
  query.destination = ip("192.0.2.1");
  encode_get_route(batch, query);
  // RTM_GETROUTE, rtmsg, RTA_DST
  CHECK(std::ranges::equal(batch.request(0).subspan(16), from_hex("022000000000000000100000"
                                                                  "08000100c0000201")));
  query = {ip("2001:db8::1"), ip("fd00::1"), 3, 0, 7, 1000, 16, 17, std::nullopt, 4789, true};
  encode_get_route(batch, query);
  CHECK(std::ranges::equal(batch.request(1).subspan(16), from_hex("0a8080100000000000200000"
                                                                  "1400010020010db8000000000000000000000001"
                                                                  "14000200fd000000000000000000000000000001"
                                                                  "0800040003000000"
                                                                  "0800100007000000"
                                                                  "08001900e8030000"
                                                                  "05001b0011000000"
                                                                  "06001d0012b50000")));
}

TEST_CASE("routes: several ways, gateways of the other family, metrics") {
  RequestBatch batch;
  RouteEntry route;
  route.family = AF_INET;
  route.destination = ip("10.9.0.0");
  route.prefix = 16;
  route.table = RT_TABLE_MAIN;
  route.hops = {{ip("10.0.0.2"), 3, 256, RTNH_F_ONLINK, {}}, {ip("fe80::1"), 4, 1, 0, {}}, {Ip{}, 5, 2, 0, {}}};
  for (const AttributePolicy& policy : route_metric_policies()) {
    if (policy.value == ValueType::kU32) route.metrics.push_back({&policy, std::uint64_t{1400}});
  }
  encode_route(batch, RTM_NEWROUTE, 0, route);
  route.hops.clear();
  route.nexthop = 7;
  route.gateway = ip("10.0.0.2");  // of what the nexthop resolves to: no part of a request
  route.index = 3;
  encode_route(batch, RTM_NEWROUTE, 0, route);
  MessageReader reader(batch.request(0));
  const auto decoded = decode_route(*reader.next());
  REQUIRE(decoded);
  REQUIRE(decoded->hops.size() == 3);
  CHECK(decoded->hops[0].gateway == ip("10.0.0.2"));
  CHECK(decoded->hops[0].weight == 256);
  CHECK(decoded->hops[0].flags == RTNH_F_ONLINK);
  CHECK(decoded->hops[1].gateway == ip("fe80::1"));
  CHECK(decoded->hops[2].gateway.empty());
  CHECK(decoded->hops[2].index == 5);
  CHECK(decoded->metrics.size() == route.metrics.size());
  CHECK(decoded->unknown.empty());
  MessageReader second(batch.request(1));
  const auto by_id = decode_route(*second.next());
  REQUIRE(by_id);
  CHECK(by_id->nexthop == 7);
  CHECK(by_id->gateway.empty());
  CHECK(by_id->index == 0);
}

TEST_CASE("routes: ways whose lengths lie are kept as bytes") {
  for (const std::uint16_t length : {0, 7, 9, 200}) {
    RequestBatch batch;
    MessageWriter& writer = batch.begin(RTM_NEWROUTE, 0);
    writer.header(route_header(AF_INET));
    rtnexthop hop{};
    hop.rtnh_len = length;
    writer.attribute(RTA_MULTIPATH, {reinterpret_cast<const std::uint8_t*>(&hop), sizeof hop});
    batch.end();
    MessageReader reader(batch.request(0));
    const auto route = decode_route(*reader.next());
    REQUIRE(route);
    INFO(length);
    CHECK(route->hops.empty());
    CHECK(route->unknown.size() == 1);
  }
}

TEST_CASE("routes: what has expired is told with how long ago") {
  const auto left = [](std::int32_t ticks) {
    RequestBatch batch;
    MessageWriter& writer = batch.begin(RTM_NEWROUTE, 0);
    writer.header(route_header(AF_INET));
    rta_cacheinfo info{};
    info.rta_expires = ticks;
    writer.attribute(RTA_CACHEINFO, {reinterpret_cast<const std::uint8_t*>(&info), sizeof info});
    batch.end();
    MessageReader reader(batch.request(0));
    return decode_route(*reader.next())->expires;
  };
  CHECK(left(0) == std::nullopt);  // for ever
  CHECK(left(1234) == 12);
  CHECK(left(99) == 0);
  CHECK(left(-1234) == -12);
  CHECK(left(-99) == 0);
}

TEST_CASE("bits of one attribute are written once") {
  std::vector<AttributeValue> values;
  for (const AttributePolicy& policy : info_policies("bridge")) {
    if (policy.value == ValueType::kOption)
      values.push_back({&policy, std::uint64_t{std::string_view(policy.name) == "mstEnabled" ? 0U : 1U}});
  }
  REQUIRE(values.size() == 3);
  MessageWriter writer;
  encode_values(writer, values);
  AttributeReader reader(writer.bytes());
  const auto options = reader.next();
  REQUIRE(options);
  CHECK(options->type == IFLA_BR_MULTI_BOOLOPT);
  CHECK(ByteVector(options->payload.begin(), options->payload.end()) == from_hex("0300000007000000"));
  CHECK_FALSE(reader.next());
}

TEST_CASE("no decoder takes another's message") {
  for (const auto& capture : {captures::kBridge, captures::kAddress, captures::kDefaultRoute, captures::kNeighbor}) {
    int taken = 0;
    taken += decode(capture, decode_link) ? 1 : 0;
    taken += decode(capture, decode_address) ? 1 : 0;
    taken += decode(capture, decode_route) ? 1 : 0;
    taken += decode(capture, decode_neighbor) ? 1 : 0;
    CHECK(taken == 1);
    CHECK_FALSE(decode(capture, decode_miss));
  }
}

TEST_CASE("what is encoded decodes to the same") {
  RequestBatch batch;
  NeighborEntry entry;
  entry.family = AF_BRIDGE;
  entry.index = 7;
  entry.state = NUD_REACHABLE;
  entry.flags = NTF_SELF;
  entry.ip = ip("fd00:10::11");
  entry.mac = mac("02:42:c0:a8:00:04");
  entry.vni = 0xffffff;
  entry.port = 4790;
  entry.via = 3;
  entry.vlan = 12;
  entry.nexthop = 99;
  entry.extended_flags = 1;
  entry.protocol = 4;
  encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE, entry);
  RouteEntry route;
  route.family = AF_INET6;
  route.destination = ip("fd77::");
  route.prefix = 48;
  route.gateway = ip("fd00::2");
  route.source = ip("fd00::1");
  route.index = 2;
  route.table = 70000;
  route.priority = 5;
  route.protocol = RTPROT_STATIC;
  route.type = RTN_UNICAST;
  encode_route(batch, RTM_NEWROUTE, NLM_F_CREATE, route);
  InterfaceAddress assigned;
  assigned.index = 2;
  assigned.ip = ip("192.168.0.1");
  assigned.prefix = 24;
  assigned.scope = RT_SCOPE_LINK;
  assigned.flags = IFA_F_NODAD;
  assigned.label = "br0:x";
  assigned.peer = ip("192.168.0.2");
  assigned.broadcast = ip("192.168.0.255");
  assigned.preferred = 50;
  assigned.valid = 100;
  assigned.metric = 7;
  assigned.protocol = 3;
  encode_address(batch, RTM_NEWADDR, NLM_F_CREATE, assigned);
  LinkSpec spec;
  spec.kind = "vxlan";
  spec.name = "vxlan1";
  spec.mac = mac("02:00:00:00:a1:00");
  spec.mtu = 1450;
  spec.master = 4;
  spec.alias = "alias";
  spec.up = true;
  for (const AttributePolicy& policy : info_policies("vxlan")) {
    switch (policy.value) {
      case ValueType::kIp4: spec.info.push_back({&policy, ip("10.0.0.1")}); break;
      case ValueType::kIp6: spec.info.push_back({&policy, ip("fd00::1")}); break;
      case ValueType::kBytes: spec.info.push_back({&policy, std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5, 6, 7}}); break;
      default: spec.info.push_back({&policy, std::uint64_t{1}}); break;
    }
  }
  encode_link(batch, spec, NLM_F_CREATE);

  std::vector<Message> messages;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    MessageReader reader(batch.request(i));
    messages.push_back(*reader.next());
    CHECK_FALSE(reader.next());
    CHECK_FALSE(reader.malformed());
    CHECK((messages.back().header.nlmsg_flags & NLM_F_REQUEST) != 0);
  }
  const auto neighbor = decode_neighbor(messages[0]);
  REQUIRE(neighbor);
  CHECK(neighbor->ip == entry.ip);
  CHECK(neighbor->mac == entry.mac);
  CHECK(neighbor->vni == entry.vni);
  CHECK(neighbor->port == entry.port);
  CHECK(neighbor->via == entry.via);
  CHECK(neighbor->vlan == entry.vlan);
  CHECK(neighbor->nexthop == entry.nexthop);
  CHECK(neighbor->extended_flags == entry.extended_flags);
  CHECK(neighbor->protocol == entry.protocol);
  CHECK(neighbor->state == entry.state);
  CHECK(neighbor->flags == entry.flags);
  CHECK(neighbor->index == entry.index);
  const auto routed = decode_route(messages[1]);
  REQUIRE(routed);
  CHECK(routed->destination == route.destination);
  CHECK(routed->prefix == route.prefix);
  CHECK(routed->gateway == route.gateway);
  CHECK(routed->source == route.source);
  CHECK(routed->index == route.index);
  CHECK(routed->table == route.table);
  CHECK(routed->priority == route.priority);
  const auto addressed = decode_address(messages[2]);
  REQUIRE(addressed);
  CHECK(addressed->ip == ip("192.168.0.1"));
  CHECK(addressed->prefix == 24);
  CHECK(addressed->scope == RT_SCOPE_LINK);
  CHECK(addressed->flags == IFA_F_NODAD);
  CHECK(addressed->label == "br0:x");
  CHECK(addressed->peer == assigned.peer);
  CHECK(addressed->broadcast == assigned.broadcast);
  CHECK(addressed->preferred == assigned.preferred);
  CHECK(addressed->valid == assigned.valid);
  CHECK(addressed->metric == assigned.metric);
  CHECK(addressed->protocol == assigned.protocol);
  CHECK(addressed->unknown.empty());
  const auto linked = decode_link(messages[3]);
  REQUIRE(linked);
  CHECK(linked->name == spec.name);
  CHECK(linked->kind == spec.kind);
  CHECK(linked->mac == spec.mac);
  CHECK(linked->mtu == spec.mtu);
  CHECK(linked->master == spec.master);
  CHECK(linked->alias == spec.alias);
  REQUIRE(linked->info.size() == spec.info.size());
  for (std::size_t i = 0; i < spec.info.size(); ++i) {
    INFO(spec.info[i].policy->name);
    CHECK(linked->info[i].policy == spec.info[i].policy);
    CHECK(linked->info[i].value == spec.info[i].value);
  }
}
