/** The routes of a fake namespace, and the one that a packet takes. */
import { ipFamily } from '../../core/address.js';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import type { Verb } from '../entries.js';
import { boolean, contains, type Item, ip, network, number, type Prefix, prefix, text } from '../fields.js';
import { Refusal } from '../refusal.js';
import type { Addresses } from './addresses.js';
import type { Links } from './links.js';
import { type FakeLink, type Observer, type Row, TABLE_MAIN, Table } from './table.js';

export interface FakeRoute {
  /** Undefined = default. */
  readonly dst: Prefix | undefined;
  readonly family: 4 | 6;
  readonly gateway: string | undefined;
  readonly link: FakeLink;
  readonly source: string | undefined;
  readonly table: number;
  readonly metric: number;
  readonly scope: string;
  readonly protocol: string;
  readonly metrics: Readonly<Record<string, number>> | undefined;
}

export class Routes extends Table<FakeRoute> {
  readonly #links: Links;
  readonly #addresses: Addresses;

  constructor(observers: ReadonlySet<Observer>, links: Links, addresses: Addresses) {
    super('route', observers);
    this.#links = links;
    this.#addresses = addresses;
  }

  row(route: FakeRoute): Row {
    return {
      dst: route.dst === undefined ? 'default' : `${route.dst.ip}/${route.dst.length}`,
      family: route.family === 4 ? 'inet' : 'inet6',
      ...(route.gateway === undefined ? {} : { gateway: route.gateway }),
      link: route.link.name,
      linkIndex: route.link.index,
      ...(route.source === undefined ? {} : { source: route.source }),
      table: route.table,
      ...(route.metric === 0 ? {} : { metric: route.metric }),
      type: 'unicast',
      scope: route.scope,
      protocol: route.protocol,
      ...(route.family === 4 ? {} : { preference: 'medium' }),
      ...(route.metrics === undefined ? {} : { metrics: route.metrics }),
    };
  }

  override rows(): Row[] {
    return this.all().map((route) => this.row(route));
  }

  /** Those of the administrator, and those to the networks of the addresses. */
  all(): FakeRoute[] {
    const connected = this.#addresses.items
      .filter(({ link, length, family, scope, prefixRoute }) => {
        return link.up && prefixRoute && scope === 'global' && length < (family === 4 ? 32 : 128);
      })
      .map((address): FakeRoute => {
        const { family, link, length } = address;
        return {
          dst: { ip: network(address), length, family },
          family,
          gateway: undefined,
          link,
          source: family === 4 ? address.ip : undefined,
          table: TABLE_MAIN,
          metric: family === 4 ? 0 : 256,
          scope: family === 4 ? 'link' : 'global',
          protocol: 'kernel',
          metrics: undefined,
        };
      });
    return [...this.items, ...connected];
  }

  change(verb: Verb, item: Item): void {
    const gateway = ip(item, 'gateway');
    const source = ip(item, 'source');
    const to = text(item, 'dst');
    const dst = to === undefined || to === 'default' ? undefined : prefix(item, 'dst');
    const via = text(item, 'link');
    const index = number(item, 'linkIndex', 0x7fff_ffff);
    const nowhere = (via === undefined || via === '') && index === undefined;
    let link = nowhere ? undefined : this.#links.of(via, index, verb === 'delete');
    const family = dst?.family ?? (gateway === undefined ? 4 : ipFamily(gateway));
    const table = number(item, 'table', 0xffff_ffff) ?? TABLE_MAIN;
    const given = number(item, 'metric', 0xffff_ffff);
    const metric = given ?? (family === 6 ? 1024 : 0);
    const whole = dst === undefined || dst.length === 0 ? undefined : dst;
    const same = (route: FakeRoute): boolean =>
      route.family === family &&
      route.table === table &&
      route.dst?.ip === whole?.ip &&
      route.dst?.length === whole?.length;
    if (verb === 'delete') {
      const found = this.items.find((route) => {
        return (
          same(route) &&
          (given === undefined || route.metric === given) &&
          (gateway === undefined || route.gateway === gateway) &&
          (link === undefined || route.link === link)
        );
      });
      if (found === undefined) throw new Refusal('ESRCH', 'RTM_DELROUTE');
      this.drop((route) => route === found);
      return;
    }
    if (whole !== undefined && network(whole) !== whole.ip) {
      throw new Refusal('EINVAL', 'RTM_NEWROUTE', { kernelMessage: 'Invalid prefix for given prefix length' });
    }
    if (link !== undefined && !link.up) {
      throw new Refusal('ENETDOWN', 'RTM_NEWROUTE', { kernelMessage: 'Device for nexthop is not up' });
    }
    if (gateway !== undefined) {
      const hop = this.all().find(
        (route) => route.gateway === undefined && route.dst !== undefined && contains(route.dst, gateway),
      );
      if (hop === undefined || (link !== undefined && hop.link !== link)) {
        throw new Refusal('ENETUNREACH', 'RTM_NEWROUTE', { kernelMessage: 'Nexthop has invalid gateway' });
      }
      link = hop.link;
    }
    if (link === undefined) throw new Refusal('ENODEV', 'RTM_NEWROUTE');
    const scope = family === 4 && gateway === undefined ? 'link' : 'global';
    const metrics = readMetrics(item);
    const route: FakeRoute = {
      dst: whole,
      family,
      gateway,
      link,
      source,
      table,
      metric,
      scope,
      protocol: 'boot',
      metrics,
    };
    const there = this.items.findIndex((each) => same(each) && each.metric === metric);
    if (there >= 0 && verb === 'add') throw new Refusal('EEXIST', 'RTM_NEWROUTE');
    const replaced = there >= 0 && verb === 'replace';
    if (replaced) this.items[there] = route;
    else this.items.push(route);
    this.tell('new', route, replaced ? { replaced: true } : {});
  }

  /** The route that a packet takes. Without rules, what else the question says of the packet changes nothing. */
  lookUp(item: Item): Row {
    const dst = ip(item, 'dst');
    if (dst === undefined) throw new TypeError('dst: expected a string');
    const family = ipFamily(dst);
    const from = ip(item, 'source');
    if (from !== undefined && ipFamily(from) !== family) {
      throw invalidArgument('source', from, 'an address of the same family as dst');
    }
    const via = text(item, 'link');
    const link = via === undefined ? undefined : this.#links.named(via);
    if (item.inputLink !== undefined) {
      throw new OvernsError('EOPNOTSUPP', 'the fake kernel does not tell how packets are forwarded');
    }
    const match = boolean(item, 'match') === true;
    const bits = family === 4 ? 32 : 128;
    const own = this.#addresses.items.filter((each) => each.family === family && each.link.up);
    const unreachable = new Refusal('ENETUNREACH', 'RTM_GETROUTE');
    if (family === 4 && from !== undefined && !own.some((each) => each.ip === from)) throw unreachable;
    const about = { dst: `${dst}/${bits}`, family: family === 4 ? 'inet' : 'inet6' };
    const packet = {
      ...(family === 4 ? { uid: number(item, 'uid', 0xffff_ffff) ?? process.getuid?.() ?? 0 } : {}),
      ...(family === 4 && item.mark !== undefined ? { mark: number(item, 'mark', 0xffff_ffff) } : {}),
    };
    const local = own.find((each) => each.ip === dst);
    if (local !== undefined && (link === undefined || link === local.link)) {
      const over = match ? local.link : (this.#links.link('lo') as FakeLink);
      const on = { link: over.name, linkIndex: over.index };
      const kernel = { type: 'local', protocol: 'kernel' };
      if (family === 6) {
        const source = match ? {} : { source: dst };
        return { ...about, ...kernel, ...on, ...source, table: 255, metric: 0, scope: 'global', preference: 'medium' };
      }
      // Local and main are one table until there is a rule (fib_unmerge).
      if (match) return { ...about, ...kernel, ...on, source: dst, table: TABLE_MAIN, scope: 'host' };
      return {
        ...about,
        ...packet,
        type: 'local',
        protocol: 'unspec',
        ...on,
        source: dst,
        table: TABLE_MAIN,
        scope: 'global',
        flags: ['cloned', 'local'],
      };
    }
    const [found] = this.all()
      .filter((each) => each.table === TABLE_MAIN && each.family === family && (link ?? each.link) === each.link)
      .filter((each) => each.link.up && (each.dst === undefined || contains(each.dst, dst)))
      .sort((a, b) => (b.dst?.length ?? 0) - (a.dst?.length ?? 0) || a.metric - b.metric);
    if (found === undefined && (link === undefined || family === 6 || match)) throw unreachable;
    const through = found?.link ?? (link as FakeLink);
    if (found !== undefined && match) return this.row(found);
    const global = own.filter((each) => each.scope === 'global');
    const source = found?.source ?? (global.find((each) => each.link === through) ?? global[0])?.ip;
    const {
      dst: _,
      source: __,
      metric,
      ...row
    } = found === undefined ? { link: through.name, linkIndex: through.index } : this.row(found);
    const answer = family === 4 ? { protocol: 'unspec', scope: 'global', flags: ['cloned'] } : { metric };
    return { ...row, ...about, type: 'unicast', ...answer, ...packet, ...(source === undefined ? {} : { source }) };
  }
}

/** A route's metrics, as far as they are numbers. */
function readMetrics(item: Item): Record<string, number> | undefined {
  const given = item.metrics as Item | undefined;
  if (given === undefined) return undefined;
  if (given === null || typeof given !== 'object') throw new TypeError('metrics: expected an object');
  const read = Object.keys(given).map((name) => [name, number(given, name, 0xffff_ffff)] as const);
  return Object.fromEntries(read.filter((each): each is readonly [string, number] => each[1] !== undefined));
}
