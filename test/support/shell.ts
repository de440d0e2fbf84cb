/**
 * Short commands, run by a small shell that each worker keeps: forking the worker itself, with all its memory, costs 3 ms of
 * CPU time a command, and 13 under AddressSanitizer. A kernel test has up to 2,500 of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status, or 128 + signal number. */
  readonly code: number;
}

interface Pending {
  resolve(finished: Finished): void;
  reject(error: Error): void;
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

class Shell {
  readonly #child: ChildProcess;
  /** Where it puts what commands print. The shell removes it, whatever ends this process. */
  readonly #folder = mkdtempSync(join(tmpdir(), 'ot-shell-'));
  readonly #pending = new Map<string, Pending>();
  #last = 0;
  #ended = false;

  constructor() {
    this.#child = spawn('sh', [], { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    const { stdin, stdout } = this.#child;
    this.#child.unref();
    for (const stream of [stdin, stdout]) (stream as unknown as { unref(): void }).unref();
    this.#child.on('error', (error) => this.#end(error));
    this.#child.on('close', () => this.#end(new Error('the shell that runs commands has ended')));
    stdin?.on('error', () => undefined);
    stdin?.write(`trap 'rm -rf ${this.#folder}' EXIT\n`);
    if (stdout) createInterface(stdout).on('line', (line) => this.#finished(line));
  }

  get ended(): boolean {
    return this.#ended;
  }

  run(words: readonly string[], timeout: number): Promise<Finished> {
    const id = String(++this.#last);
    const [out, err] = this.#files(id);
    return new Promise<Finished>((resolve, reject) => {
      const late = setTimeout(() => {
        // It and all that it runs: a test that waits for so long has failed.
        if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL');
        this.#end(new Error(`${words.join(' ')}: killed after ${timeout} ms`));
      }, timeout);
      const settled = (): void => {
        clearTimeout(late);
        this.#pending.delete(id);
      };
      this.#pending.set(id, {
        resolve: (finished) => {
          settled();
          resolve(finished);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      this.#child.stdin?.write(`( ${words.map(quoted).join(' ')} >${out} 2>${err} </dev/null; echo ${id} $? ) &\n`);
    });
  }

  #files(id: string): [out: string, err: string] {
    return [join(this.#folder, `${id}.out`), join(this.#folder, `${id}.err`)];
  }

  #finished(line: string): void {
    const [id = '', code] = line.split(' ');
    const files = this.#files(id);
    const [stdout = '', stderr = ''] = files.map((file) => readFileSync(file, 'utf8'));
    for (const file of files) unlinkSync(file);
    this.#pending.get(id)?.resolve({ stdout, stderr, code: Number(code) });
    // What has ended is reaped.
    if (this.#pending.size === 0) this.#child.stdin?.write('wait\n');
  }

  #end(error: Error): void {
    this.#ended = true;
    for (const { reject } of [...this.#pending.values()]) reject(error);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

let shell = new Shell();

/** Runs a command that needs nothing of this process but its environment as it was at the start. */
export function runShort(words: readonly string[], timeout: number): Promise<Finished> {
  if (shell.ended) shell = new Shell();
  return shell.run(words, timeout);
}
