/** Filters of listings: what is given is compared by its value, however it is spelt, with what the kernel tells. */
import { canonicalIp, canonicalMac, ipBytes, ipFamily } from '../core/address.js';
import { invalidArgument, invalidType } from '../core/errors.js';
import type { ListedName } from '../system/native.js';
import { EXTENDED_FLAGS, FDB_STATES, FLAGS, NEIGHBOR_STATES } from './entry-words.js';
import { FILTER_TYPES } from './field-names.js';

type Item = Readonly<Record<string, unknown>>;
type Words = Readonly<Record<string, number>>;

/** RTPROT_* (include/uapi/linux/rtnetlink.h). */
const PROTOCOLS: Words = {
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: 4,
  gated: 8,
  ra: 9,
  mrt: 10,
  zebra: 11,
  bird: 12,
  dnrouted: 13,
  xorp: 14,
  ntk: 15,
  dhcp: 16,
  mrouted: 17,
  keepalived: 18,
  babel: 42,
  bgp: 186,
  isis: 187,
  ospf: 188,
  rip: 189,
  eigrp: 192,
};
/** IFAPROT_*. */
const ADDRESS_PROTOCOLS: Words = { kernel_lo: 1, kernel_ra: 2, kernel_ll: 3 };
/** RT_SCOPE_*. */
const SCOPES: Words = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 };
/** RTN_*. */
const ROUTE_TYPES: Words = {
  unspec: 0,
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
  xresolve: 11,
};

/** Fields that the addon compares itself (run_list): links, which go by any of their names. */
const SEEN: ReadonlySet<string> = new Set([
  ...['link', 'linkIndex', 'master', 'masterIndex', 'bridge', 'bridgeIndex', 'via', 'viaIndex'],
]);
const SEEN_OF_LINKS: ReadonlySet<string> = new Set(['name', 'kind', 'master', 'masterIndex']);
const MAC_LIKE = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
/** Numbers that the kernel leaves out where they are 0. */
const ZEROS: ReadonlySet<string> = new Set(['metric', 'tos']);
/** Fields that the kernel tells only where they are set. */
const FALSE: ReadonlySet<string> = new Set(['l3mdev', 'blackhole', 'fdb']);

/**
 * A filter in the words that rows are listed in.
 * @throws TypeError, RangeError that name the field
 */
export function canonicalFilter(table: ListedName, filter: Item): Item {
  const wanted: Record<string, unknown> = { ...filter };
  for (const [key, value] of Object.entries(filter)) {
    if (value === undefined) continue;
    checkType(FILTER_TYPES[table][key], key, value);
    wanted[key] = canonicalValue(table, key, value);
  }
  if (table === 'route' && typeof filter.dst === 'string' && wanted.dst === 'default' && filter.dst !== 'default') {
    wanted.family ??= filter.dst.includes(':') ? 'inet6' : 'inet';
  }
  return wanted;
}

/** Elements of an array in a filter. */
const MAX_WANTED = 65_536;

const TYPES: Readonly<Record<string, string>> = {
  s: 'a string',
  n: 'a number',
  b: 'a boolean',
  i: 'a bigint',
  a: 'an array',
  o: 'an object',
};

/**
 * Refuses what no row can have there: it would match none, in silence.
 * @param letters of {@link FILTER_TYPES}
 */
export function checkType(letters: string | undefined, key: string, value: unknown): void {
  if (letters === undefined) return;
  const letter = Array.isArray(value) ? 'a' : value === null ? '' : typeof value === 'bigint' ? 'i' : typeof value;
  if (letter === '' || !letters.includes(letter[0] as string)) {
    throw invalidType(key, value, [...letters].map((each) => TYPES[each]).join(' or '));
  }
  // A walk over an array of 2^32 - 1 holes takes minutes.
  if (Array.isArray(value) && value.length > MAX_WANTED)
    throw invalidArgument(key, `${value.length} of them`, `at most ${MAX_WANTED}`);
  if (Number.isNaN(value)) throw invalidArgument(key, value, 'a number that something can have');
}

function canonicalValue(table: ListedName, key: string, value: unknown): unknown {
  switch (key) {
    case 'name':
    case 'kind':
      // An empty one would be as good as none, and match all.
      if (value === '') throw invalidArgument(key, value, `the ${key} of a link`);
      return value;
    case 'mac':
      return canonicalMac(value);
    case 'broadcast':
      return table === 'link' ? canonicalMac(value, key) : canonicalIp(value, key);
    case 'ip':
    case 'gateway':
    case 'local':
    case 'group':
    case 'peer':
    case 'source':
      // A bridge's group may be a MAC address.
      if (table === 'mdb' && key === 'group' && MAC_LIKE.test(String(value))) return canonicalMac(value, key);
      // A nexthop's group is a list, a link's an address.
      return table === 'nexthop' && key === 'group' ? value : canonicalIp(value, key);
    case 'dst':
      return table === 'route' ? canonicalPrefix(value, key, true) : canonicalIp(value, key);
    case 'from':
    case 'to':
      return canonicalPrefix(value, key, true);
    case 'address':
      return canonicalPrefix(value, key, false);
    case 'protocol':
      if (table === 'neighbor' || table === 'fdb') return value;
      return wordFor(table === 'address' ? ADDRESS_PROTOCOLS : PROTOCOLS, value, key);
    case 'scope':
      return wordFor(SCOPES, value, key);
    case 'type':
      return table === 'route' ? wordFor(ROUTE_TYPES, value, key) : value;
    case 'state':
      return table === 'neighbor' || table === 'fdb' ? checkState(table, value) : value;
    case 'flags':
      return table === 'neighbor' || table === 'fdb' ? checkFlags(value) : value;
    default:
      return value;
  }
}

/** With the length that is the whole address's where none is given, except for an interface's: that is any. */
function canonicalPrefix(value: unknown, key: string, network: boolean): string {
  if (value === 'default' && network) return value;
  if (typeof value !== 'string') throw invalidType(key, value, 'a string');
  const slash = value.indexOf('/');
  const ip = canonicalIp(slash < 0 ? value : value.slice(0, slash), key);
  const bits = ipFamily(ip) === 4 ? 32 : 128;
  if (slash < 0) return network ? `${ip}/${bits}` : ip;
  const digits = value.slice(slash + 1);
  const length = /^\d{1,3}$/.test(digits) ? Number(digits) : 999;
  if (length > bits) throw invalidArgument(key, value, `an address with a prefix length from 0 to ${bits}`);
  if (!network) return `${ip}/${length}`;
  return length === 0 ? 'default' : `${networkOf(ip, length)}/${length}`;
}

/** An address without its host bits, in its canonical form. */
function networkOf(ip: string, length: number): string {
  const bytes = ipBytes(ip).map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length - at * 8))));
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, at) =>
    Buffer.from(bytes)
      .readUInt16BE(at * 2)
      .toString(16),
  );
  return canonicalIp(groups.join(':'));
}

/** The word for a number that has one. */
function wordFor(words: Words, value: unknown, key: string): unknown {
  if (typeof value === 'number') return Object.keys(words).find((word) => words[word] === value) ?? value;
  if (typeof value !== 'string') throw invalidType(key, value, 'a string or a number');
  const word = value.toLowerCase();
  if (!Object.hasOwn(words, word)) throw invalidArgument(key, value, `a number, or ${Object.keys(words).join(', ')}`);
  return word;
}

function checkState(table: 'neighbor' | 'fdb', value: unknown): string {
  const words = table === 'fdb' ? FDB_STATES : NEIGHBOR_STATES;
  if (typeof value !== 'string') throw invalidType('state', value, 'a string');
  const word = value.toLowerCase();
  if (!Object.hasOwn(words, word) && !/^\d{1,3}$/.test(word))
    throw invalidArgument('state', value, `one of ${Object.keys(words).join(', ')}`);
  return word;
}

function checkFlags(value: unknown): unknown {
  if (!Array.isArray(value)) throw invalidType('flags', value, 'an array');
  for (const flag of value) {
    if (typeof flag === 'string' && (Object.hasOwn(FLAGS, flag) || Object.hasOwn(EXTENDED_FLAGS, flag))) continue;
    if (typeof flag === 'string' && /^0x[0-9a-f]+$/.test(flag)) continue;
    throw invalidArgument('flags', flag, `one of ${Object.keys({ ...FLAGS, ...EXTENDED_FLAGS }).join(', ')}`);
  }
  return value;
}

/** The rows that have all that is wanted of them, beyond what the addon has compared. */
export function filtered(table: ListedName, rows: readonly Item[], wanted: Item): readonly Item[] {
  const seen = table === 'link' ? SEEN_OF_LINKS : SEEN;
  const keys = Object.keys(wanted).filter(
    (key) => wanted[key] !== undefined && !(table !== 'rule' && seen.has(key)) && !isOfDump(table, key),
  );
  if (keys.length === 0) return rows;
  return rows.filter((row) =>
    keys.every((key) =>
      table === 'vlan' && key === 'vlan' ? isWithin(wanted.vlan, row) : matches(key, row[key], wanted[key]),
    ),
  );
}

/** True for a VLAN that a row, which may be a range of them, has. */
function isWithin(vlan: unknown, row: Item): boolean {
  return Number(row.vlan) <= Number(vlan) && Number(vlan) <= Number(row.lastVlan ?? row.vlan);
}

/** True for a field that the kernel has compared: it lists the neighbours of one family when asked to. */
function isOfDump(table: ListedName, key: string): boolean {
  return table === 'neighbor' && key === 'family';
}

function matches(key: string, value: unknown, wanted: unknown): boolean {
  if (wanted === value) return true;
  if (wanted === 0 && value === undefined) return ZEROS.has(key);
  if (wanted === false && value === undefined) return FALSE.has(key);
  if (key === 'address' && typeof value === 'string') return value.slice(0, value.indexOf('/')) === wanted;
  return contains(value, wanted);
}

/** True for an array that has the wanted elements at least, an object that has the wanted fields, and equal bytes. */
function contains(value: unknown, wanted: unknown): boolean {
  if (wanted === value) return true;
  if (typeof wanted !== 'object' || typeof value !== 'object' || wanted === null || value === null) return false;
  if (wanted instanceof Uint8Array) return value instanceof Uint8Array && Buffer.compare(wanted, value) === 0;
  if (Array.isArray(wanted))
    return Array.isArray(value) && Object.values(wanted).every((each) => value.some((other) => contains(other, each)));
  return Object.entries(wanted).every(([name, each]) => each === undefined || contains((value as Item)[name], each));
}
