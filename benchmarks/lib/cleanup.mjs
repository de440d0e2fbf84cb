// @ts-check
/** Removes what a benchmark made when it ends: done, failed or interrupted. Last made, first gone. */

/** @type {{ gone: () => unknown, atExit: () => void }[]} */
const entries = [];

/**
 * Registers a removal. `atExit` is what can still be done while the process exits: synchronous.
 * @param {() => unknown} gone
 * @param {() => void} [atExit]
 * @returns {() => void} takes it back
 */
export function onCleanup(gone, atExit = () => void gone()) {
  const entry = { gone, atExit };
  entries.push(entry);
  return () => {
    const index = entries.indexOf(entry);
    if (index >= 0) entries.splice(index, 1);
  };
}

/**
 * Runs `fn`; what was registered meanwhile is removed afterwards, whatever comes of it.
 * @template T
 * @param {() => Promise<T>} fn
 * @returns {Promise<T>}
 */
export async function scoped(fn) {
  const before = entries.length;
  let failure;
  try {
    return await fn();
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    while (entries.length > before) {
      const entry = entries.pop();
      try {
        await entry?.gone();
      } catch (error) {
        // The first failure is the one to report.
        if (!failure) process.stderr.write(`bench: cleaning up: ${/** @type {Error} */ (error).message}\n`);
      }
    }
  }
}

function atExit() {
  for (const entry of entries.splice(0).reverse()) {
    try {
      entry.atExit();
    } catch {
      // the next one still has its turn
    }
  }
}

process.on('exit', atExit);
for (const [signal, number] of /** @type {const} */ ([
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
])) {
  process.on(signal, () => {
    process.stderr.write(`bench: ended by ${signal}\n`);
    atExit();
    process.exit(128 + number);
  });
}
