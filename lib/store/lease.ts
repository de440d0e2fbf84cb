/** A lease that is kept: renewed in time, and told of when the store has ended it. */
import type { Cancel } from '../core/abort.js';
import type { OvernsError } from '../core/errors.js';
import { signalOf } from '../core/options.js';
import { leaseEnded } from './conflict.js';
import type { StoreLease } from './contract.js';
import type { DriverLease } from './driver.js';

/** How soon it is tried again when the store did not answer, milliseconds. */
const RETRY_MS = 1000;

export class HeldLease implements StoreLease {
  readonly id: string;
  readonly ttlMs: number;
  readonly #made: DriverLease;
  readonly #at: string;
  readonly #lost = new AbortController();
  /** Nobody renews it any more. */
  readonly #left = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  /** @param at the store, as errors name it */
  constructor(made: DriverLease, at: string) {
    this.#made = made;
    this.#at = at;
    this.id = made.id;
    this.ttlMs = made.ttlMs;
    this.#renewIn(this.ttlMs / 3);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** @throws OvernsError `OVERNS_LEASE` for one that has ended */
  check(): void {
    if (this.lost.aborted) throw this.lost.reason;
    if (this.#closing !== undefined) throw leaseEnded(this.#at, this.id, 'was closed');
  }

  /** The store has ended it. */
  end(why: OvernsError): void {
    this.leave();
    if (this.#closing === undefined) this.#lost.abort(why);
  }

  /** Renews it no more: it ends when its time is over. */
  leave(): void {
    clearTimeout(this.#timer);
    this.#left.abort();
  }

  close(options: Cancel = {}): Promise<void> {
    const signal = signalOf(options);
    this.leave();
    this.#closing ??= this.lost.aborted ? Promise.resolve() : this.#made.revoke({ signal });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #renewIn(ms: number): void {
    if (this.#left.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#renew(), ms);
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    try {
      if (await this.#made.renew({ signal: this.#left.signal })) this.#renewIn(this.ttlMs / 3);
      else this.end(leaseEnded(this.#at, this.id));
    } catch {
      // An outage. The store may have it still when it is back, and only the store can say that it has not.
      this.#renewIn(Math.min(RETRY_MS, this.ttlMs / 3));
    }
  }
}
