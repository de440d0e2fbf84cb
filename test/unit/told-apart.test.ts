/**
 * Two rows that differ in anything that makes them two to the kernel have two identities, and two lines in the command
 * line's words: of random rows, each with one field of its identity changed.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { eventLines } from '../../lib/cli/words.js';
import { type IdentityKind, identityOf, type RtnlEvent } from '../../lib/index.js';

type Row = Record<string, unknown>;
type Values = Readonly<Record<string, fc.Arbitrary<unknown>>>;

/** Links by index and name, which go together. */
const link = fc.integer({ min: 1, max: 5 });
const mac = (first: string): fc.Arbitrary<string> =>
  fc.integer({ min: 0, max: 3 }).map((last) => `${first}:00:00:00:00:0${last}`);
const ip4 = fc.integer({ min: 0, max: 3 }).map((last) => `10.0.0.${last}`);
const ip6 = fc.integer({ min: 1, max: 3 }).map((last) => `fd00::${last}`);
const small = fc.constantFrom(1, 2, 3, 10, 100, 254, 255, 256, 4096);
const maybe = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined });
const unknown = maybe(
  fc.array(
    fc.record({
      type: fc.constantFrom(11, 21, 22),
      bytes: fc.uint8Array({ minLength: 0, maxLength: 5 }),
    }),
    { minLength: 1, maxLength: 2 },
  ),
);
const metrics = maybe(
  fc
    .record(
      {
        lock: fc.constantFrom(4, 8, 12, 0x100),
        mtu: fc.constantFrom(1400, 1500),
        window: small,
        rtt: fc.integer({ min: 1, max: 9 }),
        rttvar: fc.integer({ min: 1, max: 9 }),
        advmss: small,
        features: fc.constantFrom(1, 2, 3),
        congestionControl: fc.constantFrom('reno', 'cubic'),
      },
      { requiredKeys: [] },
    )
    .filter((fields) => Object.keys(fields).length > 0),
);
const hops = (gateway: fc.Arbitrary<string>): fc.Arbitrary<Row[]> =>
  fc.array(
    fc.record({
      gateway: maybe(gateway),
      link,
      weight: fc.constantFrom(1, 2, 3),
      flags: maybe(fc.constant(['onlink'])),
      unknown,
    }),
    { minLength: 2, maxLength: 3 },
  );
/** Where a route leads: to a link, to several ways, or to an object that stands for them. */
const ways = (gateway: fc.Arbitrary<string>): fc.Arbitrary<Row> =>
  fc.oneof(
    fc.record({ gateway: maybe(gateway), link, flags: maybe(fc.constant(['onlink'])), unknown }),
    fc.record({ nexthops: hops(gateway) }),
    fc.record({ nexthop: small }),
  );

/** Of each sort of row: the fields that are its identity, and some that are not. */
const SORTS: Readonly<Record<string, { kind: IdentityKind; fixed: Row; identity: Values; other?: Values }>> = {
  link: { kind: 'link', fixed: { mtu: 1500, up: true, flags: ['up'] }, identity: { link } },
  'IPv4 address': {
    kind: 'address',
    fixed: { family: 'inet' },
    identity: {
      link,
      address: fc.tuple(ip4, fc.constantFrom(8, 24, 32)).map(([ip, length]) => `${ip}/${length}`),
      peer: maybe(ip4),
    },
    other: { label: maybe(fc.constantFrom('eth0', 'eth1:a')), scope: fc.constantFrom('global', 'link', 7) },
  },
  'IPv6 address': {
    kind: 'address',
    fixed: { family: 'inet6', scope: 'global' },
    identity: { link, address: ip6.map((ip) => `${ip}/64`) },
    other: { peer: maybe(ip6) },
  },
  'IPv4 route': {
    kind: 'route',
    fixed: { family: 'inet' },
    identity: {
      dst: fc.constantFrom('default', '10.1.0.0/16', '10.1.0.0/24', '10.1.0.0/32'),
      table: small,
      tos: maybe(fc.constantFrom(4, 8, 16)),
      metric: maybe(small),
      type: fc.constantFrom('unicast', 'local', 'blackhole', 'throw', 99),
      scope: fc.constantFrom('global', 'link', 'host', 7),
      protocol: fc.constantFrom('boot', 'static', 'kernel', 99),
      source: maybe(ip4),
      metrics,
      ways: ways(fc.oneof(ip4, ip6)),
    },
  },
  'IPv6 route': {
    kind: 'route',
    fixed: { family: 'inet6', type: 'unicast', scope: 'global', preference: 'medium', protocol: 'ra' },
    identity: {
      dst: fc.constantFrom('default', 'fd01::/64', 'fd01::/128'),
      from: maybe(fc.constantFrom('fd02::/64', 'fd03::/64')),
      table: small,
      metric: maybe(small),
      gateway: maybe(ip6),
      link,
      unknown,
    },
  },
  neighbor: {
    kind: 'neighbor',
    fixed: {},
    identity: { link, ip: fc.oneof(ip4, ip6), flags: maybe(fc.constantFrom(['proxy'], ['router', 'proxy'])) },
    other: { mac: maybe(mac('02')), state: fc.constantFrom('permanent', 'stale') },
  },
  'FDB entry of a bridge': {
    kind: 'fdb',
    fixed: { link: 1 },
    identity: { master: link, mac: mac('02'), vlan: maybe(small) },
    other: { state: fc.constantFrom('permanent', 'static', 'dynamic', 'stale') },
  },
  'FDB entry of a device': {
    kind: 'fdb',
    fixed: { flags: ['self'] },
    identity: { link, mac: mac('02'), vlan: maybe(small), sourceVni: maybe(small) },
    other: { dst: maybe(ip4), vni: maybe(small), port: maybe(small), state: fc.constantFrom('permanent', 'dynamic') },
  },
  'FDB entry of a MAC that leads to several places': {
    kind: 'fdb',
    fixed: { flags: ['self'], state: 'permanent' },
    identity: {
      link,
      mac: fc.constantFrom('00:00:00:00:00:00', '01:00:5e:00:00:01', '33:33:00:00:00:01'),
      sourceVni: maybe(small),
      dst: maybe(fc.oneof(ip4, ip6)),
      port: maybe(small),
      vni: maybe(small),
      via: maybe(link),
    },
  },
  rule: {
    kind: 'rule',
    fixed: { family: 'inet' },
    identity: {
      priority: small,
      action: fc.constantFrom('table', 'blackhole', 7),
      table: maybe(small),
      from: maybe(fc.constantFrom('10.0.0.0/8', '10.0.0.0/24')),
      to: maybe(fc.constantFrom('10.0.0.0/8', '10.0.0.0/24')),
      iif: maybe(fc.constantFrom('eth0', 'eth1')),
      oif: maybe(fc.constantFrom('eth0', 'eth1')),
      mark: maybe(small),
      tunnel: maybe(fc.constantFrom(1n, 2n, 2n ** 63n)),
      uids: maybe(fc.constantFrom({ low: 1, high: 2 }, { low: 1, high: 3 })),
      flags: maybe(fc.constant(['invert'])),
    },
  },
  nexthop: { kind: 'nexthop', fixed: { family: 'inet' }, identity: { id: small }, other: { gateway: maybe(ip4) } },
};

/** A row as it is listed: links have a name and an index, what is undefined is absent. */
function listed(kind: IdentityKind, { ways: way, ...fields }: Row): Row {
  const row: Row = {};
  for (const [name, value] of Object.entries({ ...fields, ...(way as Row | undefined) })) {
    if (value === undefined) continue;
    if (kind === 'link' && name === 'link') Object.assign(row, { name: `eth${value}`, index: value });
    else if (['link', 'master', 'via'].includes(name))
      Object.assign(row, { [name]: `eth${value}`, [`${name}Index`]: value });
    else if (name === 'nexthops') row.nexthops = (value as Row[]).map((hop) => listed('route', hop));
    else row[name] = value;
  }
  return row;
}

const lines = (kind: IdentityKind, row: Row): string =>
  eventLines({ ...row, kind, action: 'new', atNs: 0n } as unknown as RtnlEvent).join('\n');

describe('rows that differ in their identity', () => {
  test.each(Object.keys(SORTS))('%s', (sort) => {
    const { kind, fixed, identity, other = {} } = SORTS[sort] as (typeof SORTS)[string];
    const changed = fc
      .constantFrom(...Object.keys(identity))
      .chain((name) => fc.tuple(fc.constant(name), identity[name] as fc.Arbitrary<unknown>));
    fc.assert(
      fc.property(
        fc.record(identity),
        fc.record(other),
        fc.record(other),
        changed,
        (key, some, more, [name, value]) => {
          const one = listed(kind, { ...fixed, ...some, ...key });
          const two = listed(kind, { ...fixed, ...more, ...key, [name]: value });
          const [first, second] = [listed(kind, key), listed(kind, { ...key, [name]: value })].map((row) =>
            sameValue(row),
          );
          if (first === second) {
            expect(identityOf(kind, one)).toBe(identityOf(kind, two));
            return;
          }
          expect([name, identityOf(kind, one)]).not.toEqual([name, identityOf(kind, two)]);
          // Rules and nexthops are no events yet.
          if (kind !== 'rule' && kind !== 'nexthop') expect(lines(kind, one)).not.toBe(lines(kind, two));
        },
      ),
      { numRuns: 700 },
    );
  });
});

/** A row as text; flags beside those that count in an identity are nobody's. */
function sameValue({ flags, ...row }: Row): string {
  const counting = Array.isArray(flags) ? flags.filter((flag) => flag !== 'router') : [];
  return JSON.stringify({ ...row, flags: counting }, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
}
