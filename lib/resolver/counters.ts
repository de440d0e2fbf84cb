/** Counters of a resolver: one table for `stats()`, `overns show` and metrics. */

/**
 * One thing that a resolver counts.
 * @example
 * ```ts
 * import { type Counter, counters } from 'overns';
 *
 * const misses: Counter = counters.misses;
 * console.log(misses.type, misses.metric); // counter overns_misses_total
 * ```
 */
export interface Counter {
  /** A counter only grows, from 0 at the resolver's start; a gauge is what there is now. */
  readonly type: 'counter' | 'gauge';
  /** Its name as a metric (Prometheus). */
  readonly metric: string;
  readonly help: string;
}

function counter(metric: string, help: string): Counter {
  return { type: 'counter', metric: `overns_${metric}_total`, help };
}

/**
 * All that a resolver counts, by the key in {@link ResolverStats}.
 * @example
 * ```ts
 * import { counters } from 'overns';
 *
 * const gauges = Object.entries(counters).filter(([, { type }]) => type === 'gauge');
 * console.log(gauges.map(([key]) => key)); // [ 'endpoints', 'missing' ]
 * ```
 */
export const counters = {
  misses: counter('misses', 'Misses read from the kernel, and packets caught for a MAC that it has no VTEP for'),
  answers: counter('answers', 'Misses answered by programming the kernel'),
  coalesced: counter('coalesced', 'Misses that joined a lookup already under way'),
  negative: counter('negative', 'Misses answered "absent" without a lookup, from the last answer'),
  rejected: counter('rejected', 'Answers of the store that could not be used'),
  overruns: counter('overruns', 'Times the kernel dropped misses because the receive buffer was full'),
  lookups: counter('lookups', 'Lookups asked of the store'),
  local: counter('local', 'Misses and caught packets of endpoints on this host, for which nothing is programmed'),
  replayed: counter('replayed', 'Swallowed ARP requests and neighbour solicitations sent again after their answer'),
  shed: counter('shed', 'Misses and swallowed requests let go of because too many waited'),
  dropped: counter('dropped', 'Misses that the kernel dropped in those overruns'),
  endpoints: { type: 'gauge', metric: 'overns_endpoints', help: 'Addresses in the endpoint table' },
  missing: {
    type: 'gauge',
    metric: 'overns_missing',
    help: "Addresses that the store's last listing lacked, kept until it has been confirmed",
  },
  forwarded: counter('packets_forwarded', 'Caught packets sent on to their VTEP'),
  packetsDropped: counter('packets_dropped', 'Caught packets dropped for want of an answer or of room'),
  floodDropped: counter('flood_dropped', 'Broadcast and multicast packets, which do not leave the host'),
  withdrawalsRefused: counter(
    'withdrawals_refused',
    'Deletions of entries that the kernel refused; they are tried again',
  ),
  unreadable: counter('records_unreadable', "Addresses that the store's watch gave in records that cannot be read"),
  notHere: counter('not_here', 'Misses of addresses whose record names this host, where nobody has them'),
  lookupsAbandoned: counter('lookups_abandoned', 'Lookups that this process did not answer in time'),
  announced: counter('announced', 'Addresses whose MAC has changed that the containers here were told of'),
  contradicted: counter('contradicted', 'Times the kernel had learned another VTEP of a frame than the store says'),
  primed: counter('primed', 'Requests sent on to whom they ask, so that the answer costs its host no miss'),
  redirected: counter('redirected', 'Frames that came here for a container that has left, sent on to where it is now'),
} as const satisfies Readonly<Record<string, Counter>>;

/**
 * Counters of a resolver: what each key means and whether it grows stands in {@link counters}.
 * @example
 * ```ts
 * import type { ResolverStats } from 'overns';
 *
 * const share = ({ answers, misses }: ResolverStats): number => (misses === 0 ? 1 : answers / misses);
 * console.log(share.length); // 1
 * ```
 */
export type ResolverStats = { readonly [K in keyof typeof counters]: number };

/** All zero. */
export function noStats(): { -readonly [K in keyof ResolverStats]: number } {
  return Object.fromEntries(Object.keys(counters).map((key) => [key, 0])) as ResolverStats;
}
