// The times that the parts of the engine share. None of them reads a clock: the time comes with a call, or is asked of
// the output.
#pragma once

#include <cstdint>

namespace overns {

using Nanoseconds = std::uint64_t;  // CLOCK_MONOTONIC
// Tenths of a second since the engine was made; 0 = never. Thirteen years fit.
using Deciseconds = std::uint32_t;

constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kSecond = 1'000 * kMillisecond;
// How long a swallowed request is worth replaying: the asker asks again after this (net.ipv4.neigh.*.retrans_time_ms).
constexpr Nanoseconds kRecent = kSecond;

}  // namespace overns
