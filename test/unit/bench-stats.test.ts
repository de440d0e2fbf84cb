import { describe, expect, test } from 'vitest';
import { pooledRatio, quantile, ratio, summarize } from '../../benchmarks/lib/stats.mjs';

describe('figures of the benchmarks', () => {
  test('quantiles stand between the nearest ranks', () => {
    expect(quantile([3, 1, 2], 0.5)).toBe(2);
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantile([10, 20], 0.99)).toBeCloseTo(19.9);
    expect(quantile([], 0.5)).toBeNaN();
  });

  test('a summary tells how much the trials differ', () => {
    expect(summarize([[1, 2, 3], [10, 20, 30], []])).toMatchObject({
      n: 6,
      trials: 2,
      min: 1,
      max: 30,
      spread: [6.5, 15.5],
    });
  });

  test('a ratio is that of the pairs, not of the pools: what both of a pair suffer cancels out', () => {
    const noise = [1, 5, 2, 9, 3, 1, 7, 4, 2, 6];
    const found = ratio(
      noise.map((factor) => [2 * factor, 2 * factor]),
      noise.map((factor) => [factor]),
    );
    expect(found).toEqual({ median: 2, low: 2, high: 2, pairs: 10 });
  });

  test('pairs that one of the two missed do not count', () => {
    expect(ratio([[2], undefined, [2], []], [[1], [1], undefined, [1]])?.pairs).toBe(1);
    expect(ratio([undefined], [[1]])).toBeUndefined();
  });

  test('the interval contains the median, is wide when the pairs differ, and is the same every time', () => {
    const over = Array.from({ length: 40 }, (_, i) => [1 + (i % 10) / 10]);
    const under = over.map(() => [1]);
    const found = ratio(over, under);
    expect(found).toEqual(ratio(over, under));
    expect(found?.low).toBeLessThan(found?.median ?? 0);
    expect(found?.high).toBeGreaterThan(found?.median ?? 0);
  });

  test('a tail is compared over all samples together', () => {
    const over = [
      [1, 1, 100],
      [1, 1, 1],
    ];
    expect(pooledRatio(over, [[1], [1]], 1)?.median).toBe(100);
  });
});
