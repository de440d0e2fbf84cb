// Links of kinds that the kernel of the tests may lack: what iproute2 asks for, read and written again.
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "captures/links.h"
#include "round_trip.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"
#include "support.h"

using namespace overns;

namespace {

Link asked(std::string_view capture) {
  const support::ByteVector bytes = support::from_hex(capture);
  MessageReader reader(bytes);
  const auto message = reader.next();
  REQUIRE(message);
  auto link = decode_link(*message);
  REQUIRE(link);
  CHECK(link->unknown.empty());
  // Our own request says the same.
  LinkSpec spec;
  spec.kind = link->kind;
  spec.name = link->name;
  spec.info = link->info;
  if (link->link) spec.link = static_cast<std::uint32_t>(*link->link);
  RequestBatch batch;
  encode_link(batch, spec, 0);
  MessageReader own(batch.request(0));
  const auto again = decode_link(*own.next());
  REQUIRE(again);
  CHECK(again->kind == link->kind);
  CHECK(again->info == link->info);
  CHECK(again->link == link->link);
  return *link;
}

std::uint64_t number(const Link& link, std::string_view name) {
  for (const AttributeValue& each : link.info) {
    if (each.policy->name == name) return std::get<std::uint64_t>(each.value);
  }
  return ~std::uint64_t{0};
}

std::string ip(const Link& link, std::string_view name) {
  for (const AttributeValue& each : link.info) {
    const auto* address = std::get_if<Ip>(&each.value);
    if (each.policy->name == name && address != nullptr) return address->to_string();
  }
  return {};
}

}  // namespace

TEST_CASE("kinds of links as iproute2 asks for them") {
  CHECK(number(asked(captures::kAskVrf), "table") == 42);
  const Link ipvlan = asked(captures::kAskIpvlan);
  CHECK(number(ipvlan, "mode") == 1);
  CHECK(number(ipvlan, "private") == 0);
  CHECK(number(ipvlan, "vepa") == 1);
  const Link geneve = asked(captures::kAskGeneve);
  CHECK(number(geneve, "vni") == 42);
  CHECK(number(geneve, "ttl") == 5);
  CHECK(number(geneve, "port") == 6081);
  const Link bond = asked(captures::kAskBond);
  CHECK(number(bond, "mode") == 4);
  CHECK(number(bond, "miimon") == 100);
  CHECK(number(bond, "lacpRate") == 1);
  CHECK(number(bond, "xmitHashPolicy") == 1);
  const Link gre = asked(captures::kAskGre);
  CHECK(number(gre, "inputKey") == 7);
  CHECK(number(gre, "inputKeyed") == 1);
  CHECK(number(gre, "inputCsum") == 0);
  CHECK(number(gre, "outputKeyed") == 1);
  CHECK(number(gre, "ttl") == 64);
  CHECK(ip(gre, "remote") == "10.0.0.11");
  const Link gretap = asked(captures::kAskGretap);
  CHECK(number(gretap, "inputCsum") == 1);
  CHECK(number(gretap, "inputKey") == 1);
  CHECK(number(gretap, "outputSeq") == 1);
  CHECK(number(gretap, "outputKey") == 2);
  CHECK(number(gretap, "pmtuDiscovery") == 0);
  CHECK(number(gretap, "encap") == 2);
  CHECK(number(gretap, "encapPort") == 5555);
  CHECK(number(gretap, "mark") == 9);
  const Link ip6gre = asked(captures::kAskIp6gre);
  CHECK(ip(ip6gre, "local") == "fd00::10");
  CHECK(number(ip6gre, "encapLimit") == 3);
  CHECK(number(ip6gre, "flowInfo") == 0x12345);
  const Link ipip = asked(captures::kAskIpip);
  CHECK(number(ipip, "tos") == 0x10);
  CHECK(number(ipip, "ipProtocol") == 0);
  const Link sit = asked(captures::kAskSit);
  CHECK(number(sit, "tunnelFlags") == 1);
  CHECK(ip(sit, "sixrdPrefix") == "2001:db8::");
  CHECK(number(sit, "sixrdPrefixLength") == 32);
  const Link ip6tnl = asked(captures::kAskIp6tnl);
  CHECK(ip(ip6tnl, "remote") == "fd00::11");
  CHECK(number(ip6tnl, "ipProtocol") == 41);
  const Link hsr = asked(captures::kAskHsr);
  CHECK(number(hsr, "slave2") == 1);
  CHECK(number(hsr, "multicastSpec") == 45);
  CHECK(number(hsr, "protocol") == 1);
}

TEST_CASE("attributes of any other kind are written as they are") {
  LinkSpec spec;
  spec.kind = "macsec";
  spec.name = "macsec0";
  spec.unknown = {{1, "info", {7, 0, 0, 0}}, {2, "info", {8, 0, 0, 0}}};
  RequestBatch batch;
  encode_link(batch, spec, 0);
  MessageReader reader(batch.request(0));
  const auto link = decode_link(*reader.next());
  REQUIRE(link);
  CHECK(link->kind == "macsec");
  REQUIRE(link->unknown.size() == 2);
  CHECK(link->unknown[1].type == 2);
  CHECK(std::string_view(link->unknown[1].within) == "info");
  CHECK(link->unknown[1].bytes == spec.unknown[1].bytes);
}

namespace {

// Lengths of payload that a row cannot read.
std::vector<std::size_t> wrong_lengths(const AttributePolicy& policy) {
  switch (policy.value) {
    case ValueType::kIp4: return {0, 3, 5, 16};
    case ValueType::kIp6: return {0, 4, 15, 17};
    case ValueType::kMac: return {0, 5, 7};
    case ValueType::kFlag:
    case ValueType::kText:
    case ValueType::kBytes: return {};  // read whatever their length
    case ValueType::kBool:
    case ValueType::kU8: return {0};
    case ValueType::kU64:
    case ValueType::kBe64:
    case ValueType::kOption:
    case ValueType::kBridgeId:
    case ValueType::kRange32: return {0, 7};
    default: return {0, 1};
  }
}

}  // namespace

TEST_CASE("an attribute of the wrong length is kept as bytes, and written as it came") {
  int tried = 0;
  for (const char* kind : {"vxlan", "bridge", "macvlan", "tun", "vlan", "vrf", "ipvlan", "geneve", "bond", "ipip",
                           "ip6tnl", "hsr", "netkit"}) {
    for (const AttributePolicy& policy : info_policies(kind)) {
      for (const std::size_t length : wrong_lengths(policy)) {
        INFO(kind << " " << policy.name << ", " << length << " bytes");
        LinkSpec spec;
        spec.kind = kind;
        spec.name = "link0";
        spec.unknown = {{policy.type, "info", std::vector<std::uint8_t>(length, 0xa5)}};
        RequestBatch batch;
        encode_link(batch, spec, 0);
        MessageReader reader(batch.request(0));
        const auto message = reader.next();
        REQUIRE(message);
        const auto link = decode_link(*message);
        REQUIRE(link);
        CHECK(link->info.empty());
        CHECK(link->unknown == spec.unknown);
        CHECK(support::codecs().front().round_trip(*message) == support::RoundTrip::kSame);
        ++tried;
      }
    }
  }
  CHECK(tried > 200);
}

TEST_CASE("a name that is too long for a link is none") {
  // RTM_NEWLINK, an ifinfomsg, IFLA_IFNAME of 20 bytes without an end, and what no attribute is.
  const support::ByteVector bytes = support::from_hex(
      "3c00000010000506000000000000000000007e0000000000000000020000000018000300780303030303030303030303"
      "030303030303030330000044");
  MessageReader reader(bytes);
  const auto message = reader.next();
  REQUIRE(message);
  const auto link = decode_link(*message);
  REQUIRE(link);
  CHECK(link->name.empty());
  REQUIRE(link->unknown.size() == 1);
  CHECK(link->unknown[0].bytes.size() == 20);
  CHECK(support::codecs().front().round_trip(*message) == support::RoundTrip::kSame);
}

TEST_CASE("of two LINKINFO the last one counts, with what is unknown in it") {
  const auto info = [](MessageWriter& writer, const char* kind, std::uint16_t type) {
    const std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
    writer.text(IFLA_INFO_KIND, kind);
    const std::size_t data = writer.begin_nested(IFLA_INFO_DATA);
    writer.u32(type, 42);
    writer.end_nested(data);
    writer.end_nested(linkinfo);
  };
  RequestBatch batch;
  MessageWriter& writer = batch.begin(RTM_NEWLINK, 0);
  writer.header(ifinfomsg{});
  info(writer, "gen", 5);
  info(writer, "bond", 4242);
  batch.end();
  MessageReader reader(batch.request(0));
  const auto message = reader.next();
  REQUIRE(message);
  const auto link = decode_link(*message);
  REQUIRE(link);
  CHECK(link->kind == "bond");
  REQUIRE(link->unknown.size() == 1);
  CHECK(link->unknown[0].type == 4242);
  CHECK(support::codecs().front().round_trip(*message) == support::RoundTrip::kSame);
}
