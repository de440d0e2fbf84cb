/** Addresses of links. */
import type { Cancel } from '../../core/abort.js';
import { checkObject } from '../../core/options.js';
import { refuseUndefined } from '../removal.js';
import type { Address, Written } from '../types.js';
import { KernelTable, type Table } from './table.js';

/**
 * Addresses of links, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * for (const address of ['10.1.0.1/24', '10.1.0.2/24']) await rtnl.addresses.add({ link: 'br1', address });
 * console.log(await rtnl.addresses.flush({ link: 'br1' })); // 2
 * ```
 */
export interface AddressTable extends Table<Address, Written<Address, 'link' | 'address'>> {
  /**
   * Deletes what a listing with the same filter gives, and returns how many. Secondary addresses that the kernel takes away
   * with their primary one (`promote_secondaries` off) count all the same. `lo` keeps its own, those of scope `host`,
   * unless `link`, `address` or `scope` asks for them.
   */
  flush(filter?: Partial<Address>, options?: Cancel): Promise<number>;
}

export class Addresses extends KernelTable<Address, Written<Address, 'link' | 'address'>> implements AddressTable {
  async flush(filter: Partial<Address> = {}, options?: Cancel): Promise<number> {
    refuseUndefined(checkObject(filter, 'filter'));
    const found = await this.list(filter, options);
    const asked = filter.link !== undefined || filter.linkIndex !== undefined;
    const named = asked || filter.address !== undefined || filter.scope !== undefined;
    const gone = named ? found : found.filter(({ scope }) => scope !== 'host');
    await this.deleteAll(gone, 'EADDRNOTAVAIL', options);
    return gone.length;
  }
}
