/**
 * Keeps a resolver with the overlays of a machine: one that is removed is let go of, one that comes back or is new is
 * served, and one that cannot be served keeps no other from it and is tried again.
 */

import type { NetnsRef } from '../netns/references.js';
import { netnsIdentity } from '../netns/references.js';
import { watchNetns } from '../netns/watch.js';
import { Overlay } from '../overlay/overlay.js';
import { isNoOverlay } from '../overlay/state.js';
import { surveyOverlays } from '../overlay/survey.js';
import { queryResolver } from '../resolver/remote.js';
import type { Resolver } from '../resolver/resolver.js';

/** When a namespace that came or went is looked at, milliseconds afterwards: making an overlay takes a moment. */
const LOOKS = [20, 100, 500, 2000, 5000];
/** How often what could not be served is tried again, milliseconds. */
const RETRY_MS = 5000;

interface Served {
  readonly overlay: Overlay;
  readonly identity: string | undefined;
}

/** What became of an overlay. `refused` is told once for each reason. */
export type FollowerEvent = { readonly overlay: string } & (
  | { readonly kind: 'serving' | 'gone' }
  | { readonly kind: 'elsewhere'; readonly pid: number }
  | { readonly kind: 'refused'; readonly error: Error }
);

export interface FollowerOptions {
  readonly resolver: Resolver;
  /** The overlays to be served whenever they are there; undefined: all. */
  readonly names: ReadonlySet<string> | undefined;
  readonly host: NetnsRef | undefined;
  tell(event: FollowerEvent): void;
}

export class Follower implements AsyncDisposable {
  readonly #options: FollowerOptions;
  readonly #served = new Map<string, Served>();
  /** By name: the look that is due next. */
  readonly #due = new Map<string, NodeJS.Timeout>();
  /** By name: the looks under way, one after the other. */
  readonly #work = new Map<string, Promise<unknown>>();
  /** By name: why it cannot be served, as it was told. */
  readonly #refused = new Map<string, string>();
  #retry: NodeJS.Timeout | undefined;
  #watcher: { close(): void } | undefined;
  #closed = false;

  /** @param overlays what the resolver serves already; they are closed with the follower */
  static async start(overlays: readonly Overlay[], options: FollowerOptions): Promise<Follower> {
    const follower = new Follower(options);
    for (const overlay of overlays)
      follower.#served.set(overlay.name, { overlay, identity: await identityOf(overlay) });
    follower.#watcher = watchNetns((_action, name) => follower.#changed(name));
    if (options.names === undefined) {
      const { found, failed } = await surveyOverlays(undefined);
      for (const { overlay, error } of failed) follower.#refuse(overlay, error);
      await Promise.all(found.map(({ overlay }) => follower.#enqueue(overlay)));
    }
    follower.#retry = setInterval(() => follower.#again(), RETRY_MS);
    return follower;
  }

  private constructor(options: FollowerOptions) {
    this.#options = options;
  }

  #wanted(name: string): boolean {
    return this.#options.names?.has(name) ?? true;
  }

  #changed(name: string): void {
    if (this.#served.has(name) || this.#wanted(name)) this.#lookLater(name, 0);
  }

  #again(): void {
    for (const name of this.#refused.keys()) if (!this.#due.has(name)) void this.#enqueue(name);
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
  #enqueue(name: string): Promise<boolean> {
    const look = (this.#work.get(name) ?? Promise.resolve()).then(() => this.#closed || this.#look(name));
    const done = look.finally(() => {
      if (this.#work.get(name) === done) this.#work.delete(name);
    });
    this.#work.set(name, done);
    return done;
  }

  async #look(name: string): Promise<boolean> {
    const { resolver, host, tell } = this.#options;
    let overlay: Overlay | undefined;
    let refusal: Error | undefined;
    try {
      overlay = await Overlay.open(name, host === undefined ? {} : { host });
    } catch (error) {
      if (!isNoOverlay(error) && (error as NodeJS.ErrnoException).code !== 'ENOENT') refusal = error as Error;
    }
    try {
      const identity = overlay && (await identityOf(overlay));
      const served = this.#served.get(name);
      if (served !== undefined) {
        // What cannot be opened may be there still, its vxlan device gone for a moment: the resolver sees to that.
        const current = identity ?? (await identityOf(served.overlay));
        if (current === served.identity) return identity !== undefined;
        // Held open here it would live on without its name, and keep its VNI.
        this.#served.delete(name);
        await resolver.remove(name);
        await served.overlay.close();
        tell({ overlay: name, kind: 'gone' });
      }
      if (!this.#wanted(name)) return false;
      if (overlay === undefined) {
        if (refusal) this.#refuse(name, refusal);
        else this.#refused.delete(name);
        return false;
      }
      const other = await queryResolver(name).catch(() => undefined);
      if (other !== undefined) {
        if (this.#refused.get(name) !== ELSEWHERE) tell({ overlay: name, kind: 'elsewhere', pid: other.pid });
        this.#refused.set(name, ELSEWHERE); // it may end, and nobody would tell of it
        return true;
      }
      await resolver.add(overlay);
      this.#served.set(name, { overlay, identity });
      this.#refused.delete(name);
      overlay = undefined;
      tell({ overlay: name, kind: 'serving' });
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

  #refuse(name: string, error: Error): void {
    const told = this.#refused.get(name);
    this.#refused.set(name, error.message);
    if (told !== error.message) this.#options.tell({ overlay: name, kind: 'refused', error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#retry);
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    await Promise.all(this.#work.values());
    for (const { overlay } of this.#served.values()) await overlay.close();
    this.#served.clear();
  }
}

/** Stands for a reason: another process serves it. */
const ELSEWHERE = 'elsewhere';

/** Undefined when the name leads nowhere any more. */
async function identityOf({ netns }: Overlay): Promise<string | undefined> {
  return netnsIdentity(netns).catch(() => undefined);
}
