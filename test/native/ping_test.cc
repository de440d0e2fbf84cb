// Echo requests and replies as bytes.
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <cstring>

#include "probe/ping.h"

using overns::Bytes;
using overns::decode_echo_reply;
using overns::EchoKey;
using overns::encode_echo_request;

namespace {

EchoKey key() {
  EchoKey made{0x1234, 0};
  std::memcpy(&made.cookie, "overns!!", sizeof made.cookie);
  return made;
}

// `ping -c1 -p 6f7665726e732121 -s 8 -e 4660 127.0.0.1` in a namespace of its own, as `tcpdump -n -x -i lo icmp` prints
// the reply.
std::vector<std::uint8_t> reply4() {
  return {0x45, 0x00, 0x00, 0x24, 0xd0, 0xa9, 0x00, 0x00, 0x40, 0x01, 0xac, 0x2d, 0x7f, 0x00, 0x00, 0x01, 0x7f, 0x00,
          0x00, 0x01, 0x00, 0x00, 0x89, 0x4d, 0x12, 0x34, 0x00, 0x01, 0x6f, 0x76, 0x65, 0x72, 0x6e, 0x73, 0x21, 0x21};
}

}  // namespace

TEST_CASE("an echo request is the one that ping sends") {
  const auto bytes = encode_echo_request(AF_INET, key(), 1, 8);
  const std::vector<std::uint8_t> expected{0x08, 0x00, 0x81, 0x4d, 0x12, 0x34, 0x00, 0x01,
                                           0x6f, 0x76, 0x65, 0x72, 0x6e, 0x73, 0x21, 0x21};
  CHECK(bytes == expected);
  CHECK(encode_echo_request(AF_INET6, key(), 0x0203, 0) ==
        std::vector<std::uint8_t>{128, 0, 0, 0, 0x12, 0x34, 0x02, 0x03});
}

TEST_CASE("a reply to a request of ours is recognised") {
  CHECK(decode_echo_reply(AF_INET, reply4(), key(), 8) == 1);
  auto reply6 = encode_echo_request(AF_INET6, key(), 7, 3);
  reply6[0] = 129;
  CHECK(decode_echo_reply(AF_INET6, reply6, key(), 3) == 7);
}

TEST_CASE("IPv4 options before the reply are passed over") {
  auto bytes = reply4();
  bytes[0] = 0x46;
  bytes.insert(bytes.begin() + 20, {0x94, 0x04, 0x00, 0x00});
  CHECK(decode_echo_reply(AF_INET, bytes, key(), 8) == 1);
}

TEST_CASE("everybody else's packets are not taken for a reply") {
  const auto refused = [](std::vector<std::uint8_t> bytes) { return !decode_echo_reply(AF_INET, bytes, key(), 8); };
  auto bytes = reply4();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK(refused({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}));
  }
  // Each single bit of the ICMP message, by its checksum if nothing else.
  for (std::size_t bit = std::size_t{20} * 8; bit < bytes.size() * 8; ++bit) {
    CAPTURE(bit);
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    CHECK(refused(flipped));
  }
  bytes.push_back(0);
  CHECK(refused(bytes));
  CHECK(refused({0x4f}));
  CHECK(refused({0x41, 0, 0, 0}));

  // The same with a right checksum: another id, another payload, a request.
  CHECK_FALSE(decode_echo_reply(AF_INET, reply4(), EchoKey{0x1235, key().cookie}, 8));
  CHECK_FALSE(decode_echo_reply(AF_INET, reply4(), EchoKey{0x1234, key().cookie + 1}, 8));
  auto request = encode_echo_request(AF_INET6, key(), 7, 8);
  CHECK_FALSE(decode_echo_reply(AF_INET6, request, key(), 8));
  request[0] = 129;
  request[1] = 1;
  CHECK_FALSE(decode_echo_reply(AF_INET6, request, key(), 8));
}
