/** Neighbours and FDB entries: include/uapi/linux/neighbour.h. */
import type { UnknownAttribute } from './common.js';

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
  /** `permanent` (written by default), `noarp`, `reachable`, `stale`, ... (NUD_*, include/uapi/linux/neighbour.h). */
  readonly state: string;
  /** `extern_learn`, `router`, `proxy`, `managed`, ... */
  readonly flags?: readonly string[];
  /** Origin (RTPROT_*), 1 to 255. */
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
  /** The VNI that the entry belongs to, on a device with collectMetadata. */
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
  /** 1 to 4094, on a bridge that filters by VLAN. */
  readonly vlan?: number;
  /** Id of an fdb nexthop object, instead of dst. */
  readonly nexthop?: number;
  readonly protocol?: number;
  /** `notify`: a bridge's entry that tells when its MAC falls silent; `inactive` once it has. Since Linux 5.14. */
  readonly activity?: 'notify' | 'inactive';
  /** `permanent` (written by default), `static` (does not age) or `dynamic` (ages, gives way to a learned move). */
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
  readonly mac?: string;
  readonly dst?: string;
  readonly vni?: number;
  readonly sourceVni?: number;
  readonly port?: number;
  readonly via?: string;
  readonly nexthop?: number;
  /** Taken by a bridge's FDB only. */
  readonly vlan?: number;
  readonly state?: 'permanent' | 'static' | 'dynamic';
  /** `master`: in the bridge's FDB instead of the device's own. */
  readonly flags?: readonly EntryFlag[];
  readonly withoutFlags?: readonly EntryFlag[];
}
