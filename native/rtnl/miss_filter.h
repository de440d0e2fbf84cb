// Filters of sockets that are for misses.
#pragma once

#include <linux/filter.h>

#include <span>

#include "rtnl/neighbor.h"

namespace overns {

// Passes RTM_GETNEIGH, and RTM_DELNEIGH of the all-zero MAC (somebody has removed an FDB's default entry).
std::span<const sock_filter> miss_filter();

// Passes these, and RTM_NEWNEIGH: of a neighbour that has decayed, but for FAILED, since each deletion is told so first
// (neigh_delete, net/core/neighbour.c); and of a vxlan device's FDB entry that the resolver has not marked as its own,
// as one that the kernel has learned.
std::span<const sock_filter> miss_and_change_filter();

// True of a neighbour that is known and not connected: STALE, DELAY, PROBE or FAILED. A vxlan device drops the requests
// for it, without a miss (arp_reduce and neigh_reduce, drivers/net/vxlan/vxlan_core.c).
bool has_decayed(const NeighborEntry& entry);

}  // namespace overns
