// asker: a container that asks for addresses, and how long it waits for the answers.
//
// It sends ARP requests from a container's interface, each for another address. Two ways to measure:
// - reply: from the request to the proxied reply, both time-stamped by the kernel on a packet socket that is read when
//   all is over. An observer that woke up for each packet would change what it measures.
// - installed: from before the request until the neighbour entry is there, for daemons that leave the request
// swallowed.
//   Seen on a netlink socket that is polled without sleeping, on this program's own CPU.
// An address without an answer is asked for again after --retry-ms, as Linux does (retrans_time_ms).
#include "common.h"

namespace {

struct Asked {
  std::uint32_t ip = 0;
  std::int64_t first = -1;  // when it was first asked for: the kernel's stamp
  std::int64_t answered = -1;
  std::int64_t sent = 0;  // monotonic, for retries
};

// ARP replies, and requests of our own: a flood by another container is not looked at.
void only_ours(int fd, std::uint32_t ip) {
  const sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 0, 5),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),  // operation
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 2, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 28),  // sender
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ip, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 128),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  attach_filter(fd, code, sizeof code / sizeof code[0]);
}

class Asker {
 public:
  explicit Asker(const Arguments& arguments) : netns_(arguments.text("--netns")) {
    const int link = index_in(netns_, arguments.text("--link", "eth0"));
    const std::uint32_t from = arguments.ip("--from");
    std::uint8_t mac[ETH_ALEN];
    mac_of(from, mac);
    request_ = arp_request(mac, from);
    sender_ = packet_socket(netns_, link, 0);
    // Outgoing frames are shown to sockets of all protocols only.
    observer_ = packet_socket(netns_, link, 0);
    receive_buffer(observer_, 64 << 20);
    only_ours(observer_, from);
    want_stamps(observer_);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = link;
    if (bind(observer_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");

    const auto base = arguments.ip("--first");
    const auto total = static_cast<std::size_t>(arguments.number("--count", 100));
    // Spread over a table of `span` endpoints (a power of two), each once.
    const auto span = static_cast<std::uint64_t>(arguments.number("--span", 0));
    for (std::size_t i = 0; i < total; ++i) {
      const std::uint64_t step = span == 0 ? i : (i * 2654435761ULL + 12345) & (span - 1);
      Asked asked;
      asked.ip = base + static_cast<std::uint32_t>(step);
      all_.push_back(asked);
    }
  }

  void ask(Asked& asked) {
    request_.target_ip = htonl(asked.ip);
    asked.sent = now_ns();
    if (send(sender_, &request_, sizeof request_, 0) < 0) die("send");
  }

  void reply(std::int64_t gap, std::int64_t retry, long rounds) {
    for (long round = 0; round < rounds; ++round) {
      for (Asked& asked : all_) {
        if (asked.answered >= 0) continue;
        if (round > 0) sleep_until(asked.sent + retry);
        ask(asked);
        if (round == 0) sleep_ns(gap);
      }
      sleep_ns(round == 0 ? 2 * gap : retry / 4);
      read_stamps();
    }
  }

  void installed(std::int64_t gap, std::int64_t patience, const char* overlay) {
    const int events = neighbor_events(overlay, RTM_NEWNEIGH);
    const int vxlan = index_in(overlay, "vxlan1");
    for (Asked& asked : all_) {
      alignas(nlmsghdr) char buffer[8192];
      while (recv(events, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
      }
      ask(asked);
      asked.first = asked.sent;
      while (asked.answered < 0 && now_ns() < asked.sent + patience) {
        const ssize_t got = recv(events, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got <= 0) continue;
        const std::int64_t at = now_ns();
        int left = static_cast<int>(got);
        for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer);
             NLMSG_OK(message, static_cast<unsigned>(left)); message = NLMSG_NEXT(message, left)) {
          const auto* body = static_cast<const ndmsg*>(NLMSG_DATA(message));
          const std::uint8_t* address = attribute_of(message, NDA_DST, 4);
          const std::uint32_t network = htonl(asked.ip);
          if (body->ndm_family == AF_INET && body->ndm_ifindex == vxlan && address != nullptr &&
              std::memcmp(address, &network, sizeof network) == 0)
            asked.answered = at;
        }
      }
      sleep_ns(gap);
    }
  }

  void print() {
    std::vector<std::int64_t> took;
    for (const Asked& asked : all_)
      took.push_back(asked.answered < 0 || asked.first < 0 ? -1 : asked.answered - asked.first);
    std::putchar('{');
    print_array("ns", took, "}\n");
  }

 private:
  void read_stamps() {
    for (;;) {
      ArpFrame frame;
      char control[128];
      iovec part{&frame, sizeof frame};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      const ssize_t size = recvmsg(observer_, &header, MSG_DONTWAIT);
      if (size < 0) return;
      if (size < static_cast<ssize_t>(sizeof frame)) continue;
      const std::int64_t at = stamp_of(header);
      const bool request = frame.operation == htons(1);
      Asked* asked = find(ntohl(request ? frame.target_ip : frame.sender_ip));
      if (asked == nullptr) continue;
      std::int64_t& slot = request ? asked->first : asked->answered;
      if (slot < 0) slot = at;
    }
  }

  Asked* find(std::uint32_t ip) {
    // Answers come in about the order of the questions.
    for (std::size_t i = 0; i < all_.size(); ++i) {
      Asked& asked = all_[(hint_ + i) % all_.size()];
      if (asked.ip != ip) continue;
      hint_ = (hint_ + i) % all_.size();
      return &asked;
    }
    return nullptr;
  }

  const char* netns_;
  int sender_ = -1;
  int observer_ = -1;
  ArpFrame request_{};
  std::vector<Asked> all_;
  std::size_t hint_ = 0;
};

}  // namespace

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  Asker asker(arguments);
  const std::int64_t gap = arguments.number("--gap-us", 3000) * 1000;
  const std::int64_t retry = arguments.number("--retry-ms", 1000) * 1'000'000;
  if (arguments.flag("--installed")) {
    asker.installed(gap, retry, arguments.text("--installed"));
  } else {
    asker.reply(gap, retry, arguments.number("--rounds", 2));
  }
  asker.print();
}
