// Commands as one batch of requests.
#pragma once

#include <optional>
#include <vector>

#include "binding/convert.h"

namespace overns {

using Answers = std::vector<std::optional<Failure>>;

// Sends all commands at once; the answer of each, in order: nothing, or why not.
Result<Answers> run_batch(CommandSocket& socket, std::vector<Command>& commands);

}  // namespace overns
