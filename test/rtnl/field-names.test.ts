/** Names of fields as callers write them: misspelt, iproute2's own, of another kind of link; and rows as they are listed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import { createNetns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

type Loose = Readonly<Record<string, Readonly<Record<string, (...values: unknown[]) => Promise<unknown>>>>>;

/** What is called, with what, and what is said to it. */
const REFUSED: readonly (readonly [call: string, given: object, message: string])[] = [
  [
    'links.add',
    { kind: 'bridge', name: 'b', vlanFilter: true },
    'a link of kind bridge "vlanFilter": did you mean vlanFiltering?',
  ],
  [
    'links.add',
    { kind: 'bridge', name: 'b', vni: 7 },
    'a link of kind bridge "vni": it belongs to links of kind vxlan, geneve',
  ],
  ['links.add', { kind: 'vxlan', name: 'v', id: 7 }, 'a link of kind vxlan "id": did you mean vni?'],
  [
    'links.add',
    { kind: 'vxlan', name: 'v', vni: 7, colour: 1 },
    'a link of kind vxlan "colour": there is none like it',
  ],
  [
    'links.add',
    { kind: 'dummy', name: 'd', peer: { name: 'e' } },
    'a link of kind dummy "peer": it belongs to links of kind veth, vxcan, netkit',
  ],
  [
    'links.add',
    { kind: 'hsr', name: 'h', agingTime: 1 },
    'a link of kind hsr "agingTime": did you mean ageingTime? It belongs to links of kind bridge',
  ],
  ['links.add', { kind: 'veth', name: 'v', peer: { name: 'w', nets: 'x' } }, 'peer "nets": did you mean netns?'],
  [
    'links.add',
    { kind: 'vxlan', name: 'v', vni: 7, portRange: { low: 1, hi: 2 } },
    'portRange "hi": there are low, high',
  ],
  [
    'links.add',
    { kind: 'hsr', name: 'h', unknown: [{ typ: 1, within: 'info' }] },
    'unknown[0] "typ": did you mean type?',
  ],
  [
    'links.set',
    { name: 'lo', mcastSnooping: false },
    'a link "mcastSnooping": it belongs to links of kind bridge, whose kind has to be given',
  ],
  ['links.set', { name: 'lo', bridgePort: { hairpinn: true } }, 'bridgePort "hairpinn": did you mean hairpin?'],
  ['links.replace', { kind: 'bridge', name: 'b', Mtu: 1400 }, 'a link of kind bridge "Mtu": did you mean mtu?'],
  ['links.replace', { name: 'lo', vlanFilter: true }, 'a link "vlanFilter": did you mean vlanFiltering?'],
  ['links.delete', { nmae: 'b' }, 'a link "nmae": did you mean name?'],
  ['links.list', { knd: 'bridge' }, 'the filter "knd": did you mean kind?'],
  ['links.list', { bridgePort: { lerning: true } }, 'bridgePort "lerning": did you mean learning?'],
  ['links.counters', { nam: 'lo' }, 'did you mean name?'],
  ['addresses.add', { dev: 'lo', address: '10.0.0.1/8' }, 'an address "dev": did you mean link?'],
  ['addresses.list', { adress: '10.0.0.1' }, 'the filter "adress": did you mean address?'],
  ['routes.add', { dst: '10.1.0.0/16', via: '10.0.0.1' }, 'a route "via": did you mean gateway?'],
  ['routes.add', { dst: '10.1.0.0/16', metrics: { Mtu: 1400 } }, 'metrics "Mtu": did you mean mtu?'],
  [
    'routes.add',
    { dst: '10.1.0.0/16', nexthops: [{ gateway: '10.0.0.1' }, { via: '10.0.0.2' }] },
    'nexthops[1] "via": did you mean gateway?',
  ],
  ['routes.add', { dst: '10.1.0.0/16', netns: 'web' }, 'a route "netns": '],
  ['routes.replace', { dst: '10.1.0.0/16', gatway: '10.0.0.1' }, 'a route "gatway": did you mean gateway?'],
  ['routes.list', { tabel: 254 }, 'the filter "tabel": did you mean table?'],
  ['routes.flush', { tabel: 254 }, 'the filter "tabel": did you mean table?'],
  ['routes.get', { dest: '10.0.0.1' }, '"dest": did you mean '],
  ['neighbors.add', { link: 'lo', address: '10.0.0.9' }, 'a neighbour "address": did you mean mac?'],
  [
    'neighbors.append',
    { link: 'lo', ip: '10.0.0.9', lladdr: '02:00:00:00:00:01' },
    'a neighbour "lladdr": did you mean mac?',
  ],
  ['neighbors.delete', { link: 'lo', ipp: '10.0.0.9' }, 'a neighbour "ipp": did you mean ip?'],
  ['neighbors.list', { proxies: true }, 'the filter "proxies": '],
  ['neighbors.flush', { stat: 'stale' }, 'the filter "stat": did you mean state?'],
  ['fdb.add', { link: 'lo', mac: '02:00:00:00:00:01', dest: '10.0.0.1' }, 'an FDB entry "dest": did you mean dst?'],
  ['fdb.list', { link: 'lo', family: 'inet' }, 'the filter "family": '],
  ['fdb.flush', { link: 'lo', withoutFlag: ['self'] }, 'the filter "withoutFlag": did you mean withoutFlags?'],
  ['rules.add', { priority: 9, lookup: 7 }, 'a rule "lookup": did you mean table?'],
  ['rules.add', { priority: 9, sourcePorts: { low: 1, hgh: 2 } }, 'sourcePorts "hgh": did you mean high?'],
  ['rules.list', { prioritty: 9 }, 'the filter "prioritty": did you mean priority?'],
  ['nexthops.add', { id: 7, via: '10.0.0.1' }, 'a nexthop "via": did you mean gateway?'],
  ['nexthops.add', { id: 7, group: [{ id: 1, wieght: 2 }] }, 'group[0] "wieght": did you mean weight?'],
  ['nexthops.add', { id: 7, resilient: { bucket: 2 } }, 'resilient "bucket": did you mean buckets?'],
];

describe('a name that there is not is refused, and nothing is sent', () => {
  const kernel = new FakeKernel();
  let rtnl: Rtnl;
  let loose: Loose;
  beforeAll(async () => {
    rtnl = await Rtnl.open({ system: kernel.system });
    loose = rtnl as unknown as Loose;
  });
  afterAll(async () => {
    await rtnl.close();
  });
  const call = async (name: string, given: unknown): Promise<unknown> => {
    const [table = '', verb = ''] = name.split('.');
    return (async () => loose[table]?.[verb]?.(given))().catch((thrown: unknown) => thrown);
  };
  const refusal = (message: string, at = ''): object =>
    expect.objectContaining({
      name: 'RangeError',
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(new RegExp(`^${at.replace(/[[\]]/g, '\\$&')}unknown `)),
      stack: expect.stringContaining(message),
    });

  test.each(REFUSED)('%s %o', async (name, given, message) => {
    const before = kernel.snapshot();
    expect(await call(name, given)).toEqual(refusal(message));
    // As any operation of a batch, behind one that is right.
    const [table = '', verb = ''] = name.split('.');
    if (['add', 'replace', 'append', 'delete'].includes(verb)) {
      const right = { op: 'delete', item: table === 'links' ? { name: 'no-such' } : { ...RIGHT[table] } };
      expect(await call(`${table}.batch`, [right, { op: verb, item: given }])).toEqual(
        refusal(message, 'operations[1]: '),
      );
    }
    expect(kernel.snapshot()).toEqual(before);
  });

  const RIGHT: Readonly<Record<string, object>> = {
    addresses: { link: 'lo', address: '10.0.0.1/8' },
    routes: { dst: '10.1.0.0/16' },
    neighbors: { link: 'lo', ip: '10.0.0.9', state: 'permanent' },
    fdb: { link: 'lo', mac: '02:00:00:00:00:01', state: 'permanent' },
    rules: { priority: 9 },
    nexthops: { id: 7 },
  };

  test.each(Object.keys(RIGHT))('an operation of %s has an op and an item', async (table) => {
    const answer = await call(`${table}.batch`, [{ op: 'delete', itme: RIGHT[table] }]);
    expect(answer).toEqual(refusal('an operation "itme": did you mean item?'));
  });

  test.each([
    [
      'addresses.add',
      { link: 'lo', address: '10.0.0.1/8', unknown: [{ type: 9, bytes: Uint8Array.of(1) }] },
      'unknown',
    ],
    ['neighbors.replace', { link: 'lo', ip: '10.0.0.9', state: 'permanent', unknown: [] }, 'unknown'],
    ['fdb.add', { link: 'lo', mac: '02:00:00:00:00:01', state: 'permanent', unknown: {} }, 'unknown'],
    ['fdb.delete', { link: 'lo', mac: '02:00:00:00:00:01', master: 7 }, 'master'],
    [
      'fdb.add',
      { link: 'lo', linkIndex: 1, mac: '02:00:00:00:00:01', state: 'permanent', linkNetnsid: 'x' },
      'linkNetnsid',
    ],
    ['nexthops.add', { id: 7, blackhole: true, master: {} }, 'master'],
    ['nexthops.replace', { id: 7, blackhole: true, scope: 'everywhere' }, 'scope'],
  ])('what is only listed, and could not be: %s %o', async (name, given, field) => {
    const before = kernel.snapshot();
    const refused = { code: expect.stringMatching(/^ERR_INVALID_ARG/), message: expect.stringMatching(`^${field}: `) };
    expect(await call(name, given)).toEqual(expect.objectContaining(refused));
    expect(kernel.snapshot()).toEqual(before);
  });

  test('as it is listed, an address is taken with what is unknown of it', async () => {
    const listed = {
      link: 'lo',
      linkIndex: 1,
      address: '10.0.0.1/8',
      unknown: [{ type: 99, bytes: Uint8Array.of(1) }],
    };
    expect(await call('addresses.replace', listed)).toBe(undefined);
    await rtnl.addresses.delete({ link: 'lo', address: '10.0.0.1/8' });
  });

  test('names of a prototype count, those of Object.prototype and undefined ones do not', async () => {
    const item = { link: 'lo', ip: '10.0.0.9', mac: '02:00:00:00:00:01', state: 'permanent' };
    const answer = await call('neighbors.add', Object.assign(Object.create({ flgs: [] }), item));
    expect(answer).toEqual(refusal('did you mean flags?'));
    const shared = Object.prototype as { added?: number };
    shared.added = 1;
    try {
      expect(await call('neighbors.add', { ...item, colour: undefined })).toBe(undefined);
    } finally {
      delete shared.added;
    }
    await rtnl.neighbors.delete(item);
  });

  test('a name that follows many of other names is seen as well', async () => {
    const item = (last: number): object => ({ link: 'lo', ip: `10.0.0.${last}`, state: 'permanent' });
    const operations = [1, 2, 3].map((last) => ({ op: 'add', item: item(last) }));
    const wrong = { op: 'add', item: { link: 'lo', ip: '10.0.0.4', stat: 'permanent' } };
    expect(await call('neighbors.batch', [...operations, wrong])).toEqual(
      refusal('did you mean state?', 'operations[3]: '),
    );
    expect(await rtnl.neighbors.list()).toEqual([]);
  });

  test('what an event adds to its row is taken, of an event', async () => {
    const row = { link: 'lo', ip: '10.0.0.9', mac: '02:00:00:00:00:01', state: 'permanent' };
    const event = { kind: 'neighbor', action: 'new', ...row, netns: 'web', atNs: 1n };
    expect(await call('neighbors.add', event)).toBe(undefined);
    await rtnl.neighbors.delete(row);
  });
});

/** A link of each kind that the running kernel may have. */
const LINKS: readonly object[] = [
  { kind: 'bridge', name: 'br0', mcastSnooping: false },
  { kind: 'veth', name: 'va', master: 'br0', up: true, peer: { name: 'vb' } },
  { kind: 'vxlan', name: 'vx0', vni: 7, port: 4790, master: 'br0' },
  { kind: 'dummy', name: 'du0' },
  { kind: 'macvlan', name: 'mv0', link: 'vb', mode: 'bridge' },
  { kind: 'vlan', name: 'vl0', link: 'vb', vlanId: 9 },
  { kind: 'vrf', name: 'vr0', table: 9 },
  { kind: 'ipvlan', name: 'ip0', link: 'va', mode: 'l3' },
  { kind: 'geneve', name: 'ge0', vni: 7, remote: '10.0.0.1' },
  { kind: 'bond', name: 'bo0', mode: 'active-backup' },
  { kind: 'wireguard', name: 'wg0' },
  { kind: 'ifb', name: 'if0' },
];

describeWith(['root'], 'links as they are listed', () => {
  test('have known names, whatever their kind', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    for (const link of LINKS) {
      await rtnl.links.add(link as never).catch((error: { code: string }) => {
        // The running kernel has no links of this kind.
        if (error.code !== 'EOPNOTSUPP' && error.code !== 'ENOENT') throw error;
      });
    }
    const rows = await rtnl.links.list();
    expect(rows.length).toBeGreaterThan(5);
    for (const row of rows) {
      expect([row, await rtnl.links.list(row).then((found) => found.length)]).toEqual([row, 1]);
      await rtnl.links.replace(row as never);
    }
    for (const row of rows) if (row.kind !== undefined) await rtnl.links.delete(row as never).catch(isGone);
    expect((await rtnl.links.list()).map(({ name }) => name)).toEqual(['lo']);
  });

  test('replaced without its kind, a link is the one that there is', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const name = 'br0';
    await rtnl.links.add({ kind: 'bridge', name });
    await rtnl.links.replace({ name, mtu: 1300 } as never);
    expect((await rtnl.links.list({ name }))[0]?.mtu).toBe(1300);
    await rtnl.links.replace({ name, mcastSnooping: false } as never);
    expect((await rtnl.links.list({ name }))[0]?.mcastSnooping).toBe(false);
  });
});

/** The other end of a pair, or what stood upon another. */
function isGone(error: { code?: string }): void {
  if (error.code !== 'ENODEV') throw error;
}
