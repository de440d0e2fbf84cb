// tun and tap devices, which are made by ioctl and not by rtnetlink: Documentation/networking/tuntap.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace overns {

struct TunSpec {
  std::string name;
  bool tap = false;
  std::optional<std::uint32_t> owner;  // uid
  std::optional<std::uint32_t> group;  // gid
  bool pi = false;
  bool vnet_hdr = false;
  bool multi_queue = false;
};

// Makes a device that stays when nobody has it open, in the namespace of a socket, and returns its name. EEXIST when
// there is a link of that name.
Result<std::string> create_tun(int socket, const TunSpec& spec);

}  // namespace overns
