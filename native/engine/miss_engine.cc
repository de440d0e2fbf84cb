#include "engine/miss_engine.h"

#include <sys/socket.h>

#include <algorithm>

namespace overns {
namespace {

constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kSecond = 1'000 * kMillisecond;
// How long a swallowed request is worth replaying: the asker asks again after this (net.ipv4.neigh.*.retrans_time_ms).
constexpr Nanoseconds kRecent = kSecond;
// While the store is unreachable an entry stays in the kernel beyond its TTL; looked at again after this.
constexpr Deciseconds kStoreDownRetry = 50;
// How long an endpoint is known beyond its TTL, for when the store fails.
constexpr Deciseconds kStaleKept = 6000;
// More make the table of them grow beyond what can be moved in passing: at this size, some 3 ms in which nothing is
// answered.
constexpr std::size_t kMaxAsks = 1 << 16;
constexpr std::size_t kMaxFrames = 1 << 14;
constexpr std::uint32_t kMaxFramesOfAsker = kMaxFrames / 4;
// Lookups that wait: for one asker, and how many askers have a queue of their own.
constexpr std::size_t kMaxQueued = 4096;
constexpr std::size_t kMaxQueues = 64;
constexpr Mac kOtherAskers{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
// Packets that wait for an answer: for one MAC, and in all.
constexpr std::size_t kMaxPacketBytes = 2 << 20;
constexpr std::size_t kMaxAllPacketBytes = 64 << 20;
// What a flush does of work that nobody waits for, some 0.2 ms; what expire() does in one call.
constexpr std::size_t kPiece = 32;
constexpr int kMaxExpired = 256;
// The end of a reset looks at so many slots at a time.
constexpr std::size_t kWalkSlots = 1024;
// A withdrawal that the kernel refused is tried again after this, then after twice as long, and so on.
constexpr Nanoseconds kRefusedFirst = 10 * kMillisecond;
constexpr unsigned kRefusedDoublings = 9;  // up to 5 s

bool is_link_local(const Ip& ip) { return ip.is_v6() && ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80; }

bool is_loopback(const Ip& ip) {
  return ip.is_v4() ? ip.bytes[0] == 127 : ip == Ip{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, AF_INET6};
}

void count(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace

AskKey AskKey::of(const Mac& mac) {
  AskKey key;
  std::copy(mac.bytes.begin(), mac.bytes.end(), key.bytes.begin());
  key.kind = kMacKind;
  return key;
}

Mac AskKey::mac() const {
  Mac mac;
  if (kind == kMacKind) std::copy_n(bytes.begin(), mac.bytes.size(), mac.bytes.begin());
  return mac;
}

// Why an address cannot be another host's VTEP; null when it can.
const char* MissEngine::vtep_fault(const Ip& vtep) const {
  if (!vtep.is_unicast()) return "the VTEP is not a unicast address";
  if (vtep.family != options_.vtep.family || vtep.is_v4_mapped()) return "the VTEP is of the other address family";
  if (is_loopback(vtep)) return "the VTEP is a loopback address";
  if (is_link_local(vtep)) return "the VTEP is a link-local address, which is every host's own";
  if (vtep != options_.vtep && host_addresses_.contains(vtep)) return "the VTEP is another address of this host";
  if (vtep != options_.vtep && nobodys_.contains(vtep))
    return "the VTEP is the broadcast or network address of a network of this host";
  return nullptr;
}

// The same of one that the table has.
const char* MissEngine::known_fault(std::uint32_t vtep) {
  while (faults_.size() < table_.vteps())
    faults_.push_back(vtep_fault(table_.vtep(static_cast<std::uint32_t>(faults_.size()))));
  return faults_[vtep];
}

const char* MissEngine::mac_fault(const Mac& mac) const {
  if (!mac.is_unicast()) return "the MAC address is not a unicast one";
  if (own_macs_.contains(mac)) return "the MAC address is that of the overlay's bridge or of a port of it";
  if (local_macs_.contains(mac)) return "the MAC address is that of an endpoint on this host";
  return nullptr;
}

MissEngine::MissEngine(EngineOptions options, EngineOutput& output)
    : options_(options), output_(output), origin_(output.now()) {}

// --- misses and requests ---------------------------------------------------------------------------------------

void MissEngine::on_miss(const AskKey& key, Nanoseconds now) {
  count(stats_.misses);
  ask(key, now);
}

void MissEngine::ask(const AskKey& key, Nanoseconds now) {
  if (key.is_l3() ? !key.ip().is_unicast() : !key.mac().is_unicast()) return;
  if (is_local(key)) {
    count(stats_.local);
    return;
  }
  Ask* ask = ask_for(key);
  if (ask == nullptr) return;
  if (ask->ready || ask->state == State::kLooking || ask->state == State::kQueued) {
    count(stats_.coalesced);
    if (ask->later) {
      // From now on somebody waits.
      ask->later = false;
      if (ask->miss_at == 0) ask->miss_at = now;
      ready_.push_back(key);
    }
    return;
  }
  if (ask->state == State::kAbsent && now < ask->expires) {
    count(stats_.negative);
    return;
  }
  ask->miss_at = now;
  ask->by_store = false;
  ask->token = 0;
  if (answer_from_table(*ask, now, store_down_)) return;
  request_lookup(*ask, now);
}

// Nothing in a flood of unknown addresses: it asks again in a second. Room for what is known there always is.
MissEngine::Ask* MissEngine::ask_for(const AskKey& key) {
  if (asks_.size() >= kMaxAsks && asks_.find(key) == nullptr) {
    const bool known = key.is_l3() ? table_.ips.find(key.ip()) != nullptr : table_.macs.find(key.mac()) != nullptr;
    if (!known && !evict_absent()) {
      count(stats_.shed);
      return nullptr;
    }
  }
  return asks_.insert(key).first;
}

// The address that has been absent for longest gives way: should it be asked for again, the store is.
bool MissEngine::evict_absent() {
  constexpr int kTries = 16;
  for (int i = 0; i < kTries && !due_negative_.empty(); ++i) {
    const AskKey key = due_negative_.front().key;
    due_negative_.pop();
    Ask* ask = asks_.find(key);
    if (ask == nullptr) continue;
    ask->due_queued = false;
    if (ask->ready || ask->state == State::kLooking || ask->state == State::kQueued) continue;
    if (ask->state == State::kAbsent) return asks_.erase(key);
    settle(*ask, ask->state, ask->expires);
  }
  return false;
}

void MissEngine::on_packet(const Mac& destination, Bytes packet, Nanoseconds now) {
  if (!destination.is_unicast()) {
    // Which hosts have a part of the overlay is not known on demand: copies would reach some and not others.
    count(stats_.flood_dropped);
    return;
  }
  const AskKey key = AskKey::of(destination);
  if (is_local(key)) {
    count(stats_.local);  // the bridge floods what it does not know; the container has its copy
    return;
  }
  Ask* current = asks_.find(key);
  const auto waiting = [&] {
    return current != nullptr && (current->state == State::kLooking || current->state == State::kQueued);
  };
  const auto answered = [&] {
    return current != nullptr && (current->ready || (current->state == State::kAnswered && now < current->expires));
  };
  if (!waiting() && !answered()) {
    // The first packet is the miss; those that follow while it is being answered belong to it.
    count(stats_.misses);
    EngineEvent event;
    event.kind = EventKind::kMiss;
    event.key = key;
    event.miss_at = event.at = now;
    output_.emit(event);
    ask(key, now);
    current = asks_.find(key);
  }
  if (waiting()) {
    keep_packet(destination, packet);
    return;
  }
  const MacSlot* slot = table_.macs.find(destination);
  if (!answered() || slot == nullptr || slot->vtep == 0 || table_.vtep(slot->vtep) == options_.vtep ||
      known_fault(slot->vtep) != nullptr) {
    count(stats_.packets_dropped);
    return;
  }
  output_.forward(packet, table_.vtep(slot->vtep));
  count(stats_.forwarded);
  make_ready(*current);  // the kernel still sends them here: it is programmed at the end of the round
}

void MissEngine::on_request(const SwallowedRequest& request, Nanoseconds now) {
  const AskKey key = AskKey::of(request.target);
  if (is_local(key)) return;
  Ask* ask = ask_for(key);
  if (ask == nullptr) return;
  if (ask->state == State::kAnswered && !ask->ready && now < ask->expires) {
    // The same as one that was replayed in this round, after the answer was programmed: swallowed before that, its
    // asker has the reply by the replay; come later, by the kernel.
    if (!was_replayed(*ask, request.frame)) {
      output_.replay(request.frame);
      count(stats_.replayed);
    }
    // The entry may be gone again, by a short TTL or a hand: then the replay is a miss, whose answer owes this asker
    // too.
    keep_frame(*ask, request, now);
    return;
  }
  if (ask->state == State::kAnswered) ask->state = State::kTapped;
  keep_frame(*ask, request, now);
  if (ask->later) make_ready(*ask);
  if (ask->state == State::kQueued && ask->asker.is_zero()) {
    ask->asker = request.asker;  // from now on it waits among the asker's own
    enqueue(request.asker, key);
  }
  if (ask->state != State::kTapped) return;
  settle(*ask, State::kTapped, now + kRecent);
  // After an overrun its miss may be among the dropped ones.
  if (now < suspect_until_ && ask->miss_at == 0) on_miss(key, now);
}

void MissEngine::on_overrun(std::uint32_t dropped, Nanoseconds now) {
  count(stats_.overruns);
  count(stats_.dropped, dropped);
  suspect_until_ = now + kRecent;
  EngineEvent event;
  event.kind = EventKind::kOverrun;
  event.dropped = dropped;
  event.at = now;
  output_.emit(event);
  std::vector<AskKey> waiting;
  asks_.for_each([&](const Ask& ask) {
    if (ask.state == State::kTapped && !ask.ready && has_fresh_frame(ask, now)) waiting.push_back(ask.key);
  });
  for (const AskKey& key : waiting) on_miss(key, now);
}

bool MissEngine::is_local(const AskKey& key) const {
  return key.is_l3() ? local_ips_.contains(key.ip()) : local_macs_.contains(key.mac());
}

// The kernel's entry is gone: what was answered is so no longer.
void MissEngine::withdrawn(const AskKey& key) {
  Ask* ask = asks_.find(key);
  if (ask != nullptr && ask->state == State::kAnswered) ask->state = State::kTapped;
}

// True when the table settles the question. `stale`: an expired entry will do.
bool MissEngine::answer_from_table(Ask& ask, Nanoseconds now, bool stale) {
  std::uint32_t vtep = 0;
  Deciseconds expires = 0;
  if (ask.key.is_l3()) {
    const IpSlot* slot = table_.ips.find(ask.key.ip());
    if (slot == nullptr) return false;
    vtep = slot->vtep;
    expires = slot->expires;
  } else {
    const MacSlot* slot = table_.macs.find(ask.key.mac());
    if (slot == nullptr) return false;
    vtep = slot->vtep;
    expires = slot->expires;
  }
  if (vtep == 0 || (!stale && expires != 0 && expires <= clock(now))) return false;
  if (table_.vtep(vtep) == options_.vtep) {
    count(stats_.local);
    settle(ask, State::kAbsent, now + options_.negative_ttl_ms * kMillisecond);
    return true;
  }
  make_ready(ask);
  return true;
}

void MissEngine::make_ready(Ask& ask) {
  if (ask.ready && !ask.later) return;
  ask.ready = true;
  ask.later = false;
  ready_.push_back(ask.key);
}

// Nobody waits for it: a change by the store, and there may be very many at once.
void MissEngine::make_ready_later(Ask& ask) {
  if (ask.ready) return;
  ask.ready = ask.later = true;
  later_.push(ask.key);
}

void MissEngine::settle(Ask& ask, State state, Nanoseconds expires) {
  ask.state = state;
  ask.expires = expires;
  if (ask.due_queued) return;
  ask.due_queued = true;
  (state == State::kAbsent ? due_negative_ : due_soon_).push({ask.key, expires});
}

// --- lookups ---------------------------------------------------------------------------------------------------

void MissEngine::request_lookup(Ask& ask, Nanoseconds now) {
  // Link-local addresses are nobody's records; duplicate address detection alone would ask for each.
  if (ask.key.is_l3() && is_link_local(ask.key.ip())) {
    settle(ask, State::kAbsent, now + options_.negative_ttl_ms * kMillisecond);
    return;
  }
  if (!may_look_up(now)) {
    ask.state = State::kQueued;
    ask.asker = Mac{};
    enqueue(Mac{}, ask.key);
    return;
  }
  ask.state = State::kLooking;
  ask.overtaken = false;
  if (++next_token_ == 0) ++next_token_;
  ask.token = next_token_;
  Lookup& lookup = *lookups_.insert(ask.token).first;
  lookup.about = ask.key;
  if (options_.lookup_deadline_ms != 0) {
    lookup.deadline = now + options_.lookup_deadline_ms * kMillisecond;
    if (next_deadline_ == 0) next_deadline_ = lookup.deadline;
  }
  tokens_ -= 1;
  count(stats_.lookups);
  output_.look_up(ask.key, ask.token, ask.miss_at);
}

// A token bucket, a second deep: the store is asked at a bounded rate, whatever is scanned.
bool MissEngine::may_look_up(Nanoseconds now) {
  const double rate = options_.lookups_per_second;
  tokens_ = std::min(rate, tokens_ + static_cast<double>(now - tokens_at_) * rate / 1e9);
  tokens_at_ = now;
  return lookups_.size() < options_.max_lookups && tokens_ >= 1;
}

// `asker`: zero for a miss whose asker is not known yet. Does not touch the asks except to forget the oldest of a queue
// that is full, which is never the one given.
void MissEngine::enqueue(const Mac& asker, const AskKey& key) {
  const bool own = asker.is_zero() || queues_.contains(asker) || queues_.size() < kMaxQueues;
  const Mac& name = own ? asker : kOtherAskers;
  Ring<AskKey>& queue = queues_[name];
  if (queue.empty()) turns_.push(name);
  queue.push(key);
  if (queue.size() <= kMaxQueued) return;
  const Ask* oldest = asks_.find(queue.front());
  if (oldest != nullptr && oldest->state == State::kQueued && oldest->asker.is_zero() == name.is_zero() &&
      !(queue.front() == key)) {
    drop_packets(oldest->key);
    settle(*asks_.find(queue.front()), State::kTapped, tokens_at_ + kRecent);  // it asks again in a second
    count(stats_.shed);
  }
  queue.pop();
}

void MissEngine::start_lookups(Nanoseconds now) {
  while (!turns_.empty() && may_look_up(now)) {
    const Mac name = turns_.front();
    turns_.pop();
    Ring<AskKey>& queue = queues_[name];
    while (!queue.empty()) {
      Ask* ask = asks_.find(queue.front());
      queue.pop();
      // Answered meanwhile, or moved to the queue of its asker.
      if (ask == nullptr || ask->state != State::kQueued || ask->asker.is_zero() != name.is_zero()) continue;
      request_lookup(*ask, now);
      break;
    }
    if (queue.empty()) {
      queues_.erase(name);
    } else {
      turns_.push(name);
    }
  }
}

void MissEngine::on_answer(std::uint32_t token, const AskKey& key, Said said, const Mac& told, const Ip& vtep,
                           std::uint32_t ttl_ms, Nanoseconds now) {
  // Where a MAC is was asked: which one is no part of the answer.
  const Mac mac = key.is_l3() ? told : key.mac();
  lookups_.erase(token);  // not there: given up by its deadline
  Ask* ask = asks_.find(key);
  if (ask == nullptr || ask->state != State::kLooking || ask->token != token) {
    start_lookups(now);
    return;
  }
  if (ask->overtaken) {
    request_lookup(*ask, now);
    start_lookups(now);
    return;
  }
  const Nanoseconds negative_until = now + options_.negative_ttl_ms * kMillisecond;
  if (said == Said::kFound) {
    if (vtep == options_.vtep) {
      // What is known of it from before leads elsewhere; it must not answer should the store fail later on.
      if (key.is_l3()) forget(key.ip(), now);
      forget(mac, now);
      count(stats_.local);
      settle(*ask, State::kAbsent, negative_until);
      drop_packets(key);
    } else if (const char* of_mac = mac_fault(mac)) {
      reject(*ask, of_mac, 0, mac, vtep);
      settle(*ask, State::kAbsent, negative_until);
    } else if (const char* of_vtep = vtep_fault(vtep)) {
      reject(*ask, of_vtep, 0, mac, vtep);
      settle(*ask, State::kAbsent, negative_until);
    } else {
      learn(key.ip(), mac, vtep, ttl_ms, 0, now);
      ask->by_store = true;
      settle(*ask, State::kTapped, now + kRecent);
      make_ready(*ask);
    }
  } else {
    EngineEvent event;
    event.kind = EventKind::kUnresolved;
    event.key = key;
    event.token = token;
    event.miss_at = ask->miss_at;
    event.at = now;
    if (said == Said::kAbsent) {
      if (key.is_l3()) {
        forget(key.ip(), now);
      } else {
        forget(key.mac(), now);
      }
      ask = asks_.find(key);
      settle(*ask, State::kAbsent, negative_until);
      event.cause = Cause::kAbsent;
      output_.emit(event);
      drop_packets(key);
    } else if (answer_from_table(*ask, now, true)) {
      // What is known, though its TTL is over, beats losing packets while the store cannot say.
      if (ask->state == State::kLooking) settle(*ask, State::kTapped, now + kRecent);
      if (!ask->ready) drop_packets(key);
    } else {
      settle(*ask, State::kTapped, now + kRecent);
      ask->miss_at = 0;
      event.cause = said == Said::kTimeout ? Cause::kTimeout : Cause::kStoreError;
      output_.emit(event);
      drop_packets(key);
    }
  }
  start_lookups(now);
}

void MissEngine::reject(const Ask& ask, const char* reason, int error, const Mac& mac, const Ip& vtep) {
  drop_packets(ask.key);
  count(stats_.rejected);
  EngineEvent event;
  event.kind = EventKind::kRejected;
  event.reason = reason;
  event.error = error;
  event.key = ask.key;
  event.mac = mac;
  event.vtep = vtep;
  event.token = ask.token;
  event.miss_at = ask.miss_at;
  event.at = output_.now();
  output_.emit(event);
}

// --- the table -------------------------------------------------------------------------------------------------

void MissEngine::learn(const Ip& ip, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms, std::uint8_t flags,
                       Nanoseconds now) {
  forget_stale(now);
  const std::uint32_t number = table_.intern(vtep);
  const std::uint32_t ttl = ttl_ms != 0 ? ttl_ms : options_.answer_ttl_ms;
  const Deciseconds expires = (flags & kWatched) != 0 || ttl == 0 ? 0 : clock(now) + (ttl + 99) / 100;
  if (!ip.empty()) {
    IpSlot* slot = table_.ips.insert(ip).first;
    slot->mac = mac;
    slot->vtep = number;
    slot->expires = expires;
    slot->flags = static_cast<std::uint8_t>((slot->flags & kProgrammed) | flags);
    if (expires != 0) due_at(expires, ip);
  }
  MacSlot* slot = table_.macs.insert(mac).first;
  // A record of the watch does not become one with a TTL because a lookup of another address has met it.
  const bool watched = (slot->flags & kWatched) != 0 && (flags & kWatched) == 0 && slot->vtep == number;
  stats_.endpoints.store(table_.ips.size(), std::memory_order_relaxed);
  if (watched) return;
  slot->vtep = number;
  slot->expires = expires;
  slot->flags = static_cast<std::uint8_t>((slot->flags & kProgrammed) | flags);
}

// A few slots with each endpoint that is learned: the table is cleaned as fast as it can grow.
void MissEngine::forget_stale(Nanoseconds now) {
  if (store_down_) return;
  constexpr std::size_t kSlots = 8;
  const auto old = [&](Deciseconds expires) { return expires != 0 && expires + kStaleKept <= clock(now); };
  table_.ips.sweep(swept_ips_, kSlots,
                   [&](const IpSlot& slot) { return old(slot.expires) && (slot.flags & kProgrammed) == 0; });
  table_.macs.sweep(swept_macs_, kSlots, [&](const MacSlot& slot) { return old(slot.expires); });
}

void MissEngine::put(const Ip& ip, const Mac& mac, const Ip& vtep, Nanoseconds now) {
  const char* fault = ip.is_unicast() ? nullptr : "the address is not a unicast one";
  if (fault == nullptr && !mac.is_unicast()) fault = mac_fault(mac);
  if (fault == nullptr) fault = vtep_fault(vtep);
  if (fault != nullptr) {
    Ask record;
    record.key = AskKey::of(ip);
    record.miss_at = now;
    reject(record, fault, 0, mac, vtep);
    return;
  }
  bool moved = false;
  bool programmed = false;
  if (const IpSlot* before = table_.ips.find(ip)) {
    programmed = (before->flags & kProgrammed) != 0;
    moved = programmed && (before->mac != mac || table_.vtep(before->vtep) != vtep);
  }
  bool rehomed = false;
  if (const MacSlot* before = table_.macs.find(mac))
    rehomed = (before->flags & kProgrammed) != 0 && table_.vtep(before->vtep) != vtep;
  learn(ip, mac, vtep, 0, static_cast<std::uint8_t>(kWatched | mark_), now);
  if (vtep == options_.vtep) {
    // It has come to this host: what leads elsewhere goes.
    if (programmed) withdraw(AskKey::of(ip));
    if (programmed || rehomed) withdraw(AskKey::of(mac));
    table_.ips.find(ip)->flags &= static_cast<std::uint8_t>(~kProgrammed);
    table_.macs.find(mac)->flags &= static_cast<std::uint8_t>(~kProgrammed);
    withdrawn(AskKey::of(ip));
    withdrawn(AskKey::of(mac));
    return;
  }
  if (is_local(AskKey::of(ip))) return;
  Ask* ask = moved ? asks_.insert(AskKey::of(ip)).first : asks_.find(AskKey::of(ip));
  if (ask != nullptr) {
    const bool waiting = ask->state == State::kLooking || ask->state == State::kQueued;
    if (moved || waiting || (ask->state != State::kAnswered && has_fresh_frame(*ask, now))) {
      if (waiting) settle(*ask, State::kTapped, now + kRecent);
      if (waiting || has_fresh_frame(*ask, now)) {
        make_ready(*ask);
      } else {
        make_ready_later(*ask);
      }
    }
    if (ask->state == State::kAbsent) settle(*ask, State::kTapped, now + kRecent);
  }
  ask = rehomed && !moved ? asks_.insert(AskKey::of(mac)).first : asks_.find(AskKey::of(mac));
  if (ask != nullptr) {
    const bool waiting = ask->state == State::kLooking || ask->state == State::kQueued;
    if (waiting) settle(*ask, State::kTapped, now + kRecent);
    if (waiting) {
      make_ready(*ask);
    } else if (rehomed && !moved) {
      make_ready_later(*ask);
    }
    if (ask->state == State::kAbsent) ask->expires = now;
  }
}

// The store's answer to a lookup that is under way may be from before.
void MissEngine::overtake(const AskKey& key) {
  if (Ask* ask = asks_.find(key); ask != nullptr && ask->state == State::kLooking) ask->overtaken = true;
}

void MissEngine::forget(const Ip& ip, Nanoseconds) {
  overtake(AskKey::of(ip));
  const IpSlot* slot = table_.ips.find(ip);
  if (slot == nullptr) return;
  if ((slot->flags & kProgrammed) != 0) withdraw(AskKey::of(ip));
  table_.ips.erase(ip);
  withdrawn(AskKey::of(ip));
  stats_.endpoints.store(table_.ips.size(), std::memory_order_relaxed);
}

void MissEngine::forget(const Mac& mac, Nanoseconds) {
  overtake(AskKey::of(mac));
  const MacSlot* slot = table_.macs.find(mac);
  if (slot == nullptr) return;
  if ((slot->flags & kProgrammed) != 0) withdraw(AskKey::of(mac));
  table_.macs.erase(mac);
  withdrawn(AskKey::of(mac));
}

void MissEngine::begin_reset(std::size_t count) {
  table_.ips.reserve(count);
  table_.macs.reserve(count);
  // What has been put before bears the other mark from now on, without being looked at.
  mark_ ^= kMarked;
  table_.ips.begin_walk();
  table_.macs.begin_walk();
  swept_ips_of_reset_ = false;
}

bool MissEngine::end_reset(Nanoseconds now) {
  const auto gone = [&](std::uint8_t flags) { return (flags & kWatched) != 0 && (flags & kMarked) != mark_; };
  const auto forget_gone = [&](const auto& slot) {
    if (!gone(slot.flags)) return false;
    const auto key = slot.key;
    forget(key, now);
    return true;
  };
  if (!swept_ips_of_reset_) {
    swept_ips_of_reset_ = !table_.ips.walk(kWalkSlots, forget_gone);
    return true;
  }
  return table_.macs.walk(kWalkSlots, forget_gone);
}

// --- what is to go -----------------------------------------------------------------------------------------------

// It stays on the list until the kernel has it no more, or has a new one in its place.
void MissEngine::withdraw(const AskKey& key) {
  const auto [leaving, added] = leaving_.insert(key);
  if (added) leaving_order_.push(key);
}

void MissEngine::withdraw_some() {
  if (leaving_order_.empty()) return;
  leavers_.clear();
  while (leavers_.size() < kPiece && !leaving_order_.empty()) {
    const AskKey key = leaving_order_.front();
    leaving_order_.pop();
    if (leaving_.find(key) != nullptr) leavers_.push_back(key);
  }
  if (leavers_.empty()) return;
  outcomes_.assign(leavers_.size(), 0);
  output_.withdraw(leavers_, outcomes_);
  const Nanoseconds now = output_.now();
  for (std::size_t i = 0; i < leavers_.size(); ++i) {
    if (outcomes_[i] == 0) {
      leaving_.erase(leavers_[i]);
      continue;
    }
    count(stats_.withdrawals_refused);
    Leaving* refused = leaving_.find(leavers_[i]);
    if (refused == nullptr) continue;  // twice in this piece
    refused_.push_back({leavers_[i], now + (kRefusedFirst << std::min<unsigned>(refused->tries, kRefusedDoublings))});
    std::push_heap(refused_.begin(), refused_.end());
    if (refused->tries < kRefusedDoublings) ++refused->tries;
  }
}

// --- this host ---------------------------------------------------------------------------------------------------

void MissEngine::set_local(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac) {
  set_here(link, ips, ips.empty() ? Mac{} : mac);
}

void MissEngine::set_own(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac) {
  set_here(~std::int64_t{link}, ips, mac);
}

void MissEngine::set_here(std::int64_t place, const std::vector<Ip>& ips, const Mac& mac) {
  if (const auto before = locals_.find(place); before != locals_.end()) {
    if (before->second.ips == ips && before->second.mac == mac) return;
    // Another link may have the same: one that is being replaced goes some time after the new one has come.
    for (const Ip& ip : before->second.ips) local_ips_.erase(local_ips_.find(ip));
    local_macs_.erase(local_macs_.find(before->second.mac));
    if (place < 0) own_macs_.erase(own_macs_.find(before->second.mac));
    locals_.erase(before);
  }
  if (mac.is_zero()) return;
  locals_[place] = {ips, mac};
  // They may have been remote until now, by an entry of ours or by one that the kernel learned.
  local_macs_.insert(mac);
  if (place < 0) own_macs_.insert(mac);
  withdraw(AskKey::of(mac));
  if (MacSlot* slot = table_.macs.find(mac)) slot->flags &= static_cast<std::uint8_t>(~kProgrammed);
  withdrawn(AskKey::of(mac));
  for (const Ip& ip : ips) {
    local_ips_.insert(ip);
    withdraw(AskKey::of(ip));
    if (IpSlot* slot = table_.ips.find(ip)) slot->flags &= static_cast<std::uint8_t>(~kProgrammed);
    withdrawn(AskKey::of(ip));
  }
}

void MissEngine::set_host(std::set<Ip> addresses, std::set<Ip> nobodys) {
  if (addresses == host_addresses_ && nobodys == nobodys_) return;
  host_addresses_ = std::move(addresses);
  nobodys_ = std::move(nobodys);
  const std::vector<const char*> before = std::exchange(faults_, {});
  for (std::uint32_t vtep = 1; vtep < table_.vteps(); ++vtep) {
    // What the kernel has to it would loop back, or go to all: who still asks is told that it is refused.
    if (known_fault(vtep) != nullptr && (vtep >= before.size() || before[vtep] == nullptr))
      output_.withdraw_vtep(table_.vtep(vtep));
  }
}

void MissEngine::adopt(const Ip& ip, const Mac& mac, Nanoseconds now) {
  if (table_.ips.find(ip) != nullptr) return;
  if (is_local(AskKey::of(ip)) || mac_fault(mac) != nullptr) {
    withdraw(AskKey::of(ip));
    return;
  }
  IpSlot* slot = table_.ips.insert(ip).first;
  slot->mac = mac;
  slot->flags = kProgrammed;
  slot->expires = clock(now);
  if (options_.answer_ttl_ms != 0) due_at(clock(now) + options_.answer_ttl_ms / 100, ip);
}

void MissEngine::forget_programmed() {
  table_.ips.for_each([](IpSlot& slot) { slot.flags &= static_cast<std::uint8_t>(~kProgrammed); });
  table_.macs.for_each([](MacSlot& slot) { slot.flags &= static_cast<std::uint8_t>(~kProgrammed); });
  asks_.for_each([](Ask& ask) {
    if (ask.state == State::kAnswered) ask.state = State::kTapped;
  });
  leaving_.clear();
  leaving_order_.clear();
  refused_.clear();
}

// --- answering -------------------------------------------------------------------------------------------------

MissEngine::Answered MissEngine::program() {
  Answered answered;
  confirm();
  for (std::size_t left = kPiece; left > 0 && !later_.empty(); --left) {
    Ask* ask = asks_.find(later_.front());
    later_.pop();
    if (ask != nullptr && ask->later) make_ready(*ask);
  }
  if (ready_.empty()) return answered;
  items_.clear();
  flushed_.clear();
  for (const AskKey& key : ready_) {
    Ask* ask = asks_.find(key);
    if (ask == nullptr || !ask->ready) continue;
    Programming item;
    std::uint32_t number = 0;
    if (key.is_l3()) {
      const IpSlot* slot = table_.ips.find(key.ip());
      if (slot != nullptr && slot->vtep != 0) item = {slot->key, slot->mac, table_.vtep(slot->vtep)};
      if (slot != nullptr) number = slot->vtep;
    } else {
      const MacSlot* slot = table_.macs.find(key.mac());
      if (slot != nullptr && slot->vtep != 0) item = {Ip{}, slot->key, table_.vtep(slot->vtep)};
      if (slot != nullptr) number = slot->vtep;
    }
    // Forgotten in the same round, or come here: by the watch, or attached.
    const bool here = item.vtep == options_.vtep || is_local(key);
    const char* fault = nullptr;
    if (!here && !item.vtep.empty()) {
      fault = mac_fault(item.mac);
      if (fault == nullptr) fault = known_fault(number);
    }
    if (item.vtep.empty() || here || fault != nullptr) {
      ask->ready = false;
      drop_packets(key);
      if (fault != nullptr) reject(*ask, fault, 0, item.mac, item.vtep);
      const auto ttl = fault != nullptr ? options_.negative_ttl_ms * kMillisecond : kRecent;
      settle(*ask, fault != nullptr ? State::kAbsent : State::kTapped, output_.now() + ttl);
      ask->miss_at = 0;
      continue;
    }
    items_.push_back(item);
    flushed_.push_back(key);
    if (leaving_.size() > 0) {
      // The new one takes its place.
      if (key.is_l3()) leaving_.erase(key);
      leaving_.erase(AskKey::of(item.mac));
    }
  }
  ready_.clear();
  if (items_.empty()) return answered;
  // What waited leaves before the kernel may send what follows by itself.
  if (!packets_.empty()) {
    for (const Programming& item : items_) forward_packets(item.mac, item.vtep);
  }
  errors_.assign(items_.size(), 0);
  output_.program(items_, errors_);

  const Nanoseconds now = output_.now();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Ask* ask = asks_.find(flushed_[i]);
    if (ask == nullptr) continue;
    ask->ready = false;
    settle(*ask, State::kAnswered, now + kRecent);
    answered.v4 = answered.v4 || items_[i].ip.is_v4();
    answered.v6 = answered.v6 || items_[i].ip.is_v6();
    replay_frames(*ask, now);
  }
  return answered;
}

void MissEngine::confirm() {
  if (items_.empty()) return;
  output_.confirm();
  const Nanoseconds now = output_.now();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Ask* ask = asks_.find(flushed_[i]);
    if (ask != nullptr) ask->replayed = 0;
    if (errors_[i] != 0) {
      // Of a pair the neighbour may have been taken: without its FDB entry it answers requests for nothing.
      if (!items_[i].ip.empty()) withdraw(AskKey::of(items_[i].ip));
      // The FDB entry may have been about to go when the new one was to take its place.
      if (const MacSlot* slot = table_.macs.find(items_[i].mac); slot == nullptr || (slot->flags & kProgrammed) == 0)
        withdraw(AskKey::of(items_[i].mac));
      if (IpSlot* slot = table_.ips.find(items_[i].ip); slot != nullptr)
        slot->flags &= static_cast<std::uint8_t>(~kProgrammed);
      if (ask == nullptr) continue;
      reject(*ask, "the kernel refused the entry", errors_[i], items_[i].mac, items_[i].vtep);
      settle(*ask, State::kAbsent, now + options_.negative_ttl_ms * kMillisecond);
      ask->miss_at = 0;
      continue;
    }
    if (IpSlot* slot = table_.ips.find(items_[i].ip); !items_[i].ip.empty() && slot != nullptr) {
      slot->flags |= kProgrammed;
      // Given although its TTL is over: nothing else would look at it again.
      if (slot->expires != 0 && slot->expires <= clock(now)) due_at(clock(now) + kStoreDownRetry, slot->key);
    }
    if (MacSlot* slot = table_.macs.find(items_[i].mac)) slot->flags |= kProgrammed;
    if (ask == nullptr || ask->miss_at == 0) continue;
    count(stats_.answers);
    EngineEvent event;
    event.kind = EventKind::kResolved;
    event.by_store = ask->by_store;
    event.key = ask->key;
    event.mac = items_[i].mac;
    event.vtep = items_[i].vtep;
    event.token = ask->token;
    event.miss_at = ask->miss_at;
    event.at = now;
    output_.emit(event);
    ask->miss_at = 0;
  }
  items_.clear();
}

// --- swallowed requests ----------------------------------------------------------------------------------------

const MissEngine::TappedFrame* MissEngine::frame(std::uint64_t number) const {
  if (number <= frames_expired_ || number > frame_count_) return nullptr;
  return &frames_[(number - 1) % frames_.size()];
}

// It no longer counts for its asker; its place in the ring is free when the older ones are gone too.
void MissEngine::release_frame(std::uint64_t number) {
  TappedFrame& released = frames_[(number - 1) % frames_.size()];
  if (released.size == 0) return;
  released.size = 0;
  AskerFrames* asker = asker_frames_.find(released.asker);
  if (asker != nullptr && --asker->count == 0) asker_frames_.erase(released.asker);
}

void MissEngine::expire_frames(Nanoseconds now) {
  for (; frames_expired_ < frame_count_; ++frames_expired_) {
    const TappedFrame& oldest = frames_[frames_expired_ % frames_.size()];
    const bool overwritten_next = frame_count_ - frames_expired_ >= kMaxFrames;
    if (!overwritten_next && oldest.size != 0 && now - oldest.at <= kRecent) return;
    release_frame(frames_expired_ + 1);
  }
}

void MissEngine::keep_frame(Ask& ask, const SwallowedRequest& request, Nanoseconds now) {
  if (request.frame.size() > kFrameBytes || request.asker.is_zero()) return;
  expire_frames(now);
  AskerFrames* asker = asker_frames_.insert(request.asker).first;
  if (asker->count >= kMaxFramesOfAsker) {
    count(stats_.shed);
    return;
  }
  ++asker->count;
  // Full of frames that may still be wanted: twice the room. Beyond the bound the oldest has given way above.
  if (frame_count_ - frames_expired_ >= frames_.size()) {
    std::vector<TappedFrame> larger(frames_.empty() ? 64 : frames_.size() * 2);
    for (std::uint64_t n = frames_expired_ + 1; n <= frame_count_; ++n)
      larger[(n - 1) % larger.size()] = frames_[(n - 1) % frames_.size()];
    frames_.swap(larger);
  }
  const std::uint64_t number = ++frame_count_;
  TappedFrame& slot = frames_[(number - 1) % frames_.size()];
  std::copy(request.frame.begin(), request.frame.end(), slot.bytes.begin());
  slot.size = static_cast<std::uint16_t>(request.frame.size());
  slot.asker = request.asker;
  slot.previous = ask.last_frame;
  slot.at = now;
  ask.last_frame = number;
}

// The chain leads back in time: where it ends, all that is older has gone as well.
void MissEngine::replay_frames(Ask& ask, Nanoseconds now) {
  owed_.clear();
  std::uint64_t number = ask.last_frame;
  while (const TappedFrame* tapped = frame(number)) {
    if (now - tapped->at > kRecent) break;
    owed_.push_back(number);
    number = tapped->previous;
  }
  for (; !owed_.empty(); owed_.pop_back()) {
    const TappedFrame* tapped = frame(owed_.back());
    output_.replay({tapped->bytes.data(), tapped->size});
    count(stats_.replayed);
    ask.replayed = owed_.back();
    release_frame(owed_.back());
  }
  ask.last_frame = 0;
}

bool MissEngine::has_fresh_frame(const Ask& ask, Nanoseconds now) const {
  const TappedFrame* last = frame(ask.last_frame);
  return last != nullptr && now <= last->at + kRecent;
}

// Its place in the ring may be another's by now, which is then no longer the same.
bool MissEngine::was_replayed(const Ask& ask, Bytes request) const {
  if (ask.replayed == 0 || request.size() > kFrameBytes) return false;
  return std::equal(request.begin(), request.end(), frames_[(ask.replayed - 1) % frames_.size()].bytes.begin());
}

// --- punted packets --------------------------------------------------------------------------------------------

void MissEngine::keep_packet(const Mac& mac, Bytes packet) {
  PacketQueue& queue = packets_[mac];
  while (!queue.packets.empty() &&
         (queue.bytes + packet.size() > kMaxPacketBytes || packet_bytes_ + packet.size() > kMaxAllPacketBytes)) {
    const std::size_t oldest = queue.packets.front().size();
    queue.bytes -= oldest;
    packet_bytes_ -= oldest;
    queue.packets.pop_front();
    count(stats_.packets_dropped);
  }
  if (packet_bytes_ + packet.size() > kMaxAllPacketBytes) {
    count(stats_.packets_dropped);
    if (queue.packets.empty()) packets_.erase(mac);
    return;
  }
  queue.packets.emplace_back(packet.begin(), packet.end());
  queue.bytes += packet.size();
  packet_bytes_ += packet.size();
}

void MissEngine::forward_packets(const Mac& mac, const Ip& vtep) {
  const auto found = packets_.find(mac);
  if (found == packets_.end()) return;
  for (const auto& packet : found->second.packets) output_.forward(packet, vtep);
  output_.send_forwarded();
  count(stats_.forwarded, found->second.packets.size());
  packet_bytes_ -= found->second.bytes;
  packets_.erase(found);
  // Another question may have brought the answer.
  Ask* ask = asks_.find(AskKey::of(mac));
  if (ask != nullptr && !ask->ready && (ask->state == State::kLooking || ask->state == State::kQueued))
    settle(*ask, State::kAnswered, output_.now() + kRecent);
}

void MissEngine::drop_packets(const AskKey& key) {
  if (key.is_l3()) return;
  const auto found = packets_.find(key.mac());
  if (found == packets_.end()) return;
  count(stats_.packets_dropped, found->second.packets.size());
  packet_bytes_ -= found->second.bytes;
  packets_.erase(found);
}

// --- time ------------------------------------------------------------------------------------------------------

void MissEngine::due_at(Deciseconds at, const Ip& ip) {
  ttls_.push_back({at, ip});
  std::push_heap(ttls_.begin(), ttls_.end());
}

// Nobody has answered them: the process is blocked, or has a fault. They must not take the place of others for ever.
void MissEngine::expire_lookups(Nanoseconds now) {
  if (next_deadline_ == 0 || now < next_deadline_) return;
  next_deadline_ = 0;
  std::vector<Lookup> late;
  lookups_.for_each([&](const Lookup& lookup) {
    if (lookup.deadline <= now) {
      late.push_back(lookup);
    } else if (next_deadline_ == 0 || lookup.deadline < next_deadline_) {
      next_deadline_ = lookup.deadline;
    }
  });
  for (const Lookup& lookup : late) {
    count(stats_.lookups_abandoned);
    on_answer(lookup.key, lookup.about, Said::kTimeout, Mac{}, Ip{}, 0, now);
  }
}

Nanoseconds MissEngine::expire(Nanoseconds now) {
  expire_lookups(now);
  while (!refused_.empty() && refused_.front().at <= now) {
    const AskKey key = refused_.front().key;
    std::pop_heap(refused_.begin(), refused_.end());
    refused_.pop_back();
    if (leaving_.find(key) != nullptr) leaving_order_.push(key);
  }
  int left = kMaxExpired;  // the rest waits for the next call
  for (Ring<Due>* ring : {&due_soon_, &due_negative_}) {
    for (; left > 0 && !ring->empty() && ring->front().at <= now; --left) {
      const AskKey key = ring->front().key;
      ring->pop();
      Ask* ask = asks_.find(key);
      if (ask == nullptr) continue;
      ask->due_queued = false;
      if (ask->ready || ask->state == State::kLooking || ask->state == State::kQueued) continue;
      if (ask->expires <= now && has_fresh_frame(*ask, now)) {
        settle(*ask, State::kTapped, frame(ask->last_frame)->at + kRecent + 1);
      } else if (ask->expires <= now) {
        asks_.erase(key);
      } else {
        settle(*ask, ask->state, ask->expires);
      }
    }
  }
  start_lookups(now);
  const Deciseconds clock_now = clock(now);
  for (; left > 0 && !ttls_.empty() && ttls_.front().at <= clock_now; --left) {
    const TtlDue due = ttls_.front();
    std::pop_heap(ttls_.begin(), ttls_.end());
    ttls_.pop_back();
    IpSlot* slot = table_.ips.find(due.ip);
    if (slot == nullptr || (slot->flags & kProgrammed) == 0 || slot->expires == 0 || slot->expires > clock_now)
      continue;
    if (store_down_) {
      due_at(clock_now + kStoreDownRetry, due.ip);
      continue;
    }
    // The deletion re-arms the miss: whoever still talks to it asks again, without loss.
    withdraw(AskKey::of(due.ip));
    slot->flags &= static_cast<std::uint8_t>(~kProgrammed);
    withdrawn(AskKey::of(due.ip));
  }
  Nanoseconds next = 0;
  const auto sooner = [&](Nanoseconds at) {
    if (next == 0 || at < next) next = at;
  };
  if (left == 0) sooner(now);
  if (next_deadline_ != 0) sooner(next_deadline_);
  if (!refused_.empty()) sooner(refused_.front().at);
  // Lookups that wait for their rate rather than for an answer.
  if (!turns_.empty() && lookups_.size() < options_.max_lookups) sooner(now + kMillisecond);
  if (!due_soon_.empty()) sooner(due_soon_.front().at);
  if (!due_negative_.empty()) sooner(due_negative_.front().at);
  if (!ttls_.empty()) sooner(origin_ + Nanoseconds{ttls_.front().at} * 100 * kMillisecond);
  return next;
}

}  // namespace overns
