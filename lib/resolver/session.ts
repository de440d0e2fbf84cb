/** One overlay while it is served: its place as the only resolver, its part of the native thread, its events. */
import { channel } from 'node:diagnostics_channel';
import { abortError, throwIfAborted } from '../core/abort.js';
import { canonicalIp, canonicalMac } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import { contentsOf } from '../overlay/contents.js';
import type {
  ControlAnswer,
  ControlConnection,
  ControlPeer,
  ControlRequest,
  ControlServer,
} from '../overlay/control.js';
import { fitness } from '../overlay/fitness.js';
import type { Miss } from '../overlay/miss.js';
import type { Overlay } from '../overlay/overlay.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Change, Store, Where } from '../store/contract.js';
import type { Interest } from '../store/interest.js';
import { isScoped, scope } from '../store/scope.js';
import { errnoName, isNativeFailure, netlinkError } from '../system/kernel-error.js';
import { EVENT_BITS, type NativeEvent, type NativeLookup } from '../system/native.js';
import { claimOverlay } from './claim.js';
import { noStats } from './counters.js';
import type { OverlayStatus, ResolverEvent } from './events.js';
import { type Followed, WatchFeed } from './feed.js';
import type { Doubt } from './grace.js';
import { Leftovers } from './leftovers.js';
import { Lookups, type SessionContext, type Timing } from './lookups.js';
import { AHEAD_MAX } from './options.js';
import type { ReactorClient, ReactorLease } from './reactor.js';
import { OverlayStates } from './states.js';
import { Usage } from './usage.js';

/** Channel of faults of overlays that are served all the same: `{ overlay, error }`. */
export const overlayWarnings = channel('overns:overlay:warning');
/** Kinds that are heard even when nobody listens: who asks later is told of them. */
const ALWAYS_WANTED = (['overlay-lost', 'overlay-back', 'punt-off', 'punt-on'] as const).reduce(
  (mask, kind) => mask | EVENT_BITS[kind],
  0,
);
/** A lookup counts as timed out this long after lookupTimeoutMs even where JavaScript does not say so. */
const DEADLINE_MARGIN_MS = 1000;

/** The resolver that serves the overlay, as its session needs it. */
export interface SessionOwner {
  tell(events: readonly ResolverEvent[]): void;
  control(request: ControlRequest, peer: ControlPeer): Promise<ControlAnswer>;
  observe(change: Change): void;
  /** An overlay of another network that is served from the same store. */
  otherNetwork(): Where | undefined;
  /** Addresses that are followed in any case. */
  own(): Interest | undefined;
}

export class OverlaySession implements ReactorClient {
  readonly where: Where;
  readonly store: Store;
  /** Equal for two overlays whose records are the same set. */
  readonly scope: string;
  readonly states = new OverlayStates();
  readonly overlay: Overlay;
  readonly #timing: Timing;
  readonly #lease: ReactorLease;
  readonly #owner: SessionOwner;
  readonly #stop = new AbortController();
  readonly #lookups: Lookups;
  readonly #leftovers: Leftovers;
  readonly #feed: WatchFeed;
  readonly #usage: Usage;
  /** The thread's number of the overlay, from before it is added: its events may come before add() has settled. */
  readonly #id: number;
  #added = false;
  /** The counters as they were when the thread let go of it. */
  #counted: Record<string, number> = {};
  #control: ControlServer | undefined;
  /** Whom it was taken from, until this one keeps it. */
  #from: ControlConnection | undefined;
  #kept = false;
  /** The process that is taking it over. */
  #taker: ControlPeer | undefined;
  readonly #missPeers = new Set<ControlPeer>();
  #storeDown = false;
  readonly #health = { heardAt: 0, up: (): void => this.#up(), down: (error: Error): void => this.#down(error) };
  #puntTold = false;
  #wanted = 0;
  #watching: Promise<void> | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(overlay: Overlay, store: Store, scope: string, timing: Timing, lease: ReactorLease, owner: SessionOwner) {
    this.where = { overlay: overlay.name, vni: overlay.vni };
    this.scope = scope;
    this.store = store;
    this.overlay = overlay;
    this.#timing = timing;
    this.#lease = lease;
    this.#owner = owner;
    this.#id = lease.thread.newId();
    const context: SessionContext = {
      where: this.where,
      store,
      timing,
      thread: lease.thread,
      id: this.#id,
      stopped: this.#stop.signal,
      found: (address, mac, vtep) => {
        if (this.#feed.followed === 'used') this.#usage.asked(address, canonicalMac(mac), canonicalIp(vtep));
      },
      observe: (change) => owner.observe(change),
      health: this.#health,
    };
    this.#lookups = new Lookups(context);
    this.#leftovers = new Leftovers(overlay, (key) => {
      if (this.#added) lease.thread.forget(this.#id, key);
    });
    this.#usage = new Usage({
      thread: lease.thread,
      id: this.#id,
      idleMs: timing.idleMs,
      stopped: this.#stop.signal,
      own: () => owner.own(),
      enter: () => this.#enter(),
    });
    this.#feed = new WatchFeed(context, this.#usage, {
      follows: (sync, error) => this.#emit({ kind: 'sync', sync, ...(error && { error }) }),
      otherNetwork: () => owner.otherNetwork(),
      unreadable: (count, error) => this.#emit({ kind: 'unreadable', count, error }),
      leftovers: this.#leftovers,
      doubted: (doubt) => this.#emit({ kind: 'grace', ...doubt }),
      settled: (withdrawn) => this.#emit({ kind: 'grace-over', withdrawn }),
    });
  }

  /**
   * Rejects with AbortError when it is stopped meanwhile. What it has taken over goes back to whom it was taken from when
   * it is stopped, until keep() is called.
   */
  start(takeover: boolean): Promise<void> {
    this.#started = this.#open(takeover);
    return this.#started;
  }

  async #open(takeover: boolean): Promise<void> {
    await this.#judgeOverlay();
    const claim = await claimOverlay(
      this.overlay,
      takeover,
      this.#stop.signal,
      (request, peer) => this.#owner.control(request, peer),
      () => this.#add(true),
    );
    this.#control = claim.server;
    this.#from = claim.from;
    throwIfAborted(this.#stop.signal);
    if (this.#added) this.#lease.thread.alone(this.#id);
    else await this.#add(false);
    throwIfAborted(this.#stop.signal);
    await this.#beginToFollow();
    throwIfAborted(this.#stop.signal);
  }

  /** @param beside another one serves it still */
  async #add(beside: boolean): Promise<void> {
    try {
      const hostNetns = await this.overlay.host().catch((error: OvernsError) => {
        if (error.code === 'OVERNS_CLOSED') throw error;
        return error;
      });
      const added = await this.#lease.add(
        this.#id,
        {
          netns: this.overlay.netns,
          // Without the host there is no socket for the packets of L2 misses; they are answered all the same.
          ...(typeof hostNetns === 'string' ? { hostNetns } : { punt: false }),
          beside,
          vtep: this.overlay.vtep,
          negativeTtlMs: this.#timing.negativeTtlMs,
          maxLookups: this.#timing.maxLookups,
          prime: this.#timing.prime,
          redirectMs: this.#timing.redirectMs,
          programAhead: this.#timing.program === 'ahead' && this.#feed.followed === 'all' ? AHEAD_MAX : 0,
          lookupDeadlineMs: this.#timing.lookupTimeoutMs + DEADLINE_MARGIN_MS,
        },
        this,
      );
      this.#added = true;
      for (const key of added.kept) this.#leftovers.add(key);
      this.want(this.#wanted);
      const reason = typeof hostNetns === 'string' ? added.noPunt : hostNetns.message;
      // Not where the thread has told more already.
      if (reason !== undefined && !this.#puntTold) this.#emit({ kind: 'punt-off', reason });
    } catch (error) {
      throw failedToServe(error, this.where.overlay);
    }
  }

  /** Resolves when the store's watch has given what it has, has failed, or takes too long. */
  async #beginToFollow(): Promise<void> {
    if (this.#feed.followed === 'lookup') return;
    await new Promise<void>((ready) => {
      const { lookupTimeoutMs } = this.#timing;
      // It serves, from what it knows; whether the store is of any use is not known.
      const late = setTimeout(() => {
        const hint = 'see what keeps it; where it is only slow, raise `lookupTimeoutMs`';
        this.#down(new OvernsError('ETIMEDOUT', `the store has given nothing within ${lookupTimeoutMs} ms`, { hint }));
        ready();
      }, lookupTimeoutMs);
      this.#watching = this.#feed.run(() => {
        clearTimeout(late); // it would keep the process alive
        ready();
      });
    });
  }

  /** One that can never ask would be served in silence. */
  async #judgeOverlay(): Promise<void> {
    const rtnl = await this.#enter();
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

  #enter(): Promise<Rtnl> {
    const { netns: path, system } = this.overlay;
    return Rtnl.open({ netns: { path }, system });
  }

  /** Ends the start: the one that it was taken from is let go. */
  async keep(): Promise<void> {
    this.#kept = true;
    const from = this.#from;
    this.#from = undefined;
    // It ends the connection; one that has been stopped meanwhile finds the request later.
    await from?.ask({ op: 'keep' }).catch(() => undefined);
    from?.close();
  }

  /** Whether another one may take it over: not before it is known who has it. */
  get lendable(): boolean {
    return this.#kept && this.#taker === undefined;
  }

  /** The process that is taking it over: the overlay comes back when the connection ends before the peer says to keep it. */
  get taker(): ControlPeer | undefined {
    return this.#taker;
  }

  /** Stops for another one that is taking it over. */
  async lend(taker: ControlPeer): Promise<void> {
    this.#taker = taker;
    await this.stop();
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      const reason = abortError(AbortSignal.abort('the resolver stopped serving'));
      this.#stop.abort(reason);
      this.#lookups.abandon(reason);
      this.#leftovers.close();
      // An overlay that is just being opened can be closed once it is open.
      await this.#started?.catch(() => {});
      await Promise.all([this.#control?.close(this.#taker), this.#leave(), this.#watching]);
      this.#from?.close(); // now that its place is free
      this.#lookups.keepErrors = false;
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
    return {
      ...this.where,
      ...this.states.status(),
      sync: this.#feed.followed,
      syncReason: this.#syncReason(),
      stats: { ...noStats(), ...this.stats() },
    };
  }

  /** The status as other processes are given it. */
  plainStatus(): object {
    const { error, ...status } = this.states.status();
    const url = isScoped(this.store) ? this.store[scope](this.where) : '';
    // One in the memory of this process means nothing to others: it is told apart by a number behind a blank.
    const storeUrl = url === '' || url.includes(' ') ? undefined : url;
    return {
      ...status,
      sync: this.#feed.followed,
      syncReason: this.#syncReason(),
      ...(error && { error: error.message }),
      ...(storeUrl !== undefined && { storeUrl }),
    };
  }

  #syncReason(): string {
    return this.#added ? this.#feed.reason : 'not served';
  }

  stats(): Record<string, number> {
    return this.#added ? this.#lease.thread.stats(this.#id) : this.#counted;
  }

  want(mask: number): void {
    this.#wanted = mask;
    const misses = this.#missPeers.size > 0 ? EVENT_BITS.miss : 0;
    this.#lease.thread.want(this.#id, mask | misses | ALWAYS_WANTED);
    this.#lookups.keepErrors = (mask & EVENT_BITS.unresolved) !== 0;
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

  /** True if the overlay has its vxlan1, as far as can be seen. */
  async isThere(): Promise<boolean> {
    try {
      await using rtnl = await this.#enter();
      return contentsOf(await rtnl.links.list()) === 'overlay';
    } catch {
      return false;
    }
  }

  // --- events ---

  onEvents(events: readonly NativeEvent[]): void {
    const all: ResolverEvent[] = [];
    for (const event of events) {
      if (event.kind === 'miss') {
        for (const peer of this.#missPeers) peer.send({ mac: event.queriedMac, atNs: String(event.atNs) });
      } else if (event.kind !== 'overlay-lost' || !this.states.lost) {
        all.push(this.#event(event, event.kind));
      }
    }
    if (all.length > 0) this.#tell(all);
  }

  /** Called by the addon with a container waiting. */
  onLookups(lookups: readonly NativeLookup[]): void {
    if (!this.#stop.signal.aborted) this.#lookups.ask(lookups);
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
      | ({ kind: 'grace' } & Doubt)
      | { kind: 'grace-over'; withdrawn: number }
      | { kind: 'punt-off'; reason: string }
      | { kind: 'unreadable'; count: number; error: Error }
      | { kind: 'sync'; sync: Followed; error?: Error },
  ): void {
    this.#tell([{ ...this.where, atNs: process.hrtime.bigint(), ...event }]);
  }

  #event(event: NativeEvent, kind: Exclude<NativeEvent['kind'], 'miss'>): ResolverEvent {
    const about = { ...this.where, atNs: event.atNs };
    if (kind === 'overrun') return { ...about, kind, dropped: event.dropped ?? 0 };
    if (kind === 'overlay-lost') return { ...about, kind, cause: 'removed' };
    if (kind === 'overlay-back') return { ...about, kind };
    if (kind === 'contradicted') {
      const { mac = '', vtep = '', learned = '' } = event;
      return { ...about, kind, mac, vtep, learned };
    }
    if (kind === 'punt-off' || kind === 'punt-on') {
      this.#puntTold = true;
      return kind === 'punt-on' ? { ...about, kind } : { ...about, kind, reason: reasonOf(event) };
    }
    const asked = { ...this.where, link: 'vxlan1', atNs: event.missAtNs ?? event.atNs };
    const miss: Miss =
      event.ip !== undefined
        ? { ...asked, kind: 'l3', ip: event.ip }
        : { ...asked, kind: 'l2', mac: event.queriedMac ?? '' };
    const error = this.#lookups.takeError(event.token ?? 0);
    switch (kind) {
      case 'resolved':
        return {
          ...about,
          kind: 'resolved',
          miss,
          endpoint: {
            mac: event.mac ?? '',
            vtep: event.vtep ?? '',
            ...(event.ttlMs !== undefined && { ttlMs: event.ttlMs }),
          },
          by: event.by ?? 'table',
          tookUs: event.tookUs ?? 0,
        };
      case 'unresolved':
        return { ...about, kind: 'unresolved', miss, cause: event.cause ?? 'absent', ...(error ? { error } : {}) };
      case 'rejected': {
        return {
          ...about,
          kind: 'rejected',
          miss,
          reason: `${reasonOf(event)} (mac ${event.mac ?? ''}, vtep ${event.vtep ?? ''})`,
        };
      }
    }
  }

  #down(error: Error): void {
    this.states.error = error;
    if (this.#storeDown || this.#stop.signal.aborted) return;
    this.#storeDown = true;
    this.#lease.thread.storeDown(this.#id, true);
    this.#emit({ kind: 'store-down', error });
  }

  #up(): void {
    this.#health.heardAt = performance.now();
    if (!this.#storeDown || this.#stop.signal.aborted) return;
    this.#storeDown = false;
    this.#lease.thread.storeDown(this.#id, false);
    this.#emit({ kind: 'store-up' });
  }
}

function reasonOf({ reason = '', errno = 0 }: NativeEvent): string {
  return errno === 0 ? reason : `${reason}: ${errnoName(errno)}`;
}

function failedToServe(error: unknown, overlay: string): unknown {
  if (!isNativeFailure(error)) return error;
  const failed = netlinkError(error, { what: `serve overlay "${overlay}"`, netns: overlay });
  if (failed.code !== 'ENODEV') return failed;
  return new OvernsError(failed.code, failed.message, {
    hint: 'it lacks vxlan1 or br0: an overlay has both, as `Overlay.create()` makes them',
    cause: error,
  });
}
