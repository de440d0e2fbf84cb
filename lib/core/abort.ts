/** Cancellation as Node's own functions do it. */
import { defaultMaxListeners, getMaxListeners, setMaxListeners } from 'node:events';
import { invalidType } from './errors.js';

/**
 * Cancellation: an aborted call rejects with an `AbortError` whose cause is the signal's reason. What takes several steps, as
 * making an overlay or attaching, is undone; a request that the kernel has been sent is not taken back.
 * @example
 * ```ts
 * import type { Cancel } from 'overns';
 *
 * const within: Cancel = { signal: AbortSignal.timeout(2000) };
 * console.log(within.signal?.aborted); // false
 * ```
 */
export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

const ABORTED = 'The operation was aborted';

/**
 * The error that an aborted call rejects with: Node's `AbortError`, code `ABORT_ERR`, the signal's reason as cause.
 * @param waited what had not come yet
 */
export function abortError(signal: AbortSignal, waited?: string): Error & { code: 'ABORT_ERR' } {
  const message = waited === undefined ? ABORTED : `${ABORTED}: ${waited}`;
  const error = new Error(message, { cause: signal.reason });
  error.name = 'AbortError';
  return Object.assign(error, { code: 'ABORT_ERR' as const });
}

/** Details of an AbortError: what had not come yet, what could not be undone. */
export function beyondAbort(error: unknown): string | undefined {
  const { message = '' } = error as { readonly message?: string };
  const [, more] = /^[:;] (.+)$/s.exec(message.startsWith(ABORTED) ? message.slice(ABORTED.length) : '') ?? [];
  return more;
}

/** Throws the AbortError of a signal that has been aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

/** The argument as an AbortSignal, or undefined when it is absent. */
export function checkSignal(value: unknown, name = 'signal'): AbortSignal | undefined {
  if (value === undefined) return undefined;
  // Not instanceof: signals of other realms and of polyfills are as good.
  if (value === null || typeof value !== 'object' || !('aborted' in value) || !('addEventListener' in value)) {
    throw invalidType(name, value, 'an AbortSignal');
  }
  return value as AbortSignal;
}

/**
 * Calls the listener once the signal is aborted. The result takes it back; whoever waits no more calls it, for a signal
 * can live as long as the process.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  allowListeners(signal);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** One signal for many calls at once is no leak. Node 20 warns of one, unless told otherwise. */
function allowListeners(signal: AbortSignal): void {
  try {
    if (getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(Number.POSITIVE_INFINITY, signal);
  } catch {
    // Not Node's own signal, or one without a limit: getMaxListeners() of Node 20 refuses both.
  }
}

/**
 * Settles as the promise does, or rejects with AbortError as soon as the signal is aborted. For work that cannot be
 * stopped but need not be waited for.
 */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    if (signal.aborted) reject(abortError(signal));
    const off = onAbort(signal, () => reject(abortError(signal)));
    promise.then(resolve, reject).finally(off);
  });
}

/**
 * A signal that is aborted as soon as one of several is, with that one's reason. Whoever is done calls `release`: the others
 * can live as long as the process.
 */
export function firstAborted(...signals: readonly (AbortSignal | undefined)[]): {
  readonly signal: AbortSignal;
  release(): void;
} {
  const controller = new AbortController();
  const offs = signals.map((signal) => {
    if (signal?.aborted) controller.abort(signal.reason);
    return onAbort(signal, () => controller.abort(signal?.reason));
  });
  return {
    signal: controller.signal,
    release: () => {
      for (const off of offs) off();
    },
  };
}

/** How long an iterator may take to end once it need not go on. */
const RETURN_MS = 1000;

/**
 * Yields the values of the iterable until it ends or the signal is aborted. One that does not look at the signal is not waited
 * for, and one that does gets a second to end in good order.
 */
export async function* untilAborted<T>(iterable: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, void> {
  const iterator = iterable[Symbol.asyncIterator]();
  let wake = (): void => {};
  const off = onAbort(signal, () => wake());
  // By hand: Promise.race() with one that lives as long as the watch would keep every change.
  const next = (): Promise<IteratorResult<T, unknown>> =>
    new Promise((resolve, reject) => {
      wake = () => resolve({ done: true, value: undefined });
      if (signal.aborted) wake();
      else Promise.resolve(iterator.next()).then(resolve, reject);
    });
  let ended = false;
  try {
    for (;;) {
      const result = await next().catch((error: unknown) => {
        ended = true;
        throw error;
      });
      ended = result.done === true && !signal.aborted;
      if (result.done === true) break;
      yield result.value;
    }
  } finally {
    off();
    if (!ended) await endIterator(iterator);
  }
}

async function endIterator(iterator: AsyncIterator<unknown>): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, RETURN_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    // An error now is of no use to anybody.
    Promise.resolve()
      .then(() => iterator.return?.())
      .then(done, done);
  });
}
