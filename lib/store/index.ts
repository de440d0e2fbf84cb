/** Stores by URL. */
import { tracingChannel } from 'node:diagnostics_channel';
import type { Cancel } from '../core/abort.js';
import { checkSignal, throwIfAborted } from '../core/abort.js';
import { canonicalIp, canonicalMac, checkVni } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { boolean, checkOptions, integer, type Shape, signalOf } from '../core/options.js';
import { AllocatedAddresses } from './allocated.js';
import type {
  Answer,
  Change,
  Claimed,
  ClaimOptions,
  Endpoint,
  LeaseOptions,
  OwnedStore,
  Query,
  Store,
  StoredEndpoint,
  StoreLease,
  WatchOnlyOptions,
  WatchOptions,
  Where,
} from './contract.js';
import type { DriverStore, StoreNetwork } from './driver.js';
import { Interest } from './interest.js';
import { HeldLease } from './lease.js';
import { checkEndpoint, type RecordStore } from './records.js';
import { allocated, records, type ScopedStore, scope, sharedScope } from './scope.js';
import { parseStoreUrl, prefixFor, type StoreUrl, textFor } from './url.js';

export { checkKey, checkKind, checkValue, type RecordKind } from './records.js';
export { inProcessUrl, registerStore, storeExample, storeForms } from './registry.js';
export { recordsOf, scopeOf, sharedScope } from './scope.js';
export { expandStoreUrl, parseStoreUrl } from './url.js';

/**
 * How to open a store. What is left out comes from the store's own environment variables.
 * @example
 * ```ts
 * import type { OpenStoreOptions } from 'overns';
 *
 * const options: OpenStoreOptions = { token: async () => 'from-a-vault', ca: '/etc/ssl/store.pem' };
 * console.log(typeof options.token); // function
 * ```
 */
export interface OpenStoreOptions extends Cancel {
  /**
   * The token that requests bear, or what is asked for one with every request. Default: that of the store's own
   * variables.
   */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /**
   * The authority that the server's certificate is checked against instead of the system's: PEM text, or the path of a
   * PEM file.
   */
  readonly ca?: string | undefined;
  /** The client's certificate, likewise. */
  readonly cert?: string | undefined;
  /** The private key of `cert`, likewise. */
  readonly key?: string | undefined;
  /**
   * How long an address that {@link AddressAllocator} has handed out is not handed out again once it was given back, milliseconds,
   * 1000 to 86400000; a store may take more (Consul: 10 s at least, and up to twice the time). The same with all who hand out
   * addresses of a network. Default 90000: an answer may be used for a minute without asking again.
   */
  readonly quarantineMs?: number | undefined;
}

/**
 * Opens a store by its URL; README says which there are, {@link registerStore} adds others. `memory:` is one inside this
 * process, empty whenever it is opened.
 *
 * `{vni}` and `{name}` in a URL stand for those of the overlay that a query is about. `publish`, `withdraw` and `watch`
 * of such a store need to be told the overlay: `overlay.attach(..., { store })` and a Resolver do that, others write
 * `{ overlay, vni }`. Without them a URL belongs to one network.
 *
 * No server is contacted: a store can be opened while its server is down, and works once that is up. Until then each
 * call fails with `OVERNS_STORE`, after a few attempts within about a second (ten if the server is silent).
 *
 * Errors of its methods:
 * - `OVERNS_STORE`: the server refuses or cannot be reached, in its own words.
 * - `OVERNS_RECORD`: the record is there but cannot be used. An `arp` record that names a MAC address without a `fib`
 *   record counts as such: it is a mistake to be told about rather than an absent endpoint.
 * - `OVERNS_CONFLICT`: an address that is claimed is another host's.
 * - `OVERNS_LEASE`: the lease of a claim has ended.
 * - `OVERNS_STORE_UNSUPPORTED`: this kind of store cannot do that.
 * - `OVERNS_SCOPE`: the records belong to the network of another overlay.
 * - `OVERNS_CLOSED`: the store was closed. Watches end.
 * - AbortError, code `ABORT_ERR`: the signal was aborted.
 *
 * @throws RangeError, TypeError for a URL or an option that is none
 * @throws OvernsError `OVERNS_STORE` if a certificate or key cannot be read
 * @example
 * ```ts
 * import { openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * const wrong = await openStore('redis://127.0.0.1').catch((error) => error);
 * console.log(wrong.code); // ERR_INVALID_ARG_VALUE
 * ```
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<OwnedStore> {
  const parsed = parseStoreUrl(url, 'url');
  const { quarantineMs = QUARANTINE_MS, ...given } = checkOptions(options, storeOptions);
  throwIfAborted(given.signal);
  return new UrlStore(parsed, await parsed.driver.open(parsed, given), quarantineMs);
}

const storeOptions = {
  token: checkToken,
  ca: checkPem,
  cert: checkPem,
  key: checkPem,
  quarantineMs: integer(1000, 86_400_000),
  signal: checkSignal,
} satisfies Shape;
const QUARANTINE_MS = 90_000;

function checkToken(value: unknown, name: string): NonNullable<OpenStoreOptions['token']> {
  if (typeof value !== 'string' && typeof value !== 'function')
    throw invalidType(name, value, 'a string or a function');
  return value as NonNullable<OpenStoreOptions['token']>;
}

function checkPem(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string: PEM text or a path');
  return value;
}

/** Context of the tracing channel `overns.store.lookup`, which every lookup of these stores runs in. */
export interface LookupTrace {
  readonly query: Query;
  /** The store's URL. */
  readonly store: string;
}

const lookups = tracingChannel<unknown, LookupTrace>('overns.store.lookup');

/** Which overlay a call is about, where it is said. */
const writeShape = {
  overlay: (value: unknown, name: string) => {
    if (typeof value !== 'string') throw invalidType(name, value, 'a string');
    return value;
  },
  vni: checkVni,
  signal: checkSignal,
} satisfies Shape;
const watchShape = {
  ...writeShape,
  ref: boolean,
  from: revision,
  max: integer(1, Number.MAX_SAFE_INTEGER),
} satisfies Shape;
const watchOnlyShape = { ...writeShape, ref: boolean } satisfies Shape;
const claimShape = { ...writeShape, lease: checkLease, takeover: boolean, expect: revision } satisfies Shape;
const leaseShape = { name: [checkLeaseName], ttlMs: integer(1000, 86_400_000), signal: checkSignal } satisfies Shape;
const LEASE_MS = 15_000;

function revision(value: unknown, name: string): bigint {
  if (typeof value !== 'bigint') throw invalidType(name, value, 'a bigint');
  if (value < 0n || value >= 2n ** 64n) throw invalidArgument(name, value, 'a revision of a store');
  return value;
}

function checkLease(value: unknown, name: string): HeldLease {
  if (!(value instanceof HeldLease)) throw invalidType(name, value, 'a lease of this store');
  return value;
}

function checkLeaseName(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  // Consul and whoever prints it have to take it.
  if (!/^[\x21-\x7e]{1,128}$/.test(value))
    throw invalidArgument(name, value, 'a name of 1 to 128 printable ASCII characters without blanks');
  return value;
}

let count = 0;

/** The public face of what a driver opens: checks what comes in, and finds the network that it is about. */
class UrlStore implements OwnedStore, ScopedStore {
  /** Where one bad record fails its own lookup alone, and none waits, there is nothing to gain from asking together. */
  readonly lookupMany?: NonNullable<Store['lookupMany']>;
  readonly watchOnly?: NonNullable<OwnedStore['watchOnly']>;
  readonly mirrorMax: number | undefined;
  readonly #url: StoreUrl;
  readonly #opened: DriverStore;
  readonly #quarantineMs: number;
  /** Tells two that are each in a memory of their own apart. */
  readonly #id = ++count;
  /** By prefix: the network that it has been used for. */
  readonly #networks = new Map<string, Where>();
  readonly #leases = new Set<HeldLease>();
  #closing: Promise<void> | undefined;

  constructor(url: StoreUrl, opened: DriverStore, quarantineMs: number) {
    this.#url = url;
    this.#opened = opened;
    this.mirrorMax = opened.mirrorMax;
    if (opened.watchOnly !== undefined) this.watchOnly = (...args) => this.#watchOnly(...args);
    this.#quarantineMs = quarantineMs;
    if (url.driver.inProcess === true) {
      this.lookupMany = (queries, options) => Promise.all(queries.map((query) => this.lookup(query, options)));
    }
  }

  async lookup(query: Query, options: Cancel = {}): Promise<Answer | null> {
    const checked = checkQuery(query);
    const network = this.#network(checked, 'lookup');
    const signal = signalOf(options);
    throwIfAborted(signal);
    // A promise of its own kind is what tracePromise() returns.
    return lookups.tracePromise(() => this.#opened.lookup(checked, { ...network, signal }), {
      query: checked,
      store: this.#url.text,
    }) as Promise<Answer | null>;
  }

  watch(options?: Partial<WatchOptions>): AsyncIterable<Change> {
    const { signal, ref, from, max, ...where } = checkOptions(options, watchShape);
    const network = this.#network(where, 'watch');
    return this.#opened.watch({ ...network, signal: signal ?? new AbortController().signal, ref, from, max });
  }

  #watchOnly(interest: Interest, options?: Partial<WatchOnlyOptions>): AsyncIterable<Change> {
    const { signal = new AbortController().signal, ref, ...where } = checkOptions(options, watchOnlyShape);
    if (!isInterest(interest)) throw invalidType('interest', interest, 'an Interest');
    const network = this.#network(where, 'watchOnly');
    return (this.#opened as Required<DriverStore>).watchOnly(interest, { ...network, signal, ref });
  }

  async publish(endpoint: Endpoint, options?: Partial<Where> & Cancel): Promise<void> {
    const { signal, ...where } = checkOptions(options, writeShape);
    const network = this.#network(where, 'publish');
    const checked = checkEndpoint(endpoint);
    throwIfAborted(signal);
    await this.#opened.publish(checked, { ...network, signal });
  }

  async withdraw(endpoint: Endpoint, options?: Partial<Where> & Cancel): Promise<void> {
    const { signal, ...where } = checkOptions(options, writeShape);
    const network = this.#network(where, 'withdraw');
    const checked = checkEndpoint(endpoint);
    throwIfAborted(signal);
    await this.#opened.withdraw(checked, { ...network, signal });
    // It is done. Where an address cannot be put to rest now, whoever sees next that nobody has it does so.
    await this.#rest(checked, network, signal).catch(() => {});
  }

  async claim(endpoint: Endpoint, options?: Partial<Where> & ClaimOptions): Promise<Claimed> {
    const { signal, lease, takeover = false, expect, ...where } = checkOptions(options, claimShape);
    const network = this.#network(where, 'claim');
    const checked = checkEndpoint(endpoint);
    if (this.#opened.claim === undefined) throw this.#unsupported('claim');
    if (lease !== undefined && !this.#leases.has(lease)) {
      throw invalidArgument('lease', lease.id, 'a lease of this store');
    }
    lease?.check();
    throwIfAborted(signal);
    try {
      return await this.#opened.claim(checked, { ...network, signal, lease: lease?.id, takeover, expect });
    } catch (error) {
      if (OvernsError.is(error) && error.code === 'OVERNS_LEASE') lease?.end(error);
      throw error;
    }
  }

  async lease(options: LeaseOptions): Promise<StoreLease> {
    const { name, ttlMs = LEASE_MS, signal } = checkOptions(options, leaseShape);
    this.#refuseClosed();
    if (this.#opened.lease === undefined) throw this.#unsupported('lease');
    throwIfAborted(signal);
    const made = new HeldLease(await this.#opened.lease({ name, ttlMs, signal }), this.#url.text);
    this.#leases.add(made);
    if (this.#closing !== undefined) made.leave();
    return made;
  }

  async list(options?: Partial<Where> & Cancel): Promise<readonly StoredEndpoint[]> {
    const { signal, ...where } = checkOptions(options, writeShape);
    const network = this.#network(where, 'list');
    if (this.#opened.list === undefined) throw this.#unsupported('list');
    throwIfAborted(signal);
    return this.#opened.list({ ...network, signal });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const lease of this.#leases) lease.leave();
      await this.#opened.close();
    })();
    return this.#closing;
  }

  #unsupported(method: 'claim' | 'lease' | 'list'): OvernsError {
    const { title, form } = this.#url.driver;
    return new OvernsError('OVERNS_STORE_UNSUPPORTED', `${this.#url.text}: ${title} (${form}) has no ${method}()`, {
      hint: 'use a store whose driver has it',
    });
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new OvernsError('OVERNS_CLOSED', `${this.#url.text}: the store is closed`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  [scope](where: Where): string {
    const text = textFor(this.#url, where);
    return this.#url.driver.inProcess === true ? `${text} ${this.#id}` : text;
  }

  [allocated](where: Partial<Where>): AllocatedAddresses | undefined {
    return this.#allocated(this.#network(where, 'list'));
  }

  #allocated(network: StoreNetwork): AllocatedAddresses | undefined {
    const { claim, list, lease } = this.#opened;
    if (claim === undefined || list === undefined || lease === undefined) return undefined;
    return new AllocatedAddresses(this.#opened as Required<DriverStore>, network, this.#quarantineMs);
  }

  /** Lets those of a withdrawn endpoint's addresses rest that were handed out, and are nobody else's by now. */
  async #rest({ ips }: Endpoint, network: StoreNetwork, signal: AbortSignal | undefined): Promise<void> {
    const memory = this.#allocated(network);
    if (memory === undefined) return;
    const found = await Promise.all(
      ips.map(async (ip) => {
        const record = await memory.find(ip, { signal });
        if (record === undefined) return [];
        const query: Query = { overlay: network.overlay ?? '', vni: network.vni ?? 1, kind: 'l3', ip };
        return (await this.#opened.lookup(query, { ...network, signal })) === null ? [record] : [];
      }),
    );
    await memory.rest(found.flat(), { signal });
  }

  [records](where: Partial<Where> = {}): RecordStore {
    const network = this.#network(where, 'records');
    const handed = this.#opened.records?.(network);
    if (handed !== undefined) return handed;
    throw new OvernsError('OVERNS_STORE_UNSUPPORTED', `${this.#url.text}: it keeps endpoints, not records`, {
      hint: 'publish and withdraw endpoints, or use a store that keeps records',
    });
  }

  /** The network of an overlay; where none is named, the only one there is. */
  #network(where: { readonly [K in keyof Where]?: Where[K] | undefined }, method: string): StoreNetwork {
    this.#refuseClosed();
    if (where.overlay !== undefined || where.vni !== undefined) {
      const { overlay = '', vni } = where;
      const named: Where = { overlay, vni: checkVni(vni, 'vni') };
      const prefix = prefixFor(this.#url, named);
      this.#claim(prefix, named);
      return { prefix, ...named };
    }
    if (!this.#url.templated) return { prefix: this.#url.prefix };
    throw new OvernsError('OVERNS_STORE', `${this.#url.text}: ${method} of which overlay?`, {
      hint: 'say so with `{ overlay, vni }`, or open it with {vni} and {name} replaced',
    });
  }

  /** Refuses a second network: whatever is put under a prefix shows in every overlay that is served from there. */
  #claim(prefix: string, where: Where): void {
    const before = this.#networks.get(prefix);
    if (before?.vni === where.vni) return;
    // The same name with another VNI is an overlay that was made anew.
    if (before !== undefined && before.overlay !== where.overlay) throw sharedScope(before, where);
    this.#networks.set(prefix, { overlay: where.overlay, vni: where.vni });
  }
}

/** Not by its class: two copies of the package can be loaded. */
function isInterest(value: unknown): value is Interest {
  return value instanceof Interest || typeof (value as Partial<Interest> | null)?.onChange === 'function';
}

function checkQuery(query: unknown): Query {
  if (query === null || typeof query !== 'object') throw invalidType('query', query, 'a query, an object');
  const given = query as Query;
  if (typeof given.overlay !== 'string') throw invalidType('query.overlay', given.overlay, 'a string');
  checkVni(given.vni, 'query.vni');
  if (given.kind === 'l3') return { ...given, ip: canonicalIp(given.ip, 'query.ip') };
  if (given.kind === 'l2') return { ...given, mac: canonicalMac(given.mac, 'query.mac') };
  throw invalidArgument('query.kind', (given as { kind: unknown }).kind, "'l3' or 'l2'");
}
