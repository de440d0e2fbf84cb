/** The options of programs, checked, and as the addon takes them. */
import { constants } from 'node:os';
import { basename, dirname, isAbsolute } from 'node:path';
import { checkSignal } from '../core/abort.js';
import { invalidArgument, invalidType } from '../core/errors.js';
import { boolean, integer, oneOf, type Shape, type Values } from '../core/options.js';
import type { Native } from '../system/native.js';
import { checkSystem } from '../system/system.js';
import { type NetnsRef, netnsDirectory } from './references.js';

/** Streams of a program that are no descriptors: a pipe, and /dev/null. */
export const PIPE = -1;
export const NULL = -2;
const INT_MAX = 2 ** 31 - 1;

export function signalNumber(signal: unknown, name: string): number {
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

export function toNative(
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

export const spawnOptions = {
  cwd: checkText,
  env: checkEnvironment,
  argv0: checkText,
  stdio: checkStreams,
  timeout: integer(1, INT_MAX),
  killSignal: signalNumber,
  ownMounts: boolean,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

const { stdio: _streams, ...withoutStreams } = spawnOptions;
export const execOptions = {
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
