// Sockets that live in a network namespace, wherever the thread that uses them is.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

// A socket that lives in the namespace at `path` from then on; an empty path is the caller's own.
Result<UniqueFd> open_socket(const std::string& path, int domain, int type, int protocol);
// A socket in a new namespace without a name, which lives as long as the socket.
Result<UniqueFd> open_scratch_socket(int domain, int type, int protocol);

// Sets the receive buffer, beyond rmem_max where the capability allows it.
void set_receive_buffer(int fd, int bytes);

}  // namespace overns
