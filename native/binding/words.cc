#include "binding/fields.h"

#include <linux/rtnetlink.h>

namespace overns {

const Name<std::uint32_t> kRouteFlags[14] = {
    {"dead", RTNH_F_DEAD},         {"pervasive", RTNH_F_PERVASIVE},
    {"onlink", RTNH_F_ONLINK},     {"offload", RTNH_F_OFFLOAD},
    {"linkdown", RTNH_F_LINKDOWN}, {"unresolved", RTNH_F_UNRESOLVED},
    {"trap", RTNH_F_TRAP},         {"notify", RTM_F_NOTIFY},
    {"cloned", RTM_F_CLONED},      {"equalize", RTM_F_EQUALIZE},
    {"prefix", RTM_F_PREFIX},      {"rt_offload", RTM_F_OFFLOAD},
    {"rt_trap", RTM_F_TRAP},       {"rt_offload_failed", RTM_F_OFFLOAD_FAILED},
};
const Name<std::uint8_t> kScopes[5] = {{"global", RT_SCOPE_UNIVERSE},
                                       {"site", RT_SCOPE_SITE},
                                       {"link", RT_SCOPE_LINK},
                                       {"host", RT_SCOPE_HOST},
                                       {"nowhere", RT_SCOPE_NOWHERE}};
const Name<std::uint8_t> kRouteProtocols[22] = {{"unspec", RTPROT_UNSPEC},
                                                {"redirect", RTPROT_REDIRECT},
                                                {"kernel", RTPROT_KERNEL},
                                                {"boot", RTPROT_BOOT},
                                                {"static", RTPROT_STATIC},
                                                {"gated", RTPROT_GATED},
                                                {"ra", RTPROT_RA},
                                                {"mrt", RTPROT_MRT},
                                                {"zebra", RTPROT_ZEBRA},
                                                {"bird", RTPROT_BIRD},
                                                {"dnrouted", RTPROT_DNROUTED},
                                                {"xorp", RTPROT_XORP},
                                                {"ntk", RTPROT_NTK},
                                                {"dhcp", RTPROT_DHCP},
                                                {"mrouted", RTPROT_MROUTED},
                                                {"keepalived", RTPROT_KEEPALIVED},
                                                {"babel", RTPROT_BABEL},
                                                {"bgp", RTPROT_BGP},
                                                {"isis", RTPROT_ISIS},
                                                {"ospf", RTPROT_OSPF},
                                                {"rip", RTPROT_RIP},
                                                {"eigrp", RTPROT_EIGRP}};

}  // namespace overns
