// Monitor: a subscription to the events of one namespace, for JavaScript.
#pragma once

#include "binding/convert.h"

namespace overns {

class MonitorHub;  // the monitor thread of one environment

Napi::Function define_monitor(Napi::Env env);
// openMonitor(netns, groups, onBatch, receiveBuffer = 64 MiB): Monitor, subscribed when it returns
Napi::Value open_monitor(const Napi::CallbackInfo& info);

}  // namespace overns
