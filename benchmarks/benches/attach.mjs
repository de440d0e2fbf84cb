// @ts-check
/**
 * Making an overlay on a host, attaching a container, and taking the overlay down again.
 *
 * overns in a fresh Node process, from the call of the library to its return: the first calls, in which the addon is loaded
 * and JavaScript compiled; `overns-again`: the second overlay of such a process, as a daemon has it; `overns-cli`: whole commands, the start of
 * Node included; `floor`: the fewest messages that do it, in C++; `seed`: the blog post's commands; `docker`: an attachable Swarm network and `network connect`, through
 * the API of a daemon that runs already.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../../scripts/lib/process.mjs';
import { startSwarm } from '../lib/docker.mjs';
import { exec } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { ratio, summarize } from '../lib/stats.mjs';
import { bars } from '../lib/svg.mjs';
import { program } from '../lib/tools.mjs';
import { interleave, pick } from '../lib/trials.mjs';
import { makeNetns, pathOf, removeNetns, twoHosts, uniqueName } from '../lib/world.mjs';

export default { pairs: 40, quick: 1, run };

const STEPS = /** @type {const} */ (['create', 'attach', 'delete']);
/** @typedef {{ create: number, attach: number, delete?: number }} Trial milliseconds */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ folder, against, pairs, quick, log }) {
  const [host] = await twoHosts();
  const netns = pathOf(host.name);
  /** @type {Record<string, string>} */
  const absent = {};
  /** @param {() => Promise<unknown>} step */
  const timed = async (step) => {
    const start = performance.now();
    await step();
    return performance.now() - start;
  };

  /** @param {(name: string, container: string) => Promise<Trial>} trial */
  const fresh = (trial) => async () => {
    const name = uniqueName('o');
    const container = await makeNetns('c');
    try {
      return await trial(name, container);
    } finally {
      await removeNetns(name);
      await removeNetns(container);
    }
  };
  /** @param {string} path @param {boolean} [again] */
  const library = (path, again = false) =>
    fresh(async (name, container) => {
      const options = { name, host: host.name, container, address: '192.168.0.2/24', again };
      const script = join(root, 'benchmarks/peers/overns/attach.mjs');
      return JSON.parse((await exec([process.execPath, script, path, JSON.stringify(options)])).stdout);
    });
  const cli = fresh(async (name, container) => {
    const overns = (/** @type {string[]} */ ...args) =>
      exec([process.execPath, join(folder, 'dist/cli/main.js'), ...args]);
    const made = ['create', name, '--vni', '4242', '--address', '192.168.0.1/24', '--host', host.name];
    return {
      create: await timed(() => overns(...made)),
      attach: await timed(() => overns('attach', name, `netns:${container}`, '--address', '192.168.0.2/24')),
      delete: await timed(() => overns('delete', name)),
    };
  });
  const floor = fresh(async (name, container) => {
    const where = ['--overlay', pathOf(name), '--container', pathOf(container), '--vtep', host.vtep];
    return JSON.parse((await exec([program('floor-attach'), ...where], { netns })).stdout);
  });
  const seed = fresh(async (name, container) => {
    const script = (/** @type {string[]} */ file, /** @type {string[]} */ ...args) =>
      exec(['sh', join(root, 'benchmarks/peers/seed', ...file), ...args], { netns });
    return {
      create: await timed(() => script(['create-overlay.sh'], name)),
      attach: await timed(() => script(['attach-ctn.sh'], name, container, '2')),
      delete: await timed(() => exec(['ip', 'netns', 'delete', name], { netns })),
    };
  });

  /** @type {{ name: string, once: () => Promise<Trial> }[]} */
  const systems = [
    { name: 'overns', once: library(folder) },
    { name: 'overns-again', once: library(folder, true) },
    { name: 'floor', once: floor },
    { name: 'overns-cli', once: cli },
    ...Object.entries(against).map(([name, path]) => ({ name, once: library(path) })),
    { name: 'seed', once: seed },
  ];
  const swarm = quick ? 'a Swarm takes too long to start for a quick run' : await startSwarm(log);
  if (typeof swarm === 'string') absent.docker = swarm;
  else {
    const { a } = swarm;
    await a.cli('run', '-d', '--name', 'attached', '--net', 'none', swarm.image, 'sleep', '1000000');
    await a.cli('network', 'disconnect', 'none', 'attached');
    let number = 0;
    const docker = async () => {
      const name = `net${++number}`;
      const body = {
        Name: name,
        Driver: 'overlay',
        Attachable: true,
        IPAM: { Config: [{ Subnet: `10.78.${number % 256}.0/24` }] },
      };
      const network = `/networks/${name}`;
      return {
        create: await timed(() => a.api('POST', '/networks/create', body)),
        attach: await timed(() => a.api('POST', `${network}/connect`, { Container: 'attached' })),
        delete: await timed(async () => {
          await a.api('POST', `${network}/disconnect`, { Container: 'attached' });
          await a.api('DELETE', network);
        }),
      };
    };
    systems.push({ name: 'docker', once: docker });
  }

  const trials = await interleave({
    systems,
    pairs,
    log,
    absent,
    trial: async ({ once }) => {
      const result = await once();
      // The kernel takes namespaces down in the background.
      await sleep(150);
      return result;
    },
  });

  /** @param {string} name @param {(trial: Trial) => number | undefined} of */
  const values = (name, of) =>
    pick(trials.get(name), (trial) => {
      const value = of(trial);
      return value === undefined ? undefined : [value];
    });
  const both = (/** @type {Trial} */ trial) => trial.create + trial.attach;
  /** @type {Record<string, any>} */
  const summaries = {};
  for (const { name } of systems) {
    const of = (/** @type {(trial: Trial) => number | undefined} */ what) =>
      summarize([values(name, what).flatMap((each) => each ?? [])]);
    summaries[name] = {
      ...of(both),
      cases: Object.fromEntries(STEPS.map((step) => [step, of((trial) => trial[step])])),
    };
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const [over, under] of [
    ['overns', 'floor'],
    ['overns-again', 'floor'],
    ['seed', 'overns'],
    ['seed', 'overns-again'],
    ['docker', 'overns'],
    ['seed', 'overns-cli'],
    ...Object.keys(against).map((name) => ['overns', name]),
  ]) {
    if (!over || !under || !trials.get(over)?.length || !trials.get(under)?.length) continue;
    ratios[`${over}/${under}`] = {
      'create+attach': ratio(values(over, both), values(under, both)),
      ...Object.fromEntries(
        STEPS.map((step) => [
          step,
          ratio(
            values(over, (t) => t[step]),
            values(under, (t) => t[step]),
          ),
        ]),
      ),
    };
  }
  return {
    json: { bench: 'attach', unit: 'ms', systems: summaries, ratios, absent },
    tables: [
      table(
        `attach: milliseconds (${pairs} pairs; p50)`,
        ['', 'n', 'create+attach', 'p99', ...STEPS],
        systems.map(({ name }) => {
          const { n, p50, p99, cases } = summaries[name];
          return [name, n, p50, p99, ...STEPS.map((step) => cases[step].p50)];
        }),
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'create+attach', ...STEPS, 'pairs'],
        Object.entries(ratios).map(([name, each]) => [
          name,
          ratioText(each['create+attach']),
          ...STEPS.map((step) => ratioText(each[step])),
          String(each['create+attach']?.pairs ?? 0),
        ]),
      ),
    ],
    claims: [
      claim('create and attach: seed/overns', ratios['seed/overns']?.['create+attach']?.median, '>=', 15),
      claim(
        'the same in a daemon: seed/overns-again',
        ratios['seed/overns-again']?.['create+attach']?.median,
        '>=',
        15,
      ),
      claim('attach: docker/overns', ratios['docker/overns']?.attach?.median, '>=', 1),
    ],
    pictures: {
      attach: bars({
        title: 'An overlay made and a container attached',
        subtitle: 'milliseconds, median; fresh process each time; log scale',
        log: true,
        format: (value) => `${Number(value.toPrecision(3))} ms`,
        groups: ['create', 'attach'].map((step) => ({
          name: step,
          bars: systems.map(({ name }) => ({
            name,
            value: summaries[name].cases[step].p50,
            low: summaries[name].cases[step].min,
            high: summaries[name].cases[step].p99,
          })),
        })),
      }),
    },
  };
}
