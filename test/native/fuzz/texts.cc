// What is parsed from text: IP and MAC addresses, aliases of containers' links.
#include <string>

#include "input.h"
#include "resolver/overlay_port.h"

using namespace overns;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Exact exact(Bytes(data, size));
  const std::string_view text(reinterpret_cast<const char*>(exact.bytes().data()), size);
  if (const auto ip = Ip::parse(text)) require(Ip::parse(ip->to_string()) == ip, "an IP address as it is told");
  if (const auto mac = Mac::parse(text)) require(Mac::parse(mac->to_string()) == mac, "a MAC address as it is told");
  if (const auto ip = Ip::from(exact.bytes())) require(Ip::parse(ip->to_string()) == ip, "any IP address can be told");
  if (const auto mac = Mac::from(exact.bytes())) require(Mac::parse(mac->to_string()) == mac, "any MAC address can");
  if (const auto endpoint = parse_endpoint_alias(text)) {
    require(!endpoint->ips.empty(), "an endpoint has an address");
    std::string alias = "overns " + endpoint->mac.to_string() + " ";
    for (const Ip& ip : endpoint->ips) alias += ip.to_string() + "/32,";
    alias.back() = ' ';
    const auto again = parse_endpoint_alias(alias);
    require(again && again->mac == endpoint->mac && again->ips == endpoint->ips, "an alias says what it means");
  }
  return 0;
}
