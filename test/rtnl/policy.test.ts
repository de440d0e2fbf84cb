/** Rules, nexthops and the flushing of routes: as iproute2 has them, and what is listed is written and deleted again. */
import { expect, test } from 'vitest';
import { type Given, type Nexthop, Rtnl, type Rule } from '../../lib/index.js';
import { createNetns, type Netns as TestNetns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

/** A namespace with a bridge of its own and an address in 10.0.0.0/24. */
async function scene(): Promise<{ readonly space: TestNetns; readonly rtnl: Rtnl }> {
  const space = await createNetns();
  await space.ip('link add br1 type bridge');
  // A link-local address would come by itself, seconds later.
  await space.ip('link set br1 addrgenmode none');
  await space.ip('link set br1 up');
  await space.ip('address add 10.0.0.1/24 dev br1');
  await space.ip('-6 address add fd00::1/64 dev br1 nodad');
  return { space, rtnl: await Rtnl.open({ netns: space.name }) };
}

const json = async (space: TestNetns, what: string): Promise<Record<string, unknown>[]> =>
  JSON.parse((await space.ip(`-j -d -N ${what}`)) || '[]');

/** Each as it is written by Rtnl, and by iproute2. */
const RULES: readonly [Given<Rule>, string][] = [
  [{ priority: 100, from: '10.1.0.0/16', table: 42 }, 'pref 100 from 10.1.0.0/16 lookup 42'],
  [
    { priority: 100, from: '10.1.0.0/16', to: '10.2.0.7/32', tos: 16, table: 4_000_000_000 },
    'pref 100 from 10.1.0.0/16 to 10.2.0.7 tos 0x10 lookup 4000000000',
  ],
  [
    { priority: 101, flags: ['invert'], iif: 'lo', oif: 'br1', action: 'unreachable' },
    'pref 101 not iif lo oif br1 unreachable',
  ],
  [
    { priority: 102, mark: 5, markMask: 255, table: 7, protocol: 'static' },
    'pref 102 fwmark 5/255 lookup 7 proto static',
  ],
  [
    { priority: 103, ipProtocol: 6, sourcePorts: { low: 80, high: 80 }, destinationPorts: { low: 1000, high: 2000 } },
    'pref 103 ipproto 6 sport 80 dport 1000-2000 lookup main',
  ],
  [{ priority: 104, uids: { low: 1, high: 4_000_000_000 }, table: 9 }, 'pref 104 uidrange 1-4000000000 lookup 9'],
  [{ priority: 105, tunnel: 2n ** 63n + 5n, action: 'prohibit' }, 'pref 105 tun_id 9223372036854775813 prohibit'],
  [{ priority: 106, suppressPrefixLength: 0, table: 254 }, 'pref 106 lookup main suppress_prefixlength 0'],
  [{ priority: 107, suppressGroup: 3, table: 254 }, 'pref 107 lookup main suppress_ifgroup 3'],
  [{ priority: 108, goto: 32766 }, 'pref 108 goto 32766'],
  [{ priority: 109, goto: 20_000 }, 'pref 109 goto 20000'],
  [{ priority: 110, action: 'blackhole', realms: 0x30004 }, 'pref 110 realms 3/4 blackhole'],
  [{ priority: 111, l3mdev: true, protocol: 'unspec' }, 'pref 111 l3mdev protocol unspec'],
  [{ family: 'inet6', priority: 100, from: 'fd00::/64', table: 42 }, 'pref 100 from fd00::/64 lookup 42'],
  [{ family: 'inet6', priority: 0, action: 'nop' }, 'pref 0 nop'],
];
/** What iproute2 6.1 does not take. */
const NEWER: readonly Given<Rule>[] = [
  {
    family: 'inet',
    priority: 200,
    sourcePorts: { low: 0x50, high: 0x50 },
    sourcePortMask: 0xf0,
    dscp: 10,
    dscpMask: 14,
  },
  { family: 'inet6', priority: 201, destinationPorts: { low: 5, high: 5 }, destinationPortMask: 7, action: 'prohibit' },
  { family: 'inet6', priority: 202, flowLabel: 0x12345, flowLabelMask: 0xff_fff, table: 5 },
  { family: 'ipmr', priority: 203, iif: 'br1', table: 6 },
  { family: 'ip6mr', priority: 204, table: 6 },
];

describeWith(['root', 'ip'], 'rules', () => {
  test('are made as iproute2 makes them, told as given, and deleted as listed', async () => {
    const [a, b] = [await scene(), await scene()];
    await using rtnl = a.rtnl;
    await using _ = b.rtnl;
    for (const [rule, words] of RULES) {
      const family = rule.family === 'inet6' ? '-6 ' : '';
      await rtnl.rules.add(rule);
      await b.space.ip(`${family}rule add ${words}`);
      expect(await json(a.space, `${family}rule show`), words).toEqual(await json(b.space, `${family}rule show`));
      const told = await rtnl.rules.list({ family: rule.family ?? 'inet', priority: rule.priority ?? 0 });
      expect(told.at(-1)).toMatchObject(rule);
      expect(told.at(-1)?.unknown).toBeUndefined();
      await expect(rtnl.rules.add(rule)).rejects.toMatchObject({ code: 'EEXIST', syscall: 'RTM_NEWRULE' });
    }
    for (const rule of NEWER) {
      await rtnl.rules.add(rule);
      const [told, ...more] = await rtnl.rules.list({ family: rule.family ?? 'inet', priority: rule.priority ?? 0 });
      expect(told).toMatchObject(rule);
      expect(told?.unknown).toBeUndefined();
      expect(more).toEqual([]);
    }
    // Written again as they are listed: by replace() nothing changes, and deleted and added they are the same.
    const before = await rtnl.rules.list();
    for (const rule of before) await rtnl.rules.replace(rule);
    expect(await rtnl.rules.list()).toEqual(before);
    for (const rule of [...before].reverse()) {
      await rtnl.rules.delete(rule);
      await expect(rtnl.rules.delete(rule)).rejects.toMatchObject({ code: 'ENOENT', syscall: 'RTM_DELRULE' });
    }
    expect(await rtnl.rules.list()).toEqual([]);
    await rtnl.rules.batch(before.map((item) => ({ op: 'add', item })));
    const byKey = (rules: readonly Rule[]): string[] =>
      rules
        .map((rule) => JSON.stringify(rule, (_key, value) => (typeof value === 'bigint' ? `${value}` : value)))
        .sort();
    expect(byKey(await rtnl.rules.list())).toEqual(byKey(before));
  });

  test("the priority is the kernel's choice unless given, and a part of a rule deletes the first that has it", async () => {
    const { rtnl } = await scene();
    await using _ = rtnl;
    await rtnl.rules.add({ from: '10.1.0.0/16', table: 5 });
    await rtnl.rules.add({ from: '10.2.0.0/16', table: 5 });
    expect((await rtnl.rules.list({ table: 5 })).map(({ priority }) => priority)).toEqual([32_764, 32_765]);
    await rtnl.rules.delete({ table: 5 });
    expect((await rtnl.rules.list({ table: 5 })).map(({ from }) => from)).toEqual(['10.1.0.0/16']);
  });

  test('one that stands behind another for more is not deleted in its place', async () => {
    const { rtnl } = await scene();
    await using _ = rtnl;
    await rtnl.rules.add({ priority: 100, from: '10.1.0.0/16', table: 5 });
    await rtnl.rules.add({ priority: 100, table: 5 });
    const [narrow, wide] = (await rtnl.rules.list({ table: 5 })) as [Rule, Rule];
    expect([narrow.from, wide.from]).toEqual(['10.1.0.0/16', undefined]);
    const error = await rtnl.rules.delete(wide).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'EBUSY', hint: expect.stringContaining('comes first') });
    expect(await rtnl.rules.list({ table: 5 })).toEqual([narrow, wide]);
    // Both in one batch, or the first before.
    const answers = await rtnl.rules.batch([narrow, wide].map((item) => ({ op: 'delete', item })));
    expect(answers).toEqual([{ ok: true }, { ok: true }]);
  });

  test('flush takes what a listing gives, and leaves the kernel its own', async () => {
    const { rtnl, space } = await scene();
    await using _ = rtnl;
    const own = await rtnl.rules.list();
    for (const [rule] of RULES) await rtnl.rules.add(rule);
    const listed = await rtnl.rules.list({ priority: 100, family: 'inet' });
    expect(listed).toHaveLength(2);
    expect(await rtnl.rules.flush({ priority: 100, family: 'inet' })).toBe(2);
    expect(await rtnl.rules.flush()).toBe(RULES.length - 2);
    expect(await rtnl.rules.list()).toEqual(own);
    expect(await rtnl.rules.flush({ family: 'inet', protocol: 'kernel' })).toBe(3);
    expect(await json(space, 'rule show')).toEqual([]);
  });

  test('what is no rule is refused by name', async () => {
    const { rtnl } = await scene();
    await using _ = rtnl;
    // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
    const rules = rtnl.rules as any;
    await expect(rules.add({ from: 'x' })).rejects.toThrow(/^from: /);
    await expect(rules.add({ family: 'inet', from: 'fd00::/8' })).rejects.toThrow(/^from: .*rule's family/);
    await expect(rules.add({ from: '10.0.0.0/8', to: 'fd00::/8' })).rejects.toThrow(/^to: .*rule's family/);
    await expect(rules.add({ priority: 5, family: 'inet7' })).rejects.toThrow(/^family: /);
    await expect(rules.add({ table: 0 })).rejects.toThrow(/^table: /);
    await expect(rules.add({ action: 'lookup' })).rejects.toThrow(/^action: .*blackhole/);
    await expect(rules.add({ tunnel: 5 })).rejects.toThrow(/^tunnel: expected a bigint/);
    await expect(rules.add({ tunnel: -5n })).rejects.toThrow(/^tunnel: /);
    await expect(rules.add({ uids: { low: 1 } })).rejects.toThrow(/^uids: /);
    await expect(rules.add({ sourcePorts: { low: 1, high: 65_536 } })).rejects.toThrow(/^sourcePorts\.high: /);
    await expect(rules.add({ priority: 5, flags: ['inverted'] })).rejects.toThrow(/^flags: /);
    await expect(rules.add({ priority: 5, unknown: [{ type: 0, bytes: new Uint8Array() }] })).rejects.toThrow(
      /^unknown\[0\]\.type: /,
    );
    await expect(rules.add({ priority: 5, unknown: [{ type: 30_000 }] })).rejects.toThrow(/^unknown/);
    await expect(rules.batch([{ op: 'append', item: { priority: 5 } }])).rejects.toThrow(/^op: /);
    await expect(rules.set({ table: 3 })).rejects.toThrow(/^op: /);
    await expect(rules.add({ priority: 5, action: 'goto' })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

const NEXTHOPS: readonly [Nexthop, string][] = [
  [{ id: 1, gateway: '10.0.0.2', link: 'br1' }, 'id 1 via 10.0.0.2 dev br1'],
  [
    { id: 2, gateway: '10.9.0.3', link: 'br1', flags: ['onlink'], protocol: 'static' },
    'id 2 via 10.9.0.3 dev br1 onlink protocol static',
  ],
  [{ id: 3, blackhole: true }, 'id 3 blackhole'],
  [{ id: 4, family: 'inet6', blackhole: true }, '-6|id 4 blackhole'],
  [{ id: 5, gateway: 'fd00::2', link: 'br1' }, 'id 5 via fd00::2 dev br1'],
  [{ id: 6, link: 'br1' }, 'id 6 dev br1'],
  [{ id: 7, gateway: '10.0.0.9', fdb: true }, 'id 7 via 10.0.0.9 fdb'],
  [{ id: 8, gateway: '10.0.0.10', fdb: true }, 'id 8 via 10.0.0.10 fdb'],
  [
    {
      id: 20,
      group: [
        { id: 1, weight: 256 },
        { id: 2, weight: 1 },
      ],
      groupType: 'mpath',
    },
    'id 20 group 1,256/2',
  ],
  [
    {
      id: 21,
      group: [
        { id: 7, weight: 1 },
        { id: 8, weight: 1 },
      ],
      fdb: true,
    },
    'id 21 group 7/8 fdb',
  ],
  [
    {
      id: 22,
      group: [
        { id: 1, weight: 1 },
        { id: 2, weight: 1 },
      ],
      groupType: 'resilient',
      resilient: { buckets: 64, idleTimer: 500, unbalancedTimer: 700 },
    },
    'id 22 group 1/2 type resilient buckets 64 idle_timer 5 unbalanced_timer 7',
  ],
  [{ id: 4_000_000_000, group: [{ id: 5, weight: 3 }] }, 'id 4000000000 group 5,3'],
];

describeWith(['root', 'ip'], 'nexthops', () => {
  test('are made as iproute2 makes them, told as given, and written and deleted as listed', async () => {
    const [a, b] = [await scene(), await scene()];
    await using rtnl = a.rtnl;
    await using _ = b.rtnl;
    for (const [nexthop, words] of NEXTHOPS) {
      const [family, rest] = words.includes('|') ? (words.split('|') as [string, string]) : ['', words];
      await rtnl.nexthops.add(nexthop);
      await b.space.ip(`${family} nexthop add ${rest}`);
      // How long a group has been out of balance differs at every look.
      expect(await json(a.space, 'nexthop show'), words).toEqual(await json(b.space, 'nexthop show'));
      const [told] = await rtnl.nexthops.list({ id: nexthop.id });
      expect(told).toMatchObject(nexthop);
      expect(told?.unknown).toBeUndefined();
      await expect(rtnl.nexthops.add(nexthop)).rejects.toMatchObject({ code: 'EEXIST', syscall: 'RTM_NEWNEXTHOP' });
    }
    const before = await rtnl.nexthops.list();
    for (const nexthop of before) await rtnl.nexthops.replace(nexthop);
    expect(await rtnl.nexthops.list()).toEqual(before);
    await rtnl.nexthops.replace({ id: 1, gateway: '10.0.0.5', link: 'br1' });
    expect((await rtnl.nexthops.list({ id: 1 }))[0]?.gateway).toBe('10.0.0.5');
    await rtnl.nexthops.replace({ id: 20, group: [{ id: 6 }, { id: 1, weight: 1000 }] });
    expect((await rtnl.nexthops.list({ id: 20 }))[0]?.group).toEqual([
      { id: 6, weight: 1 },
      { id: 1, weight: 1000 },
    ]);
    for (const nexthop of [...before].reverse()) {
      await rtnl.nexthops.delete(nexthop);
      await expect(rtnl.nexthops.delete({ id: nexthop.id })).rejects.toMatchObject({ code: 'ENOENT' });
    }
    expect(await json(a.space, 'nexthop show')).toEqual([]);
  });

  test('flush takes what a listing gives; routes go with theirs', async () => {
    const { rtnl } = await scene();
    await using _ = rtnl;
    for (const [nexthop] of NEXTHOPS) await rtnl.nexthops.add(nexthop);
    await rtnl.routes.add({ dst: '192.0.2.0/24', nexthop: 20 });
    expect(await rtnl.nexthops.flush({ protocol: 'static' })).toBe(1);
    expect((await rtnl.nexthops.list({ id: 20 }))[0]?.group).toEqual([{ id: 1, weight: 256 }]);
    expect(await rtnl.nexthops.flush({ link: 'br1' })).toBe(3);
    expect(await rtnl.routes.list({ dst: '192.0.2.0/24' })).toEqual([]);
    expect((await rtnl.nexthops.list()).map(({ id }) => id)).toEqual([3, 4, 7, 8, 21]);
    expect(await rtnl.nexthops.flush()).toBe(5);
    expect(await rtnl.nexthops.list()).toEqual([]);
    expect(await rtnl.nexthops.flush()).toBe(0);
  });

  test('an encapsulation is kept, and written as it is', async () => {
    const { rtnl, space } = await scene();
    await using _ = rtnl;
    await space.ip('nexthop add id 9 encap ip id 5 dst 10.0.0.7 via 10.0.0.3 dev br1');
    const [told] = (await rtnl.nexthops.list({ id: 9 })) as [Nexthop];
    expect(told.unknown?.map(({ type }) => type).sort()).toEqual([7, 8]);
    const before = await json(space, 'nexthop show');
    await rtnl.nexthops.delete({ id: 9 });
    await rtnl.nexthops.add(told);
    expect(await json(space, 'nexthop show')).toEqual(before);
  });

  test('what is no nexthop is refused by name', async () => {
    const { rtnl } = await scene();
    await using _ = rtnl;
    // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
    const nexthops = rtnl.nexthops as any;
    await expect(nexthops.add({ blackhole: true })).rejects.toThrow(/^id: /);
    await expect(nexthops.add({ id: 0 })).rejects.toThrow(/^id: /);
    await expect(nexthops.delete({ gateway: '10.0.0.2' })).rejects.toThrow(/^id: /);
    await expect(nexthops.add({ id: 1, group: [] })).rejects.toThrow(/^group: /);
    await expect(nexthops.add({ id: 1, group: [{ weight: 3 }] })).rejects.toThrow(/^group\[0\]\.id: /);
    await expect(nexthops.add({ id: 1, group: [{ id: 2, weight: 0 }] })).rejects.toThrow(/^group\[0\]\.weight: /);
    await expect(nexthops.add({ id: 1, family: 'inet6', gateway: '10.0.0.2' })).rejects.toThrow(/^family: /);
    await expect(nexthops.add({ id: 1, groupType: 'hash' })).rejects.toThrow(/^groupType: /);
    await expect(nexthops.add({ id: 1, resilient: { buckets: 0x1_0000 } })).rejects.toThrow(/^resilient\.buckets: /);
    await expect(nexthops.add({ id: 1, link: 'none' })).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(nexthops.add({ id: 1, gateway: '192.0.2.1', link: 'br1' })).rejects.toMatchObject({
      code: 'ENETUNREACH',
    });
  });
});

describeWith(['root', 'ip'], 'routes flushed', () => {
  const routes = [
    '10.1.0.0/16',
    '10.1.2.0/24',
    '10.1.2.3/32',
    '10.2.0.0/16',
    '0.0.0.0/0',
    'fd01::/32',
    'fd01:0:1::/48',
  ];

  async function filled(): Promise<{ readonly space: TestNetns; readonly rtnl: Rtnl }> {
    const made = await scene();
    for (const dst of routes) await made.rtnl.routes.add({ dst, link: 'br1', protocol: 'bgp' });
    await made.rtnl.routes.add({ dst: '10.1.9.0/24', gateway: '10.0.0.7', table: 77 });
    await made.rtnl.routes.add({ dst: '10.3.0.0/16', type: 'blackhole', metric: 5 });
    return made;
  }

  test.each([
    [{ root: '10.1.0.0/16', family: 'inet' }, 'root 10.1.0.0/16 table all'],
    [{ root: '10.1.2.0/24', table: 254 }, 'root 10.1.2.0/24'],
    [{ match: '10.1.2.0/24', table: 254 }, 'match 10.1.2.0/24'],
    [{ root: '10.1.0.0/16', match: '10.1.2.0/24', table: 254 }, 'root 10.1.0.0/16 match 10.1.2.0/24'],
    [{ dst: '10.1.0.0/16', table: 254 }, 'exact 10.1.0.0/16'],
    [{ protocol: 'bgp', family: 'inet' }, 'proto bgp table all'],
    [{ type: 'blackhole', family: 'inet' }, 'type blackhole table all'],
    [{ table: 77 }, 'table 77'],
    [{ link: 'br1', table: 254, family: 'inet' }, 'dev br1'],
    [{ root: 'fd01::/32' }, '-6|root fd01::/32'],
    [{ match: 'fd01:0:1::/64' }, '-6|match fd01:0:1::/64'],
    [{ table: 255, family: 'inet' }, 'table local'],
  ] as const)('by %o as `ip route flush`', async (filter, words) => {
    const [a, b] = [await filled(), await filled()];
    await using rtnl = a.rtnl;
    await using _ = b.rtnl;
    const listed = await rtnl.routes.list(filter);
    const [family, rest] = words.includes('|') ? (words.split('|') as [string, string]) : ['-4', words];
    await b.space.ip(`${family} route flush ${rest}`);
    expect(await rtnl.routes.flush(filter)).toBe(listed.length);
    expect(listed.length).toBeGreaterThan(0);
    expect(await rtnl.routes.list(filter)).toEqual([]);
    for (const each of ['-4', '-6']) {
      const show = `${each} route show table all`;
      expect(await a.space.ip(show)).toBe(await b.space.ip(show));
    }
  });

  test('leaves the local table unless asked', async () => {
    const { rtnl } = await filled();
    await using _ = rtnl;
    const local = await rtnl.routes.list({ table: 255 });
    expect(local.length).toBeGreaterThan(3);
    const others = (await rtnl.routes.list()).length - local.length;
    expect(await rtnl.routes.flush()).toBe(others);
    expect(await rtnl.routes.list()).toEqual(local);
    await expect(rtnl.routes.flush({ root: '10.0.0.0/33' })).rejects.toThrow(/^root: /);
    await expect(rtnl.routes.flush({ match: 'everything' })).rejects.toThrow(/^match: /);
  });
});
