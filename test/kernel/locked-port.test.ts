/** A container's port: which MAC addresses leave it, and where br0 has them. */
import { expect, test } from 'vitest';
import type { Netns } from '../support/netns.js';
import { type Site, Station, startResolver, twoSites } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

const mac = (last: number): string => `02:42:c0:a8:00:${last.toString(16).padStart(2, '0')}`;

/** Sends frames to a MAC address, with these as their sources. */
async function send(from: Netns, to: string, sources: readonly string[]): Promise<void> {
  const script = `import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))
of = lambda mac: bytes.fromhex(mac.replace(':', ''))
for source in sys.argv[2:]: s.send(of(sys.argv[1]) + of(source) + b'\\x88\\xb5' + bytes(46))`;
  await from.exec('python3', ['-c', script, to, ...sources]);
}

/** The port of br0 that has a MAC address, undefined = none. */
async function portOf(netns: Netns, address: string): Promise<string | undefined> {
  const rows: readonly { mac: string; ifname: string; master?: string }[] = JSON.parse(
    (await netns.exec('bridge', ['-j', 'fdb', 'show', 'br', 'br0'])).stdout,
  );
  return rows.find((row) => row.mac === address && row.master === 'br0')?.ifname;
}

async function serve(sites: readonly Site[]): Promise<void> {
  const endpoints = sites.flatMap(({ containers }) => containers.map(({ endpoint }) => endpoint));
  const store = {
    lookup: (query: { kind: string; ip?: string; mac?: string }) =>
      endpoints.find(({ ips, mac: its }) => (query.kind === 'l3' ? ips.includes(query.ip ?? '') : its === query.mac)) ??
      null,
  };
  await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
}

describeWith(['root', 'ip'], "a container's port", () => {
  test('no other MAC address leaves it, nor is learned, here or at its peers; with anyMac they do', async () => {
    const [a, b] = await twoSites();
    const open = await a.attach('192.168.0.4/24', { anyMac: true });
    await serve([a, b]);
    const [one, third] = [await Station.in(a.container.netns), await Station.in(open.netns)];
    await Station.in(b.container.netns);
    for (const station of [one, third]) expect((await station.ask('192.168.0.3')).ms).toBeDefined();
    const forged = Array.from({ length: 50 }, (_, n) => `02:11:00:00:00:${n.toString(16).padStart(2, '0')}`);
    const known = async (): Promise<number> => {
      const rows = await Promise.all([a, b].map(({ netns }) => netns.exec('bridge', ['fdb', 'show'])));
      return new Set(rows.flatMap(({ stdout }) => stdout.match(/02:11:00:00:00:\w\w/g) ?? [])).size;
    };
    await send(a.container.netns, mac(3), forged);
    expect(await known()).toBe(0);
    await send(open.netns, mac(3), forged);
    await expect.poll(known).toBe(50);
    // It went on talking meanwhile.
    expect((await one.ask('192.168.0.3')).ms).toBeDefined();
  });

  test('a frame with its MAC address that comes from elsewhere does not take it away', async () => {
    const [a, b] = await twoSites();
    const liar = await b.attach('192.168.0.5/24', { anyMac: true });
    const other = await a.attach('192.168.0.4/24');
    await serve([a, b]);
    const station = await Station.in(liar.netns);
    await Station.in(other.netns);
    expect((await station.ask('192.168.0.4')).ms).toBeDefined();
    const port = await portOf(a.netns, mac(2));
    expect(port).toMatch(/^ov/);
    await send(liar.netns, mac(4), [mac(2)]);
    await send(other.netns, mac(1), [mac(2)]);
    expect((await station.ask('192.168.0.4')).ms).toBeDefined(); // what was sent before has arrived
    expect(await portOf(a.netns, mac(2))).toBe(port);
  });

  test('a silent container that moves to the host of the one that talks to it is found there at once', async () => {
    const [a, b] = await twoSites();
    await serve([a, b]);
    const mover = a.container;
    const asks = await Station.in(b.container.netns);
    await Station.in(mover.netns);
    expect((await asks.ask(mover.ip)).ms).toBeDefined();
    await a.overlay.detach({ ip: mover.ip });
    const there = await b.overlay.attach({ path: mover.netns.path }, { address: `${mover.ip}/24` });
    expect(await portOf(b.netns, there.mac)).toMatch(/^ov/);
    expect((await asks.ask(mover.ip, { waitMs: 1000 })).ms).toBeDefined();
  });
});
