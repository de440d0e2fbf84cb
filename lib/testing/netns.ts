/**
 * One network namespace of the fake kernel: its tables, and what a change of one does to the others.
 * test/kernel/fake-kernel.test.ts holds the answers to those of the real kernel.
 */
import { ipFamily } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import type { TableName } from '../system/native.js';
import { type Entry, type ListedEntry, NUD, type Verb } from './entries.js';
import { boolean, type Item, number, text } from './fields.js';
import { Addresses } from './tables/addresses.js';
import { Fdb } from './tables/fdb.js';
import { type LinkHome, Links, type World } from './tables/links.js';
import { Neighbors } from './tables/neighbors.js';
import { Routes } from './tables/routes.js';
import {
  type FakeAddress,
  type FakeFdbEntry,
  type FakeLink,
  type FakeNeighbor,
  type MissKey,
  type Namespace,
  type Observer,
  type Outcome,
  type Row,
  TABLE_MAIN,
} from './tables/table.js';

/** The rules that a namespace begins with (fib_default_rules_init, fib6_rules_net_init). */
const RULES: readonly Row[] = [
  ...[0, 32_766, 32_767].map((priority, at) => ['inet', priority, [255, TABLE_MAIN, 253][at]] as const),
  ...[0, 32_766].map((priority, at) => ['inet6', priority, [255, TABLE_MAIN][at]] as const),
].map(([family, priority, table]) => ({ priority, family, action: 'table', table, protocol: 'kernel' }));

export class FakeNetns implements LinkHome {
  readonly name: string;
  readonly inode: number;
  readonly sysctls = new Map<string, string>();
  readonly observers = new Set<Observer>();
  /** Files and sockets that keep it alive. */
  holds = 0;
  readonly linkTable: Links;
  readonly #addresses: Addresses;
  readonly #routes: Routes;
  readonly #neighbors: Neighbors;
  readonly #fdb: Fdb;
  readonly #ids = new Map<Namespace, number>();
  readonly #world: World;

  constructor(name: string, inode: number, world: World) {
    this.name = name;
    this.inode = inode;
    this.#world = world;
    this.linkTable = new Links(this, world, {
      loopbackUp: (lo) => this.#addresses.addLoopback(lo),
      down: (link) => this.#down(link),
      readdressed: (link) => this.#neighbors.dropOf(link),
      gone: (link) => {
        this.#fdb.drop((entry) => entry.link === link || (entry.master && entry.link.master === link));
        this.#addresses.drop((each) => each.link === link);
      },
    });
    this.#addresses = new Addresses(this.observers, this.linkTable, (link) => this.#disableIp4(link));
    this.#routes = new Routes(this.observers, this.linkTable, this.#addresses);
    this.#neighbors = new Neighbors(this.observers);
    this.#fdb = new Fdb(this.observers, this.linkTable);
  }

  // --- what there is ---

  get links(): readonly FakeLink[] {
    return this.linkTable.items;
  }

  get addresses(): readonly FakeAddress[] {
    return this.#addresses.items;
  }

  get fdb(): readonly FakeFdbEntry[] {
    return this.#fdb.items;
  }

  get neighbors(): readonly FakeNeighbor[] {
    return this.#neighbors.items;
  }

  link(name: string): FakeLink | undefined {
    return this.linkTable.link(name);
  }

  ports(bridge: FakeLink): readonly FakeLink[] {
    return this.linkTable.ports(bridge);
  }

  id(other: Namespace): number | undefined {
    return this.#ids.get(other);
  }

  introduce(other: Namespace): void {
    if (other !== this && !this.#ids.has(other)) this.#ids.set(other, this.#ids.size);
  }

  neighbor(link: FakeLink, address: string): FakeNeighbor | undefined {
    return this.#neighbors.find(link, address);
  }

  forwarding(link: FakeLink, address: string): readonly FakeFdbEntry[] {
    return this.#fdb.forwarding(link, address);
  }

  rows(table: TableName): Row[] {
    switch (table) {
      case 'link':
        return this.linkTable.rows();
      case 'address':
        return this.#addresses.rows();
      case 'route':
        return this.#routes.rows();
      case 'neighbor':
        return this.#neighbors.rows();
      case 'fdb':
        return this.#fdb.rows();
      case 'rule':
        return RULES.map((rule) => ({ ...rule }));
      case 'nexthop':
        return []; // as none can be made
    }
  }

  /** Neighbours or FDB entries, of one link if the filter names it. */
  entries(table: 'neighbor' | 'fdb', filter: Item): ListedEntry[] {
    const link = this.#wanted(filter, 'link');
    const master = this.#wanted(filter, 'master');
    const neighbors = boolean(filter, 'proxies') === true ? this.#neighbors.proxies : this.#neighbors.items;
    const all =
      table === 'fdb'
        ? this.#fdb.items.map((entry) => this.#fdb.listed(entry))
        : neighbors.map((neighbor) => this.#neighbors.listed(neighbor));
    return all.filter((row) => {
      const ofMaster = table !== 'fdb' || master === undefined || row.master === master;
      return (link === undefined || row.link === link) && ofMaster;
    });
  }

  /** As the addon lists: what the kernel filters by; lib compares the rest. */
  list(table: TableName, filter: Item): Row[] {
    const name = text(filter, 'name');
    const wantedTable = number(filter, 'table', 0xffff_ffff);
    const kind = text(filter, 'kind');
    const link = table === 'link' ? undefined : this.#wanted(filter, 'link');
    const master = this.#wanted(filter, 'master');
    return this.rows(table).filter(
      (row) =>
        (table !== 'link' || name === undefined || row.name === name) &&
        (table !== 'link' || kind === undefined || row.kind === kind) &&
        (table !== 'route' || wantedTable === undefined || row.table === wantedTable) &&
        (master === undefined || row.master === master.name) &&
        (link === undefined || row.linkIndex === link.index),
    );
  }

  #wanted(filter: Item, field: 'link' | 'master'): FakeLink | undefined {
    const [name, index] = [text(filter, field), number(filter, `${field}Index`, 0x7fff_ffff)];
    return name === undefined && index === undefined ? undefined : this.linkTable.of(name, index, false);
  }

  // --- news ---

  /**
   * Raises the miss that a vxlan device sends when it knows no answer (drivers/net/vxlan, vxlan_ip_miss and vxlan_fdb_miss). Where a
   * resolver catches the packets of L2 misses, it alone learns of them.
   */
  miss(link: FakeLink, key: MissKey): void {
    const all = [...this.observers];
    const catcher = key.mac === undefined ? undefined : all.find((observer) => observer.catchesL2?.(link) === true);
    for (const observer of catcher === undefined ? all : [catcher]) observer.onMiss?.(link, key);
  }

  /** Outcome of a miss where a resolver serves the device; undefined where none does. */
  outcome(link: FakeLink, key: MissKey): Promise<Outcome> | undefined {
    for (const observer of this.observers) {
      const outcome = observer.outcome?.(link, key);
      if (outcome !== undefined) return outcome;
    }
    return undefined;
  }

  // --- requests ---

  change(table: TableName, verb: Verb, item: Item): void {
    if (table === 'link') this.linkTable.change(verb, item);
    else if (table === 'address') this.#addresses.change(verb, item);
    else if (table === 'rule' || table === 'nexthop')
      throw new OvernsError('EOPNOTSUPP', `the fake kernel takes no ${table}s`);
    else this.#routes.change(verb, item);
  }

  changeEntry(table: 'neighbor' | 'fdb', entry: Entry): void {
    const link = this.linkTable.of(entry.link, entry.linkIndex, entry.verb === 'delete');
    if (entry.via !== undefined) this.linkTable.named(entry.via);
    if (table === 'neighbor') this.#neighbors.change(entry, link);
    else this.#fdb.change(entry, link);
  }

  flush(filter: Item): void {
    this.#fdb.flush(filter);
  }

  route(item: Item): Row {
    return this.#routes.lookUp(item);
  }

  learn(link: FakeLink, address: string, dst: string): boolean {
    return this.#fdb.learn(link, address, dst);
  }

  /** A device of the machine's own, up: what an underlay is reached through. */
  plug(name: string, mtu: number): void {
    this.linkTable.make({ name, kind: undefined, mac: this.#world.nextMac(), mtu }).up = true;
  }

  // --- what goes with what ---

  /** Removes what a link that goes down takes with it. */
  #down(link: FakeLink): void {
    this.#routes.drop((route) => route.link === link);
    this.#neighbors.dropOf(link);
    // IPv6 addresses do not outlive it, IPv4 ones do (addrconf_ifdown).
    this.#addresses.drop((each) => each.link === link && each.family === 6);
    this.#fdb.drop(
      (entry) => entry.link === link && !entry.master && (entry.state & (NUD.permanent | NUD.noarp)) === 0,
    );
  }

  /** With a link's last IPv4 address its IPv4 routes and neighbours go (fib_disable_ip). */
  #disableIp4(link: FakeLink): void {
    this.#neighbors.dropOf(link, (address) => ipFamily(address) === 4);
    this.#routes.drop((route) => route.link === link && route.family === 4);
  }

  remove(link: FakeLink): void {
    this.linkTable.remove(link);
  }

  /** The last that held it has let go. */
  end(): void {
    for (const link of [...this.links]) if (this.links.includes(link) && link.name !== 'lo') this.remove(link);
    // Devices elsewhere whose socket was here lose it, and go.
    for (const netns of this.#world.all()) {
      for (const link of [...netns.links]) if (link.host === this) netns.remove(link);
    }
  }
}
