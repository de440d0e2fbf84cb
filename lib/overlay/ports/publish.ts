/** Telling a store of the endpoints of this host. */
import { inspect } from 'node:util';
import { type Cancel, raceAbort, throwIfAborted } from '../../core/abort.js';
import { invalidType, OvernsError } from '../../core/errors.js';
import type { Transaction } from '../../core/transaction.js';
import type { AddressPool } from '../../store/address-pool.js';
import { AddressAllocator, type AllocateOptions, type Allocation } from '../../store/allocation.js';
import type { Endpoint, Store, Where } from '../../store/contract.js';
import { undoAtStore, wroteNothing } from '../../store/effect.js';
import { publicEndpoint } from './attachment.js';

/** A store that is told which overlay it is about. */
export interface Publisher {
  publish(endpoint: Endpoint, cancel: Cancel): Promise<void>;
  withdraw(endpoint: Endpoint, cancel: Cancel): Promise<void>;
  /**
   * Publishes it unless another host has one of its addresses. Absent: the store cannot tell.
   * @throws OvernsError `OVERNS_CONFLICT`, `OVERNS_STORE_UNSUPPORTED` (it cannot either)
   */
  claim?: ((endpoint: Endpoint, cancel: Cancel) => Promise<void>) | undefined;
  /**
   * Claims an endpoint with an address of each pool that nobody has.
   * @throws OvernsError `OVERNS_POOL_FULL`, `OVERNS_CONFLICT`, `OVERNS_STORE_UNSUPPORTED`
   */
  allocate(pools: readonly AddressPool[], options: AllocateOptions): Promise<Allocation>;
}

/**
 * A store as it is written to for one overlay. Without the other method than the one that is needed nothing is undone.
 * @throws TypeError for what is no store, or one without the method that is needed
 */
export function publisherOf(
  store: Store,
  where: Where,
  needed: 'publish' | 'withdraw',
  { takeover = false }: { readonly takeover?: boolean | undefined } = {},
): Publisher {
  if (store === null || typeof store !== 'object') throw invalidType('store', store, 'a store');
  if (typeof store[needed] !== 'function') throw invalidType('store', store, `a store with ${needed}()`);
  const writer =
    (method: 'publish' | 'withdraw'): Publisher['publish'] =>
    async (endpoint, { signal }) => {
      const write = (): Promise<void> | undefined =>
        store[method]?.(publicEndpoint(endpoint), { ...where, ...(signal && { signal }) });
      await askStore(method, signal, write);
    };
  const claim: Publisher['claim'] = async (endpoint, { signal }) => {
    await askStore('claim', signal, () =>
      store.claim?.(publicEndpoint(endpoint), { ...where, takeover, ...(signal && { signal }) }),
    );
  };
  const allocate: Publisher['allocate'] = (pools, options) => {
    const allocator = new AddressAllocator({ store, ...where, pools });
    return askStore('claim', options.signal, () => allocator.allocate(options));
  };
  return {
    publish: writer('publish'),
    withdraw: writer('withdraw'),
    claim: typeof store.claim === 'function' ? claim : undefined,
    allocate,
  };
}

type StoreMethod = 'publish' | 'withdraw' | 'lookup' | 'claim';

/** Gives an error of somebody's own store a code; the checks of overns' own keep theirs. */
function storeError(thrown: unknown, method: StoreMethod): OvernsError | Error {
  if (OvernsError.is(thrown)) return thrown;
  if (thrown instanceof Error && /^ERR_INVALID_ARG/.test(String((thrown as NodeJS.ErrnoException).code))) return thrown;
  const words = thrown instanceof Error ? thrown.message : inspect(thrown);
  return new OvernsError('OVERNS_STORE', `${method}() of the store failed: ${words}`, {
    hint: 'the cause is what the store threw',
    cause: thrown,
  });
}

/**
 * Awaits an answer of a store. One of somebody's own may never look at the signal.
 * @throws AbortError; OvernsError `OVERNS_STORE` with what the store threw as its cause, or the store's own
 */
export async function askStore<T>(
  method: StoreMethod,
  signal: AbortSignal | undefined,
  ask: () => T | Promise<T>,
): Promise<T> {
  throwIfAborted(signal);
  try {
    return await raceAbort((async () => ask())(), signal);
  } catch (error) {
    throwIfAborted(signal);
    throw storeError(error, method);
  }
}

/** Says with the error of an attachment that its records may be in the store, which could not be asked to take them back. */
function sayWhatMayStay(error: unknown, { ip, ips, mac }: Endpoint, overlay: string): void {
  if (!(error instanceof Error)) return;
  error.message += `; records of ${[...ips, mac].join(', ')} may be in the store all the same`;
  const back = `\`detach({ ip: '${ip}' })\` of overlay "${overlay}", with the store, takes them back once it answers`;
  const { hint } = error as OvernsError;
  Object.assign(error, { hint: hint === undefined ? back : `${hint}; ${back}` });
}

/** How an endpoint is published. */
interface PublishOptions extends Cancel {
  /** It was not published before, so that no trace may stay if this or a later step fails. Default true. */
  readonly fresh?: boolean;
  readonly overlay: string;
}

/** Publishes an endpoint that works. */
export function publishPort(
  t: Transaction,
  publisher: Publisher,
  endpoint: Endpoint,
  options: PublishOptions,
): Promise<void> {
  return writeStep(t, 'publish', (cancel) => publisher.publish(endpoint, cancel), publisher, endpoint, options);
}

/**
 * Claims an endpoint that is still to be made, so that nothing is touched where another host has its addresses. False if the
 * store cannot tell: it is to be published once it works.
 * @throws OvernsError `OVERNS_CONFLICT`
 */
export async function claimPort(
  t: Transaction,
  publisher: Publisher,
  endpoint: Endpoint,
  options: PublishOptions,
): Promise<boolean> {
  const { claim } = publisher;
  if (claim === undefined) return false;
  try {
    await writeStep(t, 'claim', (cancel) => claim(endpoint, cancel), publisher, endpoint, options);
    return true;
  } catch (error) {
    if (OvernsError.is(error) && error.code === 'OVERNS_STORE_UNSUPPORTED') return false;
    throw error;
  }
}

async function writeStep(
  t: Transaction,
  step: 'publish' | 'claim',
  write: (cancel: Cancel) => Promise<void>,
  publisher: Publisher,
  endpoint: Endpoint,
  { fresh = true, signal, overlay }: PublishOptions,
): Promise<void> {
  const takeBack = (): Promise<void> => undoAtStore((cancel) => publisher.withdraw(endpoint, cancel));
  await t.step(
    step,
    async () => {
      try {
        await write({ signal });
      } catch (error) {
        // It may have been written all the same, when its answer was lost or not waited for.
        if (fresh && !wroteNothing(error)) await takeBack().catch(() => sayWhatMayStay(error, endpoint, overlay));
        throw error;
      }
    },
    () => (fresh ? takeBack() : undefined),
  );
}
