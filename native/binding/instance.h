// Holds what belongs to one environment (the main thread or a worker): never a process-wide static.
#pragma once

#include "binding/convert.h"

#include <map>
#include <memory>

namespace overns {

class MonitorHub;
class ProgramHub;

void close_lent(const std::map<int, std::uint64_t>& lent);

struct Instance {
  ~Instance() { close_lent(lent); }

  Napi::FunctionReference rtnl;
  Napi::FunctionReference monitor;
  std::shared_ptr<MonitorHub> hub;       // made with the first monitor
  std::shared_ptr<ProgramHub> programs;  // made with the first program

  // Sockets and pipes given to JavaScript that have not become a handle of Node's yet, and their inodes. A worker may
  // be terminated in between, and nobody else would close them.
  std::map<int, std::uint64_t> lent;
};

inline Instance& instance(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

}  // namespace overns
