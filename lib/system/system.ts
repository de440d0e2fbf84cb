/**
 * The machine as one thing: the addon, the files of namespaces and the unix sockets in them. Nothing else of lib reaches
 * the kernel. overns/testing puts an in-memory machine in its place.
 */
import { OvernsError } from '../core/errors.js';
import { loadAddon } from './addon.js';
import type { Native } from './native.js';
import { type NetnsWatch, NetnsWatcher } from './netns-watcher.js';
import { machineNsfs, type Nsfs } from './nsfs.js';
import { machineUnixSockets, type UnixSockets } from './unix-sockets.js';

export interface System {
  /** Throws OVERNS_PLATFORM where there is no addon. */
  readonly native: Native;
  readonly nsfs: Nsfs;
  readonly unixSockets: UnixSockets;
  /** Throws OVERNS_DOCKER where the machine that stands in has no Docker. */
  checkDocker(): void;
  /** Tells of each name in a directory that becomes a namespace or stops being one, from now on. */
  watchNetns(directory: string, changed: (action: 'new' | 'delete', name: string) => void): NetnsWatch;
}

let loaded: Native | undefined;

function addon(): Native {
  if (loaded) return loaded;
  if (process.platform !== 'linux') {
    throw new OvernsError('OVERNS_PLATFORM', `overns needs Linux: this is ${process.platform}`, {
      hint: 'types, stores and overns/testing work here; namespaces and vxlan do not',
    });
  }
  loaded = loadAddon() as Native;
  return loaded;
}

/** The machine that this process runs on. The addon is loaded when it is first asked for. */
export const machine: System = {
  get native() {
    return addon();
  },
  nsfs: machineNsfs,
  unixSockets: machineUnixSockets(addon),
  checkDocker() {},
  watchNetns: (directory, changed) => new NetnsWatcher(directory, changed),
};

let current = machine;

/** The machine, or what stands in for it now. */
export function system(): System {
  return current;
}

/** Lets another one stand in for the machine, for this copy of the package. */
export function setSystem(next: System): void {
  current = next;
}
