// An open-addressing hash map of plain values: linear probing, deletion by backward shift, growth by half.
// No allocation except when it grows; at most 7/8 full.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/hash.h"

namespace overns {

// A Slot has `Key key`, and `bool used() const`; a default-made slot is unused.
template <class Slot>
class FlatMap {
 public:
  using Key = decltype(Slot::key);
  static_assert(std::has_unique_object_representations_v<Key>);  // all of its bytes are hashed

  FlatMap() : slots_(kInitial) {}

  std::size_t size() const { return size_; }
  std::size_t capacity() const { return slots_.size(); }

  Slot* find(const Key& key) {
    for (std::size_t i = home(key); slots_[i].used(); i = next(i)) {
      if (slots_[i].key == key) return &slots_[i];
    }
    return nullptr;
  }

  // The slot of the key, made if need be. Pointers to slots are good until the next insert or erase.
  std::pair<Slot*, bool> insert(const Key& key) {
    if ((size_ + 1) * 8 > slots_.size() * 7) grow();
    std::size_t i = home(key);
    for (; slots_[i].used(); i = next(i)) {
      if (slots_[i].key == key) return {&slots_[i], false};
    }
    slots_[i] = Slot{};
    slots_[i].key = key;
    ++size_;
    return {&slots_[i], true};
  }

  // Room for so many in all, made at once: growing on the way moves everything again and again.
  void reserve(std::size_t count) {
    const std::size_t needed = count + count / 7 + 2;
    if (needed > slots_.size()) rehash(needed);
  }

  bool erase(const Key& key) {
    Slot* found = find(key);
    if (found == nullptr) return false;
    std::size_t hole = static_cast<std::size_t>(found - slots_.data());
    for (std::size_t i = next(hole); slots_[i].used(); i = next(i)) {
      // The entry may move back into the hole when that is not before its home.
      if (distance(home(slots_[i].key), i) >= distance(hole, i)) {
        slots_[hole] = slots_[i];
        if (walk_ != kNoWalk && i >= walk_ && hole < walk_) walk_ = hole;  // not visited yet
        hole = i;
      }
    }
    slots_[hole] = Slot{};
    --size_;
    return true;
  }

  // Looks at some slots from the cursor on, and erases those that are `dead`.
  template <class Dead>
  void sweep(std::size_t& cursor, std::size_t slots, Dead dead) {
    for (; slots > 0; --slots) {
      if (cursor >= slots_.size()) cursor = 0;
      if (slots_[cursor].used() && dead(slots_[cursor])) {
        erase(Key(slots_[cursor].key));  // what moves here is looked at next
      } else {
        ++cursor;
      }
    }
  }

  // A walk in pieces over all that is there when it begins, whatever comes and goes meanwhile; some are visited twice.
  void begin_walk() { walk_ = 0; }
  // Visits what is in the next so many slots; `visit` may erase what it is given, and nothing else. False at the end.
  template <class Visit>
  bool walk(std::size_t slots, Visit visit) {
    for (; slots > 0 && walk_ < slots_.size(); --slots) {
      if (!slots_[walk_].used() || !visit(slots_[walk_]))
        ++walk_;  // what moves to where one was erased is visited next
    }
    if (walk_ < slots_.size()) return true;
    walk_ = kNoWalk;
    return false;
  }

  template <class Visit>
  void for_each(Visit visit) {
    for (Slot& slot : slots_) {
      if (slot.used()) visit(slot);
    }
  }

  void clear() {
    slots_.assign(kInitial, Slot{});
    size_ = 0;
  }

 private:
  static constexpr std::size_t kInitial = 64;
  static constexpr std::size_t kNoWalk = SIZE_MAX;

  std::size_t home(const Key& key) const {
    // Lemire's fast range: any capacity, no division.
    const std::uint64_t hash = hash_bytes(hash_key_, &key, sizeof key);
    return static_cast<std::size_t>((static_cast<unsigned __int128>(hash) * slots_.size()) >> 64);
  }
  std::size_t next(std::size_t i) const { return i + 1 == slots_.size() ? 0 : i + 1; }
  std::size_t distance(std::size_t from, std::size_t to) const {
    return to >= from ? to - from : to + slots_.size() - from;
  }

  void grow() { rehash(slots_.size() + slots_.size() / 2); }

  void rehash(std::size_t capacity) {
    std::vector<Slot> old(capacity);
    old.swap(slots_);
    if (walk_ != kNoWalk) walk_ = 0;
    for (const Slot& slot : old) {
      if (!slot.used()) continue;
      std::size_t i = home(slot.key);
      while (slots_[i].used()) i = next(i);
      slots_[i] = slot;
    }
  }

  std::uint64_t hash_key_ = new_hash_key();
  std::vector<Slot> slots_;
  std::size_t size_ = 0;
  std::size_t walk_ = kNoWalk;  // where it goes on
};

}  // namespace overns
