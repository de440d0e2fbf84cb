/** Events of namespaces: what changes in their tables, misses, and named namespaces. */

import { invalidArgument, invalidType } from '../../core/errors.js';
import { boolean, integer, type Shape } from '../../core/options.js';
import type { QueueOptions } from '../../core/subscription.js';
import { queueOptions } from '../../core/subscription.js';
import { isNativeFailure, netlinkError } from '../../system/kernel-error.js';
import type { NativeBatch, NativeMonitor } from '../../system/native.js';
import type { System } from '../../system/system.js';
import { decodeEntries } from '../entry-decoder.js';
import type { Address, FdbEntry, Link, Neighbor, Nexthop, Route, Rule } from '../types.js';

/**
 * Kinds of events that a monitor can be asked for. `neigh` are neighbours, FDB entries and misses; `netns` are named namespaces.
 * @example
 * ```ts
 * import type { MonitorGroup } from 'overns';
 *
 * const groups: MonitorGroup[] = ['neigh', 'netns'];
 * console.log(groups.length); // 2
 * ```
 */
export type MonitorGroup = 'link' | 'address' | 'route' | 'neigh' | 'rule' | 'nexthop' | 'netns';

export const DEFAULT_GROUPS: readonly MonitorGroup[] = ['link', 'address', 'route', 'neigh', 'rule', 'nexthop'];
const GROUPS: readonly MonitorGroup[] = [...DEFAULT_GROUPS, 'netns'];

/**
 * Fields of every event.
 * @example
 * ```ts
 * import type { Timestamped } from 'overns';
 *
 * const age = ({ atNs }: Timestamped): bigint => process.hrtime.bigint() - atNs;
 * console.log(age({ atNs: process.hrtime.bigint() }) < 1_000_000_000n); // true
 * ```
 */
export interface Timestamped {
  /** When it was handed to JavaScript, CLOCK_MONOTONIC nanoseconds (as `process.hrtime.bigint()`). */
  readonly atNs: bigint;
}

/**
 * A change of a row (RTM_NEW*, RTM_DEL*); `A` are the words for what became of it.
 * @example
 * ```ts
 * import type { RtnlChange } from 'overns';
 *
 * function links(changes: readonly RtnlChange<'new' | 'delete'>[]): string[] {
 *   return changes.flatMap((each) => (each.kind === 'link' && each.action === 'new' ? [each.name] : []));
 * }
 * console.log(links([{ kind: 'link', action: 'new', name: 'br1', index: 2, mtu: 1500, up: false, atNs: 0n }])); // [ 'br1' ]
 * ```
 */
export type RtnlChange<A> = Timestamped & { readonly action: A } & (
    | ({ readonly kind: 'link'; readonly linkKind?: string } & Omit<Link, 'kind'>)
    | ({ readonly kind: 'address' } & Address)
    | ({
        readonly kind: 'route';
        /** It took the place of another one of the same destination, TOS, metric and table (NLM_F_REPLACE). */
        readonly replaced?: true;
      } & Route)
    | ({ readonly kind: 'neighbor' } & Neighbor)
    | ({ readonly kind: 'fdb' } & FdbEntry)
    | ({ readonly kind: 'rule'; readonly ruleAction: Rule['action'] } & Omit<Rule, 'action'>)
    | ({ readonly kind: 'nexthop' } & Nexthop)
    /** A named namespace: a file in /run/netns (or OVERNS_NETNS_DIR). */
    | { readonly kind: 'netns'; readonly name: string; readonly path: string }
  );

/**
 * The kernel asks (RTM_GETNEIGH): a vxlan's l2miss or l3miss (drivers/net/vxlan/vxlan_core.c), or another device with
 * `app_solicit` set (net/core/neighbour.c).
 * @example
 * ```ts
 * import type { RtnlMiss } from 'overns';
 *
 * const miss: RtnlMiss = {
 *   kind: 'miss', query: 'l3', link: 'vxlan1', ip: '192.168.0.3', state: 'stale', vxlan: true, atNs: 0n,
 * };
 * console.log(miss.ip); // 192.168.0.3
 * ```
 */
export type RtnlMiss = Timestamped & {
  readonly kind: 'miss';
  readonly query: 'l2' | 'l3';
  readonly link: string;
  readonly linkIndex?: number;
  readonly ip?: string;
  readonly mac?: string;
  readonly state: string;
  /** Asked by a vxlan device. */
  readonly vxlan: boolean;
};

/**
 * Events were lost: the kernel's buffer, this process or this consumer's queue could not hold them. List anew.
 * @example
 * ```ts
 * import type { RtnlOverrun } from 'overns';
 *
 * const lost: RtnlOverrun = { kind: 'overrun', dropped: 12 };
 * console.log(lost.dropped); // 12
 * ```
 */
export interface RtnlOverrun {
  readonly kind: 'overrun';
  readonly dropped: number;
}

/**
 * An event of a monitor. The kernel notifies of new rows and of changed ones in the same words (measured on Linux
 * 6.18: of neighbours, FDB entries and addresses without any flag), so `new` means either; {@link RtnlSyncEvent} tells
 * them apart.
 * @example
 * ```ts
 * import type { RtnlEvent } from 'overns';
 *
 * function line(event: RtnlEvent): string {
 *   if (event.kind === 'overrun') return `${event.dropped} lost: list anew`;
 *   if (event.kind === 'miss') return `who has ${event.ip ?? event.mac}?`;
 *   return `${event.action} ${event.kind}`;
 * }
 * console.log(line({ kind: 'overrun', dropped: 12 })); // 12 lost: list anew
 * ```
 */
export type RtnlEvent = RtnlChange<'new' | 'delete'> | RtnlMiss | RtnlOverrun;

/**
 * Everything that there is, of the groups that the monitor tells of. What came before it no longer matters. Of several
 * namespaces, each row has its `netns`.
 * @example
 * ```ts
 * import type { SnapshotEvent } from 'overns';
 *
 * const snapshot: SnapshotEvent = { kind: 'snapshot', netns: ['db', 'web'] };
 * console.log(snapshot.netns?.length); // 2
 * ```
 */
export interface SnapshotEvent {
  readonly kind: 'snapshot';
  readonly links?: readonly Link[];
  readonly addresses?: readonly Address[];
  readonly routes?: readonly Route[];
  /** Proxies among them, which `neighbors.list()` lists only when asked to. */
  readonly neighbors?: readonly Neighbor[];
  readonly fdb?: readonly FdbEntry[];
  readonly rules?: readonly Rule[];
  readonly nexthops?: readonly Nexthop[];
  /** Names, sorted. */
  readonly netns?: readonly string[];
}

/**
 * An event of a monitor with `resync`: a snapshot first and after every overrun, and in between what was added, changed
 * and deleted, whether the kernel says so or not. What it changes in silence is found by listing anew: at once where
 * something tells of it (a link that is renamed, goes down or leaves, an address or a nexthop object that goes), else
 * within half a second, or 0.5 ms for each row that there is (10 ms for a link), if that is longer. Clocks and counters
 * (lifetimes, `expires`, timers of bridges) are never news by themselves.
 * @example
 * ```ts
 * import type { RtnlSyncEvent } from 'overns';
 *
 * const begins = (event: RtnlSyncEvent): boolean => event.kind === 'snapshot';
 * console.log(begins({ kind: 'snapshot', neighbors: [] })); // true
 * ```
 */
export type RtnlSyncEvent = RtnlChange<'add' | 'change' | 'delete'> | RtnlMiss | RtnlOverrun | SnapshotEvent;

/**
 * An event of one of several namespaces.
 * @example
 * ```ts
 * import type { InNetns, RtnlEvent } from 'overns';
 *
 * const place = (event: InNetns<RtnlEvent>): string => event.netns ?? 'all';
 * console.log(place({ kind: 'overrun', dropped: 1, netns: 'web' })); // web
 * ```
 */
export type InNetns<E> = E extends { readonly kind: 'overrun' }
  ? // This consumer's own queue is of all namespaces.
    E & { readonly netns?: string }
  : E extends SnapshotEvent
    ? E
    : E & {
        /** The namespace as the caller has named it: a name, a path, or `pid:N`. Of kind `netns`: its name. */
        readonly netns: string;
      };

/**
 * How to monitor.
 * @example
 * ```ts
 * import type { MonitorOptions } from 'overns';
 *
 * const options: MonitorOptions = { groups: ['link', 'neigh'], resync: true, maxQueue: 4096 };
 * console.log(options.resync); // true
 * ```
 */
export interface MonitorOptions extends QueueOptions {
  /** Default: all but `netns`. */
  readonly groups?: readonly MonitorGroup[] | undefined;
  /**
   * Keep the consumer in step with the kernel: see {@link RtnlSyncEvent}. The Rtnl has to stay open for it. When its queue is full the newest events give
   * way, whatever `overflow` says, since a snapshot makes good for them. Default false.
   */
  readonly resync?: boolean | undefined;
  /**
   * Bytes of the kernel's receive buffer, 4096 to 2^30; a neighbour's message takes about 700. Default 64 MiB; without
   * CAP_NET_ADMIN in the initial user namespace as much as net.core.rmem_max allows.
   */
  readonly receiveBuffer?: number | undefined;
}

type Item = Record<string, unknown>;

/**
 * Reads the events of a namespace, from the moment this returns, in bursts.
 * @throws NetlinkError
 */
export function openMonitor(
  system: System,
  source: {
    readonly path: string;
    readonly groups: readonly string[];
    readonly netns: string | undefined;
    readonly receiveBuffer?: number | undefined;
  },
  onEvents: (events: readonly Item[], dropped: number) => void,
): NativeMonitor {
  try {
    const onBatch: NativeBatch = (entries, objects, atNs, dropped) => {
      const events = decodeEntries(entries, objects, atNs);
      // Out of the addon's call: what a consumer does with it is an ordinary turn of the event loop.
      queueMicrotask(() => onEvents(events, dropped));
    };
    return system.native.openMonitor(source.path, source.groups, onBatch, source.receiveBuffer);
  } catch (error) {
    throw isNativeFailure(error) ? netlinkError(error, { what: 'monitor', netns: source.netns }) : error;
  }
}

export const monitorOptions = {
  groups: checkGroups,
  resync: boolean,
  receiveBuffer: integer(4096, 2 ** 30),
  ...queueOptions,
} satisfies Shape;

function checkGroups(value: unknown, name: string): readonly MonitorGroup[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array');
  if (value.length === 0) throw invalidArgument(name, '[]', `some of ${GROUPS.join(', ')}`);
  for (const group of value) {
    if (!GROUPS.includes(group)) throw invalidArgument(name, group, `one of ${GROUPS.join(', ')}`);
  }
  return [...new Set(value as MonitorGroup[])];
}
