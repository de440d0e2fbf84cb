#include "engine/miss_engine.h"

#include <algorithm>

namespace overns {

MissEngine::MissEngine(const EngineOptions& options, EngineOutput& output)
    : options_(options),
      output_(output),
      local_(options.vtep),
      lookups_(options),
      departures_(options.redirect_ms * kMillisecond),
      origin_(output.now()) {}

// --- misses and requests ---------------------------------------------------------------------------------------

void MissEngine::on_miss(const AskKey& key, Nanoseconds now) {
  count(counters_.misses);
  ask(key, now);
}

void MissEngine::ask(const AskKey& key, Nanoseconds now) {
  if (!key.is_unicast()) return;
  if (local_.contains(key)) {
    count(counters_.local);
    return;
  }
  Ask* ask = ask_for(key);
  if (ask == nullptr) return;
  if (ask->ready || ask->waits()) {
    count(counters_.coalesced);
    if (ask->unhurried) {
      // From now on somebody waits.
      if (ask->miss_at == 0) ask->miss_at = now;
      make_ready(*ask);
    }
    return;
  }
  if (ask->state == AskState::kAbsent && now < ask->expires) {
    count(counters_.negative);
    return;
  }
  ask->miss_at = now;
  ask->here = Mac{};
  ask->by_store = false;
  ask->ttl_ms = 0;
  ask->token = 0;
  if (answer_from_table(*ask, now, store_down_)) return;
  request_lookup(*ask, now);
}

// Null in a flood of unknown addresses: it asks again in a second. Room for what is known there always is.
Ask* MissEngine::ask_for(const AskKey& key) {
  if (asks_.full() && asks_.find(key) == nullptr) {
    const bool known = key.is_l3() ? table_.find(key.ip()) != nullptr : table_.find(key.mac()) != nullptr;
    if (!known && !asks_.evict_absent()) {
      count(counters_.shed);
      return nullptr;
    }
  }
  return asks_.insert(key);
}

// Programs an address that is known before it is asked for.
void MissEngine::provide(const IpSlot& slot, Nanoseconds now) {
  if (table_.vtep(slot.vtep).ip == options_.vtep) return;
  Ask* ask = ask_for(AskKey::of(slot.key));
  if (ask == nullptr || ask->ready || ask->waits() || (ask->state == AskState::kAbsent && now < ask->expires)) return;
  (void)answer_from_table(*ask, now, store_down_);
}

void MissEngine::on_packet(const Mac& destination, const Ip& target, Bytes packet, Nanoseconds now) {
  if (!destination.is_unicast()) {
    // Which hosts have a part of the overlay is not known on demand: copies would reach some and not others.
    count(counters_.flood_dropped);
    return;
  }
  const AskKey key = AskKey::of(destination);
  if (local_.contains(key)) {
    count(counters_.local);  // the bridge floods what it does not know; the container has its copy
    return;
  }
  Ask* current = asks_.find(key);
  const auto waiting = [&] { return current != nullptr && current->waits(); };
  const auto answered = [&] {
    return current != nullptr && (current->ready || (current->state == AskState::kAnswered && now < current->expires));
  };
  if (!waiting() && !answered()) {
    // The first packet is the miss; those that follow while it is being answered belong to it.
    count(counters_.misses);
    EngineEvent event;
    event.kind = EventKind::kMiss;
    event.key = key;
    event.miss_at = event.at = now;
    output_.emit(event);
    ask(key, now);
    // Somebody here knows the MAC already, and will ask the address soon whether it still has it: answered from the
    // kernel's entry, whether this process lives then or not.
    const IpSlot* known = target.empty() ? nullptr : table_.find(target);
    if (known != nullptr && known->mac == destination && !is_programmed(known)) provide(*known, now);
    current = asks_.find(key);
  }
  if (waiting()) {
    count(counters_.packets_dropped, packets_.keep(destination, packet));
    return;
  }
  const MacSlot* slot = table_.find(destination);
  if (!answered() || slot == nullptr || slot->vtep == 0 || table_.vtep(slot->vtep).ip == options_.vtep ||
      table_.vtep(slot->vtep).fault != nullptr) {
    count(counters_.packets_dropped);
    return;
  }
  count(counters_.forwarded);
  output_.forward(packet, table_.vtep(slot->vtep).ip);
  make_ready(*current);  // the kernel still sends them here: it is programmed at the end of the round
}

bool MissEngine::redirect(std::span<std::uint8_t> frame, Nanoseconds now) {
  const auto mac = Mac::from(Bytes(frame).first(std::min(frame.size(), std::size_t{6})));
  // It may have been read before the container came back.
  if (!mac || !departures_.contains(*mac) || local_.contains(AskKey::of(*mac))) return false;
  // Until the record says another host there is nobody to send it to.
  const MacSlot* slot = table_.find(*mac);
  if (slot != nullptr && slot->vtep != 0 && table_.vtep(slot->vtep).ip == options_.vtep) return false;
  if (!redirects_.admits(now)) {
    count(counters_.packets_dropped);
    return false;
  }
  if (!spend_hop(frame)) return false;
  count(counters_.redirected);
  return true;
}

void MissEngine::on_request(const SwallowedRequest& request, Nanoseconds now) {
  const AskKey key = AskKey::of(request.target);
  if (local_.contains(key)) return;
  Ask* ask = ask_for(key);
  if (ask == nullptr) return;
  if (ask->state == AskState::kAnswered && !ask->ready && now < ask->expires) {
    // The same as one that was replayed in this round, after the answer was programmed: swallowed before that, its
    // asker has the reply by the replay; come later, by the kernel.
    if (!frames_.had_bytes(ask->replayed, request.frame)) {
      count(counters_.replayed);
      const char* fault = nullptr;
      if (const KernelEntry entry = entry_of(key, fault); fault == nullptr) prime(request.frame, entry, now);
      output_.replay(request.frame);
    }
    // The entry may be gone again, by a short TTL or a hand: then the replay is a miss, whose answer owes this asker
    // too.
    keep_frame(*ask, request, now);
    return;
  }
  if (ask->state == AskState::kAnswered) ask->state = AskState::kTapped;
  keep_frame(*ask, request, now);
  if (ask->unhurried) make_ready(*ask);
  if (ask->state == AskState::kQueued && ask->asker.is_zero()) {
    ask->asker = request.asker;  // from now on it waits among the asker's own
    queue_lookup(request.asker, key, now);
  }
  if (ask->state != AskState::kTapped) return;
  asks_.settle(*ask, AskState::kTapped, now + kRecent);
  // After an overrun its miss may be among the dropped ones.
  if (now < suspect_until_ && ask->miss_at == 0) on_miss(key, now);
}

void MissEngine::on_primed(const SwallowedRequest& request, Nanoseconds now) {
  const auto sender = sender_of(request.frame);
  if (!sender || !local_.contains(AskKey::of(request.target)) || local_.contains(AskKey::of(sender->ip))) return;
  // What the frame says is not believed: it is a hint of what will be asked for. What was programmed may have aged, or
  // been deleted by a hand, without a word.
  const IpSlot* slot = table_.find(sender->ip);
  if (slot != nullptr) provide(*slot, now);
}

void MissEngine::keep_frame(Ask& ask, const SwallowedRequest& request, Nanoseconds now) {
  if (!TappedFrames::takes(request)) return;
  const std::uint64_t number = frames_.keep(request, ask.last_frame, now);
  if (number == 0) {
    count(counters_.shed);
  } else {
    ask.last_frame = number;
  }
}

void MissEngine::on_overrun(std::uint32_t dropped, Nanoseconds now) {
  count(counters_.overruns);
  count(counters_.dropped, dropped);
  suspect_until_ = now + kRecent;
  EngineEvent event;
  event.kind = EventKind::kOverrun;
  event.dropped = dropped;
  event.at = now;
  output_.emit(event);
  std::vector<AskKey> waiting;
  asks_.for_each([&](const Ask& ask) {
    if (ask.state == AskState::kTapped && !ask.ready && frames_.fresh_until(ask.last_frame, now) != 0)
      waiting.push_back(ask.key);
  });
  for (const AskKey& key : waiting) on_miss(key, now);
}

// True when the table settles the question. `stale`: an expired entry will do.
bool MissEngine::answer_from_table(Ask& ask, Nanoseconds now, bool stale) {
  std::uint32_t vtep = 0;
  Deciseconds expires = 0;
  Mac mac = ask.key.mac();
  const auto read = [&](const auto* slot) {
    if (slot == nullptr) return;
    vtep = slot->vtep;
    expires = slot->expires;
  };
  if (ask.key.is_l3()) {
    const IpSlot* slot = table_.find(ask.key.ip());
    if (slot != nullptr) mac = slot->mac;
    read(slot);
  } else {
    read(table_.find(mac));
  }
  if (vtep == 0 || (!stale && expires != 0 && expires <= clock(now))) return false;
  if (table_.vtep(vtep).ip == options_.vtep) {
    on_here(ask, mac, now);
    return true;
  }
  make_ready(ask);
  return true;
}

// --- lookups ---------------------------------------------------------------------------------------------------

void MissEngine::request_lookup(Ask& ask, Nanoseconds now) {
  // Link-local addresses are nobody's records; duplicate address detection alone would ask for each.
  if (ask.key.is_l3() && is_link_local(ask.key.ip())) {
    asks_.settle(ask, AskState::kAbsent, negative_until(now));
    return;
  }
  if (!lookups_.may_start(now)) {
    ask.state = AskState::kQueued;
    ask.asker = Mac{};
    queue_lookup(Mac{}, ask.key, now);
    return;
  }
  ask.state = AskState::kLooking;
  ask.lookup_outdated = false;
  ask.token = lookups_.start(ask.key, now);
  count(counters_.lookups);
  output_.look_up(ask.key, ask.token, ask.miss_at);
}

// Changes no ask but the oldest of a queue that is full, which is never the one given.
void MissEngine::queue_lookup(const Mac& asker, const AskKey& key, Nanoseconds now) {
  const auto displaced = lookups_.enqueue(asker, key);
  if (!displaced || *displaced == key) return;
  Ask* oldest = asks_.find(*displaced);
  // Answered meanwhile, or moved to the queue of its asker.
  if (oldest == nullptr || oldest->state != AskState::kQueued || oldest->asker.is_zero() != asker.is_zero()) return;
  drop_packets(oldest->key);
  asks_.settle(*oldest, AskState::kTapped, now + kRecent);  // it asks again in a second
  count(counters_.shed);
}

void MissEngine::start_lookups(Nanoseconds now) {
  while (lookups_.any_queued() && lookups_.may_start(now)) {
    const auto next = lookups_.next([&](const Mac& asker, const AskKey& key) {
      const Ask* ask = asks_.find(key);
      return ask != nullptr && ask->state == AskState::kQueued && ask->asker.is_zero() == asker.is_zero();
    });
    if (next) request_lookup(*asks_.find(*next), now);
  }
}

void MissEngine::on_answer(std::uint32_t token, const AskKey& key, LookupResult result, const Mac& mac, const Ip& vtep,
                           std::uint32_t ttl_ms, Nanoseconds now) {
  lookups_.end(token);
  Ask* ask = asks_.find(key);
  if (ask != nullptr && ask->state == AskState::kLooking && ask->token == token) {
    if (ask->lookup_outdated) {
      request_lookup(*ask, now);
    } else if (result == LookupResult::kFound) {
      // Where a MAC is was asked: which one is no part of the answer.
      on_found(*ask, key.is_l3() ? mac : key.mac(), vtep, ttl_ms, now);
    } else {
      on_not_found(*ask, result, now);
    }
  }
  start_lookups(now);
}

void MissEngine::on_found(Ask& ask, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms, Nanoseconds now) {
  const AskKey key = ask.key;
  if (vtep == options_.vtep) {
    // The record from before leads elsewhere; it must not answer should the store fail later on.
    if (key.is_l3()) forget(key.ip());
    forget(mac);
    on_here(ask, mac, now);
    drop_packets(key);
    return;
  }
  const char* fault = local_.mac_fault(mac);
  if (fault == nullptr) fault = local_.vtep_fault(vtep);
  if (fault != nullptr) {
    reject(ask, fault, 0, mac, vtep);
    asks_.settle(ask, AskState::kAbsent, negative_until(now));
    return;
  }
  learn(key.ip(), mac, vtep, ttl_ms, false, now);
  ask.by_store = true;
  ask.ttl_ms = ttl_ms;
  asks_.settle(ask, AskState::kTapped, now + kRecent);
  make_ready(ask);
}

// The record names this host. It may be one that is being attached, or that is attached by hand and answers by itself:
// whether nobody has the address is looked at when the state is over.
void MissEngine::on_here(Ask& ask, const Mac& mac, Nanoseconds now) {
  count(counters_.local);
  asks_.settle(ask, AskState::kAbsent, negative_until(now));
  ask.here = mac;
}

void MissEngine::tell_not_here(const Ask& ask, Nanoseconds now) {
  if (local_.contains(ask.key) || output_.is_behind_bridge(ask.here)) return;
  count(counters_.not_here);
  tell_unresolved(ask, Cause::kNotHere, now);
}

void MissEngine::tell_unresolved(const Ask& ask, Cause cause, Nanoseconds now) {
  EngineEvent event;
  event.kind = EventKind::kUnresolved;
  event.cause = cause;
  event.key = ask.key;
  event.token = ask.token;
  event.miss_at = ask.miss_at;
  event.at = now;
  output_.emit(event);
}

void MissEngine::on_not_found(Ask& ask, LookupResult result, Nanoseconds now) {
  const AskKey key = ask.key;
  const bool doubted = key.is_l3() ? is_missing(table_.find(key.ip())) : is_missing(table_.find(key.mac()));
  if (result == LookupResult::kAbsent && !doubted) {
    if (key.is_l3()) {
      forget(key.ip());
    } else {
      forget(key.mac());
    }
    asks_.settle(ask, AskState::kAbsent, negative_until(now));
    tell_unresolved(ask, Cause::kAbsent, now);
    ask.miss_at = 0;
    drop_packets(key);
  } else if (answer_from_table(ask, now, true)) {
    // A known endpoint, though its TTL is over, beats losing packets while the store cannot say.
    if (ask.state == AskState::kLooking) asks_.settle(ask, AskState::kTapped, now + kRecent);
    if (!ask.ready) drop_packets(key);
  } else {
    asks_.settle(ask, AskState::kTapped, now + kRecent);
    const Cause cause = result == LookupResult::kAbsent    ? Cause::kAbsent
                        : result == LookupResult::kTimeout ? Cause::kTimeout
                                                           : Cause::kStoreError;
    tell_unresolved(ask, cause, now);
    ask.miss_at = 0;
    drop_packets(key);
  }
}

void MissEngine::reject(const Ask& ask, const char* reason, int error, const Mac& mac, const Ip& vtep) {
  drop_packets(ask.key);
  count(counters_.rejected);
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

void MissEngine::drop_packets(const AskKey& key) {
  if (!key.is_l3() && !packets_.empty()) count(counters_.packets_dropped, packets_.take(key.mac()).size());
}

}  // namespace overns
