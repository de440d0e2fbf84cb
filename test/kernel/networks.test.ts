/** Several networks on one host, which share nothing, and how large a packet they carry. */
import { beforeAll, expect, test } from 'vitest';
import {
  type Change,
  type Endpoint,
  Overlay,
  type OvernsError,
  openStore,
  type Resolver,
  type Store,
  type WatchOptions,
} from '../../lib/index.js';
import { Consul } from '../support/consul.js';
import { type Host, manyHosts, twoHosts, uniqueName } from '../support/netns.js';
import { Cold, PROMPT_MS, record, Site, Station, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

/** A consumer's own store: what is published into a network shows to who watches that network, or to everybody. */
class OwnStore implements Store {
  readonly #endpoints: { readonly vni: number; readonly endpoint: Endpoint }[] = [];
  readonly told: (readonly [method: string, overlay: string, vni: number])[] = [];

  lookup(): null {
    return null; // what is not watched is not there
  }

  async publish(endpoint: Endpoint, { overlay, vni }: Parameters<NonNullable<Store['publish']>>[1]): Promise<void> {
    this.told.push(['publish', overlay, vni]);
    this.#endpoints.push({ vni, endpoint });
  }

  async withdraw(_endpoint: Endpoint, { overlay, vni }: Parameters<NonNullable<Store['withdraw']>>[1]): Promise<void> {
    this.told.push(['withdraw', overlay, vni]);
  }

  async *watch({ overlay, vni, signal }: WatchOptions): AsyncGenerator<Change> {
    this.told.push(['watch', overlay, vni]);
    yield* this.everything(signal, (each) => each === vni);
  }

  async *everything(signal: AbortSignal, wanted: (vni: number) => boolean = () => true): AsyncGenerator<Change> {
    const found = this.#endpoints.filter(({ vni }) => wanted(vni)).map(({ endpoint }) => endpoint);
    yield { kind: 'reset', endpoints: found, index: 1n };
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
}

describeWith(['root', 'ip', 'ping', 'consul'], 'several networks', () => {
  let hosts: Host[];
  let consul: Consul;
  let resolver: Resolver;
  /** By VNI: the overlay's sites, asker's first, target's second. */
  const networks = new Map<number, readonly [Site, Site]>();
  const stations = new Map<number, readonly [Station, Station]>();
  let cold: Cold;

  beforeAll(async () => {
    hosts = await manyHosts(3);
    consul = await Consul.start();
    // The same address in both networks, on host B in the one and on host C in the other.
    for (const [vni, target] of [
      [42, 1],
      [43, 2],
    ] as const) {
      const sites = [
        await Site.create(hosts[0] as Host, { vni }),
        await Site.create(hosts[target] as Host, { vni }),
      ] as const;
      await sites[0].attach('192.168.0.2/24');
      await sites[1].attach('192.168.0.3/24');
      networks.set(vni, sites);
      stations.set(vni, [await Station.in(sites[0].container.netns), await Station.in(sites[1].container.netns)]);
      for (const { container } of sites) {
        await container.netns.sysctl('net/ipv6/conf/eth0/disable_ipv6', 1);
        await consul.putEndpoint(`net/${vni}`, container.endpoint);
      }
    }
    const sites = [...networks.values()].flat();
    const store = await openStore(`consul://127.0.0.1:${consul.port}/net/{vni}`);
    resolver = await startResolver({ overlays: sites.map(({ overlay }) => overlay), store });
    cold = await Cold.of(sites);
  });

  test('are served by one resolver, each from its own records', async () => {
    for (let round = 0; round < 20; round++) {
      await cold.go();
      const asked = await Promise.all([...stations.values()].map(([asker]) => asker.ask('192.168.0.3')));
      for (const { ms, packets } of asked) {
        expect(ms, `round ${round}`).toBeLessThan(PROMPT_MS);
        expect(packets, `round ${round}`).toBe(2);
      }
    }
    for (const [vni, [asker, target]] of networks) {
      const fdb = await asker.netns.bridgeJson('fdb show dev vxlan1');
      expect(
        fdb.filter(({ mac, dst }) => mac === '02:42:c0:a8:00:03' && dst !== undefined).map(({ dst }) => dst),
        `vni ${vni}`,
      ).toEqual([target.host.ip4]);
    }
    expect(resolver.stats()).toMatchObject({ rejected: 0, overruns: 0 });
  });

  test('do not mix, though their addresses are the same', async () => {
    for (const [vni, [asker, target]] of stations) {
      const others = [...stations].filter(([other]) => other !== vni).map(([, [, station]]) => station);
      await cold.go();
      const before = await Promise.all([target, ...others].map((station) => station.sent()));
      expect((await asker.ask('192.168.0.3')).ms).toBeLessThan(PROMPT_MS);
      const after = await Promise.all([target, ...others].map((station) => station.sent()));
      expect((after[0] as number) - (before[0] as number), `the target in ${vni}`).toBeGreaterThan(0);
      expect(after.slice(1), `the others, while ${vni} is asked`).toEqual(before.slice(1));
    }
  });

  test('what one has, another has not', async () => {
    const only = { ip: '192.168.0.50', mac: '02:42:c0:a8:00:03', vtep: hosts[1]?.ip4 as string };
    await (networks.get(42) as readonly [Site, Site])[1].container.netns.ip(`address add ${only.ip}/24 dev eth0`);
    await consul.putEndpoint('net/42', only);
    const seen = record(resolver);
    const asked = await Promise.all([
      stations.get(42)?.[0].ask(only.ip),
      stations.get(43)?.[0].ask(only.ip, { waitMs: 600 }),
    ]);
    expect(asked[0]?.ms).toBeLessThan(PROMPT_MS);
    expect(asked[1]?.ms).toBeUndefined();
    await until(() => seen.some((event) => event.kind === 'unresolved'), 'an unresolved miss');
    const about = seen.flatMap((event) =>
      (event.kind === 'resolved' || event.kind === 'unresolved') &&
      event.miss.kind === 'l3' &&
      event.miss.ip === only.ip
        ? [[event.kind, event.vni, event.overlay]]
        : [],
    );
    expect(about).toContainEqual(['resolved', 42, networks.get(42)?.[0].overlay.name]);
    expect(about).toContainEqual(['unresolved', 43, networks.get(43)?.[0].overlay.name]);
    expect(about).not.toContainEqual(expect.arrayContaining(['resolved', 43]));
  });

  test('cannot share a prefix', async () => {
    const store = await openStore(`consul://127.0.0.1:${consul.port}/shared`);
    const overlays = await Promise.all(hosts.slice(0, 2).map((host, at) => Site.create(host, { vni: 100 + at })));
    const [first, second] = overlays.map(({ overlay }) => overlay) as [Overlay, Overlay];
    await using shared = await startResolver({ overlays: [first], store });
    await expect(shared.add(second)).rejects.toMatchObject({
      code: 'OVERNS_SCOPE',
      message: `overlays "${first.name}" (vni 100) and "${second.name}" (vni 101) would share one prefix of the store`,
      hint: expect.stringContaining('{vni}'),
    });
    // The same VNI may, and the refused one can be served by another.
    const same = await Site.create(hosts[2] as Host, { vni: 100 });
    await shared.add(same.overlay);
    await using _ = await startResolver({ overlays: [second], store });
  });
});

describeWith(['root', 'ip', 'ping'], 'a store of one’s own for several networks', () => {
  /** On the same two hosts, with the same addresses the other way round: what is 192.168.0.3 here is on the other host. */
  async function twoNetworks(store: Store): Promise<readonly (readonly [asker: Site, target: Site])[]> {
    const hosts = await twoHosts();
    return Promise.all(
      [42, 43].map(async (vni, at) => {
        const sites = await Promise.all(hosts.map((host) => Site.create(host, { vni })));
        const [asker, target] = (at === 0 ? sites : sites.reverse()) as [Site, Site];
        await asker.attach('192.168.0.2/24', { store });
        await target.attach('192.168.0.3/24', { store });
        return [asker, target] as const;
      }),
    );
  }
  const vtepsOf = async ({ netns }: Site): Promise<string[]> =>
    (await netns.bridgeJson('fdb show dev vxlan1')).flatMap(({ mac, dst }) =>
      mac === '02:42:c0:a8:00:03' && dst !== undefined ? [dst] : [],
    );

  test('is told the overlay with every call, and no endpoint crosses', async () => {
    const store = new OwnStore();
    const networks = await twoNetworks(store);
    const askers = networks.map(([asker]) => asker);
    await startResolver({ overlays: networks.flat().map(({ overlay }) => overlay), store });
    for (const { overlay } of networks.flat()) {
      for (const method of ['publish', 'watch']) expect(store.told).toContainEqual([method, overlay.name, overlay.vni]);
    }
    const stations = await Promise.all(networks.flat().map((site) => Station.in(site.container.netns)));
    for (const at of [0, 2]) expect((await stations[at]?.ask('192.168.0.3'))?.ms).toBeLessThan(PROMPT_MS);
    for (const [at, asker] of askers.entries()) {
      expect(await vtepsOf(asker), asker.overlay.name).toEqual([networks[at]?.[1].host.ip4]);
    }
    const [asker, target] = networks[1] as readonly [Site, Site];
    await target.overlay.detach({ path: target.container.netns.path }, { store });
    expect(store.told.at(-1)).toEqual(['withdraw', target.overlay.name, 43]);
    expect(asker.overlay.vni).toBe(43);
  });

  test('is not believed if it does not look which overlay is watched', async () => {
    const own = new OwnStore();
    const careless: Store = {
      lookup: () => null,
      publish: (endpoint, options) => own.publish(endpoint, options),
      watch: ({ signal }) => own.everything(signal),
    };
    const networks = await twoNetworks(careless);
    const [[blue], [red]] = networks as [readonly [Site, Site], readonly [Site, Site]];
    const resolver = await startResolver({ store: careless });
    const seen = record(resolver);
    // Alone on its store it is as good as any.
    await resolver.add(blue.overlay);
    expect(seen).toEqual([]);
    await resolver.add(red.overlay);
    await until(() => seen.some((event) => event.kind === 'store-down'), 'the refusal');
    expect(seen).toMatchObject([
      { kind: 'store-down', overlay: red.overlay.name, error: { code: 'OVERNS_SCOPE', hint: expect.any(String) } },
    ]);
    const asker = await Station.in(red.container.netns);
    expect((await asker.ask('192.168.0.3', { waitMs: 300 })).ms).toBeUndefined();
    expect(await vtepsOf(red)).toEqual([]);
    expect(resolver.stats()).toMatchObject({ answers: 0 });
  });

  test('memory: takes one network', async () => {
    await using store = await openStore('memory:');
    await expect(twoNetworks(store)).rejects.toMatchObject({ code: 'OVERNS_SCOPE', hint: expect.any(String) });
  });
});

describeWith(['root', 'ip', 'ping'], 'how large a packet', () => {
  test.each([
    [1500, undefined, 1450],
    [1400, undefined, 1350],
    [1400, 1000, 1000],
    [9000, undefined, 8950],
  ])('over an underlay of %d bytes, with the mtu option %s: %d', async (underlay, mtu, expected) => {
    const [a, b] = await twoSites({ mtu: underlay, ...(mtu === undefined ? {} : { overlay: { mtu } }) });
    expect(a.overlay.mtu).toBe(expected);
    for (const { netns, container } of [a, b]) {
      const links = [...(await netns.ipJson('link show')), ...(await container.netns.ipJson('link show dev eth0'))];
      const sizes = links.filter(({ ifname }) => ifname !== 'lo').map(({ ifname, mtu: size }) => [ifname, size]);
      expect(sizes.map(([, size]) => size)).toEqual(sizes.map(() => expected));
      expect(sizes.length).toBe(4);
    }
    const store = await openStore('memory:');
    for (const { container } of [a, b]) await store.publish(container.endpoint);
    await startResolver({ overlays: [a.overlay, b.overlay], store });
    // Packets are counted below: no others then.
    for (const { container } of [a, b]) await container.netns.sysctl('net/ipv6/conf/all/disable_ipv6', 1);
    // Cold: the first packet is a full one already.
    const full = await ping(a.container.netns, b.container.ip, {
      size: expected - 28,
      dontFragment: true,
      count: 3,
      interval: 0.05,
    });
    expect(full).toMatchObject({ sent: 3, lost: 0, errors: [] });
    const large = await ping(a.container.netns, b.container.ip, { size: expected - 27, dontFragment: true, wait: 0.2 });
    expect(large.received).toBe(0);
    // EMSGSIZE, in ping's words: refused where it is sent, not lost on the way.
    expect(large.errors.join()).toContain(`message too long, mtu=${expected}`);
    const station = await Station.in(a.container.netns);
    await Station.in(b.container.netns);
    expect((await station.ask(b.container.ip, { size: expected - 28 })).packets).toBe(1);
    const fragmented = await station.ask(b.container.ip, { size: expected - 27 });
    expect(fragmented.packets).toBe(2);
    expect(fragmented.ms).toBeLessThan(PROMPT_MS);
  });

  test('more than the underlay carries is refused, and nothing made', async () => {
    const [host] = await twoHosts({ mtu: 1400 });
    const name = uniqueName();
    const error = (await Overlay.create({ name, vni: 42, host: host.name, mtu: 1351 }).catch(
      (each) => each,
    )) as OvernsError;
    expect(error).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: 'mtu: 1351 is not at most 1350: under0 carries 1400 bytes less 50 of VXLAN',
    });
    await expect(Overlay.open(name)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
