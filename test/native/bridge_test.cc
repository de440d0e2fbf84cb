// rtnl/bridge_vlan.h, rtnl/mdb.h: VLANs and multicast groups of bridges, as the kernel tells them.
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "captures/bridge.h"
#include "rtnl/bridge_vlan.h"
#include "rtnl/mdb.h"
#include "support.h"

using namespace overns;
using support::from_hex;
using support::ip;

namespace {

template <class Entry>
std::vector<Entry> all(std::string_view capture, void (*decode)(const Message&, std::vector<Entry>&)) {
  const support::ByteVector bytes = from_hex(capture);
  MessageReader reader(bytes);
  std::vector<Entry> found;
  while (const auto message = reader.next()) decode(*message, found);
  CHECK_FALSE(reader.malformed());
  for (const Entry& each : found) CHECK(each.unknown.empty());
  return found;
}

template <class Entry>
std::uint64_t number(const Entry& entry, std::string_view name) {
  for (const AttributeValue& each : entry.values) {
    if (each.policy->name == name) return std::get<std::uint64_t>(each.value);
  }
  return ~std::uint64_t{0};
}

Ip address(const MdbEntry& entry, std::string_view name) {
  for (const AttributeValue& each : entry.values) {
    if (each.policy->name == name) return std::get<Ip>(each.value);
  }
  return {};
}

template <class Entry, class Write>
std::vector<Entry> told(std::uint16_t type, void (*decode)(const Message&, std::vector<Entry>&), Write write) {
  RequestBatch batch;
  MessageWriter& writer = batch.begin(type, 0);
  writer.header(br_port_msg{AF_BRIDGE, 3});  // br_vlan_msg is laid out alike
  write(writer);
  batch.end();
  MessageReader reader(batch.request(0));
  std::vector<Entry> found;
  decode(*reader.next(), found);
  return found;
}

}  // namespace

TEST_CASE("VLANs as the kernel tells them") {
  const auto vlans = all(captures::kVlans, decode_vlans);
  REQUIRE(vlans.size() == 10);
  CHECK(vlans[0].index == 9);
  CHECK(vlans[0].vlan == 1);
  CHECK(vlans[0].last == 0);
  CHECK(vlans[0].flags == (BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED));
  CHECK(vlans[3].index == 11);
  CHECK(vlans[3].vlan == 10);
  CHECK(vlans[3].last == 11);
  CHECK(vlans[3].flags == 0);
  CHECK(number(vlans[3], "state") == BR_STATE_FORWARDING);
  CHECK(number(vlans[4], "state") == BR_STATE_BLOCKING);
  CHECK(vlans[7].vlan == 4094);
  CHECK(vlans[9].last == 102);
  CHECK(number(vlans[9], "tunnel") == 5000);
  CHECK(number(vlans[8], "tunnel") == ~std::uint64_t{0});
}

TEST_CASE("multicast groups as the kernel tells them") {
  const auto groups = all(captures::kMdb, decode_mdb);
  REQUIRE(groups.size() == 8);
  CHECK(groups[0].group == ip("239.1.1.5"));
  CHECK(address(groups[0], "source") == ip("10.0.0.7"));
  CHECK(groups[1].protocol == std::uint8_t{RTPROT_KERNEL});
  REQUIRE(groups[1].sources.size() == 1);
  CHECK(groups[1].sources[0].ip == ip("10.0.0.7"));
  CHECK(groups[1].sources[0].timer > 20'000);
  CHECK(number(groups[1], "filterMode") == 1);
  CHECK(groups[2].mac == Mac::parse("01:00:5e:11:22:33"));
  CHECK(groups[2].group.empty());
  CHECK(groups[3].group == ip("ff05::7"));
  CHECK(address(groups[3], "source") == ip("2001:db8::1"));
  CHECK(groups[5].state == MDB_TEMPORARY);
  CHECK(number(groups[5], "timer") > 20'000);
  CHECK(groups[6].state == MDB_PERMANENT);
  CHECK(groups[7].index == groups[7].bridge);
  CHECK_FALSE(groups[7].protocol);
}

TEST_CASE("a vxlan's multicast groups") {
  const auto groups = all(captures::kVxlanMdb, decode_mdb);
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].bridge == 3);
  CHECK(groups[0].index == 3);
  CHECK(groups[0].via == 2);
  CHECK(address(groups[0], "dst") == ip("10.0.0.7"));
  CHECK(number(groups[0], "port") == 4790);
  CHECK(number(groups[0], "vni") == 77);
}

TEST_CASE("of bridges, too, what is not known or is cut is kept") {
  const auto vlans = told(RTM_NEWVLAN, decode_vlans, [](MessageWriter& writer) {
    const std::size_t whole = writer.begin_nested(BRIDGE_VLANDB_ENTRY);
    writer.u32(BRIDGE_VLANDB_ENTRY_INFO, 5U << 16);
    writer.u8(BRIDGE_VLANDB_ENTRY_RANGE, 7);
    writer.u8(77, 1);
    const std::size_t tunnel = writer.begin_nested(BRIDGE_VLANDB_ENTRY_TUNNEL_INFO);
    writer.u16(BRIDGE_VLANDB_TINFO_ID, 9);
    writer.end_nested(tunnel);
    writer.end_nested(whole);
    const std::size_t nothing = writer.begin_nested(BRIDGE_VLANDB_ENTRY);
    writer.u16(BRIDGE_VLANDB_ENTRY_INFO, 5);
    writer.end_nested(nothing);
  });
  REQUIRE(vlans.size() == 1);
  CHECK(vlans[0].index == 3);
  CHECK(vlans[0].vlan == 5);
  CHECK(vlans[0].last == 0);
  CHECK(vlans[0].unknown == std::vector<UnknownAttribute>{{BRIDGE_VLANDB_ENTRY_RANGE, nullptr, {7}},
                                                          {77, nullptr, {1}},
                                                          {BRIDGE_VLANDB_TINFO_ID, "tunnel", {9, 0}}});

  const auto groups = told(RTM_NEWMDB, decode_mdb, [](MessageWriter& writer) {
    const std::size_t table = writer.begin_nested(MDBA_MDB);
    const std::size_t group = writer.begin_nested(MDBA_MDB_ENTRY);
    support::ByteVector entry(sizeof(br_mdb_entry));
    const support::ByteVector attributes = from_hex("05004d000900000005000200010000000500050004000000");
    entry.insert(entry.end(), attributes.begin(), attributes.end());
    writer.attribute(MDBA_MDB_ENTRY_INFO, entry);
    writer.attribute(MDBA_MDB_ENTRY_INFO, Bytes(entry).first(sizeof(br_mdb_entry) - 1));
    writer.end_nested(group);
    writer.end_nested(table);
  });
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].mac == Mac{});
  CHECK(groups[0].protocol == std::uint8_t{RTPROT_STATIC});
  CHECK(groups[0].unknown ==
        std::vector<UnknownAttribute>{{77, nullptr, {9}}, {MDBA_MDB_EATTR_SRC_LIST, nullptr, {1}}});
}
