/** Removing an overlay from the kernel. */
import { throwIfAborted } from '../core/abort.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import { kernel } from '../system/kernel-error.js';
import { system } from '../system/system.js';
import { askControl } from './control.js';
import { BRIDGE, VXLAN } from './devices.js';
import { removePort } from './ports/port.js';

/** The overlay that is removed. */
interface Doomed {
  readonly name: string;
  /** Path of its namespace. */
  readonly netns: string;
}

/** Tells the resolver that serves the overlay, then removes vxlan1, the containers' veths, br0 and the name. */
export async function deleteOverlay(
  rtnl: Rtnl,
  { name, netns }: Doomed,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal);
  // A resolver that is stopped or stuck must not keep its overlay alive.
  await askControl(netns, { op: 'deleted' }, signal).catch(() => undefined);
  throwIfAborted(signal);
  // The links themselves: a socket that is open somewhere keeps the namespace, and with it the VNI, alive.
  const links = await rtnl.links.list();
  const order = [
    ...links.filter((link) => link.name === VXLAN),
    ...links.filter((link) => link.kind === 'veth' && link.master === BRIDGE),
    ...links.filter((link) => link.name === BRIDGE),
  ];
  for (const link of order) await removePort(rtnl, link.name);
  await removeNamespace(netns, name);
}

/** Takes a namespace's name away. */
export async function removeNamespace(path: string, name: string): Promise<void> {
  await kernel({ what: `remove the name "${name}"`, request: { path } }, system().native.deleteNetns(path));
}
