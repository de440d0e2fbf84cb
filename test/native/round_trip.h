// What has both a decoder and an encoder: decoded, encoded and decoded again it is the same.
#pragma once

#include <span>
#include <string_view>

#include "netlink/command_socket.h"

namespace support {

enum class RoundTrip { kOther, kSame, kDifferent };

// kOther: a message that the decoder does not take, or that no request can say.
struct Codec {
  std::string_view name;
  RoundTrip (*round_trip)(const overns::Message& message);
};
std::span<const Codec> codecs();

}  // namespace support
