// A thread that sleeps in epoll until a descriptor or a task wakes it.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

class EventLoop {
 public:
  // All calls come from the loop's own thread.
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void ready(std::uint32_t id) = 0;  // a descriptor watched under this id is readable
    // After each round of them and of tasks. Returns how long to sleep at most, milliseconds, -1 = until woken.
    virtual int turn() = 0;
    // The loop has ended by itself: an errno of epoll_wait. Nothing else is called any more.
    virtual void failed(int error) { (void)error; }
  };

  explicit EventLoop(Handler& handler) : handler_(handler) {}
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop() { stop(); }

  Status start(const char* thread_name);
  // Runs what was posted, ends the thread and waits for it. Idempotent.
  void stop();

  // Runs the task on the loop's thread, in the order posted. False, and not run, when the loop has ended or is about
  // to: once stop() has returned, what tasks touch is the stopping thread's alone.
  bool post(std::function<void()> task);
  bool post_and_wait(const std::function<void()>& task);

  // On the loop's thread. Ids start at 1; several descriptors may share one.
  Status watch(int fd, std::uint32_t id);
  void unwatch(int fd);
  // Ignores descriptors for `time` so that events batch. A task or stop() ends it.
  void let_events_batch(std::chrono::nanoseconds time);

  // Asks for SCHED_FIFO (the lowest priority of it), or leaves it. False when not permitted.
  bool set_realtime(bool on);

 private:
  void run();
  void set_ended(bool ended);
  void wake();
  void run_tasks();

  Handler& handler_;
  UniqueFd epoll_;
  UniqueFd wakeup_;
  pthread_t thread_{};
  bool running_ = false;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // guards tasks_ and ended_
  std::vector<std::function<void()>> tasks_;
  bool ended_ = true;
  std::vector<std::function<void()>> current_;
};

}  // namespace overns
