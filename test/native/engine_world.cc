#include "engine_world.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace support {

using namespace overns;

Ip numbered_ip(std::uint32_t number) {
  Ip ip;
  ip.family = AF_INET;
  ip.bytes = {10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
              static_cast<std::uint8_t>(number)};
  return ip;
}

Mac numbered_mac(std::uint32_t number) {
  Mac mac{{2, 0, 0, 0, 0, 0}};
  std::memcpy(mac.bytes.data() + 2, &number, sizeof number);
  return mac;
}

namespace {

// The engine looks at nothing in the frame; the serial number stands where the sender's address would.
ByteVector frame_with(std::uint32_t serial) {
  ByteVector frame(42);
  std::memcpy(frame.data() + 28, &serial, sizeof serial);
  return frame;
}

}  // namespace

SwallowedRequest request(const Ip& target, std::uint32_t asker, std::uint32_t serial) {
  static ByteVector frame;
  frame = frame_with(serial);
  return {target, numbered_mac(asker), frame};
}

std::uint32_t serial_of(Bytes frame) {
  std::uint32_t serial = 0;
  std::memcpy(&serial, frame.data() + 28, sizeof serial);
  return serial;
}

EngineOptions World::defaults() {
  EngineOptions options;
  options.vtep = ip("172.16.0.1");
  return options;
}

void World::tap(const Ip& target, std::uint32_t asker, std::uint32_t serial) {
  engine.on_request(request(target, asker, serial), clock);
}

void World::packet(const Mac& destination, std::uint32_t serial, const Ip& target) {
  engine.on_packet(destination, target, frame_with(serial), clock);
}

void World::end_reset(bool sweep) {
  while (engine.find_missing()) {
  }
  if (!sweep) return;
  engine.begin_sweep();
  while (engine.sweep()) {
  }
}

void World::found(const Lookup& lookup, const Mac& mac, const Ip& vtep, std::uint32_t ttl_ms) {
  engine.on_answer(lookup.token, lookup.key, LookupResult::kFound, mac, vtep, ttl_ms, clock);
}

void World::answer(const Lookup& lookup, LookupResult result) {
  engine.on_answer(lookup.token, lookup.key, result, {}, {}, 0, clock);
}

World::Lookup World::last_lookup([[maybe_unused]] const Ip& ip) const {
  REQUIRE_FALSE(lookups.empty());
  REQUIRE(lookups.back().key == AskKey::of(ip));
  return lookups.back();
}

World::Lookup World::last_lookup([[maybe_unused]] const Mac& mac) const {
  REQUIRE_FALSE(lookups.empty());
  REQUIRE(lookups.back().key == AskKey::of(mac));
  return lookups.back();
}

std::size_t World::count(EventKind kind) const {
  std::size_t found = 0;
  for (const EngineEvent& event : events) found += event.kind == kind ? 1 : 0;
  return found;
}

std::vector<std::uint32_t> World::take_replayed() { return std::exchange(replayed, {}); }

std::vector<std::uint32_t> World::take_forwarded() {
  std::vector<std::uint32_t> serials;
  for (const auto& [serial, vtep] : forwarded) serials.push_back(serial);
  forwarded.clear();
  return serials;
}

void World::program(std::span<const KernelEntry> items, std::span<int> errors) {
  programs.emplace_back(items.begin(), items.end());
  for (std::size_t i = 0; i < items.size(); ++i) {
    errors[i] = refuse ? refuse(items[i]) : 0;
    // Of a pair the kernel may take the neighbour and refuse the FDB entry.
    if (errors[i] == 0 || errors[i] == ENOSPC) {
      if (!items[i].ip.empty()) neighbors[items[i].ip] = items[i].mac;
    }
    if (errors[i] == 0) fdb[items[i].mac] = items[i].vtep;
  }
  if (on_program) on_program();
}

void World::withdraw(std::span<const AskKey> keys, std::span<int> errors) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ++withdrawals;
    errors[i] = refuse_withdrawal ? refuse_withdrawal(keys[i]) : 0;
    if (errors[i] != 0) continue;
    if (keys[i].is_l3()) {
      neighbors.erase(keys[i].ip());
    } else {
      fdb.erase(keys[i].mac());
    }
  }
}

int World::withdraw_vtep(const Ip& vtep) {
  if (refuse_flush != 0) return refuse_flush;
  std::erase_if(fdb, [&](const auto& entry) { return entry.second == vtep; });
  return 0;
}

void World::replay(Bytes frame) { replayed.push_back(serial_of(frame)); }

void World::forward(Bytes packet, const Ip& vtep) { forwarded.emplace_back(serial_of(packet), vtep); }

}  // namespace support
