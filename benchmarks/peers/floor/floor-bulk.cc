// floor-bulk: entries written as fast as one thread can: messages of fixed layout, so many to a send, one
// acknowledgement at the end of each (errors are answered without asking). With --rate no faster than that: a source of
// notifications for the benchmark of those who listen.
#include "../../tools/common.h"

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  const char* netns = arguments.text("--netns");
  const int link = index_in(netns, arguments.text("--link", "vxlan1"));
  const bool fdb = std::strcmp(arguments.text("--kind"), "fdb") == 0;
  const std::uint32_t first = arguments.ip("--first");
  const long total = arguments.number("--count", 1000);
  const auto chunk = static_cast<std::size_t>(arguments.number("--chunk", 16));

  const long rate = arguments.number("--rate", 0);

  const int fd = socket_in(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  const int bytes = 1 << 20;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  std::vector<NeighborMessage> batch(chunk, fdb ? new_fdb(link, arguments.ip("--vtep")) : new_neighbor(link));

  const std::int64_t began = now_ns(CLOCK_REALTIME);
  const std::int64_t start = now_ns();
  long errors = 0;
  for (long sent = 0; sent < total;) {
    if (rate > 0) sleep_until(start + sent * 1'000'000'000 / rate);
    const std::size_t now = std::min(chunk, static_cast<std::size_t>(total - sent));
    for (std::size_t i = 0; i < now; ++i) {
      const std::uint32_t ip = first + static_cast<std::uint32_t>(sent) + static_cast<std::uint32_t>(i);
      mac_of(ip, batch[i].lladdr.mac);
      if (!fdb) batch[i].dst.ip = htonl(ip);
      batch[i].header.nlmsg_flags &= static_cast<std::uint16_t>(~NLM_F_ACK);
      batch[i].header.nlmsg_seq = 0;
    }
    batch[now - 1].header.nlmsg_flags |= NLM_F_ACK;
    batch[now - 1].header.nlmsg_seq = 1;
    if (send(fd, batch.data(), now * sizeof batch[0], 0) < 0) die("send");
    for (bool done = false; !done;) {
      alignas(nlmsghdr) char buffer[8192];
      const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got < 0) die("recv");
      const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer);
      if (static_cast<const nlmsgerr*>(NLMSG_DATA(answer))->error != 0) ++errors;
      done = answer->nlmsg_seq == 1;
    }
    sent += static_cast<long>(now);
  }
  std::printf("{\"seconds\":%.9f,\"failed\":%ld,\"began\":%.6f}\n", static_cast<double>(now_ns() - start) / 1e9, errors,
              static_cast<double>(began) / 1e6);
}
