/**
 * Endpoints as records in Consul's key-value store.
 *
 * Written so that `curl` on the same keys works both ways: `PREFIX/arp/IP` and `PREFIX/fib/MAC`, values as plain text,
 * no flags. A lease is a session that holds them.
 *
 * https://developer.hashicorp.com/consul/api-docs/features/blocking
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cancel, onAbort, raceAbort, throwIfAborted } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import { leaseEnded } from '../conflict.js';
import type { Answer, Change, Claimed, Endpoint, Query, StoredEndpoint } from '../contract.js';
import type { DriverClaim, DriverLease, DriverStore, StoreNetwork } from '../driver.js';
import { EndpointTable, type Leased } from '../endpoint-table.js';
import { tellExpired } from '../expiry.js';
import { type Interest, isMac } from '../interest.js';
import { InterestWatch } from '../interest-watch.js';
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
import { type JournalEntry, JournalPlace, JournalWriter } from './journal.js';
import { type Following, JournalFollowers } from './journal-watch.js';
import { ConsulKv, TXN_OPS, type TxnOp } from './kv.js';
import { isSessionAlive, makeSession } from './session.js';

const SECOND = 1000;
/** So many addresses may go at once without anything being wrong. */
const FEW = 16;
/**
 * Up to here following all costs no more than a hundredth of a CPU, if each endpoint changes once an hour: some 7 us for each address
 * and change.
 */
const MIRROR_MAX = 2000;
/** How often a withdrawal is tried because the records changed under it. */
const CAS_ATTEMPTS = 5;
/** How often a claim is tried because the records changed under it: someone else's went through each time. */
const CLAIM_ATTEMPTS = 30;
/** How often two records are read because the second was gone when the first had been read. */
const READ_ATTEMPTS = 20;
/** Operations of a transaction that are left for what it is about: one notes it in the journal. */
const OPS = TXN_OPS - 1;
/** Addresses that are read in one transaction: both records of each. */
const ADDRESSES = TXN_OPS / 2;
/**
 * How often some of the addresses that are followed are read although the journal says nothing of them, milliseconds, and in how many
 * parts: what is not written with it is found so, as `curl` writes it, and the end of a lease.
 */
const LOOK_MS = 3 * SECOND;
const LOOKS = 15;
/** As many networks are waited for by a question of their own each; Consul takes 200 connections of one client by itself. */
const OWN_WAITS = 64;
/** How long a network without one is taken as it was read, milliseconds. */
const BELL_MS = 45 * SECOND;

/** What rings when a network has changed, as far as its journal tells; where it does not, after a while. */
class Bell {
  readonly #following: Following;
  #ring = (): void => {};
  #rang = true;
  #failure: unknown;

  constructor(journal: JournalFollowers, prefix: string) {
    const ring = (): void => {
      this.#rang = true;
      this.#ring();
    };
    const fail = (error: unknown): void => {
      this.#failure = error;
      ring();
    };
    this.#following = journal.follow(prefix, { changed: ring, lost: ring, fail });
  }

  /** Waits until it rings; at first only until whatever happens from then on makes it ring. */
  async rung({ signal, ref }: { readonly signal: AbortSignal; readonly ref: boolean }): Promise<void> {
    await raceAbort(this.#following.begun, signal);
    if (!this.#rang) {
      const silent = new AbortController();
      const ignore = onAbort(signal, () => silent.abort());
      this.#ring = () => silent.abort();
      await sleep(BELL_MS * (1 - Math.random() / 4), undefined, { signal: silent.signal, ref }).catch(() => {});
      ignore();
    }
    throwIfAborted(signal);
    if (this.#failure !== undefined) throw this.#failure;
    this.#rang = false;
  }

  stop(): void {
    this.#following.stop();
  }
}

/** Operations that belong together, and the address whose record they change. */
interface RecordWrite {
  readonly address?: string;
  readonly ops: readonly TxnOp[];
}

export class ConsulStore implements DriverStore {
  readonly #http: ConsulHttp;
  readonly #foreign: ForeignKeys;
  readonly mirrorMax = MIRROR_MAX;
  readonly #writer: JournalWriter;
  readonly #journal: JournalFollowers;
  /** Networks that are waited for by a question of their own now. */
  #waits = 0;

  /** @param pattern the prefix of the URL, placeholders in it */
  constructor(options: ConsulOptions, pattern: string) {
    this.#http = new ConsulHttp(options);
    this.#foreign = new ForeignKeys(this.#http.name);
    const place = new JournalPlace(pattern);
    this.#writer = new JournalWriter(this.#http, place);
    this.#journal = new JournalFollowers(this.#http, place);
  }

  #kv(prefix: string): ConsulKv {
    return new ConsulKv(this.#http, prefix);
  }

  records({ prefix }: StoreNetwork): RecordStore {
    return new ConsulRecords(new NotedKv(this.#http, prefix, this.#writer), (signal) =>
      this.#writer.forget(prefix, signal),
    );
  }

  async close(): Promise<void> {
    this.#journal.close();
    await this.#http.close();
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
  async publish(endpoint: Endpoint, { prefix, unwatched, signal }: StoreNetwork & Cancel): Promise<void> {
    const kv = this.#kv(prefix);
    const put = (kind: RecordKind, key: string, value: string): RecordWrite => ({
      address: key,
      ops: [
        { Verb: 'delete', Key: kv.key(kind, key) },
        { Verb: 'set', Key: kv.key(kind, key), Value: encode(value) },
      ],
    });
    const changes = [
      put('fib', endpoint.mac, endpoint.vtep),
      ...endpoint.ips.map((ip) => put('arp', ip, endpoint.mac)),
    ];
    const doing = `publishing ${endpoint.ips.join(', ')}`;
    const entry = unwatched === true ? undefined : await this.#writer.open(prefix, signal);
    const conflict = await this.#carryOut(kv, entry, changes, doing, signal);
    if (conflict !== undefined) throw kv.refused(doing, conflict);
  }

  /** Carries out changes, in as many transactions as it takes. Returns Consul's words where one does not apply. */
  async #carryOut(
    kv: ConsulKv,
    entry: JournalEntry | undefined,
    changes: readonly RecordWrite[],
    doing: string,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    for (let at = 0; at < changes.length; ) {
      const ops: TxnOp[] = [];
      const addresses: string[] = [];
      for (let next = changes[at]; next !== undefined && ops.length + next.ops.length <= OPS; next = changes[++at]) {
        ops.push(...next.ops);
        if (next.address !== undefined) addresses.push(next.address);
      }
      const done = await this.#writer.commit(entry, ops, addresses, kv, doing, signal);
      if (typeof done === 'string') return done;
      // The key has another revision now.
      if (at < changes.length) await entry?.read(signal);
    }
    return undefined;
  }

  async claim(endpoint: Endpoint, claim: DriverClaim): Promise<Claimed> {
    const { signal, lease, prefix, unwatched } = claim;
    const kv = this.#kv(prefix);
    const doing = `claiming ${endpoint.ips.join(', ')}`;
    const reader = this.#reader(kv, signal);
    let words = '';
    for (let attempt = 0; attempt < CLAIM_ATTEMPTS; attempt++) {
      const [{ steps, revision }, entry] = await Promise.all([
        planClaim(endpoint, claim, reader),
        unwatched === true ? undefined : this.#writer.open(prefix, signal),
      ]);
      if (steps.length === 0) return { revision };
      const ops = steps.flatMap((step) => operations(kv, step));
      if (ops.length > OPS) {
        throw new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: it takes ${ops.length + 1} operations`, {
          hint: `Consul takes ${TXN_OPS} in one transaction: claim an endpoint of fewer addresses, or withdraw first what the claim takes over`,
        });
      }
      const changed = steps.flatMap(({ key, becomes }) => (becomes === 'keep' ? [] : [key]));
      const done = await this.#writer.commit(entry, ops, changed, kv, doing, signal);
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
  async withdraw(endpoint: Endpoint, { prefix, unwatched, signal }: StoreNetwork & Cancel): Promise<void> {
    const kv = this.#kv(prefix);
    const doing = `withdrawing ${endpoint.ips.join(', ')}`;
    let conflict: string | undefined;
    for (let attempt = 0; attempt < CAS_ATTEMPTS; attempt++) {
      const [changes, entry] = await Promise.all([
        withdrawal(kv, endpoint, signal),
        unwatched === true ? undefined : this.#writer.open(prefix, signal),
      ]);
      // The fib record goes last, so that no arp record is ever without it.
      conflict = await this.#carryOut(kv, entry, changes, doing, signal);
      if (conflict === undefined) return;
    }
    throw kv.refused(doing, conflict as string);
  }

  /** Addresses that the journal names are read again, and all of them in turn. */
  watchOnly(
    interest: Interest,
    { prefix, signal, ref }: Parameters<NonNullable<DriverStore['watchOnly']>>[1],
  ): AsyncGenerator<Change, void, undefined> {
    return tellExpired(this.#followOnly(interest, this.#kv(prefix), signal, ref), (lease) =>
      isSessionAlive(this.#http, lease, signal),
    );
  }

  async *#followOnly(
    interest: Interest,
    kv: ConsulKv,
    signal: AbortSignal,
    ref: boolean | undefined,
  ): AsyncGenerator<Change & Leased, void, undefined> {
    const watch = new InterestWatch(interest, {
      atOnce: TXN_OPS,
      read: async (places, signal) => {
        await raceAbort(following.begun, signal);
        const { index } = following;
        if (places.length === 0) return { values: [], index };
        const found = await kv.tree(
          places.map(({ kind, key }) => kv.key(kind, key)),
          signal,
        );
        const values = places.map(({ kind, key }) => {
          const pair = found.get(kv.key(kind, key));
          const read = pair && readRecord(kind, key, pair.value);
          return read !== undefined && 'value' in read ? { value: read.value, lease: pair?.lease } : undefined;
        });
        return { values, index };
      },
    });
    const changed = (address: string): void => watch.changed({ kind: isMac(address) ? 'fib' : 'arp', key: address });
    const following = this.#journal.follow(kv.prefix, {
      changed: (addresses) => addresses.forEach(changed),
      lost: () => watch.lost(),
      fail: (error) => watch.fail(error),
    });
    let turn: string[] = [];
    const looking = setInterval(() => {
      if (turn.length === 0) turn = [...interest];
      for (const address of turn.splice(0, Math.max(ADDRESSES, Math.ceil(interest.size / LOOKS)))) changed(address);
    }, LOOK_MS);
    looking.unref();
    try {
      yield* watch.changes(signal, ref);
    } finally {
      clearInterval(looking);
      following.stop();
    }
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
    let bell: Bell | undefined;
    try {
      for (;;) {
        const asked = performance.now();
        let listed: { pairs: StoredPair[]; answer: ConsulAnswer };
        const own = wait && this.#waits < OWN_WAITS;
        try {
          if (own) {
            this.#waits++;
            bell?.stop();
            bell = undefined;
          } else if (wait) {
            bell ??= new Bell(this.#journal, prefix);
            await bell.rung(timer);
          }
          listed = await kv.list(signal, { after: own ? index : undefined, ref: ref ?? true });
        } catch (error) {
          if (OvernsError.is(error) && error.code === 'OVERNS_CLOSED') return;
          if (isTooLong(error)) throw tooLarge(this.#http.name);
          if (!wait || !mayPass(error)) throw error;
          bell?.stop();
          bell = undefined;
          // Look before waiting again: to a server that lost its data the index means nothing, and it would be silent
          // until it gets there. Everyone's wait has ended just now, so they do not all come at once.
          wait = false;
          await sleep(Math.random() * SECOND, undefined, timer);
          continue;
        } finally {
          if (own) this.#waits--;
        }
        const { pairs, answer } = listed;
        // 0 would not wait (Consul's advice on blocking queries).
        const next = answer.index || 1n;
        let pause = 0;
        if (wait && next === index) {
          // The wait is over. Early, when Consul shuts down, or when something in between knows no blocking queries.
          if (own) pause = SECOND - (performance.now() - asked);
          wait = pause <= 0;
        } else {
          const records = [...this.#records(kv, pairs)];
          const size = records.filter(({ kind }) => kind === 'arp').length;
          if (max !== undefined && size > max) throw tooLarge(this.#http.name, max);
          const begins = table === undefined;
          table ??= new EndpointTable([]);
          const changes = table.replace(records);
          const lost = changes.filter((change) => change.kind === 'delete' && change.ip !== undefined).length;
          // Backwards, Consul lost its data or got other ones, and what happened between is not known. The same may be behind a
          // failure, or behind much that goes at once: whoever follows decides what to make of it.
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
    } finally {
      bell?.stop();
    }
  }

  #records(kv: ConsulKv, pairs: readonly StoredPair[]): Iterable<RecordPlace & HeldRecord> {
    const { records, foreign } = splitRecords(kv.prefix, pairs);
    this.#foreign.tell(kv.prefix, foreign);
    return goodRecords(records);
  }
}

/** Records, and a journal beside them. */
class ConsulRecords extends PrefixRecords {
  readonly #forget: (signal: AbortSignal | undefined) => Promise<void>;

  constructor(kv: NotedKv, forget: (signal: AbortSignal | undefined) => Promise<void>) {
    super(kv);
    this.#forget = forget;
  }

  forget({ signal }: Cancel = {}): Promise<void> {
    return this.#forget(signal);
  }
}

/** Keys that are looked after by hand, which the journal tells of as well. */
class NotedKv extends ConsulKv {
  readonly #writer: JournalWriter;

  constructor(http: ConsulHttp, prefix: string, writer: JournalWriter) {
    super(http, prefix);
    this.#writer = writer;
  }

  override async write(kind: RecordKind, key: string, text: string, signal: AbortSignal | undefined): Promise<void> {
    await super.write(kind, key, text, signal);
    await this.#note(key, signal);
  }

  override async remove(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const removed = await super.remove(kind, key, signal);
    if (removed) await this.#note(key, signal);
    return removed;
  }

  /** It is done: where it cannot be noted it is heard of later. */
  async #note(key: string, signal: AbortSignal | undefined): Promise<void> {
    // No address is anything else, and nobody follows what is none.
    if (!/^[\da-f.:]+$/.test(key)) return;
    try {
      const entry = await this.#writer.open(this.prefix, signal);
      if (entry !== undefined) await this.#writer.commit(entry, [], [key], this, `noting ${key}`, signal);
    } catch {
      // As it is with what another tool writes.
    }
  }
}

/** Makes the changes that remove the records that are still as the endpoint has them. */
async function withdrawal(kv: ConsulKv, endpoint: Endpoint, signal: AbortSignal | undefined): Promise<RecordWrite[]> {
  const { mac, vtep, ips } = endpoint;
  const station = await kv.pair('fib', mac, signal);
  if (station !== null && !holds('fib', mac, station, vtep)) return [];
  const owned = await Promise.all(ips.map(async (ip) => ({ ip, pair: await kv.pair('arp', ip, signal) })));
  const changes = owned.flatMap(({ ip, pair }): RecordWrite[] =>
    pair !== null && holds('arp', ip, pair, mac) ? [{ address: ip, ops: [deletion(pair)] }] : [],
  );
  if (station !== null) changes.push({ address: mac, ops: [deletion(station)] });
  // Published between the two looks: what is removed of it is all of it.
  else if (changes.length > 0) changes.push({ ops: [{ Verb: 'check-not-exists', Key: kv.key('fib', mac) }] });
  return changes;
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
