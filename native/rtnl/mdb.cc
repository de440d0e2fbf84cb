#include "rtnl/mdb.h"

#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace overns {
namespace {

using enum ValueType;

// Bookworm's headers end at 6.1; the numbers are ABI.
enum : std::uint16_t {
  kDst = MDBA_MDB_EATTR_RTPROT + 1,
  kDstPort,
  kVni,
  kVia,
  kSourceVni,
};

constexpr Word kFilterModes[] = {{0, "exclude"}, {1, "include"}};  // MCAST_EXCLUDE, MCAST_INCLUDE

constexpr AttributePolicy kEntry[] = {
    {"timer", MDBA_MDB_EATTR_TIMER, kU32},
    {"filterMode", MDBA_MDB_EATTR_GROUP_MODE, kU8, 0, kFilterModes},
    {"source", MDBA_MDB_EATTR_SOURCE, kIp4},
    {"source", MDBA_MDB_EATTR_SOURCE, kIp6},
    {"dst", kDst, kIp4},
    {"dst", kDst, kIp6},
    {"port", kDstPort, kU16},
    {"vni", kVni, kU32},
    {"sourceVni", kSourceVni, kU32},
};

bool decode_sources(Bytes payload, MdbEntry& entry) {
  AttributeReader list(payload);
  while (const auto each = list.next()) {
    if (each->type != MDBA_MDB_SRCLIST_ENTRY) return false;
    MdbSource source;
    AttributeReader attributes(each->payload);
    while (const auto attribute = attributes.next()) {
      const bool known = attribute->type == MDBA_MDB_SRCATTR_ADDRESS ? take(Ip::from(attribute->payload), source.ip)
                         : attribute->type == MDBA_MDB_SRCATTR_TIMER
                             ? take(attribute->as<std::uint32_t>(), source.timer)
                             : false;
      if (!known) return false;
    }
    if (source.ip.empty()) return false;
    entry.sources.push_back(source);
  }
  return !list.malformed();
}

// struct br_mdb_entry and, behind it in the same payload, attributes (__mdb_fill_info).
std::optional<MdbEntry> decode_entry(std::int32_t bridge, Bytes payload) {
  br_mdb_entry header;
  if (payload.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, payload.data(), sizeof header);
  MdbEntry entry;
  entry.bridge = bridge;
  entry.index = static_cast<std::int32_t>(header.ifindex);
  entry.state = header.state;
  entry.flags = header.flags;
  entry.vlan = header.vid;
  const Bytes address = payload.subspan(offsetof(br_mdb_entry, addr), sizeof(in6_addr));
  switch (ntohs(header.addr.proto)) {
    case ETH_P_IP: entry.group = *Ip::from(address.first(sizeof(in_addr))); break;
    case ETH_P_IPV6: entry.group = *Ip::from(address); break;
    default: entry.mac = Mac::from(address.first(ETH_ALEN)); break;
  }
  AttributeReader attributes(payload.subspan(sizeof header));
  while (const auto attribute = attributes.next()) {
    bool known = true;
    switch (attribute->type) {
      case MDBA_MDB_EATTR_SRC_LIST:
        known = decode_sources(attribute->payload, entry);
        if (!known) entry.sources.clear();  // they are all in what is kept
        break;
      case MDBA_MDB_EATTR_RTPROT: known = take(attribute->as<std::uint8_t>(), entry.protocol); break;
      case kVia: known = take(attribute->as<std::int32_t>(), entry.via); break;
      default: known = decode_value(kEntry, *attribute, entry.values); break;
    }
    if (!known) entry.unknown.push_back(keep(*attribute));
  }
  return entry;
}

}  // namespace

void encode_get_mdb(RequestBatch& batch) {
  MessageWriter& writer = batch.begin(RTM_GETMDB, 0);
  br_port_msg header{};
  header.family = AF_BRIDGE;
  writer.header(header);
  batch.end();
}

void decode_mdb(const Message& message, std::vector<MdbEntry>& into) {
  const auto header = message.family_header<br_port_msg>();
  const std::uint16_t type = message.header.nlmsg_type;
  // The rows of a bridge have the type of the request, those of a vxlan device that of notifications.
  if (!header || (type != RTM_GETMDB && type != RTM_NEWMDB && type != RTM_DELMDB)) return;
  auto attributes = message.attributes<br_port_msg>();
  while (const auto attribute = attributes.next()) {
    if (attribute->type != MDBA_MDB) continue;
    AttributeReader groups(attribute->payload);
    while (const auto group = groups.next()) {
      AttributeReader entries(group->payload);
      while (const auto each = entries.next()) {
        if (each->type != MDBA_MDB_ENTRY_INFO) continue;
        if (auto entry = decode_entry(static_cast<std::int32_t>(header->ifindex), each->payload))
          into.push_back(std::move(*entry));
      }
    }
  }
}

}  // namespace overns
