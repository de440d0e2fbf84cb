// engine/miss_engine.h: what is done about a miss, in every order of events.
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

// --- the two orders of miss and tapped request -------------------------------------------------------------------

TEST_CASE("engine: known, the miss first, the request tapped afterwards") {
  World world;
  world.put(kTarget, kMac, kThere);
  CHECK(world.programs.empty());  // nobody has asked
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.programs.size() == 1);
  CHECK(world.neighbors[kTarget] == kMac);
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.replayed.empty());
  world.tap(kTarget, 1, 100);
  CHECK(world.take_replayed() == Serials{100});
  CHECK(world.lookups.empty());
  REQUIRE(world.count(EventKind::kResolved) == 1);
  CHECK_FALSE(world.events[0].by_store);
  CHECK(world.events[0].key == AskKey::of(kTarget));
  CHECK(world.events[0].mac == kMac);
  CHECK(world.events[0].vtep == kThere);
  CHECK(world.engine.counters().answers == 1);
}

TEST_CASE("engine: known, the request tapped first") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.tap(kTarget, 1, 100);
  world.turn();
  CHECK(world.programs.empty());  // the kernel may well have answered it by itself
  world.miss(kTarget);
  world.turn();
  CHECK(world.programs.size() == 1);
  CHECK(world.take_replayed() == Serials{100});
}

TEST_CASE("engine: unknown, the request tapped before the miss, during the lookup and after the answer") {
  World world;
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.lookups.size() == 1);
  world.tap(kTarget, 2, 200);
  world.advance(300 * kMs);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  CHECK(world.replayed.empty());  // not before the entries are there
  world.turn();
  CHECK(world.programs.size() == 1);
  CHECK(world.take_replayed() == Serials{100, 200});
  world.tap(kTarget, 3, 300);
  CHECK(world.take_replayed() == Serials{300});
  REQUIRE(world.count(EventKind::kResolved) == 1);
  CHECK(world.events[0].by_store);
  CHECK(world.events[0].at - world.events[0].miss_at == 300 * kMs);
}

TEST_CASE("engine: three askers at once cost one lookup, and each is owed its request") {
  World world;
  for (std::uint32_t asker = 1; asker <= 3; ++asker) {
    world.miss(kTarget);
    world.tap(kTarget, asker, asker * 100);
  }
  world.turn();
  CHECK(world.lookups.size() == 1);
  CHECK(world.engine.counters().coalesced == 2);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.programs.size() == 1);
  CHECK(world.take_replayed() == Serials{100, 200, 300});
  CHECK(world.count(EventKind::kResolved) == 1);
}

TEST_CASE("engine: several misses in one round are one program of one entry") {
  World world;
  world.put(kTarget, kMac, kThere);
  for (int i = 0; i < 5; ++i) world.miss(kTarget);
  world.turn();
  REQUIRE(world.programs.size() == 1);
  CHECK(world.programs[0].size() == 1);
  CHECK(world.engine.counters().coalesced == 4);
}

TEST_CASE("engine: a request is replayed up to a second after the answer") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.advance(999 * kMs);
  world.tap(kTarget, 1, 100);
  CHECK(world.take_replayed() == Serials{100});
  world.advance(101 * kMs);
  world.tap(kTarget, 1, 101);  // answered by the kernel, which has had the entry for a second
  world.turn();
  CHECK(world.replayed.empty());
  // Unless it asks all the same: then somebody has taken the entry away.
  world.miss(kTarget);
  world.turn();
  CHECK(world.programs.size() == 2);
  const Serials again = world.take_replayed();
  CHECK(std::ranges::count(again, 101U) == 1);
}

TEST_CASE("engine: the same request as the one replayed in this round is not replayed too") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.tap(kTarget, 1, 100);
  CHECK(world.take_replayed() == Serials{100});
  // Its entry goes by somebody's hand, and it asks once more.
  world.advance(15 * kMs);
  world.miss(kTarget);
  world.engine.program();
  CHECK(world.take_replayed() == Serials{100});
  world.tap(kTarget, 1, 100);  // the request of this miss: its asker has the reply
  CHECK(world.replayed.empty());
  world.tap(kTarget, 1, 101);  // of another stack behind the same MAC, maybe
  world.tap(kTarget, 2, 200);
  CHECK(world.take_replayed() == Serials{101, 200});
  world.engine.confirm();
  // In a later round nothing is known of whether it was swallowed.
  world.tap(kTarget, 1, 100);
  CHECK(world.take_replayed() == Serials{100});
  world.advance(15 * kMs);
  world.miss(kTarget);
  world.turn();
  CHECK(world.take_replayed() == Serials{100, 101, 200, 100});  // kept for the next miss all the same
}

TEST_CASE("engine: a put of a moment before the request finds it waiting") {
  World world;
  world.miss(kTarget);
  world.turn();
  world.answer(world.last_lookup(kTarget), LookupResult::kAbsent);
  world.turn();
  const Nanoseconds before = world.clock;
  world.advance(5 * kMs);
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  world.engine.put(kTarget, kMac, kThere, before);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
}

TEST_CASE("engine: a request that waited more than a second is not replayed") {
  World world;
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  world.advance(600 * kMs);
  world.tap(kTarget, 1, 101);
  world.advance(500 * kMs);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{101});
}

TEST_CASE("engine: a miss without a frame waits for nothing") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.replayed.empty());
}

TEST_CASE("engine: an L2 miss programs the FDB alone") {
  World world;
  world.miss(kMac);
  world.found(world.last_lookup(kMac), kMac, kThere);
  world.turn();
  CHECK(world.neighbors.empty());
  CHECK(world.fdb[kMac] == kThere);
  CHECK(world.programs[0][0].ip.empty());
}

TEST_CASE("engine: no question of addresses that can have no answer") {
  World world;
  for (const char* text : {"0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", "::"}) world.miss(ip(text));
  world.miss(mac("ff:ff:ff:ff:ff:ff"));
  world.miss(mac("33:33:00:00:00:01"));
  world.miss(Mac{});
  world.miss(ip("fe80::1"));  // link-local: nobody's record
  world.turn();
  CHECK(world.lookups.empty());
  CHECK(world.programs.empty());
}

// --- absent, failing, slow ---------------------------------------------------------------------------------------

TEST_CASE("engine: absent is asked once in its TTL") {
  EngineOptions options = World::defaults();
  options.negative_ttl_ms = 5000;
  World world(options);
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kAbsent);
  REQUIRE(world.count(EventKind::kUnresolved) == 1);
  CHECK(world.events[0].cause == Cause::kAbsent);
  for (int i = 0; i < 49; ++i) {
    world.advance(100 * kMs);
    world.miss(kTarget);
    world.tap(kTarget, 1, 100);
  }
  CHECK(world.lookups.size() == 1);
  CHECK(world.engine.counters().negative == 49);
  world.advance(101 * kMs);
  world.miss(kTarget);
  CHECK(world.lookups.size() == 2);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
}

TEST_CASE("engine: an error and a time-out are not remembered") {
  for (const LookupResult result : {LookupResult::kError, LookupResult::kTimeout}) {
    World world;
    world.miss(kTarget);
    world.tap(kTarget, 1, 100);
    world.answer(world.last_lookup(kTarget), result);
    world.turn();
    REQUIRE(world.count(EventKind::kUnresolved) == 1);
    CHECK(world.events[0].cause == (result == LookupResult::kError ? Cause::kStoreError : Cause::kTimeout));
    CHECK(world.programs.empty());
    world.miss(kTarget);
    CHECK(world.lookups.size() == 2);
    world.found(world.last_lookup(kTarget), kMac, kThere);
    world.turn();
    CHECK(world.take_replayed() == Serials{100});  // still owed
  }
}

TEST_CASE("engine: an answer to a lookup of long ago changes nothing") {
  World world;
  world.miss(kTarget);
  const World::Lookup first = world.last_lookup(kTarget);
  world.answer(first, LookupResult::kError);
  world.miss(kTarget);
  REQUIRE(world.lookups.size() == 2);
  world.found(first, mac("02:00:00:00:00:99"), kElsewhere);
  world.turn();
  CHECK(world.programs.empty());
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.neighbors[kTarget] == kMac);
}

TEST_CASE("engine: lookups beyond the limit wait for their turn") {
  EngineOptions options = World::defaults();
  options.max_lookups = 2;
  World world(options);
  for (std::uint32_t i = 1; i <= 5; ++i) {
    world.miss(numbered_ip(i));
    world.tap(numbered_ip(i), 1, i);
    world.miss(numbered_ip(i));  // coalesced, also while it queues
  }
  REQUIRE(world.lookups.size() == 2);
  CHECK(world.engine.counters().coalesced == 5);
  world.found(world.lookups[1], numbered_mac(2), kThere);
  REQUIRE(world.lookups.size() == 3);
  CHECK(world.lookups[2].key == AskKey::of(numbered_ip(3)));
  world.answer(world.lookups[0], LookupResult::kAbsent);
  world.answer(world.lookups[2], LookupResult::kTimeout);
  REQUIRE(world.lookups.size() == 5);
  world.found(world.lookups[3], numbered_mac(4), kThere);
  world.found(world.lookups[4], numbered_mac(5), kThere);
  world.turn();
  CHECK(world.neighbors.size() == 3);
  CHECK(world.take_replayed() == Serials{2, 4, 5});
  // And the places are free again.
  for (std::uint32_t i = 11; i <= 14; ++i) world.miss(numbered_ip(i));
  CHECK(world.lookups.size() == 7);
}

TEST_CASE("engine: what is known answers while the store fails, though its time is over") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 500);
  world.turn();
  world.advance(1000 * kMs);
  CHECK_FALSE(world.neighbors.contains(kTarget));
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  REQUIRE(world.lookups.size() == 2);
  world.answer(world.last_lookup(kTarget), LookupResult::kError);
  world.turn();
  CHECK(world.neighbors[kTarget] == kMac);
  CHECK(world.take_replayed() == Serials{100});
  CHECK(world.count(EventKind::kUnresolved) == 0);
}

TEST_CASE("engine: while the store is known to be down it is not asked for what is known, and nothing is withdrawn") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 500);
  world.turn();
  world.engine.set_store_down(true);
  for (int i = 0; i < 100; ++i) world.advance(100 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  world.neighbors.clear();
  world.miss(kTarget);
  world.turn();
  CHECK(world.lookups.size() == 1);
  CHECK(world.neighbors.contains(kTarget));
  world.engine.set_store_down(false);
  for (int i = 0; i < 100; ++i) world.advance(100 * kMs);
  CHECK_FALSE(world.neighbors.contains(kTarget));
}

// --- overrun -----------------------------------------------------------------------------------------------------

TEST_CASE("engine: after an overrun the tapped requests stand in for the misses that were dropped") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.tap(kTarget, 1, 100);
  world.tap(numbered_ip(1), 1, 101);
  world.turn();
  CHECK(world.programs.empty());
  world.engine.on_overrun(17, world.clock);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
  CHECK(world.last_lookup(numbered_ip(1)).token != 0);
  REQUIRE(world.count(EventKind::kOverrun) == 1);
  CHECK(world.events[0].dropped == 17);
  CHECK(world.engine.counters().dropped == 17);
  // Also those that are tapped afterwards, for as long as their misses may be among the dropped ones.
  world.put(numbered_ip(2), numbered_mac(2), kThere);
  world.advance(900 * kMs);
  world.tap(numbered_ip(2), 1, 102);
  world.turn();
  CHECK(world.take_replayed() == Serials{102});
  world.put(numbered_ip(3), numbered_mac(3), kThere);
  world.advance(200 * kMs);
  world.tap(numbered_ip(3), 1, 103);
  world.turn();
  CHECK(world.replayed.empty());
}

// --- many --------------------------------------------------------------------------------------------------------

TEST_CASE("engine: a hundred thousand unknown addresses at once: bounded, and what is known is still answered") {
  World world;
  world.put(kTarget, kMac, kThere);
  for (std::uint32_t i = 1; i <= 100'000; ++i) {
    world.miss(numbered_ip(i));
    world.tap(numbered_ip(i), 1000 + i % 200, i);
    if (i % 64 == 0) world.turn();
  }
  CHECK(world.lookups.size() == 256);
  world.miss(kTarget);
  world.tap(kTarget, 1, 200'000);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.take_replayed() == Serials{200'000});
  // When the store has answered what queues, all is as before.
  std::size_t answered = 0;
  for (int i = 0; i < 300; ++i) {
    for (; answered < world.lookups.size(); ++answered) world.answer(world.lookups[answered], LookupResult::kAbsent);
    world.advance(100 * kMs);
  }
  const std::size_t before = world.lookups.size();
  CHECK(answered == before);
  world.miss(numbered_ip(200'000));
  CHECK(world.lookups.size() == before + 1);
}

// --- several things in one round ---------------------------------------------------------------------------------

TEST_CASE("engine: what turns out to be here in the same round is not programmed after all") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  SUBCASE("by the watch") { world.put(kTarget, kMac, kHere); }
  SUBCASE("by an attachment") { world.engine.set_local(7, {kTarget}, kMac); }
  SUBCASE("by an attachment of its MAC") { world.engine.set_local(7, {numbered_ip(1)}, kMac); }
  world.turn();
  CHECK(world.programs.empty());
  CHECK(world.neighbors.empty());
  CHECK(world.fdb.empty());
  CHECK(world.replayed.empty());
}

TEST_CASE("engine: a lookup under way while its address is attached here programs nothing") {
  World world;
  world.miss(kTarget);
  world.miss(kMac);
  world.packet(kMac, 1);
  world.engine.set_local(7, {kTarget}, kMac);
  world.found(world.lookups[0], kMac, kThere);
  world.found(world.lookups[1], kMac, kThere);
  world.turn();
  CHECK(world.programs.empty());
  CHECK(world.forwarded.empty());
}

TEST_CASE("engine: a record that gives a remote address the MAC of an endpoint here is rejected") {
  World world;
  world.engine.set_local(7, {numbered_ip(1)}, kMac);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.programs.empty());
  REQUIRE(world.count(EventKind::kRejected) == 1);
  CHECK(world.events.back().reason != nullptr);
}

TEST_CASE("engine: what is forgotten within a second of its answer is asked for again, and its asker answered") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.miss(kMac);
  world.turn();
  world.engine.forget(kTarget);
  world.engine.forget(kMac);
  world.tap(kTarget, 1, 100);
  CHECK(world.replayed.empty());  // there is no entry that could answer it
  world.miss(kTarget);
  CHECK(world.lookups.size() == 1);
  world.packet(kMac, 200);
  REQUIRE(world.lookups.size() == 2);
  world.found(world.lookups[0], kMac, kThere);
  world.found(world.lookups[1], kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
  CHECK(world.take_forwarded() == Serials{200});
}

TEST_CASE("engine: after a TTL shorter than the memory of the answer, a request is kept for the next one") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 100);
  world.turn();
  world.advance(400 * kMs);
  REQUIRE_FALSE(world.neighbors.contains(kTarget));
  world.tap(kTarget, 1, 100);
  CHECK(world.replayed.empty());
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 100);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
}

TEST_CASE("engine: a new device knows nothing of what was answered a moment ago") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.turn();
  world.engine.forget_programmed();
  world.tap(kTarget, 1, 100);
  CHECK(world.replayed.empty());
  world.miss(kTarget);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
}

// --- bookkeeping -------------------------------------------------------------------------------------------------

TEST_CASE("engine: an endpoint is here as long as one link says so") {
  World world;
  world.engine.set_local(7, {kTarget}, kMac);
  world.engine.set_local(8, {kTarget}, kMac);  // attached anew, before the kernel has done away with the old link
  world.engine.set_local(7, {}, Mac{});
  world.put(kTarget, kMac, kThere);
  world.miss(kTarget);
  world.miss(kMac);
  world.turn();
  CHECK(world.programs.empty());
  world.engine.set_local(8, {numbered_ip(1)}, kMac);  // another address
  world.miss(kTarget);
  world.miss(numbered_ip(1));
  world.turn();
  CHECK(world.lookups.empty());
  world.engine.set_local(8, {}, Mac{});
  world.miss(kMac);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
}

TEST_CASE("engine: what was absent is known as soon as the watch gives it, however long absent holds") {
  EngineOptions options = World::defaults();
  options.negative_ttl_ms = 3'600'000;
  World world(options);
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kAbsent);
  world.miss(kMac);
  world.answer(world.last_lookup(kMac), LookupResult::kAbsent);
  world.advance(10'000 * kMs);
  world.put(kTarget, kMac, kThere);
  world.turn();
  world.advance(10'000 * kMs);
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.take_replayed() == Serials{100});
  world.fdb.clear();
  world.miss(kMac);
  world.turn();
  CHECK(world.fdb.contains(kMac));
}

TEST_CASE("engine: an answer beyond its TTL, given while the store failed, is looked at again") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 500);
  world.turn();
  world.advance(2000 * kMs);
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kError);
  world.turn();
  REQUIRE(world.neighbors.contains(kTarget));
  for (int i = 0; i < 100; ++i) world.advance(100 * kMs);
  CHECK_FALSE(world.neighbors.contains(kTarget));  // and so the next miss asks the store
}

TEST_CASE("engine: what the store says has come here does not come back as it was when the store fails") {
  World world;
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 500);
  world.turn();
  world.advance(1000 * kMs);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kHere);
  world.advance(2000 * kMs);
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kError);
  world.turn();
  CHECK_FALSE(world.neighbors.contains(kTarget));
  CHECK_FALSE(world.fdb.contains(kMac));
}

TEST_CASE("engine: the answer to a MAC is of that MAC, whatever the record says") {
  World world;
  const Mac other = mac("02:42:c0:a8:00:04");
  world.miss(kMac);
  world.packet(kMac, 1);
  world.found(world.last_lookup(kMac), other, kThere);
  world.turn();
  CHECK(world.fdb[kMac] == kThere);
  CHECK_FALSE(world.fdb.contains(other));
  CHECK(world.take_forwarded() == Serials{1});
}

TEST_CASE("engine: with answers that are kept, so are the entries found at the start") {
  EngineOptions options = World::defaults();
  options.answer_ttl_ms = 0;
  World world(options);
  world.neighbors[kTarget] = kMac;
  world.engine.adopt(kTarget, kMac, world.clock);
  for (int i = 0; i < 10; ++i) world.advance(100'000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
}

TEST_CASE("engine: of a pair that the kernel took half of, nothing stays") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.refuse = [](const KernelEntry&) { return ENOSPC; };  // the FDB entry
  world.miss(kTarget);
  world.turn();
  CHECK(world.count(EventKind::kRejected) == 1);
  CHECK(world.neighbors.empty());
}

TEST_CASE("engine: a request swallowed just before absent was over is owed an answer too") {
  World world;
  world.miss(kTarget);
  world.answer(world.last_lookup(kTarget), LookupResult::kAbsent);
  world.advance(900 * kMs);
  world.tap(kTarget, 1, 100);
  world.miss(kTarget);
  world.advance(200 * kMs);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{100});
}

TEST_CASE("engine: what a record of the watch says of a MAC stands, whatever a lookup says of it") {
  World world;
  world.put(numbered_ip(1), kMac, kThere);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 500);
  world.turn();
  world.advance(10'000 * kMs);
  world.fdb.clear();
  world.miss(kMac);
  world.turn();
  CHECK(world.lookups.size() == 1);
  CHECK(world.fdb.contains(kMac));
}

TEST_CASE("engine: a lookup that a deletion has overtaken is made again") {
  World world;
  world.miss(kTarget);
  world.tap(kTarget, 1, 100);
  const World::Lookup overtaken = world.last_lookup(kTarget);
  world.engine.forget(kTarget);
  world.found(overtaken, kMac, kThere);
  world.turn();
  CHECK(world.programs.empty());
  REQUIRE(world.lookups.size() == 2);
  world.found(world.last_lookup(kTarget), kMac, kElsewhere);
  world.turn();
  CHECK(world.fdb[kMac] == kElsewhere);
  CHECK(world.take_replayed() == Serials{100});
}

TEST_CASE("engine: what has been scanned and is absent for long gives way to what is asked now") {
  EngineOptions options = World::defaults();
  options.negative_ttl_ms = 3'600'000;
  options.lookups_per_second = 1'000'000;
  World world(options);
  world.put(kTarget, kMac, kThere);
  std::size_t told = 0;
  for (std::uint32_t i = 1; i <= 300'000; ++i) {
    world.miss(numbered_ip(i));
    for (; told < world.lookups.size(); ++told) world.answer(world.lookups[told], LookupResult::kAbsent);
    if (i % 1000 == 0) world.advance(1 * kMs);
  }
  REQUIRE(told == 300'000);
  // An address that exists, and one that is known: requests before and after their misses.
  const Ip other = numbered_ip(1'000'000);
  world.tap(other, 1, 100);
  world.miss(other);
  world.found(world.last_lookup(other), numbered_mac(1), kThere);
  world.tap(kTarget, 1, 101);
  world.miss(kTarget);
  world.turn();
  CHECK(world.neighbors.contains(other));
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.take_replayed() == Serials{100, 101});
  // The latest of the absent ones are still known to be.
  world.miss(numbered_ip(300'000));
  CHECK(world.lookups.size() == told + 1);
}

TEST_CASE("engine: requests by the hundred thousand leave room for that of a known address") {
  World world;
  world.put(kTarget, kMac, kThere);
  for (std::uint32_t i = 1; i <= 300'000; ++i) world.tap(numbered_ip(i), 2 + i % 1000, i);
  world.tap(kTarget, 1, 400'000);
  world.miss(kTarget);
  world.turn();
  CHECK(world.take_replayed() == Serials{400'000});
}

TEST_CASE("engine: an asker whose requests are answered is owed every one, however many they are") {
  World world;
  Serials expected;
  for (std::uint32_t i = 1; i <= 10'000; ++i) {
    world.put(numbered_ip(i), numbered_mac(i), kThere);
    world.tap(numbered_ip(i), 1, i);
    world.miss(numbered_ip(i));
    if (i % 32 == 0) world.turn();
    expected.push_back(i);
  }
  world.turn();
  CHECK(world.take_replayed() == expected);
}

TEST_CASE("engine: one that scans does not push out the requests of others") {
  World world;
  world.miss(kTarget);
  world.tap(kTarget, 1, 1);
  for (std::uint32_t i = 1; i <= 50'000; ++i) world.tap(numbered_ip(i), 2, 100 + i);
  world.tap(kTarget, 3, 2);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{1, 2});
  CHECK(world.engine.counters().shed > 0);
}

TEST_CASE("engine: when many have pushed out the first request for an address, the later ones are still owed") {
  World world;
  world.miss(kTarget);
  world.tap(kTarget, 1, 1);
  std::uint32_t number = 0;
  const auto flood = [&](std::uint32_t requests) {
    for (std::uint32_t i = 0; i < requests; ++i, ++number) world.tap(numbered_ip(number), 10 + number % 50, 1000);
  };
  flood(9000);
  world.tap(kTarget, 2, 2);
  flood(7384);  // more than are kept, since the first
  world.tap(kTarget, 3, 3);
  world.found(world.last_lookup(kTarget), kMac, kThere);
  world.turn();
  CHECK(world.take_replayed() == Serials{2, 3});
  // And nobody is owed twice, nor the wrong thing, from then on.
  flood(9000);
  world.advance(500 * kMs);
  world.miss(kTarget);
  world.turn();
  CHECK(world.replayed.empty());
}

TEST_CASE("engine: endpoints of long ago do not pile up, those of late are kept for when the store fails") {
  World world;
  std::uint64_t most = 0;
  for (std::uint32_t i = 1; i <= 200'000; ++i) {
    world.miss(numbered_ip(i));
    world.found(world.lookups.back(), numbered_mac(i), kThere, 1000);
    world.turn();
    world.clock += 10 * kMs;  // 2000 s in all
    most = std::max<std::uint64_t>(most, world.engine.counters().endpoints);
  }
  CHECK(most < 120'000);
  world.advance(60'000 * kMs);
  CHECK(world.neighbors.empty());
  const std::uint32_t late = 199'000;
  world.miss(numbered_ip(late));
  world.answer(world.last_lookup(numbered_ip(late)), LookupResult::kError);
  world.turn();
  CHECK(world.neighbors.contains(numbered_ip(late)));
}

TEST_CASE("engine: an attached endpoint has no entry left, whoever made it") {
  World world;
  world.put(kTarget, kMac, kThere);
  world.engine.forget(kMac);  // the record of the address names a MAC that has none of its own
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.fdb.contains(kMac));
  world.engine.set_local(7, {kTarget}, kMac);
  world.turn();
  CHECK(world.fdb.empty());
  CHECK(world.neighbors.empty());
}

TEST_CASE("engine: an endpoint whose TTL is over is given all the same when the lookup of it is not answered") {
  EngineOptions options = World::defaults();
  options.answer_ttl_ms = 0;
  options.lookup_deadline_ms = 3000;
  World world(options);
  world.miss(kTarget);
  world.found(world.last_lookup(kTarget), kMac, kThere, 1000);
  world.turn();
  REQUIRE(world.neighbors.contains(kTarget));
  world.advance(2000 * kMs);
  REQUIRE_FALSE(world.neighbors.contains(kTarget));
  world.miss(kTarget);
  world.turn();
  REQUIRE(world.lookups.size() == 2);
  world.advance(3000 * kMs);
  CHECK(world.neighbors.contains(kTarget));
  CHECK(world.count(EventKind::kUnresolved) == 0);
}

// --- lookups that nobody answers ---------------------------------------------------------------------------------

TEST_CASE("engine: a lookup that nobody answers times out by itself, and its place is free again") {
  const Ip kAnother = ip("192.168.0.4");
  EngineOptions options = World::defaults();
  options.max_lookups = 1;
  options.lookup_deadline_ms = 3000;
  World world(options);
  world.miss(kTarget);
  world.miss(kAnother);
  const auto lost = world.last_lookup(kTarget);
  world.turn();
  CHECK(world.lookups.size() == 1);
  CHECK(world.wake <= world.clock + 3000 * kMs);
  world.advance(2999 * kMs);
  CHECK(world.lookups.size() == 1);
  world.advance(1 * kMs);
  CHECK(world.count(EventKind::kUnresolved) == 1);
  CHECK(world.engine.counters().lookups_abandoned == 1);
  CHECK(world.lookups.size() == 2);  // the other one's turn
  world.found(world.last_lookup(kAnother), kMac, kThere);
  world.turn();
  CHECK(world.neighbors.contains(kAnother));
  // It may be asked for again, and an answer that comes after all counts for nothing.
  world.miss(kTarget);
  const auto second = world.last_lookup(kTarget);
  world.found(lost, kMac, kThere);
  world.turn();
  CHECK_FALSE(world.neighbors.contains(kTarget));
  world.miss(support::ip("10.9.9.9"));
  CHECK(world.lookups.size() == 3);  // the late answer has freed no place
  world.found(second, kMac, kThere);
  world.turn();
  CHECK(world.neighbors.contains(kTarget));
}
