/** Shape of a verb. */
import type { System } from '../system/system.js';
import { type Flag, type Flags, oneOf, option, optionOr, seconds, toggle, type Values } from './flags.js';
import { LEVELS, type Log, type Output } from './output.js';
import { usageError } from './usage.js';

export interface Argument {
  /** In capitals, as the help shows it. */
  readonly name: string;
  readonly help: string;
  readonly optional?: boolean;
  /** All that remain; only for the last one. */
  readonly many?: boolean;
  /** Refuses a text that cannot be meant. */
  check?(text: string, name: string): void;
}

/** Things that a verb is given to work with. */
export interface Context {
  /** Aborted on SIGINT, SIGTERM, SIGHUP, when stdout's reader is gone, and after `--timeout`. */
  readonly signal: AbortSignal;
  /** Which of the signals it was, if it was one. */
  readonly signalled: () => 'SIGINT' | 'SIGTERM' | 'SIGHUP' | undefined;
  readonly out: Output;
  readonly log: Log;
  readonly json: boolean;
  /** The machine that it works on. */
  readonly system: System;
}

export interface Invocation<F extends Flags> {
  readonly args: readonly string[];
  readonly flags: Values<F>;
}

export interface Verb<F extends Flags = Flags> {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Paragraphs below it. */
  readonly description?: string;
  readonly args: readonly Argument[];
  readonly flags: F;
  /** Command lines with a word about each. */
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** It runs until it is told to stop: then a signal is its proper end, and it takes no `--timeout`. */
  readonly streams: boolean;
  /** It runs for days: its log bears the time, and the end of a terminal that it does not use is not its end. */
  readonly daemon?: boolean;
  /** Refuses combinations that cannot be meant; may settle a conflict between the command line and the environment. */
  check?(invocation: Invocation<F>, given: ReadonlySet<string>): void;
  /** Resolves to the exit status; nothing = 0. */
  run(invocation: Invocation<F>, context: Context): Promise<number | undefined>;
}

/** Keeps a verb's types to itself: outside, all verbs are alike. */
export function defineVerb<const F extends Flags>(verb: Verb<F>): Verb {
  return verb as unknown as Verb;
}

const directory: Flag<string | undefined> = option(
  'DIR',
  'where named namespaces are; default /run/netns',
  (text, name) => {
    if (text === '') throw usageError(`${name}: a directory is missing`);
    return text;
  },
);

/** The flags of every verb. */
export const commonFlags = {
  json: toggle('print JSON: one document, or JSON Lines where it streams; errors too'),
  'log-level': option(LEVELS.join('|'), 'what to tell on stderr; default info, with --json warn', oneOf(...LEVELS)),
  'netns-dir': directory,
  debug: toggle('show the stack trace of an error'),
  help: toggle('show this'),
} satisfies Flags;

/** The further flag of a verb that does one thing and ends. */
export const timeoutFlag = {
  timeout: optionOr('SECONDS', 'give up, and undo what was begun, after so long; default 10', seconds, 10_000),
} satisfies Flags;

export type CommonValues = Values<typeof commonFlags>;

/** All flags a verb understands. */
export function flagsOf(verb: Verb): Flags {
  return { ...verb.flags, ...(verb.streams ? {} : timeoutFlag), ...commonFlags };
}

/** The environment variable that stands in for a flag. */
export function variableOf(flag: string): string {
  return `OVERNS_${flag.toUpperCase().replaceAll('-', '_')}`;
}
