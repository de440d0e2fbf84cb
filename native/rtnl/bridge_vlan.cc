#include "rtnl/bridge_vlan.h"

#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <optional>

namespace overns {
namespace {

using enum ValueType;

// Bookworm's headers end at 6.1; the numbers are ABI.
enum : std::uint16_t {
  kGroups = BRIDGE_VLANDB_ENTRY_MCAST_ROUTER + 1,
  kMaxGroups,
  kNeighSuppress,
};

constexpr Word kStates[] = {{BR_STATE_DISABLED, "disabled"},
                            {BR_STATE_LISTENING, "listening"},
                            {BR_STATE_LEARNING, "learning"},
                            {BR_STATE_FORWARDING, "forwarding"},
                            {BR_STATE_BLOCKING, "blocking"}};

constexpr AttributePolicy kEntry[] = {
    {"state", BRIDGE_VLANDB_ENTRY_STATE, kU8, 0, kStates},
    {"mcastRouter", BRIDGE_VLANDB_ENTRY_MCAST_ROUTER, kU8},
    {"mcastGroups", kGroups, kU32},
    {"mcastMaxGroups", kMaxGroups, kU32},
    {"neighSuppress", kNeighSuppress, kBool},
};
constexpr AttributePolicy kTunnel[] = {{"tunnel", BRIDGE_VLANDB_TINFO_ID, kU32}};

std::optional<BridgeVlan> decode_entry(std::int32_t index, Bytes payload) {
  BridgeVlan entry;
  entry.index = index;
  bool found = false;
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    switch (attribute->type) {
      case BRIDGE_VLANDB_ENTRY_INFO: {
        const auto info = attribute->as<bridge_vlan_info>();
        if (!info) return std::nullopt;
        entry.flags = info->flags;
        entry.vlan = info->vid;
        found = true;
        continue;
      }
      case BRIDGE_VLANDB_ENTRY_RANGE:
        if (take(attribute->as<std::uint16_t>(), entry.last)) continue;
        break;
      case BRIDGE_VLANDB_ENTRY_TUNNEL_INFO: {
        AttributeReader tunnel(attribute->payload);
        while (const auto each = tunnel.next()) {
          if (!decode_value(kTunnel, *each, entry.values)) entry.unknown.push_back(keep(*each, "tunnel"));
        }
        continue;
      }
      default:
        if (decode_value(kEntry, *attribute, entry.values)) continue;
        break;
    }
    entry.unknown.push_back(keep(*attribute));
  }
  return found ? std::optional(std::move(entry)) : std::nullopt;
}

}  // namespace

void encode_get_vlans(RequestBatch& batch) {
  MessageWriter& writer = batch.begin(RTM_GETVLAN, 0);
  br_vlan_msg header{};
  header.family = AF_BRIDGE;
  writer.header(header);
  batch.end();
}

void decode_vlans(const Message& message, std::vector<BridgeVlan>& into) {
  const auto header = message.family_header<br_vlan_msg>();
  if (!header || (message.header.nlmsg_type != RTM_NEWVLAN && message.header.nlmsg_type != RTM_DELVLAN)) return;
  auto attributes = message.attributes<br_vlan_msg>();
  while (const auto attribute = attributes.next()) {
    if (attribute->type != BRIDGE_VLANDB_ENTRY) continue;
    if (auto entry = decode_entry(static_cast<std::int32_t>(header->ifindex), attribute->payload))
      into.push_back(std::move(*entry));
  }
}

}  // namespace overns
