/**
 * Removes what a test made when the test ends, pass or fail: things made inside a test (or its beforeEach) after that
 * test, things made in a beforeAll after the file, and whatever is left when the process exits. Last made, first gone.
 */
import { afterAll, afterEach, beforeEach } from 'vitest';

interface Entry {
  readonly scope: 'test' | 'file';
  readonly gone: () => unknown;
  /** Work that can still be done while the process exits: synchronous. */
  readonly atExit: () => void;
}

const entries: Entry[] = [];
let scope: Entry['scope'] = 'file';

/** Registers a removal; the result takes it back (the thing went another way). */
export function onCleanup(gone: () => unknown, atExit: () => void = () => void gone()): () => void {
  const entry: Entry = { scope, gone, atExit };
  entries.push(entry);
  return () => {
    const index = entries.indexOf(entry);
    if (index >= 0) entries.splice(index, 1);
  };
}

async function clean(which: Entry['scope'] | 'all'): Promise<void> {
  const errors: unknown[] = [];
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index];
    if (!entry || (which !== 'all' && entry.scope !== which)) continue;
    entries.splice(index, 1);
    try {
      await entry.gone();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, errors.map((error) => String(error)).join('; '));
}

// Registered while the test file is being collected: our afterEach runs after the file's own (sequence.hooks: stack).
beforeEach(() => {
  scope = 'test';
});
afterEach(async () => {
  scope = 'file';
  await clean('test');
});
afterAll(() => clean('all'));

function atExit(): void {
  for (const entry of entries.splice(0).reverse()) {
    try {
      entry.atExit();
    } catch {
      // the next one still has its turn
    }
  }
}
process.on('exit', atExit);
// vitest itself was killed: nobody will tell this worker to end.
process.once('disconnect', () => {
  atExit();
  process.exit(1);
});
for (const [signal, number] of [
  ['SIGTERM', 15],
  ['SIGINT', 2],
  ['SIGHUP', 1],
] as const) {
  process.on(signal, () => {
    atExit();
    process.exit(128 + number);
  });
}
