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

// Lookups to make and events to tell, until the consumer takes them.
struct Outbox {
  std::vector<OutEvent> events;
  std::vector<OutLookup> lookups;
  std::vector<Finished> finished;
  std::uint64_t overflow = 0;  // events dropped because nobody took them
  int failure = 0;             // errno: the thread has ended by itself
};

class Reactor final : private EventLoop::Handler {
 public:
  // `notify` runs on the resolver thread when there is something to take, once until it is taken.
  explicit Reactor(std::function<void()> notify) : notify_(std::move(notify)), loop_(*this) {}
  ~Reactor() override { stop(); }

  Status start() { return loop_.start("overns-resolver"); }
  void stop();

  // The number of an overlay to be added. Tasks for it may be posted from now on.
  std::uint32_t new_id();
  // The port is served from now on; both return when that is so, or no longer. ECANCELED after stop().
  Status add(const std::shared_ptr<OverlayPort>& port);
  void remove(std::uint32_t id);

  // Runs on the resolver thread, in the order given: at once, or when the overlay has been added. A task for one that
  // is gone does nothing.
  void post(std::uint32_t id, std::function<void(OverlayPort&)> task);
  // Work that takes long, in steps for as long as `step` returns true: between two of them misses are answered, and
  // other tasks run. Its end is told as finished.
  void post_steps(std::uint32_t id, std::function<bool(OverlayPort&)> step);

  // Swaps what has gathered into `into`, whose buffers are kept for reuse.
  void take(Outbox& into);

  bool set_realtime(bool on) { return loop_.set_realtime(on); }

 private:
  struct ServedPort {
    std::shared_ptr<OverlayPort> port;
    bool touched = false;      // in touched_
    std::uint8_t sources = 0;  // what there is to read
    bool busy = false;         // in busy_
    Nanoseconds queued = 0;    // when due_ has it called next, 0 = not at all
  };
  struct Due {
    Nanoseconds at;
    std::uint32_t id;
    bool operator<(const Due& other) const { return at > other.at; }  // a heap with the earliest on top
  };

  void ready(std::uint32_t id) override;
  int turn() override;
  void failed(int error) override;
  void perform(std::uint32_t id, const std::function<void(OverlayPort&)>& task);
  void touch(std::uint32_t id, std::uint8_t sources);
  void pump(std::uint32_t id, ServedPort& served);
  void go_on(Nanoseconds from);
  void expire(std::uint32_t id, ServedPort& served);
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
  std::map<std::uint32_t, ServedPort> ports_;
  std::map<std::uint32_t, std::vector<std::function<void(OverlayPort&)>>> expected_;  // to be added, with their tasks
  std::vector<std::uint32_t> touched_;
  Ring<std::uint32_t> busy_;  // those with more to do, in turn
  std::vector<Due> due_;      // a heap; what is no longer queued for that time is passed over
  Turn turn_;
  int read_ = 0;  // misses and requests, since counted_from_
  Nanoseconds counted_from_ = 0;
  bool flooded_ = false;
  DatagramBatch buffer_;
  DatagramBatch packets_;

  EventLoop loop_;  // last: its thread uses all of the above
};

}  // namespace overns
