// @ts-check
/**
 * The first packet from one container to another, with everything on its way forgotten before: ping, TCP's connect(),
 * and a burst of 50 datagrams of 1000 bytes; `burst`: of 500. `l2`: ping, with the addresses still known and the FDB entries gone.
 *
 * Two references need no daemon: `static`, the same overlay with its entries written beforehand, and Docker's Swarm
 * overlay, which fills its tables so; of both only the containers' own ARP caches are forgotten, and of `overns-ahead`, whose
 * agent writes the entries before anyone asks.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { startSwarm } from '../lib/docker.mjs';
import { consulPeer, floorPeer, goPeer, overnsPeer, seedPeer, serving } from '../lib/peers.mjs';
import { CPU, exec } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { pooledRatio, ratio, summarize } from '../lib/stats.mjs';
import { cdf } from '../lib/svg.mjs';
import { program } from '../lib/tools.mjs';
import { answered, interleave, pick } from '../lib/trials.mjs';
import { forgetAll, makeSide, twoHosts, writeEntries } from '../lib/world.mjs';

export default { pairs: 40, quick: 1, run };

const LATE_US = 100_000;
const CASES = /** @type {const} */ (['icmp', 'tcp', 'udp', 'burst', 'l2']);

/** @typedef {{ ns: (number | null)[], last?: (number | null)[], first?: (number | null)[], sent?: number, lost?: number, late?: number, duplicates?: number, reordered?: number }} Probed */
/** @typedef {Partial<Record<(typeof CASES)[number], Probed>>} Trial */
/**
 * @typedef {object} System
 * @property {string} name
 * @property {import('../lib/peers.mjs').Peer[]} peers
 * @property {Partial<Record<(typeof CASES)[number], number>>} counts
 * @property {string[]} between arguments of the prober: which containers
 * @property {string} [cold]
 * @property {() => Promise<unknown>} [before]
 * @property {number} [every]
 */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, against, pairs, quick, log }) {
  const [hostA, hostB] = await twoHosts();
  const a = await makeSide(overns, hostA, ['192.168.0.2']);
  const b = await makeSide(overns, hostB, ['192.168.0.3']);
  const [one] = a.containers;
  const [two] = b.containers;
  if (!one || !two) throw new Error('no containers');
  /** @type {[string, string][]} */
  const endpoints = [
    [one.ip, hostA.vtep],
    [two.ip, hostB.vtep],
  ];
  const knownA = { first: one.ip, count: 2, vtep: hostB.vtep };
  const knownB = { first: one.ip, count: 2, vtep: hostA.vtep };

  /** @type {Record<string, string>} */
  const absent = {};
  const containers = ['--container-a', one.path, '--container-b', two.path, '--ip-a', one.ip, '--ip-b', two.ip];
  const between = [...containers, '--overlay-a', a.path, '--overlay-b', b.path];
  const counts = quick ? { icmp: 10, tcp: 2, udp: 2, burst: 1 } : { icmp: 50, tcp: 5, udp: 5, burst: 2 };
  const lossless = { ...counts, l2: counts.tcp };
  const step = quick ? { icmp: 1 } : { icmp: 1, tcp: 1, udp: 1 };
  const every = quick ? pairs : 4;
  /** @param {string} where @param {Record<string, unknown>} [more] */
  const pairOf = (where, more = {}) => {
    const nothing = { first: one.ip, count: 0, vtep: hostB.vtep };
    return [a, b].map((side) => overnsPeer(where, side, nothing, { endpoints, ...more }));
  };
  const consul = await consulPeer(
    hostA,
    endpoints.map(([address, vtep]) => ({ ip: address, mac: address === one.ip ? one.mac : two.mac, vtep })),
  );
  /** @type {System[]} */
  const systems = [
    { name: 'overns', peers: pairOf(folder), counts: lossless, between },
    { name: 'floor', peers: [floorPeer(a, knownA), floorPeer(b, knownB)], counts, between },
    { name: 'floor-again', peers: [floorPeer(a, knownA), floorPeer(b, knownB)], counts, between },
    {
      name: 'static',
      peers: [],
      counts,
      between: containers,
      before: () => writeEntries(a, b),
    },
    {
      name: 'overns-ahead',
      peers: pairOf(folder, { program: 'ahead' }),
      counts,
      between: containers,
      // A request that is tapped within a second of the entry's writing is replayed, since the kernel may have swallowed it.
      before: () => sleep(1500),
    },
    { name: 'overns-primed', peers: pairOf(folder, { prime: true }), counts, between },
    { name: 'overns-js', peers: pairOf(folder, { store: 'lookup' }), counts, between },
    ...Object.entries(against).map(([name, path]) => ({ name, peers: pairOf(path), counts: lossless, between })),
  ];
  if (typeof consul !== 'string') {
    const peers = pairOf(folder, { store: `consul://${consul.host}:8500/demo` }).map((peer, i) => ({
      ...peer,
      netns: `/run/netns/${[a, b][i]?.host.name}`,
      consul,
    }));
    systems.push({ name: 'overns-consul', peers, counts: lossless, between, every: quick ? pairs : 2 });
  } else absent['overns-consul'] = consul;
  for (const [name, peers, tries] of /** @type {const} */ ([
    ['go', await Promise.all([goPeer(a, knownA), goPeer(b, knownB)]), step],
    ['seed', await Promise.all([seedPeer(a, consul), seedPeer(b, consul)]), step],
  ])) {
    const why = peers.find((peer) => typeof peer === 'string');
    if (typeof why === 'string') absent[name] = why;
    else
      systems.push({
        name,
        peers: /** @type {import('../lib/peers.mjs').Peer[]} */ (peers),
        counts: tries,
        between,
        every,
      });
  }
  const swarm = await startSwarm(log);
  if (typeof swarm === 'string') absent.docker = swarm;
  else systems.splice(3, 0, { name: 'docker', peers: [], counts, between: swarm.between, cold: 'arp' });

  const trials = await interleave({
    systems,
    pairs,
    log,
    absent,
    trial: ({ peers, counts, between, before, cold = 'all' }) =>
      serving(peers, async () => {
        await before?.();
        await sleep(peers.length > 0 ? 100 : 20);
        /** @type {Trial} */
        const result = {};
        for (const each of CASES) {
          const count = counts[each];
          if (!count) continue;
          const kind = {
            icmp: ['icmp', '--cold', cold],
            tcp: ['tcp', '--cold', cold],
            udp: ['udp', '--cold', cold],
            burst: ['udp', '--cold', cold, '--burst', '500'],
            l2: ['icmp', '--cold', 'fdb'],
          }[each];
          const { stdout } = await exec([program('probe'), ...between, '--kind', ...kind, '--count', String(count)], {
            cpu: CPU.asker,
            timeout: 300_000,
          });
          result[each] = JSON.parse(stdout);
        }
        return result;
      }).finally(() => forgetAll(a, b)),
  });

  /** @type {Record<string, any>} */
  const summaries = {};
  /** @type {Record<string, Partial<Record<string, (readonly number[] | undefined)[]>>>} */
  const data = {};
  for (const { name, counts } of systems) {
    /** @type {Record<string, any>} */
    const cases = {};
    /** @type {Partial<Record<string, (readonly number[] | undefined)[]>>} */
    const own = {};
    data[name] = own;
    for (const each of CASES) {
      if (!counts[each]) continue;
      const all = (trials.get(name) ?? []).map((trial) => trial?.[each]);
      // The time of a burst is when all of it is there. Its first datagram may be one that was sent after the answer
      // came, past those that still stood in the queue.
      const values = pick(all, (probed) => answered(probed.last ?? probed.ns));
      own[each] = values;
      const sum = (/** @type {(probed: Probed) => number} */ of) =>
        all.reduce((total, probed) => total + (probed ? of(probed) : 0), 0);
      const lateOf = (/** @type {Probed} */ { late, first, ns }) =>
        late ?? (first ?? ns).filter((value) => value !== null && value / 1000 > LATE_US).length;
      const sent = sum((probed) => probed.sent ?? probed.ns.length);
      cases[each] = {
        ...summarize(values.map((value) => value ?? [])),
        sent,
        lost: sum((probed) => probed.lost ?? probed.ns.filter((value) => value === null).length),
        late: sum(lateOf),
        ...(each === 'udp' || each === 'burst'
          ? { duplicates: sum((p) => p.duplicates ?? 0), reordered: sum((p) => p.reordered ?? 0) }
          : {}),
      };
    }
    const { icmp, ...rest } = cases;
    summaries[name] = { ...icmp, cases: rest };
  }

  /** @type {Record<string, any>} */
  const ratios = {};
  const compare = (/** @type {string} */ over, /** @type {string} */ under) => {
    if (!data[over]?.icmp || !data[under]?.icmp) return;
    /** @type {Record<string, any>} */
    const found = {};
    for (const each of CASES) {
      const p50 = ratio(data[over]?.[each] ?? [], data[under]?.[each] ?? []);
      if (p50) found[each] = p50;
    }
    const p99 = pooledRatio(data[over]?.icmp ?? [], data[under]?.icmp ?? [], 0.99);
    if (p99) found['icmp-p99'] = p99;
    ratios[`${over}/${under}`] = found;
  };
  for (const under of ['floor', 'docker', 'static', ...Object.keys(against)]) compare('overns', under);
  compare('overns-ahead', 'static');
  for (const over of ['floor-again', 'overns-js', 'overns-consul', ...Object.keys(against)]) compare(over, 'floor');
  for (const over of ['go', 'seed']) compare(over, 'overns');
  compare('seed', 'overns-consul');

  const rows = CASES.flatMap((each) =>
    systems
      .filter(({ counts }) => counts[each])
      .map(({ name }) => {
        const found = each === 'icmp' ? summaries[name] : summaries[name].cases[each];
        const { n, p50, p99, max, spread, sent, lost, late } = found;
        return [
          `${each} ${name}`,
          n,
          p50,
          `${Math.round(spread[0])}-${Math.round(spread[1])}`,
          p99,
          max,
          sent,
          lost,
          late,
        ];
      }),
  );
  return {
    json: { bench: 'first-packet', unit: 'us', systems: summaries, ratios, absent },
    tables: [
      table(
        `first-packet: µs to the reply, the connection, the last datagram of a burst (${pairs} pairs; late: more than 100 ms)`,
        ['', 'n', 'p50', 'trials', 'p99', 'max', 'sent', 'lost', 'late'],
        rows,
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', ...CASES, 'icmp p99', 'pairs'],
        Object.entries(ratios).map(([name, each]) => [
          name,
          ...CASES.map((kind) => ratioText(each[kind])),
          ratioText(each['icmp-p99']),
          String(each.icmp?.pairs ?? 0),
        ]),
      ),
    ],
    claims: [
      ...CASES.flatMap((each) => {
        const { lost, late } = each === 'icmp' ? summaries.overns : summaries.overns.cases[each];
        return [claim(`${each}: lost`, lost, '<=', 0), claim(`${each}: later than 100 ms`, late, '<=', 0)];
      }),
      claim('ping: p50, overns/floor', ratios['overns/floor']?.icmp?.median, '<=', 1.15),
      claim('ping: p50, overns/docker', ratios['overns/docker']?.icmp?.median, '<=', 2.25),
      claim('ping: p50, overns-ahead/static', ratios['overns-ahead/static']?.icmp?.median, '<=', 1.1),
      claim('ping: p50, seed/overns', ratios['seed/overns']?.icmp?.median, '>=', 1000),
    ],
    pictures: {
      'first-packet': cdf({
        title: 'The first ping between two containers',
        subtitle: 'both hosts cold: neighbours, FDB and the containers’ ARP caches forgotten before each',
        series: systems
          .filter(({ name }) => name !== 'floor-again')
          .map(({ name }) => ({ name, values: (data[name]?.icmp ?? []).flatMap((each) => each ?? []) })),
      }),
    },
  };
}
