// Nexthop objects, which routes and FDB entries refer to by id: RTM_NEWNEXTHOP, include/uapi/linux/nexthop.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct NexthopMember {
  std::uint32_t id = 0;
  std::uint32_t weight = 1;
};

struct NexthopEntry {
  std::uint32_t id = 0;
  std::uint8_t family = 0;
  std::uint8_t scope = 0;
  std::uint8_t protocol = 0;
  std::uint32_t flags = 0;  // RTNH_F_*
  Ip gateway;
  std::int32_t index = 0;
  std::uint32_t master = 0;
  bool blackhole = false;
  bool fdb = false;
  std::vector<NexthopMember> group;
  std::uint16_t group_type = 0;  // NEXTHOP_GRP_TYPE_*
  std::vector<UnknownAttribute> unknown;
};

// A dump, filtered by the kernel. `index`, `master`: 0 = any.
void encode_get_nexthops(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t master);
std::optional<NexthopEntry> decode_nexthop(const Message& message);

}  // namespace overns
