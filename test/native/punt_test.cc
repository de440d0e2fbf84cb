// resolver/punt.h: VXLAN packets as they are punted, and the room that is made for them.
#include "resolver/punt.h"

#include <algorithm>

#include "captures/frames.h"
#include "support.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;
using support::mac;

TEST_CASE("punt: a packet, and what is none") {
  const ByteVector packet = support::concat({from_hex("0800000000002a00"), from_hex(captures::kArpRequest)});
  const auto punted = parse_vxlan_packet(packet);
  REQUIRE(punted);
  CHECK(punted->vni == 42);
  CHECK(punted->destination == mac("ff:ff:ff:ff:ff:ff"));
  CHECK(punted->packet.size() == packet.size());

  ByteVector no_vni = packet;
  no_vni[0] = 0;  // RFC 7348 section 5: the I flag
  CHECK_FALSE(parse_vxlan_packet(no_vni));
  for (std::size_t size = 0; size < 22; ++size) CHECK_FALSE(parse_vxlan_packet(Bytes(packet).first(size)));
  CHECK(parse_vxlan_packet(Bytes(packet).first(22)));
}

TEST_CASE("punt: the address that a packet is for") {
  const auto target = [](const char* type, const char* packet) {
    const ByteVector bytes = support::concat(
        {from_hex("0800000000002a00"), from_hex("0242c0a800030242c0a80002"), from_hex(type), from_hex(packet)});
    for (std::size_t size = 22; size < bytes.size(); ++size)
      (void)parse_vxlan_packet(ByteVector(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)));
    return parse_vxlan_packet(bytes)->target;
  };
  const char* v4 = "4500001400000000400100000a000001c0a80003";
  const char* v6 =
      "600000000000004000000000000000000000000000000000"
      "fd000000000000000000000000000003";
  CHECK(target("0800", v4) == support::ip("192.168.0.3"));
  CHECK(target("86dd", v6) == support::ip("fd00::3"));
  CHECK(target("86dd", v4).empty());
  CHECK(target("0800", v6).empty());
  CHECK(target("0806", v4).empty());
  CHECK(target("8100", v4).empty());
  CHECK(target("0800", "4500001400000000400100000a000001c0a800").empty());
}

TEST_CASE("punt: ports that not everybody may bind") {
  const auto ports = punt_ports(1024);
  CHECK(ports.size() > 400);
  CHECK(ports.front() >= 600);
  CHECK(ports.back() == 1023);
  CHECK(std::ranges::find(ports, 631) == ports.end());
  CHECK(punt_ports(32768) == ports);
  CHECK(punt_ports(700).back() == 699);
  CHECK(punt_ports(443).empty());
  CHECK(punt_ports(0).empty());
}

TEST_CASE("punt: a VNI in the place of another") {
  ByteVector packet = support::concat({from_hex("0800000000002a00"), from_hex(captures::kArpRequest)});
  write_vni(packet, 0xabcdef);
  CHECK(parse_vxlan_packet(packet)->vni == 0xabcdef);
  write_vni(packet, 42);
  CHECK(packet == support::concat({from_hex("0800000000002a00"), from_hex(captures::kArpRequest)}));
}

TEST_CASE("punt: room for the largest packet of an MTU, whatever is said to be one") {
  CHECK(vxlan_packet_size(0) >= 22);
  CHECK(vxlan_packet_size(1450) >= 1450 + 8 + 14);
  CHECK(vxlan_packet_size(9000) >= 9000 + 8 + 14 + 8);
  // More than a UDP datagram never comes.
  for (const std::uint32_t mtu : {65535U, 65536U, 0x7fffffffU, 0xffffffc0U, 0xffffffffU}) {
    INFO(mtu);
    CHECK(vxlan_packet_size(mtu) == 65535);
  }
}
