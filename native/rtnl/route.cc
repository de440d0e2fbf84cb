#include "rtnl/route.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <string_view>

namespace overns {
namespace {

using enum ValueType;

constexpr AttributePolicy kMetrics[] = {
    {"lock", RTAX_LOCK, kU32},
    {"mtu", RTAX_MTU, kU32},
    {"window", RTAX_WINDOW, kU32},
    {"rtt", RTAX_RTT, kU32},
    {"rttvar", RTAX_RTTVAR, kU32},
    {"ssthresh", RTAX_SSTHRESH, kU32},
    {"cwnd", RTAX_CWND, kU32},
    {"advmss", RTAX_ADVMSS, kU32},
    {"reordering", RTAX_REORDERING, kU32},
    {"hoplimit", RTAX_HOPLIMIT, kU32},
    {"initcwnd", RTAX_INITCWND, kU32},
    {"features", RTAX_FEATURES, kU32},
    {"rtoMin", RTAX_RTO_MIN, kU32},
    {"initrwnd", RTAX_INITRWND, kU32},
    {"quickack", RTAX_QUICKACK, kU32},
    {"congestionControl", RTAX_CC_ALGO, kText},
    {"fastopenNoCookie", RTAX_FASTOPEN_NO_COOKIE, kU32},
};

constexpr std::int32_t kUserHz = 100;  // of clock_t in messages

void encode_gateway(MessageWriter& writer, std::uint8_t family, const Ip& gateway) {
  if (gateway.empty()) return;
  if (gateway.family == family) {
    writer.attribute(RTA_GATEWAY, gateway.raw());
    return;
  }
  std::vector<std::uint8_t> via(sizeof(std::uint16_t));
  const std::uint16_t of = gateway.family;
  std::memcpy(via.data(), &of, sizeof of);
  via.insert(via.end(), gateway.raw().begin(), gateway.raw().end());
  writer.attribute(RTA_VIA, via);
}

std::optional<Ip> decode_via(Bytes payload) {
  if (payload.size() <= sizeof(std::uint16_t)) return std::nullopt;
  return Ip::from(payload.subspan(sizeof(std::uint16_t)));
}

void encode_hops(MessageWriter& writer, const RouteEntry& route) {
  const std::size_t multipath = writer.begin_nested(RTA_MULTIPATH);
  for (const RouteHop& hop : route.hops) {
    const std::size_t start = writer.size();
    rtnexthop header{};
    header.rtnh_flags = hop.flags;
    header.rtnh_hops = static_cast<std::uint8_t>(hop.weight - 1);
    header.rtnh_ifindex = hop.index;
    writer.header(header);
    encode_gateway(writer, route.family, hop.gateway);
    encode_unknown(writer, hop.unknown, nullptr, RTA_ENCAP);
    writer.end_nested(start);  // rtnh_len lies where an attribute's length does
  }
  writer.end_nested(multipath);
}

// An attribute that does not fit ends it: the rest is kept as it came.
bool decode_hops(Bytes rest, RouteEntry& route) {
  std::vector<RouteHop> hops;
  while (!rest.empty()) {
    rtnexthop header;
    if (rest.size() < sizeof header) return false;
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.rtnh_len < sizeof header || header.rtnh_len > rest.size()) return false;
    RouteHop hop;
    hop.flags = header.rtnh_flags;
    hop.weight = header.rtnh_hops + 1U;
    hop.index = header.rtnh_ifindex;
    AttributeReader attributes(rest.subspan(sizeof header, header.rtnh_len - sizeof header));
    while (const auto attribute = attributes.next()) {
      const bool known = (attribute->type == RTA_GATEWAY && take(Ip::from(attribute->payload), hop.gateway)) ||
                         (attribute->type == RTA_VIA && take(decode_via(attribute->payload), hop.gateway));
      if (!known) hop.unknown.push_back(keep(*attribute));
    }
    hops.push_back(std::move(hop));
    rest = rest.subspan(std::min(align4(header.rtnh_len), rest.size()));
  }
  route.hops = std::move(hops);
  return true;
}

void decode_metrics(Bytes payload, RouteEntry& route) {
  AttributeReader attributes(payload);
  while (const auto attribute = attributes.next()) {
    if (!decode_value(kMetrics, *attribute, route.metrics)) route.unknown.push_back(keep(*attribute, "metrics"));
  }
}

}  // namespace

std::span<const AttributePolicy> route_metric_policies() { return kMetrics; }

void encode_route(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const RouteEntry& route) {
  MessageWriter& writer = batch.begin(type, flags);
  rtmsg header{};
  header.rtm_family = route.family;
  header.rtm_dst_len = route.prefix;
  header.rtm_src_len = route.from_prefix;
  header.rtm_tos = route.tos;
  header.rtm_table = RT_TABLE_UNSPEC;
  header.rtm_protocol = route.protocol;
  header.rtm_scope = route.scope;
  header.rtm_type = route.type;
  header.rtm_flags = route.flags;
  writer.header(header);
  writer.u32(RTA_TABLE, route.table != 0 ? route.table : RT_TABLE_MAIN);
  if (!route.destination.empty()) writer.attribute(RTA_DST, route.destination.raw());
  if (!route.from.empty()) writer.attribute(RTA_SRC, route.from.raw());
  if (!route.source.empty()) writer.attribute(RTA_PREFSRC, route.source.raw());
  if (route.nexthop != 0) {
    writer.u32(RTA_NH_ID, route.nexthop);
  } else {
    encode_gateway(writer, route.family, route.gateway);
    if (route.index != 0) writer.u32(RTA_OIF, static_cast<std::uint32_t>(route.index));
    if (!route.hops.empty()) encode_hops(writer, route);
  }
  if (route.priority) writer.u32(RTA_PRIORITY, *route.priority);
  if (route.preference) writer.u8(RTA_PREF, *route.preference);
  if (route.expires) writer.u32(RTA_EXPIRES, static_cast<std::uint32_t>(*route.expires));
  const bool more_metrics = std::any_of(route.unknown.begin(), route.unknown.end(),
                                        [](const UnknownAttribute& each) { return each.within != nullptr; });
  if (!route.metrics.empty() || more_metrics) {
    const std::size_t metrics = writer.begin_nested(RTA_METRICS);
    encode_values(writer, route.metrics);
    encode_unknown(writer, route.unknown, "metrics");
    writer.end_nested(metrics);
  }
  encode_unknown(writer, route.unknown, nullptr, RTA_ENCAP);
  batch.end();
}

void encode_get_routes(RequestBatch& batch, const RouteFilter& filter) {
  MessageWriter& writer = batch.begin(RTM_GETROUTE, 0);
  rtmsg header{};
  header.rtm_family = filter.family;
  header.rtm_protocol = filter.protocol;
  header.rtm_type = filter.type;
  writer.header(header);
  if (filter.table != 0) writer.u32(RTA_TABLE, filter.table);
  if (filter.index != 0) writer.u32(RTA_OIF, static_cast<std::uint32_t>(filter.index));
  batch.end();
}

void encode_get_route(RequestBatch& batch, const RouteQuery& query) {
  MessageWriter& writer = batch.begin(RTM_GETROUTE, 0);
  const auto bits = static_cast<std::uint8_t>(query.destination.raw().size() * 8);
  const bool v4 = query.destination.family == AF_INET;
  rtmsg header{};
  header.rtm_family = query.destination.family;
  header.rtm_dst_len = bits;
  header.rtm_src_len = query.source.empty() ? 0 : bits;
  header.rtm_tos = query.tos;
  // IPv6 tells the table unasked, and refuses the flag.
  header.rtm_flags = (query.match ? RTM_F_FIB_MATCH : 0U) | (v4 ? RTM_F_LOOKUP_TABLE : 0U);
  writer.header(header);
  writer.attribute(RTA_DST, query.destination.raw());
  if (!query.source.empty()) writer.attribute(RTA_SRC, query.source.raw());
  if (query.index != 0) writer.u32(RTA_OIF, static_cast<std::uint32_t>(query.index));
  if (query.input_index != 0) writer.u32(RTA_IIF, static_cast<std::uint32_t>(query.input_index));
  if (query.mark) writer.u32(RTA_MARK, *query.mark);
  if (query.uid) writer.u32(RTA_UID, *query.uid);
  if (query.ip_protocol) writer.u8(RTA_IP_PROTO, *query.ip_protocol);
  const auto port = [&](std::uint16_t type, const std::optional<std::uint16_t>& number) {
    if (number) writer.u16(type, htons(*number));
  };
  port(RTA_SPORT, query.source_port);
  port(RTA_DPORT, query.destination_port);
  batch.end();
}

std::optional<RouteEntry> decode_route(const Message& message) {
  const auto header = message.family_header<rtmsg>();
  if (!header || (message.header.nlmsg_type != RTM_NEWROUTE && message.header.nlmsg_type != RTM_DELROUTE))
    return std::nullopt;
  // A dump of all families has those of multicast routing and MPLS as well, whose attributes mean something else.
  if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) return std::nullopt;
  RouteEntry route;
  route.family = header->rtm_family;
  route.prefix = header->rtm_dst_len;
  route.from_prefix = header->rtm_src_len;
  route.tos = header->rtm_tos;
  route.table = header->rtm_table;
  route.protocol = header->rtm_protocol;
  route.scope = header->rtm_scope;
  route.type = header->rtm_type;
  route.flags = header->rtm_flags;
  const auto address = [](const Attribute& attribute) { return Ip::from(attribute.payload); };
  auto attributes = message.attributes<rtmsg>();
  while (const auto attribute = attributes.next()) {
    bool known = true;
    switch (attribute->type) {
      case RTA_DST: known = take(address(*attribute), route.destination); break;
      case RTA_SRC: known = take(address(*attribute), route.from); break;
      case RTA_GATEWAY: known = take(address(*attribute), route.gateway); break;
      case RTA_VIA: known = take(decode_via(attribute->payload), route.gateway); break;
      case RTA_PREFSRC: known = take(address(*attribute), route.source); break;
      case RTA_IIF: known = take(attribute->as<std::int32_t>(), route.input_index); break;
      case RTA_MARK: known = take(attribute->as<std::uint32_t>(), route.mark); break;
      case RTA_UID: known = take(attribute->as<std::uint32_t>(), route.uid); break;
      case RTA_OIF: known = take(attribute->as<std::int32_t>(), route.index); break;
      case RTA_TABLE: known = take(attribute->as<std::uint32_t>(), route.table); break;
      case RTA_PRIORITY: known = take(attribute->as<std::uint32_t>(), route.priority); break;
      case RTA_NH_ID: known = take(attribute->as<std::uint32_t>(), route.nexthop); break;
      case RTA_PREF: known = take(attribute->as<std::uint8_t>(), route.preference); break;
      case RTA_METRICS: decode_metrics(attribute->payload, route); break;
      case RTA_MULTIPATH: known = decode_hops(attribute->payload, route); break;
      case RTA_CACHEINFO:
        // When it was used last and by how many differs at every look; the error is that of its type.
        if (const auto info = attribute->as<rta_cacheinfo>()) {
          if (info->rta_expires != 0) route.expires = info->rta_expires / kUserHz;
        } else {
          known = false;
        }
        break;
      default: known = false; break;
    }
    if (!known) route.unknown.push_back(keep(*attribute));
  }
  return route;
}

}  // namespace overns
