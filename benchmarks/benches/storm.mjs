// @ts-check
/**
 * One container scans: distinct unknown addresses, 100,000 a second for ten seconds. Meanwhile another one asks for
 * addresses that are known, and should not notice. `overrun`: the daemon is stopped for a second under the same flood,
 * so that the kernel drops misses; then everything that was asked for is to be answered at the next packet.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { consulPeer, endpointsOf, floorPeer, goPeer, overnsPeer, seedPeer, serving } from '../lib/peers.mjs';
import { CPU, exec, Running, usage } from '../lib/process.mjs';
import { claim, ratioText, short, table } from '../lib/report.mjs';
import { median, pooledRatio, ratio, summarize } from '../lib/stats.mjs';
import { cdf } from '../lib/svg.mjs';
import { program } from '../lib/tools.mjs';
import { answered, interleave, pick } from '../lib/trials.mjs';
import { forgetAll, makeSide, twoHosts } from '../lib/world.mjs';

export default { pairs: 5, quick: 1, run };

const FIRST = '192.168.16.0';
const ENDPOINTS = 4096;
const UNKNOWN = '172.16.0.0';

/**
 * @typedef {object} Trial
 * @property {(number | null)[]} ns of the known endpoints during the flood
 * @property {number} rate misses a second that the flood achieved
 * @property {boolean} alive
 * @property {number} cpu of the daemon during the flood, share of one CPU
 * @property {number[]} rss bytes, before and after it
 * @property {number} peak
 * @property {Record<string, number>} [stats] of overns
 * @property {{ ns: (number | null)[], stats?: Record<string, number>, alive: boolean }} overrun
 */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, against, pairs, quick, log }) {
  const [host, other] = await twoHosts();
  const side = await makeSide(overns, host, ['192.168.0.2', '192.168.0.3']);
  const [scanner, asker] = side.containers;
  if (!scanner || !asker) throw new Error('no containers');
  const known = { first: FIRST, count: ENDPOINTS, vtep: other.vtep };
  const rate = 100_000;
  const seconds = quick ? 1 : 10;

  /** @type {Record<string, string>} */
  const absent = {};
  /** @type {{ name: string, peer: import('../lib/peers.mjs').Peer, own?: boolean, limit?: number }[]} */
  const systems = [
    { name: 'overns', peer: overnsPeer(folder, side, known, { store: 'table' }), own: true },
    { name: 'floor', peer: floorPeer(side, known) },
    ...Object.entries(against).map(([name, path]) => ({
      name,
      peer: overnsPeer(path, side, known, { store: 'table' }),
      own: true,
    })),
  ];
  const no = 'not in a quick run';
  const consul = quick ? no : await consulPeer(host, endpointsOf({ ...known, count: 512 }));
  for (const [name, peer] of /** @type {const} */ ([
    ['go', quick ? no : await goPeer(side, known)],
    ['seed', quick ? no : await seedPeer(side, consul)],
  ])) {
    if (typeof peer === 'string') absent[name] = peer;
    // One trial shows what becomes of them.
    else systems.push({ name, peer, limit: 1 });
  }

  const flood = (/** @type {number} */ length) =>
    new Running(
      [
        program('flood'),
        '--netns',
        scanner.path,
        '--from',
        scanner.ip,
        '--first',
        UNKNOWN,
        '--count',
        String(rate * length),
        '--rate',
        String(rate),
        '--seconds',
        String(2 * length),
      ],
      { cpu: CPU.asker },
    );
  const ask = async (/** @type {string} */ first, /** @type {number} */ count, /** @type {string[]} */ ...more) => {
    const where = ['--netns', asker.path, '--from', asker.ip, '--first', first, '--count', String(count)];
    const { stdout } = await exec([program('asker'), ...where, ...more], { cpu: CPU.asker, timeout: 120_000 });
    return /** @type {(number | null)[]} */ (JSON.parse(stdout).ns);
  };

  const trials = await interleave({
    systems,
    pairs,
    log,
    absent,
    trial: ({ peer, own }) =>
      serving([peer], async ([daemon]) => {
        if (!daemon) throw new Error('no daemon');
        await sleep(100);
        await ask(FIRST, 10);
        const before = usage(daemon.pid);
        const running = flood(seconds);
        await sleep(200);
        const gap = 5;
        // As long as the flood lasts, no longer: the seed's endpoints are the first few hundred.
        const count = Math.min(Math.floor(((seconds - 0.7) * 1000) / gap), 500);
        const ns = await ask('192.168.16.16', count, '--gap-us', String(gap * 1000), '--rounds', '1');
        await running.exited;
        const { sent, seconds: took } = JSON.parse(running.stdout);
        const after = daemon.running ? usage(daemon.pid) : { ...before, rss: 0 };
        const stats = own ? await daemon.ask('stats') : undefined;

        // The same once more, with the daemon stopped while the kernel's queue runs over.
        const again = flood(quick ? 2 : 3);
        await sleep(200);
        daemon.child.kill('SIGSTOP');
        const asking = ask('192.168.24.0', 50, '--gap-us', '10000', '--rounds', '3');
        await sleep(1000);
        daemon.child.kill('SIGCONT');
        const overrun = {
          ns: await asking,
          alive: daemon.running,
          ...(own ? { stats: await daemon.ask('stats') } : {}),
        };
        await again.exited;
        return /** @type {Trial} */ ({
          ns,
          rate: sent / took,
          alive: daemon.running,
          cpu: (after.cpu - before.cpu) / took,
          rss: [before.rss, after.rss],
          peak: after.peak,
          stats: stats && { ...stats, askedPerSecond: stats.asked / took },
          overrun,
        });
      }).finally(() => forgetAll(side)),
  });

  /** @type {Record<string, any>} */
  const summaries = {};
  /** @type {Record<string, (readonly number[] | undefined)[]>} */
  const data = {};
  for (const { name } of systems) {
    const all = (trials.get(name) ?? []).filter((trial) => trial !== undefined);
    const values = pick(trials.get(name), (trial) => answered(trial.ns));
    data[name] = values;
    const of = (/** @type {(trial: Trial) => number} */ what) => median(all.map(what));
    /** @type {Record<string, number>} */
    const stats = {};
    for (const key of Object.keys(all[0]?.stats ?? {})) stats[key] = of((trial) => trial.stats?.[key] ?? 0);
    summaries[name] = {
      ...summarize(values.map((each) => each ?? [])),
      unanswered: all.reduce((sum, { ns }) => sum + ns.filter((value) => value === null).length, 0),
      alive: all.every((trial) => trial.alive),
      rate: of((trial) => trial.rate),
      cpu: of((trial) => trial.cpu),
      rssBefore: of((trial) => trial.rss[0] ?? 0),
      rssAfter: of((trial) => trial.rss[1] ?? 0),
      rssPeak: of((trial) => trial.peak),
      ...(all[0]?.stats ? { stats } : {}),
      overrun: {
        asked: all.reduce((sum, { overrun }) => sum + overrun.ns.length, 0),
        unanswered: all.reduce((sum, { overrun }) => sum + overrun.ns.filter((value) => value === null).length, 0),
        alive: all.every(({ overrun }) => overrun.alive),
        ...(all[0]?.overrun.stats
          ? {
              overruns: of((trial) => trial.overrun.stats?.overruns ?? 0),
              dropped: of((trial) => trial.overrun.stats?.dropped ?? 0),
            }
          : {}),
      },
    };
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const [over, under] of [['overns', 'floor'], ...Object.keys(against).map((name) => ['overns', name])]) {
    const a = data[over ?? ''];
    const b = data[under ?? ''];
    if (a && b) ratios[`${over}/${under}`] = { p50: ratio(a, b), p99: pooledRatio(a, b, 0.99) };
  }

  const mib = (/** @type {number} */ bytes) => `${(bytes / 2 ** 20).toFixed(1)}`;
  return {
    json: { bench: 'storm', unit: 'us', systems: summaries, ratios, absent },
    tables: [
      table(
        `storm: known endpoints answered while ${rate} unknown ones a second are asked for, ${seconds} s, µs (${pairs} pairs)`,
        ['', 'n', 'p50', 'p99', 'max', 'unanswered', 'alive', 'flood/s', 'CPU', 'RSS MiB', 'after', 'peak'],
        systems.map(({ name }) => {
          const s = summaries[name];
          const cells = [name, s.n, s.p50, s.p99, s.max, s.unanswered, s.alive ? 'yes' : 'no', s.rate];
          return [...cells, `${Math.round(s.cpu * 100)} %`, mib(s.rssBefore), mib(s.rssAfter), mib(s.rssPeak)];
        }),
      ),
      table(
        'overrun: stopped for a second under the flood; asked for meanwhile, and once more a second later',
        ['', 'asked', 'unanswered', 'alive', 'overruns', 'dropped'],
        systems.map(({ name }) => {
          const { asked, unanswered, alive, overruns, dropped } = summaries[name].overrun;
          return [name, asked, unanswered, alive ? 'yes' : 'no', overruns ?? '-', dropped ?? '-'];
        }),
      ),
      ...systems
        .filter(({ name }) => summaries[name].stats)
        .map(
          ({ name }) =>
            `${name} counted: ${Object.entries(summaries[name].stats)
              .map(([key, value]) => `${key} ${short(/** @type {number} */ (value))}`)
              .join(', ')}`,
        ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'p50', 'p99'],
        Object.entries(ratios).map(([name, each]) => [name, ratioText(each.p50), ratioText(each.p99)]),
      ),
    ],
    claims: [
      claim('known endpoints: p99, µs', summaries.overns.p99, '<=', 1000),
      claim('known endpoints unanswered', summaries.overns.unanswered, '<=', 0),
      claim('unanswered after an overrun', summaries.overns.overrun.unanswered, '<=', 0),
      claim('memory grown, MiB', (summaries.overns.rssAfter - summaries.overns.rssBefore) / 2 ** 20, '<=', 64),
      claim('lookups a second', summaries.overns.stats?.askedPerSecond, '<=', 20_000),
    ],
    pictures: {
      storm: cdf({
        title: 'Known endpoints answered during a scan',
        subtitle: `another container asks for ${rate / 1000},000 unknown addresses a second`,
        series: systems.map(({ name }) => ({
          name,
          values: (data[name] ?? []).flatMap((each) => each ?? []),
          lost: summaries[name].unanswered,
        })),
      }),
    },
  };
}
