/** Events of a resolver, and how it says that an overlay is served. */
import type { Miss } from '../overlay/miss.js';
import type { Answer, Where } from '../store/contract.js';
import type { ResolverStats } from './counters.js';

/**
 * Events of a resolver. `store-down`, `grace`, `punt-off`, `overlay-lost` and `sync` with an error hold until they are taken back: who listens from then
 * on is told of them first, with the time when it happened.
 * @example
 * ```ts
 * import type { ResolverEvent } from 'overns';
 *
 * function line(event: ResolverEvent): string {
 *   if (event.kind === 'resolved') return `${event.endpoint.mac} by ${event.by} in ${event.tookUs} µs`;
 *   if (event.kind === 'unresolved') return event.cause;
 *   return event.kind;
 * }
 * const where = { overlay: 'overns', vni: 42, atNs: process.hrtime.bigint() };
 * console.log(line({ ...where, kind: 'overrun', dropped: 3 })); // overrun
 * ```
 */
export type ResolverEvent = Where & { readonly atNs: bigint } & (
    | {
        readonly kind: 'resolved';
        readonly miss: Miss;
        readonly endpoint: Answer;
        /** `table`: answered by the native thread alone; `store`: after a lookup. */
        readonly by: 'table' | 'store';
        /** From reading the miss to the kernel's acknowledgement, microseconds. */
        readonly tookUs: number;
      }
    | {
        readonly kind: 'unresolved';
        readonly miss: Miss;
        /** `not-here`: its record names this host, and nobody here has it negativeTtlMs after the miss. */
        readonly cause: 'absent' | 'timeout' | 'store-error' | 'not-here';
        readonly error?: Error;
      }
    /**
     * The answer cannot be used (multicast MAC, a VTEP that is of the other family or another address of this host, ...):
     * nothing was programmed. Of a record that the store's watch gave, `miss` is its address, which nobody need have asked for.
     */
    | { readonly kind: 'rejected'; readonly miss: Miss; readonly reason: string }
    /**
     * As many addresses that the store's watch gave are left out, since their records cannot be read: the first of them is
     * the error's. Told once a second at most.
     */
    | { readonly kind: 'unreadable'; readonly count: number; readonly error: Error }
    /**
     * A frame came from `learned` that says `mac` is there, and vxlan1, which learns, believed it; `vtep` is where the store, or
     * this host, has it, and where it leads again. Told once a second at most: `contradicted` of the counters has all.
     */
    | { readonly kind: 'contradicted'; readonly mac: string; readonly vtep: string; readonly learned: string }
    /** The kernel dropped misses. */
    | { readonly kind: 'overrun'; readonly dropped: number }
    /** This consumer was slow. */
    | { readonly kind: 'overflow'; readonly dropped: number }
    /** The store cannot be used; what is known is served on. */
    | { readonly kind: 'store-down'; readonly error?: Error }
    | { readonly kind: 'store-up'; readonly error?: Error }
    /**
     * The store's watch lists `listed` addresses, and lacks `missing` that were known: more than it lists, or it is older than
     * what was seen. Nothing is withdrawn before `graceMs` are over, from when the store was last heard of.
     */
    | { readonly kind: 'grace'; readonly listed: number; readonly missing: number; readonly graceMs: number }
    /** They are over, and what was still missing is withdrawn: as many addresses. */
    | { readonly kind: 'grace-over'; readonly withdrawn: number }
    /** Packets for a MAC that the kernel has no VTEP for are lost until they are answered, since nothing catches them. */
    | { readonly kind: 'punt-off'; readonly reason: string }
    /** They are caught again: what kept them from it is over, as the host's `lo` that was down. */
    | { readonly kind: 'punt-on' }
    /** vxlan1 has been removed, or another resolver takes the overlay over: the process `pid`, where the kernel says. */
    | { readonly kind: 'overlay-lost'; readonly cause: 'removed' | 'taken'; readonly pid?: number }
    /** There is a vxlan1 again, or who took the overlay over could not serve it and gave it back. */
    | { readonly kind: 'overlay-back' }
    /**
     * Another part of the network is followed in the store from now on, for the reason that `error` gives: there is more of it
     * than may be mirrored. Without `error`: as much as was asked for again.
     */
    | { readonly kind: 'sync'; readonly sync: 'all' | 'used' | 'lookup'; readonly error?: Error }
  );

/**
 * How an overlay is served.
 * @example
 * ```ts
 * import type { OverlayStatus } from 'overns';
 *
 * const healthy = ({ store, punt, lost }: OverlayStatus): boolean => store === 'up' && punt && !lost;
 * console.log(healthy.length); // 1
 * ```
 */
export interface OverlayStatus extends Where {
  /**
   * `down` from its first failure to the next thing that it answers, a watch that gives nothing within lookupTimeoutMs
   * from the start included; `up` also where there is no watch and nothing was asked yet.
   */
  readonly store: 'up' | 'down';
  /** Since when the store is up or down. */
  readonly since: Date;
  /** The store's last error, while it is down. */
  readonly error?: Error;
  /** Whether packets are caught that go to a MAC which the kernel has no VTEP for; else they are lost until its answer. */
  readonly punt: boolean;
  /** Why they are not. */
  readonly noPunt?: string;
  /** The store's watch has lost much at once, and nothing is withdrawn for a while: what `grace` of the events says, and since when. */
  readonly grace?: {
    readonly listed: number;
    readonly missing: number;
    readonly graceMs: number;
    readonly since: Date;
  };
  /** True while vxlan1 is gone, or another resolver is taking the overlay over. */
  readonly lost: boolean;
  /** Since when it is. */
  readonly lostSince?: Date;
  /** How much of the network is followed in the store: all, the addresses that are used, or none. */
  readonly sync: 'all' | 'used' | 'lookup';
  /** Why so much: `auto: 1200 addresses, 10000 at most`, or what keeps more from being followed. */
  readonly syncReason: string;
  readonly stats: ResolverStats;
}
