// Decides what to do about a miss: the logic of one overlay, without a socket or a clock of its own.
//
// A miss is answered from the table, or asked of the store once however many ask (coalescing), or known to be absent
// for a while. When the answer is programmed, every request that the kernel swallowed for it is replayed, whichever
// of the miss and the tapped request came first.
//
// miss_engine.cc holds what is asked, changes.cc what the store and this host say, programming.cc what is carried out.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "base/address.h"
#include "engine/announcements.h"
#include "engine/ask_key.h"
#include "engine/asks.h"
#include "engine/counters.h"
#include "engine/departures.h"
#include "engine/endpoint_table.h"
#include "engine/event.h"
#include "engine/frame.h"
#include "engine/held_packets.h"
#include "engine/local_addresses.h"
#include "engine/lookups.h"
#include "engine/output.h"
#include "engine/rate.h"
#include "engine/ring.h"
#include "engine/tapped_frames.h"
#include "engine/time.h"
#include "engine/told_macs.h"
#include "engine/withdrawals.h"

namespace overns {

struct EngineOptions : LookupLimits {
  Ip vtep;  // this host's; a record that names it is never programmed as remote
  std::uint32_t negative_ttl_ms = 1000;
  std::uint32_t answer_ttl_ms = 60000;  // for answers without one of their own; 0 = keep
  std::uint32_t program_ahead = 0;      // programmed before anyone asks, where the watch has no more
  bool prime = false;                   // requests are sent on to whom they ask
  std::uint32_t redirect_ms = 60000;    // how long frames for a MAC that has left are sent on; 0 = not at all
};

// How a lookup ended.
enum class LookupResult : std::uint8_t { kFound, kAbsent, kTimeout, kError };

class MissEngine {
 public:
  MissEngine(const EngineOptions& options, EngineOutput& output);

  void on_miss(const AskKey& key, Nanoseconds now);
  void on_request(const SwallowedRequest& request, Nanoseconds now);
  // Another host has sent on such a request to an endpoint here, which will answer: what is known of the asker is
  // programmed before it does.
  void on_primed(const SwallowedRequest& request, Nanoseconds now);
  // A packet for a MAC that the kernel has no VTEP for: it is the L2 miss, and must not be lost. `target`: the address
  // that it is for, empty when it has none.
  void on_packet(const Mac& destination, const Ip& target, Bytes packet, Nanoseconds now);
  // A frame that another host has sent here for a MAC that has left. True: it is to go out of vxlan1 again, with a hop
  // less to live, so that it does not go round for ever between hosts of which each takes the other to have the MAC.
  bool redirect(std::span<std::uint8_t> frame, Nanoseconds now);
  // The MACs for which that may be so.
  std::span<const Mac> departed() const { return departures_.macs(); }
  // `mac` and `vtep` belong to kFound alone.
  void on_answer(std::uint32_t token, const AskKey& key, LookupResult result, const Mac& mac, const Ip& vtep,
                 std::uint32_t ttl_ms, Nanoseconds now);
  // The kernel has dropped misses: requests tapped and not yet answered stand in for them.
  void on_overrun(std::uint32_t dropped, Nanoseconds now);

  // Changes pushed by the store's watch.
  void put(const Ip& ip, const Mac& mac, const Ip& vtep, Nanoseconds now);
  // `keep`: an entry that the kernel has stays there, but answers no miss any more.
  void forget(const Ip& ip, bool keep = false);
  void forget(const Mac& mac, bool keep = false);
  // `count`: how many will be put. When they have been, what was given before and is not among them is found, in
  // pieces: it goes on while that returns true. It counts as missing: it stays, and answers, until it is put again,
  // forgotten or swept.
  void begin_reset(std::size_t count) {
    few_ = count <= options_.program_ahead;
    table_.begin_reset(count);
  }
  bool find_missing();
  std::size_t missing() const { return table_.missing(); }
  // Forgets what is missing, in pieces as well. A reset that begins meanwhile ends it.
  void begin_sweep() { table_.begin_sweep(); }
  bool sweep();
  void set_store_down(bool down) { store_down_ = down; }

  // Endpoints attached to this host, by the index of their veth; an empty list removes them.
  void set_local(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac);
  // The overlay's own links, by index: br0 with its addresses, vxlan1 and the ports with their MAC. A zero MAC removes.
  void set_own(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac);
  // The host's addresses, and those of its networks that are no host's: broadcast and network addresses. A record that
  // names one of them as VTEP is refused.
  void set_host(std::set<Ip> addresses, std::set<Ip> reserved);

  // Entries that the kernel already has when the engine starts, FDB entries first: they get a TTL like any other, or go
  // with the first reset that does not name them.
  void adopt(const Mac& mac, const Ip& vtep, bool learned, Nanoseconds now);
  void adopt(const Ip& ip, const Mac& mac, Nanoseconds now);
  // An address whose forwarding entry the kernel ages although the device does not learn: an earlier engine was told to
  // keep it for as long as it is used. It stays as such. False: it is none of these.
  bool adopt_kept(const Ip& ip, const Mac& mac);
  // The kernel has learned an FDB entry of a frame. The store wins: what contradicts it is replaced.
  void on_learned(const Mac& mac, const Ip& vtep, Nanoseconds now);
  // That would replace it: then it had better be what the kernel has now.
  bool contradicts(const Mac& mac, const Ip& vtep);
  // The vxlan device is a new one: nothing is programmed any more.
  void forget_programmed();

  // Programs what the calls above have decided on, and replays; returns for which family there was an answer. Then the
  // outcome is looked at. To be called, both, after each round of the calls above.
  struct Answered {
    bool v4 = false;
    bool v6 = false;
  };
  Answered program();
  void confirm();
  void flush();
  // Frames sent on for MACs that have left: more would keep misses waiting. One may be as large as 64 KiB (GRO).
  static constexpr std::uint32_t kRedirectsPerSecond = 50'000;
  static constexpr std::uint32_t kRedirectsAtOnce = 5'000;
  // Requests sent on to whom they ask: who scans shall not have his host flood others, nor fill their tables.
  static constexpr std::uint32_t kPrimesPerSecond = 2'000;
  static constexpr std::uint32_t kPrimesAtOnce = 500;
  // There is more to program or to withdraw than one flush does, since answers come between, or expire() has decided on
  // something. Flush again soon.
  bool busy() const {
    return !ready_.empty() || !unhurried_.empty() || withdrawals_.pending() || departures_.changed();
  }

  // Expiry. Returns when it wants to be called next; 0 = not at all.
  Nanoseconds expire(Nanoseconds now);

  const EngineCounters& counters() const { return counters_; }
  // The watch gave as many addresses that cannot be read.
  void on_unreadable(std::uint64_t addresses) { count(counters_.unreadable, addresses); }

 private:
  // Asking.
  void ask(const AskKey& key, Nanoseconds now);
  Ask* ask_for(const AskKey& key);
  Ask* ask_for_change(const AskKey& key);
  bool answer_from_table(Ask& ask, Nanoseconds now, bool stale);
  void request_lookup(Ask& ask, Nanoseconds now);
  void queue_lookup(const Mac& asker, const AskKey& key, Nanoseconds now);
  void start_lookups(Nanoseconds now);
  void on_found(Ask& ask, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms, Nanoseconds now);
  void on_not_found(Ask& ask, LookupResult result, Nanoseconds now);
  void on_here(Ask& ask, const Mac& mac, Nanoseconds now);
  void tell_not_here(const Ask& ask, Nanoseconds now);
  void tell_unresolved(const Ask& ask, Cause cause, Nanoseconds now);
  void reject(const Ask& ask, const char* reason, int error, const Mac& mac, const Ip& vtep);
  void provide(const IpSlot& slot, Nanoseconds now);
  void keep_frame(Ask& ask, const SwallowedRequest& request, Nanoseconds now);
  void drop_packets(const AskKey& key);

  // Changes.
  void learn(const Ip& ip, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms, bool watched, Nanoseconds now);
  void come_here(const Ip& ip, const Mac& mac, bool programmed, bool mac_moved);
  void leave_here(const LocalAddresses::Link& link);
  void announce(const Ip& ip);
  template <class Address>
  void forget_address(const Address& address, bool keep);
  template <class Address>
  void claim(const Address& address);
  void count_endpoints();

  // Carrying out.
  void make_ready(Ask& ask);
  void make_ready_unhurried(Ask& ask);
  void collect_entries();
  KernelEntry entry_of(const AskKey& key, const char*& fault);
  void replay_frames(Ask& ask, const KernelEntry& entry, Nanoseconds now);
  void prime(Bytes frame, const KernelEntry& entry, Nanoseconds now);
  void forward_packets(const Mac& mac, const Ip& vtep);
  void on_refused(const KernelEntry& entry, Ask* ask, int error, Nanoseconds now);
  void on_programmed(const KernelEntry& entry, Ask* ask, Nanoseconds now);
  void unanswer(const AskKey& key);

  Nanoseconds negative_until(Nanoseconds now) const { return now + options_.negative_ttl_ms * kMillisecond; }
  Deciseconds clock(Nanoseconds now) const { return static_cast<Deciseconds>((now - origin_) / 100'000'000 + 1); }

  const EngineOptions options_;
  EngineOutput& output_;
  EngineCounters counters_;
  EndpointTable table_;
  LocalAddresses local_;
  Asks asks_;
  Lookups lookups_;
  TappedFrames frames_;
  HeldPackets packets_;
  Withdrawals withdrawals_;
  ToldMacs told_;
  Announcements announcements_;
  Departures departures_;
  Rate<kRedirectsPerSecond, kRedirectsAtOnce> redirects_;
  Rate<kPrimesPerSecond, kPrimesAtOnce> primes_;
  std::vector<AskKey> ready_;
  bool few_ = false;        // the watch has so few endpoints that they may be programmed ahead
  Ring<AskKey> unhurried_;  // to be programmed when there is time, since nobody waits for it
  // Entries being programmed, and for which asks; empty when its outcome has been looked at.
  std::vector<KernelEntry> entries_;
  std::vector<AskKey> entry_keys_;
  std::vector<int> errors_;
  bool store_down_ = false;
  Nanoseconds contradicted_at_ = 0;  // when that was told last
  Nanoseconds suspect_until_ = 0;    // misses were dropped: a tapped request stands in for its miss until then
  const Nanoseconds origin_;
};

}  // namespace overns
