/** Attaching a container to an overlay: the steps of a port, all of them, into the container's own namespace. */
import type { Cancel } from '../../core/abort.js';
import type { Cidr } from '../../core/address.js';
import { OvernsError } from '../../core/errors.js';
import { type Transaction, transaction } from '../../core/transaction.js';
import { lockNamespace } from '../../netns/lock.js';
import { Rtnl } from '../../rtnl/rtnl.js';
import { undoAtStore } from '../../store/effect.js';
import type { ContainerTarget } from '../targets/target.js';
import { type Attachment, listAttached, refuseTaken } from './attachment.js';
import {
  bridgePools,
  type ContainerNetwork,
  type ContainerRoute,
  checkAddresses,
  containerNetwork,
} from './container-network.js';
import {
  announcePort,
  bridgeAddresses,
  configurePort,
  greetPort,
  lockPort,
  makePort,
  type Port,
  type PortOverlay,
  type PortRequest,
  planPort,
  removeLeftovers,
} from './port.js';
import { claimPort, type Publisher, publishPort } from './publish.js';
import { findAttached, findSame } from './same.js';

/** A container as it is to be attached. */
export interface AttachRequest extends Omit<PortRequest, 'addresses'> {
  /** Undefined: the publisher is asked for free ones of br0's networks. */
  readonly addresses: readonly Cidr[] | undefined;
  readonly gateways: readonly string[];
  readonly routes: readonly ContainerRoute[];
  readonly target: ContainerTarget;
  readonly ifname: string;
  /** Lets frames of other MAC addresses leave the port. */
  readonly anyMac: boolean;
  /** Takes the same container, attached in the same way, for done. */
  readonly ensure: boolean;
  readonly publisher: Publisher | undefined;
}

/** A container whose addresses are known. */
type AddressedRequest = Omit<AttachRequest, 'routes'> & PortRequest & ContainerNetwork;

/** The overlay that a container is attached to. */
export interface AttachOverlay extends PortOverlay {
  /** Identity of its namespace: another one may have the path by now. */
  readonly identity: string;
}

/** Attaches a container: all of it, or nothing. */
export function attach(
  rtnl: Rtnl,
  overlay: AttachOverlay,
  request: AttachRequest,
  { signal }: Cancel,
): Promise<Attachment> {
  return transaction(signal, async (t) => {
    const { target, publisher, ensure, gateways, routes } = request;
    const inside = await t.step(
      'socket',
      () => Rtnl.open({ netns: { path: target.path }, system: rtnl.system }),
      (socket) => socket.close(),
    );
    const turn = () =>
      t.step(
        'turn',
        () => lockNamespace(rtnl.system, overlay.netns, signal, overlay.identity),
        (release) => release(),
      );
    const found = await addressesFor(t, rtnl, inside, overlay, request, turn, signal);
    let wanted: AddressedRequest = {
      ...request,
      ...containerNetwork(found.addresses, gateways, routes),
      mac: found.mac,
    };
    let { claimed } = found;
    if (publisher?.claim && !claimed) {
      // A store can take its time, in which others have their turn: what is planned now is looked at again behind it.
      const release = await turn();
      const there = ensure ? await findSame(rtnl, inside, overlay, wanted) : undefined;
      const port = there ?? (await preparePort(rtnl, inside, overlay, wanted));
      release();
      const ips = wanted.addresses.map(({ ip }) => ip);
      const endpoint = { ip: ips[0] as string, ips, mac: port.mac, vtep: overlay.vtep };
      claimed = await claimPort(t, publisher, endpoint, { fresh: !there, signal, overlay: overlay.name });
      wanted = { ...wanted, mac: port.mac };
    }
    const unlock = await turn();
    const same = ensure ? await findSame(rtnl, inside, overlay, wanted) : undefined;
    const attachment = same ?? (await addPort(t, rtnl, inside, overlay, wanted));
    // When that fails the turn ends with the undoing of it.
    unlock();
    if (publisher && !claimed)
      await publishPort(t, publisher, attachment, { fresh: same === undefined, signal, overlay: overlay.name });
    await inside.close();
    return attachment;
  });
}

/** Addresses for a container: those that were asked for, those that it has, or free ones, which are claimed then. */
async function addressesFor(
  t: Transaction,
  rtnl: Rtnl,
  inside: Rtnl,
  overlay: PortOverlay,
  request: AttachRequest,
  turn: () => Promise<() => void>,
  signal: AbortSignal | undefined,
): Promise<{ addresses: readonly Cidr[]; mac: string | undefined; claimed: boolean }> {
  const { addresses, mac, ensure, publisher } = request;
  if (addresses !== undefined) return { addresses, mac, claimed: false };
  const { name, vtep } = overlay;
  const release = await turn();
  const there = ensure ? await findAttached(rtnl, inside, vtep, request) : undefined;
  if (there !== undefined) {
    release();
    return { addresses: checkAddresses(there.addresses, 'address'), mac: mac ?? there.mac, claimed: false };
  }
  if (publisher === undefined) throw noAddress(name, request.target);
  const attached = await listAttached(rtnl, vtep);
  if (mac !== undefined) refuseTaken(attached, name, [], mac);
  await clearPlace(rtnl, inside, request);
  const pools = bridgePools(name, await bridgeAddresses(rtnl));
  release();
  const except = attached.flatMap(({ attachment }) => attachment.ips);
  const given = await t.step(
    'allocate',
    () => publisher.allocate(pools, { vtep, except, ...(mac !== undefined && { mac }), signal }),
    ({ endpoint }) => undoAtStore((cancel) => publisher.withdraw(endpoint, cancel)),
  );
  return { addresses: checkAddresses(given.addresses, 'address'), mac: given.endpoint.mac, claimed: true };
}

function noAddress(overlay: string, { description }: ContainerTarget): OvernsError {
  const message = `${description} is given no address, and neither an agent nor a store is there to take one of "${overlay}" from`;
  return new OvernsError('EADDRNOTAVAIL', message, {
    hint: 'give its `address`, or the `store` of the network, or start the agent, which has one',
  });
}

/** Plans the port, and clears its place. */
async function preparePort(rtnl: Rtnl, inside: Rtnl, overlay: PortOverlay, request: AddressedRequest): Promise<Port> {
  const port = await planPort(rtnl, overlay, request);
  await clearPlace(rtnl, inside, request, port.veth);
  return port;
}

/** Clears the place of a port of what an attach that died has left. */
async function clearPlace(rtnl: Rtnl, inside: Rtnl, { target, ifname }: Place, veth?: string): Promise<void> {
  await removeLeftovers(rtnl, veth, { path: target.path, ifname });
  if ((await inside.links.list({ name: ifname })).length > 0) {
    throw new OvernsError('EEXIST', `${target.description} has an interface "${ifname}" already`, {
      hint: 'detach it first, or choose another name with `ifname`',
    });
  }
}

type Place = Pick<AttachRequest, 'target' | 'ifname'>;

async function addPort(
  t: Transaction,
  rtnl: Rtnl,
  inside: Rtnl,
  overlay: PortOverlay,
  request: AddressedRequest,
): Promise<Attachment> {
  const { target, ifname, routes } = request;
  const { path, description: container } = target;
  const port = await preparePort(rtnl, inside, overlay, request);
  await makePort(t, rtnl, overlay, port, { path, ifname });
  if (!request.anyMac) await lockPort(t, rtnl, port);
  const attachment = await announcePort(t, rtnl, overlay, port, { container, ifname });
  const configuration = { path, container, ifname, routes };
  await configurePort(t, rtnl, inside, port, configuration);
  await greetPort(t, rtnl, port, configuration);
  return attachment;
}
