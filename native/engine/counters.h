// The engine's counters and gauges.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace overns {

// Read by the JavaScript thread while the engine runs. lib/resolver/counters.ts says what each one means.
struct EngineCounters {
  using Value = std::atomic<std::uint64_t>;
  Value misses{0}, answers{0}, coalesced{0}, negative{0}, rejected{0}, overruns{0}, dropped{0};
  Value lookups{0}, lookups_abandoned{0}, local{0}, replayed{0}, shed{0}, endpoints{0};
  Value missing{0}, forwarded{0}, packets_dropped{0}, flood_dropped{0}, withdrawals_refused{0}, unreadable{0};
  Value not_here{0}, announced{0}, contradicted{0}, redirected{0}, primed{0};
};

// A counter only grows, from 0; a gauge is what there is now.
enum class CounterType : std::uint8_t { kCounter, kGauge };

struct CounterRow {
  const char* name;  // in JavaScript
  CounterType type;
  EngineCounters::Value EngineCounters::*value;
};

inline constexpr std::array kCounterRows{
    CounterRow{"misses", CounterType::kCounter, &EngineCounters::misses},
    CounterRow{"answers", CounterType::kCounter, &EngineCounters::answers},
    CounterRow{"coalesced", CounterType::kCounter, &EngineCounters::coalesced},
    CounterRow{"negative", CounterType::kCounter, &EngineCounters::negative},
    CounterRow{"rejected", CounterType::kCounter, &EngineCounters::rejected},
    CounterRow{"overruns", CounterType::kCounter, &EngineCounters::overruns},
    CounterRow{"lookups", CounterType::kCounter, &EngineCounters::lookups},
    CounterRow{"local", CounterType::kCounter, &EngineCounters::local},
    CounterRow{"replayed", CounterType::kCounter, &EngineCounters::replayed},
    CounterRow{"shed", CounterType::kCounter, &EngineCounters::shed},
    CounterRow{"dropped", CounterType::kCounter, &EngineCounters::dropped},
    CounterRow{"endpoints", CounterType::kGauge, &EngineCounters::endpoints},
    CounterRow{"missing", CounterType::kGauge, &EngineCounters::missing},
    CounterRow{"forwarded", CounterType::kCounter, &EngineCounters::forwarded},
    CounterRow{"packetsDropped", CounterType::kCounter, &EngineCounters::packets_dropped},
    CounterRow{"floodDropped", CounterType::kCounter, &EngineCounters::flood_dropped},
    CounterRow{"withdrawalsRefused", CounterType::kCounter, &EngineCounters::withdrawals_refused},
    CounterRow{"unreadable", CounterType::kCounter, &EngineCounters::unreadable},
    CounterRow{"lookupsAbandoned", CounterType::kCounter, &EngineCounters::lookups_abandoned},
    CounterRow{"notHere", CounterType::kCounter, &EngineCounters::not_here},
    CounterRow{"announced", CounterType::kCounter, &EngineCounters::announced},
    CounterRow{"contradicted", CounterType::kCounter, &EngineCounters::contradicted},
    CounterRow{"primed", CounterType::kCounter, &EngineCounters::primed},
    CounterRow{"redirected", CounterType::kCounter, &EngineCounters::redirected},
};
static_assert(kCounterRows.size() * sizeof(EngineCounters::Value) == sizeof(EngineCounters), "a counter has no row");

inline void count(EngineCounters::Value& counter, std::uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace overns
