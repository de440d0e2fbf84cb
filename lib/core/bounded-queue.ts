/** The queue of a subscription: bounded, with a note where events were lost, and recovery after that. */
import { abortError, onAbort } from './abort.js';

/** A source's side of a subscription. */
export interface BoundedQueue<E> {
  /** Queues one event. False once the subscription is closed: nobody will read it. Never throws. */
  push(event: E): boolean;
  /** Queues a burst, which a waiting `batches()` gets as one array. */
  pushAll(events: readonly E[]): boolean;
  /**
   * Says that the source itself has lost `count` events: the stream tells of it as of events that did not fit.
   */
  lose(count: number): void;
  /** Ends the stream once the consumer has read what is queued. */
  end(): void;
  /** Fails the stream once the consumer has read what is queued. */
  fail(error: unknown): void;
  /** True once nothing more is wanted. */
  readonly closed: boolean;
}

/** A source that is open: what stops it, and whether it keeps the process alive, where it does. */
export interface Opened {
  close(): void;
  ref?(): void;
  unref?(): void;
}

/** How a source takes part. */
export interface Source<E> {
  /**
   * Makes the event that stands in the stream where `dropped` events were lost. Without it a loss shows in
   * `Subscription.dropped` only.
   */
  readonly overflow?: (dropped: number) => E;
  /**
   * Makes good for a loss, when the consumer has been told of it: what this resolves to stands in the stream next,
   * before everything that is pushed from this call on. Until then, what is pushed is dropped, for it will be made good
   * too; so the newest events give way, whatever the options say. Called once at the start as well. When it rejects,
   * the stream fails.
   */
  readonly recover?: () => Promise<E>;
}

/** A growing ring: push and shift in constant time (amortised), slots cleared as they are read. */
class Ring<T> {
  #slots: (T | undefined)[] = new Array(16);
  #head = 0;
  length = 0;

  push(value: T): void {
    if (this.length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.length) & (this.#slots.length - 1)] = value;
    this.length++;
  }

  /** The oldest value. Only for a ring that is not empty. */
  shift(): T {
    const value = this.#slots[this.#head] as T;
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.length--;
    return value;
  }

  clear(): void {
    this.#slots = new Array(16);
    this.#head = 0;
    this.length = 0;
  }

  #grow(): void {
    const size = this.#slots.length;
    const slots = new Array<T | undefined>(size * 2);
    for (let at = 0; at < size; at++) slots[at] = this.#slots[(this.#head + at) & (size - 1)];
    this.#slots = slots;
    this.#head = 0;
  }
}

type Result<E> = IteratorResult<E | readonly E[], undefined>;

interface Waiter<E> {
  readonly batch: boolean;
  resolve(result: Result<E>): void;
  reject(error: unknown): void;
}

export class Queue<E> implements BoundedQueue<E> {
  readonly #max: number;
  readonly #dropOldest: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #marker: ((dropped: number) => E) | undefined;
  readonly #recover: (() => Promise<E>) | undefined;
  /** The event that recovery gave, to be read before the queue. */
  #recovered: { readonly event: E } | undefined;
  #recovering = false;
  readonly #events = new Ring<E>();
  /** Calls of next() that wait. Never any while something can be read. */
  readonly #waiters = new Ring<Waiter<E>>();
  readonly #ignoreSignal: () => void;
  #source: Opened | undefined;
  #failure: { readonly error: unknown } | undefined;
  /** Events that left the queue so far: the position of the oldest one held. */
  #position = 0;
  /** Events lost that the stream has not told of, and the position that they are missing from. */
  #lost = 0;
  #gap = 0;
  dropped = 0;
  /** The source's end: nothing more comes in. */
  closed = false;
  /** The consumer's end: nothing more goes out. */
  done = false;

  constructor(
    max: number,
    overflow: 'drop-oldest' | 'drop-newest',
    signal: AbortSignal | undefined,
    source: Source<E>,
  ) {
    this.#max = max;
    this.#dropOldest = overflow === 'drop-oldest' && source.recover === undefined;
    this.#signal = signal;
    this.#marker = source.overflow;
    this.#recover = source.recover;
    this.#ignoreSignal = onAbort(signal, () => this.#abort());
    if (signal?.aborted) this.#abort();
  }

  /** Takes what stops the source, and stops it right away if the stream ended while it opened. */
  opened(source: Opened): void {
    if (this.closed) source.close();
    else this.#source = source;
  }

  ref(): void {
    this.#source?.ref?.();
  }

  unref(): void {
    this.#source?.unref?.();
  }

  push(event: E): boolean {
    if (this.closed) return false;
    if (this.#waiters.length === 0 || this.#recovering) {
      this.#hold(event);
    } else {
      const waiter = this.#waiters.shift();
      this.#position++;
      waiter.resolve({ done: false, value: waiter.batch ? [event] : event });
    }
    return true;
  }

  pushAll(events: readonly E[]): boolean {
    if (this.closed) return false;
    let at = 0;
    while (at < events.length && this.#waiters.length > 0 && !this.#recovering) {
      const waiter = this.#waiters.shift();
      const value = waiter.batch ? events.slice(at) : (events[at] as E);
      const count = waiter.batch ? events.length - at : 1;
      at += count;
      this.#position += count;
      waiter.resolve({ done: false, value });
    }
    for (; at < events.length; at++) this.#hold(events[at] as E);
    return true;
  }

  end(): void {
    if (this.closed) return;
    this.#stop();
    this.#settle();
  }

  fail(error: unknown): void {
    if (this.closed) return;
    this.#failure = { error };
    this.end();
  }

  /** The consumer leaves. */
  leave(): void {
    this.#discard();
    this.#failure = undefined;
    this.done = true;
    this.#stop();
    this.#settle();
  }

  next(batch: boolean): Promise<Result<E>> {
    // The listener is gone once the source has ended, while there may still be something to read.
    if (this.closed && this.#signal?.aborted) this.#abort();
    if (this.#readable()) return Promise.resolve({ done: false, value: batch ? this.#takeAll() : this.#take() });
    if (!this.closed) return new Promise((resolve, reject) => this.#waiters.push({ batch, resolve, reject }));
    this.done = true;
    const failure = this.#failure;
    this.#failure = undefined;
    return failure ? Promise.reject(failure.error) : Promise.resolve({ done: true, value: undefined });
  }

  #abort(): void {
    if (this.done || this.#signal === undefined) return;
    this.#discard();
    this.#failure = { error: abortError(this.#signal) };
    this.#stop();
    this.#settle();
  }

  lose(count: number): void {
    if (this.closed || count < 1) return;
    if (this.#lost === 0 || this.#dropOldest) this.#gap = this.#position + this.#events.length;
    this.#lost += count;
    this.#serve();
  }

  /** Asks the source to make good for a loss. */
  recover(): void {
    if (this.#recover === undefined || this.closed) return;
    this.#recovering = true;
    this.#recover().then(
      (event) => {
        if (this.closed) return;
        this.#recovering = false;
        this.#recovered = { event };
        this.#serve();
      },
      (error) => {
        this.#recovering = false;
        this.fail(error);
      },
    );
  }

  /** Gives those who wait what can be read now. */
  #serve(): void {
    while (this.#waiters.length > 0 && !this.done && this.#readable()) {
      const waiter = this.#waiters.shift();
      waiter.resolve({ done: false, value: waiter.batch ? this.#takeAll() : this.#take() });
    }
  }

  #hold(event: E): void {
    // Recovery makes good for the events after a loss as well.
    if (this.#recover !== undefined && this.#lost > 0) {
      this.dropped++;
      this.#lost++;
      return;
    }
    if (this.#events.length === this.#max) {
      this.dropped++;
      this.#lost++;
      if (!this.#dropOldest) {
        if (this.#lost === 1) this.#gap = this.#position + this.#events.length;
        return;
      }
      this.#events.shift();
      this.#gap = ++this.#position;
    }
    this.#events.push(event);
  }

  /** True when the next thing in the stream is the note of a gap. */
  #atGap(): boolean {
    return this.#lost > 0 && this.#gap === this.#position && this.#marker !== undefined;
  }

  #readable(): boolean {
    if (this.#recovering) return false;
    return this.#recovered !== undefined || this.#events.length > 0 || this.#atGap();
  }

  #take(): E {
    if (this.#recovered !== undefined) {
      const { event } = this.#recovered;
      this.#recovered = undefined;
      return event;
    }
    if (this.#atGap()) {
      const lost = this.#lost;
      this.#lost = 0;
      this.recover();
      return (this.#marker as (dropped: number) => E)(lost);
    }
    this.#position++;
    return this.#events.shift();
  }

  #takeAll(): E[] {
    const events: E[] = [];
    while (this.#readable()) events.push(this.#take());
    return events;
  }

  #discard(): void {
    this.#recovered = undefined;
    this.#events.clear();
    this.#lost = 0;
  }

  /** Closes the source's side, once. */
  #stop(): void {
    if (this.closed) return;
    this.closed = true;
    this.#recovering = false;
    this.#ignoreSignal();
    const source = this.#source;
    this.#source = undefined;
    source?.close();
  }

  /** Tells those who wait that nothing more comes. Whoever waits has read everything. */
  #settle(): void {
    if (this.#waiters.length === 0) return;
    const failure = this.#failure;
    this.#failure = undefined;
    this.done = true;
    while (this.#waiters.length > 0) {
      const waiter = this.#waiters.shift();
      if (failure) waiter.reject(failure.error);
      else waiter.resolve({ done: true, value: undefined });
    }
  }
}
