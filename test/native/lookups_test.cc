// engine/lookups.h: which lookup may begin, and whose turn it is.
#include "engine/lookups.h"

#include "engine_world.h"

using namespace overns;
using support::kMs;
using support::numbered_ip;
using support::numbered_mac;

namespace {

AskKey key(std::uint32_t number) { return AskKey::of(numbered_ip(number)); }
constexpr auto kAll = [](const Mac&, const AskKey&) { return true; };

}  // namespace

TEST_CASE("lookups: so many at once, and so many a second") {
  Lookups lookups({.max_lookups = 3, .lookups_per_second = 2});
  Nanoseconds now = 10'000 * kMs;
  REQUIRE(lookups.may_start(now));
  const std::uint32_t first = lookups.start(key(1), now);
  const std::uint32_t second = lookups.start(key(2), now);
  CHECK(first != second);
  CHECK_FALSE(lookups.may_start(now));  // of the two in a second
  now += 500 * kMs;
  REQUIRE(lookups.may_start(now));
  (void)lookups.start(key(3), now);
  now += 10'000 * kMs;
  CHECK_FALSE(lookups.may_start(now));  // of the three at once
  lookups.end(first);
  CHECK(lookups.may_start(now));
  lookups.end(first);  // again: no more room by it
  (void)lookups.start(key(4), now);
  CHECK_FALSE(lookups.may_start(now));
}

TEST_CASE("lookups: those that wait are taken asker by asker, without those that wait no longer") {
  Lookups lookups({});
  for (std::uint32_t n = 1; n <= 4; ++n) CHECK_FALSE(lookups.enqueue(numbered_mac(1), key(n)));
  CHECK_FALSE(lookups.enqueue(numbered_mac(2), key(10)));
  CHECK_FALSE(lookups.enqueue(Mac{}, key(20)));
  std::vector<AskKey> order;
  while (const auto next = lookups.next([](const Mac&, const AskKey& one) { return one != key(2); }))
    order.push_back(*next);
  CHECK(order == std::vector{key(1), key(10), key(20), key(3), key(4)});
  CHECK_FALSE(lookups.any_queued());
}

TEST_CASE("lookups: a queue that is full lets its oldest go, and many askers share one queue") {
  Lookups lookups({});
  std::uint32_t n = 0;
  while (!lookups.enqueue(numbered_mac(1), key(++n))) REQUIRE(n < 10'000);
  CHECK(lookups.next(kAll) == key(2));  // the oldest has gone
  std::uint32_t asker = 1;
  std::uint32_t displaced = 0;
  for (; displaced == 0 && asker < 20'000; ++asker)
    displaced += lookups.enqueue(numbered_mac(1000 + asker), key(asker)) ? 1 : 0;
  CHECK(displaced == 1);  // by one queue for all that are too many
}

TEST_CASE("lookups: one that nobody answers is late") {
  Lookups lookups({.lookup_deadline_ms = 100});
  const Nanoseconds now = 10'000 * kMs;
  REQUIRE(lookups.may_start(now));
  const std::uint32_t answered = lookups.start(key(1), now);
  const std::uint32_t forgotten = lookups.start(key(2), now + 10 * kMs);
  CHECK(lookups.next_due(now) == now + 100 * kMs);
  lookups.end(answered);
  CHECK(lookups.late(now + 100 * kMs).empty());
  CHECK(lookups.next_due(now) == now + 110 * kMs);
  const auto late = lookups.late(now + 110 * kMs);
  REQUIRE(late.size() == 1);
  CHECK(late[0].key == forgotten);
  CHECK(late[0].about == key(2));
}
