// The requests that a vxlan device with `proxy` swallows when it has no answer: ARP (RFC 826) and neighbour
// solicitations (RFC 4861), as a packet socket on the bridge sees them.
#pragma once

#include <optional>

#include "base/address.h"

namespace overns {

struct SwallowedRequest {
  Ip target;  // whose MAC is asked for
  Mac asker;
  Bytes frame;  // what to replay: without the padding behind an ARP request
};

// Ethernet frames of any content; nothing when it is not a well-formed request for a unicast address.
std::optional<SwallowedRequest> parse_arp_request(Bytes frame);
std::optional<SwallowedRequest> parse_neighbor_solicitation(Bytes frame);

}  // namespace overns
