#include "netlink/event_reader.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "netlink/message.h"
#include "netlink/socket.h"

namespace overns {
namespace {

constexpr int kReadsPerTurn = 256;              // before other subscriptions get their turn
constexpr int kMostReads = 64 * kReadsPerTurn;  // of one that goes on overflowing
// The first of a burst is told at once; what comes within this time after it, together. Every wake-up costs more than
// reading and telling of dozens of messages. A socket whose receive buffer could not be raised holds 256 messages,
// which is this long at 640,000 a second.
constexpr std::chrono::microseconds kBatchTime{400};
constexpr int kBurst = 64;  // messages at once that show the thread to be busy anyway

}  // namespace

std::uint32_t EventReader::add(UniqueFd socket) {
  const std::uint32_t id = ++last_id_;
  (void)loop_.post_and_wait([&] {
    // Without a watch it says nothing, as after stop().
    if (loop_.watch(socket.get(), id)) sources_[id] = {std::move(socket), 0};
  });
  return id;
}

void EventReader::remove(std::uint32_t id) {
  (void)loop_.post_and_wait([&] {
    const auto source = sources_.find(id);
    if (source == sources_.end()) return;
    loop_.unwatch(source->second.socket.get());
    sources_.erase(source);
  });
  const std::lock_guard lock(mutex_);
  gathered_.erase(id);
}

void EventReader::stop() {
  loop_.stop();
  sources_.clear();
}

std::vector<std::pair<std::uint32_t, EventBytes>> EventReader::take() {
  std::vector<std::pair<std::uint32_t, EventBytes>> taken;
  const std::lock_guard lock(mutex_);
  notified_ = false;
  for (auto& [id, bytes] : gathered_) {
    if (bytes.empty()) continue;
    taken.emplace_back(id, std::move(bytes));
    bytes = {};
  }
  return taken;
}

void EventReader::ready(std::uint32_t id) {
  const auto found = sources_.find(id);
  if (found == sources_.end()) return;
  Source& source = found->second;
  const int fd = source.socket.get();
  // One that has overflowed is read to its end, at which the loss is told: nothing new is queued before
  // (NETLINK_S_CONGESTED).
  for (int i = 0; i < kReadsPerTurn || source.congested; ++i) {
    sockaddr_nl from{};
    socklen_t length = sizeof from;
    const ssize_t size = recvfrom(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == ENOBUFS) {
      source.congested = true;
      continue;
    }
    if (size < 0 && source.congested) {
      // A consumer that lists anew when told is not misled by older messages that come after.
      const std::uint32_t drops = socket_drops(fd);
      // One that overflows meanwhile has been counted, and is told of when that has been read too.
      const bool more = recv(fd, buffer_.data(), 0, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
      if (more && i < kMostReads) continue;
      source.congested = false;
      const std::lock_guard lock(mutex_);
      gathered_[id].overrun += std::max<std::uint32_t>(drops - source.drops, 1);
      ++unannounced_;
      source.drops = drops;
    }
    if (size < 0) return;
    if (from.nl_pid != 0) continue;  // not the kernel
    ++unannounced_;
    const std::lock_guard lock(mutex_);
    EventBytes& gathered = gathered_[id];
    const auto bytes = static_cast<std::size_t>(size);
    if (bytes > buffer_.size()) {  // cut: as good as dropped, and the next one will fit
      ++gathered.overrun;
      buffer_.resize(align4(bytes) * 2);
      continue;
    }
    if (gathered.bytes.size() + bytes > kMaxBytes) {
      ++gathered.overflow;
      continue;
    }
    gathered.bytes.insert(gathered.bytes.end(), buffer_.begin(), buffer_.begin() + size);
    gathered.bytes.resize(align4(gathered.bytes.size()));
  }
}

int EventReader::turn() {
  if (unannounced_ == 0) return -1;
  const bool busy = std::exchange(unannounced_, 0) >= kBurst;
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = !notified_;
    notified_ = true;
  }
  if (first) notify_();
  if (!busy) loop_.let_events_batch(kBatchTime);
  return -1;
}

}  // namespace overns
