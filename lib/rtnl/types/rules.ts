/** Rules of policy routing: include/uapi/linux/fib_rules.h. */
import type { Family, NumberRange, UnknownAttribute } from './common.js';

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
  /** Origin, as of a route. Default `unspec`. */
  readonly protocol?: string | number;
  /** `invert`: for all other packets. Listed also `permanent`, `unresolved`, `iif_detached`, `oif_detached`. */
  readonly flags?: readonly string[];
  /** Written as they are. */
  readonly unknown?: readonly UnknownAttribute[];
}
