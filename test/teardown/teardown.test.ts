/** Programs that leave in every way with everything open: they end cleanly, and nothing of the addon outlives its owner. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { said } from '../support/child.js';
import { type Host, manyHosts, PREFIX, type Running, spawn } from '../support/netns.js';
import { Site, startResolver, until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';

const CHILD = fileURLToPath(new URL('child.mjs', import.meta.url));
const SEED = seedOf('OVERNS_TEARDOWN_SEED');
const LANES = 3;
/** AddressSanitizer makes a process several times as slow. */
const SLOWNESS = process.env.OVERNS_TEST_SANITIZED ? 6 : 1;
const LONG = { timeout: 300_000 * SLOWNESS };

/** Sends a datagram to one address after another: each asks for the container's neighbour, which its overlay misses. */
const ASKER = `
  const socket = require('node:dgram').createSocket('udp4');
  let last = 0;
  setInterval(() => {
    last = (last + 1) % 20;
    socket.send('x', 9, '192.168.0.' + (10 + last), () => {});
  }, 10);`;

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const random = randomOf(SEED);

function start(part: string, given: object): Running {
  return spawn(process.execPath, [CHILD, JSON.stringify({ part, ...given })]);
}

/** Waits for the end: the status that is due, and not a word of complaint. */
async function ended(child: Running, code: number, stderr: RegExp = /^$/): Promise<void> {
  const late = setTimeout(() => child.child.kill('SIGKILL'), 120_000 * SLOWNESS);
  const status = await child.exited;
  clearTimeout(late);
  expect({ status, stderr: child.stderr, stdout: child.stdout }).toMatchObject({
    status: code,
    stderr: expect.stringMatching(stderr),
  });
}

/** The named namespaces of this file's: other files make and remove theirs meanwhile. */
function namespaces(): string[] {
  return readdirSync('/run/netns')
    .filter((name) => name.startsWith(`${PREFIX}${process.pid.toString(36)}-`))
    .sort();
}

/** What sends unknown MACs to a resolver. */
async function punts(site: Site): Promise<{ readonly dst: string; readonly port?: number }[]> {
  const rows = await site.netns.bridgeJson('fdb show dev vxlan1');
  return rows.filter(({ mac }) => mac === '00:00:00:00:00:00');
}

describeWith(['root', 'ip'], `teardown, seed ${SEED}`, () => {
  /** Pairs of overlays: one process, or one of its threads, at a time has both. */
  const lanes: [Site, Site][] = [];
  const names = (lane: number): string[] => (lanes[lane] as [Site, Site]).map(({ overlay }) => overlay.name);

  beforeAll(async () => {
    console.log(`teardown: seed ${SEED} (OVERNS_TEARDOWN_SEED=${SEED} for the same once more)`);
    const [host] = (await manyHosts(1)) as [Host];
    const sites = await Promise.all(
      Array.from({ length: LANES * 2 }, async (_, at) => {
        const site = await Site.create(host, { vni: 42 + at });
        const { netns } = await site.attach('192.168.0.2/24');
        // As the kernel has it: what is not answered is asked for again, and keeps the resolvers busy.
        await netns.sysctl('net/ipv4/neigh/eth0/retrans_time_ms', 1000);
        netns.spawn(process.execPath, ['-e', ASKER]);
        return site;
      }),
    );
    for (let at = 0; at < sites.length; at += 2) lanes.push([sites[at], sites[at + 1]] as [Site, Site]);
  });

  /** Runs something with each item, in as many processes at once as there are lanes. */
  async function spread<T>(
    items: readonly T[],
    run: (item: T, names: readonly string[]) => Promise<void>,
  ): Promise<void> {
    const before = namespaces();
    const queue = [...items];
    await Promise.all(
      lanes.map(async (_, lane) => {
        for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item, names(lane));
      }),
    );
    expect(namespaces()).toEqual(before);
  }

  test('the end of main: an unreferenced resolver lets the process go, a referenced one keeps it', async () => {
    await spread([true, false, true, false, false, false], async (ref, overlays) => {
      const child = start('plain', { names: overlays, ref });
      if (ref) {
        await child.waitFor(/ready/, 'stdout');
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect(child.running).toBe(true);
        child.child.stdin?.write('close\n');
      }
      await ended(child, 0);
      if (!ref) expect(said(child)[0]).toMatchObject({ left: true });
    });
  });

  test('process.exit() in the middle of everything', LONG, async () => {
    const moments = (['start', 'loaded', 'watching', 'open', 'closing'] as const).flatMap((when) =>
      Array.from({ length: 6 }, () => ({ when, afterMs: Math.floor(random() * 50) })),
    );
    await spread(moments, async (moment, overlays) => {
      await ended(start('exit', { names: overlays, ...moment }), 0);
    });
  });

  test('an uncaught exception, a listener that throws', async () => {
    const faults = ['uncaught', 'uncaught', 'uncaught', 'listener', 'listener', 'caught'] as const;
    await spread(faults, async (fault, overlays) => {
      if (fault === 'uncaught') {
        const child = start('uncaught', { names: overlays, afterMs: Math.floor(random() * 50) });
        return ended(
          child,
          1,
          /^\S*child\.mjs:\d+\n[\s\S]*\nError: nobody caught this\n( +at .*\n)*\nNode\.js v[\d.]+\n$/,
        );
      }
      const child = start('throwing', { names: overlays, caught: fault === 'caught' });
      if (fault === 'listener') {
        return ended(
          child,
          1,
          /^\S*child\.mjs:\d+\n[\s\S]*\nError: thrown by a listener\n( +at .*\n)*\nNode\.js v[\d.]+\n$/,
        );
      }
      await ended(child, 0);
      const [{ told, thrown }] = said(child);
      // Each listener hears of every event, whatever another does with it.
      expect(told).toBeGreaterThanOrEqual(10);
      expect(Math.abs(told - thrown)).toBeLessThanOrEqual(1);
    });
  });

  test('SIGTERM, with and without a handler, and SIGKILL', async () => {
    const signals = [
      { signal: 'SIGTERM', handler: false, code: 143 },
      { signal: 'SIGTERM', handler: true, code: 7 },
      { signal: 'SIGKILL', handler: false, code: 137 },
    ] as const;
    await spread([...signals, ...signals], async ({ signal, handler, code }, overlays) => {
      const child = start('wait', { names: overlays, handler });
      await child.waitFor(/ready/, 'stdout');
      child.child.kill(signal);
      await ended(child, code);
    });
  });

  test('what a killed resolver left is replaced by the next one at once', async () => {
    const [site] = lanes[0] as [Site, Site];
    for (let round = 0; round < 3; round++) {
      const child = start('wait', { names: names(0) });
      await child.waitFor(/ready/, 'stdout');
      const [serving] = await punts(site);
      expect(serving?.dst).toBe('127.0.0.1');
      child.child.kill('SIGKILL');
      await ended(child, 137);
      expect(await punts(site)).toEqual([serving]);

      const resolver = await startResolver({ overlays: [site.overlay], store: { lookup: () => null } });
      const rows = await punts(site);
      expect(rows).toMatchObject([{ dst: '127.0.0.1' }]);
      expect(rows).not.toEqual([serving]);
      await until(() => resolver.stats().misses > 0, 'a miss');
      await resolver.close();
      expect(await punts(site)).toEqual([]);
    }
  });

  test('workers ended at random, several at once, while the main thread serves', LONG, async () => {
    const before = namespaces();
    let ends = 0;
    const stages: Record<string, number> = {};
    // The second time the ends come while the addon loads and opens.
    for (const ways of [
      { rounds: 20, stages: ['loaded', 'watching', 'open'], maxMs: 0 },
      { rounds: 32, stages: ['nothing', 'nothing', 'loaded'], maxMs: 200 },
    ]) {
      const seed = Math.floor(random() * 2 ** 31);
      const child = start('workers', { lanes: [names(0), names(1)], own: names(2), seed, ...ways });
      await ended(child, 0);
      const [{ left, reached }] = said(child);
      expect(left).toEqual({});
      for (const [stage, count] of Object.entries(reached as Record<string, number>)) {
        ends += count;
        stages[stage] = (stages[stage] ?? 0) + count;
      }
    }
    console.log(`teardown: workers ended ${JSON.stringify(stages)}`);
    expect(ends).toBeGreaterThanOrEqual(100);
    expect(namespaces()).toEqual(before);
  });

  test('opened and closed over and over', LONG, async () => {
    const child = start('cycles', { names: names(0), cycles: 1000, resolvers: 150 });
    await ended(child, 0);
    const [{ took, ...left }] = said(child);
    console.log(`teardown: 1000 Rtnl, 1000 monitors, 150 resolvers in ${Object.values(took).join(', ')} ms`);
    expect(left).toEqual({ afterRtnl: {}, afterMonitor: {}, left: {} });
  });
});
