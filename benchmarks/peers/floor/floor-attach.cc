// floor-attach: an overlay made and a container attached with as few messages as the kernel takes them in.
//
// Prints the milliseconds of both as JSON. Nothing is checked, nothing undone; the host's namespace is its own.
#include <linux/if_link.h>
#include <linux/veth.h>
#include <sys/mount.h>

#include "../../tools/common.h"

namespace {

class Message {
 public:
  template <class Body>
  Message(int type, int flags, const Body& body) {
    nlmsghdr header{};
    header.nlmsg_type = static_cast<std::uint16_t>(type);
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    append(&header, sizeof header);
    append(&body, sizeof body);
  }

  Message& put(int type, const void* data, std::size_t size) {
    const rtattr attribute{static_cast<unsigned short>(RTA_LENGTH(size)), static_cast<unsigned short>(type)};
    append(&attribute, sizeof attribute);
    append(data, size);
    return *this;
  }
  Message& put(int type, const char* text) { return put(type, text, std::strlen(text) + 1); }
  template <class Value>
  Message& put(int type, Value value) {
    return put(type, &value, sizeof value);
  }
  // Attributes that `fill` puts into another one, behind `body` bytes.
  template <class Fill>
  Message& nest(int type, Fill fill) {
    const std::size_t start = bytes_.size();
    put(type, nullptr, 0);
    fill(*this);
    reinterpret_cast<rtattr*>(&bytes_[start])->rta_len = static_cast<unsigned short>(bytes_.size() - start);
    return *this;
  }
  void append(const void* data, std::size_t size) {
    if (size > 0) bytes_.insert(bytes_.end(), static_cast<const char*>(data), static_cast<const char*>(data) + size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  const std::vector<char>& finish() {
    reinterpret_cast<nlmsghdr*>(bytes_.data())->nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    return bytes_;
  }

 private:
  std::vector<char> bytes_;
};

// Sends them together and waits for all acknowledgements.
void send_all(int fd, std::vector<Message> messages) {
  std::vector<char> bytes;
  for (Message& message : messages) {
    const auto& part = message.finish();
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  if (send(fd, bytes.data(), bytes.size(), 0) < 0) die("send");
  for (std::size_t acknowledged = 0; acknowledged < messages.size();) {
    alignas(nlmsghdr) char buffer[8192];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0) die("recv");
    int left = static_cast<int>(got);
    for (const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(answer, static_cast<unsigned>(left));
         answer = NLMSG_NEXT(answer, left)) {
      if (answer->nlmsg_type != NLMSG_ERROR) continue;
      errno = -static_cast<const nlmsgerr*>(NLMSG_DATA(answer))->error;
      if (errno != 0) die("request %zu", acknowledged);
      ++acknowledged;
    }
  }
}

ifinfomsg up(int index = 0) {
  ifinfomsg body{};
  body.ifi_index = index;
  body.ifi_flags = body.ifi_change = IFF_UP;
  return body;
}

Message new_address(int index, std::uint32_t ip) {
  ifaddrmsg body{};
  body.ifa_family = AF_INET;
  body.ifa_prefixlen = 24;
  body.ifa_index = static_cast<unsigned>(index);
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body);
  return message.put(IFA_LOCAL, htonl(ip)).put(IFA_ADDRESS, htonl(ip));
}

}  // namespace

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  const std::string path = arguments.text("--overlay");
  const char* container = arguments.text("--container");
  const std::uint32_t local = arguments.ip("--vtep");
  constexpr int kFirst = 10;  // chosen, so that nothing has to be asked for
  const int make = NLM_F_CREATE | NLM_F_EXCL;

  const std::int64_t start = now_ns();
  // The host's socket first; then this thread is the overlay's.
  const int host = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (unshare(CLONE_NEWNET) != 0) die("unshare");
  close(open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
  if (mount("/proc/self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) die("mount %s", path.c_str());
  const int overlay = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  const int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  const std::uint8_t off = 0;
  const std::uint8_t on = 1;
  Message bridge(RTM_NEWLINK, make, up(kFirst));
  bridge.put(IFLA_IFNAME, "br0").nest(IFLA_LINKINFO, [&](Message& m) {
    m.put(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, [&](Message& data) { data.put(IFLA_BR_MCAST_SNOOPING, off); });
  });
  send_all(overlay, {bridge, new_address(kFirst, 0xc0a80001)});
  Message vxlan(RTM_NEWLINK, make, up(kFirst + 1));
  vxlan.put(IFLA_IFNAME, "vxlan1")
      .put(IFLA_NET_NS_FD, netns)
      .put(IFLA_MASTER, kFirst)
      .put(IFLA_MTU, 1450)
      .nest(IFLA_LINKINFO, [&](Message& m) {
        m.put(IFLA_INFO_KIND, "vxlan").nest(IFLA_INFO_DATA, [&](Message& data) {
          data.put(IFLA_VXLAN_ID, 4242)
              .put(IFLA_VXLAN_LOCAL, htonl(local))
              .put(IFLA_VXLAN_PORT, htons(4789))
              .put(IFLA_VXLAN_LEARNING, on)
              .put(IFLA_VXLAN_PROXY, on)
              .put(IFLA_VXLAN_L2MISS, on)
              .put(IFLA_VXLAN_L3MISS, on);
        });
      });
  send_all(host, {vxlan});
  const std::int64_t created = now_ns();

  const int target = open(container, O_RDONLY | O_CLOEXEC);
  Message veth(RTM_NEWLINK, make, up(kFirst + 2));
  veth.put(IFLA_IFNAME, "veth0").put(IFLA_MASTER, kFirst).put(IFLA_MTU, 1450).nest(IFLA_LINKINFO, [&](Message& m) {
    m.put(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, [&](Message& data) {
      data.nest(VETH_INFO_PEER, [&](Message& peer) {
        ifinfomsg body{};
        body.ifi_index = kFirst + 3;
        std::uint8_t mac[ETH_ALEN];
        mac_of(0xc0a80002, mac);
        peer.append(&body, sizeof body);
        peer.put(IFLA_IFNAME, "eth0")
            .put(IFLA_NET_NS_FD, target)
            .put(IFLA_MTU, 1450)
            .put(IFLA_ADDRESS, mac, sizeof mac);
      });
    });
  });
  send_all(overlay, {veth});
  const int inside_container = socket_in(container, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  send_all(inside_container, {new_address(kFirst + 3, 0xc0a80002), Message(RTM_NEWLINK, 0, up(kFirst + 3))});
  const std::int64_t attached = now_ns();
  std::printf("{\"create\":%.6f,\"attach\":%.6f}\n", static_cast<double>(created - start) / 1e6,
              static_cast<double>(attached - created) / 1e6);
}
