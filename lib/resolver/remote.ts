/** The resolver of an overlay as other processes see it, over the overlay's control socket. */

import type { Cancel } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { checkOptions } from '../core/options.js';
import { netnsPath } from '../netns/references.js';
import { askControl } from '../overlay/control.js';
import { callOptions, machine, type OnSystem, type System } from '../system/system.js';
import { noStats, type ResolverStats } from './counters.js';

/**
 * The resolver of an overlay, as it answers other processes.
 * @example
 * ```ts
 * import type { RemoteResolver } from 'overns';
 *
 * const line = ({ pid, stats }: RemoteResolver): string => `pid ${pid}: ${stats.answers} answers`;
 * console.log(line.length); // 1
 * ```
 */
export interface RemoteResolver {
  readonly pid: number;
  /** Version of its overns; undefined: it is one that does not say, as in a bundle. */
  readonly version: string | undefined;
  readonly stats: ResolverStats;
  /** How the overlay is served; undefined: it is of a version that does not say. */
  readonly status: RemoteStatus | undefined;
  /** How this host's endpoints stand with the store; undefined: it does not publish them. */
  readonly publishing: RemotePublishing | undefined;
}

/**
 * The endpoints of this host in an overlay, as the agent that publishes them counts them by how they stand with the store, and those
 * that are not well, 100 at most.
 * @example
 * ```ts
 * import type { RemotePublishing } from 'overns';
 *
 * const publishing: RemotePublishing = { published: 12, pending: 0, conflict: 0, stray: 0, troubles: [] };
 * console.log(publishing.published); // 12
 * ```
 */
export interface RemotePublishing {
  readonly published: number;
  readonly pending: number;
  readonly conflict: number;
  readonly stray: number;
  readonly troubles: readonly {
    readonly ips: readonly string[];
    readonly mac: string;
    readonly state: 'pending' | 'conflict' | 'stray';
    /** VTEP of the host that has it, with `conflict`. */
    readonly holder?: string | undefined;
    readonly error?: string | undefined;
  }[];
}

/**
 * An {@link OverlayStatus} as JSON has it: times in ISO 8601, an error as its text.
 * @example
 * ```ts
 * import type { RemoteStatus } from 'overns';
 *
 * const status: RemoteStatus = { store: 'down', since: '2026-01-01T00:00:00.000Z', error: 'refused', lost: false };
 * console.log(status.store); // down
 * ```
 */
export interface RemoteStatus {
  readonly store: 'up' | 'down';
  /** URL of the overlay's records, without secrets; absent for a store of a program's own. */
  readonly storeUrl?: string;
  readonly since?: string;
  readonly error?: string;
  readonly noPunt?: string;
  readonly grace?: {
    readonly listed: number;
    readonly missing: number;
    readonly graceMs: number;
    readonly since: string;
  };
  readonly lost: boolean;
  readonly lostSince?: string;
  /** How much of the network is followed in the store; absent: it is of a version that does not say. */
  readonly sync?: 'all' | 'used' | 'lookup';
  /** Why so much. */
  readonly syncReason?: string;
}

/**
 * The resolver that serves an overlay, wherever it runs: its process and counters.
 * @returns undefined when nobody serves it
 * @throws OvernsError `EPROTO`, `ETIMEDOUT`, `EACCES`: something holds its place that cannot be used; NetlinkError
 * @example
 * ```ts
 * import { Overlay, queryResolver, Resolver } from 'overns';
 *
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
 * console.log(await queryResolver('blue')); // undefined
 * await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
 * console.log((await queryResolver('blue'))?.status?.store); // up
 * ```
 */
export async function queryResolver(
  overlay: string,
  options: Cancel & OnSystem = {},
): Promise<RemoteResolver | undefined> {
  const { signal, system = machine } = checkOptions(options, callOptions);
  return askResolver(system, overlay, signal);
}

/** As queryResolver(), with a patience of the caller's own. */
export async function askResolver(
  system: System,
  overlay: string,
  signal: AbortSignal | undefined,
  patienceMs?: number,
): Promise<RemoteResolver | undefined> {
  const path = await netnsPath(system, overlay, 'overlay');
  const answer = await askControl(system, path, { op: 'stats' }, signal, patienceMs);
  if (answer === undefined) return undefined;
  const { ok, error, pid, version, stats, status, publishing } = answer;
  if (!ok || !Number.isSafeInteger(pid) || typeof stats !== 'object' || stats === null) {
    const words = typeof error === 'string' ? `: ${error.slice(0, 200)}` : '';
    throw new OvernsError('EPROTO', `the resolver of ${path} does not say how it is${words}`, {
      hint: 'it is no overns, or one of another version',
    });
  }
  const counted = Object.entries(stats).filter(([, value]) => typeof value === 'number' && Number.isFinite(value));
  return {
    pid: pid as number,
    version: typeof version === 'string' ? version.slice(0, 100) : undefined,
    stats: { ...noStats(), ...Object.fromEntries(counted) },
    status: readStatus(status),
    publishing: readPublishing(publishing),
  };
}

function readPublishing(given: unknown): RemotePublishing | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  const { troubles, ...rest } = given as Record<string, unknown>;
  const count = (state: string): number => (Number.isSafeInteger(rest[state]) ? (rest[state] as number) : 0);
  return {
    published: count('published'),
    pending: count('pending'),
    conflict: count('conflict'),
    stray: count('stray'),
    troubles: (Array.isArray(troubles) ? troubles.slice(0, 100) : []).flatMap(readTrouble),
  };
}

function readTrouble(given: unknown): RemotePublishing['troubles'][number][] {
  const { ips, mac, state, holder, error } = (given ?? {}) as Record<string, unknown>;
  if (!Array.isArray(ips) || !ips.every((ip) => typeof ip === 'string') || typeof mac !== 'string') return [];
  if (state !== 'pending' && state !== 'conflict' && state !== 'stray') return [];
  return [
    {
      ips,
      mac,
      state,
      ...(typeof holder === 'string' && { holder: holder.slice(0, 100) }),
      ...(typeof error === 'string' && { error: error.slice(0, 1000) }),
    },
  ];
}

function readStatus(given: unknown): RemoteStatus | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  const { store, lost, grace, ...rest } = given as Record<string, unknown>;
  const doubt = readGrace(grace);
  const texts = ['storeUrl', 'since', 'error', 'noPunt', 'lostSince', 'syncReason'].flatMap((key) => {
    const text = rest[key];
    return typeof text === 'string' ? [[key, text.slice(0, 1000)] as const] : [];
  });
  const sync = (['all', 'used', 'lookup'] as const).find((each) => each === rest.sync);
  return {
    store: store === 'down' ? 'down' : 'up',
    ...(doubt && { grace: doubt }),
    lost: lost === true,
    ...(sync && { sync }),
    ...Object.fromEntries(texts),
  };
}

function readGrace(given: unknown): RemoteStatus['grace'] {
  const { listed, missing, graceMs, since } = (given ?? {}) as Record<string, unknown>;
  const counts = { listed, missing, graceMs };
  if (!Object.values(counts).every(Number.isSafeInteger) || typeof since !== 'string') return undefined;
  return { ...(counts as Record<keyof typeof counts, number>), since: since.slice(0, 100) };
}

/** Lists what is wrong with how an overlay is served, as its resolver says. */
export function troubles(status: RemoteStatus | undefined): string[] {
  if (status === undefined) return [];
  const since = (at: string | undefined): string => (at === undefined ? '' : ` since ${at}`);
  const { store, error, noPunt, grace, lost } = status;
  return [
    ...(store === 'down'
      ? [`the store cannot be used${since(status.since)}${error === undefined ? '' : `: ${error}`}`]
      : []),
    ...(grace === undefined
      ? []
      : [
          `the store lists ${grace.listed} of ${grace.listed + grace.missing} addresses${since(grace.since)}: nothing is withdrawn for ${grace.graceMs / 1000} s`,
        ]),
    ...(noPunt === undefined ? [] : [`packets to a MAC address that is not known yet are lost until it is: ${noPunt}`]),
    ...(lost ? [`vxlan1 is gone${since(status.lostSince)}`] : []),
  ];
}
