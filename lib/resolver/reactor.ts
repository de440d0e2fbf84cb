/** The resolver thread of a machine in this environment, shared by all its resolvers: started with the first, ended with the last. */
import { OvernsError } from '../core/errors.js';
import { errnoName } from '../system/kernel-error.js';
import type { NativeEvent, NativeLookup, NativeReactor } from '../system/native.js';
import type { System } from '../system/system.js';

/** One overlay's side of the thread. */
export interface ReactorClient {
  onEvents(events: readonly NativeEvent[]): void;
  onLookups(lookups: readonly NativeLookup[]): void;
  /** The thread had events that this process did not take in time; which overlay's is not known. */
  onOverflow(dropped: number): void;
}

interface Shared {
  readonly thread: NativeReactor;
  readonly clients: Map<number, ReactorClient>;
  /** Called when it has ended by itself. */
  readonly deaths: Set<(error: Error) => void>;
  /** When each of those that may open overlays at the same time is free. */
  readonly turns: Promise<unknown>[];
  users: number;
  references: number;
}

const threads = new WeakMap<System, Shared>();

function start(system: System): Shared {
  const clients = new Map<number, ReactorClient>();
  const deaths = new Set<(error: Error) => void>();
  const thread = new system.native.Reactor((events, lookups, overflow, failure = 0) => {
    byOverlay(lookups, (id, list) => clients.get(id)?.onLookups(list));
    byOverlay(events, (id, list) => clients.get(id)?.onEvents(list));
    if (overflow > 0) for (const client of clients.values()) client.onOverflow(overflow);
    if (failure === 0) return;
    // A client that starts anew gets another thread.
    if (threads.get(system)?.thread === thread) threads.delete(system);
    const code = errnoName(-failure);
    for (const died of [...deaths]) {
      died(
        new OvernsError(code, `the resolver thread has ended: ${code} (epoll_wait)`, {
          hint: 'something in this process has closed a file descriptor that is not its own; start another resolver',
        }),
      );
    }
  });
  thread.unref();
  const started = { thread, clients, deaths, turns: [Promise.resolve(), Promise.resolve()], users: 0, references: 0 };
  threads.set(system, started);
  return started;
}

/** Hands each overlay its own; nearly always there is one. */
function byOverlay<T extends { readonly overlay: number }>(
  items: readonly T[],
  give: (id: number, list: readonly T[]) => void,
): void {
  const first = items[0];
  if (first === undefined) return;
  if (items.length === 1 || items.every((item) => item.overlay === first.overlay)) {
    give(first.overlay, items);
    return;
  }
  const lists = new Map<number, T[]>();
  for (const item of items) {
    const list = lists.get(item.overlay);
    if (list) list.push(item);
    else lists.set(item.overlay, [item]);
  }
  for (const [id, list] of lists) give(id, list);
}

/** A resolver's hold on the thread. */
export class ReactorLease {
  readonly #system: System;
  readonly #shared: Shared;
  #referenced = false;
  #released = false;

  readonly #died: (error: Error) => void;

  /** @param died called when the thread has ended by itself; the lease is to be released then */
  constructor(system: System, died: (error: Error) => void) {
    this.#system = system;
    this.#died = died;
    this.#shared = threads.get(system) ?? start(system);
    this.#shared.users++;
    this.#shared.deaths.add(died);
  }

  get thread(): NativeReactor {
    return this.#shared.thread;
  }

  /** Serves one more overlay, under an id of newId(). What happens from its first moment on reaches the client. */
  async add(
    id: number,
    options: Parameters<NativeReactor['add']>[1],
    client: ReactorClient,
  ): Promise<{ readonly noPunt?: string; readonly kept: readonly string[] }> {
    this.#shared.clients.set(id, client);
    try {
      return await this.#opening(() => this.#shared.thread.add(id, options));
    } catch (error) {
      await this.remove(id);
      throw error;
    }
  }

  /** Returns its counters, once the client has been told of all that it was still to hear. */
  async remove(id: number): Promise<Record<string, number>> {
    const counted = await this.#shared.thread.remove(id);
    this.#shared.clients.delete(id);
    return counted;
  }

  /** Opening blocks a thread of libuv's pool, which others need as well: two at once. */
  async #opening<T>(work: () => Promise<T>): Promise<T> {
    const { turns } = this.#shared;
    const turn = turns.shift() as Promise<unknown>;
    const done = turn.then(work);
    turns.push(done.catch(() => {}));
    return done;
  }

  ref(): void {
    if (this.#referenced || this.#released) return;
    this.#referenced = true;
    if (this.#shared.references++ === 0) this.#shared.thread.ref();
  }

  unref(): void {
    if (!this.#referenced) return;
    this.#referenced = false;
    if (--this.#shared.references === 0) this.#shared.thread.unref();
  }

  release(): void {
    if (this.#released) return;
    this.unref();
    this.#released = true;
    this.#shared.deaths.delete(this.#died);
    if (--this.#shared.users > 0) return;
    this.#shared.thread.close();
    if (threads.get(this.#system) === this.#shared) threads.delete(this.#system);
  }
}
