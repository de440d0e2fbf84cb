/** Addresses of links: include/uapi/linux/if_addr.h. */
import type { Family, Scope, UnknownAttribute } from './common.js';

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
  /** With its prefix length, `192.168.0.1/24`; written without one it is all of the address (`/32`, `/128`). With a peer, the length is that of the peer's network. */
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
  /** Metric of the route to the prefix. */
  readonly metric?: number;
  /** Origin: `kernel_lo`, `kernel_ra`, `kernel_ll`, or a number. */
  readonly protocol?: string | number;
  /** No duplicate address detection (RFC 4862 section 5.4): the address is usable at once. IPv6, writing only. */
  readonly nodad?: boolean;
  /** No route to the prefix is made. Writing only. */
  readonly noprefixroute?: boolean;
  readonly unknown?: readonly UnknownAttribute[];
}
