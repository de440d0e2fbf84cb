/** Misses and events in the words that people know: the seed's two daemons' and iproute2's. */
import type { Endpoint, Holder, Miss, ResolverEvent, RtnlEvent } from '../index.js';
import { printable } from './output.js';
import { type Fields, family, field, list, pair, words } from './phrases.js';
import { nexthopWords, ruleWords } from './routing-words.js';

/** As the seed's daemon asks. */
export function missLine(miss: Miss): string {
  const question =
    miss.kind === 'l3'
      ? `L3Miss on ${miss.link}: Who has IP: ${miss.ip}?`
      : `L2Miss on ${miss.link}: Who has Mac Address: ${miss.mac}?`;
  return printable(question);
}

/** As the seed's daemon answers. An L3 miss fills both tables here, where the seed waits for the L2 miss. */
export function answerLines({ miss, endpoint }: Extract<ResolverEvent, { kind: 'resolved' }>, store: string): string[] {
  const fib = `Populating FIB table from ${store}: MAC ${endpoint.mac} is on host ${endpoint.vtep}`;
  return miss.kind === 'l3' ? [`Populating ARP table from ${store}: IP ${miss.ip} is ${endpoint.mac}`, fib] : [fib];
}

/** An endpoint by what is unique of it. */
export function endpointWords({ ips, mac }: Endpoint): string {
  return printable(`${ips.join(' ')} (${mac})`);
}

/** Says behind the words of an endpoint that another host has it too. */
export function conflictWords({ ip, mac, vtep }: Holder, won: boolean): string {
  const what = ip === undefined ? `the MAC address ${mac}` : `${ip}, with ${mac}`;
  const where = vtep === undefined ? 'another host' : `the host at ${vtep}`;
  return won
    ? `was taken from ${where}, which had ${what}: it may be attached there still`
    : `is not published: ${where} has ${what} in the store; detach one of the two`;
}

/** A link's flags in iproute2's order; `running` shows as NO-CARRIER where it is missing. */
const LINK_FLAGS = [
  'loopback',
  'broadcast',
  'pointopoint',
  'multicast',
  'noarp',
  'allmulti',
  'promisc',
  'master',
  'slave',
  'debug',
  'dynamic',
  'automedia',
  'portsel',
  'notrailers',
  'up',
  'lower_up',
  'dormant',
  'echo',
];

const ADDRESS_FLAGS = [
  'nodad',
  'optimistic',
  'dadfailed',
  'home',
  'deprecated',
  'tentative',
  'dynamic',
  'mngtmpaddr',
  'noprefixroute',
  'autojoin',
];
const ROUTE_FLAGS = [
  'dead',
  'onlink',
  'pervasive',
  'offload',
  'trap',
  'notify',
  'linkdown',
  'unresolved',
  'rt_offload',
];
const NEIGHBOR_FLAGS = ['router', 'proxy', 'managed', 'extern_learn', 'offload', 'locked', 'ext_validated'];
/** RTAX_* in the kernel's order, as iproute2 calls them; a bit of `lock` is that number. */
const METRICS: readonly (readonly [field: string, word: string, number: number])[] = [
  ['mtu', 'mtu', 2],
  ['window', 'window', 3],
  ['rtt', 'rtt', 4],
  ['rttvar', 'rttvar', 5],
  ['ssthresh', 'ssthresh', 6],
  ['cwnd', 'cwnd', 7],
  ['advmss', 'advmss', 8],
  ['reordering', 'reordering', 9],
  ['hoplimit', 'hoplimit', 10],
  ['initcwnd', 'initcwnd', 11],
  ['features', 'features', 12],
  ['rtoMin', 'rto_min', 13],
  ['initrwnd', 'initrwnd', 14],
  ['quickack', 'quickack', 15],
  ['congestionControl', 'congctl', 16],
  ['fastopenNoCookie', 'fastopen_no_cookie', 17],
];
/** How many parts of a millisecond iproute2 divides a time by. */
const MILLISECONDS: Readonly<Record<string, number>> = { rtt: 8, rttvar: 4, rtoMin: 1 };
const RTA_FLOW = 11;
/** RTPROT_* of neighbours, which are told as numbers. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'redirect',
  2: 'kernel',
  3: 'boot',
  4: 'static',
  9: 'ra',
  11: 'zebra',
  12: 'bird',
  16: 'dhcp',
  42: 'babel',
  186: 'bgp',
  187: 'isis',
  188: 'ospf',
  189: 'rip',
  192: 'eigrp',
};
/** RT_TABLE_*; 254 is not shown. */
const TABLES: Readonly<Record<number, string>> = { 253: 'default', 255: 'local' };

/** The links of the namespaces that events are of: other events and links name them by index or name alone. */
export class LinkBook {
  readonly #links = new Map<string, { readonly name: string; readonly index: number; readonly up: boolean }>();

  add(link: { readonly name: string; readonly index: number; readonly up: boolean }, netns = ''): void {
    this.#links.set(`${netns} ${link.index}`, link);
    this.#links.set(`${netns} ${link.name}`, link);
  }
  /** Takes note of a link that comes, changes or goes. */
  learn(event: RtnlEvent & { readonly netns?: string }): void {
    if (event.kind !== 'link') return;
    if (event.action === 'new') this.add(event, event.netns);
    else for (const key of [event.index, event.name]) this.#links.delete(`${event.netns ?? ''} ${key}`);
  }
  find(indexOrName: unknown, netns: unknown = ''): { name: string; index: number; up: boolean } | undefined {
    return this.#links.get(`${netns} ${indexOrName}`);
  }
}

/**
 * One event of {@link Rtnl.monitor} as `ip monitor` and `bridge monitor` print it.
 * @param links what the other end of a link is called; without it, its index
 */
export function eventLines(event: RtnlEvent & { readonly netns?: string }, links = new LinkBook()): string[] {
  const fields: Fields = { ...event };
  switch (event.kind) {
    case 'overrun':
      return [`overrun: ${event.dropped === 0 ? 'events' : `${event.dropped} events`} were lost`];
    case 'miss':
      return [`miss ${neighborWords(fields)}`];
    default: {
      const deleted = event.action === 'delete' ? 'Deleted ' : '';
      const [first = '', ...more] = entryLines(event.kind, fields, links);
      return [deleted + first, ...more];
    }
  }
}

function entryLines(
  kind: 'link' | 'address' | 'route' | 'neighbor' | 'fdb' | 'rule' | 'nexthop' | 'netns',
  fields: Fields,
  links: LinkBook,
): string[] {
  switch (kind) {
    case 'link':
      return linkLines(fields, links);
    case 'address':
      return addressLines(fields, links);
    case 'route':
      return routeLines(fields);
    case 'neighbor':
      return [neighborWords(fields)];
    case 'fdb':
      return [fdbWords(fields)];
    case 'rule':
      return [ruleWords(fields)];
    case 'nexthop':
      return [nexthopWords(fields)];
    case 'netns':
      return [words(pair('netns', fields.name))];
  }
}

function linkLines(fields: Fields, links: LinkBook): string[] {
  const flags = list(fields.flags);
  const names = LINK_FLAGS.filter((flag) => flags.includes(flag)).map((flag) => flag.toUpperCase());
  // As ip does: up, but nothing on the other end.
  if (flags.includes('up') && !flags.includes('running')) names.unshift('NO-CARRIER');
  let below = '';
  if (typeof fields.link === 'number') {
    const other = fields.linkNetnsid === undefined ? links.find(fields.link, fields.netns) : undefined;
    if (other && !other.up) names.push('M-DOWN');
    below = fields.link === 0 ? '@NONE' : `@${other?.name ?? `if${fields.link}`}`;
  }
  const group = fields.linkGroup ?? 0;
  const first = words(
    `${field(fields, 'index')}: ${field(fields, 'name')}${below}:`,
    `<${names.join(',')}>`,
    pair('mtu', fields.mtu),
    pair('qdisc', fields.qdisc),
    pair('master', fields.master),
    pair('state', typeof fields.operstate === 'string' ? fields.operstate.toUpperCase() : undefined),
    fields.qdisc === undefined ? '' : pair('group', group === 0 ? 'default' : group),
  );
  if (typeof fields.mac !== 'string') return [first];
  const type = flags.includes('loopback') ? 'loopback' : 'ether';
  const netnsid = typeof fields.linkNetnsid === 'number' ? pair('link-netnsid', fields.linkNetnsid) : '';
  return [first, `    ${words(`link/${type}`, fields.mac, pair('brd', fields.broadcast), netnsid)}`];
}

function addressLines(fields: Fields, links: LinkBook): string[] {
  const inet6 = (field(fields, 'family') || family(fields.address)) === 'inet6';
  const set = list(fields.flags);
  // iproute2 names what is not permanent, and has two words for one bit.
  const flags = ADDRESS_FLAGS.filter((flag) =>
    flag === 'dynamic' ? fields.flags !== undefined && !set.includes('permanent') : set.includes(flag),
  );
  if (set.includes('secondary') || set.includes('temporary')) flags.unshift(inet6 ? 'temporary' : 'secondary');
  const address = field(fields, 'address');
  const [ip, length] = address.split('/');
  const link = links.find(fields.link, fields.netns);
  const first = words(
    `${link === undefined ? '' : `${link.index}: `}${field(fields, 'link')}   `,
    inet6 ? 'inet6' : 'inet',
    typeof fields.peer === 'string' ? `${ip} peer ${fields.peer}/${length}` : address,
    pair('metric', fields.metric),
    pair('brd', fields.broadcast),
    pair('scope', fields.scope),
    ...flags,
    field(fields, 'label'),
  );
  const lifetime = (seconds: unknown): string => (typeof seconds === 'number' ? `${seconds}sec` : 'forever');
  return [
    first,
    `       valid_lft ${lifetime(fields.validLifetime)} preferred_lft ${lifetime(fields.preferredLifetime)}`,
  ];
}

/** iproute2 leaves out the prefix length of a single address. */
function shortest(prefix: string): string {
  return prefix.replace(prefix.includes(':') ? /\/128$/ : /\/32$/, '');
}

function via(fields: Fields, inet6: boolean): string {
  if (typeof fields.gateway !== 'string') return '';
  const own = fields.gateway.includes(':') === inet6;
  return `via ${own ? '' : `${family(fields.gateway)} `}${fields.gateway}`;
}

function routeLines(fields: Fields): string[] {
  const dst = field(fields, 'dst');
  const inet6 = (field(fields, 'family') || family(dst)) === 'inet6';
  const set = list(fields.flags);
  const table = typeof fields.table === 'number' && fields.table !== 254 ? fields.table : undefined;
  const first = words(
    fields.type === 'unicast' ? '' : field(fields, 'type'),
    shortest(dst),
    pair('from', fields.from),
    typeof fields.tos === 'number' ? `tos 0x${fields.tos.toString(16).padStart(2, '0')}` : '',
    pair('nhid', fields.nexthop),
    via(fields, inet6),
    pair('dev', fields.link),
    table === undefined ? '' : `table ${TABLES[table] ?? table}`,
    fields.protocol === 'boot' ? '' : pair('proto', fields.protocol),
    inet6 || fields.scope === 'global' ? '' : pair('scope', fields.scope),
    pair('src', fields.source),
    pair('metric', fields.metric ?? (inet6 && fields.type !== undefined ? 0 : undefined)),
    ...ROUTE_FLAGS.filter((flag) => set.includes(flag)),
    ...realms(fields),
    ...metricWords(fields.metrics),
    typeof fields.expires === 'number' ? `expires ${fields.expires}sec` : '',
    pair('pref', fields.preference),
    ...unknownWords(fields),
  );
  const hops = Array.isArray(fields.nexthops) ? (fields.nexthops as readonly Fields[]) : [];
  return [
    first,
    ...hops.map(
      (hop) =>
        `\t${words('nexthop', ...unknownWords(hop), via(hop, inet6), ...realms(hop), pair('dev', hop.link), `weight ${hop.weight ?? 1}`, ...list(hop.flags))}`,
    ),
  ];
}

/** The attributes of a route or a way that are not read: number and bytes, with what iproute2 calls them. */
function unknownWords({ unknown }: Fields): string[] {
  if (!Array.isArray(unknown)) return [];
  const flow = flowOf(unknown);
  return unknown
    .filter((each: Fields) => each !== flow)
    .map(({ type, within, bytes }: Fields) => {
      const hex = Buffer.from(bytes as Uint8Array).toString('hex');
      return `${within === undefined ? 'attribute' : within} ${type}:${hex}`;
    });
}

/** The attribute that holds the realms. */
function flowOf(unknown: unknown): Fields | undefined {
  if (!Array.isArray(unknown)) return undefined;
  return unknown.find(
    ({ type, within, bytes }: Fields) =>
      within === undefined && type === RTA_FLOW && (bytes as Uint8Array).length === 4,
  );
}

/** `realm 5`, `realms 3/4`: RTA_FLOW is the destination's in its low half, the source's in its high one. */
function realms({ unknown }: Fields): string[] {
  const flow = flowOf(unknown);
  if (flow === undefined) return [];
  const value = Buffer.from(flow.bytes as Uint8Array).readUInt32LE();
  return [value > 0xffff ? `realms ${value >>> 16}/${value & 0xffff}` : `realm ${value}`];
}

function metricWords(metrics: unknown): string[] {
  if (typeof metrics !== 'object' || metrics === null) return [];
  const values = metrics as Fields;
  const lock = Number(values.lock ?? 0);
  let rest = lock;
  const known = METRICS.flatMap(([name, word, number]) => {
    const value = values[name];
    if (value === undefined) return [];
    rest &= ~(1 << number);
    const parts = MILLISECONDS[name];
    const text =
      parts !== undefined
        ? `${Number(value) / parts}ms`
        : name === 'features'
          ? value === 1
            ? 'ecn'
            : `0x${Number(value).toString(16)}`
          : String(value);
    return [`${word} ${(lock & (1 << number)) === 0 ? '' : 'lock '}${text}`];
  });
  // A metric of 0 is not listed, and may be locked all the same.
  return rest === 0 ? known : [...known, `lock 0x${rest.toString(16)}`];
}

/** The time of something that bears a monotonic one, else the present one, in ISO 8601 with a blank behind it. */
export function timeWords(event: object): string {
  const ago = 'atNs' in event ? Number(process.hrtime.bigint() - BigInt(event.atNs as bigint)) / 1e6 : 0;
  return `${new Date(Date.now() - ago).toISOString()} `;
}

/** `192.168.0.3 dev vxlan1 lladdr 02:42:c0:a8:00:03 PERMANENT` */
export function neighborWords(fields: Fields): string {
  const flags = list(fields.flags);
  return words(
    field(fields, 'ip'),
    pair('dev', fields.link),
    pair('lladdr', fields.mac),
    ...NEIGHBOR_FLAGS.filter((flag) => flags.includes(flag)),
    field(fields, 'state').toUpperCase(),
    typeof fields.protocol === 'number' ? `proto ${PROTOCOLS[fields.protocol] ?? fields.protocol}` : '',
    ...unknownWords(fields),
  );
}

/** `02:42:c0:a8:00:03 dev vxlan1 dst 10.0.0.11 self permanent` */
export function fdbWords(fields: Fields): string {
  const flags = Array.isArray(fields.flags) ? fields.flags.map(String) : [];
  // bridge(8) leaves out what is the usual case.
  const state = field(fields, 'state') === 'dynamic' ? '' : field(fields, 'state');
  return words(
    field(fields, 'mac'),
    pair('dev', fields.link),
    pair('dst', fields.dst),
    pair('vlan', fields.vlan),
    pair('port', fields.port),
    pair('vni', fields.vni),
    pair('src_vni', fields.sourceVni),
    // A link of another namespace has its index alone.
    pair('via', fields.via ?? (fields.viaIndex === undefined ? undefined : `if${fields.viaIndex}`)),
    pair('nhid', fields.nexthop),
    pair('link-netnsid', fields.linkNetnsid),
    ...flags.filter((flag) => flag !== 'master'),
    pair('master', fields.master),
    fields.activity === undefined ? '' : fields.activity === 'notify' ? 'activity_notify' : 'activity_notify inactive',
    pair('proto', fields.protocol),
    state,
    ...unknownWords(fields),
  );
}
