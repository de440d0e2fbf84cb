#include "rtnl/neighbor.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {
namespace {

void decode_fdb_extras(Bytes payload, NeighborEntry& entry) {
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    if (attribute->type != NFEA_ACTIVITY_NOTIFY || !take(attribute->as<std::uint8_t>(), entry.activity))
      entry.unknown.push_back(keep(*attribute, "fdb"));
  }
}

}  // namespace

void encode_neighbor(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const NeighborEntry& entry) {
  MessageWriter& writer = batch.begin(type, flags);
  ndmsg header{};
  header.ndm_family = entry.family;
  header.ndm_ifindex = entry.index;
  header.ndm_state = entry.state;
  header.ndm_flags = entry.flags;
  header.ndm_type = entry.type;
  writer.header(header);
  if (!entry.ip.empty()) writer.attribute(NDA_DST, entry.ip.raw());
  if (entry.mac) writer.attribute(NDA_LLADDR, entry.mac->bytes);
  if (entry.vni) writer.u32(NDA_VNI, *entry.vni);
  if (entry.source_vni) writer.u32(NDA_SRC_VNI, *entry.source_vni);
  if (entry.port) writer.be16(NDA_PORT, *entry.port);
  if (entry.via != 0) writer.u32(NDA_IFINDEX, entry.via);
  if (entry.vlan != 0) writer.u16(NDA_VLAN, entry.vlan);
  if (entry.nexthop != 0) writer.u32(NDA_NH_ID, entry.nexthop);
  if (entry.extended_flags != 0) writer.u32(NDA_FLAGS_EXT, entry.extended_flags);
  if (entry.protocol != 0) writer.u8(NDA_PROTOCOL, entry.protocol);
  if (entry.activity != 0) {
    const std::size_t extras = writer.begin_nested(NDA_FDB_EXT_ATTRS);
    writer.u8(NFEA_ACTIVITY_NOTIFY, entry.activity);
    writer.end_nested(extras);
  }
  batch.end();
}

void encode_flush_fdb(RequestBatch& batch, const FdbFlush& flush) {
  constexpr std::uint16_t kBulk = 0x200;  // NLM_F_BULK, since Linux 5.19
  const NeighborEntry& match = flush.match;
  MessageWriter& writer = batch.begin(RTM_DELNEIGH, kBulk);
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  header.ndm_ifindex = match.index;
  header.ndm_state = match.state;
  header.ndm_flags = match.flags;
  writer.header(header);
  if (flush.state_mask != 0) writer.u16(NDA_NDM_STATE_MASK, flush.state_mask);
  if (flush.flags_mask != 0) writer.u8(NDA_NDM_FLAGS_MASK, flush.flags_mask);
  if (!match.ip.empty()) writer.attribute(NDA_DST, match.ip.raw());
  if (match.vni) writer.u32(NDA_VNI, *match.vni);
  if (match.source_vni) writer.u32(NDA_SRC_VNI, *match.source_vni);
  if (match.port) writer.be16(NDA_PORT, *match.port);
  if (match.via != 0) writer.u32(NDA_IFINDEX, match.via);
  if (match.vlan != 0) writer.u16(NDA_VLAN, match.vlan);
  if (match.nexthop != 0) writer.u32(NDA_NH_ID, match.nexthop);
  batch.end();
}

void encode_get_neighbors(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t master,
                          bool proxies) {
  MessageWriter& writer = batch.begin(RTM_GETNEIGH, 0);
  ndmsg header{};
  header.ndm_family = family;
  if (proxies) header.ndm_flags = NTF_PROXY;
  if (family == AF_BRIDGE) {
    // rtnl_fdb_dump: the device stands in the header, the bridge in NDA_MASTER.
    header.ndm_ifindex = index;
    writer.header(header);
  } else {
    // neigh_dump_info: strict checking refuses a device in the header, it wants NDA_IFINDEX.
    writer.header(header);
    if (index != 0) writer.u32(NDA_IFINDEX, static_cast<std::uint32_t>(index));
  }
  if (master != 0) writer.u32(NDA_MASTER, master);
  batch.end();
}

std::optional<NeighborEntry> decode_neighbor(const Message& message) {
  const auto header = message.family_header<ndmsg>();
  if (!header || message.header.nlmsg_type < RTM_NEWNEIGH || message.header.nlmsg_type > RTM_GETNEIGH)
    return std::nullopt;
  NeighborEntry entry;
  entry.family = header->ndm_family;
  entry.index = header->ndm_ifindex;
  entry.state = header->ndm_state;
  entry.flags = header->ndm_flags;
  entry.type = header->ndm_type;
  auto attributes = message.attributes<ndmsg>();
  while (const auto attribute = attributes.next()) {
    bool known = true;
    switch (attribute->type) {
      case NDA_DST: known = take(Ip::from(attribute->payload), entry.ip); break;
      // A link without addresses has one without bytes; of a tunnel it is an IP address.
      case NDA_LLADDR: known = take(Mac::from(attribute->payload), entry.mac) || attribute->payload.empty(); break;
      case NDA_VNI: known = take(attribute->as<std::uint32_t>(), entry.vni); break;
      case NDA_SRC_VNI: known = take(attribute->as<std::uint32_t>(), entry.source_vni); break;
      case NDA_PORT: known = take(attribute->be16(), entry.port); break;
      case NDA_IFINDEX: known = take(attribute->as<std::uint32_t>(), entry.via); break;
      case NDA_MASTER: known = take(attribute->as<std::uint32_t>(), entry.master); break;
      case NDA_VLAN: known = take(attribute->as<std::uint16_t>(), entry.vlan); break;
      case NDA_NH_ID: known = take(attribute->as<std::uint32_t>(), entry.nexthop); break;
      case NDA_FLAGS_EXT: known = take(attribute->as<std::uint32_t>(), entry.extended_flags); break;
      case NDA_PROTOCOL: known = take(attribute->as<std::uint8_t>(), entry.protocol); break;
      case NDA_LINK_NETNSID: known = take(attribute->as<std::int32_t>(), entry.link_netnsid); break;
      case NDA_FDB_EXT_ATTRS: decode_fdb_extras(attribute->payload, entry); break;
      case NDA_PROBES: known = take(attribute->as<std::uint32_t>(), entry.probes); break;
      case NDA_CACHEINFO: break;  // ages, which differ at every look
      default: known = false; break;
    }
    if (!known) entry.unknown.push_back(keep(*attribute));
  }
  return entry;
}

std::optional<MissKey> decode_miss(const Message& message) {
  if (message.header.nlmsg_type != RTM_GETNEIGH) return std::nullopt;
  const auto header = message.family_header<ndmsg>();
  // An ordinary device's app_solicit miss carries NLM_F_REQUEST and NUD_INCOMPLETE; vxlan's has neither.
  if (!header || message.header.nlmsg_flags != 0 || header->ndm_state != NUD_STALE) return std::nullopt;
  MissKey miss;
  miss.index = header->ndm_ifindex;
  bool found = false;
  auto attributes = message.attributes<ndmsg>();
  while (const auto attribute = attributes.next()) {
    if (attribute->type == NDA_DST) {
      const auto ip = Ip::from(attribute->payload);
      if (!ip) return std::nullopt;
      miss.ip = *ip;
      found = true;
    } else if (attribute->type == NDA_LLADDR) {
      const auto mac = Mac::from(attribute->payload);
      if (!mac) return std::nullopt;
      miss.mac = *mac;
      found = true;
    }
  }
  if (!found) return std::nullopt;
  return miss;
}

std::optional<NeighborEntry> find_fdb_entry(CommandSocket& socket, std::int32_t index, const Mac& mac) {
  RequestBatch batch;
  MessageWriter& writer = batch.begin(RTM_GETNEIGH, 0);
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  header.ndm_ifindex = index;
  header.ndm_flags = NTF_SELF;
  writer.header(header);
  writer.attribute(NDA_LLADDR, mac.bytes);
  batch.end();
  const auto answer = socket.query(batch);
  if (!answer) return std::nullopt;
  MessageReader reader(answer.value());
  const auto message = reader.next();
  return message ? decode_neighbor(*message) : std::nullopt;
}

}  // namespace overns
