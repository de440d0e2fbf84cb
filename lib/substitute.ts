/**
 * What stands in for the machine while something else does: overns/testing puts an in-memory kernel here. Nothing of it
 * is loaded otherwise.
 */
import type { Native } from './native.js';
import type { Nsfs } from './nsfs.js';
import type { UnixSockets } from './unix-socket.js';

/** All that lib reaches the machine through: the addon, the files of namespaces, and resolvers' sockets in
 * them. */
export interface Substitute {
  readonly native: Native;
  readonly nsfs: Nsfs;
  readonly unixSockets: UnixSockets;
  /** Tells of named namespaces that come and go. */
  watchNetns(changed: (action: 'new' | 'delete', name: string) => void): { close(): void };
}

let current: Substitute | undefined;

export function substitute(): Substitute | undefined {
  return current;
}

/** For this copy of the package; undefined gives the machine back. */
export function setSubstitute(next: Substitute | undefined): void {
  current = next;
}
