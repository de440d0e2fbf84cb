// Interface addresses. Captured from Linux 6.18.44, each with the commands that produced it; the
// namespaces are called host and overlay here.
#pragma once

#include <string_view>

namespace captures {

// ip -n overlay addr add 192.168.0.1/24 dev br0 label br0:x
// a dump of RTM_GETADDR
inline constexpr std::string_view kAddress =
    "5000000014000200070000003d4bebd6021880000200000008000100c0a8000108000200c0a800010a0003006272303a"
    "78000000080008008000000014000600ffffffffffffffffe6120600e6120600";

// ip -n overlay addr add 10.9.0.1 peer 10.9.0.2/32 dev br0
// a dump of RTM_GETADDR
inline constexpr std::string_view kPointToPoint =
    "4c0000001400020007000000c02145da0220800002000000080001000a090002080002000a0900010800030062723000"
    "080008008000000014000600ffffffffffffffffe6120600e6120600";

// ip -n overlay addr add fd00::1/64 dev br0 nodad
// a dump of RTM_GETADDR
inline constexpr std::string_view kIpv6Address =
    "480000001400020007000000c59931ae0a4082000200000014000100fd00000000000000000000000000000114000600"
    "ffffffffffffffffe6120600e61206000800080082000000";

// ip -n overlay addr del 10.9.0.1 peer 10.9.0.2/32 dev br0
// RTM_DELADDR
inline constexpr std::string_view kAddressGone =
    "4c0000001500000077a5036b5c2e00000220800002000000080001000a090002080002000a0900010800030062723000"
    "080008008000000014000600ffffffffffffffffe6120600e6120600";

}  // namespace captures
