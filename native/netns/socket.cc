#include "netns/socket.h"

#include <sys/socket.h>

#include "netns/namespace.h"

namespace overns {
namespace {

Status make_socket(int domain, int type, int protocol, UniqueFd& fd) {
  fd.reset(socket(domain, type | SOCK_CLOEXEC, protocol));
  return fd.valid() ? done() : system_failure("socket");
}

}  // namespace

Result<UniqueFd> open_socket(const std::string& path, int domain, int type, int protocol) {
  UniqueFd fd;
  const Status status = run_in_namespace(path, [&] { return make_socket(domain, type, protocol, fd); });
  if (!status) return status.failure();
  return fd;
}

Result<UniqueFd> open_scratch_socket(int domain, int type, int protocol) {
  UniqueFd fd;
  const Status status = run_in_new_namespace([&] { return make_socket(domain, type, protocol, fd); });
  if (!status) return status.failure();
  return fd;
}

void set_receive_buffer(int fd, int bytes) {
  // The kernel doubles what it is given. Without CAP_NET_ADMIN in the initial user namespace the plain option
  // applies, silently capped at net.core.rmem_max.
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

}  // namespace overns
