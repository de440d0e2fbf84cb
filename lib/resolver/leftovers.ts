/**
 * Entries in the kernel whose records have gone with their lease: their host may only have lost its agent. They stay as long as
 * they are used, which the kernel knows: it ages FDB entries that no frame has met, unless they are marked `extern_learn`.
 */
import type { Overlay } from '../overlay/overlay.js';
import { Rtnl } from '../rtnl/rtnl.js';

/** How soon the kernel is let age the first of them, milliseconds: an agent that is started again knows them by that. */
const FIRST_LOOK_MS = 50;
/** How often it is looked which of them the kernel has aged, milliseconds. */
const LOOK_MS = 5000;
/** Looking lists the FDB: it takes a hundredth of the time at most. */
const LOOK_SHARE = 100;
const LINK = 'vxlan1';

export class Leftovers {
  readonly #overlay: Pick<Overlay, 'netns' | 'system'>;
  readonly #withdraw: (key: string) => void;
  /** IP and MAC addresses. */
  readonly #keys = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param withdraw called with an address whose entry is not used any more */
  constructor(overlay: Pick<Overlay, 'netns' | 'system'>, withdraw: (key: string) => void) {
    this.#overlay = overlay;
    this.#withdraw = withdraw;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** The record of an address has gone with its lease. */
  add(key: string): void {
    this.#keys.add(key);
    if (this.#timer === undefined) this.#lookIn(FIRST_LOOK_MS);
  }

  /** The store says again what it is, or that it is gone. */
  delete(key: string): void {
    this.#keys.delete(key);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #lookIn(ms: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#look(), ms);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    this.#timer = undefined;
    if (this.#keys.size === 0) return;
    const started = performance.now();
    // What cannot be looked at stays, and is looked at later.
    await this.#compare().catch(() => {});
    this.#lookIn(Math.max(LOOK_MS, (performance.now() - started) * LOOK_SHARE));
  }

  async #compare(): Promise<void> {
    const { netns: path, system } = this.#overlay;
    const looked = new Set(this.#keys);
    await using rtnl = await Rtnl.open({ netns: { path }, system });
    const [neighbors, fdb] = await Promise.all([rtnl.neighbors.list({ link: LINK }), rtnl.fdb.list({ link: LINK })]);
    const remote = fdb.filter(({ dst }) => dst !== undefined);
    const ageless = remote.filter(({ mac, flags }) => this.#keys.has(mac) && flags?.includes('extern_learn'));
    await rtnl.fdb.batch(
      ageless.map(({ mac, dst }) => ({
        op: 'replace',
        item: { link: LINK, mac, dst: dst as string, state: 'dynamic' },
      })),
    );
    const used = new Set(remote.map(({ mac }) => mac));
    const owners = new Map(neighbors.map(({ ip, mac }) => [ip, mac]));
    for (const key of looked) {
      const mac = isMac(key) ? key : owners.get(key);
      if (!this.#keys.has(key) || (mac !== undefined && used.has(mac))) continue;
      this.#keys.delete(key);
      this.#withdraw(key);
    }
  }
}

function isMac(key: string): boolean {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(key);
}
