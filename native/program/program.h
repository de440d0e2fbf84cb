// Programs that run inside a network namespace: started from a thread that ends, watched until they end, reaped.
#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

struct ProgramSpec {
  static constexpr int kPipe = -1;  // a pipe, whose other end Program has
  static constexpr int kNull = -2;  // /dev/null

  std::string file;                                 // a path, or a name to look for in the PATH of `environment`
  std::vector<std::string> arguments;               // with argv[0]
  std::vector<std::string> environment;             // NAME=value
  std::string directory;                            // empty: the caller's
  std::array<int, 3> streams{kPipe, kPipe, kPipe};  // kPipe, kNull or a descriptor
  bool own_mounts = false;                          // /sys of the namespace, in a mount namespace of its own
  std::string etc;  // with own_mounts: the files in this directory are bound on those in /etc
};

// A child of this process. Killed and reaped when it is let go without having been handed to a watcher.
struct Program {
  Program() = default;
  Program(Program&& other) noexcept
      : pid(std::exchange(other.pid, 0)), pidfd(std::move(other.pidfd)), pipes(std::move(other.pipes)) {}
  Program& operator=(Program&&) = delete;
  ~Program();

  pid_t pid = 0;
  UniqueFd pidfd;
  std::array<UniqueFd, 3> pipes;  // our ends; none where there is no pipe
};

// Starts a program inside the namespace at `netns`, which must not be empty: on a thread that ends, as posix_spawn()
// takes a child's namespaces from the thread that calls it. The child has no signal blocked or ignored. Linux 5.3.
Result<Program> start_program(const std::string& netns, const ProgramSpec& spec);

struct ProgramEnd {
  std::uint32_t id = 0;
  int code = -1;   // exit status; -1: ended by a signal, or nobody knows how
  int signal = 0;  // that ended it
};

// A thread that reaps programs as they end.
class ProgramWatcher final : private EventLoop::Handler {
 public:
  // `notify` runs on the thread when there is something to take.
  explicit ProgramWatcher(std::function<void()> notify) : notify_(std::move(notify)), loop_(*this) {}
  ~ProgramWatcher() override { stop(); }

  Status start() { return loop_.start("overns-programs"); }
  // Kills and reaps what still runs.
  void stop();

  // Its id; 0 when it cannot be watched, and is killed.
  std::uint32_t add(Program program);
  // False when it has ended.
  Result<bool> signal(std::uint32_t id, int number);
  std::vector<ProgramEnd> take();

 private:
  void ready(std::uint32_t id) override;
  int turn() override { return -1; }

  std::function<void()> notify_;
  std::mutex mutex_;  // guards the three below
  std::uint32_t last_id_ = 0;
  std::map<std::uint32_t, Program> programs_;
  std::vector<ProgramEnd> ended_;

  EventLoop loop_;  // last: its thread uses all of the above
};

}  // namespace overns
