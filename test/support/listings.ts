/**
 * Lists what a namespace has, by iproute2 and by Rtnl, in iproute2's words: sorted, and without the clocks that run on between
 * two looks.
 */
import type { Address, FdbEntry, Link, Neighbor, Nexthop, Route, Rtnl, Rule } from '../../lib/index.js';
import { addressJson, byIndex, fdbJson, linkJson, neighborJson, nexthopJson, routeJson, ruleJson } from './iproute2.js';
import type { Netns } from './netns.js';

export type Json = Record<string, unknown>;
export type State = Record<'link' | 'address' | 'route' | 'neighbor' | 'proxy' | 'fdb' | 'nexthop' | 'rule', Json[]>;

/** Rows of Rtnl. */
export interface Rows {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly neighbors: readonly Neighbor[];
  readonly fdb: readonly FdbEntry[];
  readonly nexthops: readonly Nexthop[];
  readonly rules: readonly Rule[];
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
  if (/_timer$|^unbalanced_time$/.test(key)) return 0;
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

export async function byIproute2(netns: Netns): Promise<State> {
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
  state.neighbor = state.neighbor.map(withoutStrayByte);
  state.address = state.address.map(({ ifname, addr_info }) => ({ ifname, addr_info }));
  for (const table of Object.keys(state) as (keyof State)[]) state[table] = quiet(state[table]);
  return state;
}

export async function listRows(rtnl: Rtnl): Promise<Rows> {
  return {
    links: await rtnl.links.list(),
    addresses: await rtnl.addresses.list(),
    routes: await rtnl.routes.list(),
    neighbors: [...(await rtnl.neighbors.list()), ...(await rtnl.neighbors.list({ flags: ['proxy'] }))],
    fdb: await rtnl.fdb.list(),
    nexthops: await rtnl.nexthops.list(),
    rules: await rtnl.rules.list(),
  };
}

const isProxy = ({ flags }: Neighbor): boolean => flags?.includes('proxy') === true;

/** Rows in iproute2's words. */
export function stateOf(rows: Rows): State {
  const { links, addresses, nexthops } = rows;
  const indexed = byIndex(links);
  const byId = new Map(nexthops.map((each) => [each.id, each]));
  const state: State = {
    link: links.map((link) => linkJson(link, indexed)),
    address: links.map((link) => ({
      ifname: link.name,
      addr_info: addresses.filter((each) => each.link === link.name).map(addressJson),
    })),
    route: rows.routes.map((route) => routeJson(route, byId)),
    neighbor: rows.neighbors.filter((each) => !isProxy(each)).map(neighborJson),
    proxy: rows.neighbors.filter(isProxy).map(neighborJson),
    fdb: rows.fdb.map((entry) => fdbJson(entry)),
    nexthop: nexthops.map(nexthopJson),
    rule: rows.rules.filter(({ family }) => family === 'inet' || family === 'inet6').map(ruleJson),
  };
  for (const table of Object.keys(state) as (keyof State)[]) state[table] = quiet(state[table]);
  return state;
}
