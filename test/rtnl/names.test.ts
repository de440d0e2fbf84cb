/** Links by their names: alternative ones, names that are not UTF-8, names that there cannot be, and names that change. */
import { expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import { createNetns, type Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

const LONG = 'enp0s31f6-a-rather-long-alternative-name';

async function withAltnames(): Promise<Netns> {
  const netns = await createNetns();
  await netns.ip('link add v0 type veth peer name v1');
  await netns.ip('link set v0 up');
  await netns.ip('link set v1 up');
  await netns.ip('link add br0 type bridge');
  await netns.ip('link add vx0 type vxlan id 7 dstport 4790');
  for (const name of ['uplink0', LONG]) await netns.ip('link', 'property', 'add', 'dev', 'v0', 'altname', name);
  await netns.ip('link property add dev br0 altname the-bridge');
  await netns.ip('link property add dev vx0 altname the-vxlan-with-a-long-name');
  return netns;
}

describeWith(['root', 'ip'], 'names of links', () => {
  test.each(['v0', 'uplink0', LONG])('every call takes %s', async (link) => {
    const netns = await withAltnames();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const neighbor = { link, ip: '10.0.0.5', mac: '02:00:00:00:00:05', state: 'permanent' };
    await rtnl.addresses.add({ link, address: '10.0.0.1/24' });
    await rtnl.addresses.replace({ link, address: '10.0.0.1/24', metric: 7 });
    await rtnl.neighbors.add(neighbor);
    await rtnl.routes.add({ dst: '10.5.0.0/16', link });
    await rtnl.routes.add({ dst: '10.6.0.0/16', nexthops: [{ link, gateway: '10.0.0.9' }] });
    await rtnl.links.set({ name: link, mtu: 1400, master: 'the-bridge' });
    await rtnl.fdb.add({ link, mac: '02:00:00:00:00:09', state: 'static', flags: ['master'] });
    await rtnl.setNeighborQueue(link, 1 << 20);
    const names = async (rows: Promise<readonly { readonly link?: string | number }[]>): Promise<Set<unknown>> =>
      new Set((await rows).map((row) => row.link));
    expect((await rtnl.links.list({ name: link })).map(({ name, mtu }) => [name, mtu])).toEqual([['v0', 1400]]);
    expect((await rtnl.links.list({ master: 'the-bridge' })).map(({ name }) => name)).toEqual(['v0']);
    expect(await rtnl.links.list({ name: link, master: 'vx0' })).toEqual([]);
    expect((await rtnl.links.counters({ name: link })).length).toBe(1);
    expect(await names(rtnl.addresses.list({ link }))).toEqual(new Set(['v0']));
    expect(await names(rtnl.neighbors.list({ link }))).toEqual(new Set(['v0']));
    expect((await rtnl.routes.list({ link })).some(({ dst }) => dst === '10.5.0.0/16')).toBe(true);
    expect((await rtnl.fdb.list({ link, master: 'the-bridge', mac: '02:00:00:00:00:09' })).length).toBe(1);
    await rtnl.fdb.add({
      link: 'the-vxlan-with-a-long-name',
      mac: '02:00:00:00:00:01',
      dst: '10.1.0.1',
      via: link,
      state: 'permanent',
    });
    expect(await rtnl.fdb.list({ link: 'the-vxlan-with-a-long-name', via: link })).toMatchObject([
      { link: 'vx0', via: 'v0' },
    ]);
    await rtnl.fdb.flush({ link: 'the-vxlan-with-a-long-name', via: link });
    expect(await rtnl.fdb.list({ link: 'vx0', mac: '02:00:00:00:00:01' })).toEqual([]);
    await rtnl.fdb.delete({ link, mac: '02:00:00:00:00:09', flags: ['master'] });
    await rtnl.routes.delete({ dst: '10.5.0.0/16', link });
    await rtnl.neighbors.delete(neighbor);
    await rtnl.addresses.delete({ link, address: '10.0.0.1/24' });
    await rtnl.links.set({ name: link, newName: 'renamed0' });
    expect((await rtnl.links.list({ name: 'renamed0' }))[0]?.alternativeNames).toContain(LONG);
    await rtnl.links.delete({ name: link === 'v0' ? 'renamed0' : link });
    expect(await rtnl.links.list({ name: 'renamed0' })).toEqual([]);
  });

  test('names that are not UTF-8 are told apart, and taken as they are told', async () => {
    const netns = await createNetns();
    await netns.sysctl('net/ipv6/conf/default/addr_gen_mode', 1);
    await using rtnl = await Rtnl.open({ netns: netns.name });
    // The last two are a backslash and what would look like an escape.
    const script = `for name in $(printf 'a\\377b a\\376b \\303\\251t\\303\\251 c\\\\xff c\\377'); do
      ip link add "$name" type ifb; ip link set "$name" up; ip address add 10.0.0.1/24 dev "$name"
      ip link property add dev "$name" altname "alt-$name"; ip link set "$name" alias "$name"; done`;
    await netns.exec('bash', ['-c', script]);
    const links = (await rtnl.links.list()).filter(({ kind }) => kind === 'ifb');
    expect(links.map(({ name }) => name).sort()).toEqual(['a\\xfeb', 'a\\xffb', 'c\\x5cxff', 'c\\xff', 'été'].sort());
    for (const { name, index, alias, alternativeNames } of links) {
      expect([alias, alternativeNames]).toEqual([name, [`alt-${name}`]]);
      const addresses = await rtnl.addresses.list({ link: name });
      expect(addresses).toMatchObject([{ link: name, linkIndex: index, label: name }]);
      await rtnl.addresses.delete(addresses[0] ?? {});
      await rtnl.neighbors.add({ link: `alt-${name}`, ip: '10.0.0.9', mac: '02:00:00:00:00:09', state: 'permanent' });
      expect((await rtnl.neighbors.list({ ip: '10.0.0.9' })).map(({ link }) => link)).toEqual([name]);
      await rtnl.links.delete({ name });
    }
    await rtnl.links.add({ kind: 'ifb', name: 'n\\xff' });
    const { stdout } = await netns.exec('sh', [
      '-c',
      "ls /sys/class/net 2>/dev/null; cat /proc/net/dev | grep -ac $(printf 'n\\377')",
    ]);
    expect(stdout.trim().split('\n').pop()).toBe('1');
    const refused = await rtnl.links.delete({ name: 'o\\xff' }).catch((error: Error) => error.message);
    expect(refused).toContain('o\\xff');
  });

  test('names that no link can have are refused before the kernel makes a pattern or another name of them', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    for (const name of ['eth%d', 'a/b', 'a b', 'sixteen-bytes-xx', '', '.', '..', 'a\\x20b', 'a\\x00b', 'all'])
      await expect(rtnl.links.add({ kind: 'ifb', name }), name).rejects.toThrow(/^name: /);
    await expect(rtnl.links.replace({ kind: 'ifb', name: 'eth%d' })).rejects.toThrow(/^name: /);
    await expect(rtnl.links.set({ name: 'lo', newName: 'eth%d' })).rejects.toThrow(/^newName: /);
    expect((await rtnl.links.list()).map(({ name }) => name)).toEqual(['lo']);
    for (const link of ['x'.repeat(128), 'a\\x00b']) {
      await expect(rtnl.addresses.list({ link })).rejects.toThrow(/^link: /);
      await expect(rtnl.neighbors.add({ link, ip: '10.0.0.1', state: 'permanent' })).rejects.toThrow(/^link: /);
    }
    await expect(rtnl.addresses.list({ link: 'nope' })).rejects.toThrow('cannot list addresses in');
  });

  test('a row is of the link that it was listed of', async () => {
    const netns = await withAltnames();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await rtnl.neighbors.add({ link: 'v0', ip: '10.0.0.5', mac: '02:00:00:00:00:05', state: 'permanent' });
    const [row] = await rtnl.neighbors.list({ ip: '10.0.0.5' });
    if (row === undefined) throw new Error('not listed');
    // Of another link that there is, and of none.
    await expect(rtnl.neighbors.replace({ ...row, link: 'v1' })).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(rtnl.neighbors.delete({ ...row, link: 'v1' })).rejects.toMatchObject({
      hint: expect.stringContaining('index'),
    });
    await netns.ip('link set v0 name v9');
    await expect(rtnl.neighbors.replace(row)).rejects.toMatchObject({ code: 'ENODEV' });
    const { link: _, ...byIndex } = row;
    await rtnl.neighbors.replace(byIndex as typeof row);
    await netns.ip('link set v1 name v0');
    await expect(rtnl.neighbors.delete(row)).rejects.toMatchObject({ code: 'ENODEV' });
    await netns.ip('link set v0 name v1');
    await rtnl.neighbors.delete(row);
    expect(await rtnl.neighbors.list({ ip: '10.0.0.5' })).toEqual([]);
  });
});
