/** Finding out whether a container is attached already as it is wanted. */
import { type Cidr, formatCidr } from '../../core/address.js';
import { OvernsError } from '../../core/errors.js';
import type { Rtnl } from '../../rtnl/rtnl.js';
import type { ContainerTarget } from '../targets/target.js';
import { type Attached, type Attachment, listAttached } from './attachment.js';
import { addRoutes, type ContainerNetwork, givenAddresses, missingRoutes, routeWords } from './container-network.js';
import { type PortOverlay, removePort, widenNeighborQueue } from './port.js';

/** A container as it is wanted. */
export interface SameRequest extends ContainerNetwork {
  readonly target: ContainerTarget;
  readonly ifname: string;
  /** Undefined: any. */
  readonly mac: string | undefined;
}

/** Finds the attachment that an interface of a container belongs to. */
export async function findAttached(
  rtnl: Rtnl,
  inside: Rtnl,
  vtep: string,
  { target, ifname }: Pick<SameRequest, 'target' | 'ifname'>,
): Promise<Attachment | undefined> {
  const [own] = await inside.links.list({ name: ifname });
  const nsid = await rtnl.nsid({ path: target.path });
  const found = (await listAttached(rtnl, vtep)).find(
    ({ link, attachment }) => link.linkNetnsid === nsid && attachment.mac === own?.mac,
  );
  return found?.attachment;
}

/**
 * Finds the attachment that is wanted, if it is there already; undefined when it has to be made. The rest of one that died
 * is removed.
 * @throws OvernsError `EEXIST` when the addresses are attached in another way
 */
export async function findSame(
  rtnl: Rtnl,
  inside: Rtnl,
  overlay: PortOverlay,
  wanted: SameRequest,
): Promise<Attachment | undefined> {
  const [first] = wanted.addresses as readonly [Cidr];
  const found = (await listAttached(rtnl, overlay.vtep)).find(({ attachment }) => attachment.ips.includes(first.ip));
  if (found === undefined) return undefined;
  const { target, ifname, routes } = wanted;
  const differences: string[] = [];
  if (found.link.linkNetnsid !== (await rtnl.nsid({ path: target.path }))) {
    differences.push(
      `its ${first.ip} belongs to another container, ${found.attachment.container || 'which has no name here'}`,
    );
  } else {
    const [link] = await inside.links.list({ name: ifname });
    if (link === undefined)
      differences.push(`its interface is ${found.attachment.ifname || 'another one'}, not ${ifname}`);
    else if (link.mac !== found.attachment.mac) differences.push(`${ifname} is not its interface`);
    else if (link.up !== true) {
      // Its addresses come before it is up, and nobody else is at work: whoever attached it has died.
      await removePort(rtnl, found.link.name);
      return undefined;
    }
    differences.push(...(await differencesOf(inside, found, wanted)));
  }
  if (differences.length > 0) {
    throw new OvernsError(
      'EEXIST',
      `${target.description} is attached to "${overlay.name}", but not in the same way: ${differences.join(', ')}`,
      { hint: `detach it first: \`detach({ ip: '${found.attachment.ip}' })\` of overlay "${overlay.name}"` },
    );
  }
  await addRoutes(inside, ifname, await missingRoutes(inside, ifname, routes), target.description);
  await widenNeighborQueue(inside, ifname);
  return found.attachment;
}

async function differencesOf(inside: Rtnl, { attachment }: Attached, wanted: SameRequest): Promise<string[]> {
  const differences: string[] = [];
  const texts = wanted.addresses.map(formatCidr);
  const listed = await inside.addresses.list({ link: wanted.ifname }).catch(() => []);
  const own = givenAddresses(
    listed.map(({ address }) => address),
    texts,
  );
  if (own.join(' ') !== [...texts].sort().join(' ')) {
    differences.push(`${wanted.ifname} has ${own.join(' ') || 'no address'}`);
  }
  if (wanted.mac !== undefined && wanted.mac !== attachment.mac)
    differences.push(`mac ${attachment.mac} instead of ${wanted.mac}`);
  const missing = await missingRoutes(inside, wanted.ifname, wanted.routes);
  const defaults = missing.some(({ dst }) => dst === 'default')
    ? (await inside.routes.list({ dst: 'default' })).filter(({ family }) =>
        missing.some((route) => route.dst === 'default' && route.family === family),
      )
    : [];
  if (defaults.length > 0) differences.push(`its route is ${defaults.map(routeWords).join(', ')}`);
  return differences;
}
