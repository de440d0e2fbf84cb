/**
 * Where a host's endpoints are kept: in the alias (IFLA_IFALIAS, 255 bytes) of each container's veth, as
 * `overns MAC IP/LEN[,IP/LEN...] [CONTAINER]`. The kernel forgets it with the veth, so there is no state to go stale.
 * The addon reads the same text (native/resolver/overlay_port.cc).
 */
import { OvernsError } from './errors.js';

const ALIAS_MAX = 255;

export interface EndpointAlias {
  readonly mac: string;
  /** With prefix lengths. */
  readonly addresses: readonly string[];
  /** The container as the caller named it. */
  readonly container: string;
}

export function formatAlias({ mac, addresses, container }: EndpointAlias): string {
  const alias = `overns ${mac} ${addresses.join(',')}`;
  if (alias.length > ALIAS_MAX) {
    throw new OvernsError(
      'E2BIG',
      `${addresses.length} addresses do not fit into the alias of a veth (${ALIAS_MAX} bytes)`,
      {
        hint: 'attach with fewer addresses',
      },
    );
  }
  const named = `${alias} ${container}`;
  return Buffer.byteLength(named) <= ALIAS_MAX ? named : alias;
}

/** Undefined for an alias of somebody else. */
export function parseAlias(alias: string | undefined): EndpointAlias | undefined {
  const match = /^overns ([0-9a-f:]{17}) (\S+)(?: (.*))?$/s.exec(alias ?? '');
  if (!match) return undefined;
  return { mac: match[1] as string, addresses: (match[2] as string).split(','), container: match[3] ?? '' };
}
