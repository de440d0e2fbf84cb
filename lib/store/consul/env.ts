/**
 * Consul's own environment variables, as its command and its Go client read them (api/api.go): what is not given as an
 * option comes from there.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { raceAbort } from '../../core/abort.js';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import { readTls, refuseTlsOptions, type TlsOptions, type TlsVariables, unreadable, variable } from '../credentials.js';

type Token = string | undefined;

/** How long a token that was read is used before its file is looked at again, milliseconds. */
const TOKEN_MS = 1000;

/**
 * The token for each request: the option, else what is in the file of CONSUL_HTTP_TOKEN_FILE now, else
 * CONSUL_HTTP_TOKEN. A file that is empty gives none.
 */
export function tokenSource(
  option: string | (() => string | Promise<string>) | undefined,
): () => Token | Promise<Token> {
  if (typeof option === 'function') return option;
  const file = variable('CONSUL_HTTP_TOKEN_FILE');
  const token = option ?? variable('CONSUL_HTTP_TOKEN');
  if (option !== undefined || file === undefined) return () => token;
  const path = resolve(file);
  let read: Promise<Token> | undefined;
  let until = 0;
  return () => {
    const now = performance.now();
    if (read === undefined || now >= until) {
      until = now + TOKEN_MS;
      read = readToken(path).then((text) => text || token);
      read.catch(() => {
        read = undefined; // not kept: it may be put there now
      });
    }
    return read;
  };
}

async function readToken(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    throw new OvernsError('OVERNS_STORE', `the token cannot be read: ${(cause as Error).message}`, {
      hint: 'CONSUL_HTTP_TOKEN_FILE names a file with the secret of a token: make it readable, or unset it',
      cause,
    });
  }
}

/** Headers and parameters that go with every request. */
export function headers(): Record<string, string> {
  const auth = variable('CONSUL_HTTP_AUTH');
  const namespace = variable('CONSUL_NAMESPACE');
  const partition = variable('CONSUL_PARTITION');
  for (const [name, value] of [
    ['CONSUL_NAMESPACE', namespace],
    ['CONSUL_PARTITION', partition],
  ] as const) {
    if (value !== undefined && !/^[\x21-\x7e]+$/.test(value)) throw invalidArgument(name, value, 'a name');
  }
  return {
    ...(auth !== undefined && {
      authorization: `Basic ${Buffer.from(auth.includes(':') ? auth : `${auth}:`).toString('base64')}`,
    }),
    // A Consul without them (Community Edition) refuses the request in words.
    ...(namespace !== undefined && { 'x-consul-namespace': namespace }),
    ...(partition !== undefined && { 'x-consul-partition': partition }),
  };
}

export const TLS_VARIABLES = {
  ca: 'CONSUL_CACERT',
  cert: 'CONSUL_CLIENT_CERT',
  key: 'CONSUL_CLIENT_KEY',
} satisfies TlsVariables;

/**
 * Environment variables may be set for other uses, but an option that has no effect is a mistake, and so is a token sent in
 * the clear by who has asked for TLS.
 */
export function refuseTls(options: TlsOptions): TlsOptions {
  refuseTlsOptions(options, 'consul+https');
  const ssl = variable('CONSUL_HTTP_SSL');
  if (ssl !== undefined && /^(1|t|true)$/i.test(ssl)) {
    throw new OvernsError('OVERNS_STORE', `CONSUL_HTTP_SSL is ${ssl}, and the store URL begins with consul://`, {
      hint: 'write consul+https://, or unset CONSUL_HTTP_SSL',
    });
  }
  return {};
}

export async function readConsulTls(options: TlsOptions, signal: AbortSignal | undefined): Promise<TlsOptions> {
  const verify = variable('CONSUL_HTTP_SSL_VERIFY');
  if (verify !== undefined && /^(0|f|false)$/i.test(verify)) {
    throw new OvernsError('OVERNS_STORE', `CONSUL_HTTP_SSL_VERIFY is ${verify}, but certificates are always verified`, {
      hint: 'unset it, and set CONSUL_CACERT to the authority that signed the certificate of the server',
    });
  }
  const { ca, cert, key } = await readTls(options, TLS_VARIABLES, signal);
  const directory = ca === undefined ? variable('CONSUL_CAPATH') : undefined;
  const authorities = directory === undefined ? ca : await raceAbort(readAuthorities(directory), signal);
  return { ca: authorities, cert, key, serverName: variable('CONSUL_TLS_SERVER_NAME') };
}

/** All PEM files of a directory. */
async function readAuthorities(directory: string): Promise<string> {
  try {
    const files = (await readdir(directory, { withFileTypes: true })).filter((entry) => !entry.isDirectory());
    const texts = await Promise.all(files.map(({ name }) => readFile(join(directory, name), 'utf8')));
    const all = texts.filter((text) => text.includes('-----BEGIN ')).join('\n');
    if (all === '') throw new Error(`no certificates in ${directory}`);
    return all;
  } catch (cause) {
    throw unreadable('ca', 'CONSUL_CAPATH: a directory with PEM files', cause);
  }
}
