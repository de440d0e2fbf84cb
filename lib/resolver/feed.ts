/** The watch feed of one overlay: what the store's watch() tells goes into the native table, for as long as it is served. */
import { inspect } from 'node:util';
import { onAbort, untilAborted } from '../core/abort.js';
import { canonicalIp, canonicalMac } from '../core/address.js';
import { invalidType, OvernsError } from '../core/errors.js';
import type { Change, Endpoint, Store, WatchOptions, Where } from '../store/contract.js';
import { isScoped } from '../store/index.js';
import type { Leftovers } from './leftovers.js';
import { asError, type SessionContext } from './lookups.js';

/** For so long, milliseconds, changes that are there at once are taken in before anything else gets its turn. */
const TURN_MS = 5;
/** How often records that cannot be read are told of, milliseconds. */
const UNREADABLE_MS = 1000;

/** Whom the feed asks and tells. */
export interface FeedOwner {
  /** An overlay of another network that is served from the same store. */
  otherNetwork(): Where | undefined;
  /** As many addresses were left out, the first of them for this reason. */
  unreadable(count: number, error: Error): void;
  /** Entries whose records have gone with their lease. */
  readonly leftovers: Leftovers;
}

export class WatchFeed {
  readonly #context: SessionContext;
  readonly #owner: FeedOwner;
  /** Records left out that are yet to be told of. */
  #leftOut: { count: number; error: Error } | undefined;
  #telling: NodeJS.Timeout | undefined;
  /** The index of the last change that the thread was given: a watch that follows a broken one goes on from there. */
  #index: bigint | undefined;

  constructor(context: SessionContext, owner: FeedOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /** Feeds the native table from the store's watch, for as long as the overlay is served. */
  async run(ready: () => void): Promise<void> {
    const signal = this.#context.stopped;
    let pause = 100;
    let turn = performance.now();
    while (!signal.aborted) {
      try {
        const watch = this.#context.store.watch as NonNullable<Store['watch']>;
        const { options, looked } = watchOptions(this.#context.where, signal, this.#index);
        const changes = watch.call(this.#context.store, options);
        if (typeof changes?.[Symbol.asyncIterator] !== 'function')
          throw wrong(`gave ${shown(changes)}`, 'it gives an async iterable of changes');
        for await (const change of untilAborted(changes, signal)) {
          if (!looked()) this.#refuseShared();
          await this.#apply(change);
          if (typeof change.index === 'bigint') this.#index = change.index;
          this.#context.observe(change);
          this.#context.health.up();
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
        this.#context.health.down(asError(error));
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
    clearTimeout(this.#telling);
    this.#tellLeftOut();
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
    switch (change.kind) {
      case 'reset': {
        const { endpoints } = change;
        if (typeof endpoints?.[Symbol.iterator] !== 'function' || typeof endpoints === 'string')
          throw wrong(`gave a reset whose endpoints are ${shown(endpoints)}`, 'endpoints is an iterable of endpoints');
        for (const endpoint of endpoints) flat.add(endpoint);
        const done = thread.reset(id, flat.list, flat.unreadable);
        this.#found(flat);
        this.#leaveOut(flat);
        await done;
        break;
      }
      case 'resume':
        break;
      case 'put':
        flat.add(change.endpoint);
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
            const expired = change.expired === true;
            const address = canonical(key);
            thread.forget(id, address, expired);
            if (expired) this.#owner.leftovers.add(address);
            else this.#owner.leftovers.delete(address);
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
