// @ts-check
/** Pictures: latency distributions on a log axis, and bars. Plain SVG, 800 wide, readable on a light background. */
import { sort } from './stats.mjs';

const WIDTH = 800;
const FONT = 'font-family="system-ui, sans-serif"';
// overns first; the others apart in hue and lightness (Okabe and Ito's palette, for all kinds of eyes).
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#7f6a00', '#56b4e9', '#444444', '#e69f00', '#999999'];
const OWN = '#0072b2';

/** @param {string} text */
const xml = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/**
 * @param {number} height
 * @param {string} title
 * @param {string} subtitle
 * @param {string[]} parts
 */
function picture(height, title, subtitle, parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${xml(title)}">
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
<g ${FONT} font-size="13" fill="#222222">
<text x="24" y="30" font-size="17" font-weight="600">${xml(title)}</text>
<text x="24" y="50" fill="#555555">${xml(subtitle)}</text>
${parts.join('\n')}
</g>
</svg>
`;
}

/** Microseconds, in words. @param {number} us */
export function duration(us) {
  if (us >= 1e6) return `${Number((us / 1e6).toPrecision(3))} s`;
  if (us >= 1e3) return `${Number((us / 1e3).toPrecision(3))} ms`;
  return `${Number(us.toPrecision(3))} µs`;
}

/** A number in few letters: 72 k. @param {number} value */
export function count(value) {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (value >= 1e3) return `${Number((value / 1e3).toPrecision(3))} k`;
  return String(Number(value.toPrecision(3)));
}

/**
 * Which share of the answers came within a time.
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.subtitle
 * @param {{ name: string, values: readonly number[], lost?: number }[]} options.series microseconds; lost: never came
 */
export function cdf({ title, subtitle, series }) {
  const shown = series.filter(({ values }) => values.length > 0);
  const left = 64;
  const right = 190;
  const top = 90;
  const bottom = 52;
  const height = 450;
  const width = WIDTH - left - right;
  const inner = height - top - bottom;
  const all = shown.flatMap(({ values }) => [Math.min(...values), Math.max(...values)]);
  const low = Math.floor(Math.log10(Math.min(...all)) * 4) / 4;
  const high = Math.max(low + 0.5, Math.ceil(Math.log10(Math.max(...all)) * 4) / 4);
  const x = (/** @type {number} */ us) => left + ((Math.log10(us) - low) / (high - low)) * width;
  const y = (/** @type {number} */ share) => top + (1 - share) * inner;
  const parts = [];
  for (const share of [0, 0.25, 0.5, 0.75, 0.99]) {
    parts.push(
      `<line x1="${left}" x2="${left + width}" y1="${y(share)}" y2="${y(share)}" stroke="#dddddd"/>`,
      `<text x="${left - 8}" y="${y(share) + 4}" text-anchor="end" fill="#555555">${share * 100} %</text>`,
    );
  }
  const wide = high - low > 2.5;
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade++) {
    for (const step of wide ? [1] : [1, 2, 5]) {
      const us = step * 10 ** decade;
      if (Math.log10(us) < low - 1e-9 || Math.log10(us) > high + 1e-9) continue;
      parts.push(
        `<line x1="${x(us).toFixed(1)}" x2="${x(us).toFixed(1)}" y1="${top}" y2="${top + inner}" stroke="#eeeeee"/>`,
        `<text x="${x(us).toFixed(1)}" y="${top + inner + 20}" text-anchor="middle" fill="#555555">${duration(us)}</text>`,
      );
    }
  }
  parts.push(
    `<text x="${left + width / 2}" y="${height - 12}" text-anchor="middle" fill="#555555">time (log)</text>`,
    `<text x="${left}" y="${top - 10}" fill="#555555">share answered</text>`,
  );
  shown.forEach(({ name, values, lost = 0 }, index) => {
    const color = COLORS[index % COLORS.length];
    const sorted = sort(values);
    const total = sorted.length + lost;
    // A few hundred points draw what thousands would.
    const points = [`${x(/** @type {number} */ (sorted[0])).toFixed(1)},${y(0).toFixed(1)}`];
    const steps = Math.min(sorted.length, 400);
    for (let i = 0; i < steps; i++) {
      const at = steps === 1 ? 0 : Math.round((i * (sorted.length - 1)) / (steps - 1));
      points.push(`${x(/** @type {number} */ (sorted[at])).toFixed(1)},${y((at + 1) / total).toFixed(1)}`);
    }
    const middle = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
    const legend = top + 14 + index * 36;
    const dash = index >= 5 ? ' stroke-dasharray="6 3"' : '';
    parts.push(
      `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="${index === 0 ? 3 : 2}"${dash}/>`,
      `<line x1="${left + width + 14}" x2="${left + width + 34}" y1="${legend - 4}" y2="${legend - 4}" stroke="${color}" stroke-width="3"${dash}/>`,
      `<text x="${left + width + 40}" y="${legend}" font-weight="${index === 0 ? 600 : 400}">${xml(name)}</text>`,
      `<text x="${left + width + 40}" y="${legend + 15}" font-size="12" fill="#555555">${duration(middle)}${lost > 0 ? `, ${lost} lost` : ''}</text>`,
    );
  });
  return picture(height, title, subtitle, parts);
}

/**
 * Groups of bars from zero.
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.subtitle
 * @param {{ name: string, bars: { name: string, value: number, low?: number, high?: number, note?: string }[] }[]} options.groups
 * @param {(value: number) => string} [options.format]
 * @param {boolean} [options.log] a log axis, for values that differ a thousandfold
 */
export function bars({ title, subtitle, groups, format = count, log = false }) {
  const left = 170;
  const right = 110;
  const top = 70;
  const line = 24;
  const width = WIDTH - left - right;
  const all = groups.flatMap(({ bars }) => bars);
  const most = Math.max(...all.map(({ value, high }) => Math.max(value, high ?? value)));
  const least = Math.min(...all.map(({ value }) => value).filter((value) => value > 0));
  const floor = 10 ** Math.floor(Math.log10(least) - 0.3);
  const scale = (/** @type {number} */ value) => {
    if (value <= 0) return 0;
    return log ? Math.max(2, (Math.log(value / floor) / Math.log(most / floor)) * width) : (value / most) * width;
  };
  const parts = [];
  let y = top;
  const order = [...new Set(all.map(({ name }) => name))];
  for (const group of groups) {
    if (group.name) {
      parts.push(`<text x="24" y="${y + 16}" font-weight="600">${xml(group.name)}</text>`);
      y += line;
    }
    for (const { name, value, low, high, note } of group.bars) {
      const color = name.startsWith('overns') ? OWN : '#9aa5b1';
      const end = left + scale(value);
      parts.push(
        `<text x="${left - 8}" y="${y + 15}" text-anchor="end">${xml(name)}</text>`,
        `<rect x="${left}" y="${y + 3}" width="${scale(value).toFixed(1)}" height="${line - 8}" fill="${color}" opacity="${name === order[0] || !name.startsWith('overns') ? 1 : 0.6}"/>`,
      );
      let after = end;
      if (low !== undefined && high !== undefined && high > low) {
        const middle = y + 3 + (line - 8) / 2;
        parts.push(
          `<line x1="${(left + scale(low)).toFixed(1)}" x2="${(left + scale(high)).toFixed(1)}" y1="${middle}" y2="${middle}" stroke="#222222"/>`,
        );
        after = Math.max(after, left + scale(high));
      }
      parts.push(
        `<text x="${(after + 8).toFixed(1)}" y="${y + 15}">${xml(format(value))}${note ? ` ${xml(note)}` : ''}</text>`,
      );
      y += line;
    }
    y += 10;
  }
  if (log) parts.push(`<text x="${left}" y="${y + 8}" fill="#555555">log scale</text>`);
  return picture(y + 20, title, subtitle, parts);
}
