/** What an agent publishes follows the kernel; what is in the kernel outlives a lease. */
import { expect, test } from 'vitest';
import { Agent, type OwnedStore, openStore } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { type Site, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

async function memory(): Promise<OwnedStore> {
  const store = await openStore('memory:');
  onCleanup(() => store.close());
  return store;
}

async function start({ overlay, host }: Site, store: OwnedStore): Promise<Agent> {
  const agent = await Agent.start({ store, overlays: [overlay.name], host: host.name });
  onCleanup(() => agent.close());
  return agent;
}

describeWith(['root', 'ip', 'ping'], 'an agent publishes', () => {
  test('what is attached, until its container dies or the name of the overlay goes', async () => {
    const [a] = await twoSites();
    const store = await memory();
    const other = await a.attach('192.168.0.9/24');
    await start(a, store);
    await until(async () => (await store.list()).length === 2);
    await other.netns.remove();
    await until(async () => (await store.list()).length === 1);
    expect(await store.list()).toMatchObject([{ ip: '192.168.0.2', vtep: a.host.ip4 }]);
    // Without a word to anybody.
    await a.netns.remove();
    await until(async () => (await store.list()).length === 0);
  });

  test('two agents on one store: each its own, which resolve each other', async () => {
    const [a, b] = await twoSites();
    const store = await memory();
    await start(a, store);
    const agent = await start(b, store);
    await until(async () => (await store.list()).length === 2);
    expect((await ping(a.container.netns, b.container.ip)).lost).toBe(0);
    await agent.close();
    expect(await store.list()).toHaveLength(2);
  });
});

describeWith(['root', 'ip', 'ping'], 'a lease that ends', () => {
  test('stops new resolutions, costs an established flow nothing, and leaves no entry that is not used', async () => {
    const [a, b] = await twoSites();
    const store = await memory();
    const lease = await store.lease({ name: 'b' });
    await store.claim(a.container.endpoint);
    await store.claim(b.container.endpoint, { lease });
    await startResolver({ overlays: [b.overlay], store });
    const first = await startResolver({ overlays: [a.overlay], store });
    const talking = ping(a.container.netns, b.container.ip, { count: 60, interval: 0.05 });
    await until(async () => (await a.netns.bridgeJson('fdb show dev vxlan1')).some(({ dst }) => dst === b.host.ip4));
    await lease.close();
    // Who comes next knows by that what is kept.
    await until(async () =>
      (await a.netns.bridgeJson('fdb show dev vxlan1')).some(
        ({ dst, flags }) => dst === b.host.ip4 && !flags?.includes('extern_learn'),
      ),
    );
    await first.close();
    await startResolver({ overlays: [a.overlay], store });
    expect(await store.lookup({ overlay: a.overlay.name, vni: 42, kind: 'l3', ip: b.container.ip })).toBeNull();
    expect((await talking).lost).toBe(0);
    const entries = async () => [
      ...(await a.netns.ipJson('neigh show dev vxlan1')).filter(({ dst }) => dst === b.container.ip),
      ...(await a.netns.bridgeJson('fdb show dev vxlan1')).filter(({ dst }) => dst === b.host.ip4),
    ];
    expect(await entries()).toHaveLength(2);
    await a.netns.ip('link set vxlan1 type vxlan ageing 1');
    await a.container.netns.ip('link set eth0 down');
    await b.container.netns.ip('link set eth0 down');
    await until(async () => (await entries()).length === 0, 'the end of what is not used');
  });
});
