/** A request goes on to whom it asks, who learns the asker by it: the other host is asked nothing for the answer. */
import { expect, test } from 'vitest';
import { openStore, type Resolver } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { Cold, record, type Site, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

interface Scene {
  readonly a: Site;
  readonly b: Site;
  /** Serves the host of the one who asks, and of the one who is asked. */
  readonly resolvers: readonly [Resolver, Resolver];
}

async function scene(prime: boolean): Promise<Scene> {
  const [a, b] = await twoSites({ inner6: true });
  const store = await openStore('memory:');
  onCleanup(() => store.close());
  for (const { endpoint } of [a.container, b.container]) await store.publish(endpoint);
  const resolvers = await Promise.all(
    [a, b].map(({ overlay }) => startResolver({ overlays: [overlay], store, prime })),
  );
  return { a, b, resolvers: resolvers as [Resolver, Resolver] };
}

describeWith(['root', 'ip', 'ping'], 'a request that is sent on to whom it asks', () => {
  test.each([
    ['IPv4', 0],
    ['IPv6', 1],
  ])('%s: the other host is not asked who the asker is, and no packet is lost or comes twice', async (_, which) => {
    const { a, b, resolvers } = await scene(true);
    const cold = await Cold.of([a, b]);
    const [from, to] = [a, b].map(({ container }) => container.endpoint.ips[which] as string) as [string, string];
    const asked = record(
      resolvers[1],
      (event) => 'miss' in event && event.miss.kind === 'l3' && event.miss.ip === from,
    );
    const before = resolvers[0].stats().primed;
    for (let round = 1; round <= 10; round++) {
      await cold.go();
      const { lost, duplicates } = await ping(a.container.netns, to, { count: 3, interval: 0.01 });
      expect({ lost, duplicates }).toEqual({ lost: 0, duplicates: 0 });
      expect(resolvers[0].stats().primed - before).toBe(round);
    }
    expect(asked).toEqual([]);
    // Its resolver has been told, and has both entries.
    await until(async () => (await b.netns.ip('neigh show dev vxlan1')).includes(`${from} lladdr`), 'a neighbour');
    expect((await b.netns.exec('bridge', ['fdb', 'show', 'dev', 'vxlan1'])).stdout).toContain(
      `${a.container.endpoint.mac} dst ${a.host.ip4}`,
    );
  });

  test('switched off, it is asked', async () => {
    const { a, b, resolvers } = await scene(false);
    const asked = record(
      resolvers[1],
      (event) => 'miss' in event && event.miss.kind === 'l3' && event.miss.ip === a.container.ip,
    );
    expect((await ping(a.container.netns, b.container.ip)).lost).toBe(0);
    await until(() => asked.length > 0, 'a miss');
    expect(resolvers[0].stats().primed).toBe(0);
  });
});

describeWith(['root', 'ip', 'ping', 'tcpdump'], 'the one who is asked', () => {
  test('hears one request, for itself alone, and nothing of what the hosts tell each other', async () => {
    const { a, b } = await scene(true);
    const dump = b.container.netns.spawn('tcpdump', [
      '-e',
      '-n',
      '-l',
      '-i',
      'eth0',
      'arp or ether proto 0x88b5 or icmp',
    ]);
    await dump.waitFor(/listening/, 'stderr');
    expect((await ping(a.container.netns, b.container.ip)).lost).toBe(0);
    await until(() => dump.stdout.includes('ICMP echo request'), 'the ping');
    dump.child.kill('SIGINT');
    await dump.exited;
    const heard = dump.stdout.split('\n').filter((line) => line.includes(`who-has ${b.container.ip}`));
    expect(heard).toHaveLength(1);
    expect(heard[0]).toContain(`${a.container.endpoint.mac} > ${b.container.endpoint.mac}`);
    expect(dump.stdout).not.toMatch(/0x88b5/i);
  });
});
