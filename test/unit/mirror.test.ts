/** Which tables a monitor with `resync` looks at again, and what it tells of a listing that differs. */
import { expect, test } from 'vitest';
import { type Item, Mirror } from '../../lib/mirror.js';

const LINKS = [
  { name: 'v0', index: 2, kind: 'veth', mtu: 1500, up: true, link: 3 },
  { name: 'v1', index: 3, kind: 'veth', mtu: 1500, up: true, link: 2 },
  { name: 'w0', index: 4, kind: 'veth', mtu: 1500, up: true, link: 9, linkNetnsid: 0 },
];
const ROUTE = { dst: '10.2.0.0/16', family: 'inet', table: 254, type: 'unicast', scope: 'global', protocol: 'boot' };
const ADDRESS = { link: 'v0', linkIndex: 2, address: '10.0.0.1/24', family: 'inet' };
const WAYS = {
  ...{ dst: '2001:db8::/48', family: 'inet6', table: 254, metric: 1024, type: 'unicast' },
  nexthops: [
    { gateway: 'fd00::2', link: 'v0', linkIndex: 2 },
    { gateway: 'fd00::3', link: 'v0', linkIndex: 2 },
  ],
};

function mirrorOf(listed: Record<string, readonly object[]>): Mirror {
  return new Mirror({ links: LINKS, ...listed } as never);
}
const linkEvent = (action: string, { kind, ...row }: Item): Item => ({ ...row, linkKind: kind, kind: 'link', action });
const doubts = (mirror: Mirror, event: Item): string[] => {
  mirror.stale.clear();
  mirror.take(event);
  return [...mirror.stale].sort();
};

test('a link that is renamed, changes, leaves or comes makes whatever names it doubtful', () => {
  const rows = {
    addresses: [ADDRESS],
    routes: [{ ...ROUTE, nexthops: [{ gateway: '10.1.0.2', link: 'w0', linkIndex: 4 }] }],
    neighbors: [{ link: 'w0', linkIndex: 4, ip: '10.1.0.2', state: 'permanent' }],
    fdb: [],
  };
  const [v0, , w0] = LINKS as [Item, Item, Item];
  expect(doubts(mirrorOf(rows), linkEvent('new', { ...v0, name: 'uplink' }))).toEqual(['address', 'link']);
  expect(doubts(mirrorOf(rows), linkEvent('new', { ...w0, up: false }))).toEqual(['neigh', 'route']);
  expect(doubts(mirrorOf(rows), linkEvent('delete', w0))).toEqual(['neigh', 'route']);
  // The same again, and another clock: no change.
  expect(doubts(mirrorOf(rows), linkEvent('new', v0))).toEqual([]);
  expect(doubts(mirrorOf(rows), linkEvent('new', { ...v0, gcTimer: 7 }))).toEqual([]);
  // The other end of a pair, which does not tell of it itself.
  expect(doubts(mirrorOf(rows), linkEvent('new', { name: 'x', index: 9, kind: 'veth', link: 4 }))).toEqual(['link']);
  const bridge = { name: 'br0', index: 7, kind: 'bridge' };
  const port = { ...v0, master: 'br0', masterIndex: 7 };
  const bridged = new Mirror({
    links: [bridge, port],
    fdb: [{ link: 'v0', linkIndex: 2, mac: '02:00:00:00:00:01', master: 'br0' }],
  } as never);
  expect(doubts(bridged, linkEvent('new', { ...bridge, name: 'br1' }))).toEqual(['link', 'neigh']);
});

test('an address or a nexthop object that goes makes the routes that use it doubtful', () => {
  const sourced = mirrorOf({
    addresses: [ADDRESS],
    routes: [{ ...ROUTE, link: 'w0', linkIndex: 4, source: '10.0.0.1' }],
  });
  const gone = (address: Item): Item => ({ ...address, kind: 'address', action: 'delete' });
  expect(doubts(sourced, gone(ADDRESS))).toEqual(['route']);
  expect(doubts(sourced, gone({ ...ADDRESS, address: '10.0.0.9/24' }))).toEqual([]);
  // With the last address of a link all that leaves by it.
  const leaving = mirrorOf({ addresses: [ADDRESS], routes: [{ ...ROUTE, link: 'v0', linkIndex: 2 }] });
  expect(doubts(leaving, gone(ADDRESS))).toEqual(['route']);
  const through = mirrorOf({ routes: [{ ...ROUTE, nexthop: 1 }], fdb: [] });
  expect(doubts(through, { kind: 'nexthop', action: 'delete', id: 1 })).toEqual(['route']);
  expect(doubts(leaving, { kind: 'nexthop', action: 'delete', id: 1 })).toEqual([]);
});

test('a route that stands for others is looked at again', () => {
  const told = (action: string, row: Item): Item => ({ ...row, kind: 'route', action });
  const { nexthops, ...way } = WAYS as Item;
  const one = { ...way, gateway: 'fd00::2', link: 'v0', linkIndex: 2 };
  // One of several ways goes: the route stays.
  const mirror = mirrorOf({ routes: [WAYS] });
  expect(doubts(mirror, told('delete', one))).toEqual(['route']);
  expect(mirror.take(told('delete', one))).toBe(false);
  expect(doubts(mirror, told('new', WAYS))).toEqual(['route']);
  expect(mirror.take(told('delete', WAYS))).toBe(true);
  expect(doubts(mirrorOf({ routes: [] }), told('delete', one))).toEqual(['route']);
  // Another one's place.
  const old = { ...ROUTE, gateway: '10.0.0.2', link: 'v0', linkIndex: 2 };
  const replaced = { ...told('new', { ...old, gateway: '10.0.0.3' }), replaced: true };
  expect(doubts(mirrorOf({ routes: [old] }), { ...replaced })).toEqual(['route']);
  expect(doubts(mirrorOf({ routes: [old] }), told('new', { ...old, dst: '10.3.0.0/16' }))).toEqual([]);
});

test('what differs from a listing is told, first what has gone', () => {
  const neighbor = (ip: string, mac: string): Item => ({ link: 'v0', linkIndex: 2, ip, mac, state: 'stale' });
  const [a, b, c] = ['10.0.0.2', '10.0.0.3', '10.0.0.4'].map((ip) => neighbor(ip, '02:00:00:00:00:01')) as [
    Item,
    Item,
    Item,
  ];
  const mirror = mirrorOf({ neighbors: [a, b], fdb: [] });
  mirror.listing();
  const events = mirror.compare({ neighbors: [{ ...b, mac: '02:00:00:00:00:02' }, c], fdb: [] } as never);
  expect(events.map(({ action, ip }) => `${action} ${ip}`)).toEqual([
    'delete 10.0.0.2',
    'change 10.0.0.3',
    'add 10.0.0.4',
  ]);
  expect(events[1]).toMatchObject({ kind: 'neighbor', mac: '02:00:00:00:00:02', atNs: expect.any(BigInt) });
  expect(mirror.compare({ neighbors: [{ ...b, mac: '02:00:00:00:00:02' }, c], fdb: [] } as never)).toEqual([]);
});

test('what is told of while a listing is made is newer than the listing', () => {
  const row = { link: 'v0', linkIndex: 2, ip: '10.0.0.2', mac: '02:00:00:00:00:01', state: 'permanent' };
  const gone = { ...row, ip: '10.0.0.3' };
  const mirror = mirrorOf({ neighbors: [gone], fdb: [] });
  mirror.listing();
  mirror.take({ ...row, kind: 'neighbor', action: 'new' });
  mirror.take({ ...gone, kind: 'neighbor', action: 'delete' });
  const listed = { neighbors: [gone], fdb: [] } as never;
  expect(mirror.lacks(listed)).toBe(false);
  expect(mirror.compare(listed)).toEqual([]);
  // From then on a listing counts again.
  mirror.listing();
  expect(mirror.lacks(listed)).toBe(true);
  expect(mirror.compare(listed).map(({ action, ip }) => `${action} ${ip}`)).toEqual([
    'delete 10.0.0.2',
    'add 10.0.0.3',
  ]);
});
