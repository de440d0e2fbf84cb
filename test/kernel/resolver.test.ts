/** The resolver's life: what it serves, who may serve it, what it tells, and how it uses a store of the consumer's own. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type Answer,
  counters,
  type Endpoint,
  Overlay,
  type OverlayOptions,
  openStore,
  type Query,
  queryResolver,
  Resolver,
  type ResolverEvent,
  type Store,
} from '../../lib/index.js';
import { runChild, said, startChild } from '../support/child.js';
import { moreThan, openFiles } from '../support/machine.js';
import { createNetns, manyHosts, twoHosts } from '../support/netns.js';
import {
  ASKS_AGAIN_MS,
  Cold,
  PROMPT_MS,
  record,
  Site,
  Station,
  startResolver,
  twoSites,
  until,
} from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const stats = (resolver: Resolver): ReturnType<Resolver['stats']> => resolver.stats();

async function memoryOf(...endpoints: readonly Endpoint[]) {
  const store = await openStore('memory:');
  for (const endpoint of endpoints) await store.publish(endpoint);
  return store;
}

/** The destinations on vxlan1 of a MAC. */
async function vtepsOf(site: Site, mac: string): Promise<string[]> {
  const rows = await site.netns.bridgeJson('fdb show dev vxlan1');
  return rows.filter((row) => row.mac === mac && row.dst !== undefined).map((row) => row.dst);
}

const isPunt = (row: { mac: string }): boolean => row.mac === '00:00:00:00:00:00';

/** Two sites with stations, ready to be served. */
async function setUp() {
  const [a, b] = await twoSites();
  const stations = [await Station.in(a.container.netns), await Station.in(b.container.netns)] as const;
  const cold = await Cold.of([a, b]);
  return { a, b, stations, cold, endpoints: [a.container.endpoint, b.container.endpoint] };
}

describeWith(['root', 'ip', 'ping'], 'the resolver', () => {
  test('whose thread dies rejects `closed`, lets go of its overlays, and another can be started', async () => {
    const [host] = await twoHosts();
    const site = await Site.create(host);
    const child = await runChild(
      `
      const { closeSync, readdirSync, readlinkSync } = await import('node:fs');
      const polls = () => readdirSync('/proc/self/fd').filter((fd) => {
        try { return readlinkSync('/proc/self/fd/' + fd).includes('eventpoll'); } catch { return false; }
      });
      const overlay = await Overlay.open(args.name);
      const options = { overlays: [overlay], store: { lookup: () => null } };
      const before = polls();
      const resolver = await Resolver.start(options);
      const events = resolver.events();
      for (const fd of polls()) if (!before.includes(fd)) closeSync(Number(fd));
      await resolver.remove(overlay); // wakes the thread
      const died = await resolver.closed.then(() => 'closed', (error) => ({ code: error.code, hint: error.hint }));
      const ended = (await events.next()).done;
      await resolver.close();
      const another = await Resolver.start(options);
      say({ died, ended, serves: another.overlays().length });
      await another.close();
      `,
      { name: site.overlay.name },
    );
    expect(said(child), `${child.code} ${child.stderr}`).toEqual([
      { died: { code: 'EBADF', hint: expect.any(String) }, ended: true, serves: 1 },
    ]);
  });

  describe('lives', () => {
    test('with overlays that come and go while it runs', async () => {
      const { a, b, stations, cold, endpoints } = await setUp();
      const store = await memoryOf(...endpoints);
      const resolver = await startResolver({ store });
      expect(resolver.stats()).toEqual(Object.fromEntries(Object.keys(counters).map((key) => [key, 0])));
      expect((await stations[0].ask(b.container.ip, { waitMs: 100 })).ms).toBeUndefined();
      await resolver.add(a.overlay);
      await resolver.add(b.overlay);
      expect(Object.keys(resolver.stats(a.overlay))).toEqual(Object.keys(counters)); // the thread counts nothing else
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      await until(() => resolver.stats().answers >= 2, 'two answers');
      const before = resolver.stats();

      // Without B's side nobody answers there; the entries that are there stay.
      const rows = await b.netns.bridgeJson('fdb show dev vxlan1');
      expect(rows.some(isPunt)).toBe(true);
      await resolver.remove(b.overlay);
      const left = await b.netns.bridgeJson('fdb show dev vxlan1');
      expect(left).toEqual(rows.filter((row) => !isPunt(row)));
      expect(await b.netns.ipJson('neigh show dev vxlan1')).toMatchObject([{ dst: a.container.ip }]);
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      await cold.go();
      expect((await stations[1].ask(a.container.ip, { waitMs: 200 })).ms).toBeUndefined();
      // What was counted for it is not forgotten, and its removal twice is nothing.
      expect(resolver.stats().answers).toBeGreaterThanOrEqual(before.answers);
      await resolver.remove(b.overlay);
      await resolver.remove(b.overlay.name);
      await resolver.remove('ot-nobody');

      await resolver.add(b.overlay, store);
      await cold.go();
      expect((await stations[1].ask(a.container.ip)).ms).toBeLessThan(PROMPT_MS);
      await expect(resolver.add(b.overlay)).rejects.toMatchObject({ code: 'EBUSY' });
    });

    test('in any order of many additions and removals at once, without a trace', async () => {
      const hosts = await twoHosts();
      const sites = await Promise.all([42, 43, 44, 45].map((vni) => Site.create(hosts[0], { vni })));
      const files = openFiles();
      const resolver = await startResolver({ store: { lookup: () => null } });
      for (let round = 0; round < 20; round++) {
        const work: Promise<unknown>[] = [];
        for (const { overlay } of [...sites].sort(() => Math.random() - 0.5)) {
          work.push(resolver.add(overlay));
          if (Math.random() < 0.5) work.push(resolver.remove(overlay));
        }
        await Promise.allSettled(work);
        if (round % 4 === 0) for (const { overlay } of sites) await resolver.remove(overlay);
      }
      await resolver.close();
      await until(
        () => moreThan(files, openFiles()).length === 0,
        () => `the end of ${moreThan(files, openFiles())}`,
      );
      for (const { netns } of sites) {
        expect((await netns.bridgeJson('fdb show dev vxlan1')).filter(isPunt)).toEqual([]);
      }
      // Each is free for another.
      await startResolver({ overlays: sites.map(({ overlay }) => overlay), store: { lookup: () => null } });
    });

    test('until it is closed, and no longer', async () => {
      const { a, b, endpoints } = await setUp();
      const files = openFiles();
      const store = await memoryOf(...endpoints);
      const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store });
      let closed = false;
      void resolver.closed.then(() => {
        closed = true;
      });
      const events = resolver.events();
      const waiting = events.next();
      await sleep(20);
      expect(closed).toBe(false);
      await Promise.all([resolver.close(), resolver.close()]);
      await resolver.closed;
      expect(await waiting).toEqual({ done: true, value: undefined });
      for (const work of [
        async () => resolver.events(),
        async () => resolver.on('resolved', () => undefined),
        () => resolver.add(a.overlay),
      ]) {
        await expect(work()).rejects.toMatchObject({ code: 'OVERNS_CLOSED' });
      }
      expect(resolver.stats().answers).toBe(0);
      await resolver.remove(a.overlay);
      await resolver.close();
      // It closed neither the overlays nor the store.
      expect(await a.overlay.endpoints()).toEqual([endpoints[0]]);
      await store.publish({ ...(endpoints[0] as Endpoint), ip: '192.168.0.9', ips: ['192.168.0.9'] });
      expect(moreThan(files, openFiles())).toEqual([]);
    });

    test('whatever becomes of the signal that it was started with, which ends a start only', async () => {
      const { a } = await setUp();
      const controller = new AbortController();
      const store = await openStore('memory:');
      const resolver = await Resolver.start({ overlays: [a.overlay], store, signal: controller.signal });
      controller.abort();
      await sleep(50);
      expect(resolver.overlays().map(({ overlay }) => overlay)).toEqual([a.overlay.name]);
      await resolver.close();
      await expect(Resolver.start({ overlays: [a.overlay], store, signal: AbortSignal.abort() })).rejects.toMatchObject(
        { name: 'AbortError' },
      );
      // Neither left anything that would keep another from serving.
      await startResolver({ overlays: [a.overlay], store });
    });

    test('keeps its process alive, unless it is told not to', async () => {
      const { a } = await setUp();
      const source = (more: string): string =>
        `const overlay = await Overlay.open(args.overlay);
        const resolver = await Resolver.start({ overlays: [overlay], store: await openStore(args.store ?? 'memory:') });
        const events = resolver.events();
        ${more}
        say({ ready: true });`;
      const args = { overlay: a.overlay.name };
      for (const [more, ends] of [
        ['', false],
        ['resolver.unref();', true],
        ['resolver.unref().ref();', false],
        ['resolver.ref().unref().unref();', true],
        ['resolver.unref(); resolver.on("resolved", () => {});', true],
        ['void (async () => { for await (const _ of events); })(); resolver.unref();', true],
        ['await resolver.close();', true],
        ['await resolver.remove(overlay); resolver.unref(); await resolver.add(overlay);', true],
      ] as const) {
        const child = startChild(source(more), args);
        await child.waitFor(/ready/, 'stdout');
        const started = performance.now();
        const outcome = await Promise.race([child.exited, sleep(ends ? 10_000 : 500).then(() => 'runs')]);
        const note = `${more}: ${child.stderr}, ${(performance.now() - started).toFixed()} ms`;
        expect(outcome, note).toBe(ends ? 0 : 'runs');
        if (!ends) expect(await child.stop(), note).toBe(143);
      }
    });

    test('and so does what is subscribed to', async () => {
      const { a } = await setUp();
      const opening = [
        'overlay.misses()',
        'overlay.underlayChanges()',
        'rtnl.monitor()',
        "rtnl.monitor({ groups: ['link', 'netns'], resync: true })",
        "(await Rtnl.monitor({ netns: [args.overlay], groups: ['link'] }))",
        'overns.netns.watch()',
      ];
      const source = (subscription: string, more: string): string =>
        `const overlay = await Overlay.open(args.overlay);
        const rtnl = await Rtnl.open({ netns: args.overlay });
        const events = ${subscription}${more};
        void (async () => { for await (const _ of events); })();
        say({ ready: true });`;
      await Promise.all(
        opening.map(async (subscription) => {
          const args = { overlay: a.overlay.name };
          const kept = startChild(source(subscription, '.unref().ref()'), args);
          const free = startChild(source(subscription, '.unref()'), args);
          expect(await free.exited, `${subscription}: ${free.stderr}`).toBe(0);
          await kept.waitFor(/ready/, 'stdout');
          await sleep(500);
          expect(await kept.stop(), `${subscription}: ${kept.stderr}`).toBe(143);
        }),
      );
    });
  });

  describe('serves alone', () => {
    test('a second one in the same process is refused, or takes over', async () => {
      const { a, b, stations, cold, endpoints } = await setUp();
      const store = await memoryOf(...endpoints);
      const first = await startResolver({ overlays: [a.overlay, b.overlay], store });
      const seen = record(first);
      const again = await Overlay.open(a.overlay.name);
      await expect(Resolver.start({ overlays: [again], store })).rejects.toMatchObject({
        code: 'EBUSY',
        message: `overlay "${a.overlay.name}" is served by another resolver (pid ${process.pid})`,
        hint: expect.stringContaining('takeover'),
      });
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);

      const second = await startResolver({ overlays: [again], store, takeover: true });
      await until(() => seen.some(({ kind }) => kind === 'overlay-lost'), 'overlay-lost');
      const lost = { overlay: a.overlay.name, vni: 42, cause: 'taken', pid: process.pid };
      expect(seen.filter(({ kind }) => kind === 'overlay-lost')).toMatchObject([lost]);
      expect(first.overlays()).toMatchObject([{ overlay: b.overlay.name }]);
      // What it has found when it started counts as answered for a second: then it programs and replays without counting.
      const served = (resolver: Resolver): number => {
        const { answers = 0, replayed = 0 } = resolver.stats() as unknown as Record<string, number>;
        return answers + replayed;
      };
      const before = [served(first), served(second)];
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      // One answers for A now, the other still for B.
      await until(() => served(second) > (before[1] as number), 'an answer of the second');
      await until(() => served(first) > (before[0] as number), 'an answer of the first');
      // And back, as often as anybody likes.
      for (let round = 0; round < 5; round++) {
        // What it found at its start would be programmed again, uncounted.
        await cold.go();
        const next = await startResolver({ overlays: [again], store, takeover: true });
        await cold.go();
        expect((await stations[0].ask(b.container.ip)).ms, `round ${round}`).toBeLessThan(PROMPT_MS);
        await until(
          () => served(next) > 0,
          () => `an answer in round ${round}: ${JSON.stringify(next.stats())}`,
        );
      }
      await again.close();
    });

    describe('who has it keeps it when a takeover', () => {
      const nothing = { lookup: () => null };

      /** The first resolver, which is checked to serve A and B at the end, and to have told of what went and came back. */
      async function served(use: (sites: readonly Site[]) => Promise<void>): Promise<ResolverEvent[]> {
        const { a, b, stations, cold, endpoints } = await setUp();
        const overlays = [a.overlay, b.overlay];
        const first = await startResolver({ overlays, store: await memoryOf(...endpoints) });
        const seen = record(first, ({ kind }) => kind === 'overlay-lost' || kind === 'overlay-back');
        await use([a, b]);
        // What was asked for, and given up at once, is read from the sockets in a few turns of the event loop.
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
        await until(
          () => first.overlays().length === 2 && first.overlays().every(({ lost }) => !lost),
          () => `the return: ${JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? `${value}` : value))}`,
        );
        for (const { name } of overlays) {
          const told = seen.filter(({ overlay }) => overlay === name).map(({ kind }) => kind);
          const pair = ['overlay-lost', 'overlay-back'];
          expect(told).toEqual(Array.from({ length: told.length / 2 }, () => pair).flat());
          expect(await queryResolver(name)).toMatchObject({ pid: process.pid });
        }
        await cold.go();
        const before = first.stats().answers;
        expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
        expect((await stations[1].ask(a.container.ip)).ms).toBeLessThan(PROMPT_MS);
        expect(first.stats().answers).toBeGreaterThan(before);
        expect((await a.netns.bridgeJson('fdb show dev vxlan1')).filter(isPunt)).toHaveLength(1);
        return seen;
      }

      test('fails for another overlay', async () => {
        await served(async ([a]) => {
          const { overlay, host } = a as Site;
          const deaf = await Site.create(host, { vni: 43 });
          await deaf.netns.ip('link set vxlan1 down');
          const start = Resolver.start({ overlays: [overlay, deaf.overlay], store: nothing, takeover: true });
          await expect(start).rejects.toMatchObject({ code: 'EINVAL' });
        });
      });

      test('is aborted, whenever', async () => {
        await served(async (sites) => {
          const overlays = sites.map(({ overlay }) => overlay);
          for (let round = 0; round < 20; round++) {
            const controller = new AbortController();
            setTimeout(() => controller.abort(), round / 2);
            const { signal } = controller;
            const store = { ...nothing, watch: () => new ReadableStream() as AsyncIterable<never> };
            const error = await Resolver.start({ overlays, store, takeover: true, signal }).catch((thrown) => thrown);
            expect(error).toMatchObject({ code: 'ABORT_ERR' });
          }
        });
      });

      test('is killed', async () => {
        const seen = await served(async ([a]) => {
          const { overlay } = a as Site;
          const taker = startChild(
            `const store = { lookup: () => null, watch: () => new ReadableStream() };
            const overlays = [await Overlay.open(args.name)];
            await Resolver.start({ overlays, store, takeover: true, lookupTimeoutMs: 60_000 });`,
            { name: overlay.name },
          );
          await until(async () => (await queryResolver(overlay.name))?.pid === taker.pid, 'the takeover');
          process.kill(taker.pid, 'SIGKILL');
          await taker.exited;
        });
        expect(seen.map(({ kind }) => kind)).toEqual(['overlay-lost', 'overlay-back']);
      });
    });

    test('across processes too, and the kernel frees what a killed one held', async () => {
      const { a, b, stations, cold, endpoints } = await setUp();
      const script = `const store = await openStore('memory:');
        for (const endpoint of args.known) await store.publish(endpoint);
        const overlays = await Promise.all(args.overlays.map((name) => Overlay.open(name)));
        const resolver = await Resolver.start({ overlays, store, takeover: args.takeover });
        resolver.on('overlay-lost', ({ overlay }) => say({ lost: overlay, left: resolver.overlays().length }));
        process.on('SIGTERM', () => resolver.close());
        resolver.closed.then(() => say({ closed: true }));
        say({ ready: true });`;
      const args = { known: endpoints, overlays: [a.overlay.name, b.overlay.name], takeover: false };
      const holder = startChild(script, args);
      await holder.waitFor(/ready/, 'stdout');
      const store = await memoryOf(...endpoints);
      await expect(Resolver.start({ overlays: [a.overlay], store })).rejects.toMatchObject({
        code: 'EBUSY',
        message: `overlay "${a.overlay.name}" is served by another resolver (pid ${holder.pid})`,
      });
      const second = await runChild(script, args);
      expect(second.code).not.toBe(0);
      expect(second.stderr).toContain(`(pid ${holder.pid})`);

      // Taken over while packets cross: nothing is lost.
      const crossing = ping(a.container.netns, b.container.ip, { count: 60, interval: 0.02 });
      await sleep(200);
      const mine = await startResolver({ overlays: [a.overlay, b.overlay], store, takeover: true });
      expect(await crossing).toMatchObject({ lost: 0 });
      // It runs on with nothing left to serve, until it is closed.
      expect(said(holder).map(({ lost }) => lost)).toEqual(
        expect.arrayContaining([a.overlay.name, b.overlay.name, undefined]),
      );
      expect(said(holder)).not.toContainEqual({ closed: true });
      expect(await holder.stop()).toBe(0);
      expect(said(holder)).toContainEqual({ closed: true });
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);

      // The other way round, and then killed: whoever comes next finds it free and clean.
      const taker = startChild(script, { ...args, takeover: true });
      await taker.waitFor(/ready/, 'stdout');
      expect(mine.overlays()).toEqual([]);
      process.kill(taker.pid, 'SIGKILL');
      await taker.exited;
      await cold.go(); // what it finds would be programmed again, uncounted
      const last = await startResolver({ overlays: [a.overlay, b.overlay], store });
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      expect(last.stats().answers).toBeGreaterThan(0);
      expect((await a.netns.bridgeJson('fdb show dev vxlan1')).filter(isPunt)).toHaveLength(1);
    });

    test('two that start at the same moment: one serves, the other is told', async () => {
      const { a } = await setUp();
      const store = { lookup: () => null };
      for (let round = 0; round < 10; round++) {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 4 }, () => Resolver.start({ overlays: [a.overlay], store })),
        );
        const serving = outcomes.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
        expect(serving, `round ${round}`).toHaveLength(1);
        for (const each of outcomes)
          if (each.status === 'rejected') expect(each.reason, `round ${round}`).toMatchObject({ code: 'EBUSY' });
        await serving[0]?.close();
      }
    });
  });

  describe('is told that its overlay', () => {
    test.each(['by this process', 'by another'])('is deleted %s', async (by) => {
      const { a, b, endpoints } = await setUp();
      const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store: await memoryOf(...endpoints) });
      const events = resolver.events({ kinds: ['overlay-lost', 'overlay-back'] });
      if (by === 'by another') {
        const { code, stderr } = await runChild(
          'const overlay = await Overlay.open(args.overlay); await overlay.delete();',
          { overlay: a.overlay.name },
        );
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      } else {
        await a.overlay.delete();
      }
      expect((await events.next()).value).toMatchObject({ kind: 'overlay-lost', overlay: a.overlay.name, vni: 42 });
      expect(existsSync(a.netns.path)).toBe(false);
      // Its other overlay is served as before, and the VNI is free at once: nothing holds the old device.
      expect((await b.netns.bridgeJson('fdb show dev vxlan1')).filter(isPunt)).toHaveLength(1);
      const again = await Site.create(a.host);
      await resolver.add(again.overlay);
      await resolver.close();
      expect((await events.next()).done).toBe(true);
    });

    test('is pulled from under it: the device alone, which comes back', async () => {
      const { a, b, stations, cold, endpoints } = await setUp();
      const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store: await memoryOf(...endpoints) });
      const seen = record(resolver);
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      await a.netns.ip('link del vxlan1');
      await until(() => seen.some(({ kind }) => kind === 'overlay-lost'), 'overlay-lost');
      // Made anew as the seed makes it: on the host, then moved.
      await a.host.ip(
        `link add vxlan1 mtu 1450 type vxlan id 42 proxy learning l2miss l3miss dstport 4789 local ${a.host.ip4}`,
      );
      await a.host.ip(`link set vxlan1 netns ${a.netns.name}`);
      await a.netns.ip('link set vxlan1 master br0');
      await a.netns.ip('link set vxlan1 up');
      await until(() => seen.some(({ kind }) => kind === 'overlay-back'), 'overlay-back');
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      await cold.go();
      expect((await stations[1].ask(a.container.ip)).ms).toBeLessThan(PROMPT_MS);
    });

    test('is pulled from under it: namespace and all', async () => {
      const { a, b, stations, endpoints } = await setUp();
      const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store: await memoryOf(...endpoints) });
      const seen = record(resolver);
      // The name goes; the namespace lives on, the resolver's sockets hold it.
      await b.netns.remove();
      await until(() => seen.some(({ kind }) => kind === 'overlay-lost'), 'overlay-lost');
      expect((await stations[0].ask(a.container.ip)).ms).toBeDefined();
      await resolver.remove(b.overlay);
      await b.overlay.close();
      await until(() => Site.create(b.host).catch(() => undefined), 'the VNI free again');
    });
  });

  describe('tells', () => {
    let a: Site;
    let b: Site;
    let stations: readonly [Station, Station];
    let cold: Cold;
    let resolver: Resolver;
    beforeAll(async () => {
      let endpoints: Endpoint[];
      ({ a, b, stations, cold, endpoints } = await setUp());
      resolver = await startResolver({ overlays: [a.overlay, b.overlay], store: await memoryOf(...endpoints) });
    });
    const once = async (): Promise<void> => {
      await cold.go();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
    };

    test('of a miss and its answer', async () => {
      const events = resolver.events({ kinds: ['resolved'] });
      const before = process.hrtime.bigint();
      await once();
      const first = (await events.next()).value as Extract<ResolverEvent, { kind: 'resolved' }>;
      expect(first).toMatchObject({
        kind: 'resolved',
        overlay: a.overlay.name,
        vni: 42,
        by: 'table',
        miss: { kind: 'l3', ip: b.container.ip, overlay: a.overlay.name, vni: 42, link: 'vxlan1' },
        endpoint: { mac: b.container.endpoint.mac, vtep: b.overlay.vtep },
      });
      expect(first.tookUs).toBeGreaterThan(0);
      expect(first.tookUs).toBeLessThan(PROMPT_MS * 1000);
      expect(first.miss.atNs).toBeGreaterThan(before);
      expect(first.atNs).toBeGreaterThanOrEqual(first.miss.atNs);
      expect((await events.next()).value).toMatchObject({ overlay: b.overlay.name, miss: { ip: a.container.ip } });
      await events.return?.();
      expect((await events.next()).done).toBe(true);
    });

    test('each consumer, in a queue of its own', async () => {
      await using small = resolver.events({ maxQueue: 2, kinds: ['resolved', 'overflow'] });
      await using newest = resolver.events({ maxQueue: 1, overflow: 'drop-newest', kinds: ['resolved'] });
      await using large = resolver.events({ kinds: ['resolved'] });
      const heard: ResolverEvent[] = [];
      using _ = resolver.on('resolved', (event) => void heard.push(event));
      using _other = resolver.on('unresolved', () => {
        throw new Error('of another kind');
      });
      for (let round = 0; round < 4; round++) await once();
      await until(() => heard.length >= 8, 'eight events');
      const all: ResolverEvent[] = [];
      for await (const batch of large.batches()) {
        all.push(...batch);
        if (all.length >= heard.length) break;
      }
      expect(all).toEqual(heard);
      expect(large.dropped).toBe(0);
      expect(small.dropped).toBe(heard.length - 2);
      expect(await small.next()).toMatchObject({ value: { kind: 'overflow', dropped: heard.length - 2 } });
      expect((await small.next()).value).toEqual(heard.at(-2));
      expect((await small.next()).value).toEqual(heard.at(-1));
      expect((await newest.next()).value).toEqual(heard[0]);
      expect(newest.dropped).toBe(heard.length - 1);
    });

    test('nobody any more who has left', async () => {
      const heard: string[] = [];
      const listener = resolver.on('resolved', () => void heard.push('listener'));
      const controller = new AbortController();
      const events = resolver.events({ signal: controller.signal });
      listener[Symbol.dispose]();
      listener[Symbol.dispose]();
      const waiting = events.next();
      controller.abort(new Error('enough'));
      await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
      await once();
      await sleep(50);
      expect(heard).toEqual([]);
      await expect(resolver.events({ signal: AbortSignal.abort() }).next()).rejects.toMatchObject({
        name: 'AbortError',
      });
      expect(() => resolver.events({ kinds: ['resolve'] as never })).toThrow(/kinds: "resolve" is not one of resolved/);
      expect(() => resolver.on('nothing' as never, () => undefined)).toThrow(/^kind: "nothing"/);
      expect(() => resolver.events({ maxQueue: 0 })).toThrow(/maxQueue/);
    });

    test('whoever listens on the diagnostics channel', async () => {
      const heard: ResolverEvent[] = [];
      const listener = (event: unknown): void => void heard.push(event as ResolverEvent);
      subscribe('overns:resolver:event', listener);
      try {
        // Somebody who comes or goes makes the resolver look again who wants to be told.
        using _ = resolver.on('overrun', () => undefined);
        await once();
        await until(() => heard.length >= 2, 'two events');
        expect(heard[0]).toMatchObject({ kind: 'resolved', overlay: a.overlay.name });
      } finally {
        unsubscribe('overns:resolver:event', listener);
      }
    });

    test('all, also when one of them throws: which is an uncaught exception', async () => {
      await resolver.remove(a.overlay);
      await resolver.remove(b.overlay);
      await cold.go();
      const child = startChild(
        `const store = await openStore('memory:');
        for (const endpoint of args.known) await store.publish(endpoint);
        const overlays = await Promise.all(args.overlays.map((name) => Overlay.open(name)));
        const resolver = await Resolver.start({ overlays, store });
        process.on('uncaughtException', (error) => say({ uncaught: error.message }));
        const events = resolver.events({ kinds: ['resolved'] });
        resolver.on('resolved', () => say({ first: true }));
        resolver.on('resolved', () => { throw new Error('the consumer is at fault'); });
        resolver.on('resolved', () => say({ third: true }));
        void (async () => { for await (const event of events) say({ event: event.overlay }); })();
        say({ ready: true });`,
        { known: [a.container.endpoint, b.container.endpoint], overlays: [a.overlay.name, b.overlay.name] },
      );
      await child.waitFor(/ready/, 'stdout');
      await once();
      await once();
      await until(
        () => said(child).length >= 17,
        () => `four events to everybody: ${child.stdout}`,
      );
      const told = said(child).slice(1);
      expect(told.filter(({ uncaught }) => uncaught === 'the consumer is at fault')).toHaveLength(4);
      for (const who of ['first', 'third', 'event']) expect(told.filter((line) => line[who])).toHaveLength(4);
      expect(child.running).toBe(true);
      await child.stop();
      await resolver.add(a.overlay);
      await resolver.add(b.overlay);
    });
  });

  describe("asks a consumer's own store", () => {
    let a: Site;
    let b: Site;
    let stations: readonly [Station, Station];
    let cold: Cold;
    /** Addresses that nobody has. */
    const strangers = ['192.168.0.200', '192.168.0.201', '192.168.0.202'] as const;
    /** Further addresses of B's container. */
    const spare = Array.from({ length: 50 }, (_, at) => `192.168.0.${100 + at}`);
    beforeAll(async () => {
      [a, b] = await twoSites({ overlay: { learning: true } }); // B has no resolver
      stations = [await Station.in(a.container.netns), await Station.in(b.container.netns)];
      for (const { container } of [a, b]) await container.netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
      for (const ip of spare) await b.container.netns.ip(`address add ${ip}/24 dev eth0`);
      cold = await Cold.of([a, b], [...spare, ...strangers]);
    });

    /** Answers truthfully about B, unless `say` says otherwise; and remembers what it was asked. */
    function own(say: (query: Query, signal: AbortSignal) => unknown): Store & { asked: string[] } {
      const asked: string[] = [];
      return {
        asked,
        lookup(query, { signal }) {
          const key = query.kind === 'l3' ? query.ip : query.mac;
          asked.push(key);
          return say(query, signal) as Answer;
        },
      };
    }
    const truth = (): Answer => ({ mac: b.container.endpoint.mac, vtep: b.overlay.vtep });
    /** The way back is not the matter. */
    const back = () =>
      b.netns.ip(`neigh replace ${a.container.ip} lladdr ${a.container.endpoint.mac} dev vxlan1`).then(() => undefined);

    test('with all that it needs to know, as an ordinary turn of the event loop', async () => {
      await cold.go();
      await back();
      const queries: Query[] = [];
      const store = own((query, signal) => {
        queries.push(query);
        expect(signal).toBeInstanceOf(AbortSignal);
        return truth();
      });
      await using resolver = await startResolver({ overlays: [a.overlay], store });
      const events = resolver.events({ kinds: ['resolved'] });
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      expect(queries).toEqual([{ kind: 'l3', ip: b.container.ip, overlay: a.overlay.name, vni: 42 }]);
      expect((await events.next()).value).toMatchObject({ by: 'store', endpoint: truth() });
      // Known from now on.
      await cold.go();
      await back();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      expect((await events.next()).value).toMatchObject({ by: 'table' });
      expect(queries).toHaveLength(1);
    });

    test('null is remembered for negativeTtlMs, and one lookup serves all who ask', async () => {
      await cold.go();
      const [absent] = strangers;
      const times: number[] = [];
      const store = own(() => {
        times.push(performance.now());
        return null;
      });
      await using resolver = await startResolver({ overlays: [a.overlay], store, negativeTtlMs: 1000 });
      const seen = record(resolver);
      const ask = async (): Promise<void> => {
        await a.container.netns.ip(`neigh flush dev eth0 to ${absent}`);
        expect((await stations[0].ask(absent, { waitMs: 30 })).ms).toBeUndefined();
      };
      const rounds = 8;
      for (let round = 0; round < rounds; round++) await ask();
      // One, unless the machine is so slow that the rounds outlast what is remembered.
      const lookups = times.length;
      expect(lookups).toBeLessThan(rounds);
      await until(() => {
        const { negative, coalesced } = resolver.stats();
        return negative + coalesced >= rounds - lookups;
      }, 'all misses to be counted');
      await sleep(1100);
      await ask();
      await until(() => times.length > lookups, 'another lookup');
      for (const [at, time] of times.entries())
        if (at > 0) expect(time - (times[at - 1] as number), `lookup ${at}`).toBeGreaterThanOrEqual(999);
      expect(new Set(store.asked)).toEqual(new Set([absent]));
      await until(() => seen.filter(({ kind }) => kind === 'unresolved').length >= times.length, 'all events');
      expect(seen.filter(({ kind }) => kind === 'unresolved')).toMatchObject(
        times.map(() => ({ cause: 'absent', miss: { kind: 'l3', ip: absent } })),
      );
      expect(await a.netns.ipJson('neigh show dev vxlan1')).toEqual([]);
    });

    test('null, with nothing remembered', async () => {
      const [, absent] = strangers;
      const store = own(() => null);
      await using _ = await startResolver({ overlays: [a.overlay], store, negativeTtlMs: 0 });
      for (let round = 1; round <= 5; round++) {
        await a.container.netns.ip(`neigh flush dev eth0 to ${absent}`);
        await stations[0].ask(absent, { waitMs: 20 });
        await until(() => store.asked.length >= round, `lookup ${round}`);
      }
    });

    test('what it throws is told and not remembered', async () => {
      await cold.go();
      await back();
      let works = false;
      const store = own(() => {
        if (works) return truth();
        throw new Error('out of order');
      });
      await using resolver = await startResolver({ overlays: [a.overlay], store, negativeTtlMs: 60_000 });
      const seen = record(resolver);
      for (let round = 1; round <= 3; round++) {
        await cold.containers();
        expect((await stations[0].ask(b.container.ip, { waitMs: 30 })).ms).toBeUndefined();
        await until(() => store.asked.length === round, `lookup ${round}`);
      }
      await until(() => seen.filter(({ kind }) => kind === 'unresolved').length === 3, 'three events');
      expect(seen.filter(({ kind }) => kind === 'unresolved')).toMatchObject(
        Array.from({ length: 3 }, () => ({ cause: 'store-error', error: { message: 'out of order' } })),
      );
      expect(seen.filter(({ kind }) => kind.startsWith('store-'))).toMatchObject([{ kind: 'store-down' }]);
      works = true;
      await cold.containers();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      expect(seen.filter(({ kind }) => kind.startsWith('store-')).map(({ kind }) => kind)).toEqual([
        'store-down',
        'store-up',
      ]);
      expect(stats(resolver).lookups).toBe(4);
    });

    test('rejections count as throws', async () => {
      await cold.go();
      const store = own(() => Promise.reject('no reason'));
      await using resolver = await startResolver({ overlays: [a.overlay], store });
      const events = resolver.events({ kinds: ['unresolved'] });
      await stations[0].ask(b.container.ip, { waitMs: 20 });
      expect((await events.next()).value).toMatchObject({ cause: 'store-error', error: expect.any(Error) });
    });

    test('no more than maxLookups at once, and all get their answer', async () => {
      await cold.go();
      await back();
      let under = 0;
      let most = 0;
      const store = own(async () => {
        most = Math.max(most, ++under);
        await sleep(5);
        under--;
        return truth();
      });
      await using resolver = await startResolver({ overlays: [a.overlay], store, maxLookups: 3 });
      const asked = await Promise.all(spare.map((ip) => stations[0].ask(ip)));
      expect(asked.filter(({ ms }) => ms === undefined || ms > PROMPT_MS)).toEqual([]);
      expect(most).toBe(3);
      expect([...store.asked].sort()).toEqual([...spare].sort());
      expect(stats(resolver).lookups).toBe(50);
    });

    test('no longer than lookupTimeoutMs', async () => {
      await cold.go();
      await back();
      const signals: AbortSignal[] = [];
      const late: (() => void)[] = [];
      let silent = true;
      const store = own((_, signal) => {
        if (!silent) return truth();
        signals.push(signal);
        return new Promise((resolve) => late.push(() => resolve({ ...truth(), vtep: '10.0.0.99' })));
      });
      await using resolver = await startResolver({ overlays: [a.overlay], store, lookupTimeoutMs: 100 });
      const events = resolver.events({ kinds: ['unresolved', 'resolved'] });
      const asked = stations[0].ask(b.container.ip, { waitMs: 400 });
      const told = (await events.next()).value as Extract<ResolverEvent, { kind: 'unresolved' }>;
      expect(told).toMatchObject({ kind: 'unresolved', cause: 'timeout', miss: { ip: b.container.ip } });
      expect(told.error?.message).toContain('100 ms');
      expect(Number(told.atNs - told.miss.atNs) / 1e6).toBeGreaterThanOrEqual(95);
      expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
      // Too late: what it says now counts for nothing.
      for (const resolve of late) resolve();
      expect((await asked).ms).toBeUndefined();
      expect(await a.netns.ipJson('neigh show dev vxlan1')).toEqual([]);
      silent = false;
      await cold.containers();
      expect((await stations[0].ask(b.container.ip)).ms).toBeLessThan(PROMPT_MS);
      expect((await events.next()).value).toMatchObject({ kind: 'resolved', endpoint: truth() });
    });

    test('with lookups under way when it is closed: they are aborted, and waited for by nobody', async () => {
      await cold.go();
      const signals: AbortSignal[] = [];
      const store = own((_, signal) => {
        signals.push(signal);
        return new Promise(() => undefined);
      });
      const resolver = await startResolver({ overlays: [a.overlay], store, lookupTimeoutMs: 600_000 });
      await stations[0].ask(b.container.ip, { waitMs: 20 });
      await until(() => signals.length === 1, 'a lookup');
      const started = performance.now();
      await resolver.close();
      expect(performance.now() - started).toBeLessThan(30_000);
      expect(signals[0]?.aborted).toBe(true);
    });

    test('about several things at once through lookupMany', async () => {
      await cold.go();
      await back();
      const batches: number[] = [];
      const store: Store = {
        lookup: async () => truth(),
        async lookupMany(queries, { signal }) {
          expect(signal).toBeInstanceOf(AbortSignal);
          batches.push(queries.length);
          await sleep(2);
          return queries.map(() => truth());
        },
      };
      await using _ = await startResolver({ overlays: [a.overlay], store });
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          spare.slice(round * 10, round * 10 + 10).map(async (ip) => {
            expect((await stations[0].ask(ip)).ms, ip).toBeLessThan(PROMPT_MS);
          }),
        );
      }
      expect(Math.max(...batches)).toBeGreaterThan(1);
    });

    test.each([
      ['nothing', undefined],
      ['too little', []],
      ['an object', {}],
      ['a throw', new Error('no')],
    ])('lookupMany that gives %s is told of', async (_, given) => {
      await cold.go();
      const store: Store = {
        lookup: () => null,
        lookupMany: async () => {
          if (given instanceof Error) throw given;
          return given as never;
        },
      };
      await using resolver = await startResolver({ overlays: [a.overlay], store });
      const seen = record(resolver);
      await until(async () => {
        await cold.containers();
        await Promise.all(spare.slice(0, 10).map((ip) => stations[0].ask(ip, { waitMs: 20 })));
        return seen.some((event) => event.kind === 'unresolved' && event.cause === 'store-error');
      }, 'word of it');
      expect(await a.netns.ipJson('neigh show dev vxlan1')).toEqual([]);
    });

    const mac = '02:42:c0:a8:00:03';
    test.each<[string, unknown, 'unresolved' | 'rejected']>([
      ['undefined', undefined, 'unresolved'],
      ['a string', mac, 'unresolved'],
      ['a number', 7, 'unresolved'],
      ['an empty object', {}, 'unresolved'],
      ['a number for a MAC', { mac: 2, vtep: '10.0.0.11' }, 'unresolved'],
      ['no VTEP', { mac }, 'unresolved'],
      ['words', { mac: 'x', vtep: 'y' }, 'unresolved'],
      ['a multicast MAC', { mac: '01:00:5e:00:00:01', vtep: '10.0.0.11' }, 'rejected'],
      ['a broadcast MAC', { mac: 'ff:ff:ff:ff:ff:ff', vtep: '10.0.0.11' }, 'rejected'],
      ['a MAC of zeros', { mac: '00:00:00:00:00:00', vtep: '10.0.0.11' }, 'rejected'],
      ['a multicast VTEP', { mac, vtep: '239.1.1.1' }, 'rejected'],
      ['a VTEP of the other family', { mac, vtep: 'fd00:10::11' }, 'rejected'],
      ['the unspecified VTEP', { mac, vtep: '0.0.0.0' }, 'rejected'],
      ['the loopback as a VTEP', { mac, vtep: '127.0.0.1' }, 'rejected'],
      ['broadcast as a VTEP', { mac, vtep: '255.255.255.255' }, 'rejected'],
    ])('that answers with %s: nothing is programmed', async (_, given, kind) => {
      await cold.go();
      const [, , stranger] = strangers;
      const store = own((query) => {
        if (query.kind === 'l3' && query.ip === stranger) return given;
        return query.kind === 'l3' && query.ip === b.container.ip ? truth() : null;
      });
      await using resolver = await startResolver({ overlays: [a.overlay], store });
      const seen = record(resolver);
      await stations[0].ask(stranger, { waitMs: 30 });
      const told = await until(
        () =>
          seen.find(
            (event): event is Extract<ResolverEvent, { kind: 'resolved' | 'unresolved' | 'rejected' }> =>
              'miss' in event && event.miss.kind === 'l3' && event.miss.ip === stranger,
          ),
        'word of it',
      );
      expect(told.kind).toBe(kind);
      const words = told.kind === 'rejected' ? told.reason : told.kind === 'unresolved' ? told.error?.message : '';
      expect(words).toMatch(/^[^\n]{10,200}$/);
      expect(await a.netns.ipJson('neigh show dev vxlan1')).toEqual([]);
      expect((await a.netns.bridgeJson('fdb show dev vxlan1')).filter((row) => row.dst && !isPunt(row))).toEqual([]);
      expect(resolver.stats().rejected).toBe(kind === 'rejected' ? 1 : 0);
      await back();
      expect((await stations[0].ask(b.container.ip)).ms, 'others').toBeLessThan(PROMPT_MS);
    });

    test('also where others have written its neighbour for a while: what decays keeps nobody waiting', async () => {
      await cold.go();
      await back();
      const { ip, endpoint } = b.container;
      const write = (state: string) => a.netns.ip(`neigh replace ${ip} lladdr ${endpoint.mac} dev vxlan1 nud ${state}`);
      // The kernel drops requests for it in silence.
      await write('stale');
      expect((await stations[0].ask(ip, { waitMs: 300 })).ms).toBeUndefined();
      await using _resolver = await startResolver({ overlays: [a.overlay], store: own(truth) });
      await cold.containers(); // that question is still asked
      expect((await stations[0].ask(ip)).ms, 'from before').toBeLessThan(PROMPT_MS);
      for (const state of ['stale', 'delay', 'probe']) {
        await write(state);
        const gone = async () => (await a.netns.ipJson(`neigh show ${ip} dev vxlan1 nud ${state}`)).length === 0;
        await until(gone, `the end of the ${state} neighbour`);
        await cold.containers();
        expect((await stations[0].ask(ip)).ms, state).toBeLessThan(PROMPT_MS);
      }
      // One that is meant to stay does.
      await a.netns.ip(`neigh replace 192.168.0.99 lladdr 02:00:00:00:00:99 dev vxlan1 nud permanent`);
      await a.netns.ip(`neigh replace 192.168.0.98 lladdr 02:00:00:00:00:98 dev vxlan1 nud noarp`);
      await write('stale');
      await until(
        async () => (await a.netns.ipJson('neigh show dev vxlan1 nud stale')).length === 0,
        'the stale one to go',
      );
      const left = (await a.netns.ipJson('neigh show dev vxlan1 nud all')) as { dst: string }[];
      expect(left.map(({ dst }) => dst)).toEqual(expect.arrayContaining(['192.168.0.98', '192.168.0.99']));
      await a.netns.ip('neigh flush dev vxlan1 nud all');
    });

    test('again when the time of an answer is over, without loss to those who talk', async () => {
      await cold.go();
      await back();
      const store = own(() => ({ ...truth(), ttlMs: 200 }));
      await using resolver = await startResolver({ overlays: [a.overlay], store });
      // The container confirms its neighbour all the time, by unicast probes, which are answered while the entry is there.
      const neigh = 'net/ipv4/neigh/eth0';
      await a.container.netns.sysctl(`${neigh}/base_reachable_time_ms`, 200);
      await a.container.netns.sysctl(`${neigh}/delay_first_probe_time`, 0);
      await a.container.netns.sysctl(`${neigh}/retrans_time_ms`, 100);
      // Nor does it give up while the machine stands still.
      await a.container.netns.sysctl(`${neigh}/mcast_solicit`, 50);
      const crossing = await ping(a.container.netns, b.container.ip, { count: 150, interval: 0.02, wait: 6 });
      expect(crossing).toMatchObject({ lost: 0, duplicates: 0 });
      await a.container.netns.sysctl(`${neigh}/base_reachable_time_ms`, 30_000);
      await a.container.netns.sysctl(`${neigh}/delay_first_probe_time`, 5);
      await a.container.netns.sysctl(`${neigh}/retrans_time_ms`, ASKS_AGAIN_MS);
      await a.container.netns.sysctl(`${neigh}/mcast_solicit`, 3);
      expect(store.asked.length, 'lookups within three seconds').toBeGreaterThanOrEqual(3);
      // And when nobody talks, the entry goes; whoever begins anew is answered at once.
      for (let round = 0; round < 4; round++) {
        const empty = async (): Promise<boolean> => (await a.netns.ipJson('neigh show dev vxlan1')).length === 0;
        await cold.containers();
        await until(empty, 'the end of the entry');
        expect((await stations[0].ask(b.container.ip)).ms, `round ${round}`).toBeLessThan(PROMPT_MS);
        await back();
      }
      expect(resolver.stats().rejected).toBe(0);
    });
  });

  describe('follows an endpoint that moves', () => {
    async function three(options: Partial<OverlayOptions> = {}) {
      const hosts = await manyHosts(3);
      const sites = (await Promise.all(hosts.map((host) => Site.create(host, options)))) as [Site, Site, Site];
      await sites[0].attach('192.168.0.2/24');
      const moving = await createNetns();
      await sites[1].attach('192.168.0.3/24', {}, moving);
      const stations = [await Station.in(sites[0].container.netns), await Station.in(moving)] as const;
      return { sites, moving, stations };
    }

    test('at once, when the store tells of it', async () => {
      const { sites, moving, stations } = await three();
      const [a, b, c] = sites;
      const store = await memoryOf(a.container.endpoint, b.container.endpoint);
      await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
      let from = b;
      let to = c;
      for (let round = 0; round < 4; round++) {
        expect((await stations[0].ask('192.168.0.3')).ms, `round ${round}`).toBeLessThan(PROMPT_MS);
        expect(await vtepsOf(a, '02:42:c0:a8:00:03')).toEqual([from.host.ip4]);
        await from.overlay.detach({ path: moving.path });
        from.containers.pop();
        // Its record is the old host's still, as where that has died.
        await to.attach('192.168.0.3/24', { store, takeover: true }, moving);
        // A has heard nothing from it yet, asks nobody, and sends it to the right host all the same.
        await until(async () => (await vtepsOf(a, '02:42:c0:a8:00:03'))[0] === to.host.ip4, 'the new place');
        expect((await stations[0].ask('192.168.0.3')).ms, `round ${round}, moved`).toBeLessThan(PROMPT_MS);
        [from, to] = [to, from];
      }
    });

    test.each([false, true])('not by a packet that bears its MAC address, vxlan1 learning: %s', async (learning) => {
      const { sites, stations } = await three({ learning });
      const [a, b, c] = sites;
      const store = await memoryOf(a.container.endpoint, b.container.endpoint);
      const resolver = await startResolver({ overlays: [a.overlay, b.overlay, c.overlay], store });
      const events = record(resolver, ({ kind }) => kind === 'contradicted');
      expect((await stations[0].ask('192.168.0.3')).ms).toBeLessThan(PROMPT_MS);
      const forged = `import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('vxlan1', 0))
of = lambda mac: bytes.fromhex(mac.replace(':', ''))
s.send(of('02:42:c0:a8:00:02') + of('02:42:c0:a8:00:03') + b'\\x88\\xb5' + bytes(46))`;
      await c.netns.bridge(`fdb replace 02:42:c0:a8:00:02 dev vxlan1 dst ${a.host.ip4} self`);
      await c.netns.exec('python3', ['-c', forged]);
      if (learning) await until(() => resolver.stats().contradicted > 0, 'the contradiction');
      await until(
        async () => (await vtepsOf(a, '02:42:c0:a8:00:03'))[0] === b.host.ip4,
        'the place that the store says',
      );
      expect((await stations[0].ask('192.168.0.3')).ms).toBeLessThan(PROMPT_MS);
      await until(() => events.length === (learning ? 1 : 0), 'the news');
      const told = { kind: 'contradicted', mac: '02:42:c0:a8:00:03', vtep: b.host.ip4, learned: c.host.ip4 };
      expect(events).toMatchObject(learning ? [told] : []);
    });

    test('and takes back what was programmed when it is withdrawn', async () => {
      const { sites, moving, stations } = await three();
      const [a, b] = sites;
      const store = await memoryOf(a.container.endpoint, b.container.endpoint);
      await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
      expect((await stations[0].ask('192.168.0.3')).ms).toBeLessThan(PROMPT_MS);
      await b.overlay.detach({ path: moving.path }, { store });
      await until(async () => (await a.netns.ipJson('neigh show dev vxlan1')).length === 0, 'the neighbour to go');
      await until(async () => (await vtepsOf(a, '02:42:c0:a8:00:03')).length === 0, 'the forwarding entry to go');
    });
  });
});
