/** The arguments of scripts: unknown ones are refused, with what may have been meant. No dependencies. */
import { parseArgs } from 'node:util';
import { Stop } from './process.mjs';

/**
 * Reads a script's arguments. `--help` prints how it is called, and ends the process.
 * @param {string} name the script's, for what it refuses
 * @param {string} usage
 * @param {NonNullable<import('node:util').ParseArgsConfig['options']>} options
 * @param {string[]} [words] that may stand for themselves
 * @returns {{ values: any, positionals: string[] }}
 */
export function readFlags(name, usage, options, words = []) {
  const known = { ...options, help: { type: /** @type {const} */ ('boolean'), default: false } };
  const { values, positionals, tokens } = parseArgs({
    allowPositionals: true,
    strict: false,
    tokens: true,
    options: known,
  });
  for (const token of tokens ?? []) {
    if (token.kind !== 'option') continue;
    const option = /** @type {typeof options} */ (known)[token.name];
    if (option === undefined)
      throw new Stop(`${name}: there is no ${token.rawName}${meant(token.name, Object.keys(known), '--')}`);
    if (option.type === 'string' && (token.value === undefined || token.value.startsWith('--')))
      throw new Stop(`${name}: ${token.rawName} takes a value: see --help`);
    if (option.type === 'boolean' && token.value !== undefined)
      throw new Stop(`${name}: ${token.rawName} takes no value: see --help`);
  }
  const unknown = positionals.find((word) => !words.includes(word));
  if (unknown !== undefined) throw new Stop(`${name}: there is no "${unknown}"${meant(unknown, words, '')}`);
  if (values.help) printUsage(usage);
  return { values, positionals };
}

/** @param {string} usage @returns {never} */
export function printUsage(usage) {
  process.stdout.write(usage);
  process.exit(0);
}

/** @param {string} word @param {string[]} words @param {string} before */
function meant(word, words, before) {
  if (words.length === 0) return ': see --help';
  const same = (/** @type {string} */ other) =>
    [...word].filter((letter) => other.includes(letter)).length / Math.max(word.length, other.length);
  const [best] = [...words].sort((a, b) => same(b) - same(a));
  const all = words.map((each) => before + each).join(', ');
  return best !== undefined && same(best) >= 0.6 ? `: did you mean ${before}${best}?` : `: there are ${all}`;
}
