// The addresses of a host, and those of its networks that are no host's.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "base/address.h"
#include "netlink/message.h"

namespace overns {

class HostAddresses {
 public:
  void clear() { addresses_.clear(); }
  // An RTM_NEWADDR or RTM_DELADDR. True when something has changed.
  bool apply(const Message& message);

  std::set<Ip> all() const;
  // Broadcast and network addresses.
  std::set<Ip> reserved() const;

 private:
  // By link, address, prefix length and peer, as the kernel tells addresses apart: the reserved ones of its network.
  std::map<std::tuple<std::int32_t, Ip, std::uint8_t, Ip>, std::vector<Ip>> addresses_;
};

}  // namespace overns
