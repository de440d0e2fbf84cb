/** Credentials of a client for the servers of a store: tokens, certificates and keys, from options and from environment variables. */
import { readFile } from 'node:fs/promises';
import { raceAbort, throwIfAborted } from '../core/abort.js';
import { invalidArgument, OvernsError } from '../core/errors.js';

/** TLS material, PEM. */
export interface TlsOptions {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name that the server's certificate is to have; default the URL's. */
  readonly serverName?: string | undefined;
}

const TLS_NAMES = ['ca', 'cert', 'key'] as const;

/** The environment variables that name PEM files. */
export type TlsVariables = { readonly [K in (typeof TLS_NAMES)[number]]: string };

/** A variable's value; an empty one counts as not set. */
export function variable(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** Refuses options that have no effect without TLS; environment variables may be set for other uses. */
export function refuseTlsOptions(options: TlsOptions, scheme: string): void {
  for (const name of TLS_NAMES) {
    if (options[name] !== undefined)
      throw invalidArgument(name, 'given', `for a store without TLS: write ${scheme}://`);
  }
}

/** Reads what was given, as PEM text or as the path of a file, by options or else by variables. */
export async function readTls(
  options: TlsOptions,
  variables: TlsVariables,
  signal: AbortSignal | undefined,
): Promise<TlsOptions> {
  const read = async (name: (typeof TLS_NAMES)[number]) => {
    const given = options[name] === undefined ? variable(variables[name]) : options[name];
    if (given === undefined || given === '') return undefined;
    if (given.includes('-----BEGIN ')) return given;
    try {
      return await raceAbort(readFile(given, 'utf8'), signal);
    } catch (cause) {
      throwIfAborted(signal);
      throw unreadable(name, `the option ${name} or ${variables[name]}: PEM text, or the path of a PEM file`, cause);
    }
  };
  const [ca, cert, key] = await Promise.all(TLS_NAMES.map(read));
  if ((cert === undefined) !== (key === undefined)) {
    throw new OvernsError(
      'OVERNS_STORE',
      cert === undefined ? 'a key without its certificate' : 'a certificate without its key',
      { hint: `set both ${variables.cert} and ${variables.key}, or neither` },
    );
  }
  return { ca, cert, key };
}

/** The error for a file that cannot be read. */
export function unreadable(name: string, what: string, cause: unknown): OvernsError {
  return new OvernsError('OVERNS_STORE', `${name}: ${(cause as Error).message}`, { hint: `check ${what}`, cause });
}

/** A token that a header can carry; undefined where there is none. It is never shown. */
export function checkToken(token: unknown, at: string, hint: string): string | undefined {
  if (token === undefined || token === '') return undefined;
  if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new OvernsError('OVERNS_STORE', `${at}: the token is no text that a header can carry`, { hint });
}
