/** The machine around the fake kernel: its namespaces by path and process, its clock, and the way requests take. */
import { basename, dirname, join, resolve } from 'node:path';
import { defaultMac } from '../core/address.js';
import { invalidArgument, invalidType } from '../core/errors.js';
import { nearest } from '../core/suggest.js';
import { netnsDirectory } from '../netns/references.js';
import { Clock, soon, turn } from './clock.js';
import { type Entry, fdbState, flagNames, neighborState } from './entries.js';
import type { Item } from './fields.js';
import { FakeNetns } from './netns.js';
import { Refusal } from './refusal.js';
import type { World } from './tables/links.js';

const TABLES = ['LINK', 'ADDR', 'ROUTE', 'NEIGH', 'RULE', 'NEXTHOP'] as const;
const OTHERS = ['RTM_GETNSID', 'RTM_SETNEIGHTBL', 'bind', 'connect', 'socket', 'umount2', 'unshare', 'write'] as const;

/** Requests that the fake kernel knows. */
export type Syscall = `RTM_${'NEW' | 'DEL' | 'GET'}${(typeof TABLES)[number]}` | (typeof OTHERS)[number];

const SYSCALLS: readonly Syscall[] = [
  ...TABLES.flatMap((table) => [`RTM_NEW${table}`, `RTM_DEL${table}`, `RTM_GET${table}`] as const),
  ...OTHERS,
];

/** A request that is never made would make a test pass that tests nothing. */
export function checkSyscall(value: unknown): void {
  if (typeof value !== 'string') throw invalidType('syscall', value, 'a string');
  if (SYSCALLS.includes(value as Syscall)) return;
  const meant = nearest(value, SYSCALLS);
  throw invalidArgument('syscall', value, meant === undefined ? `one of ${SYSCALLS.join(', ')}` : `${meant}, maybe`);
}

/**
 * A request as it reaches the fake kernel.
 * @example
 * ```ts
 * import type { FakeRequest } from 'overns/testing';
 *
 * const request: FakeRequest = { syscall: 'RTM_NEWLINK', netns: 'web', item: { name: 'br0' }, by: 'caller' };
 * console.log(request.syscall); // RTM_NEWLINK
 * ```
 */
export interface FakeRequest {
  /** The message's type (`RTM_NEWLINK`, `RTM_GETNEIGH`, ...) or, where there is none, the system call. */
  readonly syscall: string;
  /** The name or path of the namespace it is made in; `''` is the process's own. */
  readonly netns: string;
  /** The object of the request, in the words of `Rtnl`. */
  readonly item: Readonly<Record<string, unknown>>;
  /** `resolver`: an entry that a resolver writes or withdraws. */
  readonly by: 'caller' | 'resolver';
}

/**
 * How a request is refused.
 * @example
 * ```ts
 * import type { FakeRefusal } from 'overns/testing';
 *
 * const refusal: FakeRefusal = { code: 'EPERM', kernelMessage: 'not today' };
 * console.log(refusal.code); // EPERM
 * ```
 */
export interface FakeRefusal {
  /** Name of an errno, such as `EPERM`. */
  readonly code: string;
  /** The kernel's own words (NLMSGERR_ATTR_MSG). */
  readonly kernelMessage?: string | undefined;
  /** The attribute that the kernel objects to. */
  readonly attribute?: string | undefined;
}

export type Interceptor = (request: FakeRequest) => FakeRefusal | string | undefined;

export class Machine implements World {
  readonly clock = new Clock();
  /** The process's own namespace. */
  readonly own: FakeNetns;
  readonly requests: FakeRequest[] = [];
  readonly interceptors = new Set<Interceptor>();
  /** Path of the directory of named namespaces. */
  readonly watchers = new Set<(action: 'new' | 'delete', name: string) => void>();
  readonly #paths = new Map<string, FakeNetns>();
  readonly #processes = new Map<number, FakeNetns>();
  readonly #living = new Set<FakeNetns>();
  #lastInode = 0xf000_0000;
  #lastMac = 0;
  #pending = 0;

  constructor() {
    this.own = this.#make('');
    this.own.holds++;
  }

  #make(name: string): FakeNetns {
    const netns = new FakeNetns(name, ++this.#lastInode, this);
    this.#living.add(netns);
    return netns;
  }

  nextMac(): string {
    const n = ++this.#lastMac;
    return `0a:fa:${defaultMac(`10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`).slice(6)}`;
  }

  // --- namespaces ---

  all(): Iterable<FakeNetns> {
    return this.#living;
  }

  lookUp(path: string): FakeNetns | undefined {
    if (path === '') return this.own;
    const pid = /^\/proc\/([^/]+)\/ns\/net$/.exec(path)?.[1];
    if (pid !== undefined) {
      if (pid === 'self' || pid === '1' || Number(pid) === process.pid) return this.own;
      return this.#processes.get(Number(pid));
    }
    return this.#paths.get(resolve(path));
  }

  /** @throws Refusal ENOENT */
  find(path: string): FakeNetns {
    const netns = this.lookUp(path);
    if (netns === undefined) throw new Refusal('ENOENT', 'open', { on: path });
    return netns;
  }

  pathOf(name: string): string {
    return join(netnsDirectory(), name);
  }

  create(path: string): FakeNetns {
    const key = resolve(path);
    if (this.#paths.has(key)) throw new Refusal('EEXIST', 'open', { on: path });
    const netns = this.#make(dirname(key) === netnsDirectory() ? basename(key) : path);
    netns.holds++;
    this.#paths.set(key, netns);
    this.#named('new', key);
    return netns;
  }

  #named(action: 'new' | 'delete', path: string): void {
    if (dirname(path) !== netnsDirectory()) return;
    for (const watcher of this.watchers)
      this.later(() => this.watchers.has(watcher) && watcher(action, basename(path)));
  }

  /** Holds a namespace open, at a path of its own. */
  open(path: string): { readonly path: string; close(): void } {
    const netns = this.find(path);
    const key = `/proc/self/fd/${++this.#lastInode}`;
    this.#paths.set(resolve(key), netns);
    netns.holds++;
    return { path: key, close: () => this.#paths.delete(resolve(key)) && this.release(netns) };
  }

  /** Without a name: it lives as long as what holds it. */
  scratch(): FakeNetns {
    return this.#make('scratch');
  }

  delete(path: string): void {
    const key = resolve(path);
    const netns = this.#paths.get(key);
    if (netns === undefined) throw new Refusal('ENOENT', 'stat', { on: path });
    this.#paths.delete(key);
    this.#named('delete', key);
    this.release(netns);
  }

  start(pid: number, netns: FakeNetns): void {
    this.#processes.set(pid, netns);
    netns.holds++;
  }

  /** Its processes end. */
  kill(netns: FakeNetns): void {
    for (const [pid, where] of [...this.#processes]) {
      if (where !== netns) continue;
      this.#processes.delete(pid);
      this.release(netns);
    }
  }

  hasProcess(pid: number): boolean {
    return pid === process.pid || this.#processes.has(pid);
  }

  names(directory: string): string[] {
    const wanted = resolve(directory);
    return [...this.#paths.keys()].filter((path) => dirname(path) === wanted).map((path) => basename(path));
  }

  hold(netns: FakeNetns): void {
    netns.holds++;
  }

  release(netns: FakeNetns): void {
    if (--netns.holds > 0) return;
    this.#living.delete(netns);
    netns.end();
  }

  // --- time ---

  /** Runs what happens beside JavaScript: a turn of the event loop later, in order. */
  later(run: () => unknown): void {
    this.#pending++;
    soon(() => {
      this.#pending--;
      run();
    });
  }

  turn(): Promise<void> {
    return new Promise((resolve) => this.later(resolve));
  }

  /** Fulfils once nothing is under way. */
  async idle(): Promise<void> {
    do await turn();
    while (this.#pending > 0);
  }

  // --- requests ---

  /** @throws Refusal what a test wants it to be */
  request(syscall: Syscall, netns: FakeNetns | string, item: Item, by: FakeRequest['by'] = 'caller'): void {
    const request = { syscall, netns: typeof netns === 'string' ? netns : netns.name, item, by };
    this.requests.push(request);
    for (const interceptor of [...this.interceptors]) {
      const refusal = interceptor(request);
      if (refusal === undefined) continue;
      const { code, ...details } = typeof refusal === 'string' ? { code: refusal } : refusal;
      throw new Refusal(code, syscall, details);
    }
  }

  requestEntry(netns: FakeNetns, table: 'neighbor' | 'fdb', entry: Entry, by: FakeRequest['by']): void {
    const { verb, ip, state, flags, ...rest } = entry;
    const item = {
      ...rest,
      ...(ip === undefined ? {} : { [table === 'fdb' ? 'dst' : 'ip']: ip }),
      ...(verb === 'delete' ? {} : { state: table === 'fdb' ? fdbState(state) : neighborState(state) }),
      ...(flags === 0 ? {} : { flags: flagNames(flags) }),
    };
    this.request(verb === 'delete' ? 'RTM_DELNEIGH' : 'RTM_NEWNEIGH', netns, item, by);
    netns.changeEntry(table, entry);
  }
}
