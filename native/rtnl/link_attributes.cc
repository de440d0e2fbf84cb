#include "rtnl/link_attributes.h"

#include <linux/if_link.h>
#include <linux/if_tunnel.h>

namespace overns {
namespace {

using enum ValueType;

// Bookworm's headers end at 6.1; the numbers are ABI.
enum : std::uint16_t {
  kVxlanVnifilter = 30,
  kVxlanLocalbypass,
  kVxlanLabelPolicy,
  kVxlanReservedBits,
  kVxlanMcRoute,
};
enum : std::uint16_t { kBridgeFdbLearned = 48, kBridgeFdbMaxLearned };
enum : std::uint16_t {
  kPortLocked = 39,
  kPortMab,
  kPortMcastGroups,
  kPortMcastMaxGroups,
  kPortNeighVlanSuppress,
  kPortBackupNexthop,
};
enum : std::uint16_t { kMacvlanBcCutoff = 9 };
enum : std::uint16_t {
  kGsoIpv4MaxSize = 63,
  kGroIpv4MaxSize,
  kMaxPacingOffloadHorizon = 66,
  kNetnsImmutable,
  kHeadroom,
  kTailroom,
};

constexpr Word kDf[] = {{VXLAN_DF_UNSET, "unset"}, {VXLAN_DF_SET, "set"}, {VXLAN_DF_INHERIT, "inherit"}};
constexpr Word kLabelPolicies[] = {{0, "fixed"}, {1, "inherit"}};
constexpr Word kMacvlanModes[] = {{MACVLAN_MODE_PRIVATE, "private"},
                                  {MACVLAN_MODE_VEPA, "vepa"},
                                  {MACVLAN_MODE_BRIDGE, "bridge"},
                                  {MACVLAN_MODE_PASSTHRU, "passthru"},
                                  {MACVLAN_MODE_SOURCE, "source"}};
constexpr Word kTunModes[] = {{1, "tun"}, {2, "tap"}};  // IFF_TUN, IFF_TAP
constexpr Word kVlanProtocols[] = {{0x8100, "802.1Q"}, {0x88a8, "802.1ad"}};
constexpr Word kPortStates[] = {{0, "disabled"}, {1, "listening"}, {2, "learning"}, {3, "forwarding"}, {4, "blocking"}};
constexpr Word kLinkModes[] = {{0, "default"}, {1, "dormant"}};

constexpr AttributePolicy kVxlan[] = {
    {"vni", IFLA_VXLAN_ID, kU32},
    {"group", IFLA_VXLAN_GROUP, kIp4},
    {"group", IFLA_VXLAN_GROUP6, kIp6},
    {"device", IFLA_VXLAN_LINK, kLink},
    {"local", IFLA_VXLAN_LOCAL, kIp4},
    {"local", IFLA_VXLAN_LOCAL6, kIp6},
    {"ttl", IFLA_VXLAN_TTL, kU8},
    {"ttlInherit", IFLA_VXLAN_TTL_INHERIT, kFlag},
    {"tos", IFLA_VXLAN_TOS, kU8},
    {"df", IFLA_VXLAN_DF, kU8, 0, kDf},
    {"label", IFLA_VXLAN_LABEL, kBe32},
    {"labelPolicy", kVxlanLabelPolicy, kU32, 0, kLabelPolicies},
    {"learning", IFLA_VXLAN_LEARNING, kBool},
    {"ageing", IFLA_VXLAN_AGEING, kU32},
    {"limit", IFLA_VXLAN_LIMIT, kU32},
    {"proxy", IFLA_VXLAN_PROXY, kBool},
    {"rsc", IFLA_VXLAN_RSC, kBool},
    {"l2miss", IFLA_VXLAN_L2MISS, kBool},
    {"l3miss", IFLA_VXLAN_L3MISS, kBool},
    {"port", IFLA_VXLAN_PORT, kBe16},
    {"portRange", IFLA_VXLAN_PORT_RANGE, kPortRange},
    {"udpCsum", IFLA_VXLAN_UDP_CSUM, kBool},
    {"udpZeroCsum6Tx", IFLA_VXLAN_UDP_ZERO_CSUM6_TX, kBool},
    {"udpZeroCsum6Rx", IFLA_VXLAN_UDP_ZERO_CSUM6_RX, kBool},
    {"remcsumTx", IFLA_VXLAN_REMCSUM_TX, kBool},
    {"remcsumRx", IFLA_VXLAN_REMCSUM_RX, kBool},
    {"remcsumNopartial", IFLA_VXLAN_REMCSUM_NOPARTIAL, kFlag},
    {"gbp", IFLA_VXLAN_GBP, kFlag},
    {"gpe", IFLA_VXLAN_GPE, kFlag},
    {"collectMetadata", IFLA_VXLAN_COLLECT_METADATA, kBool},
    {"vnifilter", kVxlanVnifilter, kBool},
    {"localbypass", kVxlanLocalbypass, kBool},
    {"reservedBits", kVxlanReservedBits, kBytes},
    {"mcRoute", kVxlanMcRoute, kBool},
};

constexpr AttributePolicy kBridge[] = {
    {"forwardDelay", IFLA_BR_FORWARD_DELAY, kU32},
    {"helloTime", IFLA_BR_HELLO_TIME, kU32},
    {"maxAge", IFLA_BR_MAX_AGE, kU32},
    {"ageingTime", IFLA_BR_AGEING_TIME, kU32},
    {"stpState", IFLA_BR_STP_STATE, kU32},
    {"priority", IFLA_BR_PRIORITY, kU16},
    {"vlanFiltering", IFLA_BR_VLAN_FILTERING, kBool},
    {"vlanProtocol", IFLA_BR_VLAN_PROTOCOL, kBe16, 0, kVlanProtocols},
    {"vlanDefaultPvid", IFLA_BR_VLAN_DEFAULT_PVID, kU16},
    {"vlanStatsEnabled", IFLA_BR_VLAN_STATS_ENABLED, kBool},
    {"vlanStatsPerPort", IFLA_BR_VLAN_STATS_PER_PORT, kBool},
    {"groupFwdMask", IFLA_BR_GROUP_FWD_MASK, kU16},
    {"groupAddress", IFLA_BR_GROUP_ADDR, kMac},
    {"rootId", IFLA_BR_ROOT_ID, kBridgeId, 0, {}, true},
    {"bridgeId", IFLA_BR_BRIDGE_ID, kBridgeId, 0, {}, true},
    {"rootPort", IFLA_BR_ROOT_PORT, kU16, 0, {}, true},
    {"rootPathCost", IFLA_BR_ROOT_PATH_COST, kU32, 0, {}, true},
    {"topologyChange", IFLA_BR_TOPOLOGY_CHANGE, kBool, 0, {}, true},
    {"topologyChangeDetected", IFLA_BR_TOPOLOGY_CHANGE_DETECTED, kBool, 0, {}, true},
    {"helloTimer", IFLA_BR_HELLO_TIMER, kU64, 0, {}, true},
    {"tcnTimer", IFLA_BR_TCN_TIMER, kU64, 0, {}, true},
    {"topologyChangeTimer", IFLA_BR_TOPOLOGY_CHANGE_TIMER, kU64, 0, {}, true},
    {"gcTimer", IFLA_BR_GC_TIMER, kU64, 0, {}, true},
    {"fdbLearned", kBridgeFdbLearned, kU32, 0, {}, true},
    {"fdbMaxLearned", kBridgeFdbMaxLearned, kU32},
    {"noLinklocalLearn", IFLA_BR_MULTI_BOOLOPT, kOption, 1},
    {"mcastVlanSnooping", IFLA_BR_MULTI_BOOLOPT, kOption, 2},
    {"mstEnabled", IFLA_BR_MULTI_BOOLOPT, kOption, 4},
    {"mcastRouter", IFLA_BR_MCAST_ROUTER, kU8},
    {"mcastSnooping", IFLA_BR_MCAST_SNOOPING, kBool},
    {"mcastQueryUseIfaddr", IFLA_BR_MCAST_QUERY_USE_IFADDR, kBool},
    {"mcastQuerier", IFLA_BR_MCAST_QUERIER, kBool},
    {"mcastHashElasticity", IFLA_BR_MCAST_HASH_ELASTICITY, kU32},
    {"mcastHashMax", IFLA_BR_MCAST_HASH_MAX, kU32},
    {"mcastLastMemberCount", IFLA_BR_MCAST_LAST_MEMBER_CNT, kU32},
    {"mcastStartupQueryCount", IFLA_BR_MCAST_STARTUP_QUERY_CNT, kU32},
    {"mcastLastMemberInterval", IFLA_BR_MCAST_LAST_MEMBER_INTVL, kU64},
    {"mcastMembershipInterval", IFLA_BR_MCAST_MEMBERSHIP_INTVL, kU64},
    {"mcastQuerierInterval", IFLA_BR_MCAST_QUERIER_INTVL, kU64},
    {"mcastQueryInterval", IFLA_BR_MCAST_QUERY_INTVL, kU64},
    {"mcastQueryResponseInterval", IFLA_BR_MCAST_QUERY_RESPONSE_INTVL, kU64},
    {"mcastStartupQueryInterval", IFLA_BR_MCAST_STARTUP_QUERY_INTVL, kU64},
    {"mcastStatsEnabled", IFLA_BR_MCAST_STATS_ENABLED, kBool},
    {"mcastIgmpVersion", IFLA_BR_MCAST_IGMP_VERSION, kU8},
    {"mcastMldVersion", IFLA_BR_MCAST_MLD_VERSION, kU8},
    {"nfCallIptables", IFLA_BR_NF_CALL_IPTABLES, kBool},
    {"nfCallIp6tables", IFLA_BR_NF_CALL_IP6TABLES, kBool},
    {"nfCallArptables", IFLA_BR_NF_CALL_ARPTABLES, kBool},
};

constexpr AttributePolicy kMacvlan[] = {
    {"mode", IFLA_MACVLAN_MODE, kU32, 0, kMacvlanModes},
    {"nopromisc", IFLA_MACVLAN_FLAGS, kBit16, MACVLAN_FLAG_NOPROMISC},
    {"nodst", IFLA_MACVLAN_FLAGS, kBit16, MACVLAN_FLAG_NODST},
    {"macCount", IFLA_MACVLAN_MACADDR_COUNT, kU32, 0, {}, true},
    {"bcQueueLength", IFLA_MACVLAN_BC_QUEUE_LEN, kU32},
    {"bcQueueLengthUsed", IFLA_MACVLAN_BC_QUEUE_LEN_USED, kU32, 0, {}, true},
    {"bcCutoff", kMacvlanBcCutoff, kS32},
};

constexpr AttributePolicy kTun[] = {
    // The kernel takes none of these in a message; asked to change one it says so.
    {"owner", IFLA_TUN_OWNER, kU32},
    {"groupId", IFLA_TUN_GROUP, kU32},
    {"mode", IFLA_TUN_TYPE, kU8, 0, kTunModes},
    {"pi", IFLA_TUN_PI, kBool},
    {"vnetHdr", IFLA_TUN_VNET_HDR, kBool},
    {"multiQueue", IFLA_TUN_MULTI_QUEUE, kBool},
    {"persist", IFLA_TUN_PERSIST, kBool, 0, {}, true},
    {"queues", IFLA_TUN_NUM_QUEUES, kU32, 0, {}, true},
    {"disabledQueues", IFLA_TUN_NUM_DISABLED_QUEUES, kU32, 0, {}, true},
};

// VLAN_FLAG_*, include/uapi/linux/if_vlan.h
constexpr AttributePolicy kVlan[] = {
    {"vlanId", IFLA_VLAN_ID, kU16},
    {"vlanProtocol", IFLA_VLAN_PROTOCOL, kBe16, 0, kVlanProtocols},
    {"reorderHdr", IFLA_VLAN_FLAGS, kOption, 0x1},
    {"gvrp", IFLA_VLAN_FLAGS, kOption, 0x2},
    {"looseBinding", IFLA_VLAN_FLAGS, kOption, 0x4},
    {"mvrp", IFLA_VLAN_FLAGS, kOption, 0x8},
    {"bridgeBinding", IFLA_VLAN_FLAGS, kOption, 0x10},
};

constexpr AttributePolicy kVrf[] = {{"table", IFLA_VRF_TABLE, kU32}};

constexpr Word kIpvlanModes[] = {{IPVLAN_MODE_L2, "l2"}, {IPVLAN_MODE_L3, "l3"}, {IPVLAN_MODE_L3S, "l3s"}};
constexpr AttributePolicy kIpvlan[] = {
    {"mode", IFLA_IPVLAN_MODE, kU16, 0, kIpvlanModes},
    {"private", IFLA_IPVLAN_FLAGS, kBit16, IPVLAN_F_PRIVATE},
    {"vepa", IFLA_IPVLAN_FLAGS, kBit16, IPVLAN_F_VEPA},
};

constexpr AttributePolicy kGeneve[] = {
    {"vni", IFLA_GENEVE_ID, kU32},
    {"remote", IFLA_GENEVE_REMOTE, kIp4},
    {"remote", IFLA_GENEVE_REMOTE6, kIp6},
    {"ttl", IFLA_GENEVE_TTL, kU8},
    {"ttlInherit", IFLA_GENEVE_TTL_INHERIT, kBool},
    {"tos", IFLA_GENEVE_TOS, kU8},
    {"df", IFLA_GENEVE_DF, kU8, 0, kDf},
    {"label", IFLA_GENEVE_LABEL, kBe32},
    {"port", IFLA_GENEVE_PORT, kBe16},
    {"collectMetadata", IFLA_GENEVE_COLLECT_METADATA, kFlag},
    {"udpCsum", IFLA_GENEVE_UDP_CSUM, kBool},
    {"udpZeroCsum6Tx", IFLA_GENEVE_UDP_ZERO_CSUM6_TX, kBool},
    {"udpZeroCsum6Rx", IFLA_GENEVE_UDP_ZERO_CSUM6_RX, kBool},
    {"innerProtoInherit", IFLA_GENEVE_INNER_PROTO_INHERIT, kFlag},
};

// BOND_MODE_*, BOND_XMIT_POLICY_*, include/uapi/linux/if_bonding.h, in the words of ip-link(8).
constexpr Word kBondModes[] = {{0, "balance-rr"}, {1, "active-backup"}, {2, "balance-xor"}, {3, "broadcast"},
                               {4, "802.3ad"},    {5, "balance-tlb"},   {6, "balance-alb"}};
constexpr Word kHashPolicies[] = {{0, "layer2"},   {1, "layer3+4"}, {2, "layer2+3"},
                                  {3, "encap2+3"}, {4, "encap3+4"}, {5, "vlan+srcmac"}};
constexpr Word kLacpRates[] = {{0, "slow"}, {1, "fast"}};
constexpr AttributePolicy kBond[] = {
    {"mode", IFLA_BOND_MODE, kU8, 0, kBondModes},
    {"activeSlave", IFLA_BOND_ACTIVE_SLAVE, kLink},
    {"miimon", IFLA_BOND_MIIMON, kU32},
    {"updelay", IFLA_BOND_UPDELAY, kU32},
    {"downdelay", IFLA_BOND_DOWNDELAY, kU32},
    {"useCarrier", IFLA_BOND_USE_CARRIER, kBool},
    {"arpInterval", IFLA_BOND_ARP_INTERVAL, kU32},
    {"primary", IFLA_BOND_PRIMARY, kLink},
    {"xmitHashPolicy", IFLA_BOND_XMIT_HASH_POLICY, kU8, 0, kHashPolicies},
    {"minLinks", IFLA_BOND_MIN_LINKS, kU32},
    {"lacpRate", IFLA_BOND_AD_LACP_RATE, kU8, 0, kLacpRates},
};

// TUNNEL_ENCAP_*, include/uapi/linux/if_tunnel.h
constexpr Word kEncapsulations[] = {{0, "none"}, {1, "fou"}, {2, "gue"}, {3, "mpls"}};
// GRE_CSUM, GRE_KEY and GRE_SEQ as numbers of this machine.
constexpr std::uint32_t kGreCsum = 0x8000;
constexpr std::uint32_t kGreKey = 0x2000;
constexpr std::uint32_t kGreSeq = 0x1000;
constexpr AttributePolicy kGre[] = {
    {"device", IFLA_GRE_LINK, kLink},
    {"inputCsum", IFLA_GRE_IFLAGS, kBitBe16, kGreCsum},
    {"inputKeyed", IFLA_GRE_IFLAGS, kBitBe16, kGreKey},
    {"inputSeq", IFLA_GRE_IFLAGS, kBitBe16, kGreSeq},
    {"outputCsum", IFLA_GRE_OFLAGS, kBitBe16, kGreCsum},
    {"outputKeyed", IFLA_GRE_OFLAGS, kBitBe16, kGreKey},
    {"outputSeq", IFLA_GRE_OFLAGS, kBitBe16, kGreSeq},
    {"inputKey", IFLA_GRE_IKEY, kBe32},
    {"outputKey", IFLA_GRE_OKEY, kBe32},
    {"local", IFLA_GRE_LOCAL, kIp4},
    {"local", IFLA_GRE_LOCAL, kIp6},
    {"remote", IFLA_GRE_REMOTE, kIp4},
    {"remote", IFLA_GRE_REMOTE, kIp6},
    {"ttl", IFLA_GRE_TTL, kU8},
    {"tos", IFLA_GRE_TOS, kU8},
    {"pmtuDiscovery", IFLA_GRE_PMTUDISC, kBool},
    {"ignoreDf", IFLA_GRE_IGNORE_DF, kBool},
    {"encapLimit", IFLA_GRE_ENCAP_LIMIT, kU8},
    {"flowInfo", IFLA_GRE_FLOWINFO, kBe32},
    {"tunnelFlags", IFLA_GRE_FLAGS, kU32},
    {"encap", IFLA_GRE_ENCAP_TYPE, kU16, 0, kEncapsulations},
    {"encapFlags", IFLA_GRE_ENCAP_FLAGS, kU16},
    {"encapSourcePort", IFLA_GRE_ENCAP_SPORT, kBe16},
    {"encapPort", IFLA_GRE_ENCAP_DPORT, kBe16},
    {"collectMetadata", IFLA_GRE_COLLECT_METADATA, kFlag},
    {"mark", IFLA_GRE_FWMARK, kU32},
    {"erspanVersion", IFLA_GRE_ERSPAN_VER, kU8},
};

// Flags of ipip and sit, which have 16 bits.
constexpr AttributePolicy kIpTunnel[] = {
    {"device", IFLA_IPTUN_LINK, kLink},
    {"local", IFLA_IPTUN_LOCAL, kIp4},
    {"remote", IFLA_IPTUN_REMOTE, kIp4},
    {"ttl", IFLA_IPTUN_TTL, kU8},
    {"tos", IFLA_IPTUN_TOS, kU8},
    {"pmtuDiscovery", IFLA_IPTUN_PMTUDISC, kBool},
    {"tunnelFlags", IFLA_IPTUN_FLAGS, kU16},
    {"ipProtocol", IFLA_IPTUN_PROTO, kU8},
    {"encap", IFLA_IPTUN_ENCAP_TYPE, kU16, 0, kEncapsulations},
    {"encapFlags", IFLA_IPTUN_ENCAP_FLAGS, kU16},
    {"encapSourcePort", IFLA_IPTUN_ENCAP_SPORT, kBe16},
    {"encapPort", IFLA_IPTUN_ENCAP_DPORT, kBe16},
    {"collectMetadata", IFLA_IPTUN_COLLECT_METADATA, kFlag},
    {"mark", IFLA_IPTUN_FWMARK, kU32},
    {"sixrdPrefix", IFLA_IPTUN_6RD_PREFIX, kIp6},
    {"sixrdPrefixLength", IFLA_IPTUN_6RD_PREFIXLEN, kU16},
    {"sixrdRelayPrefix", IFLA_IPTUN_6RD_RELAY_PREFIX, kIp4},
    {"sixrdRelayPrefixLength", IFLA_IPTUN_6RD_RELAY_PREFIXLEN, kU16},
};

constexpr AttributePolicy kIp6Tunnel[] = {
    {"device", IFLA_IPTUN_LINK, kLink},
    {"local", IFLA_IPTUN_LOCAL, kIp6},
    {"remote", IFLA_IPTUN_REMOTE, kIp6},
    {"ttl", IFLA_IPTUN_TTL, kU8},
    {"encapLimit", IFLA_IPTUN_ENCAP_LIMIT, kU8},
    {"flowInfo", IFLA_IPTUN_FLOWINFO, kBe32},
    {"tunnelFlags", IFLA_IPTUN_FLAGS, kU32},
    {"ipProtocol", IFLA_IPTUN_PROTO, kU8},
    {"encap", IFLA_IPTUN_ENCAP_TYPE, kU16, 0, kEncapsulations},
    {"encapFlags", IFLA_IPTUN_ENCAP_FLAGS, kU16},
    {"encapSourcePort", IFLA_IPTUN_ENCAP_SPORT, kBe16},
    {"encapPort", IFLA_IPTUN_ENCAP_DPORT, kBe16},
    {"collectMetadata", IFLA_IPTUN_COLLECT_METADATA, kFlag},
    {"mark", IFLA_IPTUN_FWMARK, kU32},
};

constexpr Word kHsrProtocols[] = {{0, "hsr"}, {1, "prp"}};
constexpr std::uint16_t kHsrInterlink = 8;
constexpr AttributePolicy kHsr[] = {
    {"slave1", IFLA_HSR_SLAVE1, kLink},
    {"slave2", IFLA_HSR_SLAVE2, kLink},
    {"interlink", kHsrInterlink, kLink},
    {"multicastSpec", IFLA_HSR_MULTICAST_SPEC, kU8},
    {"version", IFLA_HSR_VERSION, kU8},
    {"protocol", IFLA_HSR_PROTOCOL, kU8, 0, kHsrProtocols},
    {"supervisionAddress", IFLA_HSR_SUPERVISION_ADDR, kMac, 0, {}, true},
    {"sequence", IFLA_HSR_SEQ_NR, kU16, 0, {}, true},
};

// IFLA_NETKIT_*, which bookworm's headers lack; the first is the other end.
constexpr Word kNetkitModes[] = {{0, "l2"}, {1, "l3"}};
constexpr Word kNetkitPolicies[] = {{0, "forward"}, {2, "blackhole"}};
constexpr Word kNetkitScrubs[] = {{0, "none"}, {1, "default"}};
constexpr AttributePolicy kNetkit[] = {
    {"primaryEnd", 2, kBool, 0, {}, true},
    {"policy", 3, kU32, 0, kNetkitPolicies},
    {"peerPolicy", 4, kU32, 0, kNetkitPolicies},
    {"mode", 5, kU32, 0, kNetkitModes},
    {"scrub", 6, kU32, 0, kNetkitScrubs},
    {"peerScrub", 7, kU32, 0, kNetkitScrubs},
    {"headroom", 8, kU16},
    {"tailroom", 9, kU16},
};

constexpr AttributePolicy kBridgePort[] = {
    {"state", IFLA_BRPORT_STATE, kU8, 0, kPortStates},
    {"priority", IFLA_BRPORT_PRIORITY, kU16},
    {"cost", IFLA_BRPORT_COST, kU32},
    {"hairpin", IFLA_BRPORT_MODE, kBool},
    {"guard", IFLA_BRPORT_GUARD, kBool},
    {"rootBlock", IFLA_BRPORT_PROTECT, kBool},
    {"fastLeave", IFLA_BRPORT_FAST_LEAVE, kBool},
    {"learning", IFLA_BRPORT_LEARNING, kBool},
    {"learningSync", IFLA_BRPORT_LEARNING_SYNC, kBool},
    {"flood", IFLA_BRPORT_UNICAST_FLOOD, kBool},
    {"mcastFlood", IFLA_BRPORT_MCAST_FLOOD, kBool},
    {"bcastFlood", IFLA_BRPORT_BCAST_FLOOD, kBool},
    {"mcastToUnicast", IFLA_BRPORT_MCAST_TO_UCAST, kBool},
    {"mcastRouter", IFLA_BRPORT_MULTICAST_ROUTER, kU8},
    {"proxyArp", IFLA_BRPORT_PROXYARP, kBool},
    {"proxyArpWifi", IFLA_BRPORT_PROXYARP_WIFI, kBool},
    {"neighSuppress", IFLA_BRPORT_NEIGH_SUPPRESS, kBool},
    {"neighVlanSuppress", kPortNeighVlanSuppress, kBool},
    {"groupFwdMask", IFLA_BRPORT_GROUP_FWD_MASK, kU16},
    {"vlanTunnel", IFLA_BRPORT_VLAN_TUNNEL, kBool},
    {"isolated", IFLA_BRPORT_ISOLATED, kBool},
    {"locked", kPortLocked, kBool},
    {"mab", kPortMab, kBool},
    {"backupPort", IFLA_BRPORT_BACKUP_PORT, kLink},
    {"backupNexthop", kPortBackupNexthop, kU32},
    {"mcastEhtHostsLimit", IFLA_BRPORT_MCAST_EHT_HOSTS_LIMIT, kU32},
    {"mcastEhtHosts", IFLA_BRPORT_MCAST_EHT_HOSTS_CNT, kU32, 0, {}, true},
    {"mcastMaxGroups", kPortMcastMaxGroups, kU32},
    {"mcastGroups", kPortMcastGroups, kU32, 0, {}, true},
    {"mrpRingOpen", IFLA_BRPORT_MRP_RING_OPEN, kBool, 0, {}, true},
    {"mrpInOpen", IFLA_BRPORT_MRP_IN_OPEN, kBool, 0, {}, true},
    {"rootId", IFLA_BRPORT_ROOT_ID, kBridgeId, 0, {}, true},
    {"bridgeId", IFLA_BRPORT_BRIDGE_ID, kBridgeId, 0, {}, true},
    {"designatedPort", IFLA_BRPORT_DESIGNATED_PORT, kU16, 0, {}, true},
    {"designatedCost", IFLA_BRPORT_DESIGNATED_COST, kU16, 0, {}, true},
    {"id", IFLA_BRPORT_ID, kU16, 0, {}, true},
    {"number", IFLA_BRPORT_NO, kU16, 0, {}, true},
    {"topologyChangeAck", IFLA_BRPORT_TOPOLOGY_CHANGE_ACK, kBool, 0, {}, true},
    {"configPending", IFLA_BRPORT_CONFIG_PENDING, kBool, 0, {}, true},
    {"messageAgeTimer", IFLA_BRPORT_MESSAGE_AGE_TIMER, kU64, 0, {}, true},
    {"forwardDelayTimer", IFLA_BRPORT_FORWARD_DELAY_TIMER, kU64, 0, {}, true},
    {"holdTimer", IFLA_BRPORT_HOLD_TIMER, kU64, 0, {}, true},
};

constexpr AttributePolicy kAnyLink[] = {
    {"broadcast", IFLA_BROADCAST, kMac},
    {"txQueueLength", IFLA_TXQLEN, kU32},
    {"linkGroup", IFLA_GROUP, kU32},
    {"linkMode", IFLA_LINKMODE, kU8, 0, kLinkModes},
    {"protoDown", IFLA_PROTO_DOWN, kBool},
    {"carrier", IFLA_CARRIER, kBool},
    {"numTxQueues", IFLA_NUM_TX_QUEUES, kU32},
    {"numRxQueues", IFLA_NUM_RX_QUEUES, kU32},
    {"gsoMaxSize", IFLA_GSO_MAX_SIZE, kU32},
    {"gsoMaxSegs", IFLA_GSO_MAX_SEGS, kU32},
    {"gsoIpv4MaxSize", kGsoIpv4MaxSize, kU32},
    {"groMaxSize", IFLA_GRO_MAX_SIZE, kU32},
    {"groIpv4MaxSize", kGroIpv4MaxSize, kU32},
    {"tsoMaxSize", IFLA_TSO_MAX_SIZE, kU32, 0, {}, true},
    {"tsoMaxSegs", IFLA_TSO_MAX_SEGS, kU32, 0, {}, true},
    {"minMtu", IFLA_MIN_MTU, kU32, 0, {}, true},
    {"maxMtu", IFLA_MAX_MTU, kU32, 0, {}, true},
    {"qdisc", IFLA_QDISC, kText, 0, {}, true},
    {"promiscuity", IFLA_PROMISCUITY, kU32, 0, {}, true},
    {"allmulti", IFLA_ALLMULTI, kU32, 0, {}, true},
    {"carrierChanges", IFLA_CARRIER_CHANGES, kU32, 0, {}, true},
    {"carrierUpCount", IFLA_CARRIER_UP_COUNT, kU32, 0, {}, true},
    {"carrierDownCount", IFLA_CARRIER_DOWN_COUNT, kU32, 0, {}, true},
    {"permanentMac", IFLA_PERM_ADDRESS, kMac, 0, {}, true},
    {"physicalPort", IFLA_PHYS_PORT_NAME, kText, 0, {}, true},
    {"parentDevice", IFLA_PARENT_DEV_NAME, kText, 0, {}, true},
    {"parentBus", IFLA_PARENT_DEV_BUS_NAME, kText, 0, {}, true},
    {"newNetnsid", IFLA_NEW_NETNSID, kS32, 0, {}, true},
    {"newIndex", IFLA_NEW_IFINDEX, kS32, 0, {}, true},
    {"virtualFunctions", IFLA_NUM_VF, kU32, 0, {}, true},
    {"maxPacingOffloadHorizon", kMaxPacingOffloadHorizon, kU32, 0, {}, true},
    {"netnsImmutable", kNetnsImmutable, kBool, 0, {}, true},
    {"headroom", kHeadroom, kU16, 0, {}, true},
    {"tailroom", kTailroom, kU16, 0, {}, true},
};

}  // namespace

std::span<const AttributePolicy> link_policies() { return kAnyLink; }
std::span<const AttributePolicy> bridge_port_policies() { return kBridgePort; }

std::span<const AttributePolicy> info_policies(std::string_view kind) {
  if (kind == "vxlan") return kVxlan;
  if (kind == "bridge") return kBridge;
  if (kind == "macvlan" || kind == "macvtap") return kMacvlan;
  if (kind == "tun") return kTun;
  if (kind == "vlan") return kVlan;
  if (kind == "vrf") return kVrf;
  if (kind == "ipvlan" || kind == "ipvtap") return kIpvlan;
  if (kind == "geneve") return kGeneve;
  if (kind == "bond") return kBond;
  if (kind == "gre" || kind == "gretap" || kind == "ip6gre" || kind == "ip6gretap") return kGre;
  if (kind == "ipip" || kind == "sit") return kIpTunnel;
  if (kind == "ip6tnl") return kIp6Tunnel;
  if (kind == "hsr") return kHsr;
  if (kind == "netkit") return kNetkit;
  return {};
}

}  // namespace overns
