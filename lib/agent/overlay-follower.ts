/**
 * Keeps a resolver with the overlays of a machine: one that is removed is let go of, one that comes back, is new or is left
 * by another process is served, and one that cannot be served keeps no other from it and is tried again.
 */

import type { Cancel } from '../core/abort.js';
import { checkSignal, throwIfAborted } from '../core/abort.js';
import { checkOverlayName } from '../core/address.js';
import { invalidType } from '../core/errors.js';
import { boolean, checkOptions, type Shape, unchecked } from '../core/options.js';
import type { NetnsRef } from '../netns/references.js';
import { netnsIdentity } from '../netns/references.js';
import { watchNetns } from '../netns/watch.js';
import { isNoOverlay } from '../overlay/contents.js';
import { Overlay } from '../overlay/overlay.js';
import { surveyOverlays } from '../overlay/survey.js';
import { queryResolver } from '../resolver/remote.js';
import type { Resolver } from '../resolver/resolver.js';

/** When a namespace that came or went is looked at, milliseconds afterwards: making an overlay takes a moment. */
const LOOKS = [20, 100, 500, 2000, 5000];
/** How often what could not be served is tried again, milliseconds. */
const RETRY_MS = 5000;

interface FollowedOverlay {
  readonly overlay: Overlay;
  readonly identity: string | undefined;
}

/**
 * A change of an overlay: it is served (`serving`), it is gone, another process serves it (`elsewhere`), or it cannot
 * be served (`refused`), which is told once for each reason.
 * @example
 * ```ts
 * import type { FollowerEvent } from 'overns';
 *
 * const line = (event: FollowerEvent): string =>
 *   event.kind === 'refused' ? `${event.overlay}: ${event.error.message}` : `${event.overlay}: ${event.kind}`;
 * console.log(line({ overlay: 'blue', kind: 'serving' })); // blue: serving
 * ```
 */
export type FollowerEvent = { readonly overlay: string } & (
  | { readonly kind: 'serving' | 'gone' }
  | { readonly kind: 'elsewhere'; readonly pid: number }
  | { readonly kind: 'refused'; readonly error: Error }
);

/**
 * Options of a follower: what is followed, and by which resolver.
 * @example
 * ```ts
 * import { type FollowerOptions, Resolver } from 'overns';
 *
 * await using resolver = await Resolver.start({ store: { lookup: () => null } });
 * const options: FollowerOptions = { resolver, names: ['blue', 'red'] };
 * console.log(options.names?.length); // 2
 * ```
 */
export interface FollowerOptions extends Cancel {
  /** Serves the overlays, those of its machine. It has a store of its own, and stays open when the follower is closed. */
  readonly resolver: Resolver;
  /** The overlays to be served whenever they are there. Default: all of this machine. */
  readonly names?: readonly string[] | undefined;
  /** Overlays that the resolver serves already; they are closed with the follower. */
  readonly overlays?: readonly Overlay[] | undefined;
  /**
   * Take overlays from the resolvers that serve them when the follower starts. Default false: they are told of as
   * `elsewhere`, and served once those have ended.
   */
  readonly takeover?: boolean | undefined;
  /** The namespace that is their host, where it is not found. */
  readonly host?: NetnsRef | undefined;
  /** Told of what becomes of overlays; with `serving` comes the overlay as it was opened, which stays the follower's. */
  readonly tell?: ((event: FollowerEvent, overlay?: Overlay) => void) | undefined;
}

const followerOptions = {
  resolver: [checkResolver],
  names: checkNames,
  overlays: unchecked<readonly Overlay[]>(),
  takeover: boolean,
  host: unchecked<NetnsRef>(),
  tell: (value: unknown, name: string) => {
    if (typeof value !== 'function') throw invalidType(name, value, 'a function');
    return value as NonNullable<FollowerOptions['tell']>;
  },
  signal: checkSignal,
} satisfies Shape;

function checkResolver(value: unknown, name: string): Resolver {
  if (value === null || typeof value !== 'object' || typeof (value as Resolver).add !== 'function')
    throw invalidType(name, value, 'a Resolver');
  return value as Resolver;
}

export function checkNames(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array of names');
  return value.map((each, at) => checkOverlayName(each, `${name}[${at}]`));
}

/**
 * Keeps a resolver with the overlays of a machine, as `overns agent` does: one that is removed is let go of, one that comes
 * back or is new is served, and one that cannot be served keeps no other from it and is tried again. So is one that another
 * process serves, or has taken over: it is served again when that one ends.
 * @example
 * ```ts
 * import { type FollowerEvent, Overlay, OverlayFollower, Resolver } from 'overns';
 *
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
 * await using resolver = await Resolver.start({ store: { lookup: () => null } });
 * const events: FollowerEvent[] = [];
 * await using follower = await OverlayFollower.start({ resolver, tell: (event) => events.push(event) });
 * console.log(events[0]?.kind, events[0]?.overlay); // serving blue
 * ```
 */
export class OverlayFollower implements AsyncDisposable {
  readonly #resolver: Resolver;
  readonly #names: ReadonlySet<string> | undefined;
  readonly #host: NetnsRef | undefined;
  readonly #tell: NonNullable<FollowerOptions['tell']>;
  readonly #followed = new Map<string, FollowedOverlay>();
  /** By name: the look that is due next. */
  readonly #due = new Map<string, NodeJS.Timeout>();
  /** By name: the looks under way, one after the other. */
  readonly #work = new Map<string, Promise<unknown>>();
  /** By name: why it cannot be served, as it was told. */
  readonly #refused = new Map<string, string>();
  #retry: NodeJS.Timeout | undefined;
  #watcher: { close(): void } | undefined;
  #closed = false;

  /**
   * Begins to follow. Fulfils once all that is there has been tried.
   * @throws TypeError, RangeError; AbortError
   * @example
   * ```ts
   * import { OverlayFollower, Resolver } from 'overns';
   *
   * await using resolver = await Resolver.start({ store: { lookup: () => null } });
   * const wrong = await OverlayFollower.start({ resolver, names: ['a/b'] }).catch((error) => error);
   * console.log(wrong.code); // ERR_INVALID_ARG_VALUE
   * ```
   */
  static async start(options: FollowerOptions): Promise<OverlayFollower> {
    const { overlays = [], takeover = false, signal, ...checked } = checkOptions(options, followerOptions);
    throwIfAborted(signal);
    const { system } = checked.resolver;
    const follower = new OverlayFollower(checked);
    try {
      for (const overlay of overlays)
        follower.#followed.set(overlay.name, { overlay, identity: await identityOf(overlay) });
      follower.#watcher = watchNetns(system, (_action, name) => follower.#changed(name));
      follower.#retry = setInterval(() => follower.#again(), RETRY_MS);
      if (checked.names === undefined) {
        const { found, failed } = await surveyOverlays(system, signal);
        for (const { overlay, error } of failed) follower.#refuse(overlay, error);
        await Promise.all(found.map(({ overlay }) => follower.#enqueue(overlay, takeover)));
      } else {
        const missing = checked.names.filter((name) => !follower.#followed.has(name));
        await Promise.all(missing.map((name) => follower.#enqueue(name, takeover)));
      }
      throwIfAborted(signal);
    } catch (error) {
      await follower[Symbol.asyncDispose]();
      throw error;
    }
    return follower;
  }

  private constructor({ resolver, names, host, tell }: Omit<FollowerOptions, 'overlays' | 'takeover' | 'signal'>) {
    this.#resolver = resolver;
    this.#names = names && new Set(names);
    this.#host = host;
    this.#tell = tell ?? (() => {});
  }

  /** Overlays that the resolver serves; those that another has taken from it are not among them. */
  get #serving(): ReadonlySet<string> {
    return new Set(this.#resolver.overlays().map(({ overlay }) => overlay));
  }

  #wanted(name: string): boolean {
    return this.#names?.has(name) ?? true;
  }

  #changed(name: string): void {
    if (this.#followed.has(name) || this.#wanted(name)) this.#lookLater(name, 0);
  }

  #again(): void {
    const serving = this.#serving;
    const taken = [...this.#followed.keys()].filter((name) => !serving.has(name));
    for (const name of [...this.#refused.keys(), ...taken]) if (!this.#due.has(name)) void this.#enqueue(name);
  }

  #lookLater(name: string, look: number): void {
    clearTimeout(this.#due.get(name));
    this.#due.delete(name);
    const delay = LOOKS[look];
    if (delay === undefined || this.#closed) return;
    const timer = setTimeout(async () => {
      this.#due.delete(name);
      if ((await this.#enqueue(name)) || this.#due.has(name)) return;
      this.#lookLater(name, look + 1);
    }, delay);
    this.#due.set(name, timer);
  }

  /** Two looks at one name must not cross. True if there is nothing more to wait for. */
  #enqueue(name: string, takeover = false): Promise<boolean> {
    const look = (this.#work.get(name) ?? Promise.resolve()).then(() => this.#closed || this.#look(name, takeover));
    const done = look.finally(() => {
      if (this.#work.get(name) === done) this.#work.delete(name);
    });
    this.#work.set(name, done);
    return done;
  }

  async #look(name: string, takeover: boolean): Promise<boolean> {
    const resolver = this.#resolver;
    const host = this.#host;
    let overlay: Overlay | undefined;
    let refusal: Error | undefined;
    try {
      overlay = await Overlay.open(name, { host, system: resolver.system });
    } catch (error) {
      if (!isNoOverlay(error) && (error as NodeJS.ErrnoException).code !== 'ENOENT') refusal = error as Error;
    }
    try {
      const identity = overlay && (await identityOf(overlay));
      const followed = this.#followed.get(name);
      if (followed !== undefined) {
        // An overlay that cannot be opened may be there still, its vxlan device gone for a moment: the resolver sees to that.
        const current = identity ?? (await identityOf(followed.overlay));
        const same = current === followed.identity;
        if (same && this.#serving.has(name)) {
          this.#refused.delete(name);
          return identity !== undefined;
        }
        // Held open here it would live on without its name, and keep its VNI.
        this.#followed.delete(name);
        await resolver.remove(name);
        await followed.overlay.close();
        if (!same) this.#tell({ overlay: name, kind: 'gone' });
      }
      if (!this.#wanted(name)) return false;
      if (overlay === undefined) {
        if (refusal) this.#refuse(name, refusal);
        // What was told of it holds no longer.
        else if (this.#refused.delete(name)) this.#tell({ overlay: name, kind: 'gone' });
        return false;
      }
      const other = takeover
        ? undefined
        : await queryResolver(name, { system: resolver.system }).catch(() => undefined);
      if (other !== undefined) {
        if (this.#refused.get(name) !== ELSEWHERE) this.#tell({ overlay: name, kind: 'elsewhere', pid: other.pid });
        this.#refused.set(name, ELSEWHERE); // it may end, and nobody would tell of it
        return true;
      }
      await resolver.add(overlay, undefined, { takeover });
      const opened = overlay;
      overlay = undefined;
      this.#followed.set(name, { overlay: opened, identity });
      this.#refused.delete(name);
      this.#tell({ overlay: name, kind: 'serving' }, opened);
      return true;
    } catch (error) {
      // The agent is ending.
      if ((error as NodeJS.ErrnoException).code === 'OVERNS_CLOSED') return true;
      this.#refuse(name, error as Error);
      return false;
    } finally {
      await overlay?.close();
    }
  }

  /**
   * Opens an overlay anew that is followed, as it is by now, and serves it so: it may have another VTEP. What the kernel has stays.
   * @example
   * ```ts
   * import { Overlay, OverlayFollower, Resolver } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using resolver = await Resolver.start({ store: { lookup: () => null } });
   * await using follower = await OverlayFollower.start({ resolver });
   * await follower.reopen('blue');
   * console.log(resolver.overlays().map(({ overlay }) => overlay)); // [ 'blue' ]
   * ```
   */
  async reopen(name: string): Promise<void> {
    const before = this.#work.get(name) ?? Promise.resolve();
    const letGo = before.then(async () => {
      const followed = this.#followed.get(name);
      if (followed === undefined || this.#closed) return;
      this.#followed.delete(name);
      await this.#resolver.remove(name);
      await followed.overlay.close();
    });
    this.#work.set(name, letGo);
    await letGo;
    await this.#enqueue(name);
  }

  #refuse(name: string, error: Error): void {
    const before = this.#refused.get(name);
    this.#refused.set(name, error.message);
    if (before !== error.message) this.#tell({ overlay: name, kind: 'refused', error });
  }

  /** Stops following, and closes the overlays that it has opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#retry);
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    await Promise.all(this.#work.values());
    for (const { overlay } of this.#followed.values()) await overlay.close();
    this.#followed.clear();
  }
}

/** Stands for a reason: another process serves it. */
const ELSEWHERE = 'elsewhere';

/** Undefined when the name leads nowhere any more. */
async function identityOf({ netns, system }: Overlay): Promise<string | undefined> {
  return netnsIdentity(system, netns).catch(() => undefined);
}
