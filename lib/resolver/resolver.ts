/** The resolver: answers the kernel's misses for overlays, from what their stores know. */
import { channel } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import type { Cancel } from '../core/abort.js';
import { abortError, checkSignal, onAbort, throwIfAborted, untilAborted } from '../core/abort.js';
import { canonicalIp, canonicalMac } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { boolean, checkObject, checkOptions, integer, type Shape, type Values } from '../core/options.js';
import type { QueueOptions, Subscription } from '../core/subscription.js';
import { type BoundedQueue, createSubscription, queueOptions } from '../core/subscription.js';
import {
  askControl,
  type ControlAnswer,
  type ControlPeer,
  type ControlRequest,
  type ControlServer,
  serveControl,
} from '../overlay/control.js';
import { fitness } from '../overlay/fitness.js';
import type { Miss } from '../overlay/miss.js';
import type { Overlay } from '../overlay/overlay.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Answer, Change, Endpoint, Query, Store, WatchOptions, Where } from '../store/contract.js';
import { isScoped, scopeOf, sharedScope } from '../store/index.js';
import { errnoName } from '../system/kernel-error.js';
import { EVENT_BITS, type NativeEvent, type NativeLookup } from '../system/native.js';
import { counters, noStats, type ResolverStats } from './counters.js';
import type { OverlayStatus, ResolverEvent } from './events.js';
import { type ReactorClient, ReactorLease } from './reactor.js';
import { Standing } from './standing.js';

/** Every event of every resolver, for observers that do not hold one. */
const eventChannel = channel('overns:resolver:event');
/** What is wrong with an overlay that is served all the same: `{ overlay, error }`. */
const overlayWarnings = channel('overns:overlay:warning');

/** What is heard even when nobody listens: who asks later is told of it. */
const ALWAYS_WANTED = EVENT_BITS['overlay-lost'] | EVENT_BITS['overlay-back'];

const KINDS = [
  'resolved',
  'unresolved',
  'rejected',
  'overrun',
  'overflow',
  'store-down',
  'store-up',
  'punt-off',
  'overlay-lost',
  'overlay-back',
] as const satisfies readonly ResolverEvent['kind'][];

/**
 * What a resolver serves, and how.
 * @example
 * ```ts
 * import type { ResolverOptions } from 'overns';
 *
 * const options: ResolverOptions = { lookupTimeoutMs: 500, negativeTtlMs: 5000, realtime: true };
 * console.log(options.realtime); // true
 * ```
 */
export interface ResolverOptions extends Cancel {
  /** What to serve from the start; an overlay without a store of its own uses `store`. */
  readonly overlays?: readonly (Overlay | { readonly overlay: Overlay; readonly store: Store })[] | undefined;
  readonly store?: Store | undefined;
  /** How long a lookup may take, milliseconds, 1 to 600000. Default 2000. */
  readonly lookupTimeoutMs?: number | undefined;
  /** How long "absent" holds, milliseconds, 0 to 3600000. Default 1000. */
  readonly negativeTtlMs?: number | undefined;
  /** Lookups under way at once, for one overlay, 1 to 65536. Default 256. */
  readonly maxLookups?: number | undefined;
  /** Run the resolver thread under SCHED_FIFO, where permitted. Default false. */
  readonly realtime?: boolean | undefined;
  /** Take an overlay from the resolver that serves it now. Default false: `EBUSY`. */
  readonly takeover?: boolean | undefined;
}

function checkStore(value: unknown, name: string): Store {
  if (value === null || typeof value !== 'object' || typeof (value as Store).lookup !== 'function') {
    throw invalidType(name, value, 'a store, which has lookup()');
  }
  return value as Store;
}

/** A lookup counts as timed out this long after lookupTimeoutMs even where JavaScript does not say so. */
const DEADLINE_MARGIN_MS = 1000;

type Kind = ResolverEvent['kind'];

const resolverOptions = {
  overlays: checkServings,
  store: checkStore,
  lookupTimeoutMs: integer(1, 600_000),
  negativeTtlMs: integer(0, 3_600_000),
  maxLookups: integer(1, 65_536),
  realtime: boolean,
  takeover: boolean,
  signal: checkSignal,
} satisfies Shape;

type Serving = NonNullable<ResolverOptions['overlays']>[number];

function checkServings(value: unknown, name: string): readonly Serving[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array');
  // All of them before the first is served; not forEach(), which passes over holes.
  for (const [at, item] of value.entries()) {
    if (!isOverlay(item) && !isOverlay(item?.overlay))
      throw invalidType(`${name}[${at}]`, item, 'an Overlay, or one with its store: { overlay, store }');
  }
  return value;
}

interface Listener {
  readonly kinds: ReadonlySet<Kind>;
  readonly tell: (events: readonly ResolverEvent[]) => void;
  /** Once it has been told what holds. */
  joined: boolean;
}

interface Settled {
  resolve(): void;
  reject(error: unknown): void;
}

interface Timing {
  readonly lookupTimeoutMs: number;
  readonly negativeTtlMs: number;
  readonly maxLookups: number;
}

/**
 * Answers the kernel's misses for overlays, from what their stores know. One resolver serves an overlay: a second gets
 * `EBUSY`, unless it takes over. Closing it leaves the kernel's entries, the overlays and the stores.
 * @example
 * ```ts
 * import { Overlay, openStore, Resolver } from 'overns';
 *
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
 * await using store = await openStore('memory:');
 * await overlay.attach('netns:web', { address: '192.168.0.2/24', store });
 * await using resolver = await Resolver.start({ overlays: [overlay], store });
 * console.log(resolver.stats().answers); // 0
 * ```
 */
export class Resolver implements AsyncDisposable {
  /** Fulfils when the resolver has been closed; rejects if it died by itself. */
  readonly closed: Promise<void>;
  readonly #lease: ReactorLease;
  readonly #timing: Timing;
  readonly #takeover: boolean;
  readonly #store: Store | undefined;
  readonly #served = new Map<string, Served>();
  /** Those that are being stopped: they still count. */
  readonly #leaving = new Set<Served>();
  readonly #listeners = new Set<Listener>();
  readonly #queues = new Set<BoundedQueue<ResolverEvent>>();
  /** What overlays no longer served have counted. */
  readonly #past: Record<string, number> = {};
  readonly #settled: Settled;
  #referenced = true;
  #closing: Promise<void> | undefined;

  private constructor(options: Values<typeof resolverOptions>) {
    const { lookupTimeoutMs = 2000, negativeTtlMs = 1000, maxLookups = 256 } = options;
    this.#timing = { lookupTimeoutMs, negativeTtlMs, maxLookups };
    this.#takeover = options.takeover === true;
    this.#store = options.store;
    let settled: Settled | undefined;
    this.closed = new Promise((resolve, reject) => {
      settled = { resolve, reject };
    });
    this.closed.catch(() => {}); // whoever wants to know awaits it
    this.#settled = settled as unknown as Settled;
    this.#lease = new ReactorLease((error) => void this.#die(error));
    this.#lease.ref();
    if (options.realtime === true) this.#lease.thread.realtime(true);
  }

  /**
   * Starts serving, all overlays or none. Fulfils once misses are answered; a store that watches has delivered what it
   * knows by then, is known to be down, or has been silent for lookupTimeoutMs.
   * @throws OvernsError `EBUSY` (another resolver serves the overlay), `OVERNS_SCOPE` (overlays of different VNIs on one
   *   prefix of a store); NetlinkError, RangeError, TypeError
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * const store = {
   *   // null = absent, a throw = unknown
   *   lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11', ttlMs: 60_000 }),
   * };
   * await using resolver = await Resolver.start({ overlays: [overlay], store, lookupTimeoutMs: 500 });
   * const second = await Resolver.start({ overlays: [overlay], store }).catch((error) => error);
   * console.log(second.code); // EBUSY
   * ```
   */
  static async start(options: ResolverOptions): Promise<Resolver> {
    const checked = checkOptions(checkObject(options, 'options'), resolverOptions);
    const { overlays = [], signal } = checked;
    throwIfAborted(signal);
    const resolver = new Resolver(checked);
    // An abort closes it, now and later on, as a server's signal does.
    const off = onAbort(signal, () => void resolver.close());
    resolver.closed.finally(off).catch(() => {});
    try {
      // Together: one whose store does not answer keeps none of the others waiting.
      await Promise.all(
        overlays.map((item) => (isOverlay(item) ? resolver.add(item) : resolver.add(item.overlay, item.store))),
      );
      throwIfAborted(signal);
    } catch (error) {
      await resolver.close();
      throwIfAborted(signal);
      throw error;
    }
    return resolver;
  }

  /**
   * Serves one more overlay. Fulfils once its misses are answered.
   * @throws OvernsError `EBUSY`, `OVERNS_STORE` (there is none), `OVERNS_SCOPE` (records of the store would belong to
   *   two networks; of a consumer's own store whose watch() does not look at the overlay it is told, `store-down` says so
   *   once it gives something), `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using resolver = await Resolver.start({ store });
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await resolver.add(overlay);
   * ```
   */
  async add(overlay: Overlay, store?: Store): Promise<void> {
    this.#check();
    if (!isOverlay(overlay)) throw invalidType('overlay', overlay, 'an Overlay');
    const given = store === undefined ? this.#store : checkStore(store, 'store');
    if (!given) {
      throw new OvernsError('OVERNS_STORE', `overlay "${overlay.name}" has no store to look endpoints up in`, {
        hint: 'give one to Resolver.start() or add()',
      });
    }
    if (this.#served.has(overlay.name)) {
      throw new OvernsError('EBUSY', `overlay "${overlay.name}" is served by this resolver already`, {
        hint: 'remove it first',
      });
    }
    const where: Where = { overlay: overlay.name, vni: overlay.vni };
    const scope = scopeOf(given, where);
    for (const other of this.#served.values()) {
      if (other.scope === scope && other.where.vni !== where.vni) throw sharedScope(other.where, where);
    }
    const served: Served = new Served(overlay, given, scope, this.#timing, this.#lease, {
      tell: (events) => this.#tell(events, served),
      control: (request, peer): Promise<ControlAnswer> => this.#control(served, request, peer),
      otherNetwork: () => this.#otherNetwork(served),
    });
    this.#served.set(overlay.name, served);
    served.want(this.#mask());
    try {
      await served.start(this.#takeover);
    } catch (error) {
      await this.#drop(served);
      throw error;
    }
    if (this.#closing) {
      await served.stop();
      this.#check();
    }
    if (!this.#referenced) served.unref();
  }

  /**
   * Stops serving an overlay; the kernel's entries stay. Nothing happens when it is not served.
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using resolver = await Resolver.start({ overlays: [overlay], store });
   * await resolver.remove('blue');
   * ```
   */
  async remove(overlay: Overlay | string): Promise<void> {
    const served = this.#served.get(nameOf(overlay));
    if (served) await this.#drop(served);
  }

  async #drop(served: Served): Promise<void> {
    if (this.#served.get(served.where.overlay) === served) this.#served.delete(served.where.overlay);
    this.#leaving.add(served);
    await served.stop();
    // Once: a second that drops it finds it gone.
    if (!this.#leaving.delete(served)) return;
    for (const [key, value] of Object.entries(served.stats())) {
      if (counters[key as keyof ResolverStats]?.type === 'counter') this.#past[key] = (this.#past[key] ?? 0) + value;
    }
  }

  /** An overlay of another VNI that is served from the same store. */
  #otherNetwork({ store, where }: Served): Where | undefined {
    for (const other of this.#served.values()) {
      if (other.store === store && other.where.vni !== where.vni) return other.where;
    }
    return undefined;
  }

  #check(): void {
    if (this.#closing) throw new OvernsError('OVERNS_CLOSED', 'this resolver is closed', { hint: 'start another one' });
  }

  /**
   * What happens, from now on. Without `kinds`: everything.
   * @throws OvernsError `OVERNS_CLOSED`; RangeError for a kind that there is not
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using resolver = await Resolver.start({ overlays: [overlay], store });
   * const events = resolver.events({ kinds: ['overlay-lost'] });
   * await overlay.delete();
   * for await (const event of events) {
   *   console.log(event.kind, event.overlay); // overlay-lost blue
   *   break;
   * }
   * ```
   */
  events(options: QueueOptions & { readonly kinds?: readonly Kind[] | undefined } = {}): Subscription<ResolverEvent> {
    this.#check();
    const { kinds = ALL_KINDS, ...queue } = checkOptions(options, { kinds: checkKinds, ...queueOptions });
    return createSubscription<ResolverEvent>(
      queue,
      (queue) => {
        const listener: Listener = { kinds, tell: (events) => void queue.pushAll(events), joined: false };
        this.#queues.add(queue);
        this.#listen(listener);
        return {
          close: () => {
            this.#queues.delete(queue);
            this.#unlisten(listener);
          },
        };
      },
      kinds.has('overflow') ? { overflow: (dropped) => this.#overflow(dropped) } : {},
    );
  }

  /**
   * Calls `fn` for each event of a kind until disposed. What it throws is an uncaught exception, as a listener's.
   * @throws OvernsError `OVERNS_CLOSED`; RangeError, TypeError
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using resolver = await Resolver.start({ overlays: [overlay], store });
   * const listening = resolver.on('resolved', ({ miss, tookUs }) => console.log(miss, `${tookUs} µs`));
   * listening[Symbol.dispose]();
   * ```
   */
  on<K extends Kind>(kind: K, fn: (event: Extract<ResolverEvent, { kind: K }>) => void): Disposable {
    this.#check();
    const kinds = checkKinds([kind], 'kind');
    if (typeof fn !== 'function') throw invalidType('fn', fn, 'a function');
    const listener: Listener = {
      kinds,
      joined: false,
      tell: (events) => {
        for (const event of events) {
          try {
            fn(event as Extract<ResolverEvent, { kind: K }>);
          } catch (error) {
            queueMicrotask(() => {
              throw error;
            });
          }
        }
      },
    };
    this.#listen(listener);
    return { [Symbol.dispose]: () => this.#unlisten(listener) };
  }

  /** A loss belongs to no overlay in particular: it bears the name of the first. */
  #overflow(dropped: number): ResolverEvent {
    const [first] = this.#served.values();
    return { ...(first?.where ?? { overlay: '', vni: 0 }), atNs: process.hrtime.bigint(), kind: 'overflow', dropped };
  }

  #listen(listener: Listener): void {
    this.#listeners.add(listener);
    this.#rewant();
    // Not before this call has returned, and behind what is being told already, which may end a state.
    queueMicrotask(() => {
      if (!this.#listeners.has(listener)) return;
      const held = [...this.#served.values()].flatMap(({ standing }) => standing.events());
      const wanted = held.filter(({ kind }) => listener.kinds.has(kind));
      if (wanted.length > 0) listener.tell(wanted);
      listener.joined = true;
    });
  }

  #unlisten(listener: Listener): void {
    this.#listeners.delete(listener);
    this.#rewant();
  }

  /** Nobody asks: nothing is converted. */
  #mask(): number {
    let mask = eventChannel.hasSubscribers ? ~0 : 0;
    for (const { kinds } of this.#listeners) {
      for (const kind of kinds) mask |= EVENT_BITS[kind as keyof typeof EVENT_BITS] ?? 0;
    }
    return mask;
  }

  #rewant(): void {
    const mask = this.#mask();
    for (const served of this.#served.values()) served.want(mask);
  }

  #tell(events: readonly ResolverEvent[], { standing }: Served): void {
    for (const event of events) standing.note(event);
    if (eventChannel.hasSubscribers) for (const event of events) eventChannel.publish(event);
    for (const { kinds, tell, joined } of this.#listeners) {
      if (!joined) continue;
      const wanted = kinds.size === KINDS.length ? events : events.filter((event) => kinds.has(event.kind));
      if (wanted.length > 0) tell(wanted);
    }
  }

  async #control(served: Served, request: ControlRequest, peer: ControlPeer): Promise<ControlAnswer> {
    switch (request.op) {
      case 'misses':
        served.tellMisses(peer);
        return { ok: true, pid: process.pid };
      case 'stats':
        return { ok: true, pid: process.pid, ...served.where, stats: served.stats(), status: served.told() };
      case 'deleted':
      case 'release': {
        // Who asked learns it from the end of the connection: by then the overlay has been let go.
        const last = this.#served.size === 1;
        this.#tell([{ ...served.where, atNs: process.hrtime.bigint(), kind: 'overlay-lost' }], served);
        await this.#drop(served);
        if (last && request.op === 'release') queueMicrotask(() => void this.close());
        return { ok: true, pid: process.pid };
      }
      default:
        return { ok: false, error: 'unknown request' };
    }
  }

  /**
   * What has been counted: of one overlay since it is served, else of all together since the start.
   * @throws OvernsError `ENOENT` (this resolver does not serve that overlay)
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using resolver = await Resolver.start({ overlays: [overlay], store });
   * const { answers, rejected, overruns } = resolver.stats();
   * console.log(answers, rejected, overruns); // 0 0 0
   * console.log(resolver.stats('blue').endpoints); // 0
   * ```
   */
  stats(overlay?: Overlay | string): ResolverStats {
    const sum = noStats();
    if (overlay !== undefined) {
      const name = nameOf(overlay);
      const served = this.#served.get(name);
      if (served) return { ...sum, ...served.stats() };
      throw new OvernsError('ENOENT', `overlay "${name}" is not served by this resolver`, { hint: 'add() it' });
    }
    const add = (counted: Readonly<Record<string, number>>): void => {
      for (const [key, value] of Object.entries(counted)) sum[key as keyof ResolverStats] += value;
    };
    add(this.#past);
    for (const served of new Set([...this.#served.values(), ...this.#leaving])) add(served.stats());
    return sum;
  }

  /**
   * How each overlay is served now: whether its store can be used, whether packets are caught, what it has counted.
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using resolver = await Resolver.start({ overlays: [overlay], store });
   * for (const { overlay, store, error } of resolver.overlays()) console.log(overlay, store, error); // blue up undefined
   * ```
   */
  overlays(): readonly OverlayStatus[] {
    return Array.from(this.#served.values(), (served) => served.status());
  }

  /**
   * Keeps the process alive while it runs: the default.
   * @example
   * ```ts
   * import { Resolver } from 'overns';
   *
   * await using resolver = await Resolver.start({ store: { lookup: () => null } });
   * resolver.unref().ref();
   * ```
   */
  ref(): this {
    this.#referenced = true;
    this.#lease.ref();
    for (const served of this.#served.values()) served.ref();
    return this;
  }

  /**
   * Lets the process end although it runs.
   * @example
   * ```ts
   * import { Resolver } from 'overns';
   *
   * const resolver = await Resolver.start({ store: { lookup: () => null } });
   * resolver.unref(); // the process ends here
   * ```
   */
  unref(): this {
    this.#referenced = false;
    this.#lease.unref();
    for (const served of this.#served.values()) served.unref();
    return this;
  }

  /**
   * Stops. The kernel keeps the entries, overlays and stores stay open. A watch that does not end within a second is
   * left to itself. Idempotent.
   * @example
   * ```ts
   * import { Resolver } from 'overns';
   *
   * const resolver = await Resolver.start({ store: { lookup: () => null } });
   * await resolver.close();
   * await resolver.closed;
   * ```
   */
  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  /** What serves is gone: everything is let go of, so that another may take it, and `closed` says why. */
  async #die(error: Error): Promise<void> {
    this.#settled.reject(error);
    await this.close();
  }

  async #shut(): Promise<void> {
    await Promise.all([...this.#served.values(), ...this.#leaving].map((served) => this.#drop(served)));
    for (const queue of [...this.#queues]) queue.end();
    this.#listeners.clear();
    this.#lease.release();
    this.#settled.resolve();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

const ALL_KINDS: ReadonlySet<Kind> = new Set(KINDS);

function nameOf(overlay: Overlay | string): string {
  const name = overlay !== null && typeof overlay === 'object' ? overlay.name : overlay;
  if (typeof name !== 'string') throw invalidType('overlay', overlay, 'an Overlay or its name');
  return name;
}

function checkKinds(kinds: unknown, name: string): ReadonlySet<Kind> {
  if (!Array.isArray(kinds)) throw invalidType(name, kinds, 'an array');
  for (const kind of kinds) if (!KINDS.includes(kind)) throw invalidArgument(name, kind, `one of ${KINDS.join(', ')}`);
  return new Set(kinds);
}

interface Owner {
  tell(events: readonly ResolverEvent[]): void;
  control(request: ControlRequest, peer: ControlPeer): Promise<ControlAnswer>;
  /** An overlay of another network that is served from the same store. */
  otherNetwork(): Where | undefined;
}

/** One overlay while it is served. */
class Served implements ReactorClient {
  readonly where: Where;
  readonly scope: string;
  readonly #overlay: Overlay;
  readonly store: Store;
  readonly #timing: Timing;
  readonly #lease: ReactorLease;
  readonly #owner: Owner;
  readonly #stop = new AbortController();
  /** Errors of lookups, until the thread has told what became of the miss. */
  readonly #errors = new Map<number, Error>();
  readonly standing = new Standing();
  /** What the thread knows the overlay by, from before it is added: news of it may come before add() has settled. */
  readonly #id: number;
  #added = false;
  /** The counters as they were when the thread let go of it. */
  #counted: Record<string, number> = {};
  #control: ControlServer | undefined;
  /** Lookups under way, as what gives them up. */
  readonly #pending = new Set<(reason: unknown) => void>();
  readonly #missPeers = new Set<ControlPeer>();
  #storeDown = false;
  #wanted = 0;
  #watching: Promise<void> | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(overlay: Overlay, store: Store, scope: string, timing: Timing, lease: ReactorLease, owner: Owner) {
    this.where = { overlay: overlay.name, vni: overlay.vni };
    this.scope = scope;
    this.#overlay = overlay;
    this.store = store;
    this.#timing = timing;
    this.#lease = lease;
    this.#owner = owner;
    this.#id = lease.thread.newId();
  }

  /** Rejects with AbortError when it is stopped meanwhile. */
  start(takeover: boolean): Promise<void> {
    this.#started = this.#open(takeover);
    return this.#started;
  }

  async #open(takeover: boolean): Promise<void> {
    this.#control = await this.#claim(takeover);
    throwIfAborted(this.#stop.signal);
    await this.#judgeOverlay();
    try {
      const hostNetns = await this.#overlay.host().catch((error: Error) => error);
      const added = await this.#lease.add(
        this.#id,
        {
          netns: this.#overlay.netns,
          // Without the host there is no socket for the packets of L2 misses; they are answered all the same.
          ...(typeof hostNetns === 'string' ? { hostNetns } : { punt: false }),
          vtep: this.#overlay.vtep,
          negativeTtlMs: this.#timing.negativeTtlMs,
          maxLookups: this.#timing.maxLookups,
          lookupDeadlineMs: this.#timing.lookupTimeoutMs + DEADLINE_MARGIN_MS,
        },
        this,
      );
      this.#added = true;
      this.want(this.#wanted);
      const reason = typeof hostNetns === 'string' ? added.noPunt : hostNetns.message;
      if (reason !== undefined) this.#emit({ kind: 'punt-off', reason });
    } catch (error) {
      throw failedToServe(error, this.where.overlay);
    }
    throwIfAborted(this.#stop.signal);
    if (this.store.watch) {
      await new Promise<void>((ready) => {
        const late = setTimeout(ready, this.#timing.lookupTimeoutMs);
        this.#watching = this.#watch(() => {
          clearTimeout(late); // it would keep the process alive
          ready();
        });
      });
    }
    throwIfAborted(this.#stop.signal);
  }

  /** One that can never ask would be served in silence. */
  async #judgeOverlay(): Promise<void> {
    const rtnl = await Rtnl.open({ netns: { path: this.#overlay.netns } });
    try {
      const { refusal, warnings } = fitness(this.where.overlay, await rtnl.links.list());
      if (refusal) throw refusal;
      if (!overlayWarnings.hasSubscribers) return;
      for (const message of warnings) {
        overlayWarnings.publish({ overlay: this.where.overlay, error: new OvernsError('EINVAL', message) });
      }
    } finally {
      await rtnl.close();
    }
  }

  async #claim(takeover: boolean): Promise<ControlServer> {
    const deadline = Date.now() + 5000;
    for (;;) {
      try {
        return await serveControl(this.#overlay.netns, (request, peer) => this.#owner.control(request, peer));
      } catch (error) {
        if (!OvernsError.is(error) || error.code !== 'EADDRINUSE') throw error;
        if (!takeover || Date.now() > deadline) {
          const holder = await askControl(this.#overlay.netns, { op: 'stats' }).catch((thrown: Error) => thrown);
          // Whoever it is that holds the name, it is no resolver to be believed.
          if (holder instanceof Error) {
            const { hint } = holder as OvernsError;
            throw new OvernsError('EBUSY', `overlay "${this.where.overlay}" cannot be served: ${holder.message}`, {
              hint,
              cause: holder,
            });
          }
          const who = Number.isSafeInteger(holder?.pid) ? ` (pid ${String(holder?.pid)})` : '';
          throw new OvernsError('EBUSY', `overlay "${this.where.overlay}" is served by another resolver${who}`, {
            hint: 'stop that one, or start with takeover (--takeover)',
            cause: error,
          });
        }
        throwIfAborted(this.#stop.signal);
        await askControl(this.#overlay.netns, { op: 'release' });
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      const reason = abortError(AbortSignal.abort('the resolver stopped serving'));
      this.#stop.abort(reason);
      for (const abandon of [...this.#pending]) abandon(reason);
      // What is just being opened can be closed once it is open.
      await this.#started?.catch(() => {});
      await Promise.all([this.#control?.close(), this.#leave(), this.#watching]);
      this.#errors.clear();
    })();
    return this.#stopped;
  }

  async #leave(): Promise<void> {
    const counted = await this.#lease.remove(this.#id);
    if (this.#added) this.#counted = counted;
    this.#added = false;
  }

  ref(): void {
    this.#control?.ref();
  }

  unref(): void {
    this.#control?.unref();
  }

  status(): OverlayStatus {
    return { ...this.where, ...this.standing.status(), stats: { ...noStats(), ...this.stats() } };
  }

  /** The status as other processes are told of it. */
  told(): object {
    const { error, ...status } = this.standing.status();
    return { ...status, ...(error && { error: error.message }) };
  }

  stats(): Record<string, number> {
    return this.#added ? this.#lease.thread.stats(this.#id) : this.#counted;
  }

  want(mask: number): void {
    this.#wanted = mask;
    const misses = this.#missPeers.size > 0 ? EVENT_BITS.miss : 0;
    this.#lease.thread.want(this.#id, mask | misses | ALWAYS_WANTED);
    if ((mask & EVENT_BITS.unresolved) === 0) this.#errors.clear();
  }

  /** Tells a peer of the misses that the kernel notifies nobody of. */
  tellMisses(peer: ControlPeer): void {
    this.#missPeers.add(peer);
    this.want(this.#wanted);
    peer.onClose(() => {
      this.#missPeers.delete(peer);
      this.want(this.#wanted);
    });
  }

  // --- events ---

  onEvents(events: readonly NativeEvent[]): void {
    const told: ResolverEvent[] = [];
    for (const event of events) {
      if (event.kind === 'miss') {
        for (const peer of this.#missPeers) peer.send({ mac: event.queriedMac, atNs: String(event.atNs) });
      } else {
        told.push(this.#event(event, event.kind));
      }
    }
    if (told.length > 0) this.#tell(told);
  }

  onOverflow(dropped: number): void {
    this.#emit({ kind: 'overflow', dropped });
  }

  /** Out of the addon's call: consumers run as an ordinary turn of the event loop. */
  #tell(events: readonly ResolverEvent[]): void {
    queueMicrotask(() => this.#owner.tell(events));
  }

  #emit(
    event:
      | { kind: 'overflow'; dropped: number }
      | { kind: 'store-down' | 'store-up'; error?: Error }
      | { kind: 'punt-off'; reason: string },
  ): void {
    this.#tell([{ ...this.where, atNs: process.hrtime.bigint(), ...event }]);
  }

  #event(event: NativeEvent, kind: Exclude<NativeEvent['kind'], 'miss'>): ResolverEvent {
    const about = { ...this.where, atNs: event.atNs };
    if (kind === 'overrun') return { ...about, kind, dropped: event.dropped ?? 0 };
    if (kind === 'overlay-lost' || kind === 'overlay-back') return { ...about, kind };
    const asked = { ...this.where, link: 'vxlan1', atNs: event.missAtNs ?? event.atNs };
    const miss: Miss =
      event.ip !== undefined
        ? { ...asked, kind: 'l3', ip: event.ip }
        : { ...asked, kind: 'l2', mac: event.queriedMac ?? '' };
    const token = event.token ?? 0;
    const error = this.#errors.get(token);
    this.#errors.delete(token);
    switch (kind) {
      case 'resolved':
        return {
          ...about,
          kind: 'resolved',
          miss,
          endpoint: { mac: event.mac ?? '', vtep: event.vtep ?? '' },
          by: event.by ?? 'table',
          tookUs: event.tookUs ?? 0,
        };
      case 'unresolved':
        return { ...about, kind: 'unresolved', miss, cause: event.cause ?? 'absent', ...(error ? { error } : {}) };
      case 'rejected': {
        const kernelSaid = event.errno ? `: ${errnoName(event.errno)}` : '';
        return {
          ...about,
          kind: 'rejected',
          miss,
          reason: `${event.reason ?? ''}${kernelSaid} (mac ${event.mac ?? ''}, vtep ${event.vtep ?? ''})`,
        };
      }
    }
  }

  // --- lookups ---

  /**
   * Called by the addon with a container waiting: a store that answers at once is heard at once, and every step less is
   * time won. Nothing that a store throws leaves here.
   */
  onLookups(lookups: readonly NativeLookup[]): void {
    if (this.#stop.signal.aborted) return;
    if (this.store.lookupMany && lookups.length > 1) this.#lookUpMany(lookups, this.store.lookupMany);
    else for (const lookup of lookups) this.#lookUpOne(lookup);
  }

  #query({ l3, key }: NativeLookup): Query {
    const { overlay, vni } = this.where;
    return l3 ? { overlay, vni, kind: 'l3', ip: key } : { overlay, vni, kind: 'l2', mac: key };
  }

  #lookUpOne(lookup: NativeLookup): void {
    const options = new LookupOptions();
    const done = (ended: Ended<Answer | null | undefined>): void => this.#answer(lookup, ended);
    this.#settled(() => this.store.lookup(this.#query(lookup), options), options, done);
  }

  #lookUpMany(lookups: readonly NativeLookup[], many: NonNullable<Store['lookupMany']>): void {
    const options = new LookupOptions();
    const done = (ended: Ended<readonly (Answer | null)[]>): void => {
      lookups.forEach((lookup, at) => {
        if (!('value' in ended)) this.#answer(lookup, ended);
        else this.#answer(lookup, { value: Array.isArray(ended.value) ? ended.value[at] : undefined });
      });
    };
    const queries = lookups.map((lookup) => this.#query(lookup));
    this.#settled(() => many.call(this.store, queries, options), options, done);
  }

  /** Calls the store. An answer that is there at once is heard at once; `done` is called in any case. */
  #settled<T>(call: () => T | Promise<T>, options: LookupOptions, done: (ended: Ended<T>) => void): void {
    let result: T | Promise<T>;
    let later: boolean;
    try {
      result = call();
      later = isPromise(result);
    } catch (error) {
      done({ error: asError(error) });
      return;
    }
    if (later) this.#wait(result as Promise<T>, options, done);
    else done({ value: result as T });
  }

  /** Waits for a lookup for lookupTimeoutMs at most; a store that ignores its signal is not waited for. */
  #wait<T>(result: Promise<T>, options: LookupOptions, done: (ended: Ended<T>) => void): void {
    let pending = true;
    const settle = (ended: Ended<T>): void => {
      if (!pending) return;
      pending = false;
      clearTimeout(timer);
      this.#pending.delete(abandon);
      done(ended);
    };
    const timer = setTimeout(() => {
      const error = new OvernsError('ETIMEDOUT', `the store did not answer within ${this.#timing.lookupTimeoutMs} ms`, {
        hint: 'see what keeps it, or raise lookupTimeoutMs',
      });
      options.abort(error);
      settle({ timeout: error });
    }, this.#timing.lookupTimeoutMs);
    timer.unref();
    const abandon = (reason: unknown): void => {
      options.abort(reason);
      settle({ error: asError(reason) });
    };
    this.#pending.add(abandon);
    // One of its own: what a store calls a promise may throw, or call back twice.
    Promise.resolve(result).then(
      (value) => settle({ value }),
      (error) => settle({ error: asError(error) }),
    );
  }

  #answer(lookup: NativeLookup, ended: Ended<Answer | null | undefined>): void {
    if (this.#stop.signal.aborted) return;
    const { thread } = this.#lease;
    const { token, key } = lookup;
    let verdict: Verdict;
    try {
      verdict = this.#judge(ended);
    } catch (error) {
      verdict = { said: 'error', error: asError(error) }; // the answer throws when it is read
    }
    if (verdict.said === 'found') {
      const { mac, vtep, ttlMs } = verdict;
      if (thread.answer(this.#id, token, key, 'found', mac, vtep, ttlMs)) return;
      verdict = unreadable(mac, vtep);
    }
    if (verdict.error && (this.#wanted & EVENT_BITS.unresolved) !== 0) this.#errors.set(token, verdict.error);
    thread.answer(this.#id, token, key, verdict.said);
  }

  /** What a store's answer comes to. It is untrusted: the text of a consumer's own store, or of anybody's record. */
  #judge(ended: Ended<Answer | null | undefined>): Verdict {
    if ('timeout' in ended) return { said: 'timeout', error: ended.timeout };
    if ('error' in ended) {
      // A record that makes no sense is that record's fault; anything else says that the store cannot be used.
      if (!OvernsError.is(ended.error) || ended.error.code !== 'OVERNS_RECORD') this.#down(ended.error);
      return { said: 'error', error: ended.error };
    }
    this.#up();
    const { value } = ended;
    if (value === null) return { said: 'absent' };
    if (typeof value !== 'object' || typeof value.mac !== 'string' || typeof value.vtep !== 'string') {
      return { said: 'error', error: invalidType('lookup()', value, '{ mac, vtep } or null from the store') };
    }
    const { ttlMs } = value;
    const usable = typeof ttlMs === 'number' && ttlMs > 0;
    return {
      said: 'found',
      mac: value.mac,
      vtep: value.vtep,
      ttlMs: usable ? Math.min(Math.ceil(ttlMs), 0x7fff_ffff) : undefined,
    };
  }

  #down(error: Error): void {
    this.standing.error = error;
    if (this.#storeDown || this.#stop.signal.aborted) return;
    this.#storeDown = true;
    this.#lease.thread.storeDown(this.#id, true);
    this.#emit({ kind: 'store-down', error });
  }

  #up(): void {
    if (!this.#storeDown || this.#stop.signal.aborted) return;
    this.#storeDown = false;
    this.#lease.thread.storeDown(this.#id, false);
    this.#emit({ kind: 'store-up' });
  }

  // --- watch ---

  /** Feeds the native table from the store's watch, for as long as the overlay is served. */
  async #watch(ready: () => void): Promise<void> {
    const signal = this.#stop.signal;
    let pause = 100;
    while (!signal.aborted) {
      try {
        const watch = this.store.watch as NonNullable<Store['watch']>;
        const { options, looked } = watchOptions(this.where, signal);
        for await (const change of untilAborted(watch.call(this.store, options), signal)) {
          if (!looked()) this.#refuseShared();
          await this.#apply(change);
          this.#up();
          pause = 100;
          ready();
        }
        if (signal.aborted) break;
        throw new OvernsError('OVERNS_STORE', 'the watch of the store ended');
      } catch (error) {
        if (signal.aborted) break;
        this.#down(error as Error);
        ready(); // it serves, from what it knows
      }
      await new Promise<void>((resolve) => {
        const over = (): void => {
          clearTimeout(timer);
          ignoreStop();
          resolve();
        };
        const timer = setTimeout(over, pause * (0.5 + Math.random() / 2));
        timer.unref();
        const ignoreStop = onAbort(signal, over);
      });
      pause = Math.min(pause * 2, 5000);
    }
    ready();
  }

  /** A store that was not told apart whose changes are wanted cannot know which network they are of. */
  #refuseShared(): void {
    const other = isScoped(this.store) ? undefined : this.#owner.otherNetwork();
    if (other === undefined) return;
    throw new OvernsError(
      'OVERNS_SCOPE',
      `the store's watch() looks at neither overlay nor vni: what it gives may be of overlay "${other.overlay}" (vni ${other.vni}) as well as of "${this.where.overlay}" (vni ${this.where.vni})`,
      { hint: 'give what belongs to the overlay that watch() is told, or a store to each overlay' },
    );
  }

  async #apply(change: Change): Promise<void> {
    const { thread } = this.#lease;
    switch (change.kind) {
      case 'reset': {
        const flat: string[] = [];
        for (const endpoint of change.endpoints) flatten(endpoint, flat);
        await thread.reset(this.#id, flat);
        break;
      }
      case 'put': {
        const flat: string[] = [];
        flatten(change.endpoint, flat);
        thread.put(this.#id, flat);
        break;
      }
      case 'delete':
        if (change.ip !== undefined) thread.forget(this.#id, change.ip);
        if (change.mac !== undefined) thread.forget(this.#id, change.mac);
        break;
    }
  }
}

type Verdict =
  | { readonly said: 'found'; readonly mac: string; readonly vtep: string; readonly ttlMs: number | undefined }
  | { readonly said: 'absent' | 'timeout' | 'error'; readonly error?: Error };

/** Why an answer could not be read. */
function unreadable(mac: string, vtep: string): { readonly said: 'error'; readonly error: Error } {
  try {
    canonicalMac(mac);
    canonicalIp(vtep, 'vtep');
  } catch (error) {
    return { said: 'error', error: error as Error };
  }
  return { said: 'error', error: new OvernsError('OVERNS_RECORD', `the answer ${mac}, ${vtep} cannot be read`) };
}

type Ended<T> = { readonly value: T } | { readonly timeout: Error } | { readonly error: Error };

/** The second argument of a store's lookup; the signal is made when the store looks at it. */
class LookupOptions {
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

/** What a watch is told, and whether the store has looked at which overlay it is about. */
function watchOptions(where: Where, signal: AbortSignal): { options: WatchOptions; looked(): boolean } {
  let looked = false;
  const told = <T>(value: T): T => {
    looked = true;
    return value;
  };
  const options: WatchOptions = {
    get overlay() {
      return told(where.overlay);
    },
    get vni() {
      return told(where.vni);
    },
    signal,
    // Not what keeps the process alive: the resolver does, unless unref() was called.
    ref: false,
  };
  return { options, looked: () => looked };
}

/** Not by its class: two copies of the package can be loaded. */
function isOverlay(value: unknown): value is Overlay {
  return value !== null && typeof value === 'object' && 'netns' in value && typeof value.netns === 'string';
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new OvernsError('OVERNS_STORE', `the store threw ${inspect(thrown)}`);
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** ip, mac, vtep for each address of the endpoint. */
function flatten(endpoint: Endpoint, into: string[]): void {
  for (const ip of endpoint.ips ?? [endpoint.ip]) into.push(ip, endpoint.mac, endpoint.vtep);
}

function failedToServe(error: unknown, overlay: string): unknown {
  if (!(error instanceof Error) || !('errno' in error) || !('syscall' in error)) return error;
  const { errno, syscall } = error as Error & { errno: number; syscall: string };
  const code = errnoName(errno);
  return new OvernsError(code, `cannot serve overlay "${overlay}": ${code} (${syscall} ${error.message})`, {
    hint:
      code === 'ENODEV'
        ? 'it lacks vxlan1 or br0: an overlay has both, as `overns create` makes them'
        : 'run as root, or see `overns doctor`',
    cause: error,
  });
}
