#!/usr/bin/env node
// @ts-check
/**
 * npm run bench [-- NAME...] [--pairs N] [--quick] [--json] [--package DIR] [--against DIR]
 *
 * Every figure is taken for overns and its peers in one run: interleaved, each trial in a fresh process, CPUs pinned.
 * `--quick`: a smoke test of the harness, its figures mean little. `--package DIR`: measures that built checkout instead
 * of building this one; `--against DIR`: has it as one more peer. `--json`: stdout is one object. Pictures and the JSON
 * go to benchmarks/results.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from '../scripts/build.mjs';
import { readFlags } from '../scripts/lib/flags.mjs';
import { install } from '../scripts/lib/install.mjs';
import { root, Stop, script } from '../scripts/lib/process.mjs';
import { privileged } from '../scripts/lib/tools.mjs';
import { scoped } from './lib/cleanup.mjs';
import { busy } from './lib/process.mjs';
import { claimsTable } from './lib/report.mjs';
import { benchEnv, compilePrograms, snapshot } from './lib/tools.mjs';

/** Minutes that each took when docs/performance.md was written. */
const MINUTES = {
  'miss-latency': 5,
  'first-packet': 11,
  attach: 3,
  bulk: 13,
  storm: 3,
  'data-path': 7,
  monitor: 7,
  scale: 4,
  cluster: 8,
  migration: 4,
};
const NAMES = Object.keys(MINUTES);

/**
 * Arguments of a bench.
 * @typedef {object} Context
 * @property {any} overns the library
 * @property {string} folder of the package that is measured
 * @property {Record<string, string>} against further packages, by the name they are shown under
 * @property {number} pairs
 * @property {boolean} quick
 * @property {(text: string) => void} log
 */
/**
 * Result of a bench: `json` is the bench's object on stdout, the rest is for people.
 * @typedef {object} Result
 * @property {{ bench: string, unit: string, systems: Record<string, any>, ratios: Record<string, any>, absent: Record<string, string> }} json
 * @property {string[]} tables
 * @property {import('./lib/report.mjs').Claim[]} [claims] what the documentation says of it
 * @property {Record<string, string>} pictures SVG by name
 */

/** @type {NonNullable<import('node:util').ParseArgsConfig['options']>} */
const OPTIONS = {
  pairs: { type: 'string' },
  quick: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  package: { type: 'string' },
  against: { type: 'string', multiple: true, default: [] },
};

const HELP = `npm run bench [-- NAME...] [--pairs N] [--quick] [--json] [--package DIR] [--against DIR]

Without a NAME it runs all, one after the other:
${Object.entries(MINUTES)
  .map(([name, minutes]) => `  ${name.padEnd(14)} some ${minutes} minutes`)
  .join('\n')}

  --pairs N      how often every system takes its turn (default: the bench's own, 5 to 40)
  --quick        one turn: a smoke test of the harness, its figures mean little
  --json         one object on stdout
  --package DIR  measures that built checkout instead of building this one
  --against DIR  has that one as a peer; may be given again
`;

await script(async () => {
  const { values, positionals } = readFlags('bench', HELP, OPTIONS, NAMES);
  const pairs = values.pairs === undefined ? undefined : Number(values.pairs);
  if (pairs !== undefined && !(Number.isInteger(pairs) && pairs > 0)) throw new Stop('bench: --pairs takes a number');
  if (!privileged())
    throw new Stop('bench: network namespaces and devices need CAP_NET_ADMIN and CAP_SYS_ADMIN: run it as root');

  const names = positionals.length > 0 ? positionals : NAMES;
  const minutes = names.reduce((sum, name) => sum + MINUTES[/** @type {keyof typeof MINUTES} */ (name)], 0);
  const long = values.quick
    ? 'a minute or so each'
    : pairs === undefined
      ? `some ${minutes} minutes`
      : `with ${pairs} pairs`;
  process.stderr.write(`bench: runs ${names.join(', ')}: ${long}; Ctrl-C ends it\n`);

  await install();
  if (values.package === undefined) await build();
  Object.assign(process.env, benchEnv());
  await compilePrograms();
  const folder = snapshot(resolve(values.package ?? root));
  const overns = await import(`${folder}/dist/index.js`);
  const against = Object.fromEntries(
    values.against.map((/** @type {string} */ path, /** @type {number} */ i) => [
      `overns-${values.against.length > 1 ? i + 1 : 'other'}`,
      resolve(path),
    ]),
  );
  const results = join(root, 'benchmarks/results');
  mkdirSync(results, { recursive: true });

  const machine = `${cpus()[0]?.model ?? ''}, ${availableParallelism()} CPUs, Linux ${release()}, Node ${process.version}`;
  const said = [];
  for (const name of names) {
    const { default: bench } = await import(`./benches/${name}.mjs`);
    const before = await busy();
    const started = Date.now();
    const log = (/** @type {string} */ text) => process.stderr.write(`${name}: ${text}\n`);
    /** @type {Result} */
    const result = await scoped(() =>
      bench.run({
        overns,
        folder,
        against,
        quick: values.quick,
        log,
        pairs: pairs ?? (values.quick ? bench.quick : bench.pairs),
      }),
    );
    const claims = result.claims ?? [];
    // Processes that the bench itself has started are given time to end.
    await sleep(3000);
    const others = [before, await busy()];
    const json = {
      ...result.json,
      claims,
      machine,
      busy: others,
      seconds: Math.round((Date.now() - started) / 1000),
      quick: values.quick,
    };
    said.push(json);
    writeFileSync(join(results, `${name}.json`), `${JSON.stringify(json, null, 1)}\n`);
    for (const [picture, svg] of Object.entries(result.pictures)) writeFileSync(join(results, `${picture}.svg`), svg);
    const text = [
      ...result.tables,
      Math.max(...others) > 0.05
        ? `Others used ${others.map((share) => `${Math.round(share * 100)} %`).join(' and ')} of the CPUs before and after: a busy machine's figures mean little.`
        : '',
      claims.length > 0 ? claimsTable(claims) : '',
      ...Object.entries(result.json.absent).map(([who, why]) => `absent: ${who}: ${why}`),
    ].filter(Boolean);
    writeFileSync(join(results, `${name}.txt`), `${text.join('\n\n')}\n`);
    const pictures = Object.keys(result.pictures).map((each) => `benchmarks/results/${each}.svg`);
    if (pictures.length > 0) text.push(`pictures: ${pictures.join(', ')}`);
    const output = values.json ? process.stderr : process.stdout;
    output.write(`\n${text.join('\n\n')}\n\n`);
  }
  if (values.json) process.stdout.write(`${JSON.stringify(said.length === 1 ? said[0] : { benches: said })}\n`);
});
process.exit();
