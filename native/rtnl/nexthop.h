// Nexthop objects, which routes and FDB entries refer to by id: RTM_NEWNEXTHOP, include/uapi/linux/nexthop.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct NexthopMember {
  std::uint32_t id = 0;
  std::uint32_t weight = 1;

  bool operator==(const NexthopMember&) const = default;
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
  std::uint16_t group_type = 0;           // NEXTHOP_GRP_TYPE_*
  std::vector<AttributeValue> resilient;  // of resilient_group_policies()
  std::vector<UnknownAttribute> unknown;  // written as they were told, such as encapsulations

  bool operator==(const NexthopEntry&) const = default;
};

// NHA_RES_GROUP.
std::span<const AttributePolicy> resilient_group_policies();

void encode_nexthop(RequestBatch& batch, std::uint16_t flags, const NexthopEntry& nexthop);
void encode_delete_nexthop(RequestBatch& batch, std::uint32_t id);

// A dump, filtered by the kernel. `index`, `master`: 0 = any.
void encode_get_nexthops(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t master);
std::optional<NexthopEntry> decode_nexthop(const Message& message);

}  // namespace overns
