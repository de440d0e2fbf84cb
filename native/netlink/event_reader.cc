#include "netlink/event_reader.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include "netlink/message.h"
#include "netlink/socket.h"

namespace overns {
namespace {

constexpr int kReadsPerTurn = 256;  // before other subscriptions get their turn

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
  for (int i = 0; i < kReadsPerTurn; ++i) {
    sockaddr_nl from{};
    socklen_t length = sizeof from;
    const ssize_t size = recvfrom(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0 && errno == EINTR) continue;
    const bool overrun = size < 0 && errno == ENOBUFS;
    if (overrun || (size < 0 && source.congested)) {
      // Until its queue is empty a socket that overflowed is given nothing, without another error
      // (NETLINK_S_CONGESTED): it is counted at the error, and again when all has been read.
      source.congested = overrun;
      const std::uint32_t drops = socket_drops(fd);
      const std::lock_guard lock(mutex_);
      gathered_[id].overrun += drops - source.drops;
      news_ = news_ || drops != source.drops;
      source.drops = drops;
      if (overrun) continue;
    }
    if (size < 0) return;
    if (from.nl_pid != 0) continue;  // not the kernel
    news_ = true;
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
  if (!news_) return -1;
  news_ = false;
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = !notified_;
    notified_ = true;
  }
  if (first) notify_();
  return -1;
}

}  // namespace overns
