#include "rtnl/address.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {

void encode_address(RequestBatch& batch, std::uint16_t type, std::uint16_t flags, const InterfaceAddress& address) {
  MessageWriter& writer = batch.begin(type, flags);
  ifaddrmsg header{};
  header.ifa_family = address.ip.family;
  header.ifa_prefixlen = address.prefix;
  header.ifa_index = static_cast<std::uint32_t>(address.index);
  header.ifa_scope = address.scope;
  writer.header(header);
  writer.attribute(IFA_LOCAL, address.ip.raw());
  writer.attribute(IFA_ADDRESS, address.ip.raw());
  // As `ip address add` leaves it: no broadcast address unless asked for.
  if (address.flags != 0) writer.u32(IFA_FLAGS, address.flags);
  if (!address.label.empty()) writer.text(IFA_LABEL, address.label);
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
  bool local = false;
  auto attributes = message.attributes<ifaddrmsg>();
  while (const auto attribute = attributes.next()) {
    switch (attribute->type) {
      case IFA_LOCAL:  // on a point-to-point link IFA_ADDRESS is the other end
        if (const auto ip = Ip::from(attribute->payload)) {
          address.ip = *ip;
          local = true;
        }
        break;
      case IFA_ADDRESS:
        if (const auto ip = Ip::from(attribute->payload); ip && !local) address.ip = *ip;
        break;
      case IFA_FLAGS: address.flags = attribute->as<std::uint32_t>().value_or(address.flags); break;
      case IFA_LABEL: address.label = attribute->text(); break;
      default: break;
    }
  }
  if (address.ip.empty()) return std::nullopt;
  return address;
}

}  // namespace overns
