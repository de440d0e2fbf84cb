/** How the endpoints of this host stand with the store, and what is told of it. */
import type { Endpoint, Holder, Where } from '../store/contract.js';

/**
 * An endpoint of this host against what the store says of it.
 * @example
 * ```ts
 * import type { EndpointStatus } from 'overns';
 *
 * const line = ({ ip, state, holder }: EndpointStatus): string =>
 *   holder === undefined ? `${ip} ${state}` : `${ip} ${state} with ${holder.vtep}`;
 * console.log(line.length); // 1
 * ```
 */
export interface EndpointStatus extends Where, Endpoint {
  /**
   * - `published`: the store has it, under this host's lease.
   * - `pending`: the store could not be told yet (`error`), and is tried again.
   * - `conflict`: another host has one of its addresses there (`holder`), and keeps it.
   * - `stray`: the store has it at this host without a lease, where nobody has these addresses. It is left alone.
   */
  readonly state: 'published' | 'pending' | 'conflict' | 'stray';
  /** The store's revision of it; with `published` and `stray`. */
  readonly revision?: bigint | undefined;
  readonly holder?: Holder | undefined;
  readonly error?: Error | undefined;
}

/**
 * What becomes of this host's endpoints in the store. `pending`, `conflict` and `stray` hold until they are taken back: who
 * listens from then on is told of them first.
 * @example
 * ```ts
 * import type { PublisherEvent } from 'overns';
 *
 * const line = (event: PublisherEvent): string => `${event.endpoint.ip}: ${event.kind}`;
 * console.log(line.length); // 1
 * ```
 */
export type PublisherEvent = Where & {
  /** CLOCK_MONOTONIC nanoseconds (as `process.hrtime.bigint()`). */
  readonly atNs: bigint;
  readonly endpoint: Endpoint;
} & (
    | { readonly kind: 'published'; readonly revision: bigint }
    | {
        /** `withdrawn`: it is gone from this host. `conflict-over`: no other host has its addresses any more. */
        readonly kind: 'withdrawn' | 'conflict-over';
      }
    | { readonly kind: 'pending'; readonly error: Error }
    | {
        readonly kind: 'conflict';
        readonly holder: Holder;
        /** True: it was the holder's until now, and has been taken over; that is told once, and holds no longer. */
        readonly won: boolean;
      }
    | {
        /** A record without a lease points at this host, where nobody has that address. */
        readonly kind: 'stray';
      }
  );
