/**
 * The steps that give a container a port on an overlay, each one undone with the transaction it is a part of:
 *
 *     planPort       what the port will be, and that nobody else is it
 *     removeLeftovers  (those of an attach that died)
 *     makePort       a veth, one end on br0, the other in a namespace: the container's, or one that a runtime takes it from
 *     lockPort       nothing but its own MAC address may leave it, and br0 knows it there
 *     announcePort   the alias that says whose it is: what is local, to the resolver and to whoever lists endpoints
 *     configurePort  the container's end: addresses, up, routes, sysctls; a runtime that moves the interface does this
 *     greetPort      its neighbours on br0 told which MAC address it has
 *     publishPort    the store (publish.ts), unless claimPort has reserved the endpoint there before makePort
 *
 * `attach` does all of them in this order, holding the overlay's lock up to the last (attach.ts). A runtime's plugin may
 * leave some out, or do some in a later transaction.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cidr, defaultMac, formatCidr } from '../../core/address.js';
import { OvernsError } from '../../core/errors.js';
import type { Transaction } from '../../core/transaction.js';
import type { Rtnl } from '../../rtnl/rtnl.js';
import type { Route } from '../../rtnl/types.js';
import { kernel } from '../../system/kernel-error.js';
import { BRIDGE } from '../devices.js';
import { formatAlias } from './alias.js';
import { type Attachment, isVethName, listAttached, refuseTaken, vethName } from './attachment.js';
import { addRoutes, refuseOutside } from './container-network.js';

/** Room for some 1500 full-size packets, with the kernel's overhead; its default holds about 90. */
const NEIGHBOR_QUEUE_BYTES = 4 << 20;
/** How long a container's interface may take to be ready, where the kernel has to be waited for. */
const CARRIER_MS = 2000;

/** The overlay that ports are made on. */
export interface PortOverlay {
  readonly name: string;
  /** Path of its namespace. */
  readonly netns: string;
  readonly vtep: string;
  readonly mtu: number;
}

/** A port as it is asked for. */
export interface PortRequest {
  /** At least one. */
  readonly addresses: readonly Cidr[];
  /** Undefined: one that is made of the address. */
  readonly mac: string | undefined;
  /** Takes addresses that the overlay's network speaks against. */
  readonly anyAddress: boolean;
}

/** A port as it will be. */
export interface Port {
  readonly addresses: readonly Cidr[];
  readonly mac: string;
  /** Name of its end in the overlay's namespace. */
  readonly veth: string;
}

/** Where the other end of a port is made. */
export interface PortPeer {
  /** Path of the namespace: the container's, or the one from which a runtime moves it. */
  readonly path: string;
  readonly ifname: string;
  /** Others wait there as well until a runtime moves them. Default: the namespace is the container's. */
  readonly transit?: boolean | undefined;
}

/**
 * Chooses the MAC address and the name of a port. It holds as long as the caller has the overlay's lock.
 * @throws OvernsError `EEXIST` (an address is attached already), `EADDRNOTAVAIL` (the network speaks against one)
 */
export async function planPort(rtnl: Rtnl, overlay: PortOverlay, request: PortRequest): Promise<Port> {
  const { addresses } = request;
  const attached = await listAttached(rtnl, overlay.vtep);
  const named = addresses.find(({ family }) => family === 4) ?? (addresses[0] as Cidr);
  const taken = (each: string): boolean => attached.some(({ attachment }) => attachment.mac === each);
  const mac = request.mac ?? defaultMac(named.ip, taken);
  refuseTaken(
    attached,
    overlay.name,
    addresses.map(({ ip }) => ip),
    mac,
  );
  if (!request.anyAddress) refuseOutside(overlay.name, await bridgeAddresses(rtnl), addresses);
  return { addresses, mac, veth: vethName(mac) };
}

/** The addresses of br0, with prefix lengths. */
export async function bridgeAddresses(rtnl: Rtnl): Promise<string[]> {
  try {
    return (await rtnl.addresses.list({ link: BRIDGE })).map(({ address }) => address);
  } catch (error) {
    if (OvernsError.is(error) && error.code === 'ENODEV') return []; // the veth will say what is wrong
    throw error;
  }
}

/**
 * Removes what an attach that died has left: a veth without its alias, by this name or into this container. Nobody else
 * is at work while the caller has the overlay's lock.
 */
export async function removeLeftovers(
  rtnl: Rtnl,
  veth: string | undefined,
  { path, transit = false }: PortPeer,
): Promise<void> {
  const nameless = (await rtnl.links.list({ kind: 'veth' })).filter(
    ({ name, alias }) => alias === undefined && isVethName(name),
  );
  if (nameless.length === 0) return;
  const nsid = transit ? undefined : await rtnl.nsid({ path });
  for (const { name, linkNetnsid } of nameless) {
    if (name === veth || (nsid !== undefined && linkNetnsid === nsid)) await removePort(rtnl, name);
  }
}

/** Makes the veth. Until it is announced it is nobody's: see {@link removeLeftovers}. */
export async function makePort(
  t: Transaction,
  rtnl: Rtnl,
  overlay: PortOverlay,
  { veth, mac }: Port,
  peer: PortPeer,
): Promise<void> {
  const { mtu } = overlay;
  await t.step(
    'veth',
    () =>
      rtnl.links.add({
        kind: 'veth',
        name: veth,
        master: BRIDGE,
        up: true,
        mtu,
        peer: { name: peer.ifname, mac, mtu, netns: { path: peer.path } },
      }),
    () => removePort(rtnl, veth),
  );
}

/**
 * Lets frames of no other MAC address than its own enter br0 at a port, and tells br0 that this one is there: it may have
 * learned it behind vxlan1, before the container came. Nobody else takes it away by a frame that bears it, and br0 and the
 * peers of the container learn no more MAC addresses than there are containers.
 *
 * The kernel ignores what it does not know: before Linux 5.16 frames of other MAC addresses pass (IFLA_BRPORT_LOCKED).
 */
export async function lockPort(t: Transaction, rtnl: Rtnl, { veth, mac }: Port): Promise<void> {
  // With the veth goes what is set here.
  await t.step('lock', async () => {
    await rtnl.links.set({ name: veth, bridgePort: { locked: true, learning: false } });
    await rtnl.fdb.replace({ link: veth, mac, state: 'static', flags: ['master', 'sticky'] });
  });
}

/** Says in the alias of a port whose it is. */
export interface PortOwner {
  /** The container or the runtime's endpoint in words, such as `docker:web`; detach finds the port by them. */
  readonly container: string;
  /** Name of the interface in the container. */
  readonly ifname: string;
  /** Refuses words that the alias has no room for. Default: they are left out. */
  readonly required?: boolean | undefined;
}

/**
 * Makes a port known as an endpoint of this host: the resolver learns from the alias what is local.
 * @throws OvernsError `E2BIG` (the alias has no room)
 */
export async function announcePort(
  t: Transaction,
  rtnl: Rtnl,
  { vtep }: PortOverlay,
  { veth, mac, addresses }: Port,
  { container, ifname, required = false }: PortOwner,
): Promise<Attachment> {
  const texts = addresses.map(formatCidr);
  const alias = formatAlias({ mac, addresses: texts, ifname, container, required });
  // After the veth is made: the kernel takes an alias in a change only.
  await t.step(
    'alias',
    () => rtnl.links.set({ name: veth, alias }),
    () => rtnl.links.set({ name: veth, alias: '' }),
  );
  const ips = addresses.map(({ ip }) => ip);
  const kept = alias.endsWith(` ${container}`) ? container : '';
  return { ip: ips[0] as string, ips, mac, vtep, container: kept, ifname, veth, addresses: texts };
}

/** The container's end of a port, and what it is given. */
export interface PortConfiguration {
  /** Path of the namespace that it is in. */
  readonly path: string;
  /** The container in words, for errors. */
  readonly container: string;
  readonly ifname: string;
  readonly routes: readonly Route[];
}

/** Gives the container's end its addresses and routes, and sets it up. Undone, it is down and without addresses. */
export async function configurePort(
  t: Transaction,
  rtnl: Rtnl,
  inside: Rtnl,
  { veth, addresses }: Port,
  { path, container, ifname, routes }: PortConfiguration,
): Promise<void> {
  if (addresses.some(({ family }) => family === 6)) {
    // Docker switches IPv6 off in the namespaces of containers without a network.
    await t.step('ipv6', () =>
      kernel(
        { what: `switch IPv6 on for ${ifname}`, netns: container },
        rtnl.system.native.writeSysctl(path, `ipv6/conf/${ifname}/disable_ipv6`, '0'),
      ),
    );
  }
  const items = addresses.map((address) => ({
    link: ifname,
    address: formatCidr(address),
    nodad: address.family === 6,
  }));
  await t.step(
    'addresses',
    async () => {
      const answers = await inside.addresses.batch(items.map((item) => ({ op: 'add' as const, item })));
      for (const answer of answers) if (!answer.ok) throw answer.error;
    },
    async () => {
      await inside.addresses.batch(items.map((item) => ({ op: 'delete' as const, item })));
    },
  );
  await t.step(
    'up',
    () => inside.links.set({ name: ifname, up: true }),
    () => inside.links.set({ name: ifname, up: false }),
  );
  await t.step('carrier', () => awaitCarrier(rtnl, veth));
  if (routes.length > 0) await t.step('routes', () => addRoutes(inside, ifname, routes, container));
  // A burst to an address that is being resolved waits in the container, all of it.
  await t.step('queue', () => widenNeighborQueue(inside, ifname));
}

/**
 * Tells the containers on this host which MAC address it has: they may know it with another one, and a bridge that is not told
 * where it is (by {@link lockPort}) may look for it behind vxlan1.
 */
export async function greetPort(
  t: Transaction,
  rtnl: Rtnl,
  { mac, addresses }: Port,
  { path, container, ifname }: PortConfiguration,
): Promise<void> {
  const ips = addresses.map(({ ip }) => ip);
  await t.step('greeting', () =>
    kernel({ what: `announce ${ifname}`, netns: container }, rtnl.system.native.announce(path, ifname, mac, ips)),
  );
}

/** Lets a burst to one address wait in the container while it is resolved. */
export async function widenNeighborQueue(inside: Rtnl, ifname: string): Promise<void> {
  await inside.setNeighborQueue(ifname, NEIGHBOR_QUEUE_BYTES);
}

/** Removes a port by its end in the overlay's namespace, wherever the other one is. One that is gone is no failure. */
export function removePort(rtnl: Rtnl, veth: string): Promise<void> {
  return unlessGone(rtnl.links.delete({ name: veth }));
}

/** Passes over the failure of a link that is gone: it goes with its container, which may end meanwhile. */
export async function unlessGone(request: Promise<void>): Promise<void> {
  try {
    await request;
  } catch (error) {
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
