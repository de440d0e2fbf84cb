#include "resolver/tap.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include "netns/socket.h"
#include "resolver/prime.h"

namespace overns {
namespace {

constexpr int kTapBuffer = 4 << 20;

Result<UniqueFd> open_tap(const std::string& netns, std::int32_t device, std::uint16_t protocol,
                          const sock_fprog& filter) {
  // Protocol 0: deaf until the filter is in place.
  auto fd = open_socket(netns, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  if (setsockopt(fd->get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0)
    return system_failure("setsockopt", "SO_ATTACH_FILTER");
  set_receive_buffer(fd->get(), kTapBuffer);
  if (Status bound = bind_tap(fd->get(), device, protocol); !bound) return bound.failure();
  return fd;
}

}  // namespace

Status bind_tap(int fd, std::int32_t device, std::uint16_t protocol) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = device;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return system_failure("bind", "tap");
  return done();
}

Result<UniqueFd> open_arp_tap(const std::string& netns, std::int32_t bridge) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN + 6),  // ar_op
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 128),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  return open_tap(netns, bridge, ETH_P_ARP, {sizeof code / sizeof code[0], code});
}

Result<UniqueFd> open_nd_tap(const std::string& netns, std::int32_t bridge) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 6),  // next header
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 40),  // ICMPv6 type
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 135, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 256),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  return open_tap(netns, bridge, ETH_P_IPV6, {sizeof code / sizeof code[0], code});
}

Result<UniqueFd> open_hint_tap(const std::string& netns, std::int32_t vxlan) {
  sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 512)};
  return open_tap(netns, vxlan, kHintProtocol, {sizeof code / sizeof code[0], code});
}

}  // namespace overns
