#include "resolver/reactor.h"

#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <condition_variable>

namespace overns {

Result<std::unique_ptr<Reactor>> Reactor::start(std::function<void()> notify) {
  std::unique_ptr<Reactor> reactor(new Reactor(std::move(notify)));
  if (Status status = reactor->open(); !status) return status.failure();
  return reactor;
}

Status Reactor::open() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return system_failure("epoll_create1");
  wakeup_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup_.valid()) return system_failure("eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = 0;  // overlay ids start at 1
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup_.get(), &event) != 0) return system_failure("epoll_ctl");

  // Signals are the process's, handled on Node's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(
      &thread_, nullptr,
      [](void* self) -> void* {
        static_cast<Reactor*>(self)->run();
        return nullptr;
      },
      this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    errno = error;
    return system_failure("pthread_create");
  }
  pthread_setname_np(thread_, "overns-resolver");
  running_ = true;
  return done();
}

Reactor::~Reactor() {
  if (!running_) return;
  stopping_.store(true);
  wake();
  pthread_join(thread_, nullptr);
}

void Reactor::wake() {
  const std::uint64_t one = 1;
  (void)!write(wakeup_.get(), &one, sizeof one);
}

void Reactor::post_task(std::function<void()> task) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  if (first) wake();
}

void Reactor::post_and_wait(std::function<void()> task) {
  std::mutex mutex;
  std::condition_variable condition;
  bool finished = false;
  post_task([&] {
    task();
    // Notified under the lock: the waiter owns both and leaves as soon as it may.
    const std::lock_guard lock(mutex);
    finished = true;
    condition.notify_one();
  });
  std::unique_lock lock(mutex);
  condition.wait(lock, [&] { return finished; });
}

void Reactor::add(std::shared_ptr<OverlayPort> port) {
  post_and_wait([this, port = std::move(port)] {
    port->bind(&turn_);
    for (const int fd : port->descriptors()) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = port->id();
      epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
    }
    dirty_.insert(port->id());  // what arrived while it was being opened
    ports_[port->id()] = port;
  });
}

void Reactor::remove(std::uint32_t id) {
  post_and_wait([this, id] {
    const auto port = ports_.find(id);
    if (port == ports_.end()) return;
    for (const int fd : port->second->descriptors()) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    ports_.erase(port);
    dirty_.erase(id);
  });
}

void Reactor::post(std::uint32_t id, std::function<void(OverlayPort&)> task) {
  post_task([this, id, task = std::move(task)] {
    const auto port = ports_.find(id);
    if (port != ports_.end()) task(*port->second);
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

bool Reactor::set_realtime(bool on) {
  sched_param param{};
  param.sched_priority = on ? 1 : 0;
  return pthread_setschedparam(thread_, on ? SCHED_FIFO : SCHED_OTHER, &param) == 0;
}

void Reactor::run_tasks() {
  {
    const std::lock_guard lock(mutex_);
    running_tasks_.swap(tasks_);
  }
  for (auto& task : running_tasks_) task();
  if (!running_tasks_.empty()) {
    for (auto& [id, port] : ports_) port->engine().flush();
  }
  running_tasks_.clear();
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

void Reactor::run() {
  std::array<epoll_event, 64> ready;
  Nanoseconds deadline = 0;  // of the earliest expiry, 0 = none
  while (!stopping_.load()) {
    int timeout = -1;
    if (!dirty_.empty()) {
      timeout = 0;
    } else if (deadline != 0) {
      const Nanoseconds now = monotonic_now();
      // Rounded up: waking a little late beats waking twice.
      timeout = deadline <= now ? 0 : static_cast<int>(std::min<Nanoseconds>((deadline - now) / 1'000'000 + 1, 60'000));
    }
    const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), timeout);
    bool tasks = false;
    for (int i = 0; i < count; ++i) {
      const std::uint32_t id = ready[static_cast<std::size_t>(i)].data.u32;
      if (id == 0) {
        tasks = true;
      } else {
        dirty_.insert(id);
      }
    }
    if (tasks) {
      std::uint64_t drained;
      (void)!read(wakeup_.get(), &drained, sizeof drained);
      run_tasks();
    }
    for (auto id = dirty_.begin(); id != dirty_.end();) {
      const auto port = ports_.find(*id);
      const bool quiet = port == ports_.end() || port->second->pump(buffer_);
      id = quiet ? dirty_.erase(id) : std::next(id);
    }
    const Nanoseconds now = monotonic_now();
    if (deadline == 0 || deadline <= now || count > 0) {
      deadline = 0;
      for (auto& [id, port] : ports_) {
        const Nanoseconds next = port->expire();
        if (next != 0 && (deadline == 0 || next < deadline)) deadline = next;
      }
    }
    deliver();
  }
  run_tasks();  // nobody is left waiting
  ports_.clear();
}

}  // namespace overns
