// Programs in a namespace: started, watched, reaped.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "program/program.h"
#include "support.h"

using namespace overns;

namespace {

constexpr const char* kOwn = "/proc/self/ns/net";

ProgramSpec shell(const std::string& script) {
  ProgramSpec spec;
  spec.file = "sh";
  spec.arguments = {"sh", "-c", script};
  spec.environment = {"PATH=/usr/bin:/bin"};
  return spec;
}

std::string read_all(int fd) {
  std::string text;
  char buffer[256];
  for (ssize_t size; (size = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(size));
  return text;
}

// Waits for the ends of programs.
struct Ends {
  void notify() {
    const std::lock_guard lock(mutex);
    told = true;
    condition.notify_one();
  }
  ProgramEnd wait(ProgramWatcher& watcher) {
    for (;;) {
      std::unique_lock lock(mutex);
      condition.wait(lock, [&] { return told; });
      told = false;
      const auto ends = watcher.take();
      if (!ends.empty()) return ends.front();
    }
  }
  std::mutex mutex;
  std::condition_variable condition;
  bool told = false;
};

bool is_child(pid_t pid) { return waitpid(pid, nullptr, WNOHANG | __WALL) >= 0; }

}  // namespace

TEST_CASE("a program has its three streams, and its end is told") {
  if (geteuid() != 0) return;
  Ends ends;
  ProgramWatcher watcher([&] { ends.notify(); });
  REQUIRE(watcher.start());
  auto program = start_program(kOwn, shell("read line; echo \"got $line\"; echo oops >&2; exit 3"));
  REQUIRE(program);
  const pid_t pid = program->pid;
  auto pipes = std::move(program->pipes);
  const std::uint32_t id = watcher.add(std::move(*program));
  REQUIRE(id != 0);
  CHECK(write(pipes[0].get(), "it\n", 3) == 3);
  CHECK(read_all(pipes[1].get()) == "got it\n");
  CHECK(read_all(pipes[2].get()) == "oops\n");
  const ProgramEnd end = ends.wait(watcher);
  CHECK(end.id == id);
  CHECK(end.code == 3);
  CHECK(end.signal == 0);
  CHECK_FALSE(is_child(pid));
  auto late = watcher.signal(id, SIGTERM);
  REQUIRE(late);
  CHECK_FALSE(*late);
}

TEST_CASE("streams of a program that cross each other") {
  if (geteuid() != 0) return;
  int out[2];
  int err[2];
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(pipe2(err, O_CLOEXEC) == 0);
  UniqueFd out_read(out[0]);
  UniqueFd out_write(out[1]);
  UniqueFd err_read(err[0]);
  UniqueFd err_write(err[1]);
  ProgramSpec spec = shell("echo out; echo err >&2");
  spec.streams = {ProgramSpec::kNull, err_write.get(), out_write.get()};
  auto program = start_program(kOwn, spec);
  REQUIRE(program);
  out_write.reset();
  err_write.reset();
  CHECK(read_all(err_read.get()) == "out\n");
  CHECK(read_all(out_read.get()) == "err\n");
}

TEST_CASE("whoever lets go of a program ends it") {
  if (geteuid() != 0) return;
  pid_t first = 0;
  {
    auto program = start_program(kOwn, shell("sleep 60"));
    REQUIRE(program);
    first = program->pid;
  }
  CHECK_FALSE(is_child(first));
  pid_t second = 0;
  {
    ProgramWatcher watcher([] {});
    REQUIRE(watcher.start());
    auto program = start_program(kOwn, shell("trap '' TERM; sleep 60"));
    REQUIRE(program);
    second = program->pid;
    REQUIRE(watcher.add(std::move(*program)) != 0);
  }
  CHECK_FALSE(is_child(second));
}

TEST_CASE("a program that cannot be started names what is wrong") {
  if (geteuid() != 0) return;
  const auto failure = [](const ProgramSpec& spec, const char* netns = kOwn) {
    auto program = start_program(netns, spec);
    return program ? Failure{} : program.failure();
  };
  ProgramSpec spec = shell("true");
  CHECK(failure(spec, "").call == "setns");
  CHECK(failure(spec, "/proc/self/ns/none").error == ENOENT);
  spec.directory = "/none";
  CHECK(failure(spec).call == "chdir");
  spec.directory = {};
  spec.streams = {1 << 20, ProgramSpec::kNull, ProgramSpec::kNull};
  CHECK(failure(spec).error == EBADF);
  spec.streams = {ProgramSpec::kNull, ProgramSpec::kNull, ProgramSpec::kNull};
  spec.file = "no-such-program";
  CHECK(failure(spec).error == ENOENT);
  CHECK(failure(spec).call == "posix_spawn");
  spec.environment = {"PATH=/etc"};
  spec.file = "passwd";
  CHECK(failure(spec).error == EACCES);
}
