// Links: bridge, veth, vxlan and whatever else the kernel lists. RTM_NEWLINK and friends,
// include/uapi/linux/if_link.h; what an attribute of a kind means stands in one table, used both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "netlink/message.h"

namespace overns {

enum class ValueType : std::uint8_t { kBool, kU8, kU16, kU32, kBe16, kBe32, kU64, kFlag, kIp4, kIp6 };

// One attribute of IFLA_INFO_DATA under the name that the API gives it. An address has two rows, one a family.
struct InfoPolicy {
  const char* name;
  std::uint16_t type;
  ValueType value;
};
// The attributes of a link kind; empty for kinds without a table.
std::span<const InfoPolicy> info_policies(std::string_view kind);

struct InfoValue {
  const InfoPolicy* policy = nullptr;
  std::variant<std::uint64_t, Ip> value = std::uint64_t{0};

  bool operator==(const InfoValue&) const = default;
};

struct LinkPeer {
  std::string name;
  std::optional<Mac> mac;
  std::optional<std::uint32_t> mtu;
  int netns_fd = -1;
};

struct LinkSpec {
  std::string kind;
  std::string name;
  std::int32_t index = 0;  // 0: by name
  std::optional<bool> up;
  std::optional<std::uint32_t> mtu;
  std::optional<Mac> mac;
  std::optional<std::uint32_t> master;  // index; 0 = none
  std::optional<std::string> alias;     // applied by a change only: creation ignores IFLA_IFALIAS
  int netns_fd = -1;                    // where the link is to live
  std::vector<InfoValue> info;
  std::optional<LinkPeer> peer;  // veth
};

struct Link {
  std::uint8_t family = 0;  // AF_BRIDGE: news of a bridge port, not of the link itself
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
  std::vector<InfoValue> info;

  bool operator==(const Link&) const = default;
};

// Adds one request to the batch. `flags`: NLM_F_CREATE | NLM_F_EXCL for a new link, 0 for a change.
void encode_link(RequestBatch& batch, const LinkSpec& spec, std::uint16_t flags);
void encode_delete_link(RequestBatch& batch, std::int32_t index, const std::string& name);
// One link by index (0: by name), or with neither all of them (a dump), of one kind if `kind` is given.
void encode_get_link(RequestBatch& batch, std::int32_t index, const std::string& name, const std::string& kind = {});

std::optional<Link> decode_link(const Message& message);

// The index of a link by its name. ENODEV names it.
Result<std::int32_t> link_index(CommandSocket& socket, const std::string& name);

// The id by which the socket's namespace knows the one behind `netns_fd`; -1 when it has none (RTM_GETNSID).
Result<std::int32_t> namespace_id(CommandSocket& socket, int netns_fd);

}  // namespace overns
