/** Telling a store of the endpoints of this host. */
import type { Cancel } from '../../core/abort.js';
import { invalidType } from '../../core/errors.js';
import type { Transaction } from '../../core/transaction.js';
import type { Endpoint, Store, Where } from '../../store/contract.js';
import { publicEndpoint } from './attachment.js';

/** How long a store that has just failed is given to take back what it may have written. */
const WITHDRAW_MS = 2000;

/** A store that is told which overlay it is about. */
export interface Publisher {
  publish(endpoint: Endpoint, cancel: Cancel): Promise<void>;
  withdraw(endpoint: Endpoint, cancel: Cancel): Promise<void>;
}

/**
 * A store as it is written to for one overlay. Without the other method than the one that is needed nothing is undone.
 * @throws TypeError for what is no store, or one without the method that is needed
 */
export function publisherOf(store: Store, where: Where, needed: 'publish' | 'withdraw'): Publisher {
  if (store === null || typeof store !== 'object') throw invalidType('store', store, 'a store');
  if (typeof store[needed] !== 'function') throw invalidType('store', store, `a store with ${needed}()`);
  const writer =
    (method: 'publish' | 'withdraw'): Publisher['publish'] =>
    async (endpoint, { signal }) =>
      store[method]?.(publicEndpoint(endpoint), { ...where, ...(signal && { signal }) });
  return { publish: writer('publish'), withdraw: writer('withdraw') };
}

/**
 * Publishes an endpoint that works.
 * @param fresh it was not published before, so that no trace may stay if this or a later step fails
 */
export async function publishPort(
  t: Transaction,
  publisher: Publisher,
  endpoint: Endpoint,
  { fresh = true, signal }: Cancel & { readonly fresh?: boolean } = {},
): Promise<void> {
  await t.step(
    'publish',
    async () => {
      try {
        await publisher.publish(endpoint, { signal });
      } catch (error) {
        // It may have been written all the same, when its answer was lost or not waited for.
        const soon = { signal: AbortSignal.timeout(WITHDRAW_MS) };
        if (fresh) await publisher.withdraw(endpoint, soon).catch(() => {});
        throw error;
      }
    },
    () => (fresh ? publisher.withdraw(endpoint, {}) : undefined),
  );
}
