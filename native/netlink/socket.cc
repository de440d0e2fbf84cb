#include "netlink/socket.h"

#include <linux/filter.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <bit>
#include <cstddef>

#include "netlink/namespace.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace overns {
namespace {

Status set_option(int fd, int level, int name, int value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0) return system_failure("setsockopt", what);
  return done();
}

// Classic BPF runs on the first message of each datagram; multicast notifications come one to a datagram. Its loads are
// big-endian where netlink is host order, so a type is compared as the bytes lie: `wire` swaps on a little-endian host.
constexpr std::uint32_t wire(std::uint16_t value) {
  return std::endian::native == std::endian::little ? static_cast<std::uint32_t>((value & 0xff) << 8 | value >> 8)
                                                    : value;
}

Status attach_miss_filter(int fd) {
  constexpr std::uint32_t kAttributes = NLMSG_HDRLEN + sizeof(ndmsg);
  constexpr std::uint32_t kNetnsid = NLA_HDRLEN + sizeof(std::int32_t);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(RTM_GETNEIGH), 11, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(RTM_DELNEIGH), 0, 11),
      // NDA_LLADDR comes first, or behind NDA_LINK_NETNSID; X = where.
      BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kAttributes + offsetof(nlattr, nla_type)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(NDA_LINK_NETNSID), 0, 1),
      BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, kNetnsid),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, kAttributes + offsetof(nlattr, nla_type)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(NDA_LLADDR), 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, kAttributes + NLA_HDRLEN),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, kAttributes + NLA_HDRLEN + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_fprog program{sizeof code / sizeof code[0], code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return system_failure("setsockopt", "SO_ATTACH_FILTER");
  return done();
}

Result<UniqueFd> make_command_socket(Result<UniqueFd> fd) {
  if (!fd) return fd;
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;  // nl_pid 0: the kernel assigns a port id that nobody else has
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) return system_failure("bind");
  Status status = set_option(fd->get(), SOL_NETLINK, NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK");
  if (status) status = set_option(fd->get(), SOL_NETLINK, NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK");
  if (status) status = set_option(fd->get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1, "NETLINK_GET_STRICT_CHK");
  if (!status) return status.failure();
  // A batch of failed requests answers with as many acknowledgements before the first is read.
  set_receive_buffer(fd->get(), 1 << 20);
  return fd;
}

}  // namespace

Result<UniqueFd> open_command_socket(const std::string& netns) {
  return make_command_socket(open_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

Result<UniqueFd> open_scratch_command_socket() {
  return make_command_socket(open_scratch_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

Result<UniqueFd> open_event_socket(const std::string& netns, const EventSocketOptions& options) {
  auto fd = open_socket(netns, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (!fd) return fd;
  set_receive_buffer(fd->get(), options.receive_buffer);
  if (options.filter == EventFilter::kMisses) {
    if (Status status = attach_miss_filter(fd->get()); !status) return status.failure();
  }
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) return system_failure("bind");
  for (const std::uint32_t group : options.groups) {
    const Status status =
        set_option(fd->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, static_cast<int>(group), "NETLINK_ADD_MEMBERSHIP");
    if (!status) return status.failure();
  }
  return fd;
}

std::uint32_t socket_drops(int fd) {
  std::uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof info;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) != 0) return 0;
  return info[SK_MEMINFO_DROPS];
}

void set_receive_buffer(int fd, int bytes) {
  // The kernel doubles what it is given. Without CAP_NET_ADMIN in the initial user namespace the plain option
  // applies, silently capped at net.core.rmem_max.
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

}  // namespace overns
