/** The environment variables of etcd's own command, etcdctl: what is not given as an option comes from there. */
import { OvernsError } from '../../core/errors.js';
import { readTls, refuseTlsOptions, type TlsOptions, type TlsVariables, variable } from '../credentials.js';

type Token = string | undefined;

/** How requests prove who makes them. */
export interface Credentials {
  /** Asked before every request, where a token was given. */
  readonly token?: (() => Token | Promise<Token>) | undefined;
  /** Credentials to fetch a token with, where none was given. */
  readonly user?: { readonly name: string; readonly password: string } | undefined;
}

/** The option, else ETCDCTL_USER (`NAME:PASSWORD`, or the name alone) and ETCDCTL_PASSWORD. */
export function credentials(option: string | (() => string | Promise<string>) | undefined): Credentials {
  if (option !== undefined) return { token: typeof option === 'function' ? option : () => option };
  const user = variable('ETCDCTL_USER');
  const password = variable('ETCDCTL_PASSWORD');
  if (user === undefined) return {};
  // With ETCDCTL_PASSWORD the whole of ETCDCTL_USER is the name, as etcdctl reads it.
  if (password !== undefined) return { user: { name: user, password } };
  const colon = user.indexOf(':');
  if (colon < 0) {
    throw new OvernsError('OVERNS_STORE', 'ETCDCTL_USER has no password', {
      hint: 'set ETCDCTL_PASSWORD, or ETCDCTL_USER to NAME:PASSWORD',
    });
  }
  return { user: { name: user.slice(0, colon), password: user.slice(colon + 1) } };
}

export const TLS_VARIABLES = {
  ca: 'ETCDCTL_CACERT',
  cert: 'ETCDCTL_CERT',
  key: 'ETCDCTL_KEY',
} satisfies TlsVariables;

export function refuseTls(options: TlsOptions): TlsOptions {
  refuseTlsOptions(options, 'etcd+https');
  return {};
}

export async function readEtcdTls(options: TlsOptions, signal: AbortSignal | undefined): Promise<TlsOptions> {
  const skip = variable('ETCDCTL_INSECURE_SKIP_TLS_VERIFY');
  if (skip !== undefined && /^(1|t|true)$/i.test(skip)) {
    throw new OvernsError(
      'OVERNS_STORE',
      `ETCDCTL_INSECURE_SKIP_TLS_VERIFY is ${skip}, but certificates are always verified`,
      { hint: 'unset it, and set ETCDCTL_CACERT to the authority that signed the certificate of the server' },
    );
  }
  return readTls(options, TLS_VARIABLES, signal);
}
