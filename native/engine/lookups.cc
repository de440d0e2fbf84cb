#include "engine/lookups.h"

#include <algorithm>

namespace overns {
namespace {

// Lookups that wait: for one asker, and how many askers have a queue of their own.
constexpr std::size_t kMaxQueued = 4096;
constexpr std::size_t kMaxQueues = 64;
constexpr Mac kOtherAskers{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

}  // namespace

bool Lookups::may_start(Nanoseconds now) {
  const double rate = limits_.lookups_per_second;
  tokens_ = std::min(rate, tokens_ + static_cast<double>(now - tokens_at_) * rate / 1e9);
  tokens_at_ = now;
  return under_way_.size() < limits_.max_lookups && tokens_ >= 1;
}

std::uint32_t Lookups::start(const AskKey& about, Nanoseconds now) {
  if (++last_token_ == 0) ++last_token_;
  Lookup& lookup = *under_way_.insert(last_token_).first;
  lookup.about = about;
  if (limits_.lookup_deadline_ms != 0) {
    lookup.deadline = now + limits_.lookup_deadline_ms * kMillisecond;
    if (next_deadline_ == 0) next_deadline_ = lookup.deadline;
  }
  tokens_ -= 1;
  return last_token_;
}

std::optional<AskKey> Lookups::enqueue(const Mac& asker, const AskKey& key) {
  const bool own = asker.is_zero() || queues_.contains(asker) || queues_.size() < kMaxQueues;
  const Mac& name = own ? asker : kOtherAskers;
  Ring<AskKey>& queue = queues_[name];
  if (queue.empty()) turns_.push(name);
  queue.push(key);
  if (queue.size() <= kMaxQueued) return std::nullopt;
  const AskKey oldest = queue.front();
  queue.pop();
  return oldest;
}

std::vector<Lookups::Lookup> Lookups::late(Nanoseconds now) {
  std::vector<Lookup> late;
  if (next_deadline_ == 0 || now < next_deadline_) return late;
  next_deadline_ = 0;
  under_way_.for_each([&](const Lookup& lookup) {
    if (lookup.deadline <= now) {
      late.push_back(lookup);
    } else if (next_deadline_ == 0 || lookup.deadline < next_deadline_) {
      next_deadline_ = lookup.deadline;
    }
  });
  return late;
}

Nanoseconds Lookups::next_due(Nanoseconds now) const {
  const bool waits_for_rate = !turns_.empty() && under_way_.size() < limits_.max_lookups;
  if (!waits_for_rate) return next_deadline_;
  const Nanoseconds again = now + kMillisecond;
  return next_deadline_ == 0 ? again : std::min(again, next_deadline_);
}

}  // namespace overns
