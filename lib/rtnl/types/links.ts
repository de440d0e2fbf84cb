/** Links of any kind: include/uapi/linux/if_link.h. */
import type { NetnsRef } from '../../netns/references.js';
import type { Given, UnknownAttribute } from './common.js';
import type {
  BondSettings,
  BridgePort,
  BridgePortSettings,
  BridgeSettings,
  BridgeState,
  GeneveSettings,
  GreSettings,
  HsrSettings,
  HsrState,
  Ip6TunnelSettings,
  IpTunnelSettings,
  IpvlanSettings,
  MacvlanSettings,
  NetkitSettings,
  TunSettings,
  TunState,
  VlanSettings,
  VrfSettings,
  VxlanSettings,
} from './link-kinds.js';

/**
 * Settings of any link (IFLA_*).
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
 * State of a link, which the kernel tells and takes from nobody.
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
  /** Where a link that is leaving goes. */
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
    Partial<GreSettings>,
    Partial<IpTunnelSettings>,
    Partial<Ip6TunnelSettings>,
    Partial<HsrSettings>,
    Partial<HsrState>,
    Partial<Omit<NetkitSettings, 'mode'>>,
    Partial<Omit<TunSettings, 'mode'>>,
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
  /** Its state and settings as a port of a bridge. */
  readonly bridgePort?: BridgePort;
  /** Index of a veth's peer or a vlan's parent, in the namespace `linkNetnsid` when that is given. */
  readonly link?: number;
  readonly linkNetnsid?: number;
  readonly alias?: string;
  readonly alternativeNames?: readonly string[];
  readonly operstate?: 'unknown' | 'notpresent' | 'down' | 'lowerlayerdown' | 'testing' | 'dormant' | 'up';
  /** A netkit's: the one of its pair that was named first. */
  readonly primaryEnd?: boolean;
  /** A macvlan's, an ipvlan's, a netkit's or a bond's, or `tun` or `tap`. */
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
 * Fields that any link can be made with.
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
  /** Its settings as a port of the bridge that it is in. */
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
  | (AnyLinkSpec & { readonly kind: 'gre' | 'gretap' | 'ip6gre' | 'ip6gretap' } & Given<GreSettings>)
  | (AnyLinkSpec & { readonly kind: 'ipip' | 'sit' } & Given<IpTunnelSettings>)
  | (AnyLinkSpec & { readonly kind: 'ip6tnl' } & Given<Ip6TunnelSettings>)
  | (AnyLinkSpec & { readonly kind: 'hsr' } & Given<HsrSettings>)
  | (AnyLinkSpec & { readonly kind: 'netkit'; readonly peer?: PeerSpec | undefined } & Given<NetkitSettings>)
  | (AnyLinkSpec & { readonly kind: 'tun'; readonly mode: 'tun' | 'tap' } & Given<TunSettings>)
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
    | ({ readonly kind: 'ipvlan' | 'ipvtap' } & Given<IpvlanSettings>)
    | ({ readonly kind: 'geneve' } & Given<GeneveSettings>)
    | ({ readonly kind: 'bond' } & Given<BondSettings>)
    | ({ readonly kind: 'gre' | 'gretap' | 'ip6gre' | 'ip6gretap' } & Given<GreSettings>)
    | ({ readonly kind: 'ipip' | 'sit' } & Given<IpTunnelSettings>)
    | ({ readonly kind: 'ip6tnl' } & Given<Ip6TunnelSettings>)
    | ({ readonly kind: 'netkit' } & Given<NetkitSettings>)
    | { readonly kind: 'veth' | 'vrf' | 'tun' | 'hsr' | 'dummy' | 'ifb' | 'vcan' | 'nlmon' | 'wireguard' }
    | {
        /** Any other kind that the kernel has; its attributes under `unknown`, as bytes. */
        readonly kind: string & {};
        readonly unknown?: readonly UnknownAttribute[] | undefined;
      }
  );

/**
 * Counters of a link since it was made (struct rtnl_link_stats64, include/uapi/linux/if_link.h). As bigint, for a
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
