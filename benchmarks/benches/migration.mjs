// @ts-check
/**
 * A container moves to another host and keeps its address, while one on a third host pings it every millisecond: how long that one is
 * without an answer. `floor`: the same with commands of the shell, which know where everything is and what has to be replaced.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../../scripts/lib/process.mjs';
import { onCleanup } from '../lib/cleanup.mjs';
import { Pings } from '../lib/pings.mjs';
import { exec, Running } from '../lib/process.mjs';
import { claim, ratioText, table } from '../lib/report.mjs';
import { startConsul, startEtcd } from '../lib/servers.mjs';
import { median, ratio, summarize } from '../lib/stats.mjs';
import { cdf } from '../lib/svg.mjs';
import { provide } from '../lib/tools.mjs';
import { interleave, pick } from '../lib/trials.mjs';
import { ip, pathOf, severalHosts, uniqueName } from '../lib/world.mjs';

export default { pairs: 40, quick: 2, run };

const KINDS = /** @type {const} */ (['same MAC', 'new MAC', 'IPv6']);
const MACS = ['02:99:00:00:00:10', '02:99:00:00:00:11'];

/**
 * @typedef {object} Trial
 * @property {number} outage milliseconds, of the talker
 * @property {number} took milliseconds, the move itself: from before the container is unplugged until it is attached
 * @property {number} lost pings
 */
/**
 * A container that moves between the second and the third host.
 * @typedef {object} Mover
 * @property {string} name
 * @property {string} address
 * @property {string} prefix its length
 * @property {number} at
 * @property {number} moves
 */

/** A namespace with IPv6, other than most here. @param {string} tag */
async function container(tag) {
  const name = uniqueName(tag);
  await exec(['ip', 'netns', 'add', name]);
  await ip(name, 'link set lo up');
  return name;
}

/** @param {import('../run.mjs').Context} context @returns {Promise<import('../run.mjs').Result>} */
async function run({ overns, folder, against, pairs, log }) {
  /** @type {Record<string, string>} */
  const absent = {};
  for (const name of /** @type {const} */ (['iproute2', 'ping'])) {
    const tool = await provide(name);
    if (!tool.ok) throw new Error(tool.reason);
  }
  const hosts = await severalHosts(3);
  /** @type {{ name: string, move: () => Promise<Trial> }[]} */
  const systems = [];
  let vni = 41;

  /** @param {(mover: Mover, kind: string) => Promise<void>} first attaches it @param {(mover: Mover, kind: string) => Promise<void>} again */
  const add = async (
    /** @type {string} */ label,
    /** @type {string} */ talker,
    /** @type {readonly string[]} */ kinds,
    first,
    again,
  ) => {
    for (const [n, kind] of kinds.entries()) {
      const six = kind === 'IPv6';
      /** @type {Mover} */
      const mover = {
        name: await container('c'),
        address: six ? 'fd00::77' : `192.168.0.7${n}`,
        prefix: six ? '64' : '16',
        at: 1,
        moves: 0,
      };
      await first(mover, kind);
      systems.push({
        name: `${label}, ${kind}`,
        move: async () => {
          const pings = new Pings(pathOf(talker), mover.address);
          try {
            await pings.after(Date.now());
            await sleep(50);
            mover.moves++;
            const start = performance.now();
            await again(mover, kind);
            const took = performance.now() - start;
            mover.at = 3 - mover.at;
            await pings.after(Date.now());
            return { took, ...(await pings.stop()) };
          } finally {
            await pings.stop();
          }
        },
      });
    }
  };

  for (const [store, start] of /** @type {const} */ ([
    ['etcd', startEtcd],
    ['Consul', startConsul],
  ])) {
    const server = await start();
    if (typeof server === 'string') {
      absent[store] = server;
      continue;
    }
    for (const [name, path] of [['overns', folder], ...Object.entries(against)]) {
      const library = name === 'overns' ? overns : await import(`${path}/dist/index.js`);
      const url = `${server.url}-${++vni}`;
      const opened = await library.openStore(url);
      onCleanup(() => opened.close());
      /** @type {any[]} */
      const overlays = [];
      for (const host of hosts) {
        const options = { vni, address: ['192.168.0.1/16', 'fd00::1/64'], host: host.name };
        const overlay = await library.Overlay.create({ name: uniqueName('o'), ...options });
        onCleanup(() => overlay.close());
        overlays.push(overlay);
        const agent = join(root, 'benchmarks/peers/overns/agent.mjs');
        const serving = new Running([
          process.execPath,
          '--expose-gc',
          agent,
          path ?? '',
          JSON.stringify({ overlay: overlay.name, store: url }),
        ]);
        await serving.waitFor(/^ready$/m);
      }
      const talker = await container('c');
      await overlays[0].attach(`netns:${talker}`, { address: ['192.168.0.2/16', 'fd00::2/64'], store: opened });
      /** @param {Mover} mover @param {string} kind @param {number} at */
      const attach = ({ name, address, prefix, moves }, kind, at) =>
        overlays[at].attach(`netns:${name}`, {
          address: `${address}/${prefix}`,
          store: opened,
          ...(kind === 'new MAC' && { mac: MACS[moves % 2] }),
        });
      await add(
        name === 'overns' ? store : `${name} ${store}`,
        talker,
        KINDS,
        (mover, kind) => attach(mover, kind, mover.at),
        async (mover, kind) => {
          await overlays[mover.at].detach({ ip: mover.address }, { store: opened });
          await attach(mover, kind, 3 - mover.at);
        },
      );
    }
  }

  // The least: the seed's own commands, and the talker's entries replaced at the moment of the plug.
  /** @type {string[]} */
  const plain = [];
  vni++;
  for (const host of hosts) {
    const name = uniqueName('o');
    plain.push(name);
    await exec(['ip', 'netns', 'add', name]);
    await ip(host.name, `link add vxlan1 netns ${name} type vxlan id ${vni} proxy dstport 4789 local ${host.vtep}`);
    await ip(name, 'link set lo up', 'link add br0 type bridge mcast_snooping 0', 'link set vxlan1 master br0');
    await ip(name, 'link set br0 up', 'link set vxlan1 up');
  }
  const talker = await container('c');
  const mac = { talker: '02:99:00:00:00:01', mover: '02:99:00:00:00:02' };
  /** @param {number} at @param {string} name @param {string} address @param {string} prefix @param {string} lladdr @param {string} veth */
  const plug = (at, name, address, prefix, lladdr, veth) => `
ip -n ${plain[at]} link add ${veth} type veth peer name eth0 address ${lladdr} netns ${name}
ip -n ${plain[at]} link set ${veth} master br0 up
ip -n ${name} address add ${address}/${prefix} dev eth0 nodad
ip -n ${name} link set eth0 up`;
  await exec(['sh', '-ec', plug(0, talker, '192.168.0.2', '16', mac.talker, 'talker')]);
  await ip(talker, 'address add fd00::2/64 dev eth0 nodad');
  for (const at of [1, 2]) {
    const known = ['192.168.0.2', 'fd00::2'].map(
      (each) => `neigh replace ${each} lladdr ${mac.talker} dev vxlan1 nud permanent`,
    );
    await ip(plain[at] ?? '', ...known);
    await exec([
      'bridge',
      '-n',
      plain[at] ?? '',
      'fdb',
      'replace',
      mac.talker,
      'dev',
      'vxlan1',
      'self',
      'dst',
      hosts[0]?.vtep ?? '',
    ]);
  }
  const place = (/** @type {number} */ at, /** @type {string} */ lladdr) =>
    `bridge -n ${plain[0]} fdb replace ${lladdr} dev vxlan1 self dst ${hosts[at]?.vtep}`;
  /** @param {string} kind */
  const station = (kind) => (kind === 'IPv6' ? '02:99:00:00:00:03' : mac.mover);
  await add(
    'floor',
    talker,
    ['same MAC', 'IPv6'],
    async (mover, kind) => {
      const lladdr = station(kind);
      await ip(
        /** @type {string} */ (plain[0]),
        `neigh replace ${mover.address} lladdr ${lladdr} dev vxlan1 nud permanent`,
      );
      const { name, address, prefix, at } = mover;
      await exec([
        'sh',
        '-ec',
        `${plug(at, name, address, prefix, lladdr, `mover${kind.length}`)}\n${place(at, lladdr)}`,
      ]);
    },
    async (mover, kind) => {
      const lladdr = station(kind);
      const veth = `mover${kind.length}`;
      const { name, address, prefix, at } = mover;
      const unplug = `ip -n ${plain[at]} link del ${veth}`;
      await exec([
        'sh',
        '-ec',
        `${unplug}${plug(3 - at, name, address, prefix, lladdr, veth)}\n${place(3 - at, lladdr)}`,
      ]);
    },
  );

  const trials = await interleave({ systems, pairs, log, absent, trial: ({ move }) => move() });
  return report({ names: systems.map(({ name }) => name), trials, absent, pairs });
}

/**
 * @param {{ names: string[], trials: Map<string, (Trial | undefined)[]>, absent: Record<string, string>, pairs: number }} found
 * @returns {import('../run.mjs').Result}
 */
function report({ names, trials, absent, pairs }) {
  /** @type {Record<string, any>} */
  const systems = {};
  /** @type {Record<string, (readonly number[] | undefined)[]>} */
  const outages = {};
  for (const name of names) {
    const all = (trials.get(name) ?? []).filter((trial) => trial !== undefined);
    outages[name] = pick(trials.get(name), ({ outage }) => [outage]);
    systems[name] = {
      ...summarize(all.map(({ outage }) => [outage])),
      took: median(all.map(({ took }) => took)),
      beyond: summarize(all.map(({ outage, took }) => [Math.max(0, outage - took)])),
      lost: median(all.map(({ lost }) => lost)),
    };
  }
  /** @type {Record<string, any>} */
  const ratios = {};
  for (const name of names.filter((name) => !name.startsWith('floor'))) {
    const floor = name.endsWith('IPv6') ? 'floor, IPv6' : 'floor, same MAC';
    const found = ratio(outages[name] ?? [], outages[floor] ?? []);
    if (found) ratios[`${name} / ${floor}`] = found;
  }
  const own = names.filter((name) => /^(etcd|Consul), /.test(name));
  const beyond = summarize(
    own.map((name) => (trials.get(name) ?? []).flatMap((each) => (each ? [Math.max(0, each.outage - each.took)] : []))),
  );
  return {
    json: { bench: 'migration', unit: 'ms', systems, ratios, absent },
    tables: [
      table(
        `migration: the longest time without an answer, ms, of one who pings every millisecond from a third host (${pairs} moves each)`,
        ['', 'n', 'p50', 'p99', 'max', 'lost', 'the move itself', 'beyond it: p50', 'p99'],
        names.map((name) => {
          const { n, p50, p99, max, took, beyond, lost } = systems[name];
          return [name, n, p50, p99, max, lost, took, beyond.p50, beyond.p99];
        }),
      ),
      table(
        'ratios: median of the pairs [95 % interval]',
        ['', 'p50', 'pairs'],
        Object.entries(ratios).map(([name, each]) => [name, ratioText(each), String(each.pairs)]),
      ),
    ],
    claims: [
      claim('beyond the move, all of them: p50, ms', beyond.p50, '<=', 20),
      claim('p99, ms', beyond.p99, '<=', 60),
      claim('the longest, ms', beyond.max, '<=', 60),
    ],
    pictures: {
      migration: cdf({
        title: 'Without an answer while a container moves',
        subtitle: 'pings every millisecond from a third host; from the last answered to the first one again',
        series: names.map((name) => ({
          name,
          values: (outages[name] ?? []).flatMap((each) => (each ?? []).map((ms) => Math.max(ms, 0.1) * 1000)),
        })),
      }),
    },
  };
}
