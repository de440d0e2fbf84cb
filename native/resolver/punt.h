// Lossless L2 misses: an all-zero FDB entry sends every frame for an unknown MAC, still in its VXLAN packet, to a
// socket of ours on the host's loopback, instead of dropping it. From there it goes on to the right VTEP.
// drivers/net/vxlan: VXLAN_F_LOCALBYPASS off (6.4 and later), else the kernel looks for a device instead of a socket.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "netlink/command_socket.h"

namespace overns {

struct PuntedPacket {
  std::uint32_t vni = 0;
  Mac destination;  // of the inner frame
  Bytes packet;     // the VXLAN packet (RFC 7348 section 5), to be forwarded as it is
};
std::optional<PuntedPacket> parse_vxlan_packet(Bytes packet);
// The largest one that carries a packet of this MTU, with a VLAN tag or two: no more than fits into a UDP datagram.
std::size_t vxlan_packet_size(std::uint32_t mtu);

class PuntSocket {
 public:
  // Both sockets live in the host's namespace.
  static Result<PuntSocket> open(const std::string& host_netns, const Ip& vtep, std::uint16_t vxlan_port);

  int fd() const { return listener_.get(); }
  const Ip& address() const { return address_; }  // the loopback, of the VTEP's family
  std::uint16_t port() const { return port_; }

  // Queues a packet for `vtep`; its bytes must stay until `send`. Sends what is queued when there is no more room.
  void forward(Bytes packet, const Ip& vtep);
  void send();

 private:
  static constexpr unsigned kCount = 64;

  UniqueFd listener_;
  UniqueFd sender_;
  Ip address_;
  std::uint16_t port_ = 0;
  std::uint16_t vxlan_port_ = 0;
  unsigned queued_ = 0;
  std::array<iovec, kCount> parts_{};
  std::array<sockaddr_storage, kCount> to_{};
};

// The row that punts, on the vxlan device `index` of the command socket's namespace. Adding removes rows that an
// earlier listener left behind.
Status add_punt_row(CommandSocket& command, std::int32_t index, const Ip& address, std::uint16_t port);
void remove_punt_row(CommandSocket& command, std::int32_t index, const Ip& address, std::uint16_t port);

// Switches the device's local bypass off. EOPNOTSUPP before Linux 6.4.
Status disable_local_bypass(CommandSocket& command, std::int32_t index);

}  // namespace overns
