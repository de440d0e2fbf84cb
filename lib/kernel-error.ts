/** What the kernel's refusals become: one line that says what failed, on what, in whose words, and the remedy. */
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { NetlinkError } from './errors.js';
import type { NativeFailure } from './native.js';

/** What was being done, for the error's text. */
export interface Attempt {
  /** As in "cannot WHAT": `create vxlan1`. */
  readonly what: string;
  readonly netns?: string | undefined;
  readonly request?: Readonly<Record<string, unknown>> | undefined;
  /** What it takes of the kernel beyond the ordinary. */
  readonly feature?: 'fdb-flush' | undefined;
}

const hints: Readonly<Record<string, string>> = {
  EPERM: 'run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN in the user namespace that owns the network namespace',
  EACCES: 'run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  ENODEV: 'name a link that exists in that namespace',
  ENOENT: 'name something that exists',
  EEXIST: 'remove what is there, or use replace',
  EOPNOTSUPP: 'this kernel lacks the feature: `overns doctor` tells which',
  ENOBUFS: 'the neighbour table may be full: see net.ipv4.neigh.default.gc_thresh3 on the host',
  EMFILE: 'raise the limit of open files (ulimit -n)',
};

/** The name of an errno, from its negative number. */
export function errnoName(errno: number): string {
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
  const words = getSystemErrorMap().get(failure.errno)?.[1] ?? code;
  const where = attempt.netns ? ` in ${attempt.netns}` : '';
  const on =
    failure.message && failure.message !== failure.syscall
      ? ` (${failure.syscall} ${failure.message})`
      : ` (${failure.syscall})`;
  const said = failure.kernelMessage ? `: the kernel says "${failure.kernelMessage}"` : '';
  return new NetlinkError(code, `cannot ${attempt.what}${where}: ${words}${on}${said}`, {
    errno: failure.errno,
    syscall: failure.syscall,
    kernelMessage: failure.kernelMessage,
    attribute: failure.attribute,
    netns: attempt.netns,
    request: attempt.request ?? {},
    hint: hints[code],
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
