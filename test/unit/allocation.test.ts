/** Which addresses a pool has to hand out, and how they are handed out: on memory: and on stores of one's own. */
import { describe, expect, test } from 'vitest';
import { AddressAllocator, type AddressPool, type Endpoint, Overlay, openStore, type Store } from '../../lib/index.js';
import { Pool } from '../../lib/store/address-pool.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';
import { until } from '../support/overlay.js';

const where = { overlay: 'blue', vni: 42 };
const V1 = '10.0.0.10';
const V2 = '10.0.0.11';

/** All addresses of a small pool, in order. */
function all(given: AddressPool): string[] {
  const pool = new Pool(given, 'pool');
  const found = new Set<string>();
  for (let next = pool.free(0n, found); next !== undefined; next = pool.free(0n, found)) found.add(next.ip);
  expect(found.size).toBe(Number(pool.size));
  return [...found];
}

const failure = async (call: unknown): Promise<Error & { code?: string; hint?: string; holder?: unknown }> =>
  Promise.resolve(call).then(
    (result) => new Error(`it succeeded: ${JSON.stringify(result)}`),
    (error) => error,
  );

describe('pools', () => {
  test.each<[AddressPool, string[]]>([
    [{ network: '192.168.0.0/30' }, ['192.168.0.1', '192.168.0.2']],
    [{ network: '192.168.0.5/30' }, ['192.168.0.5', '192.168.0.6']],
    [{ network: '192.168.0.0/31' }, ['192.168.0.0', '192.168.0.1']],
    [{ network: '192.168.0.7/32' }, ['192.168.0.7']],
    [{ network: 'fd00::/126' }, ['fd00::1', 'fd00::2', 'fd00::3']],
    [{ network: 'fd00::/127' }, ['fd00::', 'fd00::1']],
    [{ network: '192.168.0.0/24', range: '192.168.0.252/30' }, ['192.168.0.252', '192.168.0.253', '192.168.0.254']],
    [
      { network: '192.168.0.0/16', range: '192.168.0.255-192.168.1.1' },
      ['192.168.0.255', '192.168.1.0', '192.168.1.1'],
    ],
    [
      { network: '192.168.0.0/29', except: ['192.168.0.1', '192.168.0.6', '192.168.0.0', '10.0.0.1'] },
      ['192.168.0.2', '192.168.0.3', '192.168.0.4', '192.168.0.5'],
    ],
    [{ network: 'fd00::/64', range: 'fd00::ffff - fd00::1:1', except: ['fd00::1:0'] }, ['fd00::ffff', 'fd00::1:1']],
  ])('%j has %j', (pool, expected) => {
    expect(all(pool)).toEqual(expected);
  });

  test('a large one is as quick as a small one, from any place on, and begins anew behind its last', () => {
    const pool = new Pool({ network: 'fd00::/8', except: ['fd00::1'] }, 'pool');
    expect(pool.free(0n, new Set(['fd00::2']))).toMatchObject({ ip: 'fd00::3' });
    expect(pool.free(pool.size, new Set(['fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff']))).toMatchObject({ ip: 'fd00::2' });
  });

  test.each<[unknown, string]>([
    [{ network: '192.168.0.0' + '/33' }, 'prefix length from 0 to 32'],
    [{ network: '0.0.0.0/0' }, '8 at least'],
    [{ network: '224.0.0.0/8' }, 'multicast'],
    [{ network: 'ff02::/16' }, 'multicast'],
    [{ network: '192.168.0.0/24', range: '192.168.1.0/24' }, 'a part of 192.168.0.0/24'],
    [{ network: '192.168.0.0/24', range: 'fd00::/120' }, 'a part of 192.168.0.0/24'],
    [{ network: '192.168.0.0/24', range: '192.168.0.9-192.168.0.3' }, 'first and last address'],
    [{ network: '192.168.0.0/32', except: ['192.168.0.0'] }, 'an address that may be handed out'],
    [{ network: '192.168.0.0/24', excpet: [] }, 'did you mean except?'],
    [{ network: '192.168.0.0/24', except: ['x'] }, 'an IP address'],
  ])('%j is none', (pool, words) => {
    expect(() => new Pool(pool, 'pool')).toThrow(words);
  });
});

describe('addresses', () => {
  const pools = [
    { network: '192.168.0.0/28', except: ['192.168.0.1'] },
    { network: 'fd00::/64', except: ['fd00::1'] },
  ];
  const memory = async (quarantineMs = 60_000, given: readonly AddressPool[] = pools) => {
    const store = await openStore('memory:', { quarantineMs });
    return { store, allocator: new AddressAllocator({ store, ...where, pools: given }) };
  };

  test('go out in order, one of each family, with the MAC address that belongs to the IPv4 one', async () => {
    const { store, allocator } = await memory();
    const first = await allocator.allocate({ vtep: V1 });
    expect(first).toMatchObject({
      endpoint: { ip: '192.168.0.2', ips: ['192.168.0.2', 'fd00::2'], mac: '02:42:c0:a8:00:02', vtep: V1 },
      addresses: ['192.168.0.2/28', 'fd00::2/64'],
    });
    expect(await store.list(where)).toMatchObject([{ ...first.endpoint, revision: first.revision }]);
    expect((await allocator.allocate({ vtep: V2, except: ['192.168.0.3'] })).endpoint.ips).toEqual([
      '192.168.0.4',
      'fd00::3',
    ]);
  });

  test('a full pool says so, what is in another family is kept, and one that is given back rests', async () => {
    const { store, allocator } = await memory(60_000, [pools[0] as AddressPool]);
    const given = await Promise.all(Array.from({ length: 13 }, () => allocator.allocate({ vtep: V1 })));
    expect(new Set(given.map(({ endpoint }) => endpoint.ip)).size).toBe(13);
    const full = await failure(allocator.allocate({ vtep: V2 }));
    expect(full).toMatchObject({
      code: 'OVERNS_POOL_FULL',
      message: 'no address of 192.168.0.0/28 is free (13 in all)',
    });
    expect(full.hint).toContain('detach');
    const both = new AddressAllocator({ store, ...where, pools });
    expect((await failure(both.allocate({ vtep: V2 }))).code).toBe('OVERNS_POOL_FULL');
    expect(await store.list(where)).toHaveLength(13);
    await allocator.release((given[4] as (typeof given)[0]).endpoint);
    expect(await failure(allocator.allocate({ vtep: V2 }))).toMatchObject({
      message: expect.stringContaining('1 of them given back a short while ago'),
      hint: expect.stringContaining('wait'),
    });
  });

  test.concurrent.each(['release', 'withdraw', 'lease'])(
    'one that is gone by %s is handed out again when its quarantine is over, not before',
    async (how) => {
      const { store, allocator } = await memory(1000, [{ network: '192.168.0.0/30', except: ['192.168.0.1'] }]);
      const lease = await store.lease({ name: 'host' });
      const { endpoint } = await allocator.allocate({ vtep: V1, lease });
      if (how === 'release') await allocator.release(endpoint);
      else if (how === 'withdraw') await store.withdraw(endpoint, where);
      else await lease.close();
      const began = performance.now();
      expect((await failure(allocator.allocate({ vtep: V2 }))).code).toBe('OVERNS_POOL_FULL');
      await until(
        () =>
          allocator.allocate({ vtep: V2 }).then(
            () => true,
            () => false,
          ),
        'the end of the quarantine',
      );
      expect(performance.now() - began).toBeGreaterThan(950);
      expect(await store.list(where)).toMatchObject([{ ip: '192.168.0.2', vtep: V2 }]);
    },
  );

  test('who asks again with its MAC address has the same, and a lease takes over what was plain', async () => {
    const { store, allocator } = await memory();
    const mac = '02:00:00:00:00:07';
    const once = await Promise.all(Array.from({ length: 5 }, () => allocator.allocate({ vtep: V1, mac })));
    expect(new Set(once.map(({ endpoint }) => endpoint.ip)).size).toBe(1);
    await using lease = await store.lease({ name: 'host' });
    const again = await allocator.allocate({ vtep: V1, mac, lease });
    expect(again.endpoint).toEqual(once[0]?.endpoint);
    expect(await store.list(where)).toMatchObject([{ mac, lease: lease.id }]);
    expect((await failure(allocator.allocate({ vtep: V2, mac }))).code).toBe('OVERNS_CONFLICT');
  });

  test('an endpoint may get its addresses one family after the other', async () => {
    const { store } = await memory();
    const mac = '02:00:00:00:00:07';
    for (const pool of pools)
      await new AddressAllocator({ store, ...where, pools: [pool] }).allocate({ vtep: V1, mac });
    expect(await store.list(where)).toMatchObject([{ mac, ips: ['192.168.0.2', 'fd00::2'] }]);
  });

  test('a certain one is reserved, again and again by its host, by no other, and also while it rests', async () => {
    const { store, allocator } = await memory();
    const reserved = await allocator.reserve('192.168.0.9', { vtep: V1 });
    expect(reserved).toMatchObject({ addresses: ['192.168.0.9/28'], endpoint: { mac: '02:42:c0:a8:00:09' } });
    expect(await allocator.reserve('192.168.0.9', { vtep: V1 })).toEqual(reserved);
    for (const options of [{ vtep: V2 }, { vtep: V1, mac: '02:00:00:00:00:07' }])
      expect(await failure(allocator.reserve('192.168.0.9', options))).toMatchObject({
        code: 'OVERNS_CONFLICT',
        holder: { vtep: V1 },
      });
    await allocator.release(reserved.endpoint);
    await allocator.reserve('192.168.0.9', { vtep: V2 });
    expect(await store.lookup({ ...where, kind: 'l3', ip: '192.168.0.9' })).toMatchObject({ vtep: V2 });
    for (const ip of ['192.168.0.1', '192.168.0.16', 'fd01::1'])
      expect((await failure(allocator.reserve(ip, { vtep: V1 }))).message).toContain('has to hand out');
  });

  test('what somebody has published by hand is taken, and its MAC address too', async () => {
    const { store, allocator } = await memory();
    await store.publish({ ip: '192.168.0.2', ips: ['192.168.0.2'], mac: '02:42:c0:a8:00:03', vtep: V2 }, where);
    const { endpoint } = await allocator.allocate({ vtep: V1 });
    expect(endpoint.ip).toBe('192.168.0.3');
    expect(endpoint.mac).not.toBe('02:42:c0:a8:00:03');
  });

  test('a claim whose answer is lost is taken back', async () => {
    const { store } = await memory();
    const deaf: Store = {
      lookup: () => null,
      list: (options) => store.list(options),
      withdraw: (endpoint, options) => store.withdraw(endpoint, options),
      claim: async (endpoint, options) => {
        await store.claim(endpoint, options);
        throw new Error('no answer');
      },
    };
    const allocator = new AddressAllocator({ store: deaf, ...where, pools });
    expect((await failure(allocator.allocate({ vtep: V1 }))).message).toBe('no answer');
    expect(await store.list(where)).toEqual([]);
  });

  test("a store of one's own needs claim, list and withdraw; without a memory one address is not always the first", async () => {
    const { store } = await memory();
    const own: Store = {
      lookup: () => null,
      list: (options) => store.list(options),
      withdraw: (endpoint, options) => store.withdraw(endpoint, options),
      claim: (endpoint, options) => store.claim(endpoint, options),
    };
    const allocator = new AddressAllocator({ store: own, ...where, pools: [{ network: '10.0.0.0/8' }] });
    const given: Endpoint[] = [];
    for (let at = 0; at < 20; at++) given.push((await allocator.allocate({ vtep: V1 })).endpoint);
    expect(new Set(given.map(({ ip }) => ip)).size).toBe(20);
    expect(given.some(({ ip }) => !ip.startsWith('10.0.0.'))).toBe(true);
    const { claim: _, ...without } = own;
    expect(() => new AddressAllocator({ store: without, ...where, pools })).toThrow(
      expect.objectContaining({ code: 'OVERNS_STORE_UNSUPPORTED', hint: expect.stringContaining('`address`') }),
    );
  });

  test('what is no request is refused, and an aborted one takes nothing', async () => {
    const { store, allocator } = await memory();
    for (const options of [
      {},
      { vtep: 'x' },
      { vtep: V1, mac: 'x' },
      { vtep: V1, maC: 'x' },
      { vtep: V1, except: ['x'] },
    ])
      expect((await failure(allocator.allocate(options as never))).message).toMatch(/vtep|mac|except/);
    for (const options of [
      { ...where, pools },
      { store, ...where, pools: [] },
      { store, ...where, pools: [pools[0], pools[0]] },
    ])
      expect(() => new AddressAllocator(options as never)).toThrow(/store|pool/);
    expect((await failure(allocator.allocate({ vtep: V1, signal: AbortSignal.abort() }))).code).toBe('ABORT_ERR');
    expect(await store.list(where)).toEqual([]);
  });
});

describe('attach without an address', () => {
  async function scene(address: string | string[] = ['192.168.0.1/29', 'fd00::1/64']) {
    const kernel = new FakeKernel();
    for (const name of ['web', 'db', 'cache']) kernel.addNetns(name);
    const overlay = await Overlay.create({ name: 'blue', vni: 42, address, system: kernel.system });
    const store = await openStore('memory:');
    return { kernel, overlay, store };
  }

  test('takes the next free one of each of its networks, claimed before the container is touched', async () => {
    const { kernel, overlay, store } = await scene();
    const web = await overlay.attach('netns:web', { store });
    expect(web.addresses).toEqual(['192.168.0.2/29', 'fd00::2/64']);
    expect(web.mac).toBe('02:42:c0:a8:00:02');
    // One that the store does not know of, and one of another host.
    await overlay.attach('netns:db', { address: ['192.168.0.3/29', 'fd00::3/64'] });
    await store.claim({ ip: '192.168.0.4', ips: ['192.168.0.4'], mac: '02:42:c0:a8:00:04', vtep: V2 }, where);
    const cache = await overlay.attach('netns:cache', { store, gateway: '192.168.0.1', mac: '02:00:00:00:00:07' });
    expect([cache.ips, cache.mac]).toEqual([['192.168.0.5', 'fd00::4'], '02:00:00:00:00:07']);
    expect((await store.list(where)).flatMap(({ ips }) => ips).sort()).toEqual(
      ['192.168.0.2', '192.168.0.4', '192.168.0.5', 'fd00::2', 'fd00::4'].sort(),
    );
    await overlay.detach('netns:cache', { store });
    kernel.addNetns('more');
    expect((await overlay.attach('netns:more', { store })).ips).toEqual(['192.168.0.6', 'fd00::5']);
    kernel.addNetns('last');
    expect(await failure(overlay.attach('netns:last', { store }))).toMatchObject({ code: 'OVERNS_POOL_FULL' });
    expect((await overlay.endpoints()).length).toBe(3);
  });

  test('with ensure the container keeps what it has, and without it is refused before the store is asked', async () => {
    const { overlay, store } = await scene();
    const web = await overlay.attach('netns:web', { store });
    expect(await overlay.attach('netns:web', { store, ensure: true })).toEqual(web);
    const listed = await store.list(where);
    expect(await failure(overlay.attach('netns:web', { store }))).toMatchObject({ code: 'EEXIST' });
    expect(await failure(overlay.attach('netns:db', { store, mac: web.mac }))).toMatchObject({ code: 'EEXIST' });
    expect(await store.list(where)).toEqual(listed);
  });

  test('what was taken is given back when the container cannot be attached after all', async () => {
    const { kernel, overlay, store } = await scene();
    const before = kernel.snapshot();
    kernel.fail('RTM_NEWADDR', 'EPERM');
    expect((await failure(overlay.attach('netns:web', { store }))).code).toBe('EPERM');
    await kernel.idle();
    expect([await store.list(where), kernel.snapshot()]).toEqual([[], before]);
  });

  test('without a network, or a store that can claim, the remedy is named', async () => {
    const { overlay, store } = await scene([]);
    expect(await failure(overlay.attach('netns:web', { store }))).toMatchObject({
      code: 'EADDRNOTAVAIL',
      hint: expect.stringContaining('`address`'),
    });
    expect(await failure(overlay.attach('netns:web'))).toMatchObject({
      code: 'EADDRNOTAVAIL',
      hint: expect.stringContaining('`store`'),
    });
    const unable = await scene();
    const own: Store = { lookup: () => null, publish: async () => {}, withdraw: async () => {} };
    expect(await failure(unable.overlay.attach('netns:web', { store: own }))).toMatchObject({
      code: 'OVERNS_STORE_UNSUPPORTED',
      hint: expect.stringContaining('`address`'),
    });
  });
});
