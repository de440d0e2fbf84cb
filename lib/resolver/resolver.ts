/** The resolver: answers the kernel's misses for overlays, from what their stores know. */
import type { Cancel } from '../core/abort.js';
import { checkSignal, onAbort, raceAbort, throwIfAborted } from '../core/abort.js';
import type { BoundedQueue } from '../core/bounded-queue.js';
import { invalidType, OvernsError } from '../core/errors.js';
import { boolean, checkObject, checkOptions, type Shape, signalOf } from '../core/options.js';
import type { QueueOptions, Subscription } from '../core/subscription.js';
import { createSubscription, queueOptions } from '../core/subscription.js';
import type { ControlAnswer, ControlPeer, ControlRequest } from '../overlay/control.js';
import type { Overlay } from '../overlay/overlay.js';
import type { Store, Where } from '../store/contract.js';
import { scopeOf, sharedScope } from '../store/index.js';
import { ownPackage } from '../system/own-package.js';
import { machine, type System } from '../system/system.js';
import { counters, noStats, type ResolverStats } from './counters.js';
import type { OverlayStatus, ResolverEvent } from './events.js';
import { extension, type ResolverExtension } from './extension.js';
import { ALL_KINDS, checkKinds, type Kind, type Listener, Listeners } from './listeners.js';
import type { Timing } from './lookups.js';
import { type CheckedOptions, checkStore, isOverlay, type ResolverOptions, resolverOptions } from './options.js';
import { ReactorLease } from './reactor.js';
import { OverlaySession, overlayWarnings } from './session.js';

/** How often, and after what pauses in milliseconds, an overlay that comes back is tried to be served. */
const BACK_TRIES = 40;
const BACK_PAUSE_MS = 50;

const addOptions = { signal: checkSignal, takeover: boolean } satisfies Shape;

interface Settled {
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Answers the kernel's misses for overlays, from what their stores know. One resolver serves an overlay: a second gets
 * `EBUSY`, unless it takes over. It runs until it is closed, also while it has no overlay to serve: without any from the
 * start, or since all were removed, deleted or taken over. Closing it leaves the kernel's entries, the overlays and the stores.
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
  /** The machine of its overlays. */
  readonly system: System;
  /** @internal */
  [extension]: ResolverExtension | undefined;
  readonly #lease: ReactorLease;
  readonly #timing: Timing;
  readonly #takeover: boolean;
  readonly #store: Store | undefined;
  readonly #sessions = new Map<string, OverlaySession>();
  /** Those that are being stopped: they still count. */
  readonly #leaving = new Set<OverlaySession>();
  readonly #listeners = new Listeners(
    () => this.#rewant(),
    () => [...this.#sessions.values()].flatMap(({ states }) => states.events()),
  );
  readonly #queues = new Set<BoundedQueue<ResolverEvent>>();
  /** Counters of overlays that are no longer served. */
  readonly #past: Record<string, number> = {};
  readonly #settled: Settled;
  #referenced = true;
  #closing: Promise<void> | undefined;

  private constructor(options: CheckedOptions) {
    const { lookupTimeoutMs = 2000, negativeTtlMs = 1000, maxLookups = 256 } = options;
    const { sync = 'auto', program = 'miss', idleMs = 60_000, graceMs = 60_000 } = options;
    const { prime = false, redirectMs = 60_000 } = options;
    this.#timing = { lookupTimeoutMs, negativeTtlMs, maxLookups, sync, program, idleMs, graceMs, prime, redirectMs };
    this.#takeover = options.takeover === true;
    this.#store = options.store;
    const [first] = options.overlays ?? [];
    this.system = options.system ?? (isOverlay(first) ? first : first?.overlay)?.system ?? machine;
    let settled: Settled | undefined;
    this.closed = new Promise((resolve, reject) => {
      settled = { resolve, reject };
    });
    this.closed.catch(() => {}); // whoever wants to know awaits it
    this.#settled = settled as unknown as Settled;
    this.#lease = new ReactorLease(this.system, (error) => void this.#die(error));
    this.#lease.ref();
    if (options.realtime === true) this.#lease.thread.realtime(true);
  }

  /**
   * Starts serving, all overlays or none: what has been taken over goes back where the start fails or is aborted, as if by
   * a process that is killed, and is served there again. Fulfils once misses are answered; a store that watches has delivered what it
   * knows by then, is known to be down, or has been silent for lookupTimeoutMs. The signal is the start's own: what has
   * started is ended by close().
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
    const off = onAbort(signal, () => void resolver.close());
    try {
      // Together: one whose store does not answer keeps none of the others waiting.
      const sessions = await Promise.all(
        overlays.map((item) => {
          const { overlay, store } = isOverlay(item) ? { overlay: item, store: undefined } : item;
          return resolver.#serve(overlay, store, resolver.#takeover, undefined);
        }),
      );
      throwIfAborted(signal);
      off();
      await Promise.all(sessions.map((session) => session.keep()));
    } catch (error) {
      await resolver.close();
      throwIfAborted(signal);
      throw error;
    } finally {
      off();
    }
    return resolver;
  }

  /**
   * Serves one more overlay. Fulfils once its misses are answered. Aborted, it is not served, and goes back to whom it was
   * taken from. `takeover` is that of the start unless given.
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
  async add(
    overlay: Overlay,
    store?: Store,
    options: Cancel & { readonly takeover?: boolean | undefined } = {},
  ): Promise<void> {
    const { signal, takeover = this.#takeover } = checkOptions(options, addOptions);
    const session = await this.#serve(overlay, store, takeover, signal);
    await session.keep();
  }

  /** Opens an overlay's session, which has yet to be kept. */
  async #serve(
    overlay: Overlay,
    store: Store | undefined,
    takeover: boolean,
    signal: AbortSignal | undefined,
  ): Promise<OverlaySession> {
    throwIfAborted(signal);
    this.#check();
    if (!isOverlay(overlay)) throw invalidType('overlay', overlay, 'an Overlay');
    if (overlay.system.id !== this.system.id) {
      throw new OvernsError('EINVAL', `overlay "${overlay.name}" is on another machine than this resolver`, {
        hint: 'start another one for it, with `system: overlay.system`',
      });
    }
    const given = store === undefined ? this.#store : checkStore(store, 'store');
    if (!given) {
      throw new OvernsError('OVERNS_STORE', `overlay "${overlay.name}" has no store to look endpoints up in`, {
        hint: 'give one to `Resolver.start()` or `add()`',
      });
    }
    if (this.#sessions.has(overlay.name)) {
      throw new OvernsError('EBUSY', `overlay "${overlay.name}" is served by this resolver already`, {
        hint: 'remove it first',
      });
    }
    const where: Where = { overlay: overlay.name, vni: overlay.vni };
    const scope = scopeOf(given, where);
    for (const other of this.#sessions.values()) {
      if (other.scope === scope && other.where.vni !== where.vni) throw sharedScope(other.where, where);
    }
    const session = this.#session(overlay, given, scope);
    await this.#start(session, takeover, signal);
    return session;
  }

  #session(overlay: Overlay, store: Store, scope: string): OverlaySession {
    const session: OverlaySession = new OverlaySession(overlay, store, scope, this.#timing, this.#lease, {
      tell: (events) => this.#tell(events, session),
      control: (request, peer): Promise<ControlAnswer> => this.#control(session, request, peer),
      observe: (change) => this[extension]?.observe(session.where, change),
      own: () => this[extension]?.own(session.where),
      otherNetwork: () => this.#otherNetwork(session),
    });
    this.#sessions.set(overlay.name, session);
    session.want(this.#listeners.mask);
    return session;
  }

  async #start(session: OverlaySession, takeover: boolean, signal: AbortSignal | undefined): Promise<void> {
    const off = onAbort(signal, () => void session.stop());
    try {
      await session.start(takeover);
      throwIfAborted(signal);
    } catch (error) {
      await this.#drop(session);
      throwIfAborted(signal);
      throw error;
    } finally {
      off();
    }
    if (this.#closing) {
      await session.stop();
      this.#check();
    }
    if (!this.#referenced) session.unref();
  }

  /**
   * Stops serving an overlay; the kernel's entries stay. Nothing happens when it is not served. Aborted, it stops all the
   * same, and is not waited for.
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
  async remove(overlay: Overlay | string, options: Cancel = {}): Promise<void> {
    const name = nameOf(overlay);
    const signal = signalOf(options);
    throwIfAborted(signal);
    const session = this.#sessions.get(name);
    if (session) await raceAbort(this.#drop(session), signal);
  }

  async #drop(session: OverlaySession): Promise<void> {
    if (this.#sessions.get(session.where.overlay) === session) this.#sessions.delete(session.where.overlay);
    this.#leaving.add(session);
    await session.stop();
    session.taker?.close();
    // Once: a second that drops it finds it gone.
    if (!this.#leaving.delete(session)) return;
    for (const [key, value] of Object.entries(session.stats())) {
      if (counters[key as keyof ResolverStats]?.type === 'counter') this.#past[key] = (this.#past[key] ?? 0) + value;
    }
  }

  /** An overlay of another VNI that is served from the same store. */
  #otherNetwork({ store, where }: OverlaySession): Where | undefined {
    for (const other of this.#sessions.values()) {
      if (other.store === store && other.where.vni !== where.vni) return other.where;
    }
    return undefined;
  }

  #check(): void {
    if (this.#closing) throw new OvernsError('OVERNS_CLOSED', 'this resolver is closed', { hint: 'start another one' });
  }

  /**
   * Yields what happens, from now on. Without `kinds`: everything.
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
        const listener: Listener = { kinds, tell: (events) => void queue.pushAll(events) };
        this.#queues.add(queue);
        this.#listeners.add(listener);
        return {
          close: () => {
            this.#queues.delete(queue);
            this.#listeners.delete(listener);
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
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** A loss belongs to no overlay in particular: it bears the name of the first. */
  #overflow(dropped: number): ResolverEvent {
    const [first] = this.#sessions.values();
    return { ...(first?.where ?? { overlay: '', vni: 0 }), atNs: process.hrtime.bigint(), kind: 'overflow', dropped };
  }

  #rewant(): void {
    const { mask } = this.#listeners;
    for (const session of this.#sessions.values()) session.want(mask);
  }

  #tell(events: readonly ResolverEvent[], { states }: OverlaySession): void {
    for (const event of events) states.note(event);
    this.#listeners.tell(events);
  }

  async #control(session: OverlaySession, request: ControlRequest, peer: ControlPeer): Promise<ControlAnswer> {
    switch (request.op) {
      case 'misses':
        session.tellMisses(peer);
        return { ok: true, pid: process.pid };
      case 'stats':
        return {
          ok: true,
          pid: process.pid,
          version: ownPackage()?.version,
          ...session.where,
          stats: session.stats(),
          status: session.plainStatus(),
          ...this[extension]?.status(session.where),
        };
      case 'deleted':
        // Only what shows: whoever removes an overlay says so when its vxlan1 is gone.
        if (await session.isThere()) return { ok: false, error: 'the overlay is there' };
        if (!session.states.lost) this.#tellLost(session, { cause: 'removed' });
        await this.#drop(session);
        return { ok: true, pid: process.pid };
      case 'release':
        // The process that asks comes again.
        if (!session.lendable || !this.#serves(session)) return { ok: false, error: 'it is changing hands' };
        this.#tellLost(session, { cause: 'taken', ...(peer.pid !== undefined && { pid: peer.pid }) });
        peer.onClose(() => void this.#takeBack(session));
        await session.lend(peer);
        return { ok: true, pid: process.pid };
      case 'keep':
        if (session.taker !== peer) return { ok: false, error: 'it has not been released to you' };
        await this.#drop(session);
        return { ok: true, pid: process.pid };
      default:
        return (
          (await this[extension]?.control(session.where, request, peer)) ?? {
            ok: false,
            error: 'unknown request',
          }
        );
    }
  }

  #tellLost(session: OverlaySession, why: { readonly cause: 'removed' | 'taken'; readonly pid?: number }): void {
    this.#tell([{ ...session.where, atNs: process.hrtime.bigint(), kind: 'overlay-lost', ...why }], session);
  }

  #serves(session: OverlaySession): boolean {
    return this.#sessions.get(session.where.overlay) === session;
  }

  /** Serves an overlay again whose taker has ended, or has failed, before it said that it keeps it. */
  async #takeBack(lent: OverlaySession): Promise<void> {
    await lent.stop();
    if (!this.#serves(lent)) return;
    const { overlay, store, scope } = lent;
    const lost = lent.states.events().filter(({ kind }) => kind === 'overlay-lost');
    await this.#drop(lent);
    for (let tries = 0; !this.#closing && !this.#sessions.has(overlay.name); tries++) {
      const session = this.#session(overlay, store, scope);
      for (const event of lost) session.states.note(event);
      try {
        await this.#start(session, false, undefined);
        await session.keep();
        this.#tell([{ ...session.where, atNs: process.hrtime.bigint(), kind: 'overlay-back' }], session);
        return;
      } catch (error) {
        // A process that is killed lets go of its sockets one by one. Or a third has the overlay now.
        const busy = OvernsError.is(error) && error.code === 'EBUSY';
        if (!busy && !this.#closing) overlayWarnings.publish({ overlay: overlay.name, error });
        if (!busy || tries === BACK_TRIES) return;
        await new Promise((resolve) => setTimeout(resolve, BACK_PAUSE_MS));
      }
    }
  }

  /**
   * Counters: of one overlay since it is served, else of all together since the start.
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
      const session = this.#sessions.get(name);
      if (session) return { ...sum, ...session.stats() };
      throw new OvernsError('ENOENT', `overlay "${name}" is not served by this resolver`, { hint: '`add()` it' });
    }
    const add = (counted: Readonly<Record<string, number>>): void => {
      for (const [key, value] of Object.entries(counted)) sum[key as keyof ResolverStats] += value;
    };
    add(this.#past);
    for (const session of new Set([...this.#sessions.values(), ...this.#leaving])) add(session.stats());
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
    return Array.from(this.#sessions.values(), (session) => session.status());
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
    for (const session of this.#sessions.values()) session.ref();
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
    for (const session of this.#sessions.values()) session.unref();
    return this;
  }

  /**
   * Stops. The kernel keeps the entries, overlays and stores stay open. A watch that does not end within a second is
   * left to itself. Idempotent. Aborted, it stops all the same, and is not waited for.
   * @example
   * ```ts
   * import { Resolver } from 'overns';
   *
   * const resolver = await Resolver.start({ store: { lookup: () => null } });
   * await resolver.close();
   * await resolver.closed;
   * ```
   */
  async close(options: Cancel = {}): Promise<void> {
    const signal = signalOf(options);
    this.#closing ??= this.#shut();
    await raceAbort(this.#closing, signal);
  }

  /** Lets go of everything once the thread is gone, so that another may take it; `closed` says why. */
  async #die(error: Error): Promise<void> {
    this.#settled.reject(error);
    await this.close();
  }

  async #shut(): Promise<void> {
    await Promise.all([...this.#sessions.values(), ...this.#leaving].map((session) => this.#drop(session)));
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

function nameOf(overlay: Overlay | string): string {
  const name = overlay !== null && typeof overlay === 'object' ? overlay.name : overlay;
  if (typeof name !== 'string') throw invalidType('overlay', overlay, 'an Overlay or its name');
  return name;
}
