/** The neighbours of a fake namespace. */
import { type Entry, entryRow, type ListedEntry, NTF, NUD } from '../entries.js';
import { Refusal } from '../refusal.js';
import { type FakeLink, type FakeNeighbor, type Observer, type Row, Table } from './table.js';

export class Neighbors extends Table<FakeNeighbor> {
  /** A table of its own, of which nothing is told. */
  readonly proxies: FakeNeighbor[] = [];

  constructor(observers: ReadonlySet<Observer>) {
    super('neighbor', observers);
  }

  row(neighbor: FakeNeighbor): Row {
    return entryRow('neighbor', this.listed(neighbor));
  }

  listed({ link, ip: address, mac: hardware, state, flags }: FakeNeighbor): ListedEntry {
    return { link, ip: address, mac: hardware, state, flags };
  }

  find(link: FakeLink, address: string): FakeNeighbor | undefined {
    return this.items.find((each) => each.link === link && each.ip === address);
  }

  /** Those of a link go. */
  dropOf(link: FakeLink, which: (ip: string) => boolean = () => true): void {
    this.drop((each) => each.link === link && which(each.ip));
  }

  change({ verb, ip: address = '', mac: hardware, state, flags }: Entry, link: FakeLink): void {
    if ((flags & NTF.proxy) !== 0) {
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
    const there = this.find(link, address);
    if (verb === 'delete') {
      if (there === undefined) throw new Refusal('ENOENT', 'RTM_DELNEIGH');
      // As neigh_delete() does: first it fails, which is told, then it goes.
      there.state = NUD.failed;
      there.mac = undefined;
      this.tell('new', there);
      this.drop((each) => each === there);
      return;
    }
    if (there !== undefined && verb === 'add') throw new Refusal('EEXIST', 'RTM_NEWNEIGH');
    // Without NLM_F_REPLACE another address does not override the one there is (neigh_update).
    const other = hardware !== undefined && there?.mac !== undefined && there.mac !== hardware;
    if (other && verb !== 'replace') return;
    const valid = NUD.permanent | NUD.noarp | NUD.reachable | NUD.probe | NUD.stale | NUD.delay;
    if (hardware === undefined && there?.mac === undefined && (state & valid) !== 0) {
      // The kernel has made the entry by then.
      if (there === undefined) this.items.push({ link, ip: address, mac: undefined, state: NUD.none, flags: 0 });
      throw new Refusal('EINVAL', 'RTM_NEWNEIGH', { kernelMessage: 'No link layer address given' });
    }
    const kept = flags & ~NTF.use;
    const neighbor = there ?? { link, ip: address, mac: undefined, state: 0, flags: 0 };
    neighbor.mac = state === NUD.none ? undefined : (hardware ?? neighbor.mac);
    neighbor.state = state;
    neighbor.flags = kept;
    if (there === undefined) this.items.push(neighbor);
    this.tell('new', neighbor);
  }
}
