// engine/withdrawals.h: entries that are to go.
#include "engine/miss_engine.h"

#include <algorithm>
#include <cerrno>

#include "engine_world.h"

using namespace overns;
using support::ip;
using support::kMs;
using support::mac;
using support::World;

namespace {

const Ip kTarget = ip("192.168.0.3");
const Mac kMac = mac("02:42:c0:a8:00:03");
const Ip kThere = ip("172.16.0.2");

}  // namespace

namespace {

// So many endpoints of the watch, all programmed.
void fill(World& world, std::uint32_t count) {
  for (std::uint32_t n = 1; n <= count; ++n) {
    world.put(support::numbered_ip(n), support::numbered_mac(n), kThere);
    world.miss(support::numbered_ip(n));
  }
  world.turn();
  REQUIRE(world.neighbors.size() == count);
}

}  // namespace

TEST_CASE("engine: a known endpoint is answered between the withdrawals, however many there are") {
  constexpr std::uint32_t kMany = 5000;
  const auto withdraw_all = [](World& world, int way) {
    if (way == 0) {
      world.engine.begin_reset(1);
      world.put(kTarget, kMac, kThere);
      world.end_reset();
    } else if (way == 1) {
      for (std::uint32_t n = 1; n <= kMany; ++n) {
        world.engine.forget(support::numbered_ip(n));
        world.engine.forget(support::numbered_mac(n));
      }
    } else {
      for (std::uint32_t n = 1; n <= kMany; ++n) {
        world.put(support::numbered_ip(n), support::numbered_mac(n), support::ip("172.16.0.9"));
      }
    }
  };
  for (int way = 0; way < 3; ++way) {
    CAPTURE(way);
    World world;
    fill(world, kMany);
    world.put(kTarget, kMac, kThere);
    withdraw_all(world, way);
    world.miss(kTarget);
    const std::size_t before = world.withdrawals;
    world.programs.clear();
    world.engine.flush();
    CHECK(world.neighbors.contains(kTarget));
    CHECK(world.withdrawals - before <= 64);
    std::size_t programmed = 0;
    for (const auto& items : world.programs) programmed += items.size();
    CHECK(programmed <= 64);
    CHECK(world.engine.busy());
    world.turn();
    if (way < 2) {
      CHECK(world.neighbors.size() == 1);
      CHECK(world.fdb.size() == 1);
    } else {
      CHECK(std::ranges::count_if(world.fdb, [](const auto& row) { return row.second == support::ip("172.16.0.9"); }) ==
            kMany);
    }
    CHECK_FALSE(world.engine.busy());
  }
}

TEST_CASE("engine: TTLs that end together are withdrawn in pieces") {
  EngineOptions options = World::defaults();
  options.max_lookups = 4096;
  World world(options);
  constexpr std::uint32_t kMany = 2000;
  for (std::uint32_t n = 1; n <= kMany; ++n) {
    world.miss(support::numbered_ip(n));
    world.found(world.last_lookup(support::numbered_ip(n)), support::numbered_mac(n), kThere, 1000);
  }
  world.turn();
  REQUIRE(world.neighbors.size() == kMany);
  world.clock += 2000 * kMs;
  CHECK(world.engine.expire(world.clock) <= world.clock);  // at once again
  world.engine.flush();
  CHECK(world.neighbors.size() >= kMany - 64);
  for (int i = 0; i < 100; ++i) world.turn();
  CHECK(world.neighbors.empty());
}

TEST_CASE("engine: a withdrawal that the kernel refuses is tried again until it is done") {
  World world;
  fill(world, 1);
  int tries = 0;
  world.refuse_withdrawal = [&](const AskKey&) { return ++tries < 20 ? EBUSY : 0; };
  world.engine.forget(support::numbered_ip(1));
  world.turn();
  CHECK(tries == 1);
  CHECK(world.engine.counters().withdrawals_refused == 1);
  Nanoseconds longest = 0;
  for (int i = 0; i < 100 && !world.neighbors.empty(); ++i) {
    REQUIRE(world.wake > world.clock);
    longest = std::max(longest, world.wake - world.clock);
    world.advance(world.wake - world.clock);
  }
  CHECK(tries == 20);
  CHECK(world.neighbors.empty());
  CHECK(longest > 1000 * kMs);  // it does not spin
  CHECK(longest <= 6000 * kMs);
  CHECK(world.wake == 0);
}

TEST_CASE("engine: what is programmed anew is no longer to be withdrawn") {
  World world;
  fill(world, 1);
  world.refuse_withdrawal = [](const AskKey&) { return EBUSY; };
  world.engine.forget(support::numbered_ip(1));
  world.engine.forget(support::numbered_mac(1));
  world.turn();
  world.put(support::numbered_ip(1), support::numbered_mac(1), kThere);
  world.miss(support::numbered_ip(1));
  world.turn();
  world.refuse_withdrawal = nullptr;
  for (int i = 0; i < 10; ++i) world.advance(1000 * kMs);
  CHECK(world.neighbors.size() == 1);
  CHECK(world.fdb.size() == 1);
}

TEST_CASE("engine: a reset leaves nothing behind, whatever comes and goes between its pieces") {
  for (std::uint32_t churn = 0; churn < 20; ++churn) {
    World world;
    fill(world, 3000);
    world.engine.begin_reset(1);
    world.put(kTarget, kMac, kThere);
    std::uint32_t n = 1 + churn;
    std::uint32_t added = 100'000;
    const auto churning = [&] {
      for (int i = 0; i < 40; ++i) world.engine.forget(support::numbered_ip(n = 1 + (n * 7919) % 3000));
      for (int i = 0; i < 50; ++i, ++added)
        world.put(support::numbered_ip(added), support::numbered_mac(added), kThere);
    };
    while (world.engine.find_missing()) churning();
    world.engine.begin_sweep();
    while (world.engine.sweep()) churning();
    CHECK(world.engine.missing() == 0);
    world.turn();
    REQUIRE(world.neighbors.empty());
  }
}
