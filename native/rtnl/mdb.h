// Multicast groups of bridges and, since Linux 6.4, of vxlans: RTM_GETMDB, include/uapi/linux/if_bridge.h,
// net/bridge/br_mdb.c, drivers/net/vxlan/vxlan_mdb.c.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

// A source of IGMPv3 or MLDv2 that receivers have named.
struct MdbSource {
  Ip ip;
  std::uint32_t timer = 0;  // in hundredths of a second
};

struct MdbEntry {
  std::int32_t bridge = 0;  // or the vxlan whose the table is
  std::int32_t index = 0;   // the port, or the bridge itself for its host
  std::uint8_t state = 0;   // MDB_TEMPORARY, MDB_PERMANENT
  std::uint8_t flags = 0;   // MDB_FLAGS_*
  std::uint16_t vlan = 0;
  Ip group;                // empty: a MAC
  std::optional<Mac> mac;  // of a group that is no IP address
  std::optional<std::uint8_t> protocol;
  std::int32_t via = 0;  // of a vxlan's: the device towards the remote
  std::vector<MdbSource> sources;
  std::vector<AttributeValue> values;
  std::vector<UnknownAttribute> unknown;
};

void encode_get_mdb(RequestBatch& batch);
// One message tells many of one table.
void decode_mdb(const Message& message, std::vector<MdbEntry>& into);

}  // namespace overns
