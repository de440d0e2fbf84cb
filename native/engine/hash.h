// Hashes with secret keys, so that addresses cannot be chosen to collide (splitmix64 finalizer).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/address.h"

namespace overns {

std::uint64_t hash_bytes(std::uint64_t key, const void* data, std::size_t size);

// A key that no other caller has. Two tables with one key hold the same addresses in the same order: what is carried
// from one to the other in that order fills its slots from one end, each insertion behind all those before it.
std::uint64_t new_hash_key();

struct MacHash {
  std::uint64_t key = new_hash_key();
  std::size_t operator()(const Mac& mac) const {
    return static_cast<std::size_t>(hash_bytes(key, mac.bytes.data(), mac.bytes.size()));
  }
};

}  // namespace overns
