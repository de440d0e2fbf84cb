// @ts-check
/** FDB and neighbour entries written per second, a thousand to a million of them, each time into an empty device. */
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../scripts/lib/process.mjs';
import { onCleanup } from '../lib/cleanup.mjs';
import { exec } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { median, ratio, summarize } from '../lib/stats.mjs';
import { bars, count } from '../lib/svg.mjs';
import { program, provide } from '../lib/tools.mjs';
import { interleave, pick } from '../lib/trials.mjs';
import { ip, ipAt, macOf, makeNetns, pathOf, removeNetns } from '../lib/world.mjs';

export default { pairs: 40, quick: 1, run };

const FIRST = '100.64.0.0';
const VTEP = '10.0.0.11';
const KINDS = /** @type {const} */ (['fdb', 'neighbor']);
/** @typedef {(typeof KINDS)[number]} Kind */
/** @typedef {{ seconds: number, failed: number }} Written */

/** 1000, 100000, ... in few letters. @param {number} count */
const words = (count) => (count >= 1e6 ? `${count / 1e6}M` : count >= 1e3 ? `${count / 1e3}k` : String(count));

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ folder, against, pairs, quick, log }) {
  /** @type {Record<string, string>} */
  const absent = {};
  const sizes = quick ? [1000, 20_000] : [1000, 100_000, 1_000_000];
  const main = /** @type {number} */ (sizes[1]);

  /** The files of `ip -batch` and `bridge -batch`. @type {Map<string, string>} */
  const files = new Map();
  const batchFile = (/** @type {Kind} */ kind, /** @type {number} */ count) => {
    const name = `${kind}-${count}`;
    const known = files.get(name);
    if (known) return known;
    const path = join(tmpdir(), `overns-bench-${process.pid}-${name}.batch`);
    const lines = [];
    for (let i = 0; i < count; i++) {
      const address = ipAt(FIRST, i);
      const mac = macOf(address);
      lines.push(
        kind === 'fdb'
          ? `fdb replace ${mac} dev vxlan1 self dst ${VTEP} dynamic`
          : `neigh replace ${address} lladdr ${mac} dev vxlan1 nud permanent`,
      );
    }
    writeFileSync(path, `${lines.join('\n')}\n`);
    onCleanup(() => rmSync(path, { force: true }));
    files.set(name, path);
    return path;
  };

  const json = async (/** @type {string[]} */ command, /** @type {import('../lib/process.mjs').Where} */ where = {}) =>
    /** @type {Written} */ (JSON.parse((await exec(command, { cpu: '0-1', timeout: 300_000, ...where })).stdout));
  const overns =
    (/** @type {string} */ path) =>
    (/** @type {Kind} */ kind, /** @type {number} */ count, /** @type {string} */ name) => {
      const options = { netns: pathOf(name), kind, first: FIRST, count, vtep: VTEP };
      return json([process.execPath, join(root, 'benchmarks/peers/overns/bulk.mjs'), path, JSON.stringify(options)]);
    };
  /** @type {Record<Kind, number>} what fits best, seen before and tried again below */
  const chunks = { fdb: 16, neighbor: 64 };
  const floor = (
    /** @type {Kind} */ kind,
    /** @type {number} */ count,
    /** @type {string} */ name,
    chunk = chunks[kind],
  ) => {
    const what = ['--kind', kind, '--first', FIRST, '--count', String(count), '--vtep', VTEP, '--chunk', String(chunk)];
    return json([program('floor-bulk'), '--netns', pathOf(name), ...what]);
  };
  const iproute2 = async (/** @type {Kind} */ kind, /** @type {number} */ count, /** @type {string} */ name) => {
    const file = batchFile(kind, count);
    const start = performance.now();
    await exec([kind === 'fdb' ? 'bridge' : 'ip', '-n', name, '-batch', file], { cpu: '0-1', timeout: 300_000 });
    return { seconds: (performance.now() - start) / 1000, failed: 0 };
  };

  /**
   * @typedef {object} System
   * @property {string} name
   * @property {(kind: Kind, count: number, name: string) => Promise<Written>} write
   * @property {number} [most] entries: a slow one is measured with fewer
   * @property {number} [every]
   */
  /** @type {System[]} */
  const systems = [
    { name: 'overns', write: overns(folder) },
    { name: 'floor', write: floor },
    { name: 'floor-again', write: floor },
    ...Object.entries(against).map(([name, path]) => ({ name, write: overns(path) })),
    { name: 'iproute2', write: iproute2 },
  ];
  const go = await provide('go');
  if (go.ok) {
    const write = (/** @type {Kind} */ kind, /** @type {number} */ count, /** @type {string} */ name) =>
      json([program('go-bulk'), '-kind', kind, '-first', FIRST, '-count', String(count), '-vtep', VTEP], {
        netns: pathOf(name),
      });
    systems.push({ name: 'go', write });
  } else absent.go = go.reason;
  const python = await provide('python');
  if (python.ok) {
    const script = join(root, 'benchmarks/peers/pyroute2/bulk.py');
    const write = (/** @type {Kind} */ kind, /** @type {number} */ count, /** @type {string} */ name) =>
      json([python.interpreter, script, kind, FIRST, String(count), VTEP], { netns: pathOf(name), env: python.env });
    systems.push({ name: 'pyroute2', write, most: quick ? 1000 : 5000, every: quick ? 1 : 4 });
  } else absent.pyroute2 = python.reason;

  /** @template T @param {(name: string) => Promise<T>} fn */
  const inEmpty = async (fn) => {
    const name = await makeNetns('w');
    try {
      await ip(
        name,
        `link add vxlan1 type vxlan id 42 local ${VTEP} dstport 4789 proxy l2miss l3miss`,
        'link set vxlan1 up',
      );
      return await fn(name);
    } finally {
      await removeNetns(name);
    }
  };

  if (!quick) {
    for (const kind of KINDS) {
      /** @type {[number, number][]} */
      const tried = [];
      for (const chunk of [8, 16, 32, 64, 128]) {
        const seconds = [];
        for (let i = 0; i < 3; i++) seconds.push((await inEmpty((name) => floor(kind, main, name, chunk))).seconds);
        tried.push([median(seconds), chunk]);
      }
      chunks[kind] = /** @type {[number, number]} */ (tried.sort((x, y) => x[0] - y[0])[0])[1];
      log(`floor writes ${kind} entries best ${chunks[kind]} to a send`);
    }
  }

  /** @type {Record<string, Record<string, (readonly number[] | undefined)[]>>} */
  const rates = {};
  let failed = 0;
  for (const size of sizes) {
    for (const kind of KINDS) {
      const label = `${kind}-${words(size)}`;
      const taking = systems.map((system) => (size > main && system.most ? { ...system, limit: 0 } : system));
      const trials = await interleave({
        systems: taking,
        pairs: size > main ? Math.ceil(pairs / 10) : pairs,
        log,
        label,
        absent,
        trial: ({ write, most = size }) =>
          inEmpty(async (name) => {
            const count = Math.min(size, most);
            const written = await write(kind, count, name);
            failed += written.failed;
            if (written.failed > 0) log(`${written.failed} of ${count} failed`);
            return count / written.seconds;
          }),
      });
      rates[label] = Object.fromEntries(systems.map(({ name }) => [name, pick(trials.get(name), (rate) => [rate])]));
    }
  }

  const labels = Object.keys(rates);
  const top = `fdb-${words(main)}`;
  /** @type {Record<string, any>} */
  const summaries = {};
  for (const { name } of systems) {
    const cases = Object.fromEntries(
      labels.map((label) => [label, summarize([(rates[label]?.[name] ?? []).flatMap((each) => each ?? [])])]),
    );
    summaries[name] = { ...cases[top], cases };
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const [over, under] of [
    ...systems.filter(({ name }) => name !== 'overns').map(({ name }) => ['overns', name]),
    ['floor-again', 'floor'],
  ]) {
    if (!over || !under) continue;
    ratios[`${over}/${under}`] = Object.fromEntries(
      labels.flatMap((label) => {
        const found = ratio(rates[label]?.[over] ?? [], rates[label]?.[under] ?? []);
        return found ? [[label, found]] : [];
      }),
    );
  }
  return {
    json: { bench: 'bulk', unit: 'entries/s', systems: summaries, ratios, absent },
    tables: [
      table(
        `bulk: entries written per second, p50 (${pairs} pairs, a tenth of them for the largest; failed: ${failed})`,
        ['', ...labels],
        systems.map(({ name }) => [name, ...labels.map((label) => summaries[name].cases[label].p50)]),
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', ...labels],
        Object.entries(ratios).map(([name, each]) => [name, ...labels.map((label) => ratioText(each[label]))]),
      ),
    ],
    claims: KINDS.flatMap((kind) => {
      const of = (/** @type {string} */ under) => ratios[`overns/${under}`]?.[`${kind}-${words(main)}`]?.median;
      return [
        claim(`${kind}: overns/floor`, of('floor'), '>=', 0.85),
        claim(`${kind}: overns/iproute2`, of('iproute2'), '>=', 3),
        claim(`${kind}: overns/go`, of('go'), '>=', 1.5),
        claim(`${kind}: overns/pyroute2`, of('pyroute2'), '>=', 100),
      ];
    }),
    pictures: {
      bulk: bars({
        title: 'Entries written per second',
        subtitle: `into an empty vxlan device; overns from its TypeScript API; ${words(main)} entries (pyroute2: fewer)`,
        format: (value) => `${count(value)}/s`,
        groups: KINDS.map((kind) => ({
          name: kind === 'fdb' ? 'FDB entries' : 'neighbours',
          bars: systems
            .filter(({ name }) => name !== 'floor-again')
            .map(({ name }) => {
              const { p50, min, max } = summaries[name].cases[`${kind}-${words(main)}`];
              return { name, value: p50, low: min, high: max };
            })
            .filter(({ value }) => Number.isFinite(value)),
        })),
      }),
    },
  };
}
