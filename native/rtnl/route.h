// Routes, as far as an overlay needs them: RTM_NEWROUTE and friends, include/uapi/linux/rtnetlink.h.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "netlink/command_socket.h"

namespace overns {

struct RouteEntry {
  std::uint8_t family = 0;
  Ip destination;  // empty: the default route
  std::uint8_t prefix = 0;
  Ip gateway;
  Ip source;  // RTA_PREFSRC
  std::int32_t index = 0;
  std::uint32_t table = 0;
  std::uint32_t priority = 0;
  std::uint8_t protocol = 0;
  std::uint8_t scope = 0;
  std::uint8_t type = 0;  // RTN_*

  bool operator==(const RouteEntry&) const = default;
};

void encode_route(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const RouteEntry& route);
void encode_get_routes(RequestBatch& batch, std::uint8_t family, std::uint32_t table);
std::optional<RouteEntry> decode_route(const Message& message);

}  // namespace overns
