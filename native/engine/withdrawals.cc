#include "engine/withdrawals.h"

#include <algorithm>

namespace overns {
namespace {

// A withdrawal that the kernel refused is tried again after this, then after twice as long, and so on.
constexpr Nanoseconds kFirstRetry = 10 * kMillisecond;
constexpr unsigned kDoublings = 9;  // up to 5 s

}  // namespace

void Withdrawals::add(const AskKey& key) {
  if (leaving_.insert(key).second) order_.push(key);
}

void Withdrawals::clear() {
  leaving_.clear();
  order_.clear();
  refused_.clear();
}

std::size_t Withdrawals::carry_out(EngineOutput& output, std::size_t most) {
  piece_.clear();
  for (; piece_.size() < most && !order_.empty(); order_.pop()) {
    if (leaving_.find(order_.front()) != nullptr) piece_.push_back(order_.front());
  }
  if (piece_.empty()) return 0;
  errors_.assign(piece_.size(), 0);
  output.withdraw(piece_, errors_);
  const Nanoseconds now = output.now();
  std::size_t refusals = 0;
  for (std::size_t i = 0; i < piece_.size(); ++i) {
    if (errors_[i] == 0) {
      leaving_.erase(piece_[i]);
      continue;
    }
    ++refusals;
    Leaving* leaving = leaving_.find(piece_[i]);
    if (leaving == nullptr) continue;  // twice in this piece
    refused_.push_back({piece_[i], now + (kFirstRetry << leaving->tries)});
    std::push_heap(refused_.begin(), refused_.end());
    if (leaving->tries < kDoublings) ++leaving->tries;
  }
  return refusals;
}

void Withdrawals::retry(Nanoseconds now) {
  while (!refused_.empty() && refused_.front().at <= now) {
    const AskKey key = refused_.front().key;
    std::pop_heap(refused_.begin(), refused_.end());
    refused_.pop_back();
    if (leaving_.find(key) != nullptr) order_.push(key);
  }
}

}  // namespace overns
