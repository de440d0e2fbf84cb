/** ICMP echo from inside a namespace: what ping(8) does, for where there is no ping(8). */
import { canonicalIp } from '../core/address.js';
import { kernel } from '../system/kernel-error.js';
import type { NativeEcho } from '../system/native.js';
import { machine, type OnSystem } from '../system/system.js';
import type { NetnsRef } from './references.js';
import { netnsPath } from './references.js';

export type Echo = NativeEcho;

export interface PingOptions extends OnSystem {
  /** Requests, 1 to 1000. Default 1. */
  readonly count?: number | undefined;
  /** From one request to the next, 0 to 60000. Default 1000. */
  readonly intervalMs?: number | undefined;
  /** How long a reply may take, 1 to 60000; what comes later counts as lost. Default 1000. */
  readonly timeoutMs?: number | undefined;
  /** Payload bytes, 0 to 65507; the IPv4 datagram is 28 more, the IPv6 one 48. Default 56. */
  readonly size?: number | undefined;
  /** A datagram too long for a link is refused with `EMSGSIZE`. Default false: it goes in fragments. */
  readonly dontFragment?: boolean | undefined;
}

/**
 * Sends echo requests; one entry for each, in order. Needs CAP_NET_RAW, and a thread of libuv's pool while it waits.
 * @param netns undefined = the caller's own namespace
 * @throws NetlinkError when a request cannot even leave: `ENETUNREACH`, `EMSGSIZE`, `EPERM`, ...; an ICMP error from the
 *   way is a loss
 */
export async function ping(
  netns: NetnsRef | undefined,
  ip: string,
  { system = machine, ...options }: PingOptions = {},
): Promise<readonly Echo[]> {
  const target = canonicalIp(ip);
  const path = netns === undefined ? '' : await netnsPath(system, netns);
  return kernel(
    { what: `ping ${target}`, ...(path === '' ? {} : { netns: path }) },
    system.native.ping(path, target, options),
  );
}
