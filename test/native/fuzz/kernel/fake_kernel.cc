#include "fake_kernel.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "../input.h"
#include "resolver/prime.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace fake {

using namespace overns;
using ByteVector = std::vector<std::uint8_t>;

namespace {

constexpr const char* kAlias = "overns 02:42:c0:a8:00:02 192.168.0.2/24,fd00::2/64 c1";

ByteVector copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

template <class Value>
void patch(ByteVector& bytes, std::size_t offset, Value value) {
  if (bytes.size() >= offset + sizeof value) std::memcpy(bytes.data() + offset, &value, sizeof value);
}

}  // namespace

Kernel& Kernel::get() {
  static Kernel kernel;
  return kernel;
}

void Kernel::reset(std::function<std::uint8_t()> decide, std::function<Bytes()> bytes) {
  const std::lock_guard lock(mutex);
  fuzz::require(sockets_.empty(), "all sockets are closed");
  neighbors_.clear();
  fdb_.clear();
  punts_.clear();
  decide_ = std::move(decide);
  bytes_ = std::move(bytes);
  now_ = 5'000'000'000'000;
  drops_ = 0;
  udp_ = 0;
  vxlan_ = kVxlan;
}

void Kernel::put(int fd, Datagram datagram) {
  Socket* socket = find(fd);
  if (socket == nullptr) return;
  if (datagram.length == 0) datagram.length = datagram.bytes.size();
  socket->queue.push_back(std::move(datagram));
  const std::uint64_t one = 1;
  fuzz::require(write(fd, &one, sizeof one) == sizeof one, "an eventfd takes one more");
}

void Kernel::deliver(Role role, Datagram datagram) {
  const std::lock_guard lock(mutex);
  for (const auto& [fd, socket] : sockets_) {
    if (socket.role == role) return put(fd, std::move(datagram));
  }
}

void Kernel::drop_misses(std::uint32_t count) {
  const std::lock_guard lock(mutex);
  drops_ += count;
  Datagram datagram;
  datagram.error = ENOBUFS;
  deliver(Role::kMisses, std::move(datagram));
}

void Kernel::advance(std::uint64_t nanoseconds) {
  const std::lock_guard lock(mutex);
  now_ += nanoseconds;
}

void Kernel::set_vxlan(std::int32_t index) {
  const std::lock_guard lock(mutex);
  vxlan_ = index;
}

std::uint64_t Kernel::now() {
  const std::lock_guard lock(mutex);
  return now_;
}

std::size_t Kernel::open_sockets() {
  const std::lock_guard lock(mutex);
  return sockets_.size();
}

std::uint32_t Kernel::drops() { return drops_; }

Kernel::Socket* Kernel::find(int fd) {
  const auto found = sockets_.find(fd);
  return found == sockets_.end() ? nullptr : &found->second;
}

// What epoll watches must be a real descriptor: an eventfd, readable while the queue has something.
int Kernel::open(int domain) {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
  if (fd < 0) return fd;
  Socket socket;
  socket.netlink = domain == AF_NETLINK;
  if (domain == AF_INET || domain == AF_INET6) socket.role = udp_++ % 2 == 0 ? Role::kPunt : Role::kSender;
  sockets_[fd] = std::move(socket);
  return fd;
}

std::uint32_t Kernel::punt_vni() {
  const std::lock_guard lock(mutex);
  return punts_.empty() ? 0 : punts_.begin()->second.vni;
}

void Kernel::close(int fd) { sockets_.erase(fd); }

void Kernel::join(int fd, std::uint32_t group) {
  Socket* socket = find(fd);
  const bool links = std::ranges::any_of(sockets_, [](const auto& each) { return each.second.role == Role::kLinks; });
  socket->role = group == RTNLGRP_NEIGH ? Role::kMisses : links ? Role::kHostLinks : Role::kLinks;
}

void Kernel::bind_packet(int fd, std::uint16_t protocol) {
  find(fd)->role = protocol == htons(ETH_P_ARP)               ? Role::kArp
                   : protocol == htons(ETH_P_IPV6)            ? Role::kNd
                   : protocol == htons(overns::kHintProtocol) ? Role::kHints
                                                              : Role::kDeparted;
}

bool Kernel::pop(int fd, Datagram& datagram) {
  Socket* socket = find(fd);
  if (socket->queue.empty()) return false;
  datagram = std::move(socket->queue.front());
  socket->queue.pop_front();
  std::uint64_t one;
  fuzz::require(read(fd, &one, sizeof one) == sizeof one, "the eventfd counts the queue");
  return true;
}

// --- requests --------------------------------------------------------------------------------------------------

bool Kernel::sent(int fd, Bytes bytes) {
  MessageReader reader(bytes);
  while (const auto message = reader.next()) {
    if (on_request) on_request(*message);
    answer(fd, *message);
  }
  fuzz::require(!reader.malformed(), "requests are whole messages");
  return true;
}

void Kernel::acknowledge(int fd, std::uint32_t sequence, std::int32_t error) {
  MessageWriter writer;
  writer.begin(NLMSG_ERROR, NLM_F_CAPPED, sequence);
  nlmsgerr body{};
  body.error = error;
  body.msg.nlmsg_len = sizeof body.msg;
  writer.header(body);
  writer.end();
  put(fd, {copy(writer.bytes())});
}

void Kernel::reply(int fd, ByteVector bytes, std::uint32_t sequence, std::uint16_t flags) {
  patch(bytes, offsetof(nlmsghdr, nlmsg_flags), flags);
  patch(bytes, offsetof(nlmsghdr, nlmsg_seq), sequence);
  put(fd, {std::move(bytes)});
}

void Kernel::answer(int fd, const Message& request) {
  const std::uint32_t sequence = request.header.nlmsg_seq;
  const std::uint8_t how = decide_();
  switch (how < 128 ? 0 : how % 12) {
    default: return answer_well(fd, request, false);
    case 1: return acknowledge(fd, sequence, -static_cast<std::int32_t>(how >> 1));
    case 2: return;
    case 3: return reply(fd, copy(bytes_()), sequence, 0);
    case 4: put(fd, {copy(bytes_())}); return answer_well(fd, request, false);
    case 5: {  // more than there is room for
      ByteVector bytes = copy(bytes_());
      const std::size_t length = bytes.size() + (std::size_t{how} << 9);
      put(fd, {std::move(bytes), length});
      return answer_well(fd, request, false);
    }
    case 6: {
      MessageWriter writer;
      writer.begin(NLMSG_DONE, NLM_F_MULTI, sequence);
      std::int32_t error = 0;
      const Bytes raw = bytes_();
      if (!raw.empty()) std::memcpy(&error, raw.data(), std::min(raw.size(), sizeof error));
      writer.header(error);
      writer.end();
      return put(fd, {copy(writer.bytes())});
    }
    case 7: {  // somebody else first
      Datagram forged{copy(bytes_())};
      forged.from = 77;
      put(fd, std::move(forged));
      return answer_well(fd, request, false);
    }
    case 8: return answer_well(fd, request, true);
    case 9: acknowledge(fd, sequence + how, -ENOENT); return answer_well(fd, request, false);
    case 10: {
      Datagram failed;
      failed.error = ENOBUFS;
      put(fd, std::move(failed));
      return answer_well(fd, request, false);
    }
    case 11: answer_well(fd, request, false); return answer_well(fd, request, false);
  }
}

void Kernel::answer_well(int fd, const Message& request, bool interrupted) {
  const nlmsghdr& header = request.header;
  const bool dump = (header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP &&
                    (header.nlmsg_type == RTM_GETLINK || header.nlmsg_type == RTM_GETNEIGH);
  const auto flags = static_cast<std::uint16_t>((dump ? NLM_F_MULTI : 0) | (interrupted ? NLM_F_DUMP_INTR : 0));
  std::int32_t error = 0;
  switch (header.nlmsg_type) {
    case RTM_GETLINK: {
      const auto wanted = request.family_header<ifinfomsg>().value_or(ifinfomsg{});
      std::string_view name;
      auto attributes = request.attributes<ifinfomsg>();
      while (const auto attribute = attributes.next()) {
        if (attribute->type == IFLA_IFNAME) name = attribute->text();
      }
      error = dump ? 0 : -ENODEV;
      const auto tell = [&](std::int32_t index, const char* link, const char* kind, const char* alias) {
        if (!dump && wanted.ifi_index != index && name != link) return;
        error = 0;
        reply(fd, link_message(RTM_NEWLINK, index, link, kind, alias, 1450, true, kVni), header.nlmsg_seq, flags);
      };
      tell(1, "lo", "", "");
      tell(kBridge, "br0", "bridge", "");
      tell(3, "c1", "veth", kAlias);
      tell(vxlan_, "vxlan1", "vxlan", "");
      break;
    }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      // Asked for by its own type: what decodes an entry takes all three.
      const auto entry = decode_neighbor(request);
      error = entry ? -apply(*entry, header.nlmsg_type == RTM_DELNEIGH) : -EINVAL;
      break;
    }
    case RTM_GETNEIGH: {
      RequestBatch batch;
      const auto wanted = request.family_header<ndmsg>().value_or(ndmsg{});
      NeighborEntry entry;
      entry.index = kVxlan;
      entry.family = wanted.ndm_family;
      entry.state = NUD_PERMANENT;
      if (dump) {
        for (const auto& [ip, mac] : neighbors_) {
          entry.ip = ip;
          entry.mac = mac;
          encode_neighbor(batch, RTM_NEWNEIGH, 0, entry);
        }
      } else if (!punts_.empty()) {
        entry.mac = Mac{};
        entry.ip = punts_.begin()->first;
        entry.port = punts_.begin()->second.port;
        entry.vni = punts_.begin()->second.vni;
        encode_neighbor(batch, RTM_NEWNEIGH, 0, entry);
      } else {
        error = -ENOENT;
      }
      for (std::size_t i = 0; i < batch.size(); ++i) reply(fd, copy(batch.request(i)), header.nlmsg_seq, flags);
      break;
    }
    default: break;
  }
  if (dump) {
    MessageWriter writer;
    writer.begin(NLMSG_DONE, flags, header.nlmsg_seq);
    writer.header(error);
    writer.end();
    put(fd, {copy(writer.bytes())});
  } else if (error != 0 || (header.nlmsg_flags & NLM_F_ACK) != 0) {
    acknowledge(fd, header.nlmsg_seq, error);
  }
}

int Kernel::apply(const NeighborEntry& entry, bool removed) {
  if (entry.family == AF_BRIDGE && entry.mac && entry.mac->is_zero()) {
    if (!removed) return punts_[entry.ip] = {entry.port.value_or(0), entry.vni.value_or(0)}, 0;
    return punts_.erase(entry.ip) > 0 ? 0 : ENOENT;
  }
  if (entry.family == AF_BRIDGE) {
    if (!entry.mac) return EINVAL;
    if (!removed) return fdb_[*entry.mac] = entry.ip, 0;
    return fdb_.erase(*entry.mac) > 0 ? 0 : ENOENT;
  }
  if (!removed) return neighbors_[entry.ip] = entry.mac.value_or(Mac{}), 0;
  return neighbors_.erase(entry.ip) > 0 ? 0 : ENOENT;
}

ByteVector Kernel::link_message(std::uint16_t type, std::int32_t index, const char* name, const char* kind,
                                const char* alias, std::uint32_t mtu, bool up, std::uint32_t vni) {
  LinkSpec spec;
  spec.index = index;
  spec.name = name;
  spec.kind = kind;
  spec.alias = alias;
  spec.mtu = mtu;
  spec.up = up;
  for (const AttributePolicy& policy : info_policies(kind)) {
    const std::string_view what = policy.name;
    if (what == "vni") spec.info.push_back({&policy, std::uint64_t{vni}});
    if (what == "port") spec.info.push_back({&policy, std::uint64_t{4789}});
    if (what == "localbypass") spec.info.push_back({&policy, std::uint64_t{0}});
  }
  RequestBatch batch;
  encode_link(batch, spec, 0);
  ByteVector bytes = copy(batch.request(0));
  patch(bytes, offsetof(nlmsghdr, nlmsg_type), type);
  patch(bytes, offsetof(nlmsghdr, nlmsg_flags), std::uint16_t{0});
  return bytes;
}

}  // namespace fake

// --- the calls -------------------------------------------------------------------------------------------------

namespace {

fake::Kernel& kernel() { return fake::Kernel::get(); }

// One datagram into what is offered for it. -1 with errno, EAGAIN when there is none.
ssize_t receive(int fd, msghdr* header, int flags) {
  fake::Datagram datagram;
  if (!kernel().pop(fd, datagram)) {
    errno = EAGAIN;
    return -1;
  }
  if (datagram.error != 0) {
    errno = datagram.error;
    return -1;
  }
  const bool netlink = kernel().find(fd)->netlink;
  const std::size_t room = header->msg_iov[0].iov_len;
  const std::size_t size = std::min(datagram.bytes.size(), room);
  std::copy_n(datagram.bytes.begin(), size, static_cast<std::uint8_t*>(header->msg_iov[0].iov_base));
  // Said to be longer than what was given: the rest of the room is zeros.
  if (datagram.length > size && size < room)
    std::memset(static_cast<std::uint8_t*>(header->msg_iov[0].iov_base) + size, 0,
                std::min(room, datagram.length) - size);
  header->msg_flags = datagram.length > room ? MSG_TRUNC : 0;
  if (netlink && header->msg_name != nullptr) {
    sockaddr_nl from{};
    from.nl_family = AF_NETLINK;
    from.nl_pid = datagram.from;
    std::memcpy(header->msg_name, &from, std::min<std::size_t>(header->msg_namelen, sizeof from));
    header->msg_namelen = sizeof from;
  }
  return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? datagram.length : std::min(datagram.length, room));
}

ssize_t forward(const msghdr& header) {
  const overns::Bytes packet(static_cast<const std::uint8_t*>(header.msg_iov[0].iov_base), header.msg_iov[0].iov_len);
  sockaddr_storage to{};
  std::memcpy(&to, header.msg_name, std::min<std::size_t>(header.msg_namelen, sizeof to));
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&to);
  const auto ip = to.ss_family == AF_INET ? overns::Ip::from({raw + offsetof(sockaddr_in, sin_addr), 4})
                                          : overns::Ip::from({raw + offsetof(sockaddr_in6, sin6_addr), 16});
  if (kernel().on_forward) kernel().on_forward(packet, *ip, ntohs(reinterpret_cast<sockaddr_in*>(&to)->sin_port));
  return static_cast<ssize_t>(packet.size());
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

int __real_socket(int, int, int);
int __real_bind(int, const sockaddr*, socklen_t);
int __real_setsockopt(int, int, int, const void*, socklen_t);
int __real_getsockopt(int, int, int, void*, socklen_t*);
ssize_t __real_recvmsg(int, msghdr*, int);
int __real_recvmmsg(int, mmsghdr*, unsigned, int, timespec*);
ssize_t __real_send(int, const void*, size_t, int);
ssize_t __real_sendto(int, const void*, size_t, int, const sockaddr*, socklen_t);
int __real_sendmmsg(int, mmsghdr*, unsigned, int);
int __real_poll(pollfd*, nfds_t, int);
int __real_close(int);
int __real_clock_gettime(clockid_t, timespec*);

int __wrap_socket(int domain, int type, int protocol) {
  const std::lock_guard lock(kernel().mutex);
  if (domain == AF_UNIX) return __real_socket(domain, type, protocol);
  return kernel().open(domain);
}

int __wrap_close(int fd) {
  {
    const std::lock_guard lock(kernel().mutex);
    kernel().close(fd);
  }
  return __real_close(fd);
}

int __wrap_bind(int fd, const sockaddr* address, socklen_t length) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_bind(fd, address, length);
  if (address->sa_family == AF_PACKET)
    kernel().bind_packet(fd, reinterpret_cast<const sockaddr_ll*>(address)->sll_protocol);
  return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_setsockopt(fd, level, name, value, length);
  std::uint32_t group = 0;
  std::memcpy(&group, value, std::min<std::size_t>(length, sizeof group));
  if (level == SOL_NETLINK && name == NETLINK_ADD_MEMBERSHIP) kernel().join(fd, group);
  return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_getsockopt(fd, level, name, value, length);
  std::memset(value, 0, *length);
  // SK_MEMINFO_DROPS is the last of its nine.
  const std::uint32_t drops = kernel().drops();
  if (name == SO_MEMINFO && *length >= 9 * sizeof drops)
    std::memcpy(static_cast<std::uint8_t*>(value) + 8 * sizeof drops, &drops, sizeof drops);
  return 0;
}

ssize_t __wrap_recvmsg(int fd, msghdr* header, int flags) {
  const std::lock_guard lock(kernel().mutex);
  return kernel().find(fd) != nullptr ? receive(fd, header, flags) : __real_recvmsg(fd, header, flags);
}

int __wrap_recvmmsg(int fd, mmsghdr* headers, unsigned count, int flags, timespec* timeout) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_recvmmsg(fd, headers, count, flags, timeout);
  unsigned got = 0;
  for (; got < count; ++got) {
    // An error waits for the next call when there is something to give.
    const auto& queue = kernel().find(fd)->queue;
    if (got > 0 && (queue.empty() || queue.front().error != 0)) break;
    const ssize_t size = receive(fd, &headers[got].msg_hdr, flags);
    if (size < 0) return -1;
    headers[got].msg_len = static_cast<unsigned>(size);
  }
  return static_cast<int>(got);
}

ssize_t __wrap_send(int fd, const void* data, size_t size, int flags) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_send(fd, data, size, flags);
  kernel().sent(fd, {static_cast<const std::uint8_t*>(data), size});
  return static_cast<ssize_t>(size);
}

ssize_t __wrap_sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_sendto(fd, data, size, flags, to, length);
  const auto& tell = kernel().find(fd)->role == fake::Role::kDeparted ? kernel().on_redirect : kernel().on_frame;
  if (tell) tell({static_cast<const std::uint8_t*>(data), size});
  return static_cast<ssize_t>(size);
}

int __wrap_sendmmsg(int fd, mmsghdr* headers, unsigned count, int flags) {
  const std::lock_guard lock(kernel().mutex);
  if (kernel().find(fd) == nullptr) return __real_sendmmsg(fd, headers, count, flags);
  for (unsigned i = 0; i < count; ++i) forward(headers[i].msg_hdr);
  return static_cast<int>(count);
}

// For an answer: it is there, or never comes.
int __wrap_poll(pollfd* fds, nfds_t count, int timeout) {
  const std::lock_guard lock(kernel().mutex);
  const auto* socket = kernel().find(fds[0].fd);
  if (socket == nullptr) return __real_poll(fds, count, timeout);
  return socket->queue.empty() ? 0 : 1;
}

int __wrap_clock_gettime(clockid_t clock, timespec* time) {
  if (clock != CLOCK_MONOTONIC) return __real_clock_gettime(clock, time);
  const std::uint64_t now = kernel().now();
  time->tv_sec = static_cast<time_t>(now / 1'000'000'000);
  time->tv_nsec = static_cast<long>(now % 1'000'000'000);
  return 0;
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
