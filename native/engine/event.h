// Events by which a resolver's consumer hears of misses and their outcome.
#pragma once

#include <array>
#include <cstdint>

#include "base/address.h"
#include "engine/ask_key.h"
#include "engine/time.h"

namespace overns {

// kMiss: an L2 miss that came as a punted packet, of which the kernel notifies nobody.
// kContradicted: the kernel had learned of a frame that a MAC is at another VTEP than the store says; told once a
// second. kPuntOff, kPuntOn: packets for MACs that the kernel has no VTEP for are caught no longer, or again.
enum class EventKind : std::uint8_t {
  kResolved,
  kUnresolved,
  kRejected,
  kOverrun,
  kOverlayLost,
  kOverlayBack,
  kMiss,
  kPuntOff,
  kPuntOn,
  kContradicted
};
// kNotHere: its record names this host, where nobody has it.
enum class Cause : std::uint8_t { kAbsent, kTimeout, kStoreError, kNotHere };

// Their names in JavaScript, by number.
inline constexpr std::array kEventKindNames{"resolved",     "unresolved", "rejected", "overrun", "overlay-lost",
                                            "overlay-back", "miss",       "punt-off", "punt-on", "contradicted"};
inline constexpr std::array kCauseNames{"absent", "timeout", "store-error", "not-here"};

struct EngineEvent {
  EventKind kind = EventKind::kResolved;
  bool by_store = false;
  Cause cause = Cause::kAbsent;
  int error = 0;                 // of the kernel, for a rejection or a punt that is off; positive errno
  const char* reason = nullptr;  // static text, for the same
  AskKey key;
  Mac mac;
  Ip vtep;
  Ip learned;               // of a contradiction: where the frame came from
  std::uint32_t token = 0;  // of the lookup, 0 = none was made
  std::uint32_t ttl_ms = 0;
  std::uint32_t dropped = 0;
  Nanoseconds miss_at = 0;
  Nanoseconds at = 0;
};

}  // namespace overns
