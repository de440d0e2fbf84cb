#include "netns/ip_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "netns/socket.h"

namespace overns {

Result<UniqueFd> open_ip_socket(const std::string& netns, const IpSocketOptions& options) {
  auto fd = open_socket(netns, options.family, (options.datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
  if (!fd || options.address.empty()) return fd;
  const std::string text = options.address.to_string() + " port " + std::to_string(options.port);
  const auto set = [&](int level, int name, int value) {
    return setsockopt(fd->get(), level, name, &value, sizeof value) == 0;
  };
  if (options.reuse_address && !set(SOL_SOCKET, SO_REUSEADDR, 1)) return system_failure("setsockopt", "SO_REUSEADDR");
  if (options.reuse_port && !set(SOL_SOCKET, SO_REUSEPORT, 1)) return system_failure("setsockopt", "SO_REUSEPORT");
  sockaddr_storage address{};
  socklen_t length = 0;
  if (options.address.is_v4()) {
    auto* inet = reinterpret_cast<sockaddr_in*>(&address);
    inet->sin_family = AF_INET;
    inet->sin_port = htons(options.port);
    std::memcpy(&inet->sin_addr, options.address.bytes.data(), sizeof inet->sin_addr);
    length = sizeof *inet;
  } else {
    if (!set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only ? 1 : 0)) return system_failure("setsockopt", "IPV6_V6ONLY");
    auto* inet = reinterpret_cast<sockaddr_in6*>(&address);
    inet->sin6_family = AF_INET6;
    inet->sin6_port = htons(options.port);
    std::memcpy(&inet->sin6_addr, options.address.bytes.data(), sizeof inet->sin6_addr);
    length = sizeof *inet;
  }
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return system_failure("bind", text);
  return fd;
}

}  // namespace overns
