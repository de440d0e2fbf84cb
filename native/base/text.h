// Names and texts of the kernel's, which are bytes, as UTF-8 and back. A byte that is no part of UTF-8 is written as
// `\xff`, and a backslash that such an escape would begin with as `\x5c`: two names never become one, and what was
// read can be given back.
#pragma once

#include <string>
#include <string_view>

namespace overns {

inline constexpr char kHexDigits[] = "0123456789abcdef";

std::string to_utf8(std::string_view bytes);
std::string from_utf8(std::string_view text);

}  // namespace overns
