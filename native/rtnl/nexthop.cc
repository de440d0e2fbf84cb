#include "rtnl/nexthop.h"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

namespace overns {
namespace {

// struct nexthop_grp, with the high byte of the weight that Linux 6.12 has added.
struct Member {
  std::uint32_t id;
  std::uint8_t weight;
  std::uint8_t weight_high;
  std::uint16_t reserved;
};
static_assert(sizeof(Member) == sizeof(nexthop_grp));

}  // namespace

void encode_get_nexthops(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t master) {
  MessageWriter& writer = batch.begin(RTM_GETNEXTHOP, 0);
  nhmsg header{};
  header.nh_family = family;
  writer.header(header);
  if (index != 0) writer.u32(NHA_OIF, static_cast<std::uint32_t>(index));
  if (master != 0) writer.u32(NHA_MASTER, master);
  batch.end();
}

std::optional<NexthopEntry> decode_nexthop(const Message& message) {
  const auto header = message.family_header<nhmsg>();
  if (!header || (message.header.nlmsg_type != RTM_NEWNEXTHOP && message.header.nlmsg_type != RTM_DELNEXTHOP))
    return std::nullopt;
  NexthopEntry nexthop;
  nexthop.family = header->nh_family;
  nexthop.scope = header->nh_scope;
  nexthop.protocol = header->nh_protocol;
  nexthop.flags = header->nh_flags;
  auto attributes = message.attributes<nhmsg>();
  while (const auto attribute = attributes.next()) {
    bool known = true;
    switch (attribute->type) {
      case NHA_ID: known = take(attribute->as<std::uint32_t>(), nexthop.id); break;
      case NHA_GATEWAY: known = take(Ip::from(attribute->payload), nexthop.gateway); break;
      case NHA_OIF: known = take(attribute->as<std::int32_t>(), nexthop.index); break;
      case NHA_MASTER: known = take(attribute->as<std::uint32_t>(), nexthop.master); break;
      case NHA_BLACKHOLE: nexthop.blackhole = true; break;
      case NHA_FDB: nexthop.fdb = true; break;
      case NHA_GROUP_TYPE: known = take(attribute->as<std::uint16_t>(), nexthop.group_type); break;
      case NHA_GROUP: {
        for (Bytes rest = attribute->payload; rest.size() >= sizeof(Member); rest = rest.subspan(sizeof(Member))) {
          Member member;
          std::memcpy(&member, rest.data(), sizeof member);
          const std::uint32_t less_one = static_cast<std::uint32_t>(member.weight_high) << 8 | member.weight;
          nexthop.group.push_back({member.id, less_one + 1});
        }
        break;
      }
      default: known = false; break;
    }
    if (!known) nexthop.unknown.push_back(keep(*attribute));
  }
  return nexthop;
}

}  // namespace overns
