/**
 * Endpoints as records in etcd, written so that `etcdctl` on the same keys works both ways: `PREFIX/arp/IP` and
 * `PREFIX/fib/MAC`, values as plain text.
 */
import type { Cancel } from '../../core/abort.js';
import { defaultMac } from '../../core/address.js';
import { OvernsError } from '../../core/errors.js';
import { leaseEnded } from '../conflict.js';
import type { Answer, Change, Claimed, Endpoint, Query, StoredEndpoint } from '../contract.js';
import type { DriverClaim, DriverLease, DriverStore, StoreNetwork } from '../driver.js';
import { tellExpired } from '../expiry.js';
import type { Interest } from '../interest.js';
import { InterestWatch, type Written } from '../interest-watch.js';
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
import { EtcdHttp, type EtcdOptions, isObject } from './http.js';
import { EtcdKeyWatches } from './key-watches.js';
import { type Compare, EtcdKv, encode, type Op, TXN_OPS } from './kv.js';
import { grantLease, isLeaseAlive, isUnknownLease, leaseNumber } from './lease.js';
import { EtcdWatch, type Progress } from './watch.js';

/** How often a withdrawal is tried because the records changed under it. */
const CAS_ATTEMPTS = 5;
/** How often a claim is tried because the records changed under it: someone else's went through each time. */
const CLAIM_ATTEMPTS = 30;
/** How often a record is read again because what was read of it has been compacted meanwhile. */
const READ_ATTEMPTS = 5;
/** Up to here following all costs no more than a hundredth of a CPU, if each endpoint changes once an hour: 0.7 ms a change. */
const MIRROR_MAX = 50_000;

export class EtcdStore implements DriverStore {
  readonly #http: EtcdHttp;
  readonly #foreign: ForeignKeys;
  /** By prefix: what the last watch that broke off has told. The one that follows it need not read everything again. */
  readonly #broken = new Map<string, Progress>();
  readonly #keys: EtcdKeyWatches;
  readonly mirrorMax = MIRROR_MAX;

  constructor(options: EtcdOptions) {
    this.#http = new EtcdHttp(options);
    this.#foreign = new ForeignKeys(this.#http.name);
    this.#keys = new EtcdKeyWatches(this.#http);
  }

  #kv(prefix: string): EtcdKv {
    return new EtcdKv(this.#http, prefix);
  }

  records({ prefix }: StoreNetwork): RecordStore {
    return new PrefixRecords(this.#kv(prefix));
  }

  async close(): Promise<void> {
    this.#keys.close();
    await this.#http.close();
  }

  /**
   * Both records as they are at one moment: in one transaction where the MAC address is the one that belongs to the IP address,
   * else the second as it was at the revision of the first. An `arp` record without its `fib` record is an error that says so.
   */
  async lookup(query: Query, { prefix, signal }: StoreNetwork & Cancel): Promise<Answer | null> {
    const kv = this.#kv(prefix);
    if (query.kind === 'l2') {
      const vtep = await kv.value('fib', query.mac, signal);
      return vtep === null ? null : { mac: query.mac, vtep };
    }
    const { ip } = query;
    const doing = `reading ${kv.key('arp', ip)}`;
    const likely = defaultMac(ip);
    const keys = [kv.encoded('arp', ip), kv.encoded('fib', likely)];
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const { pairs, moment } = await kv.many(keys, doing, signal);
      const mac = kv.checked('arp', ip, pairs[0]);
      if (mac === null) return null;
      const station =
        mac === likely ? (pairs[1] ?? null) : await kv.valueAt(kv.encoded('fib', mac), moment.revision, signal);
      if (station === undefined) continue;
      const vtep = kv.checked('fib', mac, station ?? undefined);
      if (vtep !== null) return { mac, vtep };
      throw recordError(
        kv.at('arp', ip),
        `it names ${mac}, of which there is no record`,
        `put the VTEP's address at ${kv.key('fib', mac)}, or delete the record`,
      );
    }
    throw kv.refused(doing, 'it is compacted all the time');
  }

  /**
   * All in one transaction: nobody ever reads an `arp` record without its `fib` record. A key that is put without a lease goes with
   * none from then on.
   */
  async publish(endpoint: Endpoint, { prefix, signal }: StoreNetwork & Cancel): Promise<void> {
    const kv = this.#kv(prefix);
    const write = (kind: RecordKind, key: string, value: string): Op => put(kv.encoded(kind, key), value);
    const ops = [
      write('fib', endpoint.mac, endpoint.vtep),
      ...endpoint.ips.map((ip) => write('arp', ip, endpoint.mac)),
    ];
    const doing = `publishing ${endpoint.ips.join(', ')}`;
    for (let at = 0; at < ops.length; at += TXN_OPS) {
      await kv.transact([], ops.slice(at, at + TXN_OPS), doing, signal);
    }
  }

  async claim(endpoint: Endpoint, claim: DriverClaim): Promise<Claimed> {
    const { signal, lease } = claim;
    const kv = this.#kv(claim.prefix);
    const doing = `claiming ${endpoint.ips.join(', ')}`;
    const reader = this.#reader(kv, signal);
    for (let attempt = 0; attempt < CLAIM_ATTEMPTS; attempt++) {
      const { steps, revision } = await planClaim(endpoint, claim, reader);
      if (steps.length === 0) return { revision };
      if (steps.length > TXN_OPS) {
        throw new OvernsError('OVERNS_STORE', `${this.#http.name}: ${doing}: it takes ${steps.length} operations`, {
          hint: `etcd takes ${TXN_OPS} in one transaction: claim an endpoint of fewer addresses, or withdraw first what the claim takes over`,
        });
      }
      const compare = steps.map(({ kind, key, before }) => unchanged(kv.encoded(kind, key), before));
      const ops = steps.flatMap((step) => operations(kv, step));
      try {
        const made = await kv.transact(compare, ops, doing, signal);
        if (made !== undefined) return { revision: made };
      } catch (error) {
        if (!isUnknownLease(error)) throw error;
        if (lease !== undefined) throw leaseEnded(this.#http.name, lease);
        // That of the records as they were read: they have gone with it.
      }
    }
    throw kv.refused(doing, 'the records change all the time');
  }

  async list({ prefix, signal }: StoreNetwork & Cancel): Promise<readonly StoredEndpoint[]> {
    return storedEndpoints(await this.#reader(this.#kv(prefix), signal).all());
  }

  /** Grants one. Its name is told to nobody: a lease of etcd has none. */
  lease(options: { readonly ttlMs: number } & Cancel): Promise<DriverLease> {
    return grantLease(this.#http, options);
  }

  #reader(kv: EtcdKv, signal: AbortSignal | undefined): ClaimReader {
    return {
      name: this.#http.name,
      read: async (places) => {
        const found: (HeldRecord | undefined)[] = [];
        for (let at = 0; at < places.length; at += TXN_OPS) {
          const part = places.slice(at, at + TXN_OPS);
          const keys = part.map(({ kind, key }) => kv.encoded(kind, key));
          const { pairs } = await kv.many(keys, `reading ${kv.prefix}/`, signal);
          for (const [n, { kind, key }] of part.entries()) {
            const pair = pairs[n];
            found.push(pair && { ...pair, value: decodeRecord(kind, key, pair.value, kv.at(kind, key)) });
          }
        }
        return found;
      },
      all: async (): Promise<Iterable<RecordPlace & HeldRecord>> => {
        const { records, foreign } = splitRecords(kv.prefix, await kv.pairs(signal));
        this.#foreign.tell(kv.prefix, foreign);
        return goodRecords(records);
      },
    };
  }

  /** Deletes what is still as the endpoint has it; a newer record, of a container that moved, stays. */
  async withdraw(endpoint: Endpoint, { prefix, signal }: StoreNetwork & Cancel): Promise<void> {
    const kv = this.#kv(prefix);
    const doing = `withdrawing ${endpoint.ips.join(', ')}`;
    for (let attempt = 0; attempt < CAS_ATTEMPTS; attempt++) {
      if (await withdraw(kv, endpoint, doing, signal)) return;
    }
    throw kv.refused(doing, 'the records change all the time');
  }

  async *watch(options: Parameters<DriverStore['watch']>[0]): AsyncGenerator<Change, void, undefined> {
    const { prefix, signal } = options;
    const before = this.#broken.get(prefix);
    this.#broken.delete(prefix);
    const watch = new EtcdWatch(this.#http, this.#kv(prefix), this.#foreign, options, before);
    try {
      yield* tellExpired(watch.changes(), (lease) => isLeaseAlive(this.#http, lease, signal));
    } catch (error) {
      const { progress } = watch;
      const mirrored = !(OvernsError.is(error) && error.code === 'OVERNS_TOO_LARGE');
      if (progress !== undefined && mirrored && !signal.aborted) this.#broken.set(prefix, progress);
      throw error;
    }
  }

  /** A watch for each key, all of them on one stream, whatever the overlay. */
  watchOnly(
    interest: Interest,
    { prefix, signal, ref }: Parameters<NonNullable<DriverStore['watchOnly']>>[1],
  ): AsyncGenerator<Change, void, undefined> {
    const kv = this.#kv(prefix);
    const cancels = new Map<string, () => void>();
    const watch = new InterestWatch(interest, {
      atOnce: TXN_OPS,
      read: async (places, signal) => {
        const keys = places.map(({ kind, key }) => kv.encoded(kind, key));
        const { pairs, moment } = await kv.many(keys, `reading ${kv.prefix}/`, signal, true);
        const values = places.map(({ kind, key }, at) => {
          const pair = pairs[at];
          const read = pair && readRecord(kind, key, pair.value);
          return read !== undefined && 'value' in read ? { value: read.value, lease: pair?.lease } : undefined;
        });
        return { values, index: moment.revision };
      },
      follow: (place, after) => {
        const key = kv.encoded(place.kind, place.key);
        const cancel = this.#keys.follow({
          key,
          after,
          home: kv.range.key,
          changed: (event) => watch.changed(place, writtenBy(kv, place, event)),
          lost: () => watch.lost(place),
          fail: (error) => watch.fail(error),
        });
        cancels.set(key, cancel);
      },
      leave: (place) => {
        const key = kv.encoded(place.kind, place.key);
        cancels.get(key)?.();
        cancels.delete(key);
      },
    });
    return tellExpired(watch.changes(signal, ref), (lease) => isLeaseAlive(this.#http, lease, signal));
  }
}

/** Removes the records that are as the endpoint has them. False if one of them has changed meanwhile. */
async function withdraw(
  kv: EtcdKv,
  endpoint: Endpoint,
  doing: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { mac, vtep, ips } = endpoint;
  // The fib record stands with each part and goes with the last, so that no arp record is ever without it.
  const fib = kv.encoded('fib', mac);
  const parts: (readonly string[])[] = [];
  for (let at = 0; at < ips.length; at += TXN_OPS - 1) parts.push(ips.slice(at, at + TXN_OPS - 1));
  for (const [at, part] of parts.entries()) {
    const keys = part.map((ip) => kv.encoded('arp', ip));
    const { pairs } = await kv.many([fib, ...keys], doing, signal);
    const [station, ...owned] = pairs;
    if (station !== undefined && !holds('fib', mac, station, vtep)) return true;
    const compare: Compare[] = [];
    const ops: Op[] = [];
    for (const [n, pair] of owned.entries()) {
      if (pair === undefined || !holds('arp', part[n] as string, pair, mac)) continue;
      compare.push(unchanged(keys[n] as string, pair.revision));
      ops.push({ request_delete_range: { key: keys[n] as string } });
    }
    if (station !== undefined && at === parts.length - 1) ops.push({ request_delete_range: { key: fib } });
    if (ops.length === 0) continue;
    // Published between the two looks: what is removed of it is all of it.
    compare.push(unchanged(fib, station?.revision ?? 0n));
    if ((await kv.transact(compare, ops, doing, signal)) === undefined) return false;
  }
  return true;
}

/** @param revision the one that the key has; 0n: there is none */
function unchanged(key: string, revision: bigint): Compare {
  return { key, target: 'MOD', mod_revision: String(revision) };
}

/** A step of a claim, once what it goes by has been compared. */
function operations(kv: EtcdKv, { kind, key, becomes }: ClaimStep): Op[] {
  if (becomes === 'keep') return [];
  const encoded = kv.encoded(kind, key);
  if (becomes === 'remove') return [{ request_delete_range: { key: encoded } }];
  return [put(encoded, becomes.value, becomes.lease)];
}

/** What a record is since an event; undefined: it has been deleted, or is no use. */
function writtenBy(kv: EtcdKv, { kind, key }: RecordPlace, event: unknown): Written | undefined {
  if (!isObject(event) || event.type === 'DELETE') return undefined;
  try {
    const { value, revision, lease } = kv.toPair(event.kv, 'following keys');
    const read = readRecord(kind, key, value);
    return 'value' in read ? { value: read.value, lease, index: revision } : undefined;
  } catch {
    return undefined; // it is read again
  }
}

function put(key: string, value: string, lease?: string): Op {
  return {
    request_put: {
      key,
      value: encode(Buffer.from(value)),
      ...(lease !== undefined && { lease: leaseNumber(lease) }),
    },
  };
}

function holds(kind: RecordKind, key: string, { value }: StoredPair, expected: string): boolean {
  const read = readRecord(kind, key, value);
  return 'value' in read && read.value === expected;
}
