/** Overlays: a namespace with a bridge and a vxlan device, and the containers attached to it. */
import type { Cancel } from '../core/abort.js';
import { checkSignal, firstAborted, throwIfAborted } from '../core/abort.js';
import { checkOverlayName, formatCidr, MTU_MIN } from '../core/address.js';
import type { BoundedQueue, Opened, Source } from '../core/bounded-queue.js';
import { invalidArgument, OvernsError } from '../core/errors.js';
import { checkOptions, type Shape, signalOf } from '../core/options.js';
import type { QueueOptions, Subscription } from '../core/subscription.js';
import { createSubscription } from '../core/subscription.js';
import type { NetnsRef } from '../netns/references.js';
import { netnsIdentity, netnsReference } from '../netns/references.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import type { Endpoint, Store, Where } from '../store/contract.js';
import { isScoped, scope } from '../store/scope.js';
import { callOptions, checkSystem, machine, type OnSystem, type System } from '../system/system.js';
import { contentsOf, notAnOverlay } from './contents.js';
import { createOverlay, ensureOverlay, type OverlayOptions } from './create.js';
import { deleteByName, deleteOverlay } from './delete.js';
import { VXLAN } from './devices.js';
import { type EndpointEvent, endpointSource } from './endpoint-events.js';
import type { Miss } from './miss.js';
import { observeMisses } from './misses.js';
import { attach } from './ports/attach.js';
import { type Attachment, listAttached } from './ports/attachment.js';
import { containerNetwork } from './ports/container-network.js';
import { detachPort, findPort } from './ports/detach.js';
import {
  type AttachOptions,
  attachOptions,
  type DetachTarget,
  detachOptions,
  hasGone,
  portQuery,
} from './ports/options.js';
import { askStore, type Publisher, publisherOf } from './ports/publish.js';
import { publishingAgent } from './ports/publishing-agent.js';
import { findHost, type OpenedOverlay, type OverlayInfo, openOverlay } from './state.js';
import { refuseForbidden, surveyOverlays } from './survey.js';
import { type ContainerRef, checkContainer, resolveContainer } from './targets/container.js';
import type { UnderlayChange } from './underlay-watch.js';
import { UnderlayWatch, underlayFault } from './underlay-watch.js';

/** Key of the property that has an overlay's vxlan1. */
export const device = Symbol('device');

/** Why what is under way is aborted when its handle is closed. */
const CLOSED = Symbol('closed');

const openOptions = { host: netnsReference, signal: checkSignal, system: checkSystem } satisfies Shape;

/**
 * A host's part of an overlay network: a namespace with a bridge `br0` and a vxlan device `vxlan1`, and the containers
 * attached to it. This is a handle: closing it leaves what the kernel has.
 * @example
 * ```ts
 * import { Overlay } from 'overns';

 *
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24' });
 * const endpoint = await overlay.attach('netns:web', { address: '192.168.0.2/24' });
 * console.log(endpoint.mac, endpoint.vtep); // 02:42:c0:a8:00:02 10.0.0.10
 * ```
 */
export class Overlay implements AsyncDisposable {
  readonly name: string;
  readonly vni: number;
  readonly vtep: string;
  readonly port: number;
  readonly mtu: number;
  /** Path of the overlay's namespace. */
  readonly netns: string;
  /** The machine that it is on. */
  readonly system: System;
  /** @internal Its vxlan1 as it was when this was opened; undefined where it was made. */
  readonly [device]: Link | undefined;
  /** Identity of its namespace: another one may have the path by now. */
  readonly #identity: string;
  readonly #rtnl: Rtnl;
  #host: string | undefined;
  /** Aborted when the handle is closed. */
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;
  /** Work that close() waits for. */
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #subscriptions = new Set<BoundedQueue<never>>();

  private constructor({ state, rtnl, identity }: OpenedOverlay) {
    this.name = state.overlay;
    this.vni = state.vni;
    this.vtep = state.vtep;
    this.port = state.port;
    this.mtu = state.mtu;
    this.netns = state.path;
    this.#host = state.host;
    this[device] = state.device;
    this.system = rtnl.system;
    this.#identity = identity;
    this.#rtnl = rtnl;
  }

  /**
   * Makes an overlay: all of it, or nothing.
   * @throws OvernsError `EEXIST` (the name is taken: what is there is unchanged), `EADDRNOTAVAIL` (no VTEP can be
   *   chosen); NetlinkError for what the kernel refuses, as a VNI that the host has already; RangeError or TypeError
   *   for a wrong argument
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, mtu: 1400 });
   * console.log(overlay.vtep, overlay.port, overlay.mtu); // 10.0.0.10 4789 1400
   * const again = await Overlay.create({ name: 'blue', vni: 43 }).catch((error) => error);
   * console.log(again.code); // EEXIST
   * ```
   */
  static async create(options: OverlayOptions): Promise<Overlay> {
    return new Overlay(await createOverlay(options));
  }

  /**
   * Makes an overlay, or opens the one that is there if it is the same: what the options leave open may be anything. What
   * a process that was killed in the middle has left is completed. Several processes may do this at once.
   * @throws OvernsError `EEXIST`, which names the differences, or when the name is another namespace's; otherwise as
   *   {@link create}
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using made = await Overlay.ensure({ name: 'blue', vni: 42 });
   * await using same = await Overlay.ensure({ name: 'blue', vni: 42 });
   * console.log(same.mtu === made.mtu); // true
   * const other = await Overlay.ensure({ name: 'blue', vni: 43 }).catch((error) => error);
   * console.log(other.message); // overlay "blue" exists, but is not the same: vni 42 instead of 43
   * ```
   */
  static async ensure(options: OverlayOptions): Promise<Overlay> {
    return new Overlay(await ensureOverlay(options));
  }

  /**
   * Opens an overlay that exists, also one made by hand.
   * @throws OvernsError `ENOENT` (no such namespace), `EINVAL` (it is no overlay), `EADDRNOTAVAIL` (made without a
   *   local address, and the host cannot be told)
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * const made = await Overlay.create({ name: 'blue', vni: 42 });
   * await made.close();
   * await using overlay = await Overlay.open('blue');
   * console.log(overlay.vni); // 42
   * ```
   */
  static async open(
    name: string,
    options: Cancel & OnSystem & { readonly host?: NetnsRef | undefined } = {},
  ): Promise<Overlay> {
    checkOverlayName(name);
    const { host, signal, system = machine } = checkOptions(options, openOptions);
    throwIfAborted(signal);
    return new Overlay(await openOverlay(system, name, host, signal));
  }

  /**
   * Removes an overlay by its name, as {@link Overlay.prototype.delete} does; also what is left of one that lost its vxlan1,
   * or whose maker or remover was killed in the middle.
   * @throws OvernsError `ENOENT` (no such namespace), `EINVAL` (it is no overlay), `EBUSY` (another process is changing it
   *   for too long); NetlinkError for what the kernel refuses
   * @example
   * ```ts
   * import { Overlay, Rtnl } from 'overns';
   *
   * await using made = await Overlay.create({ name: 'blue', vni: 42 });
   * await using rtnl = await Rtnl.open({ netns: 'blue' });
   * await rtnl.links.delete({ name: 'vxlan1' });
   * console.log(await Overlay.open('blue').catch(({ code }) => code)); // OVERNS_INCOMPLETE
   * await Overlay.delete('blue');
   * console.log(await Overlay.open('blue').catch(({ code }) => code)); // ENOENT
   * ```
   */
  static async delete(name: string, options: Cancel & OnSystem = {}): Promise<void> {
    checkOverlayName(name);
    const { signal, system = machine } = checkOptions(options, callOptions);
    await deleteByName(system, name, signal);
  }

  /**
   * The overlays among the named namespaces of this machine. One that cannot be read, as somebody else's device of the
   * same name, is left out.
   * @throws NetlinkError for what the kernel refuses; AbortError
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using blue = await Overlay.create({ name: 'blue', vni: 42 });
   * await using red = await Overlay.create({ name: 'red', vni: 43 });
   * console.log((await Overlay.list()).map(({ overlay, vni }) => `${overlay} ${vni}`)); // [ 'blue 42', 'red 43' ]
   * ```
   */
  static async list(options: Cancel & OnSystem = {}): Promise<readonly OverlayInfo[]> {
    const { signal, system = machine } = checkOptions(options, callOptions);
    return refuseForbidden(await surveyOverlays(system, signal)).found;
  }

  /**
   * Path of the namespace that is the host: the one vxlan1 is linked to.
   * @throws OvernsError `OVERNS_HOST` when it cannot be found
   * @example
   * ```ts
   * import { Overlay, Rtnl } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using host = await Rtnl.open({ netns: await overlay.host() });
   * console.log((await host.addresses.list()).some(({ address }) => address === '10.0.0.10/24')); // true
   * ```
   */
  async host(options: Cancel = {}): Promise<string> {
    const signal = signalOf(options);
    throwIfAborted(signal);
    const rtnl = this.#open();
    if (this.#host !== undefined) return this.#host;
    const [vxlan] = await rtnl.links.list({ kind: 'vxlan', name: VXLAN }, { signal });
    if (!vxlan) throw notAnOverlay(this.name, contentsOf(await rtnl.links.list()));
    this.#host = await findHost(this.name, rtnl, vxlan, signal);
    return this.#host;
  }

  get #where(): Where {
    return { overlay: this.name, vni: this.vni };
  }

  #open(): Rtnl {
    if (this.#closed === undefined) return this.#rtnl;
    throw this.#closedError();
  }

  #closedError(cause?: unknown): OvernsError {
    return new OvernsError('OVERNS_CLOSED', `overlay "${this.name}" is closed`, {
      hint: `open it again with \`Overlay.open('${this.name}')\``,
      cause,
    });
  }

  /** Runs something that close() must not cut in two: it is aborted instead, which undoes it or lets it end, and waited for. */
  async #during<T>(signal: AbortSignal | undefined, run: (rtnl: Rtnl, signal: AbortSignal) => Promise<T>): Promise<T> {
    const rtnl = this.#open();
    const either = firstAborted(signal, this.#closing.signal);
    const work = run(rtnl, either.signal);
    this.#underWay.add(work);
    try {
      return await work;
    } catch (error) {
      const closed = either.signal.reason === CLOSED && (error as Error).name === 'AbortError';
      throw closed ? this.#closedError(error) : error;
    } finally {
      this.#underWay.delete(work);
      either.release();
    }
  }

  /** A subscription that ends with the handle. */
  #subscribe<E>(
    options: QueueOptions | undefined,
    open: (queue: BoundedQueue<E>) => Opened,
    source: Source<E> = {},
  ): Subscription<E> {
    this.#open();
    return createSubscription<E>(
      options,
      (queue) => {
        const opened = open(queue);
        this.#subscriptions.add(queue);
        return {
          ...opened,
          close: () => {
            this.#subscriptions.delete(queue);
            opened.close();
          },
        };
      },
      source,
    );
  }

  /**
   * Attaches a container: a veth into its namespace, its MAC and addresses, up, and published when a store is given; without
   * addresses with the next free ones of br0's networks. All of it, or nothing.
   * @throws OvernsError `EEXIST` (the container or the address is attached already), `ENOENT` (no such container),
   *   `OVERNS_POOL_FULL`, `EADDRNOTAVAIL` (br0 has no network to take an address from),
   *   `OVERNS_CONFLICT` (another host has one of its addresses in the store: nothing was touched), `OVERNS_NOT_RUNNING`,
   *   `OVERNS_STORE`; NetlinkError for what the kernel refuses
   * @example
   * ```ts
   * import { Overlay, openStore } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using store = await openStore('memory:');
   * const endpoint = await overlay.attach('netns:web', { address: ['192.168.0.2/24', 'fd00::2/64'], store });
   * console.log(endpoint.ips); // [ '192.168.0.2', 'fd00::2' ]
   * ```
   */
  async attach(container: ContainerRef, options: AttachOptions = {}): Promise<Attachment> {
    this.#open();
    const checked = checkOptions(options, attachOptions);
    const { address: addresses, mac, ifname = 'eth0', store, takeover, docker } = checked;
    const { gateway: gateways = [], routes = [] } = checked;
    if (addresses?.length === 0) throw invalidArgument('address', '[]', 'at least one address');
    if (addresses !== undefined) containerNetwork(addresses, gateways, routes);
    checkContainer(container);
    const six = this.mtu < MTU_MIN[6] ? addresses?.find(({ family }) => family === 6) : undefined;
    if (six !== undefined) {
      const why = `possible here: IPv6 needs an MTU of 1280, "${this.name}" has ${this.mtu}`;
      throw invalidArgument('address', formatCidr(six), why);
    }
    const given = store === undefined ? undefined : publisherOf(store, this.#where, 'publish', { takeover });
    throwIfAborted(checked.signal);
    return this.#during(checked.signal, async (rtnl, signal) => {
      const publisher = await this.#publisher(store, given, takeover, signal);
      const target = await resolveContainer(container, { signal, docker, system: this.system });
      if ((await netnsIdentity(this.system, target.path)) === this.#identity) {
        throw new OvernsError('EINVAL', `${target.description} is the overlay's own namespace, no container`, {
          hint: 'name the container to attach',
        });
      }
      const { ensure = false, anyAddress = false, anyMac = false } = checked;
      const request = { addresses, gateways, routes, target, mac, ifname, ensure, anyAddress, anyMac, publisher };
      const { name, netns, vtep, mtu } = this;
      return await attach(rtnl, { name, netns, vtep, mtu, identity: this.#identity }, request, { signal });
    });
  }

  /**
   * Takes a container off the overlay: withdrawn from the store when one is given, then its veth removed.
   * `{ ip }` also finds one whose container is gone, in the store.
   * @returns the attachment; of one that was found in the store alone, its endpoint
   * @throws OvernsError `ENOENT` when it is not attached
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * const gone = await overlay.detach({ ip: '192.168.0.2' });
   * console.log(gone.mac, 'container' in gone && gone.container); // 02:42:c0:a8:00:02 netns:web
   * ```
   */
  async detach(
    target: DetachTarget,
    options: Cancel & { readonly store?: Store | undefined; readonly docker?: string | undefined } = {},
  ): Promise<Attachment | Endpoint> {
    this.#open();
    const { store, docker, signal: given } = checkOptions(options, detachOptions);
    const own = store === undefined ? undefined : publisherOf(store, this.#where, 'withdraw');
    throwIfAborted(given);
    return this.#during(given, async (rtnl, signal) => {
      const publisher = await this.#publisher(store, own, false, signal);
      const [words, query] = await portQuery(target, { docker, signal, system: this.system }).catch(
        (error: unknown) => {
          throw hasGone(error, this.name);
        },
      );
      const found = await findPort(rtnl, this, query, { signal });
      if (found) return await detachPort(rtnl, found, publisher, { signal });
      // Its container may be gone, and its record still there.
      const gone = 'ip' in query && store ? await this.#published(store, query.ip, signal) : undefined;
      if (gone === undefined) {
        throw new OvernsError('ENOENT', `${words} is not attached to "${this.name}"`, {
          hint: `\`endpoints()\` of overlay "${this.name}" lists what is`,
        });
      }
      await own?.withdraw(gone, { signal });
      return gone;
    });
  }

  /** The agent of the overlay, where it publishes, and into no other store than the one that is given; else that one. */
  async #publisher(
    store: Store | undefined,
    given: Publisher | undefined,
    takeover: boolean | undefined,
    signal: AbortSignal,
  ): Promise<Publisher | undefined> {
    const agent = await publishingAgent(this.system, this.netns, { signal });
    if (agent === undefined) return given;
    if (store !== undefined && (!isScoped(store) || store[scope](this.#where) !== agent.storeUrl)) return given;
    return agent.publisher(takeover === true, given);
  }

  /** Looks up an address of this host in the store. */
  async #published(store: Store, ip: string, signal: AbortSignal): Promise<Endpoint | undefined> {
    const query = { ...this.#where, kind: 'l3', ip } as const;
    const answer = await askStore('lookup', signal, () => store.lookup(query, { signal }));
    if (!answer || answer.vtep !== this.vtep) return undefined;
    return { ip, ips: [ip], mac: answer.mac, vtep: answer.vtep };
  }

  /**
   * The containers attached to this host's part of the overlay, read back from the kernel.
   * @throws OvernsError `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * await overlay.attach('netns:db', { address: '192.168.0.3/24' });
   * console.log((await overlay.endpoints()).map(({ ip }) => ip).sort()); // [ '192.168.0.2', '192.168.0.3' ]
   * ```
   */
  async endpoints(options: Cancel = {}): Promise<readonly Attachment[]> {
    const rtnl = this.#open();
    const attached = await listAttached(rtnl, this.vtep, { signal: signalOf(options) });
    return attached.map(({ attachment }) => attachment);
  }

  /**
   * Tells of containers that are attached and detached, by whatever process: first all there are, then each change, until
   * the overlay is deleted or closed.
   * @throws OvernsError `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using events = overlay.endpointEvents();
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * for await (const event of events) {
   *   if (event.kind !== 'attached') continue; // `endpoints` comes first: those that are there already
   *   console.log(event.endpoint.container, event.endpoint.ifname); // netns:web eth0
   *   break;
   * }
   * ```
   */
  endpointEvents(options?: QueueOptions): Subscription<EndpointEvent> {
    const { open, source } = endpointSource(this);
    return this.#subscribe(options, open, source);
  }

  /**
   * Yields what the kernel asks, from now on. Observes only: nothing is answered. Where a resolver catches the packets of L2
   * misses the kernel notifies nobody of them; the resolver tells of them then. Ends when the overlay is closed.
   * @throws OvernsError `OVERNS_CLOSED`; NetlinkError
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using misses = overlay.misses({ maxQueue: 4096 });
   * setTimeout(() => misses.return?.(), 100); // or a signal
   * const seen: string[] = [];
   * for await (const miss of misses) seen.push(miss.kind === 'l3' ? miss.ip : miss.mac);
   * ```
   */
  misses(options?: QueueOptions): Subscription<Miss> {
    return this.#subscribe<Miss>(options, (queue) => observeMisses(this, this.#rtnl, queue));
  }

  /**
   * Removes the overlay from the kernel: vxlan1, the containers' veths, the name, then br0. A resolver that serves it lets
   * go of it. The handle is closed afterwards.
   *
   * An abort or close() before the first of them is removed leaves everything as it was. Later it changes nothing: what has
   * begun is completed.
   * @throws OvernsError `OVERNS_CLOSED`, `ENOENT` (it has been removed already), `EBUSY` (another process is changing it
   *   for too long); NetlinkError for what the kernel refuses
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * const overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.delete();
   * console.log(await Overlay.list()); // []
   * ```
   */
  async delete(options: Cancel = {}): Promise<void> {
    const { name, netns } = this;
    await this.#during(signalOf(options), (rtnl, signal) =>
      deleteOverlay(rtnl, { name, netns, identity: this.#identity }, { signal }),
    );
    await this.close();
  }

  /**
   * Closes the handle; the overlay stays. Its subscriptions end. What is under way is undone, or completed where it cannot
   * be, before this fulfils. Idempotent.
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * const overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.close();
   * console.log((await Overlay.list()).length); // 1
   * ```
   */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#closing.abort(CLOSED);
      for (const queue of [...this.#subscriptions]) queue.end();
      await Promise.allSettled(this.#underWay);
      await this.#rtnl.close();
    })();
    return this.#closed;
  }

  /**
   * Finds the fault of the underlay now: the VTEP is no address of the host any more (`EADDRNOTAVAIL`), its link is down
   * (`ENETDOWN`), or packets as large as the overlay's MTU do not fit (`EMSGSIZE`). Undefined where nothing is.
   * @throws OvernsError `OVERNS_CLOSED`, `OVERNS_HOST`; NetlinkError
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * console.log(await overlay.underlayFault()); // undefined
   * ```
   */
  async underlayFault(options: Cancel = {}): Promise<OvernsError | undefined> {
    this.#open();
    const signal = signalOf(options);
    const path = await this.host({ signal });
    await using host = await Rtnl.open({ netns: { path }, signal, system: this.system });
    return await underlayFault(host, this);
  }

  /**
   * Tells when the underlay stops to do for this overlay, and when it does again; first of what is wrong already. Links
   * and addresses of the host are listened to, and routes looked at every 10 s. Ends when the overlay is closed.
   * @throws OvernsError `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using changes = overlay.underlayChanges();
   * setTimeout(() => changes.return?.(), 100); // or a signal
   * for await (const { fault } of changes) console.log(fault === undefined ? 'as it was' : fault.message);
   * ```
   */
  underlayChanges(options?: QueueOptions): Subscription<UnderlayChange> {
    return this.#subscribe<UnderlayChange>(options, (queue) => {
      const watch = new UnderlayWatch(this.system, (change) => queue.push(change));
      const { name, vni, vtep, port, mtu } = this;
      this.host()
        .then((host) => watch.add({ name, vni, vtep, port, mtu, host }))
        .catch((error) => queue.fail(error));
      return {
        close: () => void watch[Symbol.asyncDispose](),
        ref: () => watch.ref(),
        unref: () => watch.unref(),
      };
    });
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
