/** The underlay of a host: which of its addresses is the VTEP, and how large a packet it carries. */
import { ipFamily, isLinkLocal6 } from './address.js';
import { OvernsError } from './errors.js';
import type { Rtnl } from './rtnl.js';

export interface Underlay {
  /** Address that VXLAN packets are sent from. */
  readonly vtep: string;
  /** Largest IP packet towards other hosts, bytes. */
  readonly mtu: number;
  readonly link: string;
}

interface Candidate {
  readonly ip: string;
  readonly link: string;
  readonly global: boolean;
}

/**
 * Finds the underlay: the given VTEP, else the address of the route out of the host, else its only global address.
 * @throws OvernsError `EADDRNOTAVAIL` when there is none, or several and no route to choose by
 */
export async function findUnderlay(host: Rtnl, vtep: string | undefined): Promise<Underlay> {
  const [links, addresses, routes] = await Promise.all([
    host.links.list(),
    host.addresses.list(),
    host.routes.list({ table: 254 }),
  ]);
  const mtuOf = (name: string): number => links.find((link) => link.name === name)?.mtu ?? 1500;
  const up = new Set(links.filter((link) => link.up).map((link) => link.name));
  const candidates: Candidate[] = addresses
    .filter((address) => up.has(address.link))
    .map((address) => {
      const ip = address.address.split('/')[0] as string;
      const global = (address as { scope?: unknown }).scope === 'global' && address.link !== 'lo' && !isLinkLocal6(ip);
      return { ip, link: address.link, global };
    });
  const exits = routes
    .filter((route) => route.dst === 'default' && route.link !== undefined && up.has(route.link))
    .sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
  const family = (ip: string): number => ipFamily(ip);
  const globals = (f: number): Candidate[] => candidates.filter((each) => each.global && family(each.ip) === f);
  const listed = candidates.filter((each) => each.global).map((each) => `${each.ip} (${each.link})`);

  if (vtep !== undefined) {
    const found = candidates.find((each) => each.ip === vtep);
    if (!found) {
      throw new OvernsError('EADDRNOTAVAIL', `vtep ${vtep} is not an address of the host`, {
        hint: listed.length > 0 ? `it has ${listed.join(', ')}` : 'it has no global address: give it one first',
      });
    }
    // A VTEP on a loopback leaves through another link.
    const link = found.link === 'lo' ? (exits[0]?.link ?? found.link) : found.link;
    return { vtep, link, mtu: Math.min(mtuOf(link), 65_535) };
  }
  for (const f of [4, 6]) {
    for (const exit of exits.filter(
      (route) => (route as { family?: unknown }).family === (f === 4 ? 'inet' : 'inet6'),
    )) {
      const source = exit.source ?? globals(f).find((each) => each.link === exit.link)?.ip;
      if (source !== undefined && exit.link !== undefined)
        return { vtep: source, link: exit.link, mtu: mtuOf(exit.link) };
    }
  }
  for (const f of [4, 6]) {
    const [only, another] = globals(f);
    if (only && another) {
      throw new OvernsError(
        'EADDRNOTAVAIL',
        `the host has several addresses and no default route: ${listed.join(', ')}`,
        {
          hint: 'choose one with vtep (--vtep)',
        },
      );
    }
    if (only) return { vtep: only.ip, link: only.link, mtu: mtuOf(only.link) };
  }
  throw new OvernsError('EADDRNOTAVAIL', 'the host has no address that other hosts could reach', {
    hint: 'give one of its links an address, or name the host with host (--host)',
  });
}
