// A world for the miss engine: a clock that stands still until told, a kernel that keeps entries, and a record of
// what the engine did to it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/miss_engine.h"
#include "support.h"

namespace support {

constexpr overns::Nanoseconds kMs = 1'000'000;

// An ARP request: who asks, and a number to know it by.
overns::SwallowedRequest request(const overns::Ip& target, std::uint32_t asker, std::uint32_t serial);
std::uint32_t serial_of(overns::Bytes frame);

overns::Ip numbered_ip(std::uint32_t number);    // 10.x.x.x
overns::Mac numbered_mac(std::uint32_t number);  // 02:00:x:x:x:x

class World final : public overns::EngineOutput {
 public:
  struct Lookup {
    overns::AskKey key;
    std::uint32_t token = 0;
  };

  explicit World(overns::EngineOptions options = defaults()) : engine_options(options), engine(options, *this) {}
  static overns::EngineOptions defaults();

  // What the driver of the engine does after a round of calls.
  void turn() {
    settle();
    for (wake = engine.expire(clock); engine.busy(); wake = engine.expire(clock)) settle();
  }
  void settle() {
    do engine.flush();
    while (engine.busy());
  }
  void advance(overns::Nanoseconds by) {
    clock += by;
    turn();
  }

  void miss(const overns::Ip& ip) { engine.on_miss(overns::AskKey::of(ip), clock); }
  void miss(const overns::Mac& mac) { engine.on_miss(overns::AskKey::of(mac), clock); }
  void tap(const overns::Ip& target, std::uint32_t asker, std::uint32_t serial);
  void packet(const overns::Mac& destination, std::uint32_t serial, const overns::Ip& target = {});
  void found(const Lookup& lookup, const overns::Mac& mac, const overns::Ip& vtep, std::uint32_t ttl_ms = 0);
  void answer(const Lookup& lookup, overns::LookupResult result);
  // Ends a reset: what it has not named is missing. Swept, it goes.
  void end_reset(bool sweep = true);
  void put(const overns::Ip& ip, const overns::Mac& mac, const overns::Ip& vtep) { engine.put(ip, mac, vtep, clock); }

  // The lookup asked for last, which must be of this key.
  Lookup last_lookup(const overns::Ip& ip) const;
  Lookup last_lookup(const overns::Mac& mac) const;
  std::size_t count(overns::EventKind kind) const;
  std::vector<std::uint32_t> take_replayed();
  std::vector<std::uint32_t> take_forwarded();

  // overns::EngineOutput
  void program(std::span<const overns::KernelEntry> items, std::span<int> errors) override;
  void withdraw(std::span<const overns::AskKey> keys, std::span<int> errors) override;
  int withdraw_vtep(const overns::Ip& vtep) override;
  bool is_behind_bridge(const overns::Mac& mac) override { return behind_bridge.contains(mac); }
  void replay(overns::Bytes frame) override;
  bool prime(overns::Bytes frame, const overns::Mac& mac, const overns::Ip& vtep) override {
    primed.push_back({{frame.begin(), frame.end()}, mac, vtep});
    return true;
  }
  void forward(overns::Bytes packet, const overns::Ip& vtep) override;
  void send_forwarded() override {}
  void announce(const overns::Ip& ip, const overns::Mac& mac) override { announced.emplace_back(ip, mac); }
  void set_departed(std::span<const overns::Mac> macs) override { departed.assign(macs.begin(), macs.end()); }
  void look_up(const overns::AskKey& key, std::uint32_t token, overns::Nanoseconds) override {
    lookups.push_back({key, token});
  }
  void emit(const overns::EngineEvent& event) override { events.push_back(event); }
  overns::Nanoseconds now() override { return clock; }

  overns::Nanoseconds clock = 5'000'000 * kMs;
  overns::Nanoseconds wake = 0;  // when the engine wants to be called next
  // The kernel.
  std::map<overns::Ip, overns::Mac> neighbors;
  std::map<overns::Mac, overns::Ip> fdb;
  std::set<overns::Mac> behind_bridge;
  // Which errno the kernel has for an item; none: 0.
  std::function<int(const overns::KernelEntry&)> refuse;
  std::function<void()> on_program;
  int refuse_flush = 0;  // for the entries of a VTEP all at once
  // The same for what is to be deleted.
  std::function<int(const overns::AskKey&)> refuse_withdrawal;

  std::vector<std::vector<overns::KernelEntry>> programs;
  std::vector<std::uint32_t> replayed;
  std::vector<std::pair<std::uint32_t, overns::Ip>> forwarded;
  std::vector<std::pair<overns::Ip, overns::Mac>> announced;
  std::vector<overns::Mac> departed;
  struct Primed {
    std::vector<std::uint8_t> frame;
    overns::Mac mac;
    overns::Ip vtep;
  };
  std::vector<Primed> primed;
  std::vector<Lookup> lookups;
  std::vector<overns::EngineEvent> events;
  std::size_t withdrawals = 0;

  const overns::EngineOptions engine_options;
  overns::MissEngine engine;  // last: it asks for the time when it is made
};

}  // namespace support
