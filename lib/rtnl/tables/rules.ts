/** Rules of policy routing. */
import type { Cancel } from '../../core/abort.js';
import type { Given, Rule } from '../types.js';
import { type BatchAnswer, KernelTable, type Table } from './table.js';

/**
 * Rules of policy routing.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' }); // rtnl.rules is a RuleTable
 * await rtnl.rules.add({ priority: 100, from: '10.0.0.0/8', table: 42 });
 * await rtnl.rules.replace({ priority: 100, from: '10.0.0.0/8', table: 42 }); // is there
 * const [rule] = await rtnl.rules.list({ table: 42 });
 * console.log(rule?.from, await rtnl.rules.flush({ table: 42 })); // 10.0.0.0/8 1
 * ```
 */
export interface RuleTable extends Pick<Table<Rule, Given<Rule>>, 'add' | 'list'> {
  /** Makes it unless it is there: all of a rule is its key. */
  replace(item: Given<Rule>, options?: Cancel): Promise<void>;
  /**
   * Removes the first rule that has all that is given, as the kernel does.
   * @throws NetlinkError `ENOENT`; `EBUSY` when that would be another one than a rule given in full, which stands
   *   behind it: one of the same priority, for more
   */
  delete(item: Given<Rule>, options?: Cancel): Promise<void>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. The kernel's own rules (`protocol`
   * `kernel`: look in `local`, in `main`, in `default`) stay unless `protocol` or `priority` asks for them.
   */
  flush(filter?: Partial<Rule>, options?: Cancel): Promise<number>;
  /** Sent together; answers `{ ok }` or `{ ok: false, error }` per item, in order. */
  batch(
    operations: readonly { op: 'add' | 'replace' | 'delete'; item: Given<Rule> }[],
    options?: Cancel,
  ): Promise<readonly BatchAnswer[]>;
}

export class Rules extends KernelTable<Rule, Given<Rule>> {
  async flush(filter: Partial<Rule> = {}, options?: Cancel): Promise<number> {
    const found = await this.list(filter, options);
    const asked = filter.protocol !== undefined || filter.priority !== undefined;
    const gone = asked ? found : found.filter(({ protocol }) => protocol !== 'kernel');
    return this.deleteAll(gone, 'ENOENT', options);
  }
}
