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

using enum ValueType;

constexpr std::uint16_t kOpFlags = NHA_RES_BUCKET + 1;  // NHA_OP_FLAGS: bookworm's headers end at 6.1

constexpr AttributePolicy kResilientGroup[] = {
    {"buckets", NHA_RES_GROUP_BUCKETS, kU16},
    {"idleTimer", NHA_RES_GROUP_IDLE_TIMER, kU32},
    {"unbalancedTimer", NHA_RES_GROUP_UNBALANCED_TIMER, kU32},
    {"unbalancedTime", NHA_RES_GROUP_UNBALANCED_TIME, kU64, 0, {}, true},
};

void decode_resilient(Bytes payload, NexthopEntry& nexthop) {
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    if (attribute->type != NHA_RES_GROUP_PAD && !decode_value(kResilientGroup, *attribute, nexthop.resilient))
      nexthop.unknown.push_back(keep(*attribute, "resilient"));
  }
}

}  // namespace

std::span<const AttributePolicy> resilient_group_policies() { return kResilientGroup; }

void encode_nexthop(RequestBatch& batch, std::uint16_t flags, const NexthopEntry& nexthop) {
  MessageWriter& writer = batch.begin(RTM_NEWNEXTHOP, flags);
  nhmsg header{};
  header.nh_family = nexthop.family;
  header.nh_protocol = nexthop.protocol;
  header.nh_flags = nexthop.flags;
  writer.header(header);
  writer.u32(NHA_ID, nexthop.id);
  if (!nexthop.group.empty()) {
    std::vector<std::uint8_t> members;
    for (const NexthopMember& each : nexthop.group) {
      const std::uint32_t less_one = each.weight - 1;
      const Member member{each.id, static_cast<std::uint8_t>(less_one), static_cast<std::uint8_t>(less_one >> 8), 0};
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(&member);
      members.insert(members.end(), bytes, bytes + sizeof member);
    }
    writer.attribute(NHA_GROUP, members);
    writer.u16(NHA_GROUP_TYPE, nexthop.group_type);
  }
  if (!nexthop.resilient.empty()) {
    const std::size_t resilient = writer.begin_nested(NHA_RES_GROUP);
    encode_values(writer, nexthop.resilient);
    writer.end_nested(resilient);
  }
  if (nexthop.blackhole) writer.attribute(NHA_BLACKHOLE, {});
  if (nexthop.fdb) writer.attribute(NHA_FDB, {});
  if (nexthop.index != 0) writer.u32(NHA_OIF, static_cast<std::uint32_t>(nexthop.index));
  if (!nexthop.gateway.empty()) writer.attribute(NHA_GATEWAY, nexthop.gateway.raw());
  encode_unknown(writer, nexthop.unknown, nullptr, NHA_ENCAP);
  batch.end();
}

void encode_delete_nexthop(RequestBatch& batch, std::uint32_t id) {
  MessageWriter& writer = batch.begin(RTM_DELNEXTHOP, 0);
  writer.header(nhmsg{});
  writer.u32(NHA_ID, id);
  batch.end();
}

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
      case kOpFlags: break;  // how many bits a weight may have (Linux 6.12)
      case NHA_RES_GROUP: decode_resilient(attribute->payload, nexthop); break;
      default: known = false; break;
    }
    if (!known) nexthop.unknown.push_back(keep(*attribute));
  }
  return nexthop;
}

}  // namespace overns
