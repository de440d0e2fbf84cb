/** The URLs of stores that are reached through servers: `SCHEME://HOST[:PORT][,HOST...]/PREFIX`. */
import { isIPv4 } from 'node:net';
import { canonicalIp } from '../core/address.js';
import type { StoreAddress } from './driver.js';

/** The longest prefix in bytes. Well under what servers take for a key, records included. */
const PREFIX_MAX = 256;

/** One server of a store. */
export interface StoreHost {
  /** A host name in lower case, or a canonical address without brackets. */
  readonly host: string;
  readonly port: number;
}

interface ServerUrl extends StoreAddress {
  readonly scheme: string;
  readonly hosts: readonly StoreHost[];
}

interface ServerForm {
  /** Default for a host without one. */
  readonly port: number;
  /** A URL as it is to be. */
  readonly example: string;
  /** Advice instead of writing credentials into the URL. */
  readonly credentials: string;
}

type Refuse = (why: string) => Error;

/** Reads the URL of a store that is reached through servers. */
export function parseServerUrl(url: string, refuse: Refuse, form: ServerForm): ServerUrl {
  const colon = url.indexOf(':');
  const scheme = url.slice(0, colon).toLowerCase();
  const shape = /^\/\/([^/?#\\]*)([^?#]*)([?#].*)?$/s.exec(url.slice(colon + 1));
  if (!shape) throw refuse(`a store URL: write ${form.example}`);
  const [, authority = '', path = '', extra] = shape;
  if (authority.includes('@')) {
    throw refuse(`a store URL: leave the credentials out of it and ${form.credentials}`);
  }
  if (extra !== undefined) throw refuse('a store URL: it has neither a query nor a fragment');
  const hosts = authority.split(',').map((host) => parseHost(host, form, refuse));
  const prefix = parsePrefix(path, form, refuse);
  return {
    scheme,
    hosts,
    prefix,
    text: `${scheme}://${hosts.map(formatHost).join(',')}/${escapePrefix(prefix)}`,
  };
}

/** `host:port`, an IPv6 address in brackets. */
export function formatHost({ host, port }: StoreHost): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The prefix as it stands in a URL, placeholders left readable. */
function escapePrefix(prefix: string): string {
  return prefix
    .split('/')
    .map((segment) => encodeURIComponent(segment).replace(/%7B(vni|name)%7D/g, '{$1}'))
    .join('/');
}

function parseHost(authority: string, { port: defaultPort, example }: ServerForm, refuse: Refuse): StoreHost {
  const shape = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/s.exec(authority);
  if (!shape) throw refuse('a store URL: write an IPv6 address in brackets, as in [::1]');
  const [, name = '', digits] = shape;
  if (name === '') throw refuse(`a store URL: name the host, as in ${example}`);
  let port = defaultPort;
  if (digits !== undefined) {
    port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
    if (port < 1 || port > 65_535) throw refuse('a store URL: the port goes from 1 to 65535');
  }
  if (name.startsWith('[')) {
    let host = '';
    try {
      host = canonicalIp(name.slice(1, -1));
    } catch {
      // Said below.
    }
    if (!host.includes(':')) throw refuse('a store URL: there is no IPv6 address in the brackets');
    return { host, port };
  }
  const host = name.toLowerCase();
  const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
  const labels = host.replace(/\.$/, '').split('.');
  // 10.1 and 0x7f000001 are addresses to the resolver, not names: only the full form is taken.
  const numeric = /^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) as string);
  if (host.length > 253 || !labels.every((one) => label.test(one)) || (numeric && !isIPv4(host))) {
    throw refuse('a store URL: that is no host name');
  }
  return { host, port };
}

function parsePrefix(path: string, { example }: ServerForm, refuse: Refuse): string {
  const trimmed = path.replace(/^\//, '').replace(/\/$/, '');
  if (trimmed === '') throw refuse(`a store URL: name the prefix of the records, as in ${example}`);
  let segments: string[];
  try {
    segments = trimmed.split('/').map(decodeURIComponent);
  } catch {
    throw refuse('a store URL: a % in the prefix does not begin an escape');
  }
  for (const segment of segments) {
    if (segment === '' || segment === '.' || segment === '..') {
      throw refuse("a store URL: '', '.' and '..' are no parts of a prefix");
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[/\\\s\u0000-\u001f\u007f-\u009f]/.test(segment)) {
      throw refuse('a store URL: whitespace, slashes and control characters cannot be in a prefix');
    }
    if (/[{}]/.test(segment.replace(/\{(?:vni|name)\}/g, ''))) {
      throw refuse('a store URL: the placeholders are {vni} and {name}');
    }
  }
  const prefix = segments.join('/');
  if (Buffer.byteLength(prefix) > PREFIX_MAX) throw refuse(`a store URL: the prefix has more than ${PREFIX_MAX} bytes`);
  return prefix;
}
