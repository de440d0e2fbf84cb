#include "resolver/reactor.h"

#include <algorithm>

namespace overns {

void Reactor::stop() {
  loop_.stop();
  for (auto& [id, served] : ports_) served.port->close_punt();
  ports_.clear();
}

void Reactor::add(const std::shared_ptr<OverlayPort>& port) {
  loop_.post_and_wait([&] {
    port->bind(&turn_);
    packets_.resize(port->packet_size());
    ports_[port->id()] = {port, false};
    for (const int fd : port->descriptors()) loop_.watch(fd, port->id());
    ready(port->id());  // what arrived while it was being opened
  });
}

void Reactor::remove(std::uint32_t id) {
  loop_.post_and_wait([&] {
    const auto served = ports_.find(id);
    if (served == ports_.end()) return;
    for (const int fd : served->second.port->descriptors()) loop_.unwatch(fd);
    served->second.port->close_punt();
    ports_.erase(served);
  });
}

void Reactor::post(std::uint32_t id, std::function<void(OverlayPort&)> task) {
  loop_.post([this, id, task = std::move(task)] {
    const auto served = ports_.find(id);
    if (served == ports_.end()) return;
    task(*served->second.port);
    ready(id);  // so that the turn flushes what the task decided
  });
}

void Reactor::take(Outbox& into) {
  into.events.clear();
  into.lookups.clear();
  into.overflow = 0;
  const std::lock_guard lock(mutex_);
  std::swap(into, outbox_);
  notified_ = false;
}

void Reactor::ready(std::uint32_t id) {
  const auto served = ports_.find(id);
  if (served == ports_.end() || served->second.dirty) return;
  served->second.dirty = true;
  dirty_.push_back(id);
}

int Reactor::turn(bool ran_tasks) {
  const bool work = !dirty_.empty();
  std::size_t busy = 0;
  for (const std::uint32_t id : dirty_) {
    const auto served = ports_.find(id);
    if (served == ports_.end()) continue;
    if (served->second.port->pump(buffer_, packets_)) {
      served->second.dirty = false;
    } else {
      dirty_[busy++] = id;
    }
  }
  dirty_.resize(busy);

  const Nanoseconds now = monotonic_now();
  if (work || ran_tasks || (deadline_ != 0 && deadline_ <= now)) {
    deadline_ = 0;
    for (auto& [id, served] : ports_) {
      const Nanoseconds next = served.port->expire();
      if (next != 0 && (deadline_ == 0 || next < deadline_)) deadline_ = next;
    }
  }
  deliver();
  if (busy > 0) return 0;
  if (deadline_ == 0) return -1;
  // Rounded up: waking a little late beats waking twice.
  return deadline_ <= now ? 0 : static_cast<int>(std::min<Nanoseconds>((deadline_ - now) / 1'000'000 + 1, 60'000));
}

void Reactor::deliver() {
  if (turn_.events.empty() && turn_.lookups.empty()) return;
  bool first;
  {
    const std::lock_guard lock(mutex_);
    const std::size_t room = kMaxEvents - std::min(kMaxEvents, outbox_.events.size());
    const std::size_t taken = std::min(room, turn_.events.size());
    outbox_.events.insert(outbox_.events.end(), turn_.events.begin(),
                          turn_.events.begin() + static_cast<std::ptrdiff_t>(taken));
    outbox_.overflow += turn_.events.size() - taken;
    // Lookups are bounded by max_lookups of each overlay; none is ever dropped.
    outbox_.lookups.insert(outbox_.lookups.end(), turn_.lookups.begin(), turn_.lookups.end());
    first = !notified_;
    notified_ = true;
  }
  turn_.events.clear();
  turn_.lookups.clear();
  if (first) notify_();
}

}  // namespace overns
