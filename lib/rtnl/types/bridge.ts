/** VLANs and multicast groups of bridges: include/uapi/linux/if_bridge.h. */
import type { UnknownAttribute } from './common.js';

/**
 * A VLAN, or a range of them, of a bridge or a port of one (BRIDGE_VLANDB_ENTRY_*, net/bridge/br_vlan.c).
 * @example
 * ```ts
 * import type { BridgeVlan } from 'overns';
 *
 * const has = ({ vlan, lastVlan = vlan }: BridgeVlan, id: number): boolean => vlan <= id && id <= lastVlan;
 * console.log(has({ link: 'eth1', linkIndex: 4, vlan: 10, lastVlan: 20 }, 15)); // true
 * ```
 */
export interface BridgeVlan {
  /** The bridge, or its port. */
  readonly link: string;
  readonly linkIndex: number;
  /** 1 to 4094; of a range the first. */
  readonly vlan: number;
  /** The last of a range: the kernel tells VLANs that follow one another and differ in nothing else together. */
  readonly lastVlan?: number;
  /** `pvid`: of frames that come in without a tag; `untagged`: frames go out without a tag. */
  readonly flags?: readonly string[];
  /** Of the spanning tree, per VLAN. */
  readonly state?: 'disabled' | 'listening' | 'learning' | 'forwarding' | 'blocking' | number;
  /** The VNI that a port with `vlanTunnel` maps it to, 0 to 2^24-1; in a range they count up from it. */
  readonly tunnel?: number;
  /** Whether multicast routers are there (MDB_RTR_TYPE_*). Since Linux 5.15. */
  readonly mcastRouter?: number;
  /** How many multicast groups it has on this port, and may have; 0: any number. Since Linux 6.3. */
  readonly mcastGroups?: number;
  readonly mcastMaxGroups?: number;
  /** As `neighSuppress` of a port with `neighVlanSuppress`. Since Linux 6.4. */
  readonly neighSuppress?: boolean;
  /** Of the entry; `within` `tunnel`: of what it is mapped to. */
  readonly unknown?: readonly UnknownAttribute[];
}

/**
 * A multicast group and who receives it: an entry of a bridge's MDB (MDBA_MDB_ENTRY_INFO, net/bridge/br_mdb.c) or, since
 * Linux 6.4, of a vxlan's (drivers/net/vxlan/vxlan_mdb.c). Times in hundredths of a second.
 * @example
 * ```ts
 * import type { MdbEntry } from 'overns';
 *
 * const entry: MdbEntry = {
 *   bridge: 'br0', bridgeIndex: 2, link: 'eth1', linkIndex: 4, group: '239.1.1.1', source: '10.0.0.9', state: 'permanent',
 * };
 * console.log(`(${entry.source ?? '*'}, ${entry.group})`); // (10.0.0.9, 239.1.1.1)
 * ```
 */
export interface MdbEntry {
  /** The bridge or vxlan whose table it is in. */
  readonly bridge: string;
  readonly bridgeIndex: number;
  /** The port; the bridge itself where this host receives it. */
  readonly link: string;
  readonly linkIndex: number;
  /** An IPv4 or IPv6 address, or a MAC address. */
  readonly group: string;
  /** Of this source only (IGMPv3, MLDv2). */
  readonly source?: string;
  /** 1 to 4094; absent: of all. */
  readonly vlan?: number;
  /** `temp`: goes when its timer ends. */
  readonly state: 'temp' | 'permanent' | number;
  /** `offload`, `fast_leave`, `added_by_star_ex`, `blocked`. */
  readonly flags?: readonly string[];
  /** Who made it, as of a route: `kernel` when a report did. Absent of the host's own. */
  readonly protocol?: string | number;
  /** Time that is left; 0: none runs. */
  readonly timer?: number;
  /** Whether `sources` are those that are received, or those that are not. */
  readonly filterMode?: 'include' | 'exclude' | number;
  readonly sources?: readonly { readonly ip: string; readonly timer: number }[];
  /** Of a vxlan: the remote VTEP, its UDP port and VNI, the link towards it, and the VNI that it is sent from. */
  readonly dst?: string;
  readonly port?: number;
  readonly vni?: number;
  readonly via?: string;
  readonly viaIndex?: number;
  readonly sourceVni?: number;
  /** Of the entry (MDBA_MDB_EATTR_*). */
  readonly unknown?: readonly UnknownAttribute[];
}
