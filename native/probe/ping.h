// ICMP echo from inside a namespace: what ping(8) does, for where there is no ping(8).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace overns {

struct PingOptions {
  Ip target;
  std::uint16_t count = 1;
  std::chrono::milliseconds interval{1000};  // from one request to the next
  std::chrono::milliseconds timeout{1000};   // for each reply; what comes later counts as lost
  std::uint16_t size = 56;                   // payload bytes; the IPv4 datagram is 28 more, the IPv6 one 48
  bool dont_fragment = false;                // neither here nor on the way: EMSGSIZE instead
};

struct Echo {
  std::int64_t sent_ns = 0;            // CLOCK_MONOTONIC
  std::optional<std::int64_t> rtt_ns;  // nothing = lost
};

// One entry per request, in order; blocks until the last is answered or late. A Failure when a request cannot even
// leave: no route, too long, not permitted. An ICMP error from the way is a loss.
Result<std::vector<Echo>> ping(const std::string& netns, const PingOptions& options);

// Identifies the requests of one call among all echo traffic that its socket sees.
struct EchoKey {
  std::uint16_t id = 0;
  std::uint64_t cookie = 0;  // leads every payload, as much of it as fits
};

// An echo request from its ICMP header on.
std::vector<std::uint8_t> encode_echo_request(std::uint8_t family, const EchoKey& key, std::uint16_t sequence,
                                              std::uint16_t size);
// The sequence number of a reply to a request of that key and size, or nothing. `packet` is what a raw socket of the
// family reads: for IPv4 it begins with the IP header.
std::optional<std::uint16_t> decode_echo_reply(std::uint8_t family, Bytes packet, const EchoKey& key,
                                               std::uint16_t size);

}  // namespace overns
