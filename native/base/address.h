// IP and MAC addresses as the kernel stores them: fixed size, comparable, no allocation.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace overns {

using Bytes = std::span<const std::uint8_t>;

struct Mac {
  std::array<std::uint8_t, 6> bytes{};

  auto operator<=>(const Mac&) const = default;
  bool is_zero() const { return *this == Mac{}; }
  bool is_multicast() const { return (bytes[0] & 1) != 0; }  // IEEE 802: the group bit
  bool is_unicast() const { return !is_zero() && !is_multicast(); }

  static std::optional<Mac> from(Bytes raw);
  static std::optional<Mac> parse(std::string_view text);  // aa:bb:cc:dd:ee:ff
  static constexpr std::size_t kTextSize = 17;
  std::size_t write(char* text) const;  // at most kTextSize characters, not terminated; returns how many
  std::string to_string() const;
};

// Either family in one 17-byte value; an IPv4 address lies in the first four bytes, the rest is zero.
struct Ip {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t family = 0;  // AF_INET, AF_INET6, or 0 = none

  auto operator<=>(const Ip&) const = default;
  bool is_v4() const;
  bool is_v6() const;
  bool empty() const { return family == 0; }
  Bytes raw() const { return {bytes.data(), is_v4() ? std::size_t{4} : std::size_t{16}}; }
  bool is_v4_mapped() const;  // ::ffff:0:0/96
  bool is_unicast() const;    // neither unspecified, multicast nor limited broadcast

  static std::optional<Ip> from(Bytes raw);  // 4 or 16 bytes, in network order
  static std::optional<Ip> parse(std::string_view text);
  static constexpr std::size_t kTextSize = 46;  // INET6_ADDRSTRLEN
  std::size_t write(char* text) const;          // dotted or RFC 5952, not terminated; returns how many characters
  std::string to_string() const;
};

}  // namespace overns
