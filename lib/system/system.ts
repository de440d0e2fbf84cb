/**
 * The machine as one thing: the addon, the files of namespaces and the unix sockets in them. Nothing else of lib reaches
 * the kernel. Whatever uses it is given it by its caller; overns/testing has in-memory ones.
 */
import { checkSignal } from '../core/abort.js';
import { invalidType, OvernsError } from '../core/errors.js';
import type { Shape } from '../core/options.js';
import { loadAddon } from './addon.js';
import type { Native } from './native.js';
import { type NetnsWatch, NetnsWatcher } from './netns-watcher.js';
import { machineNsfs, type Nsfs } from './nsfs.js';
import { machineUnixSockets, type UnixSockets } from './unix-sockets.js';

/**
 * A machine with a kernel: the one that this process runs on, or a `FakeKernel` of overns/testing. Opaque.
 * @example
 * ```ts
 * import { Overlay, type System } from 'overns';
 * import { FakeKernel } from 'overns/testing';
 *
 * const names = async (system?: System): Promise<string[]> =>
 *   (await Overlay.list({ system })).map(({ overlay }) => overlay);
 * console.log(await names(new FakeKernel().system)); // []
 * ```
 */
export interface System {
  /**
   * Equal for the same machine, also where another copy of this package speaks of it.
   * @internal
   */
  readonly id: symbol;
  /**
   * Throws OVERNS_PLATFORM where there is no addon.
   * @internal
   */
  readonly native: Native;
  /** @internal */
  readonly nsfs: Nsfs;
  /** @internal */
  readonly unixSockets: UnixSockets;
  /**
   * Where its proc filesystem is; undefined: it has none to read.
   * @internal
   */
  readonly proc: string | undefined;
  /**
   * Throws an error of the engine's code on a machine that can have no such engine.
   * @internal
   */
  checkEngine(engine: { readonly title: string; readonly code: string }): void;
  /**
   * Tells of each name in a directory that becomes a namespace or stops being one, from now on.
   * @internal
   */
  watchNetns(directory: string, changed: (action: 'new' | 'delete', name: string) => void): NetnsWatch;
}

/**
 * Which machine a call is about.
 * @example
 * ```ts
 * import { type OnSystem, Rtnl } from 'overns';
 * import { FakeKernel } from 'overns/testing';
 *
 * const where: OnSystem = new FakeKernel({ mtu: 9000 });
 * await using rtnl = await Rtnl.open({ system: where.system });
 * console.log((await rtnl.links.list({ name: 'eth0' }))[0]?.mtu); // 9000
 * ```
 */
export interface OnSystem {
  /** Default: the machine that this process runs on. Tests give a fake one: `new FakeKernel().system`. */
  readonly system?: System | undefined;
}

function load(): Native {
  if (process.platform !== 'linux') {
    throw new OvernsError('OVERNS_PLATFORM', `overns needs Linux: this is ${process.platform}`, {
      hint: 'types, stores and overns/testing work here; namespaces and vxlan do not',
    });
  }
  return loadAddon() as Native;
}

/** Calls a function once, when its result is first asked for. What it throws is not kept. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

const addon = once(load);

/** The machine that this process runs on. The addon is loaded when it is first asked for. */
export const machine: System = {
  id: Symbol.for('overns.machine'),
  get native() {
    return addon();
  },
  nsfs: machineNsfs,
  unixSockets: machineUnixSockets(addon),
  proc: '/proc',
  checkEngine() {},
  watchNetns: (directory, changed) => new NetnsWatcher(directory, changed),
};

export function checkSystem(value: unknown, name: string): System {
  if (value === null || typeof value !== 'object' || !('nsfs' in value) || !('unixSockets' in value))
    throw invalidType(name, value, 'a System, such as that of a FakeKernel');
  return value as System;
}

/** The options of a call that takes a signal and a machine only. */
export const callOptions = { signal: checkSignal, system: checkSystem } satisfies Shape;
