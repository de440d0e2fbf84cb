/** The store within this process: its networks, and the leases that hold endpoints of any of them. */
import type { Cancel } from '../../core/abort.js';
import { leaseEnded } from '../conflict.js';
import type { Answer, Change, Claimed, Endpoint, Query, StoredEndpoint } from '../contract.js';
import type { DriverClaim, DriverLease, DriverStore, StoreNetwork } from '../driver.js';
import { tellExpired } from '../expiry.js';
import type { Interest } from '../interest.js';
import { MemoryNetwork, NAME } from './memory.js';

export class MemoryStore implements DriverStore {
  /** All of it is in this process anyway. */
  readonly mirrorMax = Number.MAX_SAFE_INTEGER;
  /** By prefix. */
  readonly #networks = new Map<string, MemoryNetwork>();
  /** What ends each of them. */
  readonly #leases = new Map<string, NodeJS.Timeout>();
  #leaseCount = 0;

  #network({ prefix }: StoreNetwork): MemoryNetwork {
    const network = this.#networks.get(prefix) ?? new MemoryNetwork();
    this.#networks.set(prefix, network);
    return network;
  }

  lookup(query: Query, network: StoreNetwork): Promise<Answer | null> {
    return this.#network(network).lookup(query);
  }

  publish(endpoint: Endpoint, network: StoreNetwork): Promise<void> {
    return this.#network(network).publish(endpoint);
  }

  withdraw(endpoint: Endpoint, network: StoreNetwork): Promise<void> {
    return this.#network(network).withdraw(endpoint);
  }

  async claim(endpoint: Endpoint, claim: DriverClaim): Promise<Claimed> {
    if (claim.lease !== undefined && !this.#leases.has(claim.lease)) throw leaseEnded(NAME, claim.lease);
    return this.#network(claim).claim(endpoint, claim);
  }

  list(network: StoreNetwork & Cancel): Promise<readonly StoredEndpoint[]> {
    return this.#network(network).list();
  }

  watch(options: Parameters<DriverStore['watch']>[0]): AsyncGenerator<Change, void, undefined> {
    return this.#network(options).watch(options);
  }

  watchOnly(
    interest: Interest,
    options: StoreNetwork & { readonly signal: AbortSignal },
  ): AsyncGenerator<Change, void, undefined> {
    return tellExpired(this.#network(options).watchOnly(interest, options), async (lease) => this.#leases.has(lease));
  }

  async lease({ ttlMs }: { readonly ttlMs: number }): Promise<DriverLease> {
    const id = `${++this.#leaseCount}`;
    const revoke = (): void => {
      clearTimeout(this.#leases.get(id));
      if (this.#leases.delete(id)) for (const network of this.#networks.values()) network.end(id);
    };
    const begin = (): void => {
      clearTimeout(this.#leases.get(id));
      this.#leases.set(id, setTimeout(revoke, ttlMs).unref());
    };
    begin();
    return {
      id,
      ttlMs,
      renew: async () => {
        if (this.#leases.has(id)) begin();
        return this.#leases.has(id);
      },
      revoke: async () => revoke(),
    };
  }

  close(): void {
    for (const timer of this.#leases.values()) clearTimeout(timer);
    for (const network of this.#networks.values()) network.close();
  }
}
