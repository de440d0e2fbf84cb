/**
 * Records in Consul's key-value store, over plain HTTP.
 *
 * Written so that `curl` on the same keys works both ways: `PREFIX/arp/IP` and `PREFIX/fib/MAC`, values as plain text,
 * no flags, no sessions.
 *
 * https://developer.hashicorp.com/consul/api-docs/kv, .../txn, .../features/blocking
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cancel } from '../../core/abort.js';
import { invalidArgument, invalidType, OvernsError } from '../../core/errors.js';
import type { Backend, Network, WatchRun } from '../backend.js';
import type { Answer, Change, Endpoint, Query } from '../contract.js';
import {
  checkKey,
  checkKind,
  checkValue,
  decodeRecord,
  printable,
  type RecordEntry,
  type RecordKind,
  type RecordStore,
  readRecord,
  recordEntry,
  recordError,
} from '../records.js';
import { type ConsulAnswer, ConsulHttp, type ConsulOptions, mayPass, tokenHint } from './http.js';
import { Snapshot } from './snapshot.js';

const SECOND = 1000;
const MIB = 2 ** 20;
/** One value: Consul's own limit is 512 KiB unless its configuration says otherwise; as JSON it is a third longer. */
const VALUE_BYTES = MIB;
const VALUE_MS = 2 * SECOND;
/** A whole prefix: a record takes some 250 bytes as JSON, so this is half a million of them. */
const LIST_BYTES = 128 * MIB;
const LIST_MS = 15 * SECOND;
/** How long a blocking query waits for a change. Consul adds up to a sixteenth. */
const WAIT_MS = 30 * SECOND;
/** Operations that Consul takes in one transaction. */
const TXN_OPS = 64;
/** How often a withdrawal is tried because the records changed under it. */
const CAS_ATTEMPTS = 5;
/** How often two records are read because the second was gone when the first had been read. */
const READ_ATTEMPTS = 20;

/** The records of one Consul agent. */
export class ConsulBackend implements Backend {
  readonly #http: ConsulHttp;

  constructor(options: ConsulOptions) {
    this.#http = new ConsulHttp(options);
  }

  network(prefix: string): Network {
    return new ConsulNetwork(this.#http, prefix);
  }

  scope(prefix: string): string {
    return `${this.#http.name}/${prefix}`;
  }

  close(): Promise<void> {
    return this.#http.close();
  }
}

/** A key with its value, as Consul's JSON has it. */
interface Pair {
  readonly key: string;
  readonly value: Buffer;
  /** Goes up with every change; what compare-and-set compares. */
  readonly modifyIndex: number;
}

type TxnOp =
  | { readonly Verb: 'set'; readonly Key: string; readonly Value: string }
  | { readonly Verb: 'delete-cas'; readonly Key: string; readonly Index: number }
  | { readonly Verb: 'get' | 'delete' | 'get-tree'; readonly Key: string };

class ConsulNetwork implements Network, RecordStore {
  readonly #http: ConsulHttp;
  readonly #prefix: string;

  constructor(http: ConsulHttp, prefix: string) {
    this.#http = http;
    this.#prefix = prefix;
  }

  records(): RecordStore {
    return this;
  }

  /** IP to MAC to VTEP, one request each; an `arp` record without its `fib` record is an error that says so. */
  async lookup(query: Query, signal: AbortSignal | undefined): Promise<Answer | null> {
    if (query.kind === 'l2') {
      const vtep = await this.#value('fib', query.mac, signal);
      return vtep === null ? null : { mac: query.mac, vtep };
    }
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const mac = await this.#value('arp', query.ip, signal);
      if (mac === null) return null;
      const vtep = await this.#value('fib', mac, signal);
      if (vtep !== null) return { mac, vtep };
      // Withdrawn or moved between the two requests, or really half a record? One look at both tells.
      const both = await this.#tree([this.#key('arp', query.ip), this.#key('fib', mac)], signal);
      const arp = both.get(this.#key('arp', query.ip));
      if (arp !== undefined && !both.has(this.#key('fib', mac)) && holds('arp', query.ip, arp, mac)) {
        throw recordError(
          this.#at('arp', query.ip),
          `it names ${mac}, of which there is no record`,
          `put the VTEP's address at ${this.#key('fib', mac)}, or delete the record`,
        );
      }
    }
    throw this.#refused(`reading ${this.#key('arp', query.ip)}`, 'it changes all the time');
  }

  /** All in one transaction: nobody ever reads an `arp` record without its `fib` record. */
  async publish(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<void> {
    const set = (kind: RecordKind, key: string, value: string): TxnOp => ({
      Verb: 'set',
      Key: this.#key(kind, key),
      Value: Buffer.from(value).toString('base64'),
    });
    const ops = [set('fib', endpoint.mac, endpoint.vtep), ...endpoint.ips.map((ip) => set('arp', ip, endpoint.mac))];
    const doing = `publishing ${endpoint.ips.join(', ')}`;
    for (let at = 0; at < ops.length; at += TXN_OPS) {
      const conflict = await this.#transact(ops.slice(at, at + TXN_OPS), doing, signal);
      if (conflict !== undefined) throw this.#refused(doing, conflict);
    }
  }

  /** Deletes what is still as the endpoint has it; a newer record, of a container that moved, stays. */
  async withdraw(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<void> {
    const doing = `withdrawing ${endpoint.ips.join(', ')}`;
    let conflict: string | undefined;
    for (let attempt = 0; attempt < CAS_ATTEMPTS; attempt++) {
      const ops = await this.#withdrawal(endpoint, signal);
      conflict = undefined;
      // The fib record goes last, so that no arp record is ever without it.
      for (let at = 0; at < ops.length && conflict === undefined; at += TXN_OPS) {
        conflict = await this.#transact(ops.slice(at, at + TXN_OPS), doing, signal);
      }
      if (conflict === undefined) return;
    }
    throw this.#refused(doing, conflict as string);
  }

  async #withdrawal(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<TxnOp[]> {
    const station = await this.#pair('fib', endpoint.mac, signal);
    if (station !== null && !holds('fib', endpoint.mac, station, endpoint.vtep)) return [];
    const ops: TxnOp[] = [];
    const owned = await Promise.all(
      endpoint.ips.map(async (ip) => ({ ip, pair: await this.#pair('arp', ip, signal) })),
    );
    for (const { ip, pair } of owned) {
      if (pair !== null && holds('arp', ip, pair, endpoint.mac)) ops.push(deletion(pair));
    }
    if (station !== null) ops.push(deletion(station));
    return ops;
  }

  /**
   * A `reset` with all records, then every change, by blocking queries. Bad records are left out: a lookup of them
   * says what is wrong. So are `fib` records without an `arp` record, which are no endpoints.
   *
   * Throws once Consul cannot be asked (several attempts were made); watching again begins with a `reset`.
   */
  async *watch({ signal, ref }: WatchRun): AsyncGenerator<Change, void, undefined> {
    const timer = { signal, ref: ref ?? true };
    let last: Snapshot | undefined;
    let index = 0n;
    // Whether the next question waits for a change.
    let wait = false;
    for (;;) {
      const asked = performance.now();
      let listed: { pairs: Pair[]; answer: ConsulAnswer };
      try {
        listed = await this.#list(signal, { after: wait ? index : undefined, ref: ref ?? true });
      } catch (error) {
        if (OvernsError.is(error) && error.code === 'OVERNS_CLOSED') return;
        if (!wait || !mayPass(error)) throw error;
        // Look before waiting again: to a server that lost its data the index means nothing, and it would be silent
        // until it gets there. Everyone's wait has ended just now, so they do not all come at once.
        wait = false;
        await sleep(Math.random() * SECOND, undefined, timer);
        continue;
      }
      const { pairs, answer } = listed;
      // 0 would not wait (Consul's advice on blocking queries).
      const next = answer.index || 1n;
      let pause: number;
      if (wait && next === index) {
        // The wait is over. Early, when Consul shuts down, or when something in between knows no blocking queries.
        pause = SECOND - (performance.now() - asked);
        wait = pause <= 0;
      } else {
        const snapshot = new Snapshot(this.#good(pairs));
        if (last === undefined || next < index) {
          // Backwards: Consul lost its data or got other ones, and what happened between is not known.
          yield { kind: 'reset', endpoints: snapshot.endpoints(), index: next };
        } else {
          for (const change of snapshot.since(last)) yield { ...change, index: next };
        }
        last = snapshot;
        index = next;
        // Every change costs the whole prefix anew: half of the time at most goes into that.
        pause = Math.min(performance.now() - answer.headAt, SECOND);
        wait = true;
      }
      if (pause > 1) await sleep(pause, undefined, timer);
    }
  }

  async list({ signal }: Cancel = {}): Promise<readonly RecordEntry[]> {
    const { pairs } = await this.#list(signal);
    return this.#split(pairs).map(({ kind, key, value }) => recordEntry(kind, key, value));
  }

  async get(kind: RecordKind, key: string, { signal }: Cancel = {}): Promise<string | null> {
    return this.#value(checkKind(kind), checkKey(kind, key), signal);
  }

  async put(kind: RecordKind, key: string, value: string, { signal }: Cancel = {}): Promise<void> {
    const path = this.#path(checkKind(kind), checkKey(kind, key));
    const doing = `writing ${this.#key(kind, checkKey(kind, key))}`;
    const body = checkValue(kind, value);
    const answer = await this.#http.request({
      method: 'PUT',
      path,
      body,
      maxBytes: VALUE_BYTES,
      timeoutMs: VALUE_MS,
      signal,
      doing,
    });
    const said = answer.body.toString('utf8').trim();
    if (said !== 'true') throw this.#refused(doing, printable(said, 100));
  }

  async delete(kind: RecordKind, key: string, { signal }: Cancel = {}): Promise<boolean> {
    for (const stored of spellings(checkKind(kind), key)) {
      if (await this.#remove(kind, stored, signal)) return true;
    }
    // As Consul lists bytes that are no UTF-8: which they were is not to be seen.
    if (key.includes('\ufffd')) {
      throw this.#refused(`deleting ${printable(this.#key(kind, key), 200)}`, 'its key is not UTF-8');
    }
    return false;
  }

  async #remove(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const doing = `deleting ${printable(this.#key(kind, key), 200)}`;
    const segments = key.replace(/\/$/, '').split('/');
    if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
      // Of a path these would be made something else, on the way or there.
      const Key = this.#key(kind, key);
      const ops: TxnOp[] = [
        { Verb: 'get', Key },
        { Verb: 'delete', Key },
      ];
      return (await this.#transact(ops, doing, signal)) === undefined;
    }
    // Consul says "true" to the deletion of what is not there.
    if ((await this.#raw(kind, key, signal)) === null) return false;
    const path = this.#path(kind, key);
    await this.#http.request({ method: 'DELETE', path, maxBytes: VALUE_BYTES, timeoutMs: VALUE_MS, signal, doing });
    return true;
  }

  #key(kind: RecordKind, key: string): string {
    return `${this.#prefix}/${kind}/${key}`;
  }

  #path(kind: RecordKind, key: string): string {
    return `/v1/kv/${this.#key(kind, key).split('/').map(encodeURIComponent).join('/')}`;
  }

  /** Where a record is, for errors. */
  #at(kind: RecordKind, key: string): string {
    return `${this.#key(kind, key)} in ${this.#http.name}`;
  }

  /** A record's value, checked; null when there is none. */
  async #value(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<string | null> {
    const stored = await this.#raw(kind, key, signal);
    return stored === null ? null : decodeRecord(kind, key, stored, this.#at(kind, key));
  }

  async #raw(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<Buffer | null> {
    const answer = await this.#get(kind, key, '?raw', signal);
    return answer.status === 404 ? null : answer.body;
  }

  async #pair(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<Pair | null> {
    const answer = await this.#get(kind, key, '', signal);
    if (answer.status === 404) return null;
    const doing = `reading ${this.#key(kind, key)}`;
    return this.#toPairs(this.#parse(answer, doing), doing)[0] ?? null;
  }

  async #get(kind: RecordKind, key: string, query: string, signal: AbortSignal | undefined): Promise<ConsulAnswer> {
    const doing = `reading ${printable(this.#key(kind, key), 200)}`;
    const answer = await this.#http.request({
      method: 'GET',
      path: this.#path(kind, key) + query,
      maxBytes: VALUE_BYTES,
      timeoutMs: VALUE_MS,
      signal,
      accept: [404],
      doing,
    });
    this.#checkIndex(answer, doing);
    return answer;
  }

  /** All pairs under the prefix: as they are, or for a watch once there are others than at an index. */
  async #list(
    signal: AbortSignal | undefined,
    watch?: { readonly after: bigint | undefined; readonly ref: boolean },
  ): Promise<{ pairs: Pair[]; answer: ConsulAnswer }> {
    const after = watch?.after;
    const base = `/v1/kv/${this.#prefix.split('/').map(encodeURIComponent).join('/')}/?recurse`;
    const doing = `reading ${this.#prefix}/`;
    const answer = await this.#http.request({
      method: 'GET',
      path: after === undefined ? base : `${base}&index=${after}&wait=${WAIT_MS}ms`,
      maxBytes: LIST_BYTES,
      timeoutMs: after === undefined ? LIST_MS : WAIT_MS + WAIT_MS / 16 + LIST_MS,
      signal,
      accept: [404],
      doing,
      ...(watch && { watching: true, once: after !== undefined, ref: watch.ref }),
    });
    this.#checkIndex(answer, doing);
    const pairs = answer.status === 404 ? [] : this.#toPairs(this.#parse(answer, doing), doing);
    // Consul leaves out what the token may not read, without a word; of a single key it does say so.
    for (const kind of ['arp', 'fib'] as const) {
      const start = this.#key(kind, '');
      if (!pairs.some(({ key }) => key.startsWith(start))) await this.#raw(kind, '', signal);
    }
    return { pairs, answer };
  }

  /** What is stored at these keys, all seen at one moment. */
  async #tree(keys: readonly string[], signal: AbortSignal | undefined): Promise<Map<string, Pair>> {
    const doing = `reading ${keys.join(' and ')}`;
    // Not "get", which fails the transaction where there is nothing. Keys that go on are found, too.
    const ops = keys.map((Key): TxnOp => ({ Verb: 'get-tree', Key }));
    const answer = await this.#transaction(ops, doing, LIST_BYTES, signal);
    const results = (this.#parse(answer, doing) as { Results?: unknown } | null)?.Results ?? [];
    if (!Array.isArray(results)) throw this.#strange(doing);
    const found = this.#toPairs(
      results.map((result: { KV?: unknown } | null) => result?.KV),
      doing,
    );
    return new Map(found.map((pair) => [pair.key, pair]));
  }

  /** Anyone's web server answers 404; only Consul's means that there is no record. */
  #checkIndex(answer: ConsulAnswer, doing: string): void {
    if (answer.index === undefined) {
      throw this.#refused(doing, `answered ${answer.status} without X-Consul-Index, as Consul does not`);
    }
  }

  #parse(answer: ConsulAnswer, doing: string): unknown {
    try {
      return JSON.parse(answer.body.toString('utf8'));
    } catch (cause) {
      throw this.#strange(doing, cause);
    }
  }

  #toPairs(list: unknown, doing: string): Pair[] {
    if (!Array.isArray(list)) throw this.#strange(doing);
    return list.map((item: Record<string, unknown> | null | undefined) => {
      const { Key, Value, ModifyIndex } = item ?? {};
      if (typeof Key !== 'string' || (Value !== null && typeof Value !== 'string') || typeof ModifyIndex !== 'number') {
        throw this.#strange(doing);
      }
      return { key: Key, value: Buffer.from(Value ?? '', 'base64'), modifyIndex: ModifyIndex };
    });
  }

  /** The pairs that are records, good or bad. The rest of what is under the prefix is not looked at. */
  #split(pairs: readonly Pair[]): { kind: RecordKind; key: string; value: Buffer }[] {
    const found: { kind: RecordKind; key: string; value: Buffer }[] = [];
    for (const kind of ['arp', 'fib'] as const) {
      const start = this.#key(kind, '');
      for (const pair of pairs) {
        // Without a key it is the "folder" that Consul's web interface makes.
        if (pair.key.length > start.length && pair.key.startsWith(start)) {
          found.push({ kind, key: pair.key.slice(start.length), value: pair.value });
        }
      }
    }
    return found;
  }

  *#good(pairs: readonly Pair[]): Generator<{ kind: RecordKind; key: string; value: string }> {
    for (const { kind, key, value } of this.#split(pairs)) {
      const read = readRecord(kind, key, value);
      if ('value' in read) yield { kind, key, value: read.value };
    }
  }

  #transaction(
    ops: readonly TxnOp[],
    doing: string,
    maxBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<ConsulAnswer> {
    const body = JSON.stringify(ops.map((KV) => ({ KV })));
    return this.#http.request({
      method: 'PUT',
      path: '/v1/txn',
      body,
      maxBytes,
      timeoutMs: VALUE_MS,
      signal,
      accept: [409],
      doing,
    });
  }

  /** All operations or none. Returns Consul's words if one of them does not apply (any more). */
  async #transact(ops: readonly TxnOp[], doing: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    const answer = await this.#transaction(ops, doing, VALUE_BYTES, signal);
    if (answer.status === 200) return undefined;
    let errors: unknown;
    try {
      errors = (JSON.parse(answer.body.toString('utf8')) as { Errors?: unknown } | null)?.Errors;
    } catch {
      // Then its words are all there is.
    }
    const what = Array.isArray(errors)
      ? errors.map((error: { What?: unknown } | null) => String(error?.What)).join('; ')
      : answer.body.toString('utf8');
    const words = printable(what.trim(), 300);
    // A transaction is refused as a conflict even where a single key is refused with 403.
    if (/permission denied/i.test(words)) {
      throw new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: ${words}`, { hint: tokenHint('write') });
    }
    return words;
  }

  #strange(doing: string, cause?: unknown): OvernsError {
    return new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: the answer is not what Consul answers`, {
      hint: 'is it Consul that answers there',
      cause,
    });
  }

  #refused(doing: string, words: string): OvernsError {
    return new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: ${words}`, {
      hint: `is it Consul that answers there, and does anyone else write under ${this.#prefix}/`,
    });
  }
}

function holds(kind: RecordKind, key: string, pair: Pair, value: string): boolean {
  const read = readRecord(kind, key, pair.value);
  return 'value' in read && read.value === value;
}

function deletion(pair: Pair): TxnOp {
  return { Verb: 'delete-cas', Key: pair.key, Index: pair.modifyIndex };
}

/** The keys that a caller may mean: the very one, which a list may have shown as bad, then its canonical form. */
function spellings(kind: RecordKind, key: unknown): string[] {
  if (typeof key !== 'string') throw invalidType('key', key, 'a string');
  // The "folder" itself, or nothing that Consul can have.
  if (key === '' || /\p{Surrogate}/u.test(key)) throw invalidArgument('key', key, 'the key of a record');
  try {
    return [...new Set([key, checkKey(kind, key)])];
  } catch {
    return [key];
  }
}
