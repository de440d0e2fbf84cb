// The alias of a container's veth, by which a resolver knows which endpoints are attached to its host.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/address.h"

namespace overns {

// Written by overns as `overns MAC IP/LEN[,IP/LEN...] [CONTAINER]`. The kernel keeps it, so no state file is needed.
struct EndpointAlias {
  Mac mac;
  std::vector<Ip> ips;
};
// Reads one; nothing for another alias.
std::optional<EndpointAlias> parse_endpoint_alias(std::string_view alias);

}  // namespace overns
