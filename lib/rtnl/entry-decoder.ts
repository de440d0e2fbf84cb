/**
 * Neighbours, FDB entries and misses as the addon hands them over: rows of fixed size and one text with all their
 * strings (native/binding/entry_rows.h), read into plain objects of few shapes. The counterpart of entry-encoder.ts.
 */
import type { EntryRows } from '../system/native.js';
import { ENTRY_ROW, NO_LINK, NO_VNI, ROW_ACTIONS, ROW_KINDS } from './entry-layout.js';
import { EXTENDED_FLAGS, FDB_ACTIVITIES, FDB_STATES, FLAGS, NEIGHBOR_STATES } from './entry-words.js';

/** Rows are read a word at a time: constants, since a property costs several times as much while this is not compiled. */
const wordOf = (field: keyof typeof ENTRY_ROW): number => Math.floor(ENTRY_ROW[field] / Uint32Array.BYTES_PER_ELEMENT);
const ROW_WORDS = wordOf('size');
/** `kind`, `action`, `flags` and `ipLength`, from the lowest byte on. */
const HEAD = wordOf('kind');
/** `state`, `macLength` and `marks`. */
const STATE = wordOf('state');
const TEXT = wordOf('text');
/** `link` and `via`. */
const LINKS = wordOf('link');
/** `master` and `port`. */
const MASTER = wordOf('master');
/** `vlan`, `protocol` and `activity`. */
const VLAN = wordOf('vlan');
const VNI = wordOf('vni');
const SOURCE_VNI = wordOf('sourceVni');
const NEXTHOP = wordOf('nexthop');
const OBJECT_NUMBER = wordOf('object');
const LINK_NETNSID = wordOf('linkNetnsid');
const EXTENDED = wordOf('extendedFlags');
/**
 * Rows that share one text. Their strings are slices of it and keep it alive: of a listing of any size, whoever keeps
 * one row keeps the text of as many.
 */
const ROWS_PER_TEXT = 32;

const OBJECT = ROW_KINDS.indexOf('object');
const FDB = ROW_KINDS.indexOf('fdb');
const MISS = ROW_KINDS.indexOf('miss');
const LISTED = ROW_ACTIONS.indexOf('listed');
const DELETE = ROW_ACTIONS.indexOf('delete');
const L2_MISS = ROW_ACTIONS.indexOf('l2Miss');
const VXLAN = 1;
const RARE = 2;
const ELSEWHERE = 4;
const NO_OBJECT = 0xffff_ffff;

type Item = Record<string, unknown>;

const neighborStates = wordsOf(NEIGHBOR_STATES);
const fdbStates = wordsOf(FDB_STATES);

/** Value to word, as an array: NUD_* are the bits of a byte. */
function wordsOf(values: Readonly<Record<string, number>>): readonly string[] {
  const words = Array.from({ length: 256 }, (_, value) => String(value));
  for (const [word, value] of Object.entries(values)) words[value] = word;
  return words;
}

const ACTIVITIES: readonly (string | undefined)[] = Object.entries(FDB_ACTIVITIES).reduce<string[]>(
  (words, [word, value]) => Object.assign(words, { [value]: word }),
  [],
);

/** A bit without a word is its number. */
function extendedFlagWords(flags: number): string[] {
  const named = Object.keys(EXTENDED_FLAGS).filter((word) => (flags & (EXTENDED_FLAGS[word] as number)) !== 0);
  const rest = named.reduce((bits, word) => bits & ~(EXTENDED_FLAGS[word] as number), flags) >>> 0;
  const bits = Array.from({ length: 32 }, (_, at) => 2 ** at).filter((bit) => (rest & bit) !== 0);
  return [...named, ...bits.map((bit) => `0x${bit.toString(16)}`)];
}

/** The words of every combination of flags: entries share them, frozen. */
const flagWords: readonly (readonly string[])[] = Array.from({ length: 256 }, (_, flags) =>
  Object.freeze(Object.keys(FLAGS).filter((word) => (flags & (FLAGS[word] as number)) !== 0)),
);

/** A state may combine bits; the one that decides about ageing names it. */
function fdbState(state: number): string {
  if ((state & 0x80) !== 0) return 'permanent';
  if ((state & 0x40) !== 0) return 'static';
  return fdbStates[state] ?? String(state);
}

/**
 * The entries of a listing, or the events of a monitor when `at` is given.
 * @param objects the events that are no entries, in order
 * @param at when they were read, CLOCK_MONOTONIC nanoseconds
 */
export function decodeEntries(source: EntryRows, objects: readonly Item[] = [], at?: bigint): Item[] {
  const { rows, links, indexes } = source;
  // Four words of a row are all that most need: a field by itself costs several times as much while this is not compiled.
  const words = new Uint32Array(rows.buffer, rows.byteOffset, rows.byteLength / Uint32Array.BYTES_PER_ELEMENT);
  const count = words.length / ROW_WORDS;
  const items = new Array<Item>(count);
  let text = '';
  let base = 0;
  for (let i = 0; i < count; i++) {
    const row = i * ROW_WORDS;
    const head = words[row + HEAD] as number;
    const more = words[row + STATE] as number;
    const start = words[row + TEXT] as number;
    if (i % ROWS_PER_TEXT === 0) {
      const next = i + ROWS_PER_TEXT;
      const end = next < count ? (words[next * ROW_WORDS + TEXT] as number) : source.text.byteLength;
      text = source.text.toString('latin1', start, end);
      base = start;
    }
    const kind = head & 0xff;
    if (kind === OBJECT) {
      const event = objects[words[row + OBJECT_NUMBER] as number] as Item;
      event.atNs = at;
      items[i] = event;
      continue;
    }
    const action = (head >>> 8) & 0xff;
    const flags = (head >>> 16) & 0xff;
    const state = more & 0xffff;
    const ipAt = start - base;
    const macAt = ipAt + (head >>> 24);
    const macEnd = macAt + ((more >>> 16) & 0xff);
    const ip = macAt > ipAt ? text.slice(ipAt, macAt) : undefined;
    const mac = macEnd > macAt ? text.slice(macAt, macEnd) : undefined;
    const number = (words[row + LINKS] as number) & 0xffff;
    const link = links[number] as string;
    const linkIndex = indexes[number] as number;
    let item: Item;
    if (kind === FDB) {
      const named = flagWords[flags];
      item =
        action === LISTED
          ? fdb(link, linkIndex, mac, ip, fdbState(state), named)
          : fdbEvent(action === DELETE ? 'delete' : 'new', link, linkIndex, mac, ip, fdbState(state), named, at);
    } else {
      const word = neighborStates[state] ?? String(state);
      if (action === LISTED) item = neighbor(link, linkIndex, ip, mac, word);
      else if (kind === MISS)
        item = miss(
          action === L2_MISS ? 'l2' : 'l3',
          link,
          linkIndex,
          ip,
          mac,
          word,
          ((more >>> 24) & VXLAN) !== 0,
          at,
        );
      else item = neighborEvent(action === DELETE ? 'delete' : 'new', link, linkIndex, ip, mac, word, at);
      if (flags !== 0) {
        item.flags = flagWords[flags];
        // A proxy may be on all links.
        if (linkIndex === 0) {
          delete item.link;
          delete item.linkIndex;
        }
      }
    }
    if (((more >>> 24) & RARE) !== 0 && kind !== MISS) rare(item, words, row, source);
    items[i] = item;
  }
  return items;
}

// One literal for each shape, so that objects of a kind have the same one: an absent field is not a field.

function neighbor(
  link: string,
  linkIndex: number,
  ip: string | undefined,
  mac: string | undefined,
  state: string,
): Item {
  if (ip === undefined) return mac === undefined ? { link, linkIndex, state } : { link, linkIndex, mac, state };
  return mac === undefined ? { link, linkIndex, ip, state } : { link, linkIndex, ip, mac, state };
}

function neighborEvent(
  action: string,
  link: string,
  linkIndex: number,
  ip: string | undefined,
  mac: string | undefined,
  state: string,
  atNs: bigint | undefined,
): Item {
  const kind = 'neighbor';
  if (ip === undefined)
    return mac === undefined
      ? { kind, action, link, linkIndex, state, atNs }
      : { kind, action, link, linkIndex, mac, state, atNs };
  return mac === undefined
    ? { kind, action, link, linkIndex, ip, state, atNs }
    : { kind, action, link, linkIndex, ip, mac, state, atNs };
}

function fdb(
  link: string,
  linkIndex: number,
  mac: string | undefined,
  dst: string | undefined,
  state: string,
  flags: readonly string[] | undefined,
): Item {
  if (dst === undefined)
    return mac === undefined ? { link, linkIndex, state, flags } : { link, linkIndex, mac, state, flags };
  return mac === undefined ? { link, linkIndex, dst, state, flags } : { link, linkIndex, mac, dst, state, flags };
}

function fdbEvent(
  action: string,
  link: string,
  linkIndex: number,
  mac: string | undefined,
  dst: string | undefined,
  state: string,
  flags: readonly string[] | undefined,
  atNs: bigint | undefined,
): Item {
  const kind = 'fdb';
  if (dst === undefined)
    return mac === undefined
      ? { kind, action, link, linkIndex, state, flags, atNs }
      : { kind, action, link, linkIndex, mac, state, flags, atNs };
  return mac === undefined
    ? { kind, action, link, linkIndex, dst, state, flags, atNs }
    : { kind, action, link, linkIndex, mac, dst, state, flags, atNs };
}

function miss(
  query: 'l2' | 'l3',
  link: string,
  linkIndex: number,
  ip: string | undefined,
  mac: string | undefined,
  state: string,
  vxlan: boolean,
  atNs: bigint | undefined,
): Item {
  const kind = 'miss';
  if (ip === undefined)
    return mac === undefined
      ? { kind, query, link, linkIndex, state, vxlan, atNs }
      : { kind, query, link, linkIndex, mac, state, vxlan, atNs };
  return mac === undefined
    ? { kind, query, link, linkIndex, ip, state, vxlan, atNs }
    : { kind, query, link, linkIndex, ip, mac, state, vxlan, atNs };
}

/** Fields that most entries have not. */
function rare(item: Item, words: Uint32Array, row: number, source: EntryRows): void {
  const { links, indexes } = source;
  const vni = words[row + VNI] as number;
  if (vni !== NO_VNI) item.vni = vni;
  const port = (words[row + MASTER] as number) >>> 16;
  if (port !== 0) item.port = port;
  const elsewhere = ((words[row + STATE] as number) >>> 24) & ELSEWHERE;
  const via = (words[row + LINKS] as number) >>> 16;
  if (via !== NO_LINK) {
    // An index of another namespace has no name here.
    if (!elsewhere) item.via = links[via];
    item.viaIndex = indexes[via];
  }
  if (elsewhere) item.linkNetnsid = (words[row + LINK_NETNSID] as number) | 0;
  const master = (words[row + MASTER] as number) & 0xffff;
  if (master !== NO_LINK) {
    item.master = links[master];
    item.masterIndex = indexes[master];
  }
  const vlan = (words[row + VLAN] as number) & 0xffff;
  if (vlan !== 0) item.vlan = vlan;
  const nexthop = words[row + NEXTHOP] as number;
  if (nexthop !== 0) item.nexthop = nexthop;
  const protocol = ((words[row + VLAN] as number) >>> 16) & 0xff;
  if (protocol !== 0) item.protocol = protocol;
  const activity = (words[row + VLAN] as number) >>> 24;
  if (activity !== 0) item.activity = ACTIVITIES[activity] ?? activity;
  const extended = words[row + EXTENDED] as number;
  if (extended !== 0) {
    item.flags = [...((item.flags as readonly string[] | undefined) ?? []), ...extendedFlagWords(extended)];
  }
  const sourceVni = words[row + SOURCE_VNI] as number;
  if (sourceVni !== NO_VNI) item.sourceVni = sourceVni;
  if (source.unknown !== undefined) {
    const unknown = words[row + OBJECT_NUMBER] as number;
    if (unknown !== NO_OBJECT) item.unknown = source.unknown[unknown];
  }
}
