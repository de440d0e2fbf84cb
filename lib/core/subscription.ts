/**
 * The bounded queue between a source of events and one consumer. The source gets a {@link BoundedQueue}, the consumer
 * a {@link Subscription}; neither ever waits for the other, and what does not fit is counted.
 */
import { type Cancel, checkSignal } from './abort.js';
import { type BoundedQueue, type Opened, Queue, type Source } from './bounded-queue.js';
import { OvernsError } from './errors.js';
import { checkOptions, integer, oneOf, type Shape } from './options.js';

/**
 * The bounded queue that stands between a source of events and one consumer.
 * @example
 * ```ts
 * import type { QueueOptions } from 'overns';
 *
 * const latest: QueueOptions = { maxQueue: 1, overflow: 'drop-oldest' };
 * console.log(latest.maxQueue); // 1
 * ```
 */
export interface QueueOptions extends Cancel {
  /** Events held at most, 1 to 2^20. Default 1024. */
  readonly maxQueue?: number | undefined;
  /** Which event gives way when the queue is full. Default `drop-oldest`. */
  readonly overflow?: 'drop-oldest' | 'drop-newest' | undefined;
}

/**
 * One consumer's own bounded stream of events. Aborting rejects the pending `next()` with AbortError.
 * @example
 * ```ts
 * import type { Miss, Subscription } from 'overns';
 *
 * async function first(misses: Subscription<Miss>): Promise<Miss | undefined> {
 *   for await (const miss of misses) return miss;
 *   return undefined;
 * }
 * console.log(first.name); // first
 * ```
 */
export interface Subscription<E> extends AsyncIterableIterator<E>, AsyncDisposable {
  /** The same events, in arrays: the first at once, bursts together. */
  batches(): AsyncIterable<readonly E[]>;
  /** Events this consumer lost because its queue was full. */
  readonly dropped: number;
  /** Lets what is subscribed to keep the process alive again, as it does from the start. */
  ref(): this;
  /**
   * Lets the process end although what is subscribed to may still tell of something. What else keeps it alive, as a resolver
   * does, has an `unref()` of its own.
   */
  unref(): this;
}

/** Events held when the caller does not say. */
export const MAX_QUEUE_DEFAULT = 1024;
/** The most that a caller may ask for. */
export const MAX_QUEUE_LIMIT = 2 ** 20;

/**
 * Makes a subscription and hands its queue to the source.
 *
 * `open` is called at once, and what it returns is closed exactly once: when the consumer leaves (`break`, `return()`,
 * disposal, abort) or when the source ends the stream. That should do no more than stop the conversion of events, and not
 * throw. If the signal is aborted already, the source is not opened at all.
 *
 * The consumer's side:
 * - `next()` calls that overlap are served in the order they were made.
 * - Abort discards what is queued: every waiting `next()` rejects with AbortError (code `ABORT_ERR`), or the next call
 *   if none waits; after that the stream is done.
 * - One iteration at a time: a second `for await`, or single events and `batches()` mixed, fail with
 *   `OVERNS_ITERATING`, for each would silently miss what the other reads. Calls of `next()` before a `for await` are
 *   fine.
 */
export function createSubscription<E>(
  options: QueueOptions | undefined,
  open: (queue: BoundedQueue<E>) => Opened,
  source: Source<E> = {},
): Subscription<E> {
  const { maxQueue = MAX_QUEUE_DEFAULT, overflow = 'drop-oldest', signal } = checkOptions(options, queueOptions);
  const queue = new Queue<E>(maxQueue, overflow, signal, source);
  if (!signal?.aborted) {
    try {
      queue.opened(open(queue));
      queue.recover();
    } catch (error) {
      queue.leave();
      throw error;
    }
  }
  return new Reader(queue);
}

/** The options of everything that returns a Subscription. */
export const queueOptions = {
  maxQueue: integer(1, MAX_QUEUE_LIMIT),
  overflow: oneOf('drop-oldest', 'drop-newest'),
  signal: checkSignal,
} satisfies Shape;

/** The consumer's side. */
class Reader<E> implements Subscription<E> {
  readonly #queue: Queue<E>;
  #mode: 'events' | 'batches' | undefined;
  #iterating = false;

  constructor(queue: Queue<E>) {
    this.#queue = queue;
  }

  get dropped(): number {
    return this.#queue.dropped;
  }

  ref(): this {
    this.#queue.ref();
    return this;
  }

  unref(): this {
    this.#queue.unref();
    return this;
  }

  next(): Promise<IteratorResult<E, undefined>> {
    if (this.#mode === 'batches' && !this.#queue.done) return Promise.reject(iterating());
    this.#mode = 'events';
    return this.#queue.next(false) as Promise<IteratorResult<E, undefined>>;
  }

  return(): Promise<IteratorResult<E, undefined>> {
    this.#queue.leave();
    return Promise.resolve({ done: true, value: undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue.leave();
  }

  [Symbol.asyncIterator](): this {
    if ((this.#iterating || this.#mode === 'batches') && !this.#queue.done) throw iterating();
    this.#mode = 'events';
    this.#iterating = true;
    return this;
  }

  batches(): AsyncIterable<readonly E[]> {
    return {
      [Symbol.asyncIterator]: (): AsyncIterator<readonly E[], undefined> => {
        if (this.#mode !== undefined && !this.#queue.done) throw iterating();
        this.#mode = 'batches';
        return {
          next: () => this.#queue.next(true) as Promise<IteratorResult<readonly E[], undefined>>,
          return: () => {
            this.#queue.leave();
            return Promise.resolve({ done: true, value: undefined });
          },
        };
      },
    };
  }
}

function iterating(): OvernsError {
  return new OvernsError('OVERNS_ITERATING', 'this subscription is being read already', {
    hint: 'subscribe again: every subscription has a queue of its own',
  });
}
