/**
 * The format of the records, the same in every store: `PREFIX/arp/IP` holds the MAC address of that IP address,
 * `PREFIX/fib/MAC` the VTEP behind which that MAC address is; all of it text, in canonical form.
 *
 * A store's answers are untrusted: anyone who can reach it can have written it, by hand too. Reading tolerates what a
 * shell adds (white space at the end, upper case in a MAC address) and refuses the rest with `OVERNS_RECORD`.
 */

import type { Cancel } from '../core/abort.js';
import { canonicalIp, canonicalMac, unicastIp, unicastMac, vtepIp } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import type { Endpoint } from './contract.js';

/**
 * `arp`: IP to MAC. `fib`: MAC to VTEP.
 * @example
 * ```ts
 * import type { RecordKind } from 'overns';
 *
 * const kinds: RecordKind[] = ['arp', 'fib'];
 * console.log(kinds.length); // 2
 * ```
 */
export type RecordKind = 'arp' | 'fib';

/**
 * One record as a list shows it.
 * @example
 * ```ts
 * import type { RecordEntry } from 'overns';
 *
 * const entry: RecordEntry = { kind: 'arp', key: '192.168.0.3', value: '02:42:c0:a8:00:03' };
 * console.log(entry.problem); // undefined
 * ```
 */
export interface RecordEntry {
  /** `other`: it stands neither under `PREFIX/arp/` nor under `PREFIX/fib/`, and means nothing to overns. */
  readonly kind: RecordKind | 'other';
  /** The key after `PREFIX/arp/` or `PREFIX/fib/`, else after `PREFIX/`, as it is stored. */
  readonly key: string;
  /** Canonical; for a record that cannot be used, the beginning of what is stored, fit for a terminal. */
  readonly value: string;
  /** The id of the lease that it goes with: Consul's session, etcd's lease in hexadecimal. Absent: it stays. */
  readonly lease?: string;
  /** Why the record cannot be used. Absent from a good one. */
  readonly problem?: string;
}

/**
 * Raw records of one prefix, for looking after them by hand: what a driver hands out for `overns records`.
 * @example
 * ```ts
 * import type { RecordStore } from 'overns';
 *
 * const bad = async (records: RecordStore) => (await records.list()).filter(({ problem }) => problem !== undefined);
 * console.log(bad.length); // 1
 * ```
 */
export interface RecordStore {
  /** All records, good and bad, in the order of their keys, and behind them what else is there. */
  list(options?: Cancel): Promise<readonly RecordEntry[]>;
  /** A record's value; null when there is none. @throws OvernsError `OVERNS_RECORD` for a bad one. */
  get(kind: RecordKind, key: string, options?: Cancel): Promise<string | null>;
  /** Writes a record. @throws RangeError, TypeError for a key or a value that is none. */
  put(kind: RecordKind, key: string, value: string, options?: Cancel): Promise<void>;
  /** Deletes a record, a bad one too. False when there was none. */
  delete(kind: RecordKind, key: string, options?: Cancel): Promise<boolean>;
  /**
   * Deletes what the store keeps of the network beside its records, such as Consul's journal: for a network that is given up. Who
   * follows it nevertheless reads it again. Absent: it keeps nothing.
   */
  forget?(options?: Cancel): Promise<void>;
}

/** A good value has 39 characters at most; what is longer is not looked at. */
const VALUE_MAX = 256;
const EXCERPT = 40;

const WANTED: Readonly<Record<RecordKind, string>> = {
  arp: 'a MAC address such as 02:42:c0:a8:00:02',
  fib: 'the IP address of a VTEP such as 10.0.0.1',
};

/** The beginning of a text from outside, fit for one line of a terminal: no control character is left in it. */
export function printable(value: string, max: number): string {
  const shown = value.length > max ? `${value.slice(0, max)}...` : value;
  // C0 and C1 controls, zero-width and direction marks, line separators, lone surrogates.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const unfit = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu;
  return shown.replace(unfit, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function excerpt(value: string): string {
  return `"${printable(value, EXCERPT)}"`;
}

/** Checks the kind of a record. */
export function checkKind(kind: unknown, name = 'kind'): RecordKind {
  if (kind === 'arp' || kind === 'fib') return kind;
  throw typeof kind === 'string' ? invalidArgument(name, kind, "'arp' or 'fib'") : invalidType(name, kind, 'a string');
}

/** The canonical key of a record: an IP address for `arp`, a MAC address for `fib`, of one host either way. */
export function checkKey(kind: RecordKind, key: unknown, name = 'key'): string {
  return kind === 'arp' ? unicastIp(key, name) : unicastMac(key, name);
}

/** The canonical value to be written. */
export function checkValue(kind: RecordKind, value: unknown, name = 'value'): string {
  return kind === 'arp' ? unicastMac(value, name) : vtepIp(value, name);
}

/** The endpoint in canonical form, every part of it checked. */
export function checkEndpoint(endpoint: unknown, name = 'endpoint'): Endpoint {
  if (endpoint === null || typeof endpoint !== 'object') throw invalidType(name, endpoint, 'an endpoint, an object');
  const { ip, ips = [ip], mac, vtep } = endpoint as Partial<Endpoint>;
  if (!Array.isArray(ips)) throw invalidType(`${name}.ips`, ips, 'an array of IP addresses');
  if (ips.length === 0) throw invalidArgument(`${name}.ips`, ips, 'an array of at least one IP address');
  const all = new Set<string>();
  // Not map(), which passes over holes, of which a sparse array can have billions.
  for (const [at, one] of ips.entries()) all.add(unicastIp(one, `${name}.ips[${at}]`));
  const first = ip === undefined ? [...all][0] : unicastIp(ip, `${name}.ip`);
  if (!all.has(first as string)) throw invalidArgument(`${name}.ip`, ip, 'one of its ips');
  return {
    ip: first as string,
    ips: [...new Set([first as string, ...all])],
    mac: unicastMac(mac, `${name}.mac`),
    vtep: vtepIp(vtep, `${name}.vtep`),
  };
}

/**
 * Why a record as stored cannot be used, or its canonical value. A key that is not canonical is bad, since no lookup
 * would find it.
 */
export function readRecord(kind: RecordKind, key: string, stored: Uint8Array): { value: string } | { problem: string } {
  const keyProblem = problemOfKey(kind, key);
  if (keyProblem !== undefined) return { problem: keyProblem };
  if (stored.length > VALUE_MAX) {
    return { problem: `its value of ${stored.length} bytes, "${head(stored)}", is not ${WANTED[kind]}` };
  }
  const text = Buffer.from(stored.buffer, stored.byteOffset, stored.length).toString('utf8').trimEnd();
  if (text === '') return { problem: `its value is empty, not ${WANTED[kind]}` };
  try {
    return { value: checkValue(kind, text) };
  } catch (error) {
    return { problem: `its value ${excerpt(text)} is not ${whyOf(error)}` };
  }
}

/** A record as a list shows it. */
export function recordEntry(kind: RecordKind, key: string, stored: Uint8Array, lease: string | undefined): RecordEntry {
  const read = readRecord(kind, key, stored);
  const held = lease !== undefined && { lease };
  if ('value' in read) return { kind, key, value: read.value, ...held };
  return { kind, key, value: head(stored), ...held, problem: read.problem };
}

/** Describes a key that is in neither folder of records, for a list. */
export function foreignEntry(key: string, stored: Uint8Array): RecordEntry {
  return { kind: 'other', key, value: head(stored), problem: 'it is neither in arp/ nor in fib/: not understood' };
}

/**
 * The canonical value of a record as stored.
 *
 * @param at where the record is, for the error
 * @throws OvernsError `OVERNS_RECORD`
 */
export function decodeRecord(kind: RecordKind, key: string, stored: Uint8Array, at: string): string {
  const read = readRecord(kind, key, stored);
  if ('value' in read) return read.value;
  throw recordError(at, read.problem, `put ${WANTED[kind]} there, or delete the record`);
}

/** The error for a record that cannot be used. */
export function recordError(at: string, problem: string, hint: string): OvernsError {
  return new OvernsError('OVERNS_RECORD', `record ${at}: ${problem}`, { hint });
}

function problemOfKey(kind: RecordKind, key: string): string | undefined {
  const canonical = kind === 'arp' ? canonicalIp : canonicalMac;
  try {
    const form = canonical(key, 'key');
    if (form !== key) return `its key is to be written ${form}`;
    checkKey(kind, key);
    return undefined;
  } catch (error) {
    return `its key ${excerpt(key)} is not ${whyOf(error)}`;
  }
}

/** Takes what was expected out of the message of an invalidArgument error, which ends with it. */
function whyOf(error: unknown): string {
  const { message } = error as Error;
  return message.slice(message.lastIndexOf(' is not ') + ' is not '.length);
}

/** The beginning of a value as stored. */
function head(stored: Uint8Array): string {
  // Four bytes a character at most. A character cut in half is beyond the end of what is shown.
  const bytes = stored.subarray(0, (EXCERPT + 2) * 4);
  return printable(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'), EXCERPT);
}
