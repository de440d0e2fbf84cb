// VLANs and multicast groups of bridges, to JavaScript.
#include "binding/fields.h"

#include <linux/if_bridge.h>

namespace overns {
namespace {

constexpr Name<std::uint16_t> kVlanFlags[] = {{"pvid", BRIDGE_VLAN_INFO_PVID}, {"untagged", BRIDGE_VLAN_INFO_UNTAGGED}};
// Bits that only say how it is told, and that the bridge itself takes part, which it does in all that are listed.
constexpr std::uint16_t kForm =
    BRIDGE_VLAN_INFO_MASTER | BRIDGE_VLAN_INFO_BRENTRY | BRIDGE_VLAN_INFO_RANGE_BEGIN | BRIDGE_VLAN_INFO_RANGE_END;
constexpr Name<std::uint8_t> kGroupStates[] = {{"temp", MDB_TEMPORARY}, {"permanent", MDB_PERMANENT}};
constexpr Name<std::uint8_t> kGroupFlags[] = {{"offload", MDB_FLAGS_OFFLOAD},
                                              {"fast_leave", MDB_FLAGS_FAST_LEAVE},
                                              {"added_by_star_ex", MDB_FLAGS_STAR_EXCL},
                                              {"blocked", MDB_FLAGS_BLOCKED}};

}  // namespace

Napi::Object to_js(Napi::Env env, const BridgeVlan& vlan, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  set_link(object, "link", "linkIndex", names, vlan.index);
  object.Set("vlan", static_cast<double>(vlan.vlan));
  if (vlan.last != 0) object.Set("lastVlan", static_cast<double>(vlan.last));
  const auto flags = static_cast<std::uint16_t>(vlan.flags & ~kForm);
  if (flags != 0) object.Set("flags", words_of(env, flags, kVlanFlags));
  set_values(object, vlan.values);
  set_unknown(object, vlan.unknown);
  return object;
}

Napi::Object to_js(Napi::Env env, const MdbEntry& entry, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  set_link(object, "bridge", "bridgeIndex", names, entry.bridge);
  set_link(object, "link", "linkIndex", names, entry.index);
  object.Set("group", entry.mac ? entry.mac->to_string() : entry.group.to_string());
  if (entry.vlan != 0) object.Set("vlan", static_cast<double>(entry.vlan));
  object.Set("state", word_or_number(env, entry.state, kGroupStates));
  if (entry.flags != 0) object.Set("flags", words_of(env, entry.flags, kGroupFlags));
  if (entry.protocol) object.Set("protocol", word_or_number(env, *entry.protocol, kRouteProtocols));
  set_values(object, entry.values);
  set_link(object, "via", "viaIndex", names, entry.via);
  if (!entry.sources.empty()) {
    auto list = Napi::Array::New(env, entry.sources.size());
    for (std::uint32_t i = 0; i < entry.sources.size(); ++i) {
      auto each = Napi::Object::New(env);
      each.Set("ip", entry.sources[i].ip.to_string());
      each.Set("timer", entry.sources[i].timer);
      list.Set(i, each);
    }
    object.Set("sources", list);
  }
  set_unknown(object, entry.unknown);
  return object;
}

}  // namespace overns
