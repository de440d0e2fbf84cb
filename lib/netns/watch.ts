/** Named namespaces that come and go. */
import type { NetnsWatch } from '../system/netns-watcher.js';
import type { System } from '../system/system.js';
import { netnsDirectory, netnsFile } from './references.js';

/**
 * A named namespace came or went: a file in /run/netns (or OVERNS_NETNS_DIR).
 * @example
 * ```ts
 * import type { NetnsChange } from 'overns';
 *
 * const came: NetnsChange<'new'> = { kind: 'netns', action: 'new', name: 'web', path: '/run/netns/web', atNs: 0n };
 * console.log(came.name); // web
 * ```
 */
export interface NetnsChange<A> {
  readonly kind: 'netns';
  readonly action: A;
  readonly name: string;
  readonly path: string;
  /** When it was handed to JavaScript, CLOCK_MONOTONIC nanoseconds (as `process.hrtime.bigint()`). */
  readonly atNs: bigint;
}

/**
 * A named namespace that came or went, or events that this consumer lost because it was slow.
 * @example
 * ```ts
 * import type { NetnsEvent } from 'overns';
 *
 * const line = (event: NetnsEvent): string => (event.kind === 'netns' ? `${event.action} ${event.name}` : 'lost some');
 * console.log(line({ kind: 'netns', action: 'new', name: 'web', path: '/run/netns/web', atNs: 0n })); // new web
 * ```
 */
export type NetnsEvent = NetnsChange<'new' | 'delete'> | { readonly kind: 'overrun'; readonly dropped: number };

/** The event of a change that is told of now. */
export function netnsChange(action: 'new' | 'delete', name: string): NetnsChange<'new' | 'delete'> {
  return { kind: 'netns', action, name, path: netnsFile(name), atNs: process.hrtime.bigint() };
}

/** Tells of each name in {@link netnsDirectory} that becomes a namespace or stops being one, from now on. */
export function watchNetns(system: System, changed: (action: 'new' | 'delete', name: string) => void): NetnsWatch {
  return system.watchNetns(netnsDirectory(), changed);
}
