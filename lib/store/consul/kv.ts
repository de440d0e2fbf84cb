/**
 * Keys and values under one prefix of Consul, as its HTTP interface has them: read, listed, and written in transactions.
 *
 * https://developer.hashicorp.com/consul/api-docs/kv, .../txn
 */
import { OvernsError } from '../../core/errors.js';
import { withoutEffect } from '../effect.js';
import { type PrefixKeys, recordKey, type StoredPair } from '../prefix-records.js';
import { decodeRecord, printable, type RecordKind } from '../records.js';
import { type ConsulAnswer, type ConsulHttp, tokenHint } from './http.js';

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
export const TXN_OPS = 64;

export type TxnOp =
  | { readonly Verb: 'set'; readonly Key: string; readonly Value: string }
  | { readonly Verb: 'cas'; readonly Key: string; readonly Value: string; readonly Index: number }
  | { readonly Verb: 'lock'; readonly Key: string; readonly Value: string; readonly Session: string }
  | { readonly Verb: 'delete-cas' | 'check-index'; readonly Key: string; readonly Index: number }
  | { readonly Verb: 'get' | 'delete' | 'get-tree' | 'check-not-exists'; readonly Key: string };

/** Result of a transaction: the index that its writes have, or Consul's words, and which operations they are about. */
export type Committed =
  | { readonly index: bigint }
  | { readonly words: string; readonly failed: readonly number[]; readonly denied: boolean };

/** How a list is waited for. */
export interface ListWatch {
  /** Wait until there are others than at this index. Undefined: do not wait. */
  readonly after: bigint | undefined;
  readonly ref: boolean;
}

export class ConsulKv implements PrefixKeys {
  readonly #http: ConsulHttp;
  readonly prefix: string;
  readonly lossy = true;

  constructor(http: ConsulHttp, prefix: string) {
    this.#http = http;
    this.prefix = prefix;
  }

  key(kind: RecordKind, key: string): string {
    return recordKey(this.prefix, kind, key);
  }

  #path(stored: string): string {
    return `/v1/kv/${stored.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** Where a record is, for errors. */
  at(kind: RecordKind, key: string): string {
    return `${this.key(kind, key)} in ${this.#http.name}`;
  }

  /** A record's value, checked; null when there is none. */
  async value(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<string | null> {
    const stored = await this.#raw(kind, key, signal);
    return stored === null ? null : decodeRecord(kind, key, stored, this.at(kind, key));
  }

  async #raw(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<Buffer | null> {
    const answer = await this.#get(this.key(kind, key), '?raw', signal);
    return answer.status === 404 ? null : answer.body;
  }

  pair(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<StoredPair | null> {
    return this.read(this.key(kind, key), signal);
  }

  /** The pair of a key, which need not be a record's. */
  async read(stored: string, signal: AbortSignal | undefined): Promise<StoredPair | null> {
    const answer = await this.#get(stored, '', signal);
    if (answer.status === 404) return null;
    const doing = `reading ${stored}`;
    return this.#toPairs(this.#parse(answer, doing), doing)[0] ?? null;
  }

  async #get(stored: string, query: string, signal: AbortSignal | undefined): Promise<ConsulAnswer> {
    const doing = `reading ${printable(stored, 200)}`;
    const answer = await this.#http.request({
      method: 'GET',
      path: this.#path(stored) + query,
      maxBytes: VALUE_BYTES,
      timeoutMs: VALUE_MS,
      signal,
      accept: [404],
      doing,
    });
    this.#checkIndex(answer, doing);
    return answer;
  }

  /** Sets a key to a text. */
  async write(kind: RecordKind, key: string, text: string, signal: AbortSignal | undefined): Promise<void> {
    const doing = `writing ${this.key(kind, key)}`;
    const answer = await this.#http.request({
      method: 'PUT',
      path: this.#path(this.key(kind, key)),
      body: text,
      maxBytes: VALUE_BYTES,
      timeoutMs: VALUE_MS,
      signal,
      doing,
    });
    const words = answer.body.toString('utf8').trim();
    if (words !== 'true') throw this.refused(doing, printable(words, 100));
  }

  async pairs(signal: AbortSignal | undefined): Promise<readonly StoredPair[]> {
    return (await this.list(signal)).pairs;
  }

  /** Deletes a key. False if it was not there. */
  async remove(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const doing = `deleting ${printable(this.key(kind, key), 200)}`;
    const segments = key.replace(/\/$/, '').split('/');
    if (segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
      // In a path these would be made something else, on the way or there.
      const Key = this.key(kind, key);
      const ops: TxnOp[] = [
        { Verb: 'get', Key },
        { Verb: 'delete', Key },
      ];
      return (await this.transact(ops, doing, signal)) === undefined;
    }
    // Consul says "true" to the deletion of what is not there.
    if ((await this.#raw(kind, key, signal)) === null) return false;
    const path = this.#path(this.key(kind, key));
    await this.#http.request({ method: 'DELETE', path, maxBytes: VALUE_BYTES, timeoutMs: VALUE_MS, signal, doing });
    return true;
  }

  /** All pairs under the prefix: as they are, or for a watch once there are others than at an index. */
  async list(
    signal: AbortSignal | undefined,
    watch?: ListWatch,
  ): Promise<{ pairs: StoredPair[]; answer: ConsulAnswer }> {
    const listed = await this.#list(signal, watch);
    for (const kind of ['arp', 'fib'] as const) {
      const start = this.key(kind, '');
      if (!listed.pairs.some(({ key }) => key.startsWith(start))) await this.#get(start, '?raw', signal);
    }
    return listed;
  }

  /** As {@link list}, of a prefix that has no records. */
  async listPlain(signal: AbortSignal, watch: ListWatch): Promise<{ pairs: StoredPair[]; answer: ConsulAnswer }> {
    const listed = await this.#list(signal, watch);
    if (listed.pairs.length === 0) await this.#get(`${this.prefix}/`, '?raw', signal);
    return listed;
  }

  /** Consul leaves out what the token may not read, without a word; of a single key it does say so. */
  async #list(
    signal: AbortSignal | undefined,
    watch?: ListWatch,
  ): Promise<{ pairs: StoredPair[]; answer: ConsulAnswer }> {
    const after = watch?.after;
    const base = `${this.#path(this.prefix)}/?recurse`;
    const doing = `reading ${this.prefix}/`;
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
    return { pairs, answer };
  }

  /** Deletes all keys below the prefix. */
  async clear(signal: AbortSignal | undefined): Promise<void> {
    const path = `${this.#path(this.prefix)}/?recurse`;
    const doing = `deleting ${this.prefix}/`;
    await this.#http.request({ method: 'DELETE', path, maxBytes: VALUE_BYTES, timeoutMs: VALUE_MS, signal, doing });
  }

  /** Reads what is stored at these keys, all at one moment. */
  async tree(keys: readonly string[], signal: AbortSignal | undefined): Promise<Map<string, StoredPair>> {
    const doing = `reading ${keys.join(' and ')}`;
    // Not "get", which fails the transaction where there is nothing. Keys that go on are found, too.
    const ops = keys.map((Key): TxnOp => ({ Verb: 'get-tree', Key }));
    const answer = await this.#transaction(ops, doing, LIST_BYTES, signal);
    const found = this.#results(answer, doing);
    return new Map(found.map((pair) => [pair.key, pair]));
  }

  /** Anyone's web server answers 404; only Consul's means that there is no record. */
  #checkIndex(answer: ConsulAnswer, doing: string): void {
    if (answer.index === undefined) {
      throw this.refused(doing, `answered ${answer.status} without X-Consul-Index, as Consul does not`);
    }
  }

  #parse(answer: ConsulAnswer, doing: string): unknown {
    try {
      return JSON.parse(answer.body.toString('utf8'));
    } catch (cause) {
      throw this.#strange(doing, cause);
    }
  }

  #toPairs(list: unknown, doing: string): StoredPair[] {
    if (!Array.isArray(list)) throw this.#strange(doing);
    return list.map((item: Record<string, unknown> | null | undefined) => {
      const { Key, Value, ModifyIndex, Session } = item ?? {};
      if (typeof Key !== 'string' || (Value !== null && typeof Value !== 'string') || typeof ModifyIndex !== 'number') {
        throw this.#strange(doing);
      }
      return {
        key: Key,
        value: Buffer.from(Value ?? '', 'base64'),
        revision: BigInt(ModifyIndex),
        lease: typeof Session === 'string' && Session !== '' ? Session : undefined,
      };
    });
  }

  /** The pairs that the operations of a transaction have read or written. */
  #results(answer: ConsulAnswer, doing: string): StoredPair[] {
    const results = (this.#parse(answer, doing) as { Results?: unknown } | null)?.Results ?? [];
    if (!Array.isArray(results)) throw this.#strange(doing);
    return this.#toPairs(
      results.map((result: { KV?: unknown } | null) => result?.KV),
      doing,
    );
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
  async transact(ops: readonly TxnOp[], doing: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    const done = await this.commit(ops, doing, signal);
    if ('index' in done) return undefined;
    if (done.denied) throw this.denied(doing, done.words);
    return done.words;
  }

  /** As {@link transact}, with all that the answer says. */
  async commit(ops: readonly TxnOp[], doing: string, signal: AbortSignal | undefined): Promise<Committed> {
    const answer = await this.#transaction(ops, doing, VALUE_BYTES, signal);
    if (answer.status === 200) {
      const indexes = this.#results(answer, doing).map(({ revision }) => Number(revision));
      return { index: BigInt(Math.max(0, ...indexes)) };
    }
    let errors: unknown;
    try {
      errors = (JSON.parse(answer.body.toString('utf8')) as { Errors?: unknown } | null)?.Errors;
    } catch {
      // Then its words are all there is.
    }
    const listed: ({ What?: unknown; OpIndex?: unknown } | null)[] = Array.isArray(errors) ? errors : [];
    const what = Array.isArray(errors)
      ? listed.map((error) => String(error?.What)).join('; ')
      : answer.body.toString('utf8');
    const words = printable(what.trim(), 300);
    const failed = listed.flatMap((error) => (typeof error?.OpIndex === 'number' ? [error.OpIndex] : []));
    // A transaction is refused as a conflict even where a single key is refused with 403.
    return { words, failed, denied: /permission denied/i.test(words) };
  }

  denied(doing: string, words: string): OvernsError {
    return withoutEffect(
      new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: ${words}`, { hint: tokenHint('write') }),
    );
  }

  #strange(doing: string, cause?: unknown): OvernsError {
    return new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: the answer is not what Consul answers`, {
      hint: 'is it Consul that answers there',
      cause,
    });
  }

  refused(doing: string, words: string): OvernsError {
    return new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: ${words}`, {
      hint: `is it Consul that answers there, and does anyone else write under ${this.prefix}/`,
    });
  }
}
