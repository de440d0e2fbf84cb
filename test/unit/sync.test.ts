/** How much of a network a resolver follows in its store: all, what is used, or nothing. */
import { describe, expect, test } from 'vitest';
import {
  type Change,
  type Endpoint,
  type Interest,
  Overlay,
  type OwnedStore,
  openStore,
  queryResolver,
  Resolver,
  type ResolverOptions,
  Rtnl,
  type Store,
} from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';
import { record, until } from '../support/overlay.js';

const numbered = (n: number, vtep = '10.0.0.11'): Endpoint => {
  const ip = `192.168.0.${n}`;
  return { ip, ips: [ip], mac: `02:42:c0:a8:00:${n.toString(16).padStart(2, '0')}`, vtep };
};

/** A memory: store that shows what is asked of it. */
interface Shown {
  readonly store: Store;
  readonly memory: OwnedStore;
  readonly lookups: string[];
  interest: Interest | undefined;
  readonly watches: string[];
}

async function shown(more: Partial<Store> = {}): Promise<Shown> {
  const memory = await openStore('memory:');
  const watchOnly = memory.watchOnly as NonNullable<Store['watchOnly']>;
  const result: Shown = { memory, lookups: [], interest: undefined, watches: [], store: undefined as never };
  const store: Store = {
    lookup: (query) => {
      result.lookups.push(query.kind === 'l3' ? query.ip : query.mac);
      return memory.lookup(query);
    },
    watch: ({ overlay, vni, ...options }) => {
      result.watches.push('all');
      return memory.watch({ overlay, vni, ...options });
    },
    watchOnly: (interest, { overlay, vni, ...options }) => {
      result.watches.push('used');
      result.interest = interest;
      return watchOnly.call(memory, interest, { overlay, vni, ...options });
    },
    ...more,
  };
  return Object.assign(result, { store });
}

async function scene(store: Store, options: Partial<ResolverOptions> = {}) {
  const kernel = new FakeKernel();
  const overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24', system: kernel.system });
  const resolver = await Resolver.start({ overlays: [overlay], store, ...options });
  const vteps = () =>
    Object.fromEntries(
      kernel
        .state('blue')
        .fdb.filter(({ link, dst, mac }) => link === 'vxlan1' && dst !== undefined && mac !== '00:00:00:00:00:00')
        .map(({ mac, dst }) => [mac, dst]),
    );
  const status = () => resolver.overlays()[0];
  return { kernel, overlay, resolver, vteps, status };
}

describe('used', () => {
  test('what was asked for is followed, and a move is programmed; of the rest nothing is known', async () => {
    const { store, memory, lookups, watches } = await shown();
    for (let n = 2; n < 100; n++) await memory.publish(numbered(n));
    const { kernel, resolver, vteps, status } = await scene(store, { sync: 'used' });
    await using _resolver = resolver;
    expect([status()?.sync, status()?.syncReason, resolver.stats().endpoints]).toEqual([
      'used',
      'used is asked for',
      0,
    ]);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    await memory.publish(numbered(3, '10.0.0.12'));
    await until(() => vteps()[numbered(3).mac] === '10.0.0.12', 'the move');
    await memory.publish(numbered(4, '10.0.0.12'));
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect([lookups, resolver.stats().endpoints, watches]).toEqual([['192.168.0.3'], 1, ['used']]);
    await memory.withdraw(numbered(3, '10.0.0.12'));
    await until(() => vteps()[numbered(3).mac] === undefined, 'the withdrawal');
    expect(kernel.state('blue').neighbors.filter(({ ip }) => ip === '192.168.0.3')).toEqual([]);
  });

  test('a MAC address that is asked for alone is followed: where it moves, the next packet asks anew', async () => {
    const { store, memory, lookups } = await shown();
    await memory.publish(numbered(3));
    const { kernel, resolver, vteps } = await scene(store, { sync: 'used' });
    await using _resolver = resolver;
    const { mac } = numbered(3);
    await kernel.miss('blue', { mac });
    await kernel.idle();
    expect(vteps()).toEqual({ [mac]: '10.0.0.11' });
    await memory.publish(numbered(3, '10.0.0.12'));
    await until(() => vteps()[mac] === undefined, 'the old place to go');
    await kernel.miss('blue', { mac });
    expect([vteps(), lookups]).toEqual([{ [mac]: '10.0.0.12' }, [mac, mac]]);
  });

  test('what the kernel has entries of at the start is followed from there on, and what is gone meanwhile goes', async () => {
    const { store, memory } = await shown();
    for (const n of [3, 4, 5]) await memory.publish(numbered(n));
    const { kernel, overlay, resolver, vteps } = await scene(store, { sync: 'used' });
    for (const n of [3, 4]) await kernel.miss('blue', { ip: numbered(n).ip });
    await kernel.miss('blue', { mac: numbered(5).mac });
    await resolver.close();
    await memory.publish(numbered(3, '10.0.0.12'));
    await memory.withdraw(numbered(4));
    await memory.publish(numbered(5, '10.0.0.12'));
    await using _again = await Resolver.start({ overlays: [overlay], store, sync: 'used' });
    await until(() => vteps()[numbered(3).mac] === '10.0.0.12', 'the move');
    await until(() => vteps()[numbered(5).mac] === undefined, 'the MAC address that has moved');
    await until(() => kernel.state('blue').neighbors.every(({ ip }) => ip !== numbered(4).ip), 'what is gone');
  });

  test('a MAC address that is used alone since before the start goes with its record', async () => {
    const { store, memory } = await shown();
    await memory.publish(numbered(5));
    const { kernel, overlay, resolver, vteps } = await scene(store, { sync: 'used' });
    await kernel.miss('blue', { mac: numbered(5).mac });
    await resolver.close();
    await using again = await Resolver.start({ overlays: [overlay], store, sync: 'used' });
    await until(() => again.overlays()[0]?.store === 'up' && vteps()[numbered(5).mac] !== undefined, 'the row');
    await memory.withdraw(numbered(5));
    await until(() => vteps()[numbered(5).mac] === undefined, 'the row to go');
    // Published again at the same place it is asked for again.
    await memory.publish(numbered(5));
    await kernel.miss('blue', { mac: numbered(5).mac });
    expect(vteps()).toEqual({ [numbered(5).mac]: '10.0.0.11' });
  });

  test('an address whose lease ends is found no more, and stays programmed as long as it is used', async () => {
    const told: Change[] = [];
    const { store, memory } = await shown({
      async *watchOnly(interest, { overlay, vni, ...options }) {
        for await (const change of memory.watchOnly?.(interest, { overlay, vni, ...options }) ?? []) {
          yield change;
          told.push(change); // and taken in
        }
      },
    });
    const lease = await memory.lease({ name: 'host-1' });
    await memory.claim(numbered(3), { lease });
    const { kernel, resolver, vteps } = await scene(store, { sync: 'used' });
    await using _resolver = resolver;
    await kernel.miss('blue', { ip: numbered(3).ip });
    expect(vteps()).toEqual({ [numbered(3).mac]: '10.0.0.11' });
    await lease.close();
    await until(() => told.some((change) => change.kind === 'delete' && change.expired), 'the end of the lease');
    await kernel.idle();
    expect([vteps(), kernel.state('blue').neighbors.map(({ ip }) => ip)]).toEqual([
      { [numbered(3).mac]: '10.0.0.11' },
      [numbered(3).ip],
    ]);
    // It comes again elsewhere.
    await memory.publish(numbered(3, '10.0.0.12'));
    await until(() => vteps()[numbered(3).mac] === '10.0.0.12', 'its new place');
  });

  test('an address falls out once the kernel has no row of its MAC address any more', async () => {
    const seen = await shown();
    for (const n of [3, 4]) await seen.memory.publish(numbered(n));
    const { kernel, resolver } = await scene(seen.store, { sync: 'used', idleMs: 1000 });
    await using _resolver = resolver;
    for (const n of [3, 4]) await kernel.miss('blue', { ip: numbered(n).ip });
    await until(() => seen.interest?.size === 2, 'both');
    await using rtnl = await Rtnl.open({ netns: 'blue', system: kernel.system });
    await rtnl.fdb.delete({ link: 'vxlan1', mac: numbered(3).mac, dst: numbered(3).vtep });
    await until(() => seen.interest?.has(numbered(3).ip) === false, 'the idle one to fall out');
    await kernel.idle();
    expect([...(seen.interest ?? [])]).toEqual([numbered(4).ip]);
    expect(kernel.state('blue').neighbors.map(({ ip }) => ip)).toEqual([numbered(4).ip]);
    // It is asked for again as ever.
    await kernel.miss('blue', { ip: numbered(3).ip });
    await until(() => seen.interest?.size === 2, 'both again');
  });

  test('a row that does not age is taken away: whoever uses it has it back at once, else its address falls out', async () => {
    const { store, memory, lookups, ...seen } = await shown();
    const [used, idle] = [numbered(3), numbered(4)];
    for (const each of [used, idle]) await memory.publish(each);
    const { kernel, resolver } = await scene(store, { sync: 'used', idleMs: 200 });
    await using _resolver = resolver;
    for (const { ip } of [used, idle]) await kernel.miss('blue', { ip });
    const asked = lookups.length;
    // A packet in flight for one of them all the time.
    const sending = setInterval(() => void kernel.miss('blue', { mac: used.mac }), 10);
    try {
      await until(() => kernel.state('blue').neighbors.every(({ ip }) => ip !== idle.ip), 'the idle one to fall out');
      await until(() => kernel.state('blue').fdb.some(({ mac }) => mac === used.mac), 'the row of the other');
    } finally {
      clearInterval(sending);
    }
    expect([kernel.state('blue').neighbors.map(({ ip }) => ip), lookups.length - asked]).toEqual([[used.ip], 0]);
    expect(seen.watches).toEqual(['used']);
  });

  test('a store that cannot watch addresses is served by lookups and their TTL', async () => {
    const { store, memory, lookups, watches } = await shown({ watchOnly: undefined } as never);
    await memory.publish(numbered(3));
    const { kernel, resolver, vteps, status } = await scene(store, { sync: 'used' });
    await using _resolver = resolver;
    expect([status()?.sync, status()?.syncReason, watches]).toEqual([
      'lookup',
      'used: the store watches no single addresses',
      [],
    ]);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    await memory.publish(numbered(3, '10.0.0.12'));
    kernel.advance(61_000);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect([vteps()[numbered(3).mac], lookups.length]).toEqual(['10.0.0.12', 2]);
  });
});

test('lookup: nothing is followed', async () => {
  const { store, memory, watches } = await shown();
  await memory.publish(numbered(3));
  const { kernel, resolver, status } = await scene(store, { sync: 'lookup' });
  await using _resolver = resolver;
  await kernel.miss('blue', { ip: '192.168.0.3' });
  expect([status()?.sync, watches, resolver.stats().answers]).toEqual(['lookup', [], 1]);
});

describe('auto', () => {
  test('all is followed until there is too much of it, then what is used; what is programmed stays', async () => {
    const seen = await shown({ mirrorMax: 10 });
    const { memory, store, watches } = seen;
    for (let n = 2; n < 9; n++) await memory.publish(numbered(n));
    const { kernel, resolver, vteps, status } = await scene(store);
    await using _resolver = resolver;
    const events = record(resolver, ({ kind }) => kind === 'sync' || kind === 'store-down');
    expect([status()?.sync, resolver.stats().endpoints, watches]).toEqual(['all', 7, ['all']]);
    expect(status()?.syncReason).toBe('auto: 7 addresses, 10 at most');
    await kernel.miss('blue', { ip: '192.168.0.3' });
    for (let n = 9; n < 20; n++) await memory.publish(numbered(n));
    await until(() => status()?.sync === 'used', 'the change');
    await until(() => resolver.stats().endpoints === 1, 'the rest to be forgotten');
    expect(status()?.syncReason).toMatch(/^auto: .*more than 10 addresses$/);
    const asked = await queryResolver('blue', { system: kernel.system });
    expect(asked?.status).toMatchObject({ sync: 'used', syncReason: status()?.syncReason });
    expect(vteps()).toEqual({ [numbered(3).mac]: '10.0.0.11' });
    await memory.publish(numbered(3, '10.0.0.12'));
    await until(() => vteps()[numbered(3).mac] === '10.0.0.12', 'the move');
    await until(() => events.length > 0, 'that it is told');
    expect([watches, events]).toMatchObject([
      ['all', 'used'],
      [{ kind: 'sync', sync: 'used', error: { code: 'OVERNS_TOO_LARGE' } }],
    ]);
    // It holds: who listens later is told.
    const later = record(resolver, ({ kind }) => kind === 'sync');
    await until(() => later.length === 1, 'what holds');
  });

  test('a store that does not look at max is counted', async () => {
    async function* watch(): AsyncGenerator<Change> {
      const endpoints = Array.from({ length: 20 }, (_, n) => numbered(n + 2));
      yield { kind: 'reset', endpoints, index: 1n };
      await new Promise(() => {});
    }
    const { store } = await shown({ watch, mirrorMax: 10 });
    const { resolver, status } = await scene(store);
    await using _resolver = resolver;
    expect([status()?.sync, resolver.stats().endpoints]).toEqual(['used', 0]);
  });

  test('one that cannot watch addresses is mirrored, whatever its size', async () => {
    const { store, memory } = await shown({ watchOnly: undefined, mirrorMax: 2 } as never);
    for (let n = 2; n < 9; n++) await memory.publish(numbered(n));
    const { resolver, status } = await scene(store);
    await using _resolver = resolver;
    expect([status()?.sync, resolver.stats().endpoints]).toEqual(['all', 7]);
  });
});

test('all: a store that cannot give all says so, is no failure, and is served by lookups', async () => {
  async function* watch(): AsyncGenerator<Change> {
    yield* [];
    throw Object.assign(new Error('there are more than can be read at once'), {
      code: 'OVERNS_TOO_LARGE',
      hint: 'less',
    });
  }
  const { store, memory } = await shown({ watch });
  await memory.publish(numbered(3));
  const { kernel, resolver, status } = await scene(store, { sync: 'all' });
  await using _resolver = resolver;
  const events = record(resolver, ({ kind }) => kind === 'sync' || kind === 'store-down');
  await kernel.miss('blue', { ip: '192.168.0.3' });
  await until(() => events.length > 0, 'what holds');
  expect([status(), events]).toMatchObject([
    { store: 'up', sync: 'lookup' },
    [{ kind: 'sync', sync: 'lookup', error: { code: 'OVERNS_TOO_LARGE' } }],
  ]);
  expect(resolver.stats().answers).toBe(1);
});
