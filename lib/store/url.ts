/**
 * Store URLs: `memory:`, `consul://HOST[:8500]/PREFIX`, `consul+https://...`, `etcd://HOST[:2379][,HOST...]/PREFIX`,
 * `etcd+https://...`. `{vni}` and `{name}` in PREFIX stand for those of the overlay in question, so that one URL
 * serves many networks without mixing them.
 */
import { isIPv4 } from 'node:net';
import { canonicalIp, checkOverlayName, checkVni } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import type { Where } from './contract.js';

/** One server of a store. */
export interface StoreHost {
  /** A host name in lower case, or a canonical address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** A parsed store URL. */
export interface StoreUrl {
  readonly kind: 'memory' | 'consul';
  readonly tls: boolean;
  /** None for `memory:`. */
  readonly hosts: readonly StoreHost[];
  /** Where the records are, without slashes at its ends; placeholders not replaced yet. Empty for `memory:`. */
  readonly prefix: string;
  /** True when the prefix has placeholders: it takes an overlay to say where a record is. */
  readonly templated: boolean;
  /** The URL in one spelling, without anything secret. */
  readonly text: string;
}

const EXAMPLE = 'consul://127.0.0.1:8500/demo';
const NETWORKED = { consul: 8500, etcd: 2379 } as const;
/** The longest prefix in bytes. Well under what either store takes for a key, records included. */
const PREFIX_MAX = 256;

/**
 * Parses a store URL.
 *
 * @throws RangeError `ERR_INVALID_ARG_VALUE` if it is none; credentials in it are not repeated in the message.
 * @throws OvernsError `OVERNS_STORE_UNSUPPORTED` for a kind of store that is recognised but not supported yet.
 */
export function parseStoreUrl(url: unknown, name = 'store'): StoreUrl {
  if (typeof url !== 'string') throw invalidType(name, url, `a store URL such as ${EXAMPLE}`);
  const bad = (why: string) => invalidArgument(name, redacted(url), why);

  const colon = url.indexOf(':');
  const scheme = url.slice(0, Math.max(colon, 0)).toLowerCase();
  const rest = url.slice(colon + 1);
  if (scheme === 'memory') {
    if (rest !== '') throw bad("the in-process store's URL: write memory:");
    return { kind: 'memory', tls: false, hosts: [], prefix: '', templated: false, text: 'memory:' };
  }
  const tls = scheme.endsWith('+https');
  const kind = tls ? scheme.slice(0, -'+https'.length) : scheme;
  if (kind !== 'consul' && kind !== 'etcd') throw bad(`a store URL: write memory: or ${EXAMPLE}`);
  const shape = /^\/\/([^/?#\\]*)([^?#]*)([?#].*)?$/s.exec(rest);
  if (!shape) throw bad(`a store URL: write ${EXAMPLE}`);
  const [, authority = '', path = '', extra] = shape;
  if (authority.includes('@')) {
    throw bad(
      kind === 'consul'
        ? 'a store URL: leave the credentials out of it and set CONSUL_HTTP_TOKEN'
        : 'a store URL: leave the credentials out of it and set ETCDCTL_USER',
    );
  }
  if (extra !== undefined) throw bad('a store URL: it has neither a query nor a fragment');
  if (kind === 'etcd') {
    throw new OvernsError('OVERNS_STORE_UNSUPPORTED', `${name}: etcd is not supported yet`, {
      hint: `use Consul, as in ${EXAMPLE}`,
    });
  }
  const hosts = [parseHost(authority, NETWORKED[kind], bad)];
  const prefix = parsePrefix(path, bad);
  const at = hosts.map(formatHost).join(',');
  return {
    kind,
    tls,
    hosts,
    prefix,
    templated: prefix.includes('{'),
    text: `${scheme}://${at}/${escapePrefix(prefix)}`,
  };
}

/** `host:port`, an IPv6 address in brackets. */
export function formatHost({ host, port }: StoreHost): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The prefix of one overlay: placeholders replaced. Where there are none, every overlay has the same. */
export function prefixFor(url: StoreUrl, where: Where): string {
  if (!url.templated) return url.prefix;
  const vni = checkVni(where.vni, 'vni');
  const name = url.prefix.includes('{name}') ? checkOverlayName(where.overlay, 'overlay') : '';
  // It would be a placeholder itself wherever the result is written as a URL again.
  if (/[{}]/.test(name)) throw invalidArgument('overlay', name, 'a name without braces, which {name} needs');
  // A function as replacement: a string's `$&` would be a pattern.
  return url.prefix.replace(/\{(vni|name)\}/g, (_, which) => (which === 'vni' ? String(vni) : name));
}

/** The URL of one overlay's records, in its one spelling: placeholders replaced. */
export function expandStoreUrl(url: string, overlay: { readonly name: string; readonly vni: number }): string {
  const parsed = parseStoreUrl(url);
  if (!parsed.templated) return parsed.text;
  const start = parsed.text.length - escapePrefix(parsed.prefix).length;
  return parsed.text.slice(0, start) + escapePrefix(prefixFor(parsed, { overlay: overlay.name, vni: overlay.vni }));
}

/** The prefix as it stands in a URL, placeholders left readable. */
function escapePrefix(prefix: string): string {
  return prefix
    .split('/')
    .map((segment) => encodeURIComponent(segment).replace(/%7B(vni|name)%7D/g, '{$1}'))
    .join('/');
}

/** The URL without what may be a secret, for error messages. */
function redacted(url: string): string {
  const at = url.lastIndexOf('@');
  const slashes = url.indexOf('//');
  return at > slashes && slashes >= 0 ? `${url.slice(0, slashes)}//***${url.slice(at)}` : url;
}

function parseHost(authority: string, defaultPort: number, bad: (why: string) => Error): StoreHost {
  if (authority.includes(',')) throw bad('a store URL: Consul is reached through one host, best the local agent');
  const shape = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/s.exec(authority);
  if (!shape) throw bad('a store URL: write an IPv6 address in brackets, as in consul://[::1]:8500/demo');
  const [, name = '', digits] = shape;
  if (name === '') throw bad(`a store URL: name the host, as in ${EXAMPLE}`);
  let port = defaultPort;
  if (digits !== undefined) {
    port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
    if (port < 1 || port > 65_535) throw bad('a store URL: the port goes from 1 to 65535');
  }
  if (name.startsWith('[')) {
    let host = '';
    try {
      host = canonicalIp(name.slice(1, -1));
    } catch {
      // Said below.
    }
    if (!host.includes(':')) throw bad('a store URL: there is no IPv6 address in the brackets');
    return { host, port };
  }
  const host = name.toLowerCase();
  const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
  const labels = host.replace(/\.$/, '').split('.');
  // 10.1 and 0x7f000001 are addresses to the resolver, not names: only the full form is taken.
  const numeric = /^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) as string);
  if (host.length > 253 || !labels.every((one) => label.test(one)) || (numeric && !isIPv4(host))) {
    throw bad('a store URL: that is no host name');
  }
  return { host, port };
}

function parsePrefix(path: string, bad: (why: string) => Error): string {
  const trimmed = path.replace(/^\//, '').replace(/\/$/, '');
  if (trimmed === '') throw bad(`a store URL: name the prefix of the records, as in ${EXAMPLE}`);
  let segments: string[];
  try {
    segments = trimmed.split('/').map(decodeURIComponent);
  } catch {
    throw bad('a store URL: a % in the prefix does not begin an escape');
  }
  for (const segment of segments) {
    if (segment === '' || segment === '.' || segment === '..') {
      throw bad("a store URL: '', '.' and '..' are no parts of a prefix");
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[/\\\s\u0000-\u001f\u007f-\u009f]/.test(segment)) {
      throw bad('a store URL: whitespace, slashes and control characters cannot be in a prefix');
    }
    if (/[{}]/.test(segment.replace(/\{(?:vni|name)\}/g, ''))) {
      throw bad('a store URL: the placeholders are {vni} and {name}');
    }
  }
  const prefix = segments.join('/');
  if (Buffer.byteLength(prefix) > PREFIX_MAX) throw bad(`a store URL: the prefix has more than ${PREFIX_MAX} bytes`);
  return prefix;
}
