/** Errors made of the kernel's refusals: one line that says what failed, on what, in whose words, and the remedy. */
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { NetlinkError } from '../core/errors.js';
import type { NativeFailure } from './native.js';
import { remedyFor } from './remedies.js';

/** The work under way, for the error's text. */
export interface Attempt {
  /** As in "cannot WHAT": `create vxlan1`. */
  readonly what: string;
  readonly netns?: string | undefined;
  readonly request?: Readonly<Record<string, unknown>> | undefined;
  /** Object of the request: `link`, `fdb`, ..., and the verb, for the remedy. */
  readonly table?: string | undefined;
  readonly op?: string | undefined;
}

const EOPNOTSUPP = -95;

/** The name of an errno, from its negative number. */
export function errnoName(errno: number): string {
  // 95 has two names; libuv's is not the one that the kernel and iproute2 use for it.
  if (errno === EOPNOTSUPP) return 'EOPNOTSUPP';
  try {
    return getSystemErrorName(errno);
  } catch {
    return `ERRNO_${-errno}`;
  }
}

/** The errors of the addon have an errno and a syscall; anything else is passed through. */
export function isNativeFailure(value: unknown): value is NativeFailure {
  return typeof value === 'object' && value !== null && 'errno' in value && 'syscall' in value;
}

/** A NetlinkError for what the addon reported. */
export function netlinkError(failure: NativeFailure, attempt: Attempt): NetlinkError {
  const code = errnoName(failure.errno);
  // Nor has it to do with sockets here.
  const words =
    failure.errno === EOPNOTSUPP ? 'operation not supported' : (getSystemErrorMap().get(failure.errno)?.[1] ?? code);
  const where = attempt.netns ? ` in ${attempt.netns}` : '';
  const on =
    failure.message && failure.message !== failure.syscall
      ? ` (${failure.syscall} ${failure.message})`
      : ` (${failure.syscall})`;
  const own = failure.kernelMessage ? `: the kernel says "${failure.kernelMessage}"` : '';
  return new NetlinkError(code, `cannot ${attempt.what}${where}: ${words}${on}${own}`, {
    errno: failure.errno,
    syscall: failure.syscall,
    kernelMessage: failure.kernelMessage,
    attribute: failure.attribute,
    netns: attempt.netns,
    request: attempt.request ?? {},
    hint: remedyFor({ code, failure, ...attempt }),
  });
}

/** Awaits a call of the addon; what it rejects with becomes a NetlinkError. */
export async function kernel<T>(attempt: Attempt, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw isNativeFailure(error) ? netlinkError(error, attempt) : error;
  }
}

/** As {@link kernel}, of a call that answers at once. */
export function kernelNow<T>(attempt: Attempt, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw isNativeFailure(error) ? netlinkError(error, attempt) : error;
  }
}
