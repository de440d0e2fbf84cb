#include "engine/hash.h"

#include <sys/random.h>
#include <time.h>

#include <atomic>
#include <cstring>

namespace overns {
namespace {

std::uint64_t process_key() {
  std::uint64_t key = 0;
  if (getrandom(&key, sizeof key, GRND_NONBLOCK) != sizeof key) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    key = static_cast<std::uint64_t>(now.tv_nsec) * 0x9e3779b97f4a7c15U;
  }
  return key;
}

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9U;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t new_hash_key() {
  static const std::uint64_t secret = process_key();
  static std::atomic<std::uint64_t> count{0};
  return mix(secret ^ mix(count.fetch_add(1, std::memory_order_relaxed)));
}

std::uint64_t hash_bytes(std::uint64_t key, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  std::uint64_t hash = key;
  while (size >= 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes, 8);
    hash = mix(hash ^ word);
    bytes += 8;
    size -= 8;
  }
  std::uint64_t rest = size;
  std::memcpy(reinterpret_cast<std::uint8_t*>(&rest) + 1, bytes, size < 7 ? size : 7);
  return mix(hash ^ rest);
}

}  // namespace overns
