/** Attaching a container to an overlay: a veth between the two, and all that makes it work. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cancel } from '../core/abort.js';
import { type Cidr, defaultMac, formatCidr, isLinkLocal6 } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import { type Transaction, transaction } from '../core/transaction.js';
import { lockNamespace } from '../netns/lock.js';
import { Rtnl } from '../rtnl/rtnl.js';
import { kernel } from '../system/kernel-error.js';
import { system } from '../system/system.js';
import { formatAlias } from './alias.js';
import { type Attached, type Attachment, listAttached, refuseTaken, vethName } from './attachment.js';
import { addRoutes, type ContainerNetwork, missingRoutes, refuseOutside, routeWords } from './container-network.js';
import type { ContainerTarget } from './targets/container.js';

export const BRIDGE = 'br0';
/** Room for some 1500 full-size packets, with the kernel's overhead; its default holds about 90. */
const NEIGHBOR_QUEUE_BYTES = 4 << 20;
/** How long a container's interface may take to be ready, where the kernel has to be waited for. */
const CARRIER_MS = 2000;

/** The overlay that is attached to. */
export interface Part {
  readonly name: string;
  /** Path of its namespace. */
  readonly netns: string;
  readonly vtep: string;
  readonly mtu: number;
}

export interface Wanted extends ContainerNetwork {
  readonly target: ContainerTarget;
  /** Undefined: one that is made of the address. */
  readonly mac: string | undefined;
  readonly ifname: string;
  /** Content with the same container attached in the same way. */
  readonly ensure: boolean;
  /** Take addresses that the overlay's network speaks against. */
  readonly anyAddress: boolean;
  /** Tells the world of the endpoint, once it works. `made`: it was not there before, so that no trace may stay if this fails. */
  readonly publish: ((attachment: Attachment, made: boolean) => Promise<void>) | undefined;
  readonly withdraw: ((attachment: Attachment) => Promise<void>) | undefined;
}

/** All of it, or nothing. */
export function attach(rtnl: Rtnl, part: Part, wanted: Wanted, { signal }: Cancel): Promise<Attachment> {
  return transaction(signal, async (t) => {
    const { target, publish, withdraw } = wanted;
    const inside = await t.step(
      'socket',
      () => Rtnl.open({ netns: { path: target.path } }),
      (socket) => socket.close(),
    );
    try {
      const unlock = await t.step(
        'turn',
        () => lockNamespace(part.netns, signal),
        (release) => release(),
      );
      const there = await findSame(rtnl, inside, part, wanted);
      const attachment = there ?? (await make(t, rtnl, inside, part, wanted));
      // When that fails the turn ends with the undoing of it. A store can take its time.
      unlock();
      if (publish) {
        await t.step(
          'publish',
          () => publish(attachment, there === undefined),
          () => (there === undefined ? withdraw?.(attachment) : undefined),
        );
      }
      return attachment;
    } finally {
      await inside.close();
    }
  });
}

async function make(t: Transaction, rtnl: Rtnl, inside: Rtnl, part: Part, wanted: Wanted): Promise<Attachment> {
  const { target, ifname, addresses, routes } = wanted;
  const attached = await listAttached(rtnl, part.vtep);
  const [first] = addresses as readonly [Cidr];
  const named = addresses.find(({ family }) => family === 4) ?? first;
  const mac = wanted.mac ?? defaultMac(named.ip, (each) => attached.some(({ attachment }) => attachment.mac === each));
  const ips = addresses.map(({ ip }) => ip);
  refuseTaken(attached, part.name, ips, mac);
  if (!wanted.anyAddress) {
    const bridge = await rtnl.addresses.list({ link: BRIDGE }).catch((error: Error & { code?: string }) => {
      if (error.code === 'ENODEV') return []; // the veth will say what is wrong
      throw error;
    });
    refuseOutside(
      part.name,
      bridge.map(({ address }) => address),
      addresses,
    );
  }
  const veth = vethName(mac);
  await removeLeftovers(rtnl, veth, target);
  if ((await inside.links.list({ name: ifname })).length > 0) {
    throw new OvernsError('EEXIST', `${target.description} has an interface "${ifname}" already`, {
      hint: 'detach it first, or choose another name with ifname (--ifname)',
    });
  }
  const texts = addresses.map(formatCidr);
  const alias = formatAlias({ mac, addresses: texts, ifname, container: target.description });
  await t.step(
    'veth',
    () =>
      rtnl.links.add({
        kind: 'veth',
        name: veth,
        master: BRIDGE,
        up: true,
        mtu: part.mtu,
        peer: { name: ifname, mac, mtu: part.mtu, netns: { path: target.path } },
      }),
    () => rtnl.links.delete({ name: veth }),
  );
  // After creation: the kernel takes an alias in a change only. The resolver learns from it what is local.
  await t.step('alias', () => rtnl.links.set({ name: veth, alias }));
  if (addresses.some(({ family }) => family === 6)) {
    // Docker switches IPv6 off in the namespaces of containers without a network.
    await t.step('ipv6', () =>
      kernel(
        { what: `switch IPv6 on for ${ifname}`, netns: target.description },
        system().native.writeSysctl(target.path, `ipv6/conf/${ifname}/disable_ipv6`, '0'),
      ),
    );
  }
  await t.step('addresses', async () => {
    const answers = await inside.addresses.batch(
      addresses.map((address) => ({
        op: 'add' as const,
        item: { link: ifname, address: formatCidr(address), nodad: address.family === 6 },
      })),
    );
    for (const answer of answers) if (!answer.ok) throw answer.error;
  });
  await t.step('up', () => inside.links.set({ name: ifname, up: true }));
  await t.step('carrier', () => awaitCarrier(rtnl, veth));
  if (routes.length > 0) await t.step('routes', () => addRoutes(inside, ifname, routes, target.description));
  // A burst to an address that is being resolved waits in the container, all of it.
  await t.step('queue', () => inside.setNeighborQueue(ifname, NEIGHBOR_QUEUE_BYTES));
  const container = alias.endsWith(` ${target.description}`) ? target.description : '';
  return { ip: first.ip, ips, mac, vtep: part.vtep, container, ifname, veth, addresses: texts };
}

/** Takes away what an attach that died has left: a veth without its alias, by this name or into this container. */
async function removeLeftovers(rtnl: Rtnl, veth: string, target: ContainerTarget): Promise<void> {
  const nameless = (await rtnl.links.list({ kind: 'veth' })).filter(
    ({ name, alias }) => alias === undefined && /^ov[0-9a-f]{12}$/.test(name),
  );
  if (nameless.length === 0) return;
  const nsid = await rtnl.nsid({ path: target.path });
  for (const { name, linkNetnsid } of nameless) {
    if (name === veth || linkNetnsid === nsid) await removeLink(rtnl, name);
  }
}

async function removeLink(rtnl: Rtnl, name: string): Promise<void> {
  try {
    await rtnl.links.delete({ name });
  } catch (error) {
    // It goes with its container, which may end meanwhile.
    if (!OvernsError.is(error) || error.code !== 'ENODEV') throw error;
  }
}

/**
 * Waits until the overlay's end of a veth takes packets. The kernel gives it its transmit queue in a work of its own,
 * up to a second after the container's end is up (net/core/link_watch.c); what the bridge sends there before is lost,
 * such as the answer to the container's first question. Since Linux 6.8 asking for the link makes it do that at once.
 */
async function awaitCarrier(rtnl: Rtnl, name: string): Promise<void> {
  const deadline = performance.now() + CARRIER_MS;
  for (;;) {
    const [link] = await rtnl.links.list({ name });
    // One that is gone, or still not ready, is not for this step to complain of.
    if (!link || link.operstate === 'up' || performance.now() > deadline) return;
    await sleep(1);
  }
}

/**
 * The attachment that is wanted, if it is there already; undefined when it has to be made. What one that died has left
 * of it is taken away.
 * @throws OvernsError `EEXIST` when the addresses are attached in another way
 */
async function findSame(rtnl: Rtnl, inside: Rtnl, part: Part, wanted: Wanted): Promise<Attachment | undefined> {
  if (!wanted.ensure) return undefined;
  const [first] = wanted.addresses as readonly [Cidr];
  const found = (await listAttached(rtnl, part.vtep)).find(({ attachment }) => attachment.ips.includes(first.ip));
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
      await removeLink(rtnl, found.link.name);
      return undefined;
    }
    differences.push(...(await differencesOf(inside, found, wanted)));
  }
  if (differences.length > 0) {
    throw new OvernsError(
      'EEXIST',
      `${target.description} is attached to "${part.name}", but not in the same way: ${differences.join(', ')}`,
      { hint: `detach it first: overns detach ${part.name} --address ${found.attachment.ip}` },
    );
  }
  await addRoutes(inside, ifname, await missingRoutes(inside, ifname, routes), target.description);
  await inside.setNeighborQueue(ifname, NEIGHBOR_QUEUE_BYTES);
  return found.attachment;
}

async function differencesOf(inside: Rtnl, { attachment }: Attached, wanted: Wanted): Promise<string[]> {
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

/**
 * What somebody gave an interface, sorted: without the link-local addresses that the kernel adds by itself.
 * @param wanted what was asked for, kept even if it is link-local
 */
export function givenAddresses(addresses: readonly string[], wanted: readonly string[] = []): string[] {
  return addresses.filter((address) => !isLinkLocal6(address) || wanted.includes(address)).sort();
}
