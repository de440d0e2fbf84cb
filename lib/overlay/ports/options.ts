/** How callers say what is to be attached and detached. */
import type { Cancel } from '../../core/abort.js';
import { checkSignal } from '../../core/abort.js';
import { canonicalIp, checkInterfaceName, unicastMac } from '../../core/address.js';
import { invalidType, OvernsError } from '../../core/errors.js';
import { boolean, type Shape, unchecked } from '../../core/options.js';
import type { Store } from '../../store/contract.js';
import { type ContainerRef, resolveContainer } from '../targets/container.js';
import { parseDockerAddress } from '../targets/docker-address.js';
import type { TargetOptions } from '../targets/target.js';
import { type ContainerRoute, checkAddresses, checkGateways, checkRoutes } from './container-network.js';
import type { PortQuery } from './detach.js';

/**
 * How a container is attached.
 * @example
 * ```ts
 * import type { AttachOptions } from 'overns';

 *
 * const options: AttachOptions = { address: ['192.168.0.2/24', 'fd00::2/64'], ifname: 'eth1' };
 * console.log(options.ifname); // eth1
 * ```
 */
export interface AttachOptions extends Cancel {
  /**
   * The container's addresses, with prefix lengths. Default: the next free one of each family that br0 has a network of, by
   * the agent that serves the overlay or from a `store` that can claim ({@link AddressAllocator}); with `ensure` those that it has.
   */
  readonly address?: string | readonly string[] | undefined;
  /** Default: `02:42:` and the IPv4 address (IPv6 only: and the first 4 bytes of the address's SHA-256). */
  readonly mac?: string | undefined;
  /** Name of the interface in the container. Default `eth0`. */
  readonly ifname?: string | undefined;
  /**
   * The default route's gateway, in a network of `address`: br0's address as a rule. One, or one of each family.
   * Default: no default route.
   */
  readonly gateway?: string | readonly string[] | undefined;
  /** Further routes through the interface. */
  readonly routes?: readonly ContainerRoute[] | undefined;
  /** Fulfil as well when the container is attached already in the same way, and publish it anew. Default false: `EEXIST`. */
  readonly ensure?: boolean | undefined;
  /**
   * Take an address that br0's own speak against: br0's, the address or the broadcast address of br0's network, or one
   * outside it. Default false: `EADDRNOTAVAIL`. One that its own prefix length makes the address of its network, or the
   * broadcast address, is a RangeError all the same.
   */
  readonly anyAddress?: boolean | undefined;
  /**
   * Let frames of other MAC addresses than its own leave the container, for one that runs a bridge, virtual machines or
   * VRRP. Default false: they are dropped, so that it can be taken for no other, and fills nobody's FDB.
   */
  readonly anyMac?: boolean | undefined;
  /**
   * Where the endpoint is published: claimed before anything is made, with a store that has `claim()`, else once it works.
   */
  readonly store?: Store | undefined;
  /** Take its addresses from the host that has them in the store. Default false: `OVERNS_CONFLICT`, where the store can tell. */
  readonly takeover?: boolean | undefined;
  /** Docker's API, as DOCKER_HOST has it. Default: DOCKER_HOST, else `unix:///var/run/docker.sock`. */
  readonly docker?: string | undefined;
}

/**
 * A container that is attached: as it was to {@link Overlay.attach}, by one of its addresses, or by the words that
 * {@link Overlay.endpoints} has for it, which takes no Docker to ask.
 * @example
 * ```ts
 * import type { DetachTarget } from 'overns';
 *
 * const targets: DetachTarget[] = ['docker:demo', { ip: '192.168.0.2' }, { container: 'docker:demo' }];
 * console.log(targets.length); // 3
 * ```
 */
export type DetachTarget = ContainerRef | { readonly ip: string } | { readonly container: string };

export const attachOptions = {
  address: checkAddresses,
  mac: unicastMac,
  ifname: checkInterfaceName,
  gateway: checkGateways,
  routes: checkRoutes,
  ensure: boolean,
  anyAddress: boolean,
  anyMac: boolean,
  store: unchecked<Store>(),
  takeover: boolean,
  docker: dockerOption,
  signal: checkSignal,
} satisfies Shape;

export const detachOptions = { store: unchecked<Store>(), docker: dockerOption, signal: checkSignal } satisfies Shape;

/** Where Docker's API is, as an option of a call. */
export function dockerOption(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  parseDockerAddress(value, name);
  return value;
}

/** The error of a container to be detached that has gone, or has none of its network any more: it still has its address. */
export function hasGone(error: unknown, overlay: string): unknown {
  if (!OvernsError.is(error) || !['ENOENT', 'ESRCH', 'OVERNS_NOT_RUNNING'].includes(error.code)) return error;
  const other = error.code === 'ENOENT' && error.hint !== undefined ? `${error.hint}; ` : '';
  return new OvernsError(error.code, error.message, {
    hint: `${other}the interface of one that has ended is gone with it, and \`detach({ ip })\` of overlay "${overlay}", with the store, takes back what was published of it`,
    cause: error,
  });
}

/** Reads which port is to be detached: by address, by its words, or by where it is; with the words for messages. */
export async function portQuery(
  target: DetachTarget,
  options: TargetOptions,
): Promise<readonly [words: string, query: PortQuery]> {
  if (typeof target === 'object' && target !== null && 'ip' in target) {
    const ip = canonicalIp(target.ip, 'ip');
    return [ip, { ip }];
  }
  if (typeof target === 'object' && target !== null && 'container' in target) {
    const { container } = target;
    if (typeof container !== 'string' || container === '')
      throw invalidType('container', container, 'the words of an attachment');
    return [container, { container }];
  }
  const found = await resolveContainer(target, options);
  return [found.description, { target: found }];
}
