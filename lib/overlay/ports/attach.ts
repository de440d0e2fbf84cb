/** Attaching a container to an overlay: the steps of a port, all of them, into the container's own namespace. */
import type { Cancel } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import { type Transaction, transaction } from '../../core/transaction.js';
import { lockNamespace } from '../../netns/lock.js';
import { Rtnl } from '../../rtnl/rtnl.js';
import type { ContainerTarget } from '../targets/target.js';
import type { Attachment } from './attachment.js';
import type { ContainerNetwork } from './container-network.js';
import {
  announcePort,
  configurePort,
  lockPort,
  makePort,
  type Port,
  type PortOverlay,
  type PortRequest,
  planPort,
  removeLeftovers,
} from './port.js';
import { claimPort, type Publisher, publishPort } from './publish.js';
import { findSame } from './same.js';

/** A container as it is to be attached. */
export interface AttachRequest extends PortRequest, ContainerNetwork {
  readonly target: ContainerTarget;
  readonly ifname: string;
  /** Lets frames of other MAC addresses leave the port. */
  readonly anyMac: boolean;
  /** Takes the same container, attached in the same way, for done. */
  readonly ensure: boolean;
  readonly publisher: Publisher | undefined;
}

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
    const { target, publisher, ensure } = request;
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
    const wanted = { ...request };
    let claimed = false;
    if (publisher?.claim) {
      // A store can take its time, in which others have their turn: what is planned now is looked at again behind it.
      const release = await turn();
      const there = ensure ? await findSame(rtnl, inside, overlay, request) : undefined;
      const port = there ?? (await preparePort(rtnl, inside, overlay, request));
      release();
      const ips = request.addresses.map(({ ip }) => ip);
      const endpoint = { ip: ips[0] as string, ips, mac: port.mac, vtep: overlay.vtep };
      claimed = await claimPort(t, publisher, endpoint, { fresh: !there, signal, overlay: overlay.name });
      wanted.mac = port.mac;
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

/** Plans the port, and clears its place of what an attach that died has left. */
async function preparePort(rtnl: Rtnl, inside: Rtnl, overlay: PortOverlay, request: AttachRequest): Promise<Port> {
  const { target, ifname } = request;
  const port = await planPort(rtnl, overlay, request);
  await removeLeftovers(rtnl, port.veth, { path: target.path, ifname });
  if ((await inside.links.list({ name: ifname })).length > 0) {
    throw new OvernsError('EEXIST', `${target.description} has an interface "${ifname}" already`, {
      hint: 'detach it first, or choose another name with `ifname`',
    });
  }
  return port;
}

async function addPort(
  t: Transaction,
  rtnl: Rtnl,
  inside: Rtnl,
  overlay: PortOverlay,
  request: AttachRequest,
): Promise<Attachment> {
  const { target, ifname, routes } = request;
  const { path, description: container } = target;
  const port = await preparePort(rtnl, inside, overlay, request);
  await makePort(t, rtnl, overlay, port, { path, ifname });
  if (!request.anyMac) await lockPort(t, rtnl, port);
  const attachment = await announcePort(t, rtnl, overlay, port, { container, ifname });
  await configurePort(t, rtnl, inside, port, { path, container, ifname, routes });
  return attachment;
}
