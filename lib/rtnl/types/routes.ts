/** Routes: include/uapi/linux/rtnetlink.h. */
import type { Family, Scope, UnknownAttribute } from './common.js';

/**
 * Fate of the packets that a route is for (RTN_*, include/uapi/linux/rtnetlink.h).
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
  /** Attributes such as realms (RTA_FLOW) and encapsulations (RTA_ENCAP); written as they are. */
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
  /** Origin: `boot` (the default), `static`, `kernel`, `ra`, ..., or a number (RTPROT_*). */
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
export type RouteFilter = Partial<Route> & {
  /** Routes to this prefix and to what lies in it. */
  readonly root?: string;
  /** Routes that this prefix or address lies in: all that might carry its packets. */
  readonly match?: string;
};
