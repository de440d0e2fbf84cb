// probe: the first packet between two containers, each time with everything on its way forgotten first.
//
// --kind icmp: an echo request; a second later the next one, as ping does, until one is answered. --kind tcp:
// connect().
// --kind udp: a burst of datagrams sent at once. What is forgotten (--cold): `all`, neighbours and FDB of both overlays
// and both containers' ARP caches; `fdb`, the FDB entries only; `arp`, the containers' caches only. Each is forgotten
// by name, so that nothing else of a daemon's is touched. Arrival times are the kernel's stamps.
#include <netinet/ip_icmp.h>
#include <poll.h>

#include "common.h"

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

struct Side {
  const char* container;
  const char* overlay;
  std::uint32_t ip;
  std::uint8_t mac[ETH_ALEN];
  int eth0 = 0;
  int vxlan = 0;
  int container_rtnl = -1;
  int overlay_rtnl = -1;
};

int rtnl(const char* netns) { return socket_in(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }

void forget(int fd, const NeighborMessage& message) {
  if (send(fd, &message, sizeof message, 0) < 0) die("forget");
  char answer[512];
  if (recv(fd, answer, sizeof answer, 0) < 0) die("forget");  // ENOENT is as good
}

sockaddr_in address_of(std::uint32_t ip, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(ip);
  address.sin_port = htons(port);
  return address;
}

class Probe {
 public:
  explicit Probe(const Arguments& arguments)
      : gap_(arguments.number("--gap-ms", 15) * kMillisecond),
        wait_(arguments.number("--wait-ms", 1000) * kMillisecond),
        tries_(arguments.number("--tries", 5)),
        burst_(arguments.number("--burst", 50)),
        size_(static_cast<std::size_t>(arguments.number("--size", 1000))),
        cold_(arguments.text("--cold", "all")) {
    fill(a_, arguments, "--container-a", "--overlay-a", "--ip-a");
    fill(b_, arguments, "--container-b", "--overlay-b", "--ip-b");
  }

  void icmp(long count) {
    const int fd = socket_in(a_.container, AF_INET, SOCK_RAW, IPPROTO_ICMP);
    want_stamps(fd);
    receive_buffer(fd, 1 << 20);
    // Any other's echo replies are not ours: the identifier tells.
    const auto id = static_cast<std::uint16_t>(getpid());
    std::vector<std::int64_t> first;
    std::vector<std::int64_t> own;
    long sent = 0;
    long answered = 0;
    std::uint16_t sequence = 0;
    for (long i = 0; i < count; ++i) {
      cold();
      const std::uint16_t base = sequence;
      std::vector<std::int64_t> sent_at;
      std::vector<std::int64_t> came(static_cast<std::size_t>(tries_), -1);
      std::int64_t start = 0;
      std::int64_t reply = -1;
      for (long attempt = 0; attempt < tries_ && reply < 0; ++attempt) {
        icmphdr echo{};
        echo.type = ICMP_ECHO;
        echo.un.echo.id = htons(id);
        echo.un.echo.sequence = htons(sequence++);
        std::uint8_t packet[64]{};
        std::memcpy(packet, &echo, sizeof echo);
        echo.checksum = checksum(packet, sizeof packet);
        std::memcpy(packet, &echo, sizeof echo);
        const sockaddr_in to = address_of(b_.ip, 0);
        const std::int64_t at = now_ns(CLOCK_REALTIME);
        if (attempt == 0) start = at;
        sent_at.push_back(at);
        ++sent;
        (void)sendto(fd, packet, sizeof packet, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
        const std::int64_t until = now_ns() + wait_;
        while (reply < 0) {
          if (!readable(fd, until)) break;
          reply = read_echo(fd, id, base, came);
        }
      }
      // The others of this try may still come; a moment for them, when there are any.
      if (sent_at.size() > 1) {
        const std::int64_t until = now_ns() + 100 * kMillisecond;
        while (readable(fd, until)) (void)read_echo(fd, id, base, came);
      }
      for (const std::int64_t at : came) answered += at >= 0 ? 1 : 0;
      first.push_back(reply < 0 ? -1 : reply - start);
      own.push_back(came[0] < 0 ? -1 : came[0] - sent_at[0]);
    }
    std::putchar('{');
    print_array("ns", first, ",");
    print_array("first", own, ",");
    std::printf("\"sent\":%ld,\"lost\":%ld}\n", sent, sent - answered);
  }

  void tcp(long count) {
    const int listener = socket_in(b_.container, AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in to = address_of(b_.ip, 7007);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 || listen(listener, 16) != 0)
      die("listen");
    std::vector<std::int64_t> took;
    for (long i = 0; i < count; ++i) {
      cold();
      const int fd = socket_in(a_.container, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      const std::int64_t start = now_ns();
      (void)connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
      pollfd wait{fd, POLLOUT, 0};
      const std::int64_t patience = wait_ * tries_ / kMillisecond;
      const bool done = poll(&wait, 1, static_cast<int>(patience)) == 1;
      const std::int64_t at = now_ns();
      int error = 0;
      socklen_t length = sizeof error;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
      took.push_back(done && error == 0 ? at - start : -1);
      // Ended by a reset: nothing is left that would still talk when all is forgotten.
      const linger hard{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
      close(fd);
      const int other = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (other >= 0) close(other);
      fcntl(listener, F_SETFL, O_NONBLOCK);
    }
    std::putchar('{');
    print_array("ns", took, "}\n");
  }

  void udp(long count) {
    const int receiver = socket_in(b_.container, AF_INET, SOCK_DGRAM, 0);
    receive_buffer(receiver, 64 << 20);
    want_stamps(receiver);
    const sockaddr_in to = address_of(b_.ip, 7009);
    if (bind(receiver, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) die("bind");
    const int sender = socket_in(a_.container, AF_INET, SOCK_DGRAM, 0);
    const int bytes = 64 << 20;
    setsockopt(sender, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    if (connect(sender, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) die("connect");
    std::vector<std::int64_t> first;
    std::vector<std::int64_t> last;
    long lost = 0;
    long late = 0;
    long duplicates = 0;
    long reordered = 0;
    std::vector<std::uint8_t> datagram(size_);
    const auto total = static_cast<std::size_t>(burst_);
    for (long i = 0; i < count; ++i) {
      cold();
      std::vector<std::int64_t> came(total, -1);
      const std::int64_t start = now_ns(CLOCK_REALTIME);
      for (std::size_t k = 0; k < total; ++k) {
        const std::uint32_t mark[2] = {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(k)};
        std::memcpy(datagram.data(), mark, sizeof mark);
        (void)send(sender, datagram.data(), datagram.size(), 0);
      }
      std::size_t got = 0;
      std::uint32_t highest = 0;
      // Waits for all of them as long as a container would wait for its first retry to come through, then goes on.
      for (const std::int64_t until = now_ns() + wait_ * tries_; got < total && readable(receiver, until);) {
        std::uint32_t mark[2]{};
        const std::int64_t at = read_stamped(receiver, mark, sizeof mark);
        if (at < 0 || mark[0] != static_cast<std::uint32_t>(i) || mark[1] >= total) continue;
        if (came[mark[1]] >= 0) {
          ++duplicates;
          continue;
        }
        came[mark[1]] = at;
        if (mark[1] < highest) ++reordered;
        highest = std::max(highest, mark[1]);
        ++got;
      }
      // Duplicates come behind the others.
      while (readable(receiver, now_ns() + kMillisecond)) {
        std::uint32_t mark[2]{};
        if (read_stamped(receiver, mark, sizeof mark) >= 0) ++duplicates;
      }
      lost += static_cast<long>(total - got);
      std::int64_t earliest = -1;
      std::int64_t latest = -1;
      for (const std::int64_t at : came) {
        if (at < 0) continue;
        if (at - start > 100 * kMillisecond) ++late;
        if (earliest < 0 || at < earliest) earliest = at;
        latest = std::max(latest, at);
      }
      first.push_back(earliest < 0 ? -1 : earliest - start);
      last.push_back(got < total ? -1 : latest - start);
    }
    std::putchar('{');
    print_array("ns", first, ",");
    print_array("last", last, ",");
    std::printf("\"sent\":%ld,\"lost\":%ld,\"late\":%ld,\"duplicates\":%ld,\"reordered\":%ld}\n", count * burst_, lost,
                late, duplicates, reordered);
  }

 private:
  void fill(Side& side, const Arguments& arguments, const char* container, const char* overlay, const char* ip) {
    side.container = arguments.text(container);
    side.ip = arguments.ip(ip);
    mac_of(side.ip, side.mac);
    side.eth0 = index_in(side.container, arguments.text("--link", "eth0"));
    side.container_rtnl = rtnl(side.container);
    side.overlay = arguments.text(overlay, "-");
    if (*side.overlay == '-') return;  // nothing of ours: a network that another system keeps
    side.vxlan = index_in(side.overlay, "vxlan1");
    side.overlay_rtnl = rtnl(side.overlay);
  }

  void cold() {
    const bool fdb_only = std::strcmp(cold_, "fdb") == 0;
    cold_side(a_, b_, fdb_only);
    cold_side(b_, a_, fdb_only);
    // The news of it has been read by whoever listens, and the machine is at rest.
    sleep_ns(gap_);
  }

  void cold_side(const Side& side, const Side& other, bool fdb_only) {
    NeighborMessage message = neighbor_message(RTM_DELNEIGH, NLM_F_ACK, AF_INET, side.eth0);
    message.header.nlmsg_len = sizeof message;
    if (side.overlay_rtnl >= 0) {
      NeighborMessage fdb = neighbor_message(RTM_DELNEIGH, NLM_F_ACK, AF_BRIDGE, side.vxlan);
      std::memcpy(fdb.lladdr.mac, other.mac, ETH_ALEN);
      fdb.header.nlmsg_len -= sizeof fdb.dst;  // whatever its VTEP
      fdb.body.ndm_flags = NTF_SELF;
      forget(side.overlay_rtnl, fdb);
      if (!fdb_only) {
        fdb.body.ndm_flags = NTF_MASTER;
        forget(side.overlay_rtnl, fdb);
        NeighborMessage neighbor = neighbor_message(RTM_DELNEIGH, NLM_F_ACK, AF_INET, side.vxlan);
        neighbor.dst.ip = htonl(other.ip);
        forget(side.overlay_rtnl, neighbor);
      }
    }
    if (!fdb_only) {
      message.dst.ip = htonl(other.ip);
      forget(side.container_rtnl, message);
    }
  }

  static bool readable(int fd, std::int64_t until) {
    const std::int64_t left = until - now_ns();
    if (left <= 0) return false;
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    pollfd wait{fd, POLLIN, 0};
    return ppoll(&wait, 1, &timeout, nullptr) == 1;
  }

  static std::int64_t read_stamped(int fd, void* into, std::size_t size) {
    char control[128];
    iovec part{into, size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    if (recvmsg(fd, &header, MSG_DONTWAIT) < 0) return -1;
    return stamp_of(header);
  }

  // The time of a reply to one of this try's requests, noted in `came`; -1 for anything else.
  static std::int64_t read_echo(int fd, std::uint16_t id, std::uint16_t base, std::vector<std::int64_t>& came) {
    std::uint8_t packet[128]{};
    const std::int64_t at = read_stamped(fd, packet, sizeof packet);
    icmphdr echo;
    std::memcpy(&echo, packet + (packet[0] & 15) * 4, sizeof echo);
    const auto offset = static_cast<std::uint16_t>(ntohs(echo.un.echo.sequence) - base);
    if (at < 0 || echo.type != ICMP_ECHOREPLY || ntohs(echo.un.echo.id) != id || offset >= came.size()) return -1;
    if (came[offset] < 0) came[offset] = at;
    return at;
  }

  static std::uint16_t checksum(const std::uint8_t* data, std::size_t size) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < size; i += 2) sum += static_cast<std::uint32_t>(data[i] | data[i + 1] << 8);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
  }

  Side a_{};
  Side b_{};
  const std::int64_t gap_;
  const std::int64_t wait_;
  const long tries_;
  const long burst_;
  const std::size_t size_;
  const char* cold_;
};

}  // namespace

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  Probe probe(arguments);
  const std::string kind = arguments.text("--kind", "icmp");
  const long tries = arguments.number("--count", 10);
  if (kind == "icmp") {
    probe.icmp(tries);
  } else if (kind == "tcp") {
    probe.tcp(tries);
  } else if (kind == "udp") {
    probe.udp(tries);
  } else {
    std::fprintf(stderr, "probe: --kind is icmp, tcp or udp\n");
    return 2;
  }
}
