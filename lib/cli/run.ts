/** One call of the command line, from its words to its exit status. */
import { channel } from 'node:diagnostics_channel';
import type { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { beyondAbort } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { nearest } from '../core/suggest.js';
import { ownPackage } from '../system/own-package.js';
import { machine, type OnSystem, type System } from '../system/system.js';
import { hintInCommands } from './commands.js';
import { DONE, errorJson, errorLine, isSystemError, REFUSED, USAGE } from './failure.js';
import { generalHelp, verbHelp } from './help.js';
import { Log, Output, printable } from './output.js';
import { asks, type Parsed, parse, split, wants } from './parse.js';
import { quoted, usageError } from './usage.js';
import type { Context, Verb } from './verb.js';
import { aliases, loadVerb, loadVerbs, verbNames } from './verbs/index.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Signal = (typeof SIGNALS)[number];

/** The process around a call, as far as it may use it, and the machine that the call is about. */
export interface Surroundings extends OnSystem {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: NodeJS.ProcessEnv;
}

/** How a call ended: with a status, or by a signal that is to end the process as well. */
export interface End {
  readonly status: number;
  readonly signal?: Signal | undefined;
}

/** The package's version. */
export function version(): string {
  return ownPackage()?.version ?? 'unknown';
}

/** Runs one command line. Never throws: whatever goes wrong is printed. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<End> {
  const { stderr, env } = surroundings;
  const interruption = new Interruption(surroundings);
  try {
    const end = await dispatch(argv, surroundings, interruption);
    await interruption.flushed();
    const { failure } = interruption;
    if (failure !== undefined) {
      throw new OvernsError(failure.code ?? 'EIO', `the output cannot be written: ${failure.message}`, {
        cause: failure,
      });
    }
    return end;
  } catch (error) {
    // An error while a verb works is the machine's refusal, even of an argument: others were checked before. The machine may
    // refuse sooner, as when a verb's code is loaded.
    const refused = interruption.begun || interruption.failure !== undefined || isSystemError(error);
    const status = refused ? REFUSED : USAGE;
    stderr.write(`${wants('json', argv, env) ? errorJson(error, status) : errorLine(error)}\n`);
    if (wants('debug', argv, env) && error instanceof Error) stderr.write(`${stackOf(error)}\n`);
    return { status };
  } finally {
    interruption.end();
  }
}

async function dispatch(
  argv: readonly string[],
  { stdout, stderr, env, system = machine }: Surroundings,
  interruption: Interruption,
): Promise<End> {
  if (env.OVERNS_DRIVERS) await (await import('./drivers.js')).loadDrivers(env.OVERNS_DRIVERS);
  const { verb: word, rest, help, version: asksVersion } = split(argv);
  const out = new Output(stdout);
  const print = async (text: string): Promise<End> => {
    await out.lines([text]);
    return { status: DONE };
  };
  const printVersion = async (): Promise<End> => {
    if (!wants('json', argv, env)) return print(version());
    await out.json({ version: version() });
    return { status: DONE };
  };
  if (word === undefined) {
    if (help || argv.length === 0) return print(generalHelp(await loadVerbs(), version()));
    if (asksVersion) return printVersion();
    throw noVerb(rest);
  }
  if (word === 'version') return printVersion();
  if (word === 'help') {
    const topic = rest.find((each) => !each.startsWith('-'));
    return print(topic === undefined ? generalHelp(await loadVerbs(), version()) : verbHelp(await find(topic)));
  }
  const verb = await find(word);
  if (asks('help', rest, verb)) return print(verbHelp(verb));
  if (asks('version', rest, verb)) return printVersion();
  return perform(verb, parse(verb, rest, env), interruption, { out, stderr, system });
}

async function find(word: string): Promise<Verb> {
  const verb = await loadVerb(Object.hasOwn(aliases, word) ? (aliases[word] as string) : word);
  if (verb !== undefined) return verb;
  const meant = nearest(word, [...verbNames, 'help', 'version']);
  throw usageError(
    `there is no verb ${quoted(word)}`,
    meant === undefined ? '`overns --help` shows the verbs' : `did you mean \`overns ${meant}\`?`,
  );
}

function noVerb(rest: readonly string[]): OvernsError {
  const hint = '`overns --help` shows the verbs';
  const unknown = rest.find((word) => word.startsWith('-') && word !== '--');
  return unknown === undefined || /^--(json|debug|log-level|netns-dir)\b/.test(unknown)
    ? usageError('a verb is missing', hint)
    : usageError(`there is no flag ${unknown} before a verb`, hint);
}

async function perform(
  verb: Verb,
  { args, flags, common, timeout, notes }: Parsed,
  interruption: Interruption,
  { out, stderr, system }: { out: Output; stderr: Writable; system: System },
): Promise<End> {
  // The library reads both from the environment, as every caller of it does.
  if (common['netns-dir'] !== undefined) process.env.OVERNS_NETNS_DIR = common['netns-dir'];
  if (typeof flags.docker === 'string') process.env.DOCKER_HOST = flags.docker;
  const context: Context = {
    signal: interruption.signal,
    signalled: () => SIGNALS.find((each) => each === interruption.cause),
    out,
    log: new Log(stderr, common['log-level'] ?? (common.json ? 'warn' : 'info'), verb.daemon),
    json: common.json,
    system,
  };
  for (const note of notes) context.log.info(note);
  interruption.begin(timeout, verb.daemon === true && ![0, 1, 2].some(isatty));
  if (context.log.has('debug')) tellSteps(context.log);
  try {
    return { status: (await verb.run({ args, flags }, context)) ?? DONE };
  } catch (error) {
    const { cause } = interruption;
    if (cause === undefined || !stoppedBy(error, interruption.signal)) throw error;
    if (cause === 'reader' || cause === 'output') return { status: DONE };
    if (cause === 'time') throw tooLate([verb.name, ...args].join(' '), timeout ?? 0, error);
    if (verb.streams) return { status: DONE };
    stderr.write(`overns: ${verb.name}: interrupted${leftOf(error)}\n`);
    return { status: REFUSED, signal: cause };
  }
}

/** Tells the steps of what is made, as the library traces them. */
function tellSteps(log: Log): void {
  const step = (message: unknown): string => String((message as { step?: unknown }).step);
  channel('tracing:overns.step:start').subscribe((message) => log.debug(`step ${step(message)}`));
  channel('tracing:overns.step:error').subscribe((message) => log.debug(`step ${step(message)} failed`));
}

/** True if the error is the echo of the abort, in whichever form it comes back. */
function stoppedBy(error: unknown, signal: AbortSignal): boolean {
  return (
    signal.aborted && (error === signal.reason || (error instanceof Error && /^(Abort|Timeout)Error$/.test(error.name)))
  );
}

function tooLate(what: string, timeout: number, cause: unknown): OvernsError {
  const more = beyondAbort(cause);
  const why = more === undefined ? '' : `: ${more}`;
  const { hint: left = 'what was begun is undone' } = cause as OvernsError;
  return new OvernsError('ETIMEDOUT', `${what}: not done within ${timeout / 1000} s, and given up${why}`, {
    hint: `${left}; --timeout allows more time`,
    cause,
  });
}

/** Tells what an abort has left behind, as far as it is known. */
function leftOf(error: unknown): string {
  const more = beyondAbort(error);
  if (more === undefined) return '';
  const hint = hintInCommands((error as OvernsError).hint);
  return printable(`: ${hint === undefined ? more : `${more}; ${hint}`}`);
}

function stackOf(error: Error): string {
  const { stack = error.message, cause } = error;
  return cause instanceof Error ? `${stack}\nCaused by: ${stackOf(cause)}` : stack;
}

/** Ends a call from outside: a signal, the time that is up, an output that cannot be written. */
class Interruption {
  readonly #controller = new AbortController();
  readonly #stdout: Writable;
  #timer: NodeJS.Timeout | undefined;
  #detached = false;
  /** True once a verb does its work: what fails before that is the arguments' fault. */
  begun = false;
  cause: Signal | 'time' | 'reader' | 'output' | undefined;
  /** Why stdout cannot be written, unless it is that nobody reads any more. */
  failure: NodeJS.ErrnoException | undefined;

  constructor({ stdout, stderr }: Surroundings) {
    this.#stdout = stdout;
    // Both stay for good: a late EPIPE must find a listener. Without stderr the work goes on in silence.
    stderr.on('error', () => {});
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      const gone = error.code === 'EPIPE' || error.code === 'EIO';
      if (!gone) this.failure = error;
      this.#stop(gone ? 'reader' : 'output');
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** @param detached no terminal is read or written: that one ends (SIGHUP), as after nohup, ends nothing here */
  begin(timeout: number | undefined, detached: boolean): void {
    this.begun = true;
    this.#detached = detached;
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    if (timeout !== undefined) this.#timer = setTimeout(() => this.#stop('time'), timeout);
  }

  end(): void {
    clearTimeout(this.#timer);
    if (this.begun) for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  /** Waits until all that was written has left the process, or cannot. */
  async flushed(): Promise<void> {
    if (this.#stdout.destroyed) return;
    await new Promise<void>((resolve) => this.#stdout.write('', () => resolve()));
    // An 'error' comes after the callback of the write that it is about.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  readonly #onSignal = (signal: Signal): void => {
    // Node takes back what nohup has set, so that it cannot be seen here.
    if (signal === 'SIGHUP' && this.#detached) return;
    // A second signal says that nobody wants to wait for the clean-up.
    if (SIGNALS.includes(this.cause as Signal)) {
      process.off(signal, this.#onSignal);
      process.kill(process.pid, signal);
      return;
    }
    this.#stop(signal);
  };

  #stop(cause: Signal | 'time' | 'reader' | 'output'): void {
    if (this.cause !== undefined) return;
    this.cause = cause;
    this.#controller.abort();
  }
}
