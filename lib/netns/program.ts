/** Programs that run inside a network namespace, without `ip netns exec`, a shell or a thread of this process in it. */
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { abortError, throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { checkOptions, type Values } from '../core/options.js';
import { kernel } from '../system/kernel-error.js';
import { machine } from '../system/system.js';
import { execOptions, NULL, PIPE, spawnOptions, toNative } from './program-options.js';
import {
  type NetnsExecOptions,
  type NetnsExit,
  type NetnsOutput,
  type NetnsProcess,
  type NetnsSpawnOptions,
  ProgramError,
} from './program-types.js';
import { type NetnsRef, netnsPath, netnsReference } from './references.js';
import { exitOf, Running } from './running.js';

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
  const { signal, system = machine, timeout, killSignal = constants.signals.SIGTERM } = options;
  netnsReference(ref, 'netns');
  const program = toNative(ref, command, args, options);
  throwIfAborted(signal);
  const path = await netnsPath(system, ref);
  let ended: (exit: NetnsExit) => void = () => {};
  const exited = new Promise<NetnsExit>((resolve) => {
    ended = resolve;
  });
  const started = await kernel(
    { what: `start ${command}`, netns: path, request: { command } },
    system.native.startProgram(path, program, (code, number) => ended(exitOf(code, number))),
  );
  const running = new Running(system.native, started, exited, command);
  // The addon has killed a program that cannot be watched.
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
  // Children that it leaves may hold its pipes for ever: they are waited for only while all goes well.
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
    const hint = 'raise `maxBuffer`, or read its streams with `spawn()`';
    throw new ProgramError('ENOBUFS', `${command} wrote more than ${maxBuffer} bytes to ${which}`, {
      ...details,
      hint,
    });
  }
  if (exit.code !== 0) {
    const how = exit.signal === null ? `exit status ${exit.code}` : `ended by ${exit.signal}`;
    const lastLine = err.bytes().toString().trim().split('\n').at(-1);
    throw new ProgramError('OVERNS_EXIT', `${command}: ${how}${lastLine ? `: ${lastLine}` : ''}`, details);
  }
  return output;
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
