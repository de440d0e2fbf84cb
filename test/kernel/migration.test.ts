/** Containers that move from host to host while others talk to them, and hosts that get another address. */
import { beforeAll, describe, expect, test } from 'vitest';
import { Agent, type AgentEvent, type Change, Overlay, openStore, type Store } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { createContainer, manyHosts, type Netns } from '../support/netns.js';
import { distribution, percentile, record, Site, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { Relay } from '../support/relay.js';
import { describeWith } from '../support/requirements.js';

const FULL = process.env.CI_FULL === '1';
const MOVES = FULL ? 30 : 3;
const IP = '192.168.0.77';
const MACS = ['02:42:c0:a8:00:4d', '02:99:00:00:00:10'] as const;

/** A ping every millisecond that goes on until it is stopped. */
class Pings {
  readonly #process: ReturnType<Netns['spawn']>;

  constructor(from: Netns, ip = IP) {
    this.#process = from.spawn('ping', ['-n', '-D', '-i', '0.001', '-W', '1', ip]);
  }

  /** By number: when each that was answered was sent, milliseconds. */
  #answers(): { readonly number: number; readonly sent: number }[] {
    const lines = this.#process.stdout.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq=(\d+) .*time=([\d.]+) ms/gm);
    return Array.from(lines, ([, at, number, took]) => ({
      number: Number(number),
      sent: Number(at) * 1000 - Number(took),
    }));
  }

  /** Waits for an answer to one that was sent after a time, ten seconds at most: what a container remembers of another lasts longer. */
  async after(time: number): Promise<void> {
    await expect.poll(() => (this.#answers().at(-1)?.sent ?? 0) > time, { timeout: 10_000, interval: 5 }).toBe(true);
  }

  /**
   * Ends it. The longest time without an answer: between two that were answered, as they were sent, where those between them were
   * lost. A ping that the machine kept from sending has lost nothing.
   */
  async gap(): Promise<number> {
    this.#process.child.kill('SIGINT');
    await this.#process.exited;
    const answers = this.#answers().sort((a, b) => a.number - b.number);
    return answers.reduce((longest, { number, sent }, at) => {
      const before = answers[at - 1];
      const lost = before !== undefined && number > before.number + 1;
      return lost ? Math.max(longest, sent - before.sent) : longest;
    }, 0);
  }
}

describeWith(['root', 'ip', 'ping'], 'a host whose underlay address changes', () => {
  test.each([
    ['in the same network', '10.0.0.77/24'],
    ['in another one, which its route leads to', '10.9.0.77/24'],
  ])('is reached at its new one: %s', async (_, address) => {
    const [a, b] = await twoSites();
    const store = await openStore('memory:');
    onCleanup(() => store.close());
    const overlays = [a, b].map(({ overlay }) => overlay.name);
    const agent = await Agent.start({ store, overlays });
    onCleanup(() => agent.close());
    const told: AgentEvent[] = [];
    void (async () => {
      for await (const event of agent.events()) told.push(event);
    })();
    expect((await ping(a.container.netns, b.container.ip)).lost).toBe(0);
    const vtep = address.split('/')[0] as string;
    await a.host.ip(`route add ${vtep}/32 dev under0`);
    await b.host.ip('address flush dev under0');
    await b.host.ip(`address add ${address} dev under0`);
    await b.host.ip(`route replace ${a.host.ip4}/32 dev under0`);
    const moved = await until(() => told.find(({ kind }) => kind === 'renumbered'), 'the news');
    expect(moved).toMatchObject({ overlay: b.overlay.name, vni: 42, from: b.host.ip4, to: vtep });
    const { mac } = b.container.endpoint;
    const query = { overlay: b.overlay.name, vni: 42, kind: 'l2', mac } as const;
    await until(async () => (await store.lookup(query))?.vtep === vtep, 'its record');
    // Both ways: from there as well.
    expect((await ping(b.container.netns, a.container.ip)).lost).toBe(0);
    expect((await ping(a.container.netns, b.container.ip)).lost).toBe(0);
    await using again = await Overlay.open(b.overlay.name);
    expect(again.vtep).toBe(vtep);
    expect(await again.underlayFault()).toBeUndefined();
    expect(
      agent
        .overlays()
        .map(({ overlay }) => overlay)
        .sort(),
    ).toEqual([...overlays].sort());
  });
});

describeWith(['root', 'ip', 'ping', 'consul', 'etcd'], 'a container that moves', () => {
  describe.each(['Consul', 'etcd'])('with %s', (kind) => {
    let store: Store;
    let sites: readonly Site[];
    let peers: readonly Netns[];
    let mover: Netns;
    /** Which of the sites it is at. */
    let at = 1;

    beforeAll(async () => {
      const url =
        kind === 'Consul' ? `consul://127.0.0.1:${(await Consul.start()).port}` : `etcd://${(await Etcd.start()).at}`;
      const opened = await openStore(`${url}/demo`);
      onCleanup(() => opened.close());
      store = opened;
      sites = await Promise.all((await manyHosts(3)).map((host) => Site.create(host)));
      await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
      mover = await createContainer();
      peers = await Promise.all(
        sites.map(async (site, n) => (await site.attach(`192.168.0.${n + 2}/24`, { store })).netns),
      );
      // Says nothing by itself.
      for (const each of [mover, ...peers]) await each.sysctl('net/ipv6/conf/all/disable_ipv6', 1);
      await (sites[at] as Site).attach(`${IP}/24`, { store, mac: MACS[0] }, mover);
    });

    test.each([
      ['with its MAC address', false],
      ['with another MAC address each time', true],
    ])('is found by peers on a third host, on its old and on its new one: %s', async (_, another) => {
      const gaps: Record<string, number[]> = { third: [], old: [], new: [] };
      for (let move = 0; move < MOVES; move++) {
        const [from, to] = [at, 3 - at];
        const pings = peers.map((peer) => new Pings(peer));
        for (const each of pings) await each.after(0);
        const start = performance.now();
        await (sites[from] as Site).overlay.detach({ ip: IP }, { store });
        const mac = MACS[another ? (move + 1) % 2 : 0] as string;
        await (sites[to] as Site).overlay.attach({ path: mover.path }, { address: `${IP}/24`, store, mac });
        const unplugged = performance.now() - start;
        const now = performance.timeOrigin + performance.now();
        await Promise.all(pings.map((each) => each.after(now)));
        for (const [who, site] of [
          ['third', 0],
          ['old', from],
          ['new', to],
        ] as const)
          gaps[who]?.push(Math.max(0, (await (pings[site] as Pings).gap()) - unplugged));
        at = to;
      }
      if (!FULL) return;
      for (const [who, values] of Object.entries(gaps)) {
        console.log(
          `${kind}, ${another ? 'another' : 'the same'} MAC, ${who} host: beyond the move ${distribution(values)}`,
        );
        expect(percentile(values, 0.5), who).toBeLessThan(20);
        expect(percentile(values, 0.99), who).toBeLessThan(60);
      }
    });
  });
});

/** Where the overlay of a host has a MAC address, by the VTEPs of its rows. */
async function placesOf(site: Site, mac: string): Promise<string[]> {
  const { stdout } = await site.netns.exec('bridge', ['-j', 'fdb', 'show', 'dev', 'vxlan1']);
  const rows = JSON.parse(stdout) as { mac: string; dst?: string }[];
  return rows.flatMap((row) => (row.mac === mac && row.dst !== undefined ? [row.dst] : []));
}

describeWith(['root', 'ip', 'ping'], 'a move that is told of in the wrong order', () => {
  test('is not undone by what is older: the watch is begun again', async () => {
    const [a, b] = await twoSites();
    const { endpoint } = b.container;
    const elsewhere = { ...endpoint, vtep: '10.0.0.99' };
    let move = (): void => {};
    const moved = new Promise<void>((resolve) => {
      move = resolve;
    });
    let watches = 0;
    const store: Store = {
      lookup: () => null,
      async *watch({ vni, signal }): AsyncGenerator<Change> {
        if (vni !== 42 || watches++ > 0) {
          yield { kind: 'reset', endpoints: [endpoint], index: 7n };
        } else {
          yield { kind: 'reset', endpoints: [elsewhere], index: 5n };
          await moved;
          yield { kind: 'put', endpoint, index: 7n };
          yield { kind: 'put', endpoint: elsewhere, index: 6n };
        }
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
    };
    const resolver = await startResolver({ overlays: [a.overlay], store });
    const told = record(resolver, ({ kind }) => kind === 'store-down' || kind === 'store-up');
    expect((await ping(a.container.netns, b.container.ip)).lost).toBe(1);
    expect(await placesOf(a, endpoint.mac)).toEqual(['10.0.0.99']);
    move();
    await until(() => told.length === 2, 'the watch to begin again');
    expect(told).toMatchObject([
      { kind: 'store-down', error: { message: expect.stringContaining('index 6 after index 7') } },
      { kind: 'store-up' },
    ]);
    expect(await placesOf(a, endpoint.mac)).toEqual([b.host.ip4]);
  });
});

describeWith(['root', 'ip', 'ping', 'etcd'], 'a container that moves while its store', () => {
  /** Three hosts: one who talks to the one that moves from the second to the third, and to one that stays on the second. */
  async function scene(sync: 'all' | 'used', at: (etcd: Etcd) => Promise<string>) {
    const etcd = await Etcd.start();
    const [store, served] = await Promise.all([
      openStore(`etcd://${etcd.at}/demo`),
      openStore(`etcd://${await at(etcd)}/demo`),
    ]);
    onCleanup(() => Promise.all([store.close(), served.close()]));
    const sites = (await Promise.all((await manyHosts(3)).map((host) => Site.create(host)))) as [Site, Site, Site];
    const [here, from, to] = sites;
    const resolver = await startResolver({ overlays: [here.overlay], store: served, sync });
    await startResolver({ overlays: [from.overlay, to.overlay], store });
    const [talker, stays] = await Promise.all([
      here.attach('192.168.0.2/24', { store }),
      from.attach('192.168.0.3/24', { store }),
    ]);
    const mover = await createContainer();
    await from.attach(`${IP}/24`, { store, mac: MACS[0] }, mover);
    const attach = (options: { readonly store?: Store } = {}) =>
      to.overlay.attach({ path: mover.path }, { address: `${IP}/24`, mac: MACS[0], ...options });
    const pings = { mover: new Pings(talker.netns), stays: new Pings(talker.netns, stays.ip) };
    await Promise.all([pings.mover.after(0), pings.stays.after(0)]);
    return { etcd, store, here, from, to, resolver, attach, pings };
  }

  test.each(['all', 'used'] as const)('takes two seconds for each answer: %s', async (sync) => {
    let relay: Relay | undefined;
    const { here, from, to, store, attach, pings } = await scene(sync, async ({ port }) => {
      relay = await Relay.start(port);
      return relay.at;
    });
    (relay as Relay).delayMs = 2000;
    await from.overlay.detach({ ip: IP }, { store });
    await attach({ store });
    // The old host may send on what still comes there.
    await until(async () => (await placesOf(here, MACS[0])).join() === to.host.ip4, 'the new place');
    await pings.mover.after(performance.timeOrigin + performance.now());
    await pings.mover.gap();
    expect(await pings.stays.gap()).toBe(0);
  });

  test.each([
    ['the VTEP of this host', `fib/${MACS[0]}`, (here: Site) => here.host.ip4],
    ['a multicast group for its VTEP', `fib/${MACS[0]}`, () => '224.0.0.5'],
    ['no MAC address', `arp/${IP}`, () => '00:00:00:00:00:00'],
  ])('gives a record that is wrong: %s', async (_, key, value) => {
    for (const sync of ['all', 'used'] as const) {
      const { etcd, here, from, to, resolver, attach, pings } = await scene(sync, async ({ at }) => at);
      const told = record(resolver, ({ kind }) => ['rejected', 'unreadable', 'unresolved'].includes(kind));
      const programmed = async (): Promise<string> => {
        const { stdout } = await here.netns.exec('ip', ['neigh', 'show', 'dev', 'vxlan1']);
        return stdout + (await placesOf(here, MACS[0]));
      };
      const before = await programmed();
      // By hand: a claim would be refused because of it.
      await from.overlay.detach({ ip: IP });
      await etcd.put(`demo/${key}`, value(here));
      await until(async () => told.length > 0 || (await programmed()) !== before, 'the wrong record');
      expect(await placesOf(here, MACS[0])).not.toContain(value(here));
      await attach();
      await etcd.putEndpoint('demo', { ip: IP, mac: MACS[0], vtep: to.host.ip4 });
      await until(async () => (await placesOf(here, MACS[0])).join() === to.host.ip4, 'the new place');
      await pings.mover.after(performance.timeOrigin + performance.now());
      await pings.mover.gap();
      expect(await pings.stays.gap()).toBe(0);
    }
  });
});
