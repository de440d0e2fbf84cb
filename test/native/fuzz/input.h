// A fuzzer's bytes, read as choices; when they have run out, zeros. And what all fuzzers share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/address.h"

namespace fuzz {

class Input {
 public:
  explicit Input(overns::Bytes bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  std::uint8_t u8() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() | u8() << 8); }
  std::uint32_t u32() { return u16() | static_cast<std::uint32_t>(u16()) << 16; }
  overns::Bytes take(std::size_t size) {
    const overns::Bytes taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  overns::Bytes chunk() { return take(u16()); }
  overns::Bytes rest() { return take(rest_.size()); }

 private:
  overns::Bytes rest_;
};

// What must hold. The program ends otherwise, which the fuzzer takes for a crash.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// A copy that ends where the bytes do, for the sanitizer to see what is read beyond.
class Exact {
 public:
  explicit Exact(overns::Bytes bytes) : size_(bytes.size()), data_(new std::uint8_t[bytes.size()]) {
    if (size_ > 0) std::memcpy(data_.get(), bytes.data(), size_);
  }
  std::uint8_t* data() { return data_.get(); }
  overns::Bytes bytes() const { return {data_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::uint8_t[]> data_;
};

// Whether `part` lies within `whole`.
inline bool within(overns::Bytes part, overns::Bytes whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace fuzz
