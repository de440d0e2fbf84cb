// Routes: RTM_NEWROUTE and friends, include/uapi/linux/rtnetlink.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

// One way of several (RTA_MULTIPATH).
struct RouteHop {
  Ip gateway;
  std::int32_t index = 0;
  std::uint32_t weight = 1;               // 1 to 256
  std::uint8_t flags = 0;                 // RTNH_F_*
  std::vector<UnknownAttribute> unknown;  // written as they were told, such as realms and encapsulations

  bool operator==(const RouteHop&) const = default;
};

struct RouteEntry {
  std::uint8_t family = 0;
  Ip destination;  // empty: the default route
  std::uint8_t prefix = 0;
  Ip from;  // IPv6: of packets from there only
  std::uint8_t from_prefix = 0;
  Ip gateway;  // of the other family: RTA_VIA
  Ip source;   // RTA_PREFSRC
  std::int32_t index = 0;
  std::uint32_t table = 0;
  std::optional<std::uint32_t> priority;
  std::uint8_t tos = 0;
  std::uint8_t protocol = 0;  // RTPROT_*
  std::uint8_t scope = 0;     // RT_SCOPE_*
  std::uint8_t type = 0;      // RTN_*
  std::uint32_t flags = 0;    // RTNH_F_*, RTM_F_*
  // Told of the packet that was asked about (RTM_GETROUTE without a dump).
  std::int32_t input_index = 0;
  std::optional<std::uint32_t> mark;
  std::optional<std::uint32_t> uid;
  std::vector<RouteHop> hops;
  std::uint32_t nexthop = 0;               // RTA_NH_ID: the kernel tells the ways as well, and takes one or the other
  std::optional<std::uint8_t> preference;  // ICMPV6_ROUTER_PREF_*
  std::optional<std::int64_t> expires;     // seconds; told negative: ago, and not collected yet
  std::vector<AttributeValue> metrics;     // of route_metric_policies()
  std::vector<UnknownAttribute> unknown;   // likewise, `within` "metrics" in their nest

  bool operator==(const RouteEntry&) const = default;
};

// RTA_METRICS.
std::span<const AttributePolicy> route_metric_policies();

struct RouteFilter {
  std::uint8_t family = 0;
  std::uint32_t table = 0;
  std::int32_t index = 0;
  std::uint8_t protocol = 0;
  std::uint8_t type = 0;
};

// Which way a packet would go; what is empty or absent is left to the kernel.
struct RouteQuery {
  Ip destination;
  Ip source;
  std::int32_t index = 0;        // leaves through that link
  std::int32_t input_index = 0;  // has come in through that link
  std::optional<std::uint32_t> mark;
  std::optional<std::uint32_t> uid;
  std::uint8_t tos = 0;
  std::optional<std::uint8_t> ip_protocol;  // IPPROTO_*
  std::optional<std::uint16_t> source_port;
  std::optional<std::uint16_t> destination_port;
  bool match = false;  // the route as it stands in its table, instead of the way of the one packet
};

void encode_route(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const RouteEntry& route);
// A dump, filtered by the kernel (ip_valid_fib_dump_req).
void encode_get_routes(RequestBatch& batch, const RouteFilter& filter);
// One question (inet_rtm_valid_getroute_req, inet6_rtm_valid_getroute_req).
void encode_get_route(RequestBatch& batch, const RouteQuery& query);
std::optional<RouteEntry> decode_route(const Message& message);

}  // namespace overns
