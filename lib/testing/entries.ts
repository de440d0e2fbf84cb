/** Neighbours and FDB entries to and from what passes between lib and the addon. */

import { ip6Text } from '../core/address.js';
import { NO_LINK, NO_VNI, RECORD_BYTES } from '../rtnl/entry-encoder.js';
import { FLAGS, NEIGHBOR_STATES } from '../rtnl/entry-words.js';
import type { EntryRows } from '../system/native.js';

export type Verb = 'add' | 'replace' | 'append' | 'delete' | 'set';
const VERBS: readonly Verb[] = ['add', 'replace', 'append', 'delete', 'set'];

/** The bits that decide something here (include/uapi/linux/neighbour.h). */
export const NUD = {
  none: 0,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const;
export const NTF = { use: 0x01, self: 0x02, master: 0x04, proxy: 0x08 } as const;

export interface Entry {
  readonly verb: Verb;
  readonly link: string;
  readonly linkIndex?: number;
  readonly via?: string;
  /** Of a neighbour its address, of an FDB entry the VTEP. */
  readonly ip?: string;
  readonly mac?: string;
  readonly state: number;
  readonly flags: number;
  readonly vni?: number;
  readonly port?: number;
  readonly vlan?: number;
  readonly nexthop?: number;
}

/** Reads back what lib/rtnl/entry-encoder.ts has written. */
export function readRecords(records: Uint8Array, links: readonly string[], indexes: readonly number[]): Entry[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const entries: Entry[] = [];
  for (let at = 0; at + RECORD_BYTES <= records.length; at += RECORD_BYTES) {
    const family = records[at + 4];
    const bytes = records.subarray(at + 12, at + 28);
    const ip = family === 4 ? bytes.subarray(0, 4).join('.') : family === 6 ? ip6Text(bytes) : undefined;
    const mac = records[at + 5] === 1 ? macOf(records.subarray(at + 6, at + 12)) : undefined;
    const vni = view.getUint32(at + 28, true);
    const via = view.getUint16(at + 38, true);
    entries.push({
      verb: VERBS[records[at] as number] as Verb,
      flags: records[at + 1] as number,
      state: view.getUint16(at + 2, true),
      link: links[view.getUint16(at + 36, true)] as string,
      ...some('linkIndex', indexes[view.getUint16(at + 36, true)] as number),
      ...(ip === undefined ? {} : { ip }),
      ...(mac === undefined ? {} : { mac }),
      ...(vni === NO_VNI ? {} : { vni }),
      ...(via === NO_LINK ? {} : { via: links[via] as string }),
      ...some('port', view.getUint16(at + 32, true)),
      ...some('vlan', view.getUint16(at + 34, true)),
      ...some('nexthop', view.getUint32(at + 40, true)),
    });
  }
  return entries;
}

function some<K extends string>(name: K, value: number): Partial<Record<K, number>> {
  return (value === 0 ? {} : { [name]: value }) as Partial<Record<K, number>>;
}

function macOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function flagNames(flags: number): string[] {
  return Object.entries(FLAGS).flatMap(([name, bit]) => ((flags & bit) !== 0 ? [name] : []));
}

export function neighborState(state: number): string {
  return Object.entries(NEIGHBOR_STATES).find(([, bit]) => bit === state)?.[0] ?? String(state);
}

export function fdbState(state: number): string {
  if ((state & NUD.permanent) !== 0) return 'permanent';
  if ((state & NUD.noarp) !== 0) return 'static';
  if (state === NUD.reachable) return 'dynamic';
  return state === NUD.stale ? 'stale' : String(state);
}

export interface ListedLink {
  readonly name: string;
  readonly index: number;
}

/** A row of a listing as numbers. */
export interface ListedEntry {
  readonly link: ListedLink;
  readonly master?: ListedLink | undefined;
  /** Of a neighbour its address, of an FDB entry the VTEP. */
  readonly ip?: string | undefined;
  readonly mac?: string | undefined;
  readonly state: number;
  readonly flags: number;
  readonly vni?: number | undefined;
  readonly port?: number | undefined;
}

const ROW_BYTES = 48;
const RARE = 2;
const KIND = { neighbor: 1, fdb: 2 } as const;

/** Writes a listing as lib/rtnl/entry-decoder.ts reads it. */
export function writeRows(table: 'neighbor' | 'fdb', entries: readonly ListedEntry[]): EntryRows {
  const rows = Buffer.alloc(entries.length * ROW_BYTES);
  const links = [...new Set(entries.flatMap(({ link, master }) => (master === undefined ? [link] : [link, master])))];
  let text = '';
  entries.forEach(({ link, master, ip = '', mac = '', state, flags, vni = NO_VNI, port = 0 }, number) => {
    const at = number * ROW_BYTES;
    rows.writeUInt8(KIND[table], at);
    rows.writeUInt8(flags, at + 2);
    rows.writeUInt8(ip.length, at + 3);
    rows.writeUInt16LE(state, at + 4);
    rows.writeUInt8(mac.length, at + 6);
    rows.writeUInt8(vni !== NO_VNI || port !== 0 || master !== undefined ? RARE : 0, at + 7);
    rows.writeUInt32LE(text.length, at + 8);
    rows.writeUInt16LE(links.indexOf(link), at + 12);
    rows.writeUInt16LE(NO_LINK, at + 14);
    rows.writeUInt16LE(master === undefined ? NO_LINK : links.indexOf(master), at + 16);
    rows.writeUInt16LE(port, at + 18);
    rows.writeUInt32LE(vni, at + 24);
    rows.writeUInt32LE(NO_VNI, at + 28);
    rows.writeUInt32LE(NO_VNI, at + 36);
    text += ip + mac;
  });
  const [names, indexes] = [links.map(({ name }) => name), links.map(({ index }) => index)];
  return { rows, text: Buffer.from(text, 'latin1'), links: names, indexes };
}

/** Events as the addon hands them over, all as objects. */
export function writeObjects(count: number): EntryRows {
  const rows = Buffer.alloc(count * ROW_BYTES);
  for (let number = 0; number < count; number++) rows.writeUInt32LE(number, number * ROW_BYTES + 36);
  return { rows, text: Buffer.alloc(0), links: [], indexes: [] };
}
