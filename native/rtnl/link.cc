#include "rtnl/link.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <cstring>

namespace overns {
namespace {

// Bookworm's headers end at 6.1; the numbers are ABI.
constexpr std::uint16_t kVxlanVnifilter = 30;
constexpr std::uint16_t kVxlanLocalbypass = 31;
constexpr std::uint16_t kVxlanLabelPolicy = 32;

constexpr InfoPolicy kVxlan[] = {
    {"vni", IFLA_VXLAN_ID, ValueType::kU32},
    {"group", IFLA_VXLAN_GROUP, ValueType::kIp4},
    {"group", IFLA_VXLAN_GROUP6, ValueType::kIp6},
    {"device", IFLA_VXLAN_LINK, ValueType::kU32},
    {"local", IFLA_VXLAN_LOCAL, ValueType::kIp4},
    {"local", IFLA_VXLAN_LOCAL6, ValueType::kIp6},
    {"ttl", IFLA_VXLAN_TTL, ValueType::kU8},
    {"tos", IFLA_VXLAN_TOS, ValueType::kU8},
    {"learning", IFLA_VXLAN_LEARNING, ValueType::kBool},
    {"ageing", IFLA_VXLAN_AGEING, ValueType::kU32},
    {"limit", IFLA_VXLAN_LIMIT, ValueType::kU32},
    {"proxy", IFLA_VXLAN_PROXY, ValueType::kBool},
    {"rsc", IFLA_VXLAN_RSC, ValueType::kBool},
    {"l2miss", IFLA_VXLAN_L2MISS, ValueType::kBool},
    {"l3miss", IFLA_VXLAN_L3MISS, ValueType::kBool},
    {"port", IFLA_VXLAN_PORT, ValueType::kBe16},
    {"udpCsum", IFLA_VXLAN_UDP_CSUM, ValueType::kBool},
    {"udpZeroCsum6Tx", IFLA_VXLAN_UDP_ZERO_CSUM6_TX, ValueType::kBool},
    {"udpZeroCsum6Rx", IFLA_VXLAN_UDP_ZERO_CSUM6_RX, ValueType::kBool},
    {"remcsumTx", IFLA_VXLAN_REMCSUM_TX, ValueType::kBool},
    {"remcsumRx", IFLA_VXLAN_REMCSUM_RX, ValueType::kBool},
    {"gbp", IFLA_VXLAN_GBP, ValueType::kFlag},
    {"remcsumNopartial", IFLA_VXLAN_REMCSUM_NOPARTIAL, ValueType::kFlag},
    {"collectMetadata", IFLA_VXLAN_COLLECT_METADATA, ValueType::kBool},
    {"label", IFLA_VXLAN_LABEL, ValueType::kBe32},
    {"gpe", IFLA_VXLAN_GPE, ValueType::kFlag},
    {"ttlInherit", IFLA_VXLAN_TTL_INHERIT, ValueType::kFlag},
    {"df", IFLA_VXLAN_DF, ValueType::kU8},
    {"vnifilter", kVxlanVnifilter, ValueType::kBool},
    {"localbypass", kVxlanLocalbypass, ValueType::kBool},
    {"labelPolicy", kVxlanLabelPolicy, ValueType::kU32},
};

constexpr InfoPolicy kBridge[] = {
    {"forwardDelay", IFLA_BR_FORWARD_DELAY, ValueType::kU32},
    {"helloTime", IFLA_BR_HELLO_TIME, ValueType::kU32},
    {"maxAge", IFLA_BR_MAX_AGE, ValueType::kU32},
    {"ageingTime", IFLA_BR_AGEING_TIME, ValueType::kU32},
    {"stpState", IFLA_BR_STP_STATE, ValueType::kU32},
    {"priority", IFLA_BR_PRIORITY, ValueType::kU16},
    {"vlanFiltering", IFLA_BR_VLAN_FILTERING, ValueType::kBool},
    {"groupFwdMask", IFLA_BR_GROUP_FWD_MASK, ValueType::kU16},
    {"mcastRouter", IFLA_BR_MCAST_ROUTER, ValueType::kU8},
    {"mcastSnooping", IFLA_BR_MCAST_SNOOPING, ValueType::kBool},
    {"mcastQuerier", IFLA_BR_MCAST_QUERIER, ValueType::kBool},
    {"nfCallIptables", IFLA_BR_NF_CALL_IPTABLES, ValueType::kBool},
    {"nfCallIp6tables", IFLA_BR_NF_CALL_IP6TABLES, ValueType::kBool},
    {"nfCallArptables", IFLA_BR_NF_CALL_ARPTABLES, ValueType::kBool},
};

Bytes text_bytes(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

void encode_info(MessageWriter& writer, const InfoValue& item) {
  const std::uint16_t type = item.policy->type;
  if (const auto* ip = std::get_if<Ip>(&item.value)) {
    writer.attribute(type, ip->raw());
    return;
  }
  const std::uint64_t number = std::get<std::uint64_t>(item.value);
  switch (item.policy->value) {
    case ValueType::kBool:
    case ValueType::kU8: writer.u8(type, static_cast<std::uint8_t>(number)); break;
    case ValueType::kU16: writer.u16(type, static_cast<std::uint16_t>(number)); break;
    case ValueType::kU32: writer.u32(type, static_cast<std::uint32_t>(number)); break;
    case ValueType::kU64:
      writer.attribute(type, {reinterpret_cast<const std::uint8_t*>(&number), sizeof number});
      break;
    case ValueType::kBe16: writer.be16(type, static_cast<std::uint16_t>(number)); break;
    case ValueType::kBe32: writer.be32(type, static_cast<std::uint32_t>(number)); break;
    case ValueType::kFlag:
      if (number != 0) writer.attribute(type, {});
      break;
    case ValueType::kIp4:
    case ValueType::kIp6: break;
  }
}

std::optional<InfoValue> decode_info(const InfoPolicy& policy, const Attribute& attribute) {
  const auto number = [&](auto value) -> std::optional<InfoValue> {
    if (!value) return std::nullopt;
    return InfoValue{&policy, static_cast<std::uint64_t>(*value)};
  };
  switch (policy.value) {
    case ValueType::kBool:
    case ValueType::kU8: return number(attribute.as<std::uint8_t>());
    case ValueType::kU16: return number(attribute.as<std::uint16_t>());
    case ValueType::kU32: return number(attribute.as<std::uint32_t>());
    case ValueType::kU64: return number(attribute.as<std::uint64_t>());
    case ValueType::kBe16: return number(attribute.be16());
    case ValueType::kBe32: return number(attribute.be32());
    // Set by being there; some (IFLA_VXLAN_TTL_INHERIT) are told as a byte.
    case ValueType::kFlag: return InfoValue{&policy, std::uint64_t{attribute.as<std::uint8_t>().value_or(1) != 0}};
    case ValueType::kIp4:
    case ValueType::kIp6: {
      const auto ip = Ip::from(attribute.payload);
      if (!ip || ip->is_v4() != (policy.value == ValueType::kIp4)) return std::nullopt;
      return InfoValue{&policy, *ip};
    }
  }
  return std::nullopt;
}

void decode_linkinfo(Bytes payload, Link& link) {
  // What the data means depends on the kind, wherever that stands.
  Bytes data;
  link.kind.clear();
  link.info.clear();
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    if (attribute->type == IFLA_INFO_KIND) link.kind = attribute->text();
    if (attribute->type == IFLA_INFO_SLAVE_KIND) link.slave_kind = attribute->text();
    if (attribute->type == IFLA_INFO_DATA) data = attribute->payload;
  }
  AttributeReader items(data);
  while (const auto item = items.next()) {
    for (const InfoPolicy& policy : info_policies(link.kind)) {
      if (policy.type != item->type) continue;
      if (auto value = decode_info(policy, *item)) link.info.push_back(*value);
    }
  }
}

}  // namespace

std::span<const InfoPolicy> info_policies(std::string_view kind) {
  if (kind == "vxlan") return kVxlan;
  if (kind == "bridge") return kBridge;
  return {};
}

void encode_link(RequestBatch& batch, const LinkSpec& spec, std::uint16_t flags) {
  MessageWriter& writer = batch.begin(RTM_NEWLINK, flags);
  ifinfomsg header{};
  header.ifi_index = spec.index;
  if (spec.up) {
    header.ifi_flags = *spec.up ? IFF_UP : 0;
    header.ifi_change = IFF_UP;
  }
  writer.header(header);
  if (!spec.name.empty()) writer.text(IFLA_IFNAME, spec.name);
  if (spec.mtu) writer.u32(IFLA_MTU, *spec.mtu);
  if (spec.mac) writer.attribute(IFLA_ADDRESS, spec.mac->bytes);
  if (spec.master) writer.u32(IFLA_MASTER, *spec.master);
  if (spec.alias) writer.attribute(IFLA_IFALIAS, text_bytes(*spec.alias));
  if (spec.netns_fd >= 0) writer.u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.netns_fd));
  if (!spec.kind.empty()) {
    const std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
    writer.text(IFLA_INFO_KIND, spec.kind);
    if (!spec.info.empty() || spec.peer) {
      const std::size_t data = writer.begin_nested(IFLA_INFO_DATA);
      for (const InfoValue& item : spec.info) encode_info(writer, item);
      if (spec.peer) {
        const std::size_t peer = writer.begin_nested(VETH_INFO_PEER);
        writer.header(ifinfomsg{});
        writer.text(IFLA_IFNAME, spec.peer->name);
        if (spec.peer->mac) writer.attribute(IFLA_ADDRESS, spec.peer->mac->bytes);
        if (spec.peer->mtu) writer.u32(IFLA_MTU, *spec.peer->mtu);
        if (spec.peer->netns_fd >= 0) writer.u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.peer->netns_fd));
        writer.end_nested(peer);
      }
      writer.end_nested(data);
    }
    writer.end_nested(linkinfo);
  }
  batch.end();
}

void encode_delete_link(RequestBatch& batch, std::int32_t index, const std::string& name) {
  MessageWriter& writer = batch.begin(RTM_DELLINK, 0);
  ifinfomsg header{};
  header.ifi_index = index;
  writer.header(header);
  if (index == 0) writer.text(IFLA_IFNAME, name);
  batch.end();
}

void encode_get_link(RequestBatch& batch, std::int32_t index, const std::string& name, const std::string& kind) {
  MessageWriter& writer = batch.begin(RTM_GETLINK, 0);
  ifinfomsg header{};
  header.ifi_index = index;
  writer.header(header);
  if (index == 0 && !name.empty()) writer.text(IFLA_IFNAME, name);
  if (!kind.empty()) {
    const std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
    writer.text(IFLA_INFO_KIND, kind);
    writer.end_nested(linkinfo);
  }
  batch.end();
}

std::optional<Link> decode_link(const Message& message) {
  const auto header = message.family_header<ifinfomsg>();
  if (!header || (message.header.nlmsg_type != RTM_NEWLINK && message.header.nlmsg_type != RTM_DELLINK))
    return std::nullopt;
  Link link;
  link.family = header->ifi_family;
  link.index = header->ifi_index;
  link.flags = header->ifi_flags;
  link.hardware = header->ifi_type;
  auto attributes = message.attributes<ifinfomsg>();
  while (const auto attribute = attributes.next()) {
    switch (attribute->type) {
      case IFLA_IFNAME: link.name = attribute->text(); break;
      case IFLA_IFALIAS: link.alias = attribute->text(); break;
      case IFLA_ADDRESS: link.mac = Mac::from(attribute->payload); break;
      case IFLA_MTU: link.mtu = attribute->as<std::uint32_t>().value_or(0); break;
      case IFLA_MASTER: link.master = attribute->as<std::uint32_t>().value_or(0); break;
      case IFLA_LINK: link.link = attribute->as<std::int32_t>(); break;
      case IFLA_LINK_NETNSID: link.link_netnsid = attribute->as<std::int32_t>(); break;
      case IFLA_OPERSTATE: link.operstate = attribute->as<std::uint8_t>().value_or(0); break;
      case IFLA_LINKINFO: decode_linkinfo(attribute->payload, link); break;
      case IFLA_PROP_LIST: {
        AttributeReader names(attribute->payload);
        while (const auto name = names.next()) {
          if (name->type == IFLA_ALT_IFNAME) link.alternative_names.emplace_back(name->text());
        }
        break;
      }
      default: break;
    }
  }
  return link;
}

Result<std::int32_t> link_index(CommandSocket& socket, const std::string& name) {
  RequestBatch batch;
  encode_get_link(batch, 0, name);
  auto answer = socket.query(batch);
  if (!answer) {
    Failure failure = answer.failure();
    failure.message = name;
    return failure;
  }
  MessageReader reader(*answer);
  const auto message = reader.next();
  const auto link = message ? decode_link(*message) : std::nullopt;
  if (!link || link->index <= 0) return Failure{ENODEV, "RTM_GETLINK", name, {}, {}};
  return link->index;
}

Result<std::int32_t> namespace_id(CommandSocket& socket, int netns_fd) {
  RequestBatch batch;
  MessageWriter& writer = batch.begin(RTM_GETNSID, 0);
  writer.header(rtgenmsg{});
  writer.u32(NETNSA_FD, static_cast<std::uint32_t>(netns_fd));
  batch.end();
  auto answer = socket.query(batch);
  if (!answer) return answer.failure();
  MessageReader reader(*answer);
  const auto message = reader.next();
  if (!message) return Failure{EPROTO, "RTM_GETNSID", "no answer", {}, {}};
  auto attributes = message->attributes<rtgenmsg>();
  while (const auto attribute = attributes.next()) {
    if (attribute->type == NETNSA_NSID) return attribute->as<std::int32_t>().value_or(-1);
  }
  return -1;
}

}  // namespace overns
