#include "engine/held_packets.h"

#include <utility>

namespace overns {
namespace {

// For one MAC, and in all.
constexpr std::size_t kMaxBytes = 2 << 20;
constexpr std::size_t kMaxAllBytes = 64 << 20;

}  // namespace

std::size_t HeldPackets::keep(const Mac& mac, Bytes packet) {
  Held& held = queues_[mac];
  std::size_t dropped = 0;
  while (!held.packets.empty() && (held.bytes + packet.size() > kMaxBytes || bytes_ + packet.size() > kMaxAllBytes)) {
    const std::size_t oldest = held.packets.front().size();
    held.bytes -= oldest;
    bytes_ -= oldest;
    held.packets.pop_front();
    ++dropped;
  }
  if (bytes_ + packet.size() > kMaxAllBytes) {
    if (held.packets.empty()) queues_.erase(mac);
    return dropped + 1;
  }
  held.packets.emplace_back(packet.begin(), packet.end());
  held.bytes += packet.size();
  bytes_ += packet.size();
  return dropped;
}

HeldPackets::Queue HeldPackets::take(const Mac& mac) {
  const auto found = queues_.find(mac);
  if (found == queues_.end()) return {};
  bytes_ -= found->second.bytes;
  Queue packets = std::move(found->second.packets);
  queues_.erase(found);
  return packets;
}

}  // namespace overns
