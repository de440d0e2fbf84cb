/** Seeds of random tests. */

/**
 * The seed in an environment variable; without it the same in every CI run, so that a change is judged by itself and not
 * by what is found by chance; elsewhere, and with CI_FULL=1, another each time.
 */
export function seedOf(variable: string): number {
  const given = process.env[variable];
  if (given !== undefined) return Number(given);
  if (process.env.CI === 'true' && process.env.CI_FULL !== '1') return 20_261_125;
  return Math.floor(Math.random() * 2 ** 31);
}
