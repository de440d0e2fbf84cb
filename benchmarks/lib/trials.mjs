// @ts-check
/** Pairs: every system once, one after the other, each in a fresh process, in an order that changes from pair to pair. */

/**
 * @typedef {object} System
 * @property {string} name
 * @property {number} [every] takes part in every so-manieth pair only: a slow one
 * @property {number} [limit] and in so many pairs at most
 */

/**
 * @template {System} S
 * @template R
 * @param {object} options
 * @param {readonly S[]} options.systems
 * @param {number} options.pairs
 * @param {(system: S, pair: number) => Promise<R>} options.trial
 * @param {(text: string) => void} options.log
 * @param {string} [options.label] what the pairs are of
 * @param {Record<string, string>} options.absent gets who failed for good, and why
 * @returns {Promise<Map<string, (R | undefined)[]>>} by system, by pair
 */
export async function interleave({ systems, pairs, trial, log, label = '', absent }) {
  /** @type {Map<string, (R | undefined)[]>} */
  const results = new Map(systems.map(({ name }) => [name, []]));
  /** @type {Map<string, number>} */
  const failures = new Map();
  const took = new Map();
  for (let pair = 0; pair < pairs; pair++) {
    // Rotated, and backwards every other time: nobody always runs behind the same neighbour.
    const order = systems.map((_, i) => /** @type {S} */ (systems[(i + pair) % systems.length]));
    if (pair % 2 === 1) order.reverse();
    for (const system of order) {
      const { name, every = 1, limit = Number.POSITIVE_INFINITY } = system;
      if (absent[name] || pair % every !== 0 || pair / every >= limit) continue;
      const list = /** @type {(R | undefined)[]} */ (results.get(name));
      try {
        const start = Date.now();
        list[pair] = await trial(system, pair);
        took.set(name, (took.get(name) ?? 0) + Date.now() - start);
        failures.delete(name);
      } catch (error) {
        const message = /** @type {Error} */ (error).message;
        log(`${name}, pair ${pair + 1}: ${message}`);
        failures.set(name, (failures.get(name) ?? 0) + 1);
        if (/** @type {number} */ (failures.get(name)) >= 3)
          absent[name] = `failed three times: ${message.split('\n')[0]}`;
      }
    }
    log(`${label ? `${label}: ` : ''}pair ${pair + 1} of ${pairs}`);
  }
  if (process.env.OVERNS_BENCH_TIMES) log(`ms: ${JSON.stringify(Object.fromEntries(took))}`);
  return results;
}

/**
 * One number list out of every trial's result.
 * @template R
 * @param {(R | undefined)[] | undefined} trials
 * @param {(result: R) => readonly number[] | undefined} pick
 * @returns {(readonly number[] | undefined)[]}
 */
export function pick(trials, pick) {
  return Array.from(trials ?? [], (result) => (result === undefined ? undefined : pick(result)));
}

/** @param {readonly (number | null)[]} ns null = no answer @returns {number[]} microseconds of those that were answered */
export function answered(ns) {
  return ns.filter((value) => value !== null).map((value) => /** @type {number} */ (value) / 1000);
}
