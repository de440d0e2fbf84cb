/** How a kind of store is plugged in: a driver for its URLs, and what that opens. */
import type { Cancel } from '../core/abort.js';
import type { Answer, Change, Claimed, Endpoint, Query, StoredEndpoint, Where } from './contract.js';
import type { Interest } from './interest.js';
import type { RecordStore } from './records.js';

/**
 * Where a URL leads, as its driver reads it. A driver may add what it needs to open it.
 * @example
 * ```ts
 * import type { StoreAddress } from 'overns';
 *
 * const address: StoreAddress = { text: 'file:///srv/overns/{vni}.json', prefix: '/srv/overns/{vni}.json' };
 * console.log(address.prefix.includes('{vni}')); // true
 * ```
 */
export interface StoreAddress {
  /** The URL in one spelling, placeholders left in it, without anything secret: errors, logs and traces show it. */
  readonly text: string;
  /** Where the records are. `{vni}` and `{name}` in it are replaced by those of the overlay before an operation sees it. */
  readonly prefix: string;
}

/**
 * Which network an operation is about. Overlays that share a prefix are parts of one network.
 * @example
 * ```ts
 * import type { StoreNetwork } from 'overns';
 *
 * const network: StoreNetwork = { prefix: 'net/42', overlay: 'blue', vni: 42 };
 * console.log(network.prefix); // net/42
 * ```
 */
export interface StoreNetwork extends Partial<{ readonly [K in keyof Where]: Where[K] | undefined }> {
  /** The prefix of the URL, its placeholders replaced. `overlay` and `vni` are absent where the caller named none. */
  readonly prefix: string;
  /** True: nobody watches these endpoints, so that no change of them need be told. Default false. */
  readonly unwatched?: boolean | undefined;
}

/**
 * Options of a driver's claim: {@link ClaimOptions}, the lease by its id.
 * @example
 * ```ts
 * import type { DriverClaim } from 'overns';
 *
 * const claim: DriverClaim = { prefix: 'demo', overlay: 'blue', vni: 42, lease: 'a1b2', takeover: false };
 * console.log(claim.expect); // undefined
 * ```
 */
export interface DriverClaim extends StoreNetwork, Cancel {
  readonly lease?: string | undefined;
  readonly takeover: boolean;
  readonly expect?: bigint | undefined;
}

/**
 * A lease as a driver makes it. Whoever has opened the store renews it in time.
 * @example
 * ```ts
 * import type { DriverLease } from 'overns';
 *
 * const alive = new Set(['a1b2']);
 * const lease: DriverLease = {
 *   id: 'a1b2',
 *   ttlMs: 15_000,
 *   renew: async () => alive.has('a1b2'),
 *   revoke: async () => void alive.delete('a1b2'),
 * };
 * console.log(await lease.renew({ signal: new AbortController().signal })); // true
 * ```
 */
export interface DriverLease {
  readonly id: string;
  /** How long it lives without being renewed, at least. */
  readonly ttlMs: number;
  /** Renews it, in one attempt. False: the store has ended it. Rejects when the store cannot say. */
  renew(options: { readonly signal: AbortSignal }): Promise<boolean>;
  /** Ends it with all that is under it; one that has ended is no failure. */
  revoke(options: Cancel): Promise<void>;
}

/**
 * A store as a driver opens it. Arguments are checked, addresses canonical, the signal has not been aborted and the store is not
 * closed when a method is called; no prefix is used for two networks. An aborted signal rejects with an AbortError, and
 * ends a watch with one. Errors are OvernsErrors with code `OVERNS_STORE`, or `OVERNS_RECORD` for one bad record.
 * @example
 * ```ts
 * import type { DriverStore, Endpoint } from 'overns';
 *
 * const rows = new Map<string, Endpoint>(); // one network, which nobody else changes
 * const opened: DriverStore = {
 *   async lookup(query) {
 *     const found = [...rows.values()].find((row) => (query.kind === 'l3' ? row.ips.includes(query.ip) : row.mac === query.mac));
 *     return found ? { mac: found.mac, vtep: found.vtep } : null;
 *   },
 *   async *watch({ signal }) {
 *     yield { kind: 'reset', endpoints: [...rows.values()], index: 1n };
 *     await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
 *   },
 *   publish: async (endpoint) => void rows.set(endpoint.mac, endpoint),
 *   withdraw: async ({ mac }) => void rows.delete(mac),
 *   close() {},
 * };
 * console.log(opened.watch.length); // 1
 * ```
 */
export interface DriverStore {
  /** Where an endpoint is; null: the store says that there is none. Rejects when it cannot say. */
  lookup(query: Query, options: StoreNetwork & Cancel): Promise<Answer | null>;
  /** `ref` false: the watch is not to keep the process alive. `from`, `max`: see {@link WatchOptions}. */
  watch(
    options: StoreNetwork & {
      readonly signal: AbortSignal;
      readonly ref?: boolean | undefined;
      readonly from?: bigint | undefined;
      readonly max?: number | undefined;
    },
  ): AsyncIterable<Change>;
  /** As {@link Store.watchOnly}. Absent: what is used is served by lookups and their TTL. */
  watchOnly?(
    interest: Interest,
    options: StoreNetwork & { readonly signal: AbortSignal; readonly ref?: boolean | undefined },
  ): AsyncIterable<Change>;
  /** As {@link Store.mirrorMax}. */
  readonly mirrorMax?: number | undefined;
  /** Writes an endpoint, plain, in place of what is known of its addresses. */
  publish(endpoint: Endpoint, options: StoreNetwork & Cancel): Promise<void>;
  /** Removes an endpoint where it is still the one that is stored. */
  withdraw(endpoint: Endpoint, options: StoreNetwork & Cancel): Promise<void>;
  /** As {@link Store.claim}. Absent, as the next two: the store cannot do it, and who asks for it is told so. */
  claim?(endpoint: Endpoint, options: DriverClaim): Promise<Claimed>;
  /** As {@link Store.list}. */
  list?(options: StoreNetwork & Cancel): Promise<readonly StoredEndpoint[]>;
  /** Makes a lease that lives for `ttlMs` at least without being renewed. */
  lease?(options: { readonly name: string; readonly ttlMs: number } & Cancel): Promise<DriverLease>;
  /** Lists what is stored, raw: for `overns records`. Absent: the store keeps no records of that form. */
  records?(network: StoreNetwork): RecordStore;
  /** Ends watches and whatever is under way. Called once. */
  close(): Promise<void> | void;
}

/**
 * Options that openStore() was given, for the driver to use or to refuse.
 * @example
 * ```ts
 * import type { DriverOptions } from 'overns';
 *
 * const given: DriverOptions = { ca: '/etc/ssl/store.pem' };
 * console.log(given.ca); // /etc/ssl/store.pem
 * ```
 */
export interface DriverOptions extends Cancel {
  /** Credentials for the store; a function is asked before each request. */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/**
 * A kind of store, found by the scheme of its URLs. `overns/testing` has the tests that every driver passes.
 * @example
 * ```ts
 * import { openStore, registerStore, type StoreDriver } from 'overns';
 *
 * const driver: StoreDriver = {
 *   title: 'nothing',
 *   schemes: ['none'],
 *   form: 'none:',
 *   example: 'none:',
 *   parse: (url) => ({ text: url, prefix: '' }),
 *   open: () => ({
 *     lookup: async () => null,
 *     async *watch() {},
 *     publish: async () => {},
 *     withdraw: async () => {},
 *     close() {},
 *   }),
 * };
 * registerStore(driver);
 * await using store = await openStore('none:');
 * console.log(await store.lookup({ overlay: 'blue', vni: 42, kind: 'l3', ip: '192.168.0.3' })); // null
 * ```
 */
export interface StoreDriver<A extends StoreAddress = StoreAddress> {
  /** Name of the store in logs: `Consul`. */
  readonly title: string;
  /** The schemes of its URLs, lower case, without the colon. */
  readonly schemes: readonly string[];
  /** How its URLs are written, for help texts: `consul://HOST[:8500]/PREFIX`. */
  readonly form: string;
  /** A URL of it. */
  readonly example: string;
  /** True: all that is put there lives and ends with the process that opened it. Default false. */
  readonly inProcess?: boolean | undefined;
  /** Reads a URL of one of its schemes. @param refuse makes the error for one that is none, which does not repeat credentials */
  parse(url: string, refuse: (why: string) => Error): A;
  /** A URL without what may be secret, for errors. Default: without what stands before an `@`, behind a `?` or a `#`. */
  redact?(url: string): string;
  /** Opens it, with what it needs from options and from its own environment variables. No server need be up. */
  open(address: A, options: DriverOptions): Promise<DriverStore> | DriverStore;
}
