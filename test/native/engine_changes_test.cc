// engine/changes.cc: what the store's watch says, and what is on this host.
#include "engine/miss_engine.h"

#include <algorithm>
#include <cerrno>

#include "engine_world.h"

using namespace overns;
using support::ip;
using support::kMs;
using support::mac;
using support::numbered_ip;
using support::numbered_mac;
using support::World;
using Serials = std::vector<std::uint32_t>;

namespace {

const Ip kTarget = ip("192.168.0.3");
const Mac kMac = mac("02:42:c0:a8:00:03");
const Ip kHere = ip("172.16.0.1");
const Ip kThere = ip("172.16.0.2");
const Ip kElsewhere = ip("172.16.0.3");

}  // namespace

// --- ahead -------------------------------------------------------------------------------------------------------

TEST_CASE("engine: what the watch gives is programmed before anyone asks, while there are few") {
  EngineOptions options = World::defaults();
  options.program_ahead = 3;
  World world(options);
  world.engine.begin_reset(2);
  world.put(kTarget, kMac, kThere);
  world.put(numbered_ip(1), numbered_mac(1), options.vtep);  // this host's
  world.turn();
  CHECK(world.neighbors.at(kTarget) == kMac);
  CHECK(world.fdb.at(kMac) == kThere);
  CHECK(world.neighbors.size() == 1);
  CHECK(world.lookups.empty());
  // It moves, goes and comes as what was asked for does.
  world.put(kTarget, kMac, kElsewhere);
  world.turn();
  CHECK(world.fdb.at(kMac) == kElsewhere);
  world.put(numbered_ip(2), numbered_mac(2), kThere);
  world.turn();
  CHECK(world.neighbors.contains(numbered_ip(2)));
  world.engine.forget(kTarget);
  world.engine.forget(kMac);
  world.turn();
  CHECK_FALSE(world.neighbors.contains(kTarget));
  CHECK_FALSE(world.fdb.contains(kMac));
  // One more than the limit, two more: only when they are asked for.
  world.put(kTarget, kMac, kThere);
  world.put(numbered_ip(3), numbered_mac(3), kThere);
  world.put(numbered_ip(4), numbered_mac(4), kThere);
  world.turn();
  CHECK(world.neighbors.size() == 2);
  world.miss(numbered_ip(4));
  world.turn();
  CHECK(world.neighbors.contains(numbered_ip(4)));
}

TEST_CASE("engine: of a network that is too large nothing is programmed ahead") {
  EngineOptions options = World::defaults();
  options.program_ahead = 3;
  World world(options);
  world.engine.begin_reset(4);
  for (std::uint32_t n = 1; n <= 4; ++n) world.put(numbered_ip(n), numbered_mac(n), kThere);
  world.turn();
  CHECK(world.neighbors.empty());
  World usual;
  usual.engine.begin_reset(1);
  usual.put(kTarget, kMac, kThere);
  usual.turn();
  CHECK(usual.neighbors.empty());
}

// --- TTL ---------------------------------------------------------------------------------------------------------

TEST_CASE("engine: an entry goes at its TTL, and the next miss asks again") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 2000);
  world.turn();
  REQUIRE(world.wake != 0);
  world.advance(1900 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  // The engine says when: a driver that sleeps until then is never early, and late by a tick at most.
  Nanoseconds woken = world.clock;
  for (int i = 0; i < 20 && world.neighbors.contains(kTarget); ++i) {
    REQUIRE(world.wake > world.clock);
    woken = world.clock = world.wake;
    world.turn();
  }
  CHECK_FALSE(world.neighbors.contains(kTarget));
  CHECK(woken - 5'000'000 * kMs <= 2300 * kMs);
  CHECK(world.fdb.contains(kMac));  // `dynamic`: the kernel's own to age
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  CHECK(world.lookups.size() == 2);
  world.found(world.last_lookup(kTarget), kMac, kThere, 2000);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.take_replayed() == Serials{100});
}

TEST_CASE("engine: an answer without a TTL has the engine's; 0 keeps it") {
  EngineOptions options = World::defaults();
  options.answer_ttl_ms = 0;
  World world(options);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  world.advance(100'000'000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  world.miss(kTarget);
  CHECK(world.lookups.size() == 1);
}

TEST_CASE("engine: what the watch gave stays until the watch says otherwise") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.advance(100'000'000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  world.engine.forget(kTarget);
  world.turn();
  CHECK_FALSE(world.neighbors.contains(kTarget));
  CHECK(world.engine.counters().endpoints == 0);
  world.engine.forget(kMac);
  world.turn();
  CHECK_FALSE(world.fdb.contains(kMac));
  world.miss(kTarget);
  CHECK(world.lookups.size() == 1);
}

TEST_CASE("engine: an entry that is kept answers nobody any more, stays through TTLs and resets, and follows a move") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);  // with a TTL, which ends later
  world.turn();
  world.put(kTarget, kMac, kThere);
  world.engine.forget(kTarget, true);
  world.engine.forget(kMac, true);
  world.advance(100'000'000 * kMs);
  world.engine.begin_reset(0);
  world.end_reset();
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.fdb.contains(kMac));
  const std::size_t before = world.lookups.size();
  world.miss(kTarget);  // somebody has flushed the neighbours
  CHECK(world.lookups.size() == before + 1);
  world.put(kTarget, kMac, kElsewhere);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
  world.engine.forget(kTarget);
  world.engine.forget(kMac);
  world.turn();
  CHECK_FALSE(world.neighbors.contains(kTarget));
  CHECK_FALSE(world.fdb.contains(kMac));
}

TEST_CASE("engine: keeping is for what the kernel has") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.engine.forget(kTarget, true);
  world.engine.forget(kMac, true);
  CHECK(world.engine.counters().endpoints == 0);
  world.miss(kTarget);
  CHECK(world.lookups.size() == 1);
}

// --- changes -----------------------------------------------------------------------------------------------------

TEST_CASE("engine: a put while a lookup is under way answers it") {
  World world;
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  const World::Lookup lookup = world.last_lookup(kTarget);
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.neighbors[kTarget] == kMac);
  CHECK(world.take_replayed() == Serials{100});
  world.answer(lookup, LookupResult::kAbsent);  // too late to matter
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.count(EventKind::kUnresolved) == 0);
}

TEST_CASE("engine: a put answers what queues, and what was absent") {
  EngineOptions options = World::defaults();
  options.max_lookups = 1;
  World world(options);
  world.miss(numbered_ip(1));
  world.miss(kTarget);  // queues
  world.tap(kTarget, 1, 100);
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
  world.answer(world.lookups[0], LookupResult::kAbsent);
  CHECK(world.lookups.size() == 1);  // nothing is left to look up
  world.tap(numbered_ip(1), 1, 101);
  world.put(numbered_ip(1), numbered_mac(1), kThere);
  world.turn();
  CHECK(world.neighbors.contains(numbered_ip(1)));
  CHECK(world.take_replayed() == Serials{101});
}

TEST_CASE("engine: a put of what nobody asks for programs nothing") {
  World world;
  for (std::uint32_t i = 1; i <= 100; ++i) world.put(numbered_ip(i), numbered_mac(i), kThere);
  world.turn();
  CHECK(world.programs.empty());
  CHECK(world.engine.counters().endpoints == 100);
}

TEST_CASE("engine: an endpoint that moved is programmed anew at once") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.advance(5000 * kMs);
  SUBCASE("to another host") {
    world.put(kTarget, kMac, kElsewhere);
    world.turn();
    CHECK(world.fdb[kMac] == kElsewhere);
  }
  SUBCASE("to another MAC") {
    const Mac other = mac("02:00:00:00:00:07");
    world.put(kTarget, other, kThere);
    world.turn();
    CHECK(world.neighbors[kTarget] == other);
    CHECK(world.fdb[other] == kThere);
  }
  SUBCASE("or not at all") {
    world.put(kTarget, kMac, kThere);
    world.turn();
    CHECK(world.programs.size() == 1);
  }
  CHECK(world.count(EventKind::kResolved) == 1);  // nobody had asked the second time
}

TEST_CASE("engine: a MAC that moved without its IP having been asked for") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kMac);
  world.turn();
  REQUIRE(world.fdb[kMac] == kThere);
  world.put(kTarget, kMac, kElsewhere);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
  CHECK(world.neighbors.empty());
}

TEST_CASE("engine: an endpoint that moved to this host is withdrawn") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.put(kTarget, kMac, kHere);
  world.turn();
  CHECK(world.neighbors.empty());
  CHECK(world.fdb.empty());
  world.miss(kTarget);
  world.miss(kMac);
  world.turn();
  CHECK(world.programs.size() == 1);
  CHECK(world.lookups.empty());
  // And away again.
  world.put(kTarget, kMac, kElsewhere);
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  world.advance(1000 * kMs);
  world.miss(kTarget);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
}

TEST_CASE("engine: a reset forgets what it does not name") {
  World world;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    world.put(numbered_ip(i), numbered_mac(i), kThere);
    world.miss(numbered_ip(i));
  }
  world.turn();
  world.engine.begin_reset(0);
  world.put(numbered_ip(1), numbered_mac(1), kThere);
  world.put(numbered_ip(2), numbered_mac(2), kElsewhere);
  world.put(numbered_ip(4), numbered_mac(4), kThere);
  world.end_reset();
  world.turn();
  CHECK(world.neighbors.size() == 2);
  CHECK(world.fdb[numbered_mac(1)] == kThere);
  CHECK(world.fdb[numbered_mac(2)] == kElsewhere);
  CHECK_FALSE(world.fdb.contains(numbered_mac(3)));
  CHECK(world.engine.counters().endpoints == 3);
  CHECK(world.programs.size() == 2);  // of the one that moved
}

TEST_CASE("engine: a reset leaves alone what the store answered by itself") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  world.engine.begin_reset(0);
  world.end_reset();
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
}

TEST_CASE("engine: what a reset does not name answers on until it is swept, and stays where it is named again") {
  World world;
  for (std::uint32_t i = 1; i <= 4; ++i) world.put(numbered_ip(i), numbered_mac(i), kThere);
  world.miss(numbered_ip(1));
  world.turn();
  world.engine.begin_reset(0);
  world.put(numbered_ip(4), numbered_mac(4), kThere);
  world.end_reset(false);
  CHECK(world.engine.missing() == 3);
  CHECK(world.engine.counters().missing == 3);
  // Known still: in the kernel, and for who asks now.
  CHECK(world.neighbors.contains(numbered_ip(1)));
  world.miss(numbered_ip(2));
  world.turn();
  CHECK(world.neighbors.contains(numbered_ip(2)));
  CHECK(world.lookups.empty());
  world.put(numbered_ip(2), numbered_mac(2), kElsewhere);
  world.engine.forget(numbered_ip(3));
  CHECK(world.engine.missing() == 1);
  // Another listing, after which the first one is still missing.
  world.engine.begin_reset(0);
  world.put(numbered_ip(2), numbered_mac(2), kElsewhere);
  world.end_reset(false);
  CHECK(world.engine.missing() == 2);
  world.end_reset();
  world.turn();
  CHECK(world.engine.missing() == 0);
  CHECK(world.neighbors.size() == 1);
  CHECK(world.fdb[numbered_mac(2)] == kElsewhere);
}

TEST_CASE("engine: a sweep ends where another reset begins") {
  World world;
  for (std::uint32_t i = 1; i <= 3000; ++i) world.put(numbered_ip(i), numbered_mac(i), kThere);
  world.engine.begin_reset(0);
  world.end_reset(false);
  world.engine.begin_sweep();
  CHECK(world.engine.sweep());
  world.engine.begin_reset(0);
  CHECK_FALSE(world.engine.sweep());
  world.put(numbered_ip(3000), numbered_mac(3000), kThere);
  world.end_reset(false);
  CHECK(world.engine.missing() < 3000);
  CHECK(world.engine.missing() > 1000);
}

// --- what is here ------------------------------------------------------------------------------------------------

TEST_CASE("engine: an endpoint attached here is never programmed, asked for or replayed to") {
  World world;
  world.put(kTarget, kMac, kThere);  // a record left behind
  world.engine.set_local(7, {kTarget}, kMac);
  world.miss(kTarget);
  world.miss(kMac);
  world.tap(kTarget, 1, 100);
  world.turn();
  CHECK(world.programs.empty());
  CHECK(world.lookups.empty());
  CHECK(world.replayed.empty());
  CHECK(world.engine.counters().local == 2);
  world.engine.set_local(7, {}, Mac{});
  world.miss(kTarget);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
}

TEST_CASE("engine: what is programmed goes when its endpoint is attached here") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.engine.set_local(7, {kTarget}, kMac);
  world.turn();
  CHECK(world.neighbors.empty());
  CHECK(world.fdb.empty());
}

TEST_CASE("engine: an answer that names this host is not programmed") {
  World world;
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  world.found(world.last_lookup(kTarget), kMac, kHere);
  world.turn();
  CHECK(world.programs.empty());
  CHECK(world.replayed.empty());
  world.miss(kTarget);
  CHECK(world.lookups.size() == 1);  // not asked again at once
  CHECK(world.engine.counters().local == 1);
}

TEST_CASE("engine: a record that names this host, where nobody has its address, is told once that is certain") {
  World world;
  const auto ask = [&] {
    world.miss(kTarget);
    if (!world.lookups.empty()) {
      world.found(world.lookups.back(), kMac, kHere);
      world.lookups.clear();
    }
    world.turn();
    CHECK(world.count(EventKind::kUnresolved) == 0);  // it may be about to come up
  };
  SUBCASE("by a lookup") {
    ask();
    for (int i = 0; i < 3; ++i) world.miss(kTarget);
  }
  SUBCASE("by the watch") {
    world.put(kTarget, kMac, kHere);
    ask();
  }
  world.advance(1001 * kMs);
  REQUIRE(world.count(EventKind::kUnresolved) == 1);
  CHECK(world.events.back().cause == Cause::kNotHere);
  CHECK(world.events.back().key == AskKey::of(kTarget));
  CHECK(world.engine.counters().not_here == 1);
  world.advance(5000 * kMs);
  CHECK(world.count(EventKind::kUnresolved) == 1);
}

TEST_CASE("engine: a record that names this host is in order where somebody here has its address") {
  World world;
  world.put(kTarget, kMac, kHere);
  world.miss(kTarget);
  world.turn();
  SUBCASE("attached meanwhile") { world.engine.set_local(7, {kTarget}, kMac); }
  SUBCASE("by hand") { world.behind_bridge.insert(kMac); }
  SUBCASE("withdrawn meanwhile") { world.engine.forget(kTarget); }
  SUBCASE("elsewhere meanwhile") { world.put(kTarget, kMac, kThere); }
  world.advance(1001 * kMs);
  CHECK(world.count(EventKind::kUnresolved) == 0);
  CHECK(world.engine.counters().not_here == 0);
}

TEST_CASE("engine: what was told to be absent is not told to be resolved as well") {
  World world;
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  world.answer(world.last_lookup(kTarget), LookupResult::kAbsent);
  world.turn();
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});  // its asker is answered all the same
  CHECK(world.count(EventKind::kUnresolved) == 1);
  CHECK(world.count(EventKind::kResolved) == 0);
}

TEST_CASE("engine: answers that make no sense are rejected, with a reason, and not asked again at once") {
  World world;
  const std::pair<Mac, Ip> answers[] = {{mac("01:00:5e:00:00:01"), kThere},
                                        {mac("ff:ff:ff:ff:ff:ff"), kThere},
                                        {Mac{}, kThere},
                                        {kMac, ip("fd00::2")},
                                        {kMac, ip("239.1.1.1")},
                                        {kMac, ip("0.0.0.0")},
                                        {kMac, ip("255.255.255.255")},
                                        {kMac, Ip{}}};
  std::uint32_t number = 0;
  for (const auto& [answer_mac, answer_vtep] : answers) {
    const Ip target = numbered_ip(++number);
    world.miss(target);
    world.found(world.last_lookup(target), answer_mac, answer_vtep);
    world.turn();
    CHECK(world.count(EventKind::kRejected) == number);
    CHECK(world.events.back().reason != nullptr);
    CHECK(world.events.back().key == AskKey::of(target));
    world.miss(target);
    CHECK(world.lookups.size() == number);
  }
  CHECK(world.programs.empty());
  CHECK(world.engine.counters().rejected == number);
}

TEST_CASE("engine: over IPv6 an IPv4 VTEP is the one that makes no sense") {
  EngineOptions options = World::defaults();
  options.vtep = ip("fd00:10::1");
  World world(options);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.count(EventKind::kRejected) == 1);
  world.miss(numbered_ip(1));
  world.found(world.last_lookup(numbered_ip(1)), kMac, ip("fd00:10::2"));
  world.turn();
  CHECK(world.fdb[kMac] == ip("fd00:10::2"));
}

TEST_CASE("engine: puts that make no sense change nothing") {
  World world;
  world.put(ip("224.0.0.1"), kMac, kThere);
  world.put(kTarget, Mac{}, kThere);
  world.put(kTarget, kMac, ip("fd00::2"));
  world.put(kTarget, kMac, Ip{});
  CHECK(world.engine.counters().endpoints == 0);
  CHECK(world.engine.counters().rejected == 4);
}

TEST_CASE("engine: an entry that the kernel refuses is told, and tried again after a while") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.refuse = [](const KernelEntry&) { return ENOBUFS; };
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.count(EventKind::kRejected) == 1);
  CHECK(world.events.back().error == ENOBUFS);
  world.miss(kTarget);
  world.turn();
  CHECK(world.programs.size() == 1);
  world.refuse = nullptr;
  world.advance(1000 * kMs);
  world.miss(kTarget);
  world.tap(kTarget, 1, 101);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  const Serials replayed = world.take_replayed();
  CHECK(std::ranges::count(replayed, 101U) == 1);
}

TEST_CASE("engine: entries found at the start get a TTL like any other") {
  World world;
  world.neighbors[kTarget] = kMac;
  world.engine.adopt(kTarget, kMac, world.clock);
  world.advance(30'000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  world.advance(31'000 * kMs);
  CHECK_FALSE(world.neighbors.contains(kTarget));
}

TEST_CASE("engine: what is found at the start goes with the first reset that does not name it") {
  World world;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    world.neighbors[numbered_ip(i)] = numbered_mac(i);
    world.fdb[numbered_mac(i)] = kThere;
  }
  world.fdb[numbered_mac(9)] = kThere;  // learned
  for (const auto& [mac, vtep] : world.fdb) world.engine.adopt(mac, vtep, mac == numbered_mac(9), world.clock);
  for (const auto& [ip, mac] : world.neighbors) world.engine.adopt(ip, mac, world.clock);
  world.engine.begin_reset(0);
  world.put(numbered_ip(1), numbered_mac(1), kThere);
  world.put(numbered_ip(2), numbered_mac(2), kElsewhere);
  world.end_reset(false);
  CHECK(world.engine.missing() == 1);
  world.turn();
  CHECK(world.programs.size() == 1);  // of what had moved meanwhile
  CHECK(world.fdb[numbered_mac(2)] == kElsewhere);
  // Missing, it stays beyond its TTL, and an answer that there is none is not believed.
  world.advance(100'000 * kMs);
  CHECK(world.neighbors.size() == 3);
  world.miss(numbered_mac(3));
  world.answer(world.last_lookup(numbered_mac(3)), LookupResult::kAbsent);
  world.turn();
  CHECK(world.fdb.contains(numbered_mac(3)));
  world.end_reset();
  world.turn();
  CHECK(world.neighbors.size() == 2);
  CHECK_FALSE(world.fdb.contains(numbered_mac(3)));
  CHECK(world.fdb.contains(numbered_mac(9)));
}

TEST_CASE("engine: what an earlier one was told to keep is kept as such, and goes when it is forgotten") {
  World world;
  world.neighbors[kTarget] = kMac;
  world.fdb[kMac] = kThere;
  CHECK_FALSE(world.engine.adopt_kept(kTarget, kMac));  // its forwarding entry is not known
  world.engine.adopt(kMac, kThere, true, world.clock);
  CHECK(world.engine.adopt_kept(kTarget, kMac));
  world.engine.begin_reset(0);
  world.end_reset();
  world.advance(100'000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.fdb.contains(kMac));
  // It answers nobody.
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kError);
  CHECK(world.engine.missing() == 0);
  world.engine.forget(kTarget);
  world.turn();
  CHECK_FALSE(world.neighbors.contains(kTarget));
}

TEST_CASE("engine: what is found at the start answers where the store cannot, and for no longer than that") {
  World world;
  world.engine.adopt(kMac, kThere, false, world.clock);
  world.engine.adopt(kTarget, kMac, world.clock);
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kTimeout);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  world.advance(3000 * kMs);
  world.miss(kMac);
  world.found(world.last_lookup(kMac), kMac, kElsewhere);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
}

TEST_CASE("engine: an entry found at the start and confirmed by the watch stays, with its VTEP") {
  World world;
  world.neighbors[kTarget] = kMac;
  world.engine.adopt(kTarget, kMac, world.clock);
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  world.advance(100'000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
}

TEST_CASE("engine: a new device has nothing programmed") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.neighbors.clear();
  world.fdb.clear();
  world.engine.forget_programmed();
  const std::size_t before = world.withdrawals;
  world.put(kTarget, kMac, kElsewhere);
  world.turn();
  CHECK(world.withdrawals == before);
  CHECK(world.neighbors.empty());
  world.miss(kTarget);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
}

// --- records that lead to this host ------------------------------------------------------------------------------

TEST_CASE("engine: records that would loop back, or go to all, are refused and told") {
  World world;
  const Ip other = support::ip("10.1.0.10");
  const Ip broadcast = support::ip("10.0.0.255");
  const Mac bridge = support::numbered_mac(77);
  world.engine.set_host({support::ip("172.16.0.1"), other}, {broadcast});
  world.engine.set_own(5, {support::ip("10.9.0.1")}, bridge);
  world.turn();
  std::uint32_t n = 500;
  const std::pair<Mac, Ip> records[] = {{kMac, other},
                                        {kMac, broadcast},
                                        {kMac, support::ip("224.0.0.1")},
                                        {kMac, support::ip("127.0.0.9")},
                                        {kMac, support::ip("fd00::1")},
                                        {bridge, kThere},
                                        {support::mac("01:00:5e:00:00:01"), kThere}};
  for (const auto& [mac, vtep] : records) {
    CAPTURE(n);
    world.events.clear();
    const Ip asked = support::numbered_ip(++n);
    world.miss(asked);
    world.found(world.last_lookup(asked), mac, vtep);
    world.turn();
    CHECK(world.count(EventKind::kRejected) == 1);
    CHECK_FALSE(world.neighbors.contains(asked));
    // The same, pushed by a watch.
    const Ip pushed = support::numbered_ip(++n);
    world.put(pushed, mac, vtep);
    world.miss(pushed);
    world.turn();
    if (mac != bridge) world.found(world.last_lookup(pushed), mac, vtep);
    world.turn();
    CHECK(world.count(EventKind::kRejected) >= 2);
    CHECK_FALSE(world.neighbors.contains(pushed));
  }
  CHECK(world.fdb.empty());
  // The bridge's own address is nobody else's.
  const std::size_t lookups = world.lookups.size();
  world.miss(support::ip("10.9.0.1"));
  CHECK(world.lookups.size() == lookups);
}

TEST_CASE("engine: an address that becomes this host's takes what leads to it along, and gives it back") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.fdb.contains(kMac));
  world.engine.set_host({kThere}, {});
  world.turn();
  CHECK(world.fdb.empty());
  world.advance(2000 * kMs);
  world.packet(kMac, 1);
  world.turn();
  CHECK(world.take_forwarded().empty());
  CHECK(world.fdb.empty());
  CHECK(world.count(EventKind::kRejected) == 1);
  world.engine.set_host({}, {});
  world.advance(2000 * kMs);
  world.packet(kMac, 2);
  world.turn();
  CHECK(world.fdb.contains(kMac));
}

// --- moves -------------------------------------------------------------------------------------------------------

namespace {

const Mac kOther = mac("02:00:00:00:00:07");
using Announced = std::vector<std::pair<Ip, Mac>>;

}  // namespace

TEST_CASE("engine: containers that hold a MAC are told of another one, whatever became of the address meanwhile") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  SUBCASE("put over put") {}
  SUBCASE("withdrawn between") {
    world.engine.forget(kTarget);
    world.engine.forget(kMac);
    world.turn();
    world.advance(600'000 * kMs);
  }
  SUBCASE("expired") {
    world.engine.adopt(kTarget, kMac, world.clock);
    world.advance(100'000 * kMs);
  }
  world.put(kTarget, kOther, kElsewhere);
  world.turn();
  CHECK(world.announced == Announced{{kTarget, kOther}});
  CHECK(world.engine.counters().announced == 1);
  world.put(kTarget, kOther, kThere);  // the same MAC from another host is nobody's news
  world.turn();
  CHECK(world.announced.size() == 1);
  // Back again, and they still hold the other one.
  world.engine.forget(kTarget);
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.announced.back() == std::pair(kTarget, kMac));
}

TEST_CASE("engine: nobody is told of an address that nobody here asked for, or that is here") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.put(kTarget, kOther, kThere);
  world.engine.forget(kTarget);
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.announced.empty());
  world.miss(kTarget);
  world.turn();
  world.engine.set_local(9, {kTarget}, kOther);  // whoever attaches it says so
  world.put(kTarget, kOther, kHere);
  world.turn();
  CHECK(world.announced.empty());
}

TEST_CASE("engine: containers beside one that has left are told of its new MAC") {
  World world;
  world.engine.set_local(9, {kTarget}, kMac);
  SUBCASE("published after it has left") {
    world.engine.set_local(9, {}, Mac{});
    world.put(kTarget, kOther, kThere);
  }
  SUBCASE("published before, as by a takeover") {
    world.put(kTarget, kOther, kThere);
    world.engine.set_local(9, {}, Mac{});
  }
  world.turn();
  CHECK(world.announced == Announced{{kTarget, kOther}});
}

TEST_CASE("engine: of two changes at once the last is told, and announcements come at a bounded rate") {
  World world;
  constexpr std::uint32_t kCount = 500;
  for (std::uint32_t i = 1; i <= kCount; ++i) {
    world.put(numbered_ip(i), numbered_mac(i), kThere);
    world.miss(numbered_ip(i));
  }
  world.turn();
  for (std::uint32_t i = 1; i <= kCount; ++i) world.put(numbered_ip(i), numbered_mac(i + 10'000), kThere);
  world.put(numbered_ip(kCount), numbered_mac(99'999), kElsewhere);
  world.turn();
  CHECK(world.announced.size() == Announcements::kBurst);
  REQUIRE(world.wake != 0);
  for (int i = 0; i < 3000 && world.wake != 0 && world.announced.size() <= kCount; ++i) world.advance(kMs);
  CHECK(world.announced.size() == kCount + 1);
  CHECK(world.announced.back() == std::pair(numbered_ip(kCount), numbered_mac(99'999)));
  CHECK(world.clock - 5'000'000 * kMs >= (kCount - Announcements::kBurst) * kMs * 1000 / Announcements::kPerSecond);
}

TEST_CASE("engine: what was taken over is known as soon as it has left") {
  World world;
  world.engine.set_local(9, {kTarget}, kMac);
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  CHECK(world.neighbors.empty());
  world.engine.set_local(9, {}, Mac{});
  world.miss(kTarget);
  world.packet(kMac, 1);
  world.turn();
  CHECK(world.neighbors[kTarget] == kMac);
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.take_forwarded() == Serials{1});
  CHECK(world.lookups.empty());
}

TEST_CASE("engine: an entry of an earlier agent is replaced by what the store says") {
  World world;
  world.fdb[kMac] = kThere;
  world.engine.adopt(kMac, kThere, false, world.clock);
  SUBCASE("with its neighbour") {
    world.neighbors[kTarget] = kMac;
    world.engine.adopt(kTarget, kMac, world.clock);
  }
  SUBCASE("alone") {}
  SUBCASE("learned") { world.engine.on_learned(kMac, kThere, world.clock); }
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.programs.empty());
  world.put(kTarget, kMac, kElsewhere);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
  world.engine.forget(kTarget);
  world.engine.forget(kMac);
  world.turn();
  CHECK(world.fdb.empty());
  CHECK(world.neighbors.empty());
}

TEST_CASE("engine: an entry that is found, and is here or leads nowhere, is withdrawn") {
  World world;
  world.engine.set_local(9, {kTarget}, kMac);
  world.turn();
  for (const auto& [found, vtep] :
       {std::pair(kMac, kThere), std::pair(kOther, kHere), {numbered_mac(1), ip("127.0.0.1")}}) {
    world.fdb[found] = vtep;
    world.engine.adopt(found, vtep, false, world.clock);
  }
  world.turn();
  CHECK(world.fdb.empty());
}

TEST_CASE("engine: what an earlier agent left answers while the store is down") {
  World world;
  world.engine.adopt(kMac, kThere, false, world.clock);
  world.engine.adopt(kTarget, kMac, world.clock);
  world.advance(1000 * kMs);
  world.engine.set_store_down(true);
  world.miss(kTarget);
  world.packet(kMac, 1);
  world.turn();
  CHECK(world.neighbors[kTarget] == kMac);
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.take_forwarded() == Serials{1});
}

TEST_CASE("engine: the store wins over what the kernel learned") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  for (int i = 0; i < 5; ++i) {
    world.fdb[kMac] = kElsewhere;
    world.engine.on_learned(kMac, kElsewhere, world.clock);
    world.turn();
    CHECK(world.fdb[kMac] == kThere);
    world.advance(10 * kMs);
  }
  REQUIRE(world.count(EventKind::kContradicted) == 1);  // told once a second
  const EngineEvent& told = *std::ranges::find(world.events, EventKind::kContradicted, &EngineEvent::kind);
  CHECK(told.mac == kMac);
  CHECK(told.vtep == kThere);
  CHECK(told.learned == kElsewhere);
  CHECK(world.engine.counters().contradicted == 5);
  world.advance(1000 * kMs);
  world.engine.on_learned(kMac, kElsewhere, world.clock);
  CHECK(world.count(EventKind::kContradicted) == 2);
  // The same as the store's is as good as programmed.
  world.engine.on_learned(kMac, kThere, world.clock);
  CHECK(world.engine.counters().contradicted == 6);
}

TEST_CASE("engine: a MAC of this host that the kernel learned elsewhere is withdrawn, and told") {
  World world;
  world.engine.set_local(9, {kTarget}, kMac);
  world.fdb[kMac] = kElsewhere;
  world.engine.on_learned(kMac, kElsewhere, world.clock);
  world.turn();
  CHECK(world.fdb.empty());
  CHECK(world.count(EventKind::kContradicted) == 1);
}

TEST_CASE("engine: what was learned of a MAC before the store knew of it gives way") {
  World world;
  world.fdb[kMac] = kElsewhere;
  world.engine.on_learned(kMac, kElsewhere, world.clock);
  world.engine.on_learned(kMac, kElsewhere, world.clock);
  world.turn();
  CHECK(world.engine.counters().contradicted == 0);
  world.put(kTarget, kMac, kThere);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.neighbors.empty());
}

TEST_CASE("engine: what contradicts an answer whose time is over asks the store again") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 1000);
  world.turn();
  world.advance(2000 * kMs);
  world.fdb[kMac] = kElsewhere;
  world.engine.on_learned(kMac, kElsewhere, world.clock);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
  world.found(world.last_lookup(kMac), Mac{}, kElsewhere, 1000);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
}

TEST_CASE(
    "engine: an FDB entry goes long after the last answer about it, and one that the kernel learned is its own to "
    "age") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 1000);
  world.fdb[kOther] = kThere;
  world.engine.on_learned(kOther, kThere, world.clock);
  world.advance(3600'000 * kMs);
  for (std::uint32_t i = 1; i <= 100; ++i) world.put(numbered_ip(i), numbered_mac(i), kThere);
  world.turn();
  CHECK_FALSE(world.fdb.contains(kMac));
  CHECK(world.fdb.contains(kOther));
}

TEST_CASE("engine: where the kernel cannot delete the entries of a VTEP at once, they go one by one") {
  World world;
  world.refuse_flush = EOPNOTSUPP;
  for (std::uint32_t i = 1; i <= 100; ++i) {
    world.put(numbered_ip(i), numbered_mac(i), i % 2 == 0 ? kThere : kElsewhere);
    world.miss(numbered_ip(i));
  }
  world.turn();
  REQUIRE(world.fdb.size() == 100);
  world.engine.set_host({kThere}, {});
  world.turn();
  CHECK(world.fdb.size() == 50);
  for (const auto& [mac, vtep] : world.fdb) CHECK(vtep == kElsewhere);
}

TEST_CASE("engine: what moves while a flood has taken all room is withdrawn, and room is not gone beyond") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.neighbors.contains(kTarget));
  world.advance(2500 * kMs);  // the question is forgotten, the entry stays
  for (std::uint32_t i = 0; i < Asks::kMost + 10; ++i) world.tap(numbered_ip(i), 1 + i % 60, i);
  SUBCASE("with its address") {
    world.put(kTarget, kMac, kElsewhere);
    world.turn();
    CHECK_FALSE(world.neighbors.contains(kTarget));
  }
  SUBCASE("as the MAC of another address") {
    world.put(ip("192.168.0.4"), kMac, kElsewhere);
    world.turn();
    CHECK_FALSE(world.fdb.contains(kMac));
  }
}
