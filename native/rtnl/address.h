// Interface addresses: RTM_NEWADDR and friends, include/uapi/linux/if_addr.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "netlink/command_socket.h"
#include "rtnl/attribute_policy.h"

namespace overns {

struct InterfaceAddress {
  std::int32_t index = 0;
  Ip ip;
  std::uint8_t prefix = 0;  // of the peer's network where there is a peer
  std::uint8_t scope = 0;   // RT_SCOPE_*
  std::uint32_t flags = 0;  // IFA_F_*
  std::string label;
  Ip peer;  // the other end of a point-to-point link
  Ip broadcast;
  std::optional<std::uint32_t> preferred;  // lifetimes, seconds; kForever
  std::optional<std::uint32_t> valid;
  std::uint32_t metric = 0;   // of the prefix's route
  std::uint8_t protocol = 0;  // IFAPROT_*
  std::vector<UnknownAttribute> unknown;

  static constexpr std::uint32_t kForever = 0xffffffff;

  bool operator==(const InterfaceAddress&) const = default;
};

void encode_address(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const InterfaceAddress& address);
void encode_get_addresses(RequestBatch& batch, std::int32_t index, std::uint8_t family);
std::optional<InterfaceAddress> decode_address(const Message& message);

}  // namespace overns
