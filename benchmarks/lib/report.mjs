// @ts-check
/** Tables for people. */

/** @typedef {import('./stats.mjs').Ratio} Ratio */

/** Three significant digits. @param {number} value */
export function short(value) {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e5) return `${Math.round(value / 1e3)}k`;
  if (size >= 100) return String(Math.round(value));
  if (size === 0) return '0';
  return size >= 0.001 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

/** @param {Ratio | undefined} ratio */
export function ratioText(ratio) {
  if (!ratio) return '-';
  return `${short(ratio.median)} [${short(ratio.low)}, ${short(ratio.high)}]`;
}

/**
 * A claim about a figure, and whether this run bears it out.
 * @typedef {{ claim: string, value: number, bound: string, ok: boolean }} Claim
 */

/**
 * @param {string} text
 * @param {number | undefined} value
 * @param {'<=' | '>='} relation
 * @param {number} bound
 * @returns {Claim}
 */
export function claim(text, value, relation, bound) {
  const found = value ?? Number.NaN;
  return {
    claim: text,
    value: found,
    bound: `${relation} ${bound}`,
    ok: relation === '<=' ? found <= bound : found >= bound,
  };
}

/** @param {Claim[]} claims */
export function claimsTable(claims) {
  const rows = claims.map(({ claim: text, value, bound, ok }) => [text, value, bound, ok ? 'yes' : 'NO']);
  return table('claims', ['', 'value', 'bound', 'holds'], rows);
}

/**
 * @param {string} title
 * @param {string[]} columns
 * @param {(string | number)[][]} rows
 * @returns {string}
 */
export function table(title, columns, rows) {
  const cells = [columns, ...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? short(cell) : cell)))];
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => (row[at] ?? '').length)));
  const line = (/** @type {string[]} */ row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  ');
  const [head = [], ...body] = cells;
  return [title, line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}
