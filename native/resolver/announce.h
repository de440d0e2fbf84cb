// Telling everybody on a link of the MAC of an address, unasked.
#pragma once

#include <span>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

// Through an open packet socket. A full transmit queue loses it, as any Ethernet may.
void announce(int fd, std::int32_t link, const Ip& ip, const Mac& mac);
// From a link of the namespace at `netns`. The socket is the caller's to close: the kernel lets whoever does so wait
// until no CPU can be using it any more (packet_release), some 20 ms.
Result<UniqueFd> announce(const std::string& netns, const std::string& link, std::span<const Ip> ips, const Mac& mac);

}  // namespace overns
