#include "engine/frame.h"

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <sys/socket.h>

#include <algorithm>
#include <initializer_list>

namespace overns {
namespace {

constexpr std::size_t kArpSize = 28;  // Ethernet and IPv4
constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kSolicitation = 24;  // ICMPv6 header, reserved word, target
constexpr std::uint8_t kIcmpv6 = 58;
constexpr std::uint8_t kSolicitationType = 135;

std::uint16_t be16(Bytes bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

// Writes bytes one behind the other.
struct Pen {
  std::uint8_t* at;
  void put(Bytes bytes) { at = std::copy(bytes.begin(), bytes.end(), at); }
  void put(std::initializer_list<std::uint8_t> bytes) { at = std::copy(bytes.begin(), bytes.end(), at); }
};

// RFC 4443 section 2.3: over the message and a pseudo-header, which its IPv6 header has all fields of.
void write_icmpv6_checksum(std::span<std::uint8_t> packet) {
  std::uint32_t sum = kIcmpv6 + static_cast<std::uint32_t>(packet.size() - kIpv6Header);
  for (std::size_t i = 8; i + 1 < packet.size(); i += 2) sum += be16(packet, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet[kIpv6Header + 2] = static_cast<std::uint8_t>(~sum >> 8);
  packet[kIpv6Header + 3] = static_cast<std::uint8_t>(~sum);
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

std::optional<Sender> sender_of(Bytes frame) {
  constexpr std::size_t kSolicitationEnd = ETH_HLEN + kIpv6Header + kSolicitation;
  constexpr std::uint8_t kSourceLinkLayerAddress = 1;
  Sender sender;
  sender.mac = *Mac::from(frame.subspan(6, 6));
  Mac told;
  if (be16(frame, 12) == ETH_P_ARP) {
    told = *Mac::from(frame.subspan(ETH_HLEN + 8, 6));
    sender.ip = *Ip::from(frame.subspan(ETH_HLEN + 14, 4));
  } else {
    // The option (RFC 4861 section 4.6.1) stands first and alone where Linux solicits.
    if (frame.size() != kSolicitationEnd + 8) return std::nullopt;
    const Bytes option = frame.subspan(kSolicitationEnd);
    if (option[0] != kSourceLinkLayerAddress || option[1] != 1) return std::nullopt;
    told = *Mac::from(option.subspan(2, 6));
    sender.ip = *Ip::from(frame.subspan(ETH_HLEN + 8, 16));
  }
  if (told != sender.mac || !sender.mac.is_unicast() || !sender.ip.is_unicast()) return std::nullopt;
  return sender;
}

Ip ip_destination(Bytes frame) {
  constexpr std::size_t kIpv4Destination = ETH_HLEN + 16;
  constexpr std::size_t kIpv6Destination = ETH_HLEN + 24;
  if (frame.size() < ETH_HLEN + kIpv4Header) return {};
  const std::uint16_t protocol = be16(frame, 12);
  const std::uint8_t version = frame[ETH_HLEN] >> 4;
  if (protocol == ETH_P_IP && version == 4) return *Ip::from(frame.subspan(kIpv4Destination, 4));
  if (protocol != ETH_P_IPV6 || version != 6 || frame.size() < ETH_HLEN + kIpv6Header) return {};
  return *Ip::from(frame.subspan(kIpv6Destination, 16));
}

bool spend_hop(std::span<std::uint8_t> frame) {
  constexpr std::size_t kTtl = ETH_HLEN + 8;
  constexpr std::size_t kChecksum = ETH_HLEN + 10;
  constexpr std::size_t kHopLimit = ETH_HLEN + 7;
  if (frame.size() < ETH_HLEN + kIpv4Header) return false;
  const std::uint16_t protocol = be16(frame, 12);
  const std::uint8_t version = frame[ETH_HLEN] >> 4;
  if (protocol == ETH_P_IPV6 && version == 6) {
    if (frame[kHopLimit] <= 1) return false;
    --frame[kHopLimit];
    return true;
  }
  if (protocol != ETH_P_IP || version != 4 || frame[kTtl] <= 1) return false;
  --frame[kTtl];
  // RFC 1624: the checksum goes up by what has gone from its word.
  std::uint32_t sum = be16(frame, kChecksum) + 0x100U;
  sum += sum >= 0xffff ? 1 : 0;
  frame[kChecksum] = static_cast<std::uint8_t>(sum >> 8);
  frame[kChecksum + 1] = static_cast<std::uint8_t>(sum);
  return true;
}

Announcement::Announcement(const Ip& ip, const Mac& mac) {
  constexpr std::array<std::uint8_t, 6> kEverybody{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  constexpr std::array<std::uint8_t, 6> kAllNodesMac{0x33, 0x33, 0, 0, 0, 1};
  constexpr std::array<std::uint8_t, 16> kAllNodes{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  constexpr std::uint8_t kAdvertisementType = 136;
  constexpr std::uint8_t kOverride = 0x20;
  constexpr std::uint8_t kTargetLinkLayerAddress = 2;
  constexpr std::uint8_t kAdvertisement = kSolicitation + 8;  // with that option
  Pen pen{bytes_.data()};
  if (ip.is_v4()) {
    pen.put(kEverybody);
    pen.put(mac.bytes);
    pen.put({ETH_P_ARP >> 8, ETH_P_ARP & 0xff, 0, ARPHRD_ETHER, ETH_P_IP >> 8, ETH_P_IP & 0xff, 6, 4, 0, ARPOP_REPLY});
    for (int i = 0; i < 2; ++i) {
      pen.put(mac.bytes);
      pen.put(ip.raw());
    }
  } else {
    pen.put(kAllNodesMac);
    pen.put(mac.bytes);
    pen.put({ETH_P_IPV6 >> 8, ETH_P_IPV6 & 0xff, 0x60, 0, 0, 0, 0, kAdvertisement, kIcmpv6, 255});
    pen.put(ip.raw());
    pen.put(kAllNodes);
    pen.put({kAdvertisementType, 0, 0, 0, kOverride, 0, 0, 0});
    pen.put(ip.raw());
    pen.put({kTargetLinkLayerAddress, 1});
    pen.put(mac.bytes);
    write_icmpv6_checksum({bytes_.data() + ETH_HLEN, static_cast<std::size_t>(pen.at - bytes_.data()) - ETH_HLEN});
  }
  size_ = static_cast<std::size_t>(pen.at - bytes_.data());
}

}  // namespace overns
