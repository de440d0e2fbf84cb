// Interface addresses: RTM_NEWADDR and friends, include/uapi/linux/if_addr.h.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "netlink/command_socket.h"

namespace overns {

struct InterfaceAddress {
  std::int32_t index = 0;
  Ip ip;
  std::uint8_t prefix = 0;
  std::uint8_t scope = 0;   // RT_SCOPE_*
  std::uint32_t flags = 0;  // IFA_F_*
  std::string label;

  bool operator==(const InterfaceAddress&) const = default;
};

void encode_address(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const InterfaceAddress& address);
void encode_get_addresses(RequestBatch& batch, std::int32_t index, std::uint8_t family);
std::optional<InterfaceAddress> decode_address(const Message& message);

}  // namespace overns
