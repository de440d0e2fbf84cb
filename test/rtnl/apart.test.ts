/**
 * What iproute2 6.1 neither takes nor prints, or prints of a moment: given by Rtnl and read back from the kernel. What
 * the kernel was given comes back under its own name, and nothing in what is listed is unknown.
 */
import { expect, test } from 'vitest';
import { type LinkSpec, type Route, Rtnl } from '../../lib/index.js';
import { createNetns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

describeWith(['root', 'ip'], 'apart from iproute2', () => {
  test('links are given and told what is newer', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const made: readonly LinkSpec[] = [
      { kind: 'bridge', name: 'br0', fdbMaxLearned: 5 },
      {
        kind: 'vxlan',
        name: 'vx0',
        vni: 7,
        port: 4789,
        local: 'fd00::1', // a label's policy is IPv6's
        localbypass: false,
        labelPolicy: 'inherit',
        ttlInherit: true,
      },
      {
        kind: 'vxlan',
        name: 'vx1',
        vni: 8,
        port: 4789,
        reservedBits: Uint8Array.from([0, 0, 0, 0x7f, 0, 0, 0, 1]),
        remcsumTx: true,
        remcsumNopartial: true,
      },
      { kind: 'veth', name: 'va0', gsoIpv4MaxSize: 20_000, groIpv4MaxSize: 30_000, groMaxSize: 40_000 },
    ];
    for (const spec of made) {
      await rtnl.links.add(spec);
      const [link] = await rtnl.links.list({ name: spec.name });
      expect(link).toMatchObject(spec);
      expect(link?.unknown).toBeUndefined();
    }
    await rtnl.links.set({ name: 'va0', master: 'br0' });
    const bridgePort = {
      mab: true,
      locked: true,
      learning: true,
      neighVlanSuppress: true,
      mcastMaxGroups: 9,
      mcastEhtHostsLimit: 77,
      backupNexthop: 3,
    };
    await rtnl.links.set({ name: 'va0', bridgePort });
    const [port] = await rtnl.links.list({ name: 'va0' });
    expect(port?.bridgePort).toMatchObject(bridgePort);
    expect(port?.unknown).toBeUndefined();
    // By each change alone: no field is told by another's number.
    for (const [key, value] of Object.entries({ mab: false, neighVlanSuppress: false, mcastMaxGroups: 8 })) {
      await rtnl.links.set({ name: 'va0', bridgePort: { [key]: value } });
      Object.assign(bridgePort, { [key]: value });
      const [changed] = await rtnl.links.list({ name: 'va0' });
      expect(changed?.bridgePort).toMatchObject(bridgePort);
    }
  });

  test('addresses tell who made them', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await rtnl.links.add({ kind: 'bridge', name: 'br0', up: true });
    const items = [
      { link: 'br0', address: '10.0.0.1/24', protocol: 'kernel_ra' },
      { link: 'br0', address: '10.0.1.1/24', protocol: 99 },
      { link: 'br0', address: 'fd00::1/64', protocol: 186 },
    ];
    for (const item of items) await rtnl.addresses.add(item);
    const listed = await rtnl.addresses.list();
    for (const item of items) expect(listed).toContainEqual(expect.objectContaining(item));
  });

  test('a route that has expired is told with how long ago, and deleted as it is told', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await rtnl.links.add({ kind: 'bridge', name: 'br0', up: true });
    await rtnl.routes.add({ dst: 'fd09::/64', link: 'br0', expires: 8 });
    const find = async (): Promise<Route> => {
      const route = (await rtnl.routes.list({ family: 'inet6' })).find(({ dst }) => dst === 'fd09::/64');
      if (!route) throw new Error('the route is gone');
      return route;
    };
    expect((await find()).expires).toBeGreaterThanOrEqual(0);
    // The kernel collects every 30 seconds.
    await expect.poll(async () => (await find()).expires, { timeout: 30_000 }).toBeLessThan(0);
    const before = Number((await find()).expires);
    const [told] = await netns.ipJson('-6 route show fd09::/64');
    const after = Number((await find()).expires);
    // In whole seconds, and iproute2 looks in between.
    expect(told?.expires).toBeLessThanOrEqual(before);
    expect(told?.expires).toBeGreaterThanOrEqual(after - 1);
    await rtnl.routes.delete(await find()); // as it is listed
    await expect(find()).rejects.toThrow('gone');
  });
});
