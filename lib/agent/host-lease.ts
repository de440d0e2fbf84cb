/** The lease that a host holds its endpoints under: made when it is first needed, and anew once the store has ended it. */
import { hostname } from 'node:os';
import type { LeaseOptions, StoreLease } from '../store/contract.js';

export class HostLease {
  readonly #make: (options: LeaseOptions) => Promise<StoreLease>;
  readonly #ttlMs: number | undefined;
  readonly #lost: () => void;
  #held: StoreLease | undefined;
  #making: Promise<StoreLease> | undefined;
  #left = false;

  /**
   * @param ttlMs its time; undefined: the store's own
   * @param lost called when what was claimed under it is to be claimed again, under another one
   */
  constructor(make: (options: LeaseOptions) => Promise<StoreLease>, ttlMs: number | undefined, lost: () => void) {
    this.#make = make;
    this.#ttlMs = ttlMs;
    this.#lost = lost;
  }

  /** The id of the lease that is held now. */
  get id(): string | undefined {
    return this.#held?.id;
  }

  /** @throws what the store throws */
  get(): Promise<StoreLease> {
    if (this.#held !== undefined) return Promise.resolve(this.#held);
    this.#making ??= this.#take().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /** Renews it no more, and revokes nothing: the next agent of this host has its time to claim what is there. */
  leave(): void {
    this.#left = true;
    this.#held?.leave();
  }

  async #take(): Promise<StoreLease> {
    const lease = await this.#make({ name: leaseName(), ttlMs: this.#ttlMs });
    if (this.#left) lease.leave();
    this.#held = lease;
    lease.lost.addEventListener('abort', () => this.#end(lease), { once: true });
    if (lease.lost.aborted) this.#end(lease);
    return lease;
  }

  #end(lease: StoreLease): void {
    if (this.#held !== lease) return;
    this.#held = undefined;
    if (!this.#left) this.#lost();
  }
}

/** The host's name as a store takes it. */
function leaseName(): string {
  return (
    hostname()
      .replace(/[^\x21-\x7e]/g, '-')
      .slice(0, 128) || 'overns'
  );
}
