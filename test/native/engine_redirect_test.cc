// engine/miss_engine.h, engine/departures.h: frames that still come for a container that has left this host.
#include "engine/departures.h"
#include "engine/miss_engine.h"
#include "engine_world.h"

using namespace overns;
using support::ByteVector;
using support::ip;
using support::kMs;
using support::mac;
using support::numbered_mac;
using support::World;
using Macs = std::vector<Mac>;

namespace {

const Ip kTarget = ip("192.168.0.3");
const Mac kMac = mac("02:42:c0:a8:00:03");
const Ip kHere = ip("172.16.0.1");
const Ip kThere = ip("172.16.0.2");

// An IPv4 packet without content, of which only the hops count.
ByteVector frame_to(const Mac& to, std::uint8_t hops = 64) {
  ByteVector frame(34);
  std::copy(to.bytes.begin(), to.bytes.end(), frame.begin());
  frame[12] = 8;
  frame[14] = 0x45;
  frame[22] = hops;
  return frame;
}

bool redirected(World& world, ByteVector frame) { return world.engine.redirect(frame, world.clock); }

// It was here and has moved away.
void leave(World& world, const Mac& left = kMac) {
  world.engine.set_local(7, {kTarget}, left);
  world.turn();
  world.engine.set_local(7, {}, Mac{});
  world.turn();
}

}  // namespace

TEST_CASE("engine: a frame for a MAC that has left is sent on for a minute, once its record says another host") {
  World world;
  world.put(kTarget, kMac, kHere);
  CHECK_FALSE(redirected(world, frame_to(kMac)));
  leave(world);
  CHECK(world.departed == Macs{kMac});
  CHECK_FALSE(redirected(world, frame_to(kMac)));  // nobody is known to have it
  world.put(kTarget, kMac, kThere);
  ByteVector frame = frame_to(kMac, 9);
  CHECK(world.engine.redirect(frame, world.clock));
  CHECK(frame[22] == 8);
  CHECK_FALSE(redirected(world, frame_to(mac("02:42:c0:a8:00:04"))));
  CHECK(world.engine.counters().redirected == 1);
  world.advance(59'999 * kMs);
  CHECK(redirected(world, frame_to(kMac)));
  world.advance(1 * kMs);
  CHECK(world.departed.empty());
  CHECK_FALSE(redirected(world, frame_to(kMac)));
  CHECK(world.wake == 0);
}

TEST_CASE("engine: where nothing is known of it yet the frame is sent on as well, and asks as any other") {
  World world;
  leave(world);
  CHECK(redirected(world, frame_to(kMac)));
  world.packet(kMac, 1);  // out of vxlan1, which has no entry: it is punted
  CHECK(world.lookups.size() == 1);
  world.found(world.last_lookup(kMac), kMac, kThere);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.take_forwarded() == std::vector<std::uint32_t>{1});
}

TEST_CASE("engine: nothing is sent on for a MAC that is here, again or by another link") {
  World world;
  leave(world);
  SUBCASE("again") { world.engine.set_local(8, {kTarget}, kMac); }
  SUBCASE("as the overlay's own") { world.engine.set_own(8, {}, kMac); }
  world.put(kTarget, kMac, kThere);
  CHECK_FALSE(redirected(world, frame_to(kMac)));
  world.turn();
  CHECK(world.departed.empty());
  world.engine.set_local(9, {kTarget}, kMac);  // the new link comes before the old one goes
  world.engine.set_local(8, {}, Mac{});
  world.turn();
  CHECK(world.departed.empty());
}

TEST_CASE("engine: a frame that goes round between hosts dies") {
  World world;
  leave(world);
  world.put(kTarget, kMac, kThere);
  ByteVector frame = frame_to(kMac);
  int rounds = 0;
  while (world.engine.redirect(frame, world.clock)) ++rounds;
  CHECK(rounds == 63);
  ByteVector other = frame_to(kMac);
  other[13] = 6;  // ARP, which has no hops to count
  CHECK_FALSE(redirected(world, other));
  CHECK_FALSE(redirected(world, {}));
}

TEST_CASE("engine: frames are sent on at a bounded rate, and what is beyond it is counted") {
  World world;
  leave(world);
  std::uint32_t sent = 0;
  for (std::uint32_t i = 0; i < 2 * MissEngine::kRedirectsAtOnce; ++i)
    sent += redirected(world, frame_to(kMac)) ? 1 : 0;
  CHECK(sent == MissEngine::kRedirectsAtOnce);
  CHECK(world.engine.counters().packets_dropped == MissEngine::kRedirectsAtOnce);
  world.clock += 100 * kMs;
  for (std::uint32_t i = 0; i < 2 * MissEngine::kRedirectsAtOnce; ++i)
    sent += redirected(world, frame_to(kMac)) ? 1 : 0;
  CHECK(sent == MissEngine::kRedirectsAtOnce + MissEngine::kRedirectsPerSecond / 10);
}

TEST_CASE("engine: of very many that leave those that left last are remembered; switched off, none") {
  World world;
  for (std::uint32_t i = 1; i <= Departures::kMost + 10; ++i) leave(world, numbered_mac(i));
  CHECK(world.departed.size() == Departures::kMost);
  CHECK_FALSE(redirected(world, frame_to(numbered_mac(10))));
  CHECK(redirected(world, frame_to(numbered_mac(11))));
  EngineOptions options = World::defaults();
  options.redirect_ms = 0;
  World off(options);
  leave(off);
  CHECK(off.departed.empty());
  CHECK_FALSE(redirected(off, frame_to(kMac)));
}
