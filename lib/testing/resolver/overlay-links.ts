/** The links of an overlay that is served: its own, and those of what is attached here; none of them is ever remote. */
import { ipBytes, ipFamily, isLinkLocal6, whyNotUnicastIp, whyNotUnicastMac } from '../../core/address.js';
import { parseAlias } from '../../overlay/ports/alias.js';
import type { FakeNetns } from '../netns.js';
import { Refusal } from '../refusal.js';
import type { FakeLink } from '../tables/table.js';

const BRIDGE = 'br0';
export const VXLAN = 'vxlan1';

/** An endpoint that is attached on this host. */
interface Local {
  readonly ips: readonly string[];
  readonly mac: string;
}

export class OverlayLinks {
  /** Undefined while it is gone. */
  vxlan: FakeLink | undefined;
  readonly #netns: FakeNetns;
  /** The host's namespace; its addresses are no other host's VTEP. */
  readonly #host: FakeNetns | undefined;
  readonly #vtep: string;
  readonly #locals = new Map<number, Local>();

  constructor(netns: FakeNetns, host: FakeNetns | undefined, vtep: string) {
    for (const name of [VXLAN, BRIDGE]) {
      if (netns.link(name) === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: name });
    }
    this.#netns = netns;
    this.#host = host;
    this.#vtep = vtep;
    this.vxlan = netns.link(VXLAN);
  }

  /** Reads from a link's alias which endpoint is attached by it; undefined where none is. */
  read(link: FakeLink, gone: boolean): Local | undefined {
    const alias = gone ? undefined : parseAlias(link.alias);
    if (alias === undefined) {
      this.#locals.delete(link.index);
      return undefined;
    }
    const local = { ips: alias.addresses.map((address) => address.split('/')[0] as string), mac: alias.mac };
    this.#locals.set(link.index, local);
    return local;
  }

  /** The MAC address of what is attached by a link. */
  macBehind(link: FakeLink): string | undefined {
    return this.#locals.get(link.index)?.mac;
  }

  isLocal(key: string): boolean {
    return this.#isOwn(key) || [...this.#locals.values()].some(({ ips, mac }) => mac === key || ips.includes(key));
  }

  /** Knows the bridge's addresses, and the MAC of it and of its ports. */
  #isOwn(key: string): boolean {
    if (!isMac(key)) return this.#netns.addresses.some(({ link, ip }) => link.name === BRIDGE && ip === key);
    return this.#netns.links.some(
      (link) => link.mac === key && (link.name === BRIDGE || link === this.vxlan || link.master?.name === BRIDGE),
    );
  }

  /** Tells whether the bridge would find the MAC behind one of its ports other than vxlan1. */
  isBehindBridge(mac: string): boolean {
    const bridge = this.#netns.link(BRIDGE);
    const ports = bridge === undefined ? [] : this.#netns.ports(bridge);
    return ports.some(({ up, peer }) => up && peer?.up === true && peer.mac === mac);
  }

  macFault(mac: string): string | undefined {
    if (whyNotUnicastMac(mac) !== undefined) return 'the MAC address is not a unicast one';
    if (this.#isOwn(mac)) return "the MAC address is that of the overlay's bridge or of a port of it";
    if (this.isLocal(mac)) return 'the MAC address is that of an endpoint on this host';
    return undefined;
  }

  vtepFault(vtep: string): string | undefined {
    if (whyNotUnicastIp(vtep) !== undefined && !isLoopback(vtep)) return 'the VTEP is not a unicast address';
    if (ipFamily(vtep) !== ipFamily(this.#vtep)) return 'the VTEP is of the other address family';
    if (isLoopback(vtep)) return 'the VTEP is a loopback address';
    if (isLinkLocal6(vtep)) return "the VTEP is a link-local address, which is every host's own";
    for (const { ip, length } of this.#host?.addresses ?? []) {
      if (vtep === ip && vtep !== this.#vtep) return 'the VTEP is another address of this host';
      if (ipFamily(ip) === ipFamily(vtep) && isNobodys(vtep, ip, length))
        return 'the VTEP is the broadcast, network or subnet-router anycast address of a network of this host';
    }
    return undefined;
  }
}

export function isMac(key: string): boolean {
  return key.length === 17 && key[2] === ':';
}

/** Tells the first address of a network, and of an IPv4 one the last, which are no host's. */
function isNobodys(candidate: string, ip: string, prefix: number): boolean {
  const number = (text: string): bigint => BigInt(`0x${Buffer.from(ipBytes(text)).toString('hex')}`);
  const bits = ipFamily(ip) === 4 ? 32 : 128;
  if (prefix >= bits - 1) return false;
  const size = 1n << BigInt(bits - prefix);
  const first = number(ip) - (number(ip) % size);
  return number(candidate) === first || (bits === 32 && number(candidate) === first + size - 1n);
}

function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}
