/** Types that several tables share. */

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
   * `metrics`: a route's (RTA_METRICS); `fdb`: an FDB entry's (NDA_FDB_EXT_ATTRS); `tunnel`: of what a bridge's VLAN is
   * mapped to (BRIDGE_VLANDB_ENTRY_TUNNEL_INFO).
   */
  readonly within?:
    | 'info'
    | 'slaveInfo'
    | 'linkinfo'
    | 'properties'
    | 'family'
    | 'inet6'
    | 'metrics'
    | 'fdb'
    | 'tunnel';
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
 * A `T` as it is written: the fields of its `Key`, and any of the others; an undefined one counts as absent.
 * @example
 * ```ts
 * import type { Route, Written } from 'overns';
 *
 * const route: Written<Route, 'dst'> = { dst: '10.1.0.0/16', gateway: '10.0.0.1', metric: undefined };
 * console.log(route.dst); // 10.1.0.0/16
 * ```
 */
export type Written<T, Key extends keyof T> = Pick<T, Key> & Given<Omit<T, Key>>;

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
