/** Neighbours and FDB entries to and from what passes between lib and the addon. */

import { ip6Text } from '../core/address.js';
import { decodeEntries } from '../rtnl/entry-decoder.js';
import { NO_LINK, NO_VNI, ENTRY_RECORD as RECORD, ENTRY_ROW as ROW, ROW_KINDS, VERBS } from '../rtnl/entry-layout.js';
import { FLAGS, NEIGHBOR_STATES } from '../rtnl/entry-words.js';
import type { EntryRows } from '../system/native.js';

export type Verb = keyof typeof VERBS;
/** By number. */
const WORDS = Object.keys(VERBS) as Verb[];

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
export const NTF = { use: 0x01, self: 0x02, master: 0x04, proxy: 0x08, extLearned: 0x10 } as const;

export interface Entry {
  readonly verb: Verb;
  readonly link: string;
  readonly linkIndex?: number;
  readonly via?: string;
  /** Address of a neighbour, VTEP of an FDB entry. */
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
  for (let at = 0; at + RECORD.size <= records.length; at += RECORD.size) {
    const family = records[at + RECORD.family];
    const bytes = records.subarray(at + RECORD.ip, at + RECORD.ip + 16);
    const ip = family === 4 ? bytes.subarray(0, 4).join('.') : family === 6 ? ip6Text(bytes) : undefined;
    const mac =
      records[at + RECORD.hasMac] === 1 ? macOf(records.subarray(at + RECORD.mac, at + RECORD.mac + 6)) : undefined;
    const vni = view.getUint32(at + RECORD.vni, true);
    const via = view.getUint16(at + RECORD.via, true);
    entries.push({
      verb: WORDS[records[at + RECORD.verb] as number] as Verb,
      flags: records[at + RECORD.flags] as number,
      state: view.getUint16(at + RECORD.state, true),
      link: links[view.getUint16(at + RECORD.link, true)] as string,
      ...some('linkIndex', indexes[view.getUint16(at + RECORD.link, true)] as number),
      ...(ip === undefined ? {} : { ip }),
      ...(mac === undefined ? {} : { mac }),
      ...(vni === NO_VNI ? {} : { vni }),
      ...(via === NO_LINK ? {} : { via: links[via] as string }),
      ...some('port', view.getUint16(at + RECORD.port, true)),
      ...some('vlan', view.getUint16(at + RECORD.vlan, true)),
      ...some('nexthop', view.getUint32(at + RECORD.nexthop, true)),
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
  /** Address of a neighbour, VTEP of an FDB entry. */
  readonly ip?: string | undefined;
  readonly mac?: string | undefined;
  readonly state: number;
  readonly flags: number;
  readonly vni?: number | undefined;
  readonly port?: number | undefined;
}

const RARE = 2;

/** Writes a listing as lib/rtnl/entry-decoder.ts reads it. */
export function writeRows(table: 'neighbor' | 'fdb', entries: readonly ListedEntry[]): EntryRows {
  const rows = Buffer.alloc(entries.length * ROW.size);
  const links = [...new Set(entries.flatMap(({ link, master }) => (master === undefined ? [link] : [link, master])))];
  let text = '';
  entries.forEach(({ link, master, ip = '', mac = '', state, flags, vni = NO_VNI, port = 0 }, number) => {
    const at = number * ROW.size;
    rows.writeUInt8(ROW_KINDS.indexOf(table), at + ROW.kind);
    rows.writeUInt8(flags, at + ROW.flags);
    rows.writeUInt8(ip.length, at + ROW.ipLength);
    rows.writeUInt16LE(state, at + ROW.state);
    rows.writeUInt8(mac.length, at + ROW.macLength);
    rows.writeUInt8(vni !== NO_VNI || port !== 0 || master !== undefined ? RARE : 0, at + ROW.marks);
    rows.writeUInt32LE(text.length, at + ROW.text);
    rows.writeUInt16LE(links.indexOf(link), at + ROW.link);
    rows.writeUInt16LE(NO_LINK, at + ROW.via);
    rows.writeUInt16LE(master === undefined ? NO_LINK : links.indexOf(master), at + ROW.master);
    rows.writeUInt16LE(port, at + ROW.port);
    rows.writeUInt32LE(vni, at + ROW.vni);
    rows.writeUInt32LE(NO_VNI, at + ROW.sourceVni);
    rows.writeUInt32LE(NO_VNI, at + ROW.object);
    text += ip + mac;
  });
  const [names, indexes] = [links.map(({ name }) => name), links.map(({ index }) => index)];
  return { rows, text: Buffer.from(text, 'latin1'), links: names, indexes };
}

/** Events as the addon hands them over, all as objects. */
export function writeObjects(count: number): EntryRows {
  const rows = Buffer.alloc(count * ROW.size);
  for (let number = 0; number < count; number++) rows.writeUInt32LE(number, number * ROW.size + ROW.object);
  return { rows, text: Buffer.alloc(0), links: [], indexes: [] };
}

/** In the words of Rtnl, its fields in the order that lib reads them. */
export function entryRow(table: 'neighbor' | 'fdb', entry: ListedEntry): Record<string, unknown> {
  return decodeEntries(writeRows(table, [entry]))[0] as Record<string, unknown>;
}
