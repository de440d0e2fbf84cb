/**
 * One network namespace of the fake kernel: links, addresses, routes, neighbours and FDB entries, and rtnetlink's
 * answers to requests about them. test/kernel/fake-kernel.test.ts holds the answers to those of the real kernel.
 */
import { defaultMac, ipFamily } from '../core/address.js';
import { invalidArgument, OvernsError } from '../core/errors.js';
import { decodeEntries } from '../rtnl/entry-decoder.js';
import { LINK_KINDS } from '../rtnl/field-names.js';
import type { TableName } from '../system/native.js';
import { type Entry, fdbState, type ListedEntry, NTF, NUD, type Verb, writeRows } from './entries.js';
import { boolean, contains, type Item, ip, mac, network, number, type Prefix, prefix, text } from './fields.js';
import { Refusal } from './refusal.js';

export type Row = Record<string, unknown>;

export interface FakeLink {
  index: number;
  name: string;
  readonly kind: string | undefined;
  netns: FakeNetns;
  mac: string;
  mtu: number;
  /** Of a bridge: given by a change, so that it no longer follows its ports'. */
  mtuSet: boolean;
  up: boolean;
  alias: string;
  master: FakeLink | undefined;
  /** A veth's other end. */
  peer: FakeLink | undefined;
  /** Where a vxlan's UDP socket is. */
  readonly host: FakeNetns | undefined;
  readonly info: Record<string, unknown>;
}

interface FakeAddress extends Prefix {
  readonly link: FakeLink;
  readonly scope: string;
  readonly flags: number;
  label: string | undefined;
  readonly prefixRoute: boolean;
}

interface FakeRoute {
  /** Undefined = default. */
  readonly dst: Prefix | undefined;
  readonly family: 4 | 6;
  readonly gateway: string | undefined;
  readonly link: FakeLink;
  readonly source: string | undefined;
  readonly table: number;
  readonly metric: number;
  readonly scope: string;
  readonly protocol: string;
  readonly metrics: Readonly<Record<string, number>> | undefined;
}

export interface FakeNeighbor {
  readonly link: FakeLink;
  readonly ip: string;
  mac: string | undefined;
  state: number;
  flags: number;
}

export interface FakeFdbEntry {
  readonly link: FakeLink;
  readonly mac: string;
  /** Of the bridge that the link is a port of, instead of the link's own. */
  readonly master: boolean;
  dst: string | undefined;
  vni: number | undefined;
  port: number | undefined;
  state: number;
  flags: number;
}

/** Exactly one of both: an L3 or an L2 miss. */
export interface MissKey {
  readonly ip?: string | undefined;
  readonly mac?: string | undefined;
}

/** What became of a miss. */
export type Outcome = 'resolved' | 'unresolved' | 'rejected' | 'local' | 'negative';

/** Who wants to know: monitors and resolvers. */
export interface Observer {
  onNews?(kind: TableName, action: 'new' | 'delete', row: Row): void;
  onMiss?(link: FakeLink, key: MissKey): void;
  catchesL2?(link: FakeLink): boolean;
  outcome?(link: FakeLink, key: MissKey): Promise<Outcome> | undefined;
  onOverrun?(dropped: number): void;
  onLink?(link: FakeLink, gone: boolean): void;
  onFdbGone?(entry: FakeFdbEntry): void;
}

const IFA_F = { nodad: 0x02, permanent: 0x80 };
const TABLE_MAIN = 254;
/** The rules that a namespace begins with (fib_default_rules_init, fib6_rules_net_init). */
const RULES: readonly Row[] = [
  ...[0, 32_766, 32_767].map((priority, at) => ['inet', priority, [255, TABLE_MAIN, 253][at]] as const),
  ...[0, 32_766].map((priority, at) => ['inet6', priority, [255, TABLE_MAIN][at]] as const),
].map(([family, priority, table]) => ({ priority, family, action: 'table', table, protocol: 'kernel' }));
const ZERO_MAC = '00:00:00:00:00:00';
const MTU = { ethernet: [68, 65_535], lo: [0, 0x7fff_ffff] } as const;

const BRIDGE_INFO = {
  forwardDelay: 1500,
  helloTime: 200,
  maxAge: 2000,
  ageingTime: 30_000,
  stpState: 0,
  priority: 32_768,
  vlanFiltering: false,
  groupFwdMask: 0,
  mcastRouter: 1,
  mcastSnooping: true,
  mcastQuerier: false,
  nfCallIptables: false,
  nfCallIp6tables: false,
  nfCallArptables: false,
};
const VXLAN_INFO = {
  ttl: 0,
  ttlInherit: false,
  tos: 0,
  df: 0,
  label: 0,
  labelPolicy: 0,
  learning: true,
  proxy: false,
  rsc: false,
  l2miss: false,
  l3miss: false,
  collectMetadata: false,
  ageing: 300,
  limit: 0,
  port: 8472,
  udpCsum: true,
  udpZeroCsum6Tx: false,
  udpZeroCsum6Rx: false,
  remcsumTx: false,
  remcsumRx: false,
  localbypass: true,
};
const INFO: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bridge: BRIDGE_INFO,
  vxlan: VXLAN_INFO,
  veth: {},
};

let macs = 0;
/** Locally administered, and never one that overns derives from an address (02:42:...). */
function nextMac(): string {
  const n = ++macs;
  return `0a:fa:${defaultMac(`10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`).slice(6)}`;
}

function unicast(address: string): boolean {
  return address !== ZERO_MAC && (Number.parseInt(address.slice(0, 2), 16) & 1) === 0;
}

/** How other namespaces are reached: by path, and all of them for what a vxlan's socket belongs to. */
export interface World {
  find(path: string): FakeNetns;
  all(): Iterable<FakeNetns>;
}

export class FakeNetns {
  /** What it is known as in requests and snapshots: its name, its path, or '' for the process's own. */
  readonly name: string;
  readonly inode: number;
  readonly links: FakeLink[] = [];
  readonly addresses: FakeAddress[] = [];
  readonly neighbors: FakeNeighbor[] = [];
  readonly proxies: FakeNeighbor[] = [];
  readonly fdb: FakeFdbEntry[] = [];
  readonly sysctls = new Map<string, string>();
  readonly observers = new Set<Observer>();
  /** Files and sockets that keep it alive. */
  holds = 0;
  readonly #routes: FakeRoute[] = [];
  readonly #ids = new Map<FakeNetns, number>();
  readonly #world: World;
  #lastIndex = 0;

  constructor(name: string, inode: number, world: World) {
    this.name = name;
    this.inode = inode;
    this.#world = world;
    this.#make({ name: 'lo', kind: undefined, mac: ZERO_MAC, mtu: 65_536 });
  }

  // --- what there is ---

  link(name: string): FakeLink | undefined {
    return this.links.find((link) => link.name === name);
  }

  ports(bridge: FakeLink): FakeLink[] {
    return this.links.filter((link) => link.master === bridge);
  }

  /** The id by which this namespace knows another. */
  id(other: FakeNetns): number | undefined {
    return this.#ids.get(other);
  }

  #introduce(other: FakeNetns): void {
    if (other !== this && !this.#ids.has(other)) this.#ids.set(other, this.#ids.size);
  }

  running(link: FakeLink): boolean {
    if (!link.up) return false;
    if (link.kind === 'veth') return link.peer?.up === true;
    if (link.kind === 'bridge') return this.ports(link).some((port) => this.running(port));
    return true;
  }

  #operstate(link: FakeLink): string {
    if (!this.running(link)) return 'down';
    return link.kind === 'vxlan' || link.name === 'lo' ? 'unknown' : 'up';
  }

  #linkRow(link: FakeLink): Row {
    const running = this.running(link);
    const loopback = link.name === 'lo';
    const flags = [
      ...(link.up ? ['up'] : []),
      loopback ? 'loopback' : 'broadcast',
      ...(running ? ['running'] : []),
      ...(loopback ? [] : ['multicast']),
      ...(running ? ['lower_up'] : []),
    ];
    const other = link.peer?.netns ?? link.host;
    const linked = link.peer?.index ?? (other !== undefined && other !== this ? link.index : undefined);
    const id = other === undefined ? undefined : this.id(other);
    return {
      name: link.name,
      index: link.index,
      ...(link.kind === undefined ? {} : { kind: link.kind }),
      mac: link.mac,
      mtu: link.mtu,
      up: link.up,
      running,
      flags,
      hardware: loopback ? 772 : 1,
      operstate: this.#operstate(link),
      ...(link.master === undefined ? {} : { master: link.master.name, masterIndex: link.master.index }),
      ...(linked === undefined ? {} : { link: linked }),
      ...(id === undefined ? {} : { linkNetnsid: id }),
      ...(link.alias === '' ? {} : { alias: link.alias }),
      ...link.info,
    };
  }

  #addressRow(address: FakeAddress): Row {
    return {
      link: address.link.name,
      linkIndex: address.link.index,
      address: `${address.ip}/${address.length}`,
      family: address.family === 4 ? 'inet' : 'inet6',
      scope: address.scope,
      flags: [...((address.flags & IFA_F.nodad) !== 0 ? ['nodad'] : []), 'permanent'],
      ...(address.label === undefined ? {} : { label: address.label }),
    };
  }

  /** Those of the administrator, and those to the networks of the addresses. */
  routes(): FakeRoute[] {
    const connected = this.addresses
      .filter(({ link, length, family, scope, prefixRoute }) => {
        return link.up && prefixRoute && scope === 'global' && length < (family === 4 ? 32 : 128);
      })
      .map((address): FakeRoute => {
        const { family, link, length } = address;
        return {
          dst: { ip: network(address), length, family },
          family,
          gateway: undefined,
          link,
          source: family === 4 ? address.ip : undefined,
          table: TABLE_MAIN,
          metric: family === 4 ? 0 : 256,
          scope: family === 4 ? 'link' : 'global',
          protocol: 'kernel',
          metrics: undefined,
        };
      });
    return [...this.#routes, ...connected];
  }

  #routeRow(route: FakeRoute): Row {
    return {
      dst: route.dst === undefined ? 'default' : `${route.dst.ip}/${route.dst.length}`,
      family: route.family === 4 ? 'inet' : 'inet6',
      ...(route.gateway === undefined ? {} : { gateway: route.gateway }),
      link: route.link.name,
      linkIndex: route.link.index,
      ...(route.source === undefined ? {} : { source: route.source }),
      table: route.table,
      ...(route.metric === 0 ? {} : { metric: route.metric }),
      type: 'unicast',
      scope: route.scope,
      protocol: route.protocol,
      ...(route.family === 4 ? {} : { preference: 'medium' }),
      ...(route.metrics === undefined ? {} : { metrics: route.metrics }),
    };
  }

  #neighborRow(neighbor: FakeNeighbor): Row {
    return entryRow('neighbor', this.#listedNeighbor(neighbor));
  }

  #fdbRow(entry: FakeFdbEntry): Row {
    return entryRow('fdb', this.#listedFdb(entry));
  }

  #listedNeighbor({ link, ip: address, mac: hardware, state, flags }: FakeNeighbor): ListedEntry {
    return { link, ip: address, mac: hardware, state, flags };
  }

  #listedFdb({ link, master, mac: address, dst, state, flags, vni, port }: FakeFdbEntry): ListedEntry {
    // A bridge's own entries are those of its table, which its ports share.
    const bridge = link.kind === 'bridge' ? link : master ? link.master : undefined;
    const shown = flags & ~NTF.use & ~NTF.master & (bridge === undefined ? ~0 : ~NTF.self);
    return { link, master: bridge, ip: dst, mac: address, state, flags: shown, vni, port };
  }

  rows(table: TableName): Row[] {
    switch (table) {
      case 'link':
        return this.links.map((link) => this.#linkRow(link));
      case 'address':
        return this.addresses.map((address) => this.#addressRow(address));
      case 'route':
        return this.routes().map((route) => this.#routeRow(route));
      case 'neighbor':
        return this.neighbors.map((neighbor) => this.#neighborRow(neighbor));
      case 'fdb':
        return this.fdb.map((entry) => this.#fdbRow(entry));
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
    const neighbors = boolean(filter, 'proxies') === true ? this.proxies : this.neighbors;
    const all =
      table === 'fdb'
        ? this.fdb.map((entry) => this.#listedFdb(entry))
        : neighbors.map((neighbor) => this.#listedNeighbor(neighbor));
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
    return name === undefined && index === undefined ? undefined : this.#linkOf(name, index, false);
  }

  // --- news ---

  #tell(kind: TableName, action: 'new' | 'delete', row: Row): void {
    for (const observer of [...this.observers]) observer.onNews?.(kind, action, row);
  }

  #tellLink(link: FakeLink, gone = false): void {
    this.#tell('link', gone ? 'delete' : 'new', this.#linkRow(link));
    for (const observer of [...this.observers]) observer.onLink?.(link, gone);
  }

  /**
   * What vxlan devices send when they know no answer (drivers/net/vxlan, vxlan_ip_miss and vxlan_fdb_miss). Where a
   * resolver catches the packets of L2 misses, it alone learns of them.
   */
  miss(link: FakeLink, key: MissKey): void {
    const all = [...this.observers];
    const catcher = key.mac === undefined ? undefined : all.find((observer) => observer.catchesL2?.(link) === true);
    for (const observer of catcher === undefined ? all : [catcher]) observer.onMiss?.(link, key);
  }

  /** What a miss comes to where a resolver serves the device; undefined where none does. */
  outcome(link: FakeLink, key: MissKey): Promise<Outcome> | undefined {
    for (const observer of this.observers) {
      const outcome = observer.outcome?.(link, key);
      if (outcome !== undefined) return outcome;
    }
    return undefined;
  }

  // --- requests ---

  /** An index by its name: what the addon asks before the request proper. */
  #named(name: string): FakeLink {
    const link = this.link(name);
    if (link === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: name });
    return link;
  }

  /** By its name, its index or both, which have to agree; for a deletion the index is enough once the name is gone. */
  #linkOf(name: string | undefined, index: number | undefined, deletion: boolean): FakeLink {
    const indexed = this.links.find((link) => link.index === index);
    if (name === undefined || name === '') {
      if (indexed === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: String(index) });
      return indexed;
    }
    const named = this.link(name);
    if (named === undefined && deletion && indexed !== undefined) return indexed;
    if (named === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: name });
    if (index !== undefined && named.index !== index)
      throw new Refusal('ENODEV', 'RTM_GETLINK', { on: name, attribute: 'linkIndex' });
    return named;
  }

  change(table: TableName, verb: Verb, item: Item): void {
    if (table === 'link') this.#changeLink(verb, item);
    else if (table === 'address') this.#changeAddress(verb, item);
    else if (table === 'rule' || table === 'nexthop')
      throw new OvernsError('EOPNOTSUPP', `the fake kernel takes no ${table}s`);
    else this.#changeRoute(verb, item);
  }

  // --- links ---

  #changeLink(verb: Verb, item: Item): void {
    const name = text(item, 'name') ?? '';
    const index = number(item, 'index', 0x7fff_ffff) ?? 0;
    const found = index > 0 ? this.links.find((link) => link.index === index) : this.link(name);
    if (verb === 'delete') {
      if (found === undefined) throw new Refusal('ENODEV', 'RTM_DELLINK');
      if (found.kind === undefined) throw new Refusal('EOPNOTSUPP', 'RTM_DELLINK');
      this.remove(found);
      return;
    }
    const target = text(item, 'netns');
    const destination = target === undefined || target === '' ? this : this.#world.find(target);
    const masterName = text(item, 'master');
    const masterIndex = number(item, 'masterIndex', 0x7fff_ffff);
    let master: FakeLink | undefined | null;
    if (masterName === '') throw invalidArgument('master', masterName, 'the name of a link, or null for none');
    if (item.master === null) master = null;
    else if (masterName !== undefined) master = this.#named(masterName);
    const make = verb === 'add' || verb === 'replace' || verb === 'append';
    checkName(name);
    checkAlias(text(item, 'alias'));
    if (make && masterIndex !== undefined) {
      master = destination.links.find((link) => link.index === masterIndex);
      if (master === undefined)
        throw new Refusal('EINVAL', 'RTM_NEWLINK', { kernelMessage: 'Master device not found' });
    }
    const settings: Settings = {
      up: boolean(item, 'up'),
      mtu: number(item, 'mtu', 0xffff_ffff),
      mac: mac(item, 'mac'),
      alias: text(item, 'alias'),
      master,
    };
    if (verb === 'set') {
      if (found === undefined) throw new Refusal('ENODEV', item.newName === undefined ? 'RTM_NEWLINK' : 'RTM_GETLINK');
      const newName = text(item, 'newName') ?? found.name;
      if (destination !== this) this.#move(found, destination, newName);
      destination.#rename(found, newName);
      destination.#apply(found, settings, item);
      return;
    }
    const there = destination === this ? found : destination.link(name);
    if (there !== undefined) {
      if (verb === 'add') throw new Refusal('EEXIST', 'RTM_NEWLINK');
      this.#apply(there, settings, item);
      return;
    }
    if (!make) throw new Refusal('ENODEV', 'RTM_NEWLINK');
    this.#create(name, item, settings, destination);
  }

  #rename(link: FakeLink, name: string): void {
    if (name === link.name) return;
    checkName(name);
    if (this.link(name) !== undefined) throw new Refusal('EEXIST', 'RTM_NEWLINK');
    // Labels follow (inetdev_changename).
    for (const address of this.addresses) {
      if (address.link === link && address.label === link.name) address.label = name;
    }
    link.name = name;
  }

  /** Moves a link. There it is down, without addresses, routes and master (__dev_change_net_namespace). */
  #move(link: FakeLink, destination: FakeNetns, newName: string): void {
    if (link.kind !== 'veth') throw new OvernsError('EOPNOTSUPP', 'the fake kernel moves no links but those of a veth');
    // The new name counts where the old one is taken, else when the link is there already.
    if (destination.link(link.name) !== undefined && destination.link(newName) !== undefined) {
      const kernelMessage = `Unable to use '${newName}' for the new interface name in the target netns`;
      throw new Refusal('EEXIST', 'RTM_NEWLINK', { kernelMessage });
    }
    this.#leave(link);
    link.netns = destination;
    link.master = undefined;
    if (destination.links.some(({ index }) => index === link.index)) link.index = destination.#freeIndex();
    destination.links.push(link);
    const { peer } = link;
    if (peer === undefined) return;
    destination.#introduce(peer.netns);
    peer.netns.#introduce(destination);
    peer.netns.#tellLink(peer);
  }

  #freeIndex(): number {
    do this.#lastIndex++;
    while (this.links.some(({ index }) => index === this.#lastIndex));
    return this.#lastIndex;
  }

  #create(name: string, item: Item, settings: Settings, destination: FakeNetns): void {
    const kind = text(item, 'kind') ?? '';
    const defaults = INFO[kind];
    if (defaults === undefined && LINK_KINDS.has(kind)) {
      throw noSuchLinks(kind);
    }
    if (defaults === undefined)
      throw new Refusal('EOPNOTSUPP', 'RTM_NEWLINK', { kernelMessage: 'Unknown device type' });
    checkMtu(settings.mtu, false);
    if (settings.mac !== undefined && !unicast(settings.mac)) throw new Refusal('EADDRNOTAVAIL', 'RTM_NEWLINK');
    const info = { ...defaults, ...readInfo(item, defaults) };
    if (kind === 'vxlan') this.#checkVxlan(item, info);
    const peer = kind === 'veth' ? readPeer(item) : undefined;
    const peerNetns = peer?.netns === undefined ? destination : this.#world.find(peer.netns);
    const peerName = peer === undefined ? undefined : (peer.name ?? peerNetns.#freeName('veth', name));
    if (peerName !== undefined) {
      checkName(peerName);
      const same = peerNetns === destination && peerName === name;
      if (same || peerNetns.link(peerName) !== undefined) throw new Refusal('EEXIST', 'RTM_NEWLINK');
    }
    checkMaster(settings.master, kind);
    const link = destination.#make({
      name,
      kind,
      mac: settings.mac ?? nextMac(),
      mtu: settings.mtu ?? 1500,
      info,
      host: kind === 'vxlan' ? this : undefined,
    });
    if (kind === 'vxlan') destination.#introduce(this);
    if (peer !== undefined && peerName !== undefined) {
      link.peer = peerNetns.#make({ name: peerName, kind, mac: peer.mac ?? nextMac(), mtu: peer.mtu ?? 1500 });
      link.peer.peer = link;
      destination.#introduce(peerNetns);
      peerNetns.#introduce(destination);
      peerNetns.#tellLink(link.peer);
    }
    link.up = settings.up === true;
    destination.#enslave(link, settings.master ?? undefined);
    destination.#tellLink(link);
  }

  #checkVxlan(item: Item, info: Record<string, unknown>): void {
    const vni = number(item, 'vni', 0xffff_ffff);
    if (vni === undefined) {
      const kernelMessage = 'Required attributes not provided to perform the operation';
      throw new Refusal('EINVAL', 'RTM_NEWLINK', { kernelMessage });
    }
    if (vni >= 1 << 24) {
      const kernelMessage = 'VXLAN ID must be lower than 16777216';
      throw new Refusal('ERANGE', 'RTM_NEWLINK', { kernelMessage, attribute: '1' });
    }
    info.vni = vni;
    const local = ip(item, 'local');
    if (local !== undefined) info.local = local;
    const family = local === undefined ? 4 : ipFamily(local);
    for (const netns of this.#world.all()) {
      for (const link of netns.links) {
        const taken = link.host === this && link.info.vni === vni && link.info.port === info.port;
        if (taken && vxlanFamily(link) === family) {
          const kernelMessage = 'A VXLAN device with the specified VNI already exists';
          throw new Refusal('EEXIST', 'RTM_NEWLINK', { kernelMessage });
        }
      }
    }
  }

  #freeName(stem: string, taken: string): string {
    for (let n = 0; ; n++) {
      const name = `${stem}${n}`;
      if (name !== taken && this.link(name) === undefined) return name;
    }
  }

  #make(of: {
    name: string;
    kind: string | undefined;
    mac: string;
    mtu: number;
    info?: Record<string, unknown>;
    host?: FakeNetns | undefined;
  }): FakeLink {
    const link: FakeLink = {
      index: this.#freeIndex(),
      name: of.name,
      kind: of.kind,
      netns: this,
      mac: of.mac,
      mtu: of.mtu,
      mtuSet: false,
      up: false,
      alias: '',
      master: undefined,
      peer: undefined,
      host: of.host,
      info: of.info ?? {},
    };
    this.links.push(link);
    return link;
  }

  /** A device of the machine's own, up: what an underlay is reached through. */
  plug(name: string, mtu: number): void {
    this.#make({ name, kind: undefined, mac: nextMac(), mtu }).up = true;
  }

  #apply(link: FakeLink, { up, mtu, mac: address, alias, master }: Settings, item: Item): void {
    checkMtu(mtu, link.name === 'lo');
    if (address !== undefined && !unicast(address)) throw new Refusal('EADDRNOTAVAIL', 'RTM_NEWLINK');
    if (master && master !== link.master) {
      try {
        checkMaster(master, link.kind);
      } catch (refused) {
        // The old one has been left by then (do_set_master).
        this.#enslave(link, undefined);
        throw refused;
      }
    }
    // A value that is there already is no change (netif_set_mtu_ext).
    if (mtu !== undefined && mtu !== link.mtu) {
      link.mtu = mtu;
      link.mtuSet = true;
      if (link.master !== undefined) this.#fitMtu(link.master);
    }
    if (address !== undefined && address !== link.mac) {
      link.mac = address;
      this.#dropNeighbors(link);
    }
    if (alias !== undefined) link.alias = alias;
    if (master !== undefined) this.#enslave(link, master ?? undefined);
    if (link.kind !== undefined && text(item, 'kind') === link.kind) {
      Object.assign(link.info, readInfo(item, INFO[link.kind] ?? {}));
    }
    if (up !== undefined && up !== link.up) {
      link.up = up;
      if (!up) this.#down(link);
      else if (link.name === 'lo') this.#loopback(link);
      if (link.peer !== undefined) link.peer.netns.#tellLink(link.peer);
    }
    this.#tellLink(link);
  }

  #enslave(link: FakeLink, master: FakeLink | undefined): void {
    const before = link.master;
    link.master = master;
    for (const bridge of [before, master]) if (bridge !== undefined) this.#fitMtu(bridge);
  }

  /** A bridge carries what the least of its ports does (br_mtu_auto_adjust). */
  #fitMtu(bridge: FakeLink): void {
    const mtu = Math.min(...this.ports(bridge).map((port) => port.mtu));
    if (!bridge.mtuSet) bridge.mtu = Number.isFinite(mtu) ? mtu : 1500;
  }

  #loopback(lo: FakeLink): void {
    for (const address of ['127.0.0.1/8', '::1/128']) {
      const parsed = prefix({ address }, 'address') as Prefix;
      if (this.addresses.some((each) => each.ip === parsed.ip)) continue;
      const label = parsed.family === 4 ? 'lo' : undefined;
      const added = { ...parsed, link: lo, scope: 'host', flags: IFA_F.permanent, label, prefixRoute: false };
      this.addresses.push(added);
      this.#tell('address', 'new', this.#addressRow(added));
    }
  }

  /** What a link that goes down takes with it. */
  #down(link: FakeLink): void {
    this.#drop(
      this.#routes,
      'route',
      (route) => this.#routeRow(route),
      (route) => route.link === link,
    );
    this.#dropNeighbors(link);
    // IPv6 addresses do not outlive it, IPv4 ones do (addrconf_ifdown).
    this.#drop(
      this.addresses,
      'address',
      (each) => this.#addressRow(each),
      (each) => each.link === link && each.family === 6,
    );
    this.#dropFdb((entry) => entry.link === link && !entry.master && (entry.state & (NUD.permanent | NUD.noarp)) === 0);
  }

  #dropNeighbors(link: FakeLink, which: (ip: string) => boolean = () => true): void {
    this.#drop(
      this.neighbors,
      'neighbor',
      (each) => this.#neighborRow(each),
      (each) => each.link === link && which(each.ip),
    );
  }

  /** With a link's last IPv4 address its IPv4 routes and neighbours go (fib_disable_ip). */
  #disableIp4(link: FakeLink): void {
    this.#dropNeighbors(link, (address) => ipFamily(address) === 4);
    this.#drop(
      this.#routes,
      'route',
      (route) => this.#routeRow(route),
      (route) => route.link === link && route.family === 4,
    );
  }

  /** A link goes, and with it all that hangs on it. */
  remove(link: FakeLink): void {
    const peer = link.peer;
    this.#leave(link);
    link.peer = undefined;
    if (peer !== undefined) {
      peer.peer = undefined;
      peer.netns.remove(peer);
    }
  }

  /** A link leaves this namespace, and what hangs on it stays behind gone. */
  #leave(link: FakeLink): void {
    const peer = link.peer;
    link.peer = undefined;
    link.up = false;
    this.#down(link);
    this.#dropFdb((entry) => entry.link === link || (entry.master && entry.link.master === link));
    this.#drop(
      this.addresses,
      'address',
      (each) => this.#addressRow(each),
      (each) => each.link === link,
    );
    for (const port of this.ports(link)) {
      port.master = undefined;
      this.#tellLink(port);
    }
    if (peer !== undefined) link.peer = peer; // its news still says what it was linked to
    this.links.splice(this.links.indexOf(link), 1);
    if (link.master !== undefined) this.#fitMtu(link.master);
    this.#tellLink(link, true);
  }

  #drop<T>(list: T[], table: TableName, row: (item: T) => Row, gone: (item: T) => boolean): T[] {
    const dropped = list.filter(gone);
    for (const item of dropped) {
      list.splice(list.indexOf(item), 1);
      this.#tell(table, 'delete', row(item));
    }
    return dropped;
  }

  /** NLM_F_BULK (vxlan_fdb_delete_bulk, br_fdb_delete_bulk): what matches goes, and nothing is no error. */
  flush(filter: Item): void {
    const link = this.#linkOf(text(filter, 'link'), number(filter, 'linkIndex', 0x7fff_ffff), false);
    const master = Array.isArray(filter.flags) && filter.flags.includes('master');
    if (!master && link.kind !== 'vxlan' && link.kind !== 'bridge') throw new Refusal('EOPNOTSUPP', 'RTM_DELNEIGH');
    if (master && link.master === undefined) throw new Refusal('EOPNOTSUPP', 'RTM_DELNEIGH');
    const [dst, port, vni] = [ip(filter, 'dst'), number(filter, 'port', 0xffff), number(filter, 'vni', 0xff_ffff)];
    const state = text(filter, 'state');
    this.#dropFdb(
      (each) =>
        each.link === link &&
        each.master === master &&
        (dst === undefined || each.dst === dst) &&
        (port === undefined || (each.port ?? link.info.port) === port) &&
        (vni === undefined || (each.vni ?? link.info.vni) === vni) &&
        (state === undefined || fdbState(each.state) === state),
    );
  }

  #dropFdb(gone: (entry: FakeFdbEntry) => boolean): void {
    for (const entry of this.#drop(this.fdb, 'fdb', (each) => this.#fdbRow(each), gone)) {
      for (const observer of [...this.observers]) observer.onFdbGone?.(entry);
    }
  }

  /** The last that held it has let go. */
  end(): void {
    for (const link of [...this.links]) if (this.links.includes(link) && link.name !== 'lo') this.remove(link);
    // Devices elsewhere whose socket was here lose it, and go.
    for (const netns of this.#world.all()) {
      for (const link of [...netns.links]) if (link.host === this) netns.remove(link);
    }
  }

  // --- addresses ---

  #changeAddress(verb: Verb, item: Item): void {
    const given = prefix(item, 'address');
    if (given === undefined) throw new TypeError('address: expected a string');
    const link = this.#linkOf(text(item, 'link') ?? '', number(item, 'linkIndex', 0x7fff_ffff), verb === 'delete');
    const same = (each: FakeAddress): boolean => {
      return each.link === link && each.ip === given.ip && (each.family === 6 || each.length === given.length);
    };
    const words = given.family === 4 ? ['ipv4: Address', 'ipv4: Address'] : ['ipv6: address', 'ipv6: address'];
    if (verb === 'delete') {
      const gone = this.#drop(this.addresses, 'address', (each) => this.#addressRow(each), same);
      if (gone.length > 0) {
        const left = this.addresses.some((each) => each.link === link && each.family === 4);
        if (given.family === 4 && !left) this.#disableIp4(link);
        return;
      }
      throw new Refusal('EADDRNOTAVAIL', 'RTM_DELADDR', { kernelMessage: `${words[0]} not found` });
    }
    const there = this.addresses.find(same);
    if (there !== undefined && verb === 'add') {
      throw new Refusal('EEXIST', 'RTM_NEWADDR', { kernelMessage: `${words[1]} already assigned` });
    }
    const scope = number(item, 'scope', 255) ?? 0;
    const added: FakeAddress = {
      ...given,
      link,
      scope: /^fe[89ab]/.test(given.ip) ? 'link' : (SCOPES[scope] ?? String(scope)),
      flags: IFA_F.permanent | (given.family === 6 && boolean(item, 'nodad') === true ? IFA_F.nodad : 0),
      label: given.family === 4 ? (text(item, 'label') ?? link.name) : undefined,
      prefixRoute: boolean(item, 'noprefixroute') !== true,
    };
    if (there === undefined) this.addresses.push(added);
    else this.addresses[this.addresses.indexOf(there)] = added;
    this.#tell('address', 'new', this.#addressRow(added));
  }

  // --- routes ---

  #changeRoute(verb: Verb, item: Item): void {
    const gateway = ip(item, 'gateway');
    const source = ip(item, 'source');
    const to = text(item, 'dst');
    const dst = to === undefined || to === 'default' ? undefined : prefix(item, 'dst');
    const via = text(item, 'link');
    const index = number(item, 'linkIndex', 0x7fff_ffff);
    const nowhere = (via === undefined || via === '') && index === undefined;
    let link = nowhere ? undefined : this.#linkOf(via, index, verb === 'delete');
    const family = dst?.family ?? (gateway === undefined ? 4 : ipFamily(gateway));
    const table = number(item, 'table', 0xffff_ffff) ?? TABLE_MAIN;
    const given = number(item, 'metric', 0xffff_ffff);
    const metric = given ?? (family === 6 ? 1024 : 0);
    const whole = dst === undefined || dst.length === 0 ? undefined : dst;
    const same = (route: FakeRoute): boolean =>
      route.family === family &&
      route.table === table &&
      route.dst?.ip === whole?.ip &&
      route.dst?.length === whole?.length;
    if (verb === 'delete') {
      const found = this.#routes.find((route) => {
        return (
          same(route) &&
          (given === undefined || route.metric === given) &&
          (gateway === undefined || route.gateway === gateway) &&
          (link === undefined || route.link === link)
        );
      });
      if (found === undefined) throw new Refusal('ESRCH', 'RTM_DELROUTE');
      this.#drop(
        this.#routes,
        'route',
        (route) => this.#routeRow(route),
        (route) => route === found,
      );
      return;
    }
    if (whole !== undefined && network(whole) !== whole.ip) {
      throw new Refusal('EINVAL', 'RTM_NEWROUTE', { kernelMessage: 'Invalid prefix for given prefix length' });
    }
    if (link !== undefined && !link.up) {
      throw new Refusal('ENETDOWN', 'RTM_NEWROUTE', { kernelMessage: 'Device for nexthop is not up' });
    }
    if (gateway !== undefined) {
      const hop = this.routes().find(
        (route) => route.gateway === undefined && route.dst !== undefined && contains(route.dst, gateway),
      );
      if (hop === undefined || (link !== undefined && hop.link !== link)) {
        throw new Refusal('ENETUNREACH', 'RTM_NEWROUTE', { kernelMessage: 'Nexthop has invalid gateway' });
      }
      link = hop.link;
    }
    if (link === undefined) throw new Refusal('ENODEV', 'RTM_NEWROUTE');
    const scope = family === 4 && gateway === undefined ? 'link' : 'global';
    const metrics = readMetrics(item);
    const route: FakeRoute = {
      dst: whole,
      family,
      gateway,
      link,
      source,
      table,
      metric,
      scope,
      protocol: 'boot',
      metrics,
    };
    const there = this.#routes.findIndex((each) => same(each) && each.metric === metric);
    if (there >= 0 && verb === 'add') throw new Refusal('EEXIST', 'RTM_NEWROUTE');
    const replaced = there >= 0 && verb === 'replace';
    if (replaced) this.#routes[there] = route;
    else this.#routes.push(route);
    this.#tell('route', 'new', { ...this.#routeRow(route), ...(replaced ? { replaced: true } : {}) });
  }

  /** The route that a packet takes. Without rules, what else the question says of the packet changes nothing. */
  route(item: Item): Row {
    const dst = ip(item, 'dst');
    if (dst === undefined) throw new TypeError('dst: expected a string');
    const family = ipFamily(dst);
    const from = ip(item, 'source');
    if (from !== undefined && ipFamily(from) !== family) {
      throw invalidArgument('source', from, 'an address of the same family as dst');
    }
    const via = text(item, 'link');
    const link = via === undefined ? undefined : this.#named(via);
    if (item.inputLink !== undefined) {
      throw new OvernsError('EOPNOTSUPP', 'the fake kernel does not tell how packets are forwarded');
    }
    const match = boolean(item, 'match') === true;
    const bits = family === 4 ? 32 : 128;
    const own = this.addresses.filter((each) => each.family === family && each.link.up);
    const unreachable = new Refusal('ENETUNREACH', 'RTM_GETROUTE');
    if (family === 4 && from !== undefined && !own.some((each) => each.ip === from)) throw unreachable;
    const about = { dst: `${dst}/${bits}`, family: family === 4 ? 'inet' : 'inet6' };
    const packet = {
      ...(family === 4 ? { uid: number(item, 'uid', 0xffff_ffff) ?? process.getuid?.() ?? 0 } : {}),
      ...(family === 4 && item.mark !== undefined ? { mark: number(item, 'mark', 0xffff_ffff) } : {}),
    };
    const local = own.find((each) => each.ip === dst);
    if (local !== undefined && (link === undefined || link === local.link)) {
      const told = match ? local.link : (this.link('lo') as FakeLink);
      const on = { link: told.name, linkIndex: told.index };
      const kernel = { type: 'local', protocol: 'kernel' };
      if (family === 6) {
        const source = match ? {} : { source: dst };
        return { ...about, ...kernel, ...on, ...source, table: 255, metric: 0, scope: 'global', preference: 'medium' };
      }
      // Local and main are one table until there is a rule (fib_unmerge).
      if (match) return { ...about, ...kernel, ...on, source: dst, table: TABLE_MAIN, scope: 'host' };
      return {
        ...about,
        ...packet,
        type: 'local',
        protocol: 'unspec',
        ...on,
        source: dst,
        table: TABLE_MAIN,
        scope: 'global',
        flags: ['cloned', 'local'],
      };
    }
    const [found] = this.routes()
      .filter((each) => each.table === TABLE_MAIN && each.family === family && (link ?? each.link) === each.link)
      .filter((each) => each.link.up && (each.dst === undefined || contains(each.dst, dst)))
      .sort((a, b) => (b.dst?.length ?? 0) - (a.dst?.length ?? 0) || a.metric - b.metric);
    if (found === undefined && (link === undefined || family === 6 || match)) throw unreachable;
    const through = found?.link ?? (link as FakeLink);
    if (found !== undefined && match) return this.#routeRow(found);
    const global = own.filter((each) => each.scope === 'global');
    const source = found?.source ?? (global.find((each) => each.link === through) ?? global[0])?.ip;
    const {
      dst: _,
      source: __,
      metric,
      ...row
    } = found === undefined ? { link: through.name, linkIndex: through.index } : this.#routeRow(found);
    const answer = family === 4 ? { protocol: 'unspec', scope: 'global', flags: ['cloned'] } : { metric };
    return { ...row, ...about, type: 'unicast', ...answer, ...packet, ...(source === undefined ? {} : { source }) };
  }

  // --- neighbours and FDB entries ---

  changeEntry(table: 'neighbor' | 'fdb', entry: Entry): void {
    const link = this.#linkOf(entry.link, entry.linkIndex, entry.verb === 'delete');
    if (entry.via !== undefined) this.#named(entry.via);
    if (table === 'neighbor') this.#changeNeighbor(entry, link);
    else this.#changeFdb(entry, link);
  }

  neighbor(link: FakeLink, address: string): FakeNeighbor | undefined {
    return this.neighbors.find((each) => each.link === link && each.ip === address);
  }

  #changeNeighbor({ verb, ip: address = '', mac: hardware, state, flags }: Entry, link: FakeLink): void {
    if ((flags & NTF.proxy) !== 0) {
      // A table of its own, of which nothing is told.
      const at = this.proxies.findIndex((each) => each.link === link && each.ip === address);
      if (verb !== 'delete') {
        if (at < 0) this.proxies.push({ link, ip: address, mac: undefined, state: NUD.none, flags: NTF.proxy });
      } else if (at < 0) {
        throw new Refusal('ENOENT', 'RTM_DELNEIGH');
      } else {
        this.proxies.splice(at, 1);
      }
      return;
    }
    const there = this.neighbor(link, address);
    if (verb === 'delete') {
      if (there === undefined) throw new Refusal('ENOENT', 'RTM_DELNEIGH');
      // As neigh_delete() does: first it fails, which is told, then it goes.
      there.state = NUD.failed;
      there.mac = undefined;
      this.#tell('neighbor', 'new', this.#neighborRow(there));
      this.#drop(
        this.neighbors,
        'neighbor',
        (each) => this.#neighborRow(each),
        (each) => each === there,
      );
      return;
    }
    if (there !== undefined && verb === 'add') throw new Refusal('EEXIST', 'RTM_NEWNEIGH');
    // Without NLM_F_REPLACE another address does not override the one there is (neigh_update).
    const other = hardware !== undefined && there?.mac !== undefined && there.mac !== hardware;
    if (other && verb !== 'replace') return;
    const valid = NUD.permanent | NUD.noarp | NUD.reachable | NUD.probe | NUD.stale | NUD.delay;
    if (hardware === undefined && there?.mac === undefined && (state & valid) !== 0) {
      // The kernel has made the entry by then.
      if (there === undefined) this.neighbors.push({ link, ip: address, mac: undefined, state: NUD.none, flags: 0 });
      throw new Refusal('EINVAL', 'RTM_NEWNEIGH', { kernelMessage: 'No link layer address given' });
    }
    const kept = flags & ~NTF.use;
    const neighbor = there ?? { link, ip: address, mac: undefined, state: 0, flags: 0 };
    neighbor.mac = state === NUD.none ? undefined : (hardware ?? neighbor.mac);
    neighbor.state = state;
    neighbor.flags = kept;
    if (there === undefined) this.neighbors.push(neighbor);
    this.#tell('neighbor', 'new', this.#neighborRow(neighbor));
  }

  /** The entries of a link's own table for a MAC address. */
  forwarding(link: FakeLink, address: string): FakeFdbEntry[] {
    return this.fdb.filter((each) => each.link === link && !each.master && each.mac === address);
  }

  #changeFdb(entry: Entry, link: FakeLink): void {
    const { verb, mac: address = ZERO_MAC, ip: dst, state, flags, vni, port } = entry;
    const syscall = verb === 'delete' ? 'RTM_DELNEIGH' : 'RTM_NEWNEIGH';
    const master = (flags & NTF.master) !== 0;
    if (master && link.master === undefined) throw new Refusal('EOPNOTSUPP', syscall);
    const tunnel = link.kind === 'vxlan' && !master;
    const there = this.fdb.filter((each) => each.link === link && each.master === master && each.mac === address);
    if (verb === 'delete') {
      if (there.length === 0) throw new Refusal('ENOENT', syscall);
      const one = tunnel && dst !== undefined ? there.find((each) => each.dst === dst) : undefined;
      if (tunnel && dst !== undefined && one === undefined) return;
      this.#dropFdb((each) => (one === undefined ? there.includes(each) : each === one));
      return;
    }
    const many = !unicast(address);
    const bridged = master || link.kind === 'bridge';
    if (tunnel) {
      if ((state & (NUD.permanent | NUD.reachable)) === 0) throw new Refusal('EINVAL', syscall);
      if (dst === undefined && entry.nexthop === undefined) throw new Refusal('EINVAL', syscall);
      if (dst !== undefined && ipFamily(dst) !== vxlanFamily(link)) throw new Refusal('EAFNOSUPPORT', syscall);
      if (verb === 'replace' && many) {
        for (const each of there) Object.assign(each, { state, flags }); // before it is refused
        const kernelMessage = there.length > 0 ? 'Cannot replace non-unicast fdb entries' : undefined;
        throw new Refusal('EOPNOTSUPP', syscall, { kernelMessage });
      }
    } else {
      if (bridged && address === ZERO_MAC) throw new Refusal('EINVAL', syscall);
      if (!master && (state & NUD.permanent) === 0) throw new Refusal('EINVAL', syscall);
    }
    if (there.length > 0 && verb === 'add') throw new Refusal('EEXIST', syscall);
    // A plain device keeps a list of addresses: what it has it has, also all zeros (ndo_dflt_fdb_add).
    if (there[0] !== undefined && !tunnel && !bridged) {
      this.#tell('fdb', 'new', this.#fdbRow(there[0]));
      return;
    }
    const to = tunnel ? { dst, vni, port } : { dst: undefined, vni: undefined, port: undefined };
    const added: FakeFdbEntry = { link, mac: address, master, ...to, state, flags };
    const same = there.some((each) => each.dst === dst && each.port === port && each.vni === vni);
    if (verb === 'append' && there.length > 0) for (const each of there) Object.assign(each, { state, flags });
    if (verb === 'append' && there.length > 0 && (!many || same)) return;
    if (verb === 'append' || there[0] === undefined) this.fdb.push(added);
    else Object.assign(there[0], added);
    this.#tell('fdb', 'new', this.#fdbRow(added));
  }

  /** What a vxlan device learns from a packet; false: the packet is dropped, its sender being nailed to another VTEP. */
  learn(link: FakeLink, address: string, dst: string): boolean {
    const [there] = this.forwarding(link, address);
    if (there?.dst === dst) return true;
    if (there !== undefined && (there.state & (NUD.permanent | NUD.noarp)) !== 0) return false;
    if (link.info.learning !== true) return true;
    const entry = { verb: 'replace', link: link.name, mac: address, ip: dst, state: NUD.reachable } as const;
    this.#changeFdb({ ...entry, flags: NTF.self }, link);
    return true;
  }
}

/** In the words of Rtnl, its fields in the order that lib reads them. */
function entryRow(table: 'neighbor' | 'fdb', entry: ListedEntry): Row {
  return decodeEntries(writeRows(table, [entry]))[0] as Row;
}

const SCOPES: Readonly<Record<number, string>> = { 0: 'global', 200: 'site', 253: 'link', 254: 'host' };

interface Settings {
  readonly up: boolean | undefined;
  readonly mtu: number | undefined;
  readonly mac: string | undefined;
  readonly alias: string | undefined;
  /** Null: none. */
  readonly master: FakeLink | undefined | null;
}

function vxlanFamily(link: FakeLink): 4 | 6 {
  return typeof link.info.local === 'string' ? ipFamily(link.info.local) : 4;
}

/** IFNAMSIZ, and dev_valid_name (net/core/dev.c). */
export function noSuchLinks(kind: string): OvernsError {
  return new OvernsError('EOPNOTSUPP', `the fake kernel has no ${kind} links, only bridges, veths and vxlans`);
}

/** Reads what a link is to be, and refuses what is of the wrong type or range, as the addon does before it sends anything. */
export function checkLink(item: Item): void {
  for (const name of ['name', 'newName', 'kind', 'netns', 'alias', 'master'])
    if (name !== 'master' || item.master !== null) text(item, name);
  for (const name of ['index', 'masterIndex']) number(item, name, 0x7fff_ffff);
  number(item, 'mtu', 0xffff_ffff);
  boolean(item, 'up');
  mac(item, 'mac');
  if (item.master === '') throw invalidArgument('master', '', 'the name of a link, or null for none');
  readInfo(item, INFO[text(item, 'kind') ?? ''] ?? {});
  readPeer(item);
}

function checkName(name: string): void {
  if (Buffer.byteLength(name) > 15) {
    throw new Refusal('ERANGE', 'RTM_NEWLINK', { kernelMessage: 'Attribute failed policy validation', attribute: '3' });
  }
  if (name === '' || name === '.' || name === '..' || /[/:\s]/.test(name)) throw new Refusal('EINVAL', 'RTM_NEWLINK');
}

function checkAlias(alias: string | undefined): void {
  if (alias === undefined || Buffer.byteLength(alias) <= 255) return;
  throw new Refusal('ERANGE', 'RTM_NEWLINK', { kernelMessage: 'Attribute failed policy validation', attribute: '20' });
}

function checkMaster(master: FakeLink | undefined | null, kind: string | undefined): void {
  if (!master) return;
  if (master.kind !== 'bridge') throw new Refusal('EOPNOTSUPP', 'RTM_NEWLINK');
  if (kind !== 'bridge') return;
  throw new Refusal('ELOOP', 'RTM_NEWLINK', { kernelMessage: 'Can not enslave a bridge to a bridge' });
}

function checkMtu(mtu: number | undefined, loopback: boolean): void {
  if (mtu === undefined) return;
  const [min, max] = loopback ? MTU.lo : MTU.ethernet;
  const word = mtu < min ? 'less than device minimum' : mtu > max ? 'greater than device maximum' : undefined;
  if (word !== undefined) throw new Refusal('EINVAL', 'RTM_NEWLINK', { kernelMessage: `mtu ${word}` });
}

/** A route's metrics, as far as they are numbers. */
function readMetrics(item: Item): Record<string, number> | undefined {
  const given = item.metrics as Item | undefined;
  if (given === undefined) return undefined;
  if (given === null || typeof given !== 'object') throw new TypeError('metrics: expected an object');
  const read = Object.keys(given).map((name) => [name, number(given, name, 0xffff_ffff)] as const);
  return Object.fromEntries(read.filter((each): each is readonly [string, number] => each[1] !== undefined));
}

/** The attributes of the kind that the request gives, of the types that the defaults have. */
function readInfo(item: Item, defaults: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(defaults)) {
    const read = typeof value === 'boolean' ? boolean(item, name) : number(item, name, 0xffff_ffff);
    if (read !== undefined) given[name] = read;
  }
  return given;
}

function readPeer(item: Item): { name?: string; mac?: string; mtu?: number; netns?: string } {
  const peer = item.peer as Item | undefined | null;
  if (peer === undefined || peer === null) return {};
  if (typeof peer !== 'object') throw new TypeError('peer: expected an object');
  const [name, address, mtu, netns] = [
    text(peer, 'name'),
    mac(peer, 'mac'),
    number(peer, 'mtu', 0xffff_ffff),
    text(peer, 'netns'),
  ];
  return {
    ...(name === undefined || name === '' ? {} : { name }),
    ...(address === undefined ? {} : { mac: address }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(netns === undefined || netns === '' ? {} : { netns }),
  };
}
