/** The shape of an examination. */

/**
 * One thing that was looked at.
 * @example
 * ```ts
 * import type { DoctorCheck } from 'overns';
 *
 * const words = ({ title, value, remedy }: DoctorCheck): string => `${title}: ${value}${remedy ? `; ${remedy}` : ''}`;
 * console.log(words({ id: 'ipv6', title: 'IPv6', status: 'ok', value: 'available' })); // IPv6: available
 * ```
 */
export interface DoctorCheck {
  /** Stable, such as `kernel`, `cap-net-admin` or `vxlan`. */
  readonly id: string;
  readonly title: string;
  /** `fail`: overlays do not work without it. `warn`: they do, with the loss that the remedy names. `info`: no judgement. */
  readonly status: 'ok' | 'warn' | 'fail' | 'info';
  /** The finding, in words. */
  readonly value: string;
  /** The remedy, mostly a command for a shell. */
  readonly remedy?: string;
}

/**
 * The whole examination.
 * @example
 * ```ts
 * import type { DoctorReport } from 'overns';
 *
 * const missing = ({ checks }: DoctorReport): string[] => checks.filter(({ status }) => status === 'fail').map(({ id }) => id);
 * console.log(missing({ ok: true, checks: [] })); // []
 * ```
 */
export interface DoctorReport {
  /** False if a check failed. */
  readonly ok: boolean;
  readonly checks: readonly DoctorCheck[];
}
