/** Routes, and which of them a packet takes. */
import { type Cancel, throwIfAborted } from '../../core/abort.js';
import { canonicalIp } from '../../core/address.js';
import { checkNames, checkObject, signalOf } from '../../core/options.js';
import { contains, destination, prefixOf } from '../../core/prefix.js';
import { kernel } from '../../system/kernel-error.js';
import type { NativeOp } from '../../system/native.js';
import { checkFilterFields } from '../fields.js';
import { isListedRoute, planReplacements } from '../listed-routes.js';
import { refuseUndefined } from '../removal.js';
import type { Given, Route, RouteAnswer, RouteFilter, RouteQuery, Written } from '../types.js';
import { type BatchAnswer, type Item, KernelTable, OK, type Table } from './table.js';

/**
 * Routes, the question which of them a packet takes, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open();
 * const { type, source } = await rtnl.routes.get({ dst: '10.0.0.11' });
 * console.log(type, source); // unicast 10.0.0.10
 * ```
 */
export interface RouteTable extends Table<Route, Written<Route, 'dst'>> {
  /**
   * Asks the kernel for the one route that it would choose, by rules, tables, metrics and sources, as `ip route get` does:
   * one request, however large the tables are. Nothing is sent to the address.
   * @throws NetlinkError `ENETUNREACH` (no route; IPv4: also a source that is no address of the namespace), `EHOSTUNREACH`,
   *   `EACCES`, `EINVAL` (routes and rules of type unreachable, prohibit, blackhole), `ENODEV` (no such link); TypeError,
   *   RangeError
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open();
   * const own = await rtnl.routes.get({ dst: '10.0.0.10' });
   * const row = await rtnl.routes.get({ dst: '10.0.0.11', match: true });
   * console.log(own.type, row.dst); // local 10.0.0.0/24
   * const none = await rtnl.routes.get({ dst: '192.0.2.1' }).catch((error) => error);
   * console.log(none.code); // ENETUNREACH
   * ```
   */
  get(query: RouteQuery, options?: Cancel): Promise<RouteAnswer>;
  list(filter?: Given<RouteFilter>, options?: Cancel): Promise<readonly Route[]>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. The `local` table (255), which the kernel
   * fills with the addresses of this namespace, stays unless `table` or `type` asks for it.
   * @throws NetlinkError, and leaves what has not been deleted by then
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * await rtnl.links.add({ kind: 'bridge', name: 'br1', up: true });
   * for (const dst of ['10.1.0.0/24', '10.1.1.0/24', '10.2.0.0/24']) await rtnl.routes.add({ dst, link: 'br1' });
   * console.log(await rtnl.routes.flush({ root: '10.1.0.0/16' })); // 2
   * ```
   */
  flush(filter?: RouteFilter, options?: Cancel): Promise<number>;
}

/** RT_TABLE_LOCAL. */
const LOCAL_TABLE = 255;

const ROUTE_QUERY = [
  'dst',
  'source',
  'link',
  'inputLink',
  'mark',
  'tos',
  'uid',
  'ipProtocol',
  'sourcePort',
  'destinationPort',
  'match',
] as const satisfies readonly (keyof RouteQuery)[];

export class Routes extends KernelTable<Route, Written<Route, 'dst'>> implements RouteTable {
  async get(query: RouteQuery, options?: Cancel): Promise<RouteAnswer> {
    checkNames(checkObject(query, 'query'), ROUTE_QUERY, 'field');
    throwIfAborted(signalOf(options));
    const dst = canonicalIp(query.dst, 'dst');
    const source = query.source === undefined ? undefined : canonicalIp(query.source, 'source');
    const request: Item = { ...query, dst, source };
    const what = `find the route to ${dst}${source === undefined ? '' : ` from ${source}`}`;
    const answer = await kernel(
      { what, netns: this.netns, request, table: 'route', op: 'get' },
      this.open().route(request),
    );
    if (query.match === true) return answer as unknown as RouteAnswer;
    // The source that was asked for is told as `from` (RTA_SRC), and IPv6 tells there what it would have chosen itself.
    const { from: _, ...rest } = answer;
    return (source === undefined ? rest : { ...rest, source }) as unknown as RouteAnswer;
  }

  protected override async sendPrepared(prepared: readonly NativeOp[]): Promise<readonly BatchAnswer[]> {
    const plans = await planReplacements(prepared, (table) => this.list({ family: 'inet6', table }));
    const answers = await super.sendPrepared(plans.flat());
    let at = 0;
    return plans.map((requests, number): BatchAnswer => {
      const own = answers.slice(at, at + requests.length);
      at += requests.length;
      const refused = own.find((each) => !each.ok);
      if (refused === undefined) return OK;
      // It is there already, behind another of the same key (fib_table_insert).
      const { op, item } = prepared[number] as NativeOp;
      const there = op === 'replace' && item.family === 'inet' && isListedRoute(item);
      return there && !refused.ok && refused.error.code === 'EEXIST' ? OK : refused;
    });
  }

  override async list(filter: Given<RouteFilter> = {}, options?: Cancel): Promise<readonly Route[]> {
    checkFilterFields('route', checkObject(filter, 'filter'));
    const { root, match, ...fields } = filter;
    const within = root === undefined ? undefined : prefixOf(root, 'root');
    const around = match === undefined ? undefined : prefixOf(match, 'match');
    const found = await super.list(fields, options);
    if (within === undefined && around === undefined) return found;
    return found.filter((route) => {
      const dst = destination(route);
      return (within === undefined || contains(within, dst)) && (around === undefined || contains(dst, around));
    });
  }

  async flush(filter: RouteFilter = {}, options?: Cancel): Promise<number> {
    refuseUndefined(checkObject(filter, 'filter'));
    const found = await this.list(filter, options);
    const asked = filter.table !== undefined || filter.type !== undefined;
    const gone = asked ? found : found.filter(({ table }) => table !== LOCAL_TABLE);
    return this.deleteAll(gone, 'ESRCH', options);
  }
}
