// flood: a scanning container. Sends ARP requests for one address after the other, at a given rate, for a bounded
// count.
#include "common.h"

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  const char* netns = arguments.text("--netns");
  const int link = index_in(netns, arguments.text("--link", "eth0"));
  const std::uint32_t from = arguments.ip("--from");
  const std::uint32_t base = arguments.ip("--first");
  const long total = arguments.number("--count", 1000);
  const long rate = arguments.number("--rate", 1000);
  const std::int64_t longest = arguments.number("--seconds", 60) * 1'000'000'000;
  constexpr long kBatch = 64;

  std::uint8_t mac[ETH_ALEN];
  mac_of(from, mac);
  const int fd = packet_socket(netns, link, 0);
  std::vector<ArpFrame> frames(kBatch, arp_request(mac, from));
  std::vector<iovec> parts(kBatch);
  std::vector<mmsghdr> headers(kBatch);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    parts[i] = {&frames[i], sizeof frames[i]};
    headers[i] = {};
    headers[i].msg_hdr.msg_iov = &parts[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }

  const std::int64_t start = now_ns();
  long sent = 0;
  while (sent < total && now_ns() - start < longest) {
    // Sends what is due by now; late by more than a batch, it catches up.
    const long due = std::min<long>(total, (now_ns() - start) * rate / 1'000'000'000 + 1);
    if (due <= sent) {
      sleep_until(start + (sent + 1) * 1'000'000'000 / rate);
      continue;
    }
    const long now = std::min(kBatch, due - sent);
    for (long i = 0; i < now; ++i)
      frames[static_cast<std::size_t>(i)].target_ip = htonl(base + static_cast<std::uint32_t>(sent + i));
    const int done = sendmmsg(fd, headers.data(), static_cast<unsigned>(now), 0);
    if (done < 0 && errno != ENOBUFS) die("sendmmsg");
    if (done > 0) sent += done;
  }
  std::printf("{\"sent\":%ld,\"seconds\":%.6f}\n", sent, static_cast<double>(now_ns() - start) / 1e9);
}
