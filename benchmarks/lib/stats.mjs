// @ts-check
/** Quantiles, and ratios with their uncertainty. */

/** @param {ArrayLike<number>} sorted @param {number} q between the two nearest ranks, linearly */
export function quantileOf(sorted, q) {
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const a = /** @type {number} */ (sorted[low]);
  const b = /** @type {number} */ (sorted[Math.min(low + 1, sorted.length - 1)]);
  return a === b ? a : a + (b - a) * (at - low);
}

/** @param {Iterable<number>} values */
export function sort(values) {
  return Float64Array.from(values).sort();
}

/** @param {Iterable<number>} values @param {number} q */
export function quantile(values, q) {
  return quantileOf(sort(values), q);
}

/** @param {Iterable<number>} values */
export function median(values) {
  return quantile(values, 0.5);
}

/**
 * Result of all trials of a system. `spread`: the quartiles of the trials' own medians, which tells how much one
 * fresh process differs from the next.
 * @param {readonly (readonly number[])[]} trials
 */
export function summarize(trials) {
  const all = sort(trials.flat());
  const medians = sort(trials.filter((trial) => trial.length > 0).map(median));
  return {
    n: all.length,
    trials: medians.length,
    p50: quantileOf(all, 0.5),
    p99: quantileOf(all, 0.99),
    min: quantileOf(all, 0),
    max: quantileOf(all, 1),
    spread: [quantileOf(medians, 0.25), quantileOf(medians, 0.75)],
  };
}

/** Numbers that are the same in every run (mulberry32): an interval does not change by looking again. */
function generator(seed = 42) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * The 95 % bootstrap interval of a statistic of `count` pairs: pairs are drawn with replacement.
 * @param {number} count
 * @param {(chosen: Int32Array) => number} statistic
 * @param {number} [rounds]
 * @returns {[number, number]}
 */
function bootstrap(count, statistic, rounds = 2000) {
  const random = generator();
  const chosen = new Int32Array(count);
  const values = new Float64Array(rounds);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < count; i++) chosen[i] = Math.floor(random() * count);
    values[round] = statistic(chosen);
  }
  values.sort();
  return [quantileOf(values, 0.025), quantileOf(values, 0.975)];
}

/**
 * @typedef {object} Ratio
 * @property {number} median of the pairs' ratios
 * @property {number} low bounds of its 95 % interval
 * @property {number} high
 * @property {number} pairs
 */

/**
 * How many times the one is the other: the median of the ratios of the pairs in which both took part.
 * @param {readonly (readonly number[] | undefined)[]} over trials by pair
 * @param {readonly (readonly number[] | undefined)[]} under
 * @param {number} [q] the quantile that is compared, by default the median
 * @returns {Ratio | undefined}
 */
export function ratio(over, under, q = 0.5) {
  /** @type {number[]} */
  const ratios = [];
  for (let pair = 0; pair < Math.min(over.length, under.length); pair++) {
    const a = over[pair];
    const b = under[pair];
    if (a?.length && b?.length) ratios.push(quantile(a, q) / quantile(b, q));
  }
  if (ratios.length === 0) return undefined;
  const [low, high] = bootstrap(ratios.length, (chosen) =>
    median(Array.from(chosen, (i) => /** @type {number} */ (ratios[i]))),
  );
  return { median: median(ratios), low, high, pairs: ratios.length };
}

/**
 * The same for a quantile that one trial has too few samples for: of all samples together; pairs are drawn for the
 * interval.
 * @param {readonly (readonly number[] | undefined)[]} over
 * @param {readonly (readonly number[] | undefined)[]} under
 * @param {number} q
 * @returns {Ratio | undefined}
 */
export function pooledRatio(over, under, q) {
  /** @type {[readonly number[], readonly number[]][]} */
  const pairs = [];
  for (let pair = 0; pair < Math.min(over.length, under.length); pair++) {
    const a = over[pair];
    const b = under[pair];
    if (a?.length && b?.length) pairs.push([a, b]);
  }
  if (pairs.length === 0) return undefined;
  const of = (/** @type {Iterable<number>} */ chosen) => {
    /** @type {number[]} */
    const a = [];
    /** @type {number[]} */
    const b = [];
    for (const i of chosen) {
      const pair = /** @type {[readonly number[], readonly number[]]} */ (pairs[i]);
      for (const value of pair[0]) a.push(value);
      for (const value of pair[1]) b.push(value);
    }
    return quantile(a, q) / quantile(b, q);
  };
  const [low, high] = bootstrap(pairs.length, of, 400);
  return { median: of(pairs.keys()), low, high, pairs: pairs.length };
}
