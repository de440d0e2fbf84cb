/**
 * The endpoints of this host in one overlay, kept in the store as the kernel has them. What is attached is claimed, what is
 * gone is withdrawn, and what the store could not be told is told again.
 */
import { raceAbort } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import type { Subscription } from '../core/subscription.js';
import { isPort } from '../overlay/contents.js';
import { BRIDGE } from '../overlay/devices.js';
import type { EndpointEvent } from '../overlay/endpoint-events.js';
import type { Overlay } from '../overlay/overlay.js';
import { publicEndpoint } from '../overlay/ports/attachment.js';
import type { OverlayStatus } from '../resolver/events.js';
import { Rtnl } from '../rtnl/rtnl.js';
import {
  AddressAllocator,
  type AddressAllocatorOptions,
  type AllocateOptions,
  type Allocation,
} from '../store/allocation.js';
import { ConflictError } from '../store/conflict.js';
import type { Change, Endpoint, Store, StoredEndpoint, Where } from '../store/contract.js';
import type { Interest } from '../store/interest.js';
import type { EndpointStatus, PublisherEvent } from './endpoint-status.js';
import type { HostLease } from './host-lease.js';
import { Station, sameAddresses } from './station.js';

/** Endpoints that the store is told of at once. */
const AT_ONCE = 8;
/** How long an answer of the store is waited for: longer than those of overns try for, milliseconds. */
const ANSWER_MS = 15_000;
/** The first pause before a store that has failed is asked again, and the longest, milliseconds. */
const PAUSE_MS = 200;
const PAUSE_MAX_MS = 1000;
/** How often it is looked whether a conflict is over, or a record that cannot be read is corrected, milliseconds. */
const AGAIN_MS = 5000;
/** How often all is compared, milliseconds, with up to as much again, so that hosts do not come at once. */
const COMPARE_MS = 120_000;
/** A comparison reads the whole network: it takes a hundredth of the time at most. */
const COMPARE_SHARE = 100;
/** How long nobody may have had what the store has at this host: another process may be about to attach it. */
const STRAY_MS = 3000;
/** How long after the lease has been lost, milliseconds, at most until the watch shows what else has been: no address is handed out. */
const UNSURE_MS = 5000;
/** How long an endpoint that is about to be attached is held for it, and one about to be detached is not claimed again. */
const HOLD_MS = 5000;

/** A store that a host's endpoints can be kept in. */
export type PublishingStore = Store & Required<Pick<Store, 'claim' | 'withdraw' | 'lease' | 'list'>>;

/** What the overlays of a host share. */
export interface Publishing {
  readonly store: PublishingStore;
  readonly lease: HostLease;
  tell(event: PublisherEvent): void;
  /** The store cannot keep endpoints: nothing more is published. */
  unsupported(): void;
  /** How much the store's watch of an overlay has lost at once, while that is not believed. */
  doubt(overlay: string): OverlayStatus['grace'];
}

/** The outcome of what another process asked for: done, or to be done once the store answers. */
export type Outcome = { readonly revision?: bigint | undefined; readonly pending?: Error | undefined };

/** Addresses that another process asks for: not checked yet. */
export interface AllocationRequest {
  readonly pools?: unknown;
  readonly mac?: unknown;
  readonly except?: unknown;
  readonly signal: AbortSignal;
}

interface Stray {
  stored: StoredEndpoint;
  /** When it was seen first, as performance.now(). */
  readonly since: number;
  told: boolean;
}

export class PublishedOverlay {
  readonly where: Where;
  /** Fulfils when the overlay is gone and all has been withdrawn, or it is left. */
  readonly ended: Promise<void>;
  readonly #shared: Publishing;
  readonly #overlay: Overlay;
  readonly #vtep: string;
  /** By MAC address. */
  readonly #stations = new Map<string, Station>();
  readonly #own: Interest;
  /** By IP address: the MAC address that has had it last. */
  readonly #macs = new Map<string, string>();
  /** By MAC address: what the store has at this host, where nobody has it. */
  readonly #strays = new Map<string, Stray>();
  readonly #stop = new AbortController();
  #events: Subscription<EndpointEvent> | undefined;
  #end!: () => void;
  /** The endpoints that are attached are known. */
  #known = false;
  /** The name has been removed. */
  #gone = false;
  #running = false;
  #compare = true;
  /** The earliest time of the next comparison, as performance.now(). */
  #compareFrom = 0;
  #pause = PAUSE_MS;
  /** Until then the store may have lost more than the lease, as performance.now(). */
  #unsureUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  #comparing: NodeJS.Timeout | undefined;
  #compareDue: NodeJS.Timeout | undefined;
  /** How long it is waited after a comparison that failed. */
  #comparePause = AGAIN_MS;

  /**
   * @param overlay open, and closed with this
   * @param own is kept to the addresses that changes of the store are to be told of
   */
  constructor(overlay: Overlay, shared: Publishing, own: Interest) {
    this.#own = own;
    this.where = { overlay: overlay.name, vni: overlay.vni };
    this.#overlay = overlay;
    this.#vtep = overlay.vtep;
    this.#shared = shared;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    void this.#follow();
    this.#compareLater();
  }

  get #left(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Stops, and leaves in the store what is there. */
  leave(): void {
    if (this.#left) return;
    this.#stop.abort();
    for (const timer of [this.#timer, this.#again, this.#comparing, this.#compareDue]) clearTimeout(timer);
    for (const station of this.#stations.values()) station.release();
    for (const ip of this.#macs.keys()) this.#own.delete(ip);
    void this.#events?.return?.();
    void this.#overlay.close();
    this.#end();
  }

  /** Compares all with the store now: it is back, or what was claimed has been lost with its lease (`lost`). */
  recover(lost = false): void {
    if (lost) this.#unsureUntil = performance.now() + UNSURE_MS;
    this.#compare = true;
    this.#compareFrom = 0;
    this.#comparePause = AGAIN_MS;
    this.#pause = PAUSE_MS;
    this.#kick(true);
  }

  /**
   * Claims an endpoint that is about to be attached, and holds it for some seconds.
   * @throws ConflictError
   */
  async reserve(given: Endpoint, takeover: boolean, signal?: AbortSignal): Promise<Outcome> {
    const endpoint = { ...publicEndpoint(given), vtep: this.#vtep };
    const station = this.#station(endpoint.mac);
    this.#remember(endpoint);
    station.reserve(endpoint, HOLD_MS, () => this.#change(station));
    try {
      // Its turn comes behind what is under way for the same address.
      await raceAbort(this.#settle(station, takeover), signal);
      if (station.conflict !== undefined) throw station.conflict;
    } catch (error) {
      if (error instanceof ConflictError) {
        station.release();
        this.#change(station);
        throw error;
      }
      station.dirty = true;
      this.#failed(error as Error);
      return { pending: error as Error };
    }
    return { revision: station.revision };
  }

  /**
   * Claims free addresses for an endpoint that is about to be attached, and holds it for some seconds.
   * @throws OvernsError as `AddressAllocator.allocate()`; RangeError, TypeError for what is asked for
   */
  async allocate({ pools, mac, except, signal }: AllocationRequest): Promise<Allocation> {
    this.#refuseDoubted();
    const allocator = new AddressAllocator({
      store: this.#shared.store,
      ...this.where,
      pools,
    } as AddressAllocatorOptions);
    const lease = await this.#shared.lease.get();
    const request = { vtep: this.#vtep, mac, except, lease, signal } as AllocateOptions;
    const given = await allocator.allocate(request);
    await this.reserve(given.endpoint, false);
    return given;
  }

  /** What a store has lost looks free in it, and is somebody's: until each host that lives has published again none is handed out. */
  #refuseDoubted(): void {
    const doubt = this.#shared.doubt(this.where.overlay);
    if (doubt === undefined && performance.now() >= this.#unsureUntil) return;
    const why = doubt && `it lists ${doubt.listed} of ${doubt.listed + doubt.missing} addresses`;
    throw new OvernsError(
      'OVERNS_STORE',
      `the store has lost records (${why ?? 'those of this host'}): no address is handed out`,
      {
        hint: 'wait until the hosts have published again, or choose a free `address` yourself',
      },
    );
  }

  /** Withdraws an endpoint that is about to be detached, or is not attached after all. */
  async release(given: Endpoint, signal?: AbortSignal): Promise<Outcome> {
    const station = this.#station(given.mac);
    station.leave(HOLD_MS, () => this.#change(station));
    station.held ??= { ...publicEndpoint(given), vtep: this.#vtep };
    try {
      await raceAbort(this.#settle(station), signal);
      return {};
    } catch (error) {
      station.dirty = true;
      this.#failed(error as Error);
      return { pending: error as Error };
    }
  }

  /** Takes in what the store's watch tells. */
  observe(change: Change): void {
    if (change.kind === 'reset') {
      // How much it lacks has been judged.
      this.#unsureUntil = 0;
      this.recover();
    } else if (change.kind === 'put') this.#observePut(change.endpoint);
    else if (change.kind === 'delete') this.#observeDelete(change);
  }

  status(): EndpointStatus[] {
    const found: EndpointStatus[] = [];
    for (const { wanted, state, revision, conflict, error } of this.#stations.values()) {
      if (wanted === undefined) continue;
      const about = { ...this.where, ...wanted };
      if (conflict !== undefined) found.push({ ...about, state: 'conflict', holder: conflict.holder });
      else if (state === 'published') found.push({ ...about, state, revision });
      else found.push({ ...about, state: 'pending', ...(error && { error }) });
    }
    for (const { stored, told } of this.#strays.values()) {
      if (told) found.push({ ...this.where, ...publicEndpoint(stored), state: 'stray', revision: stored.revision });
    }
    return found;
  }

  /** The events of what holds. */
  holding(): PublisherEvent[] {
    return this.status().flatMap((status): PublisherEvent[] => {
      const about = { ...this.where, atNs: process.hrtime.bigint(), endpoint: publicEndpoint(status) };
      if (status.holder) return [{ ...about, kind: 'conflict', holder: status.holder, won: false }];
      if (status.state === 'stray') return [{ ...about, kind: 'stray' }];
      return status.error ? [{ ...about, kind: 'pending', error: status.error }] : [];
    });
  }

  // --- what the kernel has ---

  async #follow(): Promise<void> {
    let pause = PAUSE_MS;
    while (!this.#left) {
      try {
        const events = this.#overlay.endpointEvents().unref();
        this.#events = events;
        for await (const event of events) this.#take(event);
        break;
      } catch (error) {
        if (this.#left || (error as NodeJS.ErrnoException).code === 'OVERNS_CLOSED') return;
        await new Promise((resolve) => setTimeout(resolve, pause).unref());
        pause = Math.min(2 * pause, PAUSE_MAX_MS);
      }
    }
    if (this.#left) return;
    // Its name has been removed. Held open it would live on.
    this.#gone = true;
    this.#attached([]);
    await this.#overlay.close();
    this.#kick();
  }

  #take(event: EndpointEvent): void {
    if (event.kind === 'endpoints') {
      this.#known = true;
      this.#attached(event.endpoints);
    } else if (event.kind !== 'overflow') {
      const station = this.#station(event.endpoint.mac);
      const endpoint = event.kind === 'attached' ? publicEndpoint(event.endpoint) : undefined;
      // The other of two that had the address one after the other.
      if (endpoint === undefined && !sameAddresses(station.attached, event.endpoint)) return;
      station.attach(endpoint);
      if (endpoint) this.#remember(endpoint);
      this.#change(station);
    }
  }

  #attached(endpoints: readonly Endpoint[]): void {
    const found = new Map(endpoints.map((endpoint) => [endpoint.mac, publicEndpoint(endpoint)]));
    for (const mac of found.keys()) this.#station(mac);
    for (const [mac, station] of this.#stations) {
      const endpoint = found.get(mac);
      if (sameAddresses(station.attached, endpoint)) continue;
      station.attach(endpoint);
      if (endpoint) this.#remember(endpoint);
      station.dirty = true;
    }
    this.#kick();
  }

  #station(mac: string): Station {
    let station = this.#stations.get(mac);
    if (station === undefined) {
      station = new Station(mac);
      this.#stations.set(mac, station);
    }
    return station;
  }

  #remember({ mac, ips }: Endpoint): void {
    for (const ip of ips) {
      this.#macs.set(ip, mac);
      this.#own.add(ip);
      this.#station(mac).ips.add(ip);
    }
    this.#strays.delete(mac);
  }

  #forget(station: Station): void {
    if (!station.idle || this.#stations.get(station.mac) !== station) return;
    this.#stations.delete(station.mac);
    for (const ip of station.ips) {
      if (this.#macs.get(ip) !== station.mac) continue;
      this.#macs.delete(ip);
      this.#own.delete(ip);
    }
  }

  /** The station that has an address, or is to have it. */
  #wanting(ip: string): Station | undefined {
    const station = this.#stations.get(this.#macs.get(ip) ?? '');
    return station?.wanted?.ips.includes(ip) ? station : undefined;
  }

  #change(station: Station): void {
    station.dirty = true;
    this.#kick();
  }

  // --- what the store has ---

  #observePut(endpoint: Endpoint): void {
    if (typeof endpoint !== 'object' || endpoint === null || !Array.isArray(endpoint.ips)) return;
    const { mac, vtep, ips } = endpoint;
    const own = this.#stations.get(mac);
    if (own?.wanted === undefined) {
      if (vtep === this.#vtep && own?.held === undefined) this.#compareSoon();
    } else if (vtep !== this.#vtep || own.state !== 'published') this.#change(own);
    for (const ip of ips) {
      const station = this.#wanting(ip);
      if (station !== undefined && station !== own) this.#change(station);
    }
  }

  #observeDelete({ ip, mac }: Extract<Change, { kind: 'delete' }>): void {
    const stations = [this.#stations.get(mac ?? ''), ip === undefined ? undefined : this.#wanting(ip)];
    for (const station of stations) if (station?.wanted !== undefined) this.#change(station);
    for (const [key, { stored }] of this.#strays) {
      if (key === mac || (ip !== undefined && stored.ips.includes(ip))) this.#strays.delete(key);
    }
  }

  #compareSoon(): void {
    this.#compare = true;
    this.#kick();
  }

  #compareLater(): void {
    this.#comparing = setTimeout(
      () => {
        this.#compareSoon();
        this.#compareLater();
      },
      COMPARE_MS * (1 + Math.random()),
    );
    this.#comparing.unref();
  }

  #compareIn(ms: number): void {
    clearTimeout(this.#compareDue);
    this.#compareDue = setTimeout(() => this.#kick(), Math.max(ms, 1));
    this.#compareDue.unref();
  }

  /** Goes on with what is to be told, unless a pause is on. */
  #kick(anyhow = false): void {
    if (this.#left || !this.#known) return;
    if (anyhow) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    if (this.#running || this.#timer !== undefined) return;
    this.#running = true;
    // Behind what else happens in this turn.
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        if (this.#left) return;
        const dirty = [...this.#stations.values()].filter((station) => station.dirty);
        if (dirty.length > 0) await each(dirty, (station) => this.#settle(station));
        else if (this.#compare && performance.now() >= this.#compareFrom && !this.#gone) await this.#compareAll();
        else break;
      }
      this.#running = false;
      this.#pause = PAUSE_MS;
      if (this.#gone) this.leave();
      else if (this.#compare) this.#compareIn(this.#compareFrom - performance.now());
    } catch (error) {
      this.#running = false;
      this.#failed(error as Error);
    }
  }

  #runIn(ms: number): void {
    if (this.#left) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#kick();
      },
      Math.max(ms, 1),
    );
    this.#timer.unref();
  }

  #failed(error: Error): void {
    if (this.#left) return;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'OVERNS_STORE_UNSUPPORTED') this.#shared.unsupported();
    else if (code === 'OVERNS_CLOSED') this.leave();
    else {
      for (const station of this.#stations.values()) this.#notPublished(station, error);
      this.#compare = true;
      this.#runIn(this.#pause * (0.5 + Math.random() / 2));
      this.#pause = Math.min(2 * this.#pause, PAUSE_MAX_MS);
    }
  }

  /** Compares what this host has with what the store says of this host. */
  async #compareAll(): Promise<void> {
    this.#compare = false;
    const started = performance.now();
    let listed: readonly StoredEndpoint[];
    try {
      listed = await this.#ask((signal) => this.#shared.store.list({ ...this.where, signal }));
    } catch (error) {
      // A network that is too large to be read is no reason not to publish: each is claimed anew instead.
      if ((error as NodeJS.ErrnoException).code === 'OVERNS_CLOSED') throw error;
      this.#compare = true;
      this.#compareFrom = performance.now() + this.#comparePause;
      this.#comparePause = Math.min(2 * this.#comparePause, COMPARE_MS);
      for (const station of this.#stations.values()) if (station.wanted !== undefined) station.dirty = true;
      return;
    }
    this.#comparePause = AGAIN_MS;
    const ended = performance.now();
    this.#compareFrom = ended + Math.max((ended - started) * COMPARE_SHARE, 1000);
    const lease = this.#shared.lease.id;
    const lost = new Set([...this.#stations.values()].filter(({ wanted }) => wanted !== undefined));
    const strays = new Set<string>();
    for (const stored of listed) {
      if (stored.vtep !== this.#vtep && (lease === undefined || stored.lease !== lease)) continue;
      const station = this.#stations.get(stored.mac);
      const wanted = station?.wanted;
      if (wanted !== undefined) {
        const ours = stored.lease === lease && stored.vtep === wanted.vtep;
        if (ours && sameAddresses(stored, wanted)) lost.delete(station as Station);
      } else if (station === undefined) {
        strays.add(stored.mac);
        this.#judgeStray(stored);
      }
    }
    for (const station of lost) station.dirty = true;
    for (const mac of this.#strays.keys()) if (!strays.has(mac)) this.#strays.delete(mac);
    await this.#tellStrays();
  }

  /** Tells of records whose address nobody here has: not while a port may be that of a container that was attached by hand. */
  async #tellStrays(): Promise<void> {
    const old = performance.now() - STRAY_MS;
    const untold = [...this.#strays.values()].filter(({ told, since }) => !told && since <= old);
    if (untold.length === 0) return;
    const known = await isAllKnown(this.#overlay, this.#stop.signal);
    for (const stray of untold) {
      const { mac } = stray.stored;
      if (!known.all || known.macs.has(mac) || this.#strays.get(mac) !== stray) continue;
      stray.told = true;
      this.#tell(publicEndpoint(stray.stored), { kind: 'stray' });
    }
  }

  /** A record without a lease is somebody's to look after; one with a lease is of an agent of this host that was killed. */
  #judgeStray(stored: StoredEndpoint): void {
    const stray = this.#strays.get(stored.mac);
    if (stray === undefined) {
      this.#strays.set(stored.mac, { stored, since: performance.now(), told: false });
      this.#compare = true;
      this.#compareFrom = Math.max(this.#compareFrom, performance.now() + STRAY_MS);
      return;
    }
    stray.stored = stored;
    if (performance.now() - stray.since < STRAY_MS || stored.lease === undefined) return;
    this.#strays.delete(stored.mac);
    const station = this.#station(stored.mac);
    station.held = publicEndpoint(stored);
    station.dirty = true;
  }

  /** Tells the store of one station what the kernel has. Rejects where the store gives no answer. */
  #settle(station: Station, takeover = false): Promise<void> {
    return station.inTurn(async () => {
      if (this.#left) return;
      station.dirty = false;
      try {
        await this.#withdraw(station);
        await this.#claim(station, takeover);
      } catch (error) {
        station.dirty = true;
        this.#notPublished(station, error as Error);
        // It is not for others to wait for a record that somebody has to correct.
        if ((error as NodeJS.ErrnoException).code !== 'OVERNS_RECORD') throw error;
        station.dirty = false;
        this.#lookAgain();
      }
      this.#forget(station);
    });
  }

  #notPublished(station: Station, error: Error): void {
    const { wanted, state } = station;
    if (wanted === undefined || state === 'published' || state === 'conflict') return;
    station.fail(error);
    if (state === undefined) this.#tell(wanted, { kind: 'pending', error });
  }

  async #withdraw(station: Station): Promise<void> {
    const { held, wanted } = station;
    if (held === undefined || sameAddresses(held, wanted)) return;
    await this.#ask((signal) => this.#shared.store.withdraw(held, { ...this.where, signal }));
    station.held = undefined;
    if (station.conflict !== undefined) this.#tell(held, { kind: 'conflict-over' });
    else if (station.state === 'published' || !wanted) this.#tell(held, { kind: 'withdrawn' });
    station.reset();
  }

  async #claim(station: Station, takeover: boolean): Promise<void> {
    const { wanted } = station;
    if (wanted === undefined) return;
    const lease = await this.#ask(() => this.#shared.lease.get());
    const claim = (anyhow: boolean) =>
      this.#ask((signal) => this.#shared.store.claim(wanted, { ...this.where, lease, takeover: anyhow, signal }));
    // Also if it fails: it may have been written all the same.
    station.held = wanted;
    const before = station.conflict;
    try {
      const { revision } = await claim(false).catch(async (error: unknown) => {
        if (!takeover || !(error instanceof ConflictError)) throw error;
        const taken = await claim(true);
        this.#tell(wanted, { kind: 'conflict', holder: error.holder, won: true });
        return taken;
      });
      const first = station.state !== 'published' || before !== undefined;
      station.publish(revision);
      if (before !== undefined) this.#tell(wanted, { kind: 'conflict-over' });
      if (first) this.#tell(wanted, { kind: 'published', revision });
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      station.lose(error);
      if (before?.message !== error.message) this.#tell(wanted, { kind: 'conflict', holder: error.holder, won: false });
      this.#lookAgain();
    }
  }

  /** Looks again at what only others can change. */
  #lookAgain(): void {
    if (this.#again !== undefined || this.#left) return;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      for (const station of this.#stations.values()) if (station.state !== 'published') station.dirty = true;
      this.#kick();
    }, AGAIN_MS);
    this.#again.unref();
  }

  async #ask<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const timer = setTimeout(
      () =>
        late.abort(new OvernsError('ETIMEDOUT', `the store has given no answer within ${ANSWER_MS} ms`, { hint: '' })),
      ANSWER_MS,
    );
    timer.unref();
    try {
      return await raceAbort(ask(late.signal), late.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  #tell(
    endpoint: Endpoint,
    event: PublisherEvent extends infer E
      ? E extends unknown
        ? Omit<E, keyof Where | 'atNs' | 'endpoint'>
        : never
      : never,
  ): void {
    if (this.#left) return;
    this.#shared.tell({ ...this.where, atNs: process.hrtime.bigint(), endpoint, ...event } as PublisherEvent);
  }
}

/** The MAC addresses of the overlay's own links, and whether all ports of br0 are known: those of overns' own making. */
async function isAllKnown(
  { netns: path, system }: Overlay,
  signal: AbortSignal,
): Promise<{ readonly all: boolean; readonly macs: ReadonlySet<string> }> {
  await using rtnl = await Rtnl.open({ netns: { path }, system, signal });
  const links = await rtnl.links.list();
  return {
    all: links.every((link) => link.master !== BRIDGE || link.kind === 'vxlan' || isPort(link)),
    macs: new Set(links.flatMap(({ mac }) => (mac === undefined ? [] : [mac]))),
  };
}

/** Runs for each, several at once; the first failure ends it once what is under way has ended. */
async function each<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    while (next < items.length && !failed) {
      await run(items[next++] as T).catch((error: unknown) => {
        failed = true;
        throw error;
      });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
