#include "base/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/text.h"

namespace overns {
namespace {

char* write_octet(char* text, std::uint8_t value) {
  if (value >= 100) *text++ = static_cast<char>('0' + value / 100);
  if (value >= 10) *text++ = static_cast<char>('0' + value / 10 % 10);
  *text++ = static_cast<char>('0' + value % 10);
  return text;
}

char* write_group(char* text, std::uint8_t high, std::uint8_t low) {
  const unsigned value = static_cast<unsigned>(high) << 8 | low;
  for (int shift = value >= 0x1000 ? 12 : value >= 0x100 ? 8 : value >= 0x10 ? 4 : 0; shift >= 0; shift -= 4)
    *text++ = kHexDigits[value >> shift & 15];
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<Mac> Mac::from(Bytes raw) {
  Mac mac;
  if (raw.size() != mac.bytes.size()) return std::nullopt;
  std::memcpy(mac.bytes.data(), raw.data(), mac.bytes.size());
  return mac;
}

std::optional<Mac> Mac::parse(std::string_view text) {
  Mac mac;
  if (text.size() != 17) return std::nullopt;
  for (std::size_t i = 0; i < 6; ++i) {
    const int high = hex_digit(text[i * 3]);
    const int low = hex_digit(text[i * 3 + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':')) return std::nullopt;
    mac.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return mac;
}

std::size_t Mac::write(char* text) const {
  for (std::size_t i = 0; i < 6; ++i) {
    if (i > 0) *text++ = ':';
    *text++ = kHexDigits[bytes[i] >> 4];
    *text++ = kHexDigits[bytes[i] & 15];
  }
  return kTextSize;
}

std::string Mac::to_string() const {
  char text[kTextSize];
  return std::string(text, write(text));
}

bool Ip::is_v4() const { return family == AF_INET; }
bool Ip::is_v6() const { return family == AF_INET6; }

bool Ip::is_v4_mapped() const {
  static constexpr std::uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return is_v6() && std::memcmp(bytes.data(), prefix, sizeof prefix) == 0;
}

bool Ip::is_unicast() const {
  if (is_v4()) return (bytes[0] & 0xf0) != 0xe0 && bytes[0] != 0 && bytes[0] < 240;
  if (is_v6()) return bytes[0] != 0xff && bytes != std::array<std::uint8_t, 16>{};
  return false;
}

std::optional<Ip> Ip::from(Bytes raw) {
  Ip ip;
  if (raw.size() == 4) {
    ip.family = AF_INET;
  } else if (raw.size() == 16) {
    ip.family = AF_INET6;
  } else {
    return std::nullopt;
  }
  std::memcpy(ip.bytes.data(), raw.data(), raw.size());
  return ip;
}

std::optional<Ip> Ip::parse(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof terminated) return std::nullopt;
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  if (std::strlen(terminated) != text.size()) return std::nullopt;
  Ip ip;
  if (inet_pton(AF_INET, terminated, ip.bytes.data()) == 1) {
    ip.family = AF_INET;
  } else if (inet_pton(AF_INET6, terminated, ip.bytes.data()) == 1) {
    ip.family = AF_INET6;
  } else {
    return std::nullopt;
  }
  return ip;
}

// inet_ntop formats through sprintf, which is most of what a row of a big listing costs.
std::size_t Ip::write(char* text) const {
  char* end = text;
  if (is_v4()) {
    for (std::size_t i = 0; i < 4; ++i) {
      if (i > 0) *end++ = '.';
      end = write_octet(end, bytes[i]);
    }
    return static_cast<std::size_t>(end - text);
  }
  if (empty()) return 0;
  if (bytes[0] == 0 && bytes[1] == 0) {  // ::, ::1, and what has a dotted form
    char terminated[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, bytes.data(), terminated, sizeof terminated);
    const std::string_view written(terminated);
    written.copy(text, written.size());
    return written.size();
  }
  // RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equal ones.
  std::size_t run = 8;
  std::size_t run_length = 1;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t length = 0;
    while (i + length < 8 && bytes[(i + length) * 2] == 0 && bytes[(i + length) * 2 + 1] == 0) ++length;
    if (length > run_length) {
      run = i;
      run_length = length;
    }
    i += length;
  }
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == run) {
      *end++ = ':';
      i += run_length - 1;
      if (i == 7) *end++ = ':';
      continue;
    }
    if (i > 0) *end++ = ':';
    end = write_group(end, bytes[i * 2], bytes[i * 2 + 1]);
  }
  return static_cast<std::size_t>(end - text);
}

std::string Ip::to_string() const {
  char text[kTextSize];
  return std::string(text, write(text));
}

}  // namespace overns
