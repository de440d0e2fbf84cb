/**
 * The first packet crosses: whoever asks, in whichever order the kernel's question and the swallowed request are met,
 * and however many ask at once. A request that is not replayed costs its asker what net.ipv4.neigh.*.retrans_time_ms
 * says, and shows as one packet more from its interface.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Answer, openStore, type Resolver, Rtnl, type Store } from '../../lib/index.js';
import { isStopped, said, startChild } from '../support/child.js';
import { onCleanup } from '../support/cleanup.js';
import { createContainer } from '../support/netns.js';
import {
  ASKS_AGAIN_MS,
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

/** No request was lost on the way: the answer is there long before the asker would have repeated its question. */
function expectAtOnce(asked: Asked, note = ''): void {
  expect(asked.ms, `${note}: no answer`).toBeDefined();
  expect(asked.ms, note).toBeLessThan(PROMPT_MS);
  expect(asked.packets, `${note}: packets sent, a request and a datagram`).toBe(2);
}

/** A request and the miss that belongs to it are taken for one when they come no further apart. */
const TOGETHER_MS = 1000;

/** A round that a slow machine has drawn out proves nothing when nothing came: it is gone through again, up to five times. */
async function inTime(round: () => Promise<{ readonly asked: Asked; readonly apartMs: number }>): Promise<Asked> {
  for (let rounds = 1; ; rounds++) {
    const { asked, apartMs } = await round();
    if (asked.ms !== undefined || apartMs < TOGETHER_MS || rounds === 5) return asked;
    console.log(`${apartMs.toFixed()} ms apart: once more`);
  }
}

/** From a moment (CLOCK_MONOTONIC) to the request, and what the resolver may take to read it. */
function apart(beforeNs: bigint, { startedNs }: Asked): number {
  return Number(startedNs - beforeNs) / 1e6 + 200;
}

/** A store whose answers come after as long as `delay` says. With `ttlMs: 1` each is out of date at once. */
function slowStore(
  table: Readonly<Record<string, Answer>>,
  delay: () => number,
  ttlMs?: number,
): Store & { lookups: string[] } {
  const lookups: string[] = [];
  const byMac = Object.fromEntries(Object.values(table).map((answer) => [answer.mac, answer]));
  return {
    lookups,
    async lookup(query) {
      const key = query.kind === 'l3' ? query.ip : query.mac;
      lookups.push(key);
      const ms = delay();
      if (ms > 0) await sleep(ms);
      const answer = query.kind === 'l3' ? table[key] : byMac[key];
      return answer ? { mac: answer.mac, vtep: answer.vtep, ttlMs } : null;
    },
  };
}

describeWith(['root', 'ip', 'ping'], 'the first packet', () => {
  describe('between two hosts, all known', () => {
    let sites: [Site, Site];
    let stations: [Station, Station];
    let cold: Cold;
    let resolver: Resolver;
    beforeAll(async () => {
      sites = await twoSites();
      for (const { container } of sites) await container.netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
      const store = await openStore('memory:');
      for (const { container } of sites) await store.publish(container.endpoint);
      resolver = await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
      cold = await Cold.of(sites);
      stations = [await Station.in(sites[0].container.netns), await Station.in(sites[1].container.netns)];
    });

    test('of a plain ping, either way', async () => {
      for (const [from, to] of [
        [0, 1],
        [1, 0],
      ] as const) {
        await cold.go();
        const result = await ping(sites[from].container.netns, sites[to].container.ip, { count: 2, interval: 0.1 });
        expect(result).toMatchObject({ sent: 2, lost: 0, duplicates: 0 });
        expect(result.firstMs).toBeLessThan(PROMPT_MS);
      }
    });

    test('is cold as the kernel sees it', async () => {
      // Where remote MACs are sent; the row for unknown ones is the resolver's own.
      const remote = async ({ netns }: Site): Promise<string[]> =>
        (await netns.bridgeJson('fdb show dev vxlan1'))
          .filter(({ mac, dst }) => dst !== undefined && mac !== '00:00:00:00:00:00')
          .map(({ mac }) => mac);
      await stations[0].ask(sites[1].container.ip);
      for (const [at, site] of sites.entries()) {
        const other = (sites[1 - at] as Site).container;
        expect(await site.netns.ipJson('neigh show dev vxlan1')).toMatchObject([{ dst: other.ip }]);
        expect(await remote(site)).toEqual([other.endpoint.mac]);
      }
      await cold.go();
      for (const site of sites) {
        expect(await site.netns.ipJson('neigh show dev vxlan1')).toEqual([]);
        expect(await remote(site)).toEqual([]);
        expect(await site.container.netns.ipJson('neigh show dev eth0')).toEqual([]);
      }
    });

    test('cold at either end, many times over', async () => {
      const times: number[] = [];
      const rounds = full ? 5000 : 300;
      const before = resolver.stats().answers;
      for (let round = 0; round < rounds; round++) {
        const from = round % 2;
        await cold.go();
        if (round % 5 === 0) await sleep(Math.random() * 3);
        const asked = await stations[from === 0 ? 0 : 1].ask(sites[from === 0 ? 1 : 0].container.ip);
        expectAtOnce(asked, `round ${round}`);
        times.push(asked.ms as number);
      }
      // Both hosts were asked each time: for the request's way there and the reply's way back.
      await until(() => resolver.stats().answers - before >= 2 * rounds, 'two answers a round');
      console.log(`cold, known: ${distribution(times)}`);
    });

    test('cold at one end only', async () => {
      for (let round = 0; round < 50; round++) {
        await Promise.all([cold.go(), sleep(Math.random() * 2)]);
        expectAtOnce(await stations[0].ask(sites[1].container.ip), `round ${round}, both ends`);
        // The asker forgets, the overlays do not; then the asker's overlay only; then the other's only.
        await cold.containers();
        expectAtOnce(await stations[1].ask(sites[0].container.ip), `round ${round}, containers`);
      }
    });

    test('from both ends at the same moment', async () => {
      for (let round = 0; round < (full ? 500 : 100); round++) {
        await cold.go();
        const asked = await Promise.all([
          stations[0].ask(sites[1].container.ip),
          stations[1].ask(sites[0].container.ip),
        ]);
        for (const each of asked) {
          expect(each.ms, `round ${round}`).toBeLessThan(PROMPT_MS);
          // Its own request and datagram, the echo for the other, and at most its own request for that.
          expect(each.packets, `round ${round}`).toBeLessThanOrEqual(4);
        }
      }
    });
  });

  test('of a container that has just been attached', async () => {
    const [a, b] = await twoSites();
    await Station.in(b.container.netns);
    const store = await openStore('memory:');
    await store.publish(b.container.endpoint);
    await startResolver({ overlays: [a.overlay, b.overlay], store });
    const container = await createContainer();
    await container.sysctl('net/ipv6/conf/default/disable_ipv6', 1);
    const station = await Station.in(container);
    for (let round = 0; round < (full ? 500 : 100); round++) {
      await a.overlay.attach({ path: container.path }, { address: '192.168.0.9/24', store });
      // Without a moment's rest: the answer must find the way to it that its question took.
      expectAtOnce(await station.ask(b.container.ip, { asksAgainMs: ASKS_AGAIN_MS }), `round ${round}`);
      await a.overlay.detach({ path: container.path }, { store });
    }
  });

  /**
   * vxlan1 as a bridge port with `bcast_flood off`: the broadcast request is tapped on br0 and never reaches vxlan1, so
   * that no miss is told; a unicast probe (`nud probe`) is the contrary, a miss without a tapped request.
   */
  describe('in forced order', () => {
    const TARGET = '192.168.0.3';
    let a: Site;
    let b: Site;
    let prober: Rtnl;
    let asker: Station;
    let cold: Cold;
    beforeAll(async () => {
      [a, b] = await twoSites({ overlay: { learning: true } }); // B has no resolver
      const { netns: container } = await a.attach('192.168.0.4/24');
      prober = await Rtnl.open({ netns: container.name });
      const opened = prober;
      onCleanup(
        () => opened.close(),
        () => undefined,
      );
      for (const { netns } of [...a.containers, ...b.containers])
        await netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
      asker = await Station.in(a.container.netns);
      await Station.in(b.container.netns);
      cold = await Cold.of([a, b]);
      // The way back is not the matter here.
      await b.netns.ip('neigh replace 192.168.0.2 lladdr 02:42:c0:a8:00:02 dev vxlan1');
    });

    async function flood(on: boolean): Promise<void> {
      await a.netns.bridge(`link set dev vxlan1 bcast_flood ${on ? 'on' : 'off'}`);
    }
    /** A question to the kernel's vxlan device that br0 never hears. */
    async function probe(): Promise<void> {
      const neighbor = { link: 'eth0', ip: TARGET, mac: b.container.endpoint.mac, state: 'probe' };
      // Anew: a probe that is under way is not sent again at once.
      await prober.neighbors.delete({ link: 'eth0', ip: TARGET }).catch(() => undefined);
      await prober.neighbors.replace(neighbor);
    }
    async function fresh(
      delay: () => number,
      ttlMs?: number,
    ): Promise<{ resolver: Resolver; store: ReturnType<typeof slowStore> }> {
      await cold.go();
      await flood(true);
      await b.netns.ip('neigh replace 192.168.0.2 lladdr 02:42:c0:a8:00:02 dev vxlan1');
      const store = slowStore({ [TARGET]: b.container.endpoint }, delay, ttlMs);
      return { resolver: await startResolver({ overlays: [a.overlay], store }), store };
    }

    test('the oracle: what is tapped alone is not answered', async () => {
      const { resolver, store } = await fresh(() => 0);
      await flood(false);
      const asked = await asker.ask(TARGET, { waitMs: 300 });
      expect(asked).toMatchObject({ ms: undefined, packets: 1 });
      expect(store.lookups).toEqual([]);
      await resolver.close();
    });

    test('the oracle: what is asked alone is a miss without a request', async () => {
      const { resolver } = await fresh(() => 0);
      await probe();
      await until(() => resolver.stats().answers === 1, 'an answer');
      expect((resolver.stats() as unknown as { replayed: number }).replayed).toBe(0);
      await resolver.close();
    });

    test('the request tapped first, its miss up to a second later', async () => {
      for (const delay of [0, 20, 300, 600]) {
        const asked = await inTime(async () => {
          const { resolver, store } = await fresh(() => 0);
          await flood(false);
          const begun = performance.now();
          const asking = asker.ask(TARGET);
          await sleep(delay);
          expect(store.lookups, `${delay} ms`).toEqual([]);
          await probe();
          await until(() => resolver.stats().answers === 1, 'an answer');
          const apartMs = performance.now() - begun;
          const asked = await asking;
          await resolver.close();
          return { asked, apartMs };
        });
        // Its own repetition comes later: what answers it earlier is the replay.
        expectAtOnce(asked, `${delay} ms`);
      }
    });

    test('the miss first, then the request while the store is being asked', async () => {
      const { resolver, store } = await fresh(() => 200);
      await probe();
      await until(() => store.lookups.length === 1, 'a lookup');
      for (const on of [true, false]) {
        await flood(on);
        const asked = await asker.ask(TARGET);
        expectAtOnce(asked, `broadcast ${on ? 'reaches' : 'does not reach'} vxlan1`);
        await cold.go();
        await b.netns.ip('neigh replace 192.168.0.2 lladdr 02:42:c0:a8:00:02 dev vxlan1');
        if (on) await probe();
      }
      await resolver.close();
    });

    test('the request tapped after the answer is replayed at once, for a second', async () => {
      const { resolver } = await fresh(() => 0);
      await flood(false);
      for (const delay of [0, 100, 600]) {
        const asked = await inTime(async () => {
          const before = resolver.stats().answers;
          const begun = process.hrtime.bigint();
          await probe();
          await until(() => resolver.stats().answers > before, 'an answer');
          await sleep(delay);
          const asked = await asker.ask(TARGET);
          await cold.go();
          await b.netns.ip('neigh replace 192.168.0.2 lladdr 02:42:c0:a8:00:02 dev vxlan1');
          return { asked, apartMs: apart(begun, asked) };
        });
        expectAtOnce(asked, `${delay} ms after the answer`);
      }
      // Later than that it is none of the swallowed ones any more.
      const before = resolver.stats().answers;
      await probe();
      await until(() => resolver.stats().answers > before, 'an answer');
      await sleep(1200);
      expect(await asker.ask(TARGET, { waitMs: 300 })).toMatchObject({ ms: undefined });
      await resolver.close();
    });

    test('the request tapped after an answer that somebody has withdrawn', async () => {
      const asked = await inTime(async () => {
        const { resolver } = await fresh(() => 0);
        const begun = process.hrtime.bigint();
        await probe();
        await until(() => resolver.stats().answers === 1, 'an answer');
        await flood(false);
        await a.netns.ip(`neigh del ${TARGET} dev vxlan1`);
        // The replay makes the kernel ask anew: a miss without a request of its own.
        const asked = await asker.ask(TARGET);
        // Counted once the acknowledgement has been read, which the echo may overtake.
        if (asked.ms !== undefined) await until(() => resolver.stats().answers === 2, '2 answers');
        await resolver.close();
        return { asked, apartMs: apart(begun, asked) };
      });
      expectAtOnce(asked);
    });

    test('the request tapped after the end of an answer, before its miss', async () => {
      const asked = await inTime(async () => {
        const { resolver } = await fresh(() => 0, 1);
        await probe();
        await until(() => resolver.stats().answers === 1, 'an answer');
        await flood(false);
        await until(async () => (await a.netns.ipJson('neigh show dev vxlan1')).length === 0, 'the end of the entry');
        const begun = performance.now();
        const asking = asker.ask(TARGET);
        await sleep(100);
        await probe();
        // Counted once the acknowledgement has been read, which the echo may overtake.
        await until(() => resolver.stats().answers === 2, '2 answers');
        const apartMs = performance.now() - begun;
        const asked = await asking;
        await resolver.close();
        return { asked, apartMs };
      });
      expectAtOnce(asked);
    });
  });

  describe('with the resolver stopped while the requests come', () => {
    const TARGETS = 40;
    const targets = Array.from({ length: TARGETS }, (_, at) => `192.168.0.${100 + at}`);
    let a: Site;
    let b: Site;
    let stations: Station[];
    let cold: Cold;
    beforeAll(async () => {
      [a, b] = await twoSites({ overlay: { learning: true } }); // B has no resolver
      await a.attach('192.168.0.4/24');
      await a.attach('192.168.0.5/24');
      for (const { netns } of [...a.containers, ...b.containers])
        await netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
      for (const ip of targets) await b.container.netns.ip(`address add ${ip}/24 dev eth0`);
      stations = await Promise.all(a.containers.map(({ netns }) => Station.in(netns)));
      await Station.in(b.container.netns);
      cold = await Cold.of([a, b], targets);
    });

    /**
     * Stops a resolver's process, has every container ask for every target, and lets the process go on. Gives what the
     * resolver counted and how many misses it was told were dropped.
     */
    async function stopAndGo(stopped: number, rounds: number, receiveBuffer?: number) {
      const known = [
        ...targets.map((ip) => ({ ...b.container.endpoint, ip, ips: [ip] })),
        ...a.containers.map(({ endpoint }) => endpoint),
      ];
      const child = startChild(
        `const store = await openStore('memory:');
        for (const endpoint of args.known) await store.publish(endpoint);
        const overlays = await Promise.all(args.overlays.map((name) => Overlay.open(name)));
        if (args.receiveBuffer !== undefined) {
          const addon = overlays[0].system.native;
          addon.Reactor = class extends addon.Reactor {
            add(id, options) {
              return super.add(id, { ...options, receiveBuffer: args.receiveBuffer });
            }
          };
        }
        const resolver = await Resolver.start({ overlays, store });
        let dropped = 0;
        resolver.on('overrun', (event) => (dropped += event.dropped));
        say({ ready: true });
        process.stdin.on('data', () => say({ stats: resolver.stats(), dropped }));
        process.stdin.on('end', () => process.exit(0));`,
        { known, overlays: [a.overlay.name, b.overlay.name], receiveBuffer },
      );
      await child.waitFor(/ready/, 'stdout');
      // What it found and answered when it started counts as answered for a second, and is about to be taken away.
      if (receiveBuffer !== undefined) await sleep(1100);
      for (let round = 0; round < rounds; round++) {
        await cold.go();
        const before = await Promise.all(stations.map((station) => station.sent()));
        process.kill(child.pid, 'SIGSTOP');
        await until(() => isStopped(child.pid), 'all its threads to stand');
        const asks = targets.flatMap((ip) => stations.map((station) => station.ask(ip)));
        await sleep(stopped);
        if (stopped > 0 && rounds === 1) {
          // However slow the machine is: all requests are out, and too many for a small buffer.
          for (const [at, station] of stations.entries())
            await until(async () => (await station.sent()) - (before[at] as number) >= TARGETS, 'all requests');
        }
        const going = process.hrtime.bigint();
        process.kill(child.pid, 'SIGCONT');
        for (const [at, { ms, startedNs }] of (await Promise.all(asks)).entries()) {
          expect(ms, `request ${at}, round ${round}`).toBeDefined();
          const after = Number(startedNs - going) / 1e6 + (ms as number);
          expect(after, `request ${at}, round ${round}: from going on to the echo`).toBeLessThan(PROMPT_MS);
        }
        // One request and one datagram for each target: nobody had to ask twice.
        for (const [at, station] of stations.entries())
          expect((await station.sent()) - (before[at] as number), `station ${at}, round ${round}`).toBe(2 * TARGETS);
      }
      child.child.stdin?.write('stats\n');
      await child.waitFor(/stats/, 'stdout');
      return said(child)[1] as { stats: Record<string, number>; dropped: number };
    }

    test.each([0, 30, 400, 900])('for %d ms: all are answered once it goes on', async (stopped) => {
      const rounds = stopped > 100 ? 1 : 10;
      const { stats } = await stopAndGo(stopped, rounds);
      // Who asks after it goes on may be answered by the kernel: of each target at least the first is not.
      const askers = rounds === 1 ? stations.length : 1;
      expect(stats.replayed).toBeGreaterThanOrEqual(rounds * TARGETS * askers);
      expect(stats.overruns).toBe(0);
    });

    test('with room for few misses: the requests that were tapped stand in for those that the kernel dropped', async () => {
      const { stats, dropped } = await stopAndGo(50, 1, 4096);
      expect(stats.overruns).toBeGreaterThanOrEqual(1);
      // The kernel's own count of them: the buffer holds some ten.
      expect(dropped).toBeGreaterThanOrEqual(TARGETS * stations.length - 30);
      expect(stats.dropped).toBe(dropped);
    });
  });
});
