/** IPv6 inside the overlay, beneath it, and both. */
import { beforeAll, describe, expect, test } from 'vitest';
import { openStore, type Store } from '../../lib/index.js';
import { twoHosts } from '../support/netns.js';
import { Cold, distribution, PROMPT_MS, Site, Station, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const full = process.env.CI_FULL === '1' || process.env.OVERNS_FULL === '1';

async function serve(sites: readonly Site[]): Promise<void> {
  const store = await openStore('memory:');
  for (const { containers } of sites) for (const { endpoint } of containers) await store.publish(endpoint);
  await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
}

describeWith(['root', 'ip', 'ping'], 'IPv6', () => {
  describe('inside', () => {
    let a: Site;
    let b: Site;
    let stations: [Station, Station, Station];
    let cold: Cold;
    const target = 'fd00::3';
    beforeAll(async () => {
      [a, b] = await twoSites({ inner6: true });
      await a.attach(['192.168.0.4/24', 'fd00::4/64']);
      stations = [
        await Station.in(a.container.netns),
        await Station.in(b.container.netns),
        await Station.in((a.containers[1] as (typeof a.containers)[0]).netns),
      ];
      await serve([a, b]);
      cold = await Cold.of([a, b]);
    });

    test('the first packet crosses, cold at either end', async () => {
      const times: number[] = [];
      for (let round = 0; round < (full ? 1000 : 150); round++) {
        await cold.go();
        const [station, to] = round % 2 === 0 ? [stations[0], target] : [stations[1], 'fd00::2'];
        const { ms } = await station.ask(to);
        expect(ms, `round ${round}`).toBeLessThan(PROMPT_MS);
        times.push(ms as number);
      }
      console.log(`IPv6, cold: ${distribution(times)}`);
      const neighbors = await a.netns.ipJson('-6 neigh show dev vxlan1');
      expect(neighbors).toContainEqual(
        expect.objectContaining({ dst: target, lladdr: b.container.endpoint.mac, state: ['PERMANENT'] }),
      );
    });

    test('of several who ask at once, over both versions', async () => {
      for (let round = 0; round < 50; round++) {
        await cold.go();
        const asked = await Promise.all([
          stations[0].ask(target),
          stations[2].ask('192.168.0.3'),
          stations[2].ask(target),
          stations[0].ask('192.168.0.3'),
        ]);
        for (const { ms } of asked) expect(ms, `round ${round}`).toBeLessThan(PROMPT_MS);
      }
    });

    test('of a plain ping', async () => {
      await cold.go();
      expect(await ping(a.container.netns, target, { count: 3, interval: 0.1 })).toMatchObject({
        lost: 0,
        duplicates: 0,
      });
    });

    test('with an MLD querier on br0: snooping loses solicitations, and overns makes br0 without it', async () => {
      expect((await a.netns.ipJson('link show br0'))[0].linkinfo.info_data).toMatchObject({ mcast_snooping: 0 });
      // The querier counts after one response interval, once it has asked from an address of br0's own.
      await a.netns.ip(
        'link set br0 type bridge mcast_query_response_interval 10 mcast_query_interval 100 mcast_startup_query_interval 100',
      );
      await a.netns.ip('link set br0 type bridge mcast_querier 1');
      await new Promise((resolve) => setTimeout(resolve, 500));
      for (let round = 0; round < 20; round++) {
        await cold.go();
        expect((await stations[0].ask(target)).ms, `round ${round}`).toBeLessThan(PROMPT_MS);
      }
      // The oracle: it is the snooping that loses them.
      await a.netns.ip('link set br0 type bridge mcast_snooping 1');
      await until(
        async () => {
          await cold.go();
          return (await stations[0].ask(target, { waitMs: 200 })).ms === undefined;
        },
        'a solicitation lost to the snooping bridge',
        15_000,
      );
      await a.netns.ip('link set br0 type bridge mcast_snooping 0 mcast_querier 0');
      await cold.go();
      expect((await stations[0].ask(target)).ms).toBeLessThan(PROMPT_MS);
    });
  });

  describe('beneath', () => {
    test('carries both versions, and leaves 1430 bytes', async () => {
      const hosts = await twoHosts({ ipv6: true });
      const sites = await Promise.all(hosts.map((host) => Site.create(host, { vtep: host.ip6 })));
      for (const [at, site] of sites.entries()) {
        expect(site.overlay).toMatchObject({ vtep: hosts[at]?.ip6, mtu: 1430 });
        await site.attach([`192.168.0.${at + 2}/24`, `fd00::${at + 2}/64`]);
      }
      const [a, b] = sites as [Site, Site];
      await serve(sites);
      const cold = await Cold.of(sites);
      const stations = await Promise.all(sites.map(({ container }) => Station.in(container.netns)));
      for (let round = 0; round < 40; round++) {
        await cold.go();
        const from = round % 2;
        const to = `${round % 4 < 2 ? '192.168.0.' : 'fd00::'}${3 - from}`;
        expect((await stations[from]?.ask(to))?.ms, `round ${round}, ${to}`).toBeLessThan(PROMPT_MS);
      }
      const fdb = await a.netns.bridgeJson('fdb show dev vxlan1');
      expect(fdb).toContainEqual(expect.objectContaining({ mac: b.container.endpoint.mac, dst: 'fd00:10::11' }));
      for (const [target, header] of [
        ['192.168.0.3', 28],
        ['fd00::3', 48],
      ] as const) {
        const fits = await ping(a.container.netns, target, { size: 1430 - header, dontFragment: true });
        expect(fits, target).toMatchObject({ lost: 0 });
        const large = await ping(a.container.netns, target, { size: 1431 - header, dontFragment: true, wait: 0.2 });
        expect(large.received, target).toBe(0);
        expect(large.errors.join(), target).toContain('message too long, mtu');
      }
    });

    test('no record of its subnet’s router or of the link alone is used', async () => {
      const [host] = await twoHosts({ ipv6: true });
      const site = await Site.create(host, { vtep: host.ip6 });
      const vteps = ['fd00:10::', 'fe80::1', 'fd00:10::11', 'fd00:10:0:1::'];
      const store: Store = {
        lookup: () => null,
        async *watch({ signal }) {
          const endpoints = vteps.map((vtep, at) => {
            const ip = `192.168.0.${at + 2}`;
            return { ip, ips: [ip], mac: `02:42:c0:a8:00:0${at + 2}`, vtep };
          });
          yield { kind: 'reset', endpoints, index: 1n };
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
        },
      };
      const resolver = await startResolver({ store });
      const rejected = resolver.events({ kinds: ['rejected'] });
      await resolver.add(site.overlay);
      const reasons = [(await rejected.next()).value, (await rejected.next()).value].map(
        (event) => (event as { reason: string }).reason,
      );
      expect(reasons).toEqual([
        expect.stringMatching(/subnet-router anycast address .* vtep fd00:10::\)$/),
        expect.stringMatching(/link-local address.* vtep fe80::1\)$/),
      ]);
      expect(resolver.stats()).toMatchObject({ rejected: 2, endpoints: 2 });
    });

    test('alone: a host without any IPv4 address', async () => {
      const hosts = await twoHosts({ ipv6: true });
      for (const host of hosts) await host.ip(`address del ${host.ip4}/24 dev under0`);
      const sites = await Promise.all(hosts.map((host) => Site.create(host)));
      expect(sites.map(({ overlay }) => overlay.vtep)).toEqual(['fd00:10::10', 'fd00:10::11']);
      for (const [at, site] of sites.entries()) await site.attach(`192.168.0.${at + 2}/24`);
      await serve(sites);
      const [a, b] = sites as [Site, Site];
      expect(await ping(a.container.netns, b.container.ip, { count: 2, interval: 0.1 })).toMatchObject({ lost: 0 });
    });
  });
});
