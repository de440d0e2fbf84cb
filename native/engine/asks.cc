#include "engine/asks.h"

#include <algorithm>

namespace overns {

Ask* Asks::take_due(Ring<Due>& ring) {
  Ask* ask = asks_.find(ring.front().key);
  ring.pop();
  if (ask != nullptr) ask->due_queued = false;
  return ask;
}

bool Asks::evict_absent() {
  constexpr int kTries = 16;
  for (int i = 0; i < kTries && !due_negative_.empty(); ++i) {
    Ask* ask = take_due(due_negative_);
    if (ask == nullptr || ask->ready || ask->waits()) continue;
    if (ask->state == AskState::kAbsent) return asks_.erase(AskKey(ask->key));
    settle(*ask, ask->state, ask->expires);
  }
  return false;
}

void Asks::settle(Ask& ask, AskState state, Nanoseconds expires) {
  ask.state = state;
  ask.expires = expires;
  if (state != AskState::kAbsent) ask.here = Mac{};
  if (ask.due_queued) return;
  ask.due_queued = true;
  (state == AskState::kAbsent ? due_negative_ : due_soon_).push({ask.key, expires});
}

Nanoseconds Asks::next_due() const {
  const Nanoseconds soon = due_soon_.empty() ? 0 : due_soon_.front().at;
  const Nanoseconds negative = due_negative_.empty() ? 0 : due_negative_.front().at;
  return soon == 0 || negative == 0 ? std::max(soon, negative) : std::min(soon, negative);
}

}  // namespace overns
