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
// The same in a new namespace without a name, which goes with the last descriptor that the task has opened in it.
Status run_in_new_namespace(const std::function<Status()>& task);

Result<UniqueFd> open_namespace(const std::string& path);

// As `ip netns add`: a new namespace, kept by a bind mount on a file at `path`. EEXIST when the file exists.
Status create_namespace(const std::string& path);
// As `ip netns del`: unmounts and removes the name; the namespace itself goes with its last user.
Status delete_namespace(const std::string& path);

}  // namespace overns
