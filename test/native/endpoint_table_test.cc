// engine/flat_map.h, engine/ring.h and engine/endpoint_table.h against the standard containers.
#include "engine/endpoint_table.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>

#include "engine/flat_map.h"
#include "engine/ring.h"
#include "support.h"

using namespace overns;
using support::Random;

namespace {

Ip address(std::uint32_t number) {
  Ip ip;
  ip.family = AF_INET;
  std::memcpy(ip.bytes.data(), &number, sizeof number);
  return ip;
}

Mac hardware(std::uint32_t number) {
  Mac mac{{2, 0, 0, 0, 0, 0}};
  std::memcpy(mac.bytes.data() + 1, &number, sizeof number);
  return mac;
}

bool same(FlatMap<IpSlot>& map, const std::map<Ip, std::uint32_t>& model) {
  if (map.size() != model.size()) return false;
  std::size_t visited = 0;
  bool equal = true;
  map.for_each([&](const IpSlot& slot) {
    ++visited;
    const auto found = model.find(slot.key);
    equal = equal && found != model.end() && found->second == slot.vtep;
  });
  return equal && visited == model.size();
}

}  // namespace

TEST_CASE("a flat map does what a map does, whatever is inserted and erased") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    FlatMap<IpSlot> map;
    std::map<Ip, std::uint32_t> model;
    // Few keys: many erasures hit. Many keys: it grows. Both IPv4 and IPv6.
    const std::uint32_t keys = seed % 3 == 0 ? 40 : seed % 3 == 1 ? 400 : 5000;
    for (int step = 0; step < 4000; ++step) {
      Ip key = address(random.below(keys) + 1);
      if (random.one_in(4)) key.family = AF_INET6;
      const std::uint32_t action = random.below(10);
      if (action < 5) {
        auto [slot, added] = map.insert(key);
        REQUIRE(added == !model.contains(key));
        REQUIRE((added || slot->vtep == model[key]));
        slot->vtep = model[key] = static_cast<std::uint32_t>(step);
      } else if (action < 9) {
        REQUIRE(map.erase(key) == (model.erase(key) == 1));
      } else {
        const IpSlot* slot = map.find(key);
        REQUIRE((slot != nullptr) == model.contains(key));
        REQUIRE((slot == nullptr || slot->vtep == model[key]));
      }
      if (step % 500 == 0) REQUIRE(same(map, model));
    }
    REQUIRE(same(map, model));
    // All that is left can be found, and erased.
    for (const auto& [key, value] : model) REQUIRE(map.find(key) != nullptr);
    for (const auto& [key, value] : model) REQUIRE(map.erase(key));
    REQUIRE(map.size() == 0);
    map.insert(address(1));
    map.clear();
    CHECK(map.size() == 0);
    CHECK(map.find(address(1)) == nullptr);
  }
}

TEST_CASE("a flat map closes the hole that an erasure leaves, also around its end") {
  // Nearly full, so that runs of entries are long and pass from the last slot to the first.
  Random random(7);
  FlatMap<MacSlot> map;
  std::vector<Mac> present;
  for (std::uint32_t i = 0; i < 56; ++i) {
    present.push_back(hardware(i));
    map.insert(present.back());
  }
  REQUIRE(map.capacity() == 64);  // 7/8 full
  for (int round = 0; round < 20000; ++round) {
    const std::size_t victim = random.below(static_cast<std::uint32_t>(present.size()));
    REQUIRE(map.erase(present[victim]));
    present[victim] = hardware(1000 + static_cast<std::uint32_t>(round));
    REQUIRE(map.insert(present[victim]).second);
    REQUIRE(map.capacity() == 64);
    if (round % 100 != 0) continue;
    for (const Mac& key : present) REQUIRE(map.find(key) != nullptr);
  }
}

TEST_CASE("a map with room reserved does not grow until it is full, and keeps what it has") {
  FlatMap<MacSlot> map;
  for (std::uint32_t i = 0; i < 10; ++i) map.insert(hardware(i));
  map.reserve(5);
  CHECK(map.capacity() == 64);
  for (const std::uint32_t count : {100U, 57U, 7001U}) {
    map.reserve(count);
    const std::size_t reserved = map.capacity();
    for (std::uint32_t i = 0; i < count; ++i) map.insert(hardware(i));
    CHECK(map.capacity() == reserved);
    for (std::uint32_t i = 0; i < count; ++i) REQUIRE(map.find(hardware(i)) != nullptr);
  }
  CHECK(map.size() == 7001);
  CHECK(map.capacity() < 7001 * 8 / 7 + 8);
}

TEST_CASE("a table of a million endpoints takes less than 100 bytes for each") {
  constexpr std::uint32_t kCount = 1'000'000;
  EndpointTable table;
  std::size_t worst = 0;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    table.put(address(i + 1), hardware(i), address(0x0a000000U + i % 300), 0, true);
    if (i > 100'000) worst = std::max(worst, table.bytes() / (i + 1));
  }
  CHECK(table.size() == kCount);
  MESSAGE("bytes an endpoint: " << worst << " at worst");
  CHECK(worst < 100);
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < kCount; i += 97) {
    const IpSlot* slot = table.find(address(i + 1));
    const MacSlot* mac = table.find(hardware(i));
    wrong += slot == nullptr || mac == nullptr || slot->vtep != mac->vtep ||
             table.vtep(slot->vtep).ip != address(0x0a000000U + i % 300);
  }
  CHECK(wrong == 0);
}

TEST_CASE("a remote VTEP lasts as long as endpoints lead to it, and its number is used again") {
  EndpointTable table;
  const Ip first = support::ip("10.0.0.1");
  const Ip second = support::ip("fd00::1");
  CHECK(table.vtep(0).ip.empty());  // number 0 is none
  table.put(address(1), hardware(1), first, 0, true);
  table.put(address(2), hardware(2), first, 0, true);
  table.put(address(3), hardware(3), second, 0, true);
  const std::uint32_t number = table.find(address(1))->vtep;
  CHECK(table.vteps().size() == 2);
  CHECK(table.vtep(number).users == 4);
  CHECK(table.vtep(table.find(hardware(3))->vtep).ip == second);
  table.put(address(2), hardware(2), second, 0, true);  // it moves
  CHECK(table.vtep(number).users == 2);
  table.put(address(1), hardware(4), first, 0, true);  // a new MAC; the old one's record stays
  CHECK(table.vtep(number).users == 3);
  table.erase(address(1));
  table.erase(hardware(1));
  CHECK(table.vtep(number).users == 1);
  table.erase(hardware(4));
  CHECK(table.vteps().size() == 1);
  CHECK(table.vtep(number).ip.empty());
  table.put(address(5), hardware(5), support::ip("10.0.0.9"), 0, true);
  CHECK(table.find(address(5))->vtep == number);
  CHECK(table.vtep(number).users == 2);
}

TEST_CASE("a remote VTEP goes with the endpoints that a reset or their age takes") {
  EndpointTable table;
  constexpr std::uint32_t kCount = 2000;
  for (std::uint32_t i = 1; i <= kCount; ++i)
    table.put(address(i), hardware(i), address(0x0a000000U + i % 50), 0, true);
  CHECK(table.vteps().size() == 50);
  table.begin_reset(1);
  table.put(address(1), hardware(1), support::ip("10.9.9.9"), 0, true);
  while (table.find_missing_piece()) {
  }
  CHECK(table.missing() == kCount - 1);
  CHECK(table.size() == kCount);
  table.begin_sweep();
  while (table.sweep_piece([&](const auto& key) { table.erase(key); })) {
  }
  CHECK(table.missing() == 0);
  CHECK(table.size() == 1);
  CHECK(table.vteps().size() == 1);
  // Answers of lookups, long over their TTL.
  for (std::uint32_t i = 1; i <= kCount; ++i)
    table.put(address(i + 1), hardware(i + 1), address(0x0a000000U + i % 50), 10, false);
  CHECK(table.vteps().size() == 51);
  for (std::uint32_t i = 0; i < kCount; ++i) table.forget_stale(1'000'000, [](const Mac&) {});
  CHECK(table.size() == 1);
  CHECK(table.vteps().size() == 1);
  CHECK(table.vtep(table.find(address(1))->vtep).users == 2);
}

TEST_CASE("a ring is a queue") {
  Random random(3);
  Ring<int> ring;
  std::deque<int> model;
  CHECK(ring.empty());
  for (int step = 0; step < 100000; ++step) {
    // It fills and empties in turns: it grows while it is wrapped.
    if (random.below(1000) < (step / 10000 % 2 == 0 ? 600U : 400U)) {
      ring.push(step);
      model.push_back(step);
    } else if (!model.empty()) {
      REQUIRE(ring.front() == model.front());
      ring.pop();
      model.pop_front();
    }
    REQUIRE(ring.size() == model.size());
    REQUIRE(ring.empty() == model.empty());
  }
  ring.clear();
  CHECK(ring.empty());
}

TEST_CASE("a flat map that is filled in the order of another one is filled as fast as in any order") {
  FlatMap<IpSlot> first;
  std::vector<Ip> keys;
  for (std::uint32_t i = 1; i <= 30000; ++i) keys.push_back(address(i));
  for (const Ip& key : keys) first.insert(key);
  const auto time_of_filling = [](const auto& each) {
    FlatMap<IpSlot> map;
    const auto from = std::chrono::steady_clock::now();
    each([&](const Ip& key) { map.insert(key); });
    REQUIRE(map.size() == 30000);
    return std::chrono::steady_clock::now() - from;
  };
  const auto in_any_order = time_of_filling([&](const auto& insert) {
    for (const Ip& key : keys) insert(key);
  });
  const auto in_its_order =
      time_of_filling([&](const auto& insert) { first.for_each([&](const IpSlot& slot) { insert(slot.key); }); });
  CHECK(in_its_order < 10 * in_any_order);  // with one hash for both: some 100 times
}

TEST_CASE("a flat map is swept a little at a time") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    FlatMap<IpSlot> map;
    std::map<Ip, std::uint32_t> model;
    std::size_t cursor = 0;
    for (std::uint32_t i = 1; i <= 3000; ++i) {
      map.insert(address(i)).first->vtep = model[address(i)] = random.below(4);
    }
    // Twice round, as an erasure at the end moves entries from the beginning.
    for (std::size_t slots = 0; slots < 3 * map.capacity() + 3000; slots += 7)
      map.sweep(cursor, 7, [](const IpSlot& slot) { return slot.vtep != 0; });
    std::erase_if(model, [](const auto& entry) { return entry.second != 0; });
    REQUIRE(same(map, model));
    for (const auto& [key, value] : model) REQUIRE(map.find(key) != nullptr);
  }
}
