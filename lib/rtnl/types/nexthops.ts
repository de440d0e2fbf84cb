/** Nexthop objects: include/uapi/linux/nexthop.h. */
import type { Family, Scope, UnknownAttribute } from './common.js';

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
  /** The link's. Listed only. */
  readonly master?: string;
  readonly masterIndex?: number;
  /** Listed only. */
  readonly scope?: Scope;
  /** Origin, as of a route. Default `unspec`. */
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
  /** Parameters of a resilient group. */
  readonly resilient?: Partial<ResilientGroup>;
  /** Attributes such as an encapsulation; written as they are. */
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
