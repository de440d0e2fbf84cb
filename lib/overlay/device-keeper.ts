/**
 * Keeps the devices of overlays as they are while their names exist: a vxlan1 that somebody deletes is made again with the
 * parameters that it had, and what is set down or taken out of br0 is put back. Who means to remove an overlay removes its
 * name, or has its turn (`overns delete`).
 */
import { OvernsError } from '../core/errors.js';
import { transaction } from '../core/transaction.js';
import { lockNamespace } from '../netns/lock.js';
import { netnsIdentity } from '../netns/references.js';
import { LINK_KINDS } from '../rtnl/field-names.js';
import { openMonitor } from '../rtnl/monitor/events.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { BridgePort, Link, LinkSpec } from '../rtnl/types.js';
import type { Where } from '../store/contract.js';
import type { System } from '../system/system.js';
import { BRIDGE, VXLAN } from './devices.js';
import { parseAlias } from './ports/alias.js';
import { lockPort } from './ports/port.js';

/**
 * Devices of an overlay were not as they have to be: `repaired`, they are again; `damaged`, they are not, and why.
 * @example
 * ```ts
 * import type { DeviceEvent } from 'overns';
 *
 * const words = (event: DeviceEvent): string =>
 *   event.kind === 'repaired' ? `${event.fault}: put right` : `${event.fault}: ${event.error.message}`;
 * console.log(words({ kind: 'repaired', overlay: 'blue', vni: 42, fault: 'vxlan1 was deleted' })); // vxlan1 was deleted: put right
 * ```
 */
export type DeviceEvent = Where & {
  /** What was found, such as `vxlan1 was deleted`. */
  readonly fault: string;
} & (
    | { readonly kind: 'repaired' }
    /** It is tried again; told once for each reason. */
    | { readonly kind: 'damaged'; readonly error: OvernsError }
  );

/** An overlay whose devices are kept. */
export interface KeptOverlay extends Where {
  /** Path of its namespace. */
  readonly netns: string;
  /** Path of the host's namespace. */
  readonly host: string;
  /** Its vxlan1 as it was before: it may be gone by now. */
  readonly device?: Link | undefined;
}

/** How long others are given to complete what they have begun, milliseconds. */
const SETTLE_MS = 50;
/** The part of the time that looking may take where links come and go all the time. */
const SHARE = 20;
/** After a repair that failed, milliseconds. */
const RETRY_MS = 5000;
/** Who undoes each repair wins: so many are made within a minute. */
const MOST_REPAIRS = 6;
const MINUTE_MS = 60_000;
/** How many ports are named. */
const NAMED = 3;

/** Settings of a port of br0 that it loses when it leaves. */
const PORT_SETTINGS = [
  'learning',
  'locked',
  'hairpin',
  'isolated',
  'neighSuppress',
  'flood',
  'mcastFlood',
  'bcastFlood',
] as const satisfies readonly (keyof BridgePort)[];

interface Fault {
  readonly what: string;
  repair(): Promise<void>;
}

/** Keeps the devices of overlays, and tells what it has met: once a change. */
export class DeviceKeeper implements AsyncDisposable {
  readonly #system: System;
  readonly #tell: (event: DeviceEvent) => void;
  readonly #kept = new Map<string, Promise<Keeping>>();

  constructor(system: System, tell: (event: DeviceEvent) => void) {
    this.#system = system;
    this.#tell = tell;
  }

  /** Resolves once the overlay is followed. */
  async add(overlay: KeptOverlay): Promise<void> {
    await this.remove(overlay.overlay);
    const opened = Keeping.open(this.#system, overlay, this.#tell);
    this.#kept.set(overlay.overlay, opened);
    await opened.catch((error) => {
      if (this.#kept.get(overlay.overlay) === opened) this.#kept.delete(overlay.overlay);
      throw error;
    });
  }

  /** Lets go of an overlay; resolves once no descriptor of its namespace is held. */
  async remove(name: string): Promise<void> {
    const opened = this.#kept.get(name);
    this.#kept.delete(name);
    await (await opened?.catch(() => undefined))?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#kept.keys()].map((name) => this.remove(name)));
  }
}

/** One overlay that is kept. */
class Keeping {
  readonly #system: System;
  readonly #overlay: KeptOverlay;
  readonly #identity: string;
  readonly #rtnl: Rtnl;
  readonly #tell: (event: DeviceEvent) => void;
  readonly #stop = new AbortController();
  #monitor: { close(): void } | undefined;
  /** As they were in br0. */
  #vxlan: Link | undefined;
  #ports = new Map<string, Link>();
  /** When repairs were made, milliseconds. */
  #repairs: number[] = [];
  /** What is wrong, as it was told last. */
  #damage: { readonly fault: string; readonly message: string } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;
  #looking: Promise<void> = Promise.resolve();
  #restUntil = 0;

  static async open(system: System, overlay: KeptOverlay, tell: (event: DeviceEvent) => void): Promise<Keeping> {
    const identity = await netnsIdentity(system, overlay.netns);
    const rtnl = await Rtnl.open({ netns: { path: overlay.netns }, system });
    const keeping = new Keeping(system, overlay, identity, rtnl, tell);
    try {
      const source = { path: overlay.netns, groups: ['link'], netns: overlay.overlay };
      const monitor = openMonitor(system, source, () => keeping.#lookIn(SETTLE_MS));
      monitor.unref(); // who serves the overlay keeps the process alive, or does not
      keeping.#monitor = monitor;
      await keeping.#look();
    } catch (error) {
      await keeping.close();
      throw error;
    }
    return keeping;
  }

  private constructor(
    system: System,
    overlay: KeptOverlay,
    identity: string,
    rtnl: Rtnl,
    tell: (event: DeviceEvent) => void,
  ) {
    this.#system = system;
    this.#overlay = overlay;
    this.#vxlan = overlay.device;
    this.#identity = identity;
    this.#rtnl = rtnl;
    this.#tell = tell;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#monitor?.close();
    await this.#looking.catch(() => undefined);
    await this.#rtnl.close();
  }

  #lookIn(ms: number): void {
    if (this.#stop.signal.aborted) return;
    const at = Math.max(performance.now() + ms, this.#restUntil);
    if (at >= this.#due) return;
    this.#due = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#due = Number.POSITIVE_INFINITY;
        // One look at a time; what changes meanwhile has another one made.
        this.#looking = this.#looking.then(() => this.#look()).catch((error: OvernsError) => this.#failed(error));
      },
      Math.max(0, at - performance.now()),
    ).unref();
  }

  async #look(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const began = performance.now();
    const links = await this.#rtnl.links.list();
    this.#remember(links);
    const found = this.#faultsOf(links);
    if (found.length > 0) await this.#repair(found);
    else this.#allIsWell();
    const ended = performance.now();
    this.#restUntil = ended + SHARE * (ended - began);
  }

  /** Keeps what stands in br0 as it is there, whatever else is wrong. */
  #remember(links: readonly Link[]): void {
    const vxlan = links.find(isVxlan);
    if (vxlan !== undefined && (vxlan.master === BRIDGE || this.#vxlan === undefined)) this.#vxlan = vxlan;
    const before = this.#ports;
    this.#ports = new Map(
      links
        .filter(isContainers)
        .map((link) => [link.name, link.master === BRIDGE ? link : (before.get(link.name) ?? link)]),
    );
  }

  #allIsWell(): void {
    const told = this.#damage;
    this.#damage = undefined;
    if (told !== undefined) this.#report({ kind: 'repaired', fault: told.fault });
  }

  #faultsOf(links: readonly Link[]): Fault[] {
    const bridge = links.find(({ name, kind }) => name === BRIDGE && kind === 'bridge');
    // Without it nothing can be put back, and it takes its addresses along: to be made by `ensure`.
    if (bridge === undefined) return [];
    const faults: Fault[] = [];
    const add = (what: string, repair: () => Promise<void>): void => void faults.push({ what, repair });
    const { links: table } = this.#rtnl;
    if (!bridge.up) add(`${BRIDGE} was set down`, () => table.set({ name: BRIDGE, up: true }));
    const vxlan = links.find(isVxlan);
    const before = this.#vxlan;
    if (vxlan === undefined) {
      if (before !== undefined) add(`${VXLAN} was deleted`, () => this.#makeVxlan(before, bridge.index));
    } else {
      if (vxlan.master === undefined)
        add(`${VXLAN} was taken out of ${BRIDGE}`, () => this.#putBack(vxlan, before?.bridgePort));
      if (!vxlan.up) add(`${VXLAN} was set down`, () => table.set({ name: VXLAN, up: true }));
    }
    // What is in another bridge was put there by somebody who means it.
    const out = links.filter((link) => isContainers(link) && link.master === undefined);
    if (out.length > 0) {
      const names = out.slice(0, NAMED).map((link) => `${link.name} (${parseAlias(link.alias)?.addresses.join(', ')})`);
      const more = out.length > NAMED ? ` and ${out.length - NAMED} more` : '';
      add(`${names.join(', ')}${more} ${out.length === 1 ? 'was' : 'were'} taken out of ${BRIDGE}`, async () => {
        for (const link of out) await this.#putBack(link, this.#ports.get(link.name)?.bridgePort);
      });
    }
    return faults;
  }

  async #repair(found: readonly Fault[]): Promise<void> {
    const now = performance.now();
    this.#repairs = this.#repairs.filter((at) => now - at < MINUTE_MS);
    const fault = words(found);
    if (this.#repairs.length >= MOST_REPAIRS) {
      this.#lookIn((this.#repairs[0] as number) + MINUTE_MS - now);
      this.#damaged(
        fault,
        new OvernsError('EBUSY', `something has undone ${MOST_REPAIRS} repairs within a minute`, {
          hint: 'find what it is, and end it',
        }),
      );
      return;
    }
    try {
      // In the overlay's turn: what is just being deleted, or made, is nobody's to repair.
      const unlock = await lockNamespace(this.#system, this.#overlay.netns, this.#stop.signal, this.#identity);
      try {
        const faults = this.#faultsOf(await this.#rtnl.links.list());
        for (const each of faults) await each.repair();
        if (faults.length > 0) {
          this.#repairs.push(now);
          this.#damage = undefined;
          this.#report({ kind: 'repaired', fault: words(faults) });
        }
      } finally {
        unlock();
      }
      this.#lookIn(0);
    } catch (error) {
      if (!OvernsError.is(error)) throw error;
      // Its name is gone, or it is not kept any more: it is not to be as it was.
      if (error.code === 'ENOENT' || this.#stop.signal.aborted) return;
      this.#damaged(fault, error);
      this.#lookIn(RETRY_MS);
    }
  }

  /** Makes vxlan1 as it was: in one message on a socket of the host, as it was made first. */
  async #makeVxlan(before: Link, masterIndex: number): Promise<void> {
    const row = before as unknown as Readonly<Record<string, unknown>>;
    // Their mere presence has the kernel count the bits of these as used, against reservedBits (vxlan_nl2conf, Linux 6.14).
    const absent = (field: string): boolean => field.startsWith('remcsum') && row[field] === false;
    const fields = ['mac', 'mtu', ...(LINK_KINDS.get('vxlan') ?? [])].filter((field) => !absent(field));
    const kept = fields.map((field) => [field, row[field]]);
    const host = await Rtnl.open({ netns: { path: this.#overlay.host }, system: this.#system });
    try {
      await host.links.add({
        ...Object.fromEntries(kept),
        kind: 'vxlan',
        name: VXLAN,
        netns: { path: this.#overlay.netns },
        masterIndex,
        up: true,
      } as LinkSpec);
    } finally {
      await host.close();
    }
    await this.#setPort(VXLAN, before.bridgePort);
  }

  async #putBack({ name, alias, master }: Link, before: BridgePort | undefined): Promise<void> {
    if (master === undefined) await this.#rtnl.links.set({ name, master: BRIDGE });
    await this.#setPort(name, before);
    const endpoint = parseAlias(alias);
    // Locked, unless it is known that it was not.
    if (endpoint === undefined || before?.locked === false) return;
    await transaction(undefined, (t) => lockPort(t, this.#rtnl, { veth: name, mac: endpoint.mac, addresses: [] }));
  }

  async #setPort(name: string, before: BridgePort | undefined): Promise<void> {
    const settings = PORT_SETTINGS.map((setting) => [setting, before?.[setting]]).filter(([, value]) => value != null);
    if (settings.length > 0) await this.#rtnl.links.set({ name, bridgePort: Object.fromEntries(settings) });
  }

  #failed(error: OvernsError): void {
    if (this.#stop.signal.aborted) return;
    this.#damaged('its devices cannot be looked at', error);
    this.#lookIn(RETRY_MS);
  }

  #damaged(fault: string, error: OvernsError): void {
    if (this.#damage?.fault === fault && this.#damage.message === error.message) return;
    this.#damage = { fault, message: error.message };
    this.#report({ kind: 'damaged', fault, error });
  }

  #report(event: { kind: 'repaired'; fault: string } | { kind: 'damaged'; fault: string; error: OvernsError }): void {
    if (this.#stop.signal.aborted) return;
    const { overlay, vni } = this.#overlay;
    this.#tell({ overlay, vni, ...event });
  }
}

function isVxlan({ name, kind }: Link): boolean {
  return name === VXLAN && kind === 'vxlan';
}

/** The port of a container that is attached. */
function isContainers({ kind, alias }: Link): boolean {
  return kind === 'veth' && parseAlias(alias) !== undefined;
}

function words(faults: readonly Fault[]): string {
  return faults.map(({ what }) => what).join('; ');
}
