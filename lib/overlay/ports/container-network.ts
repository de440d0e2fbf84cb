/** The network that a container is given: its addresses, and the routes that lead out of it. */
import { isIP } from 'node:net';
import {
  type Cidr,
  canonicalIp,
  formatCidr,
  interfaceAddress,
  ipBytes,
  ipFamily,
  isLinkLocal6,
  networkOf,
  sameNetwork,
  unicastIp,
} from '../../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../../core/errors.js';
import { checkNames, checkObject } from '../../core/options.js';
import type { Rtnl } from '../../rtnl/rtnl.js';
import type { Route } from '../../rtnl/types.js';
import type { AddressPool } from '../../store/address-pool.js';

/**
 * A route that a container is given.
 * @example
 * ```ts
 * import type { ContainerRoute } from 'overns';
 *
 * const route: ContainerRoute = { dst: '10.8.0.0/16', via: '192.168.0.254' };
 * console.log(route.dst); // 10.8.0.0/16
 * ```
 */
export interface ContainerRoute {
  /** A network with its prefix length, or `default`. */
  readonly dst: string;
  /** Which gateway leads there, in a network of the container's addresses. Default: `gateway`, else none: it is on the link. */
  readonly via?: string | undefined;
}

/** Addresses of an interface: one text or several, none twice. */
export function checkAddresses(value: unknown, name: string): readonly Cidr[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const found = new Map<string, Cidr>();
  // Not map(), which passes over holes, of which a sparse array can have billions.
  for (const [at, each] of list.entries()) {
    const cidr = interfaceAddress(each, Array.isArray(value) ? `${name}[${at}]` : name);
    if (found.has(cidr.ip)) throw invalidArgument(name, each, 'an address given once');
    found.set(cidr.ip, cidr);
  }
  return [...found.values()];
}

/** Gateways: one address or one of each family. */
export function checkGateways(value: unknown, name: string): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const found = new Map<number, string>();
  for (const [at, each] of list.entries()) {
    const ip = unicastIp(each, Array.isArray(value) ? `${name}[${at}]` : name);
    if (found.has(ipFamily(ip))) throw invalidArgument(name, each, 'one gateway of each family');
    found.set(ipFamily(ip), ip);
  }
  return [...found.values()];
}

export function checkRoutes(value: unknown, name: string): readonly ContainerRoute[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array');
  const seen = new Set<string>();
  return [...(value as readonly unknown[])].map((each, at) => {
    const { dst, via } = checkObject(each, `${name}[${at}]`);
    checkNames(each as object, ['dst', 'via'], 'field');
    const network = routeTarget(dst, `${name}[${at}].dst`);
    const gateway = via === undefined ? undefined : unicastIp(via, `${name}[${at}].via`);
    if (gateway !== undefined && network !== 'default' && ipFamily(gateway) !== ipFamily(network))
      throw invalidArgument(`${name}[${at}].via`, via, `of the family of ${network}`);
    if (seen.has(network)) throw invalidArgument(`${name}[${at}].dst`, dst, 'a network given once');
    seen.add(network);
    return { dst: network, ...(gateway !== undefined && { via: gateway }) };
  });
}

/** A network, canonical: `10.8.0.0/16`, `fd00::/8`, or `default`. */
export function routeTarget(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a network with its prefix length, a string');
  if (value === 'default') return value;
  const [address, length, ...more] = value.split('/');
  const expected = 'a network with its prefix length, such as 10.8.0.0/16, or default';
  if (isIP(address as string) === 0) throw invalidArgument(name, value, expected);
  const ip = canonicalIp(address, name);
  const bits = ipBytes(ip).length * 8;
  const prefix = /^\d{1,3}$/.test(length ?? '') ? Number(length) : Number.NaN;
  if (more.length > 0 || !(prefix <= bits)) {
    throw invalidArgument(name, value, `a network with a prefix length from 0 to ${bits}, such as 10.8.0.0/16`);
  }
  const network = networkOf(ip, prefix);
  if (network !== ip) throw invalidArgument(name, value, `a network: write ${network}/${prefix}`);
  return `${ip}/${prefix}`;
}

/** A container's network as it is to be. */
export interface ContainerNetwork {
  readonly addresses: readonly Cidr[];
  /** Rtnl's, but for their link. */
  readonly routes: readonly Route[];
}

/**
 * The routes that gateways and routes come to.
 * @throws RangeError for a gateway that none of the addresses reaches
 */
export function containerNetwork(
  addresses: readonly Cidr[],
  gateways: readonly string[],
  routes: readonly ContainerRoute[],
): ContainerNetwork {
  const reach = (ip: string, name: string): string => {
    if (addresses.some((address) => address.ip === ip))
      throw invalidArgument(name, ip, "another host's address: it is the container's own");
    if (isLinkLocal6(ip) && addresses.some(({ family }) => family === 6)) return ip;
    if (addresses.some((address) => sameNetwork(address, ip))) return ip;
    const networks = addresses.map((address) => `${networkOf(address.ip, address.prefix)}/${address.prefix}`);
    throw invalidArgument(name, ip, `in a network of the container's: ${networks.join(', ')}`);
  };
  const wanted = gateways.map((ip): Route => ({ dst: 'default', family: inet(ip), gateway: reach(ip, 'gateway') }));
  for (const { dst, via } of routes) {
    const whole = dst === 'default' ? (via === undefined ? undefined : inet(via)) : inet(dst);
    const family = whole ?? inet((addresses[0] as Cidr).ip);
    const gateway = via === undefined ? gateways.find((ip) => inet(ip) === family) : reach(via, 'routes.via');
    const target = dst === '0.0.0.0/0' || dst === '::/0' ? 'default' : dst;
    if (target === 'default' && wanted.some((route) => route.dst === 'default' && route.family === family))
      throw invalidArgument('routes', dst, 'a route beside gateway, which is the default route');
    if (gateway !== undefined) wanted.push({ dst: target, family, gateway });
    else wanted.push({ dst: target, family, ...(family === 'inet' && { scope: 'link' }) });
  }
  return { addresses, routes: wanted };
}

function inet(text: string): 'inet' | 'inet6' {
  return text.includes(':') ? 'inet6' : 'inet';
}

/** `default via 192.168.0.1`, for messages. */
export function routeWords({ dst, gateway }: Route): string {
  return gateway === undefined ? dst : `${dst} via ${gateway}`;
}

/** Those of the wanted routes that an interface has not. */
export async function missingRoutes(inside: Rtnl, ifname: string, wanted: readonly Route[]): Promise<readonly Route[]> {
  if (wanted.length === 0) return [];
  const there = await inside.routes.list({ link: ifname });
  return wanted.filter(
    ({ dst, gateway, family }) =>
      !there.some((route) => route.dst === dst && route.family === family && route.gateway === gateway),
  );
}

/** @throws OvernsError `EEXIST` when another route leads to the same network */
export async function addRoutes(inside: Rtnl, ifname: string, routes: readonly Route[], container: string) {
  for (const route of routes) {
    try {
      await inside.routes.add({ ...route, link: ifname });
    } catch (error) {
      if (!OvernsError.is(error) || error.code !== 'EEXIST') throw error;
      const what = route.dst === 'default' ? 'a default route' : `a route to ${route.dst}`;
      throw new OvernsError('EEXIST', `${container} has ${what} already, on another interface`, {
        hint: route.dst === 'default' ? 'leave out `gateway`, or take that one away' : 'take that one away',
        cause: error,
      });
    }
  }
}

/**
 * Refuses addresses that the overlay's own network speaks against: br0's own, its network's and its broadcast address,
 * and what lies outside. Without an address of the family on br0 any is as good.
 * @throws OvernsError `EADDRNOTAVAIL`
 */
export function refuseOutside(overlay: string, bridge: readonly string[], addresses: readonly Cidr[]): void {
  const networks = bridge.map(split).filter(({ ip }) => !isLinkLocal6(ip));
  for (const address of addresses) {
    const own = networks.filter(({ family }) => family === address.family);
    if (own.length === 0 || isLinkLocal6(address.ip)) continue;
    const words = own.map(({ ip, prefix }) => `${networkOf(ip, prefix)}/${prefix}`).join(', ');
    const why = whyNot(address.ip, own);
    if (why === undefined) continue;
    throw new OvernsError('EADDRNOTAVAIL', `${formatCidr(address)} ${why}`.replace('%', `"${overlay}" (${words})`), {
      hint: `choose an address of ${words}, or insist on this one with \`anyAddress\``,
    });
  }
}

/**
 * The networks of br0 whose addresses containers are given: the first of each family, without br0's own addresses.
 * @throws OvernsError `EADDRNOTAVAIL`: it has none
 */
export function bridgePools(overlay: string, bridge: readonly string[]): readonly AddressPool[] {
  const networks = bridge.map(split).filter(({ ip }) => !isLinkLocal6(ip));
  const except = networks.map(({ ip }) => ip);
  const first = new Map<number, Cidr>();
  for (const network of networks) if (!first.has(network.family)) first.set(network.family, network);
  if (first.size === 0) {
    throw new OvernsError(
      'EADDRNOTAVAIL',
      `br0 of overlay "${overlay}" has no address, so no network to take one from`,
      {
        hint: "give the container's `address`, or give br0 one: `ip -n NAME address add 192.168.0.1/24 dev br0`",
      },
    );
  }
  return Array.from(first.values(), (network) => ({ network: formatCidr(network), except }));
}

function split(cidr: string): Cidr {
  const [ip = '', length = ''] = cidr.split('/');
  return { ip, prefix: Number(length), family: ipFamily(ip) };
}

function whyNot(ip: string, networks: readonly Cidr[]): string | undefined {
  if (networks.some((network) => network.ip === ip)) return "is br0's own address on overlay %";
  const network = networks.find((each) => sameNetwork(each, ip));
  if (network === undefined) return 'is outside the network of overlay %';
  const bits = network.family === 4 ? 32 : 128;
  if (network.prefix >= bits - 1) return undefined;
  if (networkOf(ip, network.prefix) === ip) return 'is the address of the network itself, of overlay %';
  return network.family === 4 && lastOf(network) === ip ? 'is the broadcast address of overlay %' : undefined;
}

function lastOf({ ip, prefix }: Cidr): string {
  return ipBytes(ip)
    .map((byte, at) => byte | (0xff >> Math.min(8, Math.max(0, prefix - at * 8))))
    .join('.');
}

/**
 * The addresses that somebody gave an interface, sorted: without the link-local addresses that the kernel adds by itself.
 * @param wanted what was asked for, kept even if it is link-local
 */
export function givenAddresses(addresses: readonly string[], wanted: readonly string[] = []): string[] {
  return addresses.filter((address) => !isLinkLocal6(address) || wanted.includes(address)).sort();
}
