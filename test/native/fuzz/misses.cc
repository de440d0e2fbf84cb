// rtnl/neighbor.h: what a miss is, against the entry that the same message is.
#include "decoder.h"
#include "rtnl/neighbor.h"

using namespace overns;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::one_message(data, size, [](const Message& message) {
    const auto miss = decode_miss(message);
    if (!miss) return;
    const auto entry = decode_neighbor(message);
    require(entry.has_value(), "a miss is a neighbour's message");
    require(entry->index == miss->index && entry->state == NUD_STALE, "of the same device, as vxlan tells it");
    require(entry->ip == miss->ip, "it asks for the same address");
    require(entry->mac.value_or(Mac{}) == miss->mac, "or the same MAC");
    require(!entry->ip.empty() || entry->mac, "it asks for something");
  });
  return 0;
}
