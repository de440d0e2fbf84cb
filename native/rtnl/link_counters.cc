#include "rtnl/link_counters.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>

namespace overns {

std::optional<LinkCounters> decode_counters(const Message& message) {
  const auto header = message.family_header<ifinfomsg>();
  if (!header || message.header.nlmsg_type != RTM_NEWLINK) return std::nullopt;
  LinkCounters counters;
  counters.index = header->ifi_index;
  auto attributes = message.attributes<ifinfomsg>();
  while (const auto attribute = attributes.next()) {
    if (attribute->type == IFLA_IFNAME) {
      counters.name = attribute->text();
    } else if (attribute->type == IFLA_STATS64) {
      counters.count = std::min(attribute->payload.size() / sizeof(std::uint64_t), counters.values.size());
      if (counters.count > 0)
        std::memcpy(counters.values.data(), attribute->payload.data(), counters.count * sizeof(std::uint64_t));
    } else if (attribute->type == IFLA_LINKINFO) {
      AttributeReader linkinfo(attribute->payload);
      while (const auto each = linkinfo.next()) {
        if (each->type == IFLA_INFO_KIND) counters.kind = each->text();
      }
    }
  }
  return counters;
}

}  // namespace overns
