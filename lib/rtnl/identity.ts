/** Identities of rows: the keys of the kernel's tables. */
import { invalidArgument } from '../core/errors.js';

type Item = Readonly<Record<string, unknown>>;

/**
 * The kinds of rows that have an identity.
 * @example
 * ```ts
 * import type { IdentityKind } from 'overns';
 *
 * const kinds: IdentityKind[] = ['neighbor', 'fdb'];
 * console.log(kinds.length); // 2
 * ```
 */
export type IdentityKind = 'link' | 'address' | 'route' | 'neighbor' | 'fdb' | 'rule' | 'nexthop';

/**
 * A name for what an event or a row of a listing is about, as the kernel tells things apart: no two rows that it has at
 * one time share one, and news of the same thing bear the same one. It is the key of a mirror; what it is made of is
 * nobody else's business. Links count by their index, so that a renamed one changes nothing: rows need `linkIndex`,
 * which all that are listed and told of have.
 *
 * | kind | the kernel's key | source |
 * |---|---|---|
 * | `link` | index | net/core/dev.c, `__dev_get_by_index` |
 * | `address` IPv4 | link, address, prefix length, peer | net/ipv4/devinet.c, `__inet_insert_ifa` |
 * | `address` IPv6 | link, address | net/ipv6/addrconf.c, `ipv6_chk_same_addr` |
 * | `route` IPv4 | table, destination, TOS, metric; and of those that share them (`append`) all that fib_info holds: type, scope, protocol, source, nexthops, metrics | net/ipv4/fib_trie.c, `fib_find_alias`; fib_semantics.c, `fib_find_info` |
 * | `route` IPv6 | table, destination, `from`, metric; the ways of a multipath route together; without a gateway, or of a router's advertisement, also link and gateway; nexthop object | net/ipv6/ip6_fib.c, `fib6_add_rt2node`, `rt6_qualify_for_ecmp`, `rt6_duplicate_nexthop` |
 * | `neighbor` | link, address; proxies apart from the others | net/core/neighbour.c, `neigh_lookup`, `pneigh_lookup` |
 * | `fdb` of a bridge | bridge, MAC, VLAN: whichever port | net/bridge/br_fdb.c, `br_fdb_rht_params` |
 * | `fdb` of a device | device, MAC, source VNI; of the all-zero and multicast MACs, which have several, also destination, port, VNI and link | drivers/net/vxlan/vxlan_core.c, `vxlan_fdb_find_rdst` |
 * | `rule` | all of it | net/core/fib_rules.c, `rule_exists` |
 * | `nexthop` | id | net/ipv4/nexthop.c, `nexthop_find_by_id` |
 *
 * An IPv4 route that was `replaced` took the place of the first with its table, destination, TOS and metric, which may
 * be of another identity.
 *
 * @throws RangeError for a kind that there is not
 * @example
 * ```ts
 * import { identityOf, type Neighbor, Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * await rtnl.neighbors.add({ link: 'br1', ip: '192.168.0.9', mac: '02:42:c0:a8:00:09', state: 'permanent' });
 * const mirror = new Map<string, Neighbor>();
 * for await (const event of rtnl.monitor({ groups: ['neigh'], resync: true })) {
 *   if (event.kind === 'snapshot') {
 *     mirror.clear();
 *     for (const row of event.neighbors ?? []) mirror.set(identityOf('neighbor', row), row);
 *     break; // or go on for ever
 *   }
 *   if (event.kind !== 'neighbor') continue;
 *   if (event.action === 'delete') mirror.delete(identityOf('neighbor', event));
 *   else mirror.set(identityOf('neighbor', event), event);
 * }
 * const [row] = await rtnl.neighbors.list({ ip: '192.168.0.9' });
 * console.log(row && mirror.get(identityOf('neighbor', row))?.mac); // 02:42:c0:a8:00:09
 * ```
 */
export function identityOf(kind: IdentityKind, row: object): string {
  const item = row as Item;
  switch (kind) {
    case 'link':
      return `${item.index}`;
    case 'address':
      return addressIdentity(item);
    case 'route':
      return routeIdentity(item);
    case 'neighbor':
      return `${linkOf(item)} ${item.ip}${has(item, 'proxy') ? ' proxy' : ''}`;
    case 'fdb':
      return fdbIdentity(item);
    case 'rule':
      return ruleIdentity(item);
    case 'nexthop':
      return `${item.id}`;
    default:
      throw invalidArgument('kind', kind, 'link, address, route, neighbor, fdb, rule or nexthop');
  }
}

/** The link's index, or the name that a row made by hand has instead. */
function linkOf(item: Item): string {
  return String(item.linkIndex ?? item.link ?? '');
}

function has(item: Item, flag: string): boolean {
  return Array.isArray(item.flags) && item.flags.includes(flag);
}

function addressIdentity(item: Item): string {
  const address = String(item.address);
  if (address.includes(':')) return `${linkOf(item)} ${address.slice(0, address.indexOf('/'))}`;
  return `${linkOf(item)} ${address} ${item.peer ?? ''}`;
}

function routeIdentity(item: Item): string {
  const key = `${item.table} ${item.family} ${item.dst} ${item.from ?? ''} ${item.tos ?? 0} ${item.metric ?? 0}`;
  if (item.family === 'inet6') return `${key} ${ways6(item)}`;
  const made = `${item.type} ${item.scope} ${item.protocol} ${item.source ?? ''}`;
  return `${key} ${made} ${ways4(item)} ${item.metrics === undefined ? '' : JSON.stringify(item.metrics)}`;
}

/** The ways of a route; a nexthop object stands for its own, which may change under it. */
function ways4(item: Item): string {
  if (item.nexthop !== undefined) return `nexthop ${item.nexthop}`;
  if (!Array.isArray(item.nexthops)) return way4(item);
  return item.nexthops.map((hop: Item) => `${way4(hop)}*${hop.weight ?? 1}`).join(',');
}

function way4(hop: Item): string {
  return `${hop.gateway ?? ''}%${linkOf(hop)}${has(hop, 'onlink') ? '!' : ''}${rest(hop)}`;
}

function ways6(item: Item): string {
  if (item.nexthop !== undefined) return `nexthop ${item.nexthop}`;
  if (Array.isArray(item.nexthops)) return 'multipath';
  // A route with a gateway is a multipath route of one way, unless an advertisement made it (RTF_ADDRCONF).
  if (item.gateway !== undefined && item.protocol !== 'ra') return 'multipath';
  return `${item.gateway ?? ''}%${linkOf(item)}${rest(item)}`;
}

/** Realms and encapsulations: the attributes of a way that are not read. */
function rest({ unknown }: Item): string {
  if (!Array.isArray(unknown)) return '';
  return unknown
    .filter(({ within }: Item) => within === undefined)
    .map(({ type, bytes }: Item) => `+${type}:${Buffer.from(bytes as Uint8Array).toString('hex')}`)
    .join('');
}

function fdbIdentity(item: Item): string {
  const mac = String(item.mac);
  const vlan = item.vlan ?? '';
  if (!has(item, 'self') && (item.master !== undefined || item.masterIndex !== undefined))
    return `bridge ${item.masterIndex ?? item.master} ${mac} ${vlan}`;
  const key = `${linkOf(item)} ${mac} ${vlan} ${item.sourceVni ?? ''}`;
  if (!isSeveral(mac)) return key;
  return `${key} ${item.dst ?? ''} ${item.port ?? ''} ${item.vni ?? ''} ${item.viaIndex ?? item.via ?? ''}`;
}

/** True for the MACs that may lead to several places: all zeros, and groups. */
export function isSeveral(mac: string): boolean {
  // IEEE 802: the group bit is the lowest of the first byte, the second digit of the text.
  return mac === '00:00:00:00:00:00' || '13579bdf'.includes(mac[1] as string);
}

/** Flags of a rule that tell of what it refers to, which comes and goes. */
const STATE_FLAGS = ['unresolved', 'iif_detached', 'oif_detached'];

/** Fields of an event about a rule; there `action` is what became of it. */
const RULE_EVENT_FIELDS = ['kind', 'ruleAction', 'atNs', 'netns'];

function ruleIdentity(item: Item): string {
  const fields = Object.keys(item)
    .filter((name) => !RULE_EVENT_FIELDS.includes(name))
    .sort()
    .map((name) => {
      const value = name === 'action' ? (item.ruleAction ?? item.action) : item[name];
      if (name !== 'flags' || !Array.isArray(value)) return [name, value];
      return [name, value.filter((flag) => !STATE_FLAGS.includes(flag)).sort()];
    });
  return JSON.stringify(fields, (_, value) =>
    typeof value === 'bigint' ? `${value}` : value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
  );
}
