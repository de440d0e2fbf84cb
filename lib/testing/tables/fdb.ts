/** The forwarding entries of a fake namespace: those of links, of bridges and of vxlan devices. */
import { ipFamily } from '../../core/address.js';
import { type Entry, entryRow, fdbState, type ListedEntry, NTF, NUD } from '../entries.js';
import { type Item, ip, number, text } from '../fields.js';
import { Refusal } from '../refusal.js';
import { unicast, vxlanFamily } from './link-attributes.js';
import type { Links } from './links.js';
import { type FakeFdbEntry, type FakeLink, type Observer, type Row, Table, ZERO_MAC } from './table.js';

export class Fdb extends Table<FakeFdbEntry> {
  readonly #observers: ReadonlySet<Observer>;
  readonly #links: Links;

  constructor(observers: ReadonlySet<Observer>, links: Links) {
    super('fdb', observers);
    this.#observers = observers;
    this.#links = links;
  }

  row(entry: FakeFdbEntry): Row {
    return entryRow('fdb', this.listed(entry));
  }

  listed({ link, master, mac: address, dst, state, flags, vni, port }: FakeFdbEntry): ListedEntry {
    // A bridge's own entries are those of its table, which its ports share.
    const bridge = link.kind === 'bridge' ? link : master ? link.master : undefined;
    const shown = flags & ~NTF.use & ~NTF.master & (bridge === undefined ? ~0 : ~NTF.self);
    return { link, master: bridge, ip: dst, mac: address, state, flags: shown, vni, port };
  }

  override drop(gone: (entry: FakeFdbEntry) => boolean): FakeFdbEntry[] {
    const dropped = super.drop(gone);
    for (const entry of dropped) for (const observer of [...this.#observers]) observer.onFdbGone?.(entry);
    return dropped;
  }

  /** NLM_F_BULK (vxlan_fdb_delete_bulk, br_fdb_delete_bulk): what matches goes, and nothing is no error. */
  flush(filter: Item): void {
    const link = this.#links.of(text(filter, 'link'), number(filter, 'linkIndex', 0x7fff_ffff), false);
    const master = Array.isArray(filter.flags) && filter.flags.includes('master');
    if (!master && link.kind !== 'vxlan' && link.kind !== 'bridge') throw new Refusal('EOPNOTSUPP', 'RTM_DELNEIGH');
    if (master && link.master === undefined) throw new Refusal('EOPNOTSUPP', 'RTM_DELNEIGH');
    const [dst, port, vni] = [ip(filter, 'dst'), number(filter, 'port', 0xffff), number(filter, 'vni', 0xff_ffff)];
    const state = text(filter, 'state');
    this.drop(
      (each) =>
        each.link === link &&
        each.master === master &&
        (dst === undefined || each.dst === dst) &&
        (port === undefined || (each.port ?? link.info.port) === port) &&
        (vni === undefined || (each.vni ?? link.info.vni) === vni) &&
        (state === undefined || fdbState(each.state) === state),
    );
  }

  /** The entries of a link's own table for a MAC address. */
  forwarding(link: FakeLink, address: string): FakeFdbEntry[] {
    return this.items.filter((each) => each.link === link && !each.master && each.mac === address);
  }

  change(entry: Entry, link: FakeLink): void {
    const { verb, mac: address = ZERO_MAC, ip: dst, state, flags, vni, port } = entry;
    const syscall = verb === 'delete' ? 'RTM_DELNEIGH' : 'RTM_NEWNEIGH';
    const master = (flags & NTF.master) !== 0;
    if (master && link.master === undefined) throw new Refusal('EOPNOTSUPP', syscall);
    const tunnel = link.kind === 'vxlan' && !master;
    const there = this.items.filter((each) => each.link === link && each.master === master && each.mac === address);
    if (verb === 'delete') {
      if (there.length === 0) throw new Refusal('ENOENT', syscall);
      const one = tunnel && dst !== undefined ? there.find((each) => each.dst === dst) : undefined;
      if (tunnel && dst !== undefined && one === undefined) return;
      this.drop((each) => (one === undefined ? there.includes(each) : each === one));
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
      this.tell('new', there[0]);
      return;
    }
    const to = tunnel ? { dst, vni, port } : { dst: undefined, vni: undefined, port: undefined };
    // What was learned by others leaves an entry that somebody has written what it is (vxlan_fdb_update_existing).
    const kept = tunnel && verb === 'replace' && (flags & NTF.extLearned) !== 0 ? there[0] : undefined;
    const as = kept === undefined ? { state, flags } : { state: kept.state, flags: kept.flags };
    const added: FakeFdbEntry = { link, mac: address, master, ...to, ...as };
    const same = there.some((each) => each.dst === dst && each.port === port && each.vni === vni);
    if (verb === 'append' && there.length > 0) for (const each of there) Object.assign(each, { state, flags });
    if (verb === 'append' && there.length > 0 && (!many || same)) return;
    if (verb === 'append' || there[0] === undefined) this.items.push(added);
    else Object.assign(there[0], added);
    this.tell('new', added);
  }

  /** Learns from a packet as a vxlan device does; false: the packet is dropped, its sender being nailed to another VTEP. */
  learn(link: FakeLink, address: string, dst: string): boolean {
    const [there] = this.forwarding(link, address);
    if (there?.dst === dst) return true;
    if (there !== undefined && (there.state & (NUD.permanent | NUD.noarp)) !== 0) return false;
    if (link.info.learning !== true) return true;
    const entry = { verb: 'replace', link: link.name, mac: address, ip: dst, state: NUD.reachable } as const;
    this.change({ ...entry, flags: NTF.self }, link);
    return true;
  }
}
