// @ts-check
/**
 * Many agents on one store, which changes all the time: what that costs an agent and the store, and how long it takes until a
 * container that has moved is where it is in the kernels of those who talk to it.
 *
 * Four agents are real, each with an overlay of its own in the kernel and twenty peers that its container has asked for. The others are
 * their watches alone, in one process at a low priority: they would have CPUs of their own.
 *
 * OVERNS_BENCH_CELLS='etcd used 1k,consul' takes those alone whose names begin with one of these.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../../scripts/lib/process.mjs';
import { Bare, Fdb } from '../lib/arrivals.mjs';
import { CPU, exec, Running, usage } from '../lib/process.mjs';
import { claim, short, table } from '../lib/report.mjs';
import { startConsul, startEtcd } from '../lib/servers.mjs';
import { median, summarize } from '../lib/stats.mjs';
import { bars, count } from '../lib/svg.mjs';
import { program, provide } from '../lib/tools.mjs';
import { forgetAll, ipAt, macOf, makeSide, twoHosts } from '../lib/world.mjs';

/** `pairs`: so many moves of either kind in each cell. */
export default { pairs: 20, quick: 3, run };

const FIRST = '172.16.0.0';
const VTEP = '10.9.0.1';
const REAL = 4;
/** The first endpoint is used by all agents, the second by as many, and so many more by each alone. */
const FEW = 10;
const OWN = 18;
/** A move that has not arrived by then, milliseconds, counts as late. */
const LATE_MS = 5000;

/**
 * @typedef {object} Cell
 * @property {'etcd' | 'consul'} store
 * @property {'all' | 'used'} sync
 * @property {number} agents
 * @property {number} endpoints
 * @property {number} changes a second
 */

/** @type {(store: Cell['store'], sync: Cell['sync'], agents: number, endpoints: number, changes: number) => Cell} */
const cell = (store, sync, agents, endpoints, changes) => ({ store, sync, agents, endpoints, changes });

/** By store, with endpoints that only become more. */
const CELLS = [
  cell('etcd', 'used', 10, 1000, 100),
  cell('etcd', 'all', 10, 1000, 100),
  cell('etcd', 'used', 10, 10_000, 100),
  cell('etcd', 'all', 10, 10_000, 100),
  cell('etcd', 'all', 100, 10_000, 100),
  cell('etcd', 'used', 10, 100_000, 100),
  cell('etcd', 'used', 100, 100_000, 100),
  cell('etcd', 'used', 1000, 100_000, 100),
  cell('etcd', 'all', 10, 100_000, 100),
  cell('consul', 'used', 10, 1000, 10),
  cell('consul', 'all', 10, 1000, 10),
  cell('consul', 'used', 10, 10_000, 10),
  cell('consul', 'all', 10, 10_000, 10),
  cell('consul', 'used', 100, 10_000, 10),
];
/** What takes minutes to fill, or does not keep up: only where it is asked for. */
const MORE = [cell('etcd', 'used', 10, 1_000_000, 100), cell('consul', 'used', 10, 100_000, 10)];
const QUICK = [
  cell('etcd', 'used', 10, 1000, 100),
  cell('etcd', 'all', 10, 1000, 100),
  cell('consul', 'all', 10, 1000, 10),
];

/** 1000, 1000000, ... in few letters. @param {number} value */
const words = (value) => (value >= 1e6 ? `${value / 1e6}M` : value >= 1000 ? `${value / 1000}k` : String(value));
/** @param {Cell} cell */
const nameOf = ({ store, sync, agents, endpoints }) => `${store} ${sync} ${words(agents)} x ${words(endpoints)}`;

/**
 * A container that has moved: when it was said to the store.
 * @typedef {{ mac: string, vtep: string, at: number, hot: boolean }} Move
 */

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, against, pairs, quick, log }) {
  /** @type {Record<string, string>} */
  const absent = {};
  const tool = await provide('iproute2');
  if (!tool.ok) throw new Error(tool.reason);
  /** @type {import('../lib/world.mjs').Side[]} */
  const sides = [];
  for (const subnet of ['10.0.0', '10.0.1'])
    for (const host of await twoHosts(subnet)) sides.push(await makeSide(overns, host, ['192.168.0.2']));

  /** @type {Record<string, any>} */
  const systems = {};
  /** @type {Cell[]} */
  const done = [];
  const wanted = process.env.OVERNS_BENCH_CELLS ?? '';
  const all = quick ? QUICK : wanted === '' ? CELLS : [...CELLS, ...MORE];
  const cells = all.filter((each) => wanted.split(',').some((begin) => nameOf(each).startsWith(begin)));
  for (const [store, start] of /** @type {const} */ ([
    ['etcd', startEtcd],
    ['consul', startConsul],
  ])) {
    if (!cells.some((each) => each.store === store)) continue;
    const server = await start();
    if (typeof server === 'string') {
      absent[store] = server;
      continue;
    }
    let filled = 0;
    for (const each of cells.filter((cell) => cell.store === store)) {
      if (filled < each.endpoints) log(`${words(each.endpoints)} endpoints into ${store}`);
      await server.fill({ first: FIRST, from: filled, to: each.endpoints, vtep: VTEP });
      filled = Math.max(filled, each.endpoints);
      for (const [name, path] of [['overns', folder], ...Object.entries(against)]) {
        const key = name === 'overns' ? nameOf(each) : `${name} ${nameOf(each)}`;
        try {
          const found = await measure(each, server, path ?? '', name === 'overns');
          const { bare, ...own } = found;
          systems[key] = own;
          if (bare !== undefined) systems[bare.name] = bare;
          log(`${key}: CPU ${percent(own.agentCpu)}, ${short(own.received)} B/s, a move ${short(own.few.p50)} ms`);
          if (name === 'overns') done.push(each);
        } catch (error) {
          absent[key] = /** @type {Error} */ (error).message.split('\n')[0] ?? '';
          log(`${key}: ${absent[key]}`);
        } finally {
          await forgetAll(...sides);
        }
      }
    }
    await server.stop();
  }

  /**
   * @param {Cell} each
   * @param {import('../lib/servers.mjs').Server} server
   * @param {string} path of the package
   * @param {boolean} beside has a peer beside it where it follows as much
   */
  async function measure(each, server, path, beside) {
    const { sync, agents, endpoints, changes } = each;
    const library = path === folder ? overns : await import(`${path}/dist/index.js`);
    const store = await library.openStore(server.url);
    const ip = (/** @type {number} */ number) => ipAt(FIRST, number);
    const [hot, few] = [macOf(ip(0)), macOf(ip(1))];
    const uses = Array.from({ length: agents }, (_, i) => {
      const own = Array.from({ length: OWN }, (_, k) => ip(2 + i * OWN + k));
      return [ip(0), ...(i < FEW ? [ip(1)] : []), ...own];
    });
    /** @type {Running[]} */
    const running = [];
    /** @template {Running} T @param {T} process */
    const begun = (process) => {
      running.push(process);
      return process;
    };
    try {
      const started = Date.now();
      const options = (/** @type {import('../lib/world.mjs').Side} */ side) =>
        JSON.stringify({ overlay: side.name, store: server.url, sync });
      const agent = join(root, 'benchmarks/peers/overns/agent.mjs');
      const real = sides.map((side) =>
        begun(new Running([process.execPath, '--expose-gc', agent, path, options(side)])),
      );
      await Promise.all(real.map((each) => each.waitFor(/^ready$/m, { timeout: 120_000 })));
      const startMs = Date.now() - started;
      const fdbs = sides.map((side) => new Fdb(side));
      for (const { process } of fdbs) begun(process);
      const [first] = /** @type {Running[]} */ (real);
      const { sync: followed } = (await /** @type {Running} */ (first).ask('overlays'))[0];
      await Promise.all(sides.map((side, i) => use(side, i)));

      const watches = sync === 'all' || store.watchOnly !== undefined;
      const watchers = begun(
        new Running(['nice', '-n', '10', process.execPath, join(root, 'benchmarks/peers/overns/watchers.mjs'), path]),
      );
      const others = watches ? uses.slice(REAL) : [];
      watchers.write(`${JSON.stringify({ url: server.url, sync, uses: others, told: [hot, few] })}\n`);
      await watchers.waitFor(/^ready$/m, { timeout: 180_000 });
      const bare = beside && sync === 'all' && agents <= FEW ? new Bare(each, server, few) : undefined;
      if (bare) begun(bare.process);
      await sleep(2000);

      // What nobody here uses changes all the time.
      let number = endpoints >> 1;
      let changed = 0;
      const changing = new AbortController();
      const background = (async () => {
        const every = 1000 / Math.min(changes, 20);
        const atOnce = Math.max(1, Math.round(changes / 20));
        for (let due = performance.now(); !changing.signal.aborted; due += every) {
          await sleep(Math.max(0, due - performance.now()));
          const publishing = Array.from({ length: atOnce }, () => {
            number = number + 1 < endpoints ? number + 1 : endpoints >> 1;
            const publishing = store.publish(endpointAt(number, `10.9.1.${1 + (changed++ % 200)}`));
            // A store that is too busy has not changed: the rate says so.
            return publishing.catch(() => void changed--);
          });
          await Promise.all(publishing);
        }
      })();

      const costs = async () => ({
        at: performance.now(),
        agents: await Promise.all(
          real.map(async (each) => {
            const { user, system } = await each.ask('cpu');
            return { cpu: (user + system) / 1e6, bytes: (await each.ask('received')).bytes };
          }),
        ),
        store: usage(server.pid).cpu,
        bare: bare && { cpu: bare.cpu, bytes: bare.received },
        changed,
      });
      const before = await costs();
      await sleep(quick ? 2000 : 8000);
      const after = await costs();
      const seconds = (after.at - before.at) / 1000;

      /** @type {Move[]} */
      const moves = [];
      for (let m = 0; m < 2 * pairs; m++) {
        const vtep = `10.9.2.${1 + (m % 250)}`;
        const move = { mac: m % 2 === 0 ? few : hot, vtep, at: Date.now(), hot: m % 2 === 1 };
        moves.push(move);
        await store.publish(endpointAt(move.hot ? 0 : 1, vtep));
        const there = () => fdbs.every((fdb) => fdb.when(move) !== undefined);
        while (!there() && Date.now() < move.at + LATE_MS) await sleep(5);
        // Once the others have it as well, and not in step with the other changes.
        await sleep(100 + (move.hot ? agents / 2 : 0) + Math.random() * 50);
      }
      changing.abort();
      await background;
      const { heard, broken } = await watchers.ask('heard');

      /** @param {{ when(move: Move): number | undefined }[]} places @param {boolean} hot */
      const delays = (places, hot) => {
        const all = moves.filter((move) => move.hot === hot);
        const found = places.flatMap((place) =>
          all.flatMap((move) => {
            const at = place.when(move);
            return at === undefined ? [] : [Math.max(0, at - move.at)];
          }),
        );
        return { ...summarize([found]), late: places.length * all.length - found.length };
      };
      const by = new Map(moves.map((move) => [`${move.mac} ${move.vtep}`, move]));
      const told = (/** @type {boolean} */ hot) => {
        const values = heard.flatMap((/** @type {[string, string, number]} */ [mac, vtep, at]) => {
          const move = by.get(`${mac} ${vtep}`);
          return move?.hot === hot ? [at - move.at] : [];
        });
        return summarize([values]);
      };
      const share = (/** @type {number} */ value) => value / seconds;
      return {
        ...delays(fdbs, false),
        followed,
        changes: share(after.changed - before.changed),
        agentCpu: share(median(after.agents.map(({ cpu }, i) => cpu - (before.agents[i]?.cpu ?? 0)))),
        received: share(median(after.agents.map(({ bytes }, i) => bytes - (before.agents[i]?.bytes ?? 0)))),
        storeCpu: share(after.store - before.store),
        startMs,
        few: delays(fdbs, false),
        all: delays(fdbs, true),
        told: { few: told(false), all: told(true), broken },
        bare: bare && {
          name: `${bare.name} ${words(agents)} x ${words(endpoints)}`,
          ...delays([bare], false),
          changes: share(after.changed - before.changed),
          agentCpu: share((after.bare?.cpu ?? 0) - (before.bare?.cpu ?? 0)),
          received: share((after.bare?.bytes ?? Number.NaN) - (before.bare?.bytes ?? Number.NaN)),
          few: delays([bare], false),
        },
      };
    } finally {
      await store.close();
      await Promise.all(running.map((each) => each.stop()));
    }
  }

  /** @param {number} number @param {string} vtep */
  function endpointAt(number, vtep) {
    const address = ipAt(FIRST, number);
    return { ip: address, ips: [address], mac: macOf(address), vtep };
  }

  /** Has a container ask for what its agent is to use. @param {import('../lib/world.mjs').Side} side @param {number} index */
  async function use({ containers: [container] }, index) {
    if (!container) throw new Error('no container');
    for (const [from, many] of [
      [0, 2],
      [2 + index * OWN, OWN],
    ]) {
      const where = ['--netns', container.path, '--from', container.ip, '--first', ipAt(FIRST, from ?? 0)];
      const { stdout } = await exec([program('asker'), ...where, '--count', String(many), '--rounds', '5'], {
        cpu: CPU.asker,
      });
      const missing = JSON.parse(stdout).ns.filter((/** @type {number | null} */ each) => each === null).length;
      if (missing > 0) throw new Error(`${missing} of ${many} addresses were not answered`);
    }
  }

  return report({ systems, done, absent, pairs, against });
}

/** @param {number | undefined} share */
const percent = (share) => (share === undefined || Number.isNaN(share) ? '-' : `${short(share * 100)} %`);

/**
 * @param {object} found
 * @param {Record<string, any>} found.systems
 * @param {Cell[]} found.done
 * @param {Record<string, string>} found.absent
 * @param {number} found.pairs
 * @param {Record<string, string>} found.against
 * @returns {import('../run.mjs').Result}
 */
function report({ systems, done, absent, pairs }) {
  /** @type {Record<string, any>} */
  const ratios = {};
  /** @param {string} over @param {string} under */
  const grows = (over, under) => {
    const [a, b] = [systems[over], systems[under]];
    if (!a || !b) return;
    ratios[`${over} / ${under}`] = {
      received: a.received / b.received,
      agentCpu: a.agentCpu / b.agentCpu,
      storeCpu: a.storeCpu / b.storeCpu,
      p50: a.few.p50 / b.few.p50,
      startMs: a.startMs / b.startMs,
    };
  };
  // Ten times as many endpoints, as many agents; ten times as many agents, as many endpoints.
  for (const a of done) {
    for (const b of done) {
      if (a.store !== b.store || a.sync !== b.sync) continue;
      const times = [a.endpoints / b.endpoints, a.agents / b.agents];
      if (Math.min(...times) === 1 && Math.max(...times) === 10) grows(nameOf(a), nameOf(b));
    }
  }
  const own = systems[nameOf(cell('etcd', 'used', 1000, 100_000, 0))];
  const quiet = systems[nameOf(cell('etcd', 'used', 10, 100_000, 0))];
  const small = systems[nameOf(cell('etcd', 'used', 10, 1000, 0))];
  const late = Object.values(systems).reduce((sum, each) => sum + (each.late ?? 0), 0);
  const ms = (/** @type {any} */ delays) => [delays?.p50 ?? Number.NaN, delays?.p99 ?? Number.NaN];
  const groups = [...new Set(done.map(({ store, sync }) => `${store} ${sync}`))].map((group) => ({
    name: `${group.replace(' ', ', --sync ')}`,
    bars: done
      .filter(({ store, sync }) => `${store} ${sync}` === group)
      .map((each) => {
        const { received, agentCpu } = systems[nameOf(each)];
        return {
          name: `overns ${words(each.agents)} x ${words(each.endpoints)}`,
          value: received,
          note: `B, ${percent(agentCpu)}`,
        };
      }),
  }));
  return {
    json: { bench: 'cluster', unit: 'ms', systems, ratios, absent },
    tables: [
      table(
        `cluster: agents x endpoints; changes a second that concern nobody; a move until the kernels have it, ms (${pairs} moves, ${REAL} kernels)`,
        [
          '',
          'changes/s',
          'agent CPU',
          'received B/s',
          'store CPU',
          `${FEW} use it: p50`,
          'p99',
          'all use it: p50',
          'p99',
          'late',
          'start ms',
        ],
        Object.entries(systems).map(([name, each]) => [
          each.followed === undefined || name.includes(` ${each.followed} `) ? name : `${name} (${each.followed})`,
          each.changes,
          percent(each.agentCpu),
          each.received,
          percent(each.storeCpu),
          ...ms(each.few),
          ...ms(each.all),
          each.late + (each.all?.late ?? 0),
          each.startMs ?? Number.NaN,
        ]),
      ),
      table(
        'until the simulated ones hear of it, ms',
        ['', 'n', `${FEW} use it: p50`, 'p99', 'n', 'all use it: p50', 'p99', 'watches broken'],
        Object.entries(systems)
          .filter(([, { told }]) => told !== undefined)
          .map(([name, { told }]) => [name, told.few.n, ...ms(told.few), told.all.n, ...ms(told.all), told.broken]),
      ),
      table(
        'what grows: times as much, with ten times as many endpoints or agents',
        ['', 'received', 'agent CPU', 'store CPU', 'move p50', 'start'],
        Object.entries(ratios).map(([name, each]) => [
          name,
          each.received,
          each.agentCpu,
          each.storeCpu,
          each.p50,
          each.startMs,
        ]),
      ),
    ],
    claims: [
      ...(quiet === undefined || small === undefined
        ? []
        : [
            claim('CPU of an agent, etcd, used, 100k endpoints, of one CPU', quiet.agentCpu, '<=', 0.01),
            claim('received, 100k endpoints to 1k', quiet.received / small.received, '<=', 1.2),
          ]),
      ...(own === undefined
        ? []
        : [
            claim('a move, 1000 agents, 10 use it: p50, ms', own.few.p50, '<=', 20),
            claim('p99, ms', own.few.p99, '<=', 250),
            claim('a move, 1000 agents, all use it: p50, ms', own.all.p50, '<=', 20),
            claim('p99, ms', own.all.p99, '<=', 250),
          ]),
      claim('moves that were late', late, '<=', 0),
    ],
    pictures: {
      cluster: bars({
        title: 'What an agent receives a second, and its CPU',
        subtitle: 'agents x endpoints; 100 changes a second (Consul: 10) that concern none of them',
        groups,
        format: count,
        log: true,
      }),
    },
  };
}
