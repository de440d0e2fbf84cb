/** Giving an overlay another VTEP, when its host has another address. */

import { lockNamespace } from '../netns/lock.js';
import type { NetnsRef } from '../netns/references.js';
import type { System } from '../system/system.js';
import { VXLAN } from './devices.js';
import { openOverlay } from './state.js';

/**
 * Has vxlan1 send from another address of the host. What its peers are to send to is what is published of it.
 * @returns the VTEP from before
 * @throws OvernsError as `Overlay.open`; NetlinkError for what the kernel refuses
 */
export async function renumberOverlay(
  system: System,
  name: string,
  vtep: string,
  host: NetnsRef | undefined,
): Promise<string> {
  const { state, rtnl, identity } = await openOverlay(system, name, host, undefined);
  try {
    const unlock = await lockNamespace(system, state.path, undefined, identity);
    try {
      await rtnl.links.set({ kind: 'vxlan', name: VXLAN, local: vtep });
    } finally {
      unlock();
    }
    return state.vtep;
  } finally {
    await rtnl.close();
  }
}
