#include "base/text.h"

#include <cstdint>

namespace overns {
namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_escape(std::string_view rest) {
  return rest.size() >= 4 && rest[0] == '\\' && rest[1] == 'x' && digit(rest[2]) >= 0 && digit(rest[3]) >= 0;
}

// How many bytes the character takes that begins here (RFC 3629 section 4), or 0.
std::size_t character(std::string_view rest) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(rest[i]); };
  const std::uint8_t first = at(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || rest.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const std::uint8_t second = at(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool beyond = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);  // surrogates, U+10FFFF
  return overlong || beyond ? 0 : size;
}

}  // namespace

std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t size = is_escape(bytes) ? 0 : character(bytes);
    if (size == 0) {
      const auto byte = static_cast<std::uint8_t>(bytes[0]);
      text += {'\\', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
    } else {
      text += bytes.substr(0, size);
    }
    bytes.remove_prefix(size == 0 ? 1 : size);
  }
  return text;
}

std::string from_utf8(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const bool escape = is_escape(text);
    bytes += escape ? static_cast<char>(digit(text[2]) * 16 + digit(text[3])) : text[0];
    text.remove_prefix(escape ? 4 : 1);
  }
  return bytes;
}

}  // namespace overns
