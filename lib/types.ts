/**
 * The shapes that cross the public API: references to namespaces and containers, endpoints, misses, stores and
 * resolver events. Addresses are canonical strings: IPv4 dotted, IPv6 in RFC 5952 form, MAC in lower case.
 */

import type { ResolverStats } from './counters.js';
import type { OvernsError } from './errors.js';

/**
 * A network namespace: a name in /run/netns, an absolute path to an nsfs file, or a process.
 * @example
 * ```ts
 * import type { NetnsRef } from 'overns';
 *
 * const refs: NetnsRef[] = ['web', { path: '/run/netns/web' }, { pid: 4711 }];
 * console.log(refs.length); // 3
 * ```
 */
export type NetnsRef = string | { readonly path: string } | { readonly pid: number };

/**
 * A container. A string is `docker:NAME`, `netns:NAME`, `pid:N`, an absolute path, or a bare name (Docker's first,
 * else a named namespace).
 * @example
 * ```ts
 * import type { ContainerRef } from 'overns';
 *
 * const same: ContainerRef[] = ['docker:demo', { docker: 'demo' }];
 * const others: ContainerRef[] = ['netns:web', 'pid:4711', { path: '/proc/4711/ns/net' }];
 * console.log(same.length + others.length); // 5
 * ```
 */
export type ContainerRef =
  | string
  | { readonly docker: string }
  | { readonly netns: string }
  | { readonly path: string }
  | { readonly pid: number };

/**
 * Cancellation: an aborted call rejects with an `AbortError` whose cause is the signal's reason. What takes several steps, as
 * making an overlay or attaching, is undone; a request that the kernel has been sent is not taken back.
 * @example
 * ```ts
 * import type { Cancel } from 'overns';
 *
 * const within: Cancel = { signal: AbortSignal.timeout(2000) };
 * console.log(within.signal?.aborted); // false
 * ```
 */
export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

/**
 * The bounded queue that stands between a source of events and one consumer.
 * @example
 * ```ts
 * import type { QueueOptions } from 'overns';
 *
 * const latest: QueueOptions = { maxQueue: 1, overflow: 'drop-oldest' };
 * console.log(latest.maxQueue); // 1
 * ```
 */
export interface QueueOptions extends Cancel {
  /** Events held at most, 1 to 2^20. Default 1024. */
  readonly maxQueue?: number | undefined;
  /** Which event gives way when the queue is full. Default `drop-oldest`. */
  readonly overflow?: 'drop-oldest' | 'drop-newest' | undefined;
}

/**
 * One consumer's own bounded stream of events. Aborting rejects the pending `next()` with AbortError.
 * @example
 * ```ts
 * import type { Miss, Subscription } from 'overns';
 *
 * async function first(misses: Subscription<Miss>): Promise<Miss | undefined> {
 *   for await (const miss of misses) return miss;
 *   return undefined;
 * }
 * console.log(first.name); // first
 * ```
 */
export interface Subscription<E> extends AsyncIterableIterator<E>, AsyncDisposable {
  /** The same events, in arrays: the first at once, bursts together. */
  batches(): AsyncIterable<readonly E[]>;
  /** Events this consumer lost because its queue was full. */
  readonly dropped: number;
}

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
 * A query as the kernel put it (RTM_GETNEIGH from a vxlan device, drivers/net/vxlan).
 * @example
 * ```ts
 * import type { Miss } from 'overns';
 *
 * const describe = (miss: Miss): string => `${miss.link}: who has ${miss.kind === 'l3' ? miss.ip : miss.mac}?`;
 * const where = { overlay: 'overns', vni: 42, link: 'vxlan1', atNs: process.hrtime.bigint() };
 * console.log(describe({ ...where, kind: 'l3', ip: '192.168.0.3' })); // vxlan1: who has 192.168.0.3?
 * ```
 */
export type Miss = Query & {
  /** Name of the vxlan device. */
  readonly link: string;
  /**
   * When the resolver's thread read it or, without a resolver, when it was handed to JavaScript; CLOCK_MONOTONIC
   * nanoseconds (as `process.hrtime.bigint()`).
   */
  readonly atNs: bigint;
};

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
  /** How long the answer may be used without asking again, milliseconds. Default: the resolver's. */
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

/**
 * What a resolver tells. `store-down`, `punt-off` and `overlay-lost` hold until they are taken back: who listens from then
 * on is told of them first, with the time when it happened.
 * @example
 * ```ts
 * import type { ResolverEvent } from 'overns';
 *
 * function line(event: ResolverEvent): string {
 *   if (event.kind === 'resolved') return `${event.endpoint.mac} by ${event.by} in ${event.tookUs} µs`;
 *   if (event.kind === 'unresolved') return event.cause;
 *   return event.kind;
 * }
 * const where = { overlay: 'overns', vni: 42, atNs: process.hrtime.bigint() };
 * console.log(line({ ...where, kind: 'overrun', dropped: 3 })); // overrun
 * ```
 */
export type ResolverEvent = Where & { readonly atNs: bigint } & (
    | {
        readonly kind: 'resolved';
        readonly miss: Miss;
        readonly endpoint: Answer;
        /** `table`: answered by the native thread alone; `store`: after a lookup. */
        readonly by: 'table' | 'store';
        /** From reading the miss to the kernel's acknowledgement, microseconds. */
        readonly tookUs: number;
      }
    | {
        readonly kind: 'unresolved';
        readonly miss: Miss;
        readonly cause: 'absent' | 'timeout' | 'store-error';
        readonly error?: Error;
      }
    /**
     * The answer cannot be used (multicast MAC, a VTEP that is of the other family or another address of this host, ...):
     * nothing was programmed. Of a record that the store's watch gave, `miss` is its address, which nobody need have asked for.
     */
    | { readonly kind: 'rejected'; readonly miss: Miss; readonly reason: string }
    /** The kernel dropped misses. */
    | { readonly kind: 'overrun'; readonly dropped: number }
    /** This consumer was slow. */
    | { readonly kind: 'overflow'; readonly dropped: number }
    /** The store cannot be used; what is known is served on. */
    | { readonly kind: 'store-down'; readonly error?: Error }
    | { readonly kind: 'store-up'; readonly error?: Error }
    /** Packets for a MAC that the kernel has no VTEP for are lost until they are answered, since nothing catches them. */
    | { readonly kind: 'punt-off'; readonly reason: string }
    /** vxlan1 has been removed, or the overlay is served by another resolver. */
    | { readonly kind: 'overlay-lost' }
    | { readonly kind: 'overlay-back' }
  );

/**
 * How an overlay is served.
 * @example
 * ```ts
 * import type { OverlayStatus } from 'overns';
 *
 * const healthy = ({ store, punt, lost }: OverlayStatus): boolean => store === 'up' && punt && !lost;
 * console.log(healthy.length); // 1
 * ```
 */
export interface OverlayStatus extends Where {
  /** `down` from its first failure to the next thing that it answers; `up` also where nothing was asked yet. */
  readonly store: 'up' | 'down';
  /** Since when the store is up or down. */
  readonly since: Date;
  /** What the store said last, while it is down. */
  readonly error?: Error;
  /** Whether packets are caught that go to a MAC which the kernel has no VTEP for; else they are lost until its answer. */
  readonly punt: boolean;
  /** Why they are not. */
  readonly noPunt?: string;
  /** True while vxlan1 is gone. */
  readonly lost: boolean;
  /** Since when it is gone. */
  readonly lostSince?: Date;
  readonly stats: ResolverStats;
}

/**
 * The underlay of an overlay stopped to do, or does again ({@link Overlay.underlayChanges}).
 * @example
 * ```ts
 * import type { UnderlayChange } from 'overns';
 *
 * const words = ({ overlay, fault }: UnderlayChange): string => `${overlay}: ${fault?.message ?? 'as it was made for'}`;
 * console.log(words({ kind: 'underlay', overlay: 'blue', vni: 42 })); // blue: as it was made for
 * ```
 */
export interface UnderlayChange extends Where {
  readonly kind: 'underlay';
  /** What is wrong, its `code` as {@link Overlay.underlayFault} has it; absent: nothing any more. */
  readonly fault?: OvernsError;
}
