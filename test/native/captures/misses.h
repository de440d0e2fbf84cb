// Misses: RTM_GETNEIGH from the kernel. Captured from Linux 6.18.44, each with the commands that produced it; the
// namespaces are called host and overlay here.
#pragma once

#include <string_view>

namespace captures {

// vxlan1 was made in the host's namespace and moved to the overlay's: NDA_LINK_NETNSID comes first
// ip netns exec overlay ping -c1 -W1 192.168.0.9
inline constexpr std::string_view kMovedL3 =
    "480000001e000000000000000000000002000000040000000400000108000a000000000008000100c0a8000908000700"
    "0000000114000300000000003f046c663f046c6600000000";

// vxlan1 was made in the host's namespace and moved to the overlay's: NDA_LINK_NETNSID comes first
// ip netns exec overlay ping -c1 -W1 fd00::9
inline constexpr std::string_view kMovedL3Ipv6 =
    "540000001e00000000000000000000000a000000040000000400000108000a000000000014000100fd00000000000000"
    "0000000000000009080007000000000114000300000000003f046c663f046c6600000000";

// vxlan1 was made in the host's namespace and moved to the overlay's: NDA_LINK_NETNSID comes first; the neighbour
//   02:42:c0:a8:00:08 is known to br0
// ip netns exec overlay ping -c1 -W1 192.168.0.8
inline constexpr std::string_view kMovedL2 =
    "4c0000001e000000000000000000000002000000040000000400000108000a00000000000a0002000242c0a800080000"
    "0800070000000000140003000000000040046c6640046c6600000000";

// vxlan7 stays where it was made
// ip netns exec host ping -c1 -W1 192.168.7.9
inline constexpr std::string_view kL3 =
    "400000001e000000000000000000000002000000050000000400000108000100c0a80709080007000000000114000300"
    "0000000077046c6677046c6600000000";

// vxlan7 stays where it was made; the neighbour 02:42:c0:a8:07:08 is known to br7
// ip netns exec host ping -c1 -W1 192.168.7.8
inline constexpr std::string_view kL2 =
    "440000001e00000000000000000000000200000005000000040000010a0002000242c0a8070800000800070000000000"
    "140003000000000096046c6696046c6600000000";

// vxlan7 stays where it was made
// ip netns exec host ping -c1 -W1 fd07::9
inline constexpr std::string_view kL3Ipv6 =
    "4c0000001e00000000000000000000000a000000050000000400000114000100fd070000000000000000000000000009"
    "0800070000000001140003000000000097046c6697046c6600000000";

// an ordinary device: sysctl net.ipv4.neigh.under0.app_solicit=1 net.ipv4.neigh.under0.mcast_solicit=0
// ip netns exec host ping -c1 -W1 10.0.0.77
inline constexpr std::string_view kAppSolicit =
    "400000001e0001000000000000000000020000000300000001000001080001000a00004d080004000300000014000300"
    "70170000000000000000000001000000";

}  // namespace captures
