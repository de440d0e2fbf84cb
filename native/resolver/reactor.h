// The resolver thread: one for all overlays of an addon instance, asleep in epoll until a socket or a task wakes it.
#pragma once

#include <pthread.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "resolver/overlay_port.h"

namespace overns {

// What the consumer takes: lookups to make, events to tell.
struct Outbox {
  std::vector<OutEvent> events;
  std::vector<OutLookup> lookups;
  std::uint64_t overflow = 0;  // events dropped because nobody took them
};

class Reactor {
 public:
  // `notify` runs on the resolver thread when there is something to take, once until it is taken.
  static Result<std::unique_ptr<Reactor>> start(std::function<void()> notify);
  ~Reactor();

  std::uint32_t new_id() { return ++last_id_; }
  // The port is served from now on. Returns when it is.
  void add(std::shared_ptr<OverlayPort> port);
  void remove(std::uint32_t id);

  // Runs on the resolver thread, in the order given. A task for an overlay that is gone does nothing.
  void post(std::uint32_t id, std::function<void(OverlayPort&)> task);

  // Swaps what has gathered into `into`, whose buffers are kept for reuse.
  void take(Outbox& into);

  // Asks for SCHED_FIFO for the resolver thread, or leaves it. False when not permitted.
  bool set_realtime(bool on);

 private:
  explicit Reactor(std::function<void()> notify) : notify_(std::move(notify)) {}

  Status open();
  void run();
  void wake();
  void run_tasks();
  void deliver();
  void post_task(std::function<void()> task);
  void post_and_wait(std::function<void()> task);

  static constexpr std::size_t kMaxEvents = 1 << 16;

  std::function<void()> notify_;
  UniqueFd epoll_;
  UniqueFd wakeup_;
  pthread_t thread_{};
  bool running_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint32_t> last_id_{0};

  std::mutex mutex_;  // guards the three below
  std::vector<std::function<void()>> tasks_;
  Outbox outbox_;
  bool notified_ = false;

  // The resolver thread's own.
  std::map<std::uint32_t, std::shared_ptr<OverlayPort>> ports_;
  std::set<std::uint32_t> dirty_;
  std::vector<std::function<void()>> running_tasks_;
  Turn turn_;
  DatagramBatch buffer_;
};

}  // namespace overns
