#include "netns/namespace.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

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

Status run_in_new_namespace(const std::function<Status()>& task) {
  return run_on_thread([&]() -> Status {
    if (unshare(CLONE_NEWNET) != 0) return system_failure("unshare", "new network namespace");
    return task();
  });
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

}  // namespace overns
