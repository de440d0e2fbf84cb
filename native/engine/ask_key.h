// The address that is asked for: an IP (an L3 miss) or a MAC (an L2 miss).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/address.h"

namespace overns {

struct AskKey {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t kind = 0;  // AF_INET, AF_INET6, kMacKind; 0 = none

  static constexpr std::uint8_t kMacKind = 255;
  static AskKey of(const Ip& ip) { return {ip.bytes, ip.family}; }
  static AskKey of(const Mac& mac) {
    AskKey key;
    std::copy(mac.bytes.begin(), mac.bytes.end(), key.bytes.begin());
    key.kind = kMacKind;
    return key;
  }
  bool is_l3() const { return kind != kMacKind; }
  Ip ip() const { return is_l3() ? Ip{bytes, kind} : Ip{}; }
  Mac mac() const {
    Mac mac;
    if (kind == kMacKind) std::copy_n(bytes.begin(), mac.bytes.size(), mac.bytes.begin());
    return mac;
  }
  bool is_unicast() const { return is_l3() ? ip().is_unicast() : mac().is_unicast(); }
  bool operator==(const AskKey&) const = default;
};

}  // namespace overns
