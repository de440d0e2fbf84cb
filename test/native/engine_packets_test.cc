// engine/miss_engine.h: punted packets, which are L2 misses and must not be lost.
#include "engine/miss_engine.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include "engine_world.h"

using namespace overns;
using support::ip;
using support::kMs;
using support::mac;
using support::World;
using Serials = std::vector<std::uint32_t>;

namespace {

const Ip kTarget = ip("192.168.0.3");
const Mac kMac = mac("02:42:c0:a8:00:03");
const Ip kHere = ip("172.16.0.1");
const Ip kThere = ip("172.16.0.2");

}  // namespace

TEST_CASE("engine: a punted packet is the L2 miss, and goes on when it is answered") {
  World world;
  world.packet(kMac, 1);
  world.packet(kMac, 2);
  CHECK(world.lookups.size() == 1);
  CHECK(world.count(EventKind::kMiss) == 1);
  world.turn();
  CHECK(world.forwarded.empty());
  world.found(world.last_lookup(kMac), kMac, kThere);
  world.packet(kMac, 3);
  world.on_program = [&] { CHECK(world.forwarded.size() == 3); };  // before the kernel sends what follows
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.forwarded.size() == 3);
  for (const auto& [serial, vtep] : world.forwarded) CHECK(vtep == kThere);
  auto serials = world.take_forwarded();
  std::ranges::sort(serials);
  CHECK(serials == Serials{1, 2, 3});
  // Those that were on the way when the entry was made.
  world.packet(kMac, 4);
  CHECK(world.take_forwarded() == Serials{4});
}

TEST_CASE("engine: a punted packet for what is known goes on at once") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.packet(kMac, 1);
  CHECK(world.take_forwarded() == Serials{1});
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.lookups.empty());
}

TEST_CASE("engine: with a packet's MAC its address is programmed, which its sender asks for next") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.put(ip("192.168.0.4"), mac("02:42:c0:a8:00:04"), kThere);
  SUBCASE("when it is known to have the MAC") {
    world.packet(kMac, 1, kTarget);
    world.turn();
    CHECK(world.neighbors == std::map<Ip, Mac>{{kTarget, kMac}});
    // Nobody has missed that.
    CHECK(world.count(EventKind::kMiss) == 1);
    CHECK(world.count(EventKind::kResolved) == 1);
  }
  SUBCASE("not when another one has it") {
    world.packet(kMac, 1, ip("192.168.0.4"));
    world.turn();
    CHECK(world.neighbors.empty());
  }
  SUBCASE("not when nobody is known to have it, as behind a router") {
    world.packet(kMac, 1, ip("1.1.1.1"));
    world.turn();
    CHECK(world.neighbors.empty());
    CHECK(world.lookups.empty());
  }
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.take_forwarded() == Serials{1});
}

TEST_CASE("engine: no packet is sent to this host itself") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.packet(kMac, 1);
  world.turn();
  world.forwarded.clear();
  SUBCASE("when the endpoint has come here") {
    world.put(kTarget, kMac, kHere);
    world.packet(kMac, 2);
    world.turn();
    world.packet(kMac, 3);
  }
  SUBCASE("when it has come here in the same round as a packet for it") {
    world.packet(kMac, 2);
    world.forwarded.clear();
    world.put(kTarget, kMac, kHere);
    world.packet(kMac, 3);
    world.turn();
  }
  SUBCASE("when it is attached here") {
    world.engine.set_local(7, {kTarget}, kMac);
    world.packet(kMac, 2);
    world.turn();
  }
  CHECK(world.forwarded.empty());
  CHECK(world.fdb.empty());
}

TEST_CASE("engine: packets without an answer are dropped, and not kept") {
  const Mac other = mac("02:42:c0:a8:00:04");
  for (const LookupResult result : {LookupResult::kAbsent, LookupResult::kError, LookupResult::kTimeout}) {
    World world;
    for (std::uint32_t i = 0; i < 10; ++i) world.packet(kMac, i);
    world.answer(world.last_lookup(kMac), result);
    world.turn();
    CHECK(world.forwarded.empty());
    CHECK(world.engine.counters().packets_dropped == 10);
  }
  World world;
  world.packet(kMac, 1);
  world.found(world.last_lookup(kMac), kMac, kThere);
  world.engine.forget(kMac);  // in the same round
  world.turn();
  CHECK(world.engine.counters().packets_dropped == 1);
  world.packet(other, 2);
  world.found(world.last_lookup(other), other, kHere);
  world.turn();
  CHECK(world.engine.counters().packets_dropped == 2);
  // Known of old, and here: an error does not bring the old answer back, and keeps nothing.
  world.put(kTarget, other, kHere);
  world.advance(2000 * kMs);
  world.packet(other, 3);
  world.turn();
  CHECK(world.engine.counters().packets_dropped == 3);
  CHECK(world.forwarded.empty());
}
