#!/usr/bin/env node
// @ts-check
/**
 * Puts the results of the last runs into the documentation: the tables of benchmarks/results/NAME.txt between the markers
 * of docs/performance.md, the pictures into docs/img. Quick runs, and those of a busy machine, are refused.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, Stop, script } from '../scripts/lib/process.mjs';

await script(async () => {
  const results = join(root, 'benchmarks/results');
  const page = join(root, 'docs/performance.md');
  const images = join(root, 'docs/img');
  mkdirSync(images, { recursive: true });
  const force = process.argv.includes('--force');
  let text = readFileSync(page, 'utf8');
  for (const file of existsSync(results) ? readdirSync(results) : []) {
    if (!file.endsWith('.json')) continue;
    const name = file.slice(0, -'.json'.length);
    const { quick, busy, machine, seconds } = JSON.parse(readFileSync(join(results, file), 'utf8'));
    if (!force && (quick || Math.max(...busy) > 0.05)) {
      process.stderr.write(`publish: ${name} left out: ${quick ? 'a quick run' : 'others kept the machine busy'}\n`);
      continue;
    }
    const begin = `<!-- ${name} -->`;
    const end = `<!-- /${name} -->`;
    const from = text.indexOf(begin);
    const to = text.indexOf(end);
    if (from < 0 || to < from) throw new Stop(`publish: docs/performance.md lacks the markers ${begin} and ${end}`);
    const figures = readFileSync(join(results, `${name}.txt`), 'utf8').trimEnd();
    const block = `${begin}\n\`\`\`\n${figures}\n\`\`\`\n${machine}; ${seconds} s.\n${end}`;
    text = text.slice(0, from) + block + text.slice(to + end.length);
    if (existsSync(join(results, `${name}.svg`)))
      copyFileSync(join(results, `${name}.svg`), join(images, `${name}.svg`));
    process.stderr.write(`publish: ${name}\n`);
  }
  writeFileSync(page, text);
});
