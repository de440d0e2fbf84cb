// @ts-check
/** Child processes: pinned to a CPU, in a namespace, and gone when we are. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.mjs';

/** Where things run: who asks, and who answers. */
export const CPU = { asker: 0, peer: Math.min(1, availableParallelism() - 1) };

/**
 * @typedef {object} Where
 * @property {string} [netns] path of a network namespace to run in
 * @property {number | string} [cpu] CPUs to run on
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [cwd]
 * @property {string | Buffer} [input] for its stdin
 * @property {number} [timeout] milliseconds, then it is killed
 * @property {boolean} [check] false: a failure is a result like any other
 */

/** @param {string[]} command @param {Where} where @returns {string[]} */
function wrap(command, { netns, cpu }) {
  // Both only exec what follows: the pid is the command's own.
  const inside = netns ? ['nsenter', `--net=${netns}`, '--', ...command] : command;
  return cpu === undefined ? inside : ['taskset', '-c', String(cpu), ...inside];
}

/**
 * Runs a command to its end.
 * @param {string[]} command
 * @param {Where} [where]
 * @returns {Promise<{ stdout: string, stderr: string, code: number }>}
 */
export function exec(command, where = {}) {
  const { env = process.env, cwd, input, timeout = 60_000, check = true } = where;
  const [file = '', ...args] = wrap(command, where);
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env, cwd, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    const release = onCleanup(() => void child.kill('SIGKILL'));
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.stdin?.on('error', () => undefined);
    if (input !== undefined) child.stdin?.end(input);
    const timer = setTimeout(() => {
      stderr += `killed after ${timeout} ms`;
      child.kill('SIGKILL');
    }, timeout);
    child.on('error', (error) => {
      clearTimeout(timer);
      release();
      reject(error);
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      release();
      const code = status ?? 128;
      if (code === 0 || !check) resolve({ stdout, stderr, code });
      else
        reject(
          new Error(`${command.slice(0, 8).join(' ')}: exit status ${code}: ${(stderr || stdout).trim().slice(-2000)}`),
        );
    });
  });
}

/** A process that runs while others measure. */
export class Running {
  #stdout = '';
  #stderr = '';
  /** @type {number | undefined} */
  #code;
  /** @type {Set<() => void>} */
  #listeners = new Set();
  #name;

  /** @param {string[]} command @param {Where} [where] */
  constructor(command, where = {}) {
    const { env = process.env, cwd } = where;
    const [file = '', ...args] = wrap(command, where);
    this.#name = command.slice(0, 3).join(' ');
    // Its stdin ends with us: a peer takes that as the sign to end, should nobody be left to kill it.
    this.child = spawn(file, args, { env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin?.on('error', () => undefined);
    this.child.stdout?.setEncoding('utf8').on('data', (text) => {
      this.#stdout += text;
      this.#heard();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text) => {
      // A peer's log is not kept for ever.
      this.#stderr = (this.#stderr + text).slice(-20_000);
      this.#heard();
    });
    /** @type {Promise<number>} */
    this.exited = new Promise((resolve) => {
      const ended = (/** @type {number} */ code) => {
        this.#code ??= code;
        resolve(code);
        this.#heard();
      };
      this.child.on('error', (error) => {
        this.#stderr += error.message;
        ended(127);
      });
      this.child.on('close', (code) => ended(code ?? 128));
      // Something of its own may still hold its output open.
      this.child.on('exit', (code) => setTimeout(ended, 1000, code ?? 128).unref());
    });
    const release = onCleanup(
      () => this.stop(),
      () => void this.child.kill('SIGKILL'),
    );
    void this.exited.then(release);
  }

  get pid() {
    return this.child.pid ?? -1;
  }
  get stdout() {
    return this.#stdout;
  }
  get stderr() {
    return this.#stderr;
  }
  get running() {
    return this.#code === undefined;
  }

  #heard() {
    for (const listener of this.#listeners) listener();
  }

  /**
   * Resolves to the match once stdout (or stderr) has it.
   * @param {RegExp} pattern
   * @param {{ timeout?: number, stream?: 'stdout' | 'stderr' }} [options]
   * @returns {Promise<RegExpExecArray>}
   */
  async waitFor(pattern, { timeout = 20_000, stream = 'stdout' } = {}) {
    const until = Date.now() + timeout;
    for (;;) {
      const match = pattern.exec(stream === 'stdout' ? this.#stdout : this.#stderr);
      if (match) return match;
      const why = !this.running ? 'ended' : Date.now() >= until ? `is silent for ${timeout} ms` : undefined;
      if (why)
        throw new Error(
          `${this.#name} ${why} (waiting for ${pattern}): ${(this.#stderr || this.#stdout).trim().slice(-2000)}`,
        );
      await new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#listeners.delete(wake);
          resolve(undefined);
        };
        const timer = setTimeout(wake, until - Date.now());
        this.#listeners.add(wake);
      });
    }
  }

  /** @param {string} text */
  write(text) {
    this.child.stdin?.write(text);
  }

  /**
   * Sends a line and resolves to the JSON object that comes back in one line.
   * @param {string} line
   * @param {number} [timeout]
   * @returns {Promise<any>}
   */
  async ask(line, timeout = 60_000) {
    const before = this.#stdout.length;
    this.write(`${line}\n`);
    const until = Date.now() + timeout;
    for (;;) {
      const end = this.#stdout.indexOf('\n', before);
      if (end >= 0) return JSON.parse(this.#stdout.slice(before, end));
      const left = until - Date.now();
      if (left <= 0 || !this.running)
        throw new Error(`${this.#name} did not answer ${line}: ${this.#stderr.trim().slice(-2000)}`);
      await new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#listeners.delete(wake);
          resolve(undefined);
        };
        const timer = setTimeout(wake, left);
        this.#listeners.add(wake);
      });
    }
  }

  /** @param {NodeJS.Signals} [signal] @param {number} [grace] milliseconds until it is killed */
  async stop(signal = 'SIGTERM', grace = 3000) {
    if (!this.running) return;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), grace);
    await this.exited;
    clearTimeout(timer);
  }
}

/** The share of the CPUs that others use right now, looked at for a second. */
export async function busy() {
  const read = () => {
    const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/\s+/).slice(1).map(Number) ?? [];
    const [, , , idle = 0, wait = 0] = fields;
    // Guests are counted as user time already.
    return { idle: idle + wait, all: fields.slice(0, 8).reduce((sum, field) => sum + field, 0) };
  };
  const before = read();
  await sleep(1000);
  const after = read();
  return 1 - (after.idle - before.idle) / (after.all - before.all);
}

/** CPU seconds, those of children that have ended, resident bytes and their peak of a process. @param {number} pid */
export function usage(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (/** @type {string} */ name) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024;
  // Ticks of a hundredth of a second (USER_HZ).
  const seconds = (/** @type {number} */ at) => (Number(fields[at]) + Number(fields[at + 1])) / 100;
  return { cpu: seconds(11), children: seconds(13), rss: kib('VmRSS'), peak: kib('VmHWM') };
}
