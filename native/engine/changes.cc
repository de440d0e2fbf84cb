// Takes in what the store's watch says, and what is on this host.
#include "engine/miss_engine.h"

#include <type_traits>

namespace overns {

void MissEngine::count_endpoints() {
  counters_.endpoints.store(table_.size(), std::memory_order_relaxed);
  counters_.missing.store(table_.missing(), std::memory_order_relaxed);
}

void MissEngine::learn(const Ip& ip, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms, bool watched,
                       Nanoseconds now) {
  if (!store_down_) table_.forget_stale(clock(now), [&](const Mac& idle) { withdrawals_.add(AskKey::of(idle)); });
  bool told = false;
  bool changed = false;
  if (const IpSlot* before = ip.empty() ? nullptr : table_.find(ip);
      before != nullptr && (before->flags & kTold) != 0) {
    told = true;
    changed = before->mac != mac;
  } else if (const Mac last = ip.empty() ? Mac{} : told_.take(ip); !last.is_zero()) {
    told = true;
    changed = last != mac;
  }
  const std::uint32_t ttl = ttl_ms != 0 ? ttl_ms : options_.answer_ttl_ms;
  table_.put(ip, mac, vtep, watched || ttl == 0 ? 0 : clock(now) + (ttl + 99) / 100, watched);
  if (told) table_.find(ip)->flags |= kTold;
  if (changed) announcements_.add(ip);
  count_endpoints();
}

// Null where there is no room: the entry of before goes then, and who still talks asks again.
Ask* MissEngine::ask_for_change(const AskKey& key) {
  if (!asks_.full() || asks_.find(key) != nullptr || asks_.evict_absent()) return asks_.insert(key);
  withdrawals_.add(key);
  if (key.is_l3()) {
    set_programmed(table_.find(key.ip()), false);
  } else {
    set_programmed(table_.find(key.mac()), false);
  }
  return nullptr;
}

void MissEngine::put(const Ip& ip, const Mac& mac, const Ip& vtep, Nanoseconds now) {
  const char* fault = ip.is_unicast() ? nullptr : "the address is not a unicast one";
  if (fault == nullptr && !mac.is_unicast()) fault = local_.mac_fault(mac);
  if (fault == nullptr) fault = local_.vtep_fault(vtep);
  if (fault != nullptr) {
    Ask record;
    record.key = AskKey::of(ip);
    record.miss_at = now;
    reject(record, fault, 0, mac, vtep);
    return;
  }
  const IpSlot* ip_before = table_.find(ip);
  const bool programmed = is_programmed(ip_before);
  const bool moved = programmed && (ip_before->mac != mac || table_.vtep(ip_before->vtep).ip != vtep);
  const MacSlot* mac_before = table_.find(mac);
  const bool mac_moved = is_programmed(mac_before) && table_.vtep(mac_before->vtep).ip != vtep;
  learn(ip, mac, vtep, 0, true, now);
  if (vtep == options_.vtep) {
    come_here(ip, mac, programmed, mac_moved);
    return;
  }
  if (local_.contains(AskKey::of(ip))) return;
  const bool ahead = !programmed && few_ && table_.size() <= options_.program_ahead;
  Ask* ask = moved || ahead ? ask_for_change(AskKey::of(ip)) : asks_.find(AskKey::of(ip));
  if (ask != nullptr) {
    const bool waiting = ask->waits();
    const bool owed = frames_.fresh_until(ask->last_frame, now) != 0;
    if (waiting) asks_.settle(*ask, AskState::kTapped, now + kRecent);
    if (waiting || (owed && (moved || ask->state != AskState::kAnswered))) {
      make_ready(*ask);
    } else if (moved || ahead) {
      make_ready_unhurried(*ask);
    }
    if (ask->state == AskState::kAbsent) asks_.settle(*ask, AskState::kTapped, now + kRecent);
  }
  ask = mac_moved && !moved ? ask_for_change(AskKey::of(mac)) : asks_.find(AskKey::of(mac));
  if (ask != nullptr) {
    if (ask->waits()) {
      asks_.settle(*ask, AskState::kTapped, now + kRecent);
      make_ready(*ask);
    } else if (mac_moved && !moved) {
      make_ready_unhurried(*ask);
    }
    if (ask->state == AskState::kAbsent) {
      ask->expires = now;
      ask->here = Mac{};
    }
  }
}

// Withdraws what leads elsewhere, since the endpoint is on this host now.
void MissEngine::come_here(const Ip& ip, const Mac& mac, bool programmed, bool mac_moved) {
  if (programmed) withdrawals_.add(AskKey::of(ip));
  if (programmed || mac_moved) withdrawals_.add(AskKey::of(mac));
  set_programmed(table_.find(ip), false);
  set_programmed(table_.find(mac), false);
  unanswer(AskKey::of(ip));
  unanswer(AskKey::of(mac));
}

template <class Address>
void MissEngine::forget_address(const Address& address, bool keep) {
  const AskKey key = AskKey::of(address);
  if (Ask* ask = asks_.find(key); ask != nullptr) {
    // The store's answer to a lookup that is under way may be from before.
    if (ask->state == AskState::kLooking) ask->lookup_outdated = true;
    ask->here = Mac{};
  }
  auto* slot = table_.find(address);
  if (slot == nullptr) return;
  if (is_programmed(slot)) {
    if (keep) {
      table_.outdate(*slot);
      count_endpoints();
      return;
    }
    withdrawals_.add(key);
  }
  if constexpr (std::is_same_v<Address, Ip>) {
    if ((slot->flags & kTold) != 0) told_.keep(address, slot->mac);
  }
  table_.erase(address);
  unanswer(key);
  count_endpoints();
}

void MissEngine::forget(const Ip& ip, bool keep) { forget_address(ip, keep); }
void MissEngine::forget(const Mac& mac, bool keep) { forget_address(mac, keep); }

bool MissEngine::find_missing() {
  const bool more = table_.find_missing_piece();
  count_endpoints();
  return more;
}

bool MissEngine::sweep() {
  return table_.sweep_piece([&](const auto& key) { forget(key); });
}

// --- this host ---------------------------------------------------------------------------------------------------

// Withdraws what leads elsewhere: the address may have been remote until now, by an entry of ours or by one that the
// kernel learned.
template <class Address>
void MissEngine::claim(const Address& address) {
  if constexpr (std::is_same_v<Address, Mac>) departures_.remove(address);
  withdrawals_.add(AskKey::of(address));
  set_programmed(table_.find(address), false);
  unanswer(AskKey::of(address));
}

// Containers here talked to it with its own MAC, and other hosts send here for it until they hear where it is now. Its
// record may have come before, from there.
void MissEngine::leave_here(const LocalAddresses::Link& link) {
  if (link.mac.is_unicast() && !local_.contains(AskKey::of(link.mac))) departures_.add(link.mac, output_.now());
  for (const Ip& ip : link.ips) {
    if (local_.contains(AskKey::of(ip))) continue;
    IpSlot* slot = table_.find(ip);
    if (slot == nullptr) {
      told_.keep(ip, link.mac);
    } else {
      slot->flags |= kTold;
      if (slot->mac != link.mac) announcements_.add(ip);
    }
  }
}

// Nothing is said of what is on this host: who attaches it does that.
void MissEngine::announce(const Ip& ip) {
  const IpSlot* slot = table_.find(ip);
  if (slot == nullptr || local_.contains(AskKey::of(ip)) || table_.vtep(slot->vtep).ip == options_.vtep) return;
  count(counters_.announced);
  output_.announce(ip, slot->mac);
}

void MissEngine::set_local(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac) {
  const LocalAddresses::Link before = local_.link(LocalAddresses::Owner::kEndpoint, link);
  if (ips.empty() || before.mac != mac || before.ips != ips) {
    (void)local_.set_link(LocalAddresses::Owner::kEndpoint, link, {}, Mac{});
    leave_here(before);
  }
  if (!local_.set_link(LocalAddresses::Owner::kEndpoint, link, ips, ips.empty() ? Mac{} : mac)) return;
  claim(mac);
  for (const Ip& ip : ips) claim(ip);
}

void MissEngine::set_own(std::int32_t link, const std::vector<Ip>& ips, const Mac& mac) {
  if (!local_.set_link(LocalAddresses::Owner::kOverlay, link, ips, mac)) return;
  claim(mac);
  for (const Ip& ip : ips) claim(ip);
}

void MissEngine::set_host(std::set<Ip> addresses, std::set<Ip> reserved) {
  if (!local_.set_host(std::move(addresses), std::move(reserved))) return;
  table_.vteps().for_each([&](RemoteVtep& remote) {
    const bool usable_before = remote.fault == nullptr;
    remote.fault = local_.vtep_fault(remote.ip);
    // Entries that lead to it would loop back, or go to all: who still asks is told that it is refused.
    if (usable_before && remote.fault != nullptr && output_.withdraw_vtep(remote.ip) != 0)
      table_.for_each_mac_at(remote.ip, [&](const Mac& mac) { withdrawals_.add(AskKey::of(mac)); });
  });
}

void MissEngine::adopt(const Mac& mac, const Ip& vtep, bool learned, Nanoseconds now) {
  if (table_.find(mac) != nullptr) return;
  if (local_.mac_fault(mac) != nullptr || local_.vtep_fault(vtep) != nullptr || vtep == options_.vtep) {
    withdrawals_.add(AskKey::of(mac));
    return;
  }
  table_.put_programmed(mac, vtep, learned, clock(now));
}

bool MissEngine::contradicts(const Mac& mac, const Ip& vtep) {
  if (local_.contains(AskKey::of(mac))) return true;
  const MacSlot* slot = table_.find(mac);
  return slot != nullptr && slot->vtep != 0 && (slot->flags & kLearned) == 0 && table_.vtep(slot->vtep).ip != vtep;
}

void MissEngine::on_learned(const Mac& mac, const Ip& vtep, Nanoseconds now) {
  if (!mac.is_unicast() || !vtep.is_unicast()) return;
  const AskKey key = AskKey::of(mac);
  if (!contradicts(mac, vtep)) {
    MacSlot* slot = table_.find(mac);
    if (slot == nullptr || slot->vtep == 0 || (slot->flags & kLearned) != 0) {
      table_.put_programmed(mac, vtep, true, clock(now));
    } else {
      slot->flags |= kProgrammed;
    }
    return;
  }
  count(counters_.contradicted);
  EngineEvent event;
  event.kind = EventKind::kContradicted;
  event.mac = mac;
  event.learned = vtep;
  event.at = now;
  if (local_.contains(key)) {
    withdrawals_.add(key);
    event.vtep = options_.vtep;
  } else {
    MacSlot* slot = table_.find(mac);
    slot->flags |= kProgrammed;
    event.vtep = table_.vtep(slot->vtep).ip;
    Ask* ask = ask_for(key);
    if (ask == nullptr) return;
    const bool known = (slot->flags & kWatched) != 0 || slot->expires == 0 || slot->expires > clock(now) || store_down_;
    if (known) {
      make_ready(*ask);
    } else if (!ask->ready && !ask->waits()) {
      request_lookup(*ask, now);  // it may have moved since the store was asked
    }
  }
  if (contradicted_at_ != 0 && now - contradicted_at_ < kSecond) return;
  contradicted_at_ = now;
  output_.emit(event);
}

void MissEngine::adopt(const Ip& ip, const Mac& mac, Nanoseconds now) {
  if (table_.find(ip) != nullptr) return;
  if (local_.contains(AskKey::of(ip)) || local_.mac_fault(mac) != nullptr) {
    withdrawals_.add(AskKey::of(ip));
    return;
  }
  table_.put_programmed(ip, mac, clock(now));
  count_endpoints();
  if (options_.answer_ttl_ms != 0) table_.look_again(ip, clock(now) + options_.answer_ttl_ms / 100);
}

bool MissEngine::adopt_kept(const Ip& ip, const Mac& mac) {
  const MacSlot* where = table_.find(mac);
  if (where == nullptr || (where->flags & kLearned) == 0) return false;
  if (table_.find(ip) != nullptr || local_.contains(AskKey::of(ip)) || local_.mac_fault(mac) != nullptr) return false;
  table_.put_outdated(ip, mac);
  count_endpoints();
  return true;
}

void MissEngine::forget_programmed() {
  table_.clear_programmed();
  asks_.for_each([](Ask& ask) {
    if (ask.state == AskState::kAnswered) ask.state = AskState::kTapped;
  });
  withdrawals_.clear();
}

}  // namespace overns
