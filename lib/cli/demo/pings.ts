/** Pings across, each way with nothing known of the other end, and what the kernel asks meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { raceAbort } from '../../core/abort.js';
import { type Miss, type ResolverEvent, Rtnl } from '../../index.js';
import { ping } from '../../netns/ping.js';
import type { Scene } from './scene.js';
import type { Story } from './story.js';
import type { Container, Resolution, Result } from './subjects.js';

const COUNT = 4;
const INTERVAL_MS = 100;
// As long as a kernel asks for a neighbour: a slow machine's reply is late, not lost.
const TIMEOUT_MS = 3000;
/** More than that would only take longer. */
const MOST_PAIRS = 32;

export interface Pings {
  readonly results: readonly Result[];
  readonly misses: number;
  readonly answers: readonly Resolution[];
}

/** Chooses who pings whom: everybody everybody else, or among many each the next few. */
export function pairs(containers: readonly Container[]): readonly (readonly [Container, Container])[] {
  const count = containers.length;
  const each = Math.max(1, Math.min(count - 1, Math.floor(MOST_PAIRS / count)));
  return containers.flatMap((from, at) =>
    Array.from({ length: each }, (_, next) => [from, containers[(at + 1 + next) % count] as Container] as const),
  );
}

export async function pingCold(
  scene: Scene,
  ways: readonly (readonly [Container, Container])[],
  story: Story,
  signal: AbortSignal,
): Promise<Pings> {
  const all = ways.length === scene.containers.length * (scene.containers.length - 1);
  story.stage(
    'Pings',
    `${COUNT} each way${all ? '' : ', to some of the others'}; both ends forget each other before, so the first packet is a miss`,
  );
  const hosts = new Map(scene.containers.map(({ overlay, host }) => [overlay.name, host.name]));
  const known = new Set(scene.containers.flatMap(({ ip, mac }) => [ip, mac]));
  let misses = 0;
  const answers: Resolution[] = [];
  const hear = (event: Extract<ResolverEvent, { kind: 'resolved' | 'unresolved' | 'rejected' }>): void => {
    // The kernels of namespaces ask for addresses of their own as well, as IPv6 does to see that nobody has them.
    if (!known.has(keyOf(event.miss))) return;
    misses++;
    const host = hosts.get(event.overlay) ?? event.overlay;
    if (event.kind === 'resolved') answers.push(resolution(event, host));
    story.miss(host, event);
  };
  const { resolver } = scene;
  const listening = [resolver.on('resolved', hear), resolver.on('unresolved', hear), resolver.on('rejected', hear)];
  try {
    const results: Result[] = [];
    for (const [from, to] of ways) {
      await forgetEachOther(from, to);
      story.pinging(from, to);
      const result = await pingWay(from, to, signal);
      story.pinged(result);
      results.push(result);
    }
    return { results, misses, answers };
  } finally {
    for (const each of listening) each[Symbol.dispose]();
  }
}

function keyOf(miss: Miss): string {
  return miss.kind === 'l3' ? miss.ip : miss.mac;
}

function resolution({ miss, endpoint, by, tookUs }: Extract<ResolverEvent, { kind: 'resolved' }>, host: string) {
  const { mac, vtep } = endpoint;
  return { host, ...(miss.kind === 'l3' ? { ip: miss.ip } : {}), mac, vtep, by, tookUs };
}

/** One request at a time: between them no thread waits, and what is heard meanwhile is told in its turn. */
async function pingWay(from: Container, to: Container, signal: AbortSignal): Promise<Result> {
  const rtts: (number | null)[] = [];
  let begin: bigint | undefined;
  let firstMs: number | null = null;
  for (let at = 0; at < COUNT; at++) {
    if (at > 0) await sleep(INTERVAL_MS, undefined, { signal });
    const [echo] = await raceAbort(
      ping(from.netns, to.ip, { timeoutMs: TIMEOUT_MS, system: from.overlay.system }),
      signal,
    );
    const rtt = echo?.rttMs ?? null;
    rtts.push(rtt);
    if (echo === undefined) continue;
    begin ??= echo.sentAtNs;
    if (rtt !== null) firstMs ??= Number(echo.sentAtNs - begin) / 1e6 + rtt;
  }
  return { from, to, sent: rtts.length, lost: rtts.filter((rtt) => rtt === null).length, firstMs, rtts };
}

/** As if the two had never met: neither their kernels nor their overlays know the other end. */
async function forgetEachOther(...ends: readonly Container[]): Promise<void> {
  for (const { netns, overlay } of ends) {
    await using overlayRtnl = await Rtnl.open({ netns: overlay.netns, system: overlay.system });
    const neighbors = await overlayRtnl.neighbors.list({ link: 'vxlan1' });
    await overlayRtnl.neighbors.batch(neighbors.map((item) => ({ op: 'delete', item })));
    const ways = (await overlayRtnl.fdb.list({ link: 'vxlan1' })).filter(
      ({ mac, state }) => mac !== '00:00:00:00:00:00' && state !== 'permanent',
    );
    await overlayRtnl.fdb.batch(ways.map((item) => ({ op: 'delete', item })));
    await using containerRtnl = await Rtnl.open({ netns, system: overlay.system });
    const met = await containerRtnl.neighbors.list({ link: 'eth0' });
    await containerRtnl.neighbors.batch(met.map((item) => ({ op: 'delete', item })));
  }
}
