// The attributes of links and of their kinds, under the names that the API gives them: include/uapi/linux/if_link.h.
#pragma once

#include <span>
#include <string_view>

#include "rtnl/attribute_policy.h"

namespace overns {

// Attributes of any link, beside those that Link has as members.
std::span<const AttributePolicy> link_policies();
// IFLA_INFO_DATA of a kind; empty for kinds without a table.
std::span<const AttributePolicy> info_policies(std::string_view kind);
// IFLA_INFO_SLAVE_DATA of a bridge's port.
std::span<const AttributePolicy> bridge_port_policies();

}  // namespace overns
