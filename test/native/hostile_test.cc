// Truncated, corrupted and random bytes: nothing is read out of bounds, nothing runs on for ever, nothing aborts. What
// the sanitizers then say counts; here only that every reader ends.
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cstring>

#include "all_captures.h"
#include "resolver/overlay_port.h"
#include "rtnl/address.h"
#include "rtnl/bridge_vlan.h"
#include "rtnl/link.h"
#include "rtnl/mdb.h"
#include "rtnl/neighbor.h"
#include "rtnl/route.h"
#include "support.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;
using support::Random;

namespace {

const std::vector<ByteVector>& all_captures() {
  static const std::vector<ByteVector> captured = [] {
    std::vector<ByteVector> list;
    for (const captures::Capture& capture : captures::kAll) list.push_back(from_hex(capture.hex));
    return list;
  }();
  return captured;
}

// Every attribute, and what could be attributes inside; returns how many.
std::size_t walk(AttributeReader reader, int depth = 0) {
  std::size_t count = 0;
  while (const auto attribute = reader.next()) {
    ++count;
    count += attribute->text().empty() ? 0 : 1;
    count += attribute->be16().value_or(0) != 0 ? 1 : 0;
    count += attribute->be32().value_or(0) != 0 ? 1 : 0;
    count += attribute->as<std::uint64_t>().value_or(0) != 0 ? 1 : 0;
    if (depth < 4) count += walk(AttributeReader(attribute->payload), depth + 1);
  }
  return count;
}

// All that this library does with bytes from a socket. The copy ends where the bytes do, for the sanitizer to see.
void read_everything(const std::uint8_t* data, std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
  if (size > 0) std::memcpy(exact.get(), data, size);
  MessageReader reader(Bytes(exact.get(), size));
  std::size_t messages = 0;
  std::size_t weight = 0;
  while (const auto message = reader.next()) {
    ++messages;
    weight += walk(message->attributes<ifinfomsg>());
    weight += walk(message->attributes<ndmsg>());
    weight += walk(message->attributes<rtgenmsg>());
    if (const auto ack = parse_acknowledgement(*message)) weight += ack->text.size() + (ack->error < 0 ? 1000000U : 0U);
    if (const auto link = decode_link(*message)) {
      weight += link->info.size() + link->name.size() + link->alternative_names.size();
      if (const auto alias = parse_endpoint_alias(link->alias)) weight += alias->ips.size();
    }
    if (const auto address = decode_address(*message)) weight += address->ip.to_string().size();
    if (const auto route = decode_route(*message)) weight += route->destination.to_string().size();
    if (const auto entry = decode_neighbor(*message)) weight += entry->ip.to_string().size();
    std::vector<BridgeVlan> vlans;
    decode_vlans(*message, vlans);
    std::vector<MdbEntry> groups;
    decode_mdb(*message, groups);
    weight += vlans.size() + groups.size();
    if (const auto miss = decode_miss(*message)) weight += miss->ip.to_string().size() + miss->mac.to_string().size();
  }
  REQUIRE(messages <= size / sizeof(nlmsghdr));
  REQUIRE(weight < 1000000);
}

void read_everything(const ByteVector& bytes) { read_everything(bytes.data(), bytes.size()); }

// Offsets of all length fields: of messages, attributes, and of attributes within.
void find_attribute_lengths(const ByteVector& bytes, std::size_t at, std::size_t end, int depth,
                            std::vector<std::size_t>& found) {
  while (at + sizeof(nlattr) <= end) {
    nlattr attribute;
    std::memcpy(&attribute, bytes.data() + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > end) return;
    found.push_back(at);
    const bool nested = (attribute.nla_type & NLA_F_NESTED) != 0 || attribute.nla_type == IFLA_LINKINFO ||
                        attribute.nla_type == IFLA_AF_SPEC || attribute.nla_type == IFLA_PROP_LIST;
    if (depth < 3 && nested) {
      find_attribute_lengths(bytes, at + sizeof attribute, at + attribute.nla_len, depth + 1, found);
    }
    at += align4(attribute.nla_len);
  }
}

std::vector<std::size_t> attribute_lengths(const ByteVector& bytes) {
  std::vector<std::size_t> found;
  std::size_t at = 0;
  while (at + sizeof(nlmsghdr) <= bytes.size()) {
    nlmsghdr header;
    std::memcpy(&header, bytes.data() + at, sizeof header);
    std::size_t skip = sizeof(ifinfomsg);
    if (header.nlmsg_type >= RTM_NEWADDR && header.nlmsg_type <= RTM_GETADDR) skip = 8;
    if (header.nlmsg_type >= RTM_NEWROUTE && header.nlmsg_type <= RTM_GETNEIGH) skip = 12;
    if (header.nlmsg_type == NLMSG_ERROR) skip = sizeof(nlmsgerr);
    find_attribute_lengths(bytes, at + sizeof header + skip, at + header.nlmsg_len, 0, found);
    at += align4(header.nlmsg_len);
  }
  return found;
}

}  // namespace

TEST_CASE("hostile: every prefix of every capture") {
  for (const ByteVector& bytes : all_captures()) {
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
      if (bytes.size() > 4000 && size % 7 != 0) continue;  // the dumps are long, and made of the like
      read_everything(bytes.data(), size);
    }
  }
}

TEST_CASE("hostile: a message cut short that says it is whole") {
  for (const ByteVector& bytes : all_captures()) {
    if (bytes.size() > 4000) continue;
    for (std::size_t size = sizeof(nlmsghdr); size < bytes.size(); ++size) {
      ByteVector cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const auto length = static_cast<std::uint32_t>(size);
      std::memcpy(cut.data(), &length, sizeof length);
      read_everything(cut);
    }
  }
}

TEST_CASE("hostile: every length field, with every tempting value") {
  std::size_t fields = 0;
  for (const ByteVector& original : all_captures()) {
    if (original.size() > 4000) continue;
    ByteVector bytes = original;
    for (const std::size_t at : attribute_lengths(original)) {
      ++fields;
      std::uint16_t before;
      std::memcpy(&before, bytes.data() + at, sizeof before);
      const auto rest = static_cast<std::uint16_t>(bytes.size() - at);
      for (const std::uint16_t value :
           {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{3}, std::uint16_t{4}, std::uint16_t{5}, std::uint16_t{7},
            static_cast<std::uint16_t>(before - 1), static_cast<std::uint16_t>(before + 1),
            static_cast<std::uint16_t>(before + 4), rest, static_cast<std::uint16_t>(rest + 1), std::uint16_t{0x7fff},
            std::uint16_t{0xfffc}, std::uint16_t{0xffff}}) {
        std::memcpy(bytes.data() + at, &value, sizeof value);
        read_everything(bytes);
      }
      std::memcpy(bytes.data() + at, &before, sizeof before);
    }
    for (const std::uint32_t value : {0U, 1U, 15U, 16U, 17U, 0x7fffffffU, 0xfffffff0U, 0xffffffffU}) {
      std::memcpy(bytes.data(), &value, sizeof value);
      read_everything(bytes);
    }
  }
  CHECK(fields > 400);
}

TEST_CASE("hostile: an attribute never reaches beyond its parent") {
  // IFLA_LINKINFO says 12 bytes; the IFLA_INFO_KIND in it says 200, and the message has that many.
  MessageWriter writer;
  writer.begin(RTM_NEWLINK, 0, 1);
  writer.header(ifinfomsg{});
  const std::size_t start = writer.size();
  writer.attribute(IFLA_LINKINFO | NLA_F_NESTED, ByteVector(8));
  writer.text(IFLA_IFALIAS, std::string(300, 'x'));
  writer.end();
  ByteVector bytes(writer.bytes().begin(), writer.bytes().end());
  const nlattr child{200, IFLA_INFO_KIND};
  std::memcpy(bytes.data() + start + sizeof(nlattr), &child, sizeof child);
  MessageReader reader(bytes);
  const auto link = decode_link(*reader.next());
  REQUIRE(link);
  CHECK(link->kind.empty());
  CHECK(link->alias == std::string(300, 'x'));
  read_everything(bytes);
}

TEST_CASE("hostile: thousands of empty attributes, and one of 64 KiB") {
  MessageWriter writer;
  writer.begin(RTM_NEWLINK, 0, 1);
  writer.header(ifinfomsg{});
  for (int i = 0; i < 20000; ++i) {
    // With one of a wireless driver it would be none of the link (decode_link).
    if (i % 70 != IFLA_WIRELESS) writer.attribute(static_cast<std::uint16_t>(i % 70), {});
  }
  writer.attribute(IFLA_IFALIAS, ByteVector(UINT16_MAX - NLA_HDRLEN, 'x'));
  writer.end();
  MessageReader reader(writer.bytes());
  const auto link = decode_link(*reader.next());
  REQUIRE(link);
  CHECK(link->alias.size() == UINT16_MAX - NLA_HDRLEN);
  read_everything(ByteVector(writer.bytes().begin(), writer.bytes().end()));
}

TEST_CASE("hostile: random changes and random bytes") {
  const std::uint64_t seed = 20240607;
  INFO("seed " << seed);
  Random random(seed);
  for (int round = 0; round < 20000; ++round) {
    const auto& captured = all_captures();
    ByteVector bytes = captured[random.below(static_cast<std::uint32_t>(captured.size()))];
    if (bytes.size() > 4000) bytes.resize(1 + random.below(4000));
    const std::uint32_t changes = 1 + random.below(8);
    for (std::uint32_t i = 0; i < changes; ++i) {
      bytes[random.below(static_cast<std::uint32_t>(bytes.size()))] = static_cast<std::uint8_t>(random.next());
    }
    if (random.one_in(4)) bytes.resize(random.below(static_cast<std::uint32_t>(bytes.size()) + 1));
    read_everything(bytes);
  }
  for (int round = 0; round < 5000; ++round) {
    ByteVector bytes(random.below(300));
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    // A header that lets the rest be looked at.
    if (bytes.size() >= sizeof(nlmsghdr)) {
      const nlmsghdr header{static_cast<std::uint32_t>(bytes.size()),
                            static_cast<std::uint16_t>(random.one_in(3) ? NLMSG_ERROR : 16 + random.below(15)),
                            static_cast<std::uint16_t>(random.one_in(2) ? 0 : random.next()), 1, 0};
      std::memcpy(bytes.data(), &header, sizeof header);
    }
    read_everything(bytes);
  }
}
