/** The contract of a store: endpoints, the questions that it is asked, and the changes that it tells of. */
import type { Cancel } from '../core/abort.js';
import type { Interest } from './interest.js';

/**
 * One container's addresses on an overlay.
 * @example
 * ```ts
 * import type { Endpoint } from 'overns';
 *
 * const endpoint: Endpoint = {
 *   ip: '192.168.0.3',
 *   ips: ['192.168.0.3', 'fd00::3'],
 *   mac: '02:42:c0:a8:00:03',
 *   vtep: '10.0.0.11',
 * };
 * console.log(endpoint.ips[0] === endpoint.ip); // true
 * ```
 */
export interface Endpoint {
  /** The first of `ips`. */
  readonly ip: string;
  /** All addresses, without prefix lengths; at least one. */
  readonly ips: readonly string[];
  readonly mac: string;
  /** The underlay address of the host that the container runs on. */
  readonly vtep: string;
}

/**
 * Which overlay something is about.
 * @example
 * ```ts
 * import type { Where } from 'overns';
 *
 * const where: Where = { overlay: 'overns', vni: 42 };
 * console.log(`${where.overlay} ${where.vni}`); // overns 42
 * ```
 */
export interface Where {
  readonly overlay: string;
  /** VXLAN network identifier, 1 to 2^24-1 (RFC 7348). */
  readonly vni: number;
}

/**
 * A question of the kernel: who has this IP (L3), or which VTEP has this MAC (L2).
 * @example
 * ```ts
 * import type { Query } from 'overns';
 *
 * const key = (query: Query): string => (query.kind === 'l3' ? query.ip : query.mac);
 * console.log(key({ overlay: 'overns', vni: 42, kind: 'l3', ip: '192.168.0.3' })); // 192.168.0.3
 * ```
 */
export type Query = Where &
  ({ readonly kind: 'l3'; readonly ip: string } | { readonly kind: 'l2'; readonly mac: string });

/**
 * A store's answer to a query.
 * @example
 * ```ts
 * import type { Answer } from 'overns';
 *
 * const answer: Answer = { mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11', ttlMs: 60_000 };
 * console.log(answer.vtep); // 10.0.0.11
 * ```
 */
export interface Answer {
  readonly mac: string;
  readonly vtep: string;
  /**
   * How long the answer may be used without asking again, milliseconds, more than 0; more than 24 days counts as these.
   * Default: a minute.
   */
  readonly ttlMs?: number | undefined;
}

/**
 * A change that a store's watch reports, in the order of the store's own revisions: `index` is the one up to which it is known
 * what there is, and counts as those of claims do. `resume` stands at the beginning in place of a `reset` where the store still
 * knows all that has happened since `from`.
 *
 * A `reset` is all there is: an address that it does not name is gone. A `put` speaks of the addresses that it names, and of no
 * other that its MAC address had before; each address that goes is told of by a `delete` of its own, and so is the MAC address
 * once nothing has it.
 * @example
 * ```ts
 * import type { Change } from 'overns';
 *
 * const endpoint = { ip: '192.168.0.3', ips: ['192.168.0.3'], mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' };
 * const changes: Change[] = [
 *   { kind: 'reset', endpoints: [], index: 1n },
 *   { kind: 'put', endpoint, index: 2n },
 *   { kind: 'delete', ip: endpoint.ip, index: 3n },
 * ];
 * console.log(changes.map(({ kind }) => kind).join(' ')); // reset put delete
 * ```
 */
export type Change =
  | { readonly kind: 'reset'; readonly endpoints: Iterable<Endpoint>; readonly index: bigint }
  | { readonly kind: 'resume'; readonly index: bigint }
  | { readonly kind: 'put'; readonly endpoint: Endpoint; readonly index: bigint }
  | {
      readonly kind: 'delete';
      readonly ip?: string | undefined;
      readonly mac?: string | undefined;
      /**
       * True: its lease has ended, and nobody has withdrawn it. It may be there still, so that entries in the kernel stay as long
       * as they are used; but it is not found any more.
       */
      readonly expired?: boolean | undefined;
      readonly index: bigint;
    };

/**
 * Options of a watch.
 * @example
 * ```ts
 * import type { Change, WatchOptions } from 'overns';
 *
 * async function* watch({ vni, signal }: WatchOptions): AsyncGenerator<Change> {
 *   yield { kind: 'reset', endpoints: [], index: BigInt(vni) }; // those of that network alone
 *   while (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
 * }
 * console.log(watch.length); // 1
 * ```
 */
export interface WatchOptions extends Where {
  /** Aborted when the changes are no longer waited for. */
  readonly signal: AbortSignal;
  /** False: the watch is not to keep the process alive. Default true. */
  readonly ref?: boolean | undefined;
  /**
   * The `index` of the last change that was seen before: only what came later is wanted. A store that knows it no more, or
   * keeps no history, begins with a `reset` all the same.
   */
  readonly from?: bigint | undefined;
  /**
   * As many addresses at most are to be mirrored, 1 to 2^53-1: where there are more, the store ends the watch with
   * `OVERNS_TOO_LARGE` as soon as it knows. Default: as many as it can.
   */
  readonly max?: number | undefined;
}

/**
 * Options of a watch of single addresses.
 * @example
 * ```ts
 * import type { WatchOnlyOptions } from 'overns';
 *
 * const options: WatchOnlyOptions = { overlay: 'blue', vni: 42, signal: new AbortController().signal };
 * console.log(options.vni); // 42
 * ```
 */
export type WatchOnlyOptions = Omit<WatchOptions, 'from' | 'max'>;

/**
 * An endpoint as a store has it.
 * @example
 * ```ts
 * import type { StoredEndpoint } from 'overns';
 *
 * const stored: StoredEndpoint = {
 *   ip: '192.168.0.3',
 *   ips: ['192.168.0.3'],
 *   mac: '02:42:c0:a8:00:03',
 *   vtep: '10.0.0.11',
 *   revision: 7n,
 * };
 * console.log(stored.lease ?? 'plain'); // plain
 * ```
 */
export interface StoredEndpoint extends Endpoint {
  /** The store's revision of its newest part. */
  readonly revision: bigint;
  /** The id of the lease that it goes with. Absent: it is plain, and stays until somebody removes it. */
  readonly lease?: string | undefined;
}

/**
 * The holder of an address that is claimed.
 * @example
 * ```ts
 * import type { Holder } from 'overns';
 *
 * const holder: Holder = { ip: '192.168.0.3', mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11', revision: 7n };
 * console.log(`${holder.ip} is ${holder.vtep}'s`); // 192.168.0.3 is 10.0.0.11's
 * ```
 */
export interface Holder {
  /** The IP address that is the holder's. Absent: it is the MAC address that two want. */
  readonly ip?: string | undefined;
  readonly mac: string;
  /** Absent: the store has no VTEP for that MAC address. */
  readonly vtep?: string | undefined;
  /** The id of the lease that it is held under. Absent: plain. */
  readonly lease?: string | undefined;
  /** The store's revision of what is held. */
  readonly revision: bigint;
}

/**
 * Options of a lease.
 * @example
 * ```ts
 * import type { LeaseOptions } from 'overns';
 *
 * const options: LeaseOptions = { name: 'docker0', ttlMs: 15_000 };
 * console.log(options.name); // docker0
 * ```
 */
export interface LeaseOptions extends Cancel {
  /** Name of its holder, for whoever looks at the store: the host's. */
  readonly name: string;
  /** How long it outlives whoever renews it, milliseconds, 1000 to 86400000. A store may take more. Default 15000. */
  readonly ttlMs?: number | undefined;
}

/**
 * The lease that a host holds its endpoints under. It renews itself, at a third of its time and every second while the store does not
 * answer, without keeping the process alive. Where that ends (the process is killed, its store is closed), all that was
 * claimed under it goes once its time is over, in Consul within twice its time.
 * @example
 * ```ts
 * import { openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * await using lease = await store.lease({ name: 'docker0' });
 * lease.lost.addEventListener('abort', () => console.log(lease.lost.reason.message));
 * console.log(lease.lost.aborted, lease.ttlMs); // false 15000
 * ```
 */
export interface StoreLease extends AsyncDisposable {
  readonly id: string;
  /** Its time as the store has it, milliseconds. */
  readonly ttlMs: number;
  /** Aborted once the store has ended it, with the `OVERNS_LEASE` that claims under it fail with from then on. */
  readonly lost: AbortSignal;
  /**
   * Renews it no more: what was claimed under it goes when its time is over, unless it is claimed anew until then. A process
   * that is to be followed by another ends so.
   */
  leave(): void;
  /**
   * Revokes it: all that was claimed under it goes now. Idempotent.
   * @throws OvernsError `OVERNS_STORE`: the store cannot be reached, and it goes when its time is over
   */
  close(options?: Cancel): Promise<void>;
}

/**
 * How an endpoint is claimed.
 * @example
 * ```ts
 * import { type ClaimOptions, openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * await using lease = await store.lease({ name: 'docker0' });
 * const options: ClaimOptions = { lease, takeover: true };
 * const endpoint = { ip: '192.168.0.2', ips: ['192.168.0.2'], mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10' };
 * console.log(typeof (await store.claim(endpoint, options)).revision); // bigint
 * ```
 */
export interface ClaimOptions extends Cancel {
  /** A lease of the same store, which the endpoint goes with. Default: it is plain, unless it is under a lease already. */
  readonly lease?: StoreLease | undefined;
  /** Take what is another's: its records go in the same step. Default false. */
  readonly takeover?: boolean | undefined;
  /**
   * Refuse if anything of it is newer than this revision, be it one's own: that of a claim, of a listing, or of the holder
   * that a conflict has named. 0n: nothing of it may be there.
   */
  readonly expect?: bigint | undefined;
}

/**
 * The result of a claim.
 * @example
 * ```ts
 * import type { Claimed } from 'overns';
 *
 * const claimed: Claimed = { revision: 7n };
 * console.log(claimed.revision); // 7n
 * ```
 */
export interface Claimed {
  /** The store's revision of the endpoint. */
  readonly revision: bigint;
}

/**
 * Where endpoints are looked up. A consumer's own store needs `lookup` only: null = absent (cached for the resolver's
 * `negativeTtlMs`); a throw = unknown (never cached).
 *
 * Each method is told the overlay. What belongs to one network (a VNI) must not be given for another; two overlays of
 * the same VNI are parts of one network.
 * @example
 * ```ts
 * import type { Store } from 'overns';
 *
 * const rows = new Map([['192.168.0.3', { mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' }]]);
 * const store: Store = {
 *   lookup: (query) => (query.kind === 'l3' ? (rows.get(query.ip) ?? null) : null),
 * };
 * console.log(typeof store.watch); // undefined
 * ```
 */
export interface Store {
  /** Where an endpoint is. The signal is aborted when the answer is no longer waited for. */
  lookup(query: Query, options: { signal: AbortSignal }): Answer | null | Promise<Answer | null>;
  /** A burst of lookups at once; answers in the same order. */
  lookupMany?(queries: readonly Query[], options: { signal: AbortSignal }): Promise<readonly (Answer | null)[]>;
  /**
   * Yields what there is and what changes in the network of that overlay, in order; begins with a `reset`. A store that serves
   * several networks and does not look at `overlay` or `vni` is not believed: see `OVERNS_SCOPE` at Resolver.add().
   */
  watch?(options: WatchOptions): AsyncIterable<Change>;
  /**
   * Yields what there is and what changes of the addresses that are in the interest, at a cost that follows their number and
   * not the size of the network; begins with a `reset` of those that are in it then. Of an address that is added it tells what
   * there is, in a `put` or a `delete`, and of one that is removed nothing from then on. The `ips` of the endpoints
   * are those that are in the interest; they are empty, and `ip` is '', where the MAC address alone is. A store that hears of
   * some changes late tells them within a minute, as Consul does of what other tools have written and of leases that have ended.
   */
  watchOnly?(interest: Interest, options: WatchOnlyOptions): AsyncIterable<Change>;
  /**
   * Up to how many addresses following all of a network is cheap: beyond it a resolver with `sync: 'auto'` watches those that it
   * uses. Default 10000.
   */
  readonly mirrorMax?: number | undefined;
  /** Writes an endpoint that is attached to that overlay now, plain, whosever its addresses were. */
  publish?(endpoint: Endpoint, options: Where & Cancel): Promise<void>;
  /** Removes an endpoint that is detached from that overlay, where it is still that one: a newer one of others stays. */
  withdraw?(endpoint: Endpoint, options: Where & Cancel): Promise<void>;
  /**
   * Writes an endpoint unless its MAC address or one of its IP addresses is another host's: all of it or nothing, whatever
   * others do at the same time. What the same VTEP or the same lease has of these addresses is replaced, a plain endpoint
   * comes under the lease, and claiming again changes nothing.
   * @throws OvernsError `OVERNS_CONFLICT`, a {@link ConflictError} that names the holder; `OVERNS_LEASE`: the lease has ended
   */
  claim?(endpoint: Endpoint, options: Where & ClaimOptions): Promise<Claimed>;
  /** Makes a lease, for endpoints of any overlay. */
  lease?(options: LeaseOptions): Promise<StoreLease>;
  /** All endpoints of the network of that overlay. One whose addresses go with different leases is given for each. */
  list?(options: Where & Cancel): Promise<readonly StoredEndpoint[]>;
}

/**
 * A store made by {@link openStore}: complete, and closed by its owner. The overlay has to be told where the URL has
 * `{vni}` or `{name}`. Any other URL holds one network: who names an overlay of another VNI gets `OVERNS_SCOPE`. What its
 * kind of store cannot do is refused with `OVERNS_STORE_UNSUPPORTED`.
 * @example
 * ```ts
 * import { type OwnedStore, openStore } from 'overns';
 *
 * const store: OwnedStore = await openStore('memory:');
 * await store.close();
 * await store.close(); // idempotent
 * ```
 */
export interface OwnedStore extends Store, AsyncDisposable {
  lookup(query: Query, options?: Cancel): Promise<Answer | null>;
  watch(options?: Partial<WatchOptions>): AsyncIterable<Change>;
  /** Absent: its driver cannot. */
  watchOnly?(interest: Interest, options?: Partial<WatchOnlyOptions>): AsyncIterable<Change>;
  publish(endpoint: Endpoint, options?: Partial<Where> & Cancel): Promise<void>;
  withdraw(endpoint: Endpoint, options?: Partial<Where> & Cancel): Promise<void>;
  claim(endpoint: Endpoint, options?: Partial<Where> & ClaimOptions): Promise<Claimed>;
  lease(options: LeaseOptions): Promise<StoreLease>;
  list(options?: Partial<Where> & Cancel): Promise<readonly StoredEndpoint[]>;
  /** Ends its watches and connections. Leases are not renewed any more, nor revoked. Idempotent. */
  close(): Promise<void>;
}
