// The requests that a vxlan device with `proxy` swallows when it has no answer: ARP (RFC 826) and neighbour
// solicitations (RFC 4861), as a packet socket on the bridge sees them; and what tells of a MAC without being asked.
#pragma once

#include <array>
#include <optional>
#include <span>

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

// Who sent a request, as the one who is asked learns it.
struct Sender {
  Ip ip;
  Mac mac;
};
// Of a frame that one of the above has taken. Nothing where it tells no address (a probe, duplicate address detection),
// or another MAC than that of the frame.
std::optional<Sender> sender_of(Bytes frame);

// The destination of a frame's IPv4 or IPv6 packet; empty when it holds another one.
Ip ip_destination(Bytes frame);

// Takes one from how far a frame's packet may still travel (IPv4's time to live, IPv6's hop limit), as a router does.
// False, and the frame as it was, when there is none left to take, or it is no such packet.
bool spend_hop(std::span<std::uint8_t> frame);

// A frame that tells everybody on a link which MAC an address has.
class Announcement {
 public:
  // IPv4: a gratuitous ARP reply (RFC 5227 section 4), since a request would be a miss to a vxlan device with `proxy`.
  // IPv6: an unsolicited neighbour advertisement with the override flag (RFC 4861 section 7.2.6).
  Announcement(const Ip& ip, const Mac& mac);
  Bytes bytes() const { return {bytes_.data(), size_}; }

 private:
  std::array<std::uint8_t, 86> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace overns
