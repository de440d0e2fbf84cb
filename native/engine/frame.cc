#include "engine/frame.h"

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <sys/socket.h>

namespace overns {
namespace {

constexpr std::size_t kArpSize = 28;  // Ethernet and IPv4
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kSolicitation = 24;  // ICMPv6 header, reserved word, target
constexpr std::uint8_t kIcmpv6 = 58;
constexpr std::uint8_t kSolicitationType = 135;

std::uint16_t be16(Bytes bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

}  // namespace

std::optional<SwallowedRequest> parse_arp_request(Bytes frame) {
  if (frame.size() < ETH_HLEN + kArpSize || be16(frame, 12) != ETH_P_ARP) return std::nullopt;
  const Bytes arp = frame.subspan(ETH_HLEN, kArpSize);
  if (be16(arp, 0) != ARPHRD_ETHER || be16(arp, 2) != ETH_P_IP || arp[4] != 6 || arp[5] != 4) return std::nullopt;
  if (be16(arp, 6) != ARPOP_REQUEST) return std::nullopt;
  SwallowedRequest request;
  request.asker = *Mac::from(frame.subspan(6, 6));
  request.target = *Ip::from(arp.subspan(24, 4));
  // A gratuitous announcement asks nobody.
  if (request.target == *Ip::from(arp.subspan(14, 4)) || !request.target.is_unicast()) return std::nullopt;
  request.frame = frame.first(ETH_HLEN + kArpSize);
  return request;
}

std::optional<SwallowedRequest> parse_neighbor_solicitation(Bytes frame) {
  if (frame.size() < ETH_HLEN + kIpv6Header + kSolicitation || be16(frame, 12) != ETH_P_IPV6) return std::nullopt;
  const Bytes packet = frame.subspan(ETH_HLEN);
  if ((packet[0] >> 4) != 6 || packet[6] != kIcmpv6 || packet[7] != 255) return std::nullopt;
  const std::size_t payload = be16(packet, 4);
  if (payload < kSolicitation || kIpv6Header + payload > packet.size()) return std::nullopt;
  const Bytes icmp = packet.subspan(kIpv6Header, payload);
  if (icmp[0] != kSolicitationType || icmp[1] != 0) return std::nullopt;
  SwallowedRequest request;
  request.asker = *Mac::from(frame.subspan(6, 6));
  request.target = *Ip::from(icmp.subspan(8, 16));
  if (!request.target.is_unicast()) return std::nullopt;
  request.frame = frame.first(ETH_HLEN + kIpv6Header + payload);
  return request;
}

}  // namespace overns
