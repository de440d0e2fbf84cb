// Addresses of this host: endpoints that are attached here, the overlay's own links, the host's own. None of them is
// ever programmed as remote.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/address.h"
#include "engine/ask_key.h"

namespace overns {

// Asked for by containers all the time (duplicate address detection), and in nobody's records.
bool is_link_local(const Ip& ip);

class LocalAddresses {
 public:
  explicit LocalAddresses(const Ip& vtep) : vtep_(vtep) {}

  const Ip& vtep() const { return vtep_; }
  bool contains(const AskKey& key) const { return key.is_l3() ? ips_.contains(key.ip()) : macs_.contains(key.mac()); }
  // Why an address cannot be another host's VTEP; null when it can, or is this host's own.
  const char* vtep_fault(const Ip& vtep) const;
  // Why a MAC cannot be a remote endpoint's; null when it can.
  const char* mac_fault(const Mac& mac) const;

  // The owner of a link's addresses: a container's veth, by its index, or the overlay's own: br0, vxlan1, a port.
  enum class Owner : std::uint8_t { kEndpoint, kOverlay };
  // Replaces what is known of a link; a zero MAC removes it. True when it has now what it had not before.
  bool set_link(Owner owner, std::int32_t link, const std::vector<Ip>& ips, const Mac& mac);
  // Whether an endpoint here has both.
  bool has_endpoint(const Ip& ip, const Mac& mac) const;
  struct Link {
    std::vector<Ip> ips;
    Mac mac;
  };
  // What is known of a link; without addresses when nothing is.
  Link link(Owner owner, std::int32_t link) const;
  // The host's addresses, and those of its networks that are no host's: broadcast and network addresses. False when
  // they are as before.
  bool set_host(std::set<Ip> addresses, std::set<Ip> reserved);

 private:
  const Ip vtep_;
  std::map<std::pair<Owner, std::int32_t>, Link> links_;
  // Several links may have the same: one that is being replaced goes some time after the new one has come.
  std::multiset<Ip> ips_;
  std::multiset<Mac> macs_;
  std::multiset<Mac> own_macs_;  // of macs_, those of the overlay's own links
  std::set<Ip> host_addresses_;
  std::set<Ip> reserved_;
};

}  // namespace overns
