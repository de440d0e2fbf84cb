/**
 * Neighbour and FDB commands as records of fixed size for the addon (native/binding/entries.h): a property of an object
 * costs a call there, and a batch of 100,000 entries has a million of them.
 */
import { canonicalIp, checkLinkName, ipBytes, ipFamily } from '../core/address.js';
import { inBatch, invalidArgument, invalidType } from '../core/errors.js';
import type { NativeRtnl } from '../system/native.js';
import { ENTRY_RECORD, NO_LINK, NO_VNI, VERBS } from './entry-layout.js';
import { EXTENDED_FLAGS, FDB_ACTIVITIES, FDB_STATES, FLAGS, NEIGHBOR_STATES } from './entry-words.js';
import { checkFields, checkOperation, isPlainEntry } from './fields.js';
import { isSeveral } from './identity.js';

const RECORD = ENTRY_RECORD;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
const NTF_PROXY = 0x08;

export interface Encoded {
  readonly records: Uint8Array;
  /** Names and indexes of the links that the link fields number, '' and 0 where one is not given. */
  readonly links: readonly string[];
  readonly indexes: readonly number[];
}

type Item = Readonly<Record<string, unknown>>;
type Operation = { readonly op: string; readonly item: unknown };

type AddressReader = NativeRtnl['addresses'];

/** Operations whose texts are read together. */
const READ_AT_ONCE = 2 ** 16;

/**
 * @throws TypeError, RangeError that name the field
 */
export function encodeEntries(
  table: 'neighbor' | 'fdb',
  operations: readonly Operation[],
  readAddresses?: AddressReader,
): Encoded {
  const alike = readAddresses && encodeAlike(table, operations, readAddresses);
  if (alike) return alike;
  const batch = new Batch(table, operations.length);
  for (let i = 0; i < operations.length; i++) {
    try {
      batch.encode(operations[i], i);
    } catch (error) {
      throw inBatch(error, i, operations.length);
    }
  }
  return batch.encoded();
}

/**
 * Encodes a batch in which most entries differ from the one before in their addresses alone, which the addon reads: in a
 * process that has just started JavaScript is interpreted, and takes as long for the characters of an address as the kernel
 * for the entry. Undefined when something is wrong or written unusually, which takes a closer look.
 */
function encodeAlike(
  table: 'neighbor' | 'fdb',
  operations: readonly Operation[],
  readAddresses: AddressReader,
): Encoded | undefined {
  const batch = new Batch(table, operations.length);
  const fdb = table === 'fdb';
  let before: Item | undefined; // an entry that others may be like
  let verb: unknown;
  try {
    for (let first = 0; first < operations.length; first += READ_AT_ONCE) {
      const end = Math.min(operations.length, first + READ_AT_ONCE);
      const texts = new Array<string>(2 * (end - first)).fill('');
      for (let i = first; i < end; i++) {
        const { op, item } = checkOperation(operations[i]) as { op: unknown; item: Item };
        const ip = fdb ? item.dst : item.ip;
        const simple = typeof item.mac === 'string' && typeof ip === 'string' && isPlainEntry(table, item);
        if (simple && before !== undefined && op === verb && item.link === before.link && item.state === before.state) {
          texts[2 * (i - first)] = item.mac as string;
          texts[2 * (i - first) + 1] = ip as string;
          continue;
        }
        batch.encode(operations[i], i);
        // A field that is deleted by has to be looked at each time.
        before = simple && op !== 'delete' ? item : undefined;
        verb = op;
      }
      if (!readAddresses(batch.records, first, end - first, texts.join('\n'))) return undefined;
    }
  } catch {
    return undefined;
  }
  return batch.encoded();
}

/** Records in the making. */
class Batch {
  readonly records: Uint8Array;
  readonly #view: DataView;
  readonly #links = new Links();
  readonly #table: 'neighbor' | 'fdb';

  constructor(table: 'neighbor' | 'fdb', count: number) {
    this.#table = table;
    this.records = new Uint8Array(count * RECORD.size);
    this.#view = new DataView(this.records.buffer);
  }

  encode(operation: unknown, at: number): void {
    const { op, item } = checkOperation(operation);
    checkFields(this.#table, op, item);
    const verb = word(VERBS, op);
    if (verb === undefined) throw invalidArgument('op', op, 'add, replace, append or delete');
    encode(this.#table, verb, item as Item, this.records, this.#view, at * RECORD.size, this.#links);
  }

  encoded(): Encoded {
    return { records: this.records, links: this.#links.names, indexes: this.#links.indexes };
  }
}

/** Links to numbers; nearly always the same link again. */
class Links {
  readonly names: string[] = [];
  readonly indexes: number[] = [];
  readonly #numbers = new Map<string, number>();
  #lastName: unknown;
  #lastIndex: unknown;
  #lastNumber = NO_LINK;

  /** By name, index or both; an entry that needs no link may have neither. */
  number(name: unknown, index: unknown, field: string, needed = true): number {
    if (name === this.#lastName && index === this.#lastIndex && this.#lastNumber !== NO_LINK) return this.#lastNumber;
    const checkedIndex = index === undefined ? 0 : integer(index, `${field}Index`, 0x7fff_ffff);
    const checked = name === undefined && (checkedIndex > 0 || !needed) ? '' : checkLinkName(name, field);
    const key = `${checkedIndex} ${checked}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.names.length;
      if (number >= NO_LINK) throw invalidArgument(field, name, 'among the 65534 links that one batch may name');
      this.names.push(checked);
      this.indexes.push(checkedIndex);
      this.#numbers.set(key, number);
    }
    this.#lastName = name;
    this.#lastIndex = index;
    this.#lastNumber = number;
    return number;
  }
}

function encode(
  table: 'neighbor' | 'fdb',
  verb: number,
  item: Item,
  out: Uint8Array,
  view: DataView,
  at: number,
  links: Links,
): void {
  const fdb = table === 'fdb';
  const states = fdb ? FDB_STATES : NEIGHBOR_STATES;
  let flags = 0;
  let extended = 0;
  if (item.flags !== undefined) {
    if (!Array.isArray(item.flags)) throw invalidType('flags', item.flags, 'an array');
    for (const flag of item.flags) {
      const bit = word(FLAGS, flag);
      const extendedBit = bit === undefined ? (word(EXTENDED_FLAGS, flag) ?? unnamedBit(flag)) : 0;
      if (extendedBit === undefined) {
        throw invalidArgument('flags', flag, `one of ${Object.keys({ ...FLAGS, ...EXTENDED_FLAGS }).join(', ')}`);
      }
      flags |= bit ?? 0;
      extended |= extendedBit;
    }
  }
  if (fdb && (flags & (NTF_SELF | NTF_MASTER)) === 0) flags |= isOfBridge(item) ? NTF_MASTER : NTF_SELF;
  // A deletion goes by its key alone.
  const state =
    item.state === undefined || verb === VERBS.delete ? 0x80 : (word(states, item.state) ?? unnamedState(item.state));
  if (state === undefined) throw invalidArgument('state', item.state, `one of ${Object.keys(states).join(', ')}`);
  // The kernel replaces only what there can be one of (vxlan_fdb_update_existing). As it is listed, one of several is
  // put in its own place.
  const beside = verb === VERBS.replace && fdb && (flags & NTF_SELF) !== 0 && item.linkIndex !== undefined;
  out[at + RECORD.verb] = beside && isSeveral(String(item.mac)) ? VERBS.append : verb;
  out[at + RECORD.flags] = flags;
  // Nobody can ask for a stale entry: written as it is listed, it is as good as new.
  const aged = fdb && state === FDB_STATES.stale && item.linkIndex !== undefined;
  view.setUint16(at + RECORD.state, aged ? (FDB_STATES.dynamic as number) : state, true);
  const ip = fdb ? item.dst : item.ip;
  if (ip !== undefined) out[at + RECORD.family] = writeIp(ip, fdb ? 'dst' : 'ip', out, at + RECORD.ip);
  else if (!fdb) throw invalidType('ip', ip, 'a string');
  if (item.mac !== undefined) {
    writeMac(item.mac, out, at + RECORD.mac);
    out[at + RECORD.hasMac] = 1;
  } else if (fdb) throw invalidType('mac', item.mac, 'a string');
  view.setUint32(at + RECORD.vni, item.vni === undefined ? NO_VNI : integer(item.vni, 'vni', 0xff_ffff), true);
  if (item.port !== undefined) view.setUint16(at + RECORD.port, integer(item.port, 'port', 0xffff), true);
  if (item.vlan !== undefined) view.setUint16(at + RECORD.vlan, integer(item.vlan, 'vlan', 4094), true);
  const needed = fdb || (flags & NTF_PROXY) === 0;
  view.setUint16(at + RECORD.link, links.number(item.link, item.linkIndex, 'link', needed), true);
  const via = item.via !== undefined || item.viaIndex !== undefined;
  view.setUint16(at + RECORD.via, via ? links.number(item.via, item.viaIndex, 'via') : NO_LINK, true);
  if (item.nexthop !== undefined)
    view.setUint32(at + RECORD.nexthop, integer(item.nexthop, 'nexthop', 0xffff_ffff), true);
  const source = item.sourceVni === undefined ? NO_VNI : integer(item.sourceVni, 'sourceVni', 0xff_ffff);
  view.setUint32(at + RECORD.sourceVni, source, true);
  if (item.protocol !== undefined) out[at + RECORD.protocol] = integer(item.protocol, 'protocol', 0xff);
  out[at + RECORD.extendedFlags] = extended;
  if (item.activity !== undefined) {
    const activity = word(FDB_ACTIVITIES, item.activity);
    if (activity === undefined) throw invalidArgument('activity', item.activity, 'notify or inactive');
    out[at + RECORD.activity] = activity;
  }
}

/**
 * True for an entry of a bridge's own table, as it is listed: behind a port the bridge is its master; an entry of the
 * bridge itself goes to the bridge's own device.
 */
function isOfBridge({ link, linkIndex, master, masterIndex }: Item): boolean {
  if (master === undefined && masterIndex === undefined) return false;
  return linkIndex !== undefined && masterIndex !== undefined ? linkIndex !== masterIndex : link !== master;
}

/** A bit that has no word, as it is listed. */
function unnamedBit(flag: unknown): number | undefined {
  const bit = typeof flag === 'string' && /^0x[0-9a-f]{1,2}$/.test(flag) ? Number(flag) : 0;
  return bit > 0 ? bit : undefined;
}

/** A state that has no word, as it is listed. */
function unnamedState(state: unknown): number | undefined {
  const value = typeof state === 'string' && /^[0-9]{1,3}$/.test(state) ? Number(state) : 256;
  return value < 256 ? value : undefined;
}

/** Looks a word up in a table; undefined for a value that is no word of it. */
function word(table: Readonly<Record<string, number>>, value: unknown): number | undefined {
  return typeof value === 'string' && Object.hasOwn(table, value) ? table[value] : undefined;
}

function integer(value: unknown, name: string, max: number): number {
  if (typeof value !== 'number') throw invalidType(name, value, 'a number');
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw invalidArgument(name, value, `an integer from 0 to ${max}`);
  return value;
}

/** The value of a hexadecimal digit by its character code; 255 = none. A sum above 255 tells that one was none. */
const HEX = Uint8Array.from({ length: 128 }, (_, code) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(code).toLowerCase());
  return digit < 0 ? 255 : digit;
});

function writeMac(value: unknown, out: Uint8Array, at: number): void {
  if (typeof value !== 'string') throw invalidType('mac', value, 'a string');
  let good = value.length === 17;
  for (let i = 0, char = 0; good && i < 6; i++, char += 3) {
    const high = HEX[value.charCodeAt(char)] as number;
    const low = HEX[value.charCodeAt(char + 1)] as number;
    good = high + low < 32 && (i === 5 || value.charCodeAt(char + 2) === 58);
    out[at + i] = (high << 4) | low;
  }
  if (!good) throw invalidArgument('mac', value, 'a MAC address like 02:42:c0:a8:00:02');
}

/** Returns the family, 4 or 6. */
function writeIp(value: unknown, name: string, out: Uint8Array, at: number): number {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  if (writeIp4(value, out, at)) return 4;
  const ip = canonicalIp(value, name);
  out.set(ipBytes(ip), at);
  return ipFamily(ip);
}

function writeIp4(text: string, out: Uint8Array, at: number): boolean {
  let part = 0;
  let number = -1;
  for (let i = 0; i <= text.length; i++) {
    const code = i === text.length ? 46 : text.charCodeAt(i);
    if (code === 46) {
      if (number < 0 || part > 3) return false;
      out[at + part++] = number;
      number = -1;
    } else {
      // No leading zeros: elsewhere they mean octal.
      if (code < 48 || code > 57 || number === 0) return false;
      number = (number < 0 ? 0 : number * 10) + code - 48;
      if (number > 255) return false;
    }
  }
  return part === 4;
}
