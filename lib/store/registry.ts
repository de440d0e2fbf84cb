/** The kinds of store that there are, by the scheme of their URLs. */
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { consul } from './consul/driver.js';
import type { StoreAddress, StoreDriver } from './driver.js';
import { etcd } from './etcd/driver.js';
import { memory } from './memory/driver.js';

/** Those built in, in the order in which help texts show them. */
const drivers: StoreDriver[] = [memory, consul, etcd] as StoreDriver[];

const METHODS = ['parse', 'open'] as const;
const TEXTS = ['title', 'form', 'example'] as const;

/**
 * Adds a kind of store: openStore() takes its URLs from then on. The CLI does so with the modules in the files of
 * `OVERNS_DRIVERS` (several with semicolons between them), each of which has a driver as its default export.
 * @returns what takes it away again; stores that are open stay
 * @throws TypeError for what is no driver; RangeError for a scheme that is none; OvernsError `EEXIST` where another driver has one of its schemes
 * @example
 * ```ts
 * import { registerStore, type StoreDriver } from 'overns';
 *
 * const driver: StoreDriver = {
 *   title: 'a table',
 *   schemes: ['table'],
 *   form: 'table:NAME',
 *   example: 'table:demo',
 *   parse: (url) => ({ text: url, prefix: url.slice('table:'.length) }),
 *   open: () => Promise.reject(new Error('not yet')),
 * };
 * const registration = registerStore(driver);
 * registration[Symbol.dispose]();
 * ```
 */
export function registerStore<A extends StoreAddress>(driver: StoreDriver<A>): Disposable {
  const added = checkDriver(driver);
  if (drivers.includes(added)) throw taken(added.schemes[0] as string, added);
  for (const scheme of added.schemes) {
    const other = driverOf(scheme);
    if (other !== undefined) throw taken(scheme, other);
  }
  drivers.push(added);
  return {
    [Symbol.dispose]: () => {
      const at = drivers.indexOf(added);
      if (at >= 0) drivers.splice(at, 1);
    },
  };
}

function taken(scheme: string, { title }: StoreDriver): OvernsError {
  return new OvernsError('EEXIST', `the scheme ${scheme}: has a driver already (${title})`, {
    hint: 'register each driver once, and give yours a scheme of its own',
  });
}

function checkDriver(driver: unknown): StoreDriver {
  if (driver === null || typeof driver !== 'object') throw invalidType('driver', driver, 'a driver, an object');
  const given = driver as Record<string, unknown>;
  for (const name of METHODS)
    if (typeof given[name] !== 'function') throw invalidType(`driver.${name}`, given[name], 'a function');
  for (const name of TEXTS)
    if (typeof given[name] !== 'string') throw invalidType(`driver.${name}`, given[name], 'a string');
  const { schemes } = given;
  if (!Array.isArray(schemes) || schemes.length === 0)
    throw invalidType('driver.schemes', schemes, 'an array of schemes');
  for (const scheme of schemes) {
    // RFC 3986 section 3.1.
    if (typeof scheme !== 'string' || !/^[a-z][a-z0-9+.-]*$/.test(scheme))
      throw invalidArgument('driver.schemes', scheme, 'schemes in lower case, without the colon');
  }
  return driver as StoreDriver;
}

export function driverOf(scheme: string): StoreDriver | undefined {
  return drivers.find(({ schemes }) => schemes.includes(scheme));
}

/** All of them. */
export function storeDrivers(): readonly StoreDriver[] {
  return drivers;
}

/** How URLs of stores that outlive a process are written. */
export function storeForms(): string {
  return drivers
    .filter(({ inProcess }) => inProcess !== true)
    .map(({ form }) => form)
    .join(' or ');
}

/** A URL of such a store. */
export function storeExample(): string {
  return drivers.find(({ inProcess }) => inProcess !== true)?.example ?? '';
}

/** The URL of the store inside this process. */
export function inProcessUrl(): string {
  return drivers.find(({ inProcess }) => inProcess === true)?.example ?? '';
}
