/** Frames that still come to a host for a container that has moved away from it. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { netns, openStore, type Resolver, type Store } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { createContainer, manyHosts, type Netns } from '../support/netns.js';
import { type Attached, Site, startResolver, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const IP = '192.168.0.77';
const IP6 = 'fd00::77';
const MAC = '02:42:c0:a8:00:4d';

/** A store that says for ever where the container was at first. */
function unheard({ host }: Site): Store {
  return {
    lookup: (query) => (query.kind === 'l2' || [IP, IP6].includes(query.ip) ? { mac: MAC, vtep: host.ip4 } : null),
  };
}

interface Move {
  readonly sender: Attached;
  readonly mover: Netns;
  /** Serves the old host. */
  readonly resolver: Resolver;
  move(): Promise<void>;
}

/** Three hosts: of a sender whose agent does not hear of the move, and of a container before it and after it. */
async function scene(options: { redirectMs?: number; learning?: boolean } = {}): Promise<Move> {
  const { learning = false, ...rest } = options;
  const hosts = await manyHosts(3);
  const sites = await Promise.all(
    hosts.map((host) => Site.create(host, { learning, address: ['192.168.0.1/24', 'fd00::1/64'] })),
  );
  const [third, from, to] = sites as [Site, Site, Site];
  const store = await openStore('memory:');
  onCleanup(() => store.close());
  const mover = await createContainer();
  await from.attach([`${IP}/24`, `${IP6}/64`], { store, mac: MAC }, mover);
  const sender = await third.attach(['192.168.0.2/24', 'fd00::2/64'], { store });
  await startResolver({ overlays: [third.overlay], store: unheard(from) });
  await startResolver({ overlays: [to.overlay], store });
  const resolver = await startResolver({ overlays: [from.overlay], store, ...rest });
  for (const ip of [IP, IP6]) expect((await ping(sender.netns, ip)).lost).toBe(0);
  return {
    sender,
    mover,
    resolver,
    async move() {
      await from.overlay.detach({ ip: IP }, { store });
      await to.attach([`${IP}/24`, `${IP6}/64`], { store, mac: MAC }, mover);
    },
  };
}

describeWith(['root', 'ip', 'ping'], 'a host that a container has left', () => {
  test('sends on what comes from a host that has not heard of it: nothing is lost but while it was unplugged', async () => {
    const { sender, mover, resolver, move } = await scene();
    const pings = sender.netns.spawn('ping', ['-n', '-D', '-i', '0.002', IP]);
    const replies = (): { at: number; seq: number }[] =>
      [...pings.stdout.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq=(\d+)/gm)].map(([, at, seq]) => ({
        at: Number(at) * 1000,
        seq: Number(seq),
      }));
    await until(() => replies().length > 10, 'pings');
    const before = performance.timeOrigin + performance.now();
    await move();
    const after = performance.timeOrigin + performance.now();
    await until(
      () => (replies().at(-1)?.seq ?? 0) > (replies().find(({ at }) => at > after)?.seq ?? 0) + 100,
      'replies',
    );
    pings.child.kill('SIGINT');
    await pings.exited;
    const seqs = replies().map(({ seq }) => seq);
    const gaps = seqs.flatMap((seq, n) => (n === 0 || seq === (seqs[n - 1] as number) + 1 ? [] : [n]));
    // One gap, in which it was unplugged.
    expect(gaps.length).toBeLessThanOrEqual(1);
    for (const n of gaps) {
      expect(replies()[n - 1]?.at).toBeGreaterThan(before - 1000);
      expect(((seqs[n] as number) - (seqs[n - 1] as number)) * 2, 'ms').toBeLessThan(after - before + 200);
    }
    expect(resolver.stats().redirected).toBeGreaterThan(100);
    expect((await ping(sender.netns, IP6, { count: 3, interval: 0.01 })).lost).toBe(0);
    // What is too large for a packet is cut into packets again.
    const server = await netns.listen({ path: mover.path }, { host: IP, port: 7 }, (socket) => socket.pipe(socket));
    onCleanup(() => void server.close());
    const socket = await netns.connect({ path: sender.netns.path }, { host: IP, port: 7 });
    onCleanup(() => void socket.destroy());
    const sent = randomBytes(4 << 20);
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part)).end(sent);
    await once(socket, 'end');
    expect(Buffer.concat(parts).equals(sent)).toBe(true);
  });

  test.each([
    ['where that is switched off', { redirectMs: 0 }],
    ['where vxlan1 learns, for the new host would take the sender to be on this one', { learning: true }],
    ['for longer than it was told to', { redirectMs: 100 }],
  ])('sends nothing on %s', async (_, options) => {
    const { sender, resolver, move } = await scene(options);
    await move();
    await until(async () => (await ping(sender.netns, IP, { wait: 0.3 })).lost === 1, 'silence');
    const { redirected } = resolver.stats();
    expect((await ping(sender.netns, IP, { count: 5, interval: 0.01, wait: 0.3 })).lost).toBe(5);
    expect(resolver.stats().redirected).toBe(redirected);
  });

  test('and another one that each take the other to have it: what they send to and fro dies', async () => {
    const [third, one, two] = (await Promise.all((await manyHosts(3)).map((host) => Site.create(host)))) as [
      Site,
      Site,
      Site,
    ];
    const sender = await third.attach('192.168.0.2/24');
    const resolvers = await Promise.all(
      [
        [third, two],
        [one, two],
        [two, one],
      ].map(([site, at]) => startResolver({ overlays: [(site as Site).overlay], store: unheard(at as Site) })),
    );
    for (const site of [one, two]) {
      await site.attach(`${IP}/24`, { mac: MAC });
      await site.overlay.detach({ ip: IP });
    }
    const redirected = (): number => resolvers.reduce((sum, each) => sum + each.stats().redirected, 0);
    for (let sent = 1; sent <= 3; sent++) {
      expect((await ping(sender.netns, IP, { wait: 0.3 })).received).toBe(0);
      // Its time to live is 64.
      await expect.poll(redirected, { timeout: 30_000 }).toBe(63 * sent);
    }
  });
});
