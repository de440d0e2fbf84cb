/**
 * Random operations, by Rtnl in one namespace and by iproute2 in another: each succeeds in both or fails in both, the
 * two namespaces stay equal in iproute2's eyes, and Rtnl lists the one as iproute2 does.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import {
  addressJson,
  byIndex,
  fdbJson,
  linkJson,
  neighborJson,
  nexthopJson,
  routeJson,
  ruleJson,
} from '../support/iproute2.js';
import { createNetns, exec, type Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';
import { GROUPS, LINKS, type Operation, operations, PRELUDE } from './operations.js';

const FULL = process.env.CI_FULL === '1';
const SEED = seedOf('OVERNS_DIFFERENTIAL_SEED');
const PATH = process.env.OVERNS_DIFFERENTIAL_PATH;
const SEQUENCES = Number(process.env.OVERNS_DIFFERENTIAL_RUNS ?? (FULL ? 200 : 6));
const LENGTH = 50;
/** Operations between two comparisons. */
const CHUNK = 10;
/** The kernel finishes what a change of carrier brings about within a second (linkwatch), on a machine that does nothing else. */
const SETTLE_MS = 30_000;

type Json = Record<string, unknown>;
type State = Record<'link' | 'address' | 'route' | 'neighbor' | 'proxy' | 'fdb' | 'nexthop' | 'rule', Json[]>;

async function makeNetns(): Promise<Netns> {
  const netns = await createNetns();
  // What comes by itself and by chance has no part in this: link-local addresses, their detection, solicitations, and
  // the collection of what has expired.
  await netns.exec('sh', [
    '-c',
    `cd /proc/sys/net/ipv6/conf; for each in all default; do
       echo 1 > $each/addr_gen_mode; echo 0 > $each/accept_dad; echo 0 > $each/dad_transmits
       echo 0 > $each/router_solicitations; echo 0 > $each/accept_ra
     done
     echo 86400 > ../route/gc_interval`,
  ]);
  return netns;
}

/** What the kernel maps by itself when it first sends to a group, which is when its timers say. */
const isGroup = ({ dst }: Json): boolean => /^(224\.|ff)/.test(String(dst));

/** MACs that a link listens to for what the kernel joins and leaves, whose work it does when it comes to it. */
const isJoined = ({ mac }: Json): boolean =>
  /^(33:33:|01:00:5e:)/.test(String(mac)) && !(GROUPS as readonly unknown[]).includes(mac);

/** What a bridge has learned of the links here, whose reports to groups come and are repeated by chance. */
function isLearned({ state, flags, master, mac }: Json, links: readonly Json[]): boolean {
  const plain = state === '' && master !== undefined && Array.isArray(flags) && flags.length === 0;
  return plain && links.some(({ address }) => address === mac);
}

const LISTINGS: Readonly<Record<keyof State, string>> = {
  link: 'ip -j -d link show',
  address: 'ip -j -d address show',
  route: 'ip -4 -j -d route show table all; echo; ip -6 -j -d route show table all',
  neighbor: 'ip -j -d neighbor show nud all',
  proxy: 'ip -j -d neighbor show proxy',
  fdb: 'bridge -j -d fdb show',
  nexthop: 'ip -j -d nexthop show',
  rule: 'ip -4 -j -d rule show; echo; ip -6 -j -d rule show',
};

const order = (rows: Json[]): Json[] =>
  rows
    .map((row) => [JSON.stringify(row), row] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, row]) => row);

/** Timers run on while two listings are made, lifetimes are rounded down. */
function still(value: unknown, key = ''): unknown {
  if (/_timer$/.test(key)) return 0;
  if (typeof value === 'number' && /_life_time$|^expires$/.test(key) && value < 1e6)
    return Math.ceil(value / 1000) * 1000;
  if (Array.isArray(value)) return key === 'flags' ? [...value].sort() : value.map((each) => still(each));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, each]) => [name, still(each, name)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
const quiet = (rows: readonly Json[]): Json[] => order(rows.map((row) => still(row) as Json));

/** An interface without link-layer addresses (GPE) has empty ones: iproute2 6.1 prints the byte that lies behind. */
function withoutStrayByte({ lladdr, ...row }: Json): Json {
  return typeof lladdr === 'string' && lladdr.length > 2 ? { ...row, lladdr } : row;
}

async function byIproute2(netns: Netns): Promise<State> {
  const script = Object.entries(LISTINGS)
    .map(([table, command]) => `echo '#${table}'; ${command}; echo`)
    .join('\n');
  const { stdout } = await netns.exec('sh', ['-c', script]);
  const state = Object.fromEntries(Object.keys(LISTINGS).map((table) => [table, []])) as unknown as State;
  for (const section of stdout.split('#').slice(1)) {
    const [name, ...lines] = section.split('\n');
    for (const text of lines.filter((each) => each.startsWith('['))) {
      state[name as keyof State].push(...(JSON.parse(text) as Json[]).filter((row) => Object.keys(row).length > 0));
    }
  }
  state.neighbor = state.neighbor.filter((each) => !isGroup(each)).map(withoutStrayByte);
  state.fdb = state.fdb.filter((each) => !isJoined(each) && !isLearned(each, state.link));
  for (const table of Object.keys(state) as (keyof State)[]) state[table] = quiet(state[table]);
  return state;
}

async function byRtnl(rtnl: Rtnl): Promise<State> {
  const links = await rtnl.links.list();
  const indexed = byIndex(links);
  const nexthops = await rtnl.nexthops.list();
  const addresses = await rtnl.addresses.list();
  const neighbors = await rtnl.neighbors.list();
  const byId = new Map(nexthops.map((each) => [each.id, each]));
  const state: State = {
    link: links.map((link) => linkJson(link, indexed)),
    address: links.map((link) => ({
      ifname: link.name,
      addr_info: addresses.filter((each) => each.link === link.name).map(addressJson),
    })),
    route: (await rtnl.routes.list())
      .filter(({ family }) => family === 'inet' || family === 'inet6')
      .map((route) => routeJson(route, byId)),
    neighbor: neighbors.map(neighborJson),
    proxy: [],
    fdb: (await rtnl.fdb.list()).map((entry) => fdbJson(entry)),
    nexthop: nexthops.map(nexthopJson),
    rule: (await rtnl.rules.list()).filter(({ family }) => family === 'inet' || family === 'inet6').map(ruleJson),
  };
  state.neighbor = state.neighbor.filter((each) => !isGroup(each));
  state.fdb = state.fdb.filter((each) => !isJoined(each) && !isLearned(each, state.link));
  for (const table of Object.keys(state) as (keyof State)[]) state[table] = quiet(state[table]);
  return state;
}

/**
 * What the kernel does later by itself, and what later operations depend on. What a change of carrier brings about, as
 * neighbours and addresses of a link going: asking for the link by name makes the kernel do it now (linkwatch_sync_dev).
 * The routes of a new IPv6 address, which is no source or gateway before (addrconf_dad_work): the last of it is done
 * under the lock that asking for a link takes too.
 */
async function settle(rtnl: Rtnl): Promise<void> {
  const ask = (): Promise<unknown> => Promise.all(LINKS.map((name) => rtnl.links.list({ name })));
  await ask();
  for (const until = Date.now() + SETTLE_MS; ; ) {
    const addresses = await rtnl.addresses.list({ family: 'inet6' });
    const routes = await rtnl.routes.list({ family: 'inet6', table: 255 });
    const usable = new Set(routes.map(({ dst, link }) => `${dst} ${link}`));
    const pending = addresses.filter(
      ({ address, link, flags }) =>
        flags?.includes('tentative') || !usable.has(`${address.replace(/\/.*/, '/128')} ${link}`),
    );
    if (pending.length === 0) break;
    if (Date.now() > until) throw new Error(`never finished: ${JSON.stringify(pending)}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await ask();
}

/** Each operation's outcome: undefined = done, else what was said. */
async function applyRtnl(rtnl: Rtnl, netns: Netns, operations: readonly Operation[]): Promise<(string | undefined)[]> {
  const outcomes: (string | undefined)[] = [];
  for (const each of operations) {
    const work = each.rtnl ? each.rtnl(rtnl) : exec(each.tool, ['-n', netns.name, ...each.line.split(' ')]);
    outcomes.push(
      await work.then(
        () => undefined,
        (error: Error) => error.message,
      ),
    );
    if (each.later) await settle(rtnl);
  }
  return outcomes;
}

/** A line that fails, behind each of the others: it tells how far the batch has come. */
const MARK = { ip: 'link del no-such-link', bridge: 'fdb del 02:00:00:00:00:00 dev no-such-link' } as const;

async function applyIproute2(
  rtnl: Rtnl,
  netns: Netns,
  operations: readonly Operation[],
): Promise<(string | undefined)[]> {
  const outcomes: (string | undefined)[] = [];
  while (outcomes.length < operations.length) {
    const from = outcomes.length;
    const { tool } = operations[from] as Operation;
    let to = from + 1;
    while (to < operations.length && !operations[to - 1]?.later && operations[to]?.tool === tool) to++;
    const lines = operations.slice(from, to).flatMap((each) => [each.line, MARK[tool]]);
    const { stderr } = await exec(tool, ['-n', netns.name, '-force', '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
      check: false,
    });
    let failed: string | undefined;
    let said = '';
    for (const text of stderr.split('\n')) {
      const number = /^Command failed -:(\d+)$/.exec(text)?.[1];
      if (number === undefined) said += `${text} `;
      else {
        if (Number(number) % 2 === 1) failed = said;
        else outcomes.push(failed);
        if (Number(number) % 2 === 0) failed = undefined;
        said = '';
      }
    }
    // It gives a batch up at a word that it refuses itself, such as the name of a master that is not there.
    if (outcomes.length < to) outcomes.push(said);
    await settle(rtnl);
  }
  return outcomes;
}

/** Equal now or soon. */
async function equal(a: Netns, b: Netns, rtnl: Rtnl, history: string): Promise<void> {
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    const [left, right, own] = await Promise.all([byIproute2(a), byIproute2(b), byRtnl(rtnl)]);
    try {
      expect(left, `by Rtnl | by iproute2, after\n${history}`).toEqual(right);
      const seen = {
        ...left,
        proxy: [],
        address: quiet(left.address.map(({ ifname, addr_info }) => ({ ifname, addr_info }))),
      };
      expect(own, `Rtnl's listing | iproute2's, after\n${history}`).toEqual(seen);
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function play(operations: readonly Operation[]): Promise<void> {
  const [a, b] = await Promise.all([makeNetns(), makeNetns()]);
  try {
    await using rtnl = await Rtnl.open({ netns: a.name });
    await using other = await Rtnl.open({ netns: b.name });
    const history: string[] = [];
    const all = [...PRELUDE, ...operations];
    for (let from = 0; from < all.length; from += CHUNK) {
      const chunk = all.slice(from, from + CHUNK);
      const [ours, theirs] = await Promise.all([applyRtnl(rtnl, a, chunk), applyIproute2(other, b, chunk)]);
      chunk.forEach((each, at) => {
        count(each, theirs[at] === undefined);
        history.push(`${each.tool} ${each.line}${theirs[at] === undefined ? '' : `   # ${theirs[at]}`}`);
        if ((ours[at] === undefined) !== (theirs[at] === undefined)) {
          const outcome = (said: string | undefined): string => (said === undefined ? 'done' : said);
          throw new Error(`Rtnl: ${outcome(ours[at])}\niproute2: ${outcome(theirs[at])}\n${history.join('\n')}`);
        }
      });
      await equal(a, b, rtnl, history.join('\n'));
    }
  } finally {
    await Promise.all([a.remove(), b.remove()]);
  }
}

/** Of each kind of operation, how many there were and how many of them succeeded. */
const tally = new Map<string, [all: number, done: number]>();
function count({ line }: Operation, done: boolean): void {
  const words = line.replace(/^-[46] /, '').split(' ');
  const kind = `${words[0]} ${words[1]}`;
  const [all, successes] = tally.get(kind) ?? [0, 0];
  tally.set(kind, [all + 1, successes + Number(done)]);
}

describeWith(['root', 'ip'], 'Rtnl and iproute2', () => {
  test(
    `${SEQUENCES * LENGTH} random operations end equal`,
    async () => {
      console.log(`differential: seed ${SEED} (OVERNS_DIFFERENTIAL_SEED=${SEED} for the same once more)`);
      await fc.assert(fc.asyncProperty(operations(LENGTH), play), {
        seed: SEED,
        numRuns: SEQUENCES,
        endOnFailure: process.env.OVERNS_DIFFERENTIAL_SHRINK !== '1',
        ...(PATH ? { path: PATH } : {}),
      });
      console.log(
        [...tally]
          .sort()
          .map(([kind, [all, done]]) => `${kind}: ${done} of ${all}`)
          .join(', '),
      );
    },
    SEQUENCES * 60_000,
  );
});
