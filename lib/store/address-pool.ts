/** The addresses of a network that may be handed out. */
import { canonicalIp, type IpFamily, ip6Text, ipBytes, ipFamily, whyNotUnicastIp } from '../core/address.js';
import { invalidArgument, invalidType } from '../core/errors.js';
import { checkNames, checkObject } from '../core/options.js';
import { type Prefix, prefixOf } from '../core/prefix.js';

/**
 * A network whose addresses are handed out. Its own address, its IPv4 broadcast address and its IPv6 subnet-router anycast address
 * (RFC 4291, section 2.6.1) never are, but on point-to-point prefixes (RFC 3021, RFC 6164) and single addresses.
 * @example
 * ```ts
 * import type { AddressPool } from 'overns';
 *
 * const pools: AddressPool[] = [
 *   { network: '192.168.0.0/24', range: '192.168.0.128/25', except: ['192.168.0.254'] },
 *   { network: 'fd00::/64', range: 'fd00::100-fd00::1ff' },
 * ];
 * console.log(pools.length); // 2
 * ```
 */
export interface AddressPool {
  /** The network with its prefix length, 8 at least; an address of it stands for it. */
  readonly network: string;
  /** The part of it that is handed out: a prefix, or first and last address with a hyphen between them. Default: all of it. */
  readonly range?: string | undefined;
  /** Addresses that are not handed out, as that of the gateway. */
  readonly except?: readonly string[] | undefined;
}

/** A pool that was checked. */
export class Pool {
  readonly family: IpFamily;
  /** `192.168.0.0/24`. */
  readonly text: string;
  readonly #length: number;
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #except = new Set<bigint>();

  /** @throws RangeError, TypeError for what is none, or one without any address to hand out */
  constructor(given: unknown, name: string) {
    const { network, range, except = [] } = checkObject(given, name) as unknown as AddressPool;
    checkNames(given as object, ['network', 'range', 'except'], 'field');
    const prefix = prefixOf(network, `${name}.network`);
    const { family, length } = prefix;
    if (length < 8) throw invalidArgument(`${name}.network`, network, 'a network with a prefix length of 8 at least');
    this.family = family;
    this.text = `${prefix.network}/${length}`;
    this.#length = length;
    const bits = family === 4 ? 32 : 128;
    let [first, last] = ends(prefix);
    if (length < bits - 1) {
      first++;
      if (family === 4) last--;
    }
    const [from, to] = range === undefined ? [first, last] : rangeOf(range, `${name}.range`);
    if (range !== undefined && (ipFamily(range.split(/[-/]/)[0] as string) !== family || to < first || from > last))
      throw invalidArgument(`${name}.range`, range, `a part of ${this.text}`);
    this.#first = from > first ? from : first;
    this.#last = to < last ? to : last;
    for (const end of [this.#first, this.#last]) {
      const why = whyNotUnicastIp(textOf(end, family));
      if (why !== undefined)
        throw invalidArgument(`${name}.network`, network, `a network of unicast addresses: it is ${why}`);
    }
    if (!Array.isArray(except)) throw invalidType(`${name}.except`, except, 'an array of addresses');
    for (const [at, each] of except.entries()) {
      const ip = canonicalIp(each, `${name}.except[${at}]`);
      if (this.has(ip)) this.#except.add(numberOf(ip));
    }
    if (this.size === 0n) throw invalidArgument(name, `${this.text}`, 'a pool with an address that may be handed out');
  }

  /** How many addresses may be handed out. */
  get size(): bigint {
    return this.#span - BigInt(this.#except.size);
  }

  get #span(): bigint {
    return this.#last - this.#first + 1n;
  }

  /** Whether an address lies in the range, be it one of the exceptions. */
  has(ip: string): boolean {
    if (ipFamily(ip) !== this.family) return false;
    const number = numberOf(ip);
    return number >= this.#first && number <= this.#last;
  }

  /** Whether an address may be handed out. */
  offers(ip: string): boolean {
    return this.has(ip) && !this.#except.has(numberOf(ip));
  }

  /** An address of it with the prefix length of its network. */
  cidr(ip: string): string {
    return `${ip}/${this.#length}`;
  }

  /**
   * The first address at or behind a place of the range that is in nobody's hands, beginning anew behind the last; with its place.
   * Undefined where there is none.
   */
  free(at: bigint, taken: ReadonlySet<string>): { readonly ip: string; readonly at: bigint } | undefined {
    const span = this.#span;
    // Of so many one is free, if any is.
    const enough = BigInt(taken.size + this.#except.size + 1);
    const most = span < enough ? span : enough;
    for (let step = 0n; step < most; step++) {
      const place = (at + step) % span;
      const number = this.#first + place;
      if (this.#except.has(number)) continue;
      const ip = textOf(number, this.family);
      if (!taken.has(ip)) return { ip, at: place };
    }
    return undefined;
  }
}

/** Checks pools: one at least, of each family one at most. */
export function checkPools(value: unknown, name: string): readonly Pool[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array of pools');
  const pools: Pool[] = [];
  for (const [at, each] of value.entries()) {
    const pool = new Pool(each, `${name}[${at}]`);
    if (pools.some(({ family }) => family === pool.family))
      throw invalidArgument(`${name}[${at}]`, pool.text, 'one pool of each family');
    pools.push(pool);
  }
  if (pools.length === 0) throw invalidArgument(name, value, 'an array of one pool at least');
  return pools;
}

function ends({ network, length, family }: Prefix): [first: bigint, last: bigint] {
  const first = numberOf(network);
  return [first, first + (1n << BigInt((family === 4 ? 32 : 128) - length)) - 1n];
}

function rangeOf(value: unknown, name: string): [first: bigint, last: bigint] {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  const [from = '', to, ...more] = value.split('-');
  if (to === undefined) return ends(prefixOf(value, name));
  const [first, last] = [canonicalIp(from.trim(), name), canonicalIp(to.trim(), name)];
  const numbers: [bigint, bigint] = [numberOf(first), numberOf(last)];
  if (more.length > 0 || ipFamily(first) !== ipFamily(last) || numbers[0] > numbers[1])
    throw invalidArgument(name, value, 'a prefix, or first and last address as in 192.168.0.10-192.168.0.99');
  return numbers;
}

function numberOf(ip: string): bigint {
  return ipBytes(ip).reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function textOf(number: bigint, family: IpFamily): string {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  let rest = number;
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return family === 4 ? bytes.join('.') : ip6Text(bytes);
}
