/**
 * What Rtnl lists and takes, under the kernel's own terms. A field that the kernel does not tell is absent. Sources:
 * include/uapi/linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h, nexthop.h.
 */
import type { NetnsRef } from '../netns/references.js';

/**
 * An attribute that this version does not know, as the kernel sent it.
 * @example
 * ```ts
 * import type { UnknownAttribute } from 'overns';
 *
 * const attribute: UnknownAttribute = { type: 77, within: 'info', bytes: Uint8Array.of(1, 0, 0, 0) };
 * console.log(new DataView(attribute.bytes.buffer).getUint32(0, true)); // 1
 * ```
 */
export interface UnknownAttribute {
  /** Its number, of the message's own attributes or of those in the nest that `within` names. */
  readonly type: number;
  /**
   * `info`: of the link's kind (IFLA_INFO_DATA); `slaveInfo`: of its master's kind; `linkinfo`; `properties`
   * (IFLA_PROP_LIST); `family`: a family's own part, `type` being the family, `inet6`: IPv6's (IFLA_AF_SPEC);
   * `metrics`: a route's (RTA_METRICS); `fdb`: an FDB entry's (NDA_FDB_EXT_ATTRS).
   */
  readonly within?: 'info' | 'slaveInfo' | 'linkinfo' | 'properties' | 'family' | 'inet6' | 'metrics' | 'fdb';
  /** The payload, without its header and padding. */
  readonly bytes: Uint8Array;
}

/**
 * Inclusive at both ends.
 * @example
 * ```ts
 * import type { NumberRange } from 'overns';
 *
 * const ports: NumberRange = { low: 32768, high: 60999 };
 * console.log(ports.high - ports.low + 1); // 28232
 * ```
 */
export interface NumberRange {
  readonly low: number;
  readonly high: number;
}

/**
 * `inet` is IPv4, `inet6` is IPv6.
 * @example
 * ```ts
 * import type { Family } from 'overns';
 *
 * const families: Family[] = ['inet', 'inet6'];
 * console.log(families.length); // 2
 * ```
 */
export type Family = 'inet' | 'inet6';

// --- Links ----------------------------------------------------------------------------------------------------

/**
 * Any of the fields of `T`; an undefined one counts as absent.
 * @example
 * ```ts
 * import type { Given } from 'overns';
 *
 * const change: Given<{ mtu: number }> = { mtu: undefined }; // as good as {}
 * console.log(change.mtu); // undefined
 * ```
 */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/**
 * What every link can be given (IFLA_*).
 * @example
 * ```ts
 * import type { LinkSettings } from 'overns';
 *
 * const settings: Partial<LinkSettings> = { txQueueLength: 1000, addrGenMode: 'none' };
 * console.log(settings.txQueueLength); // 1000
 * ```
 */
export interface LinkSettings {
  /** `ff:ff:ff:ff:ff:ff` with Ethernet. */
  readonly broadcast: string;
  /** Packets. */
  readonly txQueueLength: number;
  /** A number to address links by together; 0 is the default group. */
  readonly linkGroup: number;
  readonly linkMode: 'default' | 'dormant';
  readonly protoDown: boolean;
  readonly carrier: boolean;
  readonly numTxQueues: number;
  readonly numRxQueues: number;
  /** Bytes, as the other sizes. */
  readonly gsoMaxSize: number;
  readonly gsoMaxSegs: number;
  readonly gsoIpv4MaxSize: number;
  readonly groMaxSize: number;
  readonly groIpv4MaxSize: number;
  /** How the link makes its IPv6 interface identifiers (IFLA_INET6_ADDR_GEN_MODE). */
  readonly addrGenMode: 'eui64' | 'none' | 'stable_secret' | 'random';
}

/**
 * What the kernel tells of a link, and takes from nobody.
 * @example
 * ```ts
 * import type { LinkState } from 'overns';
 *
 * const fits = (mtu: number, { minMtu, maxMtu }: LinkState): boolean => mtu >= minMtu && (maxMtu === 0 || mtu <= maxMtu);
 * console.log(fits.length); // 2
 * ```
 */
export interface LinkState {
  readonly tsoMaxSize: number;
  readonly tsoMaxSegs: number;
  /** Bytes. */
  readonly minMtu: number;
  /** Bytes; 0 = no limit of its own. */
  readonly maxMtu: number;
  readonly qdisc: string;
  /** How many users want it promiscuous. */
  readonly promiscuity: number;
  readonly allmulti: number;
  readonly carrierChanges: number;
  readonly carrierUpCount: number;
  readonly carrierDownCount: number;
  readonly permanentMac: string;
  readonly physicalPort: string;
  readonly parentDevice: string;
  readonly parentBus: string;
  /** Of a link that is leaving: where it goes. */
  readonly newNetnsid: number;
  readonly newIndex: number;
  readonly virtualFunctions: number;
  readonly maxPacingOffloadHorizon: number;
  readonly netnsImmutable: boolean;
  /** Bytes in front of packets. */
  readonly headroom: number;
  readonly tailroom: number;
}

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
 * What a bridge tells.
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
 * A tun or tap device (IFLA_TUN_*). Made by ioctl, not by rtnetlink: listed only.
 * @example
 * ```ts
 * import type { TunState } from 'overns';
 *
 * const mine = ({ owner }: Partial<TunState>): boolean => owner === process.getuid?.();
 * console.log(mine({ owner: process.getuid?.() ?? 0 })); // true
 * ```
 */
export interface TunState {
  /** uid. */
  readonly owner: number;
  /** gid. */
  readonly groupId: number;
  readonly pi: boolean;
  readonly vnetHdr: boolean;
  readonly persist: boolean;
  readonly multiQueue: boolean;
  readonly queues: number;
  readonly disabledQueues: number;
}

/**
 * A link as the kernel lists it, with the attributes of its kind beside those of any link. Counters (IFLA_STATS*) and
 * the copies of sysctls in IFLA_AF_SPEC are not listed.
 * @example
 * ```ts
 * import type { Link } from 'overns';
 *
 * const isOverlay = ({ kind, vni }: Link): boolean => kind === 'vxlan' && vni !== undefined;
 * console.log(isOverlay({ name: 'vxlan1', index: 3, kind: 'vxlan', vni: 42, mtu: 1450, up: true })); // true
 * ```
 */
export interface Link
  extends Partial<LinkSettings>,
    Partial<LinkState>,
    Partial<VxlanSettings>,
    Partial<Omit<BridgeSettings, 'vlanProtocol'>>,
    Partial<BridgeState>,
    Partial<Omit<MacvlanSettings, 'mode'>>,
    Partial<VlanSettings>,
    Partial<Omit<IpvlanSettings, 'mode'>>,
    Partial<Omit<BondSettings, 'mode'>>,
    Partial<VrfSettings>,
    Partial<GeneveSettings>,
    Partial<TunState> {
  readonly name: string;
  /** Interface index, unique in its namespace. */
  readonly index: number;
  /** `bridge`, `veth`, `vxlan`, ...; absent for hardware and lo. */
  readonly kind?: string;
  readonly mac?: string;
  /** Bytes. */
  readonly mtu: number;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  /** IFF_RUNNING. */
  readonly running?: boolean;
  /** IFF_* in lower case: `broadcast`, `multicast`, `lower_up`, ... */
  readonly flags?: readonly string[];
  /** ARPHRD_*: 1 = Ethernet, 772 = loopback. */
  readonly hardware?: number;
  /** The bridge it is a port of. */
  readonly master?: string;
  readonly masterIndex?: number;
  /** The master's kind. */
  readonly slaveKind?: string;
  /** What the bridge says of it as a port. */
  readonly bridgePort?: BridgePort;
  /** Index of a veth's peer or a vlan's parent, in the namespace `linkNetnsid` when that is given. */
  readonly link?: number;
  readonly linkNetnsid?: number;
  readonly alias?: string;
  readonly alternativeNames?: readonly string[];
  readonly operstate?: 'unknown' | 'notpresent' | 'down' | 'lowerlayerdown' | 'testing' | 'dormant' | 'up';
  /** A macvlan's, an ipvlan's or a bond's, or `tun` or `tap`. */
  readonly mode?: MacvlanSettings['mode'] | IpvlanSettings['mode'] | BondSettings['mode'] | 'tun' | 'tap';
  readonly bcQueueLengthUsed?: number;
  readonly macCount?: number;
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * The other end of a veth, made in the same request.
 * @example
 * ```ts
 * import type { PeerSpec } from 'overns';
 *
 * const peer: PeerSpec = { name: 'eth0', mac: '02:42:c0:a8:00:02', netns: 'web' };
 * console.log(peer.name); // eth0
 * ```
 */
export interface PeerSpec {
  readonly name: string;
  readonly mac?: string | undefined;
  /** Bytes. */
  readonly mtu?: number | undefined;
  /** The namespace that it is made in. Default: the same. */
  readonly netns?: NetnsRef | undefined;
}

/**
 * What any link can be made with.
 * @example
 * ```ts
 * import type { AnyLinkSpec } from 'overns';
 *
 * const common: AnyLinkSpec = { name: 'veth1', mtu: 1450, up: true };
 * console.log(common.mtu); // 1450
 * ```
 */
export interface AnyLinkSpec extends Given<LinkSettings> {
  /** 1 to 15 bytes (IFNAMSIZ). */
  readonly name: string;
  readonly up?: boolean | undefined;
  /** Bytes. */
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
  /** Name of the bridge to join; null to leave it. */
  readonly master?: string | null | undefined;
  /** The master by its index, where its name lies in another namespace (`netns`). */
  readonly masterIndex?: number | undefined;
  /** As a port of the bridge that it is in. */
  readonly bridgePort?: Given<BridgePortSettings> | undefined;
  /** The namespace that the link is made in or moved to, while a vxlan's or vlan's packets stay here. */
  readonly netns?: NetnsRef | undefined;
  /** The parent of a vlan or macvlan, by name or index. */
  readonly link?: string | number | undefined;
  /** False: IFF_NOARP. */
  readonly arp?: boolean | undefined;
  readonly multicast?: boolean | undefined;
  readonly allMulticast?: boolean | undefined;
  readonly promiscuous?: boolean | undefined;
}

/**
 * A link to make or change, with the attributes of its kind.
 * @example
 * ```ts
 * import type { LinkSpec } from 'overns';
 *
 * const veth: LinkSpec = { kind: 'veth', name: 'veth1', mtu: 1450, peer: { name: 'eth0', netns: 'web' } };
 * const vxlan: LinkSpec = { kind: 'vxlan', name: 'vxlan1', vni: 42, port: 4789, proxy: true };
 * console.log(veth.kind, vxlan.kind); // veth vxlan
 * ```
 */
export type LinkSpec =
  | (AnyLinkSpec & { readonly kind: 'bridge' } & Given<BridgeSettings>)
  | (AnyLinkSpec & { readonly kind: 'veth'; readonly peer?: PeerSpec | undefined })
  | (AnyLinkSpec & { readonly kind: 'vxlan' } & Given<VxlanSettings>)
  | (AnyLinkSpec & { readonly kind: 'macvlan' | 'macvtap' } & Given<MacvlanSettings>)
  | (AnyLinkSpec & { readonly kind: 'vlan' } & Given<VlanSettings>)
  | (AnyLinkSpec & { readonly kind: 'vrf' } & Given<VrfSettings>)
  | (AnyLinkSpec & { readonly kind: 'ipvlan' | 'ipvtap' } & Given<IpvlanSettings>)
  | (AnyLinkSpec & { readonly kind: 'geneve' } & Given<GeneveSettings>)
  | (AnyLinkSpec & { readonly kind: 'bond' } & Given<BondSettings>)
  | (AnyLinkSpec & { readonly kind: 'dummy' | 'ifb' | 'vcan' | 'nlmon' | 'wireguard' })
  | (AnyLinkSpec & {
      /** Any other kind that the kernel has; its attributes under `unknown`, as bytes. */
      readonly kind: string & {};
      readonly unknown?: readonly UnknownAttribute[] | undefined;
    });

/**
 * A change of an existing link; the attributes of a kind need its `kind`.
 * @example
 * ```ts
 * import type { LinkChange } from 'overns';
 *
 * const rename: LinkChange = { name: 'veth1', newName: 'web', up: true };
 * const snoop: LinkChange = { name: 'br0', kind: 'bridge', mcastSnooping: true };
 * console.log(rename.newName, snoop.kind); // web bridge
 * ```
 */
export type LinkChange = Given<Omit<AnyLinkSpec, 'name'>> & {
  readonly name: string;
  /** Instead of the name, which is then a new one if it differs. */
  readonly index?: number | undefined;
  /** Its name from now on. */
  readonly newName?: string | undefined;
  /** Text of up to 255 bytes; empty takes it away. */
  readonly alias?: string | undefined;
} & (
    | { readonly kind?: undefined }
    | ({ readonly kind: 'bridge' } & Given<BridgeSettings>)
    | ({ readonly kind: 'vxlan' } & Given<VxlanSettings>)
    | ({ readonly kind: 'macvlan' | 'macvtap' } & Given<MacvlanSettings>)
    | ({ readonly kind: 'vlan' } & Given<VlanSettings>)
    | { readonly kind: 'veth' | 'dummy' | 'ifb' | 'vcan' | 'nlmon' }
  );

/**
 * What a link has counted since it was made (struct rtnl_link_stats64, include/uapi/linux/if_link.h). As bigint, for a
 * number loses the last digits from 2^53 on: 9 PB, which a 100 Gbit/s link sends in 8 days. A counter that the running
 * kernel does not have is absent.
 * @example
 * ```ts
 * import type { LinkCounters } from 'overns';
 *
 * const bitsPerSecond = (before: LinkCounters, after: LinkCounters, seconds: number): number =>
 *   Number((after.rxBytes - before.rxBytes) * 8n) / seconds;
 * console.log(bitsPerSecond.length); // 3
 * ```
 */
export interface LinkCounters {
  readonly link: string;
  readonly index: number;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
  /** Multicast packets received. */
  readonly multicast: bigint;
  readonly collisions: bigint;
  readonly rxLengthErrors: bigint;
  readonly rxOverErrors: bigint;
  readonly rxCrcErrors: bigint;
  readonly rxFrameErrors: bigint;
  readonly rxFifoErrors: bigint;
  readonly rxMissedErrors: bigint;
  readonly txAbortedErrors: bigint;
  readonly txCarrierErrors: bigint;
  readonly txFifoErrors: bigint;
  readonly txHeartbeatErrors: bigint;
  readonly txWindowErrors: bigint;
  readonly rxCompressed: bigint;
  readonly txCompressed: bigint;
  /** Packets that nothing in the kernel wanted. */
  readonly rxNohandler: bigint;
  /** Packets for another host's MAC. Since Linux 5.19. */
  readonly rxOtherhostDropped?: bigint;
}

// --- Addresses ------------------------------------------------------------------------------------------------

/**
 * RT_SCOPE_*, or its number where it has no name.
 * @example
 * ```ts
 * import type { Scope } from 'overns';
 *
 * const scopes: Scope[] = ['global', 'link', 200];
 * console.log(scopes.length); // 3
 * ```
 */
export type Scope = 'global' | 'site' | 'link' | 'host' | 'nowhere' | number;

/**
 * An interface's address (IFA_*).
 * @example
 * ```ts
 * import type { Address } from 'overns';
 *
 * const address: Address = { link: 'eth0', address: 'fd00::2/64', nodad: true, validLifetime: 3600 };
 * console.log(address.validLifetime); // 3600
 * ```
 */
export interface Address {
  readonly link: string;
  /** Its index, which all that is listed has: what the kernel knows the link by, whatever it is called. */
  readonly linkIndex?: number;
  /** With its prefix length: `192.168.0.1/24`. With a peer, the length is that of the peer's network. */
  readonly address: string;
  readonly family?: Family;
  /** The other end of a point-to-point link. */
  readonly peer?: string;
  /** IPv4. None unless given. */
  readonly broadcast?: string;
  /** Default: `host` for 127.0.0.0/8, else `global`. IPv6: the kernel's own choice. */
  readonly scope?: Scope;
  /** IFA_F_*: `permanent`, `secondary`, `tentative`, `nodad`, `noprefixroute`, ... */
  readonly flags?: readonly string[];
  /** IPv4: the link's name, alone or with a colon and more. */
  readonly label?: string;
  /** Seconds, 0 to 2^32-2; absent: for ever. */
  readonly preferredLifetime?: number;
  /** Seconds, 1 to 2^32-2; absent: for ever. */
  readonly validLifetime?: number;
  /** Of the route to the prefix. */
  readonly metric?: number;
  /** Who made it: `kernel_lo`, `kernel_ra`, `kernel_ll`, or a number. */
  readonly protocol?: string | number;
  /** No duplicate address detection (RFC 4862 section 5.4): the address is usable at once. IPv6, writing only. */
  readonly nodad?: boolean;
  /** No route to the prefix is made. Writing only. */
  readonly noprefixroute?: boolean;
  readonly unknown?: readonly UnknownAttribute[];
}

// --- Routes ---------------------------------------------------------------------------------------------------

/**
 * What becomes of packets that a route is for (RTN_*, include/uapi/linux/rtnetlink.h).
 * @example
 * ```ts
 * import type { RouteType } from 'overns';
 *
 * const silent: RouteType = 'blackhole';
 * console.log(silent); // blackhole
 * ```
 */
export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat'
  | 'xresolve'
  | 'unspec'
  | number;

/**
 * One way of a route that has several.
 * @example
 * ```ts
 * import type { RouteHop } from 'overns';
 *
 * const ways: RouteHop[] = [{ gateway: '10.0.0.1', weight: 2 }, { gateway: '10.0.0.2' }];
 * console.log(ways[0]?.weight); // 2
 * ```
 */
export interface RouteHop {
  readonly gateway?: string;
  readonly link?: string;
  readonly linkIndex?: number;
  /** 1 to 256. Default 1. */
  readonly weight?: number;
  /** `onlink`; listed also `dead`, `linkdown`, ... */
  readonly flags?: readonly string[];
  /** Such as realms (RTA_FLOW) and encapsulations (RTA_ENCAP); written as they are. */
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * RTAX_*: what a route says of the path.
 * @example
 * ```ts
 * import type { RouteMetrics } from 'overns';
 *
 * const metrics: RouteMetrics = { mtu: 1400, initcwnd: 10 };
 * console.log(metrics.mtu); // 1400
 * ```
 */
export interface RouteMetrics {
  /** Bits by RTAX_* of the metrics that path MTU discovery and the like may not change. */
  readonly lock?: number;
  /** Bytes. */
  readonly mtu?: number;
  readonly window?: number;
  /** Eighths of milliseconds. */
  readonly rtt?: number;
  /** Quarters of milliseconds. */
  readonly rttvar?: number;
  readonly ssthresh?: number;
  readonly cwnd?: number;
  /** Bytes. */
  readonly advmss?: number;
  readonly reordering?: number;
  readonly hoplimit?: number;
  readonly initcwnd?: number;
  readonly features?: number;
  /** Milliseconds. */
  readonly rtoMin?: number;
  readonly initrwnd?: number;
  readonly quickack?: number;
  readonly congestionControl?: string;
  readonly fastopenNoCookie?: number;
}

/**
 * A route (RTA_*). Listed with `link`, it is one of those that leave through the link by any of their ways.
 * @example
 * ```ts
 * import type { Route } from 'overns';
 *
 * const route: Route = { dst: '10.1.0.0/16', gateway: '10.0.0.1', link: 'eth0', metrics: { mtu: 1400 } };
 * console.log(route.dst); // 10.1.0.0/16
 * ```
 */
export interface Route {
  /** With its prefix length, or `default`. */
  readonly dst: string;
  /** Default: that of dst or gateway, else `inet`. */
  readonly family?: Family;
  /** Default `unicast`. */
  readonly type?: RouteType;
  /** IPv6: for packets from there only, with prefix length. */
  readonly from?: string;
  /** May be of the other family (RTA_VIA). */
  readonly gateway?: string;
  readonly link?: string;
  /** Its index, which all that is listed has: what the kernel knows the link by, whatever it is called. */
  readonly linkIndex?: number;
  /** Preferred source address. */
  readonly source?: string;
  /** 254 = main (the default), 255 = local; 1 to 2^32-1. */
  readonly table?: number;
  /** IPv6: 1024 unless given. */
  readonly metric?: number;
  readonly tos?: number;
  readonly scope?: Scope;
  /** Who made it: `boot` (the default), `static`, `kernel`, `ra`, ..., or a number (RTPROT_*). */
  readonly protocol?: string | number;
  /** `onlink`: the gateway is on the link whatever the prefixes say. Listed also `dead`, `linkdown`, `offload`, ... */
  readonly flags?: readonly string[];
  /** The ways of a multipath route, instead of gateway and link. */
  readonly nexthops?: readonly RouteHop[];
  /** Id of a nexthop object, instead of them all; listed with what it resolves to. */
  readonly nexthop?: number;
  /** IPv6 (RFC 4191). */
  readonly preference?: 'low' | 'medium' | 'high';
  /** IPv6: seconds from now; listed negative: seconds ago, until the kernel collects the route. */
  readonly expires?: number;
  readonly metrics?: RouteMetrics;
  /** Written as they are. */
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * A packet, as far as routing goes by it. What is absent is left open, as a socket leaves it open.
 * @example
 * ```ts
 * import type { RouteQuery } from 'overns';
 *
 * const vxlan: RouteQuery = { dst: '10.0.0.11', source: '10.0.0.10', ipProtocol: 17, destinationPort: 4789 };
 * console.log(vxlan.ipProtocol); // 17
 * ```
 */
export interface RouteQuery {
  /** An address, without a prefix length. */
  readonly dst: string;
  /** Where the packet comes from: an address of this namespace, unless it has come in through `inputLink`. */
  readonly source?: string | undefined;
  /** The link it is bound to leave through (SO_BINDTODEVICE); of a VRF its device. */
  readonly link?: string | undefined;
  /** The link it has come in through, to be forwarded. IPv4 takes it with a source. */
  readonly inputLink?: string | undefined;
  /** SO_MARK, 0 to 2^32-1. */
  readonly mark?: number | undefined;
  /** 0 to 255, in IPv4 a multiple of 4; IPv6's traffic class. */
  readonly tos?: number | undefined;
  /** The user that sends it, 0 to 2^32-1. Default: the caller's. */
  readonly uid?: number | undefined;
  /** IPPROTO_*: 6 = TCP, 17 = UDP; those and ICMP only. */
  readonly ipProtocol?: number | undefined;
  /** 1 to 65535. */
  readonly sourcePort?: number | undefined;
  /** 1 to 65535. */
  readonly destinationPort?: number | undefined;
  /** The route as it stands in its table, all its ways included, instead of the one packet's way. Default false. */
  readonly match?: boolean | undefined;
}

/**
 * The way of a packet: `dst` is its address, `source` the address it would be sent from, `gateway` and `link` where it
 * goes, `metrics.mtu` the route's own MTU or what path MTU discovery has found.
 * @example
 * ```ts
 * import type { RouteAnswer } from 'overns';
 *
 * const ours = ({ type }: RouteAnswer): boolean => type === 'local';
 * console.log(ours({ dst: '127.0.0.1/32', type: 'local' })); // true
 * ```
 */
export interface RouteAnswer extends Route {
  readonly inputLink?: string;
  readonly mark?: number;
  readonly uid?: number;
}
/**
 * Which routes are listed or flushed: those that match in all that is given, field by field, and by where they lie, in
 * the words of ip-route(8).
 * @example
 * ```ts
 * import type { RouteFilter } from 'overns';
 *
 * const learned: RouteFilter = { root: '10.0.0.0/8', protocol: 'bgp' };
 * console.log(learned.root); // 10.0.0.0/8
 * ```
 */
export type RouteFilter = Given<Route> & {
  /** Routes to this prefix and to what lies in it. */
  readonly root?: string | undefined;
  /** Routes that this prefix or address lies in: all that might carry its packets. */
  readonly match?: string | undefined;
};

/**
 * A rule of policy routing (FRA_*). All of it is its key, so a rule is never changed: it is there or it is not.
 * @example
 * ```ts
 * import type { Rule } from 'overns';
 *
 * const rule: Rule = { priority: 100, family: 'inet', action: 'table', table: 42, from: '10.0.0.0/8' };
 * console.log(rule.table); // 42
 * ```
 */
export interface Rule {
  /** 0 to 2^32-1; the lowest is looked at first. Given none, the kernel takes one below the lowest but 0. */
  readonly priority: number;
  /** Default: that of `from` or `to`, else `inet`. `ipmr`, `ip6mr`: of multicast routing. */
  readonly family: Family | 'ipmr' | 'ip6mr';
  /** Default `table`, with `goto` that. */
  readonly action: 'table' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit' | number;
  /** 1 to 2^32-1. Default: 254 = main, unless `l3mdev`. */
  readonly table?: number;
  /** With prefix length; absent: from anywhere. */
  readonly from?: string;
  readonly to?: string;
  /** Names of links, which need not be there. */
  readonly iif?: string;
  readonly oif?: string;
  /** 0 to 255. */
  readonly tos?: number;
  /** The DSCP field, 0 to 63, and which of its bits count. Since Linux 6.13 and 6.15. */
  readonly dscp?: number;
  readonly dscpMask?: number;
  /** IPv6, 0 to 2^20-1, and which of its bits count: both or none. Since Linux 6.14. */
  readonly flowLabel?: number;
  readonly flowLabelMask?: number;
  /** The packet's mark, and which of its bits count; all by default. */
  readonly mark?: number;
  readonly markMask?: number;
  /** IPv4: the source realm times 2^16, and the destination's (FRA_FLOW). */
  readonly realms?: number;
  /** The priority that `goto` goes to. */
  readonly goto?: number;
  /** Routes of so short a prefix, or through links of this group, do not count. */
  readonly suppressPrefixLength?: number;
  readonly suppressGroup?: number;
  /** IPPROTO_*. */
  readonly ipProtocol?: number;
  /** 1 to 65535. A mask of bits counts with a single port only. Since Linux 6.15. */
  readonly sourcePorts?: NumberRange;
  readonly sourcePortMask?: number;
  readonly destinationPorts?: NumberRange;
  readonly destinationPortMask?: number;
  readonly uids?: NumberRange;
  /** The tunnel's key or VNI that the packet came with, 64 bits. */
  readonly tunnel?: bigint;
  /** Looks in the table of the packet's VRF. */
  readonly l3mdev?: boolean;
  /** Who made it, as of a route. Default `unspec`. */
  readonly protocol?: string | number;
  /** `invert`: for all other packets. Listed also `permanent`, `unresolved`, `iif_detached`, `oif_detached`. */
  readonly flags?: readonly string[];
  /** Written as they are. */
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * A nexthop object (NHA_*, include/uapi/linux/nexthop.h), which routes and FDB entries refer to by its id.
 * @example
 * ```ts
 * import type { Nexthop } from 'overns';
 *
 * const hop: Nexthop = { id: 7, family: 'inet', gateway: '10.0.0.11', fdb: true };
 * const both: Nexthop = { id: 9, group: [{ id: 7, weight: 3 }, { id: 8 }] };
 * console.log(hop.id, both.group?.length); // 7 2
 * ```
 */
export interface Nexthop {
  /** 1 to 2^32-1. */
  readonly id: number;
  /** Default: that of gateway, else `inet`. A group has none. */
  readonly family?: Family;
  readonly gateway?: string;
  readonly link?: string;
  readonly linkIndex?: number;
  /** Of the link. Listed only. */
  readonly master?: string;
  readonly masterIndex?: number;
  /** Listed only. */
  readonly scope?: Scope;
  /** Who made it, as of a route. Default `unspec`. */
  readonly protocol?: string | number;
  /** `onlink`; listed also `dead`, `linkdown`, ... */
  readonly flags?: readonly string[];
  /** Drops what is sent there; without gateway and link. */
  readonly blackhole?: boolean;
  /** For FDB entries of a vxlan: the gateway is a VTEP, there is no link, and a group has such only. */
  readonly fdb?: boolean;
  /** The nexthops that share the traffic, in proportion to their weights: 1 to 256, since Linux 6.12 to 65536; default 1. */
  readonly group?: readonly { readonly id: number; readonly weight?: number }[];
  /** Default `mpath`: by a hash. `resilient`: by a table of buckets, which keeps flows where they are when members change. */
  readonly groupType?: 'mpath' | 'resilient' | number;
  /** Of a resilient group. */
  readonly resilient?: Partial<ResilientGroup>;
  /** Such as an encapsulation; written as it is. */
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * How a resilient group moves flows (NHA_RES_GROUP_*). Times in hundredths of a second.
 * @example
 * ```ts
 * import type { ResilientGroup } from 'overns';
 *
 * const group: Partial<ResilientGroup> = { buckets: 128, idleTimer: 60 * 100 }; // 60 s
 * console.log(group.buckets); // 128
 * ```
 */
export interface ResilientGroup {
  /** 1 to 65535; taken when it is made, and rounded by nobody. */
  readonly buckets: number;
  /** A bucket without traffic for so long may move. Default 12000. */
  readonly idleTimer: number;
  /** A group out of balance for so long moves any; 0: never. Default 0. */
  readonly unbalancedTimer: number;
  /** For how long it has been out of balance. Listed only. */
  readonly unbalancedTime: number;
}

// --- Neighbours and FDB entries -------------------------------------------------------------------------------

/**
 * NTF_* and NTF_EXT_*.
 * @example
 * ```ts
 * import type { EntryFlag } from 'overns';
 *
 * const flags: EntryFlag[] = ['self', 'extern_learn'];
 * console.log(flags.length); // 2
 * ```
 */
export type EntryFlag =
  | 'use'
  | 'self'
  | 'master'
  | 'proxy'
  | 'extern_learn'
  | 'offload'
  | 'sticky'
  | 'router'
  | 'managed'
  | 'locked'
  | 'ext_validated';

/**
 * An entry of a neighbour table: which MAC address an IP address has on a link.
 * @example
 * ```ts
 * import type { Neighbor } from 'overns';
 *
 * const neighbor: Neighbor = { link: 'vxlan1', ip: '192.168.0.3', mac: '02:42:c0:a8:00:03', state: 'permanent' };
 * console.log(neighbor.ip); // 192.168.0.3
 * ```
 */
export interface Neighbor {
  readonly link: string;
  /** Its index, which all that is listed has: what the kernel knows the link by, whatever it is called. */
  readonly linkIndex?: number;
  readonly ip: string;
  readonly mac?: string;
  /** `permanent` (the default), `noarp`, `reachable`, `stale`, ... (NUD_*, include/uapi/linux/neighbour.h). */
  readonly state: string;
  /** `extern_learn`, `router`, `proxy`, `managed`, ... */
  readonly flags?: readonly string[];
  /** Who made it (RTPROT_*), 1 to 255. */
  readonly protocol?: number;
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * An entry of a forwarding database: where a MAC address is, behind a vxlan device or a bridge's port.
 * @example
 * ```ts
 * import type { FdbEntry } from 'overns';
 *
 * const entry: FdbEntry = { link: 'vxlan1', mac: '02:42:c0:a8:00:03', dst: '10.0.0.11', state: 'dynamic' };
 * console.log(entry.dst); // 10.0.0.11
 * ```
 */
export interface FdbEntry {
  readonly link: string;
  /** Its index, which all that is listed has: what the kernel knows the link by, whatever it is called. */
  readonly linkIndex?: number;
  readonly mac: string;
  /** The remote VTEP. */
  readonly dst?: string;
  /** 1 to 2^24-1. Default: the device's. */
  readonly vni?: number;
  /** Of a device with collectMetadata: the VNI that the entry belongs to. */
  readonly sourceVni?: number;
  /** UDP, 1 to 65535. Default: the device's. */
  readonly port?: number;
  /** Name of the device towards the remote. */
  readonly via?: string;
  /** Its index; without `via`, of a link in the namespace `linkNetnsid`. */
  readonly viaIndex?: number;
  /** The namespace that the vxlan's packets leave through, where that is another. Listed only. */
  readonly linkNetnsid?: number;
  /** The bridge, of an entry of its own FDB. */
  readonly master?: string;
  readonly masterIndex?: number;
  /** Of a bridge that filters by VLAN, 1 to 4094. */
  readonly vlan?: number;
  /** Id of an fdb nexthop object, instead of dst. */
  readonly nexthop?: number;
  readonly protocol?: number;
  /** Of a bridge's entry that tells when its MAC falls silent: `notify`, and `inactive` once it has. Since Linux 5.14. */
  readonly activity?: 'notify' | 'inactive';
  /** `permanent` (the default), `static` (does not age) or `dynamic` (ages, gives way to a learned move). */
  readonly state: string;
  /** `self` (the default), `master`, `extern_learn`, ... */
  readonly flags?: readonly string[];
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * Which FDB entries `flush` takes: those that match in all that is given.
 * @example
 * ```ts
 * import type { FdbFlush } from 'overns';
 *
 * const ofHost: FdbFlush = { link: 'vxlan1', dst: '10.0.0.11', state: 'dynamic' };
 * console.log(ofHost.dst); // 10.0.0.11
 * ```
 */
export interface FdbFlush {
  readonly link: string;
  readonly mac?: string | undefined;
  readonly dst?: string | undefined;
  readonly vni?: number | undefined;
  readonly sourceVni?: number | undefined;
  readonly port?: number | undefined;
  readonly via?: string | undefined;
  readonly nexthop?: number | undefined;
  /** Of a bridge's FDB only. */
  readonly vlan?: number | undefined;
  readonly state?: 'permanent' | 'static' | 'dynamic' | undefined;
  /** `master`: in the bridge's FDB instead of the device's own. */
  readonly flags?: readonly EntryFlag[] | undefined;
  readonly withoutFlags?: readonly EntryFlag[] | undefined;
}
