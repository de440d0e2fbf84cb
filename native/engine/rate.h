// Bounds how often something is done: so many times a second, and some of them at once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/time.h"

namespace overns {

template <std::uint32_t kPerSecond, std::uint32_t kBurst>
class Rate {
 public:
  // Counts one more, where there is room for it.
  bool admits(Nanoseconds now) {
    if (free_at_ > now + kGap * (kBurst - 1)) return false;
    free_at_ = std::max(free_at_, now) + kGap;
    return true;
  }

 private:
  static constexpr Nanoseconds kGap = kSecond / kPerSecond;
  Nanoseconds free_at_ = 0;  // when all that were admitted would have had their turn, one after the other
};

}  // namespace overns
