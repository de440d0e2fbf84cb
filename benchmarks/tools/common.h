// Shared parts of the benchmarks' small C++ programs: command line, namespaces, time, and the few netlink messages they
// send. They are single-threaded, so entering a namespace and coming back is safe here.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

[[noreturn]] [[gnu::format(printf, 1, 2)]] inline void die(const char* format, ...) {
  const int error = errno;
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, ": %s\n", std::strerror(error));
  std::exit(1);
}

// `--name value` pairs; what is not given has the default.
class Arguments {
 public:
  Arguments(int count, char** values) : count_(count), values_(values) {}

  const char* text(const char* name, const char* otherwise = nullptr) const {
    for (int i = 1; i + 1 < count_; ++i) {
      if (std::strcmp(values_[i], name) == 0) return values_[i + 1];
    }
    if (otherwise == nullptr) {
      std::fprintf(stderr, "%s: %s is missing\n", values_[0], name);
      std::exit(2);
    }
    return otherwise;
  }
  long number(const char* name, long otherwise) const {
    const char* value = text(name, "");
    return *value == 0 ? otherwise : std::strtol(value, nullptr, 10);
  }
  bool flag(const char* name) const {
    for (int i = 1; i < count_; ++i) {
      if (std::strcmp(values_[i], name) == 0) return true;
    }
    return false;
  }
  // Host byte order.
  std::uint32_t ip(const char* name, const char* otherwise = nullptr) const {
    in_addr address{};
    if (inet_pton(AF_INET, text(name, otherwise), &address) != 1) {
      std::fprintf(stderr, "%s: %s is no IPv4 address\n", values_[0], name);
      std::exit(2);
    }
    return ntohl(address.s_addr);
  }

 private:
  int count_;
  char** values_;
};

// The process that started us is gone: so are we.
inline void end_with_parent() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

inline std::int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

inline void sleep_until(std::int64_t at) {
  const timespec until{at / 1'000'000'000, at % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}
inline void sleep_ns(std::int64_t ns) { sleep_until(now_ns() + ns); }

// Runs `fn` inside a network namespace; an empty path is our own.
template <class Fn>
auto inside(const char* netns, Fn fn) {
  if (*netns == 0) return fn();
  const int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  const int other = open(netns, O_RDONLY | O_CLOEXEC);
  if (own < 0 || other < 0 || setns(other, CLONE_NEWNET) != 0) die("namespace %s", netns);
  const auto result = fn();
  if (setns(own, CLONE_NEWNET) != 0) die("namespace");
  close(own);
  close(other);
  return result;
}

inline int socket_in(const char* netns, int family, int type, int protocol) {
  const int fd = inside(netns, [&] { return socket(family, type | SOCK_CLOEXEC, protocol); });
  if (fd < 0) die("socket in %s", netns);
  return fd;
}

inline int index_in(const char* netns, const char* link) {
  const int index = static_cast<int>(inside(netns, [&] { return if_nametoindex(link); }));
  if (index == 0) die("link %s in %s", link, netns);
  return index;
}

inline void receive_buffer(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

inline void attach_filter(int fd, const sock_filter* code, std::size_t count) {
  const sock_fprog program{static_cast<unsigned short>(count), const_cast<sock_filter*>(code)};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) die("SO_ATTACH_FILTER");
}

// A netlink socket that hears of neighbours: of one message type only when that is given.
inline int neighbor_events(const char* netns, int only, int buffer = 16 << 20) {
  const int fd = socket_in(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  receive_buffer(fd, buffer);
  if (only != 0) {
    const sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),  // nlmsg_type, which is in host byte order
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(static_cast<std::uint16_t>(only)), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0x7fffffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    attach_filter(fd, code, sizeof code / sizeof code[0]);
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_NEIGH;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  return fd;
}

inline int packet_socket(const char* netns, int link, std::uint16_t protocol) {
  const int fd = socket_in(netns, AF_PACKET, SOCK_RAW, 0);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = link;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  return fd;
}

// Docker's way of numbering: 02:42: and the four bytes of the address.
inline void mac_of(std::uint32_t ip, std::uint8_t* mac) {
  mac[0] = 0x02;
  mac[1] = 0x42;
  for (int i = 0; i < 4; ++i) mac[2 + i] = static_cast<std::uint8_t>(ip >> (24 - 8 * i));
}

// Messages about IPv4 neighbours and FDB entries, of fixed layout.
struct [[gnu::packed]] NeighborMessage {
  nlmsghdr header;
  ndmsg body;
  struct [[gnu::packed]] {
    rtattr attribute;
    std::uint8_t mac[ETH_ALEN];
    std::uint8_t padding[2];
  } lladdr;
  struct [[gnu::packed]] {
    rtattr attribute;
    std::uint32_t ip;
  } dst;
};
static_assert(sizeof(NeighborMessage) == 48);

inline NeighborMessage neighbor_message(int type, int flags, int family, int link) {
  NeighborMessage message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = static_cast<std::uint16_t>(type);
  message.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  message.body.ndm_family = static_cast<std::uint8_t>(family);
  message.body.ndm_ifindex = link;
  message.lladdr.attribute = {sizeof(rtattr) + ETH_ALEN, NDA_LLADDR};
  message.dst.attribute = {sizeof(rtattr) + 4, NDA_DST};
  return message;
}

// ip -> mac on a device.
inline NeighborMessage new_neighbor(int link) {
  NeighborMessage message = neighbor_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, AF_INET, link);
  message.body.ndm_state = NUD_PERMANENT;
  return message;
}

// mac -> VTEP on a vxlan device, as a dynamic entry.
inline NeighborMessage new_fdb(int link, std::uint32_t vtep) {
  NeighborMessage message = neighbor_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, AF_BRIDGE, link);
  message.body.ndm_state = NUD_REACHABLE;
  message.body.ndm_flags = NTF_SELF;
  message.dst.ip = htonl(vtep);
  return message;
}

// The target of the first attribute of a type in a message about a neighbour; nullptr when there is none.
inline const std::uint8_t* attribute_of(const nlmsghdr* header, int type, std::size_t size) {
  const auto* body = static_cast<const ndmsg*>(NLMSG_DATA(header));
  int left = static_cast<int>(header->nlmsg_len) - static_cast<int>(NLMSG_LENGTH(sizeof *body));
  const auto* attribute =
      reinterpret_cast<const rtattr*>(reinterpret_cast<const char*>(body) + NLMSG_ALIGN(sizeof *body));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if ((attribute->rta_type & NLA_TYPE_MASK) == type && RTA_PAYLOAD(attribute) == size)
      return static_cast<const std::uint8_t*>(RTA_DATA(attribute));
  }
  return nullptr;
}

struct [[gnu::packed]] ArpFrame {
  std::uint8_t to[ETH_ALEN];
  std::uint8_t from[ETH_ALEN];
  std::uint16_t protocol;
  std::uint16_t hardware;
  std::uint16_t network;
  std::uint8_t hardware_size;
  std::uint8_t network_size;
  std::uint16_t operation;
  std::uint8_t sender_mac[ETH_ALEN];
  std::uint32_t sender_ip;
  std::uint8_t target_mac[ETH_ALEN];
  std::uint32_t target_ip;
};
static_assert(sizeof(ArpFrame) == 42);

inline ArpFrame arp_request(const std::uint8_t* mac, std::uint32_t ip) {
  ArpFrame frame{};
  std::memset(frame.to, 0xff, ETH_ALEN);
  std::memcpy(frame.from, mac, ETH_ALEN);
  frame.protocol = htons(ETH_P_ARP);
  frame.hardware = htons(1);
  frame.network = htons(ETH_P_IP);
  frame.hardware_size = ETH_ALEN;
  frame.network_size = 4;
  frame.operation = htons(1);
  std::memcpy(frame.sender_mac, mac, ETH_ALEN);
  frame.sender_ip = htonl(ip);
  return frame;
}

// The kernel's own time stamp of a received packet (CLOCK_REALTIME), 0 without one.
inline std::int64_t stamp_of(msghdr& header) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_TIMESTAMPNS) {
      timespec at{};
      std::memcpy(&at, CMSG_DATA(part), sizeof at);
      return at.tv_sec * 1'000'000'000LL + at.tv_nsec;
    }
  }
  return 0;
}

inline void want_stamps(int fd) {
  const int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) die("SO_TIMESTAMPNS");
  // The kernel switches stamping on in the background; a packet that comes earlier would be stamped when it is read.
  sleep_ns(50'000'000);
}

// "name": [1, 2, 3]; -1 stands for null.
inline void print_array(const char* name, const std::vector<std::int64_t>& values, const char* after) {
  std::printf("\"%s\":[", name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) std::putchar(',');
    if (values[i] < 0) {
      std::fputs("null", stdout);
    } else {
      std::printf("%lld", static_cast<long long>(values[i]));
    }
  }
  std::printf("]%s", after);
}
