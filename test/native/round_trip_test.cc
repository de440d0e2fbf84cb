// What has both a decoder and an encoder, on all that was captured.
#include "round_trip.h"

#include <map>

#include "all_captures.h"
#include "support.h"

using namespace overns;
using support::Codec;
using support::from_hex;
using support::RoundTrip;

TEST_CASE("round trip: decoded, encoded and decoded again, every captured message is the same") {
  std::map<std::string_view, int> trips;
  for (const captures::Capture& capture : captures::kAll) {
    INFO(capture.name);
    const support::ByteVector bytes = from_hex(capture.hex);
    MessageReader reader(bytes);
    while (const auto message = reader.next()) {
      for (const Codec& codec : support::codecs()) {
        INFO(codec.name);
        const RoundTrip trip = codec.round_trip(*message);
        CHECK(trip != RoundTrip::kDifferent);
        trips[codec.name] += trip == RoundTrip::kSame ? 1 : 0;
      }
    }
  }
  for (const Codec& codec : support::codecs()) {
    INFO(codec.name);
    CHECK(trips[codec.name] >= 4);
  }
}

TEST_CASE("round trip: addresses as text") {
  const std::uint64_t seed = 5952;
  INFO("seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 20000; ++i) {
    support::ByteVector bytes(random.one_in(3) ? 4 : 16);
    // Runs of zeros, which IPv6 shortens.
    for (auto& byte : bytes) byte = random.one_in(2) ? 0 : static_cast<std::uint8_t>(random.next());
    const auto ip = Ip::from(bytes);
    REQUIRE(ip);
    INFO(ip->to_string());
    REQUIRE(Ip::parse(ip->to_string()) == ip);
    bytes.resize(4);
    bytes.resize(6, 0xff);
    const auto mac = Mac::from(bytes);
    REQUIRE(mac);
    INFO(mac->to_string());
    REQUIRE(Mac::parse(mac->to_string()) == mac);
  }
}
