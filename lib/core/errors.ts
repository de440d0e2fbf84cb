/** Errors as a caller sees them: one clear line, a stable `code`, and what to do about it. */
import { redact } from './secrets.js';

/**
 * Fields of an OvernsError beyond its code and message.
 * @example
 * ```ts
 * import type { OvernsErrorDetails } from 'overns';
 *
 * const details: OvernsErrorDetails = { hint: 'start the store', cause: new Error('refused') };
 * console.log(details.hint); // start the store
 * ```
 */
export interface OvernsErrorDetails {
  /** Remedy: one sentence without a full stop. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** Names an OvernsError across copies of the package: `Symbol.for`, so that two loaded copies agree. */
const brand = Symbol.for('overns.error');

/**
 * Any failure that overns itself reports. Recognise it by `code` (an errno name such as `EEXIST`, or one of
 * `OVERNS_*`), not by instanceof: two copies of a package can be loaded.
 * @example
 * ```ts
 * import { Overlay } from 'overns';
 *
 * const error = await Overlay.open('nobody').catch((thrown) => thrown);
 * console.log(error.code, typeof error.hint); // ENOENT string
 * ```
 */
export class OvernsError extends Error {
  /** An errno name (`EEXIST`, `ENOENT`, ...) or an own code (`OVERNS_PLATFORM`, `OVERNS_STORE`, ...). */
  readonly code: string;
  /** Remedy: one sentence without a full stop. */
  readonly hint?: string;

  constructor(code: string, message: string, details: OvernsErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details.hint !== undefined) this.hint = details.hint;
    Object.defineProperty(this, brand, { value: true });
  }

  /**
   * True for an OvernsError of any loaded copy of the package.
   * @example
   * ```ts
   * import { OvernsError } from 'overns';
   *
   * console.log(OvernsError.is(new Error('mine'))); // false
   * ```
   */
  static is(value: unknown): value is OvernsError {
    return value instanceof Error && brand in value;
  }
}
OvernsError.prototype.name = 'OvernsError';

/**
 * Fields of a NetlinkError beyond its message.
 * @example
 * ```ts
 * import type { NetlinkErrorDetails } from 'overns';
 *
 * const details: NetlinkErrorDetails = { errno: -17, syscall: 'RTM_NEWLINK', netns: 'web', request: { name: 'br0' } };
 * console.log(details.syscall); // RTM_NEWLINK
 * ```
 */
export interface NetlinkErrorDetails extends OvernsErrorDetails {
  readonly errno: number;
  readonly syscall: string;
  readonly kernelMessage?: string | undefined;
  readonly attribute?: string | undefined;
  readonly netns?: string | undefined;
  readonly request: Readonly<Record<string, unknown>>;
}

/**
 * The kernel refused a request. Shaped like Node's SystemError, plus the kernel's own words.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * const error = await rtnl.links.set({ name: 'none', up: true }).catch((thrown) => thrown);
 * console.log(error.code, error.syscall, error.request.name); // ENODEV RTM_NEWLINK none
 * ```
 */
export class NetlinkError extends OvernsError {
  /** Negative errno, as Node's SystemError has it. */
  readonly errno: number;
  /** The request, such as `RTM_NEWLINK`, or the system call that failed. */
  readonly syscall: string;
  /** The kernel's own message (NLMSGERR_ATTR_MSG), when it gave one. */
  readonly kernelMessage?: string;
  /** The attribute that the kernel objects to (NLMSGERR_ATTR_OFFS), when it named one. */
  readonly attribute?: string;
  /** The namespace the request was made in; absent for the caller's own. */
  readonly netns?: string;
  /** The item of the request, as the caller wrote it. */
  readonly request: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, details: NetlinkErrorDetails) {
    super(code, message, details);
    this.errno = details.errno;
    this.syscall = details.syscall;
    this.request = details.request;
    if (details.kernelMessage !== undefined) this.kernelMessage = details.kernelMessage;
    if (details.attribute !== undefined) this.attribute = details.attribute;
    if (details.netns !== undefined) this.netns = details.netns;
  }
}
NetlinkError.prototype.name = 'NetlinkError';

/** A wrong value in an argument: a RangeError that names the argument and carries Node's own code. */
export function invalidArgument(name: string, value: unknown, expected: string): RangeError & { code: string } {
  return Object.assign(new RangeError(`${name}: ${shown(value)} is not ${expected}`), {
    code: 'ERR_INVALID_ARG_VALUE',
  });
}

/** A value in one line. Of objects the kind only: their own conversions may throw. */
function shown(value: unknown): string {
  if (typeof value === 'string') {
    const redacted = redact(value);
    return JSON.stringify(redacted.length > 80 ? `${redacted.slice(0, 80)}...` : redacted);
  }
  if (typeof value === 'function') return 'a function';
  if (value !== null && typeof value === 'object') return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}

/** A wrong type of an argument: a TypeError that names the argument and carries Node's own code. */
export function invalidType(name: string, value: unknown, expected: string): TypeError & { code: string } {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  return Object.assign(new TypeError(`${name}: expected ${expected}, got ${got}`), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** Tells of something wrong in an operation which of a batch it is. */
export function inBatch(error: unknown, at: number, count: number): unknown {
  if (count > 1 && error instanceof Error) error.message = `operations[${at}]: ${error.message}`;
  return error;
}
