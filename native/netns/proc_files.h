// Files below /proc that show another content in each network namespace.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"

namespace overns {

// Reads a number from a sysctl below /proc/sys/net, which is every namespace's own.
Result<int> read_number_sysctl(const std::string& path, const std::string& name);
// Sets one, unless it has that value: `name` as "ipv6/conf/eth0/disable_ipv6".
Status write_sysctl(const std::string& path, const std::string& name, const std::string& value);

// Reads the first `most` bytes of /proc/net/NAME as the namespace at `path` shows it.
Result<std::string> read_proc_net(const std::string& path, const std::string& name, std::size_t most);

}  // namespace overns
