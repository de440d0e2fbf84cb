/** Keeps an agent with its overlays: one that is removed is let go of, one that comes back or is new is served. */
import { Overlay, type Resolver } from '../index.js';
import { netnsIdentity } from '../netns.js';
import { watchNetns } from '../netns-watch.js';
import { queryResolver } from '../resolver.js';
import type { NetnsRef } from '../types.js';
import type { Log } from './output.js';

/** When a namespace that came or went is looked at, milliseconds afterwards: making an overlay takes a moment. */
const LOOKS = [20, 100, 500, 2000, 5000];

interface Served {
  readonly overlay: Overlay;
  readonly identity: string | undefined;
}

export interface FollowOptions {
  readonly resolver: Resolver;
  /** True for an overlay that is to be served when it appears. */
  readonly wanted: (name: string) => boolean;
  readonly host: NetnsRef | undefined;
  readonly log: Log;
}

export class Follower implements AsyncDisposable {
  readonly #options: FollowOptions;
  readonly #served = new Map<string, Served>();
  /** By name: the look that is due next. */
  readonly #due = new Map<string, NodeJS.Timeout>();
  #watcher: { close(): void } | undefined;
  #work = Promise.resolve();
  #closed = false;

  /** @param overlays what the resolver serves already; they are closed with the follower */
  static async start(overlays: readonly Overlay[], options: FollowOptions): Promise<Follower> {
    const follower = new Follower(options);
    for (const overlay of overlays)
      follower.#served.set(overlay.name, { overlay, identity: await identityOf(overlay) });
    follower.#watcher = watchNetns((_action, name) => follower.#changed(name));
    return follower;
  }

  private constructor(options: FollowOptions) {
    this.#options = options;
  }

  #changed(name: string): void {
    if (this.#served.has(name) || this.#options.wanted(name)) this.#lookLater(name, 0);
  }

  #lookLater(name: string, look: number): void {
    clearTimeout(this.#due.get(name));
    this.#due.delete(name);
    const delay = LOOKS[look];
    if (delay === undefined || this.#closed) return;
    const timer = setTimeout(() => {
      this.#due.delete(name);
      // One after the other: two looks at one name must not cross.
      this.#work = this.#work.then(async () => {
        if (this.#closed || (await this.#look(name)) || this.#due.has(name)) return;
        this.#lookLater(name, look + 1);
      });
    }, delay);
    this.#due.set(name, timer);
  }

  /** True if there is nothing more to wait for. */
  async #look(name: string): Promise<boolean> {
    const { resolver, wanted, host, log } = this.#options;
    let overlay: Overlay | undefined;
    try {
      overlay = await Overlay.open(name, host === undefined ? {} : { host });
    } catch (error) {
      log.debug(`overlay ${name}: ${(error as Error).message}`);
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
        log.info(`overlay ${name} is gone, and not served any more`);
      }
      if (overlay === undefined || !wanted(name)) return false;
      const other = await queryResolver(name).catch(() => undefined);
      if (other !== undefined) {
        log.info(`overlay ${name} is served by another agent (pid ${other.pid})`);
        return true;
      }
      await resolver.add(overlay);
      this.#served.set(name, { overlay, identity });
      overlay = undefined;
      log.info(`serving overlay ${name}`);
      return true;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // The agent is ending.
      if (code === 'OVERNS_CLOSED') return true;
      log.warn(`overlay ${name} cannot be served: ${message}`);
      return false;
    } finally {
      await overlay?.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    await this.#work;
    for (const { overlay } of this.#served.values()) await overlay.close();
    this.#served.clear();
  }
}

/** Undefined when the name leads nowhere any more. */
async function identityOf({ netns }: Overlay): Promise<string | undefined> {
  return netnsIdentity(netns).catch(() => undefined);
}
