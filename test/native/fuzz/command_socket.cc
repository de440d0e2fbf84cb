// netlink/command_socket.h: acknowledgements and dumps from a kernel that answers anything.
#include "netlink/command_socket.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "input.h"

using namespace overns;
using fuzz::require;

namespace {

// A socket whose other end has already said all that the input has: `count` datagrams.
class Kernel {
 public:
  Kernel() {
    int pair[2];
    // Sequenced packets: bounded by bytes and not by number. Not waiting: what nobody reads is refused.
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0, "a socket pair");
    ours_.reset(pair[0]);
    theirs_.reset(pair[1]);
  }
  void say(Bytes datagram) { (void)send(theirs_.get(), datagram.data(), datagram.size(), 0); }
  UniqueFd take() { return std::move(ours_); }

 private:
  UniqueFd ours_;
  UniqueFd theirs_;
};

RequestBatch requests(std::size_t count) {
  RequestBatch batch;
  for (std::size_t i = 0; i < count; ++i) {
    MessageWriter& writer = batch.begin(RTM_NEWLINK, 0);
    writer.header(ifinfomsg{});
    writer.text(IFLA_IFNAME, "vxlan1");
    batch.end();
  }
  return batch;
}

void check(const std::vector<std::optional<Failure>>& answers, std::size_t count) {
  require(answers.size() == count, "each request has its answer");
  for (const auto& answer : answers) require(!answer || answer->error > 0, "a failure has an errno");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(Bytes(data, size));
  const std::uint8_t what = input.u8();
  const std::size_t count = 1 + input.u8() % 40;
  Kernel kernel;
  while (!input.empty()) kernel.say(input.chunk());
  CommandSocket socket(kernel.take(), what & 0x80 ? 1 : 4096, 0);
  RequestBatch batch = requests(count);
  std::vector<std::optional<Failure>> answers;
  switch (what % 5) {
    case 0:
      (void)socket.execute(batch, answers);
      check(answers, count);
      break;
    case 1:
      if (const Status status = socket.execute(batch); !status) require(status.failure().error > 0, "an errno");
      break;
    case 2:
      if (!socket.submit(batch)) break;
      (void)socket.collect(batch, answers);
      check(answers, count);
      break;
    case 3:
      if (const auto answer = socket.query(batch); answer.ok()) {
        MessageReader reader(answer.value());
        require(answer.value().empty() || (reader.next() && !reader.next()), "the answer is a message");
        require(!reader.malformed(), "a whole one");
      } else {
        require(answer.failure().error > 0, "a failure has an errno");
      }
      break;
    default:
      if (const auto dump = socket.dump(batch); dump.ok()) {
        MessageReader reader(dump.value().bytes);
        while (reader.next()) continue;
        require(!reader.malformed(), "a dump is whole messages");
      } else {
        require(dump.failure().error > 0, "a failure has an errno");
      }
  }
  return 0;
}
