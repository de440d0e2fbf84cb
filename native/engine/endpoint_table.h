// What is known of an overlay's endpoints: IP -> MAC and VTEP, MAC -> VTEP. Under 100 bytes an endpoint.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/address.h"
#include "engine/flat_map.h"

namespace overns {

// Tenths of a second on the table's own clock; 0 = does not expire. Thirteen years fit.
using Deciseconds = std::uint32_t;

struct IpSlot {
  Ip key;
  Mac mac;
  std::uint8_t flags = 0;
  std::uint32_t vtep = 0;
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
  kMarked = 4,      // equal to the reset's own: seen by it
};

class EndpointTable {
 public:
  FlatMap<IpSlot> ips;
  FlatMap<MacSlot> macs;

  // VTEPs are few and repeat: a slot holds a number.
  std::uint32_t intern(const Ip& vtep);
  std::uint32_t vteps() const { return static_cast<std::uint32_t>(vteps_.size()); }
  const Ip& vtep(std::uint32_t number) const { return vteps_[number]; }

 private:
  std::vector<Ip> vteps_{Ip{}};
  std::map<Ip, std::uint32_t> numbers_;
};

}  // namespace overns
