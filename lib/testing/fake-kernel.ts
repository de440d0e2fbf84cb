import { canonicalIp, canonicalMac, checkMtu } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { checkOptions, integer, type Shape } from '../core/options.js';
import { checkNetnsName } from '../netns/references.js';
import { netlinkError } from '../system/kernel-error.js';
import type { TableName } from '../system/native.js';
import type { System } from '../system/system.js';
import { checkSyscall, type FakeRefusal, type FakeRequest, type Interceptor, Machine } from './machine.js';
import type { Handles } from './native.js';
import type { FakeNetns } from './netns.js';
import { Refusal } from './refusal.js';
import { fakeSystem } from './system.js';
import { type Crossing, send } from './wire.js';

/**
 * The underlay of a host: the device `eth0`, up.
 * @example
 * ```ts
 * import type { FakeHostOptions } from 'overns/testing';
 *
 * const host: FakeHostOptions = { underlay: ['10.0.0.11/24', 'fd01::11/64'], mtu: 9000 };
 * console.log(host.mtu); // 9000
 * ```
 */
export interface FakeHostOptions {
  /** Addresses with prefix lengths: `10.0.0.11/24`. Every host reaches every other. */
  readonly underlay?: string | readonly string[] | undefined;
  /** Bytes, 68 to 65535. Default 1500. */
  readonly mtu?: number | undefined;
}

/**
 * How a namespace is made. Without `underlay` it stands for a container: nothing but `lo`.
 * @example
 * ```ts
 * import type { FakeNetnsOptions } from 'overns/testing';
 *
 * const container: FakeNetnsOptions = { pid: 4711 };
 * console.log(container.pid); // 4711
 * ```
 */
export interface FakeNetnsOptions extends FakeHostOptions {
  /** A process that runs in it, by which `pid:N` and `{ pid }` find it; it keeps the namespace alive. */
  readonly pid?: number | undefined;
}

/**
 * Which requests an injected failure meets, and how often.
 * @example
 * ```ts
 * import type { FailOptions } from 'overns/testing';
 *
 * const third: FailOptions = { after: 2, where: ({ item }) => item.name === 'br0' };
 * console.log(third.after); // 2
 * ```
 */
export interface FailOptions {
  /** How many of them. Default 1. */
  readonly times?: number | undefined;
  /** How many to let through before. Default 0. */
  readonly after?: number | undefined;
  /** Only those that it says true of. Default: all. */
  readonly where?: ((request: FakeRequest) => boolean) | undefined;
}

/**
 * The contents of a namespace, in the rows of `Rtnl`'s listings.
 * @example
 * ```ts
 * import type { FakeState } from 'overns/testing';
 *
 * const names = ({ links }: FakeState): unknown[] => links.map(({ name }) => name);
 * console.log(names.length); // 1
 * ```
 */
export interface FakeState {
  readonly links: readonly Readonly<Record<string, unknown>>[];
  readonly addresses: readonly Readonly<Record<string, unknown>>[];
  readonly routes: readonly Readonly<Record<string, unknown>>[];
  readonly neighbors: readonly Readonly<Record<string, unknown>>[];
  readonly fdb: readonly Readonly<Record<string, unknown>>[];
}

const TABLES: Readonly<Record<keyof FakeState, TableName>> = {
  links: 'link',
  addresses: 'address',
  routes: 'route',
  neighbors: 'neighbor',
  fdb: 'fdb',
};

/**
 * An in-memory kernel for unit tests of programs that embed overns: without root, without the addon, on any platform.
 * `Overlay`, `Rtnl` and `Resolver` run against it unchanged wherever they are given its `system`; what they make passes
 * it on. Without that option a call is about the machine that the test runs on.
 *
 * Each is a machine of its own, so a process may have many at once, as tests that run concurrently do.
 *
 * It answers as the real kernel does, errors and their codes included; the project's tests run the same scenarios
 * against both. Not modelled: links other than bridges, veths and vxlans, moves of bridges and vxlans between namespaces, nexthops and rules
 * but those that a namespace begins with, the sockets of `netns.connect()` and its like, IPv6 link-local addresses, the `local` routing table, what the kernel enters into an FDB
 * or neighbour table by itself other than what a vxlan device learns from packets, neighbours of `lo`, VLANs, multicast
 * groups of bridges, ageing, and Docker.
 *
 * @example
 * ```ts
 * import { Overlay, Resolver } from 'overns';
 * import { FakeKernel } from 'overns/testing';
 *
 * const kernel = new FakeKernel();
 * const { system } = kernel;
 * kernel.addNetns('web');
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24', system });
 * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
 *
 * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' }) };
 * await using resolver = await Resolver.start({ overlays: [overlay], store });
 * await kernel.miss('blue', { ip: '192.168.0.3' });
 * console.log(kernel.state('blue').neighbors.map(({ ip, mac }) => `${ip} ${mac}`)); // [ '192.168.0.3 02:42:c0:a8:00:03' ]
 * ```
 */
export class FakeKernel {
  /** The machine to hand to the code under test, as the option `system` of whatever it calls. */
  readonly system: System;
  readonly #machine = new Machine();
  readonly #handles: Handles = new Set();

  /**
   * The process's own namespace has `lo` and the underlay device `eth0`, by default with 10.0.0.10/24.
   * @throws RangeError, TypeError that name the option
   */
  constructor(options: FakeHostOptions = {}) {
    const { underlay = '10.0.0.10/24', mtu } = checkOptions(options, hostOptions);
    plug(this.#machine.own, { underlay, mtu });
    this.system = fakeSystem(this.#machine, this.#handles);
  }

  #find(given: string): FakeNetns {
    const name = text(given, 'netns');
    const netns = this.#machine.lookUp(name.startsWith('/') || name === '' ? name : this.#machine.pathOf(name));
    if (netns === undefined)
      throw new OvernsError('ENOENT', `the fake kernel has no namespace ${JSON.stringify(name)}`);
    return netns;
  }

  // --- the scene ---

  /**
   * Makes a named namespace, its `lo` up: a container, or with `underlay` another host.
   * @throws OvernsError `EEXIST` when the name is taken
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * kernel.addNetns('host-b', { underlay: '10.0.0.11/24' });
   * kernel.addNetns('web', { pid: 4711 });
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, host: 'host-b', system: kernel.system });
   * await overlay.attach('pid:4711', { address: '192.168.0.2/24' });
   * console.log(overlay.vtep); // 10.0.0.11
   * ```
   */
  addNetns(name: string, options: FakeNetnsOptions = {}): void {
    checkNetnsName(text(name, 'name'), 'name');
    const { pid, ...host } = checkOptions(options, netnsOptions);
    let netns: FakeNetns;
    try {
      netns = this.#machine.create(this.#machine.pathOf(name));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw netlinkError(error, { what: `make namespace ${name}` });
    }
    plug(netns, host);
    if (pid !== undefined) this.#machine.start(pid, netns);
  }

  /**
   * Removes a namespace as the end of a container does: its name, its processes, its links and their peers. What still
   * holds it open, such as an `Rtnl`, keeps it alive until closed.
   * @throws OvernsError `ENOENT`
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * kernel.addNetns('web');
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * kernel.removeNetns('web');
   * console.log(await overlay.endpoints()); // []
   * ```
   */
  removeNetns(name: string): void {
    const netns = this.#find(name);
    this.#machine.kill(netns);
    this.#machine.delete(this.#machine.pathOf(name));
  }

  // --- what happens ---

  /**
   * Sends a packet from a namespace to an address and tells whether it arrived. On an overlay it takes a container's
   * way: the question for the MAC address, misses where the vxlan device knows no answer, the VTEP, and the other
   * host, which learns where it came from. Each packet asks anew.
   * @param packet.from name of a namespace; `''` = the process's own
   * @param packet.to IP address
   * @param packet.timeoutMs how long a miss may go unanswered, where no resolver says that it will; default 1000
   * @throws OvernsError `ENOENT` when there is no such namespace
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * kernel.addNetns('web');
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
   *
   * const crossing = await kernel.send({ from: 'web', to: '192.168.0.9' });
   * console.log(crossing.crossed || crossing.why); // nobody answered who has 192.168.0.9: unresolved
   * ```
   */
  send(packet: {
    readonly from: string;
    readonly to: string;
    readonly timeoutMs?: number | undefined;
  }): Promise<Crossing> {
    const { from, to, timeoutMs = 1000 } = checkOptions(packet, packetFields, 'packet');
    return send(this.#machine, this.#find(from), to, timeoutMs);
  }

  /**
   * Raises a miss of a vxlan device: who has this IP (L3), or which VTEP has this MAC (L2). Fulfils when a resolver has
   * done with it, or at once where none serves the device.
   * @param netns name of the overlay, or of whichever namespace the device is in
   * @param link name of the device
   * @throws OvernsError `ENOENT`, `ENODEV`; RangeError for an address that cannot be one
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
   * const misses = overlay.misses();
   * await kernel.miss('blue', { mac: '02:42:c0:a8:00:03' });
   * const { value: miss } = await misses.next();
   * console.log(miss?.kind); // l2
   * ```
   */
  async miss(netns: string, key: { readonly ip: string } | { readonly mac: string }, link = 'vxlan1'): Promise<void> {
    const where = this.#find(netns);
    const device = where.link(link);
    if (device === undefined) throw new OvernsError('ENODEV', `${netns} has no link ${link}`);
    const asked = 'ip' in key ? { ip: canonicalIp(key.ip) } : { mac: canonicalMac(key.mac) };
    where.miss(device, asked);
    await where.outcome(device, asked);
    await this.#machine.idle();
  }

  /**
   * Has the kernel drop news for want of room: whoever listens in the namespace is told so, monitors and resolvers
   * alike.
   * @param dropped how many
   * @throws OvernsError `ENOENT`
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * kernel.addNetns('web');
   * await using rtnl = await Rtnl.open({ netns: 'web', system: kernel.system });
   * const events = rtnl.monitor();
   * kernel.overrun('web', 3);
   * console.log((await events.next()).value?.kind); // overrun
   * ```
   */
  overrun(netns: string, dropped = 1): void {
    integer(1, COUNT_MAX)(dropped, 'dropped');
    for (const observer of [...this.#find(netns).observers]) observer.onOverrun?.(dropped);
  }

  /**
   * Moves the kernel's clock forward: TTLs run out. Timers of JavaScript, such as a lookup's, are not touched.
   * @param ms milliseconds, 0 to 2^53
   * @throws RangeError, TypeError
   * @example
   * ```ts
   * import { Overlay, Resolver } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
   * const store = { lookup: () => ({ mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11', ttlMs: 30_000 }) };
   * await using resolver = await Resolver.start({ overlays: [overlay], store });
   * await kernel.miss('blue', { ip: '192.168.0.3' });
   * kernel.advance(30_001);
   * console.log(kernel.state('blue').neighbors); // []
   * ```
   */
  advance(ms: number): void {
    if (typeof ms !== 'number') throw invalidType('ms', ms, 'a number');
    if (!(ms >= 0 && ms <= COUNT_MAX)) throw invalidArgument('ms', ms, `a number from 0 to ${COUNT_MAX}`);
    this.#machine.clock.advance(ms);
  }

  /**
   * Fulfils once all news has been delivered and every request answered.
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * await using rtnl = await Rtnl.open({ system: kernel.system });
   * void rtnl.links.set({ name: 'eth0', mtu: 1400 });
   * await kernel.idle();
   * console.log(kernel.state().links.map(({ mtu }) => mtu)); // [ 65536, 1400 ]
   * ```
   */
  idle(): Promise<void> {
    return this.#machine.idle();
  }

  // --- what goes wrong ---

  /**
   * Has requests of a kind fail. Disposing of the result takes it back.
   * @param syscall as errors name it: `RTM_NEWLINK`, `RTM_DELNEIGH`, ..., or `socket` (opening an `Rtnl` or a
   *   monitor), `unshare` (making a namespace), `umount2` (removing its name), `bind` (a resolver's claim), `write` (a
   *   sysctl)
   * @param refusal name of an errno, with the kernel's own words if they matter
   * @throws RangeError when there is no such request or errno
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * const before = kernel.snapshot();
   * kernel.fail('RTM_NEWLINK', 'EPERM', { where: ({ item }) => item.kind === 'vxlan' });
   * const error = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system }).catch((thrown) => thrown);
   * console.log(error.code); // EPERM
   * console.log(JSON.stringify(kernel.snapshot()) === JSON.stringify(before)); // true
   * ```
   */
  fail(syscall: string, refusal: string | FakeRefusal, options: FailOptions = {}): Disposable {
    checkSyscall(syscall);
    const { times = 1, after = 0, where = () => true } = checkOptions(options, failOptions);
    new Refusal(typeof refusal === 'string' ? refusal : refusal.code, syscall); // now rather than in the middle of a test
    let met = 0;
    const handle = this.intercept((request) => {
      if (request.syscall !== syscall || !where(request)) return undefined;
      met++;
      if (met >= after + times) handle[Symbol.dispose]();
      return met > after ? refusal : undefined;
    });
    return handle;
  }

  /**
   * Sees every request before the kernel does, as a transport would: returning an errno's name or a refusal answers it
   * so, returning nothing lets it pass. Disposing of the result takes it back.
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * const { system } = kernel;
   * const controller = new AbortController();
   * kernel.intercept(({ item }) => {
   *   if (item.kind === 'vxlan') controller.abort(); // in the middle of create()
   *   return undefined;
   * });
   * const error = await Overlay.create({ name: 'blue', vni: 42, signal: controller.signal, system }).catch((thrown) => thrown);
   * console.log(error.code); // ABORT_ERR
   * console.log(Object.keys(kernel.snapshot())); // [ '' ]
   * ```
   */
  intercept(interceptor: (request: FakeRequest) => FakeRefusal | string | undefined): Disposable {
    predicate(interceptor, 'interceptor');
    const own: Interceptor = (request) => interceptor(request);
    this.#machine.interceptors.add(own);
    return { [Symbol.dispose]: () => void this.#machine.interceptors.delete(own) };
  }

  // --- what is there ---

  /**
   * Every request so far, in order, those that were refused included.
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * await using rtnl = await Rtnl.open({ system: kernel.system });
   * await rtnl.links.list({ name: 'eth0' });
   * console.log(kernel.requests.map(({ syscall }) => syscall)); // [ 'socket', 'RTM_GETLINK' ]
   * ```
   */
  get requests(): readonly FakeRequest[] {
    return [...this.#machine.requests];
  }

  /**
   * Handles that are open: `rtnl NETNS`, `monitor NETNS` and `resolver`. Empty when the code under test has closed all.
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * kernel.addNetns('web');
   * await using rtnl = await Rtnl.open({ netns: 'web', system: kernel.system });
   * console.log(kernel.openHandles); // [ 'rtnl web' ]
   * ```
   */
  get openHandles(): readonly string[] {
    return [...this.#handles].map(({ what }) => what);
  }

  /**
   * Reads what a namespace has, at once and without a request.
   * @param netns its name; default the process's own
   * @throws OvernsError `ENOENT`
   * @example
   * ```ts
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * console.log(kernel.state().links.map(({ name, up }) => `${name} ${up}`)); // [ 'lo true', 'eth0 true' ]
   * ```
   */
  state(netns = ''): FakeState {
    const found = this.#find(netns);
    const rows = Object.entries(TABLES).map(([name, table]) => [name, found.rows(table)]);
    return Object.fromEntries(rows) as FakeState;
  }

  /**
   * The state of all namespaces that live, by name: equal before and after something that is to leave no trace.
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   * import { FakeKernel } from 'overns/testing';
   *
   * const kernel = new FakeKernel();
   * const overlay = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
   * console.log(Object.keys(kernel.snapshot())); // [ '', 'blue' ]
   * await overlay.delete();
   * console.log(Object.keys(kernel.snapshot())); // [ '' ]
   * ```
   */
  snapshot(): Readonly<Record<string, FakeState>> {
    const states = [...this.#machine.all()].map((netns) => {
      const rows = Object.entries(TABLES).map(([name, table]) => [name, netns.rows(table)]);
      return [netns.name, Object.fromEntries(rows) as FakeState] as const;
    });
    return Object.fromEntries(states);
  }
}

const hostOptions = { underlay: checkUnderlay, mtu: checkMtu } satisfies Shape;
const netnsOptions = { ...hostOptions, pid: integer(1, 4_194_304) } satisfies Shape;
const packetFields = { from: [text], to: [canonicalIp], timeoutMs: integer(0, 3_600_000) } satisfies Shape;
const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const failOptions = { times, after: integer(0, COUNT_MAX), where: predicate } satisfies Shape;

/** Infinity: all of them. */
function times(value: unknown, name: string): number {
  return value === Number.POSITIVE_INFINITY ? value : integer(1, COUNT_MAX)(value, name);
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  return value;
}

function checkUnderlay(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value)) return [text(value, name)];
  return value.map((each, at) => text(each, `${name}[${at}]`));
}

function predicate(value: unknown, name: string): (request: FakeRequest) => boolean {
  if (typeof value !== 'function') throw invalidType(name, value, 'a function');
  return value as (request: FakeRequest) => boolean;
}

function plug(netns: FakeNetns, { underlay, mtu = 1500 }: FakeHostOptions): void {
  netns.change('link', 'set', { name: 'lo', up: true });
  if (underlay === undefined) return;
  netns.plug('eth0', mtu);
  for (const address of typeof underlay === 'string' ? [underlay] : underlay) {
    netns.change('address', 'add', { link: 'eth0', address, nodad: true });
  }
}
