#include "netns/unix_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <optional>

#include "netns/socket.h"

namespace overns {
namespace {

std::optional<socklen_t> abstract_address(const std::string& name, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

}  // namespace

Result<UniqueFd> listen_abstract(const std::string& path, const std::string& name) {
  auto fd = open_socket(path, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  sockaddr_un address;
  const auto length = abstract_address(name, address);
  if (!length) return Failure{ENAMETOOLONG, "bind", name, {}, {}};
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&address), *length) != 0) return system_failure("bind", name);
  if (listen(fd->get(), 16) != 0) return system_failure("listen", name);
  return fd;
}

Result<UniqueFd> connect_abstract(const std::string& path, const std::string& name) {
  auto fd = open_socket(path, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  sockaddr_un address;
  const auto length = abstract_address(name, address);
  if (!length) return Failure{ENAMETOOLONG, "connect", name, {}, {}};
  if (connect(fd->get(), reinterpret_cast<sockaddr*>(&address), *length) != 0) return system_failure("connect", name);
  return fd;
}

}  // namespace overns
