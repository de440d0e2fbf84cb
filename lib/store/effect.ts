/** Which failures of a write left the store as it was, for certain. */

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
