// resolver/reactor.h and resolver/overlay_port.h on the real kernel: a host, an overlay and a container, each a
// namespace of its own.
#include "resolver/reactor.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "netlink/socket.h"
#include "netns/namespace.h"
#include "netns/proc_files.h"
#include "netns/socket.h"
#include "rtnl/address.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"
#include "rtnl/neighbor.h"
#include "rtnl/route.h"
#include "support.h"

using namespace overns;
using namespace std::chrono_literals;
using support::ip;
using support::mac;

namespace {

const Ip kHere = ip("10.0.0.10");
const Ip kThere = ip("10.0.0.11");

template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit = 30s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return condition();
}

// The host with its underlay, the overlay with br0 and vxlan1, and one container attached to it.
class Site {
 public:
  static std::optional<Site> make() {
    auto host = support::Namespace::make();
    auto remote = support::Namespace::make();
    auto overlay = support::Namespace::make();
    auto container = support::Namespace::make();
    if (!host || !remote || !overlay || !container) return std::nullopt;
    return Site(std::move(*host), std::move(*remote), std::move(*overlay), std::move(*container));
  }

  std::int32_t make_vxlan() {
    // On the host's socket, so that it stays linked to the host.
    LinkSpec spec;
    spec.kind = "vxlan";
    spec.name = "vxlan1";
    spec.netns_fd = overlay.fd();
    for (const AttributePolicy& policy : info_policies("vxlan")) {
      const std::string_view name = policy.name;
      if (name == "vni") spec.info.push_back({&policy, std::uint64_t{42}});
      if (name == "port") spec.info.push_back({&policy, std::uint64_t{4789}});
      if (name == "proxy" || name == "learning" || name == "l2miss" || name == "l3miss")
        spec.info.push_back({&policy, std::uint64_t{1}});
    }
    RequestBatch batch;
    encode_link(batch, spec, NLM_F_CREATE | NLM_F_EXCL);
    const Status made = in_host->execute(batch);
    INFO(support::text(made));
    REQUIRE(made.ok());
    auto bridge = link_index(*in_overlay, "br0");
    auto vxlan = link_index(*in_overlay, "vxlan1");
    REQUIRE(bridge.ok());
    REQUIRE(vxlan.ok());
    change("vxlan1", [&](LinkSpec& link) {
      link.master = static_cast<std::uint32_t>(*bridge);
      link.up = true;
    });
    return *vxlan;
  }

  void change(const std::string& name, const std::function<void(LinkSpec&)>& edit) {
    RequestBatch batch;
    LinkSpec spec;
    spec.name = name;
    edit(spec);
    encode_link(batch, spec, 0);
    const Status changed = in_overlay->execute(batch);
    INFO(support::text(changed));
    REQUIRE(changed.ok());
  }

  // More news of links than any socket keeps that does not read.
  void overflow_link_events() {
    RequestBatch batch;
    LinkSpec spec;
    spec.name = "c1";
    spec.alias = std::string(200, 'x');
    for (int i = 0; i < 3000; ++i) encode_link(batch, spec, 0);
    REQUIRE(in_overlay->execute(batch).ok());
  }

  // The kernel tells a bridge of a carrier some time after it is there; until then the port forwards nothing.
  void wait_until_forwarding() {
    const auto up = [&](const std::string& name) {
      RequestBatch query;
      encode_get_link(query, 0, name);
      auto answer = in_overlay->query(query);
      REQUIRE(answer.ok());
      MessageReader reader(*answer);
      return decode_link(*reader.next())->operstate == IF_OPER_UP;
    };
    REQUIRE(eventually([&] { return up("c1") && up("br0"); }));
  }

  void host_lo(bool up) {
    RequestBatch batch;
    LinkSpec spec;
    spec.name = "lo";
    spec.up = up;
    encode_link(batch, spec, 0);
    REQUIRE(in_host->execute(batch).ok());
  }

  // Makes the container ask for an address, by a datagram to it.
  void ask(const Ip& target) {
    sockaddr_storage address{};
    socklen_t length = 0;
    if (target.is_v4()) {
      auto* in = reinterpret_cast<sockaddr_in*>(&address);
      in->sin_family = AF_INET;
      in->sin_port = htons(9);
      std::memcpy(&in->sin_addr, target.bytes.data(), 4);
      length = sizeof *in;
    } else {
      auto* in6 = reinterpret_cast<sockaddr_in6*>(&address);
      in6->sin6_family = AF_INET6;
      in6->sin6_port = htons(9);
      std::memcpy(&in6->sin6_addr, target.bytes.data(), 16);
      length = sizeof *in6;
    }
    auto socket = open_socket(container.path(), target.family, SOCK_DGRAM, 0);
    REQUIRE(socket.ok());
    (void)sendto(socket->get(), "?", 1, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&address), length);
  }

  // The MAC that the container has learned for an address.
  std::optional<Mac> known(const Ip& target) {
    return neighbor(*in_container, target, NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE);
  }
  std::optional<Mac> programmed(const Ip& target) { return neighbor(*in_overlay, target, NUD_PERMANENT); }

  // How often the container has asked for it: the kernel counts on from the unicast probes that it leaves out
  // (__neigh_event_send).
  std::uint32_t asked(const Ip& target) {
    constexpr std::uint32_t kUnicastProbes = 3;
    for (const NeighborEntry& entry : neighbors(*in_container, target.family)) {
      if (entry.ip == target && entry.probes) return *entry.probes - kUnicastProbes;
    }
    return 0;
  }

  static std::optional<Mac> neighbor(CommandSocket& socket, const Ip& target, unsigned states) {
    for (const NeighborEntry& entry : neighbors(socket, target.family)) {
      if (entry.ip == target && entry.mac && (entry.state & states) != 0) return entry.mac;
    }
    return std::nullopt;
  }

  static std::vector<NeighborEntry> neighbors(CommandSocket& socket, std::uint8_t family) {
    RequestBatch batch;
    encode_get_neighbors(batch, family, 0, 0);
    auto dump = socket.dump(batch);
    REQUIRE(dump.ok());
    std::vector<NeighborEntry> entries;
    MessageReader reader(dump->bytes);
    while (const auto message = reader.next()) {
      if (auto entry = decode_neighbor(*message)) entries.push_back(std::move(*entry));
    }
    return entries;
  }

  std::vector<NeighborEntry> fdb() {
    auto entries = neighbors(*in_overlay, AF_BRIDGE);
    std::erase_if(entries, [](const NeighborEntry& entry) { return entry.ip.empty(); });
    return entries;
  }
  std::size_t punt_rows() {
    const auto rows = fdb();
    return static_cast<std::size_t>(std::ranges::count_if(
        rows, [](const NeighborEntry& entry) { return entry.mac == Mac{} && entry.ip == ip("127.0.0.1"); }));
  }

  support::Namespace host;
  support::Namespace remote;
  support::Namespace overlay;
  support::Namespace container;
  std::optional<CommandSocket> in_host;
  std::optional<CommandSocket> in_remote;
  std::optional<CommandSocket> in_overlay;
  std::optional<CommandSocket> in_container;

 private:
  Site(support::Namespace a, support::Namespace b, support::Namespace c, support::Namespace d)
      : host(std::move(a)), remote(std::move(b)), overlay(std::move(c)), container(std::move(d)) {
    const auto open = [](const support::Namespace& netns) {
      auto socket = CommandSocket::open(netns.path());
      REQUIRE(socket.ok());
      return std::optional<CommandSocket>(std::move(*socket));
    };
    in_host = open(host);
    in_remote = open(remote);
    in_overlay = open(overlay);
    in_container = open(container);
    support::set_up(*in_host, "lo");
    support::add_veth(*in_host, "under", "under", remote.fd());
    support::set_up(*in_remote, "under");
    support::add_address(*in_host, "under", kHere, 24);
    support::add_address(*in_remote, "under", kThere, 24);
    support::add_bridge(*in_overlay, "br0");
    make_vxlan();
    support::add_veth(*in_overlay, "c1", "eth0", container.fd());
    auto bridge = link_index(*in_overlay, "br0");
    REQUIRE(bridge.ok());
    change("c1", [&](LinkSpec& link) { link.master = static_cast<std::uint32_t>(*bridge); });
    change("c1", [&](LinkSpec& link) { link.alias = "overns 02:42:c0:a8:00:02 192.168.0.2/24,fd00::2/64 c1"; });
    RequestBatch batch;
    LinkSpec spec;
    spec.name = "eth0";
    spec.mac = mac("02:42:c0:a8:00:02");
    spec.up = true;
    encode_link(batch, spec, 0);
    REQUIRE(in_container->execute(batch).ok());
    support::add_address(*in_container, "eth0", ip("192.168.0.2"), 24);
    support::add_address(*in_container, "eth0", ip("fd00::2"), 64);
    wait_until_forwarding();
    // An IPv6 address is received at when its local route is there, for which the kernel takes its time too.
    REQUIRE(eventually([&] {
      RequestBatch routes;
      encode_get_routes(routes, {AF_INET6, RT_TABLE_LOCAL});
      auto dump = in_container->dump(routes);
      REQUIRE(dump.ok());
      MessageReader reader(dump->bytes);
      bool found = false;
      while (const auto message = reader.next()) {
        const auto route = decode_route(*message);
        found = found || (route && route->destination == ip("fd00::2"));
      }
      return found;
    }));
    // Who asks twice has waited for it, however slow the machine is.
    for (const char* name : {"ipv4/neigh/eth0/retrans_time_ms", "ipv6/neigh/eth0/retrans_time_ms"})
      REQUIRE(write_sysctl(container.path(), name, "10000").ok());
  }
};

// A resolver thread that serves one site; lookups are answered by the test.
class Serving {
 public:
  explicit Serving(Site& site, const std::function<void(OverlayPortOptions&)>& edit = {}) {
    REQUIRE(reactor.start().ok());
    OverlayPortOptions options;
    options.netns = site.overlay.path();
    options.host_netns = site.host.path();
    options.engine.vtep = kHere;
    if (edit) edit(options);
    auto opened = OverlayPort::open(reactor.new_id(), options);
    INFO(support::text(opened));
    REQUIRE(opened.ok());
    port = std::move(*opened);
    port->wanted() = ~0U;
    REQUIRE(reactor.add(port).ok());
  }

  void put(const Ip& target, const Mac& hardware, const Ip& vtep) {
    reactor.post(port->id(),
                 [=](OverlayPort& served) { served.engine().put(target, hardware, vtep, monotonic_now()); });
  }
  // The same, and it has been done when this returns.
  void know(const Ip& target, const Mac& hardware, const Ip& vtep) {
    put(target, hardware, vtep);
    const Pause pause(*this);
  }
  void found(const OutLookup& lookup, const Mac& hardware, const Ip& vtep) {
    reactor.post(port->id(), [=](OverlayPort& served) {
      served.engine().on_answer(lookup.token, lookup.key, LookupResult::kFound, hardware, vtep, 0, monotonic_now());
    });
  }
  void take() {
    Outbox box;
    reactor.take(box);
    events.insert(events.end(), box.events.begin(), box.events.end());
    lookups.insert(lookups.end(), box.lookups.begin(), box.lookups.end());
  }
  std::size_t count(EventKind kind) {
    take();
    return static_cast<std::size_t>(
        std::ranges::count_if(events, [&](const OutEvent& out) { return out.event.kind == kind; }));
  }

  // Keeps the thread busy with something else until told.
  class Pause {
   public:
    explicit Pause(Serving& serving) {
      serving.reactor.post(serving.port->id(), [this](OverlayPort&) {
        std::unique_lock lock(mutex_);
        paused_ = true;
        condition_.notify_all();
        condition_.wait(lock, [&] { return over_; });
        left_ = true;
        condition_.notify_all();
      });
      std::unique_lock lock(mutex_);
      condition_.wait(lock, [&] { return paused_; });
    }
    ~Pause() {
      std::unique_lock lock(mutex_);
      over_ = true;
      condition_.notify_all();
      condition_.wait(lock, [&] { return left_; });
    }

   private:
    std::mutex mutex_;
    std::condition_variable condition_;
    bool paused_ = false;
    bool over_ = false;
    bool left_ = false;
  };

  std::atomic<int> notified{0};
  Reactor reactor{[this] { ++notified; }};
  std::shared_ptr<OverlayPort> port;
  std::vector<OutEvent> events;
  std::vector<OutLookup> lookups;
};

}  // namespace

TEST_CASE("reactor: what is known is answered without anybody else, IPv4 and IPv6") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  CHECK(serving.port->no_punt().empty());
  const Mac hardware = mac("02:42:c0:a8:00:03");
  for (const Ip& target : {ip("192.168.0.3"), ip("fd00::3")}) {
    INFO(target.to_string());
    serving.know(target, hardware, kThere);
    site->ask(target);
    CHECK(eventually([&] { return site->known(target) == hardware; }));
    CHECK(site->asked(target) == 1);
    CHECK(site->programmed(target) == hardware);
  }
  const auto rows = site->fdb();
  CHECK(std::ranges::any_of(rows,
                            [&](const NeighborEntry& entry) { return entry.mac == hardware && entry.ip == kThere; }));
  CHECK(eventually([&] { return serving.count(EventKind::kResolved) >= 2; }));
  for (const OutLookup& lookup : serving.lookups) {
    INFO("looked up " << lookup.key.ip().to_string() << lookup.key.mac().to_string());
    CHECK(false);
  }
  CHECK(serving.notified > 0);
}

TEST_CASE("reactor: what is not known is asked for once, and answered when the store has") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  const Ip target = ip("192.168.0.3");
  site->ask(target);
  REQUIRE(eventually([&] {
    serving.take();
    return !serving.lookups.empty();
  }));
  CHECK(serving.lookups[0].key == AskKey::of(target));
  CHECK_FALSE(site->programmed(target));
  serving.found(serving.lookups[0], mac("02:42:c0:a8:00:03"), kThere);
  CHECK(eventually([&] { return site->known(target).has_value(); }));
  CHECK(site->asked(target) == 1);
  serving.take();
  CHECK(serving.lookups.size() == 1);
  CHECK(serving.port->counters().lookups == 1);
}

TEST_CASE("reactor: a container here is never programmed, and known as soon as its alias says so") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  serving.put(ip("192.168.0.2"), mac("02:42:c0:a8:00:02"), kThere);  // a record left behind
  site->ask(ip("192.168.0.3"));
  REQUIRE(eventually([&] {
    serving.take();
    return !serving.lookups.empty();
  }));
  CHECK_FALSE(site->programmed(ip("192.168.0.2")));
  site->change("c1", [](LinkSpec& link) { link.alias = "overns 02:42:c0:a8:00:02 192.168.0.2/24,192.168.0.3/24 c1"; });
  serving.found(serving.lookups[0], mac("02:42:c0:a8:00:03"), kThere);
  site->ask(ip("192.168.0.4"));
  CHECK(eventually([&] {
    serving.take();
    return serving.lookups.size() >= 2;
  }));
  CHECK_FALSE(site->programmed(ip("192.168.0.3")));
}

TEST_CASE("reactor: entries that were there are taken over") {
  auto site = Site::make();
  if (!site) return;
  auto vxlan = link_index(*site->in_overlay, "vxlan1");
  REQUIRE(vxlan.ok());
  NeighborEntry entry;
  entry.family = AF_INET;
  entry.index = *vxlan;
  entry.state = NUD_PERMANENT;
  entry.ip = ip("192.168.0.9");
  entry.mac = mac("02:42:c0:a8:00:09");
  RequestBatch batch;
  encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE, entry);
  REQUIRE(site->in_overlay->execute(batch).ok());
  const auto began = std::chrono::steady_clock::now();
  Serving serving(*site, [](OverlayPortOptions& options) { options.engine.answer_ttl_ms = 200; });
  const bool programmed = site->programmed(entry.ip).has_value();
  CHECK((programmed || std::chrono::steady_clock::now() - began >= 200ms));
  CHECK(eventually([&] { return !site->programmed(entry.ip); }));
}

TEST_CASE("reactor: the vxlan device goes and comes back") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  const Ip target = ip("192.168.0.3");
  serving.know(target, mac("02:42:c0:a8:00:03"), kThere);
  site->ask(target);
  REQUIRE(eventually([&] { return site->programmed(target).has_value(); }));
  support::delete_link(*site->in_overlay, "vxlan1");
  CHECK(eventually([&] { return serving.count(EventKind::kOverlayLost) == 1; }));
  site->make_vxlan();
  CHECK(eventually([&] { return serving.count(EventKind::kOverlayBack) == 1; }));
  CHECK(eventually([&] { return site->punt_rows() == 1; }));
  const Ip other = ip("192.168.0.4");
  serving.know(other, mac("02:42:c0:a8:00:04"), kThere);
  site->ask(other);
  CHECK(eventually([&] { return site->known(other).has_value(); }));
  CHECK(site->asked(other) == 1);
}

TEST_CASE("reactor: an overlay without its devices, or no overlay at all, is refused and leaves nothing open") {
  auto site = Site::make();
  if (!site) return;
  const std::size_t before = support::open_descriptors();
  OverlayPortOptions options;
  options.netns = site->overlay.path();
  options.host_netns = site->host.path();
  options.engine.vtep = kHere;
  options.bridge = "br1";
  auto none = OverlayPort::open(1, options);
  REQUIRE_FALSE(none.ok());
  CHECK(none.failure().error == ENODEV);
  options.bridge = "br0";
  options.netns = "/nowhere/at/all";
  none = OverlayPort::open(1, options);
  REQUIRE_FALSE(none.ok());
  CHECK(none.failure().error == ENOENT);
  options.netns = site->overlay.path();
  options.host_netns = "/nowhere/at/all";  // the punt is not had; all else is
  auto without = OverlayPort::open(1, options);
  REQUIRE(without.ok());
  CHECK_FALSE((*without)->no_punt().empty());
  without = Failure{};
  CHECK(support::open_descriptors() == before);
}

TEST_CASE("reactor: overlays come and go while they are served, and the thread ends in the middle of it") {
  auto site = Site::make();
  if (!site) return;
  const std::size_t before = support::open_descriptors();
  for (int round = 0; round < 20; ++round) {
    Serving serving(*site);
    CHECK(site->punt_rows() == 1);
    std::thread other([&] {
      for (std::uint32_t i = 0; i < 50; ++i)
        serving.put(ip("192.168.0." + std::to_string(1 + i)), mac("02:42:c0:a8:00:03"), kThere);
    });
    site->ask(ip("192.168.0.77"));
    if (round % 2 == 0) {
      serving.reactor.remove(serving.port->id());
      CHECK(site->punt_rows() == 0);
      serving.put(ip("192.168.0.3"), mac("02:42:c0:a8:00:03"), kThere);  // to nobody
    } else {
      serving.reactor.stop();
      CHECK(site->punt_rows() == 0);
      CHECK(serving.reactor.add(serving.port).failure().error == ECANCELED);
      serving.reactor.remove(serving.port->id());
    }
    other.join();
  }
  CHECK(support::open_descriptors() == before);
}

TEST_CASE("reactor: threads that start, add, post, take, remove and stop, all at once") {
  auto site = Site::make();
  if (!site) return;
  const std::size_t before = support::open_descriptors();
  const std::uint64_t seed = 20240611;
  INFO("seed " << seed);
  support::Random random(seed);
  std::size_t served = 0;
  for (int round = 0; round < 8; ++round) {
    std::atomic<int> notified{0};
    std::atomic<std::size_t> ran{0};
    std::atomic<std::size_t> adopted{0};
    std::atomic<std::size_t> failed{0};
    std::atomic<bool> over{false};
    Reactor reactor([&] { ++notified; });

    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        while (!over) {
          OverlayPortOptions options;
          options.netns = site->overlay.path();
          options.host_netns = site->host.path();
          options.engine.vtep = kHere;
          options.punt = false;
          auto opened = OverlayPort::open(reactor.new_id(), options);
          if (!opened) {
            ++failed;
            continue;
          }
          const std::shared_ptr<OverlayPort> port(std::move(*opened));
          port->wanted() = ~0U;
          const Status added = reactor.add(port);
          if (added) {
            ++adopted;
          } else if (added.failure().error != ECANCELED) {
            ++failed;
          }
          reactor.post(port->id(), [&](OverlayPort& one) {
            one.engine().put(ip("192.168.0.3"), mac("02:42:c0:a8:00:03"), kThere, monotonic_now());
            ++ran;
          });
          reactor.remove(port->id());
        }
      });
      threads.emplace_back([&] {
        for (std::uint32_t id = 1; !over; id = id % 64 + 1) {
          reactor.post(id, [&](OverlayPort& one) { ran += one.counters().misses < 1'000'000 ? 1U : 0U; });
          if (id == 64) std::this_thread::sleep_for(100us);  // or the thread would have nothing else to do
        }
      });
    }
    threads.emplace_back([&] {
      Outbox box;
      while (!over) reactor.take(box);
    });
    threads.emplace_back([&] {
      while (!over) site->ask(ip("192.168.0.3"));
    });

    std::this_thread::sleep_for(std::chrono::microseconds(random.below(500)));
    REQUIRE(reactor.start().ok());
    CHECK(eventually([&] { return adopted >= 4 && ran > 0; }));
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(3000)));
    reactor.stop();
    const std::size_t when_stopped = ran;
    std::this_thread::sleep_for(1ms);
    CHECK(ran == when_stopped);  // nothing runs after it
    over = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    served += adopted;
  }
  CHECK(served >= 32);
  CHECK(support::open_descriptors() == before);
}

TEST_CASE("reactor: misses that the kernel drops are counted, and their requests answered all the same") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site, [](OverlayPortOptions& options) { options.receive_buffer = 4096; });
  constexpr int kTargets = 60;
  for (int i = 0; i < kTargets; ++i)
    serving.put(ip("192.168.0." + std::to_string(100 + i)), mac("02:42:c0:a8:00:03"), kThere);
  {
    const Serving::Pause pause(serving);
    for (int i = 0; i < kTargets; ++i) site->ask(ip("192.168.0." + std::to_string(100 + i)));
  }
  CHECK(eventually([&] { return serving.count(EventKind::kOverrun) >= 1; }));
  for (int i = 0; i < kTargets; ++i) {
    const Ip target = ip("192.168.0." + std::to_string(100 + i));
    INFO(target.to_string());
    CHECK(eventually([&] { return site->known(target).has_value(); }));
    CHECK(site->asked(target) == 1);
  }
}

TEST_CASE("reactor: the punt is there while the host's lo is up, and not made again and again") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  REQUIRE(site->punt_rows() == 1);
  site->host_lo(false);
  CHECK(eventually([&] { return site->punt_rows() == 0; }));
  site->host_lo(true);
  CHECK(eventually([&] { return site->punt_rows() == 1; }));
  {
    const Serving::Pause pause(serving);  // both in one read
    site->host_lo(false);
    site->host_lo(true);
  }
  for (int round = 0; round < 2; ++round) const Serving::Pause read(serving);
  CHECK(site->punt_rows() == 1);
  // From here on nothing changes any more.
  const std::uint32_t groups[] = {RTNLGRP_NEIGH};
  auto news = open_event_socket(site->overlay.path(), {groups, 1 << 20, {}});
  REQUIRE(news.ok());
  std::this_thread::sleep_for(50ms);
  int changes = 0;
  std::uint8_t bytes[4096];
  ssize_t size;
  while ((size = recv(news->get(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
    MessageReader reader(Bytes(bytes, static_cast<std::size_t>(size)));
    const auto message = reader.next();
    const auto entry = message ? decode_neighbor(*message) : std::nullopt;
    changes += entry && entry->mac == Mac{} ? 1 : 0;
  }
  CHECK(errno == EAGAIN);  // and not so many that some were lost
  CHECK(changes == 0);
  CHECK(site->punt_rows() == 1);
}

TEST_CASE("reactor: the bridge goes and comes back") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  support::delete_link(*site->in_overlay, "br0");
  const std::int32_t bridge = support::add_bridge(*site->in_overlay, "br0");
  for (const char* name : {"vxlan1", "c1"})
    site->change(name, [&](LinkSpec& link) { link.master = static_cast<std::uint32_t>(bridge); });
  site->wait_until_forwarding();
  for (const Ip& target : {ip("192.168.0.3"), ip("fd00::3")}) {
    INFO(target.to_string());
    serving.know(target, mac("02:42:c0:a8:00:03"), kThere);
    site->ask(target);
    CHECK(eventually([&] { return site->known(target).has_value(); }));
    CHECK(site->asked(target) == 1);
  }
}

TEST_CASE("reactor: what happens while more is told of links than can be kept is not missed") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  support::add_veth(*site->in_overlay, "c2", "c2peer", -1);
  site->change("c2", [](LinkSpec& link) { link.alias = "overns 02:42:c0:a8:00:07 192.168.0.7/24 c2"; });
  const Ip target = ip("192.168.0.7");
  serving.know(target, mac("02:42:c0:a8:00:07"), kThere);
  site->ask(target);
  std::this_thread::sleep_for(20ms);
  REQUIRE_FALSE(site->programmed(target));  // it is here
  {
    const Serving::Pause pause(serving);
    site->overflow_link_events();
    site->change("c1", [](LinkSpec& link) { link.alias = "overns 02:42:c0:a8:00:02 192.168.0.2/24 c1"; });
    support::delete_link(*site->in_overlay, "c2");
    support::delete_link(*site->in_overlay, "vxlan1");
    site->make_vxlan();
  }
  CHECK(eventually([&] { return serving.count(EventKind::kOverlayBack) == 1; }));
  CHECK(serving.count(EventKind::kOverlayLost) == 1);
  site->ask(target);
  CHECK(eventually([&] { return site->programmed(target).has_value(); }));
}

TEST_CASE("reactor: a device that has gone is told of once, whichever tells first") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  {
    // The events of its end are queued, and the dump that makes up for those that were lost tells of it too.
    const Serving::Pause pause(serving);
    support::delete_link(*site->in_overlay, "vxlan1");
    site->overflow_link_events();
  }
  CHECK(eventually([&] { return serving.count(EventKind::kOverlayLost) >= 1; }));
  for (int round = 0; round < 2; ++round) const Serving::Pause read(serving);
  CHECK(serving.count(EventKind::kOverlayLost) == 1);
  CHECK(serving.count(EventKind::kOverlayBack) == 0);
  site->make_vxlan();
  CHECK(eventually([&] { return serving.count(EventKind::kOverlayBack) >= 1; }));
  CHECK(serving.count(EventKind::kOverlayBack) == 1);
}

TEST_CASE("reactor: a packet for an unknown MAC goes on to its host, also when the MTU has grown since") {
  auto site = Site::make();
  if (!site) return;
  Serving serving(*site);
  REQUIRE(serving.port->no_punt().empty());
  // The remote host, as far as this test needs it: who receives VXLAN packets.
  auto receiver = open_socket(site->remote.path(), AF_INET, SOCK_DGRAM, 0);
  REQUIRE(receiver.ok());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(4789);
  REQUIRE(bind(receiver->get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const auto hardware = mac("02:42:c0:a8:00:03");
  const auto received = [&](std::size_t least) {
    return eventually([&] {
      std::uint8_t packet[16384];
      const ssize_t size = recv(receiver->get(), packet, sizeof packet, MSG_DONTWAIT);
      const auto parsed = size > 0 ? parse_vxlan_packet(Bytes(packet, static_cast<std::size_t>(size))) : std::nullopt;
      return parsed && parsed->vni == 42 && parsed->destination == hardware && parsed->packet.size() >= least;
    });
  };
  // The container knows the neighbour, the overlay does not know the MAC.
  const auto send = [&](std::size_t size) {
    auto eth0 = link_index(*site->in_container, "eth0");
    REQUIRE(eth0.ok());
    NeighborEntry entry;
    entry.family = AF_INET;
    entry.index = *eth0;
    entry.state = NUD_PERMANENT;
    entry.ip = ip("192.168.0.3");
    entry.mac = hardware;
    RequestBatch batch;
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
    REQUIRE(site->in_container->execute(batch).ok());
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    std::memcpy(&to.sin_addr, entry.ip.bytes.data(), 4);
    auto socket = open_socket(site->container.path(), AF_INET, SOCK_DGRAM, 0);
    REQUIRE(socket.ok());
    const support::ByteVector payload(size, 'x');
    REQUIRE(sendto(socket->get(), payload.data(), size, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) ==
            static_cast<ssize_t>(size));
  };
  serving.know(ip("192.168.0.3"), hardware, kThere);
  send(100);
  CHECK(received(100));

  // Jumbo frames, from the underlay up to the container.
  const auto mtu = [](CommandSocket& socket, const std::string& name, std::uint32_t value) {
    RequestBatch batch;
    LinkSpec spec;
    spec.name = name;
    spec.mtu = value;
    encode_link(batch, spec, 0);
    const Status status = socket.execute(batch);
    INFO(name << ": " << support::text(status));
    REQUIRE(status.ok());
  };
  mtu(*site->in_host, "under", 9000);
  mtu(*site->in_remote, "under", 9000);
  for (const char* name : {"vxlan1", "br0", "c1"}) mtu(*site->in_overlay, name, 8900);
  mtu(*site->in_container, "eth0", 8900);
  std::this_thread::sleep_for(20ms);
  serving.reactor.post(serving.port->id(), [&](OverlayPort& served) { served.engine().forget(hardware); });
  serving.know(ip("192.168.0.3"), hardware, kThere);
  send(8000);
  CHECK(received(8000));
}
