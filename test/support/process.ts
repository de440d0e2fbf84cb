/** Child processes of the tests: their output, their end, and that none of them outlives the test that started it. */
import { type ChildProcess, spawn as nodeSpawn, type SpawnOptions } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.js';
import { runShort } from './shell.js';

/** How much longer than on an idle machine a process may take: no limit here is a claim of a test. */
const SLOWNESS = process.env.OVERNS_TEST_SANITIZED ? 6 : 3;
const EXEC_MS = 20_000 * SLOWNESS;
const WAIT_MS = 10_000 * SLOWNESS;
const GRACE_MS = 30_000;

export interface ExecOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Written to the command's stdin. */
  readonly input?: string | Buffer;
  /** Milliseconds until the command is killed. Default a minute, two under sanitizers. */
  readonly timeout?: number;
  /** False: a failing command resolves instead of rejecting. Default true. */
  readonly check?: boolean;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status, or 128 + signal number. */
  readonly code: number;
}

/** Runs a command to its end. Rejects when it fails, with its stderr in the message, unless `check` is false. */
export async function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const { timeout = EXEC_MS, check = true, input } = options;
  const result = isShort(command, args, options)
    ? await runShort([command, ...args], timeout)
    : await runByItself(command, args, options, input, timeout);
  if (check && result.code !== 0) {
    const said = result.stderr.trim() || result.stdout.trim() || 'no output';
    throw new Error(`${command} ${args.join(' ')}: exit status ${result.code}: ${said}`);
  }
  return result;
}

/** iproute2's, names of namespaces, and what is written below /proc/sys in a namespace: by far the most. */
function isShort(command: string, args: readonly string[], { env, cwd, input }: ExecOptions): boolean {
  if (env !== undefined || cwd !== undefined || input !== undefined) return false;
  return ['ip', 'bridge', 'umount'].includes(command) || (command === 'nsenter' && args[2] === 'sh');
}

async function runByItself(
  command: string,
  args: readonly string[],
  options: ExecOptions,
  input: string | Buffer | undefined,
  timeout: number,
): Promise<ExecResult> {
  const child = nodeSpawn(command, args, {
    env: options.env ?? process.env,
    cwd: options.cwd,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const release = onCleanup(() => void child.kill('SIGKILL'));
  const result = await finish(child, input, timeout);
  release();
  return result;
}

function finish(child: ChildProcess, input: string | Buffer | undefined, timeout: number): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin?.on('error', () => undefined);
    if (input !== undefined) child.stdin?.end(input);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeout);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const note = late ? `\nkilled after ${timeout} ms` : '';
      resolve({
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString() + note,
        code: code ?? 128 + (signal ? (signals[signal] ?? 0) : 0),
      });
    });
  });
}
const signals: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

/** A process that runs while the test does other things. */
export class Running implements AsyncDisposable {
  readonly child: ChildProcess;
  /** Exit status, or 128 + signal number. */
  readonly exited: Promise<number>;
  #stdout = '';
  #stderr = '';
  #ended = false;
  readonly #listeners = new Set<() => void>();

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.child = nodeSpawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    this.child.stdin?.on('error', () => undefined);
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.#stdout += chunk.toString();
      this.#heard();
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
      this.#heard();
    });
    this.exited = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.#stderr += `${error.message}\n`;
        this.#ended = true;
        resolve(127);
        this.#heard();
      });
      this.child.on('close', (code, signal) => {
        this.#ended = true;
        resolve(code ?? 128 + (signal ? (signals[signal] ?? 0) : 0));
        this.#heard();
      });
    });
    const release = onCleanup(
      () => this.stop(),
      () => void this.child.kill('SIGKILL'),
    );
    void this.exited.then(release);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }
  get stdout(): string {
    return this.#stdout;
  }
  get stderr(): string {
    return this.#stderr;
  }
  get running(): boolean {
    return !this.#ended;
  }

  #heard(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Resolves to the match once the stream contains the pattern; rejects when the process ends first or is late. */
  async waitFor(pattern: RegExp, stream: 'stdout' | 'stderr' = 'stderr', timeout = WAIT_MS): Promise<RegExpExecArray> {
    const look = () => pattern.exec(stream === 'stdout' ? this.#stdout : this.#stderr);
    const until = Date.now() + timeout;
    for (;;) {
      const match = look();
      if (match) return match;
      const said = () => `stdout: ${this.#stdout.slice(-2000)}\nstderr: ${this.#stderr.slice(-2000)}`;
      if (this.#ended) throw new Error(`process ended before it printed ${pattern} on ${stream}\n${said()}`);
      const left = until - Date.now();
      if (left <= 0) throw new Error(`process did not print ${pattern} on ${stream} within ${timeout} ms\n${said()}`);
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#listeners.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#listeners.add(wake);
      });
    }
  }

  /** Sends the signal, waits, and kills what does not heed it. Resolves to the exit status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', grace = GRACE_MS): Promise<number> {
    if (!this.#ended) this.child.kill(signal);
    const late = sleep(grace, undefined, { ref: false }).then(() => {
      if (!this.#ended) this.child.kill('SIGKILL');
      return this.exited;
    });
    return Promise.race([this.exited, late]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a command that keeps running; it is stopped at the end of the test (or of the file, from a beforeAll). */
export function spawn(command: string, args: readonly string[], options: SpawnOptions = {}): Running {
  return new Running(command, args, options);
}
