/** The watch feed of one overlay: what the store's watch() tells goes into the native table, for as long as it is served. */
import { onAbort, untilAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import type { Change, Endpoint, Store, WatchOptions, Where } from '../store/contract.js';
import { isScoped } from '../store/index.js';
import type { SessionContext } from './lookups.js';

export class WatchFeed {
  readonly #context: SessionContext;
  readonly #otherNetwork: () => Where | undefined;

  /** @param otherNetwork an overlay of another network that is served from the same store */
  constructor(context: SessionContext, otherNetwork: () => Where | undefined) {
    this.#context = context;
    this.#otherNetwork = otherNetwork;
  }

  /** Feeds the native table from the store's watch, for as long as the overlay is served. */
  async run(ready: () => void): Promise<void> {
    const signal = this.#context.stopped;
    let pause = 100;
    while (!signal.aborted) {
      try {
        const watch = this.#context.store.watch as NonNullable<Store['watch']>;
        const { options, looked } = watchOptions(this.#context.where, signal);
        for await (const change of untilAborted(watch.call(this.#context.store, options), signal)) {
          if (!looked()) this.#refuseShared();
          await this.#apply(change);
          this.#context.health.up();
          pause = 100;
          ready();
        }
        if (signal.aborted) break;
        throw new OvernsError('OVERNS_STORE', 'the watch of the store ended');
      } catch (error) {
        if (signal.aborted) break;
        this.#context.health.down(error as Error);
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
  }

  /** A store that was not told apart whose changes are wanted cannot know which network they are of. */
  #refuseShared(): void {
    const other = isScoped(this.#context.store) ? undefined : this.#otherNetwork();
    if (other === undefined) return;
    throw new OvernsError(
      'OVERNS_SCOPE',
      `the store's watch() looks at neither overlay nor vni: what it gives may be of overlay "${other.overlay}" (vni ${other.vni}) as well as of "${this.#context.where.overlay}" (vni ${this.#context.where.vni})`,
      { hint: 'give what belongs to the overlay that `watch()` is told, or a store to each overlay' },
    );
  }

  async #apply(change: Change): Promise<void> {
    const { thread, id } = this.#context;
    switch (change.kind) {
      case 'reset': {
        const flat: string[] = [];
        for (const endpoint of change.endpoints) flatten(endpoint, flat);
        await thread.reset(id, flat);
        break;
      }
      case 'put': {
        const flat: string[] = [];
        flatten(change.endpoint, flat);
        thread.put(id, flat);
        break;
      }
      case 'delete':
        if (change.ip !== undefined) thread.forget(id, change.ip);
        if (change.mac !== undefined) thread.forget(id, change.mac);
        break;
    }
  }
}

/** What a watch is told, and whether the store has looked at which overlay it is about. */
function watchOptions(where: Where, signal: AbortSignal): { options: WatchOptions; looked(): boolean } {
  let looked = false;
  const told = <T>(value: T): T => {
    looked = true;
    return value;
  };
  const options: WatchOptions = {
    get overlay() {
      return told(where.overlay);
    },
    get vni() {
      return told(where.vni);
    },
    signal,
    // Not what keeps the process alive: the resolver does, unless unref() was called.
    ref: false,
  };
  return { options, looked: () => looked };
}

/** ip, mac, vtep for each address of the endpoint. */
function flatten(endpoint: Endpoint, into: string[]): void {
  for (const ip of endpoint.ips ?? [endpoint.ip]) into.push(ip, endpoint.mac, endpoint.vtep);
}
