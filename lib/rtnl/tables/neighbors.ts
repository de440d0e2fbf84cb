/** Neighbours. */
import type { Cancel } from '../../core/abort.js';
import { checkObject } from '../../core/options.js';
import { refuseUndefined } from '../removal.js';
import type { Neighbor, Written } from '../types.js';
import { EntryTable } from './entries.js';
import type { Table } from './table.js';

/**
 * Neighbours, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * await rtnl.neighbors.add({ link: 'br1', ip: '192.168.0.9', mac: '02:42:c0:a8:00:09', state: 'permanent' });
 * console.log(await rtnl.neighbors.flush({ link: 'br1' })); // 1
 * ```
 */
export interface NeighborTable extends Table<Neighbor, Written<Neighbor, 'link' | 'ip'>> {
  /**
   * Deletes all that match, and returns how many. The kernel deletes neighbours one by one only (Linux 6.18), so they
   * are listed and deleted in one batch. What the kernel itself made for multicast (`noarp`) stays unless `state` asks for it.
   */
  flush(filter?: Partial<Neighbor>, options?: Cancel): Promise<number>;
}

export class Neighbors extends EntryTable<Neighbor, Written<Neighbor, 'link' | 'ip'>> implements NeighborTable {
  async flush(filter: Partial<Neighbor> = {}, options?: Cancel): Promise<number> {
    refuseUndefined(checkObject(filter, 'filter'));
    const found = await this.list(filter, options);
    const gone = filter.state === undefined ? found.filter(({ state }) => state !== 'noarp') : found;
    return this.deleteAll(gone, 'ENOENT', options);
  }
}
