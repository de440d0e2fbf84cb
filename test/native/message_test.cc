// netlink/message.h: writing, reading, acknowledgements.
#include "netlink/message.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "captures/acks.h"
#include "captures/links.h"
#include "support.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;

namespace {

Message first_message(const ByteVector& bytes) {
  MessageReader reader(bytes);
  const auto message = reader.next();
  REQUIRE(message);
  return *message;
}

std::optional<Acknowledgement> acknowledgement(const ByteVector& bytes) {
  return parse_acknowledgement(first_message(bytes));
}

}  // namespace

TEST_CASE("a message written is the message the kernel would send") {
  // The request that the captured acknowledgement echoes.
  MessageWriter writer;
  writer.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 7);
  writer.header(ifinfomsg{});
  writer.text(IFLA_IFNAME, "bad0");
  writer.u32(IFLA_MTU, 1500);
  const std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
  writer.text(IFLA_INFO_KIND, "vxlan");
  const std::size_t data = writer.begin_nested(IFLA_INFO_DATA);
  writer.u32(IFLA_VXLAN_ID, 1 << 24);
  writer.end_nested(data);
  writer.end_nested(linkinfo);
  writer.end();

  const ByteVector answer = from_hex(captures::kErrorWithTextNoExtAck);
  const ByteVector echoed(answer.begin() + NLMSG_HDRLEN + sizeof(int), answer.end());
  CHECK(ByteVector(writer.bytes().begin(), writer.bytes().end()) == echoed);
}

TEST_CASE("messages follow one another, attributes of any length between") {
  MessageWriter writer;
  for (std::uint32_t i = 0; i < 8; ++i) {
    writer.begin(RTM_NEWLINK, NLM_F_REQUEST, i);
    writer.header(ifinfomsg{});
    const ByteVector payload(i, static_cast<std::uint8_t>(i));
    writer.attribute(100, payload);
    writer.be16(101, 4789);
    writer.be32(102, 0x01020304);
    writer.u8(103, 9);
    writer.end();
  }
  MessageReader reader(writer.bytes());
  for (std::uint32_t i = 0; i < 8; ++i) {
    const auto message = reader.next();
    REQUIRE(message);
    CHECK(message->header.nlmsg_seq == i);
    auto attributes = message->attributes<ifinfomsg>();
    const auto first = attributes.next();
    REQUIRE(first);
    CHECK(first->type == 100);
    CHECK(first->payload.size() == i);
    const auto port = attributes.next();
    REQUIRE(port);
    CHECK(port->be16() == 4789);
    CHECK(port->payload[0] == 0x12);
    CHECK_FALSE(port->be32());  // too short for it
    const auto word = attributes.next();
    REQUIRE(word);
    CHECK(word->be32() == 0x01020304);
    CHECK(word->payload[0] == 1);
    const auto byte = attributes.next();
    REQUIRE(byte);
    CHECK(byte->as<std::uint8_t>() == 9);
    CHECK_FALSE(byte->as<std::uint16_t>());
    CHECK_FALSE(attributes.next());
    CHECK_FALSE(attributes.malformed());
  }
  CHECK_FALSE(reader.next());
  CHECK_FALSE(reader.malformed());

  writer.clear();
  CHECK(writer.size() == 0);
}

TEST_CASE("text ends at the first NUL, or at the end") {
  const ByteVector terminated{'b', 'r', '0', 0, 'x'};
  const ByteVector open{'b', 'r', '0'};
  CHECK(Attribute{1, terminated}.text() == "br0");
  CHECK(Attribute{1, open}.text() == "br0");
  CHECK(Attribute{1, {}}.text().empty());
}

TEST_CASE("attributes end at the first that does not fit") {
  const auto walk = [](const ByteVector& bytes) {
    AttributeReader reader(bytes);
    int count = 0;
    while (reader.next()) ++count;
    CHECK_FALSE(reader.next());  // and stay ended
    return std::pair(count, reader.malformed());
  };
  CHECK(walk({}) == std::pair(0, false));
  CHECK(walk({4, 0, 1, 0}) == std::pair(1, false));                          // of zero length
  CHECK(walk({4, 0, 1, 0, 4, 0, 2, 0}) == std::pair(2, false));              // two of them
  CHECK(walk({5, 0, 1, 0, 9}) == std::pair(1, false));                       // the last without its padding
  CHECK(walk({5, 0, 1, 0, 9, 0, 0, 0, 4, 0, 2, 0}) == std::pair(2, false));  // with it
  CHECK(walk({0, 0, 1, 0}) == std::pair(0, true));                           // shorter than itself
  CHECK(walk({3, 0, 1, 0}) == std::pair(0, true));
  CHECK(walk({8, 0, 1, 0}) == std::pair(0, true));  // beyond the end
  CHECK(walk({0xff, 0xff, 1, 0}) == std::pair(0, true));
  CHECK(walk({4, 0, 1, 0, 4, 0, 2}) == std::pair(1, true));  // a header cut short
  // The flags are no part of the type.
  const ByteVector nested{4, 0, 0x12, 0x80};
  AttributeReader reader(nested);
  const auto attribute = reader.next();
  REQUIRE(attribute);
  CHECK(attribute->type == IFLA_LINKINFO);
}

TEST_CASE("messages end at the first that does not fit") {
  const auto walk = [](const ByteVector& bytes) {
    MessageReader reader(bytes);
    int count = 0;
    while (reader.next()) ++count;
    CHECK_FALSE(reader.next());
    return std::pair(count, reader.malformed());
  };
  ByteVector message(16);
  message[0] = 16;
  CHECK(walk({}) == std::pair(0, false));
  CHECK(walk(message) == std::pair(1, false));
  CHECK(walk(support::concat({message, message})) == std::pair(2, false));
  CHECK(walk(support::concat({message, {1, 2, 3}})) == std::pair(1, true));
  for (const std::uint8_t length : {0, 1, 15, 17, 255}) {
    message[0] = length;
    CHECK(walk(message) == std::pair(0, true));
  }
  message[0] = 16;
  message[3] = 0xff;  // 4 GiB
  CHECK(walk(message) == std::pair(0, true));
}

TEST_CASE("a header of a family is there or not") {
  ByteVector bytes = from_hex(captures::kVeth);
  CHECK(first_message(bytes).family_header<ifinfomsg>());
  const std::uint32_t length = NLMSG_HDRLEN + sizeof(ifinfomsg) - 1;
  bytes.resize(length);
  std::memcpy(bytes.data(), &length, sizeof length);
  const Message cut = first_message(bytes);
  CHECK_FALSE(cut.family_header<ifinfomsg>());
  CHECK_FALSE(cut.attributes<ifinfomsg>().next());
}

TEST_CASE("acknowledgements: done") {
  for (const auto& capture : {captures::kDone, captures::kDoneUncapped}) {
    const ByteVector bytes = from_hex(capture);
    const auto ack = acknowledgement(bytes);
    REQUIRE(ack);
    CHECK(ack->sequence == 7);
    CHECK(ack->error == 0);
    CHECK(ack->text.empty());
    CHECK_FALSE(ack->offset);
  }
}

TEST_CASE("acknowledgements: an error without words") {
  for (const auto& capture : {captures::kPlainError, captures::kPlainErrorUncapped, captures::kPlainErrorNoExtAck}) {
    const ByteVector bytes = from_hex(capture);
    const auto ack = acknowledgement(bytes);
    REQUIRE(ack);
    CHECK(ack->sequence == 7);
    CHECK(ack->error == EEXIST);
    CHECK(ack->text.empty());
    CHECK_FALSE(ack->offset);
  }
}

TEST_CASE("acknowledgements: text and offset, capped and behind the echoed request") {
  for (const auto& capture : {captures::kErrorWithText, captures::kErrorWithTextUncapped}) {
    const ByteVector bytes = from_hex(capture);
    const auto ack = acknowledgement(bytes);
    REQUIRE(ack);
    CHECK(ack->error == ERANGE);
    CHECK(ack->text == "VXLAN ID must be lower than 16777216");
    // IFLA_VXLAN_ID stands there in the request.
    CHECK(ack->offset == 72);
  }
  const ByteVector without = from_hex(captures::kErrorWithTextNoExtAck);
  const auto ack = acknowledgement(without);
  REQUIRE(ack);
  CHECK(ack->error == ERANGE);
  CHECK(ack->text.empty());
}

TEST_CASE("acknowledgements: several in one datagram") {
  const ByteVector bytes = from_hex(captures::kBatch);
  MessageReader reader(bytes);
  std::vector<std::pair<std::uint32_t, int>> seen;
  while (const auto message = reader.next()) {
    const auto ack = parse_acknowledgement(*message);
    REQUIRE(ack);
    seen.emplace_back(ack->sequence, ack->error);
  }
  CHECK(seen == std::vector<std::pair<std::uint32_t, int>>{{11, EEXIST}, {12, EEXIST}, {13, 0}});
}

TEST_CASE("acknowledgements: what is none, and what no kernel sends") {
  const ByteVector link = from_hex(captures::kVeth);
  CHECK_FALSE(acknowledgement(link));

  ByteVector bytes = from_hex(captures::kPlainError);
  const auto with_error = [&](std::int32_t error) {
    std::memcpy(bytes.data() + NLMSG_HDRLEN, &error, sizeof error);
    const auto ack = acknowledgement(bytes);
    REQUIRE(ack);
    return ack->error;
  };
  CHECK(with_error(-EINVAL) == EINVAL);
  // A failure has a positive errno, whatever is sent.
  CHECK(with_error(INT32_MIN) == EPROTO);
  CHECK(with_error(EINVAL) == EPROTO);
  CHECK(with_error(INT32_MAX) == EPROTO);

  // The length of the echoed request is not to be believed.
  bytes = from_hex(captures::kErrorWithTextUncapped);
  for (const std::uint32_t length : {0U, 15U, 16U, 17U, 100U, 0x7fffffffU, 0xfffffffeU, 0xffffffffU}) {
    std::memcpy(bytes.data() + NLMSG_HDRLEN + sizeof(int), &length, sizeof length);
    const auto ack = acknowledgement(bytes);
    REQUIRE(ack);
    CHECK(ack->error == ERANGE);
  }
}
