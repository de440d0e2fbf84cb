#include "engine_story.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "engine_world.h"

namespace support {

using namespace overns;

namespace {

const Ip kHere = support::ip("172.16.0.1");
constexpr std::uint32_t kIps = 8;
constexpr std::uint32_t kMacs = 6;

struct Frame {
  Ip key;
  Nanoseconds at = 0;
  int replays = 0;
};

EngineOptions options_for(const Choose& choose) {
  const auto one_in = [&](std::uint32_t chances) { return choose(chances) == 0; };
  EngineOptions options = World::defaults();
  options.max_lookups = one_in(2) ? 3 : 256;
  options.negative_ttl_ms = one_in(2) ? 1000 : 20'000;
  options.answer_ttl_ms = one_in(2) ? 60'000 : 1500;
  return options;
}

class Story {
 public:
  explicit Story(Choose choose) : choose_(std::move(choose)), world_(options_for(choose_)) {
    max_lookups_ = world_.engine_options.max_lookups;
  }

  std::string play(const std::function<bool()>& more) {
    while (more() && wrong_.empty()) {
      step();
      if (one_in(3)) turn();
    }
    if (wrong_.empty()) finish();
    return wrong_;
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return choose_(bound); }
  bool one_in(std::uint32_t chances) { return below(chances) == 0; }
  Ip some_ip() { return numbered_ip(1 + below(kIps)); }
  Mac some_mac() { return numbered_mac(1 + below(kMacs)); }
  Ip some_vtep() {
    const std::uint32_t number = below(5);
    return number == 0 ? kHere : support::ip("172.16.0." + std::to_string(1 + number));
  }
  bool is_local(const Ip& ip) const {
    return std::ranges::any_of(locals_, [&](const auto& local) { return local.second.first == ip; });
  }
  bool is_local(const Mac& mac) const {
    return std::ranges::any_of(locals_, [&](const auto& local) { return local.second.second == mac; });
  }

  void step() {
    switch (below(24)) {
      case 0:
      case 1:
      case 2: world_.miss(some_ip()); break;
      case 3: world_.miss(some_mac()); break;
      case 4:
      case 5:
      case 6: {
        const Ip target = some_ip();
        if (!is_local(target)) frames_[++serial_] = {target, world_.clock, 0};
        world_.tap(target, 1 + below(3), is_local(target) ? 0 : serial_);
        break;
      }
      case 7:
      case 8: {
        const Mac destination = some_mac();
        if (!is_local(destination)) ++packets_;
        world_.packet(destination, 1);
        break;
      }
      case 9:
      case 10:
      case 11: answer(); break;
      case 12: world_.put(some_ip(), some_mac(), some_vtep()); break;
      case 13: world_.engine.forget(some_ip()); break;
      case 14: world_.engine.forget(some_mac()); break;
      case 15:
        if (!one_in(4)) break;
        world_.engine.begin_reset(0);
        for (std::uint32_t i = below(5); i > 0; --i) world_.put(some_ip(), some_mac(), some_vtep());
        world_.end_reset(one_in(2));
        break;
      case 16: attach(); break;
      case 17:
        if (one_in(4)) world_.engine.on_overrun(1 + below(9), world_.clock);
        break;
      case 18:
        if (one_in(4)) world_.engine.set_store_down(store_down_ = !store_down_);
        break;
      case 19:  // by hand, or the kernel's ageing
        if (one_in(2)) world_.neighbors.erase(some_ip());
        if (one_in(2)) world_.fdb.erase(some_mac());
        break;
      case 20: {
        const std::uint32_t kind = below(8);
        if (kind == 0) world_.refuse = [](const KernelEntry&) { return ENOSPC; };
        if (kind == 1) world_.refuse = [](const KernelEntry& item) { return item.ip.empty() ? EINVAL : 0; };
        if (kind > 1) world_.refuse = nullptr;
        if (kind == 7) {
          world_.neighbors.clear();
          world_.fdb.clear();
          world_.engine.forget_programmed();
        }
        break;
      }
      case 21: redirect(); break;
      case 22: tell_of_request(); break;
      default:
        turn();
        world_.clock += (1 + below(700)) * kMs;
        turn();
        break;
    }
    collect_lookups();
  }

  void collect_lookups() {
    for (; collected_ < world_.lookups.size(); ++collected_) {
      if (!tokens_.insert(world_.lookups[collected_].token).second) wrong_ = "a token was given twice";
      pending_.push_back(world_.lookups[collected_]);
    }
    if (pending_.size() > max_lookups_) wrong_ = "too many lookups at once";
  }

  void answer() {
    if (pending_.empty()) return;
    const std::size_t which = below(static_cast<std::uint32_t>(pending_.size()));
    const World::Lookup lookup = pending_[which];
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(which));
    switch (below(8)) {
      case 0: world_.answer(lookup, LookupResult::kAbsent); break;
      case 1: world_.answer(lookup, LookupResult::kTimeout); break;
      case 2: world_.answer(lookup, LookupResult::kError); break;
      case 3: world_.found(lookup, Mac{}, some_vtep()); break;
      default: {
        const std::uint32_t ttls[] = {0, 100, 900, 5000};
        world_.found(lookup, some_mac(), some_vtep(), ttls[below(4)]);
        break;
      }
    }
    collect_lookups();
  }

  void redirect() {
    const Mac to = some_mac();
    std::vector<std::uint8_t> frame(54);
    std::copy(to.bytes.begin(), to.bytes.end(), frame.begin());
    frame[12] = 8;
    frame[14] = 0x45;
    frame[22] = 2;
    if (!world_.engine.redirect(frame, world_.clock)) return;
    const auto left = left_.find(to);
    if (is_local(to)) wrong_ = "a frame for what is here was sent on";
    if (left == left_.end() || world_.clock >= left->second + 60'000 * kMs)
      wrong_ = "a frame was sent on for a MAC that has not left, or long ago";
    if (world_.engine.redirect(frame, world_.clock)) wrong_ = "a frame whose time is over was sent on";
  }

  // As another host's resolver does of an ARP request.
  void tell_of_request() {
    const Ip asker = some_ip();
    const Ip target = some_ip();
    const Mac mac = some_mac();
    std::vector<std::uint8_t> frame(42);
    frame[12] = 8;
    frame[13] = 6;
    std::copy(mac.bytes.begin(), mac.bytes.end(), frame.begin() + 6);
    std::copy(mac.bytes.begin(), mac.bytes.end(), frame.begin() + 22);
    std::copy_n(asker.bytes.begin(), 4, frame.begin() + 28);
    world_.engine.on_primed({target, mac, frame}, world_.clock);
  }

  void attach() {
    const auto link = static_cast<std::int32_t>(1 + below(3));
    if (const auto before = locals_.find(link); before != locals_.end()) left_[before->second.second] = world_.clock;
    if (one_in(2)) {
      locals_.erase(link);
      world_.engine.set_local(link, {}, Mac{});
    } else {
      locals_[link] = {some_ip(), some_mac()};
      world_.engine.set_local(link, {locals_[link].first}, locals_[link].second);
    }
  }

  void turn() {
    world_.programs.clear();
    world_.turn();
    collect_lookups();
    for (const std::uint32_t serial : world_.take_replayed()) {
      const auto frame = frames_.find(serial);
      if (frame == frames_.end()) {
        wrong_ = "what is here was replayed";
      } else if (++frame->second.replays > 2) {
        wrong_ = "replayed more than twice";
      } else if (world_.clock - frame->second.at > 1000 * kMs) {
        wrong_ = "replayed too late";
      }
    }
    for (const auto& items : world_.programs) check_program(items);
    for (const auto& [ip, mac] : world_.neighbors) {
      if (is_local(ip)) wrong_ = "a neighbour of an address that is here";
    }
    for (const auto& [mac, vtep] : world_.fdb) {
      if (is_local(mac)) wrong_ = "an FDB entry of a MAC that is here";
      if (vtep == kHere) wrong_ = "an FDB entry that leads to this host";
    }
    for (const auto& [serial, vtep] : world_.forwarded) {
      if (vtep == kHere) wrong_ = "a packet was sent to this host";
    }
    world_.forwarded.clear();
    const auto& stats = world_.engine.counters();
    if (stats.forwarded + stats.packets_dropped > packets_) wrong_ = "a packet was counted twice";
    std::erase_if(frames_, [&](const auto& frame) { return world_.clock - frame.second.at > 2000 * kMs; });
  }

  void check_program(const std::vector<KernelEntry>& items) {
    std::set<std::pair<Ip, Mac>> seen;
    for (const KernelEntry& item : items) {
      if (!seen.insert({item.ip, item.ip.empty() ? item.mac : Mac{}}).second) wrong_ = "programmed twice in a round";
      if (item.vtep == kHere || is_local(item.mac) || (!item.ip.empty() && is_local(item.ip)))
        wrong_ = "programmed what is here";
      if (item.ip.empty() || !world_.neighbors.contains(item.ip)) continue;
      for (const auto& [serial, frame] : frames_) {
        if (frame.key == item.ip && frame.replays == 0 && world_.clock - frame.at <= 1000 * kMs)
          wrong_ = "a request was not replayed";
      }
    }
  }

  // All is answered, and time goes on from one moment that the engine waits for to the next, until it waits for none.
  void come_to_rest() {
    constexpr int kEnough = 5000;
    turn();
    for (int i = 0; i < kEnough && wrong_.empty(); ++i) {
      while (!pending_.empty()) answer();
      world_.clock = std::max(world_.clock + kMs, world_.wake);
      turn();
      if (world_.wake == 0 && pending_.empty()) return;
    }
    if (wrong_.empty()) wrong_ = "it never comes to rest";
  }

  void finish() {
    world_.refuse = nullptr;
    world_.engine.set_store_down(false);
    come_to_rest();
    const auto& stats = world_.engine.counters();
    if (stats.forwarded + stats.packets_dropped != packets_) wrong_ = "packets are kept though nothing is asked for";
    // Each address can be asked for and is answered, or the store is asked.
    for (std::uint32_t i = 1; i <= kIps && wrong_.empty(); ++i) {
      const Ip target = numbered_ip(i);
      const std::uint64_t before = stats.local + stats.lookups + stats.negative + stats.rejected;
      world_.neighbors.erase(target);
      world_.miss(target);
      turn();
      if (stats.local + stats.lookups + stats.negative + stats.rejected == before && !world_.neighbors.contains(target))
        wrong_ = "a miss came to nothing";
      while (!pending_.empty()) answer();
    }
    while (!pending_.empty()) answer();
    turn();
    // When the watch has nothing any more and all TTLs are over, no neighbour is left.
    world_.engine.begin_reset(0);
    world_.end_reset();
    come_to_rest();
    if (wrong_.empty() && !world_.neighbors.empty()) wrong_ = "a neighbour was left behind";
  }

  Choose choose_;
  World world_;
  std::size_t max_lookups_ = 0;
  std::map<std::uint32_t, Frame> frames_;
  std::uint32_t serial_ = 0;
  std::vector<World::Lookup> pending_;
  std::size_t collected_ = 0;
  std::set<std::uint32_t> tokens_;
  std::map<std::int32_t, std::pair<Ip, Mac>> locals_;
  std::map<Mac, Nanoseconds> left_;
  bool store_down_ = false;
  std::uint64_t packets_ = 0;
  std::string wrong_;
};

}  // namespace

std::string play_story(Choose choose, const std::function<bool()>& more) { return Story(std::move(choose)).play(more); }

}  // namespace support
