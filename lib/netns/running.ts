/** A program that runs: its pipes, its end, and what ends it. */
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { onAbort } from '../core/abort.js';
import { kernelNow } from '../system/kernel-error.js';
import type { Native, NativeProgram } from '../system/native.js';
import { signalNumber } from './program-options.js';
import type { NetnsExit, NetnsProcess } from './program-types.js';

/** From the signal that asks a program to end until SIGKILL. */
const GRACE_MS = 2000;

/** Programs that run now. The addon kills them with a worker that is terminated, but hears nothing of process.exit(). */
const programs = new Set<Running>();
const killAll = (): void => {
  for (const program of programs) program.tryToKill(constants.signals.SIGKILL);
};

export class Running implements NetnsProcess {
  readonly pid: number;
  readonly stdin: Socket | null;
  readonly stdout: Socket | null;
  readonly stderr: Socket | null;
  readonly exited: Promise<NetnsExit>;
  exit: NetnsExit | undefined;
  /** Its time was over. */
  late = false;
  readonly #native: Native;
  readonly #id: number;
  readonly #command: string;

  constructor(native: Native, started: NativeProgram, exited: Promise<NetnsExit>, command: string) {
    this.pid = started.pid;
    this.#native = native;
    this.#id = started.id;
    this.#command = command;
    const [stdin, stdout, stderr] = started.streams;
    this.stdin = adoptPipe(native, stdin, true);
    this.stdout = adoptPipe(native, stdout, false);
    this.stderr = adoptPipe(native, stderr, false);
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
      this.#native.signalProgram(this.#id, number),
    );
  }

  ref(): void {
    this.#native.refProgram(this.#id, true);
    for (const stream of this.#streams()) stream?.ref();
  }

  unref(): void {
    this.#native.refProgram(this.#id, false);
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
      this.#native.signalProgram(this.#id, number);
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

function adoptPipe(native: Native, fd: number | null, writable: boolean): Socket | null {
  if (fd === null) return null;
  const socket = new Socket({ fd, readable: !writable, writable });
  native.adopted(fd);
  return socket;
}

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

export function exitOf(code: number, number: number): NetnsExit {
  if (number === 0) return { code: code < 0 ? null : code, signal: null };
  return { code: null, signal: (SIGNAL_NAMES.get(number) ?? `SIG${number}`) as NodeJS.Signals };
}
