// Lossless L2 misses: an all-zero FDB entry sends every frame for an unknown MAC, still in its VXLAN packet, to a
// socket of ours on the host's loopback, instead of dropping it. From there it goes on to the right VTEP.
//
// The entry outlives a process that is killed, and lo is everybody's. So the port is one that only the privileged may
// bind: who comes next to it is not just anyone. And what the entry sends bears a secret in the place of the VNI,
// without which the kernel lets nothing into the socket's buffer (SO_ATTACH_FILTER): others can neither fill it nor
// send frames into the overlay, and an entry that is left behind brings a later listener on its port nothing.
// drivers/net/vxlan: VXLAN_F_LOCALBYPASS off (6.4 and later), else the kernel looks for a device instead of a socket.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "netlink/command_socket.h"

namespace overns {

struct PuntedPacket {
  std::uint32_t vni = 0;
  Mac destination;  // of the inner frame
  Ip target;        // of the IP packet in it; empty when it holds another one
  Bytes packet;     // the VXLAN packet (RFC 7348 section 5), to be forwarded as it is
};
std::optional<PuntedPacket> parse_vxlan_packet(Bytes packet);
// The largest one that carries a packet of this MTU, with a VLAN tag or two: no more than fits into a UDP datagram.
std::size_t vxlan_packet_size(std::uint32_t mtu);

class PuntSocket {
 public:
  // Both sockets live in the host's namespace. `vni`: the overlay's own, which packets bear when they are forwarded.
  static Result<PuntSocket> open(const std::string& host_netns, const Ip& vtep, std::uint16_t vxlan_port,
                                 std::uint32_t vni, std::uint32_t device = 0);

  int fd() const { return listener_.get(); }
  const Ip& address() const { return address_; }  // the loopback, of the VTEP's family
  std::uint16_t port() const { return port_; }
  std::uint32_t secret() const { return secret_; }  // in the place of the VNI

  // The port of the vxlan device, where it is another one now.
  void set_vxlan_port(std::uint16_t port) { vxlan_port_ = port; }

  // Queues a packet for `vtep`; its bytes must stay until `send`. Sends what is queued when there is no more room.
  void forward(Bytes packet, const Ip& vtep);
  void send();

 private:
  static constexpr unsigned kCount = 64;

  UniqueFd listener_;
  UniqueFd sender_;
  Ip address_;
  std::uint16_t port_ = 0;
  std::uint32_t secret_ = 0;
  std::uint16_t vxlan_port_ = 0;
  unsigned queued_ = 0;
  std::array<iovec, kCount> parts_{};
  std::array<sockaddr_storage, kCount> to_{};
};

// Ports that only the privileged may bind, of those that no service is known to use; none where everybody may bind all.
std::vector<std::uint16_t> punt_ports(int first_unprivileged);
// The loopback address of a VTEP's family.
Ip loopback_of(const Ip& vtep);
// Writes a VNI into a VXLAN packet.
void write_vni(std::span<std::uint8_t> packet, std::uint32_t vni);

// The row that punts, on the vxlan device `index` of the command socket's namespace. Adding removes rows that an
// earlier listener left behind, unless it is `beside` one that is still at work: both are sent everything then.
Status add_punt_row(CommandSocket& command, std::int32_t index, const PuntSocket& punt, bool beside);
Status remove_punt_row(CommandSocket& command, std::int32_t index, const PuntSocket& punt);
// Removes the rows that lead to this loopback address, but for the one given.
void remove_left_rows(CommandSocket& command, std::int32_t index, const Ip& address, const PuntSocket* but = nullptr);

// Switches the device's local bypass off. EOPNOTSUPP before Linux 6.4.
Status disable_local_bypass(CommandSocket& command, std::int32_t index);

}  // namespace overns
