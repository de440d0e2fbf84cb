#include "resolver/reactor.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace overns {
namespace {

// At so many misses and requests in a millisecond the wake-ups cost more than the reading, and as many would take a
// whole CPU: what comes within this time is then read together.
constexpr int kFlood = 32;
constexpr std::chrono::microseconds kBatchTime{100};
constexpr Nanoseconds kSlice = kMillisecond / 2;

}  // namespace

void Reactor::stop() {
  loop_.stop();
  for (auto& [id, served] : ports_) served.port->close_punt();
  ports_.clear();
}

std::uint32_t Reactor::new_id() {
  const std::uint32_t id = ++last_id_;
  (void)loop_.post([this, id] { expected_[id]; });
  return id;
}

Status Reactor::add(const std::shared_ptr<OverlayPort>& port) {
  Status status = done();
  const bool posted = loop_.post_and_wait([&] {
    for (const auto& [fd, source] : port->descriptors()) {
      const auto bit = static_cast<unsigned>(std::countr_zero(unsigned{source}));
      if (status) status = loop_.watch(fd, port->id() << kSourceBits | bit);
    }
    if (!status) {
      for (const auto& [fd, source] : port->descriptors()) loop_.unwatch(fd);
      return;
    }
    port->bind(&turn_);
    packets_.resize(port->packet_size());
    ports_[port->id()].port = port;
    touch(port->id(), OverlayPort::kAllSources);  // what arrived while it was being opened
    if (auto early = expected_.extract(port->id())) {
      for (const auto& task : early.mapped()) task(*port);
    }
  });
  return posted ? std::move(status) : Failure{ECANCELED, "resolver", "it has been closed", {}, {}};
}

void Reactor::remove(std::uint32_t id) {
  // Closed by the caller: the kernel lets go of a packet socket only after some milliseconds (synchronize_net).
  std::shared_ptr<OverlayPort> gone;
  (void)loop_.post_and_wait([&] {
    expected_.erase(id);
    const auto served = ports_.find(id);
    if (served == ports_.end()) return;
    // All that was posted for it before has been done; what that has decided is carried out and told.
    (void)served->second.port->pump(0, buffer_, packets_);
    for (const auto& [fd, source] : served->second.port->descriptors()) loop_.unwatch(fd);
    served->second.port->close_punt();
    gone = std::move(served->second.port);
    ports_.erase(served);
    deliver();
  });
}

void Reactor::post(std::uint32_t id, std::function<void(OverlayPort&)> task) {
  (void)loop_.post([this, id, task = std::move(task)] { perform(id, task); });
}

void Reactor::post_steps(std::uint32_t id, std::function<bool(OverlayPort&)> step) {
  post(id, [this, id, step = std::move(step)](OverlayPort& port) {
    if (step(port)) {
      post_steps(id, step);
    } else {
      turn_.finished.push_back({id, port.engine().missing()});
    }
  });
}

void Reactor::perform(std::uint32_t id, const std::function<void(OverlayPort&)>& task) {
  const auto served = ports_.find(id);
  if (served == ports_.end()) {
    if (const auto expected = expected_.find(id); expected != expected_.end()) expected->second.push_back(task);
    return;
  }
  task(*served->second.port);
  touch(id, 0);  // so that the turn flushes what the task decided
}

void Reactor::take(Outbox& into) {
  into.events.clear();
  into.lookups.clear();
  into.finished.clear();
  into.overflow = 0;
  into.failure = 0;
  const std::lock_guard lock(mutex_);
  std::swap(into, outbox_);
  notified_ = false;
}

void Reactor::ready(std::uint32_t id) {
  touch(id >> kSourceBits, static_cast<std::uint8_t>(1U << (id & ((1U << kSourceBits) - 1))));
}

void Reactor::touch(std::uint32_t id, std::uint8_t sources) {
  const auto served = ports_.find(id);
  if (served == ports_.end()) return;
  served->second.sources |= sources;
  if (served->second.touched) return;
  served->second.touched = true;
  touched_.push_back(id);
}

void Reactor::pump(std::uint32_t id, ServedPort& served) {
  read_ += served.port->pump(std::exchange(served.sources, 0), buffer_, packets_);
  expire(id, served);
  if (served.busy || !served.port->busy()) return;
  served.busy = true;
  busy_.push(id);
}

// Work that nobody waits for, piece by piece in turn, for a time that nobody notices.
void Reactor::go_on(Nanoseconds from) {
  while (!busy_.empty()) {
    const std::uint32_t id = busy_.front();
    busy_.pop();
    const auto found = ports_.find(id);
    if (found == ports_.end()) continue;
    found->second.busy = false;
    pump(id, found->second);
    if (monotonic_now() - from >= kSlice) return;
  }
}

void Reactor::failed(int error) {
  {
    const std::lock_guard lock(mutex_);
    outbox_.failure = error;
    if (std::exchange(notified_, true)) return;
  }
  notify_();
}

int Reactor::turn() {
  for (const std::uint32_t id : touched_) {
    const auto found = ports_.find(id);
    if (found == ports_.end()) continue;
    found->second.touched = false;
    pump(id, found->second);
  }
  touched_.clear();

  // Only those whose time has come are looked at, however many overlays there are.
  const Nanoseconds now = monotonic_now();
  for (std::size_t most = due_.size(); most > 0 && due_.front().at <= now; --most) {
    const Due due = due_.front();
    std::pop_heap(due_.begin(), due_.end());
    due_.pop_back();
    const auto served = ports_.find(due.id);
    if (served == ports_.end() || served->second.queued != due.at) continue;
    served->second.queued = 0;
    pump(due.id, served->second);  // what has expired is withdrawn
  }
  if (!busy_.empty()) go_on(monotonic_now());
  const Nanoseconds deadline = due_.empty() ? 0 : due_.front().at;
  deliver();
  if (now - counted_from_ >= kMillisecond) {
    flooded_ = read_ >= kFlood && now - counted_from_ < 2 * kMillisecond;
    read_ = 0;
    counted_from_ = now;
  }
  if (flooded_) loop_.let_events_batch(kBatchTime);
  if (!busy_.empty()) return 0;
  if (deadline == 0) return -1;
  // Rounded up: waking a little late beats waking twice.
  return deadline <= now ? 0 : static_cast<int>(std::min<Nanoseconds>((deadline - now) / 1'000'000 + 1, 60'000));
}

void Reactor::expire(std::uint32_t id, ServedPort& served) {
  const Nanoseconds next = served.port->expire();
  // Called too early it does nothing; a later time need not be told.
  if (next == 0 || (served.queued != 0 && served.queued <= next)) return;
  served.queued = next;
  due_.push_back({next, id});
  std::push_heap(due_.begin(), due_.end());
}

void Reactor::deliver() {
  if (turn_.events.empty() && turn_.lookups.empty() && turn_.finished.empty()) return;
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
    outbox_.finished.insert(outbox_.finished.end(), turn_.finished.begin(), turn_.finished.end());
    first = !notified_;
    notified_ = true;
  }
  turn_.events.clear();
  turn_.lookups.clear();
  turn_.finished.clear();
  if (first) notify_();
}

}  // namespace overns
