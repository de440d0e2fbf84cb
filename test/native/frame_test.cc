// engine/frame.h: which frames are requests that a vxlan device with `proxy` swallows.
#include "engine/frame.h"

#include <memory>

#include "captures/frames.h"
#include "support.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;
using support::ip;
using support::mac;

namespace {

ByteVector arp_request() { return from_hex(captures::kArpRequest); }
ByteVector solicitation() { return from_hex(captures::kSolicitation); }

// The frame in memory that ends where it does, for the sanitizers to see.
template <class Parse>
auto parsed(Parse parse, const ByteVector& frame) {
  static std::unique_ptr<std::uint8_t[]> exact;
  exact.reset(new std::uint8_t[frame.size()]);
  std::copy(frame.begin(), frame.end(), exact.get());
  return parse(Bytes(exact.get(), frame.size()));
}
auto arp(const ByteVector& frame) { return parsed(parse_arp_request, frame); }
auto nd(const ByteVector& frame) { return parsed(parse_neighbor_solicitation, frame); }

ByteVector changed(ByteVector frame, std::size_t at, const ByteVector& bytes) {
  std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<std::ptrdiff_t>(at));
  return frame;
}

}  // namespace

TEST_CASE("ARP: a request, also one that is padded to the shortest Ethernet frame") {
  const auto request = arp(arp_request());
  REQUIRE(request);
  CHECK(request->target == ip("192.168.0.3"));
  CHECK(request->asker == mac("02:42:c0:a8:00:02"));
  CHECK(request->frame.size() == 42);

  ByteVector padded = arp_request();
  padded.resize(60, 0xaa);
  const auto same = arp(padded);
  REQUIRE(same);
  CHECK(same->frame.size() == 42);  // the padding is not replayed
  const ByteVector replayed(same->frame.begin(), same->frame.end());
  CHECK(replayed == arp_request());
}

TEST_CASE("ARP: a unicast request and a probe are requests too") {
  CHECK(arp(changed(arp_request(), 0, {2, 0x42, 0xc0, 0xa8, 0, 3})));
  // RFC 5227: the sender's address is still being probed.
  const auto probe = arp(changed(arp_request(), 28, {0, 0, 0, 0}));
  REQUIRE(probe);
  CHECK(probe->target == ip("192.168.0.3"));
}

TEST_CASE("ARP: what asks nobody") {
  CHECK_FALSE(arp(changed(arp_request(), 38, {192, 168, 0, 2})));      // an announcement: of the sender's own
  CHECK_FALSE(arp(changed(arp_request(), 20, {0, 2})));                // a reply
  CHECK_FALSE(arp(changed(arp_request(), 20, {0, 3})));                // RARP
  CHECK_FALSE(arp(changed(arp_request(), 38, {0, 0, 0, 0})));          // for no address
  CHECK_FALSE(arp(changed(arp_request(), 38, {224, 0, 0, 1})));        // for a multicast one
  CHECK_FALSE(arp(changed(arp_request(), 38, {255, 255, 255, 255})));  // for all
  CHECK_FALSE(arp(changed(arp_request(), 12, {8, 0})));                // IPv4
  CHECK_FALSE(arp(changed(arp_request(), 14, {0, 6})));                // of another hardware
  CHECK_FALSE(arp(changed(arp_request(), 16, {0x86, 0xdd})));          // for another protocol
  CHECK_FALSE(arp(changed(arp_request(), 18, {8})));                   // of other lengths
  CHECK_FALSE(arp(changed(arp_request(), 19, {16})));
}

TEST_CASE("ND: a solicitation with and without its option") {
  const auto request = nd(solicitation());
  REQUIRE(request);
  CHECK(request->target == ip("fd00::3"));
  CHECK(request->asker == mac("02:42:c0:a8:00:02"));
  CHECK(request->frame.size() == 86);

  // As for duplicate address detection.
  ByteVector bare = changed(solicitation(), 18, {0, 24});
  bare.resize(78);
  const auto same = nd(bare);
  REQUIRE(same);
  CHECK(same->frame.size() == 78);

  // What lies behind the packet is no part of it.
  ByteVector padded = solicitation();
  padded.resize(120, 0xaa);
  const auto trimmed = nd(padded);
  REQUIRE(trimmed);
  CHECK(trimmed->frame.size() == 86);
}

TEST_CASE("ND: what is no well-formed solicitation") {
  CHECK_FALSE(nd(changed(solicitation(), 12, {8, 0})));          // another protocol
  CHECK_FALSE(nd(changed(solicitation(), 14, {0x40})));          // another IP version
  CHECK_FALSE(nd(changed(solicitation(), 20, {0})));             // a hop-by-hop header comes first
  CHECK_FALSE(nd(changed(solicitation(), 20, {17})));            // UDP
  CHECK_FALSE(nd(changed(solicitation(), 21, {254})));           // it has been routed: RFC 4861 section 7.1.1
  CHECK_FALSE(nd(changed(solicitation(), 54, {136})));           // an advertisement
  CHECK_FALSE(nd(changed(solicitation(), 54, {128})));           // an echo request
  CHECK_FALSE(nd(changed(solicitation(), 55, {1})));             // another code
  CHECK_FALSE(nd(changed(solicitation(), 62, {0xff, 2})));       // for a multicast address
  CHECK_FALSE(nd(changed(solicitation(), 62, ByteVector(16))));  // for none
  CHECK_FALSE(nd(changed(solicitation(), 18, {0, 33})));         // longer than the frame
  CHECK_FALSE(nd(changed(solicitation(), 18, {0xff, 0xff})));
  CHECK_FALSE(nd(changed(solicitation(), 18, {0, 23})));  // too short for a target
  CHECK_FALSE(nd(changed(solicitation(), 18, {0, 0})));
}

TEST_CASE("frames cut short at every byte") {
  for (std::size_t size = 0; size < arp_request().size(); ++size) {
    const ByteVector whole = arp_request();
    CHECK_FALSE(arp(ByteVector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))));
  }
  for (std::size_t size = 0; size < solicitation().size(); ++size) {
    const ByteVector whole = solicitation();
    CHECK_FALSE(nd(ByteVector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))));
  }
}

TEST_CASE("frames of random bytes") {
  const std::uint64_t seed = 4861;
  INFO("seed " << seed);
  support::Random random(seed);
  for (int round = 0; round < 20000; ++round) {
    ByteVector frame = random.one_in(2) ? arp_request() : solicitation();
    for (std::uint32_t i = random.below(4); i > 0; --i)
      frame[random.below(static_cast<std::uint32_t>(frame.size()))] = static_cast<std::uint8_t>(random.next());
    if (random.one_in(3)) frame.resize(random.below(140));
    for (const auto& request : {arp(frame), nd(frame)}) {
      if (!request) continue;
      REQUIRE(request->target.is_unicast());
      REQUIRE(request->frame.size() <= frame.size());
      REQUIRE(request->frame.size() >= 42);
    }
  }
}

TEST_CASE("an announcement is what the kernel sends of itself") {
  const Mac announced = mac("02:42:c0:a8:00:09");
  const auto bytes = [](const Announcement& frame) { return ByteVector(frame.bytes().begin(), frame.bytes().end()); };
  // Captured from Linux 6.18 with ndisc_notify.
  CHECK(bytes(Announcement(ip("fe80::42:c0ff:fea8:9"), announced)) ==
        from_hex("3333000000010242c0a8000986dd6000000000203afffe800000000000000042c0fffea80009"
                 "ff020000000000000000000000000001880016c320000000fe800000000000000042c0fffea80009"
                 "02010242c0a80009"));
  CHECK(bytes(Announcement(ip("192.168.0.9"), announced)) ==
        from_hex("ffffffffffff0242c0a80009080600010800060400020242c0a80009c0a800090242c0a80009c0a80009"));
  // Nobody takes it for a request, which a vxlan device would swallow with a miss.
  CHECK_FALSE(arp(bytes(Announcement(ip("192.168.0.9"), announced))));
  CHECK_FALSE(nd(bytes(Announcement(ip("fd00::9"), announced))));
}

TEST_CASE("hops: each takes one of them, as a router does, and the checksum stays right") {
  // RFC 1071: over a header with a right checksum it is all ones.
  const auto sum_of = [](const ByteVector& frame) {
    std::uint32_t sum = 0;
    for (std::size_t i = 14; i < 34; i += 2) sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
  };
  ByteVector packet = from_hex("0242c0a800030242c0a8000208004500005400004000ff010000c0a80002c0a80003");
  packet.resize(98);
  // Of each value of the checksum's high byte: the sum wraps in one of them.
  for (int id = 0; id < 0x10000; id += 0x55) {
    ByteVector frame = changed(packet, 18, {static_cast<std::uint8_t>(id >> 8), static_cast<std::uint8_t>(id)});
    const std::uint32_t checksum = ~sum_of(frame);
    frame = changed(frame, 24, {static_cast<std::uint8_t>(checksum >> 8), static_cast<std::uint8_t>(checksum)});
    int hops = 0;
    for (; spend_hop(frame); ++hops) REQUIRE(sum_of(frame) == 0xffff);
    CHECK(hops == 254);
    CHECK(frame[22] == 1);
  }
  ByteVector v6 = solicitation();
  v6[21] = 2;
  CHECK(spend_hop(v6));
  CHECK(v6[21] == 1);
  const ByteVector before = v6;
  CHECK_FALSE(spend_hop(v6));
  CHECK(v6 == before);
}

TEST_CASE("hops: a frame that is no IP packet has none") {
  ByteVector request = arp_request();
  CHECK_FALSE(spend_hop(request));
  ByteVector packet = from_hex("0242c0a800030242c0a800020800450000540000400040010000c0a80002c0a80003");
  for (std::size_t size = 0; size < packet.size(); ++size) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
    std::copy_n(packet.begin(), size, exact.get());
    CHECK_FALSE(spend_hop({exact.get(), size}));
  }
  packet[14] = 0x65;  // the version of the other protocol
  CHECK_FALSE(spend_hop(packet));
}
