/** FDB entries. */
import { type Cancel, throwIfAborted } from '../../core/abort.js';
import { checkLinkName } from '../../core/address.js';
import { checkObject, signalOf } from '../../core/options.js';
import { kernel } from '../../system/kernel-error.js';
import { checkFlushFields } from '../fields.js';
import { identityOf } from '../identity.js';
import type { FdbEntry, FdbFlush, Written } from '../types.js';
import { EntryTable } from './entries.js';
import type { Item, Table } from './table.js';

/**
 * FDB entries, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42 });
 * await rtnl.fdb.add({ link: 'vxlan1', mac: '02:42:c0:a8:00:03', dst: '10.0.0.11', state: 'dynamic' });
 * await rtnl.fdb.flush({ link: 'vxlan1', dst: '10.0.0.11' });
 * console.log((await rtnl.fdb.list({ link: 'vxlan1' })).length); // 0
 * ```
 */
export interface FdbTable extends Table<FdbEntry, Written<FdbEntry, 'link' | 'mac'>> {
  /**
   * Deletes all that match, in one request and in the kernel (NLM_F_BULK): a million in about a second. A vxlan takes
   * every filter but `vlan` (Linux 6.7), a bridge (`flags: ['master']`) `vlan`, `state` and `flags` (Linux 5.19). By `mac` and
   * `via` the kernel does not choose: there the entries are listed and deleted in one batch, and a whole row as it is listed
   * takes that one entry.
   * @throws NetlinkError `EOPNOTSUPP` or `EINVAL` where the kernel or the device cannot
   */
  flush(filter: FdbFlush, options?: Cancel): Promise<void>;
}

export class Fdb extends EntryTable<FdbEntry, Written<FdbEntry, 'link' | 'mac'>> implements FdbTable {
  async flush(filter: FdbFlush, options?: Cancel): Promise<void> {
    checkFlushFields(checkObject(filter, 'filter'));
    throwIfAborted(signalOf(options));
    const request = filter as unknown as Item;
    const listed = [request.mac, request.via, request.viaIndex].some((field) => field !== undefined);
    if (listed) return this.#flushListed(request, options);
    const link =
      filter.link === undefined && request.linkIndex !== undefined
        ? `link ${request.linkIndex}`
        : checkLinkName(filter.link);
    await kernel(
      { what: `flush the FDB of ${link}`, netns: this.netns, request, table: 'fdb', op: 'flush' },
      this.open().flush(request),
    );
  }

  /** By what the kernel does not choose by: the MAC, and the device towards the remote (vxlan_fdb_delete_bulk). */
  async #flushListed({ withoutFlags, ...filter }: Item, options: Cancel | undefined): Promise<void> {
    const flags = Array.isArray(filter.flags) ? (filter.flags as readonly string[]) : [];
    const bridge = flags.includes('master') || (filter.master !== undefined && !flags.includes('self'));
    const wanted = { ...filter, flags: flags.filter((flag) => flag !== 'master') } as Partial<FdbEntry>;
    // A row as it is listed is that row: a field that it has not is no "any".
    const listed = filter.linkIndex !== undefined ? identityOf('fdb', filter) : undefined;
    const gone = (await this.list(wanted, options)).filter(
      (row) =>
        (listed === undefined || identityOf('fdb', row) === listed) &&
        bridge === (row.master !== undefined && row.flags?.includes('self') !== true) &&
        !(Array.isArray(withoutFlags) && withoutFlags.some((flag) => row.flags?.includes(flag))),
    );
    for (const answer of await this.batch(
      gone.map((item) => ({ op: 'delete', item })),
      options,
    )) {
      // Gone by itself meanwhile.
      if (!answer.ok && answer.error.code !== 'ENOENT') throw answer.error;
    }
  }
}
