#include "engine/tapped_frames.h"

#include <algorithm>

namespace overns {
namespace {

constexpr std::size_t kMaxFrames = 1 << 14;
constexpr std::uint32_t kMaxFramesOfAsker = kMaxFrames / 4;

}  // namespace

const TappedFrames::Frame* TappedFrames::find(std::uint64_t number) const {
  if (number <= expired_ || number > count_) return nullptr;
  return &place(number);
}

void TappedFrames::release(std::uint64_t number) {
  Frame& released = place(number);
  if (released.size == 0) return;
  released.size = 0;
  AskerFrames* asker = askers_.find(released.asker);
  if (asker != nullptr && --asker->count == 0) askers_.erase(released.asker);
}

void TappedFrames::expire(Nanoseconds now) {
  for (; expired_ < count_; ++expired_) {
    const Frame& oldest = place(expired_ + 1);
    const bool overwritten_next = count_ - expired_ >= kMaxFrames;
    if (!overwritten_next && oldest.size != 0 && now - oldest.at <= kRecent) return;
    release(expired_ + 1);
  }
}

std::uint64_t TappedFrames::keep(const SwallowedRequest& request, std::uint64_t previous, Nanoseconds now) {
  expire(now);
  AskerFrames* asker = askers_.insert(request.asker).first;
  if (asker->count >= kMaxFramesOfAsker) return 0;
  ++asker->count;
  // Full of frames that may still be wanted: twice the room. Beyond the bound the oldest has given way above.
  if (count_ - expired_ >= frames_.size()) {
    std::vector<Frame> larger(frames_.empty() ? 64 : frames_.size() * 2);
    for (std::uint64_t n = expired_ + 1; n <= count_; ++n) larger[(n - 1) % larger.size()] = place(n);
    frames_.swap(larger);
  }
  Frame& kept = place(++count_);
  std::copy(request.frame.begin(), request.frame.end(), kept.bytes.begin());
  kept.size = static_cast<std::uint16_t>(request.frame.size());
  kept.asker = request.asker;
  kept.previous = previous;
  kept.at = now;
  return count_;
}

std::span<const std::uint64_t> TappedFrames::chain(std::uint64_t last, Nanoseconds now) {
  chain_.clear();
  // The chain leads back in time: where it ends, all that is older has gone as well.
  for (const Frame* frame = find(last); frame != nullptr && now - frame->at <= kRecent; frame = find(last)) {
    chain_.push_back(last);
    last = frame->previous;
  }
  std::reverse(chain_.begin(), chain_.end());
  return chain_;
}

Bytes TappedFrames::bytes(std::uint64_t number) const { return {place(number).bytes.data(), place(number).size}; }

Nanoseconds TappedFrames::fresh_until(std::uint64_t number, Nanoseconds now) const {
  const Frame* frame = find(number);
  return frame != nullptr && now <= frame->at + kRecent ? frame->at + kRecent : 0;
}

bool TappedFrames::had_bytes(std::uint64_t number, Bytes bytes) const {
  if (number == 0 || bytes.size() > kFrameBytes) return false;
  return std::equal(bytes.begin(), bytes.end(), place(number).bytes.begin());
}

}  // namespace overns
