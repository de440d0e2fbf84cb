#include "program/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "netns/namespace.h"

namespace overns {
namespace {

constexpr const char* kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

// glibc takes a number where the kernel wants one, and has pidfd_open() since 2.36 only.
UniqueFd open_pidfd(pid_t pid) { return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

int send_signal(int pidfd, int number) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0));
}

// One that the kernel does not let die (in a file system that hangs) is not waited for.
constexpr int kMostMsToDie = 1000;

// A child: its pid is nobody else's until it has been reaped.
void kill_and_reap(pid_t pid, int pidfd) {
  ::kill(pid, SIGKILL);
  pollfd dead{pidfd, POLLIN, 0};  // without a pidfd just the time
  while (poll(&dead, 1, kMostMsToDie) < 0 && errno == EINTR) {
  }
  waitpid(pid, nullptr, WNOHANG);
}

// Binds every file of a directory on the one of that name in /etc, as `ip netns exec` does with /etc/netns/NAME.
Status bind_etc(const std::string& directory) {
  if (directory.empty()) return done();
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(directory.c_str()), closedir);
  if (!entries) return errno == ENOENT ? done() : system_failure("opendir", directory);
  // The stream is this thread's own, as readdir() needs it.
  while (const dirent* entry = readdir(entries.get())) {  // NOLINT(concurrency-mt-unsafe)
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    std::string from = directory;
    from.append("/").append(name);
    std::string to = "/etc/";
    to.append(name);
    if (mount(from.c_str(), to.c_str(), "none", MS_BIND, nullptr) != 0)
      return system_failure("mount", from.append(" on ").append(to));
  }
  return done();
}

// The thread gets a mount namespace, which its children share: in it /sys is that of the network namespace.
Status own_mounts(const std::string& etc) {
  if (unshare(CLONE_NEWNS) != 0) return system_failure("unshare", "new mount namespace");
  // Mounts made outside later still show; those made inside stay there.
  if (mount("", "/", "none", MS_SLAVE | MS_REC, nullptr) != 0) return system_failure("mount", "make / a slave");
  unsigned long flags = 0;
  if (umount2("/sys", MNT_DETACH) != 0) {
    struct statvfs status {};
    // A read-only one that stays beneath must not be shadowed by a writable one.
    if (statvfs("/sys", &status) == 0 && (status.f_flag & ST_RDONLY) != 0) flags = MS_RDONLY;
  }
  if (mount("overns", "/sys", "sysfs", flags, nullptr) != 0) return system_failure("mount", "sysfs on /sys");
  return bind_etc(etc);
}

// posix_spawn()'s two arguments, made unmade.
class SpawnOptions {
 public:
  SpawnOptions() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnOptions() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// The descriptors that become the child's 0, 1 and 2. All above them: no dup2() takes what another one still needs.
Status open_streams(const ProgramSpec& spec, std::array<UniqueFd, 3>& theirs, std::array<UniqueFd, 3>& ours) {
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    int given = spec.streams[i];
    UniqueFd made;
    if (given == ProgramSpec::kPipe) {
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return system_failure("pipe2");
      made.reset(ends[i == 0 ? 0 : 1]);
      ours[i].reset(ends[i == 0 ? 1 : 0]);
    } else if (given == ProgramSpec::kNull) {
      made.reset(open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!made.valid()) return system_failure("open", "/dev/null");
    }
    if (made.valid()) given = made.get();
    theirs[i].reset(fcntl(given, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!theirs[i].valid()) return system_failure("fcntl", "descriptor " + std::to_string(given));
  }
  return done();
}

// Where the program may be, in the order of PATH.
std::vector<std::string> candidates(const ProgramSpec& spec) {
  if (spec.file.find('/') != std::string::npos) return {spec.file};
  std::string_view path = kDefaultPath;
  for (const std::string& each : spec.environment) {
    if (each.starts_with("PATH=")) path = std::string_view(each).substr(5);
  }
  std::vector<std::string> found;
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find(':', start), path.size());
    const std::string_view directory = path.substr(start, end - start);
    found.push_back((directory.empty() ? std::string(".") : std::string(directory)) + "/" + spec.file);
    start = end + 1;
  }
  return found;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& each : texts) all.push_back(const_cast<char*>(each.c_str()));
  all.push_back(nullptr);
  return all;
}

// On a thread that ends, inside the network namespace.
Status start_here(const ProgramSpec& spec, const std::array<UniqueFd, 3>& streams, Program& program) {
  if (spec.own_mounts) {
    if (Status status = own_mounts(spec.etc); !status) return status;
  }
  SpawnOptions options;
  UniqueFd directory;
  if (!spec.directory.empty()) {
    // Opened here, for what posix_spawn() says does not tell a directory from the program.
    directory.reset(open(spec.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return system_failure("chdir", spec.directory);
    if (const int error = posix_spawn_file_actions_addfchdir_np(&options.actions, directory.get()))
      return Failure{error, "posix_spawn", spec.file, {}, {}};
  }
  for (int i = 0; i < 3; ++i) {
    if (const int error =
            posix_spawn_file_actions_adddup2(&options.actions, streams[static_cast<std::size_t>(i)].get(), i))
      return Failure{error, "posix_spawn", spec.file, {}, {}};
  }
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&options.attributes, &none);
  posix_spawnattr_setsigdefault(&options.attributes, &all);
  posix_spawnattr_setflags(&options.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  const std::vector<char*> arguments = pointers(spec.arguments);
  const std::vector<char*> environment = pointers(spec.environment);
  int refused = ENOENT;
  for (const std::string& file : candidates(spec)) {
    pid_t pid = 0;
    const int error =
        posix_spawn(&pid, file.c_str(), &options.actions, &options.attributes, arguments.data(), environment.data());
    if (error == 0) {
      program.pid = pid;
      return done();
    }
    // As execvp(): what is not there is looked for further on, and so is what may not be run.
    if (error == EACCES) refused = EACCES;
    if (error != EACCES && error != ENOENT && error != ENOTDIR) return Failure{error, "posix_spawn", file, {}, {}};
  }
  return Failure{refused, "posix_spawn", spec.file, {}, {}};
}

}  // namespace

Program::~Program() {
  if (pid > 0) kill_and_reap(pid, pidfd.get());
}

Result<Program> start_program(const std::string& netns, const ProgramSpec& spec) {
  if (netns.empty()) return Failure{EINVAL, "setns", "no namespace", {}, {}};  // the caller's thread must not change
  Program program;
  std::array<UniqueFd, 3> streams;
  if (Status status = open_streams(spec, streams, program.pipes); !status) return status.failure();
  const Status status = run_in_namespace(netns, [&] { return start_here(spec, streams, program); });
  if (!status) return status.failure();
  program.pidfd = open_pidfd(program.pid);
  if (!program.pidfd.valid()) return system_failure("pidfd_open");
  return program;
}

std::uint32_t ProgramWatcher::add(Program program) {
  const int pidfd = program.pidfd.get();
  std::uint32_t id;
  {
    const std::lock_guard lock(mutex_);
    id = ++last_id_;
    programs_.emplace(id, std::move(program));
  }
  bool watched = false;
  (void)loop_.post_and_wait([&] { watched = loop_.watch(pidfd, id).ok(); });
  if (watched) return id;
  const std::lock_guard lock(mutex_);
  programs_.erase(id);
  return 0;
}

Result<bool> ProgramWatcher::signal(std::uint32_t id, int number) {
  const std::lock_guard lock(mutex_);
  const auto found = programs_.find(id);
  if (found == programs_.end()) return false;
  if (send_signal(found->second.pidfd.get(), number) == 0) return true;
  if (errno == ESRCH) return false;
  return system_failure("pidfd_send_signal", std::to_string(number));
}

std::vector<ProgramEnd> ProgramWatcher::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(ended_, {});
}

void ProgramWatcher::ready(std::uint32_t id) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = programs_.find(id);
    if (found == programs_.end()) return;
    Program& program = found->second;
    siginfo_t info{};
    int waited;
    do {
      waited = waitid(P_PID, static_cast<id_t>(program.pid), &info, WEXITED | WNOHANG);
    } while (waited < 0 && errno == EINTR);
    if (waited == 0 && info.si_pid == 0) return;  // not yet
    ProgramEnd end{id, -1, 0};
    if (waited == 0 && info.si_code == CLD_EXITED) {
      end.code = info.si_status;
    } else if (waited == 0) {
      end.signal = info.si_status;
    }
    loop_.unwatch(program.pidfd.get());
    program.pid = 0;  // reaped, by us or by somebody else
    programs_.erase(found);
    ended_.push_back(end);
  }
  notify_();
}

void ProgramWatcher::stop() {
  loop_.stop();
  // First all of them, so that none waits for another's end.
  for (const auto& [id, program] : programs_) (void)send_signal(program.pidfd.get(), SIGKILL);
  programs_.clear();
}

}  // namespace overns
