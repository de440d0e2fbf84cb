/** Addresses that many hosts take at once, on real stores: each a process of its own. */
import { beforeAll, expect, test } from 'vitest';
import { AddressAllocator, type Allocation, type OwnedStore } from '../../lib/index.js';
import { openStore } from '../../lib/store/index.js';
import { allocatedIn } from '../../lib/store/scope.js';
import { said, startChild } from '../support/child.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

const where = { overlay: 'blue', vni: 42 };
const HOSTS = 4;
const EACH = 50;

/** A host: waits for the word, then takes its addresses all at once. */
const HOST = `
const { AddressAllocator } = overns;
const { url, pools, count, vtep } = args;
const store = await openStore(url);
const allocator = new AddressAllocator({ store, overlay: 'blue', vni: 42, pools });
await store.list();
say({ ready: true });
process.stdin.once('data', async () => {
  const all = await Promise.allSettled(Array.from({ length: count }, () => allocator.allocate({ vtep })));
  say({ given: all.map(({ value, reason }) => value?.endpoint ?? reason.code + ': ' + reason.message) });
  process.exit();
});
`;

/** What all hosts were given, or the error instead. */
async function takeAtOnce(url: string, pools: object, count = EACH): Promise<(Allocation['endpoint'] | string)[]> {
  const hosts = Array.from({ length: HOSTS }, (_, at) =>
    startChild(HOST, { url, pools, count, vtep: `10.0.0.${10 + at}` }),
  );
  await Promise.all(hosts.map((host) => until(() => said(host).length > 0, 'the hosts')));
  for (const host of hosts) host.child.stdin?.write('go\n');
  for (const host of hosts) if ((await host.exited) !== 0) throw new Error(host.stderr);
  return hosts.flatMap((host) => said(host)[1].given);
}

/** @param restMs how long a lease of a second may last; 0: that it ends is a test of the store's own, and takes too long here */
function allocations(kind: 'consul' | 'etcd', start: () => Promise<string>, restMs: number): void {
  let at: string;
  let prefixes = 0;
  const fresh = (): string => `${kind}://${at}/a${++prefixes}`;
  const open = async (url: string, quarantineMs = 60_000): Promise<OwnedStore> => {
    const store = await openStore(url, { quarantineMs });
    onCleanup(() => store.close());
    return store;
  };

  beforeAll(async () => {
    at = await start();
  });

  test('two hundred at once from four hosts: none twice, none lost, both families whole', async () => {
    const url = fresh();
    const pools = [
      { network: '192.168.0.0/24', except: ['192.168.0.1'] },
      { network: 'fd00::/64', except: ['fd00::1'] },
    ];
    const given = await takeAtOnce(url, pools);
    expect(given.filter((one) => typeof one === 'string')).toEqual([]);
    const ips = (given as Allocation['endpoint'][]).flatMap((one) => one.ips);
    expect([ips.length, new Set(ips).size]).toEqual([2 * HOSTS * EACH, 2 * HOSTS * EACH]);
    const store = await open(url);
    expect((await store.list()).flatMap((one) => one.ips).sort()).toEqual([...ips].sort());
  });

  test('a pool has as many as it has, and whoever comes too late is told so', async () => {
    const url = fresh();
    const given = await takeAtOnce(url, [{ network: '192.168.0.0/28', except: ['192.168.0.1'] }], 6);
    const full = given.filter((one) => typeof one === 'string');
    expect(full).toHaveLength(HOSTS * 6 - 13);
    for (const words of full) expect(words).toContain('OVERNS_POOL_FULL: no address of 192.168.0.0/28 is free');
    const ips = given.flatMap((one) => (typeof one === 'string' ? [] : one.ips));
    expect(new Set(ips).size).toBe(13);
  });

  test('what a lease leaves that ended without a word rests, then is free', async () => {
    const store = await open(fresh(), 1000);
    const pools = [{ network: '192.168.0.0/30', except: ['192.168.0.1'] }];
    const allocator = new AddressAllocator({ store, ...where, pools });
    const lease = await store.lease({ name: 'host', ttlMs: 60_000 });
    await allocator.allocate({ vtep: '10.0.0.10', lease });
    await lease.close();
    const began = performance.now();
    const take = () => allocator.allocate({ vtep: '10.0.0.11' });
    await expect(take()).rejects.toMatchObject({ code: 'OVERNS_POOL_FULL' });
    const remembered = await allocatedIn(store, where)?.list({});
    expect(remembered).toMatchObject([{ ip: '192.168.0.2', vtep: '10.0.0.10', resting: true }]);
    expect(await store.list()).toEqual([]);
    if (restMs === 0) return;
    const next = await until(() => take().catch(() => undefined), 'the end of the quarantine', restMs);
    expect(performance.now() - began).toBeGreaterThan(950);
    expect(next.endpoint).toMatchObject({ ip: '192.168.0.2', vtep: '10.0.0.11' });
  });
}

describeWith(['consul'], 'Consul', () => {
  allocations(
    'consul',
    async () => {
      const { address, port } = await Consul.start();
      return `${address}:${port}`;
    },
    0,
  );
});

describeWith(['etcd'], 'etcd', () => {
  allocations('etcd', async () => (await Etcd.start()).at, 60_000);
});
