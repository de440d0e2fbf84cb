// Abstract unix sockets of a network namespace. The kernel releases the name with its last holder, which makes it a
// lock without a file.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

// A non-blocking stream socket that listens on, or is connected to, the abstract name `name` of the namespace at
// `path`.
Result<UniqueFd> listen_abstract(const std::string& path, const std::string& name);
Result<UniqueFd> connect_abstract(const std::string& path, const std::string& name);

}  // namespace overns
