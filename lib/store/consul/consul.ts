/**
 * Endpoints as records in Consul's key-value store.
 *
 * Written so that `curl` on the same keys works both ways: `PREFIX/arp/IP` and `PREFIX/fib/MAC`, values as plain text,
 * no flags. A lease is a session that holds them.
 *
 * https://developer.hashicorp.com/consul/api-docs/features/blocking
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cancel } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import { leaseEnded } from '../conflict.js';
import type { Answer, Change, Claimed, Endpoint, Query, StoredEndpoint } from '../contract.js';
import type { DriverClaim, DriverLease, DriverStore, StoreNetwork } from '../driver.js';
import { EndpointTable, type Leased } from '../endpoint-table.js';
import { tellExpired } from '../expiry.js';
import { ForeignKeys, goodRecords, PrefixRecords, type StoredPair, splitRecords } from '../prefix-records.js';
import {
  type ClaimReader,
  type ClaimStep,
  type HeldRecord,
  planClaim,
  type RecordPlace,
  storedEndpoints,
} from '../record-claims.js';
import { decodeRecord, type RecordKind, type RecordStore, readRecord, recordError } from '../records.js';
import { isTooLong, mayPass } from '../server-http.js';
import { tooLarge } from '../too-large.js';
import { type ConsulAnswer, ConsulHttp, type ConsulOptions } from './http.js';
import { ConsulKv, TXN_OPS, type TxnOp } from './kv.js';
import { isSessionAlive, makeSession } from './session.js';

const SECOND = 1000;
/** So many addresses may go at once without anything being wrong. */
const FEW = 16;
/** How often a withdrawal is tried because the records changed under it. */
const CAS_ATTEMPTS = 5;
/** How often a claim is tried because the records changed under it: someone else's went through each time. */
const CLAIM_ATTEMPTS = 30;
/** How often two records are read because the second was gone when the first had been read. */
const READ_ATTEMPTS = 20;

export class ConsulStore implements DriverStore {
  readonly #http: ConsulHttp;
  readonly #foreign: ForeignKeys;

  constructor(options: ConsulOptions) {
    this.#http = new ConsulHttp(options);
    this.#foreign = new ForeignKeys(this.#http.name);
  }

  #kv(prefix: string): ConsulKv {
    return new ConsulKv(this.#http, prefix);
  }

  records({ prefix }: StoreNetwork): RecordStore {
    return new PrefixRecords(this.#kv(prefix));
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** IP to MAC to VTEP, one request each; an `arp` record without its `fib` record is an error that says so. */
  async lookup(query: Query, { prefix, signal }: StoreNetwork & Cancel): Promise<Answer | null> {
    const kv = this.#kv(prefix);
    if (query.kind === 'l2') {
      const vtep = await kv.value('fib', query.mac, signal);
      return vtep === null ? null : { mac: query.mac, vtep };
    }
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const mac = await kv.value('arp', query.ip, signal);
      if (mac === null) return null;
      const vtep = await kv.value('fib', mac, signal);
      if (vtep !== null) return { mac, vtep };
      // Withdrawn or moved between the two requests, or really half a record? One look at both tells.
      const both = await kv.tree([kv.key('arp', query.ip), kv.key('fib', mac)], signal);
      const arp = both.get(kv.key('arp', query.ip));
      if (arp !== undefined && !both.has(kv.key('fib', mac)) && holds('arp', query.ip, arp, mac)) {
        throw recordError(
          kv.at('arp', query.ip),
          `it names ${mac}, of which there is no record`,
          `put the VTEP's address at ${kv.key('fib', mac)}, or delete the record`,
        );
      }
    }
    throw kv.refused(`reading ${kv.key('arp', query.ip)}`, 'it changes all the time');
  }

  /**
   * In transactions: nobody ever reads an `arp` record without its `fib` record. A key that is only set keeps the session that
   * holds it, and would go with that one's host.
   */
  async publish(endpoint: Endpoint, { prefix, signal }: StoreNetwork & Cancel): Promise<void> {
    const kv = this.#kv(prefix);
    const put = (kind: RecordKind, key: string, value: string): TxnOp[] => [
      { Verb: 'delete', Key: kv.key(kind, key) },
      { Verb: 'set', Key: kv.key(kind, key), Value: encode(value) },
    ];
    const ops = [
      put('fib', endpoint.mac, endpoint.vtep),
      ...endpoint.ips.map((ip) => put('arp', ip, endpoint.mac)),
    ].flat();
    const doing = `publishing ${endpoint.ips.join(', ')}`;
    for (let at = 0; at < ops.length; at += TXN_OPS) {
      const conflict = await kv.transact(ops.slice(at, at + TXN_OPS), doing, signal);
      if (conflict !== undefined) throw kv.refused(doing, conflict);
    }
  }

  async claim(endpoint: Endpoint, claim: DriverClaim): Promise<Claimed> {
    const { signal, lease } = claim;
    const kv = this.#kv(claim.prefix);
    const doing = `claiming ${endpoint.ips.join(', ')}`;
    const reader = this.#reader(kv, signal);
    let words = '';
    for (let attempt = 0; attempt < CLAIM_ATTEMPTS; attempt++) {
      const { steps, revision } = await planClaim(endpoint, claim, reader);
      if (steps.length === 0) return { revision };
      const ops = steps.flatMap((step) => operations(kv, step));
      if (ops.length > TXN_OPS) {
        throw new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: it takes ${ops.length} operations`, {
          hint: `Consul takes ${TXN_OPS} in one transaction: claim an endpoint of fewer addresses, or withdraw first what the claim takes over`,
        });
      }
      const done = await kv.commit(ops, doing, signal);
      if (typeof done === 'bigint') return { revision: done };
      words = done;
      if (lease !== undefined && /invalid session/i.test(words)) {
        throw leaseEnded(this.#http.name, lease);
      }
    }
    throw kv.refused(doing, words);
  }

  async list({ prefix, signal }: StoreNetwork & Cancel): Promise<readonly StoredEndpoint[]> {
    return storedEndpoints(await this.#reader(this.#kv(prefix), signal).all());
  }

  lease(options: { readonly name: string; readonly ttlMs: number } & Cancel): Promise<DriverLease> {
    return makeSession(this.#http, options);
  }

  #reader(kv: ConsulKv, signal: AbortSignal | undefined): ClaimReader {
    return {
      name: this.#http.name,
      read: async (places) => {
        const found = new Map<string, StoredPair>();
        for (let at = 0; at < places.length; at += TXN_OPS) {
          const keys = places.slice(at, at + TXN_OPS).map(({ kind, key }) => kv.key(kind, key));
          for (const [key, pair] of await kv.tree(keys, signal)) found.set(key, pair);
        }
        return places.map(({ kind, key }) => {
          const pair = found.get(kv.key(kind, key));
          return pair && { ...pair, value: decodeRecord(kind, key, pair.value, kv.at(kind, key)) };
        });
      },
      all: async () => this.#records(kv, await kv.pairs(signal)),
    };
  }

  /** Deletes what is still as the endpoint has it; a newer record, of a container that moved, stays. */
  async withdraw(endpoint: Endpoint, { prefix, signal }: StoreNetwork & Cancel): Promise<void> {
    const kv = this.#kv(prefix);
    const doing = `withdrawing ${endpoint.ips.join(', ')}`;
    let conflict: string | undefined;
    for (let attempt = 0; attempt < CAS_ATTEMPTS; attempt++) {
      const ops = await withdrawal(kv, endpoint, signal);
      conflict = undefined;
      // The fib record goes last, so that no arp record is ever without it.
      for (let at = 0; at < ops.length && conflict === undefined; at += TXN_OPS) {
        conflict = await kv.transact(ops.slice(at, at + TXN_OPS), doing, signal);
      }
      if (conflict === undefined) return;
    }
    throw kv.refused(doing, conflict as string);
  }

  /**
   * A `reset` with all records, then every change, by blocking queries. Bad records are left out: a lookup of them
   * says what is wrong. So are `fib` records without an `arp` record, which are no endpoints.
   *
   * Throws once Consul cannot be asked (several attempts were made); watching again begins with a `reset`.
   */
  watch(options: Parameters<DriverStore['watch']>[0]): AsyncGenerator<Change, void, undefined> {
    return tellExpired(this.#follow(options), (lease) => isSessionAlive(this.#http, lease, options.signal));
  }

  async *#follow({
    prefix,
    signal,
    ref,
    max,
  }: Parameters<DriverStore['watch']>[0]): AsyncGenerator<Change & Leased, void, undefined> {
    const kv = this.#kv(prefix);
    const timer = { signal, ref: ref ?? true };
    let table: EndpointTable | undefined;
    let index = 0n;
    // Whether the next question waits for a change.
    let wait = false;
    for (;;) {
      const asked = performance.now();
      let listed: { pairs: StoredPair[]; answer: ConsulAnswer };
      try {
        listed = await kv.list(signal, { after: wait ? index : undefined, ref: ref ?? true });
      } catch (error) {
        if (OvernsError.is(error) && error.code === 'OVERNS_CLOSED') return;
        if (isTooLong(error)) throw tooLarge(this.#http.name);
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
        const records = [...this.#records(kv, pairs)];
        const size = records.filter(({ kind }) => kind === 'arp').length;
        if (max !== undefined && size > max) throw tooLarge(this.#http.name, max);
        const begins = table === undefined;
        table ??= new EndpointTable([]);
        const changes = table.replace(records);
        const lost = changes.filter((change) => change.kind === 'delete' && change.ip !== undefined).length;
        // Backwards, Consul lost its data or got other ones, and what happened between is not known. The same may be behind a failure,
        // or behind much that goes at once: whoever follows decides what to make of it.
        if (begins || next < index || lost > (wait ? Math.max(table.size, FEW) : 0)) {
          yield { kind: 'reset', endpoints: table.endpoints(), index: next };
        } else {
          for (const change of changes) yield { ...change, index: next };
        }
        index = next;
        // Every change costs the whole prefix anew: half of the time at most goes into that.
        pause = Math.min(performance.now() - answer.headAt, SECOND);
        wait = true;
      }
      if (pause > 1) await sleep(pause, undefined, timer);
    }
  }

  #records(kv: ConsulKv, pairs: readonly StoredPair[]): Iterable<RecordPlace & HeldRecord> {
    const { records, foreign } = splitRecords(kv.prefix, pairs);
    this.#foreign.tell(kv.prefix, foreign);
    return goodRecords(records);
  }
}

/** Makes the operations that remove the records that are still as the endpoint has them. */
async function withdrawal(kv: ConsulKv, endpoint: Endpoint, signal: AbortSignal | undefined): Promise<TxnOp[]> {
  const station = await kv.pair('fib', endpoint.mac, signal);
  if (station !== null && !holds('fib', endpoint.mac, station, endpoint.vtep)) return [];
  const ops: TxnOp[] = [];
  const owned = await Promise.all(endpoint.ips.map(async (ip) => ({ ip, pair: await kv.pair('arp', ip, signal) })));
  for (const { ip, pair } of owned) {
    if (pair !== null && holds('arp', ip, pair, endpoint.mac)) ops.push(deletion(pair));
  }
  if (station !== null) ops.push(deletion(station));
  // Published between the two looks: what is removed of it is all of it.
  else if (ops.length > 0) ops.push({ Verb: 'check-not-exists', Key: kv.key('fib', endpoint.mac) });
  return ops;
}

function holds(kind: RecordKind, key: string, pair: StoredPair, value: string): boolean {
  const read = readRecord(kind, key, pair.value);
  return 'value' in read && read.value === value;
}

function encode(value: string): string {
  return Buffer.from(value).toString('base64');
}

/** A step of a claim. A key that another session holds can be locked once it has been deleted. */
function operations(kv: ConsulKv, { kind, key, before, becomes }: ClaimStep): TxnOp[] {
  const Key = kv.key(kind, key);
  const Index = Number(before);
  if (becomes === 'keep')
    return [Index === 0 ? { Verb: 'check-not-exists', Key } : { Verb: 'check-index', Key, Index }];
  const guard: TxnOp = Index === 0 ? { Verb: 'check-not-exists', Key } : { Verb: 'delete-cas', Key, Index };
  if (becomes === 'remove') return [guard];
  const Value = encode(becomes.value);
  return [
    guard,
    becomes.lease === undefined ? { Verb: 'set', Key, Value } : { Verb: 'lock', Key, Value, Session: becomes.lease },
  ];
}

function deletion(pair: StoredPair): TxnOp {
  return { Verb: 'delete-cas', Key: pair.key, Index: Number(pair.revision) };
}
