/** A host's daemon as a class: a resolver that follows the overlays of the machine, and watches their underlays. */
import { type Cancel, checkSignal, throwIfAborted } from '../core/abort.js';
import type { BoundedQueue } from '../core/bounded-queue.js';
import { OvernsError } from '../core/errors.js';
import { boolean, checkOptions, integer, type Shape, unchecked } from '../core/options.js';
import type { QueueOptions, Subscription } from '../core/subscription.js';
import { createSubscription } from '../core/subscription.js';
import type { NetnsRef } from '../netns/references.js';
import { type DeviceEvent, DeviceKeeper } from '../overlay/device-keeper.js';
import { device, Overlay } from '../overlay/overlay.js';
import { renumberOverlay } from '../overlay/renumber.js';
import { type UnderlayChange, UnderlayWatch } from '../overlay/underlay-watch.js';
import type { ResolverStats } from '../resolver/counters.js';
import type { OverlayStatus, ResolverEvent } from '../resolver/events.js';
import { extension } from '../resolver/extension.js';
import { checkStore, type ResolverOptions, resolverOptions } from '../resolver/options.js';
import { Resolver } from '../resolver/resolver.js';
import type { Store, Where } from '../store/contract.js';
import { checkSystem, machine, type OnSystem } from '../system/system.js';
import type { EndpointStatus, PublisherEvent } from './endpoint-status.js';
import { NeighborLimit, type NeighborsFullEvent } from './neighbor-limit.js';
import { checkNames, type FollowerEvent, OverlayFollower } from './overlay-follower.js';
import { canPublish, Publisher } from './publisher.js';

/**
 * Events of an agent: what its resolver does, which overlays it serves, how their underlays and devices are, and what becomes of this host's
 * endpoints in the store. `serving`, `elsewhere`, `refused`, `pending`, `conflict`, `stray`, `damaged` and `underlay` with a fault hold until they are
 * taken back, as some of the resolver's do: who listens from then on is told of them first.
 * @example
 * ```ts
 * import type { AgentEvent } from 'overns';
 *
 * const line = (event: AgentEvent): string => `${event.overlay}: ${event.kind}`;
 * console.log(line({ overlay: 'blue', kind: 'serving' })); // blue: serving
 * ```
 */
export type AgentEvent =
  | ResolverEvent
  | FollowerEvent
  | UnderlayChange
  | DeviceEvent
  | PublisherEvent
  | RenumberedEvent
  | NeighborsFullEvent;

/**
 * The host has lost the VTEP of an overlay and has another address in its place: vxlan1 sends from there now, and this host's
 * endpoints are published with it.
 * @example
 * ```ts
 * import type { RenumberedEvent } from 'overns';
 *
 * const line = ({ overlay, from, to }: RenumberedEvent): string => `${overlay}: ${from} is ${to} now`;
 * console.log(line({ kind: 'renumbered', overlay: 'blue', vni: 42, from: '10.0.0.10', to: '10.0.0.77' })); // blue: 10.0.0.10 is 10.0.0.77 now
 * ```
 */
export interface RenumberedEvent extends Where {
  readonly kind: 'renumbered';
  readonly from: string;
  readonly to: string;
}

/**
 * Options of an agent: what it serves, and from where.
 * @example
 * ```ts
 * import type { AgentOptions } from 'overns';
 *
 * const options: AgentOptions = { overlays: ['blue'], store: { lookup: () => null }, realtime: true };
 * console.log(options.overlays?.length); // 1
 * ```
 */
export interface AgentOptions
  extends Cancel,
    OnSystem,
    Pick<
      ResolverOptions,
      | 'lookupTimeoutMs'
      | 'negativeTtlMs'
      | 'maxLookups'
      | 'sync'
      | 'program'
      | 'idleMs'
      | 'graceMs'
      | 'prime'
      | 'redirectMs'
      | 'realtime'
    > {
  /** Where endpoints are looked up. It stays open when the agent is closed. */
  readonly store: Store;
  /** Names of overlays that are there now, served whenever they are. Default: all of this machine, now and later. */
  readonly overlays?: readonly string[] | undefined;
  /** Take overlays at the start from the agents that serve them. Default false: `EBUSY` for those that are named. */
  readonly takeover?: boolean | undefined;
  /** The namespace that is the overlays' host, where it is not found. */
  readonly host?: NetnsRef | undefined;
  /**
   * Keep this host's endpoints in the store: what is attached is claimed under a lease, what is detached withdrawn. Default
   * true, where the store has `claim()`, `lease()`, `list()` and `withdraw()`.
   */
  readonly publish?: boolean | undefined;
  /**
   * How long what is published outlives an agent that renews it no more, milliseconds, 1000 to 86400000. A store may take more.
   * Default 15000.
   */
  readonly leaseTtlMs?: number | undefined;
}

const { lookupTimeoutMs, negativeTtlMs, maxLookups, sync, program, idleMs, graceMs, prime, redirectMs, realtime } =
  resolverOptions;
const agentOptions = {
  store: [checkStore],
  overlays: checkNames,
  takeover: boolean,
  host: unchecked<NetnsRef>(),
  publish: boolean,
  leaseTtlMs: integer(1000, 86_400_000),
  signal: checkSignal,
  system: checkSystem,
  lookupTimeoutMs,
  negativeTtlMs,
  maxLookups,
  sync,
  program,
  idleMs,
  graceMs,
  prime,
  redirectMs,
  realtime,
} satisfies Shape;

/**
 * Everything that goes on for the overlays of a host, as `overns agent` does it: misses are answered; an overlay that is
 * removed is let go of, one that comes back or is new is served; an underlay that changes is told of; and the containers that
 * are attached on this host, by whatever process, are kept in the store.
 * @example
 * ```ts
 * import { Agent, Overlay, openStore } from 'overns';
 *
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
 * await using store = await openStore('memory:');
 * await using agent = await Agent.start({ store });
 * console.log(agent.overlays().map(({ overlay }) => overlay)); // [ 'blue' ]
 * ```
 */
export class Agent implements AsyncDisposable {
  /** Fulfils when the agent has been closed; rejects if its resolver died by itself. */
  readonly closed: Promise<void>;
  readonly #resolver: Resolver;
  readonly #host: NetnsRef | undefined;
  readonly #underlays: UnderlayWatch;
  readonly #devices: DeviceKeeper;
  /** Undefined on a fake kernel, which has no such limit. */
  readonly #neighbors: NeighborLimit | undefined;
  readonly #queues = new Set<BoundedQueue<AgentEvent>>();
  /** By overlay: what holds of it. */
  readonly #following = new Map<string, FollowerEvent>();
  readonly #faults = new Map<string, UnderlayChange>();
  readonly #damages = new Map<string, DeviceEvent>();
  /** By overlay: that its underlay and its devices begin to be watched, one after the other. */
  readonly #watching = new Map<string, Promise<void>>();
  readonly #publisher: Publisher | undefined;
  /** Of the resolver's events. */
  readonly #listening: Disposable[] = [];
  #follower: OverlayFollower | undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    resolver: Resolver,
    host: NetnsRef | undefined,
    publishing: { readonly store: Store; readonly leaseTtlMs: number | undefined } | undefined,
  ) {
    this.#resolver = resolver;
    this.#host = host;
    if (publishing !== undefined && canPublish(publishing.store)) {
      const { store, leaseTtlMs } = publishing;
      const doubt = (name: string) => resolver.overlays().find(({ overlay }) => overlay === name)?.grace;
      this.#publisher = new Publisher(store, resolver.system, { host, leaseTtlMs, doubt }, (event) =>
        this.#tell(event),
      );
      this.#publishFor(this.#publisher);
    }
    this.closed = resolver.closed;
    this.#underlays = new UnderlayWatch(resolver.system, (change) => this.#underlayChanged(change));
    this.#devices = new DeviceKeeper(resolver.system, (event) => this.#devicesChanged(event));
    const { proc } = resolver.system;
    if (proc !== undefined) this.#neighbors = new NeighborLimit((event) => this.#tell(event), proc);
    // Ended by itself: its streams have ended, and nothing is to be followed.
    resolver.closed.catch(() => void this.close());
  }

  /**
   * Starts serving. Fulfils once the misses of the named overlays are answered, or each overlay of the machine has been
   * tried. The signal is the start's own: what has started is ended by close().
   * @throws OvernsError `ENOENT` (a named overlay is not there), `EBUSY` (another agent serves it), `OVERNS_SCOPE`;
   *   NetlinkError, RangeError, TypeError
   * @example
   * ```ts
   * import { Agent, Overlay } from 'overns';
   *
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:09', vtep: '10.0.0.11' }) };
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using agent = await Agent.start({ store, overlays: ['blue'] });
   * const second = await Agent.start({ store, overlays: ['blue'] }).catch((error) => error);
   * console.log(second.code); // EBUSY
   * ```
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const checked = checkOptions(options, agentOptions);
    const { overlays: names, takeover = false, host, publish = true, leaseTtlMs, ...rest } = checked;
    const { signal, system = machine, ...serving } = rest;
    throwIfAborted(signal);
    const overlays: Overlay[] = [];
    let started: Agent | undefined;
    try {
      for (const name of names ?? []) overlays.push(await Overlay.open(name, { signal, host, system }));
      const resolver = await Resolver.start({ ...serving, overlays, takeover, signal, system });
      const agent = new Agent(resolver, host, publish ? { store: serving.store, leaseTtlMs } : undefined);
      started = agent;
      agent.#follower = await OverlayFollower.start({
        resolver: agent.#resolver,
        overlays,
        names,
        takeover,
        host,
        signal,
        tell: (event, overlay) => agent.#followed(event, overlay),
      });
      for (const overlay of overlays) agent.#followed({ overlay: overlay.name, kind: 'serving' }, overlay);
      return agent;
    } catch (error) {
      await started?.close();
      for (const overlay of overlays) await overlay.close();
      throw error;
    }
  }

  /**
   * Yields what happens, from now on, behind what holds already.
   * @throws OvernsError `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Agent, Overlay } from 'overns';
   *
   * await using agent = await Agent.start({ store: { lookup: () => null } });
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * for await (const event of agent.events()) {
   *   console.log(event.kind, event.overlay); // serving blue
   *   break;
   * }
   * ```
   */
  events(options: QueueOptions = {}): Subscription<AgentEvent> {
    this.#check();
    return createSubscription<AgentEvent>(
      options,
      (queue) => {
        const published = this.#publisher?.holding() ?? [];
        queue.pushAll([...this.#following.values(), ...this.#faults.values(), ...this.#damages.values(), ...published]);
        const { maxQueue } = options;
        const resolved = this.#resolver.events(maxQueue === undefined ? {} : { maxQueue });
        this.#queues.add(queue);
        void pass(resolved, queue);
        return {
          close: () => {
            this.#queues.delete(queue);
            void resolved.return?.();
          },
          ref: () => void resolved.ref(),
          unref: () => void resolved.unref(),
        };
      },
      // A loss belongs to no overlay in particular.
      {
        overflow: (dropped) => ({
          overlay: '',
          vni: 0,
          atNs: process.hrtime.bigint(),
          kind: 'overflow',
          dropped,
        }),
      },
    );
  }

  /**
   * How each overlay is served now.
   * @example
   * ```ts
   * import { Agent, Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using agent = await Agent.start({ store: { lookup: () => null } });
   * for (const { overlay, store } of agent.overlays()) console.log(overlay, store); // blue up
   * ```
   */
  overlays(): readonly OverlayStatus[] {
    return this.#resolver.overlays();
  }

  /**
   * Counters: of one overlay since it is served, else of all together since the start.
   * @throws OvernsError `ENOENT` (this agent does not serve that overlay)
   * @example
   * ```ts
   * import { Agent } from 'overns';
   *
   * await using agent = await Agent.start({ store: { lookup: () => null } });
   * console.log(agent.stats().misses); // 0
   * ```
   */
  stats(overlay?: string): ResolverStats {
    return this.#resolver.stats(overlay);
  }

  /**
   * How the endpoints of this host stand with the store; of one overlay, or all. Empty where nothing is published.
   * @example
   * ```ts
   * import { Agent, Overlay, openStore } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using store = await openStore('memory:');
   * await using agent = await Agent.start({ store });
   * const events = agent.events();
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * for await (const event of events) if (event.kind === 'published') break;
   * console.log(agent.endpoints().map(({ ip, state }) => `${ip} ${state}`)); // [ '192.168.0.2 published' ]
   * ```
   */
  endpoints(overlay?: string): readonly EndpointStatus[] {
    const all = this.#publisher?.status() ?? [];
    return overlay === undefined ? all : all.filter((endpoint) => endpoint.overlay === overlay);
  }

  /**
   * Stops serving. The kernel's entries, the overlays and the store stay. What is published stays until the lease is over,
   * for another agent of this host to go on with. Idempotent.
   * @example
   * ```ts
   * import { Agent } from 'overns';
   *
   * const agent = await Agent.start({ store: { lookup: () => null } });
   * await agent.close();
   * await agent.closed;
   * ```
   */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const queue of this.#queues) queue.end();
      for (const each of this.#listening) each[Symbol.dispose]();
      this.#neighbors?.[Symbol.dispose]();
      this.#publisher?.close();
      await this.#follower?.[Symbol.asyncDispose]();
      await this.#underlays[Symbol.asyncDispose]();
      await this.#devices[Symbol.asyncDispose]();
      await this.#resolver.close();
    })();
    return this.#closing;
  }

  /** As close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #check(): void {
    if (this.#closing) throw new OvernsError('OVERNS_CLOSED', 'this agent is closed', { hint: 'start another one' });
  }

  #tell(event: AgentEvent): void {
    for (const queue of this.#queues) queue.push(event);
  }

  #followed(event: FollowerEvent, opened?: Overlay): void {
    const { overlay, kind } = event;
    if (kind === 'gone') this.#following.delete(overlay);
    else this.#following.set(overlay, event);
    if (kind === 'gone' || kind === 'elsewhere') {
      this.#unwatch(overlay);
      this.#faults.delete(overlay);
      this.#damages.delete(overlay);
    }
    if (kind === 'elsewhere') this.#publisher?.leave(overlay);
    if (kind === 'serving') {
      this.#publisher?.add(overlay);
      if (opened !== undefined) this.#watch(event, opened);
    }
    this.#tell(event);
  }

  #publishFor(publisher: Publisher): void {
    const resolver = this.#resolver;
    resolver[extension] = publisher.extension;
    this.#listening.push(
      resolver.on('store-up', ({ overlay }) => publisher.recover(overlay)),
      // One that is removed is withdrawn: its endpoints are gone.
      resolver.on('overlay-lost', ({ overlay, cause }) => cause === 'taken' && publisher.leave(overlay)),
      resolver.on('overlay-back', ({ overlay }) => publisher.add(overlay)),
    );
  }

  #underlayChanged(change: UnderlayChange): void {
    if (change.successor !== undefined) void this.#renumber(change, change.successor);
    else this.#tellUnderlay(change);
  }

  /** Moves an overlay, and what is published of it, to the address that the host has in the place of its VTEP. */
  async #renumber(change: UnderlayChange, to: string): Promise<void> {
    const { overlay, vni } = change;
    try {
      const from = await renumberOverlay(this.#resolver.system, overlay, to, this.#host);
      this.#publisher?.leave(overlay);
      await this.#follower?.reopen(overlay);
      this.#faults.delete(overlay);
      this.#tell({ kind: 'renumbered', overlay, vni, from, to });
    } catch (error) {
      if (!OvernsError.is(error)) throw error;
      this.#tellUnderlay(change);
    }
  }

  #tellUnderlay(change: UnderlayChange): void {
    if (change.fault === undefined) this.#faults.delete(change.overlay);
    else this.#faults.set(change.overlay, change);
    this.#tell(change);
  }

  #devicesChanged(event: DeviceEvent): void {
    if (event.kind === 'repaired') this.#damages.delete(event.overlay);
    else this.#damages.set(event.overlay, event);
    this.#tell(event);
  }

  #unwatch(overlay: string): void {
    this.#underlays.remove(overlay);
    void this.#devices.remove(overlay);
  }

  #watch(event: FollowerEvent, opened: Overlay): void {
    const { overlay } = event;
    const holds = (): boolean => this.#following.get(overlay) === event;
    const work = (this.#watching.get(overlay) ?? Promise.resolve())
      .then(() => (holds() ? this.#beginWatch(opened) : undefined))
      .then(() => {
        if (!holds() && this.#following.get(overlay)?.kind !== 'serving') this.#unwatch(overlay);
        if (this.#watching.get(overlay) === work) this.#watching.delete(overlay);
      });
    this.#watching.set(overlay, work);
  }

  /** As it was when it was opened: what has happened to it since is to be put right. One whose host cannot be found is not watched. */
  async #beginWatch(overlay: Overlay): Promise<void> {
    try {
      const { name, vni, vtep, port, mtu, netns } = overlay;
      const host = await overlay.host();
      await this.#devices.add({ overlay: name, vni, netns, host, device: overlay[device] });
      await this.#underlays.add({ name, vni, vtep, port, mtu, host });
    } catch (error) {
      if (!OvernsError.is(error)) throw error;
    }
  }
}

/** Hands a resolver's events on, and its end. */
async function pass(events: Subscription<ResolverEvent>, queue: BoundedQueue<AgentEvent>): Promise<void> {
  try {
    for await (const batch of events.batches()) queue.pushAll(batch);
    queue.end();
  } catch (error) {
    queue.fail(error);
  }
}
