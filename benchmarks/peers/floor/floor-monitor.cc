// floor-monitor: counts the notifications of new neighbours (count), or reads a list of them (dump), and looks at no
// more of them than the header.
#include <poll.h>
#include <sys/time.h>

#include "../../tools/common.h"

namespace {

long messages_in(const char* buffer, ssize_t size, int type, bool* done) {
  long found = 0;
  int left = static_cast<int>(size);
  for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(message, static_cast<unsigned>(left));
       message = NLMSG_NEXT(message, left)) {
    if (message->nlmsg_type == type) ++found;
    if (message->nlmsg_type == NLMSG_DONE) *done = true;
  }
  return found;
}

void dump(const char* netns) {
  const int fd = socket_in(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  struct {
    nlmsghdr header;
    ndmsg body;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETNEIGH;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.ndm_family = AF_INET;
  const std::int64_t start = now_ns();
  if (send(fd, &request, sizeof request, 0) < 0) die("send");
  long rows = 0;
  std::vector<char> buffer(1 << 16);
  for (bool done = false; !done;) {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0) die("recv");
    rows += messages_in(buffer.data(), got, RTM_NEWNEIGH, &done);
  }
  std::printf("{\"rows\":%ld,\"seconds\":%.9f}\n", rows, static_cast<double>(now_ns() - start) / 1e9);
}

}  // namespace

int main(int count, char** values) {
  end_with_parent();
  const Arguments arguments(count, values);
  if (arguments.flag("--dump")) {
    dump(arguments.text("--netns"));
    return 0;
  }
  const int events = neighbor_events(arguments.text("--netns"), RTM_NEWNEIGH);
  constexpr unsigned kBatch = 64;
  constexpr std::size_t kSize = 512;
  std::vector<char> storage(kBatch * kSize);
  std::vector<iovec> parts(kBatch);
  std::vector<mmsghdr> headers(kBatch);
  for (unsigned i = 0; i < kBatch; ++i) {
    parts[i] = {storage.data() + i * kSize, kSize};
    headers[i] = {};
    headers[i].msg_hdr.msg_iov = &parts[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
  std::puts("ready");
  std::fflush(stdout);

  long received = 0;
  long overruns = 0;
  std::int64_t last = 0;
  for (;;) {
    pollfd wait[2] = {{events, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    poll(wait, 2, -1);
    if (wait[0].revents != 0) {
      const int got = recvmmsg(events, headers.data(), kBatch, MSG_DONTWAIT, nullptr);
      if (got < 0 && errno == ENOBUFS) ++overruns;
      if (got > 0) last = now_ns(CLOCK_REALTIME);
      bool done = false;
      for (int i = 0; i < got; ++i) {
        const auto n = static_cast<std::size_t>(i);
        received += messages_in(storage.data() + n * kSize, headers[n].msg_len, RTM_NEWNEIGH, &done);
      }
    }
    if (wait[1].revents != 0) {
      char line[64];
      if (read(STDIN_FILENO, line, sizeof line) <= 0) return 0;
      std::printf("{\"received\":%ld,\"overruns\":%ld,\"last\":%.6f}\n", received, overruns,
                  static_cast<double>(last) / 1e6);
      std::fflush(stdout);
    }
  }
}
