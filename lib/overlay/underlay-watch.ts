/**
 * Whether a host's underlay still is what its overlays were made for: the VTEP is an address of the host, its link is up,
 * and the overlay's packets fit.
 */
import { VXLAN_OVERHEAD } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import { openMonitor } from '../rtnl/monitor/events.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Where } from '../store/contract.js';
import type { NativeMonitor } from '../system/native.js';
import type { System } from '../system/system.js';
import { findSuccessor, findUnderlay, type Underlay } from './underlay.js';

/**
 * The underlay of an overlay stopped to do, or does again ({@link Overlay.underlayChanges}).
 * @example
 * ```ts
 * import type { UnderlayChange } from 'overns';
 *
 * const words = ({ overlay, fault }: UnderlayChange): string => `${overlay}: ${fault?.message ?? 'as it was made for'}`;
 * console.log(words({ kind: 'underlay', overlay: 'blue', vni: 42 })); // blue: as it was made for
 * ```
 */
export interface UnderlayChange extends Where {
  readonly kind: 'underlay';
  /** The fault, its `code` as {@link Overlay.underlayFault} has it; absent: nothing any more. */
  readonly fault?: OvernsError;
  /** The address that the host has in the place of the VTEP, where one can be told. */
  readonly successor?: string;
}

/** The part of the underlay that an overlay relies on. */
export interface Watched {
  readonly name: string;
  readonly vni: number;
  readonly vtep: string;
  readonly port: number;
  readonly mtu: number;
  /** Path of the host's namespace. */
  readonly host: string;
}

/** An address that is moved is gone for a moment. */
const SETTLE_MS = 300;
/** Between two looks at a host whose links come and go all the time. */
const REST_MS = 2000;
/** How often is looked without news. Routes and rules are not listened to: there may be a million, which all flap. */
const LOOK_MS = 10_000;

const FAULTS = ['EADDRNOTAVAIL', 'ENETDOWN'];

/** Finds the fault of the underlay of an overlay that stands; undefined where there is none. */
export async function underlayFault(
  host: Rtnl,
  overlay: Pick<Watched, 'name' | 'vtep' | 'port' | 'mtu'>,
): Promise<OvernsError | undefined> {
  return faultOf(overlay, await lookAt(host, overlay));
}

/** The underlay, or why it is none. */
async function lookAt(host: Rtnl, { vtep, port }: Pick<Watched, 'vtep' | 'port'>): Promise<Underlay | OvernsError> {
  try {
    return await findUnderlay(host, { vtep, port, stands: true });
  } catch (error) {
    if (OvernsError.is(error) && FAULTS.includes(error.code)) return error;
    throw error;
  }
}

function faultOf(
  { name, mtu, vtep }: Pick<Watched, 'name' | 'mtu' | 'vtep'>,
  found: Underlay | OvernsError,
): OvernsError | undefined {
  if (OvernsError.is(found)) return found;
  const overhead = VXLAN_OVERHEAD[vtep.includes(':') ? 6 : 4];
  const fits = found.most - overhead;
  if (mtu <= fits) return undefined;
  return new OvernsError(
    'EMSGSIZE',
    `packets of ${mtu} bytes do not cross: ${found.limit} carries ${found.most} less ${overhead} of VXLAN`,
    { hint: `raise the MTU of ${found.limit}, or delete overlay ${name} and create it anew with mtu ${fits}` },
  );
}

/** One host, and the overlays on it. */
interface Host {
  readonly rtnl: Rtnl;
  readonly monitor: NativeMonitor;
  readonly overlays: Map<string, { readonly overlay: Watched; reported: string | undefined }>;
  stop(): void;
}

/** Tells when the underlay of an overlay stops to do, or does again: once a change. */
export class UnderlayWatch implements AsyncDisposable {
  readonly #system: System;
  readonly #tell: (change: UnderlayChange) => void;
  readonly #hosts = new Map<string, Promise<Host>>();
  readonly #names = new Map<string, string>();
  #closed = false;
  #referenced = true;

  constructor(system: System, tell: (change: UnderlayChange) => void) {
    this.#system = system;
    this.#tell = tell;
  }

  ref(): void {
    this.#reference(true);
  }

  unref(): void {
    this.#reference(false);
  }

  #reference(on: boolean): void {
    this.#referenced = on;
    for (const opened of this.#hosts.values())
      void opened.then(
        (host) => this.#keep(host),
        () => {},
      );
  }

  /** Lets the monitor of a host keep the process alive, or not. */
  #keep({ monitor }: Host): void {
    if (this.#referenced) monitor.ref();
    else monitor.unref();
  }

  /** Resolves once the faults that there are already have been told. */
  async add(overlay: Watched): Promise<void> {
    this.remove(overlay.name);
    this.#names.set(overlay.name, overlay.host);
    let opened = this.#hosts.get(overlay.host);
    if (opened === undefined) {
      opened = this.#open(overlay.host);
      this.#hosts.set(overlay.host, opened);
      opened.catch(() => this.#hosts.delete(overlay.host));
    }
    const host = await opened;
    if (this.#closed || this.#names.get(overlay.name) !== overlay.host) return;
    host.overlays.set(overlay.name, { overlay, reported: undefined });
    await this.#look(host, overlay.name);
  }

  remove(name: string): void {
    const path = this.#names.get(name);
    if (path === undefined) return;
    this.#names.delete(name);
    void this.#hosts.get(path)?.then(
      (host) => host.overlays.delete(name),
      () => {},
    );
  }

  async #open(path: string): Promise<Host> {
    const rtnl = await Rtnl.open({ netns: { path }, system: this.#system });
    let timer: NodeJS.Timeout | undefined;
    let last = Number.NEGATIVE_INFINITY;
    let due = false;
    let stopped = false;
    const look = (): void => {
      timer = undefined;
      due = false;
      last = performance.now();
      void this.#look(host).finally(() => {
        if (!stopped && timer === undefined) timer = setTimeout(look, LOOK_MS).unref();
      });
    };
    const onChange = (): void => {
      if (due || stopped) return;
      due = true;
      clearTimeout(timer);
      timer = setTimeout(look, Math.max(SETTLE_MS, last + REST_MS - performance.now())).unref();
    };
    let monitor: NativeMonitor;
    try {
      monitor = openMonitor(this.#system, { path, groups: ['link', 'address'], netns: undefined }, onChange);
    } catch (error) {
      await rtnl.close();
      throw error;
    }
    const host: Host = {
      rtnl,
      monitor,
      overlays: new Map(),
      stop() {
        stopped = true;
        clearTimeout(timer);
        monitor.close();
        void rtnl.close();
      },
    };
    this.#keep(host);
    if (this.#closed) host.stop();
    else timer = setTimeout(look, LOOK_MS).unref();
    return host;
  }

  /** Looks at all overlays of a host, or at one. */
  async #look({ rtnl, overlays }: Host, name?: string): Promise<void> {
    const found = new Map<string, Promise<Underlay | OvernsError>>();
    for (const [each, state] of name === undefined ? [...overlays] : [...overlays].filter(([one]) => one === name)) {
      const { overlay } = state;
      const key = `${overlay.vtep} ${overlay.port}`;
      const looked = found.get(key) ?? lookAt(rtnl, overlay);
      found.set(key, looked);
      // A look that fails now is repeated.
      const underlay = await looked.catch(() => undefined);
      if (underlay === undefined || this.#closed || overlays.get(each) !== state) continue;
      const fault = faultOf(overlay, underlay);
      const gone = OvernsError.is(underlay) && underlay.code === 'EADDRNOTAVAIL';
      const successor = gone ? await findSuccessor(rtnl, overlay.vtep, overlay.port).catch(() => undefined) : undefined;
      if (this.#closed || overlays.get(each) !== state) continue;
      const said = fault && `${fault.message} ${successor ?? ''}`;
      if (said === state.reported) continue;
      state.reported = said;
      this.#tell({
        kind: 'underlay',
        overlay: overlay.name,
        vni: overlay.vni,
        ...(fault && { fault }),
        ...(successor !== undefined && { successor }),
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const hosts = [...this.#hosts.values()];
    this.#hosts.clear();
    for (const host of hosts) (await host.catch(() => undefined))?.stop();
  }
}
