// VLANs of bridges and their ports: RTM_GETVLAN (since Linux 5.6), include/uapi/linux/if_bridge.h,
// net/bridge/br_vlan.c.
#pragma once

#include <cstdint>
#include <vector>

#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct BridgeVlan {
  std::int32_t index = 0;  // of the bridge or port
  std::uint16_t vlan = 0;
  std::uint16_t last = 0;   // of a range; 0: `vlan` alone
  std::uint16_t flags = 0;  // BRIDGE_VLAN_INFO_*
  std::vector<AttributeValue> values;
  std::vector<UnknownAttribute> unknown;
};

// A dump. The kernel tells VLANs that follow one another, and differ in nothing else, as a range.
void encode_get_vlans(RequestBatch& batch);
// One message tells all of a device.
void decode_vlans(const Message& message, std::vector<BridgeVlan>& into);

}  // namespace overns
