// The MACs of containers that have left this host a short while ago. Hosts that have yet to hear of it still send
// frames for them here, which are sent on.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "base/address.h"
#include "engine/time.h"

namespace overns {

class Departures {
 public:
  // Beyond this the one that left first is forgotten: every frame from other hosts is compared with all of them.
  static constexpr std::size_t kMost = 240;
  // `kept`: for how long a MAC is remembered.
  explicit Departures(Nanoseconds kept) : kept_(kept) {}

  void add(const Mac& mac, Nanoseconds now) {
    remove(mac);
    if (kept_ == 0) return;
    if (macs_.size() == kMost) forget_first();
    macs_.push_back(mac);
    until_.push_back(now + kept_);
    changed_ = true;
  }
  void remove(const Mac& mac) {
    const auto found = std::ranges::find(macs_, mac);
    if (found == macs_.end()) return;
    until_.erase(until_.begin() + (found - macs_.begin()));
    macs_.erase(found);
    changed_ = true;
  }
  void expire(Nanoseconds now) {
    while (!until_.empty() && until_.front() <= now) forget_first();
  }
  Nanoseconds next_due() const { return until_.empty() ? 0 : until_.front(); }

  bool contains(const Mac& mac) const { return std::ranges::find(macs_, mac) != macs_.end(); }
  std::span<const Mac> macs() const { return macs_; }  // the first that left first
  bool changed() const { return changed_; }
  bool take_changed() { return std::exchange(changed_, false); }

 private:
  void forget_first() {
    macs_.erase(macs_.begin());
    until_.erase(until_.begin());
    changed_ = true;
  }

  const Nanoseconds kept_;
  std::vector<Mac> macs_;
  std::vector<Nanoseconds> until_;  // of each, which ascends
  bool changed_ = false;
};

}  // namespace overns
