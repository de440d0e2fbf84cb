/** Deletions because a lease has ended, told from withdrawals: nobody has said then that what is gone from the store is gone. */
import type { Change } from './contract.js';
import type { Leased } from './endpoint-table.js';

/** For so long, milliseconds, an answer holds: all that a lease held goes at once. */
const HOLDS_MS = 1000;

/**
 * The changes, in which the deletions by a lease's end say so.
 * @param isAlive asks the store whether it has a lease still; where it does not say, the lease counts as ended, since what is
 *   there still does no harm
 */
export async function* tellExpired(
  changes: AsyncIterable<Change & Leased>,
  isAlive: (lease: string) => Promise<boolean>,
): AsyncGenerator<Change, void, undefined> {
  let known: { readonly lease: string; readonly alive: boolean; readonly at: number } | undefined;
  for await (const { lease, ...change } of changes) {
    if (lease === undefined || change.kind !== 'delete') {
      yield change as Change;
      continue;
    }
    if (known?.lease !== lease || performance.now() - known.at > HOLDS_MS) {
      known = { lease, alive: await isAlive(lease).catch(() => false), at: performance.now() };
    }
    yield known.alive ? change : { ...change, expired: true };
  }
}
