// A request on its way to whom it asks: two VXLAN packets (RFC 7348 section 5) to that one's host.
//
// The first is for the resolver there: a copy of the request under a protocol of its own, to a group address that
// bridges do not forward (IEEE 802.1Q table 8-1), but pass up from the very device that it came by. So a socket on that
// device hears it at no cost to other frames, no container does, and hosts of other makes drop it. The second is the
// request, for the one who is asked alone.
#pragma once

#include <linux/if_ether.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "engine/frame.h"

namespace overns {

constexpr std::uint16_t kHintProtocol = ETH_P_802_EX1;  // for local experiments

class PrimePackets {
 public:
  // Larger ones are not sent on.
  static constexpr std::size_t kMaxFrame = 128;

  // `frame`: an ARP request or a neighbour solicitation of at most that size; `mac`: whom it asks.
  PrimePackets(Bytes frame, const Mac& mac, std::uint32_t vni);
  Bytes hint() const { return {hint_.data(), kVxlanHeader + ETH_HLEN + size_}; }
  Bytes request() const { return {request_.data(), kVxlanHeader + size_}; }

 private:
  static constexpr std::size_t kVxlanHeader = 8;
  std::array<std::uint8_t, kVxlanHeader + ETH_HLEN + kMaxFrame> hint_{};
  std::array<std::uint8_t, kVxlanHeader + kMaxFrame> request_{};
  std::size_t size_;
};

// The request that a hint has a copy of, from any frame.
std::optional<SwallowedRequest> parse_hint(Bytes frame);

}  // namespace overns
