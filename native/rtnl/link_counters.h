// Counters of links: IFLA_STATS64, struct rtnl_link_stats64 in include/uapi/linux/if_link.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "netlink/command_socket.h"

namespace overns {

// In the order of the struct, which grows at its end.
inline constexpr std::array kCounterNames{
    "rxPackets",      "txPackets",       "rxBytes",         "txBytes",       "rxErrors",
    "txErrors",       "rxDropped",       "txDropped",       "multicast",     "collisions",
    "rxLengthErrors", "rxOverErrors",    "rxCrcErrors",     "rxFrameErrors", "rxFifoErrors",
    "rxMissedErrors", "txAbortedErrors", "txCarrierErrors", "txFifoErrors",  "txHeartbeatErrors",
    "txWindowErrors", "rxCompressed",    "txCompressed",    "rxNohandler",   "rxOtherhostDropped",
};

struct LinkCounters {
  std::int32_t index = 0;
  std::string name;
  std::string kind;
  std::array<std::uint64_t, kCounterNames.size()> values{};
  std::size_t count = 0;  // how many of them the kernel has told
};

// An answer to a LinkQuery that asks for counters (rtnl/link.h).
std::optional<LinkCounters> decode_counters(const Message& message);

}  // namespace overns
