// @ts-check
/**
 * iperf3 from container to container: overns serving, against the same overlay with static entries and no daemon. What
 * is established must not notice that somebody resolves: throughput, the agents' CPU time, and their counters.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { overnsPeer, serving } from '../lib/peers.mjs';
import { CPU, exec, Running, usage } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { median, ratio, summarize } from '../lib/stats.mjs';
import { bars } from '../lib/svg.mjs';
import { provide } from '../lib/tools.mjs';
import { interleave, pick } from '../lib/trials.mjs';
import { forgetAll, makeSide, twoHosts, writeEntries } from '../lib/world.mjs';

export default { pairs: 40, quick: 1, run };

/** @typedef {{ gbps: number, cpu: number, misses: number, answers: number }} Trial */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, against, pairs, quick, log }) {
  /** @type {Record<string, string>} */
  const absent = {};
  const iperf3 = await provide('iperf3');
  if (!iperf3.ok) {
    absent.overns = iperf3.reason;
    return { json: { bench: 'data-path', unit: 'Gbit/s', systems: {}, ratios: {}, absent }, tables: [], pictures: {} };
  }
  const [hostA, hostB] = await twoHosts();
  const a = await makeSide(overns, hostA, ['192.168.0.2']);
  const b = await makeSide(overns, hostB, ['192.168.0.3']);
  const [one] = a.containers;
  const [two] = b.containers;
  if (!one || !two) throw new Error('no containers');
  const seconds = quick ? 1 : 3;
  const endpoints = [
    [one.ip, hostA.vtep],
    [two.ip, hostB.vtep],
  ];
  const nothing = { first: one.ip, count: 0, vtep: hostB.vtep };
  const agents = (/** @type {string} */ path) => [a, b].map((side) => overnsPeer(path, side, nothing, { endpoints }));
  /** @type {{ name: string, peers: import('../lib/peers.mjs').Peer[] }[]} */
  const systems = [
    { name: 'overns', peers: agents(folder) },
    { name: 'static', peers: [] },
    { name: 'static-again', peers: [] },
    ...Object.entries(against).map(([name, path]) => ({ name, peers: agents(path) })),
  ];

  const server = new Running(['iperf3', '--server', '--forceflush'], { netns: two.path, cpu: CPU.peer });
  await server.waitFor(/listening/);

  const trials = await interleave({
    systems,
    pairs,
    log,
    absent,
    trial: ({ peers }) =>
      serving(peers, async (daemons) => {
        if (peers.length === 0) await writeEntries(a, b);
        await sleep(50);
        // The first packets are another bench's.
        await exec(['ping', '-n', '-c', '2', '-i', '0.2', two.ip], { netns: one.path });
        const counters = async () => {
          let misses = 0;
          let answers = 0;
          for (const daemon of daemons) {
            const stats = await daemon.ask('stats');
            misses += stats.misses;
            answers += stats.answers;
          }
          return { misses, answers };
        };
        const cpu = () => daemons.reduce((sum, daemon) => sum + usage(daemon.pid).cpu, 0);
        const before = { ...(await counters()), cpu: cpu() };
        const { stdout } = await exec(['iperf3', '--client', two.ip, '--time', String(seconds), '--json'], {
          netns: one.path,
          cpu: CPU.asker,
        });
        const spent = cpu() - before.cpu;
        const after = await counters();
        return /** @type {Trial} */ ({
          gbps: JSON.parse(stdout).end.sum_received.bits_per_second / 1e9,
          cpu: spent / seconds,
          misses: after.misses - before.misses,
          answers: after.answers - before.answers,
        });
      }).finally(() => forgetAll(a, b)),
  });

  /** @type {Record<string, any>} */
  const summaries = {};
  /** @type {Record<string, (readonly number[] | undefined)[]>} */
  const data = {};
  for (const { name } of systems) {
    const all = (trials.get(name) ?? []).filter((trial) => trial !== undefined);
    const values = pick(trials.get(name), (trial) => [trial.gbps]);
    data[name] = values;
    summaries[name] = {
      ...summarize([values.flatMap((each) => each ?? [])]),
      cpu: all.reduce((sum, { cpu }) => sum + cpu, 0) / all.length,
      cpuMax: Math.max(...all.map(({ cpu }) => cpu)),
      misses: median(all.map(({ misses }) => misses)),
      missesMax: Math.max(...all.map(({ misses }) => misses)),
    };
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const [over, under] of [
    ['overns', 'static'],
    ['static-again', 'static'],
    ...Object.keys(against).map((name) => ['overns', name]),
  ])
    ratios[`${over}/${under}`] = ratio(data[over ?? ''] ?? [], data[under ?? ''] ?? []);

  const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(2)} %`;
  return {
    json: { bench: 'data-path', unit: 'Gbit/s', systems: summaries, ratios, absent },
    tables: [
      table(
        `data-path: iperf3, one stream, Gbit/s (${pairs} pairs of ${seconds} s; CPU: both agents, of one CPU; misses: during a trial)`,
        ['', 'n', 'p50', 'min', 'max', 'CPU', 'CPU max', 'misses', 'misses max'],
        systems.map(({ name }) => {
          const { n, p50, min, max, cpu, cpuMax, misses, missesMax } = summaries[name];
          return [name, n, p50, min, max, percent(cpu), percent(cpuMax), misses, missesMax];
        }),
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'Gbit/s', 'pairs'],
        Object.entries(ratios).map(([name, each]) => [name, ratioText(each), String(each?.pairs ?? 0)]),
      ),
    ],
    claims: [
      claim('upper bound of the interval, overns/static', ratios['overns/static']?.high, '>=', 0.97),
      claim('CPU time of the agents, share of one CPU', summaries.overns.cpu, '<=', 0.01),
      claim('misses during a trial, most', summaries.overns.missesMax, '<=', 0),
    ],
    pictures: {
      'data-path': bars({
        title: 'Throughput of an established flow',
        subtitle: 'iperf3 from container to container, one stream; median, and from the least to the most',
        format: (value) => `${Number(value.toPrecision(3))} Gbit/s`,
        groups: [
          {
            name: '',
            bars: systems.map(({ name }) => {
              const { p50, min, max } = summaries[name];
              return { name, value: p50, low: min, high: max };
            }),
          },
        ],
      }),
    },
  };
}
