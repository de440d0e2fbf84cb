#include "probe/ping.h"

#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "netns/socket.h"

namespace overns {
namespace {

constexpr std::size_t kHeader = 8;          // type, code, checksum, id, sequence: the same in both families
constexpr std::size_t kMaxIpv4Header = 60;  // RFC 791

std::int64_t now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// RFC 1071, over bytes in network order. Zero over a message that carries a right one.
std::uint16_t checksum(Bytes bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

void put16(std::vector<std::uint8_t>& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint16_t get16(Bytes bytes, std::size_t at) { return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

struct Peer {
  sockaddr_storage storage{};
  socklen_t length = 0;

  explicit Peer(const Ip& ip) {
    storage.ss_family = ip.family;
    auto* raw = reinterpret_cast<std::uint8_t*>(&storage);
    const bool v4 = ip.is_v4();
    length = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::memcpy(raw + offset(v4), ip.raw().data(), ip.raw().size());
  }
  static std::size_t offset(bool v4) {
    return v4 ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

bool set_option(int fd, int level, int name, const void* value, socklen_t size) {
  return setsockopt(fd, level, name, value, size) == 0;
}

// A raw socket gets all ICMP of its namespace, of other callers as well: only replies to this id may fill its buffer.
bool accept_only_replies(int fd, bool v4, std::uint16_t id) {
  sock_filter code[] = {
      // IPv4's raw sockets read from the IP header on.
      v4 ? sock_filter BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0) : sock_filter BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY), 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, id, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{sizeof code / sizeof code[0], code};
  return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

Result<UniqueFd> open_echo_socket(const std::string& netns, const PingOptions& options, std::uint16_t id) {
  const bool v4 = options.target.is_v4();
  auto fd =
      open_socket(netns, options.target.family, SOCK_RAW | SOCK_NONBLOCK, v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  if (!fd) return fd;
  const int on = 1;
  bool set = accept_only_replies(fd->get(), v4, id);
  set = set && set_option(fd->get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  if (options.dont_fragment) {
    const int discover = IP_PMTUDISC_DO;  // IPv6 has the same number for it
    set = set && set_option(fd->get(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
                            &discover, sizeof discover);
    if (!v4) set = set && set_option(fd->get(), IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on);
  }
  if (!set) return system_failure("setsockopt", "ICMP socket");
  // Connected: what others send is left out, and a missing route is known before anything is sent.
  const Peer peer(options.target);
  if (connect(fd->get(), peer.get(), peer.length) != 0) return system_failure("connect", options.target.to_string());
  return fd;
}

Result<EchoKey> random_key() {
  EchoKey key;
  std::uint8_t bytes[sizeof key.id + sizeof key.cookie];
  // So few bytes come whole or not at all (getrandom(2)).
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return system_failure("getrandom");
  std::memcpy(&key.id, bytes, sizeof key.id);
  std::memcpy(&key.cookie, bytes + sizeof key.id, sizeof key.cookie);
  return key;
}

// One call of ping(): sends, and tells which request a reply belongs to.
class Pinger {
 public:
  Pinger(UniqueFd fd, const PingOptions& options, const EchoKey& key)
      : fd_(std::move(fd)),
        options_(options),
        key_(key),
        interval_(std::chrono::nanoseconds(options.interval).count()),
        timeout_(std::chrono::nanoseconds(options.timeout).count()),
        buffer_(kMaxIpv4Header + kHeader + options.size + 1) {}

  Result<std::vector<Echo>> run() {
    std::int64_t next = now(CLOCK_MONOTONIC);
    while (true) {
      const std::int64_t time = now(CLOCK_MONOTONIC);
      receive();  // all that came until then, however long this thread has not run
      const bool more = echoes_.size() < options_.count;
      if (more && time >= next) {
        if (Status sent = send(); !sent) return sent.failure();
        next = time + interval_;
        continue;
      }
      const std::int64_t until = more ? next : echoes_.back().sent_ns + timeout_;
      if (!more && (answered_ == echoes_.size() || time >= until)) return std::move(echoes_);
      wait(until - time);
    }
  }

 private:
  Status send() {
    const auto sequence = static_cast<std::uint16_t>(echoes_.size() + 1);
    const auto request = encode_echo_request(options_.target.family, key_, sequence, options_.size);
    for (int attempt = 0;; ++attempt) {
      const std::int64_t time = now(CLOCK_MONOTONIC);
      const ssize_t sent = ::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL);
      const bool full = sent < 0 && (errno == EAGAIN || errno == ENOBUFS);
      if (sent >= 0 || full) {  // a queue that is full loses it, as any on the way may
        echoes_.push_back({time, std::nullopt});
        return done();
      }
      // The first error may be an earlier request's, which an ICMP message reported meanwhile.
      if (attempt > 0 || echoes_.empty()) return system_failure("send", options_.target.to_string());
    }
  }

  void wait(std::int64_t nanoseconds) {
    const timespec timeout{static_cast<time_t>(nanoseconds / 1'000'000'000), nanoseconds % 1'000'000'000};
    pollfd waiting{fd_.get(), POLLIN, 0};
    ppoll(&waiting, 1, &timeout, nullptr);
  }

  void receive() {
    for (std::size_t errors = 0;;) {
      sockaddr_storage source{};
      alignas(cmsghdr) std::uint8_t control[CMSG_SPACE(sizeof(timespec))];
      iovec data{buffer_.data(), buffer_.size()};
      msghdr message{};
      message.msg_name = &source;
      message.msg_namelen = sizeof source;
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t length = recvmsg(fd_.get(), &message, 0);
      if (length < 0) {
        // Nothing more; or an ICMP error, which the kernel reports once, and before the replies: that request stays
        // unanswered.
        if (errno == EAGAIN || errors++ > echoes_.size()) return;
        continue;
      }
      const std::int64_t monotonic = now(CLOCK_MONOTONIC);
      const std::int64_t realtime = now(CLOCK_REALTIME);
      if ((message.msg_flags & MSG_TRUNC) != 0 || !is_target(source)) continue;
      const Bytes packet(buffer_.data(), static_cast<std::size_t>(length));
      const auto sequence = decode_echo_reply(options_.target.family, packet, key_, options_.size);
      if (!sequence || *sequence == 0 || *sequence > echoes_.size()) continue;
      Echo& echo = echoes_[*sequence - 1];
      if (echo.rtt_ns) continue;  // a duplicate
      // The kernel's time stamp leaves out how long this thread took to wake up. It is of another clock, which may
      // have been set: used only if it lies between the sending and now.
      const std::int64_t elapsed = monotonic - echo.sent_ns;
      const std::int64_t waited = realtime - received_at(message, realtime);
      const std::int64_t rtt = waited >= 0 && waited < elapsed ? elapsed - waited : elapsed;
      if (rtt > timeout_) continue;
      echo.rtt_ns = rtt;
      ++answered_;
    }
  }

  bool is_target(const sockaddr_storage& source) const {
    if (source.ss_family != options_.target.family) return false;
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&source) + Peer::offset(options_.target.is_v4());
    return std::ranges::equal(options_.target.raw(), Bytes(raw, options_.target.raw().size()));
  }

  static std::int64_t received_at(msghdr& message, std::int64_t otherwise) {
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
      if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_TIMESTAMPNS) continue;
      if (each->cmsg_len < CMSG_LEN(sizeof(timespec))) continue;
      timespec time;
      std::memcpy(&time, CMSG_DATA(each), sizeof time);
      return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
    }
    return otherwise;
  }

  UniqueFd fd_;
  const PingOptions& options_;
  EchoKey key_;
  std::int64_t interval_;
  std::int64_t timeout_;
  std::vector<std::uint8_t> buffer_;  // one byte more than a right reply, so that a longer one shows
  std::vector<Echo> echoes_;
  std::size_t answered_ = 0;
};

}  // namespace

std::vector<std::uint8_t> encode_echo_request(std::uint8_t family, const EchoKey& key, std::uint16_t sequence,
                                              std::uint16_t size) {
  std::vector<std::uint8_t> bytes(kHeader + size);
  bytes[0] = family == AF_INET ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
  put16(bytes, 4, key.id);
  put16(bytes, 6, sequence);
  std::memcpy(bytes.data() + kHeader, &key.cookie, std::min<std::size_t>(size, sizeof key.cookie));
  // ICMPv6's covers addresses that only the kernel knows: it fills it in (RFC 3542, section 3.1).
  if (family == AF_INET) put16(bytes, 2, checksum(bytes));
  return bytes;
}

std::optional<std::uint16_t> decode_echo_reply(std::uint8_t family, Bytes packet, const EchoKey& key,
                                               std::uint16_t size) {
  if (family == AF_INET) {
    if (packet.empty()) return std::nullopt;
    const std::size_t header = static_cast<std::size_t>(packet[0] & 15) * 4;
    if (header < 20 || packet.size() < header) return std::nullopt;
    packet = packet.subspan(header);
    // Raw sockets get ICMP before the kernel has checked it; ICMPv6 afterwards.
    if (checksum(packet) != 0) return std::nullopt;
  }
  if (packet.size() != kHeader + size) return std::nullopt;
  if (packet[0] != (family == AF_INET ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY) || packet[1] != 0) return std::nullopt;
  if (get16(packet, 4) != key.id) return std::nullopt;
  if (std::memcmp(packet.data() + kHeader, &key.cookie, std::min<std::size_t>(size, sizeof key.cookie)) != 0)
    return std::nullopt;
  return get16(packet, 6);
}

Result<std::vector<Echo>> ping(const std::string& netns, const PingOptions& options) {
  if (options.count == 0) return std::vector<Echo>();
  const auto key = random_key();
  if (!key) return key.failure();
  auto fd = open_echo_socket(netns, options, key.value().id);
  if (!fd) return fd.failure();
  return Pinger(std::move(*fd), options, key.value()).run();
}

}  // namespace overns
