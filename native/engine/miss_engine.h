// What to do about a miss: the logic of one overlay, without a socket or a clock of its own.
//
// A miss is answered from the table, or asked of the store once however many ask (coalescing), or known to be absent
// for a while. When the answer is programmed, every request that the kernel swallowed for it is replayed, whichever
// of the miss and the tapped request came first.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "engine/endpoint_table.h"
#include "engine/flat_map.h"
#include "engine/frame.h"

namespace overns {

using Nanoseconds = std::uint64_t;  // CLOCK_MONOTONIC

// What is asked for: an IP (L3) or a MAC (L2).
struct AskKey {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t kind = 0;  // AF_INET, AF_INET6, kMacKind; 0 = none

  static constexpr std::uint8_t kMacKind = 255;
  static AskKey of(const Ip& ip) { return {ip.bytes, ip.family}; }
  static AskKey of(const Mac& mac);
  bool is_l3() const { return kind != kMacKind; }
  Ip ip() const { return is_l3() ? Ip{bytes, kind} : Ip{}; }
  Mac mac() const;
  bool operator==(const AskKey&) const = default;
};

struct MacHash {
  std::size_t operator()(const Mac& mac) const { return static_cast<std::size_t>(hash_bytes(mac.bytes.data(), 6)); }
};

// One entry, or pair of entries, for the kernel: ip -> mac (when there is an ip) and mac -> vtep.
struct Programming {
  Ip ip;
  Mac mac;
  Ip vtep;
};

// kMiss: an L2 miss that came as a punted packet, of which the kernel notifies nobody.
enum class EventKind : std::uint8_t { kResolved, kUnresolved, kRejected, kOverrun, kOverlayLost, kOverlayBack, kMiss };
enum class Cause : std::uint8_t { kAbsent, kTimeout, kStoreError };

struct EngineEvent {
  EventKind kind = EventKind::kResolved;
  bool by_store = false;
  Cause cause = Cause::kAbsent;
  int error = 0;                 // of the kernel, for a rejection; positive errno
  const char* reason = nullptr;  // static text, for a rejection
  AskKey key;
  Mac mac;
  Ip vtep;
  std::uint32_t token = 0;  // of the lookup, 0 = none was made
  std::uint32_t ttl_ms = 0;
  std::uint32_t dropped = 0;
  Nanoseconds miss_at = 0;
  Nanoseconds at = 0;
};

// What the engine has done to the world. Calls come from the thread that drives the engine.
class EngineOutput {
 public:
  virtual ~EngineOutput() = default;
  // Programs all items at once: the entries are there when it returns. errors[i] (0, or a positive errno) is known
  // when `confirm` returns.
  virtual void program(std::span<const Programming> items, std::span<int> errors) = 0;
  virtual void confirm() {}
  // Removes the neighbour entry of each IP, the FDB entry of each MAC. Absence is no error; errors[i] is 0 or a
  // positive errno.
  virtual void withdraw(std::span<const AskKey> keys, std::span<int> errors) = 0;
  // Removes the FDB entries that lead to a VTEP.
  virtual void withdraw_vtep(const Ip& vtep) = 0;
  virtual void replay(Bytes frame) = 0;
  // Sends a punted packet on to a VTEP, at the latest when `send_forwarded` is called; until then its bytes stay.
  virtual void forward(Bytes packet, const Ip& vtep) = 0;
  virtual void send_forwarded() = 0;
  virtual void look_up(const AskKey& key, std::uint32_t token, Nanoseconds miss_at) = 0;
  virtual void emit(const EngineEvent& event) = 0;
  virtual Nanoseconds now() = 0;
};

struct EngineOptions {
  Ip vtep;  // this host's; a record that names it is never programmed as remote
  // A lookup that is not answered within this counts as timed out, whatever became of who was to answer it; 0 = none.
  std::uint32_t lookup_deadline_ms = 0;
  std::uint32_t negative_ttl_ms = 1000;
  std::uint32_t answer_ttl_ms = 60000;  // for answers without one of their own; 0 = keep
  std::uint32_t max_lookups = 256;
  std::uint32_t lookups_per_second = 10000;  // under way at once
};

// Read by the JavaScript thread while the engine runs.
struct EngineStats {
  std::atomic<std::uint64_t> misses{0}, answers{0}, coalesced{0}, negative{0}, rejected{0}, overruns{0};
  std::atomic<std::uint64_t> lookups{0}, local{0}, replayed{0}, shed{0}, dropped{0}, endpoints{0};
  // Punted packets: sent on; dropped for want of an answer or of room; broadcast and multicast, which are not copied.
  std::atomic<std::uint64_t> forwarded{0}, packets_dropped{0}, flood_dropped{0};
  // Withdrawals that the kernel refused, each time; lookups that nobody has answered in time.
  std::atomic<std::uint64_t> withdrawals_refused{0}, lookups_abandoned{0};
};

class MissEngine {
 public:
  // What a store said of a lookup.
  enum class Said { kFound, kAbsent, kTimeout, kError };

  MissEngine(EngineOptions options, EngineOutput& output);

  void on_miss(const AskKey& key, Nanoseconds now);
  void on_request(const SwallowedRequest& request, Nanoseconds now);
  // A packet for a MAC that the kernel has no VTEP for: it is the L2 miss, and must not be lost.
  void on_packet(const Mac& destination, Bytes packet, Nanoseconds now);
  void on_answer(std::uint32_t token, const AskKey& key, Said said, const Mac& mac, const Ip& vtep,
                 std::uint32_t ttl_ms, Nanoseconds now);
  // The kernel has dropped misses: requests tapped and not yet answered stand in for them.
  void on_overrun(std::uint32_t dropped, Nanoseconds now);

  // Changes pushed by the store's watch.
  void put(const Ip& ip, const Mac& mac, const Ip& vtep, Nanoseconds now);
  void forget(const Ip& ip, Nanoseconds now);
  void forget(const Mac& mac, Nanoseconds now);
  // `count`: how many will be put. The end is in pieces: it goes on while it returns true.
  void begin_reset(std::size_t count);
  bool end_reset(Nanoseconds now);
  void set_store_down(bool down) { store_down_ = down; }

  // Endpoints attached to this host, by the index of their veth; an empty list removes them.
  void set_local(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac);
  // The overlay's own links, by index: br0 with its addresses, vxlan1 and the ports with their MAC. A zero MAC removes.
  void set_own(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac);
  // The host's addresses, and those of its networks that are nobody's: broadcast and network addresses. A record that
  // names one of them as VTEP is refused.
  void set_host(std::set<Ip> addresses, std::set<Ip> nobodys);

  // Entries that the kernel already has when the engine starts: they get a TTL like any other.
  void adopt(const Ip& ip, const Mac& mac, Nanoseconds now);
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
  void flush() {
    program();
    confirm();
    withdraw_some();
  }
  // There is more to program or to withdraw than one flush does: answers come between. Flush again soon.
  bool busy() const { return !later_.empty() || !leaving_order_.empty(); }

  // Expiry. Returns when it wants to be called next; 0 = not at all.
  Nanoseconds expire(Nanoseconds now);

  const EngineStats& stats() const { return stats_; }

 private:
  enum class State : std::uint8_t { kTapped, kQueued, kLooking, kAnswered, kAbsent };

  struct Ask {
    AskKey key;
    State state = State::kTapped;
    bool due_queued = false;
    bool ready = false;  // to be programmed by the next flush
    bool later = false;  // or by one of the next: nobody waits for it
    bool by_store = false;
    bool overtaken = false;  // the lookup under way: by a deletion
    std::uint32_t token = 0;
    Mac asker;                // whose turn a queued lookup waits for; zero: not known, the miss does not name it
    Nanoseconds miss_at = 0;  // 0: no miss was seen yet
    Nanoseconds expires = 0;
    std::uint64_t last_frame = 0;  // the 1-based number of the frame tapped last, 0 = none
    std::uint64_t replayed = 0;    // of the one replayed last in this round, after the answer was programmed
    bool used() const { return key.kind != 0; }
  };
  struct Due {
    AskKey key;
    Nanoseconds at = 0;
    bool operator<(const Due& other) const { return at > other.at; }  // a heap with the earliest on top
  };
  struct TtlDue {
    Deciseconds at;
    Ip ip;
    bool operator<(const TtlDue& other) const { return at > other.at; }  // a heap with the earliest on top
  };
  static constexpr std::size_t kFrameBytes = 128;
  struct TappedFrame {
    std::array<std::uint8_t, kFrameBytes> bytes{};
    std::uint16_t size = 0;  // 0: released
    Mac asker;
    std::uint64_t previous = 0;  // for the same key
    Nanoseconds at = 0;
  };
  // Frames kept for one asker: none may fill the ring alone.
  struct AskerFrames {
    Mac key;
    std::uint16_t unused = 0;
    std::uint32_t count = 0;
    bool used() const { return !key.is_zero(); }
  };
  // Packets that wait for an answer, in order.
  struct PacketQueue {
    std::deque<std::vector<std::uint8_t>> packets;
    std::size_t bytes = 0;
  };
  struct Local {
    std::vector<Ip> ips;
    Mac mac;
  };
  // An entry to be deleted in the kernel.
  struct Leaving {
    AskKey key;
    std::uint8_t tries = 0;
    bool used() const { return key.kind != 0; }
  };
  // A lookup under way, by its token.
  struct Lookup {
    std::uint32_t key = 0;
    AskKey about;
    Nanoseconds deadline = 0;
    bool used() const { return key != 0; }
  };

  bool is_local(const AskKey& key) const;
  void withdrawn(const AskKey& key);
  void withdraw(const AskKey& key);
  void withdraw_some();
  void set_here(std::int64_t place, const std::vector<Ip>& ips, const Mac& mac);
  const char* vtep_fault(const Ip& vtep) const;
  const char* known_fault(std::uint32_t vtep);
  const char* mac_fault(const Mac& mac) const;
  void expire_lookups(Nanoseconds now);
  void overtake(const AskKey& key);
  void ask(const AskKey& key, Nanoseconds now);
  Ask* ask_for(const AskKey& key);
  bool evict_absent();
  void keep_packet(const Mac& mac, Bytes packet);
  void forward_packets(const Mac& mac, const Ip& vtep);
  void drop_packets(const AskKey& key);
  bool answer_from_table(Ask& ask, Nanoseconds now, bool stale);
  void make_ready(Ask& ask);
  void settle(Ask& ask, State state, Nanoseconds expires);
  void request_lookup(Ask& ask, Nanoseconds now);
  void start_lookups(Nanoseconds now);
  bool may_look_up(Nanoseconds now);
  void enqueue(const Mac& asker, const AskKey& key);
  void keep_frame(Ask& ask, const SwallowedRequest& request, Nanoseconds now);
  void release_frame(std::uint64_t number);
  void expire_frames(Nanoseconds now);
  void replay_frames(Ask& ask, Nanoseconds now);
  bool was_replayed(const Ask& ask, Bytes request) const;
  bool has_fresh_frame(const Ask& ask, Nanoseconds now) const;
  const TappedFrame* frame(std::uint64_t number) const;
  void reject(const Ask& ask, const char* reason, int error, const Mac& mac, const Ip& vtep);
  void make_ready_later(Ask& ask);
  void learn(const Ip& ip, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms, std::uint8_t flags, Nanoseconds now);
  void forget_stale(Nanoseconds now);
  void due_at(Deciseconds at, const Ip& ip);
  Deciseconds clock(Nanoseconds now) const { return static_cast<Deciseconds>((now - origin_) / 100'000'000 + 1); }

  EngineOptions options_;
  EngineOutput& output_;
  EngineStats stats_;
  EndpointTable table_;
  std::size_t swept_ips_ = 0;  // how far
  std::size_t swept_macs_ = 0;
  FlatMap<Ask> asks_;
  std::vector<AskKey> ready_;
  Ring<AskKey> later_;
  // What is to be deleted in the kernel: each once, in order, and again when the kernel has refused it.
  FlatMap<Leaving> leaving_;
  Ring<AskKey> leaving_order_;
  std::vector<Due> refused_;     // a heap, with when to try again
  std::vector<AskKey> leavers_;  // scratch of withdraw_some
  std::vector<int> outcomes_;
  // Waiting for a free lookup: a queue for each asker, served in turn, so that one who scans delays nobody else.
  std::unordered_map<Mac, Ring<AskKey>, MacHash> queues_;
  Ring<Mac> turns_;
  double tokens_ = 0;  // lookups that may start now
  Nanoseconds tokens_at_ = 0;
  Ring<Due> due_soon_;      // after kRecent
  Ring<Due> due_negative_;  // after negative_ttl_ms
  std::vector<TtlDue> ttls_;
  std::vector<TappedFrame> frames_;   // a ring; number n stands at (n - 1) % size
  std::uint64_t frame_count_ = 0;     // numbers given so far
  std::uint64_t frames_expired_ = 0;  // numbers up to this one are no longer wanted
  FlatMap<AskerFrames> asker_frames_;
  std::vector<std::uint64_t> owed_;  // scratch of replay_frames
  std::unordered_map<Mac, PacketQueue, MacHash> packets_;
  std::size_t packet_bytes_ = 0;
  std::map<std::int64_t, Local> locals_;  // by link; the overlay's own links by its complement
  std::multiset<Ip> local_ips_;
  std::multiset<Mac> local_macs_;
  std::multiset<Mac> own_macs_;  // of local_macs_, those of the overlay's own links
  std::set<Ip> host_addresses_;
  std::set<Ip> nobodys_;
  std::vector<const char*> faults_;  // of the table's VTEPs, by number
  std::vector<Programming> items_;   // scratch of flush
  std::vector<int> errors_;
  std::vector<AskKey> flushed_;
  std::uint32_t next_token_ = 0;
  FlatMap<Lookup> lookups_;
  Nanoseconds next_deadline_ = 0;  // of a lookup, or before it; 0 = none
  std::uint8_t mark_ = 0;          // kMarked as the watch's endpoints have it since the last reset began
  bool swept_ips_of_reset_ = false;
  bool store_down_ = false;
  Nanoseconds suspect_until_ = 0;  // misses were dropped: a tapped request stands in for its miss until then
  Nanoseconds origin_ = 0;
};

}  // namespace overns
