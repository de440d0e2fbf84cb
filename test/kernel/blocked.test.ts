/** Known endpoints resolve while JavaScript does something else: the thread that answers never asks it. */
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { said, startChild } from '../support/child.js';
import { onCleanup } from '../support/cleanup.js';
import { uniqueName } from '../support/netns.js';
import { Cold, distribution, PROMPT_MS, percentile, Station, twoSites } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const ROUNDS = 40;

describeWith(['root', 'ip', 'ping'], 'with the event loop blocked', () => {
  test('cold pings are answered as ever', async () => {
    const [a, b] = await twoSites();
    const stations = [await Station.in(a.container.netns), await Station.in(b.container.netns)];
    const cold = await Cold.of([a, b]);
    const stop = join(tmpdir(), `${uniqueName()}.stop`);
    onCleanup(() => rmSync(stop, { force: true }));
    const child = startChild(
      `const { existsSync } = await import('node:fs');
      const store = await openStore('memory:');
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
        while (!existsSync(args.stop));
        say({ from, until: process.hrtime.bigint(), ticks: ticks - before.ticks, told: told.length - before.told });
        process.stdin.once('data', async () => {
          await sleep(100);
          say({ events: told.slice(before.told), stats: resolver.stats() });
          process.exit(0);
        });
      });
      say({ ready: true });`,
      {
        known: [a.container.endpoint, b.container.endpoint],
        overlays: [a.overlay.name, b.overlay.name],
        stop,
      },
    );
    await child.waitFor(/ready/, 'stdout');
    const round = async (at: number): Promise<number> => {
      await cold.go();
      const asked = await stations[at % 2]?.ask((at % 2 === 0 ? b : a).container.ip);
      expect(asked?.ms, `round ${at}`).toBeDefined();
      expect(asked?.packets).toBeGreaterThanOrEqual(2);
      return asked?.ms as number;
    };
    // The control: the same before, with a CPU as busy.
    const busy = a.netns.spawn('sh', ['-c', 'while :; do :; done']);
    const unblocked: number[] = [];
    for (let at = 0; at < ROUNDS; at++) unblocked.push(await round(at));
    busy.child.kill('SIGKILL');
    await busy.exited;
    await cold.go();
    child.child.stdin?.write('block\n');
    await child.waitFor(/from/, 'stdout');

    const began = process.hrtime.bigint();
    const times: number[] = [];
    const pings: number[] = [];
    for (let at = 0; at < ROUNDS; at++) {
      times.push(await round(at));
      if (at % 20 !== 0) continue;
      await cold.go();
      const { firstMs, lost } = await ping(a.container.netns, b.container.ip);
      expect(lost, `round ${at}`).toBe(0);
      pings.push(firstMs as number);
    }
    const ended = process.hrtime.bigint();
    writeFileSync(stop, '');
    await child.waitFor(/until/, 'stdout');
    child.child.stdin?.write('report\n');
    expect(await child.exited, child.stderr).toBe(0);

    const [, , block, after] = said(child);
    // All of it happened within the block, and no JavaScript ran there.
    expect(BigInt(block.from) <= began && ended <= BigInt(block.until)).toBe(true);
    expect(block).toMatchObject({ ticks: 0, told: 0 });
    const within = after.events.filter(({ atNs }: { atNs: string }) => BigInt(atNs) < BigInt(block.until));
    expect(within.length).toBeGreaterThanOrEqual(2 * ROUNDS);
    for (const { by, toldNs } of within) {
      expect(by).toBe('table');
      expect(BigInt(toldNs)).toBeGreaterThan(BigInt(block.until));
    }
    expect(after.stats.lookups).toBe(0);
    console.log(`event loop blocked: ${distribution(times)}; by ping: ${distribution(pings)}`);
    console.log(`event loop free: ${distribution(unblocked)}`);
    expect(percentile([...times, ...pings], 1)).toBeLessThan(PROMPT_MS);
    expect(percentile(times, 0.5)).toBeLessThan(Math.max(5, 2 * percentile(unblocked, 0.5)));
  });
});
