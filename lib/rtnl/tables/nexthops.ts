/** Nexthop objects. */
import type { Cancel } from '../../core/abort.js';
import { checkObject } from '../../core/options.js';
import { refuseUndefined } from '../removal.js';
import type { Nexthop, Written } from '../types.js';
import { KernelTable, type Table } from './table.js';

/**
 * Nexthop objects.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' }); // rtnl.nexthops is a NexthopTable
 * await rtnl.links.add({ kind: 'bridge', name: 'br1', up: true });
 * await rtnl.nexthops.add({ id: 7, link: 'br1' });
 * await rtnl.nexthops.add({ id: 8, blackhole: true });
 * await rtnl.nexthops.replace({ id: 7, link: 'br1', protocol: 'static' });
 * console.log((await rtnl.nexthops.list({ id: 7 }))[0]?.protocol); // static
 * console.log(await rtnl.nexthops.flush()); // 2
 * ```
 */
export interface NexthopTable extends Omit<Table<Nexthop, Written<Nexthop, 'id'>, 'add' | 'replace'>, 'append'> {
  /** Removes the one of that id, and with it the routes that refer to it: `ENOENT` when there is none. */
  delete(item: Partial<Nexthop>, options?: Cancel): Promise<void>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. A group goes with its last member, and
   * counts all the same.
   */
  flush(filter?: Partial<Nexthop>, options?: Cancel): Promise<number>;
}

export class Nexthops extends KernelTable<Nexthop, Written<Nexthop, 'id'>> implements NexthopTable {
  async flush(filter: Partial<Nexthop> = {}, options?: Cancel): Promise<number> {
    refuseUndefined(checkObject(filter, 'filter'));
    const found = await this.list(filter, options);
    await this.deleteAll(found, 'ENOENT', options);
    return found.length;
  }
}
