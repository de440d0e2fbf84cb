// What comes from the network: requests that were swallowed, punted packets, echo replies.
#include "engine/frame.h"

#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "input.h"
#include "probe/ping.h"
#include "resolver/prime.h"
#include "resolver/punt.h"

using namespace overns;
using fuzz::require;

namespace {

void swallowed(Bytes frame, std::optional<SwallowedRequest> (*parse)(Bytes), std::uint8_t family) {
  const auto request = parse(frame);
  if (!request) return;
  require(request->target.family == family && request->target.is_unicast(), "it asks for a unicast address");
  require(request->frame.data() == frame.data() && request->frame.size() <= frame.size(), "it leads the frame");
  // What is replayed is the same question.
  const fuzz::Exact replayed(request->frame);
  const auto again = parse(replayed.bytes());
  require(again && again->target == request->target && again->asker == request->asker, "a replay asks the same");
  require(again->frame.size() == request->frame.size(), "and is replayed whole");
}

void prime(Bytes frame) {
  (void)parse_hint(frame);
  auto request = parse_arp_request(frame);
  if (!request) request = parse_neighbor_solicitation(frame);
  if (!request) return;
  const auto sender = sender_of(request->frame);
  if (sender) require(sender->ip.is_unicast() && sender->mac == request->asker, "a sender is one, and its own");
  if (request->frame.size() > PrimePackets::kMaxFrame) return;
  const PrimePackets packets(request->frame, request->asker, 42);
  const auto hint = parse_vxlan_packet(packets.hint());
  const auto again = hint ? parse_hint(hint->packet.subspan(8)) : std::nullopt;
  require(again && again->target == request->target && again->asker == request->asker, "a hint says the same");
}

void hop(Bytes frame) {
  std::vector<std::uint8_t> copy(frame.begin(), frame.end());
  int hops = 0;
  while (spend_hop(copy)) ++hops;
  require(hops < 255, "hops come to an end");
  if (hops == 0) require(std::equal(copy.begin(), copy.end(), frame.begin()), "what has none stays as it is");
}

void echo(std::uint8_t family, Bytes bytes) {
  const EchoKey key{0x1234, 0x0102030405060708};
  for (const std::uint16_t size : {std::uint16_t{0}, std::uint16_t{3}, std::uint16_t{56}}) {
    (void)decode_echo_reply(family, bytes, key, size);
    const auto request = encode_echo_request(family, key, 7, size);
    require(request.size() == std::size_t{8} + size, "a request is as long as asked for");
    if (family == AF_INET6) require(!decode_echo_reply(family, request, key, size), "a request is no reply");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Exact exact(Bytes(data, size));
  swallowed(exact.bytes(), parse_arp_request, AF_INET);
  swallowed(exact.bytes(), parse_neighbor_solicitation, AF_INET6);
  if (const auto punted = parse_vxlan_packet(exact.bytes())) {
    require(punted->vni < 1 << 24, "a VNI has 24 bits");
    require(punted->packet.data() == exact.bytes().data() && punted->packet.size() == size, "it is sent on whole");
  }
  hop(exact.bytes());
  prime(exact.bytes());
  echo(AF_INET, exact.bytes());
  echo(AF_INET6, exact.bytes());
  return 0;
}
