// Knows of each address that was asked for lately whether it waits for a lookup, has just been answered, or
// is known to be absent.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "engine/ask_key.h"
#include "engine/flat_map.h"
#include "engine/ring.h"
#include "engine/time.h"

namespace overns {

enum class AskState : std::uint8_t {
  kTapped,   // nothing is known of it but that its request was seen
  kQueued,   // waits until a lookup may start
  kLooking,  // a lookup is under way
  kAnswered,
  kAbsent,
};

struct Ask {
  AskKey key;
  AskState state = AskState::kTapped;
  bool due_queued = false;
  bool ready = false;            // to be programmed by the next flush
  bool unhurried = false;        // or by one of the next: nobody waits for it
  bool by_store = false;         // the answer came of a lookup
  bool lookup_outdated = false;  // the record was deleted after the lookup under way had begun
  std::uint32_t token = 0;
  std::uint32_t ttl_ms = 0;  // of that answer, 0 = it has none of its own
  Mac here;                  // absent because the record of this MAC names this host; zero: not so
  Mac asker;                 // whose turn a queued lookup waits for; zero: not known, the miss does not name it
  Nanoseconds miss_at = 0;   // 0: no miss was seen yet
  Nanoseconds expires = 0;
  std::uint64_t last_frame = 0;  // number of the frame tapped last, 0 = none
  std::uint64_t replayed = 0;    // number of the frame replayed last in this round, after the answer was programmed
  bool used() const { return key.kind != 0; }
  bool waits() const { return state == AskState::kLooking || state == AskState::kQueued; }
};

class Asks {
 public:
  // More make the table grow beyond what can be moved in passing: at this size, some 3 ms in which nothing is answered.
  static constexpr std::size_t kMost = 1 << 16;

  Ask* find(const AskKey& key) { return asks_.find(key); }
  // The ask of the key, made if need be. Pointers to asks are good until the next insert or erase.
  Ask* insert(const AskKey& key) { return asks_.insert(key).first; }
  bool full() const { return asks_.size() >= kMost; }
  // Makes room by forgetting the address that has been absent for longest: should it be asked for again, the store is.
  bool evict_absent();

  // The state holds until `expires`; then the ask is forgotten, or looked at again.
  void settle(Ask& ask, AskState state, Nanoseconds expires);

  // Forgets those whose time is over, looking at `left` of them at most, which it counts down. `keep_until` tells until
  // when one is kept all the same; 0: it is not.
  template <class KeepUntil>
  void expire(Nanoseconds now, int& left, KeepUntil keep_until) {
    for (Ring<Due>* ring : {&due_soon_, &due_negative_}) {
      for (; left > 0 && !ring->empty() && ring->front().at <= now; --left) {
        Ask* ask = take_due(*ring);
        if (ask == nullptr || ask->ready || ask->waits()) continue;
        if (ask->expires > now) {
          settle(*ask, ask->state, ask->expires);
        } else if (const Nanoseconds until = keep_until(*ask); until != 0) {
          settle(*ask, AskState::kTapped, until);
        } else {
          asks_.erase(AskKey(ask->key));
        }
      }
    }
  }
  // When expire() has something to do, 0 = never.
  Nanoseconds next_due() const;

  template <class Visit>
  void for_each(Visit visit) {
    asks_.for_each(visit);
  }

 private:
  struct Due {
    AskKey key;
    Nanoseconds at = 0;
  };
  Ask* take_due(Ring<Due>& ring);

  FlatMap<Ask> asks_;
  // Two queues, each with one period, are in order by themselves. What is kept on for its frame is due before those in
  // front of it, and looked at with them.
  Ring<Due> due_soon_;      // after kRecent
  Ring<Due> due_negative_;  // after negative_ttl_ms
};

}  // namespace overns
