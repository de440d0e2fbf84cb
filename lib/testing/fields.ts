/** Reads the fields of a request as strictly as the addon does (native/binding/convert.cc). */
import { canonicalIp, canonicalMac, type IpFamily, ipFamily, networkOf } from '../core/address.js';
import { invalidArgument, invalidType } from '../core/errors.js';

export type Item = Readonly<Record<string, unknown>>;

export function text(item: Item, name: string): string | undefined {
  const value = item[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  if (value.includes('\0')) throw invalidType(name, value, 'a string without NUL');
  return value;
}

export function boolean(item: Item, name: string): boolean | undefined {
  const value = item[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw invalidType(name, value, 'a boolean');
  return value;
}

export function number(item: Item, name: string, max: number): number | undefined {
  const value = item[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number') throw invalidType(name, value, 'a number');
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw invalidArgument(name, value, `an integer from 0 to ${max}`);
  }
  return value;
}

export function mac(item: Item, name: string): string | undefined {
  const value = text(item, name);
  return value === undefined ? undefined : canonicalMac(value, name);
}

export function ip(item: Item, name: string): string | undefined {
  const value = text(item, name);
  return value === undefined ? undefined : canonicalIp(value, name);
}

export interface Prefix {
  readonly ip: string;
  readonly length: number;
  readonly family: IpFamily;
}

/** `192.168.0.2/24`; without a prefix length the whole address. */
export function prefix(item: Item, name: string): Prefix | undefined {
  const value = text(item, name);
  if (value === undefined) return undefined;
  const [address = '', bits, more] = value.split('/');
  const found = canonicalIp(address, name);
  const family = ipFamily(found);
  const most = family === 4 ? 32 : 128;
  if (more !== undefined || (bits !== undefined && !/^[0-9]{1,3}$/.test(bits)) || Number(bits ?? 0) > most) {
    throw invalidArgument(name, value, `an address with a prefix length from 0 to ${most}`);
  }
  return { ip: found, length: bits === undefined ? most : Number(bits), family };
}

/** The address with its host bits cleared. */
export function network({ ip: address, length }: Prefix): string {
  return networkOf(address, length);
}

export function contains(net: Prefix, address: string): boolean {
  return ipFamily(address) === net.family && network({ ...net, ip: address }) === network(net);
}
