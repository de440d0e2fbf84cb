// Copies of the requests that the kernel swallowed, until their answer is programmed and they are sent again.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "engine/flat_map.h"
#include "engine/frame.h"
#include "engine/time.h"

namespace overns {

// A ring of frames with numbers from 1; those for the same address are chained, newest first.
class TappedFrames {
 public:
  // Whether a request can be kept at all.
  static bool takes(const SwallowedRequest& request) {
    return request.frame.size() <= kFrameBytes && !request.asker.is_zero();
  }
  // Returns the frame's number, or 0 when its asker has too many: none may fill the ring alone. `previous`: number of
  // the frame tapped before it for the same address, 0 = none.
  std::uint64_t keep(const SwallowedRequest& request, std::uint64_t previous, Nanoseconds now);

  // Numbers of the frames of a chain that are worth replaying, oldest first; good until the next call.
  std::span<const std::uint64_t> chain(std::uint64_t last, Nanoseconds now);
  Bytes bytes(std::uint64_t number) const;
  // Counts the frame no longer for its asker; its place in the ring is free when the older ones are gone too.
  void release(std::uint64_t number);

  // Until when the frame is worth replaying, 0 = it is not.
  Nanoseconds fresh_until(std::uint64_t number, Nanoseconds now) const;
  // Whether that frame, released or not, had these bytes. Its place may be another's by now, which are then not the
  // same.
  bool had_bytes(std::uint64_t number, Bytes bytes) const;

 private:
  static constexpr std::size_t kFrameBytes = 128;
  struct Frame {
    std::array<std::uint8_t, kFrameBytes> bytes{};
    std::uint16_t size = 0;  // 0: released
    Mac asker;
    std::uint64_t previous = 0;
    Nanoseconds at = 0;
  };
  struct AskerFrames {
    Mac key;
    std::uint16_t unused = 0;
    std::uint32_t count = 0;
    bool used() const { return !key.is_zero(); }
  };

  const Frame* find(std::uint64_t number) const;
  const Frame& place(std::uint64_t number) const { return frames_[(number - 1) % frames_.size()]; }
  Frame& place(std::uint64_t number) { return frames_[(number - 1) % frames_.size()]; }
  void expire(Nanoseconds now);

  std::vector<Frame> frames_;  // a ring; number n stands at (n - 1) % size
  std::uint64_t count_ = 0;    // numbers given so far
  std::uint64_t expired_ = 0;  // numbers up to this one are no longer wanted
  FlatMap<AskerFrames> askers_;
  std::vector<std::uint64_t> chain_;
};

}  // namespace overns
