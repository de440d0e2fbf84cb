/** The watch feed of one overlay: what the store's watch() tells goes into the native table, for as long as it is served. */
import { inspect } from 'node:util';
import { onAbort, untilAborted } from '../core/abort.js';
import { canonicalIp, canonicalMac } from '../core/address.js';
import { invalidType, OvernsError } from '../core/errors.js';
import type { Change, Endpoint, Store, WatchOptions, Where } from '../store/contract.js';
import { isScoped, scope } from '../store/scope.js';
import { tooLarge } from '../store/too-large.js';
import { Grace, type GraceOwner } from './grace.js';
import type { Leftovers } from './leftovers.js';
import { asError, type SessionContext } from './lookups.js';
import type { Sync } from './options.js';
import type { Usage } from './usage.js';

/** For so long, milliseconds, changes that are there at once are taken in before anything else gets its turn. */
const TURN_MS = 5;
/** The longest pause before a store is watched again: it is to be of use within two seconds of its return. */
const PAUSE_MAX_MS = 1500;
/** How often records that cannot be read are told of, milliseconds. */
const UNREADABLE_MS = 1000;

/** Whom the feed asks and tells. */
export interface FeedOwner extends GraceOwner {
  /** An overlay of another network that is served from the same store. */
  otherNetwork(): Where | undefined;
  /** As many addresses were left out, the first of them for this reason. */
  unreadable(count: number, error: Error): void;
  /** Entries whose records have gone with their lease. */
  readonly leftovers: Leftovers;
  /** Another part of the network is followed from now on. */
  follows(what: Followed, error: Error | undefined): void;
}

/** How much of a network is followed: all of it, the addresses that are used, none. */
export type Followed = 'all' | 'used' | 'lookup';

/** A store's `mirrorMax` where it has none. */
const MIRROR_MAX = 10_000;
/** After so many changes it is counted whether there is more than may be mirrored. */
const COUNT_EVERY = 256;
/** How long a network that is too large to mirror is left alone before it is tried again, milliseconds. */
const LARGE_MS = 300_000;

export class WatchFeed {
  readonly #context: SessionContext;
  readonly #usage: Usage;
  readonly #owner: FeedOwner;
  /** As many addresses at most are mirrored; undefined: as many as the store gives. */
  readonly #max: number | undefined;
  /** How much is followed as long as there is not too much of it. */
  readonly #wanted: Followed;
  #followed: Followed;
  /** Why something else is followed than what was wanted. */
  #because: Error | undefined;
  #changes = 0;
  /** When the watch was opened, as performance.now(). */
  #openedAt = 0;
  /** Records left out that are yet to be told of. */
  #leftOut: { count: number; error: Error } | undefined;
  #telling: NodeJS.Timeout | undefined;
  /** The index of the last change that the thread was given: a watch that follows a broken one goes on from there. */
  #index: bigint | undefined;
  readonly #grace: Grace;
  /** Another part of the network is followed than before: its first listing lacks what is followed no more. */
  #other = false;

  constructor(context: SessionContext, usage: Usage, owner: FeedOwner) {
    this.#context = context;
    this.#usage = usage;
    this.#owner = owner;
    this.#grace = new Grace(context.thread, context.id, context.timing.graceMs, owner);
    const { store, timing } = context;
    this.#wanted = followedAtFirst(store, timing.sync);
    this.#followed = this.#wanted;
    // Where there is nothing else to do, all is mirrored for as long as it goes.
    const less = timing.sync === 'auto' && store.watchOnly !== undefined;
    this.#max = less ? mirrorMax(store) : undefined;
  }

  /** How much is followed now. */
  get followed(): Followed {
    return this.#followed;
  }

  /** Why: `auto: 1200 addresses, 10000 at most`. */
  get reason(): string {
    const { store, timing, thread, id } = this.#context;
    const { sync } = timing;
    if (this.#because !== undefined) return `${sync}: ${this.#because.message}`;
    if (sync !== 'auto' && this.#followed === sync) return `${sync} is asked for`;
    if (this.#followed === 'lookup') {
      return `${sync}: the store watches ${store.watch === undefined ? 'nothing' : 'no single addresses'}`;
    }
    if (this.#max === undefined) return `${sync}: the store watches no single addresses`;
    return `${sync}: ${thread.stats(id).endpoints ?? 0} addresses, ${this.#max} at most`;
  }

  /** Feeds the native table from the store's watch, for as long as the overlay is served. */
  async run(ready: () => void): Promise<void> {
    const signal = this.#context.stopped;
    let pause = 100;
    let turn = performance.now();
    let excused = false;
    while (!signal.aborted) {
      let begun = false;
      try {
        if (this.#followed === 'used') await this.#usage.begin();
        this.#openedAt = performance.now();
        const { changes, looked } = this.#watch(signal);
        if (typeof changes?.[Symbol.asyncIterator] !== 'function')
          throw wrong(`gave ${shown(changes)}`, 'it gives an async iterable of changes');
        for await (const change of untilAborted(changes, signal)) {
          if (!looked()) this.#refuseShared();
          await this.#apply(change);
          if (this.#followed === 'lookup') this.#follow('all', undefined);
          if (typeof change.index === 'bigint') this.#index = change.index;
          this.#context.observe(change);
          this.#grace.changed();
          this.#context.health.up();
          begun = true;
          excused = false;
          pause = 100;
          ready();
          // A store that has always one more would let nothing else happen in this process.
          if (performance.now() - turn < TURN_MS) continue;
          await new Promise((resolve) => setImmediate(resolve));
          turn = performance.now();
        }
        if (signal.aborted) break;
        throw new OvernsError('OVERNS_STORE', 'the watch of the store ended');
      } catch (error) {
        if (signal.aborted) break;
        this.#grace.pause();
        if (isTooLarge(error) && this.#followed !== 'used') {
          await this.#follow(this.#max === undefined ? 'lookup' : 'used', asError(error));
          if (this.#max !== undefined) continue;
          pause = LARGE_MS;
        } else if (!begun && !excused && this.#context.health.heardAt > this.#openedAt) {
          // A lookup was answered meanwhile, as after an outage that the attempt was made in: the next one tells.
          excused = true;
          pause = 100;
        } else {
          this.#context.health.down(asError(error));
        }
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
      pause = Math.min(pause * 2, PAUSE_MAX_MS);
    }
    ready();
    this.#grace.close();
    clearTimeout(this.#telling);
    this.#tellLeftOut();
  }

  #watch(signal: AbortSignal): { changes: AsyncIterable<Change>; looked(): boolean } {
    const { store, where } = this.#context;
    const { options, looked } = watchOptions(where, signal, this.#followed === 'used' ? undefined : this.#index);
    if (this.#followed === 'used') {
      const watchOnly = store.watchOnly as NonNullable<Store['watchOnly']>;
      return { changes: watchOnly.call(store, this.#usage.interest, options), looked };
    }
    const watch = store.watch as NonNullable<Store['watch']>;
    const limited = this.#max === undefined ? options : Object.assign(options, { max: this.#max });
    return { changes: watch.call(store, limited), looked };
  }

  /** Goes over to another part of the network. */
  async #follow(what: Followed, error: Error | undefined): Promise<void> {
    if (what === this.#followed) return;
    const { thread, id } = this.#context;
    this.#followed = what;
    this.#because = error;
    this.#index = undefined;
    this.#other = true;
    // Nobody would tell of what the table has from the watch: who still uses it asks anew.
    if (what === 'lookup') {
      await thread.reset(id, [], []);
      await thread.sweep(id);
    }
    this.#owner.follows(what, error);
  }

  #refuseLarge(count: number): void {
    const { store, where } = this.#context;
    if (this.#followed === 'used' || this.#max === undefined || count <= this.#max) return;
    throw tooLarge(isScoped(store) ? store[scope](where) : `the store of overlay "${where.overlay}"`, this.#max);
  }

  /** What is older than what was told of before would undo it: only a reset may go back. */
  #refuseOlder({ kind, index }: Change): void {
    if (kind === 'reset' || this.#index === undefined || !(index < this.#index)) return;
    throw wrong(
      `gave a ${kind} of index ${index} after index ${this.#index}`,
      "changes come in the order of the store's revisions; what has happened before begins with a reset",
    );
  }

  /** A store that was not told apart whose changes are wanted cannot know which network they are of. */
  #refuseShared(): void {
    const other = isScoped(this.#context.store) ? undefined : this.#owner.otherNetwork();
    if (other === undefined) return;
    throw new OvernsError(
      'OVERNS_SCOPE',
      `the store's watch() looks at neither overlay nor vni: what it gives may be of overlay "${other.overlay}" (vni ${other.vni}) as well as of "${this.#context.where.overlay}" (vni ${this.#context.where.vni})`,
      { hint: 'give what belongs to the overlay that `watch()` is told, or a store to each overlay' },
    );
  }

  /** Checks what is given: it is a consumer's own store's. */
  async #apply(change: Change): Promise<void> {
    const { thread, id } = this.#context;
    const flat = new Flat();
    if (typeof change !== 'object' || change === null) throw wrong(`gave ${shown(change)} for a change`);
    this.#refuseOlder(change);
    switch (change.kind) {
      case 'reset': {
        const { endpoints } = change;
        if (typeof endpoints?.[Symbol.iterator] !== 'function' || typeof endpoints === 'string')
          throw wrong(`gave a reset whose endpoints are ${shown(endpoints)}`, 'endpoints is an iterable of endpoints');
        const told = new Set<string>();
        for (const endpoint of endpoints) {
          this.#take(endpoint, flat);
          if (this.#followed === 'used') for (const each of addressesOf(endpoint)) told.add(each);
        }
        const listed = flat.list.length / 3;
        this.#refuseLarge(listed);
        const taken = thread.reset(id, flat.list, flat.unreadable);
        this.#found(flat);
        this.#leaveOut(flat);
        const older = this.#index !== undefined && change.index < this.#index;
        const believed = this.#other;
        this.#other = false;
        const doubted = await this.#grace.judge({ listed, missing: await taken, older, believed });
        if (this.#followed === 'used' && !doubted)
          for (const address of this.#usage.unknown(told, this.#openedAt)) this.#forget(address);
        break;
      }
      case 'resume':
        this.#grace.goOn();
        break;
      case 'put':
        this.#take(change.endpoint, flat);
        if (++this.#changes % COUNT_EVERY === 0) this.#refuseLarge(thread.stats(id).endpoints ?? 0);
        thread.put(id, flat.list, flat.unreadable);
        this.#found(flat);
        this.#leaveOut(flat);
        break;
      case 'delete':
        for (const [key, canonical] of [
          [change.ip, canonicalIp],
          [change.mac, canonicalMac],
        ] as const) {
          if (key === undefined) continue;
          try {
            this.#forget(canonical(key), change.expired === true);
          } catch (error) {
            this.#note(1, error as Error);
          }
        }
        break;
      default:
        throw wrong(
          `gave a change of kind ${shown((change as { kind: unknown }).kind)}`,
          'it is reset, resume, put or delete',
        );
    }
  }

  #found({ list }: Flat): void {
    const { leftovers } = this.#owner;
    if (leftovers.size === 0) return;
    for (let at = 0; at < list.length; at += 3) {
      leftovers.delete(list[at] as string);
      leftovers.delete(list[at + 1] as string);
    }
  }

  #forget(address: string, expired = false): void {
    const { leftovers } = this.#owner;
    this.#context.thread.forget(this.#context.id, address, expired);
    if (expired) leftovers.add(address);
    else leftovers.delete(address);
  }

  #take(endpoint: Endpoint, flat: Flat): void {
    flat.add(endpoint);
    if (this.#followed !== 'used' || !Array.isArray(endpoint?.ips)) return;
    const { ips, mac, vtep } = endpoint;
    for (const ip of ips) this.#usage.moved(ip, mac, vtep);
    if (ips.length === 0) this.#usage.station(mac, vtep);
  }

  #leaveOut(flat: Flat): void {
    if (flat.unreadable.length > 0) this.#note(flat.unreadable.length, flat.why());
  }

  #note(count: number, why: Error): void {
    if (this.#leftOut === undefined) {
      const error = new OvernsError(
        'OVERNS_RECORD',
        `the store's watch() gave a record that cannot be read: ${why.message}`,
        {
          hint: 'correct what it gives',
          cause: why,
        },
      );
      this.#leftOut = { count, error };
    } else {
      this.#leftOut.count += count;
    }
    if (this.#telling === undefined) this.#tellLeftOut();
  }

  #tellLeftOut(): void {
    this.#telling = undefined;
    if (this.#leftOut === undefined) return;
    const { count, error } = this.#leftOut;
    this.#leftOut = undefined;
    this.#owner.unreadable(count, error);
    if (this.#context.stopped.aborted) return;
    this.#telling = setTimeout(() => this.#tellLeftOut(), UNREADABLE_MS);
    this.#telling.unref();
  }
}

/** Endpoints as the thread takes them. */
class Flat {
  /** ip, mac, vtep for each address. */
  readonly list: string[] = [];
  /** The numbers of the addresses that the thread has not taken. */
  readonly unreadable: number[] = [];
  /** Reasons why records are no endpoints at all, by the number of the address that stands for each. */
  readonly #none = new Map<number, Error>();

  add(endpoint: Endpoint): void {
    if (typeof endpoint !== 'object' || endpoint === null) {
      this.#refuse(invalidType('endpoint', endpoint, '{ ip, ips, mac, vtep }'));
      return;
    }
    const { ips = [endpoint.ip], mac, vtep } = endpoint;
    if (Array.isArray(ips)) for (const ip of ips) this.list.push(ip, mac, vtep);
    else this.#refuse(invalidType('endpoint.ips', ips, 'an array'));
  }

  #refuse(why: Error): void {
    this.#none.set(this.list.length / 3, why);
    this.list.push('', '', '');
  }

  /** Why the first of them has not been taken. */
  why(): Error {
    const first = this.unreadable[0] as number;
    const none = this.#none.get(first);
    if (none !== undefined) return none;
    const [ip, mac, vtep] = this.list.slice(first * 3);
    try {
      canonicalIp(ip);
      canonicalMac(mac);
      canonicalIp(vtep, 'vtep');
    } catch (error) {
      return Object.assign(error as Error, { message: `${(error as Error).message} (of ${shown(ip)})` });
    }
    return new Error(`${shown(ip)}, ${shown(mac)}, ${shown(vtep)}`);
  }
}

/** The error for what no store may give. */
function wrong(what: string, hint = 'see Change for what it may give'): OvernsError {
  return new OvernsError('OVERNS_STORE', `the store's watch() ${what}`, { hint });
}

/** A value of somebody's own, short and in one line. */
function shown(value: unknown): string {
  return inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 80 });
}

/** The addresses of an endpoint, which may be anything; those that make no sense stand for nothing in use. */
function addressesOf(endpoint: Endpoint): readonly string[] {
  if (!Array.isArray(endpoint?.ips)) return [];
  try {
    return [...endpoint.ips.map((ip) => canonicalIp(ip)), canonicalMac(endpoint.mac)];
  } catch {
    return [];
  }
}

/** Whether a store has ended a watch because there is too much, be it a consumer's own. */
function isTooLarge(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'OVERNS_TOO_LARGE';
}

function followedAtFirst({ watch, watchOnly }: Store, sync: Sync): Followed {
  if (sync === 'lookup') return 'lookup';
  if (sync === 'used') return watchOnly === undefined ? 'lookup' : 'used';
  return watch === undefined ? 'lookup' : 'all';
}

function mirrorMax({ mirrorMax }: Store): number {
  return typeof mirrorMax === 'number' && mirrorMax > 0 ? mirrorMax : MIRROR_MAX;
}

/** Makes the argument of a watch, which notes whether the store has looked at which overlay it is about. */
function watchOptions(
  where: Where,
  signal: AbortSignal,
  from: bigint | undefined,
): { options: WatchOptions; looked(): boolean } {
  let looked = false;
  const looking = <T>(value: T): T => {
    looked = true;
    return value;
  };
  const options: WatchOptions = {
    get overlay() {
      return looking(where.overlay);
    },
    get vni() {
      return looking(where.vni);
    },
    signal,
    // Not what keeps the process alive: the resolver does, unless unref() was called.
    ref: false,
    ...(from !== undefined && { from }),
  };
  return { options, looked: () => looked };
}
