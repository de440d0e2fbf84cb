#include "rtnl/route.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {

void encode_route(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const RouteEntry& route) {
  MessageWriter& writer = batch.begin(type, flags);
  rtmsg header{};
  header.rtm_family = route.family;
  header.rtm_dst_len = route.prefix;
  header.rtm_table = RT_TABLE_UNSPEC;
  header.rtm_protocol = route.protocol;
  header.rtm_scope = route.scope;
  header.rtm_type = route.type;
  writer.header(header);
  writer.u32(RTA_TABLE, route.table != 0 ? route.table : RT_TABLE_MAIN);
  if (!route.destination.empty()) writer.attribute(RTA_DST, route.destination.raw());
  if (!route.gateway.empty()) writer.attribute(RTA_GATEWAY, route.gateway.raw());
  if (!route.source.empty()) writer.attribute(RTA_PREFSRC, route.source.raw());
  if (route.index != 0) writer.u32(RTA_OIF, static_cast<std::uint32_t>(route.index));
  if (route.priority != 0) writer.u32(RTA_PRIORITY, route.priority);
  batch.end();
}

void encode_get_routes(RequestBatch& batch, std::uint8_t family, std::uint32_t table) {
  MessageWriter& writer = batch.begin(RTM_GETROUTE, 0);
  rtmsg header{};
  header.rtm_family = family;
  writer.header(header);
  if (table != 0) writer.u32(RTA_TABLE, table);  // strict checking: filtered by the kernel
  batch.end();
}

std::optional<RouteEntry> decode_route(const Message& message) {
  const auto header = message.family_header<rtmsg>();
  if (!header || (message.header.nlmsg_type != RTM_NEWROUTE && message.header.nlmsg_type != RTM_DELROUTE))
    return std::nullopt;
  RouteEntry route;
  route.family = header->rtm_family;
  route.prefix = header->rtm_dst_len;
  route.table = header->rtm_table;
  route.protocol = header->rtm_protocol;
  route.scope = header->rtm_scope;
  route.type = header->rtm_type;
  const auto address = [](const Attribute& attribute) { return Ip::from(attribute.payload).value_or(Ip{}); };
  auto attributes = message.attributes<rtmsg>();
  while (const auto attribute = attributes.next()) {
    switch (attribute->type) {
      case RTA_DST: route.destination = address(*attribute); break;
      case RTA_GATEWAY: route.gateway = address(*attribute); break;
      case RTA_PREFSRC: route.source = address(*attribute); break;
      case RTA_OIF: route.index = attribute->as<std::int32_t>().value_or(0); break;
      case RTA_TABLE: route.table = attribute->as<std::uint32_t>().value_or(route.table); break;
      case RTA_PRIORITY: route.priority = attribute->as<std::uint32_t>().value_or(0); break;
      default: break;
    }
  }
  return route;
}

}  // namespace overns
