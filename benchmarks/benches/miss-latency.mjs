// @ts-check
/**
 * From a container's ARP request to the proxied reply, for an address that the overlay does not know yet.
 *
 * `reply`: both time-stamped by the kernel on the asker's veth, read when all is over. `installed`: until the neighbour
 * entry is there, which is what daemons that leave the request swallowed can be compared by; there the container itself
 * waits for its own retry, a second later.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { consulPeer, endpointsOf, floorPeer, goPeer, overnsPeer, seedPeer, serving } from '../lib/peers.mjs';
import { CPU, exec } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { pooledRatio, ratio, summarize } from '../lib/stats.mjs';
import { cdf } from '../lib/svg.mjs';
import { program } from '../lib/tools.mjs';
import { answered, interleave, pick } from '../lib/trials.mjs';
import { forgetAll, makeSide, twoHosts } from '../lib/world.mjs';

const FIRST = '192.168.16.0';
const ENDPOINTS = 1024;
/** The first answers of a fresh process pay for its page faults: told apart, as `start`. */
const WARM = 5;

export default { pairs: 40, quick: 1, run };

/**
 * @typedef {object} System
 * @property {string} name
 * @property {import('../lib/peers.mjs').Peer} peer
 * @property {boolean} [blocked] its event loop is, meanwhile
 * @property {boolean} [swallows] leaves the request swallowed: the reply comes with the retry
 * @property {number} [every]
 */
/** @typedef {{ reply: (number | null)[], installed: (number | null)[] }} Trial */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, against, pairs, quick, log }) {
  const [host, other] = await twoHosts();
  const side = await makeSide(overns, host, ['192.168.0.2']);
  const known = { first: FIRST, count: ENDPOINTS, vtep: other.vtep };
  const samples = quick ? 20 : 50;
  const few = quick ? 5 : 20;

  /** @type {Record<string, string>} */
  const absent = {};
  /** @type {System[]} */
  const systems = [
    { name: 'overns', peer: overnsPeer(folder, side, known) },
    { name: 'floor', peer: floorPeer(side, known) },
    { name: 'floor-again', peer: floorPeer(side, known) },
    { name: 'overns-js', peer: overnsPeer(folder, side, known, { store: 'lookup' }) },
    { name: 'overns-blocked', peer: overnsPeer(folder, side, known), blocked: true },
    ...Object.entries(against).map(([name, path]) => ({ name, peer: overnsPeer(path, side, known) })),
  ];
  const consul = await consulPeer(host, endpointsOf({ ...known, count: few + WARM + 2 }));
  for (const [name, peer, every] of /** @type {const} */ ([
    ['go', await goPeer(side, known), 1],
    ['seed', await seedPeer(side, consul), quick ? 1 : 4],
  ])) {
    if (typeof peer === 'string') absent[name] = peer;
    else systems.push({ name, peer, swallows: true, every });
  }

  const ask = async (/** @type {number} */ count, /** @type {string[]} */ ...more) => {
    const container = side.containers[0]?.path ?? '';
    const where = ['--netns', container, '--from', '192.168.0.2', '--first', FIRST, '--count', String(count)];
    const { stdout } = await exec([program('asker'), ...where, ...more], { cpu: CPU.asker, timeout: 120_000 });
    return /** @type {(number | null)[]} */ (JSON.parse(stdout).ns);
  };

  const trials = await interleave({
    systems,
    pairs,
    log,
    absent,
    trial: ({ peer, blocked, swallows }) =>
      serving([peer], async ([daemon]) => {
        // The work of its start is over.
        await sleep(50);
        const block = blocked ? daemon?.ask('block 1000') : undefined;
        if (block) await sleep(30);
        const reply = await ask(swallows ? 2 : samples + WARM);
        await block;
        await forgetAll(side);
        const installed = blocked ? [] : await ask(few + WARM, '--installed', side.path);
        return { reply, installed };
      }).finally(() => forgetAll(side)),
  });

  /** @type {Record<string, any>} */
  const summaries = {};
  /** @type {Record<string, Record<'reply' | 'installed', (readonly number[] | undefined)[]>>} */
  const data = {};
  for (const { name, swallows } of systems) {
    const all = trials.get(name);
    const warm = swallows ? 0 : WARM;
    const reply = pick(all, (trial) => answered(trial.reply.slice(warm)));
    const installed = pick(all, (trial) => answered(trial.installed.slice(WARM)));
    data[name] = { reply, installed };
    const lost = pick(all, (trial) => [trial.reply.filter((ns) => ns === null).length]).reduce(
      (sum, each) => sum + (each?.[0] ?? 0),
      0,
    );
    const start = pick(all, (trial) => answered(trial.reply.slice(0, 1))).flatMap((each) => each ?? []);
    summaries[name] = {
      ...summarize(reply.map((each) => each ?? [])),
      unanswered: lost,
      ...(swallows ? {} : { start: summarize([start]).p50 }),
      cases: { installed: summarize(installed.map((each) => each ?? [])) },
    };
  }

  /** @type {Record<string, any>} */
  const ratios = {};
  const compare = (/** @type {string} */ over, /** @type {string} */ under) => {
    const a = data[over];
    const b = data[under];
    if (!a || !b) return;
    const slow = systems.find(({ name }) => name === over)?.swallows;
    ratios[`${over}/${under}`] = slow
      ? { installed: ratio(a.installed, b.installed), reply: ratio(a.reply, b.reply) }
      : { p50: ratio(a.reply, b.reply), p99: pooledRatio(a.reply, b.reply, 0.99) };
  };
  for (const name of ['overns', 'overns-js', 'overns-blocked', 'floor-again', ...Object.keys(against)])
    compare(name, 'floor');
  for (const name of Object.keys(against)) compare('overns', name);
  for (const name of ['go', 'seed']) compare(name, 'overns');

  const rows = systems.map(({ name }) => {
    const { n, p50, p99, max, spread, start, unanswered, cases } = summaries[name];
    return [
      name,
      n,
      p50,
      `${Math.round(spread[0])}-${Math.round(spread[1])}`,
      p99,
      max,
      start ?? Number.NaN,
      unanswered,
      cases.installed.p50,
      cases.installed.p99,
    ];
  });
  const against2 = Object.entries(ratios).map(([name, each]) => [
    name,
    ...('p50' in each ? [ratioText(each.p50), ratioText(each.p99), '-'] : ['-', '-', ratioText(each.installed)]),
    String((each.p50 ?? each.installed)?.pairs ?? 0),
  ]);
  return {
    json: { bench: 'miss-latency', unit: 'us', systems: summaries, ratios, absent },
    tables: [
      table(
        `miss-latency: request to proxied reply, µs (${pairs} pairs, ${samples} misses each; installed: to the neighbour entry)`,
        ['', 'n', 'p50', 'trials', 'p99', 'max', 'first', 'unanswered', 'inst. p50', 'inst. p99'],
        rows,
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'reply p50', 'reply p99', 'installed p50', 'pairs'],
        against2,
      ),
    ],
    claims: [
      claim('known: p50, overns/floor', ratios['overns/floor']?.p50?.median, '<=', 1.15),
      claim('known: p99 of all, overns/floor', ratios['overns/floor']?.p99?.median, '<=', 1.5),
      claim('event loop blocked: p50, overns/floor', ratios['overns-blocked/floor']?.p50?.median, '<=', 1.15),
      claim('event loop blocked: p99 of all, overns/floor', ratios['overns-blocked/floor']?.p99?.median, '<=', 1.5),
      claim('JavaScript store: p50, overns/floor', ratios['overns-js/floor']?.p50?.median, '<=', 2.5),
      claim('entry there: p50, seed/overns', ratios['seed/overns']?.installed?.median, '>=', 30),
    ],
    pictures: {
      'miss-latency': cdf({
        title: 'A miss answered: from the request to the proxied reply',
        subtitle: 'ARP for an address unknown to the overlay; kernel time stamps on the asker’s veth',
        series: systems
          .filter(({ name }) => name !== 'floor-again')
          .map(({ name }) => ({
            name,
            values: (data[name]?.reply ?? []).flatMap((each) => each ?? []),
            lost: summaries[name].unanswered,
          })),
      }),
    },
  };
}
