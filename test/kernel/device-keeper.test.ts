/** An agent keeps the devices of its overlays: what is deleted, set down or taken out of br0 is put back. */
import { expect, test } from 'vitest';
import { Agent, type AgentEvent, type Link, Overlay, openStore, Rtnl } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import { onCleanup } from '../support/cleanup.js';
import { type Site, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

type Told = Extract<AgentEvent, { kind: 'repaired' | 'damaged' }>;

/** An agent of a site, and what it tells of its devices. */
async function serve(site: Site, sites: readonly Site[]): Promise<{ readonly agent: Agent; readonly told: Told[] }> {
  const store = await openStore('memory:');
  onCleanup(() => store.close());
  for (const { container } of sites) await store.publish(container.endpoint);
  const agent = await Agent.start({ store, overlays: [site.overlay.name], host: site.host.name, publish: false });
  onCleanup(() => agent.close());
  const told = listen(agent);
  await untilKept(await inside(site), told);
  return { agent, told };
}

/** Its devices are kept a moment after it is served: then a fault of before is put right as well. */
async function untilKept(rtnl: Rtnl, told: Told[]): Promise<void> {
  await rtnl.links.set({ name: 'br0', up: false });
  await until(() => told.splice(0).length > 0, 'the first repair');
}

function listen(agent: Agent): Told[] {
  const told: Told[] = [];
  void (async () => {
    for await (const event of agent.events())
      if (event.kind === 'repaired' || event.kind === 'damaged') told.push(event);
  })();
  return told;
}

async function inside(site: Site): Promise<Rtnl> {
  const rtnl = await Rtnl.open({ netns: site.overlay.name });
  onCleanup(() => rtnl.close());
  return rtnl;
}

async function linkOf(rtnl: Rtnl, name: string): Promise<Link | undefined> {
  return (await rtnl.links.list({ name }))[0];
}

/** The settings of a link, without what it has counted. */
function made(link: Link | undefined): object {
  const { name, kind, mtu, mac, up, master, bridgePort, alias, ...rest } = (link ?? {}) as Link &
    Record<string, unknown>;
  const { vni, port, local, learning, ageing, proxy, l2miss, l3miss, localbypass } = rest;
  const device = { vni, port, local, learning, ageing, proxy, l2miss, l3miss, localbypass };
  const { learning: learns, locked, hairpin } = bridgePort ?? {};
  return { name, kind, mtu, mac, up, master, alias, device, learns, locked, hairpin };
}

const reaches = async (site: Site, other: Site): Promise<boolean> =>
  (await ping(site.container.netns, other.container.ip, { wait: 1 })).lost === 0;

describeWith(['root', 'ip', 'ping'], 'the devices of an overlay that an agent serves', () => {
  test('vxlan1 that is deleted is made as it was, and serves', async () => {
    const sites = await twoSites({ overlay: { port: 4790, mtu: 1400 } });
    const [a, b] = sites;
    const rtnl = await inside(a);
    await rtnl.links.set({ name: 'vxlan1', kind: 'vxlan', learning: false, ageing: 77 });
    await rtnl.links.set({ name: 'vxlan1', bridgePort: { hairpin: true } });
    const { told } = await serve(a, sites);
    await serve(b, sites);
    await until(() => reaches(a, b), 'a reply');
    const before = await linkOf(rtnl, 'vxlan1');
    await rtnl.links.delete({ name: 'vxlan1' });
    await until(() => told.length > 0, 'the repair');
    expect(told).toEqual([{ overlay: a.overlay.name, vni: 42, kind: 'repaired', fault: 'vxlan1 was deleted' }]);
    const after = await linkOf(rtnl, 'vxlan1');
    expect(made(after)).toEqual(made(before));
    expect(after?.index).not.toBe(before?.index);
    // What it knew is found again by who asks, or sends.
    await until(() => reaches(a, b), 'a reply');
    await until(() => reaches(b, a), 'a reply');
  });

  test('vxlan1 that is deleted as soon as it is served is made again, too', async () => {
    const sites = await twoSites();
    const [a] = sites;
    const rtnl = await inside(a);
    const store = await openStore('memory:');
    onCleanup(() => store.close());
    for (let round = 0; round < 5; round++) {
      const agent = await Agent.start({ store, overlays: [a.overlay.name], host: a.host.name, publish: false });
      const told = listen(agent);
      await rtnl.links.delete({ name: 'vxlan1' });
      await until(() => told.length > 0, 'the repair');
      expect(told).toMatchObject([{ kind: 'repaired', fault: 'vxlan1 was deleted' }]);
      await agent.close();
    }
  });

  test('what is set down or taken out of br0 is put back, locked as it was', async () => {
    const sites = await twoSites();
    const [a, b] = sites;
    const free = await a.attach('192.168.0.4/24', { anyMac: true });
    const { agent, told } = await serve(a, sites);
    await serve(b, sites);
    const rtnl = await inside(a);
    const endpoints = await a.overlay.endpoints();
    const veth = (ip: string): string => endpoints.find((each) => each.ip === ip)?.veth as string;
    const [locked, unlocked] = [veth(a.container.ip), veth(free.ip)];
    const before = await Promise.all(['br0', 'vxlan1', locked, unlocked].map((name) => linkOf(rtnl, name)));
    const rows = async (): Promise<object[]> =>
      (await a.netns.bridgeJson(`fdb show dev ${locked}`)).filter(({ mac }) => mac === a.container.endpoint.mac);
    const row = await rows();
    expect(row).toHaveLength(1);
    for (const [change, fault] of [
      [{ name: 'br0', up: false }, /^br0 was set down$/],
      [{ name: 'vxlan1', up: false }, /^vxlan1 was set down$/],
      [{ name: 'vxlan1', master: null }, /^vxlan1 was taken out of br0$/],
      [{ name: locked, master: null }, new RegExp(`^${locked} \\(192.168.0.2/24\\) was taken out of br0$`)],
      [{ name: unlocked, master: null }, new RegExp(`^${unlocked} \\(192.168.0.4/24\\) was taken out of br0$`)],
    ] as const) {
      const count = told.length;
      await rtnl.links.set(change);
      await until(() => told.length > count, `${fault}`);
      expect(told.at(-1)).toMatchObject({ kind: 'repaired', fault: expect.stringMatching(fault) });
      await until(() => reaches(a, b), 'a reply');
    }
    const after = await Promise.all(['br0', 'vxlan1', locked, unlocked].map((name) => linkOf(rtnl, name)));
    expect(after.map(made)).toEqual(before.map(made));
    expect(await rows()).toEqual(row);
    // Who has an overlay let go of is not minded.
    await agent.close();
    await rtnl.links.delete({ name: 'vxlan1' });
    expect(await linkOf(rtnl, 'vxlan1')).toBeUndefined();
  });

  test('who undoes each repair wins after a few, and it is said', async () => {
    const sites = await twoSites();
    const [a] = sites;
    const { agent, told } = await serve(a, sites);
    const rtnl = await inside(a);
    while (told.at(-1)?.kind !== 'damaged') {
      const count = told.length;
      await rtnl.links.set({ name: 'vxlan1', master: null });
      await until(() => told.length > count, 'an answer to it');
    }
    const repaired = Array.from({ length: 5 }, () => expect.objectContaining({ kind: 'repaired' }));
    const damaged = { kind: 'damaged', fault: 'vxlan1 was taken out of br0', error: { code: 'EBUSY' } };
    expect(told).toEqual([...repaired, expect.objectContaining({ kind: 'damaged' })]);
    expect(told.at(-1)).toMatchObject(damaged);
    // It holds: who listens from now on is told, and that it is over when somebody puts it right.
    const late = listen(agent);
    await until(() => late.length > 0, 'what holds');
    expect(late).toMatchObject([damaged]);
    await rtnl.links.set({ name: 'vxlan1', master: 'br0' });
    await until(() => late.length > 1, 'the end of it');
    expect(late[1]).toMatchObject({ kind: 'repaired', fault: damaged.fault });
  });

  test('an underlay link that flaps loses nothing that was known', async () => {
    const sites = await twoSites();
    const [a, b] = sites;
    const { told } = await serve(a, sites);
    await serve(b, sites);
    await until(() => reaches(a, b), 'a reply');
    const rtnl = await inside(a);
    const rows = async (): Promise<unknown[]> =>
      (await rtnl.fdb.list({ link: 'vxlan1' })).map(({ mac, dst }) => ({ mac, dst }));
    const known = await rows();
    for (let flap = 0; flap < 3; flap++) {
      await a.host.ip('link set under0 down');
      await a.host.ip('link set under0 up');
    }
    await until(() => reaches(a, b), 'the first reply');
    expect(await rows()).toEqual(known);
    expect(told).toEqual([]);
  });
});

test('a repair that is refused is told once for each reason, and tried again', async () => {
  const kernel = new FakeKernel();
  const { system } = kernel;
  const overlay = await Overlay.create({ name: 'blue', vni: 42, system });
  const agent = await Agent.start({ store: { lookup: () => null }, system });
  const told = listen(agent);
  const rtnl = await Rtnl.open({ netns: 'blue', system });
  await untilKept(rtnl, told);
  kernel.fail('RTM_NEWLINK', 'EPERM');
  await rtnl.links.delete({ name: 'vxlan1' });
  await until(() => told.length > 0, 'the refusal');
  expect(told).toMatchObject([
    { kind: 'damaged', fault: 'vxlan1 was deleted', error: { code: 'EPERM', hint: expect.any(String) } },
  ]);
  await rtnl.links.set({ name: 'br0', mtu: 1400 }); // something has changed
  await until(() => told.length > 1, 'the repair');
  expect(told[1]).toEqual({ overlay: 'blue', vni: 42, kind: 'repaired', fault: 'vxlan1 was deleted' });
  expect((await rtnl.links.list({ name: 'vxlan1' }))[0]).toMatchObject({ vni: 42, master: 'br0', up: true });
  await rtnl.close();
  await agent.close();
  await overlay.close();
});
