// TCP and UDP sockets that live in a namespace, whoever uses them.
#pragma once

#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

struct IpSocketOptions {
  bool datagram = false;  // UDP, else TCP
  std::uint8_t family = 0;
  Ip address;  // to bind to; empty: not bound
  std::uint16_t port = 0;
  bool ipv6_only = false;
  bool reuse_address = false;  // as libuv: of TCP always
  bool reuse_port = false;
};
// Non-blocking.
Result<UniqueFd> open_ip_socket(const std::string& netns, const IpSocketOptions& options);

}  // namespace overns
