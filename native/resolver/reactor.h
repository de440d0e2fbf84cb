// The resolver thread: one for all overlays of an addon instance.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/event_loop.h"
#include "resolver/overlay_port.h"

namespace overns {

// What the consumer takes: lookups to make, events to tell.
struct Outbox {
  std::vector<OutEvent> events;
  std::vector<OutLookup> lookups;
  std::uint64_t overflow = 0;  // events dropped because nobody took them
};

class Reactor final : private EventLoop::Handler {
 public:
  // `notify` runs on the resolver thread when there is something to take, once until it is taken.
  explicit Reactor(std::function<void()> notify) : notify_(std::move(notify)), loop_(*this) {}
  ~Reactor() override { stop(); }

  Status start() { return loop_.start("overns-resolver"); }
  void stop();

  std::uint32_t new_id() { return ++last_id_; }
  // The port is served from now on; both return when that is so, or no longer. ECANCELED after stop().
  Status add(const std::shared_ptr<OverlayPort>& port);
  void remove(std::uint32_t id);

  // Runs on the resolver thread, in the order given. A task for an overlay that is gone does nothing.
  void post(std::uint32_t id, std::function<void(OverlayPort&)> task);
  // The same; returns when it has run.
  void run(std::uint32_t id, const std::function<void(OverlayPort&)>& task);
  // To be called now and then by a task for this overlay that takes long: answers what is asked meanwhile, of any.
  void breathe(std::uint32_t id) {
    touch(id, 0);  // so that what the task has decided is flushed
    loop_.breathe();
  }

  // Swaps what has gathered into `into`, whose buffers are kept for reuse.
  void take(Outbox& into);

  bool set_realtime(bool on) { return loop_.set_realtime(on); }

 private:
  struct Served {
    std::shared_ptr<OverlayPort> port;
    bool touched = false;      // in touched_
    std::uint8_t sources = 0;  // what there is to read
    Nanoseconds queued = 0;    // when due_ has it called next, 0 = not at all
  };
  struct Due {
    Nanoseconds at;
    std::uint32_t id;
    bool operator<(const Due& other) const { return at > other.at; }  // a heap with the earliest on top
  };

  void ready(std::uint32_t id) override;
  int turn() override;
  void perform(std::uint32_t id, const std::function<void(OverlayPort&)>& task);
  void touch(std::uint32_t id, std::uint8_t sources);
  void expire(std::uint32_t id, Served& served);
  void deliver();

  // A watched descriptor's id is its overlay's, and which of its sources it is (the number of the bit).
  static constexpr unsigned kSourceBits = 3;

  static constexpr std::size_t kMaxEvents = 1 << 16;

  std::function<void()> notify_;
  std::atomic<std::uint32_t> last_id_{0};

  std::mutex mutex_;  // guards the two below
  Outbox outbox_;
  bool notified_ = false;

  // The resolver thread's own.
  std::map<std::uint32_t, Served> ports_;
  std::vector<std::uint32_t> touched_;
  std::vector<Due> due_;  // a heap; what is no longer queued for that time is passed over
  Turn turn_;
  int read_ = 0;  // misses and requests, since counted_from_
  Nanoseconds counted_from_ = 0;
  bool flooded_ = false;
  DatagramBatch buffer_;
  DatagramBatch packets_;

  EventLoop loop_;  // last: its thread uses all of the above
};

}  // namespace overns
