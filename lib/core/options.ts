/**
 * The options of a call: what their names are and what each may be, described once and checked at the call. A name that
 * there is not is refused, since a misspelt option would otherwise be taken in silence.
 *
 * Values are read once, as a property of an object is: those that a class or a prototype gives count. `undefined` means
 * not given, for a name that there is not too. Properties keyed by symbols are nobody's misspelling and ignored.
 */
import { checkSignal } from './abort.js';
import { invalidArgument, invalidType } from './errors.js';
import { nearest } from './suggest.js';

/** Gives a value back as it is to be used. Throws invalidType or invalidArgument, which name it. */
export type Check<T> = (value: unknown, name: string) => T;

/** By name: what each option may be; in an array of one, an option that must be given. */
export type Shape = Readonly<Record<string, Check<unknown> | readonly [Check<unknown>]>>;

/** Values as a shape's checks give them. */
export type Values<S extends Shape> = {
  readonly [K in keyof S]: S[K] extends readonly [Check<infer T>]
    ? T
    : S[K] extends Check<infer T>
      ? T | undefined
      : never;
};

/**
 * The options of a call, checked. Left out altogether they are as if empty.
 * @throws TypeError for what is no object or of the wrong type; RangeError for a name that there is not, or a value that
 *   is not possible
 */
export function checkOptions<const S extends Shape>(given: unknown, shape: S, argument = 'options'): Values<S> {
  const options = given === undefined && !Object.values(shape).some(Array.isArray) ? {} : checkObject(given, argument);
  checkNames(options, Object.keys(shape));
  const values: Record<string, unknown> = {};
  for (const [name, check] of Object.entries(shape)) {
    const value = options[name];
    if (typeof check !== 'function') values[name] = check[0](value, name);
    else if (value !== undefined) values[name] = check(value, name);
  }
  return values as Values<S>;
}

/**
 * Refuses names of properties that mean nothing.
 * @param what what the properties are of: `option`, or a field
 */
export function checkNames(given: object, known: readonly string[], what = 'option'): void {
  for (const name of foreignNames(given, known)) {
    const meant = nearest(name, known);
    throw unknownName(what, name, meant === undefined ? `there are ${known.join(', ')}` : `did you mean ${meant}?`);
  }
}

/** The error for a name that means nothing. */
export function unknownName(what: string, name: string, remedy: string): RangeError {
  return Object.assign(new RangeError(`unknown ${what} ${JSON.stringify(name.slice(0, 80))}: ${remedy}`), {
    code: 'ERR_INVALID_ARG_VALUE',
  });
}

/** An object that holds values by name: no array, no function. */
export function checkObject(value: unknown, argument: string): Readonly<Record<string, unknown>> {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw invalidType(argument, value, 'an object');
  return value as Readonly<Record<string, unknown>>;
}

/**
 * Names of properties that are not known, also those that come from a prototype: but not methods, which an
 * AbortController given for its signal has, nor what somebody has added to all objects there are.
 */
export function* foreignNames(given: object, known: Pick<readonly string[], 'includes'>): Iterable<string> {
  for (let at: object | null = given; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (at !== given && Object.hasOwn(at, 'hasOwnProperty')) return;
    for (const name of Object.keys(at)) {
      if (known.includes(name)) continue;
      const value = (given as Record<string, unknown>)[name];
      if (value !== undefined && (at === given || typeof value !== 'function')) yield name;
    }
  }
}

/** The options of a call that takes a signal only. */
export const cancelOptions = { signal: checkSignal } satisfies Shape;

/** The signal of a call that takes no other option. */
export function signalOf(options: unknown): AbortSignal | undefined {
  return checkOptions(options, cancelOptions).signal;
}

/** True or false. */
export const boolean: Check<boolean> = (value, name) => {
  if (typeof value !== 'boolean') throw invalidType(name, value, 'a boolean');
  return value;
};

/** A whole number. */
export function integer(min: number, max: number): Check<number> {
  return (value, name) => {
    if (typeof value !== 'number') throw invalidType(name, value, 'a number');
    if (!Number.isInteger(value) || value < min || value > max)
      throw invalidArgument(name, value, `an integer from ${min} to ${max}`);
    return value;
  };
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): Check<T> {
  return (value, name) => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw invalidArgument(name, value, words.map((word) => `'${word}'`).join(' or '));
    return found;
  };
}

/** A value that is checked where it is used. */
export function unchecked<T>(): Check<T> {
  return (value) => value as T;
}
