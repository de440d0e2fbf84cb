/** Typed rtnetlink in any namespace (RFC 3549, rtnetlink(7)). */

import type { Cancel } from '../core/abort.js';
import { abortError, checkSignal, throwIfAborted } from '../core/abort.js';
import { checkLinkName } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { checkOptions, type Shape, signalOf } from '../core/options.js';
import type { Subscription } from '../core/subscription.js';
import type { NetnsRef } from '../netns/references.js';
import { netnsLabel, netnsPath, netnsReference } from '../netns/references.js';
import { kernel } from '../system/kernel-error.js';
import type { NativeRtnl } from '../system/native.js';
import { checkSystem, machine, type OnSystem, type System } from '../system/system.js';
import {
  type InNetns,
  type MonitorOptions,
  monitorOptions,
  type RtnlEvent,
  type RtnlSyncEvent,
} from './monitor/events.js';
import { listing } from './monitor/listing.js';
import { type MonitorSource, monitorNamespaces } from './monitor/monitor.js';
import { Addresses, type AddressTable } from './tables/addresses.js';
import type { MdbTable, VlanTable } from './tables/bridge.js';
import { Fdb, type FdbTable } from './tables/fdb.js';
import { Links, type LinkTable } from './tables/links.js';
import { Neighbors, type NeighborTable } from './tables/neighbors.js';
import { Nexthops, type NexthopTable } from './tables/nexthops.js';
import { Routes, type RouteTable } from './tables/routes.js';
import { Rules, type RuleTable } from './tables/rules.js';
import { ListedTable } from './tables/table.js';

/**
 * Typed rtnetlink in one namespace: a command socket with strict checking and extended acknowledgements.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'veth', name: 'a', up: true, peer: { name: 'b' } });
 * await rtnl.addresses.add({ link: 'a', address: '10.9.0.1/24' });
 * console.log((await rtnl.links.list({ kind: 'veth' })).map(({ name }) => name).sort()); // [ 'a', 'b' ]
 * ```
 */
export class Rtnl implements AsyncDisposable {
  readonly links: LinkTable;
  readonly addresses: AddressTable;
  readonly routes: RouteTable;
  readonly neighbors: NeighborTable;
  readonly fdb: FdbTable;
  readonly rules: RuleTable;
  readonly nexthops: NexthopTable;
  readonly vlans: VlanTable;
  readonly mdb: MdbTable;
  /** The machine that it is on. */
  readonly system: System;
  readonly #path: string;
  readonly #netns: string | undefined;
  #socket: NativeRtnl | undefined;

  private constructor(system: System, socket: NativeRtnl, path: string, netns: string | undefined) {
    this.system = system;
    this.#socket = socket;
    this.#path = path;
    this.#netns = netns;
    const open = (): NativeRtnl => this.#opened();
    this.links = new Links(system, open, netns) as unknown as LinkTable;
    this.addresses = new Addresses(open, 'address', netns);
    this.routes = new Routes(open, 'route', netns);
    this.neighbors = new Neighbors(open, 'neighbor', netns);
    this.fdb = new Fdb(open, 'fdb', netns);
    this.rules = new Rules(open, 'rule', netns);
    this.nexthops = new Nexthops(open, 'nexthop', netns);
    this.vlans = new ListedTable(open, 'vlan', netns);
    this.mdb = new ListedTable(open, 'mdb', netns);
  }

  /**
   * Opens a socket in a namespace; the caller's own without `netns`. The socket lives there from then on and keeps the
   * namespace alive until it is closed.
   * @throws OvernsError `ENOENT`, `EPERM`, ...; `OVERNS_PLATFORM` where the addon cannot run
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using own = await Rtnl.open();
   * await using other = await Rtnl.open({ netns: 'web' });
   * const missing = await Rtnl.open({ netns: 'nobody' }).catch((error) => error);
   * console.log(missing.code); // ENOENT
   * ```
   */
  static async open(options: Cancel & OnSystem & { readonly netns?: NetnsRef | undefined } = {}): Promise<Rtnl> {
    const { netns, signal, system = machine } = checkOptions(options, openOptions);
    throwIfAborted(signal);
    const addon = system.native;
    const path = netns === undefined ? '' : await netnsPath(system, netns);
    const words = netnsWords(netns);
    const socket = await kernel({ what: 'open a rtnetlink socket', netns: words }, addon.openRtnl(path));
    if (signal?.aborted) {
      socket.close();
      throw abortError(signal);
    }
    return new Rtnl(system, socket, path, words);
  }

  #opened(): NativeRtnl {
    if (this.#socket) return this.#socket;
    throw new OvernsError('OVERNS_CLOSED', 'this Rtnl is closed', { hint: 'open another one' });
  }

  /**
   * The id by which this namespace knows another one (RTM_GETNSID); -1 when it has none.
   * @throws OvernsError `ENOENT`, `ESRCH`, `OVERNS_CLOSED`; NetlinkError; AbortError
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * console.log(await rtnl.nsid('db')); // -1
   * await rtnl.links.add({ kind: 'veth', name: 'a', peer: { name: 'b', netns: 'db' } });
   * console.log(await rtnl.nsid('db')); // 0
   * ```
   */
  async nsid(netns: NetnsRef | undefined, options?: Cancel): Promise<number> {
    const signal = signalOf(options);
    throwIfAborted(signal);
    const path = await netnsPath(this.system, netns);
    throwIfAborted(signal);
    return kernel({ what: `ask for the id of ${path}`, netns: this.#netns }, this.#opened().nsid(path));
  }

  /**
   * Sets how many bytes of packets may wait on a link for one address to be resolved, in both families
   * (`unres_qlen_bytes`, RTM_SETNEIGHTBL; counted with the kernel's overhead, about twice the payload).
   * @param bytes 0 to 2^31-1
   * @throws NetlinkError `ENODEV`; RangeError, TypeError
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * await rtnl.setNeighborQueue('lo', 4 << 20);
   * ```
   */
  async setNeighborQueue(link: string, bytes: number, options?: Cancel): Promise<void> {
    checkLinkName(link);
    if (typeof bytes !== 'number') throw invalidType('bytes', bytes, 'a number');
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > 0x7fff_ffff) {
      throw invalidArgument('bytes', bytes, 'an integer from 0 to 2147483647');
    }
    throwIfAborted(signalOf(options));
    await kernel(
      { what: `size the neighbour queue of ${link}`, netns: this.#netns, request: { link, bytes } },
      this.#opened().neighborQueue(link, bytes),
    );
  }

  /**
   * Subscribes to the changes in this namespace, from the moment this returns. The first event is handed over at once, what comes within
   * 0.4 ms after it together, so `batches()` is the way to read many.
   *
   * Without `resync` the events are the kernel's notifications, `new` and `delete`. With it the stream is what a mirror
   * needs: a snapshot, then additions, changes and deletions, and after a loss a snapshot again.
   * @throws OvernsError `OVERNS_CLOSED`; NetlinkError `EMFILE`, `ENOENT`, ...; TypeError, RangeError that name the option
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * const events = rtnl.monitor({ groups: ['link'] });
   * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
   * for await (const event of events) {
   *   if (event.kind === 'link') console.log(event.action, event.name); // new br1
   *   break;
   * }
   * ```
   */
  monitor(options: MonitorOptions & { readonly resync: true }): Subscription<RtnlSyncEvent>;
  monitor(options?: MonitorOptions): Subscription<RtnlEvent>;
  monitor(options: MonitorOptions = {}): Subscription<RtnlEvent> | Subscription<RtnlSyncEvent> {
    this.#opened();
    const source = { path: this.#path, words: this.#netns, list: listing(this) };
    return monitorNamespaces<RtnlEvent>(this.system, [source], options);
  }

  /**
   * Subscribes to the changes in several namespaces in one stream, in the order they are read; each event has its `netns`. One socket per
   * namespace, all read by one thread. The sockets keep their namespaces alive; those of one given by its name are
   * closed when the name is removed, and an event of kind `netns` tells of it, in whatever groups.
   * @param options `netns`: at least one
   * @throws OvernsError `ENOENT`, `EPERM`, ...; TypeError, RangeError that name the option
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * const events = await Rtnl.monitor({ netns: ['web', 'db'], groups: ['link'] });
   * await using rtnl = await Rtnl.open({ netns: 'db' });
   * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
   * for await (const event of events) {
   *   console.log(event.netns, event.kind); // db link
   *   break;
   * }
   * ```
   */
  static monitor(
    options: MonitorOptions & OnSystem & { readonly netns: readonly NetnsRef[]; readonly resync: true },
  ): Promise<Subscription<InNetns<RtnlSyncEvent>>>;
  static monitor(
    options: MonitorOptions & OnSystem & { readonly netns: readonly NetnsRef[] },
  ): Promise<Subscription<InNetns<RtnlEvent>>>;
  static async monitor(options: MonitorOptions & OnSystem & { readonly netns: readonly NetnsRef[] }): Promise<unknown> {
    const {
      netns: refs,
      system = machine,
      ...monitored
    } = checkOptions(options, { netns: [checkNamespaces], system: checkSystem, ...monitorOptions });
    throwIfAborted(monitored.signal);
    const opened: Rtnl[] = [];
    try {
      const sources: MonitorSource[] = [];
      for (const [at, netns] of refs.entries()) {
        const path = await netnsPath(system, netns, `netns[${at}]`);
        const label = netnsLabel(netns);
        const name = typeof netns === 'string' && !netns.startsWith('/') ? netns : undefined;
        const source = { path, words: netnsWords(netns), label, name };
        if (monitored.resync) {
          const rtnl = await Rtnl.open({ netns: { path }, system });
          opened.push(rtnl);
          sources.push({ ...source, list: listing(rtnl), close: () => void rtnl.close() });
        } else {
          sources.push({ ...source, list: async () => ({}) });
        }
      }
      throwIfAborted(monitored.signal);
      return monitorNamespaces(system, sources, monitored);
    } catch (error) {
      for (const rtnl of opened) await rtnl.close();
      throw error;
    }
  }

  /**
   * Idempotent. Requests under way are finished first.
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * const rtnl = await Rtnl.open();
   * await rtnl.close();
   * const late = await rtnl.links.list().catch((error) => error);
   * console.log(late.code); // OVERNS_CLOSED
   * ```
   */
  async close(): Promise<void> {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Closes it, as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

const openOptions = { netns: netnsReference, signal: checkSignal, system: checkSystem } satisfies Shape;

function checkNamespaces(value: unknown, name: string): readonly NetnsRef[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array of namespaces');
  if (value.length === 0) throw invalidArgument(name, '[]', 'at least one namespace');
  for (const [at, each] of value.entries()) {
    if (each === undefined) throw invalidType(`${name}[${at}]`, each, 'a namespace');
  }
  return value;
}

/** A text for a namespace in errors: nothing for the caller's own. */
function netnsWords(ref: NetnsRef | undefined): string | undefined {
  if (ref === undefined) return undefined;
  if (typeof ref === 'string') return `netns ${ref}`;
  return 'path' in ref ? `netns ${ref.path}` : `the netns of pid ${ref.pid}`;
}
