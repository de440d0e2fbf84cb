// Ethernet frames, each with the command that produced it.
#pragma once

#include <string_view>

namespace captures {

// tcpdump -xx of `ping -c1 192.168.0.3` in a namespace with 192.168.0.2
inline constexpr std::string_view kArpRequest =
    "ffffffffffff0242c0a80002080600010800060400010242c0a80002c0a80002000000000000c0a80003";

// tcpdump -xx of `ping -c1 fd00::3` in a namespace with fd00::2: with the source link-layer address option
inline constexpr std::string_view kSolicitation =
    "3333ff0000030242c0a8000286dd6000000000203afffd000000000000000000000000000002ff020000000000000000"
    "0001ff0000038700bca800000000fd00000000000000000000000000000301010242c0a80002";

}  // namespace captures
