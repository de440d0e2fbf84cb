/** An overlay as it stands in the kernel, read back from its devices. */
import { join } from 'node:path';
import { throwIfAborted } from '../core/abort.js';
import { ipFamily } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import { lockNamespace } from '../netns/lock.js';
import type { NetnsRef } from '../netns/references.js';
import { listNetns, netnsDirectory, netnsPath } from '../netns/references.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import type { Where } from '../store/contract.js';
import type { System } from '../system/system.js';
import { contentsOf, notAnOverlay } from './contents.js';
import { VXLAN } from './devices.js';
import { neverAsks, remake } from './fitness.js';
import { type Entered, inNamed, Passing, there } from './namespace.js';
import { findSource, type UnderlayQuestion } from './underlay.js';

/**
 * An overlay as it stands in the kernel.
 * @example
 * ```ts
 * import type { OverlayInfo } from 'overns';
 *
 * const info: OverlayInfo = { overlay: 'overns', vni: 42, vtep: '10.0.0.10', port: 4789, mtu: 1450 };
 * console.log(info.mtu); // 1450
 * ```
 */
export interface OverlayInfo extends Where {
  /** The host's underlay address. */
  readonly vtep: string;
  /** UDP port of the VXLAN packets. */
  readonly port: number;
  /** Largest IP packet that crosses, bytes. */
  readonly mtu: number;
}

/** An overlay, and where its namespaces are. */
export interface OverlayState extends OverlayInfo {
  /** Path of its namespace. */
  readonly path: string;
  /** Path of the host's namespace, as far as it is known yet. */
  readonly host?: string | undefined;
  /** Its vxlan1, as it was read. */
  readonly device?: Link | undefined;
}

/** An overlay that was made or found, and a socket in its namespace, which the receiver closes. */
export interface OpenedOverlay extends Entered {
  readonly state: OverlayState;
}

/** The overlay in a namespace, or undefined where there is none. */
export async function readState(
  name: string,
  path: string,
  rtnl: Rtnl,
  host: NetnsRef | undefined,
): Promise<OverlayState | undefined> {
  const vxlan = (await rtnl.links.list({ kind: 'vxlan' })).find((link) => link.name === VXLAN);
  if (!vxlan || typeof vxlan.vni !== 'number') return undefined;
  const never = neverAsks(vxlan);
  if (never !== undefined) {
    throw new OvernsError('EINVAL', `namespace "${name}" is no overlay: its ${never}`, { hint: remake(name) });
  }
  let vtep = typeof vxlan.local === 'string' ? vxlan.local : undefined;
  let hostPath = host === undefined ? undefined : await netnsPath(rtnl.system, host, 'host');
  if (vtep === undefined) {
    // Made by hand, without `local`: the kernel chooses the source by route, packet by packet.
    hostPath ??= await findHost(name, rtnl, vxlan);
    const underlay = await Rtnl.open({ netns: { path: hostPath }, system: rtnl.system });
    try {
      vtep = await findSource(underlay, await questionOf(underlay, vxlan));
    } finally {
      await underlay.close();
    }
  }
  const { vni, port, mtu } = vxlan;
  return { overlay: name, vni, vtep, port: Number(port), mtu, path, host: hostPath, device: vxlan };
}

/** Asks for the source of what a vxlan device without a local address sends. */
async function questionOf(host: Rtnl, { group, port, device }: Link): Promise<UnderlayQuestion> {
  const lower = device === undefined ? undefined : (await host.links.list()).find(({ index }) => index === device);
  // Without a remote it is a device of IPv4 (vxlan_nl2conf).
  return { port: Number(port), peer: group, family: group === undefined ? 4 : ipFamily(group), link: lower?.name };
}

/**
 * The namespace that the vxlan device is linked to, by its id: the caller's, pid 1's, or a named one.
 * @throws OvernsError `OVERNS_HOST` when none matches
 */
export async function findHost(
  name: string,
  rtnl: Rtnl,
  vxlan: Link,
  signal?: AbortSignal | undefined,
): Promise<string> {
  const wanted = vxlan.linkNetnsid;
  const named = (await listNetns(rtnl.system)).map((each) => join(netnsDirectory(), each));
  for (const path of ['/proc/self/ns/net', '/proc/1/ns/net', ...named]) {
    throwIfAborted(signal);
    const id = await rtnl.nsid({ path }).catch(() => -1);
    if (wanted !== undefined && id === wanted) return path;
  }
  throw new OvernsError(
    'OVERNS_HOST',
    `the host of overlay "${name}" cannot be found: its ${VXLAN} is linked to a namespace without a name`,
    { hint: 'name it with `host`' },
  );
}

/**
 * Opens an overlay that exists. One that is just being made or removed is waited for.
 * @throws OvernsError `ENOENT`, `EINVAL` (it is no overlay), `OVERNS_INCOMPLETE` (it lacks its vxlan1)
 */
export async function openOverlay(
  system: System,
  name: string,
  host: NetnsRef | undefined,
  signal: AbortSignal | undefined,
): Promise<OpenedOverlay> {
  return inNamed(system, name, signal, async ({ path, rtnl, identity }) => {
    let state = await readState(name, path, rtnl, host);
    let contents = contentsOf(await rtnl.links.list());
    if (state === undefined && contents !== 'other') {
      // A process at work has the turn: an overlay that lacks something when nobody has it is not on its way.
      const unlock = await there(() => lockNamespace(system, path, signal, identity));
      try {
        state = await readState(name, path, rtnl, host);
        contents = contentsOf(await rtnl.links.list());
      } finally {
        unlock();
      }
    }
    throwIfAborted(signal);
    if (state !== undefined) return { state, rtnl, identity };
    const error = notAnOverlay(name, contents);
    // The process that has just made it may not have the turn yet.
    throw contents === 'empty' ? new Passing('empty', { cause: error }) : error;
  });
}
