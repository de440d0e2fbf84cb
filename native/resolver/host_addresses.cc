#include "resolver/host_addresses.h"

#include <linux/rtnetlink.h>

#include "rtnl/address.h"

namespace overns {

bool HostAddresses::apply(const Message& message) {
  const auto address = decode_address(message);
  if (!address || address->ip.empty()) return false;
  const auto key = std::tuple(address->index, address->ip, address->prefix, address->peer);
  if (message.header.nlmsg_type == RTM_DELADDR) return addresses_.erase(key) > 0;
  std::vector<Ip> reserved;
  constexpr unsigned kNoNetwork = 31;  // RFC 3021: from here on both ends are hosts
  if (address->ip.is_v4() && address->prefix < kNoNetwork) {
    Ip network = address->peer.is_v4() ? address->peer : address->ip;
    Ip broadcast = network;
    for (unsigned bit = address->prefix; bit < 32; ++bit) {
      const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
      network.bytes[bit / 8] &= static_cast<std::uint8_t>(~mask);
      broadcast.bytes[bit / 8] |= mask;
    }
    reserved = {network, broadcast};
  }
  // Every router of a network answers for its first address (RFC 4291, 2.6.1; not in a /127, RFC 6164).
  if (address->ip.is_v6() && address->prefix < 127) {
    Ip anycast = address->peer.is_v6() ? address->peer : address->ip;
    for (unsigned bit = address->prefix; bit < 128; ++bit)
      anycast.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80U >> (bit % 8)));
    reserved = {anycast};
  }
  if (address->broadcast.is_v4()) reserved.push_back(address->broadcast);
  const auto [row, added] = addresses_.try_emplace(key);
  if (!added && row->second == reserved) return false;
  row->second = std::move(reserved);
  return true;
}

std::set<Ip> HostAddresses::all() const {
  std::set<Ip> all;
  for (const auto& [key, reserved] : addresses_) all.insert(std::get<1>(key));
  return all;
}

std::set<Ip> HostAddresses::reserved() const {
  std::set<Ip> all;
  for (const auto& [key, reserved] : addresses_) all.insert(reserved.begin(), reserved.end());
  return all;
}

}  // namespace overns
