// Parameters of a device's neighbour tables: RTM_SETNEIGHTBL, include/uapi/linux/neighbour.h.
#pragma once

#include <cstdint>

#include "netlink/command_socket.h"

namespace overns {

// How many bytes of packets may wait for one address to be resolved on this device (unres_qlen_bytes, truesize
// counted; the kernel's default is net.core.wmem_default). One request for a family, AF_INET or AF_INET6.
void encode_neighbor_queue(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t bytes);

}  // namespace overns
