// Carries out what was decided: entries into the kernel and out of it, requests replayed, packets sent on.
#include "engine/miss_engine.h"

namespace overns {
namespace {

// Bounds the work that nobody waits for: of a flush, some 0.2 ms, and of one call of expire().
constexpr std::size_t kPiece = 32;
constexpr int kMaxExpired = 256;
constexpr int kMaxNotHere = 16;  // of these that are asked about of the kernel; the others are when they are next
// While the store is unreachable an entry stays in the kernel beyond its TTL; looked at again after this.
constexpr Deciseconds kStoreDownRetry = 50;

}  // namespace

void MissEngine::make_ready(Ask& ask) {
  if (ask.ready && !ask.unhurried) return;
  ask.ready = true;
  ask.unhurried = false;
  ready_.push_back(ask.key);
}

// Lets it be programmed when there is time: a change by the store, of which there may be very many at once.
void MissEngine::make_ready_unhurried(Ask& ask) {
  if (ask.ready) return;
  ask.ready = ask.unhurried = true;
  unhurried_.push(ask.key);
}

// The kernel's entry is gone, or about to be.
void MissEngine::unanswer(const AskKey& key) {
  Ask* ask = asks_.find(key);
  if (ask != nullptr && ask->state == AskState::kAnswered) ask->state = AskState::kTapped;
}

void MissEngine::flush() {
  program();
  confirm();
  count(counters_.withdrawals_refused, withdrawals_.carry_out(output_, kPiece));
  if (departures_.take_changed()) output_.set_departed(departures_.macs());
  // Once the new entries are in place.
  announcements_.carry_out(output_.now(), [&](const Ip& ip) { announce(ip); });
}

// Returns what the kernel is to have for an ask. Without a VTEP: nothing, and `fault` says why where that is to be
// told.
KernelEntry MissEngine::entry_of(const AskKey& key, const char*& fault) {
  KernelEntry entry;
  std::uint32_t number = 0;
  if (key.is_l3()) {
    if (const IpSlot* slot = table_.find(key.ip()); slot != nullptr) {
      entry = {slot->key, slot->mac, {}};
      number = slot->vtep;
    }
  } else if (const MacSlot* slot = table_.find(key.mac()); slot != nullptr) {
    entry = {Ip{}, slot->key, {}};
    number = slot->vtep;
  }
  // Forgotten in the same round, or come here: by the watch, or attached.
  const RemoteVtep& remote = table_.vtep(number);
  if (number == 0 || remote.ip == options_.vtep || local_.contains(key)) return entry;
  fault = local_.mac_fault(entry.mac);
  if (fault == nullptr) fault = remote.fault;
  entry.vtep = remote.ip;
  return entry;
}

void MissEngine::collect_entries() {
  entries_.clear();
  entry_keys_.clear();
  for (const AskKey& key : ready_) {
    Ask* ask = asks_.find(key);
    if (ask == nullptr || !ask->ready) continue;
    const char* fault = nullptr;
    const KernelEntry entry = entry_of(key, fault);
    if (entry.vtep.empty() || fault != nullptr) {
      ask->ready = false;
      drop_packets(key);
      const Nanoseconds now = output_.now();
      if (fault != nullptr) {
        reject(*ask, fault, 0, entry.mac, entry.vtep);
        asks_.settle(*ask, AskState::kAbsent, negative_until(now));
      } else {
        asks_.settle(*ask, AskState::kTapped, now + kRecent);
      }
      ask->miss_at = 0;
      continue;
    }
    entries_.push_back(entry);
    entry_keys_.push_back(key);
    // The new one takes its place.
    if (key.is_l3()) withdrawals_.cancel(key);
    withdrawals_.cancel(AskKey::of(entry.mac));
  }
  ready_.clear();
}

MissEngine::Answered MissEngine::program() {
  Answered answered;
  confirm();
  for (std::size_t left = kPiece; left > 0 && !unhurried_.empty(); --left) {
    Ask* ask = asks_.find(unhurried_.front());
    unhurried_.pop();
    if (ask != nullptr && ask->unhurried) make_ready(*ask);
  }
  if (ready_.empty()) return answered;
  collect_entries();
  if (entries_.empty()) return answered;
  // Packets that waited leave before the kernel may send what follows by itself.
  if (!packets_.empty()) {
    for (const KernelEntry& entry : entries_) forward_packets(entry.mac, entry.vtep);
  }
  errors_.assign(entries_.size(), 0);
  output_.program(entries_, errors_);

  const Nanoseconds now = output_.now();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Ask* ask = asks_.find(entry_keys_[i]);
    if (ask == nullptr) continue;
    ask->ready = false;
    asks_.settle(*ask, AskState::kAnswered, now + kRecent);
    answered.v4 = answered.v4 || entries_[i].ip.is_v4();
    answered.v6 = answered.v6 || entries_[i].ip.is_v6();
    replay_frames(*ask, entries_[i], now);
  }
  return answered;
}

void MissEngine::confirm() {
  if (entries_.empty()) return;
  output_.confirm();
  const Nanoseconds now = output_.now();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Ask* ask = asks_.find(entry_keys_[i]);
    if (ask != nullptr) ask->replayed = 0;
    if (errors_[i] != 0) {
      on_refused(entries_[i], ask, errors_[i], now);
    } else {
      on_programmed(entries_[i], ask, now);
    }
  }
  entries_.clear();
}

void MissEngine::on_refused(const KernelEntry& entry, Ask* ask, int error, Nanoseconds now) {
  // The neighbour may be installed although its FDB entry was refused: alone it answers requests for nothing.
  if (!entry.ip.empty()) withdrawals_.add(AskKey::of(entry.ip));
  // The FDB entry may have been about to go when the new one was to take its place.
  if (!is_programmed(table_.find(entry.mac))) withdrawals_.add(AskKey::of(entry.mac));
  set_programmed(table_.find(entry.ip), false);
  if (ask == nullptr) return;
  reject(*ask, "the kernel refused the entry", error, entry.mac, entry.vtep);
  asks_.settle(*ask, AskState::kAbsent, negative_until(now));
  ask->miss_at = 0;
}

void MissEngine::on_programmed(const KernelEntry& entry, Ask* ask, Nanoseconds now) {
  if (IpSlot* slot = entry.ip.empty() ? nullptr : table_.find(entry.ip)) {
    set_programmed(slot, true);
    slot->flags |= kTold;
    // Given although its TTL is over: nothing else would look at it again.
    if (slot->expires != 0 && slot->expires <= clock(now)) table_.look_again(slot->key, clock(now) + kStoreDownRetry);
  }
  set_programmed(table_.find(entry.mac), true);
  if (ask == nullptr || ask->miss_at == 0) return;
  count(counters_.answers);
  EngineEvent event;
  event.kind = EventKind::kResolved;
  event.by_store = ask->by_store;
  event.key = ask->key;
  event.mac = entry.mac;
  event.vtep = entry.vtep;
  event.token = ask->token;
  event.ttl_ms = ask->ttl_ms;
  event.miss_at = ask->miss_at;
  event.at = now;
  output_.emit(event);
  ask->miss_at = 0;
}

// On Ethernet the one who is asked hears the request and learns the asker by it; here vxlan's proxy swallows it, and
// the other host would miss in turn, for the answer. So it is sent on, before the asker is answered.
void MissEngine::prime(Bytes frame, const KernelEntry& entry, Nanoseconds now) {
  if (!options_.prime || entry.vtep.empty()) return;
  const auto sender = sender_of(frame);
  // Of an endpoint here alone: nobody is to be told what a container makes up.
  if (!sender || !local_.has_endpoint(sender->ip, sender->mac) || !primes_.admits(now)) return;
  if (output_.prime(frame, entry.mac, entry.vtep)) count(counters_.primed);
}

void MissEngine::replay_frames(Ask& ask, const KernelEntry& entry, Nanoseconds now) {
  for (const std::uint64_t number : frames_.chain(ask.last_frame, now)) {
    count(counters_.replayed);
    prime(frames_.bytes(number), entry, now);
    output_.replay(frames_.bytes(number));
    ask.replayed = number;
    frames_.release(number);
  }
  ask.last_frame = 0;
}

void MissEngine::forward_packets(const Mac& mac, const Ip& vtep) {
  const HeldPackets::Queue packets = packets_.take(mac);
  if (packets.empty()) return;
  for (const auto& packet : packets) output_.forward(packet, vtep);
  // Counted before it is sent: whoever has received it finds it in the counters.
  count(counters_.forwarded, packets.size());
  output_.send_forwarded();
  // Another question may have brought the answer.
  Ask* ask = asks_.find(AskKey::of(mac));
  if (ask != nullptr && !ask->ready && ask->waits()) asks_.settle(*ask, AskState::kAnswered, output_.now() + kRecent);
}

// --- time ------------------------------------------------------------------------------------------------------

Nanoseconds MissEngine::expire(Nanoseconds now) {
  for (const Lookups::Lookup& late : lookups_.late(now)) {
    count(counters_.lookups_abandoned);
    on_answer(late.key, late.about, LookupResult::kTimeout, Mac{}, Ip{}, 0, now);
  }
  withdrawals_.retry(now);
  departures_.expire(now);
  int left = kMaxExpired;  // the rest waits for the next call
  int not_here = kMaxNotHere;
  asks_.expire(now, left, [&](const Ask& ask) {
    if (!ask.here.is_zero() && --not_here >= 0) tell_not_here(ask, now);
    const Nanoseconds until = frames_.fresh_until(ask.last_frame, now);
    return until == 0 ? 0 : until + 1;
  });
  start_lookups(now);
  const Deciseconds clock_now = clock(now);
  for (; left > 0 && table_.is_due(clock_now); --left) {
    IpSlot* slot = table_.take_due();
    if (!is_programmed(slot) || (slot->flags & kOutdated) != 0) continue;
    if (slot->expires == 0 || slot->expires > clock_now) continue;
    const Ip ip = slot->key;
    if (store_down_ || is_missing(slot)) {
      table_.look_again(ip, clock_now + kStoreDownRetry);
      continue;
    }
    // The deletion re-arms the miss: whoever still talks to it asks again, without loss.
    withdrawals_.add(AskKey::of(ip));
    set_programmed(slot, false);
    unanswer(AskKey::of(ip));
  }
  Nanoseconds next = left == 0 ? now : 0;
  const auto sooner = [&](Nanoseconds at) {
    if (at != 0 && (next == 0 || at < next)) next = at;
  };
  sooner(lookups_.next_due(now));
  sooner(withdrawals_.next_retry());
  sooner(announcements_.next_due());
  sooner(asks_.next_due());
  sooner(departures_.next_due());
  if (table_.next_due() != 0) sooner(origin_ + Nanoseconds{table_.next_due()} * 100 * kMillisecond);
  return next;
}

}  // namespace overns
