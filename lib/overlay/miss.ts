/** The question that a vxlan device asks. */
import type { Query } from '../store/contract.js';

/**
 * A query as the kernel put it (RTM_GETNEIGH from a vxlan device, drivers/net/vxlan).
 * @example
 * ```ts
 * import type { Miss } from 'overns';
 *
 * const describe = (miss: Miss): string => `${miss.link}: who has ${miss.kind === 'l3' ? miss.ip : miss.mac}?`;
 * const where = { overlay: 'overns', vni: 42, link: 'vxlan1', atNs: process.hrtime.bigint() };
 * console.log(describe({ ...where, kind: 'l3', ip: '192.168.0.3' })); // vxlan1: who has 192.168.0.3?
 * ```
 */
export type Miss = Query & {
  /** Name of the vxlan device. */
  readonly link: string;
  /**
   * When the resolver's thread read it or, without a resolver, when it was handed to JavaScript; CLOCK_MONOTONIC
   * nanoseconds (as `process.hrtime.bigint()`).
   */
  readonly atNs: bigint;
};
