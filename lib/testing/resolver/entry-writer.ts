/** The entries that a resolver writes on an overlay's vxlan device. */
import { type Entry, NTF, NUD } from '../entries.js';
import type { Machine } from '../machine.js';
import type { FakeNetns } from '../netns.js';
import { Refusal } from '../refusal.js';
import type { OverlayLinks } from './overlay-links.js';

export class EntryWriter {
  readonly #machine: Machine;
  readonly #netns: FakeNetns;
  readonly #links: OverlayLinks;

  constructor(machine: Machine, netns: FakeNetns, links: OverlayLinks) {
    this.#machine = machine;
    this.#netns = netns;
    this.#links = links;
  }

  /** Writes how a MAC is reached, and before it, where one is given, whose MAC it is. */
  program(ip: string | undefined, mac: string, vtep: string): Refusal | undefined {
    const learning = this.#links.vxlan?.info.learning === true;
    const flags = NTF.self | (learning ? 0 : NTF.extLearned);
    return (
      (ip === undefined
        ? undefined
        : this.write('neighbor', { verb: 'replace', ip, mac, state: NUD.permanent, flags: 0 })) ??
      this.write('fdb', { verb: 'replace', mac, ip: vtep, state: NUD.reachable, flags })
    );
  }

  withdraw(ip: string | undefined, mac: string | undefined): void {
    if (ip !== undefined) this.write('neighbor', { verb: 'delete', ip, state: 0, flags: 0 });
    if (mac !== undefined) this.write('fdb', { verb: 'delete', mac, state: 0, flags: NTF.self });
  }

  write(table: 'neighbor' | 'fdb', entry: Omit<Entry, 'link'>): Refusal | undefined {
    if (this.#links.vxlan === undefined) return new Refusal('ENODEV', 'RTM_NEWNEIGH');
    const full: Entry = { ...entry, link: this.#links.vxlan.name };
    try {
      this.#machine.requestEntry(this.#netns, table, full, 'resolver');
      return undefined;
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }
}
