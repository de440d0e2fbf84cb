#include "rtnl/address.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {
namespace {

constexpr std::uint16_t kIfaProto = 11;  // IFA_PROTO, since Linux 5.18

}  // namespace

void encode_address(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const InterfaceAddress& address) {
  MessageWriter& writer = batch.begin(type, flags);
  ifaddrmsg header{};
  header.ifa_family = address.ip.family;
  header.ifa_prefixlen = address.prefix;
  header.ifa_index = static_cast<std::uint32_t>(address.index);
  header.ifa_scope = address.scope;
  writer.header(header);
  writer.attribute(IFA_LOCAL, address.ip.raw());
  writer.attribute(IFA_ADDRESS, (address.peer.empty() ? address.ip : address.peer).raw());
  // As `ip address add` leaves it: no broadcast address unless asked for.
  if (!address.broadcast.empty()) writer.attribute(IFA_BROADCAST, address.broadcast.raw());
  if (address.flags != 0) writer.u32(IFA_FLAGS, address.flags);
  if (!address.label.empty()) writer.text(IFA_LABEL, address.label);
  if (address.metric != 0) writer.u32(IFA_RT_PRIORITY, address.metric);
  if (address.protocol != 0) writer.u8(kIfaProto, address.protocol);
  if (address.preferred || address.valid) {
    ifa_cacheinfo lifetimes{};
    lifetimes.ifa_valid = address.valid.value_or(InterfaceAddress::kForever);
    lifetimes.ifa_prefered = address.preferred.value_or(lifetimes.ifa_valid);
    writer.attribute(IFA_CACHEINFO, {reinterpret_cast<const std::uint8_t*>(&lifetimes), sizeof lifetimes});
  }
  batch.end();
}

void encode_get_addresses(RequestBatch& batch, std::int32_t index, std::uint8_t family) {
  MessageWriter& writer = batch.begin(RTM_GETADDR, 0);
  ifaddrmsg header{};
  header.ifa_family = family;
  header.ifa_index = static_cast<std::uint32_t>(index);  // strict checking: filtered by the kernel
  writer.header(header);
  batch.end();
}

std::optional<InterfaceAddress> decode_address(const Message& message) {
  const auto header = message.family_header<ifaddrmsg>();
  if (!header || (message.header.nlmsg_type != RTM_NEWADDR && message.header.nlmsg_type != RTM_DELADDR))
    return std::nullopt;
  InterfaceAddress address;
  address.index = static_cast<std::int32_t>(header->ifa_index);
  address.prefix = header->ifa_prefixlen;
  address.scope = header->ifa_scope;
  address.flags = header->ifa_flags;
  Ip other;
  auto attributes = message.attributes<ifaddrmsg>();
  while (const auto attribute = attributes.next()) {
    bool known = true;
    switch (attribute->type) {
      // On a point-to-point link IFA_ADDRESS is the other end; without one it is the address once more, or alone
      // (IPv6).
      case IFA_LOCAL: known = take(Ip::from(attribute->payload), address.ip); break;
      case IFA_ADDRESS: known = take(Ip::from(attribute->payload), other); break;
      case IFA_BROADCAST: known = take(Ip::from(attribute->payload), address.broadcast); break;
      case IFA_FLAGS: known = take(attribute->as<std::uint32_t>(), address.flags); break;
      case IFA_LABEL: address.label = attribute->text(); break;
      case IFA_RT_PRIORITY: known = take(attribute->as<std::uint32_t>(), address.metric); break;
      case kIfaProto: known = take(attribute->as<std::uint8_t>(), address.protocol); break;
      case IFA_CACHEINFO:
        // The times of creation and of the last change stand there too.
        if (const auto lifetimes = attribute->as<ifa_cacheinfo>()) {
          address.preferred = lifetimes->ifa_prefered;
          address.valid = lifetimes->ifa_valid;
        } else {
          known = false;
        }
        break;
      default: known = false; break;
    }
    if (!known) address.unknown.push_back(keep(*attribute));
  }
  if (address.ip.empty()) {
    address.ip = other;
  } else if (other != address.ip) {
    address.peer = other;
  }
  if (address.ip.empty()) return std::nullopt;
  return address;
}

}  // namespace overns
