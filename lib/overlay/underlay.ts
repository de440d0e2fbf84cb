/**
 * The underlay of a host: which of its addresses is the VTEP, and how large a packet it carries. The kernel is asked for
 * the route that a VXLAN packet would take, with one request whatever the size of its tables; addresses are listed only
 * to say which of them may be chosen, and what there is to choose from.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { abortError } from '../core/abort.js';
import { type IpFamily, ipBytes, ipFamily, isLinkLocal6 } from '../core/address.js';
import { NetlinkError, OvernsError } from '../core/errors.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import type { Address, Link, Route, RouteQuery } from '../rtnl/types.js';

export interface Underlay {
  /** Address that VXLAN packets are sent from. */
  readonly vtep: string;
  /** Largest IP packet that reaches every other host, bytes. */
  readonly mtu: number;
  /** Largest that reaches some: more than `mtu` where the host has several links and no route tells which it is. */
  readonly most: number;
  /** The link or route that limits it: `eth0`, or `the route over eth0`. */
  readonly limit: string;
  /** Index of the VRF that the VTEP is in: packets leave by its routes only when the device is bound to it. */
  readonly vrf?: number | undefined;
}

/** Facts about the underlay that are known beforehand. */
export interface UnderlayQuestion {
  /** UDP port, by which rules may choose a route. */
  readonly port: number;
  readonly vtep?: string | undefined;
  /** Where the VTEP is to be chosen: the family, the link, the host or group that packets go to. */
  readonly family?: IpFamily | undefined;
  readonly link?: string | undefined;
  readonly peer?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** An overlay relies on the VTEP already: it is to come back. */
  readonly stands?: boolean | undefined;
}

/**
 * Addresses out in the Internet that are asked about when no other host is known yet; nothing is sent to them. Those for
 * documentation (RFC 5737, RFC 3849), then those of a root name server, for a host that rejects what should not be
 * routed, or has the Internet's routes and no default.
 */
const OUTSIDE: Readonly<Record<IpFamily, readonly string[]>> = {
  4: ['192.0.2.1', '198.41.0.4'],
  6: ['2001:db8::1', '2001:503:ba3e::2:30'],
};
const UDP = 17;
const MAX_PACKET = 65_535;
/** Duplicate address detection takes a second, after up to another one (RFC 4862 section 5.4.2). */
const DAD_MS = 4000;
const DAD_LOOK_MS = 50;

/**
 * Finds the underlay: the given VTEP, else the address that the kernel sends from to what is outside, else the host's
 * only address.
 * @throws OvernsError `EADDRNOTAVAIL` (no such address, none, or several and no route to choose by), `ENETDOWN` (its link
 *   is down)
 */
export async function findUnderlay(host: Rtnl, question: UnderlayQuestion): Promise<Underlay> {
  const own = (await host.addresses.list()).map(ownAddress);
  const chosen =
    question.vtep === undefined
      ? await choose(host, own, question)
      : await named(host, own, { ...question, vtep: question.vtep });
  const { ip, link } = await settled(host, chosen, question.signal);
  const vrf = await vrfOf(host, link);
  const ways = await waysOut(host, own, chosen, { ...packet(question), link: vrf?.name });
  const mtus = ways.map(({ mtu }) => mtu);
  const mtu = Math.min(...mtus, MAX_PACKET);
  const known = ways.every(({ known }) => known);
  return {
    vtep: ip,
    mtu,
    most: known ? mtu : Math.min(Math.max(...mtus), MAX_PACKET),
    limit: ways.find((way) => way.mtu <= mtu)?.limit ?? link,
    vrf: vrf?.index,
  };
}

/**
 * Address that the kernel sends from to a host, as far as it can be told.
 * @throws OvernsError as {@link findUnderlay}
 */
export async function findSource(host: Rtnl, question: UnderlayQuestion): Promise<string> {
  const own = (await host.addresses.list()).map(ownAddress);
  return (await choose(host, own, question)).ip;
}

/**
 * Finds the address that a host has in the place of a VTEP which is no address of it any more: the only one in the same network,
 * else the one that it would choose now; undefined where that cannot be told.
 */
export async function findSuccessor(host: Rtnl, vtep: string, port: number): Promise<string | undefined> {
  const own = (await host.addresses.list()).map(ownAddress);
  const family = ipFamily(vtep);
  const near = own.filter(
    (each) => each.family === family && each.global && unfit(each) === undefined && within(each, vtep),
  );
  if (near.length === 1) return near[0]?.ip;
  try {
    return (await choose(host, own, { port, family })).ip;
  } catch (error) {
    if (OvernsError.is(error) && error.code === 'EADDRNOTAVAIL') return undefined;
    throw error;
  }
}

/** An address of the host. */
interface OwnAddress {
  readonly ip: string;
  readonly length: number;
  readonly family: IpFamily;
  readonly link: string;
  /** The other end of a point-to-point link. */
  readonly peer: string | undefined;
  readonly flags: readonly string[];
  /** Other hosts may know it. */
  readonly global: boolean;
}

function ownAddress({ address, link, scope, flags = [], peer }: Address): OwnAddress {
  const [ip = '', length] = address.split('/');
  const local = isLinkLocal6(ip) || ip.startsWith('169.254.') || ip.startsWith('127.') || ip === '::1';
  return {
    ip,
    length: Number(length),
    family: ipFamily(ip),
    link,
    peer: peer?.split('/')[0],
    flags,
    global: scope === 'global' && !local,
  };
}

/** Why nobody should rely on an address, if so. IPv6's temporary ones bear the flag of IPv4's secondary ones. */
function unfit({ flags, family }: OwnAddress): string | undefined {
  if (flags.includes('dadfailed')) return 'another host has it';
  if (flags.includes('deprecated')) return 'deprecated';
  if (flags.includes('secondary')) return family === 6 ? 'temporary' : 'secondary';
  return undefined;
}

/** Addresses to choose from, in words. */
function listed(own: readonly OwnAddress[]): string {
  const words = own
    .filter(({ global }) => global)
    .map((each) => {
      const why = unfit(each);
      return `${each.ip} (${each.link}${why === undefined ? '' : `, ${why}`})`;
    });
  const shown = words.slice(0, 8).join(', ');
  return words.length > 8 ? `${shown} and ${words.length - 8} more` : shown;
}

function packet({ port, vtep, link }: UnderlayQuestion): Omit<RouteQuery, 'dst'> {
  return { source: vtep, link, ipProtocol: UDP, destinationPort: port };
}

/** Instead of a code: there is a route, and no address for it. */
const NO_SOURCE = 'no source';
/** Codes of routing's own verdicts. EOPNOTSUPP, EAFNOSUPPORT: a kernel without that family. */
const NO_ROUTE: Readonly<Record<string, string>> = {
  ENETUNREACH: 'no route leads out of the host',
  EHOSTUNREACH: 'the route out of the host is unreachable',
  EACCES: 'the route out of the host is prohibited',
  EINVAL: 'the route out of the host is a blackhole',
  EOPNOTSUPP: 'no route leads out of the host',
  EAFNOSUPPORT: 'no route leads out of the host',
  [NO_SOURCE]: 'the route out of the host has no address to send from that lasts',
};

/** The kernel's answer, or its refusal's code where there is no way. */
async function ask<T>(answer: Promise<T>): Promise<T | string> {
  try {
    return await answer;
  } catch (error) {
    if (OvernsError.is(error) && error instanceof NetlinkError && NO_ROUTE[error.code] !== undefined) return error.code;
    throw error;
  }
}

/** A route as it stands in its table, and an address that it is for. */
interface Exit {
  readonly dst: string;
  readonly route: Route;
}

/** The route to what is outside, as it stands in its table; or why there is none. */
async function exit(
  host: Rtnl,
  own: readonly OwnAddress[],
  family: IpFamily,
  about: Omit<RouteQuery, 'dst'>,
): Promise<Exit | string> {
  let why = 'ENETUNREACH';
  for (const dst of OUTSIDE[family]) {
    // Inside the host's own networks it is no way out.
    if (own.some((each) => each.family === family && within(each, dst))) continue;
    const route = await ask(host.routes.get({ ...about, dst, match: true }));
    if (typeof route !== 'string') return { dst, route };
    if (why === 'ENETUNREACH') why = route;
  }
  return why;
}

function within({ ip, length }: OwnAddress, other: string): boolean {
  const [a, b] = [ipBytes(ip), ipBytes(other)];
  return a.every((byte, at) => {
    const mask = 0xff00 >> Math.min(8, Math.max(0, length - at * 8));
    return (byte & mask & 0xff) === ((b[at] as number) & mask & 0xff);
  });
}

/** Links that a route leaves through, of those that are alive. */
function linksOf(route: Route): string[] {
  const hops = route.nexthops?.filter(({ flags }) => !flags?.includes('dead')) ?? [route];
  return hops.flatMap(({ link }) => (link === undefined ? [] : [link]));
}

async function choose(host: Rtnl, own: readonly OwnAddress[], question: UnderlayQuestion): Promise<OwnAddress> {
  const { family, peer } = question;
  const families: readonly IpFamily[] =
    peer !== undefined ? [ipFamily(peer)] : family !== undefined ? [family] : [4, 6];
  let why = 'ENETUNREACH';
  for (const each of families) {
    const found = await sourceOut(host, own, each, question);
    if (typeof found !== 'string') return found;
    if (why === 'ENETUNREACH') why = found;
  }
  const up = new Set((await host.links.list()).filter((link) => link.up).map(({ name }) => name));
  const candidates = own.filter((each) => each.global && up.has(each.link) && families.includes(each.family));
  for (const each of families) {
    const [only, another] = candidates.filter((one) => one.family === each && unfit(one) === undefined);
    if (only && another) {
      throw new OvernsError('EADDRNOTAVAIL', `${NO_ROUTE[why]}, and it has several addresses: ${listed(candidates)}`, {
        hint: 'choose one with `vtep`',
      });
    }
    if (only) return only;
  }
  if (candidates.length > 0) {
    throw new OvernsError('EADDRNOTAVAIL', `the host has no address to rely on: ${listed(candidates)}`, {
      hint: 'give it another one, or choose one with `vtep`',
    });
  }
  throw new OvernsError('EADDRNOTAVAIL', 'the host has no address that other hosts could reach', {
    hint: own.some(({ global }) => global)
      ? `its links are down: ${listed(own)}`
      : 'give one of its links an address, or name the host with `host`',
  });
}

/** The address that the kernel sends from to what is outside; or why there is none. */
async function sourceOut(
  host: Rtnl,
  own: readonly OwnAddress[],
  family: IpFamily,
  question: UnderlayQuestion,
): Promise<OwnAddress | string> {
  const about = packet(question);
  let dst = question.peer;
  let link = question.link;
  if (dst === undefined && link === undefined) {
    const out = await exit(host, own, family, about);
    if (typeof out === 'string') return out;
    dst = out.dst;
    // The first of several ways, so that it is the same address each time.
    if ((out.route.nexthops?.length ?? 0) > 1 && out.route.source === undefined) link = linksOf(out.route)[0];
  }
  const answer = await ask(host.routes.get({ ...about, dst: dst ?? (OUTSIDE[family][0] as string), link }));
  if (typeof answer === 'string') return answer;
  const fit = own.filter((each) => each.family === family && each.global && unfit(each) === undefined);
  return (
    own.find((each) => each.ip === answer.source && each.global && (unfit(each) ?? 'secondary') === 'secondary') ??
    fit.find((each) => each.link === answer.link) ??
    NO_SOURCE
  );
}

/** The address that the caller has named. */
async function named(
  host: Rtnl,
  own: readonly OwnAddress[],
  { vtep, stands = false }: { readonly vtep: string; readonly stands?: boolean | undefined },
): Promise<OwnAddress> {
  const found = own.find((each) => each.ip === vtep);
  if (found !== undefined) {
    const [link] = await host.links.list({ name: found.link });
    if (link?.up !== false) return found;
    throw new OvernsError('ENETDOWN', `vtep ${vtep} is on ${found.link}, which is down`, {
      hint: `set it up: ip link set ${found.link} up`,
    });
  }
  const route = await ask(host.routes.get({ dst: vtep, match: true }));
  const broadcast = typeof route !== 'string' && route.type === 'broadcast';
  const candidates = listed(own);
  const off = ipFamily(vtep) === 6 && !own.some(({ ip, family }) => family === 6 && ip !== '::1');
  throw new OvernsError(
    'EADDRNOTAVAIL',
    broadcast
      ? `vtep ${vtep} is the broadcast address of the network on ${route.link}`
      : `vtep ${vtep} is not an address of the host`,
    {
      hint: stands
        ? `give it back, or delete the overlay and create it anew${candidates === '' ? '' : `; the host has ${candidates}`}`
        : off
          ? 'it has no IPv6 address at all: see net.ipv6.conf.all.disable_ipv6'
          : candidates === ''
            ? 'it has no global address: give it one first'
            : `it has ${candidates}`,
    },
  );
}

/** Waits until nobody else can turn out to have the address. */
async function settled(host: Rtnl, address: OwnAddress, signal: AbortSignal | undefined): Promise<OwnAddress> {
  const deadline = performance.now() + DAD_MS;
  for (let now: OwnAddress | undefined = address; ; ) {
    if (now === undefined) {
      throw new OvernsError('EADDRNOTAVAIL', `${address.ip} has gone from ${address.link}`, { hint: 'try again' });
    }
    if (now.flags.includes('dadfailed')) {
      throw new OvernsError('EADDRNOTAVAIL', `another host has ${now.ip} too: ${now.link} may not use it`, {
        hint: `remove it from one of them: ip address del ${now.ip}/${now.length} dev ${now.link}`,
      });
    }
    if (!now.flags.includes('tentative') || now.flags.includes('optimistic')) return now;
    if (performance.now() > deadline) {
      throw new OvernsError(
        'EADDRNOTAVAIL',
        `${now.ip} on ${now.link} is tentative still: the kernel has not yet found out whether another host has it`,
        { hint: `see whether ${now.link} has a carrier, or give the address with nodad` },
      );
    }
    if (signal?.aborted) throw abortError(signal);
    await sleep(DAD_LOOK_MS);
    now = (await host.addresses.list({ link: address.link })).map(ownAddress).find(({ ip }) => ip === address.ip);
  }
}

/** The VRF that a link belongs to. */
async function vrfOf(host: Rtnl, name: string): Promise<Link | undefined> {
  const [link] = await host.links.list({ name });
  if (link?.master === undefined) return undefined;
  const [master] = await host.links.list({ name: link.master });
  return master?.kind === 'vrf' ? master : undefined;
}

/** A way that packets may take. */
interface Way {
  readonly mtu: number;
  readonly limit: string;
  /** The kernel says so; else it is a link that they could leave through. */
  readonly known: boolean;
}

/** The ways of packets from the VTEP: of the route out, else to its own network, else all there could be. */
async function waysOut(
  host: Rtnl,
  own: readonly OwnAddress[],
  from: OwnAddress,
  about: Omit<RouteQuery, 'dst'>,
): Promise<Way[]> {
  const asked = { ...about, source: from.ip };
  const out = await exit(host, own, from.family, asked);
  const way = typeof out === 'string' ? await neighbours(host, from, asked) : out;
  if (way !== undefined) {
    const { dst, route } = way;
    let names = linksOf(route);
    if (names.length === 0) {
      // A nexthop object whose ways the kernel does not tell (net.ipv4.nexthop_compat_mode=0).
      const answer = await ask(host.routes.get({ ...asked, dst }));
      names = typeof answer === 'string' ? [] : linksOf(answer);
    }
    const links = await Promise.all(names.map((name) => host.links.list({ name })));
    // Larger than its link a packet cannot be, whatever the route says.
    const most = route.metrics?.mtu ?? Number.POSITIVE_INFINITY;
    const ways = links.flat().map(({ name, mtu }): Way => {
      return most < mtu
        ? { mtu: most, limit: `the route over ${name}`, known: true }
        : { mtu, limit: name, known: true };
    });
    if (ways.length > 0) return ways;
  }
  const links = await host.links.list();
  const could = links.filter(
    ({ up, running, flags, master }) => up && running && !flags?.includes('loopback') && !master,
  );
  const those = could.length > 0 ? could : links.filter(({ name }) => name === from.link);
  return those.map(({ name, mtu }) => ({ mtu, limit: name, known: false }));
}

/** The route to the hosts on the address's own link. */
async function neighbours(host: Rtnl, from: OwnAddress, about: Omit<RouteQuery, 'dst'>): Promise<Exit | undefined> {
  const dst = from.peer ?? neighbourOf(from);
  if (dst === undefined || dst === from.ip) return undefined;
  const route = await ask(host.routes.get({ ...about, dst, match: true }));
  return typeof route === 'string' || route.type !== 'unicast' ? undefined : { dst, route };
}

/** Another address of the same network; undefined where it has none. */
function neighbourOf({ ip, length, family }: OwnAddress): string | undefined {
  const bytes = ipBytes(ip);
  if (length >= bytes.length * 8 || length === 0) return undefined;
  // The last bit turned: of a pair the other one, of a network another host or its own address, which is routed alike.
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1;
  if (family === 4) return bytes.join('.');
  const words = Array.from({ length: 8 }, (_, at) => (bytes[at * 2] as number) * 256 + (bytes[at * 2 + 1] as number));
  return words.map((word) => word.toString(16)).join(':');
}
