// engine/tapped_frames.h and engine/held_packets.h: what is kept until there is an answer.
#include "engine/tapped_frames.h"

#include <algorithm>

#include "engine/held_packets.h"
#include "engine_world.h"

using namespace overns;
using support::kMs;
using support::numbered_ip;
using support::numbered_mac;
using support::request;

namespace {

constexpr Nanoseconds kNow = 10'000 * kMs;

std::uint64_t keep(TappedFrames& frames, std::uint32_t asker, std::uint32_t serial, std::uint64_t previous = 0,
                   Nanoseconds now = kNow) {
  return frames.keep(request(numbered_ip(1), asker, serial), previous, now);
}

}  // namespace

TEST_CASE("tapped frames: those of an address come oldest first, and not when they are old") {
  TappedFrames frames;
  const std::uint64_t old = keep(frames, 1, 7, 0, kNow - 600 * kMs);
  const std::uint64_t first = keep(frames, 1, 8, old);
  (void)keep(frames, 2, 99);
  const std::uint64_t last = keep(frames, 3, 9, first);
  std::vector<std::uint32_t> serials;
  for (const std::uint64_t number : frames.chain(last, kNow))
    serials.push_back(support::serial_of(frames.bytes(number)));
  CHECK(serials == std::vector<std::uint32_t>{7, 8, 9});
  CHECK(frames.chain(last, kNow + 500 * kMs).size() == 2);
  CHECK(frames.fresh_until(last, kNow) == kNow + 1000 * kMs);
  CHECK(frames.fresh_until(last, kNow + 1001 * kMs) == 0);
  CHECK(frames.fresh_until(0, kNow) == 0);
  CHECK(frames.chain(0, kNow).empty());
  CHECK(frames.had_bytes(last, request(numbered_ip(1), 3, 9).frame));
  CHECK_FALSE(frames.had_bytes(last, request(numbered_ip(1), 3, 10).frame));
  CHECK_FALSE(frames.had_bytes(0, request(numbered_ip(1), 3, 9).frame));
}

TEST_CASE("tapped frames: one asker fills a quarter, and has room again as they are released") {
  TappedFrames frames;
  std::vector<std::uint64_t> kept;
  while (const std::uint64_t number = keep(frames, 1, 1)) {
    kept.push_back(number);
    REQUIRE(kept.size() < 1 << 14);
  }
  CHECK(kept.size() == 1 << 12);
  CHECK(keep(frames, 2, 1) != 0);
  frames.release(kept.back());
  frames.release(kept.back());  // again: no more room by it
  CHECK(keep(frames, 1, 1) != 0);
  CHECK(keep(frames, 1, 1) == 0);
  CHECK(keep(frames, 1, 1, 0, kNow + 1001 * kMs) != 0);  // the old ones are worth nothing
}

TEST_CASE("tapped frames: what is too long, or of nobody, is not taken") {
  const std::vector<std::uint8_t> bytes(129);
  CHECK_FALSE(TappedFrames::takes({numbered_ip(1), numbered_mac(1), bytes}));
  CHECK(TappedFrames::takes({numbered_ip(1), numbered_mac(1), Bytes(bytes).first(128)}));
  CHECK_FALSE(TappedFrames::takes({numbered_ip(1), Mac{}, Bytes(bytes).first(42)}));
}

TEST_CASE("held packets: in order, the oldest of a MAC gives way, and all together are bounded") {
  HeldPackets packets;
  const std::vector<std::uint8_t> packet(60'000);
  std::size_t kept = 0;
  while (packets.keep(numbered_mac(1), packet) == 0) REQUIRE(++kept < 100);
  CHECK(kept == (2 << 20) / 60'000);
  const std::vector<std::uint8_t> last{1, 2, 3};
  CHECK(packets.keep(numbered_mac(1), last) == 0);
  const auto taken = packets.take(numbered_mac(1));
  CHECK(taken.size() == kept + 1);
  CHECK(taken.back() == last);
  CHECK(packets.empty());
  CHECK(packets.take(numbered_mac(1)).empty());
  std::size_t all = 0;
  std::size_t dropped = 0;
  for (std::uint32_t mac = 1; mac <= 40; ++mac) {
    for (std::size_t i = 0; i < kept; ++i) {
      dropped += packets.keep(numbered_mac(mac), packet);
      ++all;
    }
  }
  CHECK(all - dropped == (64 << 20) / 60'000);
  std::size_t held = 0;
  for (std::uint32_t mac = 1; mac <= 40; ++mac) held += packets.take(numbered_mac(mac)).size();
  CHECK(held == all - dropped);
  CHECK(packets.empty());
}
