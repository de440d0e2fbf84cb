#include "engine/endpoint_table.h"

#include <algorithm>

namespace overns {

void EndpointTable::put(const Ip& ip, const Mac& mac, const Ip& vtep, Deciseconds expires, bool watched) {
  const std::uint32_t number = vteps_.number_of(vtep);
  const auto flags = static_cast<std::uint8_t>(watched ? kWatched | mark_ : 0);
  const auto fill = [&](auto& slot) {
    vteps_.point(slot.vtep, number);
    slot.expires = expires;
    if (is_missing(&slot)) missed(slot.key, -1);
    slot.flags = static_cast<std::uint8_t>((slot.flags & (kProgrammed | kTold | kLearned)) | flags);
  };
  if (!ip.empty()) {
    IpSlot& slot = *ips_.insert(ip).first;
    slot.mac = mac;
    fill(slot);
    if (expires != 0) look_again(ip, expires);
  }
  MacSlot& slot = *macs_.insert(mac).first;
  // A record of the watch does not become one with a TTL because a lookup of another address has met it.
  if ((slot.flags & kWatched) != 0 && !watched && slot.vtep == number) return;
  fill(slot);
}

void EndpointTable::put_programmed(const Mac& mac, const Ip& vtep, bool learned, Deciseconds expires) {
  MacSlot& slot = *macs_.insert(mac).first;
  vteps_.point(slot.vtep, vteps_.number_of(vtep));
  slot.flags = static_cast<std::uint8_t>(kProgrammed | (learned ? kLearned : kAdopted | mark_));
  slot.expires = expires;
}

void EndpointTable::put_programmed(const Ip& ip, const Mac& mac, Deciseconds expires) {
  MacSlot* where = macs_.find(mac);
  IpSlot& slot = *ips_.insert(ip).first;
  slot.mac = mac;
  vteps_.point(slot.vtep, where == nullptr ? 0 : where->vtep);
  slot.flags = static_cast<std::uint8_t>(kProgrammed | kTold | kAdopted | mark_);
  slot.expires = expires;
  if (where != nullptr) where->flags = static_cast<std::uint8_t>((where->flags & ~kMarked) | kAdopted | mark_);
}

void EndpointTable::put_outdated(const Ip& ip, const Mac& mac) {
  const MacSlot* where = macs_.find(mac);
  IpSlot& slot = *ips_.insert(ip).first;
  slot.mac = mac;
  vteps_.point(slot.vtep, where == nullptr ? 0 : where->vtep);
  slot.flags = kProgrammed | kTold;
  outdate(slot);
}

void EndpointTable::clear_programmed() {
  ips_.for_each([](IpSlot& slot) { set_programmed(&slot, false); });
  macs_.for_each([](MacSlot& slot) { set_programmed(&slot, false); });
}

void EndpointTable::begin_reset(std::size_t count) {
  ips_.reserve(count);
  macs_.reserve(count);
  mark_ ^= kMarked;
  sweeping_ = false;
  begin_walk();
}

void EndpointTable::begin_walk() {
  ips_.begin_walk();
  macs_.begin_walk();
  has_walked_ips_ = false;
}

bool EndpointTable::find_missing_piece() {
  return walk_piece([&](auto& slot) {
    const bool was_given = (slot.flags & (kWatched | kAdopted)) != 0;
    if (was_given && (slot.flags & kMarked) != mark_ && !is_missing(&slot)) {
      slot.flags |= kMissing;
      missed(slot.key, 1);
    }
    return false;
  });
}

void EndpointTable::begin_sweep() {
  sweeping_ = true;
  begin_walk();
}

void EndpointTable::look_again(const Ip& ip, Deciseconds at) {
  due_.push_back({at, ip});
  std::push_heap(due_.begin(), due_.end());
}

IpSlot* EndpointTable::take_due() {
  const Ip ip = due_.front().ip;
  std::pop_heap(due_.begin(), due_.end());
  due_.pop_back();
  return find(ip);
}

}  // namespace overns
