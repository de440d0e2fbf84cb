// Which lookups are under way and which wait for their turn. The store is asked at a bounded rate, asker by asker, so
// that one who scans delays nobody else.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "engine/ask_key.h"
#include "engine/flat_map.h"
#include "engine/hash.h"
#include "engine/ring.h"
#include "engine/time.h"

namespace overns {

struct LookupLimits {
  std::uint32_t max_lookups = 256;           // under way at once
  std::uint32_t lookups_per_second = 10000;  // that may begin
  // A lookup that is not answered within this counts as timed out, whatever became of who was to answer it; 0 = none.
  std::uint32_t lookup_deadline_ms = 0;
};

class Lookups {
 public:
  // A lookup under way, by its token.
  struct Lookup {
    std::uint32_t key = 0;
    AskKey about;
    Nanoseconds deadline = 0;
    bool used() const { return key != 0; }
  };

  explicit Lookups(const LookupLimits& limits) : limits_(limits) {}

  // Whether one may start now, by a token bucket that is a second deep.
  bool may_start(Nanoseconds now);
  // Returns its token, which is never 0.
  std::uint32_t start(const AskKey& about, Nanoseconds now);
  // Does nothing when it has been given up by its deadline.
  void end(std::uint32_t token) { under_way_.erase(token); }

  // Lets a lookup wait among those of its asker; zero: a miss whose asker is not known yet. Returns the oldest of a
  // queue that is full, which waits no longer.
  std::optional<AskKey> enqueue(const Mac& asker, const AskKey& key);
  bool any_queued() const { return !turns_.empty(); }
  // Takes out the one whose turn it is. `wanted(asker, key)` tells whether it still waits in that asker's queue.
  template <class Wanted>
  std::optional<AskKey> next(Wanted wanted) {
    while (!turns_.empty()) {
      const Mac asker = turns_.front();
      turns_.pop();
      Ring<AskKey>& queue = queues_[asker];
      std::optional<AskKey> found;
      while (!found && !queue.empty()) {
        if (wanted(asker, queue.front())) found = queue.front();
        queue.pop();
      }
      if (queue.empty()) {
        queues_.erase(asker);
      } else {
        turns_.push(asker);
      }
      if (found) return found;
    }
    return std::nullopt;
  }

  // Those that nobody has answered in time: the process is blocked, or has a fault. They must not take the place of
  // others for ever.
  std::vector<Lookup> late(Nanoseconds now);
  // When to look for late ones, or for one that waits for the rate; 0 = never.
  Nanoseconds next_due(Nanoseconds now) const;

 private:
  const LookupLimits limits_;
  double tokens_ = 0;  // lookups that may start now
  Nanoseconds tokens_at_ = 0;
  std::uint32_t last_token_ = 0;
  FlatMap<Lookup> under_way_;
  Nanoseconds next_deadline_ = 0;  // of a lookup, or before it; 0 = none
  std::unordered_map<Mac, Ring<AskKey>, MacHash> queues_;
  Ring<Mac> turns_;
};

}  // namespace overns
