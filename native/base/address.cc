#include "base/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

namespace overns {
namespace {

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

std::string Mac::to_string() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text(17, ':');
  for (std::size_t i = 0; i < 6; ++i) {
    text[i * 3] = digits[bytes[i] >> 4];
    text[i * 3 + 1] = digits[bytes[i] & 15];
  }
  return text;
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

std::string Ip::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (!empty()) inet_ntop(family, bytes.data(), text, sizeof text);
  return text;
}

}  // namespace overns
