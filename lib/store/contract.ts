/** What a store is: endpoints, the questions that it is asked, and the changes that it tells of. */
import type { Cancel } from '../core/abort.js';

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
 * What the kernel asks: who has this IP (L3), or which VTEP has this MAC (L2).
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
 * What a store says of a query.
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
 * What a store's watch reports, in the order of the store's own index.
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
  | { readonly kind: 'put'; readonly endpoint: Endpoint; readonly index: bigint }
  | {
      readonly kind: 'delete';
      readonly ip?: string | undefined;
      readonly mac?: string | undefined;
      readonly index: bigint;
    };

/**
 * What a store is told when it is watched.
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
   * What there is and what changes in the network of that overlay, in order; begins with a `reset`. A store that serves
   * several networks and does not look at `overlay` or `vni` is not believed: see `OVERNS_SCOPE` at Resolver.add().
   */
  watch?(options: WatchOptions): AsyncIterable<Change>;
  /** Writes an endpoint that is attached to that overlay now. */
  publish?(endpoint: Endpoint, options: Where & Cancel): Promise<void>;
  /** Removes an endpoint that is detached from that overlay. */
  withdraw?(endpoint: Endpoint, options: Where & Cancel): Promise<void>;
}

/**
 * A store made by {@link openStore}: complete, and closed by its owner. The overlay has to be told where the URL has
 * `{vni}` or `{name}`. Any other URL holds one network: who names an overlay of another VNI gets `OVERNS_SCOPE`.
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
  publish(endpoint: Endpoint, options?: Partial<Where> & Cancel): Promise<void>;
  withdraw(endpoint: Endpoint, options?: Partial<Where> & Cancel): Promise<void>;
  /** Ends its watches and connections. Idempotent. */
  close(): Promise<void>;
}
