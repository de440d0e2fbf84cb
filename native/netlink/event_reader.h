// The monitor thread: reads event sockets as fast as the kernel fills them and keeps the bytes until the consumer
// takes them. Apart from the resolver's thread, so that a burst of news delays no answer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/event_loop.h"

namespace overns {

struct EventBytes {
  std::vector<std::uint8_t> bytes;  // messages, each aligned
  std::uint64_t overrun = 0;        // messages that the kernel dropped, none of them older than the first of these
  std::uint64_t overflow = 0;       // datagrams dropped because nobody took them
  bool empty() const { return bytes.empty() && overrun == 0 && overflow == 0; }
};

class EventReader final : private EventLoop::Handler {
 public:
  // `notify` runs on the monitor thread when there is something to take, once until everything is taken.
  explicit EventReader(std::function<void()> notify) : notify_(std::move(notify)), buffer_(64 << 10), loop_(*this) {}
  ~EventReader() override { stop(); }

  Status start() { return loop_.start("overns-monitor"); }
  void stop();  // closes the sockets; what has gathered can still be taken

  std::uint32_t add(UniqueFd socket);
  void remove(std::uint32_t id);

  // Returns what has gathered, by subscription.
  std::vector<std::pair<std::uint32_t, EventBytes>> take();

 private:
  struct Source {
    UniqueFd socket;
    std::uint32_t drops = 0;
    bool congested = false;  // it has dropped some, and is given nothing until all is read
  };
  static constexpr std::size_t kMaxBytes = 64 << 20;  // held for one subscription

  void ready(std::uint32_t id) override;
  int turn() override;

  std::function<void()> notify_;
  std::uint32_t last_id_ = 0;
  std::map<std::uint32_t, Source> sources_;
  std::vector<std::uint8_t> buffer_;
  int unannounced_ = 0;  // messages, or losses, since the last turn

  std::mutex mutex_;  // guards the two below
  std::map<std::uint32_t, EventBytes> gathered_;
  bool notified_ = false;

  EventLoop loop_;  // last: its thread uses all of the above
};

}  // namespace overns
