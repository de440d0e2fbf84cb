// What belongs to one environment (the main thread or a worker): never a process-wide static.
#pragma once

#include "binding/convert.h"

#include <memory>

namespace overns {

class MonitorHub;

struct Instance {
  Napi::FunctionReference rtnl;
  Napi::FunctionReference monitor;
  std::shared_ptr<MonitorHub> hub;  // made with the first monitor
};

inline Instance& instance(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

}  // namespace overns
