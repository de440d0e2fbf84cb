#include "resolver/announce.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "engine/frame.h"
#include "netns/socket.h"

namespace overns {

void announce(int fd, std::int32_t link, const Ip& ip, const Mac& mac) {
  const Announcement frame(ip, mac);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = link;
  address.sll_protocol = htons(ip.is_v4() ? ETH_P_ARP : ETH_P_IPV6);
  (void)sendto(fd, frame.bytes().data(), frame.bytes().size(), MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

Result<UniqueFd> announce(const std::string& netns, const std::string& link, std::span<const Ip> ips, const Mac& mac) {
  // Protocol 0: it hears nothing.
  auto fd = open_socket(netns, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  ifreq request{};
  link.copy(request.ifr_name, sizeof request.ifr_name - 1);
  if (ioctl(fd->get(), SIOCGIFINDEX, &request) != 0) return system_failure("SIOCGIFINDEX", link);
  for (const Ip& ip : ips) announce(fd->get(), request.ifr_ifindex, ip, mac);
  return fd;
}

}  // namespace overns
