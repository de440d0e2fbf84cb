/** Lists VLANs and multicast groups of bridges, which are not written. */
import type { Cancel } from '../../core/abort.js';
import type { BridgeVlan, Given, MdbEntry } from '../types.js';

/**
 * VLANs of bridges and their ports, as `bridge vlan show` lists them.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' }); // rtnl.vlans is a VlanTable
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * const vlans = await rtnl.vlans.list({ link: 'br1' });
 * console.log(vlans.filter(({ flags }) => !flags?.includes('untagged'))); // []
 * ```
 */
export interface VlanTable {
  /**
   * Lists those that match the filter field by field, a range if `vlan` is one of it. Since Linux 5.6; none where the
   * kernel was built without CONFIG_BRIDGE_VLAN_FILTERING.
   * @throws NetlinkError `ENODEV` for a link that there is not; OvernsError `EINTR` with the rows as `data` when they
   *   changed at every attempt to read them; TypeError, RangeError that name the field
   */
  list(filter?: Given<BridgeVlan>, options?: Cancel): Promise<readonly BridgeVlan[]>;
}

/**
 * Multicast groups that bridges and vxlans send to, as `bridge -d mdb show` lists them.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' }); // rtnl.mdb is an MdbTable
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * console.log(await rtnl.mdb.list({ bridge: 'br1', state: 'permanent' })); // []
 * ```
 */
export interface MdbTable {
  /**
   * Lists those that match the filter field by field. None where the kernel was built without
   * CONFIG_BRIDGE_IGMP_SNOOPING.
   * @throws as {@link VlanTable.list}
   */
  list(filter?: Given<MdbEntry>, options?: Cancel): Promise<readonly MdbEntry[]>;
}
