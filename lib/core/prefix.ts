/** Prefixes of addresses, and which of them lies in which. */
import { canonicalIp, type IpFamily, ipFamily, networkOf } from './address.js';
import { invalidArgument, invalidType } from './errors.js';

export interface Prefix {
  /** With its host bits cleared. */
  readonly network: string;
  readonly length: number;
  readonly family: IpFamily;
}

/** `10.0.0.0/8`; without a length a single address. */
export function prefixOf(value: unknown, name: string): Prefix {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  const [, address = '', bits] = /^([^/]*)(?:\/([0-9]{1,3}))?$/.exec(value) ?? [];
  const ip = canonicalIp(address, name);
  const family = ipFamily(ip);
  const most = family === 4 ? 32 : 128;
  const length = bits === undefined ? most : Number(bits);
  if (length > most) throw invalidArgument(name, value, `an address with a prefix length from 0 to ${most}`);
  return { network: networkOf(ip, length), length, family };
}

/** Whether all addresses of the second are of the first, too. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  return (
    outer.family === inner.family &&
    outer.length <= inner.length &&
    networkOf(inner.network, outer.length) === outer.network
  );
}

/** The prefix that a route leads to. */
export function destination({ dst, family }: { readonly dst: string; readonly family?: string }): Prefix {
  if (dst === 'default') return prefixOf(family === 'inet6' ? '::/0' : '0.0.0.0/0', 'dst');
  return prefixOf(dst, 'dst');
}
