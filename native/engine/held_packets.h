// Packets for MACs that the store is asked for, in order, until there is an answer.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "engine/hash.h"

namespace overns {

class HeldPackets {
 public:
  using Queue = std::deque<std::vector<std::uint8_t>>;

  bool empty() const { return queues_.empty(); }
  // Keeps a copy. Returns how many packets had no room: of the same MAC the oldest gives way, else the new one.
  std::size_t keep(const Mac& mac, Bytes packet);
  // Takes out all of a MAC.
  Queue take(const Mac& mac);

 private:
  struct Held {
    Queue packets;
    std::size_t bytes = 0;
  };
  std::unordered_map<Mac, Held, MacHash> queues_;
  std::size_t bytes_ = 0;
};

}  // namespace overns
