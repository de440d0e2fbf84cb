// A fuzzer of one decoder of native/rtnl; with an encoder, of the round trip as well.
#pragma once

#include "input.h"
#include "round_trip.h"

namespace fuzz {

// The bytes as the one message of a datagram: its length is put right, so that what is inserted or cut within does not
// end in the frame around it.
template <class Visit>
void one_message(const std::uint8_t* data, std::size_t size, Visit visit) {
  if (size < sizeof(nlmsghdr)) return;
  Exact exact(overns::Bytes(data, size));
  const auto length = static_cast<std::uint32_t>(size);
  std::memcpy(exact.data(), &length, sizeof length);
  overns::MessageReader reader(exact.bytes());
  if (const auto message = reader.next()) visit(*message);
}

inline int decoder(std::string_view name, const std::uint8_t* data, std::size_t size) {
  for (const support::Codec& codec : support::codecs()) {
    if (codec.name != name) continue;
    one_message(data, size, [&](const overns::Message& message) {
      require(codec.round_trip(message) != support::RoundTrip::kDifferent, "it decodes to what was encoded");
    });
    return 0;
  }
  require(false, "there is a codec of this name");
  return 0;
}

}  // namespace fuzz
