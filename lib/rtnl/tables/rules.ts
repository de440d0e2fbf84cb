/** Rules of policy routing. */
import type { Cancel } from '../../core/abort.js';
import { checkObject } from '../../core/options.js';
import type { NativeOp } from '../../system/native.js';
import { refuseUndefined } from '../removal.js';
import type { Given, Rule } from '../types.js';
import { KernelTable, type Table, type Verb } from './table.js';

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
export interface RuleTable extends Omit<Table<Rule, Given<Rule>, 'add' | 'replace'>, 'append'> {
  /** Makes it unless it is there: all of a rule is its key. */
  replace(item: Given<Rule>, options?: Cancel): Promise<void>;
  /**
   * Removes the first rule that has all that is given, as the kernel does. The rules that a namespace is made with
   * (`protocol` `kernel`) go by their `priority` only.
   * @throws NetlinkError `ENOENT`; `EBUSY` when that would be another one than a rule given in full, which stands
   *   behind it: one of the same priority, for more; or one of the kernel's own. TypeError when nothing is given but
   *   `family` or `flags`, and for a field that is there and undefined
   */
  delete(item: Partial<Rule>, options?: Cancel): Promise<void>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. The kernel's own rules (`protocol`
   * `kernel`: look in `local`, in `main`, in `default`) stay unless `protocol` or `priority` asks for them.
   */
  flush(filter?: Partial<Rule>, options?: Cancel): Promise<number>;
}

export class Rules extends KernelTable<Rule, Given<Rule>> implements RuleTable {
  async flush(filter: Partial<Rule> = {}, options?: Cancel): Promise<number> {
    refuseUndefined(checkObject(filter, 'filter'));
    const found = await this.list(filter, options);
    const asked = filter.protocol !== undefined || filter.priority !== undefined;
    const gone = asked ? found : found.filter(({ protocol }) => protocol !== 'kernel');
    return this.deleteAll(gone, 'ENOENT', options);
  }

  /** Takes the row out of an event about a rule, where `action` is what became of it. */
  protected override prepare(operation: { readonly op: Verb; readonly item: Given<Rule> }): NativeOp {
    const { op, item } = super.prepare(operation) as NativeOp;
    const { ruleAction, ...row } = item;
    return ruleAction === undefined ? { op, item } : { op, item: { ...row, action: ruleAction } };
  }
}
