// Neighbours and FDB entries, which share one message, and the misses that vxlan reports with it.
// RTM_NEWNEIGH and friends, include/uapi/linux/neighbour.h; drivers/net/vxlan/vxlan_core.c.
#pragma once

#include <linux/neighbour.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

// A neighbour (family AF_INET or AF_INET6: ip -> mac) or an FDB entry (family AF_BRIDGE: mac -> where).
struct NeighborEntry {
  std::uint8_t family = 0;
  std::int32_t index = 0;
  std::uint16_t state = 0;  // NUD_*
  std::uint8_t flags = 0;   // NTF_*
  std::uint8_t type = 0;    // RTN_* of a neighbour
  std::uint32_t extended_flags = 0;
  Ip ip;                   // NDA_DST: the neighbour, or a vxlan FDB entry's remote VTEP
  std::optional<Mac> mac;  // NDA_LLADDR
  std::optional<std::uint32_t> vni;
  std::optional<std::uint32_t> source_vni;  // NDA_SRC_VNI: of a device with collectMetadata
  std::optional<std::uint16_t> port;
  std::uint32_t via = 0;     // NDA_IFINDEX: the device towards the remote
  std::uint32_t master = 0;  // NDA_MASTER
  std::uint16_t vlan = 0;
  std::uint32_t nexthop = 0;  // NDA_NH_ID
  std::uint8_t protocol = 0;
  std::uint8_t activity = 0;  // FDB_NOTIFY_*: of a bridge's entry that tells when it is used no more
  std::optional<std::int32_t> link_netnsid;
  std::optional<std::uint32_t> probes;
  std::vector<UnknownAttribute> unknown;

  bool operator==(const NeighborEntry&) const = default;
};

void encode_neighbor(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const NeighborEntry& entry);
// A dump: of one device when `index` is given; family AF_BRIDGE lists the FDB.
// `proxies`: those instead of the neighbours, which no other dump tells.
void encode_get_neighbors(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t master,
                          bool proxies = false);
std::optional<NeighborEntry> decode_neighbor(const Message& message);
// What the FDB of a bridge or vxlan device has for a MAC, the first of several destinations, without a dump: an FDB may
// be huge. The index of a bridge's entry is that of the port.
std::optional<NeighborEntry> find_fdb_entry(CommandSocket& socket, std::int32_t index, const Mac& mac);

// Which entries of a device's FDB a bulk deletion takes (vxlan_fdb_delete_bulk, br_fdb_delete_bulk): those that equal
// `match` in every field that it has, and in the bits of state and flags that the masks name.
struct FdbFlush {
  NeighborEntry match;
  std::uint16_t state_mask = 0;
  std::uint8_t flags_mask = 0;
};
void encode_flush_fdb(RequestBatch& batch, const FdbFlush& flush);

struct MissKey {
  std::int32_t index = 0;
  Ip ip;    // an L3 miss, or empty
  Mac mac;  // an L2 miss
  bool is_l3() const { return !ip.empty(); }
  bool operator==(const MissKey&) const = default;
};
// An RTM_GETNEIGH as vxlan_ip_miss and vxlan_fdb_miss send it. All attributes are walked: on a device that was moved
// between namespaces NDA_LINK_NETNSID comes first.
std::optional<MissKey> decode_miss(const Message& message);

}  // namespace overns
