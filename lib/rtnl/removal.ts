/**
 * A removal has to say what it removes. Elsewhere an undefined field counts as absent; here a field less stands for more, up
 * to all there is, and is refused.
 */
import { invalidType } from '../core/errors.js';
import type { TableName } from '../system/native.js';

type Item = Readonly<Record<string, unknown>>;

/** Tables whose rows go by all that is given of them. The others have a key that must be given, and the rest is not looked at. */
const BY_ALL: ReadonlySet<TableName> = new Set(['address', 'route', 'fdb', 'rule']);
/** Fields that a rule is not found by (rule_find, net/core/fib_rules.c), or that all of a family have. */
const NAMES_NO_RULE: ReadonlySet<string> = new Set(['family', 'flags', 'unknown']);

/**
 * Refuses what might delete another thing than is meant.
 * @throws TypeError
 */
export function checkDeletion(table: TableName, item: object): void {
  if (BY_ALL.has(table)) refuseUndefined(item as Item);
  if (table === 'rule') checkNamesRule(item);
}

/** Refuses a rule of which nothing is said: as `ip rule` does, for it would be any. */
export function checkNamesRule(item: object): void {
  for (const name in item) {
    if (!NAMES_NO_RULE.has(name) && (item as Item)[name] !== undefined) return;
  }
  throw invalidType(
    'item',
    undefined,
    'a rule with something that tells it from others, such as priority, from or table',
  );
}

/** Refuses fields of what is to be removed that are there and have no value. */
export function refuseUndefined(given: Item): void {
  for (const name in given) {
    if (given[name] === undefined)
      throw invalidType(name, undefined, 'a value, or no such field: left out, it stands for any');
  }
}
