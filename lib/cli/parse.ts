/** From the words of a command line to a verb's arguments and flags. */
import { parseArgs } from 'node:util';
import { nearest } from '../core/suggest.js';
import type { Flags } from './flags.js';
import { quoted, usageError } from './usage.js';
import { type CommonValues, commonFlags, flagsOf, type Invocation, type Verb, variableOf } from './verb.js';

type Environment = Readonly<Record<string, string | undefined>>;

function tokensOf(args: readonly string[], flags: Flags) {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    version: { type: 'boolean', short: 'V' },
  };
  for (const [name, flag] of Object.entries(flags)) options[name] = { type: flag.value === '' ? 'boolean' : 'string' };
  options.help = { type: 'boolean', short: 'h' };
  // Not strict: the refusals here say more than parseArgs' own.
  return parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true }).tokens;
}

/** Parts of a command line: the words before the verb, the verb, and those behind it. */
export interface Split {
  readonly verb: string | undefined;
  readonly rest: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
}

/** Finds the verb: the first word that is no flag. Flags of every verb may stand before it. */
export function split(argv: readonly string[]): Split {
  const before = tokensOf(argv, commonFlags);
  const first = before.find((token) => token.kind === 'positional');
  const verb = first?.kind === 'positional' ? first.value : undefined;
  const has = (name: string): boolean =>
    before.some(
      (token) => token.kind === 'option' && token.name === name && (first === undefined || token.index < first.index),
    );
  const rest = first === undefined ? argv : [...argv.slice(0, first.index), ...argv.slice(first.index + 1)];
  return { verb, rest, help: has('help'), version: has('version') };
}

/** True if a switch is set; also for command lines that cannot be parsed. */
export function wants(what: 'json' | 'debug', argv: readonly string[], env: Environment): boolean {
  const end = argv.indexOf('--');
  if ((end < 0 ? argv : argv.slice(0, end)).includes(`--${what}`)) return true;
  return /^(1|true|yes|on)$/i.test(env[variableOf(what)] ?? '');
}

/** True if one of a verb's words is the switch of that name: `help` and `version` come before every refusal. */
export function asks(what: 'help' | 'version', words: readonly string[], verb: Verb): boolean {
  return tokensOf(words, flagsOf(verb)).some((token) => token.kind === 'option' && token.name === what);
}

export interface Parsed extends Invocation<Flags> {
  readonly common: CommonValues;
  /** Milliseconds; undefined for a verb that streams. */
  readonly timeout: number | undefined;
  /** Variables of the environment that were passed over, and why. */
  readonly notes: readonly string[];
}

/** Takes a verb's words apart and checks all that can be checked without the machine. */
export function parse(verb: Verb, words: readonly string[], env: Environment): Parsed {
  const flags = flagsOf(verb);
  const names = Object.keys(flags);
  const texts = new Map<string, string[]>();
  const args: string[] = [];
  for (const token of tokensOf(words, flags)) {
    if (token.kind === 'positional') args.push(token.value);
    if (token.kind !== 'option') continue;
    const flag = Object.hasOwn(flags, token.name) ? flags[token.name] : undefined;
    if (flag === undefined) throw unknownFlag(verb, token.rawName, names);
    const name = `--${token.name}`;
    if (flag.value === '') {
      if (token.value !== undefined) throw usageError(`${name} takes no value`, `write just ${name}`);
      texts.set(token.name, ['1']);
      continue;
    }
    if (token.value === undefined || (!token.inlineValue && /^--./.test(token.value))) {
      throw usageError(`${name} needs a value`, `write ${name} ${flag.value}`);
    }
    const before = texts.get(token.name) ?? [];
    if (before.length > 0 && !flag.many) throw usageError(`${name} is given twice`, 'it has one value');
    texts.set(token.name, [...before, token.value]);
  }
  checkArguments(verb, args);
  const given = new Set(texts.keys());
  const values: Record<string, unknown> = {};
  const notes: string[] = [];
  for (const [name, flag] of Object.entries(flags)) {
    const onLine = texts.get(name);
    const variable = variableOf(name);
    const inEnvironment = onLine === undefined && name !== 'help' ? fromEnvironment(variable, env, notes) : undefined;
    if (onLine !== undefined) values[name] = flag.read(onLine, `--${name}`);
    else if (inEnvironment !== undefined) values[name] = flag.read([inEnvironment], variable);
    else values[name] = flag.read([], `--${name}`);
  }
  const invocation = { args, flags: values };
  verb.check?.(invocation, given);
  return { ...invocation, common: values as CommonValues, timeout: values.timeout as number | undefined, notes };
}

/** Reads a flag's value from its variable; an empty one says nothing. */
function fromEnvironment(variable: string, env: Environment, notes: string[]): string | undefined {
  const text = env[variable];
  if (text === undefined || text === '') return undefined;
  // Kubernetes sets these in every pod beside a Service named "overns", and Docker for a link of that name.
  if (variable.endsWith('_PORT') && /^(tcp|udp|sctp):\/\/\S+:\d+$/.test(text)) {
    notes.push(
      `${variable}=${text.slice(0, 80)} is passed over: it is of a Kubernetes Service or a Docker link of that name`,
    );
    return undefined;
  }
  // Node has put U+FFFD in the place of bytes that are no UTF-8.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\ufffd\u0000-\u0008\u000e-\u001f\u007f]/.test(text)) {
    throw usageError(
      `${variable}: ${quoted(text)} is no text in UTF-8, or has control characters in it`,
      `unset ${variable}`,
    );
  }
  return text;
}

function unknownFlag(verb: Verb, raw: string, names: readonly string[]): Error {
  const meant = raw.startsWith('--') ? nearest(raw.slice(2), names) : undefined;
  return usageError(
    `${verb.name} has no flag ${quoted(raw).slice(1, -1)}`,
    meant === undefined ? `\`overns ${verb.name} --help\` shows its flags` : `did you mean --${meant}?`,
  );
}

function checkArguments(verb: Verb, args: readonly string[]): void {
  verb.args.forEach((argument, index) => {
    const text = args[index];
    if (text === undefined && !argument.optional) {
      throw usageError(
        `${verb.name}: ${argument.name} is missing`,
        `\`overns ${verb.name} --help\` shows how it is called`,
      );
    }
    const own = argument.many ? args.slice(index) : text === undefined ? [] : [text];
    for (const each of own) argument.check?.(each, argument.name);
  });
  const last = verb.args.at(-1);
  if (args.length > verb.args.length && !last?.many) {
    const extra = args[verb.args.length] as string;
    throw usageError(
      `${verb.name}: one word too many: ${quoted(extra)}`,
      `\`overns ${verb.name} --help\` shows how it is called`,
    );
  }
}
