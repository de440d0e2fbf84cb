// Packet sockets on an overlay's bridge that see the requests which a vxlan device swallows.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

// They see the frames that the bridge passes up, which are the flooded ones, at no cost to the data path: ARP requests,
// or neighbour solicitations.
Result<UniqueFd> open_arp_tap(const std::string& netns, std::int32_t bridge);
Result<UniqueFd> open_nd_tap(const std::string& netns, std::int32_t bridge);
// Sees, on a vxlan device, what other hosts' resolvers tell this one (resolver/prime.h).
Result<UniqueFd> open_hint_tap(const std::string& netns, std::int32_t vxlan);
// Lets a tap listen on another device; `protocol` as it was opened.
Status bind_tap(int fd, std::int32_t device, std::uint16_t protocol);

}  // namespace overns
