/** Keys and values under one prefix of etcd: read, listed, and written in transactions. */
import { nameBytes } from '../../core/address.js';
import { type PrefixKeys, recordKey, type StoredPair } from '../prefix-records.js';
import { decodeRecord, printable, type RecordKind } from '../records.js';
import { refusalOf } from '../server-http.js';
import { type EtcdHttp, isObject, type Json } from './http.js';
import { isLeaseNumber, leaseId } from './lease.js';

const SECOND = 1000;
const MIB = 2 ** 20;
/** One value: etcd's own limit is 1.5 MiB of a request unless its configuration says otherwise; base64 is a third longer. */
const VALUE_BYTES = 4 * MIB;
const VALUE_MS = 2 * SECOND;
/** What a watch asks for, and its beginning: nobody waits for it, so that a slow server is of use; as long as it may be silent later. */
export const WATCH_MS = 3.5 * SECOND;
/** A page of a list: some 250 bytes a record as JSON, and what does not belong there. */
const PAGE_BYTES = 128 * MIB;
const PAGE_KEYS = 10_000;
const PAGE_MS = 15 * SECOND;
/** How often a list is begun again because its revision was compacted meanwhile. */
const LIST_ATTEMPTS = 5;
/** Operations that etcd takes in one transaction. */
export const TXN_OPS = 128;

/** Which moment of which cluster an answer is about. */
export interface Moment {
  readonly cluster: string;
  /** Goes up with every transaction that changes something. */
  readonly revision: bigint;
}

/** A range that is read, or an operation of a transaction. */
export type Op =
  | { readonly request_put: { readonly key: string; readonly value: string; readonly lease?: string } }
  | { readonly request_delete_range: { readonly key: string } }
  | { readonly request_range: { readonly key: string } };

/** Condition of a transaction. */
export interface Compare {
  readonly key: string;
  readonly target: 'MOD';
  /** 0: there is no such key. */
  readonly mod_revision: string;
}

export class EtcdKv implements PrefixKeys {
  readonly #http: EtcdHttp;
  readonly prefix: string;
  readonly lossy = false;

  constructor(http: EtcdHttp, prefix: string) {
    this.#http = http;
    this.prefix = prefix;
  }

  key(kind: RecordKind, key: string): string {
    return recordKey(this.prefix, kind, key);
  }

  /** A record's key as requests have it. */
  encoded(kind: RecordKind, key: string): string {
    return this.encodedKey(this.key(kind, key));
  }

  /** A key that was listed, likewise. */
  encodedKey(key: string): string {
    return encode(nameBytes(key));
  }

  /** Where a record is, for errors. */
  at(kind: RecordKind, key: string): string {
    return `${this.key(kind, key)} in ${this.#http.name}`;
  }

  /** All keys under the prefix, for requests. */
  get range(): { readonly key: string; readonly range_end: string } {
    // '0' comes right behind '/'.
    return { key: encode(Buffer.from(`${this.prefix}/`)), range_end: encode(Buffer.from(`${this.prefix}0`)) };
  }

  /** As many IP addresses have a record. */
  async count(signal: AbortSignal | undefined): Promise<number> {
    const [first, behind] = [recordKey(this.prefix, 'arp', ''), `${recordKey(this.prefix, 'arp', '').slice(0, -1)}0`];
    const doing = `counting ${first}`;
    const range = { key: encode(Buffer.from(first)), range_end: encode(Buffer.from(behind)), count_only: true };
    const answer = await this.#ask('kv/range', range, doing, signal, false);
    this.moment(answer, doing);
    if (answer.count !== undefined && !isNumber(answer.count)) throw this.#http.strange({ doing });
    return Number(answer.count ?? 0);
  }

  /** A record's value, checked; null when there is none. */
  async value(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<string | null> {
    const [pair] = await this.#range({ key: this.encoded(kind, key) }, this.#reading(kind, key), signal);
    return this.checked(kind, key, pair);
  }

  checked(kind: RecordKind, key: string, pair: StoredPair | undefined): string | null {
    return pair === undefined ? null : decodeRecord(kind, key, pair.value, this.at(kind, key));
  }

  /** Reads a key as it was at a revision. Undefined where that is not to be had any more: compacted, or of another history. `patient`: for a watch. */
  async valueAt(
    key: string,
    revision: bigint,
    signal: AbortSignal | undefined,
    patient = false,
  ): Promise<StoredPair | null | undefined> {
    const doing = `reading ${this.prefix}/`;
    try {
      return (await this.#range({ key, revision: String(revision) }, doing, signal, patient))[0] ?? null;
    } catch (error) {
      if (isNotKept(error)) return undefined;
      throw error;
    }
  }

  /** Sets a key to a text. */
  async write(kind: RecordKind, key: string, text: string, signal: AbortSignal | undefined): Promise<void> {
    const body = { key: this.encoded(kind, key), value: encode(Buffer.from(text)) };
    const doing = `writing ${this.key(kind, key)}`;
    const answer = await this.#ask('kv/put', body, doing, signal, true);
    this.moment(answer, doing);
  }

  /** Deletes a key. False if it was not there. */
  async remove(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const doing = `deleting ${printable(this.key(kind, key), 200)}`;
    const body = { key: this.encoded(kind, key) };
    const answer = await this.#ask('kv/deleterange', body, doing, signal, true);
    this.moment(answer, doing);
    return answer.deleted !== undefined && answer.deleted !== '0';
  }

  async pairs(signal: AbortSignal | undefined): Promise<readonly StoredPair[]> {
    return (await this.list(signal)).pairs;
  }

  /** All pairs under the prefix, of one moment: now, or as they were at a revision. */
  async list(
    signal: AbortSignal | undefined,
    ref?: boolean,
    at?: bigint,
  ): Promise<{ readonly pairs: StoredPair[]; readonly moment: Moment }> {
    const doing = `reading ${this.prefix}/`;
    let { key } = this.range;
    let moment: Moment | undefined;
    let pairs: StoredPair[] = [];
    for (let attempt = 1; ; ) {
      const revision = moment?.revision ?? at;
      const body = {
        ...this.range,
        key,
        limit: String(PAGE_KEYS),
        ...(revision !== undefined && { revision: String(revision) }),
      };
      const request = { path: 'kv/range', body, maxBytes: PAGE_BYTES, timeoutMs: PAGE_MS, signal, doing, ref };
      let answer: Json;
      try {
        answer = await this.#http.ask({ ...request, watching: true });
      } catch (error) {
        if (at !== undefined || attempt++ >= LIST_ATTEMPTS || !/compacted/.test(refusalOf(error)?.words ?? ''))
          throw error;
        ({ key } = this.range);
        moment = undefined;
        pairs = [];
        continue;
      }
      const now = this.moment(answer, doing);
      moment ??= { ...now, revision: at ?? now.revision };
      const page = this.#toPairs(answer.kvs, doing);
      pairs.push(...page);
      if (answer.more !== true || page.length === 0) return { pairs, moment };
      // The least key behind the last one.
      const last = (answer.kvs as { key: string }[])[page.length - 1] as { key: string };
      key = encode(Buffer.concat([Buffer.from(last.key, 'base64'), Buffer.of(0)]));
    }
  }

  /** Reads what is stored at these keys, all at one moment. `patient`: for a watch. */
  async many(
    keys: readonly string[],
    doing: string,
    signal: AbortSignal | undefined,
    patient = false,
  ): Promise<{ readonly pairs: readonly (StoredPair | undefined)[]; readonly moment: Moment }> {
    const success = keys.map((key): Op => ({ request_range: { key } }));
    const answer = await this.#ask('kv/txn', { success }, doing, signal, false, patient);
    const responses = answer.responses ?? [];
    if (!Array.isArray(responses) || responses.length !== keys.length) throw this.#http.strange({ doing });
    const pairs = responses.map((response: Json | null) => {
      const range = response?.response_range;
      if (!isObject(range)) throw this.#http.strange({ doing });
      return this.#toPairs(range.kvs, doing)[0];
    });
    return { pairs, moment: this.moment(answer, doing) };
  }

  /** All operations if all comparisons hold, else none. The revision that they have made; undefined: they were not done. */
  async transact(
    compare: readonly Compare[],
    success: readonly Op[],
    doing: string,
    signal: AbortSignal | undefined,
  ): Promise<bigint | undefined> {
    const answer = await this.#ask('kv/txn', { compare, success }, doing, signal, true);
    const { revision } = this.moment(answer, doing);
    return answer.succeeded === true ? revision : undefined;
  }

  refused(doing: string, words: string): Error {
    return this.#http.refused({ doing }, words);
  }

  /** The moment that an answer is about, which is in its header. */
  moment({ header }: Json, doing: string): Moment {
    const { cluster_id: cluster, revision } = isObject(header) ? header : {};
    // Revision 1 is the one of an etcd that nothing was ever written to.
    if (typeof cluster !== 'string' || !isNumber(revision)) throw this.#http.strange({ doing });
    return { cluster, revision: BigInt(revision) };
  }

  toPair(kv: unknown, doing: string): StoredPair {
    const { key, value = '', mod_revision: revision, lease } = isObject(kv) ? kv : {};
    if (typeof key !== 'string' || typeof value !== 'string' || !isNumber(revision))
      throw this.#http.strange({ doing });
    if (lease !== undefined && !isLeaseNumber(lease)) throw this.#http.strange({ doing });
    return {
      key: keyText(Buffer.from(key, 'base64')),
      value: Buffer.from(value, 'base64'),
      revision: BigInt(revision),
      lease: lease === undefined ? undefined : leaseId(lease),
    };
  }

  #toPairs(kvs: unknown, doing: string): StoredPair[] {
    if (kvs === undefined) return [];
    if (!Array.isArray(kvs)) throw this.#http.strange({ doing });
    return kvs.map((kv) => this.toPair(kv, doing));
  }

  #reading(kind: RecordKind, key: string): string {
    return `reading ${printable(this.key(kind, key), 200)}`;
  }

  async #range(body: Json, doing: string, signal: AbortSignal | undefined, patient = false): Promise<StoredPair[]> {
    const answer = await this.#ask('kv/range', body, doing, signal, false, patient);
    this.moment(answer, doing);
    return this.#toPairs(answer.kvs, doing);
  }

  #ask(
    path: string,
    body: unknown,
    doing: string,
    signal: AbortSignal | undefined,
    writes: boolean,
    patient = false,
  ): Promise<Json> {
    const timeoutMs = patient ? WATCH_MS : VALUE_MS;
    return this.#http.ask({ path, body, doing, signal, writes, maxBytes: VALUE_BYTES, timeoutMs });
  }
}

/** True for the refusal of a revision that is not to be had: compacted, or of a time to come. */
export function isNotKept(error: unknown): boolean {
  return /compacted|future revision/.test(refusalOf(error)?.words ?? '');
}

export function encode(bytes: Buffer): string {
  return bytes.toString('base64');
}

/** The key as a text that `nameBytes()` reads: `\xff` stands for a byte that is no part of UTF-8. */
export function keyText(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!text.includes('\\x') && !text.includes('\ufffd')) return text;
  let shown = '';
  for (let at = 0; at < bytes.length; ) {
    const [size, char] = characterAt(bytes, at);
    shown += char ?? `\\x${(bytes[at] as number).toString(16).padStart(2, '0')}`;
    at += size;
  }
  return shown;
}

/** The character that begins at a byte; a backslash is none, since it begins what stands for a byte. */
function characterAt(bytes: Buffer, at: number): [size: number, char?: string] {
  for (let size = 1; size <= 4 && at + size <= bytes.length; size++) {
    const char = bytes.toString('utf8', at, at + size);
    if (char !== '\ufffd' && char.length > 0 && !char.includes('\ufffd')) return char === '\\' ? [1] : [size, char];
    if (char === '\ufffd' && size === 3 && bytes.readUIntBE(at, 3) === 0xefbfbd) return [3, char];
  }
  return [1];
}

function isNumber(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,19}$/.test(value);
}
