/** Filters compare values, however they are spelt; what they cannot mean is refused. */
import { expect, test } from 'vitest';
import { type Route, Rtnl } from '../../lib/index.js';
import { describeWith } from '../support/requirements.js';
import { populated } from './populated.js';

describeWith(['root', 'ip'], 'filters of listings', () => {
  test('routes', async () => {
    const netns = await populated();
    await netns.ip('route add default via 10.0.0.9');
    await netns.ip('-6 route add default via fd00:1::9');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const same: readonly (readonly [Partial<Route>, ...Partial<Route>[]])[] = [
      [{ dst: '10.5.0.0/16' }, { dst: '10.5.6.7/16' }],
      [{ dst: 'default', family: 'inet' }, { dst: '0.0.0.0/0' }, { dst: '10.0.0.1/0' }],
      [{ dst: 'default', family: 'inet6' }, { dst: '::/0' }],
      [{ dst: 'fd05::/48' }, { dst: 'FD05:0:0::/48' }, { dst: 'fd05:0:0:1::9/48' }],
      [{ dst: '10.0.0.1/32' }, { dst: '10.0.0.1' }],
      [{ from: 'fd11::/64' }, { from: 'FD11::1/64' }],
      [{ protocol: 'static' }, { protocol: 4 }],
      [{ scope: 'link' }, { scope: 253 }],
      [{ type: 'blackhole' }, { type: 6 }],
      [{ gateway: 'fd00:1::8' }, { gateway: 'FD00:1:0::8' }],
      [{ metrics: { mtu: 1400 } }, { metrics: { mtu: 1400 } }],
    ];
    for (const [plain, ...others] of same) {
      // Some expire, second by second.
      const lasting = async (filter: Partial<Route>): Promise<object[]> =>
        (await rtnl.routes.list(filter)).map(({ expires: _, ...row }) => row);
      const rows = await lasting(plain);
      expect([plain, rows.length > 0]).toEqual([plain, true]);
      for (const other of others) expect([other, await lasting(other)]).toEqual([other, rows]);
    }
    const zero = await rtnl.routes.list({ dst: '10.5.0.0/16', metric: 0, tos: 0, table: 254 });
    expect(zero.map(({ metric, tos }) => [metric, tos])).toEqual(Array(4).fill([undefined, undefined]));
    for (const filter of [
      { protocol: 'nobody' },
      { scope: 'nowhen' },
      { dst: '10.0.0.0/33' },
      { gateway: 'x' },
    ] as object[])
      await expect(rtnl.routes.list(filter)).rejects.toThrow(RangeError);
  });

  test('addresses, neighbours, FDB entries, links', async () => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const length = async (rows: Promise<readonly object[]>): Promise<number> => (await rows).length;
    expect(await length(rtnl.addresses.list({ address: '10.0.0.1/24' }))).toBe(1);
    expect(await length(rtnl.addresses.list({ address: '10.0.0.1' }))).toBe(1);
    expect(await length(rtnl.addresses.list({ address: '10.0.0.1/25' }))).toBe(0);
    expect(await length(rtnl.addresses.list({ address: 'FD00:1::0:1/64' }))).toBe(2);
    expect(await length(rtnl.addresses.list({ scope: 254 }))).toBe(2);
    expect(await length(rtnl.neighbors.list({ state: 'NOARP', ip: '10.0.0.51' }))).toBe(1);
    expect(await length(rtnl.neighbors.list({ mac: '02:00:00:00:00:50'.toUpperCase() }))).toBe(1);
    await expect(rtnl.neighbors.list({ state: 'permanet' })).rejects.toThrow(/^state: /);
    await expect(rtnl.neighbors.list({ flags: ['proxi'] })).rejects.toThrow(/^flags: /);
    expect(await length(rtnl.fdb.list({ link: 'v6', dst: 'FD00:99:0::2' }))).toBe(1);
    expect(
      await length(rtnl.links.list({ mac: (await rtnl.links.list({ name: 'p0' }))[0]?.mac?.toUpperCase() ?? '' })),
    ).toBe(1);
    const [row] = await rtnl.fdb.list({ link: 'vx0', mac: '02:00:00:00:02:04' });
    expect(await rtnl.fdb.list(row)).toEqual([row]);
  });

  test('what no row can have is refused, and not answered with none', async () => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
    const loose = rtnl as any;
    for (const [table, filter, message] of [
      ['links', { mtu: '1500' }, 'mtu: expected a number, got string'],
      ['links', { up: 1 }, 'up: expected a boolean, got number'],
      ['links', { index: Number.NaN }, 'index: NaN is not a number that something can have'],
      ['links', { link: 'eth0' }, 'link: expected a number, got string'],
      ['links', { vlanProtocol: true }, 'vlanProtocol: expected a string or a number, got boolean'],
      ['links', { master: null }, 'master: expected a string, got null'],
      ['links', { name: '' }, 'name: "" is not the name of a link'],
      ['links', { kind: '' }, 'kind: "" is not the kind of a link'],
      ['links', { netns: 'x' }, 'unknown field of the filter "netns"'],
      ['addresses', { flags: 'permanent' }, 'flags: expected an array, got string'],
      ['neighbors', { link: '' }, 'link: expected'],
      ['fdb', { vni: '7' }, 'vni: expected a number, got string'],
      ['rules', { priority: '9' }, 'priority: expected a number, got string'],
      ['rules', { tunnel: 9 }, 'tunnel: expected a bigint, got number'],
      ['nexthops', { group: {} }, 'group: expected an array, got object'],
      ['routes', { metrics: 5 }, 'metrics: expected an object, got number'],
    ] as const) {
      await expect(loose[table].list(filter), message).rejects.toThrow(message);
      if (table !== 'links' && table !== 'addresses' && table !== 'fdb')
        await expect(loose[table].flush(filter), message).rejects.toThrow(message);
    }
    // What the kernel tells only where it is so.
    expect((await rtnl.rules.list({ l3mdev: false })).length).toBeGreaterThan(2);
    expect((await rtnl.nexthops.list({ blackhole: false, fdb: false })).length).toBe(
      (await rtnl.nexthops.list()).filter(({ blackhole, fdb }) => !blackhole && !fdb).length,
    );
  });

  test('proxies are listed, flushed and deleted when they are asked for, and left alone otherwise', async () => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const proxies = await rtnl.neighbors.list({ flags: ['proxy'] });
    expect(proxies.map(({ ip, link }) => [ip, link]).sort()).toEqual([
      ['10.0.0.50', 'p0'],
      ['10.0.0.60', 'p0'],
      ['fd00:1::60', 'p0'],
    ]);
    expect((await rtnl.neighbors.list()).some(({ flags }) => flags?.includes('proxy'))).toBe(false);
    expect(await rtnl.neighbors.list({ flags: ['proxy'], link: 'p2' })).toEqual([]);
    expect((await rtnl.neighbors.list({ flags: ['proxy'], family: 'inet6' } as object)).length).toBe(1);
    // On every link: the kernel takes it without one.
    await rtnl.neighbors.add({ ip: '10.0.0.61', flags: ['proxy'], state: 'none' } as never);
    const [everywhere] = await rtnl.neighbors.list({ flags: ['proxy'], ip: '10.0.0.61' });
    expect(everywhere).toEqual({ ip: '10.0.0.61', state: 'none', flags: ['proxy'] });
    await rtnl.neighbors.delete(everywhere ?? {});
    await rtnl.neighbors.flush({ ip: '10.0.0.50' });
    expect((await rtnl.neighbors.list({ flags: ['proxy'] })).length).toBe(3);
    expect(await rtnl.neighbors.flush({ flags: ['proxy'] })).toBe(3);
    expect(await netns.ipJson('neighbor show proxy')).toEqual([]);
  });

  test('flush takes a row as it is listed, and that row only', async () => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    for (const link of ['vx0', 'b0', 'br0', 'vx1', 'vx2']) {
      for (const row of await rtnl.fdb.list({ link })) {
        if (/^(33:33:|01:00:5e:00:00:(01|6a))/.test(row.mac)) continue;
        const before = await rtnl.fdb.list();
        await rtnl.fdb.flush(row as never);
        const after = await rtnl.fdb.list();
        const gone = before.filter((each) => !after.some((other) => JSON.stringify(other) === JSON.stringify(each)));
        expect(gone).toEqual([row]);
      }
    }
    const [neighbor] = await rtnl.neighbors.list({ ip: '10.0.0.50', link: 'p0' });
    expect(await rtnl.neighbors.flush(neighbor)).toBe(1);
    expect((await rtnl.neighbors.list({ ip: '10.0.0.50' })).map(({ link }) => link)).toEqual(['p2']);
  });
});
