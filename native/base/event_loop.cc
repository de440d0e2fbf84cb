#include "base/event_loop.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <condition_variable>

namespace overns {

Status EventLoop::start(const char* thread_name) {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return system_failure("epoll_create1");
  wakeup_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup_.valid()) return system_failure("eventfd");
  if (Status status = watch(wakeup_.get(), 0); !status) return status;
  set_ended(false);

  // Signals are the process's, handled on Node's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(
      &thread_, nullptr,
      [](void* self) -> void* {
        static_cast<EventLoop*>(self)->run();
        return nullptr;
      },
      this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    set_ended(true);
    errno = error;
    return system_failure("pthread_create");
  }
  pthread_setname_np(thread_, thread_name);
  running_ = true;
  return done();
}

void EventLoop::stop() {
  if (!running_) return;
  stopping_.store(true);
  wake();
  pthread_join(thread_, nullptr);
  running_ = false;
}

void EventLoop::set_ended(bool ended) {
  const std::lock_guard lock(mutex_);
  ended_ = ended;
}

void EventLoop::wake() {
  const std::uint64_t one = 1;
  (void)!write(wakeup_.get(), &one, sizeof one);
}

bool EventLoop::post(std::function<void()> task) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return false;
    first = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  if (first) wake();
  return true;
}

bool EventLoop::post_and_wait(const std::function<void()>& task) {
  std::mutex mutex;
  std::condition_variable condition;
  bool finished = false;
  const bool posted = post([&] {
    task();
    // Notified under the lock: the waiter owns both and leaves as soon as it may.
    const std::lock_guard lock(mutex);
    finished = true;
    condition.notify_one();
  });
  if (!posted) return false;
  std::unique_lock lock(mutex);
  condition.wait(lock, [&] { return finished; });
  return true;
}

Status EventLoop::watch(int fd, std::uint32_t id) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return system_failure("epoll_ctl");
  return done();
}

void EventLoop::unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::let_events_batch(std::chrono::nanoseconds time) {
  pollfd wakeup{wakeup_.get(), POLLIN, 0};
  timespec limit{};
  limit.tv_nsec = static_cast<long>(time.count());
  ppoll(&wakeup, 1, &limit, nullptr);
}

bool EventLoop::set_realtime(bool on) {
  sched_param param{};
  param.sched_priority = on ? 1 : 0;
  return running_ && pthread_setschedparam(thread_, on ? SCHED_FIFO : SCHED_OTHER, &param) == 0;
}

void EventLoop::run_tasks() {
  {
    const std::lock_guard lock(mutex_);
    current_.swap(tasks_);
  }
  for (auto& task : current_) task();
  current_.clear();
}

void EventLoop::run() {
  std::array<epoll_event, 64> ready;
  int timeout = -1;
  while (!stopping_.load()) {
    const int count = epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), timeout);
    if (count < 0 && errno != EINTR) {
      // Somebody has closed the descriptor: going on would only burn the CPU.
      handler_.failed(errno);
      break;
    }
    for (int i = 0; i < count; ++i) {
      const std::uint32_t id = ready[static_cast<std::size_t>(i)].data.u32;
      if (id != 0) {
        handler_.ready(id);
        continue;
      }
      std::uint64_t drained;
      (void)!read(wakeup_.get(), &drained, sizeof drained);
      run_tasks();
    }
    timeout = handler_.turn();
  }
  // Nobody who waits for a task is left waiting; and nobody who goes on posting keeps the thread from ending.
  set_ended(true);
  run_tasks();
}

}  // namespace overns
