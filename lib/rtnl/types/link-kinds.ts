/** Settings and state of each kind of link: include/uapi/linux/if_link.h. */
import type { NumberRange } from './common.js';

/**
 * A vxlan device (IFLA_VXLAN_*; RFC 7348). All of the running kernel's.
 * @example
 * ```ts
 * import type { VxlanSettings } from 'overns';
 *
 * const settings: Partial<VxlanSettings> = {
 *   vni: 42, local: '10.0.0.10', port: 4789, proxy: true, l2miss: true, l3miss: true,
 * };
 * console.log(settings.vni); // 42
 * ```
 */
export interface VxlanSettings {
  /** 1 to 2^24-1. Taken at creation only. */
  readonly vni: number;
  /** Multicast group, or the default remote VTEP. */
  readonly group: string;
  /** Address that packets are sent from. */
  readonly local: string;
  /** The underlay device; listed as its index, taken as index or name. */
  readonly device: number | string;
  /** 0: the route's. 0 to 255. */
  readonly ttl: number;
  /** The inner packet's. Can be switched on, not off (Linux 6.18). */
  readonly ttlInherit: boolean;
  /** 0 to 255; 1: the inner packet's. */
  readonly tos: number;
  /** The outer IPv4 header's "don't fragment". */
  readonly df: 'unset' | 'set' | 'inherit';
  /** IPv6 flow label, 0 to 2^20-1. */
  readonly label: number;
  /** Since Linux 6.7. */
  readonly labelPolicy: 'fixed' | 'inherit';
  readonly learning: boolean;
  /** Seconds that a learned entry lasts. */
  readonly ageing: number;
  /** Most FDB entries; 0: no limit. */
  readonly limit: number;
  /** Answer ARP and neighbour discovery from the neighbour table. */
  readonly proxy: boolean;
  /** Route short circuit. */
  readonly rsc: boolean;
  /** Notify of MACs without an FDB entry. */
  readonly l2miss: boolean;
  /** Notify of IPs without a neighbour. */
  readonly l3miss: boolean;
  /** UDP destination port, 1 to 65535. */
  readonly port: number;
  /** UDP source ports; 0 to 0: the machine's range. */
  readonly portRange: NumberRange;
  readonly udpCsum: boolean;
  readonly udpZeroCsum6Tx: boolean;
  readonly udpZeroCsum6Rx: boolean;
  readonly remcsumTx: boolean;
  readonly remcsumRx: boolean;
  /** Can be switched on only, as gbp and gpe. */
  readonly remcsumNopartial: boolean;
  /** Group policy extension. */
  readonly gbp: boolean;
  /** Generic protocol extension. */
  readonly gpe: boolean;
  /** Tunnel metadata comes with each packet; the vni is none of the device's. */
  readonly collectMetadata: boolean;
  /** Only with collectMetadata. Since Linux 5.18. */
  readonly vnifilter: boolean;
  /** Hand packets for this host over without the UDP socket. Since Linux 6.4. */
  readonly localbypass: boolean;
  /** Bits of the 8-byte VXLAN header that may be set in what is received. Since Linux 6.14. */
  readonly reservedBits: Uint8Array;
  /** Since Linux 6.17, which takes it and does not tell it (6.18). */
  readonly mcRoute: boolean;
}

/**
 * A bridge (IFLA_BR_*). Times in hundredths of a second, as the kernel has them.
 * @example
 * ```ts
 * import type { BridgeSettings } from 'overns';
 *
 * const settings: Partial<BridgeSettings> = { mcastSnooping: false, ageingTime: 300 * 100 }; // 300 s
 * console.log(settings.ageingTime); // 30000
 * ```
 */
export interface BridgeSettings {
  readonly forwardDelay: number;
  readonly helloTime: number;
  readonly maxAge: number;
  readonly ageingTime: number;
  /** 0: off, 1: the kernel's, 2: a daemon's. */
  readonly stpState: number;
  readonly priority: number;
  readonly vlanFiltering: boolean;
  readonly vlanProtocol: '802.1Q' | '802.1ad' | number;
  readonly vlanDefaultPvid: number;
  readonly vlanStatsEnabled: boolean;
  readonly vlanStatsPerPort: boolean;
  readonly groupFwdMask: number;
  readonly groupAddress: string;
  /** Most learned entries; 0: no limit. Since Linux 6.8. */
  readonly fdbMaxLearned: number;
  readonly noLinklocalLearn: boolean;
  readonly mcastVlanSnooping: boolean;
  readonly mstEnabled: boolean;
  /** 0: never, 1: when one is heard, 2: always. */
  readonly mcastRouter: number;
  readonly mcastSnooping: boolean;
  readonly mcastQueryUseIfaddr: boolean;
  readonly mcastQuerier: boolean;
  readonly mcastHashElasticity: number;
  readonly mcastHashMax: number;
  readonly mcastLastMemberCount: number;
  readonly mcastStartupQueryCount: number;
  readonly mcastLastMemberInterval: number;
  readonly mcastMembershipInterval: number;
  readonly mcastQuerierInterval: number;
  readonly mcastQueryInterval: number;
  readonly mcastQueryResponseInterval: number;
  readonly mcastStartupQueryInterval: number;
  readonly mcastStatsEnabled: boolean;
  readonly mcastIgmpVersion: number;
  readonly mcastMldVersion: number;
  readonly nfCallIptables: boolean;
  readonly nfCallIp6tables: boolean;
  readonly nfCallArptables: boolean;
}

/**
 * State of a bridge, which the kernel tells and takes from nobody.
 * @example
 * ```ts
 * import type { BridgeState } from 'overns';
 *
 * const isRoot = ({ rootId, bridgeId }: BridgeState): boolean => rootId === bridgeId;
 * console.log(isRoot.name); // isRoot
 * ```
 */
export interface BridgeState {
  /** Priority in hexadecimal, a dot, the MAC. */
  readonly rootId: string;
  readonly bridgeId: string;
  readonly rootPort: number;
  readonly rootPathCost: number;
  readonly topologyChange: boolean;
  readonly topologyChangeDetected: boolean;
  readonly helloTimer: number;
  readonly tcnTimer: number;
  readonly topologyChangeTimer: number;
  readonly gcTimer: number;
  /** How many entries are learned now. */
  readonly fdbLearned: number;
}

/**
 * A port of a bridge (IFLA_BRPORT_*).
 * @example
 * ```ts
 * import type { BridgePortSettings } from 'overns';
 *
 * const quiet: Partial<BridgePortSettings> = { learning: false, flood: false, mcastFlood: false };
 * console.log(Object.keys(quiet).length); // 3
 * ```
 */
export interface BridgePortSettings {
  readonly state: 'disabled' | 'listening' | 'learning' | 'forwarding' | 'blocking';
  /** 0 to 63. */
  readonly priority: number;
  readonly cost: number;
  readonly hairpin: boolean;
  readonly guard: boolean;
  readonly rootBlock: boolean;
  readonly fastLeave: boolean;
  readonly learning: boolean;
  readonly learningSync: boolean;
  /** Flood packets to unknown MACs here. */
  readonly flood: boolean;
  readonly mcastFlood: boolean;
  readonly bcastFlood: boolean;
  readonly mcastToUnicast: boolean;
  readonly mcastRouter: number;
  readonly proxyArp: boolean;
  readonly proxyArpWifi: boolean;
  readonly neighSuppress: boolean;
  readonly neighVlanSuppress: boolean;
  readonly groupFwdMask: number;
  readonly vlanTunnel: boolean;
  readonly isolated: boolean;
  readonly locked: boolean;
  readonly mab: boolean;
  /** Listed as index, taken as index or name. */
  readonly backupPort: number | string;
  readonly backupNexthop: number;
  readonly mcastEhtHostsLimit: number;
  readonly mcastMaxGroups: number;
}

/**
 * A port of a bridge as it is listed.
 * @example
 * ```ts
 * import type { BridgePort } from 'overns';
 *
 * const port: BridgePort = { number: 1, state: 'forwarding', hairpin: false };
 * console.log(port.state); // forwarding
 * ```
 */
export interface BridgePort extends Partial<BridgePortSettings> {
  readonly mcastEhtHosts?: number;
  readonly mcastGroups?: number;
  readonly mrpRingOpen?: boolean;
  readonly mrpInOpen?: boolean;
  readonly rootId?: string;
  readonly bridgeId?: string;
  readonly designatedPort?: number;
  readonly designatedCost?: number;
  readonly id?: number;
  readonly number?: number;
  readonly topologyChangeAck?: boolean;
  readonly configPending?: boolean;
  readonly messageAgeTimer?: number;
  readonly forwardDelayTimer?: number;
  readonly holdTimer?: number;
}

/**
 * A macvlan (IFLA_MACVLAN_*).
 * @example
 * ```ts
 * import type { MacvlanSettings } from 'overns';
 *
 * const settings: Partial<MacvlanSettings> = { mode: 'bridge' };
 * console.log(settings.mode); // bridge
 * ```
 */
export interface MacvlanSettings {
  readonly mode: 'private' | 'vepa' | 'bridge' | 'passthru' | 'source';
  readonly nopromisc: boolean;
  readonly nodst: boolean;
  readonly bcQueueLength: number;
  readonly bcCutoff: number;
}

/**
 * A vlan device (IFLA_VLAN_*).
 * @example
 * ```ts
 * import type { VlanSettings } from 'overns';
 *
 * const settings: Partial<VlanSettings> = { vlanId: 100, vlanProtocol: '802.1Q' };
 * console.log(settings.vlanId); // 100
 * ```
 */
export interface VlanSettings {
  /** 1 to 4094. */
  readonly vlanId: number;
  readonly vlanProtocol: '802.1Q' | '802.1ad' | number;
  readonly reorderHdr: boolean;
  readonly gvrp: boolean;
  readonly looseBinding: boolean;
  readonly mvrp: boolean;
  readonly bridgeBinding: boolean;
}

/**
 * A VRF (IFLA_VRF_*, drivers/net/vrf.c).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const vrf: LinkSpec = { kind: 'vrf', name: 'blue', table: 42 };
 * console.log(vrf.kind); // vrf
 * ```
 */
export interface VrfSettings {
  /** The table that its ports look in, 1 to 2^32-1. Taken at creation only. */
  readonly table: number;
}

/**
 * An ipvlan or ipvtap (IFLA_IPVLAN_*, drivers/net/ipvlan).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const ipvlan: LinkSpec = { kind: 'ipvlan', name: 'ipvl0', link: 'eth0', mode: 'l3s' };
 * console.log(ipvlan.kind); // ipvlan
 * ```
 */
export interface IpvlanSettings {
  readonly mode: 'l2' | 'l3' | 'l3s';
  /** Its siblings cannot reach it. */
  readonly private: boolean;
  /** Traffic between siblings goes through the switch. */
  readonly vepa: boolean;
}

/**
 * A geneve device (IFLA_GENEVE_*; RFC 8926).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const geneve: LinkSpec = { kind: 'geneve', name: 'gnv0', vni: 42, remote: '10.0.0.11' };
 * console.log(geneve.kind); // geneve
 * ```
 */
export interface GeneveSettings
  extends Pick<
    VxlanSettings,
    | 'vni'
    | 'ttl'
    | 'ttlInherit'
    | 'tos'
    | 'df'
    | 'label'
    | 'port'
    | 'collectMetadata'
    | 'udpCsum'
    | 'udpZeroCsum6Tx'
    | 'udpZeroCsum6Rx'
  > {
  /** The other end. */
  readonly remote: string;
  /** Packets without an Ethernet header. */
  readonly innerProtoInherit: boolean;
}

/**
 * A bond (IFLA_BOND_*, drivers/net/bonding); times in milliseconds. Ports join it with `master`, while they are down.
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const bond: LinkSpec = { kind: 'bond', name: 'bond0', mode: '802.3ad', miimon: 100, lacpRate: 'fast' };
 * console.log(bond.kind); // bond
 * ```
 */
export interface BondSettings {
  readonly mode:
    | 'balance-rr'
    | 'active-backup'
    | 'balance-xor'
    | 'broadcast'
    | '802.3ad'
    | 'balance-tlb'
    | 'balance-alb';
  /** Listed as index, taken as index or name. */
  readonly activeSlave: number | string;
  readonly primary: number | string;
  readonly miimon: number;
  readonly updelay: number;
  readonly downdelay: number;
  readonly useCarrier: boolean;
  readonly arpInterval: number;
  readonly xmitHashPolicy: 'layer2' | 'layer3+4' | 'layer2+3' | 'encap2+3' | 'encap3+4' | 'vlan+srcmac';
  readonly minLinks: number;
  readonly lacpRate: 'slow' | 'fast';
}

/**
 * Fields that the kinds of IP tunnels have in common (include/uapi/linux/if_tunnel.h). The kernel puts back to its default whatever
 * a change leaves out; `links.set()` and `replace()` send along what the tunnel has.
 * @example
 * ```ts
 * import type { TunnelSettings } from 'overns';
 *
 * const between: Partial<TunnelSettings> = { local: '10.0.0.10', remote: '10.0.0.11', ttl: 64 };
 * console.log(between.remote); // 10.0.0.11
 * ```
 */
export interface TunnelSettings {
  /** The device that packets leave through; listed as its index, taken as index or name. */
  readonly device: number | string;
  /** Listed as `0.0.0.0` or `::` where there is none. */
  readonly local: string;
  readonly remote: string;
  /** 0: the inner packet's. 0 to 255. */
  readonly ttl: number;
  /** Tunnel metadata comes with each packet. Taken at creation only. */
  readonly collectMetadata: boolean;
  /** The mark of the packets that leave. */
  readonly mark: number;
  /** A UDP header around it (foo over UDP, generic UDP encapsulation). */
  readonly encap: 'none' | 'fou' | 'gue' | 'mpls';
  /** TUNNEL_ENCAP_FLAG_*, as bits: 1 = a checksum, 2 = one over IPv6, 4 = remote checksum offload. */
  readonly encapFlags: number;
  /** UDP; 0: chosen by flow. */
  readonly encapSourcePort: number;
  readonly encapPort: number;
  /** As bits: IP6_TNL_F_*, of sit ISATAP. */
  readonly tunnelFlags: number;
}

/**
 * A GRE tunnel of any kind: `gre` and `ip6gre` carry IP, `gretap` and `ip6gretap` Ethernet (IFLA_GRE_*; RFC 2784, 2890).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const tap: LinkSpec = { kind: 'gretap', name: 'gre1', local: '10.0.0.10', remote: '10.0.0.11', inputKey: 7, outputKey: 7 };
 * console.log(tap.kind); // gretap
 * ```
 */
export interface GreSettings extends TunnelSettings {
  /** 0 to 2^32-1. Given, it counts; `inputKeyed: false` switches it off. */
  readonly inputKey: number;
  readonly inputKeyed: boolean;
  readonly inputCsum: boolean;
  readonly inputSeq: boolean;
  readonly outputKey: number;
  readonly outputKeyed: boolean;
  readonly outputCsum: boolean;
  readonly outputSeq: boolean;
  /** IPv4: 0 to 255; 1: the inner packet's. */
  readonly tos: number;
  /** IPv4. Default true. */
  readonly pmtuDiscovery: boolean;
  /** IPv4: fragments whatever the inner packet says; without pmtuDiscovery. */
  readonly ignoreDf: boolean;
  /** IPv6: how many tunnels deep, 0 to 255. */
  readonly encapLimit: number;
  /** IPv6: traffic class and flow label, 28 bits. */
  readonly flowInfo: number;
  /** A field of the erspan kinds, and listed with ip6gre ones. */
  readonly erspanVersion: number;
}

/**
 * An IPv4 tunnel of IPv4 (`ipip`) or IPv6 (`sit`) (IFLA_IPTUN_*; RFC 2003, 4213).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const sit: LinkSpec = { kind: 'sit', name: 'sit1', local: '10.0.0.10', remote: '10.0.0.11', ttl: 64 };
 * console.log(sit.kind); // sit
 * ```
 */
export interface IpTunnelSettings extends TunnelSettings {
  readonly tos: number;
  readonly pmtuDiscovery: boolean;
  /** IPPROTO_* of what it carries: 4 = IPv4, 41 = IPv6, 137 = MPLS, 0 = any. */
  readonly ipProtocol: number;
  /** sit: the prefix of IPv6 rapid deployment (RFC 5969), and that of the relays. */
  readonly sixrdPrefix: string;
  readonly sixrdPrefixLength: number;
  readonly sixrdRelayPrefix: string;
  readonly sixrdRelayPrefixLength: number;
}

/**
 * An IPv6 tunnel (IFLA_IPTUN_*; RFC 2473).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const tunnel: LinkSpec = { kind: 'ip6tnl', name: 'ip6t1', local: 'fd00::10', remote: 'fd00::11', ipProtocol: 41 };
 * console.log(tunnel.kind); // ip6tnl
 * ```
 */
export interface Ip6TunnelSettings extends TunnelSettings {
  readonly ipProtocol: number;
  /** How many tunnels deep, 0 to 255. */
  readonly encapLimit: number;
  /** Traffic class and flow label, 28 bits. */
  readonly flowInfo: number;
}

/**
 * A ring or two parallel networks without loss (IFLA_HSR_*; IEC 62439-3).
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const ring: LinkSpec = { kind: 'hsr', name: 'hsr0', slave1: 'eth0', slave2: 'eth1', version: 1 };
 * console.log(ring.kind); // hsr
 * ```
 */
export interface HsrSettings {
  /** Listed as index, taken as index or name. All of it is taken at creation only. */
  readonly slave1: number | string;
  readonly slave2: number | string;
  /** Since Linux 6.10. */
  readonly interlink: number | string;
  /** The last byte of the supervision frames' group address. This and `version` are not listed. */
  readonly multicastSpec: number;
  /** 0: of 2010, 1: of 2012. */
  readonly version: number;
  /** Default `hsr`. */
  readonly protocol: 'hsr' | 'prp';
}

/**
 * State of an HSR device, which the kernel tells and takes from nobody.
 * @example
 * ```ts
 * import type { HsrState } from 'overns';
 *
 * const isUnused = ({ sequence }: HsrState): boolean => sequence === 0;
 * console.log(isUnused({ supervisionAddress: '01:15:4e:00:01:00', sequence: 0 })); // true
 * ```
 */
export interface HsrState {
  readonly supervisionAddress: string;
  /** Number of the last frame sent, 16 bits. */
  readonly sequence: number;
}

/**
 * A pair of devices that run eBPF programs (IFLA_NETKIT_*, drivers/net/netkit.c). Since Linux 6.7.
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const pair: LinkSpec = { kind: 'netkit', name: 'nk0', mode: 'l3', policy: 'blackhole', peer: { name: 'nk1' } };
 * console.log(pair.kind); // netkit
 * ```
 */
export interface NetkitSettings {
  /** Default `l3`. Taken at creation only. */
  readonly mode: 'l2' | 'l3';
  /** Fate of packets where no program is. Default `forward`. */
  readonly policy: 'forward' | 'blackhole';
  readonly peerPolicy: 'forward' | 'blackhole';
  /** `none`: marks and priorities of packets cross. Since Linux 6.13. */
  readonly scrub: 'none' | 'default';
  readonly peerScrub: 'none' | 'default';
}

/**
 * A tun or tap device, made as `kind: 'tun'` (TUNSETIFF, Documentation/networking/tuntap.rst). It stays when nobody has it
 * open (IFF_PERSIST): programs open /dev/net/tun in its namespace and take its name. Nothing of these can be changed.
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const tap: LinkSpec = { kind: 'tun', name: 'tap0', mode: 'tap', multiQueue: true, up: true };
 * console.log(tap.kind); // tun
 * ```
 */
export interface TunSettings {
  /** IP packets or Ethernet frames. */
  readonly mode: 'tun' | 'tap';
  /** The user that may open it: uid. Default: CAP_NET_ADMIN alone. */
  readonly owner: number;
  /** The group that may: gid. */
  readonly groupId: number;
  /** Four bytes of flags and protocol in front of packets. Default false. */
  readonly pi: boolean;
  /** A virtio_net_hdr in front of packets. */
  readonly vnetHdr: boolean;
  /** May be opened several times. */
  readonly multiQueue: boolean;
}

/**
 * State of a tun or tap device (IFLA_TUN_*), which the kernel tells and takes from nobody.
 * @example
 * ```ts
 * import type { TunState } from 'overns';
 *
 * const isOpen = ({ queues }: Partial<TunState>): boolean => (queues ?? 0) > 0;
 * console.log(isOpen({ queues: 1 })); // true
 * ```
 */
export interface TunState {
  readonly persist: boolean;
  /** How many have it open; of multiQueue ones only. */
  readonly queues: number;
  readonly disabledQueues: number;
}
