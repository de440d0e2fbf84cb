#include "engine/local_addresses.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace overns {
namespace {

bool is_loopback(const Ip& ip) {
  return ip.is_v4() ? ip.bytes[0] == 127 : ip == Ip{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, AF_INET6};
}

}  // namespace

bool is_link_local(const Ip& ip) { return ip.is_v6() && ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80; }

const char* LocalAddresses::vtep_fault(const Ip& vtep) const {
  if (!vtep.is_unicast()) return "the VTEP is not a unicast address";
  if (vtep.family != vtep_.family || vtep.is_v4_mapped()) return "the VTEP is of the other address family";
  if (is_loopback(vtep)) return "the VTEP is a loopback address";
  if (is_link_local(vtep)) return "the VTEP is a link-local address, which is every host's own";
  if (vtep == vtep_) return nullptr;
  if (host_addresses_.contains(vtep)) return "the VTEP is another address of this host";
  if (reserved_.contains(vtep))
    return "the VTEP is the broadcast, network or subnet-router anycast address of a network of this host";
  return nullptr;
}

const char* LocalAddresses::mac_fault(const Mac& mac) const {
  if (!mac.is_unicast()) return "the MAC address is not a unicast one";
  if (own_macs_.contains(mac)) return "the MAC address is that of the overlay's bridge or of a port of it";
  if (macs_.contains(mac)) return "the MAC address is that of an endpoint on this host";
  return nullptr;
}

bool LocalAddresses::set_link(Owner owner, std::int32_t link, const std::vector<Ip>& ips, const Mac& mac) {
  const std::pair key(owner, link);
  if (const auto before = links_.find(key); before != links_.end()) {
    if (before->second.ips == ips && before->second.mac == mac) return false;
    for (const Ip& ip : before->second.ips) ips_.erase(ips_.find(ip));
    macs_.erase(macs_.find(before->second.mac));
    if (owner == Owner::kOverlay) own_macs_.erase(own_macs_.find(before->second.mac));
    links_.erase(before);
  }
  if (mac.is_zero()) return false;
  links_[key] = {ips, mac};
  macs_.insert(mac);
  if (owner == Owner::kOverlay) own_macs_.insert(mac);
  ips_.insert(ips.begin(), ips.end());
  return true;
}

LocalAddresses::Link LocalAddresses::link(Owner owner, std::int32_t link) const {
  const auto found = links_.find({owner, link});
  return found == links_.end() ? Link{} : found->second;
}

bool LocalAddresses::has_endpoint(const Ip& ip, const Mac& mac) const {
  if (!macs_.contains(mac) || !ips_.contains(ip)) return false;
  return std::ranges::any_of(links_, [&](const auto& each) {
    const auto& [key, link] = each;
    return key.first == Owner::kEndpoint && link.mac == mac && std::ranges::find(link.ips, ip) != link.ips.end();
  });
}

bool LocalAddresses::set_host(std::set<Ip> addresses, std::set<Ip> reserved) {
  if (addresses == host_addresses_ && reserved == reserved_) return false;
  host_addresses_ = std::move(addresses);
  reserved_ = std::move(reserved);
  return true;
}

}  // namespace overns
