// Links to and from JavaScript.
#include <algorithm>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "binding/fields.h"

#include <linux/if.h>
#include <linux/if_link.h>

#include "rtnl/link_attributes.h"

namespace overns {
namespace {

constexpr Name<std::uint32_t> kLinkFlags[] = {
    {"up", IFF_UP},
    {"broadcast", IFF_BROADCAST},
    {"debug", IFF_DEBUG},
    {"loopback", IFF_LOOPBACK},
    {"pointopoint", IFF_POINTOPOINT},
    {"notrailers", IFF_NOTRAILERS},
    {"running", IFF_RUNNING},
    {"noarp", IFF_NOARP},
    {"promisc", IFF_PROMISC},
    {"allmulti", IFF_ALLMULTI},
    {"master", IFF_MASTER},
    {"slave", IFF_SLAVE},
    {"multicast", IFF_MULTICAST},
    {"portsel", IFF_PORTSEL},
    {"automedia", IFF_AUTOMEDIA},
    {"dynamic", IFF_DYNAMIC},
    {"lower_up", IFF_LOWER_UP},
    {"dormant", IFF_DORMANT},
    {"echo", IFF_ECHO},
};
constexpr Name<std::uint8_t> kAddrGenModes[] = {{"eui64", IN6_ADDR_GEN_MODE_EUI64},
                                                {"none", IN6_ADDR_GEN_MODE_NONE},
                                                {"stable_secret", IN6_ADDR_GEN_MODE_STABLE_PRIVACY},
                                                {"random", IN6_ADDR_GEN_MODE_RANDOM}};

void switch_flag(const Fields& fields, const char* name, std::uint32_t bit, bool inverted, LinkSpec& spec) {
  const auto on = fields.boolean(name);
  if (!on) return;
  spec.change |= bit;
  if (*on != inverted) spec.flags |= bit;
}

// A key of a GRE tunnel counts where a flag says so, which goes without saying.
void switch_keys(LinkSpec& spec) {
  static constexpr std::pair<std::string_view, std::string_view> kKeys[] = {{"inputKey", "inputKeyed"},
                                                                            {"outputKey", "outputKeyed"}};
  const auto given = [&](std::string_view name) {
    return std::any_of(spec.info.begin(), spec.info.end(),
                       [&](const AttributeValue& each) { return each.policy->name == name; });
  };
  for (const auto& [key, keyed] : kKeys) {
    if (!given(key) || given(keyed)) continue;
    for (const AttributePolicy& policy : info_policies(spec.kind)) {
      if (policy.name == keyed) spec.info.push_back({&policy, std::uint64_t{1}});
    }
  }
}

LinkPeer parse_peer(const Fields& fields, Command& command) {
  LinkPeer peer;
  peer.name = fields.text("name").value_or("");
  peer.mac = fields.mac("mac");
  if (const auto mtu = fields.number("mtu", UINT32_MAX)) peer.mtu = static_cast<std::uint32_t>(*mtu);
  command.peer_netns = fields.path("netns");
  return peer;
}

}  // namespace

void parse_link(const Fields& fields, Command& command) {
  LinkSpec spec;
  spec.kind = fields.text("kind").value_or("");
  spec.name = fields.text("name").value_or("");
  spec.index = static_cast<std::int32_t>(fields.number("index", INT32_MAX).value_or(0));
  if (const auto name = fields.text("newName")) {
    // Named by its index in the request, which has room for one name.
    if (name->empty()) fields.out_of_range<Unit>("newName", "a link's name, which is not empty");
    command.link.name = spec.name;
    spec.name = *name;
  }
  spec.up = fields.boolean("up");
  switch_flag(fields, "arp", IFF_NOARP, true, spec);
  switch_flag(fields, "multicast", IFF_MULTICAST, false, spec);
  switch_flag(fields, "allMulticast", IFF_ALLMULTI, false, spec);
  switch_flag(fields, "promiscuous", IFF_PROMISC, false, spec);
  if (const auto mtu = fields.number("mtu", UINT32_MAX)) spec.mtu = static_cast<std::uint32_t>(*mtu);
  spec.mac = fields.mac("mac");
  spec.alias = fields.text("alias");
  command.no_master = fields.is_null("master");
  if (!command.no_master) {
    const auto master = fields.text("master");
    // Not as good as null: a name that somebody has lost takes no port out of its bridge.
    if (master && master->empty()) fields.out_of_range<Unit>("master", "the name of a link, or null for none");
    command.master = master.value_or("");
  }
  // By index where the name lies in another namespace than the socket.
  if (const auto master = fields.number("masterIndex", INT32_MAX, 1)) spec.master = static_cast<std::uint32_t>(*master);
  if (const auto link = fields.get("link")) {
    if (link->IsString()) {
      command.parent = fields.link("link");
    } else if (const auto index = fields.number("link", INT32_MAX)) {
      spec.link = static_cast<std::uint32_t>(*index);
    }
  }
  command.netns = fields.path("netns");
  spec.addr_gen_mode = fields.word("addrGenMode", kAddrGenModes);
  fields.values(link_policies(), spec.attributes);
  fields.values(info_policies(spec.kind), spec.info);
  switch_keys(spec);
  // As it was listed, with what is told by the kernel only and passed over.
  static constexpr const char* kNests[] = {"info", "slaveInfo", "linkinfo", "properties", "family", "inet6"};
  spec.unknown = fields.unknown(kNests);
  std::erase_if(spec.unknown, [](const UnknownAttribute& each) { return each.within != kNests[0]; });
  if (const auto port = fields.object("bridgePort")) port->values(bridge_port_policies(), spec.bridge_port);
  if (const auto peer = fields.object("peer")) spec.peer = parse_peer(*peer, command);
  if (const auto group = fields.number("linkGroup", UINT32_MAX)) command.group = static_cast<std::uint32_t>(*group);
  const bool grouped = command.verb == Verb::kDelete && command.group;
  if (!fields.failed() && spec.name.empty() && spec.index == 0 && !grouped)
    fields.wrong<Unit>("name", "a link's name or index");
  command.item = std::move(spec);
}

Napi::Object to_js(Napi::Env env, const Link& link, const LinkNames& names) {
  static constexpr const char* kOperstates[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                                "testing", "dormant",    "up"};
  auto object = Napi::Object::New(env);
  object.Set("name", to_utf8(link.name));
  object.Set("index", link.index);
  if (!link.kind.empty()) object.Set("kind", to_utf8(link.kind));
  if (link.mac) object.Set("mac", link.mac->to_string());
  object.Set("mtu", link.mtu);
  object.Set("up", (link.flags & IFF_UP) != 0);
  object.Set("running", (link.flags & IFF_RUNNING) != 0);
  object.Set("flags", words_of(env, link.flags, kLinkFlags));
  object.Set("hardware", static_cast<double>(link.hardware));
  if (link.operstate < sizeof kOperstates / sizeof kOperstates[0]) object.Set("operstate", kOperstates[link.operstate]);
  set_link(object, "master", "masterIndex", names, static_cast<std::int32_t>(link.master));
  if (!link.slave_kind.empty()) object.Set("slaveKind", to_utf8(link.slave_kind));
  if (link.link) object.Set("link", *link.link);
  if (link.link_netnsid) object.Set("linkNetnsid", *link.link_netnsid);
  if (!link.alias.empty()) object.Set("alias", to_utf8(link.alias));
  if (link.addr_gen_mode) object.Set("addrGenMode", word_of(*link.addr_gen_mode, kAddrGenModes));
  if (!link.alternative_names.empty()) {
    auto list = Napi::Array::New(env, link.alternative_names.size());
    for (std::uint32_t i = 0; i < link.alternative_names.size(); ++i) list.Set(i, to_utf8(link.alternative_names[i]));
    object.Set("alternativeNames", list);
  }
  set_values(object, link.attributes);
  set_values(object, link.info);
  if (!link.bridge_port.empty()) {
    auto port = Napi::Object::New(env);
    set_values(port, link.bridge_port);
    object.Set("bridgePort", port);
  }
  set_unknown(object, link.unknown);
  return object;
}

Napi::Object to_js(Napi::Env env, const LinkCounters& counters, const LinkNames&) {
  auto object = Napi::Object::New(env);
  object.Set("link", to_utf8(counters.name));
  object.Set("index", counters.index);
  for (std::size_t i = 0; i < counters.count; ++i)
    object.Set(kCounterNames[i], Napi::BigInt::New(env, counters.values[i]));
  return object;
}

}  // namespace overns
