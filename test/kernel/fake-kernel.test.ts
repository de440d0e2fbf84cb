/**
 * overns/testing is held to the real kernel: every scenario here runs against both and expects the same, so that the
 * fake cannot drift. Random sequences of requests besides, whose answers and ends are compared with one another.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Address,
  type Answer,
  type Change,
  type Endpoint,
  type FdbEntry,
  identityOf,
  type Miss,
  type Neighbor,
  Overlay,
  openStore,
  type Query,
  Resolver,
  type ResolverEvent,
  Rtnl,
  type Store,
  type System,
} from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { record, until } from '../support/overlay.js';
import { describeWith, testWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';
import { fakeStage, realStage, type Stage } from '../support/stage.js';

/** `ok`, or the error's code, what was asked, and the kernel's words. */
async function said(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return 'ok';
  } catch (error) {
    const { code, syscall, kernelMessage } = error as { code: string; syscall?: string; kernelMessage?: string };
    if (code === undefined) throw error;
    return [code, syscall, kernelMessage && `"${kernelMessage}"`].filter(Boolean).join(' ');
  }
}

async function openRtnl(netns: string, { system }: Stage): Promise<Rtnl> {
  const rtnl = await Rtnl.open({ netns, system });
  onCleanup(() => rtnl.close());
  return rtnl;
}

/** Requests in order, each with what it is to be answered with. */
async function dialogue(turns: readonly (readonly [run: () => Promise<unknown>, answer: string])[]): Promise<void> {
  const answers: string[] = [];
  for (const [run] of turns) answers.push(await said(run));
  const shown = (list: readonly string[]): string[] =>
    list.map((answer, at) => `${String(turns[at]?.[0])} => ${answer}`);
  expect(shown(answers)).toEqual(shown(turns.map(([, answer]) => answer)));
}

function pick(row: object, ...keys: readonly string[]): Record<string, unknown> {
  const all = row as Record<string, unknown>;
  return Object.fromEntries(keys.filter((key) => all[key] !== undefined).map((key) => [key, all[key]]));
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);

/** What both kernels list, without what the real one adds by itself. */
async function stateOf(rtnl: Rtnl): Promise<Record<string, readonly object[]>> {
  const [links, addresses, routes, neighbors, fdb] = await Promise.all([
    rtnl.links.list(),
    rtnl.addresses.list(),
    rtnl.routes.list({ table: 254 }),
    rtnl.neighbors.list(),
    rtnl.fdb.list(),
  ]);
  const ownMacs = new Set(links.filter(({ name }) => name !== 'lo').map(({ mac }) => mac));
  return {
    links: links
      .map((link) => pick(link, 'name', 'kind', 'mtu', 'up', 'master', 'alias', 'vni', 'port', 'local', 'learning'))
      .sort(byText),
    addresses: addresses
      .map((address) => pick(address, 'link', 'address', 'family', 'scope', 'label'))
      .filter(({ scope }) => scope !== 'link')
      .sort(byText),
    routes: routes
      .filter(({ dst }) => !dst.startsWith('fe80:') && !dst.startsWith('ff00:'))
      .map((route) => pick(route, 'dst', 'family', 'gateway', 'link', 'source', 'metric', 'scope', 'protocol'))
      .sort(byText),
    neighbors: neighbors
      .filter(({ ip }) => !/^(ff|224\.|127\.)/.test(ip))
      .map((neighbor) => pick(neighbor, 'link', 'ip', 'mac', 'state'))
      .sort(byText),
    fdb: fdb
      .filter(({ mac }) => !ownMacs.has(mac) && !/^(33:33|01:)/.test(mac))
      .map((entry) => pick(entry, 'link', 'mac', 'dst', 'vni', 'port', 'state', 'flags', 'master'))
      .sort(byText),
  };
}

const NEIGHBOR = { link: 'vxlan1', ip: '192.168.0.3', mac: '02:42:c0:a8:00:03', state: 'permanent' };
const FDB = { link: 'vxlan1', mac: '02:42:c0:a8:00:03', dst: '10.0.0.11', state: 'dynamic' };
const ZERO = '00:00:00:00:00:00';
/** As long is waited for what does not arrive. */
const LOST_MS = 1500;

/** The kernel solicits its own link-local addresses within a second (RFC 4862), which vxlan1 takes for a question. */
const isLinkLocal = (miss: Miss): boolean => miss.kind === 'l3' && miss.ip.startsWith('fe80:');

/** A store that a test fills by hand and that keeps a list of what it was asked. */
class Records implements Store {
  readonly asked: string[] = [];
  readonly answers = new Map<string, Answer | Error>();
  lookup(query: Query): Answer | null {
    const key = query.kind === 'l3' ? query.ip : query.mac;
    if (!key.startsWith('fe80:')) this.asked.push(key);
    const answer = this.answers.get(key);
    if (answer instanceof Error) throw answer;
    return answer ?? null;
  }
  constructor(...endpoints: Endpoint[]) {
    for (const endpoint of endpoints) this.has(endpoint);
  }
  has({ ips, mac, vtep }: Endpoint, more: Partial<Answer> = {}): void {
    for (const key of [...ips, mac]) this.answers.set(key, { mac, vtep, ...more });
  }
}

/** A store that knows nothing but what its watch is given to tell. */
function pushed(...queue: Change[]): { readonly store: Store; push(change: Change): void } {
  let wake = (): void => {};
  const store: Store = {
    lookup: () => null,
    async *watch({ signal }) {
      while (!signal.aborted) {
        yield* queue.splice(0);
        await new Promise<void>((resolve) => {
          wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
          if (queue.length > 0) resolve();
        });
      }
    },
  };
  const push = (change: Change): void => {
    queue.push(change);
    wake();
  };
  return { store, push };
}

interface Network {
  readonly overlays: readonly [Overlay, Overlay];
  readonly containers: readonly [string, string];
  readonly endpoints: readonly [Endpoint, Endpoint];
  readonly records: Records;
}

/** Two hosts with an overlay and a container each, and records of both. */
async function network(stage: Stage, learning = false): Promise<Network> {
  const hosts = await stage.hosts();
  const records = new Records();
  const parts = await Promise.all(
    hosts.map(async (host, at) => {
      const overlay = await Overlay.create({
        name: stage.name(),
        vni: 42,
        address: '192.168.0.1/24',
        host,
        learning,
        system: stage.system,
      });
      onCleanup(() => overlay.close());
      const container = await stage.netns();
      const endpoint = await overlay.attach(`netns:${container}`, { address: `192.168.0.${at + 2}/24` });
      records.has(endpoint);
      return { overlay, container, endpoint };
    }),
  );
  const [a, b] = parts as [(typeof parts)[0], (typeof parts)[0]];
  return {
    overlays: [a.overlay, b.overlay],
    containers: [a.container, b.container],
    endpoints: [a.endpoint, b.endpoint],
    records,
  };
}

async function serve(options: Parameters<typeof Resolver.start>[0]): Promise<[Resolver, ResolverEvent[]]> {
  const resolver = await Resolver.start(options);
  onCleanup(() => resolver.close());
  return [resolver, record(resolver, (event) => !('miss' in event && isLinkLocal(event.miss)))];
}

/** Without what depends on time and chance. */
function told(events: readonly ResolverEvent[]): object[] {
  return events.map((event) => {
    const miss = 'miss' in event ? pick(event.miss, 'kind', 'ip', 'mac', 'link') : undefined;
    return { ...pick(event, 'kind', 'endpoint', 'by', 'cause', 'reason'), ...(miss && { miss }) };
  });
}

function scenarios(stage: () => Stage): void {
  const on = (): { readonly system: System } => ({ system: stage().system });

  test('links: deleted by their group, all of them or none', async () => {
    const rtnl = await openRtnl(await stage().netns(), stage());
    const names = async (): Promise<string[]> => (await rtnl.links.list()).map(({ name }) => name).sort();
    const grouped = (linkGroup: number) => () => rtnl.links.delete({ linkGroup });
    await rtnl.links.add({ kind: 'bridge', name: 'br0' });
    await rtnl.links.add({ kind: 'bridge', name: 'br1', linkGroup: 7 });
    await rtnl.links.add({ kind: 'veth', name: 'v0', peer: { name: 'v1' }, master: 'br0' });
    await dialogue([
      [() => rtnl.links.set({ name: 'v0', linkGroup: 7 }), 'ok'],
      [() => rtnl.links.set({ name: 'lo', linkGroup: 8 }), 'ok'],
      [grouped(0), 'EPERM RTM_DELLINK'],
      [grouped(9), 'ENODEV RTM_DELLINK'],
      [grouped(8), 'EOPNOTSUPP RTM_DELLINK'],
      // A link that is named is the one that is meant.
      [() => rtnl.links.delete({ name: 'none', linkGroup: 7 }), 'ENODEV RTM_DELLINK'],
    ]);
    expect((await rtnl.links.list({ linkGroup: 7 })).map(({ name }) => name).sort()).toEqual(['br1', 'v0']);
    await rtnl.links.delete({ linkGroup: 7 });
    expect(await names()).toEqual(['br0', 'lo']);
  });

  test('links: what is refused, and with which words', async () => {
    const [here, there] = [await stage().netns(), await stage().netns()];
    const [a, b] = [await openRtnl(here, stage()), await openRtnl(there, stage())];
    const vxlan = { kind: 'vxlan', vni: 42, port: 4789 } as const;
    await dialogue([
      [() => a.links.add({ kind: 'bridge', name: 'br0' }), 'ok'],
      [() => a.links.add({ kind: 'bridge', name: 'br0' }), 'EEXIST RTM_NEWLINK'],
      [() => a.links.replace({ kind: 'bridge', name: 'br0', mtu: 1400 }), 'ok'],
      [() => a.links.replace({ kind: 'vxlan', name: 'br0', vni: 3 }), 'EEXIST RTM_NEWLINK'],
      [() => a.links.add({ kind: 'bridge', name: 'a'.repeat(16) }), 'ERR_INVALID_ARG_VALUE'],
      [() => a.links.add({ kind: 'bridge', name: 'a/b' }), 'ERR_INVALID_ARG_VALUE'],
      [() => a.links.add({ kind: 'bridge', name: 'a b' }), 'ERR_INVALID_ARG_VALUE'],
      [() => a.links.add({ kind: 'odd' as 'bridge', name: 'n0' }), 'EOPNOTSUPP RTM_NEWLINK "Unknown device type"'],
      [() => a.links.set({ name: 'none', up: true }), 'ENODEV RTM_NEWLINK'],
      [() => a.links.set({ name: 'br0', mtu: 10 }), 'EINVAL RTM_NEWLINK "mtu less than device minimum"'],
      [() => a.links.set({ name: 'br0', mtu: 70_000 }), 'EINVAL RTM_NEWLINK "mtu greater than device maximum"'],
      [() => a.links.set({ name: 'br0', mac: '01:00:00:00:00:01' }), 'EADDRNOTAVAIL RTM_NEWLINK'],
      [() => a.links.set({ name: 'br0', master: 'none' }), 'ENODEV RTM_GETLINK'],
      [
        () => a.links.set({ name: 'br0', alias: 'a'.repeat(256) }),
        'ERANGE RTM_NEWLINK "Attribute failed policy validation"',
      ],
      [() => a.links.delete({ name: 'none' }), 'ENODEV RTM_DELLINK'],
      [() => a.links.delete({ name: 'lo' }), 'EOPNOTSUPP RTM_DELLINK'],
      [() => a.links.add({ ...vxlan, name: 'vxlan1' }), 'ok'],
      [
        () => a.links.add({ ...vxlan, name: 'vxlan2' }),
        'EEXIST RTM_NEWLINK "A VXLAN device with the specified VNI already exists"',
      ],
      [() => a.links.add({ ...vxlan, name: 'vxlan2', port: 4790 }), 'ok'],
      [() => a.links.add({ ...vxlan, name: 'vxlan3', local: 'fd00::1' }), 'ok'],
      [
        () => a.links.add({ kind: 'vxlan', name: 'vxlan4' }),
        'EINVAL RTM_NEWLINK "Required attributes not provided to perform the operation"',
      ],
      [
        () => a.links.add({ kind: 'vxlan', name: 'vxlan4', vni: 1 << 24 }),
        'ERANGE RTM_NEWLINK "VXLAN ID must be lower than 16777216"',
      ],
      [() => a.links.set({ name: 'vxlan2', master: 'vxlan1' }), 'EOPNOTSUPP RTM_NEWLINK'],
      [() => a.links.set({ name: 'vxlan1', master: 'br0' }), 'ok'],
      // Made there, but linked to here: here the number is taken, there it is not.
      [() => a.links.add({ ...vxlan, vni: 9, name: 'vxlan9', netns: there }), 'ok'],
      [
        () => a.links.add({ ...vxlan, vni: 9, name: 'other' }),
        'EEXIST RTM_NEWLINK "A VXLAN device with the specified VNI already exists"',
      ],
      [() => b.links.add({ ...vxlan, vni: 9, name: 'other' }), 'ok'],
      [() => a.links.add({ kind: 'veth', name: 'v0', peer: { name: 'eth0', netns: there } }), 'ok'],
      [() => a.links.add({ kind: 'veth', name: 'v1', peer: { name: 'eth0', netns: there } }), 'EEXIST RTM_NEWLINK'],
      [() => a.links.add({ kind: 'veth', name: 'v0', peer: { name: 'eth1', netns: there } }), 'EEXIST RTM_NEWLINK'],
      [() => a.links.add({ kind: 'veth', name: 'v2' }), 'ok'],
      [() => a.links.list({ name: 'none' }), 'ok'],
      [() => a.links.list({ master: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.setNeighborQueue('none', 100), 'ENODEV RTM_GETLINK'],
      [() => a.setNeighborQueue('v0', 100), 'ok'],
    ]);
    expect(await stateOf(a)).toMatchObject({
      links: [
        { name: 'br0', mtu: 1400 },
        { name: 'lo' },
        { name: 'v0', kind: 'veth' },
        { name: 'v2', kind: 'veth' },
        { name: 'veth0', kind: 'veth' },
        { name: 'vxlan1', master: 'br0', vni: 42, port: 4789, learning: true },
        { name: 'vxlan2', port: 4790 },
        { name: 'vxlan3', local: 'fd00::1' },
      ].sort(byText),
    });
    // Named by each other, and not by themselves.
    expect([await a.nsid(there), await b.nsid(here), await a.nsid(here)]).toEqual([0, 0, -1]);
    await b.links.delete({ name: 'eth0' });
    expect(await a.links.list({ name: 'v0' })).toEqual([]);
  });

  test('links: up, running, and what goes with them', async () => {
    const [here, there] = [await stage().netns(), await stage().netns()];
    const [a, b] = [await openRtnl(here, stage()), await openRtnl(there, stage())];
    const look = async (rtnl: Rtnl, name: string): Promise<object> =>
      pick((await rtnl.links.list({ name }))[0] ?? {}, 'up', 'running', 'operstate', 'master');
    await a.links.add({ kind: 'bridge', name: 'br0', up: true });
    await a.links.add({ kind: 'veth', name: 'v0', master: 'br0', up: true, peer: { name: 'eth0', netns: there } });
    expect(await look(a, 'v0')).toMatchObject({ up: true, running: false, master: 'br0' });
    await b.links.set({ name: 'eth0', up: true });
    await until(async () => (await a.links.list({ name: 'v0' }))[0]?.operstate === 'up', 'the carrier');
    expect(await look(b, 'eth0')).toEqual({ up: true, running: true, operstate: 'up' });
    await until(async () => (await a.links.list({ name: 'br0' }))[0]?.operstate === 'up', "the bridge's carrier");
    await a.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 7, port: 4789, up: true });
    expect(await look(a, 'vxlan1')).toEqual({ up: true, running: true, operstate: 'unknown' });
    await a.addresses.add({ link: 'br0', address: '192.168.0.1/24' });
    await a.links.delete({ name: 'br0' });
    expect(await look(a, 'v0')).toEqual({ up: true, running: true, operstate: 'up' });
    expect((await stateOf(a)).addresses).toEqual([
      { link: 'lo', address: '127.0.0.1/8', family: 'inet', scope: 'host', label: 'lo' },
      { link: 'lo', address: '::1/128', family: 'inet6', scope: 'host' },
    ]);
    // A namespace takes the other ends along; here nothing else holds it.
    await b.close();
    await stage().remove(there);
    await until(async () => (await a.links.list({ name: 'v0' })).length === 0, 'the end of the veth');
  });

  test('endpoints: who is attached and detached is told, by whatever handle or process', async () => {
    const [host] = await stage().hosts();
    const [one, two, three] = [await stage().netns(), await stage().netns(), await stage().netns()];
    const overlay = await Overlay.create({ name: stage().name(), vni: 77, host, ...on() });
    onCleanup(() => overlay.close());
    await overlay.attach(`netns:${one}`, { address: '192.168.0.1/24' });
    const told: string[] = [];
    const events = overlay.endpointEvents();
    const reading = (async () => {
      for await (const event of events) {
        if (event.kind === 'endpoints') told.push(`there: ${event.endpoints.map(({ ip }) => ip)}`);
        else if (event.kind !== 'overflow') told.push(`${event.kind} ${event.endpoint.container} ${event.endpoint.ip}`);
      }
    })();
    await until(() => told.length === 1, 'the snapshot');
    await using other = await Overlay.open(overlay.name, on());
    await other.attach(`netns:${two}`, { address: '192.168.0.2/24' });
    await until(
      () => told.length === 2,
      () => `the second, after ${told}`,
    );
    await other.detach({ ip: '192.168.0.1' });
    await until(
      () => told.length === 3,
      () => `the first going, after ${told}`,
    );
    await other.attach(`netns:${three}`, { address: '192.168.0.3/24' });
    await until(
      () => told.length === 4,
      () => `the third, after ${told}`,
    );
    // A container ends.
    await stage().remove(three);
    await until(
      () => told.length === 5,
      () => `the third going, after ${told}`,
    );
    // One that fails half-way was never attached.
    const refused = other.attach(`netns:${one}`, { address: '192.168.0.5/24', mac: '02:42:c0:a8:00:02' });
    await expect(refused).rejects.toMatchObject({ code: 'EEXIST' });
    await overlay.delete();
    await reading;
    expect(told).toEqual([
      'there: 192.168.0.1',
      `attached netns:${two} 192.168.0.2`,
      `detached netns:${one} 192.168.0.1`,
      `attached netns:${three} 192.168.0.3`,
      `detached netns:${three} 192.168.0.3`,
      `detached netns:${two} 192.168.0.2`,
    ]);
  });

  test('endpoints: a consumer that reads slowly is told of the loss, and then of all there are', async () => {
    const [host] = await stage().hosts();
    const container = await stage().netns();
    const overlay = await Overlay.create({ name: stage().name(), vni: 77, host, ...on() });
    onCleanup(() => overlay.delete());
    const events = overlay.endpointEvents({ maxQueue: 2 });
    onCleanup(async () => void (await events.return?.()));
    expect((await events.next()).value).toMatchObject({ kind: 'endpoints', endpoints: [] });
    for (let turn = 0; turn < 3; turn++) {
      await overlay.attach(`netns:${container}`, { address: '192.168.0.2/24' });
      await until(() => events.dropped >= 2 * turn - 1, 'that it was told');
      await overlay.detach(`netns:${container}`);
    }
    await overlay.attach(`netns:${container}`, { address: '192.168.0.3/24' });
    await until(
      () => events.dropped >= 5,
      () => `five losses, not ${events.dropped}`,
    );
    const kinds = [];
    for (let at = 0; at < 3; at++) kinds.push((await events.next()).value?.kind);
    expect(kinds).toEqual(['attached', 'detached', 'overflow']);
    expect((await events.next()).value).toMatchObject({ kind: 'endpoints', endpoints: [{ ip: '192.168.0.3' }] });
  });

  test('links: renamed, and a veth moved into another namespace', async () => {
    const [here, there] = [await stage().netns(), await stage().netns()];
    const [a, b] = [await openRtnl(here, stage()), await openRtnl(there, stage())];
    await a.links.add({ kind: 'bridge', name: 'br0', up: true });
    await a.links.add({ kind: 'veth', name: 'v0', up: true, peer: { name: 'w0' } });
    await a.links.set({ name: 'w0', alias: 'mine', up: true, master: 'br0' });
    await a.addresses.add({ link: 'w0', address: '192.168.7.1/24', label: 'w0' });
    await b.links.add({ kind: 'veth', name: 'w0', peer: { name: 'w1' } });
    await dialogue([
      [() => a.links.set({ name: 'w0', newName: 'br0' }), 'EEXIST RTM_NEWLINK'],
      [() => a.links.set({ name: 'none', newName: 'w9' }), 'ENODEV RTM_GETLINK'],
      [() => a.links.set({ name: 'none', netns: there }), 'ENODEV RTM_NEWLINK'],
      [() => a.links.set({ name: 'w0', newName: 'w2' }), 'ok'],
      // It is there by then.
      [() => a.links.set({ name: 'w2', netns: there, newName: 'w0' }), 'EEXIST RTM_NEWLINK'],
      [() => a.links.set({ name: 'w2', netns: there, newName: 'eth0' }), 'ENODEV RTM_GETLINK'],
      [() => b.links.set({ name: 'w2', newName: 'eth0', mtu: 1400 }), 'ok'],
      [() => a.links.set({ name: 'v0', newName: 'w0' }), 'ok'],
      [
        () => a.links.set({ name: 'w0', netns: there }),
        'EEXIST RTM_NEWLINK "Unable to use \'w0\' for the new interface name in the target netns"',
      ],
    ]);
    expect((await stateOf(a)).addresses).not.toContainEqual(expect.objectContaining({ link: 'eth0' }));
    expect((await stateOf(b)).addresses).not.toContainEqual(expect.objectContaining({ link: 'eth0' }));
    const look = async (rtnl: Rtnl, name: string): Promise<object> =>
      pick((await rtnl.links.list({ name }))[0] ?? {}, 'up', 'running', 'master', 'mtu', 'alias', 'linkNetnsid');
    expect(await look(b, 'eth0')).toEqual({ up: false, running: false, mtu: 1400, alias: 'mine', linkNetnsid: 0 });
    expect(await look(a, 'w0')).toEqual({ up: true, running: false, mtu: 1500, linkNetnsid: 0 });
    const indexes = (await b.links.list()).map(({ index }) => index);
    expect(new Set(indexes).size).toBe(indexes.length);
    await b.links.delete({ name: 'eth0' });
    expect(await a.links.list({ name: 'w0' })).toEqual([]);
  });

  test("links: a bridge's MTU is its ports' until it is changed", async () => {
    const a = await openRtnl(await stage().netns(), stage());
    const mtu = async (): Promise<number | undefined> => (await a.links.list({ name: 'br0' }))[0]?.mtu;
    await a.links.add({ kind: 'bridge', name: 'br0' });
    await a.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42, port: 4789 });
    await a.links.set({ name: 'vxlan1', mtu: 1400 });
    // What it has already is no change.
    await a.links.set({ name: 'br0', mtu: 1500 });
    await a.links.set({ name: 'vxlan1', master: 'br0' });
    expect(await mtu()).toBe(1400);
    await a.links.set({ name: 'vxlan1', master: null });
    expect(await mtu()).toBe(1500);
    await a.links.set({ name: 'br0', mtu: 1300 });
    await a.links.set({ name: 'vxlan1', master: 'br0' });
    expect(await mtu()).toBe(1300);
  });

  test('addresses and routes', async () => {
    const a = await openRtnl(await stage().netns(), stage());
    await a.links.add({ kind: 'bridge', name: 'br0', up: true });
    await a.links.add({ kind: 'bridge', name: 'br1' });
    const address = { link: 'br0', address: '192.168.0.1/24' };
    const six = { link: 'br0', address: 'fd00::1/64', nodad: true };
    const route = { dst: '10.9.0.0/16', gateway: '192.168.0.7' };
    await dialogue([
      [() => a.addresses.add({ ...address, link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.addresses.add(address), 'ok'],
      [() => a.addresses.add(address), 'EEXIST RTM_NEWADDR "ipv4: Address already assigned"'],
      [() => a.addresses.replace(address), 'ok'],
      [() => a.addresses.add({ ...address, address: '192.168.0.1/16' }), 'ok'],
      [() => a.addresses.delete({ ...address, address: '192.168.0.1/16' }), 'ok'],
      [
        () => a.addresses.delete({ ...address, address: '192.168.9.1/24' }),
        'EADDRNOTAVAIL RTM_DELADDR "ipv4: Address not found"',
      ],
      [() => a.addresses.add(six), 'ok'],
      [() => a.addresses.add(six), 'EEXIST RTM_NEWADDR "ipv6: address already assigned"'],
      [
        () => a.addresses.delete({ ...six, address: 'fd00::9/64' }),
        'EADDRNOTAVAIL RTM_DELADDR "ipv6: address not found"',
      ],
      [() => a.addresses.list({ link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.routes.add(route), 'ok'],
      [() => a.routes.add(route), 'EEXIST RTM_NEWROUTE'],
      [() => a.routes.add({ ...route, gateway: '192.168.0.8' }), 'EEXIST RTM_NEWROUTE'],
      [() => a.routes.add({ ...route, gateway: '192.168.0.8', metric: 5 }), 'ok'],
      [() => a.routes.replace({ ...route, gateway: '192.168.0.9' }), 'ok'],
      [() => a.routes.add({ dst: 'default', gateway: '192.168.0.7' }), 'ok'],
      [
        () => a.routes.add({ dst: '10.8.0.0/16', gateway: '172.16.0.1' }),
        'ENETUNREACH RTM_NEWROUTE "Nexthop has invalid gateway"',
      ],
      [() => a.routes.add({ dst: '10.8.0.0/16', link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.routes.add({ dst: '10.8.0.0/16' }), 'ENODEV RTM_NEWROUTE'],
      [() => a.routes.add({ dst: '10.8.0.0/16', link: 'br1' }), 'ENETDOWN RTM_NEWROUTE "Device for nexthop is not up"'],
      [
        () => a.routes.add({ dst: '10.8.0.1/16', link: 'br0' }),
        'EINVAL RTM_NEWROUTE "Invalid prefix for given prefix length"',
      ],
      [() => a.routes.add({ dst: '10.7.0.0/16', link: 'br0' }), 'ok'],
      [() => a.routes.delete({ dst: '10.7.0.0/16' }), 'ok'],
      [() => a.routes.delete({ dst: '10.7.0.0/16' }), 'ESRCH RTM_DELROUTE'],
    ]);
    const { addresses, routes } = await stateOf(a);
    expect(addresses?.slice(0, 2)).toEqual([
      { link: 'br0', address: '192.168.0.1/24', family: 'inet', scope: 'global', label: 'br0' },
      { link: 'br0', address: 'fd00::1/64', family: 'inet6', scope: 'global' },
    ]);
    const four = { family: 'inet', link: 'br0' };
    expect(routes).toEqual(
      [
        { dst: '10.9.0.0/16', ...four, gateway: '192.168.0.9', scope: 'global', protocol: 'boot' },
        { dst: '10.9.0.0/16', ...four, gateway: '192.168.0.8', metric: 5, scope: 'global', protocol: 'boot' },
        { dst: '192.168.0.0/24', ...four, source: '192.168.0.1', scope: 'link', protocol: 'kernel' },
        { dst: 'default', ...four, gateway: '192.168.0.7', scope: 'global', protocol: 'boot' },
        { dst: 'fd00::/64', family: 'inet6', link: 'br0', metric: 256, scope: 'global', protocol: 'kernel' },
      ].sort(byText),
    );
    await a.links.set({ name: 'br0', up: false });
    expect((await stateOf(a)).routes).toEqual([]);
  });

  test('neighbours and FDB entries', async () => {
    const a = await openRtnl(await stage().netns(), stage());
    await a.links.add({ kind: 'bridge', name: 'br0', up: true });
    await a.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42, port: 4789, master: 'br0', up: true });
    await a.links.add({ kind: 'vxlan', name: 'free', vni: 43, port: 4789 });
    await a.links.add({ kind: 'veth', name: 'v0', master: 'br0' });
    const zero = { link: 'vxlan1', mac: ZERO, state: 'permanent' };
    const { mac: _mac, ...noMac } = NEIGHBOR;
    await dialogue([
      [() => a.neighbors.add({ ...NEIGHBOR, link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.neighbors.add(NEIGHBOR), 'ok'],
      [() => a.neighbors.add(NEIGHBOR), 'EEXIST RTM_NEWNEIGH'],
      [() => a.neighbors.replace({ ...NEIGHBOR, mac: '02:42:c0:a8:00:04', state: 'noarp' }), 'ok'],
      [async () => a.neighbors.append?.({ ...NEIGHBOR, mac: '02:42:c0:a8:00:05' }), 'ok'],
      [() => a.neighbors.add({ ...noMac, ip: '192.168.0.9' }), 'EINVAL RTM_NEWNEIGH "No link layer address given"'],
      [() => a.neighbors.add({ ...NEIGHBOR, ip: 'fd00::3' }), 'ok'],
      [() => a.neighbors.delete({ link: 'vxlan1', ip: '192.168.0.77' }), 'ENOENT RTM_DELNEIGH'],
      [() => a.neighbors.list({ link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.fdb.add({ ...FDB, link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.fdb.add(FDB), 'ok'],
      [() => a.fdb.add(FDB), 'EEXIST RTM_NEWNEIGH'],
      [() => a.fdb.add({ ...FDB, dst: '10.0.0.12' }), 'EEXIST RTM_NEWNEIGH'],
      [async () => a.fdb.append?.({ ...FDB, dst: '10.0.0.12' }), 'ok'],
      [() => a.fdb.replace({ ...FDB, dst: '10.0.0.13' }), 'ok'],
      [() => a.fdb.add({ link: 'vxlan1', mac: '02:42:c0:a8:00:09', state: 'dynamic' }), 'EINVAL RTM_NEWNEIGH'],
      [() => a.fdb.add({ ...FDB, mac: '02:42:c0:a8:00:09', dst: 'fd00::1' }), 'EAFNOSUPPORT RTM_NEWNEIGH'],
      [async () => a.fdb.append?.({ ...zero, dst: '10.0.0.14' }), 'ok'],
      [async () => a.fdb.append?.({ ...zero, dst: '10.0.0.15' }), 'ok'],
      [async () => a.fdb.append?.({ ...zero, dst: '10.0.0.15' }), 'ok'],
      [
        () => a.fdb.replace({ ...zero, dst: '10.0.0.16' }),
        'EOPNOTSUPP RTM_NEWNEIGH "Cannot replace non-unicast fdb entries"',
      ],
      [() => a.fdb.add({ ...zero, dst: '10.0.0.17' }), 'EEXIST RTM_NEWNEIGH'],
      [() => a.fdb.delete({ ...zero, dst: '10.0.0.14' }), 'ok'],
      [() => a.fdb.delete({ ...zero, dst: '10.0.0.99' }), 'ok'],
      [() => a.fdb.add({ ...FDB, mac: '02:42:c0:a8:00:10', state: 'stale' }), 'EINVAL RTM_NEWNEIGH'],
      [() => a.fdb.add({ ...FDB, mac: '02:42:c0:a8:00:10', state: 'static', port: 4790, vni: 7 }), 'ok'],
      [() => a.fdb.delete({ link: 'vxlan1', mac: '02:42:c0:a8:00:77' }), 'ENOENT RTM_DELNEIGH'],
      [() => a.fdb.add({ link: 'v0', mac: '02:42:c0:a8:00:44', state: 'permanent' }), 'ok'],
      [() => a.fdb.add({ link: 'v0', mac: '02:42:c0:a8:00:44', state: 'permanent' }), 'EEXIST RTM_NEWNEIGH'],
      [() => a.fdb.add({ link: 'v0', mac: '02:42:c0:a8:00:45', state: 'dynamic' }), 'EINVAL RTM_NEWNEIGH'],
      [() => a.fdb.add({ link: 'v0', mac: '02:42:c0:a8:00:46', state: 'static', flags: ['master'] }), 'ok'],
      [
        () => a.fdb.add({ link: 'v0', mac: '02:42:c0:a8:00:46', state: 'static', flags: ['master'] }),
        'EEXIST RTM_NEWNEIGH',
      ],
      [
        () => a.fdb.add({ link: 'free', mac: '02:42:c0:a8:00:46', state: 'static', flags: ['master'] }),
        'EOPNOTSUPP RTM_NEWNEIGH',
      ],
      [() => a.fdb.delete({ link: 'v0', mac: '02:42:c0:a8:00:99', flags: ['master'] }), 'ENOENT RTM_DELNEIGH'],
    ]);
    const before = await stateOf(a);
    expect(before.neighbors).toEqual([
      { link: 'vxlan1', ip: '192.168.0.3', mac: '02:42:c0:a8:00:04', state: 'noarp' },
      // Refused, and there all the same.
      { link: 'vxlan1', ip: '192.168.0.9', state: 'none' },
      { link: 'vxlan1', ip: 'fd00::3', mac: '02:42:c0:a8:00:03', state: 'permanent' },
    ]);
    expect(before.fdb).toEqual(
      [
        { link: 'v0', mac: '02:42:c0:a8:00:44', state: 'permanent', flags: ['self'] },
        { link: 'v0', mac: '02:42:c0:a8:00:46', state: 'static', flags: [], master: 'br0' },
        { link: 'vxlan1', mac: ZERO, dst: '10.0.0.15', state: 'permanent', flags: ['self'] },
        { link: 'vxlan1', mac: FDB.mac, dst: '10.0.0.13', state: 'dynamic', flags: ['self'] },
        {
          link: 'vxlan1',
          mac: '02:42:c0:a8:00:10',
          dst: '10.0.0.11',
          vni: 7,
          port: 4790,
          state: 'static',
          flags: ['self'],
        },
      ].sort(byText),
    );
    // Down: neighbours go, and entries that could age.
    await a.links.set({ name: 'vxlan1', up: false });
    const after = await stateOf(a);
    expect(after.neighbors).toEqual([]);
    expect(after.fdb).toEqual(before.fdb?.filter((entry) => (entry as { state: string }).state !== 'dynamic'));
  });

  test('the route to an address', async () => {
    const a = await openRtnl(await stage().netns(), stage());
    for (const [name, ...addresses] of [
      ['br0', '10.1.0.1/24', 'fd00:1::1/64'],
      ['br1', '10.2.0.1/24', '10.2.0.2/32'],
    ] as const) {
      await a.links.add({ kind: 'bridge', name, up: true });
      for (const address of addresses) await a.addresses.add({ link: name, address, nodad: address.includes(':') });
    }
    await a.links.add({ kind: 'bridge', name: 'down' });
    await a.routes.add({ dst: 'default', gateway: '10.1.0.254', metrics: { mtu: 1400 } });
    await a.routes.add({ dst: 'default', gateway: '10.2.0.254', metric: 5 });
    await a.routes.add({ dst: '10.9.0.0/16', link: 'br1', source: '10.2.0.2' });
    await a.routes.add({ dst: 'fd09::/32', gateway: 'fd00:1::9' });
    // The kernel settles an IPv6 address in a work of its own.
    await until(async () => (await a.routes.get({ dst: 'fd00:1::1' })).type === 'local', 'an address of its own');
    const indexes = new Map((await a.links.list()).map(({ name, index }) => [name, index]));
    const answers: Record<string, unknown>[] = [];
    for (const query of [
      { dst: '192.0.2.1' },
      { dst: '192.0.2.1', match: true },
      { dst: '192.0.2.1', link: 'br1', mark: 7, uid: 0 },
      { dst: '10.1.0.7' },
      { dst: '10.1.0.7', match: true },
      { dst: '10.1.0.7', source: '10.2.0.1' },
      { dst: '10.1.0.7', link: 'br1' },
      { dst: '10.9.1.1' },
      { dst: '10.2.0.2' },
      { dst: '10.2.0.2', match: true },
      { dst: 'fd09::1' },
      { dst: 'fd00:1::7' },
      { dst: 'fd00:1::1' },
      { dst: 'fd00:1::1', match: true },
    ]) {
      const { linkIndex, ...answer } = await a.routes.get(query);
      expect(linkIndex).toBe(indexes.get(answer.link ?? ''));
      const sorted = Object.entries(answer).sort(([x], [y]) => (x < y ? -1 : 1));
      answers.push(Object.fromEntries(sorted));
    }
    const v4 = { family: 'inet', protocol: 'unspec', scope: 'global', table: 254, uid: 0, flags: ['cloned'] };
    const v6 = { family: 'inet6', metric: 1024, protocol: 'boot', scope: 'global', table: 254, preference: 'medium' };
    const own = { type: 'local', table: 255, protocol: 'kernel' };
    const main = { family: 'inet', type: 'unicast', table: 254 };
    const mtu = { metrics: { mtu: 1400 } };
    const doc = { ...v4, dst: '192.0.2.1/32', type: 'unicast' };
    expect(answers).toEqual([
      { ...doc, gateway: '10.1.0.254', link: 'br0', source: '10.1.0.1', ...mtu },
      { ...main, dst: 'default', gateway: '10.1.0.254', link: 'br0', scope: 'global', protocol: 'boot', ...mtu },
      { ...doc, gateway: '10.2.0.254', link: 'br1', source: '10.2.0.1', mark: 7 },
      { ...v4, dst: '10.1.0.7/32', type: 'unicast', link: 'br0', source: '10.1.0.1' },
      { ...main, dst: '10.1.0.0/24', link: 'br0', source: '10.1.0.1', scope: 'link', protocol: 'kernel' },
      { ...v4, dst: '10.1.0.7/32', type: 'unicast', link: 'br0', source: '10.2.0.1' },
      { ...v4, dst: '10.1.0.7/32', type: 'unicast', link: 'br1', source: '10.2.0.1', gateway: '10.2.0.254' },
      { ...v4, dst: '10.9.1.1/32', type: 'unicast', link: 'br1', source: '10.2.0.2' },
      { ...v4, dst: '10.2.0.2/32', type: 'local', link: 'lo', source: '10.2.0.2', flags: ['cloned', 'local'] },
      // Local and main are one until there is a rule.
      { ...own, dst: '10.2.0.2/32', family: 'inet', link: 'br1', source: '10.2.0.2', table: 254, scope: 'host' },
      { ...v6, dst: 'fd09::1/128', type: 'unicast', gateway: 'fd00:1::9', link: 'br0', source: 'fd00:1::1' },
      {
        ...v6,
        dst: 'fd00:1::7/128',
        type: 'unicast',
        link: 'br0',
        source: 'fd00:1::1',
        metric: 256,
        protocol: 'kernel',
      },
      { ...v6, ...own, dst: 'fd00:1::1/128', link: 'lo', source: 'fd00:1::1', metric: 0 },
      { ...v6, ...own, dst: 'fd00:1::1/128', link: 'br0', metric: 0 },
    ]);
    await dialogue([
      [() => a.routes.get({ dst: '10.1.0.7', source: '10.1.0.8' }), 'ENETUNREACH RTM_GETROUTE'],
      [() => a.routes.get({ dst: '10.1.0.7', link: 'none' }), 'ENODEV RTM_GETLINK'],
      [() => a.routes.get({ dst: 'fd08::1' }), 'ENETUNREACH RTM_GETROUTE'],
      [() => a.routes.get({ dst: 'fd08::1', match: true }), 'ENETUNREACH RTM_GETROUTE'],
    ]);
  });

  test('FDB entries of a plain device: each address once, all zeros too', async () => {
    const a = await openRtnl(await stage().netns(), stage());
    await a.links.add({ kind: 'veth', name: 'v0', peer: { name: 'v1' } });
    const zero = { link: 'v0', mac: ZERO, state: 'permanent' };
    const other = { ...zero, mac: '02:42:c0:a8:00:03' };
    await dialogue([
      [() => a.fdb.add(zero), 'ok'],
      [() => a.fdb.add(zero), 'EEXIST RTM_NEWNEIGH'],
      [async () => a.fdb.append?.(zero), 'ok'],
      [async () => a.fdb.append?.({ ...zero, dst: '10.0.0.11' }), 'ok'],
      [() => a.fdb.replace(zero), 'ok'],
      [async () => a.fdb.append?.(other), 'ok'],
      [async () => a.fdb.append?.(other), 'ok'],
    ]);
    const listed = (mac: string): object => ({ link: 'v0', mac, state: 'permanent', flags: ['self'] });
    expect((await stateOf(a)).fdb).toEqual([listed(ZERO), listed(other.mac)]);
    await dialogue([
      [() => a.fdb.delete(zero), 'ok'],
      [() => a.fdb.delete(zero), 'ENOENT RTM_DELNEIGH'],
    ]);
  });

  test('news', async () => {
    const [here, there] = [await stage().netns(), await stage().netns()];
    const a = await openRtnl(here, stage());
    await a.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42, port: 4789, up: true });
    const seen: Record<string, unknown>[] = [];
    const monitor = a.monitor();
    onCleanup(() => monitor.return?.());
    void (async () => {
      for await (const event of monitor) {
        // vxlan1's own one is settled a while after the device is up.
        if (event.kind === 'address' && event.address.startsWith('fe80:')) continue;
        seen.push(event as unknown as Record<string, unknown>);
      }
    })();
    await a.links.add({ kind: 'veth', name: 'v0', peer: { name: 'eth0', netns: there } });
    await a.neighbors.add(NEIGHBOR);
    await a.fdb.add(FDB);
    await a.neighbors.delete(NEIGHBOR);
    await a.fdb.delete({ link: 'vxlan1', mac: FDB.mac });
    await a.addresses.add({ link: 'v0', address: '10.3.0.1/24' });
    await a.links.delete({ name: 'v0' });
    await until(() => seen.some((event) => event.kind === 'link' && event.action === 'delete'), 'the deletion');
    // The first of each kind: how often the kernel repeats itself does not matter.
    const news = new Map(
      seen
        .reverse()
        .map((event) => [
          `${event.kind} ${event.action}`,
          pick(event, 'link', 'ip', 'mac', 'dst', 'state', 'linkKind', 'address'),
        ]),
    );
    const fdb = { link: 'vxlan1', mac: FDB.mac, dst: '10.0.0.11', state: 'dynamic' };
    expect(news.get('neighbor new')).toEqual(NEIGHBOR);
    expect(news.get('neighbor delete')).toMatchObject({ link: 'vxlan1', ip: NEIGHBOR.ip });
    expect(news.get('fdb new')).toEqual(fdb);
    expect(news.get('fdb delete')).toEqual(fdb);
    expect(news.get('address new')).toEqual({ link: 'v0', address: '10.3.0.1/24' });
    expect(news.get('address delete')).toEqual({ link: 'v0', address: '10.3.0.1/24' });
    expect(news.get('link new')).toMatchObject({ linkKind: 'veth' });
    expect(news.get('link delete')).toMatchObject({ linkKind: 'veth' });
  });

  test('a mirror', async () => {
    const [here, there] = [await stage().netns(), await stage().netns()];
    const rtnl = await openRtnl(here, stage());
    await rtnl.links.add({ kind: 'veth', name: 'v0', peer: { name: 'eth0', netns: there } });
    await rtnl.addresses.add({ link: 'v0', address: '10.3.0.1/24' });
    await rtnl.neighbors.add({ link: 'v0', ip: '10.3.0.2', mac: '02:42:0a:03:00:02', state: 'permanent' });
    const rows = new Map<string, string>();
    const of = (kind: 'address' | 'neighbor', row: Address | Neighbor): [string, string] => [
      `${kind} ${identityOf(kind, row)}`,
      'ip' in row ? `${row.link} ${row.ip} ${row.mac}` : `${row.link} ${row.address}`,
    ];
    const monitor = rtnl.monitor({ groups: ['address', 'neigh'], resync: true });
    onCleanup(() => monitor.return?.());
    void (async () => {
      for await (const event of monitor) {
        if (event.kind === 'snapshot') {
          rows.clear();
          for (const row of event.addresses ?? []) rows.set(...of('address', row));
          for (const row of event.neighbors ?? []) rows.set(...of('neighbor', row));
        } else if (event.kind === 'address' || event.kind === 'neighbor') {
          const [identity, text] = of(event.kind, event);
          if (event.action === 'delete') rows.delete(identity);
          else rows.set(identity, text);
        }
      }
    })();
    const has = async (...texts: string[]): Promise<void> => {
      await until(() => {
        const own = [...rows.values()].filter((text) => /^v0 10\./.test(text)).sort();
        return JSON.stringify(own) === JSON.stringify(texts);
      }, texts.join(', '));
    };
    await has('v0 10.3.0.1/24', 'v0 10.3.0.2 02:42:0a:03:00:02');
    await rtnl.addresses.add({ link: 'v0', address: '10.3.0.9/24' });
    await rtnl.neighbors.replace({ link: 'v0', ip: '10.3.0.2', mac: '02:42:0a:03:00:03', state: 'permanent' });
    await has('v0 10.3.0.1/24', 'v0 10.3.0.2 02:42:0a:03:00:03', 'v0 10.3.0.9/24');
    await rtnl.links.delete({ name: 'v0' });
    await has();
  });

  test('a wrong value in a batch of links leaves all of it unsent, also where links are replaced', async () => {
    const rtnl = await openRtnl(await stage().netns(), stage());
    for (const op of ['add', 'replace'] as const) {
      for (const wrong of [{ mtu: '1500' }, { mac: 'zz' }, { up: 1 }, { mcastSnooping: 'yes' }]) {
        const last = { op, item: { kind: 'bridge', name: 'br2', ...wrong } as never };
        const operations = [{ op, item: { kind: 'bridge', name: 'br1' } }, last] as const;
        const error = (await rtnl.links.batch(operations).catch((thrown: unknown) => thrown)) as Error;
        expect(error.message).toMatch(new RegExp(`^operations\\[1\\]: ${Object.keys(wrong)[0]}\\b`));
      }
    }
    expect((await rtnl.links.list({ kind: 'bridge' })).length).toBe(0);
  });

  test('the rules that a namespace begins with', async () => {
    const rtnl = await openRtnl(await stage().netns(), stage());
    const rules = [...(await rtnl.rules.list({ family: 'inet' })), ...(await rtnl.rules.list({ family: 'inet6' }))];
    expect(
      rules.map(({ family, priority, table, action, protocol }) => [family, priority, table, action, protocol]),
    ).toEqual([
      ['inet', 0, 255, 'table', 'kernel'],
      ['inet', 32_766, 254, 'table', 'kernel'],
      ['inet', 32_767, 253, 'table', 'kernel'],
      ['inet6', 0, 255, 'table', 'kernel'],
      ['inet6', 32_766, 254, 'table', 'kernel'],
    ]);
    const monitor = rtnl.monitor({ groups: ['rule', 'nexthop'], resync: true });
    onCleanup(() => monitor.return?.());
    const { value } = await monitor.next();
    expect(value).toMatchObject({ kind: 'snapshot', nexthops: [] });
    expect(value?.kind === 'snapshot' && value.rules).toEqual(await rtnl.rules.list());
  });

  test('namespaces', async () => {
    const name = await stage().netns();
    const [host] = await stage().hosts();
    const rtnl = await openRtnl(name, stage());
    await dialogue([
      [() => Rtnl.open({ netns: 'no-such-name', ...on() }), 'ENOENT'],
      [() => Rtnl.open({ netns: '/no/such/path', ...on() }), 'ENOENT'],
      [() => Rtnl.open({ netns: { pid: 4_194_303 }, ...on() }), 'ESRCH'],
      [() => Overlay.create({ name, vni: 1, host, ...on() }), 'EEXIST'],
      [() => Overlay.open('no-such-name', on()), 'ENOENT'],
      [() => Overlay.open(name, on()), 'EINVAL'],
      [() => Overlay.create({ name: stage().name(), vni: 1, host, vtep: '10.0.0.99', ...on() }), 'EADDRNOTAVAIL'],
    ]);
    await stage().remove(name);
    expect(await said(() => Rtnl.open({ netns: name, ...on() }))).toBe('ENOENT');
    // A socket keeps its namespace, without a name.
    expect(await rtnl.links.list()).toMatchObject([{ name: 'lo' }]);
  });

  test('overlays: create, attach, detach, delete, and what is refused', async () => {
    const [host, other] = await stage().hosts();
    const [name, second] = [stage().name(), stage().name()];
    const [web, db] = [await stage().netns(), await stage().netns()];
    const atHost = await openRtnl(host, stage());
    const untouched = await stateOf(atHost);
    const overlay = await Overlay.create({ name, vni: 42, address: ['192.168.0.1/24', 'fd00::1/64'], host, ...on() });
    onCleanup(() => overlay.close());
    expect(pick(overlay, 'name', 'vni', 'vtep', 'port', 'mtu')).toEqual({
      name,
      vni: 42,
      vtep: '10.0.0.10',
      port: 4789,
      mtu: 1450,
    });
    await dialogue([
      [() => Overlay.create({ name, vni: 43, host, ...on() }), 'EEXIST'],
      [
        () => Overlay.create({ name: second, vni: 42, host, ...on() }),
        'EEXIST RTM_NEWLINK "A VXLAN device with the specified VNI already exists"',
      ],
      [() => Overlay.open(second, on()), 'ENOENT'],
      [() => overlay.attach(`netns:${web}`, { address: ['192.168.0.2/24', 'fd00::2/64'] }), 'ok'],
      [() => overlay.attach(`netns:${web}`, { address: '192.168.0.9/24' }), 'EEXIST'],
      [() => overlay.attach(`netns:${db}`, { address: '192.168.0.2/24' }), 'EEXIST'],
      [() => overlay.attach(`netns:${db}`, { address: '192.168.0.3/24', mac: '02:42:c0:a8:00:02' }), 'EEXIST'],
      [() => overlay.attach('netns:no-such-name', { address: '192.168.0.3/24' }), 'ENOENT'],
      [() => overlay.attach(`netns:${name}`, { address: '192.168.0.3/24' }), 'EINVAL'],
      [() => overlay.detach(`netns:${db}`), 'ENOENT'],
      [() => overlay.detach({ ip: '192.168.0.77' }), 'ENOENT'],
    ]);
    expect(await overlay.endpoints()).toEqual([
      {
        ip: '192.168.0.2',
        ips: ['192.168.0.2', 'fd00::2'],
        mac: '02:42:c0:a8:00:02',
        vtep: '10.0.0.10',
        container: `netns:${web}`,
        ifname: 'eth0',
        veth: 'ov0242c0a80002',
        addresses: ['192.168.0.2/24', 'fd00::2/64'],
      },
    ]);
    const inside = await openRtnl(web, stage());
    expect(await stateOf(inside)).toMatchObject({
      links: [
        { name: 'eth0', kind: 'veth', mtu: 1450, up: true },
        { name: 'lo', up: true },
      ],
      addresses: [
        { link: 'eth0', address: '192.168.0.2/24' },
        { link: 'eth0', address: 'fd00::2/64' },
        { link: 'lo' },
        { link: 'lo' },
      ],
    });
    expect(await overlay.host()).toBe(`/run/netns/${host}`);
    const again = await Overlay.open(name, on());
    onCleanup(() => again.close());
    expect(pick(again, 'vni', 'vtep', 'port', 'mtu')).toEqual({ vni: 42, vtep: '10.0.0.10', port: 4789, mtu: 1450 });
    expect((await Overlay.list(on())).find((each) => each.overlay === name)).toEqual({
      overlay: name,
      vni: 42,
      vtep: '10.0.0.10',
      port: 4789,
      mtu: 1450,
    });
    // The same network has a part on the other host.
    const part = await Overlay.create({ name: second, vni: 42, host: other, ...on() });
    onCleanup(() => part.close());
    expect(part.vtep).toBe('10.0.0.11');
    await overlay.detach(`netns:${web}`);
    expect((await inside.links.list()).map((link) => link.name)).toEqual(['lo']);
    await overlay.delete();
    await part.delete();
    expect(await said(() => Overlay.open(name, on()))).toBe('ENOENT');
    expect(await said(() => overlay.endpoints())).toBe('OVERNS_CLOSED');
    expect(await stateOf(atHost)).toEqual(untouched);
  });

  test('ensure: makes, opens the same, refuses another, completes what was left', async () => {
    const [host, other] = await stage().hosts();
    const name = stage().name();
    const wanted = { name, vni: 42, address: ['192.168.0.1/24', 'fd00::1/64'], host, ...on() };
    const overlay = await Overlay.ensure(wanted);
    onCleanup(() => overlay.close());
    const same = async (options: Parameters<typeof Overlay.ensure>[0]): Promise<string> => {
      await using found = await Overlay.ensure(options);
      return JSON.stringify(pick(found, 'name', 'vni', 'vtep', 'port', 'mtu'));
    };
    const shown = JSON.stringify(pick(overlay, 'name', 'vni', 'vtep', 'port', 'mtu'));
    expect(await same(wanted)).toBe(shown);
    expect(await same({ name, vni: 42, host, ...on() })).toBe(shown);
    expect(await same({ ...wanted, vtep: overlay.vtep, mtu: overlay.mtu, port: 4789 })).toBe(shown);
    for (const [more, difference] of [
      [{ vni: 43 }, 'vni 42 instead of 43'],
      [{ port: 4790 }, 'port 4789 instead of 4790'],
      [{ mtu: 1400 }, 'mtu 1450 instead of 1400'],
      [{ vtep: '10.0.0.99' }, 'vtep 10.0.0.10 instead of 10.0.0.99'],
      [{ address: '192.168.0.9/24' }, 'address 192.168.0.1/24 fd00::1/64 instead of 192.168.0.9/24'],
      [{ address: [] }, 'instead of none'],
      [{ host: other }, 'it belongs to another host'],
    ] as const) {
      const error = await Overlay.ensure({ ...wanted, ...more }).catch((thrown: Error) => thrown);
      expect(error).toMatchObject({ code: 'EEXIST', message: expect.stringContaining(difference) });
    }
    // A namespace of another's is not touched.
    const web = await stage().netns();
    const db = await stage().netns();
    await overlay.attach(`netns:${web}`, { address: '192.168.0.2/24' });
    expect(await said(() => Overlay.ensure({ name: web, vni: 44, host, ...on() }))).toBe('EEXIST');
    const rtnl = await openRtnl(db, stage());
    await rtnl.links.add({ kind: 'bridge', name: 'br0' });
    await rtnl.close();
    await (await Overlay.ensure({ name: db, vni: 44, host, address: '192.168.4.1/24', ...on() })).close();
    expect(await stateOf(await openRtnl(db, stage()))).toMatchObject({
      addresses: [{ address: '192.168.4.1/24' }, {}, {}],
    });
    // From many sides at once: one is made, and all have it.
    const busy = { name: stage().name(), vni: 45, host, address: '192.168.5.1/24', ...on() };
    const all = await Promise.all(Array.from({ length: 8 }, () => Overlay.ensure(busy)));
    onCleanup(() => Promise.all(all.map((each) => each.close())));
    expect((await Overlay.list(on())).filter((each) => each.overlay === busy.name)).toHaveLength(1);
    await all[0]?.delete();
    expect(await said(() => Overlay.open(busy.name, on()))).toBe('ENOENT');
  });

  test('an overlay without its vxlan1 is completed or deleted, and its containers stay or go', async () => {
    const [host] = await stage().hosts();
    const wanted = { name: stage().name(), vni: 42, address: '192.168.0.1/24', host, ...on() };
    const made = await Overlay.create(wanted);
    onCleanup(() => made.close());
    const web = await stage().netns();
    await made.attach(`netns:${web}`, { address: '192.168.0.2/24' });
    const rtnl = await openRtnl(wanted.name, stage());
    await rtnl.links.delete({ name: 'vxlan1' });
    expect(await said(() => Overlay.open(wanted.name, on()))).toBe('OVERNS_INCOMPLETE');
    const misfit = await Overlay.ensure({ ...wanted, mtu: 1400 }).catch((error: Error) => error.message);
    expect(misfit).toContain('its containers have mtu 1450 instead of 1400');
    const whole = await Overlay.ensure({ ...wanted, address: ['192.168.0.1/24', 'fd00::1/64'] });
    onCleanup(() => whole.close());
    expect(await whole.endpoints()).toHaveLength(1);
    expect(await stage().send(web, '192.168.0.1')).toBe(true);
    await rtnl.links.delete({ name: 'vxlan1' });
    await Overlay.delete(wanted.name, on());
    expect(await said(() => Overlay.open(wanted.name, on()))).toBe('ENOENT');
    expect(await said(() => made.delete())).toBe('ENOENT');
    const inside = await openRtnl(web, stage());
    expect((await inside.links.list()).map(({ name }) => name)).toEqual(['lo']);
    // What is none stays.
    for (const run of [Overlay.open, Overlay.delete]) expect(await said(() => run(web, on()))).toBe('EINVAL');
  });

  test('attach: addresses that br0 speaks against, gateways, routes', async () => {
    const [host] = await stage().hosts();
    const name = stage().name();
    const overlay = await Overlay.create({ name, vni: 42, address: ['192.168.0.1/24', 'fd00::1/64'], host, ...on() });
    onCleanup(() => overlay.close());
    const netns = await stage().netns();
    const web = `netns:${netns}`;
    const address = '192.168.0.2/24';
    const untouched = await stateOf(await openRtnl(name, stage()));
    await dialogue([
      [() => overlay.attach(web, { address: '192.168.0.1/24' }), 'EADDRNOTAVAIL'],
      [() => overlay.attach(web, { address: '192.168.0.0/12' }), 'EADDRNOTAVAIL'],
      [() => overlay.attach(web, { address: '192.168.0.255/16' }), 'EADDRNOTAVAIL'],
      [() => overlay.attach(web, { address: [address, '192.168.1.2/24'] }), 'EADDRNOTAVAIL'],
      [() => overlay.attach(web, { address: [address, 'fd01::2/64'] }), 'EADDRNOTAVAIL'],
      [() => overlay.attach(web, { address, gateway: '192.168.1.1' }), 'ERR_INVALID_ARG_VALUE'],
      [() => overlay.attach(web, { address, gateway: '192.168.0.2' }), 'ERR_INVALID_ARG_VALUE'],
      [() => overlay.attach(web, { address, gateway: 'fd00::1' }), 'ERR_INVALID_ARG_VALUE'],
      [() => overlay.attach(web, { address, gateway: ['192.168.0.1', '192.168.0.3'] }), 'ERR_INVALID_ARG_VALUE'],
      [() => overlay.attach(web, { address, routes: [{ dst: '10.8.0.1/16' }] }), 'ERR_INVALID_ARG_VALUE'],
      [
        () => overlay.attach(web, { address, routes: [{ dst: '10.8.0.0/16', via: '10.0.0.1' }] }),
        'ERR_INVALID_ARG_VALUE',
      ],
    ]);
    expect(await stateOf(await openRtnl(name, stage()))).toEqual(untouched);
    await overlay.attach(web, {
      address: [address, 'fd00::2/64'],
      gateway: ['fd00::1', '192.168.0.1'],
      routes: [{ dst: '10.8.0.0/16', via: '192.168.0.3' }, { dst: '10.9.0.0/16' }, { dst: 'fd09::/32' }],
    });
    const routes = async (): Promise<string[]> => {
      const { routes: all } = await stateOf(await openRtnl(netns, stage()));
      return (all as { dst: string; gateway?: string }[]).map(({ dst, gateway = '' }) => `${dst} ${gateway}`).sort();
    };
    const given = [
      '10.8.0.0/16 192.168.0.3',
      '10.9.0.0/16 192.168.0.1',
      '192.168.0.0/24 ',
      'default 192.168.0.1',
      'default fd00::1',
      'fd00::/64 ',
      'fd09::/32 fd00::1',
    ];
    expect(await routes()).toEqual(given);
    // A second overlay's interface cannot have the default route as well.
    const second = await Overlay.create({ name: stage().name(), vni: 43, address: '192.168.1.1/24', host, ...on() });
    onCleanup(() => second.close());
    await dialogue([
      [() => second.attach(web, { address: '192.168.1.2/24', ifname: 'eth1', gateway: '192.168.1.1' }), 'EEXIST'],
      [() => second.attach(web, { address: '192.168.1.2/24', ifname: 'eth1' }), 'ok'],
      [() => second.detach(web), 'ok'],
    ]);
    expect(await routes()).toEqual(given);
    // What is asked for in so many words is done.
    const other = `netns:${await stage().netns()}`;
    await overlay.attach(other, { address: ['10.9.9.9/8', 'fd01::2/64'], anyAddress: true });
  });

  test('attach: names that are made of addresses do not collide', async () => {
    const [host] = await stage().hosts();
    const overlay = await Overlay.create({ name: stage().name(), vni: 42, host, ...on() });
    onCleanup(() => overlay.close());
    // The last four bytes are Docker's and CNI's of one address. The others are a hash of IPv6 and an IPv4 alike.
    const macs: string[] = [];
    for (const [address, mac] of [
      ['192.168.0.5/24', '02:42:0a:00:00:05'],
      ['192.168.0.6/24', '0a:58:0a:00:00:05'],
      ['192.168.0.7/24', '0a:58:0b:00:00:05'],
      ['192.168.0.8/24', '02:42:c0:a8:00:09'],
      ['192.168.0.9/24', undefined],
    ] as const) {
      macs.push((await overlay.attach(`netns:${await stage().netns()}`, { address, mac })).mac);
    }
    expect(macs.slice(0, 4)).toEqual([
      '02:42:0a:00:00:05',
      '0a:58:0a:00:00:05',
      '0a:58:0b:00:00:05',
      '02:42:c0:a8:00:09',
    ]);
    expect(macs[4]).toMatch(/^02:42:/);
    expect(new Set(macs).size).toBe(5);
    const attached = await overlay.endpoints();
    expect(new Set(attached.map(({ veth }) => veth)).size).toBe(5);
    await overlay.detach({ ip: '192.168.0.9' });
    // The same hash for the same address.
    const again = await overlay.attach(`netns:${await stage().netns()}`, { address: '192.168.0.9/24' });
    expect(again.mac).toBe(macs[4]);
  });

  test('attach: one container several times', async () => {
    const [host] = await stage().hosts();
    const [overlay, second] = [
      await Overlay.create({ name: stage().name(), vni: 42, host, ...on() }),
      await Overlay.create({ name: stage().name(), vni: 43, host, ...on() }),
    ];
    onCleanup(
      () => overlay.close(),
      () => second.close(),
    );
    const web = `netns:${await stage().netns()}`;
    await dialogue([
      [() => overlay.attach(web, { address: '192.168.0.2/24' }), 'ok'],
      [() => overlay.attach(web, { address: '192.168.0.3/24' }), 'EEXIST'],
      [() => overlay.attach(web, { address: '192.168.0.3/24', ifname: 'eth1' }), 'ok'],
      [() => second.attach(web, { address: '192.168.0.2/24' }), 'EEXIST'],
      [() => second.attach(web, { address: '192.168.0.2/24', ifname: 'eth2' }), 'ok'],
      [() => overlay.attach(web, { address: '192.168.0.4/24', ifname: 'sixteen-bytes-123' }), 'ERR_INVALID_ARG_VALUE'],
      [() => overlay.detach(web), 'ENOTUNIQ'],
      [() => overlay.detach({ ip: '192.168.0.2' }), 'ok'],
      [() => overlay.detach(web), 'ok'],
      [() => second.detach(web), 'ok'],
    ]);
  });

  test('attach: ensured, what is the same is no error, what has died half-way is made again', async () => {
    const [host] = await stage().hosts();
    const name = stage().name();
    const overlay = await Overlay.create({ name, vni: 42, address: '192.168.0.1/24', host, ...on() });
    onCleanup(() => overlay.close());
    const [netns, db] = [await stage().netns(), await stage().netns()];
    const web = `netns:${netns}`;
    const ensured = { address: '192.168.0.2/24', ensure: true };
    const first = await overlay.attach(web, ensured);
    const inside = await openRtnl(netns, stage());
    const index = async (): Promise<unknown> => (await inside.links.list({ name: 'eth0' }))[0]?.index;
    const made = await index();
    expect(await overlay.attach(web, ensured)).toEqual(first);
    await dialogue([
      [() => overlay.attach(web, { ...ensured, mac: first.mac }), 'ok'],
      [() => overlay.attach(web, { ...ensured, gateway: '192.168.0.1' }), 'ok'],
      [() => overlay.attach(web, { ...ensured, gateway: '192.168.0.1' }), 'ok'],
      [() => overlay.attach(web, { ...ensured, gateway: '192.168.0.9' }), 'EEXIST'],
      [() => overlay.attach(web, { ...ensured, mac: '02:42:00:00:00:09' }), 'EEXIST'],
      [() => overlay.attach(web, { ...ensured, address: '192.168.0.2/25' }), 'EEXIST'],
      [() => overlay.attach(web, { ...ensured, ifname: 'eth1' }), 'EEXIST'],
      [() => overlay.attach(`netns:${db}`, ensured), 'EEXIST'],
      [() => overlay.attach(web, { address: '192.168.0.2/24' }), 'EEXIST'],
    ]);
    expect(await index()).toBe(made);
    // Killed after its alias, and before: it may be ensured, or just attached.
    await inside.links.set({ name: 'eth0', up: false });
    expect(await overlay.attach(web, ensured)).toEqual(first);
    expect(await index()).not.toBe(made);
    const rtnl = await openRtnl(name, stage());
    await overlay.detach(web);
    for (const mac of ['02:42:c0:a8:00:02', '02:42:00:00:00:77']) {
      const veth = `ov${mac.replaceAll(':', '')}`;
      await rtnl.links.add({ kind: 'veth', name: veth, peer: { name: 'eth0', mac, netns } });
      await overlay.attach(web, { address: '192.168.0.2/24' });
      expect((await rtnl.links.list({ kind: 'veth' })).map((link) => link.name)).toEqual([first.veth]);
      await overlay.detach(web);
    }
    // At once, from many sides: one is made.
    const all = await Promise.all(Array.from({ length: 8 }, () => overlay.attach(web, ensured)));
    for (const each of all) expect(each).toEqual(first);
    expect(await overlay.endpoints()).toEqual([first]);
  });

  test('a resolver answers, and packets cross', async () => {
    const { overlays, containers, endpoints, records } = await network(stage(), true);
    const [, events] = await serve({ overlays: [...overlays], store: records });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    const resolved = await until(() => events.find((event) => event.kind === 'resolved'), 'an answer');
    expect(told([resolved])).toEqual([
      {
        kind: 'resolved',
        by: 'store',
        endpoint: { mac: endpoints[1].mac, vtep: '10.0.0.11' },
        miss: { kind: 'l3', ip: '192.168.0.3', link: 'vxlan1' },
      },
    ]);
    const a = await openRtnl(overlays[0].name, stage());
    const { neighbors, fdb } = await stateOf(a);
    expect(neighbors).toContainEqual({ link: 'vxlan1', ip: '192.168.0.3', mac: endpoints[1].mac, state: 'permanent' });
    expect(fdb).toContainEqual({
      link: 'vxlan1',
      mac: endpoints[1].mac,
      dst: '10.0.0.11',
      state: 'dynamic',
      flags: ['self'],
    });
    // The other host has learned where the packet came from.
    const b = await openRtnl(overlays[1].name, stage());
    expect((await stateOf(b)).fdb).toContainEqual({
      link: 'vxlan1',
      mac: endpoints[0].mac,
      dst: '10.0.0.10',
      state: 'dynamic',
      flags: ['self'],
    });
    // An FDB entry that is gone is an L2 miss, which the resolver catches.
    await a.fdb.delete({ link: 'vxlan1', mac: endpoints[1].mac });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    await until(() => events.some((event) => event.kind === 'resolved' && event.miss.kind === 'l2'), 'an L2 answer');
  });

  test('what contradicts the store is replaced, and told; what a hand has nailed down stays', async () => {
    const { overlays, containers, endpoints } = await network(stage());
    const store = await openStore('memory:');
    onCleanup(() => store.close());
    for (const endpoint of endpoints) await store.publish(endpoint);
    const [a, mac] = [await openRtnl(overlays[0].name, stage()), endpoints[1].mac];
    const write = (state: 'dynamic' | 'static', dst = '10.0.0.99') =>
      a.fdb.replace({ link: 'vxlan1', mac, dst, state });
    const places = async () => (await a.fdb.list({ link: 'vxlan1' })).filter((row) => row.mac === mac && row.dst);
    await write('dynamic', '10.0.0.98'); // of an earlier agent, as far as can be told
    const [, events] = await serve({ overlays: [...overlays], store });
    await until(async () => (await places()).every(({ dst }) => dst === '10.0.0.11'), "the store's place");
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    await a.fdb.delete({ link: 'vxlan1', mac });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    await until(async () => (await places()).length === 1, 'an entry of its own');
    expect(await places()).toMatchObject([{ state: 'dynamic', flags: ['self', 'extern_learn'] }]);
    await write('dynamic');
    const said = await until(() => events.find(({ kind }) => kind === 'contradicted'), 'the contradiction');
    expect(said).toMatchObject({ mac, vtep: '10.0.0.11', learned: '10.0.0.99' });
    await until(async () => (await places())[0]?.dst === '10.0.0.11', "the store's place again");
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    await write('static');
    await store.publish({ ...endpoints[1], ip: '192.168.0.33', ips: ['192.168.0.33'] });
    expect(await places()).toMatchObject([{ dst: '10.0.0.99', state: 'static' }]);
  });

  test('absent: told once, then remembered for a while', async () => {
    const { overlays, containers, records } = await network(stage());
    const [resolver, events] = await serve({ overlays: [overlays[0]], store: records, negativeTtlMs: 60_000 });
    records.asked.length = 0;
    expect(await stage().send(containers[0], '192.168.0.9', LOST_MS)).toBe(false);
    expect(await stage().send(containers[0], '192.168.0.9', LOST_MS)).toBe(false);
    expect(told(events)).toEqual([
      { kind: 'unresolved', cause: 'absent', miss: { kind: 'l3', ip: '192.168.0.9', link: 'vxlan1' } },
    ]);
    expect(records.asked).toEqual(['192.168.0.9']);
    expect(resolver.stats().negative).toBeGreaterThan(0);
  });

  test('a store that throws is down, and up again with its next answer', async () => {
    const { overlays, containers, records } = await network(stage());
    const [, events] = await serve({ overlays: [...overlays], store: records });
    records.answers.set('192.168.0.9', new Error('no'));
    expect(await stage().send(containers[0], '192.168.0.9', LOST_MS)).toBe(false);
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    await until(() => events.some((event) => event.kind === 'store-up'), 'store-up');
    const first = events.filter(({ overlay }) => overlay === overlays[0].name).map(({ kind }) => kind);
    expect(first.slice(0, 2)).toEqual(['store-down', 'unresolved']);
    expect(events.find((event) => event.kind === 'unresolved')).toMatchObject({
      cause: 'store-error',
      error: { message: 'no' },
    });
  });

  test.each([
    [{ mac: '01:00:5e:00:00:01', vtep: '10.0.0.11' }, 'the MAC address is not a unicast one'],
    [{ mac: '02:42:c0:a8:00:09', vtep: '224.0.0.1' }, 'the VTEP is not a unicast address'],
    [{ mac: '02:42:c0:a8:00:09', vtep: 'fd00::1' }, 'the VTEP is of the other address family'],
    [{ mac: '02:42:c0:a8:00:09', vtep: '127.0.0.1' }, 'the VTEP is a loopback address'],
    [{ mac: '02:42:c0:a8:00:02', vtep: '10.0.0.11' }, 'the MAC address is that of an endpoint on this host'],
    [
      { mac: '02:42:c0:a8:00:09', vtep: '10.0.0.255' },
      'the VTEP is the broadcast, network or subnet-router anycast address of a network of this host',
    ],
    [
      { mac: '02:42:c0:a8:00:09', vtep: '10.0.0.0' },
      'the VTEP is the broadcast, network or subnet-router anycast address of a network of this host',
    ],
  ])('an answer that cannot be used: %o', async (answer, reason) => {
    const { overlays, containers, records } = await network(stage());
    const [resolver, events] = await serve({ overlays: [overlays[0]], store: records });
    records.answers.set('192.168.0.9', answer);
    expect(await stage().send(containers[0], '192.168.0.9', LOST_MS)).toBe(false);
    const rejected = await until(() => events.find((event) => event.kind === 'rejected'), 'a rejection');
    expect(told([rejected])).toEqual([
      {
        kind: 'rejected',
        reason: `${reason} (mac ${answer.mac}, vtep ${answer.vtep})`,
        miss: { kind: 'l3', ip: '192.168.0.9', link: 'vxlan1' },
      },
    ]);
    expect(resolver.stats().rejected).toBeGreaterThan(0);
    const { neighbors } = await stateOf(await openRtnl(overlays[0].name, stage()));
    expect(neighbors?.filter((each) => (each as Neighbor).link === 'vxlan1')).toEqual([]);
  });

  test('local endpoints are never programmed, nor what lies at this VTEP', async () => {
    const { overlays, containers, records } = await network(stage());
    const near = await stage().netns();
    records.has(await overlays[0].attach(`netns:${near}`, { address: '192.168.0.4/24' }));
    records.answers.set('192.168.0.9', { mac: '02:42:c0:a8:00:09', vtep: overlays[0].vtep });
    const [resolver] = await serve({ overlays: [overlays[0]], store: records });
    expect(await stage().send(containers[0], '192.168.0.4')).toBe(true);
    expect(await stage().send(containers[0], '192.168.0.9', LOST_MS)).toBe(false);
    expect(resolver.stats()).toMatchObject({ answers: 0, rejected: 0 });
    const { neighbors, fdb } = await stateOf(await openRtnl(overlays[0].name, stage()));
    expect(neighbors?.filter((each) => (each as Neighbor).link === 'vxlan1')).toEqual([]);
    expect(fdb?.filter((entry) => 'dst' in entry && (entry as FdbEntry).mac !== ZERO)).toEqual([]);
  });

  test('a record that names this host is told where nobody here has its address, and not where somebody has', async () => {
    const { overlays, containers, records } = await network(stage());
    const [overlay] = overlays;
    const [resolver, events] = await serve({ overlays: [overlay], store: records, negativeTtlMs: 20 });
    // Attached by hand, so that nothing says which addresses are behind the port.
    const byHand = await stage().netns();
    const end = { name: 'eth0', mac: '02:42:c0:a8:00:05', netns: byHand };
    const rtnl = await openRtnl(overlay.name, stage());
    await rtnl.links.add({ kind: 'veth', name: 'hand', master: 'br0', up: true, peer: end });
    const inside = await openRtnl(byHand, stage());
    await inside.links.set({ name: 'eth0', up: true });
    for (const last of [5, 6]) await inside.addresses.add({ link: 'eth0', address: `192.168.0.${last}/24` });
    await until(() => stage().send(containers[0], '192.168.0.5'), 'the bridge forwards to the new port');
    records.answers.set('192.168.0.6', { mac: end.mac, vtep: overlay.vtep });
    records.answers.set('192.168.0.9', { mac: '02:42:c0:a8:00:09', vtep: overlay.vtep });
    expect(await stage().send(containers[0], '192.168.0.6')).toBe(true);
    expect(await stage().send(containers[0], '192.168.0.9', LOST_MS)).toBe(false);
    const notHere = (): object[] => told(events.filter((event) => 'cause' in event && event.cause === 'not-here'));
    await until(() => notHere().length > 0, 'what is not here is told');
    const miss = { kind: 'l3', ip: '192.168.0.9', link: 'vxlan1' };
    expect(notHere()).toEqual(notHere().map(() => ({ kind: 'unresolved', cause: 'not-here', miss })));
    expect(resolver.stats().notHere).toBeGreaterThan(0);
  });

  test('an answer with a MAC of the bridge, or with an address that the host has by now, is refused', async () => {
    const { overlays, containers, records } = await network(stage());
    const [overlay] = overlays;
    const [resolver, events] = await serve({ overlays: [overlay], store: records, negativeTtlMs: 0 });
    const links = await (await openRtnl(overlay.name, stage())).links.list();
    const refused = async (last: number, answer: { mac: string; vtep: string }, reason: string): Promise<void> => {
      const ip = `192.168.0.${last}`;
      records.answers.set(ip, answer);
      expect(await stage().send(containers[0], ip, LOST_MS)).toBe(false);
      // The kernel asks for each a second apart, so that the one before may be told of once more meanwhile.
      const about = (): ResolverEvent[] =>
        events.filter((event) => 'miss' in event && 'ip' in event.miss && event.miss.ip === ip);
      await until(() => about().length > 0, ip);
      const rejected = expect.objectContaining({ kind: 'rejected', reason: expect.stringContaining(reason) });
      expect(about()).toEqual(about().map(() => rejected));
    };
    const bridge = "the MAC address is that of the overlay's bridge or of a port of it";
    for (const [at, name] of ['br0', 'vxlan1'].entries()) {
      const mac = links.find((link) => link.name === name)?.mac as string;
      await refused(20 + at, { mac, vtep: overlays[1].vtep }, bridge);
    }
    const host = await Rtnl.open({ netns: { path: await overlay.host() }, ...on() });
    onCleanup(() => host.close());
    const before = resolver.stats().answers;
    await host.addresses.add({ link: 'lo', address: '10.1.0.10/32' });
    await refused(30, { mac: '02:42:c0:a8:00:1e', vtep: '10.1.0.10' }, 'the VTEP is another address of this host');
    expect(resolver.stats().answers).toBe(before);
    await host.addresses.delete({ link: 'lo', address: '10.1.0.10/32' });
    records.answers.set('192.168.0.31', { mac: '02:42:c0:a8:00:1f', vtep: '10.1.0.10' });
    await stage().send(containers[0], '192.168.0.31', LOST_MS);
    await until(() => resolver.stats().answers > before, 'an answer');
  });

  test('an answer is withdrawn at its TTL', async () => {
    const { overlays, containers, endpoints, records } = await network(stage());
    const [, events] = await serve({ overlays: [...overlays], store: records });
    records.has(endpoints[1], { ttlMs: 8000 });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    const a = await openRtnl(overlays[0].name, stage());
    const present = async (): Promise<boolean> =>
      (await a.neighbors.list({ link: 'vxlan1' })).some(({ ip }) => ip === '192.168.0.3');
    expect(await present()).toBe(true);
    await until(async () => !(await present()), 'the withdrawal');
    // A container remembers for a while whom it has talked to.
    const inside = await openRtnl(containers[0], stage());
    for (const { link, ip } of await inside.neighbors.list({ link: 'eth0' })) {
      if (ip.startsWith('192.')) await inside.neighbors.delete({ link, ip });
    }
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    const answers = (): number =>
      events.filter((event) => event.kind === 'resolved' && event.overlay === overlays[0].name).length;
    await until(() => answers() >= 2, 'a second answer');
    const resolved = events.find((event) => event.kind === 'resolved');
    expect(resolved).toMatchObject({ endpoint: { ttlMs: 8000 } });
  });

  test('a neighbour that others wrote and that has decayed is removed, before the start and after it', async () => {
    const { overlays, containers, endpoints, records } = await network(stage());
    records.has(endpoints[1]);
    const a = await openRtnl(overlays[0].name, stage());
    const { ip, mac } = endpoints[1];
    const stale = { link: 'vxlan1', ip, mac, state: 'stale' } as const;
    const gone = async (): Promise<boolean> =>
      (await a.neighbors.list({ link: 'vxlan1', state: 'stale' })).length === 0;
    await a.neighbors.add(stale);
    await serve({ overlays: [...overlays], store: records });
    await until(gone, 'the end of the one from before');
    await a.neighbors.replace(stale);
    await until(gone, 'the end of a later one');
    await a.neighbors.replace({ ...stale, ip: '192.168.0.99', state: 'noarp' });
    expect(await stage().send(containers[0], ip)).toBe(true);
    expect((await a.neighbors.list({ ip: '192.168.0.99' })).length).toBe(1);
  });

  test('what the store pushes answers without a lookup; a move and a withdrawal reach the kernel', async () => {
    const { overlays, containers, endpoints } = await network(stage());
    const { store, push } = pushed({ kind: 'reset', endpoints, index: 1n });
    const [, events] = await serve({
      overlays: [
        { overlay: overlays[0], store },
        { overlay: overlays[1], store: new Records() },
      ],
    });
    const a = await openRtnl(overlays[0].name, stage());
    const vtepOf = async (mac: string): Promise<string | undefined> =>
      (await a.fdb.list({ link: 'vxlan1' })).find((entry) => entry.mac === mac && entry.dst !== undefined)?.dst;
    await stage().send(containers[0], '192.168.0.3', LOST_MS);
    const resolved = await until(() => events.find((event) => event.kind === 'resolved'), 'an answer');
    expect(resolved).toMatchObject({ by: 'table', endpoint: { mac: endpoints[1].mac } });
    expect(await vtepOf(endpoints[1].mac)).toBe('10.0.0.11');
    push({ kind: 'put', endpoint: { ...endpoints[1], vtep: '10.0.0.12' }, index: 2n });
    await until(async () => (await vtepOf(endpoints[1].mac)) === '10.0.0.12', 'the move');
    push({ kind: 'delete', ip: endpoints[1].ip, mac: endpoints[1].mac, index: 3n });
    await until(async () => (await vtepOf(endpoints[1].mac)) === undefined, 'the withdrawal');
    const { neighbors } = await stateOf(a);
    expect(neighbors?.filter((each) => (each as Neighbor).link === 'vxlan1')).toEqual([]);
  });

  test('a listing that has lost much withdraws nothing before the grace period is over', async () => {
    const { overlays, containers, endpoints } = await network(stage());
    const [here, there] = endpoints;
    const gone = { ...there, ip: '192.168.0.99', ips: ['192.168.0.99'], mac: '02:42:c0:a8:00:63' };
    const { store, push } = pushed({ kind: 'reset', endpoints: [here, there], index: 5n });
    const [resolver, events] = await serve({
      overlays: [
        { overlay: overlays[0], store },
        { overlay: overlays[1], store: new Records(here) },
      ],
      graceMs: 300,
    });
    const told = (kind: string) => events.filter((event) => event.kind === kind);
    const a = await openRtnl(overlays[0].name, stage());
    const entries = async () => (await a.neighbors.list({ link: 'vxlan1', state: 'permanent' })).map(({ ip }) => ip);
    expect(await stage().send(containers[0], there.ip)).toBe(true);
    push({ kind: 'reset', endpoints: [], index: 6n });
    await until(() => told('grace').length === 1, 'the doubt');
    expect(told('grace')).toMatchObject([{ listed: 0, missing: 2, graceMs: 300 }]);
    expect(await entries()).toEqual([there.ip]);
    push({ kind: 'put', endpoint: there, index: 7n });
    await until(() => told('grace-over').length === 1, 'its end');
    expect(told('grace-over')).toMatchObject([{ withdrawn: 1 }]);
    expect(await entries()).toEqual([there.ip]);
    // Little is lost, but the store is behind what it was.
    push({ kind: 'put', endpoint: gone, index: 8n });
    push({ kind: 'reset', endpoints: [there], index: 3n });
    await until(() => told('grace').length === 2, 'another doubt');
    expect(resolver.stats(overlays[0].name)).toMatchObject({ missing: 1 });
    await until(() => told('grace-over').length === 2, 'its end');
    push({ kind: 'reset', endpoints: [], index: 9n });
    await until(() => told('grace-over').length === 3, 'the end of the last');
    await until(async () => (await entries()).length === 0, 'the withdrawal');
  });

  test('what is found in the kernel at the start goes at once where the first listing lacks it', async () => {
    const { overlays, containers, endpoints } = await network(stage());
    const [here, there] = endpoints;
    const [first] = await serve({ overlays: [...overlays], store: new Records(here, there) });
    expect(await stage().send(containers[0], there.ip)).toBe(true);
    await first.close();
    const a = await openRtnl(overlays[0].name, stage());
    const entries = async () => [
      ...(await a.neighbors.list({ link: 'vxlan1', state: 'permanent' })).map(({ mac }) => mac),
      ...(await a.fdb.list({ link: 'vxlan1', mac: there.mac })).flatMap(({ dst }) => dst ?? []),
    ];
    expect(await entries()).toEqual([there.mac, there.vtep]);
    const { store } = pushed({ kind: 'reset', endpoints: [here], index: 1n });
    await serve({ overlays: [overlays[0]], store });
    await until(async () => (await entries()).length === 0, 'the withdrawal');
  });

  test('entries are written ahead, and follow the store, without a miss', async () => {
    const { overlays, containers, endpoints } = await network(stage());
    const [here, there] = endpoints;
    const { store, push } = pushed({ kind: 'reset', endpoints: [here, there], index: 1n });
    const [resolver, events] = await serve({ overlays: [overlays[0]], store, program: 'ahead' });
    await serve({ overlays: [overlays[1]], store: new Records(here, there) });
    const a = await openRtnl(overlays[0].name, stage());
    const entries = async () => [
      ...(await a.neighbors.list({ link: 'vxlan1', state: 'permanent' })).map(({ ip, mac }) => `${ip} ${mac}`),
      ...(await a.fdb.list({ link: 'vxlan1' })).flatMap(({ mac, dst, master }) =>
        dst === undefined || master !== undefined || mac === '00:00:00:00:00:00' ? [] : [`${mac} ${dst}`],
      ),
    ];
    const written = [`${there.ip} ${there.mac}`, `${there.mac} ${there.vtep}`];
    await until(async () => (await entries()).length === 2, 'the entries');
    expect(await entries()).toEqual(written);
    expect(await stage().send(containers[0], there.ip)).toBe(true);
    const asked = events.filter((event) => 'miss' in event && event.miss.kind === 'l3' && event.miss.ip === there.ip);
    expect([asked, resolver.stats().lookups]).toEqual([[], 0]);
    push({ kind: 'delete', ip: there.ip, mac: there.mac, index: 2n });
    await until(async () => (await entries()).length === 0, 'the withdrawal');
    push({ kind: 'put', endpoint: there, index: 3n });
    await until(async () => (await entries()).length === 2, 'the entries again');
  });

  test('records of a watch that cannot be read are told and counted, the others serve', async () => {
    const { overlays, endpoints } = await network(stage());
    const changes: Change[] = [];
    const bad = [
      { ...endpoints[1], mac: 'zz' },
      null,
      { ...endpoints[1], vtep: 'host-b' },
      { ...endpoints[1], ips: 'x' },
    ];
    const store: Store = {
      lookup: () => null,
      async *watch({ overlay, signal }) {
        yield { kind: 'reset', endpoints: [...bad, endpoints[1]] as Endpoint[], index: overlay === '' ? 0n : 1n };
        while (!signal.aborted) {
          await until(() => changes.length > 0 || signal.aborted, 'a change', 60_000);
          yield* changes.splice(0);
        }
      },
    };
    const [resolver, events] = await serve({ overlays: [overlays[0]], store });
    // The start was told of before anybody could listen.
    expect(resolver.stats()).toMatchObject({ unreadable: 4, endpoints: 1 });
    expect(resolver.overlays()).toMatchObject([{ store: 'up' }]);
    changes.push(
      { kind: 'put', endpoint: { ...endpoints[1], ip: 'a', ips: ['a', '192.168.0.300'] }, index: 2n },
      { kind: 'delete', mac: 'zz', index: 3n },
    );
    const told = () => events.flatMap((event) => (event.kind === 'unreadable' ? [event] : []));
    await until(() => told().reduce((sum, { count }) => sum + count, 0) >= 3, 'the event');
    expect(told()[0]?.error).toMatchObject({
      code: 'OVERNS_RECORD',
      message: expect.stringMatching(/^the store's watch\(\) gave a record that cannot be read: ip: "a"/),
    });
    expect(resolver.stats()).toMatchObject({ unreadable: 6, endpoints: 1 });
  });

  test('one resolver serves an overlay; another takes over, and gives back what it fails to serve; a deletion is told', async () => {
    const { overlays, records } = await network(stage());
    const [first, events] = await serve({ overlays: [overlays[0]], store: records });
    const served = { overlays: [overlays[0]], store: records };
    expect(await said(() => Resolver.start(served))).toBe('EBUSY');
    const controller = new AbortController();
    const silent = { lookup: () => null, watch: () => new ReadableStream() as AsyncIterable<Change> };
    const failing = Resolver.start({ ...served, store: silent, takeover: true, signal: controller.signal });
    await until(() => first.overlays()[0]?.lost, 'the loss');
    controller.abort();
    expect(await said(() => failing)).toBe('ABORT_ERR');
    await until(() => first.overlays()[0]?.lost === false, 'the return');
    const [, later] = await serve({ ...served, takeover: true });
    expect(first.overlays()).toEqual([]);
    const states = events.filter(({ kind }) => kind.startsWith('overlay-'));
    expect(states.map((event) => pick(event, 'kind', 'cause', 'pid'))).toEqual([
      { kind: 'overlay-lost', cause: 'taken', pid: process.pid },
      { kind: 'overlay-back' },
      { kind: 'overlay-lost', cause: 'taken', pid: process.pid },
    ]);
    await overlays[0].delete();
    await until(() => later.some((event) => event.kind === 'overlay-lost'), 'the end');
  });

  test('vxlan1 goes and comes back', async () => {
    const { overlays, records } = await network(stage());
    const [, events] = await serve({ overlays: [overlays[0]], store: records });
    const a = await openRtnl(overlays[0].name, stage());
    await a.links.delete({ name: 'vxlan1' });
    await until(() => events.some((event) => event.kind === 'overlay-lost'), 'overlay-lost');
    await a.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42, port: 4789, master: 'br0', up: true });
    await until(() => events.some((event) => event.kind === 'overlay-back'), 'overlay-back');
    expect(events.map(({ kind }) => kind)).toEqual(['overlay-lost', 'overlay-back']);
  });

  test('a request is sent on to whom it asks, whose host has entries of the asker by it', async () => {
    const { overlays, containers, endpoints } = await network(stage());
    const store = await openStore('memory:');
    onCleanup(() => store.close());
    for (const endpoint of endpoints) await store.publish(endpoint);
    const [resolver] = await serve({ overlays: [...overlays], store, prime: true });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    expect(resolver.stats().primed).toBe(1);
    const b = await openRtnl(overlays[1].name, stage());
    await until(
      async () => (await b.neighbors.list({ link: 'vxlan1' })).some(({ ip }) => ip === '192.168.0.2'),
      'its neighbour',
    );
    expect(await b.fdb.list({ link: 'vxlan1' })).toContainEqual(
      expect.objectContaining({ mac: endpoints[0].mac, dst: '10.0.0.10' }),
    );
  });

  test('what comes for a container that has left is sent on, once the store says where to', async () => {
    const { overlays, containers, endpoints, records } = await network(stage());
    const [a, b] = overlays;
    await serve({ overlays: [a], store: records }); // it never hears of the move
    const store = await openStore('memory:');
    onCleanup(() => store.close());
    for (const endpoint of endpoints) await store.publish(endpoint);
    const [resolver] = await serve({ overlays: [b], store });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    await b.detach(`netns:${containers[1]}`);
    expect(await stage().send(containers[0], '192.168.0.3', LOST_MS)).toBe(false);
    expect(resolver.stats().redirected).toBe(0);
    await store.publish({ ...endpoints[1], vtep: a.vtep });
    await until(async () => {
      expect(await stage().send(containers[0], '192.168.0.3', 200)).toBe(false); // nobody has it there either
      return resolver.stats().redirected > 0;
    }, 'a frame that is sent on');
    const { redirected } = resolver.stats();
    await b.attach(`netns:${containers[1]}`, { address: '192.168.0.3/24' });
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    expect(resolver.stats().redirected).toBe(redirected);
  });

  test('packets are caught while the host’s lo is up', async () => {
    const { overlays, records } = await network(stage());
    const [resolver, events] = await serve({ overlays: [overlays[0]], store: records });
    const inside = await openRtnl(overlays[0].name, stage());
    await using host = await Rtnl.open({ netns: { path: await overlays[0].host() }, ...on() });
    const rows = async (): Promise<number> =>
      (await inside.fdb.list({ link: 'vxlan1' })).filter(({ mac }) => mac === ZERO).length;
    expect(await rows()).toBe(1);
    await host.links.set({ name: 'lo', up: false });
    await until(() => events.length === 1, 'punt-off');
    expect(await rows()).toBe(0);
    expect(resolver.overlays()).toMatchObject([{ punt: false, noPunt: "the host's lo is down" }]);
    await host.links.set({ name: 'lo', up: true });
    await until(() => events.length === 2, 'punt-on');
    expect(await rows()).toBe(1);
    expect(events.map((event) => pick(event, 'kind', 'reason'))).toEqual([
      { kind: 'punt-off', reason: "the host's lo is down" },
      { kind: 'punt-on' },
    ]);
    expect(resolver.overlays()[0]?.punt).toBe(true);
  });

  test('misses() observes, also what a resolver catches', async () => {
    const { overlays, containers, endpoints, records } = await network(stage());
    const misses = overlays[0].misses();
    onCleanup(() => misses.return?.());
    const seen: object[] = [];
    void (async () => {
      for await (const miss of misses) {
        if (!isLinkLocal(miss)) seen.push(pick(miss, 'overlay', 'vni', 'link', 'kind', 'ip', 'mac'));
      }
    })();
    await stage().send(containers[0], '192.168.0.3', LOST_MS);
    const about = { overlay: overlays[0].name, vni: 42, link: 'vxlan1' };
    await until(() => seen.length > 0, 'a miss');
    expect(seen[0]).toEqual({ ...about, kind: 'l3', ip: '192.168.0.3' });
    await serve({ overlays: [...overlays], store: records });
    // It looks for a resolver from time to time.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
    const a = await openRtnl(overlays[0].name, stage());
    await until(async () => {
      await a.fdb.delete({ link: 'vxlan1', mac: endpoints[1].mac }).catch(() => undefined);
      expect(await stage().send(containers[0], '192.168.0.3')).toBe(true);
      return seen.some((miss) => (miss as { kind: string }).kind === 'l2');
    }, 'the L2 miss');
    expect(seen).toContainEqual({ ...about, kind: 'l2', mac: endpoints[1].mac });
  });
}

// There is nothing native in it for a sanitizer to see.
if (!process.env.OVERNS_TEST_SANITIZED)
  describe('the fake kernel', () => {
    let stage: Stage | undefined;
    scenarios(() => {
      if (stage === undefined) {
        stage = fakeStage();
        onCleanup(() => {
          stage = undefined;
        });
      }
      return stage;
    });
  });

describeWith(['root', 'ip'], 'the real kernel', () => {
  const stage = realStage();
  scenarios(() => stage);
});

type Operation = (rtnl: Rtnl) => Promise<unknown>;

/** Requests over few names and addresses, so that they meet. */
function operations(): fc.Arbitrary<readonly [string, Operation]> {
  const link = fc.constantFrom('br0', 'vxlan1', 'vxlan2', 'v0', 'v1', 'none');
  const mac = fc.constantFrom('02:42:c0:a8:00:03', '02:42:c0:a8:00:04', ZERO);
  const dst = fc.constantFrom('10.0.0.11', '10.0.0.12', 'fd00::11');
  const ip = fc.constantFrom('192.168.0.3', '192.168.0.4', 'fd00::3');
  const verb = fc.constantFrom('add', 'replace', 'append', 'delete');
  const entry = fc
    .record({
      link,
      mac,
      dst: fc.option(dst, { nil: undefined }),
      state: fc.constantFrom('permanent', 'static', 'dynamic'),
    })
    // A bridge shares its own entries with its ports (br_fdb_sync_static), which is not modelled: no address of theirs.
    .map((each) => (each.link === 'br0' && each.mac !== ZERO ? { ...each, mac: '02:42:c0:a8:00:05' } : each));
  const neighbor = fc
    .record({
      link,
      ip,
      mac: fc.constantFrom('02:42:c0:a8:00:03', '02:42:c0:a8:00:04'),
      state: fc.constantFrom('permanent', 'noarp'),
    })
    // Where a carrier comes and goes, the kernel drops what is not permanent when it gets round to it.
    .map((entry) => (entry.link.startsWith('vxlan') ? entry : { ...entry, state: 'permanent' }));
  const address = fc.record({
    link,
    address: fc.constantFrom('192.168.0.1/24', '192.168.1.1/24', 'fd00::1/64'),
    nodad: fc.constant(true),
  });
  const set = fc.record({ name: link }).chain(({ name }) =>
    fc
      .oneof(
        fc.record({ up: fc.boolean() }),
        fc.record({ mtu: fc.constantFrom(60, 1400, 1500) }),
        // Not both ends of a pair into one bridge: a report to a group would go round for ever, and take a CPU.
        fc.record({ master: name === 'v1' ? fc.constantFrom('', 'vxlan1') : fc.constantFrom('', 'br0', 'vxlan1') }),
        fc.record({ alias: fc.constantFrom('a', 'b') }),
      )
      .map((change) => ({ name, ...change })),
  );
  const make = fc.oneof(
    // With an address of its own: otherwise it changes with the ports, which is not modelled.
    fc.constant({ kind: 'bridge' as const, name: 'br0', mac: '02:00:00:00:00:01' }),
    fc.record({
      kind: fc.constant('vxlan' as const),
      name: fc.constantFrom('vxlan1', 'vxlan2'),
      vni: fc.constantFrom(1, 2),
      port: fc.constant(4789),
    }),
    fc.record({
      kind: fc.constant('veth' as const),
      name: fc.constantFrom('v0', 'v1'),
      peer: fc.record({ name: fc.constantFrom('v0', 'v1') }),
    }),
  );
  const shown = (what: string, item: unknown, run: Operation): readonly [string, Operation] => [
    `${what} ${JSON.stringify(item)}`,
    run,
  ];
  return fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .tuple(verb, entry)
        .map(([op, item]) =>
          shown(`fdb ${op}`, item, (r) => r.fdb.batch([{ op: op as 'add', item: clean(item) }]).then(unwrap)),
        ),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(verb, neighbor)
        .map(([op, item]) =>
          shown(`neighbor ${op}`, item, (r) => r.neighbors.batch([{ op: op as 'add', item }]).then(unwrap)),
        ),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom('add', 'replace', 'delete'), address)
        .map(([op, item]) =>
          shown(`address ${op}`, item, (r) => r.addresses.batch([{ op: op as 'add', item }]).then(unwrap)),
        ),
    },
    { weight: 3, arbitrary: set.map((item) => shown('link set', item, (r) => r.links.set(item))) },
    { weight: 3, arbitrary: make.map((item) => shown('link add', item, (r) => r.links.add(item))) },
    { weight: 1, arbitrary: link.map((name) => shown('link delete', name, (r) => r.links.delete({ name }))) },
  );
}

function clean(item: object): FdbEntry {
  return Object.fromEntries(Object.entries(item).filter(([, value]) => value !== undefined)) as unknown as FdbEntry;
}

function unwrap([answer]: readonly ({ ok: true } | { ok: false; error: Error })[]): void {
  if (answer && !answer.ok) throw answer.error;
}

testWith(
  ['root', 'ip'],
  'random requests have the same answers and the same end',
  async () => {
    const seed = seedOf('OVERNS_TEST_SEED');
    console.log(`seed ${seed}`);
    const runs = process.env.CI_FULL === '1' ? 100 : 8;
    const sequences = fc.sample(fc.array(operations(), { minLength: 40, maxLength: 60 }), { numRuns: runs, seed });
    const play = async (stage: Stage): Promise<unknown[]> => {
      const ends: unknown[] = [];
      for (const sequence of sequences) {
        const name = await stage.netns();
        await using rtnl = await Rtnl.open({ netns: name, system: stage.system });
        const answers: string[] = [];
        for (const [words, run] of sequence) answers.push(`${words} => ${await said(() => run(rtnl))}`);
        ends.push({ answers, state: await stateOf(rtnl) });
        await rtnl.close();
        await stage.remove(name);
      }
      return ends;
    };
    const [real, fake] = await Promise.all([play(realStage()), play(fakeStage())]);
    sequences.forEach((_, at) => {
      expect(fake[at], `seed ${seed}, sequence ${at}`).toEqual(real[at]);
    });
  },
  300_000,
);
