/** Lists what a monitor with `resync` tells of. */
import type { OvernsError } from '../../core/errors.js';
import type { Address, FdbEntry, Link, Neighbor, Nexthop, Route, Rule } from '../types.js';
import type { MonitorSource } from './monitor.js';

/** The tables that can be listed. */
interface Tables {
  readonly links: { list(filter?: { readonly name?: string }): Promise<readonly Link[]> };
  readonly addresses: { list(): Promise<readonly Address[]> };
  readonly routes: { list(): Promise<readonly Route[]> };
  readonly neighbors: { list(filter?: { readonly flags: readonly string[] }): Promise<readonly Neighbor[]> };
  readonly fdb: { list(): Promise<readonly FdbEntry[]> };
  readonly rules: { list(): Promise<readonly Rule[]> };
  readonly nexthops: { list(): Promise<readonly Nexthop[]> };
}

/** Lists what belongs to a monitor's groups. */
export function listing(rtnl: Tables): MonitorSource['list'] {
  return async (groups, anyhow = false) => {
    const listed: Record<string, unknown> = {};
    const read = <T>(list: () => Promise<readonly T[]>): Promise<readonly T[]> => whole(list, anyhow);
    // Links first, or one of them: the kernel tells of a link that goes down before it takes its routes away, and answers
    // this under the lock that it does both under (__dev_notify_flags, rtnl_getlink).
    const links = await read(() => rtnl.links.list(groups.includes('link') ? {} : { name: 'lo' }));
    if (groups.includes('link')) listed.links = links;
    if (groups.includes('address')) listed.addresses = await read(() => rtnl.addresses.list());
    if (groups.includes('route')) listed.routes = await read(() => rtnl.routes.list());
    if (groups.includes('neigh')) {
      const neighbors = await read(() => rtnl.neighbors.list());
      const proxies = await read(() => rtnl.neighbors.list({ flags: ['proxy'] }));
      listed.neighbors = proxies.length === 0 ? neighbors : [...neighbors, ...proxies];
      listed.fdb = await read(() => rtnl.fdb.list());
    }
    if (groups.includes('rule')) listed.rules = await read(() => rtnl.rules.list());
    if (groups.includes('nexthop')) listed.nexthops = await read(() => rtnl.nexthops.list());
    return listed;
  };
}

/** A listing of one moment: again while the table changes each time it is read; in the end as it was read, or EINTR. */
async function whole<T>(list: () => Promise<readonly T[]>, anyhow: boolean): Promise<readonly T[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await list();
    } catch (error) {
      const { code, data } = error as OvernsError & { readonly data?: readonly T[] };
      if (code !== 'EINTR') throw error;
      if (attempt < 3) continue;
      if (anyhow && data !== undefined) return data;
      throw error;
    }
  }
}
