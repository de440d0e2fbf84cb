#include "resolver/prime.h"

#include <algorithm>

#include "resolver/punt.h"

namespace overns {
namespace {

constexpr std::uint8_t kValidVni = 0x08;
constexpr std::array<std::uint8_t, ETH_ALEN> kNearestBridge{0x01, 0x80, 0xc2, 0, 0, 0x0e};

}  // namespace

PrimePackets::PrimePackets(Bytes frame, const Mac& mac, std::uint32_t vni) : size_(frame.size()) {
  for (const std::span<std::uint8_t> packet : {std::span<std::uint8_t>(hint_), std::span<std::uint8_t>(request_)}) {
    packet[0] = kValidVni;
    write_vni(packet, vni);
  }
  std::uint8_t* at = std::ranges::copy(kNearestBridge, hint_.data() + kVxlanHeader).out;
  at = std::ranges::copy(frame.subspan(ETH_ALEN, ETH_ALEN), at).out;
  *at++ = kHintProtocol >> 8;
  *at++ = kHintProtocol & 0xff;
  std::ranges::copy(frame, at);
  std::ranges::copy(frame, request_.data() + kVxlanHeader);
  std::ranges::copy(mac.bytes, request_.data() + kVxlanHeader);
}

std::optional<SwallowedRequest> parse_hint(Bytes frame) {
  if (frame.size() < ETH_HLEN || !std::ranges::equal(frame.first(ETH_ALEN), kNearestBridge)) return std::nullopt;
  if ((frame[12] << 8 | frame[13]) != kHintProtocol) return std::nullopt;
  const Bytes copy = frame.subspan(ETH_HLEN);
  auto request = parse_arp_request(copy);
  return request ? request : parse_neighbor_solicitation(copy);
}

}  // namespace overns
