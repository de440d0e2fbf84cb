// base/event_loop.h and netlink/event_reader.h: threads that start, stop and are talked to meanwhile.
#include "base/event_loop.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <thread>

#include "netlink/event_reader.h"
#include "netlink/socket.h"
#include "rtnl/link.h"
#include "rtnl/neighbor.h"
#include "support.h"

using namespace overns;

namespace {

using namespace std::chrono_literals;

class Recorder final : public EventLoop::Handler {
 public:
  void ready(std::uint32_t id) override {
    last_ready = id;
    ++readies;
    std::uint64_t drained;
    if (fd >= 0) (void)!read(fd, &drained, sizeof drained);
  }
  int turn() override {
    ++turns;
    return sleep_ms;
  }

  std::atomic<int> fd{-1};
  std::atomic<int> sleep_ms{-1};
  std::atomic<std::uint32_t> last_ready{0};
  std::atomic<int> readies{0};
  std::atomic<int> turns{0};
};

// For what another thread brings about: it comes within the time, or never.
template <class Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 30'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

void signal(int fd) {
  const std::uint64_t one = 1;
  REQUIRE(write(fd, &one, sizeof one) == sizeof one);
}

}  // namespace

TEST_CASE("loop: tasks run on its thread, in order, and all of them before it ends") {
  Recorder recorder;
  EventLoop loop(recorder);
  REQUIRE(loop.start("test-loop").ok());
  std::vector<int> order;
  std::thread::id where;
  for (int i = 0; i < 1000; ++i) {
    CHECK(loop.post([&, i] {
      order.push_back(i);
      where = std::this_thread::get_id();
    }));
  }
  loop.stop();
  CHECK(order.size() == 1000);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(where != std::this_thread::get_id());
}

TEST_CASE("loop: what is posted before the start and after the end is refused, not run") {
  Recorder recorder;
  EventLoop loop(recorder);
  bool ran = false;
  CHECK_FALSE(loop.post([&] { ran = true; }));
  CHECK_FALSE(loop.post_and_wait([&] { ran = true; }));
  REQUIRE(loop.start("test-loop").ok());
  loop.stop();
  loop.stop();  // twice is once
  CHECK_FALSE(loop.post([&] { ran = true; }));
  CHECK_FALSE(loop.post_and_wait([&] { ran = true; }));
  CHECK_FALSE(ran);
  CHECK_FALSE(loop.set_realtime(true));
}

TEST_CASE("loop: many threads wait for their tasks while it is stopped: each runs, or is refused") {
  for (int round = 0; round < 30; ++round) {
    Recorder recorder;
    auto loop = std::make_unique<EventLoop>(recorder);
    REQUIRE(loop->start("test-loop").ok());
    int unguarded = 0;  // written by tasks only: the loop's thread, or nobody
    std::atomic<int> promised{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        while (!go) std::this_thread::yield();
        for (int k = 0; k < 200; ++k) {
          if (loop->post_and_wait([&] { ++unguarded; })) ++promised;
        }
      });
    }
    go = true;
    if (round % 2 == 1) std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
    loop->stop();
    for (auto& thread : threads) thread.join();
    REQUIRE(unguarded == promised);
  }
}

TEST_CASE("loop: it ends though others go on posting") {
  Recorder recorder;
  EventLoop loop(recorder);
  REQUIRE(loop.start("test-loop").ok());
  std::atomic<int> ran{0};
  std::atomic<int> posting{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  threads.reserve(3);
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      ++posting;
      while (!over) {
        (void)loop.post([&] {
          ++ran;
          if (!over) std::this_thread::sleep_for(10us);  // longer than it takes to post the next
        });
        std::this_thread::sleep_for(1us);
      }
    });
  }
  CHECK(eventually([&] { return posting == 3 && ran > 0; }));
  std::atomic<bool> stopped{false};
  std::thread stopping([&] {
    loop.stop();
    stopped = true;
  });
  CHECK(eventually([&] { return stopped.load(); }));
  over = true;
  for (auto& thread : threads) thread.join();
  stopping.join();
}

TEST_CASE("loop: a task may post another") {
  Recorder recorder;
  EventLoop loop(recorder);
  REQUIRE(loop.start("test-loop").ok());
  std::atomic<int> depth{0};
  std::function<void()> again = [&] {
    if (++depth < 100) CHECK(loop.post(again));
  };
  CHECK(loop.post(again));
  CHECK(eventually([&] { return depth == 100; }));
  loop.stop();
}

TEST_CASE("loop: a readable descriptor is told under its id, and no longer when it is not watched") {
  Recorder recorder;
  EventLoop loop(recorder);
  const UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  recorder.fd = fd.get();
  REQUIRE(loop.start("test-loop").ok());
  Status watched = done();
  CHECK(loop.post_and_wait([&] { watched = loop.watch(fd.get(), 77); }));
  CHECK(watched.ok());
  signal(fd.get());
  CHECK(eventually([&] { return recorder.last_ready == 77; }));
  CHECK(loop.post_and_wait([&] { loop.unwatch(fd.get()); }));
  const int before = recorder.readies;
  signal(fd.get());
  CHECK(loop.post_and_wait([] {}));
  CHECK(loop.post_and_wait([] {}));
  CHECK(recorder.readies == before);
  CHECK(loop.post_and_wait([&] { watched = loop.watch(-1, 78); }));
  REQUIRE_FALSE(watched.ok());
  CHECK(watched.failure().call == "epoll_ctl");
  loop.stop();
}

TEST_CASE("loop: it sleeps no longer than it is told") {
  Recorder recorder;
  recorder.sleep_ms = 1;
  EventLoop loop(recorder);
  REQUIRE(loop.start("test-loop").ok());
  CHECK(loop.post([] {}));
  CHECK(eventually([&] { return recorder.turns > 5; }));
  loop.stop();
}

TEST_CASE("loop: a thousand are started and stopped, and leave nothing open") {
  const std::size_t before = support::open_descriptors();
  for (int i = 0; i < 1000; ++i) {
    Recorder recorder;
    EventLoop loop(recorder);
    REQUIRE(loop.start("test-loop").ok());
    if (i % 3 == 0) CHECK(loop.post([] {}));
    if (i % 2 == 0) loop.stop();
  }
  CHECK(support::open_descriptors() == before);
}

// --- the monitor thread ----------------------------------------------------------------------------------------

namespace {

// Counts what a reader gathers, by subscription.
struct Gathered {
  std::atomic<int> notified{0};
  EventReader reader{[this] { ++notified; }};
  std::map<std::uint32_t, EventBytes> taken;

  void take() {
    for (auto& [id, news] : reader.take()) {
      EventBytes& all = taken[id];
      all.bytes.insert(all.bytes.end(), news.bytes.begin(), news.bytes.end());
      all.overrun += news.overrun;
      all.overflow += news.overflow;
    }
  }
  std::size_t messages(std::uint32_t id) {
    std::size_t count = 0;
    MessageReader reader_of(taken[id].bytes);
    while (reader_of.next()) ++count;
    CHECK_FALSE(reader_of.malformed());
    return count;
  }
};

UniqueFd neighbor_events(const support::Namespace& netns, int buffer = 1 << 20) {
  const std::uint32_t groups[] = {RTNLGRP_NEIGH};
  auto socket = open_event_socket(netns.path(), {groups, buffer, {}});
  REQUIRE(socket.ok());
  return std::move(*socket);
}

void add_neighbors(CommandSocket& socket, std::int32_t index, std::uint32_t first, std::uint32_t count) {
  RequestBatch batch;
  for (std::uint32_t i = first; i < first + count; ++i) {
    NeighborEntry entry;
    entry.family = AF_INET;
    entry.index = index;
    entry.state = NUD_PERMANENT;
    entry.ip = support::ip("10.1.0.0");
    entry.ip.bytes[2] = static_cast<std::uint8_t>(i >> 8);
    entry.ip.bytes[3] = static_cast<std::uint8_t>(i);
    entry.mac = support::mac("02:00:00:00:00:01");
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
  }
  REQUIRE(socket.execute(batch).ok());
}

}  // namespace

TEST_CASE("reader: several subscriptions, each its own news, until it is removed") {
  const auto one = support::Namespace::make();
  const auto two = support::Namespace::make();
  if (!one || !two) return;
  auto first = CommandSocket::open(one->path());
  auto second = CommandSocket::open(two->path());
  REQUIRE((first.ok() && second.ok()));
  const std::int32_t bridge_one = support::add_bridge(*first, "br0");
  const std::int32_t bridge_two = support::add_bridge(*second, "br0");
  Gathered gathered;
  REQUIRE(gathered.reader.start().ok());
  const std::uint32_t id_one = gathered.reader.add(neighbor_events(*one));
  const std::uint32_t id_two = gathered.reader.add(neighbor_events(*two));
  CHECK(id_one != id_two);
  add_neighbors(*first, bridge_one, 0, 300);
  add_neighbors(*second, bridge_two, 0, 20);
  CHECK(eventually([&] {
    gathered.take();
    return gathered.messages(id_one) == 300 && gathered.messages(id_two) == 20;
  }));
  CHECK(gathered.notified > 0);
  gathered.reader.remove(id_one);
  add_neighbors(*first, bridge_one, 300, 10);
  add_neighbors(*second, bridge_two, 20, 10);
  CHECK(eventually([&] {
    gathered.take();
    return gathered.messages(id_two) == 30;
  }));
  CHECK(gathered.messages(id_one) == 300);
  gathered.reader.stop();
  gathered.reader.remove(id_two);
  CHECK(gathered.reader.take().empty());
}

TEST_CASE("reader: nothing is said twice before it is taken") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  auto socket = CommandSocket::open(netns->path());
  REQUIRE(socket.ok());
  const std::int32_t bridge = support::add_bridge(*socket, "br0");
  Gathered gathered;
  REQUIRE(gathered.reader.start().ok());
  const std::uint32_t id = gathered.reader.add(neighbor_events(*netns));
  for (std::uint32_t i = 0; i < 50; ++i) add_neighbors(*socket, bridge, i * 10, 10);
  CHECK(eventually([&] { return gathered.notified >= 1; }));
  // Each waits for a round of the loop, in which up to 256 are read.
  for (int round = 0; round < 8; ++round) gathered.reader.remove(0);
  CHECK(gathered.notified == 1);
  gathered.take();
  CHECK(gathered.messages(id) == 500);
}

TEST_CASE("reader: sockets are added and removed while others tell, and the thread is stopped in the middle of it") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  auto socket = CommandSocket::open(netns->path());
  REQUIRE(socket.ok());
  const std::int32_t bridge = support::add_bridge(*socket, "br0");
  const std::size_t before = support::open_descriptors();
  for (int round = 0; round < 10; ++round) {
    Gathered gathered;
    REQUIRE(gathered.reader.start().ok());
    std::atomic<bool> stop{false};
    std::thread changer([&] {
      while (!stop) add_neighbors(*socket, bridge, 0, 64);
    });
    std::vector<std::uint32_t> ids;
    for (int i = 0; i < 10; ++i) {
      ids.push_back(gathered.reader.add(neighbor_events(*netns)));
      if (i % 3 == 2) {
        gathered.reader.remove(ids.front());
        ids.erase(ids.begin());
      }
      gathered.take();
    }
    gathered.reader.stop();
    gathered.take();
    CHECK(gathered.reader.add(neighbor_events(*netns)) != 0);  // heard by nobody
    stop = true;
    changer.join();
  }
  CHECK(support::open_descriptors() == before);
}

TEST_CASE("reader: each message is told, or counted as dropped") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  auto socket = CommandSocket::open(netns->path());
  REQUIRE(socket.ok());
  const std::int32_t bridge = support::add_bridge(*socket, "br0");
  Gathered gathered;
  REQUIRE(gathered.reader.start().ok());
  const std::uint32_t id = gathered.reader.add(neighbor_events(*netns, 4096));  // room for a few
  std::size_t told = 0;
  for (std::uint32_t i = 0; i < 300; ++i) {
    add_neighbors(*socket, bridge, i * 100, 100);
    told += 100;
  }
  CHECK(eventually([&] {
    gathered.take();
    return gathered.messages(id) + gathered.taken[id].overrun == told;
  }));
  CHECK(gathered.taken[id].overrun > 0);
  CHECK(gathered.messages(id) + gathered.taken[id].overrun == told);
}
