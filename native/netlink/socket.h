// A rtnetlink socket in a namespace: its options, multicast groups, receive buffer, and reading without losing
// track of what the kernel dropped. include/uapi/linux/netlink.h.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

// Extended acks, capped acks and strict checking on; not bound to any group.
Result<UniqueFd> open_command_socket(const std::string& netns);
// The same in a new namespace, which lives as long as the socket.
Result<UniqueFd> open_scratch_command_socket();

struct EventSocketOptions {
  std::span<const std::uint32_t> groups;     // RTNLGRP_*
  int receive_buffer = 16 << 20;             // bytes; SO_RCVBUFFORCE, else as much as rmem_max gives
  std::span<const sock_filter> filter = {};  // run by the kernel on each message (classic BPF); empty: all pass
};
// Non-blocking, and never used for requests: a dump and notifications on one socket disturb each other.
Result<UniqueFd> open_event_socket(const std::string& netns, const EventSocketOptions& options);

// How many messages the kernel has dropped on this socket so far (SO_MEMINFO, SK_MEMINFO_DROPS).
std::uint32_t socket_drops(int fd);

}  // namespace overns
