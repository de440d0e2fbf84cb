// @ts-check
/**
 * The news of a namespace, as a program gets them: `burst`, new neighbours as fast as the kernel makes them; `fast`, at
 * 100,000 a second, of which nothing should be lost; `steady`, at a rate that all should keep up with, for what it costs;
 * `dump`, a list of 100,000.
 */
import { rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../../scripts/lib/process.mjs';
import { onCleanup } from '../lib/cleanup.mjs';
import { CPU, exec, Running, usage } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { median, ratio, summarize } from '../lib/stats.mjs';
import { bars, count } from '../lib/svg.mjs';
import { program, provide } from '../lib/tools.mjs';
import { interleave, pick } from '../lib/trials.mjs';
import { ip, makeNetns, pathOf, removeNetns } from '../lib/world.mjs';

export default { pairs: 10, quick: 1, run };

const FIRST = '100.64.0.0';

/** @typedef {{ received: number, overruns: number, last: number, died?: boolean }} Heard `last`: when it came, ms since 1970 */
/** @typedef {{ burst: Heard & { seconds: number }, fast: Heard, steady: Heard & { cpu: number }, dump: { rows: number, seconds: number } }} Trial */
/**
 * @typedef {object} System
 * @property {string} name
 * @property {(name: string) => { command: string[], env?: NodeJS.ProcessEnv, netns?: string }} listen
 * @property {() => Promise<Heard>} [count] what it has heard, when it does not answer itself
 * @property {string[]} [list] the whole command that prints the neighbours, when it is not the listener with --dump
 */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ folder, against, pairs, quick, log }) {
  const burst = quick ? 10_000 : 200_000;
  const quickly = 100_000;
  const fast = quickly * (quick ? 1 : 3);
  const rate = 20_000;
  const steady = rate * (quick ? 1 : 3);
  const rows = quick ? 10_000 : 100_000;
  /** @type {Record<string, string>} */
  const absent = {};
  const peer = (/** @type {string[]} */ ...path) => join(root, 'benchmarks/peers', ...path);
  const overns = (/** @type {string} */ path) => (/** @type {string} */ name) => ({
    command: [process.execPath, peer('overns/monitor.mjs'), path, pathOf(name)],
  });
  const lines = join(tmpdir(), `overns-bench-${process.pid}.monitor`);
  onCleanup(() => rmSync(lines, { force: true }));
  /** @type {System[]} */
  const systems = [
    { name: 'overns', listen: overns(folder) },
    { name: 'floor', listen: (name) => ({ command: [program('floor-monitor'), '--netns', pathOf(name)] }) },
    ...Object.entries(against).map(([name, path]) => ({ name, listen: overns(path) })),
    {
      name: 'iproute2',
      // Text, a line each, into a file: counted afterwards.
      listen: (name) => ({ command: ['sh', '-c', `exec ip monitor neigh > "${lines}"`], netns: pathOf(name) }),
      count: async () => {
        const { stdout } = await exec(['grep', '-c', 'lladdr', lines], { check: false });
        return { received: Number(stdout), overruns: 0, last: statSync(lines).mtimeMs };
      },
      list: ['sh', '-c', 'ip -json -4 neigh show dev vxlan1 nud all > /dev/null'],
    },
  ];
  const npm = await provide('npm-netlink');
  if (npm.ok)
    systems.push({
      name: 'npm-netlink',
      listen: (name) => ({ command: [process.execPath, peer('npm-netlink/monitor.cjs')], netns: pathOf(name) }),
    });
  else absent['npm-netlink'] = npm.reason;
  const go = await provide('go');
  if (go.ok)
    systems.push({ name: 'go', listen: (name) => ({ command: [program('go-monitor')], netns: pathOf(name) }) });
  else absent.go = go.reason;
  const python = await provide('python');
  if (python.ok)
    systems.push({
      name: 'pyroute2',
      listen: (name) => ({
        command: [python.interpreter, peer('pyroute2/monitor.py')],
        env: python.env,
        netns: pathOf(name),
      }),
    });
  else absent.pyroute2 = python.reason;

  /** New neighbours, from our own CPU; when it began. @param {string} name @param {number} count @param {number} [each] a second */
  const make = async (name, count, each = 0) => {
    const what = ['--kind', 'neighbor', '--first', FIRST, '--count', String(count), '--rate', String(each)];
    const command = [program('floor-bulk'), '--netns', pathOf(name), ...what, '--chunk', '16'];
    return /** @type {number} */ (JSON.parse((await exec(command, { cpu: CPU.asker })).stdout).began);
  };
  /**
   * Until nothing more comes.
   * @param {Running} listener
   * @param {() => Promise<Heard>} count
   * @param {number} expected
   * @returns {Promise<Heard>}
   */
  const settled = async (listener, count, expected) => {
    const dead = () => {
      const told = listener.stderr.match(/^\{.*\}$/gm)?.at(-1);
      return { received: 0, overruns: 0, last: 0, ...(told ? JSON.parse(told) : {}), died: true };
    };
    let before = -1;
    for (const until = Date.now() + 30_000; ; await sleep(300)) {
      if (!listener.running) return dead();
      const heard = await count().catch(dead);
      if (
        heard.died ||
        heard.received >= expected ||
        (heard.received === before && heard.received > 0) ||
        Date.now() > until
      )
        return heard;
      before = heard.received;
    }
  };

  /** @template T @param {(name: string) => Promise<T>} fn */
  const inEmpty = async (fn) => {
    const name = await makeNetns('m');
    try {
      await ip(name, 'link add vxlan1 type vxlan id 42 local 10.0.0.10 dstport 4789', 'link set vxlan1 up');
      return await fn(name);
    } finally {
      await removeNetns(name);
    }
  };
  /**
   * @param {System} system
   * @param {number} count
   * @param {number} [each]
   * @returns {Promise<Heard & { cpu: number, seconds: number }>} from the first write to the last news
   */
  const hear = (system, count, each) =>
    inEmpty(async (name) => {
      const { command, env, netns } = system.listen(name);
      const listener = new Running(command, { env, netns, cpu: CPU.peer });
      try {
        const told = system.count ?? (() => listener.ask('count'));
        if (!system.count) await listener.waitFor(/^ready$/m);
        await sleep(200);
        const before = usage(listener.pid).cpu;
        const began = await make(name, count, each);
        const heard = await settled(listener, told, count);
        // Counted in hundredths of a second: too coarse for one event, not for tens of thousands.
        return {
          ...heard,
          seconds: (heard.last - began) / 1000,
          cpu: heard.died ? Number.NaN : usage(listener.pid).cpu - before,
        };
      } finally {
        await listener.stop();
      }
    });

  const trials = await interleave({
    systems,
    pairs,
    log,
    absent,
    trial: async (system) => {
      const first = await hear(system, burst);
      const second = await hear(system, fast, quickly);
      const third = await hear(system, steady, rate);
      const dump = await inEmpty(async (name) => {
        await make(name, rows);
        const { command, env, netns } = system.listen(name);
        const start = performance.now();
        const { stdout } = await exec(system.list ?? [...command, '--dump'], {
          env,
          netns: system.list ? pathOf(name) : netns,
          cpu: '0-1',
        });
        return system.list ? { rows, seconds: (performance.now() - start) / 1000 } : JSON.parse(stdout);
      });
      if (dump.rows < rows) log(`${system.name} listed ${dump.rows} of ${rows}`);
      return /** @type {Trial} */ ({ burst: first, fast: second, steady: third, dump });
    },
  });

  /** @type {Record<string, any>} */
  const summaries = {};
  /** @type {Record<string, Record<string, (readonly number[] | undefined)[]>>} */
  const data = {};
  for (const { name } of systems) {
    const own = trials.get(name);
    const all = (own ?? []).filter((trial) => trial !== undefined);
    const lost = (/** @type {Heard} */ { received }, /** @type {number} */ sent) => sent - received;
    data[name] = {
      burst: pick(own, ({ burst: { received, seconds } }) => (received > 0 ? [received / seconds] : [])),
      cpu: pick(own, ({ steady: { received, cpu } }) =>
        received > 0 && Number.isFinite(cpu) ? [(cpu / received) * 1e6] : [],
      ),
      dump: pick(own, ({ dump }) => [dump.rows / dump.seconds]),
    };
    const of = (/** @type {string} */ what) => summarize([(data[name]?.[what] ?? []).flatMap((each) => each ?? [])]);
    summaries[name] = {
      ...of('burst'),
      lost: median(all.map((trial) => lost(trial.burst, burst))),
      overruns: median(all.map((trial) => trial.burst.overruns)),
      died: all.filter((trial) => [trial.burst, trial.fast, trial.steady].some(({ died }) => died)).length,
      cases: {
        fast: { lost: Math.max(...all.map((trial) => lost(trial.fast, fast))) },
        steady: { cpuMicrosPerEvent: of('cpu').p50, lost: median(all.map((trial) => lost(trial.steady, steady))) },
        dump: of('dump'),
      },
    };
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const { name } of systems) {
    if (name === 'overns') continue;
    ratios[`overns/${name}`] = {
      burst: ratio(data.overns?.burst ?? [], data[name]?.burst ?? []),
      cpu: ratio(data[name]?.cpu ?? [], data.overns?.cpu ?? []),
      dump: ratio(data.overns?.dump ?? [], data[name]?.dump ?? []),
    };
  }
  return {
    json: { bench: 'monitor', unit: 'events/s', systems: summaries, ratios, absent },
    tables: [
      table(
        `monitor: ${burst} new neighbours at once, ${fast} at ${quickly} a second (lost: at most), ${steady} at ${rate} a second, a list of ${rows} (${pairs} pairs, p50)`,
        ['', 'events/s', 'lost', 'overruns', 'died', `lost at ${quickly}`, `µs of CPU/event`, 'lost', 'list rows/s'],
        systems.map(({ name }) => {
          const { p50, lost, overruns, died, cases } = summaries[name];
          return [
            name,
            p50,
            lost,
            overruns,
            died,
            cases.fast.lost,
            cases.steady.cpuMicrosPerEvent,
            cases.steady.lost,
            cases.dump.p50,
          ];
        }),
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'events/s', 'CPU of the other/overns', 'list'],
        Object.entries(ratios).map(([name, each]) => [
          name,
          ratioText(each.burst),
          ratioText(each.cpu),
          ratioText(each.dump),
        ]),
      ),
    ],
    claims: [
      claim('events a second, overns/npm-netlink', ratios['overns/npm-netlink']?.burst?.median, '>=', 5),
      claim('lost at 100,000 a second', summaries.overns.cases.fast.lost, '<=', 0),
      claim('a list, overns/npm-netlink', ratios['overns/npm-netlink']?.dump?.median, '>=', 3),
      claim('a list, overns/pyroute2', ratios['overns/pyroute2']?.dump?.median, '>=', 3),
    ],
    pictures: {
      monitor: bars({
        title: 'News and lists of neighbours',
        subtitle: 'in each language’s own objects; floor: C++ that only counts',
        format: (value) => `${count(value)}/s`,
        groups: /** @type {const} */ ([
          ['events heard, a burst', (/** @type {any} */ s) => s],
          ['rows listed', (/** @type {any} */ s) => s.cases.dump],
        ]).map(([name, of]) => ({
          name,
          bars: systems
            .map((system) => ({ name: system.name, value: of(summaries[system.name]).p50 }))
            .filter(({ value }) => Number.isFinite(value)),
        })),
      }),
    },
  };
}
