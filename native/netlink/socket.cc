#include "netlink/socket.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include "netns/socket.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace overns {
namespace {

Status set_option(int fd, int level, int name, int value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0) return system_failure("setsockopt", what);
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
  if (!options.filter.empty()) {
    const sock_fprog program{static_cast<unsigned short>(options.filter.size()),
                             const_cast<sock_filter*>(options.filter.data())};
    if (setsockopt(fd->get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
      return system_failure("setsockopt", "SO_ATTACH_FILTER");
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

}  // namespace overns
