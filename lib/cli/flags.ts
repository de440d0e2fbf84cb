/** Flags as values: what a verb declares is what it is given, typed, checked and documented. */
import { nearest } from '../core/suggest.js';
import { quoted, usageError } from './usage.js';

export interface Flag<T = unknown> {
  /** The name of its value in the help, such as `N`; '' = none, a switch. */
  readonly value: string;
  readonly help: string;
  /** It may be given more than once. */
  readonly many: boolean;
  readonly required: boolean;
  /** @param texts what was given, in order; none = not given. @param name how to call it in errors. */
  read(texts: readonly string[], name: string): T;
}

export type Flags = Readonly<Record<string, Flag>>;
export type Values<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

/** Checks one text and turns it into a value. Throws what names the flag: the library's RangeErrors do. */
type Read<T> = (text: string, name: string) => T;

/** A switch: there or not. */
export function toggle(help: string): Flag<boolean> {
  return {
    value: '',
    help,
    many: false,
    required: false,
    read: ([text], name) => text !== undefined && readBoolean(text, name),
  };
}

/** The switch of a verb that prints lines as things happen. */
export const timeFlag = toggle('begin each with its time');

/** Switches have values in the environment only. */
function readBoolean(text: string, name: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off)$/i.test(text)) return false;
  throw usageError(`${name}: ${quoted(text)} is neither 1 nor 0`);
}

/** A flag with a value that need not be given. */
export function option<T>(value: string, help: string, read: Read<T>): Flag<T | undefined> {
  return {
    value,
    help,
    many: false,
    required: false,
    read: ([text], name) => (text === undefined ? undefined : read(text, name)),
  };
}

/** A flag with a value that has a default. */
export function optionOr<T>(value: string, help: string, read: Read<T>, fallback: T): Flag<T> {
  return {
    value,
    help,
    many: false,
    required: false,
    read: ([text], name) => (text === undefined ? fallback : read(text, name)),
  };
}

/** A flag that must be given. */
export function needed<T>(value: string, help: string, read: Read<T>): Flag<T> {
  return {
    value,
    help,
    many: false,
    required: true,
    read: ([text], name) => {
      if (text === undefined) throw usageError(`${name} ${value} is missing`);
      return read(text, name);
    },
  };
}

/** A flag that may be given several times; one text may also hold several values, with commas between them. */
export function list<T>(value: string, help: string, read: Read<T>): Flag<readonly T[]> {
  return {
    value,
    help,
    many: true,
    required: false,
    read: (texts, name) => texts.flatMap((text) => text.split(',')).map((text) => read(text.trim(), name)),
  };
}

/** A flag that may be given several times, one value each; in its environment variable they have semicolons between them. */
export function many<T>(value: string, help: string, read: Read<T>): Flag<readonly T[]> {
  return {
    value,
    help,
    many: true,
    required: false,
    read: (texts, name) => texts.flatMap((text) => text.split(';')).map((text) => read(text.trim(), name)),
  };
}

/** A whole number; the check that the library shares says which are allowed. */
export function whole(check: (value: number, name: string) => number): Read<number> {
  return (text, name) => check(/^-?\d{1,15}$/.test(text) ? Number(text) : notANumber(text, name), name);
}

function notANumber(text: string, name: string): never {
  throw usageError(`${name}: ${quoted(text)} is not a whole number`);
}

/** One of a few words. */
export function oneOf<T extends string>(...words: readonly T[]): Read<T> {
  return (text, name) => {
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    const meant = nearest(text, words);
    throw usageError(
      `${name}: ${quoted(text)} is not one of ${words.join(', ')}`,
      meant === undefined ? undefined : `did you mean ${meant}?`,
    );
  };
}

/** Seconds, fractions allowed; given in milliseconds. */
export function seconds(text: string, name: string): number {
  const value = /^\d{1,6}(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value > 0 && value <= 86_400)) throw usageError(`${name}: ${quoted(text)} is not a time: seconds, up to 86400`);
  return Math.max(1, Math.round(value * 1000));
}
