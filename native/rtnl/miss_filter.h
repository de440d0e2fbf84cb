// The filter of a socket that is for misses alone.
#pragma once

#include <linux/filter.h>

#include <span>

namespace overns {

// Passes RTM_GETNEIGH, and RTM_DELNEIGH of the all-zero MAC (somebody has removed an FDB's default entry).
std::span<const sock_filter> miss_filter();

}  // namespace overns
