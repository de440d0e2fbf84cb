// Random stories of a miss engine: what happens to it in whatever order, these hold:
// - nothing is programmed, or forwarded, that is on this host, and no entry for it stays in the kernel;
// - a round programs an address once at most;
// - a request tapped within the last second is replayed when its address is programmed, and no more than twice in all
//   (at once, and again should the entry have been gone by then);
// - what comes for a MAC that is here, or has not left within the last minute, is never sent on;
// - a packet is forwarded, or counted as dropped, or waits for a lookup;
// - lookups stay within their limit, and when all have been answered nothing is stuck;
// - it comes to rest, and every entry made is withdrawn in the end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace support {

// Decides how the story goes on: a number below the bound.
using Choose = std::function<std::uint32_t(std::uint32_t bound)>;

// Plays as long as there is `more`, then to an orderly end. What is wrong; empty when nothing is.
std::string play_story(Choose choose, const std::function<bool()>& more);

}  // namespace support
