// Addresses whose MAC has changed, which the containers here are to be told: by a gratuitous ARP reply or an
// unsolicited neighbour advertisement each, at a bounded rate.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "engine/ring.h"
#include "engine/time.h"

namespace overns {

class Announcements {
 public:
  // Each is a frame to every container here.
  static constexpr std::uint32_t kPerSecond = 200;
  static constexpr std::uint32_t kBurst = 50;
  // Beyond this an address is not told of: who talks to it asks again when its entry has expired.
  static constexpr std::size_t kMostWaiting = 1 << 12;

  void add(const Ip& ip) {
    if (waiting_.size() < kMostWaiting) waiting_.push(ip);
  }

  // Calls `announce` with those whose turn it is.
  template <class Announce>
  void carry_out(Nanoseconds now, Announce announce) {
    for (; !waiting_.empty() && now >= next_due(); waiting_.pop()) {
      free_at_ = (free_at_ > now ? free_at_ : now) + kGap;
      announce(waiting_.front());
    }
  }
  // When that has something to do, 0 = never.
  Nanoseconds next_due() const {
    constexpr Nanoseconds kAhead = kGap * (kBurst - 1);
    if (waiting_.empty()) return 0;
    return free_at_ > kAhead ? free_at_ - kAhead : 1;
  }

 private:
  static constexpr Nanoseconds kGap = kSecond / kPerSecond;

  Ring<Ip> waiting_;
  Nanoseconds free_at_ = 0;  // when all that have been told would have had their turn, one after the other
};

}  // namespace overns
