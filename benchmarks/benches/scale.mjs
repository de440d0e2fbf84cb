// @ts-check
/**
 * Many endpoints: a table of a thousand to a million, how fast it answers (addresses from all over it) and what an
 * endpoint takes. Many overlays: one to two hundred in one process.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { floorPeer, overnsPeer, serving } from '../lib/peers.mjs';
import { CPU, exec, usage } from '../lib/process.mjs';
import { claim, ratioText, short, table } from '../lib/report.mjs';
import { median, ratio, summarize } from '../lib/stats.mjs';
import { cdf } from '../lib/svg.mjs';
import { program } from '../lib/tools.mjs';
import { answered, interleave, pick } from '../lib/trials.mjs';
import { forgetAll, makeSide, twoHosts } from '../lib/world.mjs';

export default { pairs: 20, quick: 1, run };

const FIRST = '172.16.0.0';
const WARM = 5;

/** 1024, 1048576, ... in few letters. @param {number} count */
const words = (count) => (count >= 2 ** 20 ? `${count / 2 ** 20}M` : `${count / 1024}k`);

/** @typedef {{ ns: (number | null)[], startMs: number, native: number, rss: number }} Trial */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, pairs, quick, log }) {
  /** @type {Record<string, string>} */
  const absent = {};
  const sizes = quick ? [1024, 16_384] : [1024, 16_384, 131_072, 1_048_576];
  const most = /** @type {number} */ (sizes.at(-1));
  const counts = quick ? [1, 5] : [1, 10, 50, 200];
  const samples = quick ? 20 : 50;
  const [host, other] = await twoHosts();
  const first = await makeSide(overns, host, ['192.168.0.2']);

  /** @param {import('../lib/world.mjs').Side} side @param {number} span @param {number} count */
  const ask = async (side, span, count) => {
    const [container] = side.containers;
    if (!container) throw new Error('no container');
    const where = ['--netns', container.path, '--from', container.ip, '--first', FIRST, '--span', String(span)];
    const { stdout } = await exec([program('asker'), ...where, '--count', String(count + WARM)], { cpu: CPU.asker });
    return /** @type {(number | null)[]} */ (JSON.parse(stdout).ns).slice(WARM);
  };
  /**
   * @param {import('../lib/peers.mjs').Peer} peer
   * @param {() => Promise<(number | null)[]>} measure
   * @param {boolean} own
   * @returns {Promise<Trial>}
   */
  const trial = async (peer, measure, own) => {
    const start = performance.now();
    return serving([peer], async ([daemon]) => {
      if (!daemon) throw new Error('no daemon');
      const startMs = performance.now() - start;
      // Memory that JavaScript needed on the way is not the table's; it gives its memory back in the background.
      const memory = async () => {
        const { rss, heapTotal, external } = await daemon.ask('memory');
        return rss - heapTotal - external;
      };
      if (own) await memory();
      await sleep(100);
      const ns = await measure();
      await sleep(own ? 1000 : 0);
      const { rss } = usage(daemon.pid);
      return { ns, startMs, native: own ? await memory() : rss, rss };
    });
  };

  const known = (/** @type {number} */ count) => ({ first: FIRST, count, vtep: other.vtep });
  const systems = [
    ...sizes.map((size) => ({
      name: `overns-${words(size)}`,
      size,
      peer: overnsPeer(folder, first, known(size), { store: 'table' }),
    })),
    { name: 'floor', size: most, peer: floorPeer(first, known(most)) },
  ];
  const tables = await interleave({
    systems,
    pairs,
    log,
    label: 'table',
    absent,
    trial: ({ name, size, peer }) =>
      trial(peer, () => ask(first, size, samples), name !== 'floor').finally(() => forgetAll(first)),
  });

  // As many overlays as the largest case wants; a container in the first, the middle and the last of each case.
  const busy = new Set(counts.flatMap((count) => [0, Math.floor((count - 1) / 2), count - 1]));
  const sides = [first];
  const largest = /** @type {number} */ (counts.at(-1));
  for (let i = 1; i < largest; i++) {
    sides.push(await makeSide(overns, host, busy.has(i) ? ['192.168.0.2'] : [], 1000 + i));
    if (i % 50 === 0) log(`${i} overlays made`);
  }
  const many = counts.map((count) => ({
    name: `overns-x${count}`,
    count,
    peer: overnsPeer(folder, first, known(1024), {
      store: 'table',
      overlay: sides
        .slice(0, count)
        .map(({ name }) => name)
        .join(','),
    }),
  }));
  const overlays = await interleave({
    systems: many,
    pairs: Math.ceil(pairs / 4),
    log,
    label: 'overlays',
    absent,
    trial: ({ count, peer }) => {
      const asked = [...new Set([0, Math.floor((count - 1) / 2), count - 1])].map(
        (at) => /** @type {typeof first} */ (sides[at]),
      );
      const measure = async () => {
        const all = [];
        for (const side of asked) all.push(...(await ask(side, 1024, samples)));
        return all;
      };
      return trial(peer, measure, true).finally(() => forgetAll(...asked));
    },
  });

  /** @type {Record<string, any>} */
  const summaries = {};
  /** @type {Record<string, (readonly number[] | undefined)[]>} */
  const data = {};
  for (const [name, trials] of [...tables, ...overlays]) {
    const all = trials.filter((each) => each !== undefined);
    const values = pick(trials, ({ ns }) => answered(ns));
    data[name] = values;
    summaries[name] = {
      ...summarize(values.map((each) => each ?? [])),
      unanswered: all.reduce((sum, { ns }) => sum + ns.filter((value) => value === null).length, 0),
      startMs: median(all.map(({ startMs }) => startMs)),
      rss: median(all.map(({ rss }) => rss)),
      native: median(all.map(({ native }) => native)),
    };
  }
  const small = `overns-${words(/** @type {number} */ (sizes[0]))}`;
  for (const size of sizes.slice(1)) {
    const own = summaries[`overns-${words(size)}`];
    own.bytesPerEndpoint = (own.native - summaries[small].native) / (size - /** @type {number} */ (sizes[0]));
  }
  for (const count of counts.slice(1)) {
    const own = summaries[`overns-x${count}`];
    own.bytesPerOverlay = (own.rss - summaries['overns-x1'].rss) / (count - 1);
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const [over, under] of [
    ...sizes.slice(1).map((size) => [`overns-${words(size)}`, small]),
    [`overns-${words(most)}`, 'floor'],
    ...counts.slice(1).map((count) => [`overns-x${count}`, 'overns-x1']),
  ]) {
    const found = ratio(data[over ?? ''] ?? [], data[under ?? ''] ?? []);
    if (found) ratios[`${over}/${under}`] = found;
  }

  const names = Object.keys(summaries);
  return {
    json: { bench: 'scale', unit: 'us', systems: summaries, ratios, absent },
    tables: [
      table(
        `scale: request to proxied reply, µs, by endpoints in the table and by overlays in the process (${pairs} pairs; overlays: ${Math.ceil(pairs / 4)})`,
        ['', 'n', 'p50', 'p99', 'max', 'unanswered', 'start ms', 'RSS MiB', 'bytes each'],
        names.map((name) => {
          const { n, p50, p99, max, unanswered, startMs, rss, bytesPerEndpoint, bytesPerOverlay } = summaries[name];
          const each = bytesPerEndpoint ?? bytesPerOverlay;
          return [name, n, p50, p99, max, unanswered, startMs, rss / 2 ** 20, each === undefined ? '-' : short(each)];
        }),
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'p50', 'pairs'],
        Object.entries(ratios).map(([name, each]) => [name, ratioText(each), String(each.pairs)]),
      ),
    ],
    claims: [
      claim(
        `p50, ${words(most)} to ${words(/** @type {number} */ (sizes[0]))} endpoints`,
        ratios[`overns-${words(most)}/${small}`]?.median,
        '<=',
        1.2,
      ),
      claim('bytes an endpoint', summaries[`overns-${words(most)}`].bytesPerEndpoint, '<=', 100),
    ],
    pictures: {
      scale: cdf({
        title: 'A miss answered, by the size of the table',
        subtitle: 'from the request to the proxied reply; addresses from all over the table',
        series: systems.map(({ name }) => ({ name, values: (data[name] ?? []).flatMap((each) => each ?? []) })),
      }),
    },
  };
}
