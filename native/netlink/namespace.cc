#include "netlink/namespace.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

namespace overns {
namespace {

// pthread rather than std::thread: a thread that cannot be made is an error to report, not an exception.
struct Job {
  const std::function<Status()>* task;
  Status status = done();
};

void* run_job(void* argument) {
  auto* job = static_cast<Job*>(argument);
  job->status = (*job->task)();
  return nullptr;
}

Status run_on_thread(const std::function<Status()>& task) {
  Job job{&task};
  pthread_t thread;
  if (const int error = pthread_create(&thread, nullptr, run_job, &job)) {
    errno = error;
    return system_failure("pthread_create");
  }
  pthread_join(thread, nullptr);
  return std::move(job.status);
}

// The new namespace goes with the last descriptor that the task has opened in it.
Status run_in_new_namespace(const std::function<Status()>& task) {
  return run_on_thread([&]() -> Status {
    if (unshare(CLONE_NEWNET) != 0) return system_failure("unshare", "new network namespace");
    return task();
  });
}

// The name's directory is a mount point of its own that propagates, as iproute2 makes it: without that, a namespace
// made here is not seen in the mount namespaces of other daemons.
Status share_directory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return system_failure("mkdir", directory);
  // One at a time, as iproute2 does: two would bind it twice.
  const UniqueFd lock(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid() || flock(lock.get(), LOCK_EX) != 0) return system_failure("flock", directory);
  if (mount("", directory.c_str(), "none", MS_SHARED | MS_REC, nullptr) == 0) return done();
  if (errno != EINVAL) return system_failure("mount", "make " + directory + " shared");
  if (mount(directory.c_str(), directory.c_str(), "none", MS_BIND | MS_REC, nullptr) != 0)
    return system_failure("mount", "bind " + directory + " on itself");
  if (mount("", directory.c_str(), "none", MS_SHARED | MS_REC, nullptr) != 0)
    return system_failure("mount", "make " + directory + " shared");
  return done();
}

// Whether a file of one line has that text in it.
bool has_value(const std::string& file, const std::string& value) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t size = fd.valid() ? read(fd.get(), text, sizeof text) : -1;
  if (size <= 0) return false;
  std::string_view line(text, static_cast<std::size_t>(size));
  if (line.ends_with('\n')) line.remove_suffix(1);
  return line == value;
}

std::optional<socklen_t> abstract_address(const std::string& name, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

}  // namespace

Result<UniqueFd> open_namespace(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO would wait for its other end
  if (!fd.valid()) return system_failure("open", path);
  return fd;
}

Status run_in_namespace(const std::string& path, const std::function<Status()>& task) {
  if (path.empty()) return task();
  auto fd = open_namespace(path);
  if (!fd) return fd.failure();
  return run_on_thread([&]() -> Status {
    if (setns(fd->get(), CLONE_NEWNET) != 0) return system_failure("setns", path);
    return task();
  });
}

Result<UniqueFd> open_socket(const std::string& path, int domain, int type, int protocol) {
  UniqueFd fd;
  const Status status = run_in_namespace(path, [&]() -> Status {
    fd.reset(socket(domain, type | SOCK_CLOEXEC, protocol));
    return fd.valid() ? done() : system_failure("socket");
  });
  if (!status) return status.failure();
  return fd;
}

Result<UniqueFd> open_scratch_socket(int domain, int type, int protocol) {
  UniqueFd fd;
  const Status status = run_in_new_namespace([&]() -> Status {
    fd.reset(socket(domain, type | SOCK_CLOEXEC, protocol));
    return fd.valid() ? done() : system_failure("socket");
  });
  if (!status) return status.failure();
  return fd;
}

Status create_namespace(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return Failure{EINVAL, "netns", path, {}, {}};
  if (Status shared = share_directory(path.substr(0, slash)); !shared) return shared;
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0));
  if (!file.valid()) return system_failure("open", path);
  file.reset();
  Status status = run_in_new_namespace([&]() -> Status {
    if (mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0)
      return system_failure("mount", path);
    return done();
  });
  if (!status) unlink(path.c_str());
  return status;
}

Status delete_namespace(const std::string& path) {
  struct stat file;
  if (lstat(path.c_str(), &file) != 0) return system_failure("stat", path);
  const Failure none{EINVAL, "umount2", path + " is not a namespace", {}, {}};
  if (!S_ISREG(file.st_mode)) return none;  // as nsfs shows its files
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return system_failure("open", path);
  const int type = ioctl(fd.get(), NS_GET_NSTYPE);
  if (type == CLONE_NEWNET) {
    if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) return system_failure("umount2", path);
  } else if (type >= 0 || errno != ENOTTY || file.st_size != 0) {
    // A name left by a crash is an empty file, which still has to go; anybody else's does not.
    return none;
  }
  if (unlink(path.c_str()) != 0) return system_failure("unlink", path);
  return done();
}

Result<int> read_number_sysctl(const std::string& path, const std::string& name) {
  int number = 0;
  Status status = run_in_namespace(path, [&]() -> Status {
    const std::string file = "/proc/sys/net/" + name;
    const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return system_failure("open", file);
    std::array<char, 16> text;
    const ssize_t size = read(fd.get(), text.data(), text.size());
    if (size < 0) return system_failure("read", file);
    if (std::from_chars(text.data(), text.data() + size, number).ec != std::errc{})
      return Failure{EINVAL, "read", file, {}, {}};
    return done();
  });
  if (!status) return status.failure();
  return number;
}

Status write_sysctl(const std::string& path, const std::string& name, const std::string& value) {
  return run_in_namespace(path, [&]() -> Status {
    // /proc/sys/net shows the namespace of the thread that opens it.
    const std::string file = "/proc/sys/net/" + name;
    // A container without privileges has /proc/sys read-only, and mostly the right value.
    if (has_value(file, value)) return done();
    const UniqueFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) return system_failure("open", file);
    if (write(fd.get(), value.data(), value.size()) < 0) return system_failure("write", file);
    return done();
  });
}

Result<std::string> read_proc_net(const std::string& path, const std::string& name, std::size_t most) {
  std::string text;
  const Status status = run_in_namespace(path, [&]() -> Status {
    // /proc/net is that of the process, whose namespace is another one.
    const std::string file = "/proc/thread-self/net/" + name;
    const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return system_failure("open", file);
    char part[4096];
    while (text.size() < most) {
      const ssize_t size = read(fd.get(), part, sizeof part);
      if (size < 0) return system_failure("read", file);
      if (size == 0) break;
      text.append(part, static_cast<std::size_t>(size));
    }
    return done();
  });
  if (!status) return status.failure();
  return text;
}

Result<UniqueFd> listen_abstract(const std::string& path, const std::string& name) {
  auto fd = open_socket(path, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  sockaddr_un address;
  const auto length = abstract_address(name, address);
  if (!length) return Failure{ENAMETOOLONG, "bind", name, {}, {}};
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&address), *length) != 0) return system_failure("bind", name);
  if (listen(fd->get(), 16) != 0) return system_failure("listen", name);
  return fd;
}

Result<UniqueFd> connect_abstract(const std::string& path, const std::string& name) {
  auto fd = open_socket(path, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  sockaddr_un address;
  const auto length = abstract_address(name, address);
  if (!length) return Failure{ENAMETOOLONG, "connect", name, {}, {}};
  if (connect(fd->get(), reinterpret_cast<sockaddr*>(&address), *length) != 0) return system_failure("connect", name);
  return fd;
}

}  // namespace overns
