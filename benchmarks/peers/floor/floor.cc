// floor: the least that can answer a miss without losing its packet. The physical limit that overns is measured
// against.
//
// No table: the MAC address is the Docker-style one of the IP address, the VTEP is given on the command line. One
// blocking recv on the miss socket, neighbour and FDB entry in one send, the swallowed request taken from a packet
// socket on br0 and sent on vxlan1 once more. Answers IPv4 misses of one range only, never forgets, never checks.
#include "../../tools/common.h"

namespace {

constexpr std::int64_t kTapPatience = 1'000'000;  // the bridge floods before it passes up: the miss may come first

struct Request {
  std::uint32_t target = 0;
  std::size_t size = 0;
  std::uint8_t bytes[128];
};

}  // namespace

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  const char* netns = arguments.text("--netns");
  const std::uint32_t vtep = arguments.ip("--vtep");
  const std::uint32_t first = arguments.ip("--first", "0.0.0.0");
  const std::uint32_t last = arguments.ip("--last", "255.255.255.255");
  if (arguments.flag("--realtime")) {
    const sched_param priority{1};
    sched_setscheduler(0, SCHED_FIFO, &priority);
  }

  const int vxlan = index_in(netns, "vxlan1");
  const int misses = neighbor_events(netns, RTM_GETNEIGH);
  const int tap = packet_socket(netns, index_in(netns, "br0"), ETH_P_ARP);
  receive_buffer(tap, 4 << 20);
  const int command = socket_in(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

  NeighborMessage pair[2] = {new_neighbor(vxlan), new_fdb(vxlan, vtep)};
  pair[1].header.nlmsg_flags |= NLM_F_ACK;
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETH_P_ARP);
  to.sll_ifindex = vxlan;

  const auto in_range = [&](std::uint32_t ip) { return ip >= first && ip <= last; };
  std::vector<Request> waiting;  // tapped, their miss not yet read
  waiting.reserve(1024);
  alignas(nlmsghdr) char buffer[8192];
  std::puts("ready");
  std::fflush(stdout);

  for (;;) {
    const ssize_t got = recv(misses, buffer, sizeof buffer, 0);
    if (got < 0) continue;
    int left = static_cast<int>(got);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer);
         NLMSG_OK(message, static_cast<unsigned>(left)); message = NLMSG_NEXT(message, left)) {
      if (static_cast<const ndmsg*>(NLMSG_DATA(message))->ndm_ifindex != vxlan) continue;
      const std::uint8_t* address = attribute_of(message, NDA_DST, 4);
      if (address == nullptr) continue;
      std::uint32_t network;
      std::memcpy(&network, address, sizeof network);
      const std::uint32_t ip = ntohl(network);
      if (!in_range(ip)) continue;

      pair[0].dst.ip = network;
      mac_of(ip, pair[0].lladdr.mac);
      std::memcpy(pair[1].lladdr.mac, pair[0].lladdr.mac, ETH_ALEN);
      if (send(command, pair, sizeof pair, 0) < 0) continue;

      bool replayed = false;
      for (std::size_t i = 0; i < waiting.size();) {
        if (waiting[i].target == network) {
          sendto(tap, waiting[i].bytes, waiting[i].size, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
          replayed = true;
          waiting[i] = waiting.back();
          waiting.pop_back();
        } else {
          ++i;
        }
      }
      for (const std::int64_t until = now_ns() + kTapPatience; !replayed && now_ns() < until;) {
        Request request;
        const ssize_t size = recv(tap, request.bytes, sizeof request.bytes, MSG_DONTWAIT);
        if (size < static_cast<ssize_t>(sizeof(ArpFrame))) continue;
        ArpFrame frame;
        std::memcpy(&frame, request.bytes, sizeof frame);
        if (frame.operation != htons(1)) continue;
        request.target = frame.target_ip;
        request.size = sizeof frame;  // without the padding
        if (frame.target_ip == network) {
          sendto(tap, request.bytes, request.size, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
          replayed = true;
        } else if (in_range(ntohl(frame.target_ip)) && waiting.size() < waiting.capacity()) {
          waiting.push_back(request);
        }
      }
      // The acknowledgement, when the packet is on its way.
      char answer[512];
      while (recv(command, answer, sizeof answer, MSG_DONTWAIT) > 0) {
      }
    }
  }
}
