#include "netns/proc_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

#include "base/unique_fd.h"
#include "netns/namespace.h"

namespace overns {
namespace {

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

}  // namespace

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

}  // namespace overns
