/** The all-zero FDB entry that leads packets for unknown MACs over the host's loopback to a socket of the resolver. */
import { ipFamily } from '../../core/address.js';
import type { NativeEvent } from '../../system/native.js';
import { NTF, NUD } from '../entries.js';
import type { FakeNetns } from '../netns.js';
import type { FakeFdbEntry, FakeLink, Observer } from '../tables/table.js';
import type { EntryWriter } from './entry-writer.js';
import type { OverlayLinks } from './overlay-links.js';

const ZERO_MAC = '00:00:00:00:00:00';
export const LO_DOWN = "the host's lo is down";

export class Punt implements Observer {
  readonly #host: FakeNetns;
  readonly #links: OverlayLinks;
  readonly #writer: EntryWriter;
  readonly #emit: (event: Pick<NativeEvent, 'kind' | 'reason' | 'errno'>) => void;
  readonly #to: { readonly ip: string; readonly port: number; readonly vni: number };
  /** While the host's lo is down nothing arrives over it. */
  #loUp: boolean;

  /**
   * @param id of the overlay, from which the port is derived, and what the entry bears in the place of the VNI
   * @param vtep of this host
   */
  constructor(
    id: number,
    vtep: string,
    host: FakeNetns,
    links: OverlayLinks,
    writer: EntryWriter,
    emit: (event: Pick<NativeEvent, 'kind' | 'reason' | 'errno'>) => void,
  ) {
    this.#host = host;
    this.#links = links;
    this.#writer = writer;
    this.#emit = emit;
    const ip = ipFamily(vtep) === 4 ? '127.0.0.1' : '::1';
    // Below 1024, as only the privileged may bind it; and what a secret is there is no secret here.
    this.#to = { ip, port: 1023 - (id % 400), vni: 0xfa_ce00 + (id % 200) };
    this.#loUp = host.link('lo')?.up === true;
    this.onVxlan();
    host.observers.add(this);
  }

  /** True while packets are caught. */
  get catches(): boolean {
    return this.#loUp && this.#links.vxlan !== undefined;
  }

  /** Follows the host's lo. */
  onLink(link: FakeLink): void {
    if (link.name !== 'lo' || link.up === this.#loUp) return;
    if (!link.up && this.catches) this.#remove();
    this.#loUp = link.up;
    if (this.catches) this.#add();
    if (link.up) this.#emit({ kind: 'punt-on' });
    else this.#emit({ kind: 'punt-off', reason: LO_DOWN, errno: 0 });
  }

  /** Prepares a vxlan device that is there from now on. */
  onVxlan(): void {
    if (this.#links.vxlan !== undefined) this.#links.vxlan.info.localbypass = false;
    if (this.catches) this.#add();
  }

  /** Puts the entry back when somebody has flushed the FDB. */
  onEntryGone({ mac, dst, port, vni }: FakeFdbEntry): void {
    const to = this.#to;
    if (this.#loUp && mac === ZERO_MAC && dst === to.ip && port === to.port && vni === to.vni) this.#add();
  }

  close(): void {
    this.#host.observers.delete(this);
    if (this.catches) this.#remove();
  }

  #remove(): void {
    this.#loUp = false; // or its deletion would have it put back
    this.#writer.write('fdb', { verb: 'delete', mac: ZERO_MAC, ...this.#to, state: 0, flags: NTF.self });
  }

  #add(): void {
    const entry = { verb: 'append', mac: ZERO_MAC, ...this.#to } as const;
    this.#writer.write('fdb', { ...entry, state: NUD.permanent, flags: NTF.self });
  }
}
