// Hashes with a key of the process's own, so that addresses cannot be chosen to collide (splitmix64 finalizer).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/address.h"

namespace overns {

std::uint64_t hash_bytes(const void* data, std::size_t size);

struct MacHash {
  std::size_t operator()(const Mac& mac) const {
    return static_cast<std::size_t>(hash_bytes(mac.bytes.data(), mac.bytes.size()));
  }
};

}  // namespace overns
