/**
 * Routes that are replaced as they are listed. The kernel replaces the first of those that share a key, whichever is
 * meant: of IPv6 routes without a gateway that of another link (fib6_add_rt2node), and it makes a metric of 0 its
 * default one (ip6_route_info_create).
 */
import { isDeepStrictEqual } from 'node:util';
import type { NativeOp } from '../system/native.js';
import { identityOf } from './identity.js';

type Item = Readonly<Record<string, unknown>>;

/** True for a row as it is listed, which stands for itself and no other. */
export function isListedRoute(item: Item): boolean {
  return [item.family, item.type, item.table, item.scope, item.protocol].every((field) => field !== undefined);
}

/**
 * The requests that each operation takes: none where the route is as it is to be.
 * @param list lists the IPv6 routes of a table
 */
export async function planReplacements(
  operations: readonly NativeOp[],
  list: (table: number) => Promise<readonly object[]>,
): Promise<readonly (readonly NativeOp[])[]> {
  const tables = new Map<unknown, readonly object[]>();
  const plans: (readonly NativeOp[])[] = [];
  for (const operation of operations) {
    const { op, item } = operation;
    if (op !== 'replace' || item.family !== 'inet6' || !isListedRoute(item)) {
      plans.push([operation]);
      continue;
    }
    if (!tables.has(item.table)) tables.set(item.table, await list(item.table as number));
    plans.push(plan(operation, tables.get(item.table) as readonly Item[]));
  }
  return plans;
}

function plan(operation: NativeOp, rows: readonly Item[]): readonly NativeOp[] {
  const { item } = operation;
  const key = keyOf(item);
  const sharing = rows.filter((row) => keyOf(row) === key);
  const identity = identityOf('route', item);
  const mine = sharing.find((row) => identityOf('route', row) === identity);
  if (mine !== undefined && isDeepStrictEqual(lasting(mine), lasting(item))) return [];
  if (sharing.length === (mine === undefined ? 0 : 1)) return [operation];
  const made: NativeOp = { op: 'append', item };
  return mine === undefined ? [made] : [{ op: 'delete', item: mine }, made];
}

function keyOf({ dst, from, metric, table }: Item): string {
  return `${table} ${dst} ${from ?? ''} ${metric ?? 0}`;
}

/** Without what runs on, what an event adds, and what the kernel says of the moment. */
function lasting(row: Item): Item {
  const { expires, kind, action, atNs, netns, replaced, flags, link, ...rest } = row;
  const { nexthops } = rest;
  if (!Array.isArray(nexthops)) return rest;
  return { ...rest, nexthops: nexthops.map(({ flags: _, link: __, ...hop }: Item) => hop) };
}
