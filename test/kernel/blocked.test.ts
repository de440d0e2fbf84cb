/** Known endpoints resolve while JavaScript does something else: the thread that answers never asks it. */
import { expect, test } from 'vitest';
import { said, startChild } from '../support/child.js';
import { Cold, distribution, percentile, Station, twoSites } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const BLOCKED_MS = 2000;

describeWith(['root', 'ip', 'ping'], 'with the event loop blocked', () => {
  test('cold pings are answered as ever', async () => {
    const [a, b] = await twoSites();
    const stations = [await Station.in(a.container.netns), await Station.in(b.container.netns)];
    const cold = await Cold.of([a, b]);
    const child = startChild(
      `const store = await openStore('memory:');
      for (const endpoint of args.known) await store.publish(endpoint);
      const overlays = await Promise.all(args.overlays.map((name) => Overlay.open(name)));
      const resolver = await Resolver.start({ overlays, store });
      const told = [];
      resolver.on('resolved', ({ atNs, by }) => told.push({ atNs, by, toldNs: process.hrtime.bigint() }));
      let ticks = 0;
      setInterval(() => ticks++, 1);
      process.stdin.once('data', () => {
        const before = { ticks, told: told.length };
        const from = process.hrtime.bigint();
        say({ from });
        while (process.hrtime.bigint() - from < BigInt(args.ms) * 1000000n);
        say({ from, until: process.hrtime.bigint(), ticks: ticks - before.ticks, told: told.length - before.told });
        setTimeout(() => {
          say({ events: told.slice(before.told), stats: resolver.stats() });
          process.exit(0);
        }, 100);
      });
      say({ ready: true });`,
      {
        known: [a.container.endpoint, b.container.endpoint],
        overlays: [a.overlay.name, b.overlay.name],
        ms: BLOCKED_MS,
      },
    );
    await child.waitFor(/ready/, 'stdout');
    await cold.go();
    child.child.stdin?.write('block\n');
    await child.waitFor(/from/, 'stdout');

    const began = process.hrtime.bigint();
    const times: number[] = [];
    const pings: number[] = [];
    let rounds = 0;
    while (Number(process.hrtime.bigint() - began) / 1e6 < BLOCKED_MS - 500) {
      const from = rounds % 2 === 0 ? a : b;
      const to = from === a ? b : a;
      const asked = await stations[rounds % 2]?.ask(to.container.ip, { waitMs: 1000 });
      expect(asked?.ms, `round ${rounds}`).toBeDefined();
      expect(asked?.packets).toBeGreaterThanOrEqual(2);
      times.push(asked?.ms as number);
      await cold.go();
      if (rounds % 20 === 0) {
        const { firstMs, lost } = await ping(from.container.netns, to.container.ip);
        expect(lost, `round ${rounds}`).toBe(0);
        pings.push(firstMs as number);
        await cold.go();
      }
      rounds++;
    }
    const ended = process.hrtime.bigint();
    expect(await child.exited, child.stderr).toBe(0);

    const [, , block, after] = said(child);
    // All of it happened within the block, and no JavaScript ran there.
    expect(BigInt(block.from) <= began && ended <= BigInt(block.until)).toBe(true);
    expect(block).toMatchObject({ ticks: 0, told: 0 });
    const within = after.events.filter(({ atNs }: { atNs: string }) => BigInt(atNs) < BigInt(block.until));
    expect(within.length).toBeGreaterThanOrEqual(2 * rounds);
    for (const { by, toldNs } of within) {
      expect(by).toBe('table');
      expect(BigInt(toldNs)).toBeGreaterThan(BigInt(block.until));
    }
    expect(after.stats.lookups).toBe(0);
    console.log(`event loop blocked: ${distribution(times)}; by ping: ${distribution(pings)}`);
    expect(rounds).toBeGreaterThan(20);
    expect(percentile([...times, ...pings], 1)).toBeLessThan(500);
    expect(percentile(times, 0.5)).toBeLessThan(5);
  });
});
