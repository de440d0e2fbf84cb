// The endpoints of an overlay that are known: IP -> MAC and VTEP, MAC -> VTEP. Under 100 bytes an endpoint.
#pragma once

#include <cstdint>
#include <vector>

#include "base/address.h"
#include "engine/flat_map.h"
#include "engine/remote_vteps.h"
#include "engine/time.h"

namespace overns {

struct IpSlot {
  Ip key;
  Mac mac;
  std::uint8_t flags = 0;
  std::uint32_t vtep = 0;  // number of a RemoteVtep, 0 = not known
  Deciseconds expires = 0;
  bool used() const { return !key.empty(); }
};
static_assert(sizeof(IpSlot) == 32);

struct MacSlot {
  Mac key;
  std::uint8_t flags = 0;
  std::uint32_t vtep = 0;
  Deciseconds expires = 0;
  bool used() const { return !key.is_zero(); }
};
static_assert(sizeof(MacSlot) == 16);

enum SlotFlag : std::uint8_t {
  kProgrammed = 1,  // the kernel has an entry made from it
  kWatched = 2,     // from the store's watch: good until the watch says otherwise
  kMarked = 4,      // put since the last reset began, when it equals the reset's own mark
  kTold = 8,        // containers here have been told of its MAC, and may hold on to it
  kLearned = 16,    // the kernel has learned its entry from a frame
  kOutdated = 32,   // holds no longer, but the kernel keeps its entry until that is withdrawn or replaced
  kAdopted = 64,    // the kernel had it when the engine began, and the store has yet to name it
  kMissing = 128,   // a reset has not named it, and nothing has since; good until it is swept
};

template <class Slot>
bool is_programmed(const Slot* slot) {
  return slot != nullptr && (slot->flags & kProgrammed) != 0;
}
template <class Slot>
bool is_missing(const Slot* slot) {
  return slot != nullptr && (slot->flags & kMissing) != 0;
}
template <class Slot>
void set_programmed(Slot* slot, bool on) {
  if (slot == nullptr) return;
  slot->flags = static_cast<std::uint8_t>((slot->flags & ~(kProgrammed | kLearned)) | (on ? kProgrammed : 0));
}

class EndpointTable {
 public:
  std::size_t size() const { return ips_.size(); }
  IpSlot* find(const Ip& ip) { return ips_.find(ip); }
  MacSlot* find(const Mac& mac) { return macs_.find(mac); }
  const RemoteVtep& vtep(std::uint32_t number) const { return vteps_[number]; }
  RemoteVteps& vteps() { return vteps_; }

  // Adds or replaces; an empty IP adds the MAC alone. `watched`: the watch has given it.
  void put(const Ip& ip, const Mac& mac, const Ip& vtep, Deciseconds expires, bool watched);
  // Adds what the kernel has an entry of and the store has not said yet: a MAC with its VTEP, `learned` from a frame or
  // not, and an address, whose VTEP is its MAC's where that is known. What was not learned goes with the first reset
  // that does not name it; a MAC that was may be of hosts that the store knows nothing of.
  void put_programmed(const Mac& mac, const Ip& vtep, bool learned, Deciseconds expires);
  void put_programmed(const Ip& ip, const Mac& mac, Deciseconds expires);
  // Adds an address of which the kernel has an entry that holds no longer, as outdate() leaves one.
  void put_outdated(const Ip& ip, const Mac& mac);
  template <class Key>
  void erase(const Key& key) {
    auto* slot = find(key);
    if (slot == nullptr) return;
    vteps_.point(slot->vtep, 0);
    if (is_missing(slot)) missed(key, -1);
    map_of(slot).erase(key);
  }
  // What the slot says holds no longer, but the kernel's entry stays: it is no part of the watch's, and its time is
  // over.
  template <class Slot>
  void outdate(Slot& slot) {
    if (is_missing(&slot)) missed(slot.key, -1);
    slot.flags = static_cast<std::uint8_t>((slot.flags & ~(kWatched | kAdopted | kMissing)) | kOutdated);
    slot.expires = 1;
  }
  // The MACs of which the kernel has an entry that leads to the VTEP.
  template <class Visit>
  void for_each_mac_at(const Ip& vtep, Visit visit) {
    macs_.for_each([&](const MacSlot& slot) {
      if (is_programmed(&slot) && vteps_[slot.vtep].ip == vtep) visit(slot.key);
    });
  }
  // Nothing is programmed any more.
  void clear_programmed();

  // Makes room at once, since growing on the way moves everything again and again, and lets what has been put before
  // bear the other mark without being looked at.
  void begin_reset(std::size_t count);
  // Lets what the watch gave before the reset began, and was not put since, count as missing: a piece of the table at
  // a time. True: there is more.
  bool find_missing_piece();
  // The addresses that are missing.
  std::size_t missing() const { return missing_ips_; }
  void begin_sweep();
  // Calls `forget` with the keys of what is missing, a piece at a time. True: there is more. Ends when a reset begins,
  // whose missing ones are yet to be judged.
  template <class Forget>
  bool sweep_piece(Forget forget) {
    if (!sweeping_) return false;
    sweeping_ = walk_piece([&](const auto& slot) {
      if (!is_missing(&slot)) return false;
      const auto key = slot.key;
      forget(key);
      return true;
    });
    return sweeping_;
  }

  // Looks at a few slots and forgets those that expired long ago: done with each put, the table is cleaned as fast as
  // it can grow. `in_kernel` is called with the MACs among them whose entry, which is not one that the kernel learned,
  // is still there.
  template <class InKernel>
  void forget_stale(Deciseconds now, InKernel in_kernel) {
    const auto stale = [&](const auto& slot) {
      return slot.expires != 0 && slot.expires + kStaleKept <= now && !is_missing(&slot);
    };
    ips_.sweep(swept_ips_, kSwept, [&](IpSlot& slot) {
      if (!stale(slot) || is_programmed(&slot)) return false;
      vteps_.point(slot.vtep, 0);
      return true;
    });
    macs_.sweep(swept_macs_, kSwept, [&](MacSlot& slot) {
      if (!stale(slot)) return false;
      if ((slot.flags & (kProgrammed | kLearned)) == kProgrammed) in_kernel(slot.key);
      vteps_.point(slot.vtep, 0);
      return true;
    });
  }

  // Has take_due() return the address's slot when that time has come.
  void look_again(const Ip& ip, Deciseconds at);
  // Takes out what is due first; null when the address is known no more.
  IpSlot* take_due();
  bool is_due(Deciseconds now) const { return !due_.empty() && due_.front().at <= now; }
  Deciseconds next_due() const { return due_.empty() ? 0 : due_.front().at; }

  std::size_t bytes() const { return ips_.capacity() * sizeof(IpSlot) + macs_.capacity() * sizeof(MacSlot); }

 private:
  struct Due {
    Deciseconds at;
    Ip ip;
    bool operator<(const Due& other) const { return at > other.at; }  // a heap with the earliest on top
  };
  static constexpr std::size_t kWalkSlots = 1024;  // in a piece of a walk
  static constexpr std::size_t kSwept = 8;         // slots that forget_stale() looks at
  // How long an endpoint is known beyond its TTL, for when the store fails.
  static constexpr Deciseconds kStaleKept = 6000;

  FlatMap<IpSlot>& map_of(const IpSlot*) { return ips_; }
  FlatMap<MacSlot>& map_of(const MacSlot*) { return macs_; }
  void missed(const Ip&, int by) { missing_ips_ += static_cast<std::size_t>(by); }
  void missed(const Mac&, int) {}

  void begin_walk();
  template <class Visit>
  bool walk_piece(Visit visit) {
    if (has_walked_ips_) return macs_.walk(kWalkSlots, visit);
    has_walked_ips_ = !ips_.walk(kWalkSlots, visit);
    return true;
  }

  FlatMap<IpSlot> ips_;
  FlatMap<MacSlot> macs_;
  RemoteVteps vteps_;
  std::vector<Due> due_;
  std::size_t swept_ips_ = 0;  // where forget_stale goes on
  std::size_t swept_macs_ = 0;
  std::uint8_t mark_ = 0;  // kMarked as the watch's endpoints have it since the last reset began
  std::size_t missing_ips_ = 0;
  bool has_walked_ips_ = false;
  bool sweeping_ = false;
};

}  // namespace overns
