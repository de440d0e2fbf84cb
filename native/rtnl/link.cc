#include "rtnl/link.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include <algorithm>
#include <span>

#include "rtnl/link_attributes.h"

namespace overns {
namespace {

Bytes text_bytes(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

// Told with every link, and left out: counters and copies of sysctls would be most of what a listing carries, and the
// others say nothing beyond what they are wrapped around.
constexpr std::uint16_t kDevlinkPort = 62;
constexpr std::uint16_t kDpllPin = 65;
bool is_left_out(const Attribute& attribute) {
  switch (attribute.type) {
    case IFLA_STATS:
    case IFLA_STATS64:
    case IFLA_EVENT:
    case IFLA_PAD: return true;
    // Addresses and lines of an ISA card, zeros elsewhere.
    case IFLA_MAP:
      return std::all_of(attribute.payload.begin(), attribute.payload.end(),
                         [](std::uint8_t byte) { return byte == 0; });
    case kDevlinkPort:
    case kDpllPin: return attribute.payload.empty();
    default: return false;
  }
}

void decode_each(Bytes payload, std::span<const AttributePolicy> policies, const char* within,
                 std::vector<AttributeValue>& values, Link& link) {
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    if (!decode_value(policies, *attribute, values)) link.unknown.push_back(keep(*attribute, within));
  }
}

void decode_linkinfo(Bytes payload, Link& link) {
  // The meaning of the data depends on the kind, wherever that stands.
  Bytes data;
  Bytes slave_data;
  link.kind.clear();
  link.slave_kind.clear();
  link.info.clear();
  link.bridge_port.clear();
  // The last of several is the one that counts, as with the kernel's own parser.
  std::erase_if(link.unknown, [](const UnknownAttribute& each) {
    const std::string_view within = each.within == nullptr ? "" : each.within;
    return within == "linkinfo" || within == "info" || within == "slaveInfo";
  });
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    switch (attribute->type) {
      case IFLA_INFO_KIND: link.kind = attribute->text(); break;
      case IFLA_INFO_SLAVE_KIND: link.slave_kind = attribute->text(); break;
      case IFLA_INFO_DATA: data = attribute->payload; break;
      case IFLA_INFO_SLAVE_DATA: slave_data = attribute->payload; break;
      case IFLA_INFO_XSTATS: break;  // counters
      default: link.unknown.push_back(keep(*attribute, "linkinfo")); break;
    }
  }
  const bool bridge_port = link.slave_kind == "bridge";
  decode_each(data, info_policies(link.kind), "info", link.info, link);
  decode_each(slave_data, bridge_port ? bridge_port_policies() : std::span<const AttributePolicy>{}, "slaveInfo",
              link.bridge_port, link);
}

void decode_families(Bytes payload, Link& link) {
  AttributeReader families(payload);
  while (const auto family = families.next()) {
    // Copies of sysctls, of which IPv4 has nothing else.
    if (family->type == AF_INET) continue;
    if (family->type != AF_INET6) {
      link.unknown.push_back(keep(*family, "family"));
      continue;
    }
    AttributeReader attributes(family->payload);
    while (const auto attribute = attributes.next()) {
      const Bytes value = attribute->payload;
      bool known = true;
      switch (attribute->type) {
        case IFLA_INET6_ADDR_GEN_MODE: known = take(attribute->as<std::uint8_t>(), link.addr_gen_mode); break;
        case IFLA_INET6_FLAGS:
        case IFLA_INET6_CONF:
        case IFLA_INET6_STATS:
        case IFLA_INET6_CACHEINFO:
        case IFLA_INET6_ICMP6STATS: break;
        // Zeros where there is none.
        default: known = std::all_of(value.begin(), value.end(), [](std::uint8_t byte) { return byte == 0; }); break;
      }
      if (!known) link.unknown.push_back(keep(*attribute, "inet6"));
    }
  }
}

void write_link_name(MessageWriter& writer, const std::string& name) {
  // The kernel finds a link by its alternative names under either attribute; only one has room for a long one.
  writer.text(name.size() < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME, name);
}

}  // namespace

void encode_link(RequestBatch& batch, const LinkSpec& spec, std::uint16_t flags) {
  MessageWriter& writer = batch.begin(RTM_NEWLINK, flags);
  ifinfomsg header{};
  header.ifi_index = spec.index;
  header.ifi_flags = spec.flags | (spec.up.value_or(false) ? std::uint32_t{IFF_UP} : 0U);
  header.ifi_change = spec.change | (spec.up ? std::uint32_t{IFF_UP} : 0U);
  writer.header(header);
  if (!spec.name.empty()) write_link_name(writer, spec.name);
  if (spec.mtu) writer.u32(IFLA_MTU, *spec.mtu);
  if (spec.mac) writer.attribute(IFLA_ADDRESS, spec.mac->bytes);
  if (spec.master) writer.u32(IFLA_MASTER, *spec.master);
  if (spec.alias) writer.attribute(IFLA_IFALIAS, text_bytes(*spec.alias));
  if (spec.netns_fd >= 0) writer.u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.netns_fd));
  if (spec.link) writer.u32(IFLA_LINK, *spec.link);
  encode_values(writer, spec.attributes);
  if (spec.addr_gen_mode) {
    const std::size_t families = writer.begin_nested(IFLA_AF_SPEC);
    const std::size_t inet6 = writer.begin_nested(AF_INET6);
    writer.u8(IFLA_INET6_ADDR_GEN_MODE, *spec.addr_gen_mode);
    writer.end_nested(inet6);
    writer.end_nested(families);
  }
  if (!spec.kind.empty() || !spec.bridge_port.empty()) {
    const std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
    if (!spec.kind.empty()) writer.text(IFLA_INFO_KIND, spec.kind);
    if (!spec.info.empty() || !spec.unknown.empty() || spec.peer) {
      const std::size_t data = writer.begin_nested(IFLA_INFO_DATA);
      encode_values(writer, spec.info);
      encode_unknown(writer, spec.unknown, "info");
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
    if (!spec.bridge_port.empty()) {
      writer.text(IFLA_INFO_SLAVE_KIND, "bridge");
      const std::size_t data = writer.begin_nested(IFLA_INFO_SLAVE_DATA);
      encode_values(writer, spec.bridge_port);
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
  if (index == 0) write_link_name(writer, name);
  batch.end();
}

void encode_delete_link_group(RequestBatch& batch, std::uint32_t group) {
  MessageWriter& writer = batch.begin(RTM_DELLINK, 0);
  writer.header(ifinfomsg{});
  writer.u32(IFLA_GROUP, group);
  batch.end();
}

void encode_get_link(RequestBatch& batch, const LinkQuery& query) {
  MessageWriter& writer = batch.begin(RTM_GETLINK, 0);
  ifinfomsg header{};
  header.ifi_index = query.index;
  writer.header(header);
  if (query.index == 0 && !query.name.empty()) write_link_name(writer, query.name);
  if (!query.counters) writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (query.master != 0) writer.u32(IFLA_MASTER, query.master);
  if (!query.kind.empty()) {
    const std::size_t linkinfo = writer.begin_nested(IFLA_LINKINFO);
    writer.text(IFLA_INFO_KIND, query.kind);
    writer.end_nested(linkinfo);
  }
  batch.end();
}

void encode_get_link(RequestBatch& batch, std::int32_t index, const std::string& name) {
  encode_get_link(batch, LinkQuery{.index = index, .name = name});
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
    bool known = true;
    switch (attribute->type) {
      case IFLA_IFNAME:
        // A longer one is no name: it would be written as another attribute (write_link_name).
        known = attribute->text().size() < IFNAMSIZ;
        if (known) link.name = attribute->text();
        break;
      case IFLA_IFALIAS: link.alias = attribute->text(); break;
      case IFLA_MTU: known = take(attribute->as<std::uint32_t>(), link.mtu); break;
      case IFLA_MASTER: known = take(attribute->as<std::uint32_t>(), link.master); break;
      case IFLA_LINK: known = take(attribute->as<std::int32_t>(), link.link); break;
      case IFLA_LINK_NETNSID: known = take(attribute->as<std::int32_t>(), link.link_netnsid); break;
      case IFLA_OPERSTATE: known = take(attribute->as<std::uint8_t>(), link.operstate); break;
      case IFLA_LINKINFO: decode_linkinfo(attribute->payload, link); break;
      case IFLA_AF_SPEC: decode_families(attribute->payload, link); break;
      case IFLA_WIRELESS: return std::nullopt;  // a report of a driver, with nothing of the link but its name
      case IFLA_PROTINFO:
        // In a bridge's message it is what a port's IFLA_INFO_SLAVE_DATA is (br_port_fill_attrs).
        if (link.family == AF_BRIDGE) {
          decode_each(attribute->payload, bridge_port_policies(), "slaveInfo", link.bridge_port, link);
        } else {
          link.unknown.push_back(keep(*attribute));
        }
        break;
      case IFLA_PROP_LIST: {
        AttributeReader names(attribute->payload);
        while (const auto name = names.next()) {
          if (name->type == IFLA_ALT_IFNAME) {
            link.alternative_names.emplace_back(name->text());
          } else {
            link.unknown.push_back(keep(*name, "properties"));
          }
        }
        break;
      }
      case IFLA_XDP: {
        // Without a program it says just that.
        AttributeReader xdp(attribute->payload);
        const auto attached = xdp.next();
        if (!attached || attached->type != IFLA_XDP_ATTACHED || attached->as<std::uint8_t>().value_or(1) != 0)
          known = false;
        break;
      }
      case IFLA_ADDRESS:
        known = take(Mac::from(attribute->payload), link.mac);
        break;  // of other hardware: other sizes
      default: known = is_left_out(*attribute) || decode_value(link_policies(), *attribute, link.attributes); break;
    }
    if (!known) link.unknown.push_back(keep(*attribute));
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
