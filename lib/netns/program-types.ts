/** How programs are started in a namespace, and what is known of them. */
import type { Readable, Writable } from 'node:stream';
import type { Cancel } from '../core/abort.js';
import { OvernsError, type OvernsErrorDetails } from '../core/errors.js';
import type { OnSystem } from '../system/system.js';

/**
 * How a program ended.
 * @example
 * ```ts
 * import type { NetnsExit } from 'overns';
 *
 * const well = ({ code }: NetnsExit): boolean => code === 0;
 * console.log(well({ code: null, signal: 'SIGTERM' })); // false
 * ```
 */
export interface NetnsExit {
  /** The exit status, 0 to 255; null when a signal ended it. */
  readonly code: number | null;
  /** The signal that ended it; both are null only when something else in this process has waited for it. */
  readonly signal: NodeJS.Signals | null;
}

/**
 * One of a program's three streams: a pipe, the caller's own, /dev/null, or a descriptor of this process.
 * @example
 * ```ts
 * import type { NetnsStream } from 'overns';
 *
 * const streams: NetnsStream[] = ['ignore', 'pipe', 'inherit'];
 * console.log(streams.length); // 3
 * ```
 */
export type NetnsStream = 'pipe' | 'inherit' | 'ignore' | number;

/**
 * How a program is started in a namespace.
 * @example
 * ```ts
 * import type { NetnsSpawnOptions } from 'overns';
 *
 * const options: NetnsSpawnOptions = { env: { PATH: '/usr/bin:/bin' }, stdio: 'inherit', timeout: 10_000 };
 * console.log(options.timeout); // 10000
 * ```
 */
export interface NetnsSpawnOptions extends Cancel, OnSystem {
  /** Default: the caller's. */
  readonly cwd?: string | undefined;
  /** All of its environment, whose PATH is also where it is looked for. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Its argument 0, the name that it is told. Default: the command. */
  readonly argv0?: string | undefined;
  /** One for each of stdin, stdout and stderr, or one word for all three. Default `pipe`. */
  readonly stdio?: NetnsStream | readonly [NetnsStream, NetnsStream, NetnsStream] | undefined;
  /** Milliseconds, 1 to 2^31-1; then it is ended as by `signal`. Default: none. */
  readonly timeout?: number | undefined;
  /**
   * Signal that it gets when `signal` is aborted or `timeout` is over: a name or a number, 1 to 64. Default `SIGTERM`. One that
   * is still there 2 s later gets SIGKILL.
   */
  readonly killSignal?: NodeJS.Signals | number | undefined;
  /**
   * As `ip netns exec` does: in a mount namespace of its own, /sys shows the links of the namespace, and the files of
   * /etc/netns/NAME stand in the place of those in /etc (`resolv.conf`, `hosts`). False: it has the caller's mounts, so
   * what it mounts lasts, and /sys shows the caller's links. Default true.
   */
  readonly ownMounts?: boolean | undefined;
}

/**
 * A running program, much as Node's ChildProcess.
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * await using sleeper = await netns.spawn('web', 'sleep', ['60']); // a NetnsProcess
 * console.log(sleeper.kill('SIGINT'), await sleeper.exited); // true { code: null, signal: 'SIGINT' }
 * ```
 */
export interface NetnsProcess extends AsyncDisposable {
  readonly pid: number;
  /** Null where `stdio` has no pipe. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Fulfils when it has ended; its streams may still hold what it wrote last. Never rejects. */
  readonly exited: Promise<NetnsExit>;
  /** How it ended; undefined while it runs. */
  readonly exit: NetnsExit | undefined;
  /**
   * Sends a signal. Default `SIGTERM`. False when it has ended.
   * @throws NetlinkError `EPERM`; RangeError, TypeError
   */
  kill(signal?: NodeJS.Signals | number): boolean;
  /** It keeps the event loop alive until it has ended, as it does from the start. */
  ref(): void;
  /** Neither it nor its streams do. Whatever still runs when this process or worker ends is killed. */
  unref(): void;
}

/**
 * How a program is run to its end.
 * @example
 * ```ts
 * import type { NetnsExecOptions } from 'overns';
 *
 * const options: NetnsExecOptions = { input: 'hello\n', maxBuffer: 64 << 20, signal: AbortSignal.timeout(5000) };
 * console.log(options.input?.length); // 6
 * ```
 */
export interface NetnsExecOptions extends Omit<NetnsSpawnOptions, 'stdio'> {
  /** Its standard input. Default: nothing (/dev/null). */
  readonly input?: string | Uint8Array | undefined;
  /** Bytes, of stdout and stderr each, that it may write before it is killed. Default 2^20. */
  readonly maxBuffer?: number | undefined;
  /** `buffer`: what it wrote as bytes. Default `utf8`. */
  readonly encoding?: 'utf8' | 'buffer' | undefined;
}

/**
 * Output of a program.
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const output = await netns.exec('web', 'echo', ['hello']); // a NetnsOutput<string>
 * console.log(output.stdout.trim()); // hello
 * ```
 */
export interface NetnsOutput<T = string> {
  readonly stdout: T;
  readonly stderr: T;
}

/**
 * A program that did not end well: `OVERNS_EXIT` (a status other than 0, or a signal), `ETIMEDOUT`, or `ENOBUFS` (it
 * wrote more than `maxBuffer`).
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const error = await netns.exec('web', 'sh', ['-c', 'echo no >&2; exit 3']).catch((thrown) => thrown); // a ProgramError
 * console.log(error.code, error.exit.code, error.stderr.trim()); // OVERNS_EXIT 3 no
 * ```
 */
export class ProgramError extends OvernsError {
  readonly exit: NetnsExit;
  readonly stdout: string | Buffer;
  readonly stderr: string | Buffer;

  constructor(
    code: string,
    message: string,
    details: OvernsErrorDetails & NetnsOutput<string | Buffer> & { readonly exit: NetnsExit },
  ) {
    super(code, message, details);
    this.exit = details.exit;
    this.stdout = details.stdout;
    this.stderr = details.stderr;
  }
}
ProgramError.prototype.name = 'ProgramError';
