// The MAC addresses that containers here were last told of for addresses that are in no table any more: they may hold
// on to one for long after its record has gone, and have to hear of it when the address comes back with another.
#pragma once

#include "base/address.h"
#include "engine/flat_map.h"
#include "engine/ring.h"

namespace overns {

class ToldMacs {
 public:
  // Beyond this the one that was kept first is forgotten.
  static constexpr std::size_t kMost = 1 << 14;

  void keep(const Ip& ip, const Mac& mac);
  // Takes it out; a zero MAC: nobody was told.
  Mac take(const Ip& ip);

 private:
  struct Told {
    Ip key;
    Mac mac;
    bool used() const { return !key.empty(); }
  };
  FlatMap<Told> macs_;
  Ring<Ip> order_;  // some of them may have been taken
};

}  // namespace overns
