/**
 * A host's endpoints are kept in the alias (IFLA_IFALIAS, 255 bytes) of each container's veth, as
 * `overns MAC IP/LEN[,IP/LEN...] [IFNAME] [CONTAINER]`. The kernel forgets it with the veth, so there is no state to go
 * stale. The addon reads the same text (native/resolver/overlay_port.cc).
 */
import { canonicalIp } from '../../core/address.js';
import { OvernsError } from '../../core/errors.js';

const ALIAS_MAX = 255;

export interface EndpointAlias {
  readonly mac: string;
  /** With prefix lengths. */
  readonly addresses: readonly string[];
  /** Name of the interface in the container; '' = not recorded. */
  readonly ifname: string;
  /** The container in the words of its kind, such as `docker:demo` or a path; '' = not recorded. */
  readonly container: string;
}

/**
 * Writes an alias. A container whose name does not fit is left out: cut short it could be another's.
 * @throws OvernsError `E2BIG`
 */
export function formatAlias({ mac, addresses, ifname, container, required = false }: AliasText): string {
  const alias = ['overns', mac, addresses.join(','), ifname].filter((word) => word !== '').join(' ');
  const named = `${alias} ${container}`;
  const fits = Buffer.byteLength(named) <= ALIAS_MAX;
  if (Buffer.byteLength(alias) > ALIAS_MAX || (required && !fits)) {
    throw new OvernsError(
      'E2BIG',
      `${addresses.length} addresses do not fit into the alias of a veth (${ALIAS_MAX} bytes)`,
      { hint: 'attach with fewer addresses' },
    );
  }
  return fits ? named : alias;
}

interface AliasText extends EndpointAlias {
  /** Refuses a container whose name does not fit. Default: it is left out. */
  readonly required?: boolean | undefined;
}

/** Reads an alias; undefined for one of somebody else. */
export function parseAlias(alias: string | undefined): EndpointAlias | undefined {
  // A container's words have a colon or a slash in them, which no interface's name has.
  const match =
    /^overns ((?:[0-9a-f]{2}:){5}[0-9a-f]{2}) ([0-9a-f.:/,]+)(?: ([^\s:/%]{1,15})(?![^ ]))?(?: (.*))?$/s.exec(
      alias ?? '',
    );
  if (!match) return undefined;
  const [, mac = '', list = '', ifname = '', container = ''] = match;
  const addresses = list.split(',');
  return addresses.every(isAddress) ? { mac, addresses, ifname, container } : undefined;
}

function isAddress(text: string): boolean {
  const [ip, length, ...more] = text.split('/');
  if (length === undefined || more.length > 0 || !/^\d{1,3}$/.test(length)) return false;
  try {
    return canonicalIp(ip) === ip;
  } catch {
    return false;
  }
}
