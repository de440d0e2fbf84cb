// Routes. Captured from Linux 6.18.44, each with the commands that produced it; the
// namespaces are called host and overlay here.
#pragma once

#include <string_view>

namespace captures {

// ip -n overlay route add default via 192.168.0.254 dev br0
// RTM_NEWROUTE
inline constexpr std::string_view kDefaultRoute =
    "340000001800000677a5036b692e000002000000fe0300010000000008000f00fe00000008000500c0a800fe08000400"
    "02000000";

// ip -n overlay route add 10.7.0.0/16 dev br0 src 192.168.0.1 table 1000 metric 77
// RTM_NEWROUTE
inline constexpr std::string_view kTableRoute =
    "440000001800000677a5036b6c2e000002100000fc03fd010000000008000f00e8030000080001000a07000008000600"
    "4d00000008000700c0a800010800040002000000";

// ip -n overlay -6 route add fd77::/48 via fd00::2 dev br0 metric 5
// RTM_NEWROUTE
inline constexpr std::string_view kIpv6Route =
    "880000001800000677a5036b8b2e00000a300000fe0300010000000008000f00fe00000014000100fd77000000000000"
    "0000000000000000080006000500000014000500fd000000000000000000000000000002080004000200000024000c00"
    "00000000000000000000000000000000000000000000000000000000000000000500140000000000";

// ip -n overlay route del default
// RTM_DELROUTE
inline constexpr std::string_view kRouteGone =
    "340000001900000077a5036b8e2e000002000000fe0300010000000008000f00fe00000008000500c0a800fe08000400"
    "02000000";

}  // namespace captures
