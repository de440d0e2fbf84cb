/** Telling a store of the endpoints of this host. */
import { inspect } from 'node:util';
import { type Cancel, raceAbort, throwIfAborted } from '../../core/abort.js';
import { invalidType, OvernsError } from '../../core/errors.js';
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
    async (endpoint, { signal }) => {
      const written = async () => store[method]?.(publicEndpoint(endpoint), { ...where, ...(signal && { signal }) });
      try {
        // A store of somebody's own may never look at the signal.
        await raceAbort(written(), signal);
      } catch (error) {
        throwIfAborted(signal);
        throw storeError(error, method);
      }
    };
  return { publish: writer('publish'), withdraw: writer('withdraw') };
}

/** What a store of somebody's own throws, with a code; the checks of overns' own keep theirs. */
export function storeError(thrown: unknown, method: 'publish' | 'withdraw' | 'lookup'): OvernsError | Error {
  if (OvernsError.is(thrown)) return thrown;
  if (thrown instanceof Error && /^ERR_INVALID_ARG/.test(String((thrown as NodeJS.ErrnoException).code))) return thrown;
  const words = thrown instanceof Error ? thrown.message : inspect(thrown);
  return new OvernsError('OVERNS_STORE', `${method}() of the store failed: ${words}`, {
    hint: 'the cause is what the store threw',
    cause: thrown,
  });
}

/** For what has to be written although the caller waits no more. */
export const soon = (): Cancel => ({ signal: AbortSignal.timeout(WITHDRAW_MS) });

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
        if (fresh) await publisher.withdraw(endpoint, soon()).catch(() => {});
        throw error;
      }
    },
    () => (fresh ? publisher.withdraw(endpoint, soon()) : undefined),
  );
}
