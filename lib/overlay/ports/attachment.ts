/** The containers attached to an overlay, as the kernel has them: veths whose alias says so. */
import type { Cancel } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import type { Rtnl } from '../../rtnl/rtnl.js';
import type { Link } from '../../rtnl/types.js';
import type { Endpoint } from '../../store/contract.js';
import { type EndpointAlias, parseAlias } from './alias.js';

/**
 * A container that is attached to an overlay on this host.
 * @example
 * ```ts
 * import { type Attachment, Overlay } from 'overns';
 *
 * const line = ({ container, ifname, addresses }: Attachment): string => `${container} ${ifname} ${addresses.join(' ')}`;
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
 * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
 * console.log((await overlay.endpoints()).map(line)); // [ 'netns:web eth0 192.168.0.2/24' ]
 * ```
 */
export interface Attachment extends Endpoint {
  /** As it was attached, in the words of its kind, such as `docker:NAME` or a path; '' when that was too long to be kept (about 200 bytes). */
  readonly container: string;
  /** Name that its interface was given in the container; '' = not kept. */
  readonly ifname: string;
  /** Name of the interface's other end, in the overlay's namespace. */
  readonly veth: string;
  /** As `ips`, with prefix lengths. */
  readonly addresses: readonly string[];
}

/** An attachment, and the veth that it was read from. */
export interface Attached {
  readonly link: Link;
  readonly attachment: Attachment;
}

/** Reads from a link's alias which container it belongs to; undefined for a link of another kind. */
export function attachmentOf(link: Pick<Link, 'name' | 'alias'>, vtep: string): Attachment | undefined {
  const alias = parseAlias(link.alias);
  if (!alias) return undefined;
  return { ...endpointOf(alias, vtep), ifname: alias.ifname, veth: link.name, addresses: alias.addresses };
}

function endpointOf({ mac, addresses, container }: EndpointAlias, vtep: string): Endpoint & { container: string } {
  const ips = addresses.map((address) => address.split('/')[0] as string);
  return { ip: ips[0] as string, ips, mac, vtep, container };
}

export async function listAttached(rtnl: Rtnl, vtep: string, cancel: Cancel = {}): Promise<Attached[]> {
  const found: Attached[] = [];
  for (const link of await rtnl.links.list({ kind: 'veth' }, cancel)) {
    const attachment = attachmentOf(link, vtep);
    if (attachment) found.push({ link, attachment });
  }
  return found;
}

/** An endpoint as stores have it: without what this host alone knows. */
export function publicEndpoint({ ip, ips, mac, vtep }: Endpoint): Endpoint {
  return { ip, ips, mac, vtep };
}

/** The container's words, or its address where they are not kept. */
export function nameOf({ container, ip }: Attachment): string {
  return container || ip;
}

/**
 * Names a container's veth in the overlay: made of its whole MAC address, which is unique there. 14 bytes of the 15 that
 * a name may have.
 */
export function vethName(mac: string): string {
  return `ov${mac.replaceAll(':', '')}`;
}

/** True for a name as {@link vethName} makes them. */
export function isVethName(name: string): boolean {
  return /^ov[0-9a-f]{12}$/.test(name);
}

/** Fails when one of the addresses is attached already. */
export function refuseTaken(attached: readonly Attached[], overlay: string, ips: readonly string[], mac: string): void {
  for (const { attachment } of attached) {
    const taken = ips.find((ip) => attachment.ips.includes(ip)) ?? (attachment.mac === mac ? mac : undefined);
    if (taken === undefined) continue;
    throw new OvernsError('EEXIST', `${taken} is attached to "${overlay}" already, as ${nameOf(attachment)}`, {
      hint: `detach it first: \`detach({ ip: '${attachment.ip}' })\` of overlay "${overlay}"`,
    });
  }
}
