// base/address.h: text of addresses, against the C library's.
#include "base/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <random>

#include "support.h"

using namespace overns;

namespace {

std::string reference(const Ip& ip) {
  char text[INET6_ADDRSTRLEN];
  REQUIRE(inet_ntop(ip.family, ip.bytes.data(), text, sizeof text));
  return text;
}

}  // namespace

TEST_CASE("an IP is written as inet_ntop writes it, and read back") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 200'000; ++i) {
    Ip ip;
    ip.family = i % 4 == 0 ? AF_INET : AF_INET6;
    // Zeros are what shortens; small values are what has leading ones.
    for (std::size_t at = 0; at < ip.raw().size(); ++at) {
      const unsigned draw = random() % 8;
      ip.bytes[at] = static_cast<std::uint8_t>(draw < 5 ? 0 : draw == 5 ? random() % 16 : random());
    }
    if (i % 4 == 1) ip.bytes[0] = 0x20;
    const std::string text = ip.to_string();
    if (text != reference(ip)) CHECK(text == reference(ip));
    if (Ip::parse(text) != ip) CHECK(text == "read back");
    char raw[Ip::kTextSize];
    REQUIRE(ip.write(raw) == text.size());
  }
  CHECK(Ip{}.to_string().empty());
}
