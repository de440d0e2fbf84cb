/** Programs that run inside a network namespace, without `ip netns exec`, a shell or a thread of this process in it. */
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { basename, dirname, isAbsolute } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Cancel } from '../core/abort.js';
import { abortError, checkSignal, onAbort, throwIfAborted } from '../core/abort.js';
import { invalidArgument, invalidType, OvernsError, type OvernsErrorDetails } from '../core/errors.js';
import { boolean, checkOptions, integer, oneOf, type Shape, type Values } from '../core/options.js';
import { kernel, kernelNow } from '../system/kernel-error.js';
import type { Native, NativeProgram } from '../system/native.js';
import { system } from '../system/system.js';
import type { NetnsRef } from './references.js';
import { netnsDirectory, netnsPath, netnsReference } from './references.js';

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
export interface NetnsSpawnOptions extends Cancel {
  /** Default: the caller's. */
  readonly cwd?: string | undefined;
  /** All of its environment, whose PATH is also where it is looked for. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** What it is told that it is called. Default: the command. */
  readonly argv0?: string | undefined;
  /** Of stdin, stdout and stderr, or one word for all three. Default `pipe`. */
  readonly stdio?: NetnsStream | readonly [NetnsStream, NetnsStream, NetnsStream] | undefined;
  /** Milliseconds, 1 to 2^31-1; then it is ended as by `signal`. Default: none. */
  readonly timeout?: number | undefined;
  /**
   * What it gets when `signal` is aborted or `timeout` is over: a name or a number, 1 to 64. Default `SIGTERM`. One that
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
  /** What it reads. Default: nothing (/dev/null). */
  readonly input?: string | Uint8Array | undefined;
  /** Bytes, of stdout and stderr each, that it may write before it is killed. Default 2^20. */
  readonly maxBuffer?: number | undefined;
  /** `buffer`: what it wrote as bytes. Default `utf8`. */
  readonly encoding?: 'utf8' | 'buffer' | undefined;
}

/**
 * What a program has written.
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

const PIPE = -1;
const NULL = -2;
const GRACE_MS = 2000;
const INT_MAX = 2 ** 31 - 1;

/**
 * Starts a program inside a namespace, and fulfils once it runs. It is an ordinary child of this process, without a shell
 * between; no thread that outlives the call enters the namespace.
 * @param command a path, or a name that is looked for in the PATH of `env`
 * @throws NetlinkError `ENOENT`, `EACCES` (no such program), `EPERM`, ...; OvernsError `ENOENT`, ... for the namespace;
 *   RangeError, TypeError that name the option; AbortError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const cat = await netns.spawn('web', 'cat', [], { stdio: ['pipe', 'pipe', 'inherit'] });
 * cat.stdin?.end('hello');
 * for await (const chunk of cat.stdout ?? []) console.log(String(chunk)); // hello
 * console.log(await cat.exited); // { code: 0, signal: null }
 * ```
 */
export async function spawn(
  ref: NetnsRef,
  command: string,
  args: readonly string[] = [],
  options: NetnsSpawnOptions = {},
): Promise<NetnsProcess> {
  return start(ref, command, args, checkOptions(options, spawnOptions));
}

async function start(
  ref: NetnsRef,
  command: string,
  args: readonly string[],
  options: Values<typeof spawnOptions>,
): Promise<Running> {
  const { signal, timeout, killSignal = constants.signals.SIGTERM } = options;
  netnsReference(ref, 'netns');
  const program = toNative(ref, command, args, options);
  throwIfAborted(signal);
  const path = await netnsPath(ref);
  let ended: (exit: NetnsExit) => void = () => {};
  const exited = new Promise<NetnsExit>((resolve) => {
    ended = resolve;
  });
  const started = await kernel(
    { what: `start ${command}`, netns: path, request: { command } },
    system().native.startProgram(path, program, (code, number) => ended(exitOf(code, number))),
  );
  const running = new Running(started, exited, command);
  // What cannot be watched has been killed by the addon.
  if (started.id === 0) {
    ended({ code: null, signal: 'SIGKILL' });
    running.destroyStreams();
    throw new OvernsError('EMFILE', `cannot wait for ${command}: too many open files`, { hint: 'ulimit -n 4096' });
  }
  running.endBy(signal, timeout, killSignal);
  if (signal?.aborted) {
    await running[Symbol.asyncDispose]();
    throw abortError(signal);
  }
  return running;
}

/**
 * Runs a program inside a namespace to its end, and fulfils with what it has written if its exit status is 0.
 * @param command a path, or a name that is looked for in the PATH of `env`
 * @throws ProgramError when it fails; NetlinkError `ENOENT`, `EACCES` (no such program), `EPERM`, ...; OvernsError
 *   `ENOENT`, ... for the namespace; RangeError, TypeError that name the option; AbortError once it has ended
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const { stdout } = await netns.exec('web', 'ls', ['/sys/class/net']);
 * console.log(stdout.trim()); // lo
 * ```
 */
export function exec(
  ref: NetnsRef,
  command: string,
  args: readonly string[] | undefined,
  options: NetnsExecOptions & { readonly encoding: 'buffer' },
): Promise<NetnsOutput<Buffer>>;
export function exec(
  ref: NetnsRef,
  command: string,
  args?: readonly string[],
  options?: NetnsExecOptions,
): Promise<NetnsOutput<string>>;
export async function exec(
  ref: NetnsRef,
  command: string,
  args: readonly string[] = [],
  options: NetnsExecOptions = {},
): Promise<NetnsOutput<string | Buffer>> {
  const checked = checkOptions(options, execOptions);
  const { input, maxBuffer = 2 ** 20, encoding = 'utf8', timeout, signal } = checked;
  const stdin = input === undefined ? NULL : PIPE;
  const child = await start(ref, command, args, { ...checked, stdio: [stdin, PIPE, PIPE] });
  const out = collect(child.stdout, maxBuffer, () => child.kill('SIGKILL'));
  const err = collect(child.stderr, maxBuffer, () => child.kill('SIGKILL'));
  // It need not read what it is given.
  child.stdin?.on('error', () => {});
  if (input !== undefined) child.stdin?.end(input);
  const exit = await child.exited;
  // What it leaves running may hold its pipes for ever: that is waited for only while all goes well.
  if (child.late || signal?.aborted || out.full || err.full) child.destroyStreams();
  await Promise.all([out.done, err.done]);
  child.destroyStreams();
  const shown = (bytes: Buffer): string | Buffer => (encoding === 'buffer' ? bytes : bytes.toString());
  const output = { stdout: shown(out.bytes()), stderr: shown(err.bytes()) };
  if (signal?.aborted) throw abortError(signal);
  const details = { ...output, exit };
  if (child.late) throw new ProgramError('ETIMEDOUT', `${command} took more than ${timeout} ms`, details);
  if (out.full || err.full) {
    const which = out.full ? 'stdout' : 'stderr';
    const hint = 'raise maxBuffer, or read its streams with spawn()';
    throw new ProgramError('ENOBUFS', `${command} wrote more than ${maxBuffer} bytes to ${which}`, {
      ...details,
      hint,
    });
  }
  if (exit.code !== 0) {
    const how = exit.signal === null ? `exit status ${exit.code}` : `ended by ${exit.signal}`;
    const said = err.bytes().toString().trim().split('\n').at(-1);
    throw new ProgramError('OVERNS_EXIT', `${command}: ${how}${said ? `: ${said}` : ''}`, details);
  }
  return output;
}

/** What runs now. The addon kills it with a worker that is terminated, but is not told of process.exit(). */
const programs = new Set<Running>();
const killAll = (): void => {
  for (const program of programs) program.tryToKill(constants.signals.SIGKILL);
};

class Running implements NetnsProcess {
  readonly pid: number;
  readonly stdin: Socket | null;
  readonly stdout: Socket | null;
  readonly stderr: Socket | null;
  readonly exited: Promise<NetnsExit>;
  exit: NetnsExit | undefined;
  /** Its time was over. */
  late = false;
  readonly #id: number;
  readonly #command: string;

  constructor(started: NativeProgram, exited: Promise<NetnsExit>, command: string) {
    this.pid = started.pid;
    this.#id = started.id;
    this.#command = command;
    const [stdin, stdout, stderr] = started.streams;
    this.stdin = adoptPipe(stdin, true);
    this.stdout = adoptPipe(stdout, false);
    this.stderr = adoptPipe(stderr, false);
    if (programs.size === 0) process.on('exit', killAll);
    programs.add(this);
    this.exited = exited.then((exit) => {
      programs.delete(this);
      if (programs.size === 0) process.off('exit', killAll);
      this.exit = exit;
      return exit;
    });
  }

  kill(signal: NodeJS.Signals | number = 'SIGTERM'): boolean {
    const number = signalNumber(signal, 'signal');
    return kernelNow({ what: `send ${signal} to ${this.#command}`, request: { signal } }, () =>
      system().native.signalProgram(this.#id, number),
    );
  }

  ref(): void {
    system().native.refProgram(this.#id, true);
    for (const stream of this.#streams()) stream?.ref();
  }

  unref(): void {
    system().native.refProgram(this.#id, false);
    for (const stream of this.#streams()) stream?.unref();
  }

  #streams(): (Socket | null)[] {
    return [this.stdin, this.stdout, this.stderr];
  }

  endBy(signal: AbortSignal | undefined, timeout: number | undefined, killSignal: number): void {
    let timer: NodeJS.Timeout | undefined;
    let last: NodeJS.Timeout | undefined;
    const end = (): void => {
      this.tryToKill(killSignal);
      last ??= setTimeout(() => this.tryToKill(constants.signals.SIGKILL), GRACE_MS).unref();
    };
    const ignore = onAbort(signal, end);
    if (timeout !== undefined) {
      timer = setTimeout(() => {
        this.late = true;
        end();
      }, timeout).unref();
    }
    void this.exited.then(() => {
      ignore();
      clearTimeout(timer);
      clearTimeout(last);
    });
  }

  /** One that has taken other privileges cannot be signalled: there is nobody to tell. */
  tryToKill(number: number): void {
    try {
      system().native.signalProgram(this.#id, number);
    } catch {}
  }

  destroyStreams(): void {
    for (const stream of this.#streams()) stream?.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tryToKill(constants.signals.SIGKILL);
    this.destroyStreams();
    await this.exited;
  }
}

function adoptPipe(fd: number | null, writable: boolean): Socket | null {
  if (fd === null) return null;
  const socket = new Socket({ fd, readable: !writable, writable });
  system().native.adopted(fd);
  return socket;
}

interface Collected {
  readonly done: Promise<void>;
  readonly full: boolean;
  bytes(): Buffer;
}

function collect(stream: Socket | null, max: number, overflow: () => void): Collected {
  const chunks: Buffer[] = [];
  let size = 0;
  let full = false;
  stream?.on('data', (chunk: Buffer) => {
    if (full) return;
    chunks.push(chunk.subarray(0, max - size));
    size += chunk.length;
    if (size <= max) return;
    full = true;
    overflow();
  });
  stream?.on('error', () => {});
  const done = new Promise<void>((resolve) => {
    if (stream === null) resolve();
    else stream.once('close', () => resolve());
  });
  return {
    done,
    get full() {
      return full;
    },
    bytes: () => Buffer.concat(chunks),
  };
}

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

function exitOf(code: number, number: number): NetnsExit {
  if (number === 0) return { code: code < 0 ? null : code, signal: null };
  return { code: null, signal: (SIGNAL_NAMES.get(number) ?? `SIG${number}`) as NodeJS.Signals };
}

function signalNumber(signal: unknown, name: string): number {
  if (typeof signal === 'number') {
    if (!Number.isInteger(signal) || signal < 0 || signal > 64) {
      throw invalidArgument(name, signal, 'a signal: a name, or a number from 0 to 64');
    }
    return signal;
  }
  if (typeof signal !== 'string') throw invalidType(name, signal, 'the name or number of a signal');
  const number = (constants.signals as Readonly<Record<string, number>>)[signal];
  if (number === undefined) throw invalidArgument(name, signal, 'the name of a signal');
  return number;
}

function toNative(
  ref: NetnsRef,
  command: unknown,
  args: unknown,
  { cwd = '', env, argv0, stdio = [PIPE, PIPE, PIPE], ownMounts = true }: Values<typeof spawnOptions>,
): Parameters<Native['startProgram']>[1] {
  const file = checkText(command, 'command');
  if (file === '') throw invalidArgument('command', file, 'a program');
  if (!Array.isArray(args)) throw invalidType('args', args, 'an array of strings');
  return {
    file,
    arguments: [argv0 ?? file, ...args.map(checkArgument)],
    environment: env ?? checkEnvironment(process.env, 'env'),
    directory: cwd,
    streams: stdio,
    ownMounts,
    etc: ownMounts ? etcOf(ref) : '',
  };
}

function checkText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  if (value.includes('\0')) throw invalidArgument(name, value, 'a text without NUL');
  return value;
}

const checkArgument = (value: unknown, at: number): string => checkText(value, `args[${at}]`);

type Streams = readonly [number, number, number];

function checkStreams(stdio: unknown, name: string): Streams {
  const each = Array.isArray(stdio) ? stdio : [stdio, stdio, stdio];
  if (each.length !== 3) throw invalidArgument(name, stdio, 'one for each of stdin, stdout and stderr');
  return each.map((stream: unknown, at) => {
    if (stream === 'pipe') return PIPE;
    if (stream === 'ignore') return NULL;
    if (stream === 'inherit') return at;
    if (Number.isInteger(stream) && (stream as number) >= 0 && (stream as number) <= INT_MAX) return stream;
    throw invalidArgument(`${name}[${at}]`, stream, "'pipe', 'inherit', 'ignore' or a descriptor");
  }) as unknown as Streams;
}

function checkEnvironment(env: unknown, name: string): readonly string[] {
  if (env === null || typeof env !== 'object') throw invalidType(name, env, 'an object');
  return Object.entries(env).flatMap(([variable, value]) => {
    if (value === undefined) return [];
    if (variable === '' || /[=\0]/.test(variable)) throw invalidArgument(name, variable, 'the name of a variable');
    return [`${variable}=${checkText(value, `${name}.${variable}`)}`];
  });
}

function checkInput(input: unknown, name: string): string | Uint8Array {
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) throw invalidType(name, input, 'a string or bytes');
  return input;
}

const spawnOptions = {
  cwd: checkText,
  env: checkEnvironment,
  argv0: checkText,
  stdio: checkStreams,
  timeout: integer(1, INT_MAX),
  killSignal: signalNumber,
  ownMounts: boolean,
  signal: checkSignal,
} satisfies Shape;

const { stdio: _streams, ...withoutStreams } = spawnOptions;
const execOptions = {
  ...withoutStreams,
  input: checkInput,
  maxBuffer: integer(0, INT_MAX),
  encoding: oneOf('utf8', 'buffer'),
} satisfies Shape;

/** Where iproute2 has the files of a named namespace that stand in the place of those in /etc. */
function etcOf(ref: NetnsRef): string {
  const path = typeof ref === 'string' ? ref : 'path' in ref ? ref.path : '';
  if (path === '') return '';
  if (!isAbsolute(path)) return `/etc/netns/${path}`;
  return dirname(path) === netnsDirectory() ? `/etc/netns/${basename(path)}` : '';
}
