/** VLANs and multicast groups of bridges, as iproute2 lists them. */
import { expect, test } from 'vitest';
import { type MdbEntry, netns, Rtnl } from '../../lib/index.js';
import { createNetns, type Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

type Json = Record<string, unknown>;

/** One of `bridge -j -d mdb show`, without its timers. */
function mdbJson(entry: MdbEntry): Json {
  return {
    index: entry.bridgeIndex,
    dev: entry.bridge,
    port: entry.link,
    grp: entry.group,
    src: entry.source,
    state: entry.state,
    filter_mode: entry.filterMode,
    source_list: entry.sources?.map(({ ip }) => ({ address: ip })),
    protocol: entry.protocol,
    flags: entry.flags ?? [],
    vid: entry.vlan,
  };
}

const withoutTimers = ({ source_list, ...entry }: Json): Json => ({
  ...entry,
  source_list: (source_list as Json[] | undefined)?.map(({ address }) => ({ address })),
});
/** True for groups that the kernel joins by itself, at a moment of its own. */
const isOwn = ({ group, grp }: { group?: unknown; grp?: unknown }): boolean => String(group ?? grp).startsWith('ff02:');

/** Two bridges, `br0` with the port `v0`, behind which is `w0`. */
async function scene(): Promise<Netns> {
  const space = await createNetns();
  await space.ip('link add br0 type bridge mcast_igmp_version 3');
  await space.ip('link add br1 type bridge');
  await space.ip('link add v0 type veth peer name w0');
  await space.ip('link add v1 type veth peer name w1');
  await space.ip('link set v0 master br0');
  await space.ip('link set v1 master br1');
  for (const link of ['br0', 'br1', 'v0', 'w0', 'v1', 'w1']) await space.ip(`link set ${link} addrgenmode none up`);
  await space.ip('address add 10.9.0.2/24 dev w0');
  return space;
}

describeWith(['root', 'ip'], 'multicast groups', () => {
  test('are those of bridge mdb show', async () => {
    const space = await scene();
    await using rtnl = await Rtnl.open({ netns: space.name });
    const permanent = ['239.1.1.1', '239.1.1.3 src 10.0.0.9', 'ff05::7 src 2001:db8::1', '01:00:5e:11:22:33'];
    for (const group of permanent) await space.bridge(`mdb add dev br0 port v0 grp ${group} permanent`);
    await space.bridge('mdb add dev br1 port v1 grp 239.1.1.1 permanent');
    const member = await netns.dgram(space.name);
    member.addSourceSpecificMembership('10.0.0.7', '239.1.1.5', '10.9.0.2');
    await expect.poll(async () => (await rtnl.mdb.list({ group: '239.1.1.5' })).length, { timeout: 5000 }).toBe(2);

    const [bridges] = await space.bridgeJson('mdb show');
    const wanted = (bridges.mdb as Json[]).filter((each) => !isOwn(each)).map(withoutTimers);
    const listed = (await rtnl.mdb.list()).filter((each) => !isOwn(each));
    expect(listed.map(mdbJson)).toEqual(wanted);
    expect(wanted.length).toBe(7);
    const [reported] = listed.filter(({ sources }) => sources !== undefined);
    expect(reported?.sources?.[0]?.timer).toBeGreaterThan(20_000);
    member.close();

    const groups = async (filter: object): Promise<string[]> =>
      (await rtnl.mdb.list(filter)).filter((each) => !isOwn(each)).map(({ link, group }) => `${link} ${group}`);
    expect(await groups({ bridge: 'br1' })).toEqual(['v1 239.1.1.1']);
    expect(await groups({ linkIndex: listed[0]?.linkIndex, source: '2001:DB8:0::1' })).toEqual(['v0 ff05::7']);
    expect(await groups({ link: 'v0', group: '01:00:5E:11:22:33', state: 'permanent' })).toHaveLength(1);
    expect(await groups({ group: '239.1.1.1', protocol: 'kernel' })).toEqual([]);
    await expect(rtnl.mdb.list({ bridge: 'none' })).rejects.toMatchObject({ code: 'ENODEV' });
  });
});

describeWith(['root', 'ip'], 'VLANs of bridges', () => {
  test('are those of bridge vlan show, none where the kernel has none', async () => {
    const space = await scene();
    await using rtnl = await Rtnl.open({ netns: space.name });
    // Where the kernel can do it.
    await space.exec('bridge', ['vlan', 'add', 'dev', 'v0', 'vid', '10-20'], { check: false });
    await space.exec('bridge', ['vlan', 'add', 'dev', 'v0', 'vid', '30', 'pvid', 'untagged'], { check: false });
    const words: Record<string, string> = { pvid: 'PVID', untagged: 'Egress Untagged' };
    // Without details: those come from where Rtnl has its own.
    const { stdout } = await space.exec('bridge', ['-j', 'vlan', 'show']);
    const ports = JSON.parse(stdout || '[]') as { ifname: string; vlans: { vlan: number; flags?: string[] }[] }[];
    const wanted = ports.flatMap(({ ifname, vlans }) => vlans.map(({ vlan, flags = [] }) => [ifname, vlan, ...flags]));
    const listed = (await rtnl.vlans.list()).flatMap(({ link, vlan, lastVlan = vlan, flags = [] }) =>
      Array.from({ length: lastVlan - vlan + 1 }, (_, at) => [link, vlan + at, ...flags.map((flag) => words[flag])]),
    );
    expect(listed).toEqual(wanted);
    const within = await rtnl.vlans.list({ link: 'v0', vlan: 15 });
    expect(within.length).toBe(wanted.filter(([link, vlan]) => link === 'v0' && vlan === 15).length);
    await expect(rtnl.vlans.list({ link: 'none' })).rejects.toMatchObject({ code: 'ENODEV' });
  });
});

test('what is no filter is refused by name', async () => {
  // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
  await using rtnl = (await Rtnl.open()) as any;
  await expect(rtnl.vlans.list({ vlna: 1 })).rejects.toThrow(/"vlna": did you mean vlan/);
  await expect(rtnl.vlans.list({ vlan: '1' })).rejects.toThrow(/^vlan: /);
  await expect(rtnl.mdb.list({ port: 'eth0' })).rejects.toThrow(/^port: /);
  await expect(rtnl.mdb.list({ group: '01:00:5e' })).rejects.toThrow(/^group: /);
  await expect(rtnl.mdb.list({ master: 'br0' })).rejects.toThrow(/"master"/);
});
