/** Removing an overlay from the kernel: to the end, once it has begun. */
import { throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { traced } from '../core/transaction.js';
import { lockNamespace } from '../netns/lock.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import { kernel } from '../system/kernel-error.js';
import type { System } from '../system/system.js';
import { contentsOf, isPort, notAnOverlay } from './contents.js';
import { reachControl } from './control.js';
import { BRIDGE, VXLAN } from './devices.js';
import { inNamed } from './namespace.js';
import { unlessGone } from './ports/port.js';

/** The overlay that is removed. */
interface Doomed {
  readonly name: string;
  /** Path of its namespace. */
  readonly netns: string;
  /** Identity of its namespace. */
  readonly identity: string;
}

/**
 * Removes vxlan1 and the containers' veths, then the name, in the overlay's turn, and tells the resolver that serves it. br0
 * goes with the namespace: at once, or when the last who has it open closes it. An abort before the first of them leaves
 * everything as it was; after it no abort counts. Whoever is killed in between leaves br0 under the name, by which the rest is
 * known ({@link contentsOf}).
 * @param check refuse a namespace that is neither an overlay nor the rest of one
 */
export async function deleteOverlay(
  rtnl: Rtnl,
  { name, netns, identity }: Doomed,
  { signal, check = false }: { readonly signal: AbortSignal | undefined; readonly check?: boolean },
): Promise<void> {
  throwIfAborted(signal);
  const { system } = rtnl;
  let unlock: () => void;
  try {
    unlock = await traced('turn', () => lockNamespace(system, netns, signal, identity));
  } catch (error) {
    if (!OvernsError.is(error) || error.code !== 'ENOENT') throw error;
    // Its name is gone. Something may keep it all the same, and with it the VNI.
    const links = await rtnl.links.list();
    if (devicesOf(links).length === 0) throw error;
    await removeDevices(rtnl, links);
    return;
  }
  try {
    const links = await rtnl.links.list({}, { signal });
    const contents = contentsOf(links);
    if (check && contents !== 'overlay' && contents !== 'rest') throw notAnOverlay(name, contents);
    // Before anything goes, since afterwards no descriptor may be left for it.
    const resolver = await reachControl(system, netns).catch(unlessExhausted);
    try {
      throwIfAborted(signal);
      await removeDevices(rtnl, links);
      // It believes this when vxlan1 is gone. One that is stopped or stuck must not keep its overlay alive.
      await resolver?.ask({ op: 'deleted' }, signal).catch(() => undefined);
    } finally {
      resolver?.close();
    }
    await traced('remove namespace', () => removeNamespace(system, netns, name));
  } finally {
    unlock();
  }
}

function devicesOf(links: readonly Link[]): Link[] {
  return links.filter(
    (link) =>
      (link.kind === 'vxlan' && link.name === VXLAN) ||
      isPort(link) ||
      (link.kind === 'veth' && link.master === BRIDGE),
  );
}

/**
 * Removes vxlan1 and the containers' veths: the links themselves, since an open socket would keep the namespace alive. All at
 * once, in a group of their own: for each removal by itself the kernel waits until nobody uses the link any more.
 */
async function removeDevices(rtnl: Rtnl, links: readonly Link[]): Promise<void> {
  const groups = new Set(links.map(({ linkGroup }) => linkGroup));
  let linkGroup = 1;
  while (groups.has(linkGroup)) linkGroup++;
  await traced('remove devices', async () => {
    // One that is gone has gone with its container.
    for (const { name } of devicesOf(links)) await unlessGone(rtnl.links.set({ name, linkGroup }));
    await unlessGone(rtnl.links.delete({ linkGroup }));
  });
}

/** Removes an overlay, or the rest of one, that has no handle. */
export async function deleteByName(system: System, name: string, signal: AbortSignal | undefined): Promise<void> {
  await inNamed(system, name, signal, async ({ path, rtnl, identity }) => {
    await deleteOverlay(rtnl, { name, netns: path, identity }, { signal, check: true });
    await rtnl.close();
  });
}

/** A resolver that cannot be believed is none; without descriptors nothing is begun. */
function unlessExhausted(error: unknown): undefined {
  if (OvernsError.is(error) && ['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS'].includes(error.code)) throw error;
  return undefined;
}

/** Takes a namespace's name away. */
export async function removeNamespace(system: System, path: string, name: string): Promise<void> {
  await kernel({ what: `remove the name "${name}"`, request: { path } }, system.native.deleteNetns(path));
}
