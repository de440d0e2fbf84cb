/** Misses and events in the words that people know: the seed's two daemons' and iproute2's. */
import type { Miss, ResolverEvent, RtnlEvent } from '../index.js';
import { printable } from './output.js';

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
  'up',
  'lower_up',
  'dormant',
];

type Fields = Readonly<Record<string, unknown>>;

/** One event of {@link Rtnl.monitor} as `ip monitor` and `bridge monitor` print it. */
export function eventLines(event: RtnlEvent): string[] {
  const fields: Fields = { ...event };
  switch (event.kind) {
    case 'overrun':
      return [`overrun: ${event.dropped === 0 ? 'events' : `${event.dropped} events`} were lost`];
    case 'miss':
      return [`miss ${neighborWords(fields)}`];
    default: {
      const deleted = event.action === 'delete' ? 'Deleted ' : '';
      const [first = '', ...more] = entryLines(event.kind, fields);
      return [deleted + first, ...more];
    }
  }
}

function entryLines(kind: 'link' | 'address' | 'route' | 'neighbor' | 'fdb' | 'netns', fields: Fields): string[] {
  switch (kind) {
    case 'link':
      return linkLines(fields);
    case 'address':
      return [
        words(
          `${field(fields, 'link')}   `,
          field(fields, 'family') || family(fields.address),
          field(fields, 'address'),
          pair('scope', fields.scope),
        ),
      ];
    case 'route':
      return [
        words(
          field(fields, 'dst'),
          pair('via', fields.gateway),
          pair('dev', fields.link),
          pair('src', fields.source),
          pair('metric', fields.metric),
        ),
      ];
    case 'neighbor':
      return [neighborWords(fields)];
    case 'fdb':
      return [fdbWords(fields)];
    case 'netns':
      return [words(pair('netns', fields.name))];
  }
}

function linkLines(fields: Fields): string[] {
  const flags: readonly unknown[] = Array.isArray(fields.flags) ? fields.flags : [];
  const names = LINK_FLAGS.filter((flag) => flags.includes(flag)).map((flag) => flag.toUpperCase());
  // As ip does: up, but nothing on the other end.
  if (flags.includes('up') && !flags.includes('running')) names.unshift('NO-CARRIER');
  const below =
    typeof fields.link === 'number' && fields.link > 0
      ? `@if${fields.link}`
      : typeof fields.link === 'string'
        ? `@${fields.link}`
        : '';
  const first = words(
    `${field(fields, 'index')}: ${field(fields, 'name')}${below}:`,
    `<${names.join(',')}>`,
    pair('mtu', fields.mtu),
    pair('master', fields.master),
    pair('state', typeof fields.operstate === 'string' ? fields.operstate.toUpperCase() : undefined),
  );
  if (typeof fields.mac !== 'string') return [first];
  return [first, printable(`    link/${flags.includes('loopback') ? 'loopback' : 'ether'} ${fields.mac}${netnsid(fields)}`)];
}

function netnsid(fields: Fields): string {
  return typeof fields.linkNetnsid === 'number' ? ` link-netnsid ${fields.linkNetnsid}` : '';
}

/** `192.168.0.3 dev vxlan1 lladdr 02:42:c0:a8:00:03 PERMANENT` */
export function neighborWords(fields: Fields): string {
  const flags = (Array.isArray(fields.flags) ? fields.flags : []).filter(
    (flag) => flag !== 'self' && flag !== 'master',
  );
  return words(
    field(fields, 'ip'),
    pair('dev', fields.link),
    pair('lladdr', fields.mac),
    ...flags.map(String),
    field(fields, 'state').toUpperCase(),
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
    pair('vni', fields.vni),
    pair('port', fields.port),
    pair('via', fields.via),
    pair('master', fields.master),
    ...flags.filter((flag) => flag !== 'master'),
    state,
  );
}

function family(address: unknown): string {
  return String(address).includes(':') ? 'inet6' : 'inet';
}

function field(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function pair(word: string, value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? `${word} ${value}` : '';
}

function words(...parts: readonly string[]): string {
  return printable(parts.filter((part) => part !== '').join(' '));
}
