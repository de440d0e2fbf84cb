/** Many who ask for the same at the same moment, and neighbours on one host, who need no answer at all. */
import { beforeAll, expect, test } from 'vitest';
import { type Answer, type Endpoint, openStore, type Resolver, type Store } from '../../lib/index.js';
import {
  type Asked,
  Cold,
  distribution,
  PROMPT_MS,
  type Site,
  Station,
  startResolver,
  twoSites,
  until,
} from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const full = process.env.CI_FULL === '1' || process.env.OVERNS_FULL === '1';
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Answers from a list after the time that `delay` gives, and forgets at once what it said. */
function storeOf(endpoints: readonly Endpoint[], delay: () => number): Store & { lookups: string[] } {
  const lookups: string[] = [];
  return {
    lookups,
    async lookup(query): Promise<Answer | null> {
      lookups.push(query.kind === 'l3' ? query.ip : query.mac);
      const ms = delay();
      if (ms > 0) await sleep(ms);
      const found = endpoints.find(({ ips, mac }) =>
        query.kind === 'l3' ? ips.includes(query.ip) : mac === query.mac,
      );
      return found ? { mac: found.mac, vtep: found.vtep, ttlMs: 60_000 } : null;
    },
  };
}

describeWith(['root', 'ip', 'ping'], 'those who ask at once', () => {
  let a: Site;
  let b: Site;
  let askers: Station[];
  let cold: Cold;
  let endpoints: Endpoint[];
  const target = '192.168.0.3';

  beforeAll(async () => {
    [a, b] = await twoSites();
    for (const last of [4, 5]) await a.attach(`192.168.0.${last}/24`);
    const all = [...a.containers, ...b.containers];
    for (const { netns } of all) await netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
    askers = await Promise.all(a.containers.map(({ netns }) => Station.in(netns)));
    await Station.in(b.container.netns);
    endpoints = all.map(({ endpoint }) => endpoint);
    cold = await Cold.of([a, b]);
  });

  async function rounds(count: number, resolver: Resolver, between: () => Promise<unknown>): Promise<void> {
    const times: number[] = [];
    for (let round = 0; round < count; round++) {
      await cold.go();
      await between();
      const order = [...askers].sort(() => Math.random() - 0.5);
      const asks: Promise<Asked>[] = [];
      for (const asker of order) {
        asks.push(asker.ask(target));
        if (round % 3 === 1) await sleep(Math.random() * 2);
      }
      for (const { ms, packets } of await Promise.all(asks)) {
        expect(ms, `round ${round}`).toBeLessThan(PROMPT_MS);
        expect(packets, `round ${round}: a request and a datagram`).toBe(2);
        times.push(ms as number);
      }
    }
    console.log(`three at once: ${distribution(times)}, ${JSON.stringify(resolver.stats())}`);
  }

  test('are all answered from what is known', async () => {
    const store = await openStore('memory:');
    for (const endpoint of endpoints) await store.publish(endpoint);
    await using resolver = await startResolver({ overlays: [a.overlay, b.overlay], store });
    await rounds(full ? 1000 : 200, resolver, async () => undefined);
  });

  test('are all answered from a store that takes its time', async () => {
    const store = storeOf(endpoints, () => Math.random() * 30);
    const resolvers: Resolver[] = [];
    try {
      // A new resolver each time: it has to ask its store again.
      for (let round = 0; round < (full ? 200 : 40); round++) {
        const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store });
        resolvers.push(resolver);
        store.lookups.length = 0;
        await cold.go();
        const asked = await Promise.all(askers.map((asker) => asker.ask(target)));
        for (const { ms, packets } of asked) {
          expect(ms, `round ${round}`).toBeLessThan(PROMPT_MS);
          expect(packets, `round ${round}`).toBe(2);
        }
        expect(store.lookups.filter((key) => key === target)).toEqual([target]);
        await resolver.close();
      }
    } finally {
      await Promise.all(resolvers.map((resolver) => resolver.close()));
    }
  });
});

describeWith(['root', 'ip', 'ping'], 'containers of one host', () => {
  let site: Site;
  let other: Site;
  let cold: Cold;
  let stations: Station[];
  beforeAll(async () => {
    [site, other] = await twoSites();
    await site.attach('192.168.0.4/24');
    for (const { netns } of [...site.containers, ...other.containers])
      await netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
    cold = await Cold.of([site, other], ['192.168.0.77', '192.168.0.9']);
    stations = await Promise.all(site.containers.map(({ netns }) => Station.in(netns)));
  });

  /** Nothing that leads to a local container by way of vxlan1: no neighbour, no forwarding entry of either kind. */
  async function expectNothingLocal(endpoints: readonly Endpoint[]): Promise<void> {
    const neighbors = await site.netns.ipJson('neigh show dev vxlan1 nud all');
    const fdb = await site.netns.bridgeJson('fdb show dev vxlan1');
    for (const { ips, mac } of endpoints) {
      expect(neighbors.filter((each) => ips.includes(each.dst))).toEqual([]);
      expect(fdb.filter((each) => each.mac === mac)).toEqual([]);
    }
  }

  async function crossBack(note: string): Promise<void> {
    const [first, second] = site.containers.map(({ ip }) => ip) as [string, string];
    for (let round = 0; round < 100; round++) {
      await cold.go();
      const asked =
        round % 2 === 0
          ? [await stations[0]?.ask(second)]
          : await Promise.all([stations[0]?.ask(second), stations[1]?.ask(first)]);
      for (const each of asked) expect(each?.ms, `${note}, round ${round}`).toBeLessThan(PROMPT_MS);
    }
    const { lost, duplicates } = await ping(site.container.netns, second, { count: 50, interval: 0.01 });
    expect({ lost, duplicates }, note).toEqual({ lost: 0, duplicates: 0 });
  }

  test('lose nothing, and are never programmed as remote', async () => {
    const store = await openStore('memory:');
    for (const { endpoint } of [...site.containers, ...other.containers]) await store.publish(endpoint);
    await using resolver = await startResolver({ overlays: [site.overlay, other.overlay], store });
    await crossBack('known');
    await expectNothingLocal(site.containers.map(({ endpoint }) => endpoint));
    // The oracle: their questions did reach vxlan1, and the remote one is programmed there.
    expect((resolver.stats() as unknown as { local: number }).local).toBeGreaterThan(0);
    expect((await ping(site.container.netns, other.container.ip)).lost).toBe(0);
    expect(await site.netns.ipJson('neigh show dev vxlan1')).toMatchObject([{ dst: other.container.ip }]);
  });

  test('not even when the store says that they are elsewhere', async () => {
    const lies = site.containers.map(({ endpoint }) => ({ ...endpoint, vtep: other.overlay.vtep }));
    const store = storeOf(lies, () => 0);
    await using resolver = await startResolver({ overlays: [site.overlay], store });
    await crossBack('a store that is wrong');
    await expectNothingLocal(lies);
    expect(store.lookups.filter((key) => lies.some(({ ip }) => ip === key))).toEqual([]);
    const memory = await openStore('memory:');
    for (const endpoint of lies) await memory.publish(endpoint);
    await resolver.close();
    await using watching = await startResolver({ overlays: [site.overlay], store: memory });
    await crossBack('a watched store that is wrong');
    await expectNothingLocal(lies);
    expect(watching.stats().answers).toBe(0);
  });

  test('nor one that was attached by hand and is recorded under this host', async () => {
    const byHand = { ip: '192.168.0.77', mac: '02:42:c0:a8:00:4d' };
    await site.container.netns.ip(`address add ${byHand.ip}/24 dev eth0`);
    const record = { ...byHand, ips: [byHand.ip], mac: site.container.endpoint.mac, vtep: site.overlay.vtep };
    const store = storeOf([record], () => 0);
    await using resolver = await startResolver({ overlays: [site.overlay], store });
    for (let round = 0; round < 20; round++) {
      await cold.go();
      expect((await stations[1]?.ask(byHand.ip))?.ms).toBeLessThan(PROMPT_MS);
    }
    await until(() => store.lookups.includes(byHand.ip), 'a lookup');
    await expectNothingLocal([record]);
    expect(resolver.stats()).toMatchObject({ answers: 0, rejected: 0 });
    await site.container.netns.ip(`address del ${byHand.ip}/24 dev eth0`);
  });

  test('a container attached while the resolver runs is local from then on', async () => {
    const remote = { ...other.container.endpoint, ip: '192.168.0.9', ips: ['192.168.0.9'], mac: '02:42:c0:a8:00:09' };
    await other.container.netns.ip('address add 192.168.0.9/24 dev eth0');
    const store = await openStore('memory:');
    await store.publish(other.container.endpoint);
    await store.publish({ ...remote, mac: other.container.endpoint.mac });
    for (const { endpoint } of site.containers) await store.publish(endpoint);
    await startResolver({ overlays: [site.overlay, other.overlay], store });
    await cold.go();
    expect((await ping(site.container.netns, remote.ip)).lost).toBe(0);
    expect((await site.netns.ipJson('neigh show dev vxlan1')).map(({ dst }) => dst)).toContain(remote.ip);
    // It moves here, and the store does not know yet.
    await other.container.netns.ip('address del 192.168.0.9/24 dev eth0');
    const moved = await site.attach('192.168.0.9/24');
    await until(
      async () => !(await site.netns.ipJson('neigh show dev vxlan1')).some(({ dst }) => dst === remote.ip),
      'the withdrawal of the entry that leads away',
    );
    await cold.containers();
    expect(await ping(site.container.netns, moved.ip, { count: 3, interval: 0.1 })).toMatchObject({ lost: 0 });
    await expectNothingLocal([moved.endpoint]);
    await site.overlay.detach({ path: moved.netns.path });
    site.containers.pop();
  });
});
