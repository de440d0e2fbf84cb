// The ICMP probe, for JavaScript.
#pragma once

#include "binding/convert.h"

namespace overns {

// ping(netns, ip, { count, intervalMs, timeoutMs, size, dontFragment }): Promise<{ sentAtNs, rttMs }[]>
Napi::Value ping_target(const Napi::CallbackInfo& info);

}  // namespace overns
