/** The links of a fake namespace, and rtnetlink's answers to requests about them. */

import { ipFamily } from '../../core/address.js';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import { LINK_KINDS } from '../../rtnl/field-names.js';
import type { Verb } from '../entries.js';
import { boolean, type Item, ip, mac, number, text } from '../fields.js';
import { Refusal } from '../refusal.js';
import {
  checkAlias,
  checkMaster,
  checkMtu,
  checkName,
  INFO,
  noSuchLinks,
  readInfo,
  readPeer,
  type Settings,
  unicast,
  vxlanFamily,
} from './link-attributes.js';
import { type FakeLink, type Namespace, type Row, Table, ZERO_MAC } from './table.js';

/** A namespace as the links of others reach it. */
export interface LinkHome extends Namespace {
  readonly linkTable: Links;
}

/** How other namespaces are reached: by path, and all of them for what a vxlan's socket belongs to. */
export interface World {
  find(path: string): LinkHome;
  all(): Iterable<LinkHome>;
  /** Locally administered, and never one that overns derives from an address (02:42:...). */
  nextMac(): string;
}

/** Rows of other tables that hang on a link. */
export interface LinkEffects {
  loopbackUp(lo: FakeLink): void;
  /** It goes down. */
  down(link: FakeLink): void;
  /** Its MAC address changes. */
  readdressed(link: FakeLink): void;
  /** It leaves the namespace, and is down already. */
  gone(link: FakeLink): void;
}

export class Links extends Table<FakeLink> {
  readonly #netns: LinkHome;
  readonly #world: World;
  readonly #effects: LinkEffects;
  #lastIndex = 0;

  constructor(netns: LinkHome, world: World, effects: LinkEffects) {
    super('link', netns.observers);
    this.#netns = netns;
    this.#world = world;
    this.#effects = effects;
    this.make({ name: 'lo', kind: undefined, mac: ZERO_MAC, mtu: 65_536 });
  }

  link(name: string): FakeLink | undefined {
    return this.items.find((link) => link.name === name);
  }

  ports(bridge: FakeLink): FakeLink[] {
    return this.items.filter((link) => link.master === bridge);
  }

  /** Those of the namespace that a link is in by now. */
  #linksOf({ netns }: FakeLink): Links {
    return (netns as LinkHome).linkTable;
  }

  #tellLink(link: FakeLink, gone = false): void {
    this.tell(gone ? 'delete' : 'new', link);
    for (const observer of [...this.#netns.observers]) observer.onLink?.(link, gone);
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

  row(link: FakeLink): Row {
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
    const linked = link.peer?.index ?? (other !== undefined && other !== this.#netns ? link.index : undefined);
    const id = other === undefined ? undefined : this.#netns.id(other);
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
      linkGroup: link.group,
      ...(link.alias === '' ? {} : { alias: link.alias }),
      ...link.info,
    };
  }

  /** An index by its name: what the addon asks before the request proper. */
  named(name: string): FakeLink {
    const link = this.link(name);
    if (link === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: name });
    return link;
  }

  /** By its name, its index or both, which have to agree; for a deletion the index is enough once the name is gone. */
  of(name: string | undefined, index: number | undefined, deletion: boolean): FakeLink {
    const indexed = this.items.find((link) => link.index === index);
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

  change(verb: Verb, item: Item): void {
    const name = text(item, 'name') ?? '';
    const index = number(item, 'index', 0x7fff_ffff) ?? 0;
    const found = index > 0 ? this.items.find((link) => link.index === index) : this.link(name);
    const group = number(item, 'linkGroup', 0xffff_ffff);
    if (verb === 'delete') {
      if (index === 0 && name === '' && group !== undefined) {
        this.#removeGroup(group);
        return;
      }
      if (found === undefined) throw new Refusal('ENODEV', 'RTM_DELLINK');
      if (found.kind === undefined) throw new Refusal('EOPNOTSUPP', 'RTM_DELLINK');
      this.remove(found);
      return;
    }
    const target = text(item, 'netns');
    const destination = target === undefined || target === '' ? this : this.#world.find(target).linkTable;
    const masterName = text(item, 'master');
    const masterIndex = number(item, 'masterIndex', 0x7fff_ffff);
    let master: FakeLink | undefined | null;
    if (masterName === '') throw invalidArgument('master', masterName, 'the name of a link, or null for none');
    if (item.master === null) master = null;
    else if (masterName !== undefined) master = this.named(masterName);
    const make = verb === 'add' || verb === 'replace' || verb === 'append';
    checkName(name);
    checkAlias(text(item, 'alias'));
    if (make && masterIndex !== undefined) {
      master = destination.items.find((link) => link.index === masterIndex);
      if (master === undefined)
        throw new Refusal('EINVAL', 'RTM_NEWLINK', { kernelMessage: 'Master device not found' });
    }
    const settings: Settings = {
      up: boolean(item, 'up'),
      mtu: number(item, 'mtu', 0xffff_ffff),
      mac: mac(item, 'mac'),
      alias: text(item, 'alias'),
      group,
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

  /** All of a group, or none (rtnl_group_dellink). */
  #removeGroup(group: number): void {
    if (group === 0) throw new Refusal('EPERM', 'RTM_DELLINK');
    const members = this.items.filter((link) => link.group === group);
    if (members.length === 0) throw new Refusal('ENODEV', 'RTM_DELLINK');
    if (members.some(({ kind }) => kind === undefined)) throw new Refusal('EOPNOTSUPP', 'RTM_DELLINK');
    // With one end of a veth goes the other.
    for (const link of members) if (this.items.includes(link)) this.remove(link);
  }

  #rename(link: FakeLink, name: string): void {
    if (name === link.name) return;
    checkName(name);
    if (this.link(name) !== undefined) throw new Refusal('EEXIST', 'RTM_NEWLINK');
    // Labels follow (inetdev_changename).
    for (const address of this.#netns.addresses) {
      if (address.link === link && address.label === link.name) address.label = name;
    }
    link.name = name;
  }

  /** Moves a link. There it is down, without addresses, routes and master (__dev_change_net_namespace). */
  #move(link: FakeLink, destination: Links, newName: string): void {
    if (link.kind !== 'veth') throw new OvernsError('EOPNOTSUPP', 'the fake kernel moves no links but those of a veth');
    // The new name counts where the old one is taken, else when the link is there already.
    if (destination.link(link.name) !== undefined && destination.link(newName) !== undefined) {
      const kernelMessage = `Unable to use '${newName}' for the new interface name in the target netns`;
      throw new Refusal('EEXIST', 'RTM_NEWLINK', { kernelMessage });
    }
    this.#leave(link);
    link.netns = destination.#netns;
    link.master = undefined;
    if (destination.items.some(({ index }) => index === link.index)) link.index = destination.#freeIndex();
    destination.items.push(link);
    const { peer } = link;
    if (peer === undefined) return;
    destination.#netns.introduce(peer.netns);
    peer.netns.introduce(destination.#netns);
    this.#linksOf(peer).#tellLink(peer);
  }

  #freeIndex(): number {
    do this.#lastIndex++;
    while (this.items.some(({ index }) => index === this.#lastIndex));
    return this.#lastIndex;
  }

  #create(name: string, item: Item, settings: Settings, destination: Links): void {
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
    const peerLinks = peer?.netns === undefined ? destination : this.#world.find(peer.netns).linkTable;
    const peerName = peer === undefined ? undefined : (peer.name ?? peerLinks.#freeName('veth', name));
    if (peerName !== undefined) {
      checkName(peerName);
      const same = peerLinks === destination && peerName === name;
      if (same || peerLinks.link(peerName) !== undefined) throw new Refusal('EEXIST', 'RTM_NEWLINK');
    }
    checkMaster(settings.master, kind);
    const link = destination.make({
      name,
      kind,
      mac: settings.mac ?? this.#world.nextMac(),
      mtu: settings.mtu ?? 1500,
      info,
      host: kind === 'vxlan' ? this.#netns : undefined,
    });
    if (kind === 'vxlan') destination.#netns.introduce(this.#netns);
    if (peer !== undefined && peerName !== undefined) {
      link.peer = peerLinks.make({
        name: peerName,
        kind,
        mac: peer.mac ?? this.#world.nextMac(),
        mtu: peer.mtu ?? 1500,
      });
      link.peer.peer = link;
      destination.#netns.introduce(peerLinks.#netns);
      peerLinks.#netns.introduce(destination.#netns);
      peerLinks.#tellLink(link.peer);
    }
    link.up = settings.up === true;
    link.group = settings.group ?? 0;
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
        const taken = link.host === this.#netns && link.info.vni === vni && link.info.port === info.port;
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

  make(of: {
    name: string;
    kind: string | undefined;
    mac: string;
    mtu: number;
    info?: Record<string, unknown>;
    host?: Namespace | undefined;
  }): FakeLink {
    const link: FakeLink = {
      index: this.#freeIndex(),
      name: of.name,
      kind: of.kind,
      netns: this.#netns,
      mac: of.mac,
      mtu: of.mtu,
      mtuSet: false,
      up: false,
      alias: '',
      group: 0,
      master: undefined,
      peer: undefined,
      host: of.host,
      info: of.info ?? {},
    };
    this.items.push(link);
    return link;
  }

  /** A device of the machine's own, up: what an underlay is reached through. */
  plug(name: string, mtu: number): void {
    this.make({ name, kind: undefined, mac: this.#world.nextMac(), mtu }).up = true;
  }

  #apply(link: FakeLink, { up, mtu, mac: address, alias, group, master }: Settings, item: Item): void {
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
      this.#effects.readdressed(link);
    }
    if (alias !== undefined) link.alias = alias;
    if (group !== undefined) link.group = group;
    if (master !== undefined) this.#enslave(link, master ?? undefined);
    if (link.kind !== undefined && text(item, 'kind') === link.kind) {
      Object.assign(link.info, readInfo(item, INFO[link.kind] ?? {}));
    }
    if (up !== undefined && up !== link.up) {
      link.up = up;
      if (!up) this.#effects.down(link);
      else if (link.name === 'lo') this.#effects.loopbackUp(link);
      if (link.peer !== undefined) this.#linksOf(link.peer).#tellLink(link.peer);
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
    this.#effects.down(link);
    this.#effects.gone(link);
    for (const port of this.ports(link)) {
      port.master = undefined;
      this.#tellLink(port);
    }
    if (peer !== undefined) link.peer = peer; // its news still says what it was linked to
    this.items.splice(this.items.indexOf(link), 1);
    if (link.master !== undefined) this.#fitMtu(link.master);
    this.#tellLink(link, true);
  }
}
