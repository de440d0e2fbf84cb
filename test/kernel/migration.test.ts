/** Containers that move from host to host while others talk to them, and hosts that get another address. */
import { beforeAll, describe, expect, test } from 'vitest';
import { Agent, type AgentEvent, Overlay, openStore, type Store } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { createContainer, manyHosts, type Netns } from '../support/netns.js';
import { distribution, percentile, Site, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const FULL = process.env.CI_FULL === '1';
const MOVES = FULL ? 30 : 3;
const IP = '192.168.0.77';
const MACS = ['02:42:c0:a8:00:4d', '02:99:00:00:00:10'] as const;

/** A ping every millisecond that goes on until it is stopped. */
class Pings {
  readonly #process: ReturnType<Netns['spawn']>;

  constructor(from: Netns) {
    this.#process = from.spawn('ping', ['-n', '-D', '-i', '0.001', '-W', '1', IP]);
  }

  /** When replies came, in milliseconds. */
  #replies(): number[] {
    return [...this.#process.stdout.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq=/gm)].map(([, at]) => Number(at) * 1000);
  }

  /** Waits for a reply that came after a time, ten seconds at most: what a container remembers of another lasts longer. */
  async after(time: number): Promise<void> {
    await expect.poll(() => (this.#replies().at(-1) ?? 0) > time, { timeout: 10_000, interval: 5 }).toBe(true);
  }

  /** The longest time without a reply, once stopped. */
  async gap(): Promise<number> {
    this.#process.child.kill('SIGINT');
    await this.#process.exited;
    const at = this.#replies();
    return at.reduce((longest, time, n) => Math.max(longest, n === 0 ? 0 : time - (at[n - 1] as number)), 0);
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
        expect(percentile(values, 0.9), who).toBeLessThan(60); // of thirty one may be the machine's own
      }
    });
  });
});
