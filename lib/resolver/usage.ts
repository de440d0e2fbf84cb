/** The addresses that an overlay uses: those that were asked for, and those that the kernel has entries of. Only these are watched with `sync: 'used'`. */
import { onAbort } from '../core/abort.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import { Interest, isMac } from '../store/interest.js';
import type { NativeReactor } from '../system/native.js';

/** The overlay that uses them. */
export interface UsageContext {
  readonly thread: NativeReactor;
  readonly id: number;
  /** How long an address that nothing is programmed for counts as used, milliseconds. */
  readonly idleMs: number;
  readonly stopped: AbortSignal;
  /** Addresses that are followed although nobody here has asked for them: those of this host. */
  own(): Interest | undefined;
  /** Opens the kernel's tables of the overlay. */
  enter(): Promise<Rtnl>;
}

/** After so many times `idleMs` it is tried whether an address is used whose row does not age: as the kernel's ageing has it, 300 s. */
const TRIED_AFTER = 5;

/** Where an address was last known to be. */
interface Place {
  readonly mac: string;
  readonly vtep: string;
  /** When it was asked for last, as performance.now(). */
  readonly askedAt: number;
}

export class Usage {
  readonly interest = new Interest();
  readonly #context: UsageContext;
  readonly #places = new Map<string, Place>();
  /** MAC addresses whose rows were taken away at the last look. */
  #tried: ReadonlySet<string> = new Set();
  #sweeping: NodeJS.Timeout | undefined;

  constructor(context: UsageContext) {
    this.#context = context;
  }

  /** Begins with what the kernel has entries of, and looks from then on what it still has. */
  async begin(): Promise<void> {
    if (this.#sweeping !== undefined) return;
    this.#sweeping = setInterval(() => void this.sweep(), this.#context.idleMs);
    this.#sweeping.unref();
    onAbort(this.#context.stopped, () => clearInterval(this.#sweeping));
    this.#followOwn();
    await using rtnl = await this.#context.enter();
    const { neighbors, rows } = await programmed(rtnl);
    for (const [ip, mac] of neighbors) this.asked(ip, mac, rows.get(mac) ?? '');
    const known = new Set(neighbors.values());
    for (const [mac, vtep] of rows) if (!known.has(mac)) this.asked(mac, mac, vtep);
  }

  #followOwn(): void {
    const own = this.#context.own();
    if (own === undefined) return;
    for (const address of own) this.interest.add(address);
    const ignore = own.onChange((address, wanted) => {
      if (wanted) this.interest.add(address);
      else if (!this.#places.has(address)) this.interest.delete(address);
    });
    onAbort(this.#context.stopped, ignore);
  }

  /** An address was asked for, and is there. */
  asked(address: string, mac: string, vtep: string): void {
    this.#places.set(address, { mac, vtep, askedAt: performance.now() });
    this.interest.add(address);
  }

  /** What the store says of an IP address. */
  moved(ip: string, mac: string, vtep: string): void {
    const place = this.#places.get(ip);
    if (place !== undefined) this.#places.set(ip, { ...place, mac, vtep });
  }

  /**
   * What the store says of a MAC address that is used alone. One that is elsewhere is forgotten: the next packet for it is
   * held, and asks anew.
   */
  station(mac: string, vtep: string): void {
    const place = this.#places.get(mac);
    if (place === undefined || place.vtep === vtep) return;
    this.#places.set(mac, { ...place, vtep });
    this.#context.thread.forget(this.#context.id, mac);
  }

  /** The addresses, in use before some moment, that the store was asked for and has not told of: they are nowhere. */
  unknown(told: ReadonlySet<string>, before: number): string[] {
    const isOld = (address: string): boolean => (this.#places.get(address)?.askedAt ?? 0) < before;
    return [...this.interest].filter((address) => !told.has(address) && isOld(address));
  }

  /**
   * Lets go of what nobody has used for a while. Where the kernel ages its rows out it has done so; else a row is taken away, and is
   * back at the next look where it is used: the packet that misses it is caught and the thread puts it back, without asking.
   */
  async sweep(): Promise<void> {
    const { thread, id, idleMs, stopped } = this.#context;
    const now = performance.now();
    const old = [...this.#places].filter(([, { askedAt }]) => askedAt < now - idleMs);
    if (old.length === 0 || stopped.aborted) return;
    try {
      await using rtnl = await this.#context.enter();
      const { rows } = await programmed(rtnl);
      const tried = new Set<string>();
      for (const [address, place] of old) {
        const { mac, askedAt } = place;
        const dst = rows.get(mac);
        if (dst === undefined) {
          this.#places.delete(address);
          if (this.#context.own()?.has(address) !== true) this.interest.delete(address);
          thread.forget(id, address);
        } else if (this.#tried.has(mac)) {
          this.#places.set(address, { ...place, askedAt: now });
        } else if (askedAt < now - TRIED_AFTER * idleMs && !tried.has(mac)) {
          tried.add(mac);
          await rtnl.fdb.delete({ link: 'vxlan1', mac, dst });
        }
      }
      this.#tried = tried;
      const used = new Set(Array.from(this.#places.values(), ({ mac }) => mac));
      for (const [address, { mac }] of old) if (!isMac(address) && !used.has(mac)) thread.forget(id, mac);
    } catch {
      // A row went by itself, or the overlay goes: the next look tells.
    }
  }
}

/** The entries of vxlan1: the MAC address of each IP address, the VTEP of each MAC address. */
async function programmed(rtnl: Rtnl): Promise<{ neighbors: Map<string, string>; rows: Map<string, string> }> {
  const [neighbors, rows] = await Promise.all([
    rtnl.neighbors.list({ link: 'vxlan1' }),
    rtnl.fdb.list({ link: 'vxlan1' }),
  ]);
  return {
    neighbors: new Map(
      neighbors.flatMap(({ ip, mac, state }) => (mac !== undefined && state === 'permanent' ? [[ip, mac]] : [])),
    ),
    // The bridge has rows of its own for that port; the all-zero one is the punt's.
    rows: new Map(
      rows.flatMap(({ mac, dst, master }) =>
        dst !== undefined && master === undefined && mac !== '00:00:00:00:00:00' ? [[mac, dst]] : [],
      ),
    ),
  };
}
