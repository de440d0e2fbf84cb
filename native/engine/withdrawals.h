// Entries that are to go from the kernel. Each stays on the list until the kernel has it no more, or has a new one in
// its place; one that the kernel refuses to delete is tried again.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ask_key.h"
#include "engine/flat_map.h"
#include "engine/output.h"
#include "engine/ring.h"
#include "engine/time.h"

namespace overns {

class Withdrawals {
 public:
  void add(const AskKey& key);
  // A new entry takes its place.
  void cancel(const AskKey& key) {
    if (leaving_.size() > 0) leaving_.erase(key);
  }
  void clear();

  // Deletes `most` entries at most. Returns how many the kernel has refused.
  std::size_t carry_out(EngineOutput& output, std::size_t most);
  // There is more to be carried out at once.
  bool pending() const { return !order_.empty(); }

  // Lets those that were refused be carried out again when their time has come.
  void retry(Nanoseconds now);
  // When that is so next, 0 = none was refused.
  Nanoseconds next_retry() const { return refused_.empty() ? 0 : refused_.front().at; }

 private:
  struct Leaving {
    AskKey key;
    std::uint8_t tries = 0;
    bool used() const { return key.kind != 0; }
  };
  struct Refused {
    AskKey key;
    Nanoseconds at = 0;
    bool operator<(const Refused& other) const { return at > other.at; }  // a heap with the earliest on top
  };

  FlatMap<Leaving> leaving_;
  Ring<AskKey> order_;  // some of them may have been cancelled
  std::vector<Refused> refused_;
  std::vector<AskKey> piece_;  // scratch of carry_out
  std::vector<int> errors_;
};

}  // namespace overns
