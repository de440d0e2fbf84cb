// The overlay's own links as the port follows them: what is attached, what has gone, what has come back.
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <utility>

#include "resolver/overlay_port.h"
#include "resolver/prime.h"
#include "resolver/tap.h"
#include "rtnl/address.h"

namespace overns {

Status OverlayPort::read_links() {
  RequestBatch batch;
  encode_get_link(batch, 0, {});
  auto dump = command_.dump(batch);
  if (!dump) return dump.failure();
  std::vector<Link> links;
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) {
    if (auto link = decode_link(*message)) links.push_back(std::move(*link));
  }
  // A link that is not there has gone without a word, or with one that was lost.
  const auto absent = [&](std::int32_t index) {
    return !dump->interrupted && std::ranges::none_of(links, [&](const Link& link) { return link.index == index; });
  };
  std::vector<std::int32_t> gone(local_links_.begin(), local_links_.end());
  for (const auto& [index, mac] : own_links_) gone.push_back(index);
  if (!lost_) gone.push_back(vxlan_);
  for (const std::int32_t index : gone) {
    if (!absent(index)) continue;
    Link link;
    link.index = index;
    apply_link(link, true);
  }
  for (const Link& link : links) apply_link(link, false);
  return done();
}

Status OverlayPort::read_addresses() {
  RequestBatch batch;
  encode_get_addresses(batch, 0, AF_UNSPEC);
  auto dump = command_.dump(batch);
  if (!dump) return dump.failure();
  const auto before = own_addresses_;
  if (!dump->interrupted) own_addresses_.clear();
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) apply_address(*message);
  for (const auto& [index, ips] : before) update_own(index);
  return done();
}

void OverlayPort::apply_address(const Message& message) {
  const auto address = decode_address(message);
  if (!address || address->ip.empty()) return;
  auto& ips = own_addresses_[address->index];
  if (message.header.nlmsg_type == RTM_DELADDR) {
    ips.erase(address->ip);
  } else {
    ips.insert(address->ip);
  }
  update_own(address->index);
}

// Frames for the bridge itself, or for its ports, are for nobody else.
void OverlayPort::update_own(std::int32_t link) {
  const auto own = own_links_.find(link);
  std::vector<Ip> ips;
  if (own != own_links_.end() && link == bridge_) ips.assign(own_addresses_[link].begin(), own_addresses_[link].end());
  engine_->set_own(link, ips, own != own_links_.end() ? own->second : Mac{});
}

void OverlayPort::read_link_events(DatagramBatch& buffer) {
  // What is left stays readable: other overlays get their turn.
  for (int round = 0; round < kMaxRounds; ++round) {
    const int got = buffer.receive(link_events_.get());
    if (got < 0 && errno == ENOBUFS) {
      links_incomplete_ = true;
      continue;
    }
    if (got <= 0) {
      if (!links_incomplete_) return;
      // Only now: until its queue is empty a socket that overflowed is given nothing, without another error
      // (NETLINK_S_CONGESTED), and what is queued is older than a dump.
      links_incomplete_ = false;
      (void)read_addresses();
      (void)read_links();  // a failure leaves what is known; the next event tells more
      continue;
    }
    for (int i = 0; i < got; ++i) {
      if (!buffer.from_kernel(i)) continue;
      links_incomplete_ = links_incomplete_ || buffer.truncated(i);
      MessageReader reader(buffer.datagram(i));
      while (const auto message = reader.next()) {
        const std::uint16_t type = message->header.nlmsg_type;
        if (type == RTM_NEWADDR || type == RTM_DELADDR) {
          apply_address(*message);
        } else if (const auto link = decode_link(*message)) {
          apply_link(*link, type == RTM_DELLINK);
        }
      }
    }
  }
}

// An event may be older than the dump that told of the device's end.
bool OverlayPort::is_there(const Link& link) {
  auto index = link_index(command_, link.name);
  return index.ok() ? *index == link.index : index.failure().error != ENODEV;
}

void OverlayPort::apply_link(const Link& link, bool gone) {
  if (link.family == AF_BRIDGE) return;
  const bool back = !gone && lost_ && link.name == options_.link && link.kind == "vxlan" && is_there(link);
  if (back) set_vxlan(link.index);
  if (!gone && link.index == vxlan_) {
    packet_size_ = std::max(packet_size_, vxlan_packet_size(link.mtu));
    for (const AttributeValue& value : link.info) {
      const auto* number = std::get_if<std::uint64_t>(&value.value);
      if (number != nullptr && value.policy->type == IFLA_VXLAN_ID) vni_ = static_cast<std::uint32_t>(*number);
      if (number != nullptr && value.policy->type == IFLA_VXLAN_PORT) vxlan_port_ = static_cast<std::uint16_t>(*number);
      if (number != nullptr && value.policy->type == IFLA_VXLAN_LEARNING) writer_.set_learning(*number != 0);
      if (number != nullptr && value.policy->type == IFLA_VXLAN_LINK)
        vxlan_device_ = static_cast<std::uint32_t>(*number);
    }
  }
  if (gone && link.index == vxlan_ && !lost_) {
    lost_ = true;
    engine_->forget_programmed();
    EngineEvent event;
    event.kind = EventKind::kOverlayLost;
    event.at = monotonic_now();
    emit(event);
  } else if (back) {
    lost_ = false;
    punt_row_ = false;
    if (punt_) punt_->set_vxlan_port(vxlan_port_);
    if (punt_ && lo_up_) place_punt();
    set_departed(engine_->departed());
    if (hint_tap_.valid()) (void)bind_tap(hint_tap_.get(), vxlan_, kHintProtocol);
    EngineEvent event;
    event.kind = EventKind::kOverlayBack;
    event.at = monotonic_now();
    emit(event);
  }
  if (!gone && link.name == options_.bridge && link.kind == "bridge" && link.index != bridge_) {
    // A new bridge in the place of the one that was listened on.
    bridge_ = link.index;
    (void)bind_tap(arp_tap_.get(), bridge_, ETH_P_ARP);
    (void)bind_tap(nd_tap_.get(), bridge_, ETH_P_IPV6);
  }
  const bool own =
      !gone && link.mac && !link.mac->is_zero() &&
      (link.index == bridge_ || link.index == vxlan_ || link.master == static_cast<std::uint32_t>(bridge_));
  if (own) own_links_[link.index] = *link.mac;
  if (own || own_links_.erase(link.index) > 0) update_own(link.index);
  const auto endpoint = gone ? std::nullopt : parse_endpoint_alias(link.alias);
  if (endpoint) {
    local_links_.insert(link.index);
    engine_->set_local(link.index, endpoint->ips, endpoint->mac);
  } else if (local_links_.erase(link.index) > 0) {
    engine_->set_local(link.index, {}, Mac{});
  }
}

}  // namespace overns
