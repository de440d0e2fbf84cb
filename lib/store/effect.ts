/** Which failures of a write left the store as it was, for certain, and taking back what the others may have left. */
import type { Cancel } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';

/** How long a store that has just failed is given to undo what it may have done, milliseconds. */
const UNDO_MS = 2000;

const without = new WeakSet<object>();

/** Marks the error of a write that the store has not been told, or has refused. */
export function withoutEffect<E extends Error>(error: E): E {
  without.add(error);
  return error;
}

/** False where the write may have happened all the same: its answer was lost, or not waited for. */
export function hadNoEffect(error: unknown): boolean {
  return without.has(Object(error));
}

/** Takes the mark back: an earlier attempt may have had an effect. */
export function inDoubt(error: unknown): void {
  without.delete(Object(error));
}

/** True for the error of a write after which there is nothing to take back, and what is there was there before. */
export function wroteNothing(error: unknown): boolean {
  const refused = OvernsError.is(error) && ['OVERNS_CONFLICT', 'OVERNS_STORE_UNSUPPORTED'].includes(error.code);
  return refused || hadNoEffect(error);
}

/** Undoes something at a store that has just failed, may be stuck, and whose answer helps nobody any more. */
export async function undoAtStore(write: (cancel: Cancel) => Promise<void>): Promise<void> {
  const late = new AbortController();
  // It keeps the process alive, unlike AbortSignal.timeout().
  const timer = setTimeout(() => late.abort(), UNDO_MS);
  try {
    await write({ signal: late.signal });
  } finally {
    clearTimeout(timer);
  }
}
