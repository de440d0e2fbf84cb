/** Which tables a monitor with `resync` looks at again, and what it tells of a listing that differs. */
import { expect, test } from 'vitest';
import { type Item, indexed, Mirror } from '../../lib/rtnl/monitor/mirror.js';

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

async function mirrorOf(listed: Record<string, readonly object[]>): Promise<Mirror> {
  return new Mirror(await indexed({ links: LINKS, ...listed } as never));
}
async function compared(mirror: Mirror, listed: Record<string, readonly object[]>): Promise<Item[]> {
  const told: Item[] = [];
  await mirror.compare(await indexed(listed as never), (events) => told.push(...events));
  return told;
}
const linkEvent = (action: string, { kind, ...row }: Item): Item => ({ ...row, linkKind: kind, kind: 'link', action });
const doubts = (mirror: Mirror, event: Item): string[] => {
  mirror.stale.clear();
  mirror.take(event);
  return [...mirror.stale].sort();
};

test('a link that is renamed, changes, leaves or comes makes whatever names it doubtful', async () => {
  const rows = {
    addresses: [ADDRESS],
    routes: [{ ...ROUTE, nexthops: [{ gateway: '10.1.0.2', link: 'w0', linkIndex: 4 }] }],
    neighbors: [{ link: 'w0', linkIndex: 4, ip: '10.1.0.2', state: 'permanent' }],
    fdb: [],
  };
  const [v0, , w0] = LINKS as readonly Item[] as [Item, Item, Item];
  expect(doubts(await mirrorOf(rows), linkEvent('new', { ...v0, name: 'uplink' }))).toEqual(['address', 'link']);
  expect(doubts(await mirrorOf(rows), linkEvent('new', { ...w0, up: false }))).toEqual(['neigh', 'route']);
  expect(doubts(await mirrorOf(rows), linkEvent('delete', w0))).toEqual(['neigh', 'route']);
  // The same again, and another clock: no change.
  expect(doubts(await mirrorOf(rows), linkEvent('new', v0))).toEqual([]);
  expect(doubts(await mirrorOf(rows), linkEvent('new', { ...v0, gcTimer: 7 }))).toEqual([]);
  // The other end of a pair, which does not tell of it itself.
  expect(doubts(await mirrorOf(rows), linkEvent('new', { name: 'x', index: 9, kind: 'veth', link: 4 }))).toEqual([
    'link',
  ]);
  const bridge = { name: 'br0', index: 7, kind: 'bridge' };
  const port = { ...v0, master: 'br0', masterIndex: 7 };
  const fdb = [{ link: 'v0', linkIndex: 2, mac: '02:00:00:00:00:01', master: 'br0' }];
  const bridged = await mirrorOf({ links: [bridge, port], fdb });
  expect(doubts(bridged, linkEvent('new', { ...bridge, name: 'br1' }))).toEqual(['link', 'neigh']);
});

test('an address or a nexthop object that goes makes the routes that use it doubtful', async () => {
  const sourced = await mirrorOf({
    addresses: [ADDRESS],
    routes: [{ ...ROUTE, link: 'w0', linkIndex: 4, source: '10.0.0.1' }],
  });
  const gone = (address: Item): Item => ({ ...address, kind: 'address', action: 'delete' });
  expect(doubts(sourced, gone(ADDRESS))).toEqual(['route']);
  expect(doubts(sourced, gone({ ...ADDRESS, address: '10.0.0.9/24' }))).toEqual([]);
  // With the last address of a link all that leaves by it.
  const leaving = await mirrorOf({ addresses: [ADDRESS], routes: [{ ...ROUTE, link: 'v0', linkIndex: 2 }] });
  expect(doubts(leaving, gone(ADDRESS))).toEqual(['route']);
  const through = await mirrorOf({ routes: [{ ...ROUTE, nexthop: 1 }], fdb: [] });
  expect(doubts(through, { kind: 'nexthop', action: 'delete', id: 1 })).toEqual(['route']);
  expect(doubts(leaving, { kind: 'nexthop', action: 'delete', id: 1 })).toEqual([]);
  // A group loses the member that goes.
  const grouped = await mirrorOf({ nexthops: [{ id: 1 }, { id: 2, group: [{ id: 1, weight: 1 }] }] });
  expect(doubts(grouped, { kind: 'nexthop', action: 'delete', id: 1 })).toEqual(['nexthop']);
});

test('a route that stands for others is looked at again', async () => {
  const told = (action: string, row: Item): Item => ({ ...row, kind: 'route', action });
  const { nexthops, ...way } = WAYS as Item;
  const one = { ...way, gateway: 'fd00::2', link: 'v0', linkIndex: 2 };
  // One of several ways goes: the route stays.
  const mirror = await mirrorOf({ routes: [WAYS] });
  expect(doubts(mirror, told('delete', one))).toEqual(['route']);
  expect(mirror.take(told('delete', one))).toBe(false);
  expect(doubts(mirror, told('new', WAYS))).toEqual(['route']);
  expect(mirror.take(told('delete', WAYS))).toBe(true);
  expect(doubts(await mirrorOf({ routes: [] }), told('delete', one))).toEqual(['route']);
  // Another one's place.
  const old = { ...ROUTE, gateway: '10.0.0.2', link: 'v0', linkIndex: 2 };
  const replaced = { ...told('new', { ...old, gateway: '10.0.0.3' }), replaced: true };
  expect(doubts(await mirrorOf({ routes: [old] }), { ...replaced })).toEqual(['route']);
  expect(doubts(await mirrorOf({ routes: [old] }), told('new', { ...old, dst: '10.3.0.0/16' }))).toEqual([]);
});

test('what differs from a listing is told, first what has gone', async () => {
  const neighbor = (ip: string, mac: string): Item => ({ link: 'v0', linkIndex: 2, ip, mac, state: 'stale' });
  const [a, b, c] = ['10.0.0.2', '10.0.0.3', '10.0.0.4'].map((ip) => neighbor(ip, '02:00:00:00:00:01')) as [
    Item,
    Item,
    Item,
  ];
  const mirror = await mirrorOf({ neighbors: [a, b], fdb: [] });
  mirror.listing();
  const events = await compared(mirror, { neighbors: [{ ...b, mac: '02:00:00:00:00:02' }, c], fdb: [] });
  expect(events.map(({ action, ip }) => `${action} ${ip}`)).toEqual([
    'delete 10.0.0.2',
    'change 10.0.0.3',
    'add 10.0.0.4',
  ]);
  expect(events[1]).toMatchObject({ kind: 'neighbor', mac: '02:00:00:00:00:02', atNs: expect.any(BigInt) });
  expect(await compared(mirror, { neighbors: [{ ...b, mac: '02:00:00:00:00:02' }, c], fdb: [] })).toEqual([]);
});

test('what is told of while a listing is made or compared is newer than the listing', async () => {
  const row = { link: 'v0', linkIndex: 2, ip: '10.0.0.2', mac: '02:00:00:00:00:01', state: 'permanent' };
  const gone = { ...row, ip: '10.0.0.3' };
  const mirror = await mirrorOf({ neighbors: [gone], fdb: [] });
  mirror.listing();
  mirror.take({ ...row, kind: 'neighbor', action: 'new' });
  mirror.take({ ...gone, kind: 'neighbor', action: 'delete' });
  const listed = { neighbors: [gone], fdb: [] };
  expect(mirror.lacks(await indexed(listed as never))).toBe(false);
  expect(await compared(mirror, listed)).toEqual([]);
  // From then on a listing counts again.
  mirror.listing();
  expect(mirror.lacks(await indexed(listed as never))).toBe(true);
  expect((await compared(mirror, listed)).map(({ action, ip }) => `${action} ${ip}`)).toEqual([
    'delete 10.0.0.2',
    'add 10.0.0.3',
  ]);
});

test('a big table is compared in pieces, between which there may be news of it', async () => {
  const neighbors = Array.from({ length: 5000 }, (_, at) => {
    return { link: 'v0', linkIndex: 2, ip: `10.0.${at >> 8}.${at & 255}`, mac: '02:00:00:00:00:01', state: 'stale' };
  });
  const mirror = await mirrorOf({ neighbors: [], fdb: [] });
  mirror.listing();
  const last = neighbors.at(-1) as Item;
  const pieces: number[] = [];
  await mirror.compare(await indexed({ neighbors } as never), (events) => {
    if (pieces.length === 0) mirror.take({ ...last, kind: 'neighbor', action: 'new', state: 'reachable' });
    pieces.push(events.length);
  });
  expect(pieces).toEqual([1000, 1000, 1000, 1000, 999]);
  expect(mirror.size).toBe(5000 + 20 * LINKS.length);
});
