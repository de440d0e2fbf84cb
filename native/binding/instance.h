// What belongs to one environment (the main thread or a worker): never a process-wide static.
#pragma once

#include "binding/convert.h"

namespace overns {

struct Instance {
  Napi::FunctionReference rtnl;
  Napi::FunctionReference monitor;
};

inline Instance& instance(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

}  // namespace overns
