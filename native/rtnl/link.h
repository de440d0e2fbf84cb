// Links: bridge, veth, vxlan and whatever else the kernel lists. RTM_NEWLINK and friends,
// include/uapi/linux/if_link.h; what their attributes mean stands in rtnl/link_attributes.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "netlink/message.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct LinkPeer {
  std::string name;
  std::optional<Mac> mac;
  std::optional<std::uint32_t> mtu;
  int netns_fd = -1;
};

struct LinkSpec {
  std::string kind;
  std::string name;
  std::int32_t index = 0;  // 0: by name; with both, the link of that index is renamed
  std::optional<bool> up;
  std::uint32_t flags = 0;  // other IFF_*; `change` says which are meant
  std::uint32_t change = 0;
  std::optional<std::uint32_t> mtu;
  std::optional<Mac> mac;
  std::optional<std::uint32_t> master;        // index; 0 = none
  std::optional<std::string> alias;           // applied by a change only: creation ignores IFLA_IFALIAS
  int netns_fd = -1;                          // where the link is to live
  std::optional<std::uint32_t> link;          // IFLA_LINK: a vlan's or macvlan's parent
  std::optional<std::uint8_t> addr_gen_mode;  // IN6_ADDR_GEN_MODE_*
  std::vector<AttributeValue> attributes;     // of link_policies()
  std::vector<AttributeValue> info;           // of info_policies(kind)
  std::vector<AttributeValue> bridge_port;    // of bridge_port_policies()
  std::vector<UnknownAttribute> unknown;      // those within "info" are written, as they are
  std::optional<LinkPeer> peer;               // veth
};

struct Link {
  std::uint8_t family = 0;  // AF_BRIDGE: it is about a bridge port, not of the link itself
  std::int32_t index = 0;
  std::uint32_t flags = 0;
  std::uint16_t hardware = 0;  // ARPHRD_*
  std::string name;
  std::string kind;
  std::string slave_kind;
  std::string alias;
  std::vector<std::string> alternative_names;
  std::optional<Mac> mac;
  std::uint32_t mtu = 0;
  std::uint32_t master = 0;
  std::optional<std::int32_t> link;  // IFLA_LINK: a veth's peer, a vlan's parent
  std::optional<std::int32_t> link_netnsid;
  std::uint8_t operstate = 0;  // IF_OPER_*
  std::optional<std::uint8_t> addr_gen_mode;
  std::vector<AttributeValue> attributes;
  std::vector<AttributeValue> info;
  std::vector<AttributeValue> bridge_port;
  std::vector<UnknownAttribute> unknown;

  bool operator==(const Link&) const = default;
};

// Adds one request to the batch. `flags`: NLM_F_CREATE | NLM_F_EXCL for a new link, 0 for a change.
void encode_link(RequestBatch& batch, const LinkSpec& spec, std::uint16_t flags);
void encode_delete_link(RequestBatch& batch, std::int32_t index, const std::string& name);
// All links of a group at once: the kernel waits for those who still use them once, not for each link.
void encode_delete_link_group(RequestBatch& batch, std::uint32_t group);

// RTM_GETLINK: one link by its index, else by its name, which may be one of its alternative names; with neither a dump
// of the links of a kind and of a master, which the kernel filters.
struct LinkQuery {
  std::int32_t index = 0;
  std::string name = {};
  std::string kind = {};
  std::uint32_t master = 0;  // index, 0 = any
  bool counters = false;     // they cost the kernel most of the time of a dump
};
void encode_get_link(RequestBatch& batch, const LinkQuery& query);
void encode_get_link(RequestBatch& batch, std::int32_t index, const std::string& name);

std::optional<Link> decode_link(const Message& message);

// The index of a link by its name. ENODEV names it.
Result<std::int32_t> link_index(CommandSocket& socket, const std::string& name);

// The id by which the socket's namespace knows the one behind `netns_fd`; -1 when it has none (RTM_GETNSID).
Result<std::int32_t> namespace_id(CommandSocket& socket, int netns_fd);

}  // namespace overns
