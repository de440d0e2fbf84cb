// Network namespaces: entering one on a thread that ends, making and unmaking named ones.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

// Runs `task` on a thread of its own inside the namespace at `path` and waits for it. The thread ends afterwards, so
// there is nothing to restore; an empty path runs it right here. Costs about 15 us.
Status run_in_namespace(const std::string& path, const std::function<Status()>& task);

Result<UniqueFd> open_namespace(const std::string& path);

// A socket that lives in the namespace at `path` from then on.
Result<UniqueFd> open_socket(const std::string& path, int domain, int type, int protocol);
// A socket in a new namespace without a name, which lives as long as the socket.
Result<UniqueFd> open_scratch_socket(int domain, int type, int protocol);

// As `ip netns add`: a new namespace, kept by a bind mount on a file at `path`. EEXIST when the file exists.
Status create_namespace(const std::string& path);
// As `ip netns del`: unmounts and removes the name; the namespace itself goes with its last user.
Status delete_namespace(const std::string& path);

// Reads a number from a sysctl below /proc/sys/net, which is every namespace's own.
Result<int> read_number_sysctl(const std::string& path, const std::string& name);
// Sets one, unless it has that value: `name` as "ipv6/conf/eth0/disable_ipv6".
Status write_sysctl(const std::string& path, const std::string& name, const std::string& value);

// What /proc/net/NAME says in a namespace, its first `most` bytes.
Result<std::string> read_proc_net(const std::string& path, const std::string& name, std::size_t most);

// A listening or connected stream socket on the abstract name `name` of a namespace. The kernel releases the name
// with its last holder, which makes it a lock without a file.
Result<UniqueFd> listen_abstract(const std::string& path, const std::string& name);
Result<UniqueFd> connect_abstract(const std::string& path, const std::string& name);

}  // namespace overns
