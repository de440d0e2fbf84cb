/** Which address of a host is the VTEP, and how large a packet crosses: the kernel's own routing decides. */
import { expect, test } from 'vitest';
import { Overlay, type OverlayOptions, Rtnl } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { createNetns, exec, Netns, twoHosts, uniqueName } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

/** A host with the links eth0, eth1, ..., each with its other end, up0, up1, ..., in the same namespace. */
async function machine(links: number, ...commands: readonly string[]): Promise<Netns> {
  const host = await createNetns();
  await host.sysctl('net/ipv6/conf/default/accept_dad', 0);
  await ipBatch(host, [
    ...Array.from({ length: links }, (_, n) => [
      `link add eth${n} type veth peer name up${n}`,
      `link set up${n} up`,
      `link set eth${n} up`,
    ]).flat(),
  ]);
  for (let n = 0; n < links; n++) await host.sysctl(`net/ipv6/conf/up${n}/disable_ipv6`, 1);
  await ipBatch(host, commands);
  return host;
}

/** Commands of `ip`, those with -6 in a call of their own. */
async function ipBatch(netns: Netns, commands: readonly string[]): Promise<void> {
  await exec('ip', ['-n', netns.name, '-batch', '-'], {
    input: commands.filter((each) => !each.startsWith('-6 ')).join('\n'),
  });
  for (const each of commands) if (each.startsWith('-6 ')) await netns.ip(each);
}

async function create(host: Netns, options: Partial<OverlayOptions> = {}): Promise<Overlay> {
  const overlay = await Overlay.create({ name: uniqueName(), vni: 42, host: host.name, ...options });
  onCleanup(() => overlay.close());
  return overlay;
}

/** Refused, and nothing left behind. */
async function refusal(host: Netns, options: Partial<OverlayOptions> = {}): Promise<object> {
  const name = uniqueName();
  const error = await Overlay.create({ name, vni: 42, host: host.name, ...options }).then(
    () => undefined,
    (thrown: object) => thrown,
  );
  const { stdout } = await exec('ip', ['netns', 'list']);
  expect(stdout).not.toContain(`${name}\n`);
  return error ?? { message: 'it was made' };
}

const ADDRESS = 'address add 10.0.0.10/24 dev eth0';
const DEFAULT = 'route add default via 10.0.0.1';

describeWith(['root', 'ip'], 'the underlay', () => {
  const CHOSEN: [
    name: string,
    links: number,
    commands: readonly string[],
    vtep: string,
    mtu: number,
    options?: Partial<OverlayOptions>,
  ][] = [
    ['a default route', 1, [ADDRESS, DEFAULT], '10.0.0.10', 1450],
    ['no route but that to its network', 1, [ADDRESS], '10.0.0.10', 1450],
    [
      'equal ways, the VTEP on lo: the smallest MTU of them',
      2,
      [
        'link set eth1 mtu 1400',
        'address add 172.16.0.2/31 dev eth0',
        'address add 172.16.1.2/31 dev eth1',
        'address add 10.1.1.1/32 dev lo',
        'route add default proto bird src 10.1.1.1 nexthop via 172.16.0.3 dev eth0 nexthop via 172.16.1.3 dev eth1',
      ],
      '10.1.1.1',
      1350,
    ],
    [
      'equal ways of one nexthop object',
      2,
      [
        'link set eth1 mtu 1400',
        'address add 172.16.0.2/31 dev eth0',
        'address add 172.16.1.2/31 dev eth1',
        'nexthop add id 1 via 172.16.0.3 dev eth0',
        'nexthop add id 2 via 172.16.1.3 dev eth1',
        'nexthop add id 3 group 1/2',
        'route add default nhid 3 src 172.16.1.2',
      ],
      '172.16.1.2',
      1350,
    ],
    [
      'equal ways with a source each: always the first',
      2,
      [
        'address add 172.16.0.2/31 dev eth0',
        'address add 172.16.1.2/31 dev eth1',
        'route add default nexthop via 172.16.0.3 dev eth0 weight 1 nexthop via 172.16.1.3 dev eth1 weight 250',
      ],
      '172.16.0.2',
      1450,
    ],
    [
      'the VTEP on lo, named, with specific routes only: no MTU that could be too large',
      2,
      [
        'link set eth1 mtu 1400',
        'address add 172.16.0.2/31 dev eth0',
        'address add 172.16.1.2/31 dev eth1',
        'address add 10.1.1.1/32 dev lo',
        'route add 10.1.1.2/32 via 172.16.0.3',
      ],
      '10.1.1.1',
      1350,
      { vtep: '10.1.1.1' },
    ],
    [
      'unnumbered links: the address on lo',
      2,
      ['address add 10.1.1.1/32 dev lo', 'route add 0.0.0.0/0 via inet6 fe80::1 dev eth0', 'link set eth1 mtu 1300'],
      '10.1.1.1',
      1450,
    ],
    [
      'a route with an MTU of its own',
      1,
      ['link set eth0 mtu 9001', ADDRESS, `${DEFAULT} mtu 1500`],
      '10.0.0.10',
      1450,
    ],
    [
      'a route with an MTU that is locked',
      1,
      ['link set eth0 mtu 9001', ADDRESS, `${DEFAULT} mtu lock 1500`],
      '10.0.0.10',
      1450,
    ],
    ['a route with an MTU beyond its link', 1, [ADDRESS, `${DEFAULT} mtu 9000`], '10.0.0.10', 1450],
    [
      'a network whose route has an MTU',
      1,
      [ADDRESS, 'route change 10.0.0.0/24 dev eth0 src 10.0.0.10 mtu 1400'],
      '10.0.0.10',
      1350,
    ],
    [
      'a default route in another table',
      2,
      [
        ADDRESS,
        'address add 10.0.1.10/24 dev eth1',
        'rule add priority 32000 lookup 201',
        'route add default via 10.0.1.1 table 201',
      ],
      '10.0.1.10',
      1450,
    ],
    [
      'a rule for VXLAN only',
      2,
      [
        ADDRESS,
        'address add 10.0.1.10/24 dev eth1',
        DEFAULT,
        // UDP, by its number: a bare machine has no /etc/protocols.
        'rule add ipproto 17 dport 4789 lookup 201',
        'route add default via 10.0.1.1 table 201',
      ],
      '10.0.1.10',
      1450,
    ],
    [
      'a rule by the source: where the VTEP goes counts, not where the default route goes',
      2,
      [
        'link set eth1 mtu 1400',
        ADDRESS,
        'address add 10.0.1.10/24 dev eth1',
        DEFAULT,
        'rule add from 10.0.1.10 lookup 201',
        'route add default via 10.0.1.1 table 201',
      ],
      '10.0.1.10',
      1350,
      { vtep: '10.0.1.10' },
    ],
    [
      'a preferred source of another link',
      2,
      [ADDRESS, 'address add 10.0.1.10/24 dev eth1', 'link set eth1 mtu 1400', `${DEFAULT} src 10.0.1.10`],
      '10.0.1.10',
      1450,
    ],
    [
      'the smaller metric',
      2,
      [
        ADDRESS,
        'address add 10.0.1.10/24 dev eth1',
        `${DEFAULT} metric 200`,
        'route add default via 10.0.1.1 metric 100',
      ],
      '10.0.1.10',
      1450,
    ],
    [
      'documentation addresses that are rejected, as bogons are',
      1,
      [ADDRESS, DEFAULT, 'route add blackhole 192.0.2.0/24', 'address add 10.0.7.7/24 dev eth0'],
      '10.0.0.10',
      1450,
    ],
    [
      'a network of documentation addresses, and the way out over another link',
      2,
      ['address add 192.0.2.10/24 dev eth0', 'address add 10.0.1.10/24 dev eth1', 'route add default via 10.0.1.1'],
      '10.0.1.10',
      1450,
    ],
    [
      "the Internet's routes without a default",
      2,
      [ADDRESS, 'address add 10.0.1.10/24 dev eth1', 'route add 198.41.0.0/24 via 10.0.1.1'],
      '10.0.1.10',
      1450,
    ],
    [
      'an unreachable default, and one address',
      1,
      [ADDRESS, 'route add unreachable default metric 4278198272'],
      '10.0.0.10',
      1450,
    ],
    [
      'an unreachable default of IPv4, and IPv6',
      1,
      [
        ADDRESS,
        'route add unreachable default',
        'address add fd00:1::10/64 dev eth0 nodad',
        'route add default via fd00:1::1',
      ],
      'fd00:1::10',
      1430,
    ],
    [
      'IPv6 only',
      1,
      ['address add fd00:1::10/64 dev eth0 nodad', 'route add default via fe80::1 dev eth0 mtu 1420'],
      'fd00:1::10',
      1350,
    ],
    [
      'IPv6 with temporary and deprecated addresses',
      1,
      [
        'address add fd00:1::bad/64 dev eth0 preferred_lft 0 nodad',
        'address add fd00:1::10/64 dev eth0 nodad',
        'route add default via fe80::1 dev eth0',
      ],
      'fd00:1::10',
      1430,
    ],
    ['an IPv6 address alone, which is tentative yet', 1, ['address add fd00:1::10/64 dev eth0'], 'fd00:1::10', 1430],
    [
      'a tentative one, named',
      1,
      [ADDRESS, DEFAULT, 'address add fd00:1::10/64 dev eth0'],
      'fd00:1::10',
      1430,
      { vtep: 'fd00:1::10' },
    ],
    [
      'an address with a peer',
      1,
      ['link set eth0 mtu 1400', 'address add 10.1.1.1 peer 10.1.1.2/32 dev eth0'],
      '10.1.1.1',
      1350,
    ],
    ['a secondary address beside its first', 1, [ADDRESS, 'address add 10.0.0.11/24 dev eth0'], '10.0.0.10', 1450],
    [
      'a secondary address, named',
      1,
      [ADDRESS, 'address add 10.0.0.11/24 dev eth0'],
      '10.0.0.11',
      1450,
      { vtep: '10.0.0.11' },
    ],
    ['a link-local address beside a real one', 2, [ADDRESS, 'address add 169.254.7.7/16 dev eth1'], '10.0.0.10', 1450],
    [
      'an address of a link that is down beside it',
      2,
      [ADDRESS, 'address add 10.0.1.10/24 dev eth1', 'link set eth1 down'],
      '10.0.0.10',
      1450,
    ],
    ['an MTU below what fits', 1, [ADDRESS, DEFAULT], '10.0.0.10', 1000, { mtu: 1000 }],
  ];
  test.each(CHOSEN.map((each) => ({ name: each[0], each })))(
    '$name',
    async ({ each: [, links, commands, vtep, mtu, options = {}] }) => {
      const host = await machine(links);
      // Whoever gives an address without nodad wants to wait for it.
      for (let n = 0; n < links; n++) await host.sysctl(`net/ipv6/conf/eth${n}/accept_dad`, 1);
      await ipBatch(host, commands);
      const overlay = await create(host, options);
      expect({ vtep: overlay.vtep, mtu: overlay.mtu }).toEqual({ vtep, mtu });
      const [vxlan] = (await new Netns(overlay.name).ipJson('link show dev vxlan1')) as {
        mtu: number;
        linkinfo: { info_data: { local?: string; local6?: string } };
      }[];
      expect(vxlan?.mtu).toBe(mtu);
      expect(vxlan?.linkinfo.info_data.local ?? vxlan?.linkinfo.info_data.local6).toBe(vtep);
      // The kernel's own choice, where there is a route out.
      if (options.vtep !== undefined || !commands.some((each) => /default|0\.0\.0\.0\/0/.test(each))) return;
      const target = vtep.includes(':') ? '2001:503:ba3e::2:30' : '198.41.0.4';
      const oracle = await exec(
        'ip',
        ['-n', host.name, '-j', 'route', 'get', target, 'ipproto', '17', 'dport', '4789'],
        { check: false },
      );
      if (oracle.code === 0 && !commands.some((each) => each.includes('weight')))
        expect(JSON.parse(oracle.stdout)[0].prefsrc).toBe(vtep);
    },
  );

  const REFUSED: readonly (readonly [
    name: string,
    commands: readonly string[],
    options: Partial<OverlayOptions>,
    error: { code: string; message: unknown; hint?: unknown },
  ])[] = [
    [
      'several addresses and no route',
      [ADDRESS, 'address add 10.0.1.10/24 dev eth1'],
      {},
      {
        code: 'EADDRNOTAVAIL',
        message: 'no route leads out of the host, and it has several addresses: 10.0.0.10 (eth0), 10.0.1.10 (eth1)',
        hint: 'choose one with `vtep`',
      },
    ],
    ...(['unreachable', 'prohibited', 'a blackhole'] as const).map(
      (word) =>
        [
          `several addresses, and a default route that is ${word}`,
          [
            ADDRESS,
            'address add 10.0.1.10/24 dev eth1',
            `route add ${word.replace('a ', '').replace('ed', '')} default`,
          ],
          {},
          {
            code: 'EADDRNOTAVAIL',
            message: `the route out of the host is ${word}, and it has several addresses: 10.0.0.10 (eth0), 10.0.1.10 (eth1)`,
          },
        ] as const,
    ),
    [
      'an address that the host does not have',
      [ADDRESS],
      { vtep: '10.0.0.99' },
      {
        code: 'EADDRNOTAVAIL',
        message: 'vtep 10.0.0.99 is not an address of the host',
        hint: 'it has 10.0.0.10 (eth0)',
      },
    ],
    [
      'the broadcast address',
      ['address add 10.0.0.10/24 broadcast + dev eth0'],
      { vtep: '10.0.0.255' },
      { code: 'EADDRNOTAVAIL', message: 'vtep 10.0.0.255 is the broadcast address of the network on eth0' },
    ],
    [
      'an address of a link that is down',
      [ADDRESS, 'link set eth0 down'],
      { vtep: '10.0.0.10' },
      {
        code: 'ENETDOWN',
        message: 'vtep 10.0.0.10 is on eth0, which is down',
        hint: 'set it up: ip link set eth0 up',
      },
    ],
    [
      'none but on links that are down',
      [ADDRESS, 'link set eth0 down'],
      {},
      { code: 'EADDRNOTAVAIL', message: expect.any(String), hint: 'its links are down: 10.0.0.10 (eth0)' },
    ],
    [
      'IPv6 on a host without',
      [ADDRESS],
      { vtep: 'fd00:1::10' },
      {
        code: 'EADDRNOTAVAIL',
        message: 'vtep fd00:1::10 is not an address of the host',
        hint: 'it has no IPv6 address at all: see net.ipv6.conf.all.disable_ipv6',
      },
    ],
    [
      'a deprecated address alone',
      ['address add fd00:1::10/64 dev eth0 preferred_lft 0 nodad', 'route add default via fe80::1 dev eth0'],
      {},
      {
        code: 'EADDRNOTAVAIL',
        message: 'the host has no address to rely on: fd00:1::10 (eth0, deprecated)',
        hint: 'give it another one, or choose one with `vtep`',
      },
    ],
    [
      'a link-local address alone',
      ['address add 169.254.7.7/16 dev eth0'],
      {},
      { code: 'EADDRNOTAVAIL', message: 'the host has no address that other hosts could reach' },
    ],
    [
      'an MTU that the route does not carry',
      ['link set eth0 mtu 9001', ADDRESS, `${DEFAULT} mtu lock 1500`],
      { mtu: 8000 },
      {
        code: 'ERR_INVALID_ARG_VALUE',
        message: 'mtu: 8000 is not at most 1450: the route over eth0 carries 1500 bytes less 50 of VXLAN',
      },
    ],
    [
      'an MTU that one of equal ways does not carry',
      [
        'link set eth1 mtu 1400',
        ADDRESS,
        'address add 10.0.1.10/24 dev eth1',
        'route add default src 10.0.0.10 nexthop via 10.0.0.1 nexthop via 10.0.1.1',
      ],
      { mtu: 1450 },
      {
        code: 'ERR_INVALID_ARG_VALUE',
        message: 'mtu: 1450 is not at most 1350: eth1 carries 1400 bytes less 50 of VXLAN',
      },
    ],
    [
      'a path too narrow for IPv6',
      [ADDRESS, `${DEFAULT} mtu 1300`],
      { address: 'fd00:9::1/64' },
      {
        code: 'EMSGSIZE',
        message: 'the route over eth0 carries 1300 bytes: 1250 are left for the overlay, too few for IP',
        hint: 'raise the MTU of the route over eth0',
      },
    ],
  ];
  test.each(REFUSED)('%s: refused', async (_, commands, options, error) => {
    const host = await machine(2);
    for (const n of [0, 1])
      await host.sysctl(`net/ipv6/conf/eth${n}/disable_ipv6`, commands.join().includes('fd00') ? 0 : 1);
    await ipBatch(host, commands);
    expect(await refusal(host, options)).toMatchObject(error);
  });

  test('where nobody knows the way, any MTU that some link carries may be asked for', async () => {
    const commands = ['link set eth1 mtu 1400', 'address add 10.1.1.1/32 dev lo'];
    const host = await machine(2, ...commands);
    expect((await create(host, { vtep: '10.1.1.1', mtu: 1450 })).mtu).toBe(1450);
    expect(await refusal(host, { vtep: '10.1.1.1', vni: 43, mtu: 1451 })).toMatchObject({
      message: expect.stringContaining('at most 1450'),
    });
  });

  test('a temporary address is not chosen, though the kernel prefers it', async () => {
    const host = await machine(1, 'route add default via fe80::1 dev eth0');
    await host.sysctl('net/ipv6/conf/eth0/use_tempaddr', 2);
    await host.ip('address add fd00:1::10/64 dev eth0 mngtmpaddr nodad');
    const source = async (): Promise<string> => (await host.ipJson('route get 2001:db8::1'))[0].prefsrc;
    await until(async () => (await source()) !== 'fd00:1::10', 'a temporary address');
    expect((await create(host)).vtep).toBe('fd00:1::10');
  });

  test('an address that another host has too is refused', async () => {
    const [a, b] = await twoHosts();
    await a.sysctl('net/ipv6/conf/under0/accept_dad', 1);
    await b.ip('address add fd00:1::10/64 dev under0 nodad');
    await until(async () => (await b.ip('-6 route show table local')).includes('fd00:1::10'), 'the other one');
    await a.ip('address add fd00:1::10/64 dev under0');
    expect(await refusal(a, { vtep: 'fd00:1::10' })).toMatchObject({
      code: 'EADDRNOTAVAIL',
      message: 'another host has fd00:1::10 too: under0 may not use it',
    });
    // Nor is it one to choose.
    await a.ip('address del 10.0.0.10/24 dev under0');
    expect(await refusal(a)).toMatchObject({ hint: expect.stringContaining('give it another one') });
  });

  test('an address that stays tentative is refused in time', async () => {
    // Without a carrier from the start the kernel cannot ask.
    const host = await machine(0, 'link add eth0 type veth peer name up0', 'link set eth0 up');
    await host.sysctl('net/ipv6/conf/eth0/accept_dad', 1);
    await host.ip('address add fd00:1::10/64 dev eth0');
    expect(await refusal(host)).toMatchObject({
      code: 'EADDRNOTAVAIL',
      hint: 'see whether eth0 has a carrier, or give the address with nodad',
    });
    const aborted = Overlay.create({ name: uniqueName(), vni: 42, host: host.name, signal: AbortSignal.timeout(100) });
    await expect(aborted).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });

  test('an overlay made by hand without a local address', async () => {
    const host = await machine(2, ADDRESS, 'address add 10.0.1.10/24 dev eth1', DEFAULT);
    for (const [words, vtep] of [
      ['id 7 dstport 4789', '10.0.0.10'],
      ['id 8 dstport 4789 remote 10.0.1.99', '10.0.1.10'],
      ['id 9 dstport 4790 dev eth1', '10.0.1.10'],
      ['id 10 dstport 4791 group 239.1.1.1 dev eth1', '10.0.1.10'],
    ] as const) {
      const made = await createNetns();
      await host.ip(`link add vxlan1 netns ${made.name} type vxlan ${words} proxy l2miss l3miss`);
      await using overlay = await Overlay.open(made.name, { host: host.name });
      expect(overlay.vtep, words).toBe(vtep);
    }
  });

  test('a full table of routes is not read', async () => {
    const host = await machine(1, ADDRESS, DEFAULT);
    const routes = Array.from({ length: 60_000 }, (_, n) => `route add 20.${n >> 8}.${n & 255}.0/24 via 10.0.0.1`);
    await ipBatch(host, routes);
    await using rtnl = await Rtnl.open({ netns: host.name });
    const started = performance.now();
    expect((await rtnl.routes.list()).length).toBeGreaterThan(60_000);
    const listing = performance.now() - started;
    const before = performance.now();
    await create(host);
    expect(performance.now() - before).toBeLessThan(listing);
  });
});

describeWith(['root', 'ip'], 'an underlay that changes', () => {
  test('is told of once a change, and that all is as it was', async () => {
    const host = await machine(1, ADDRESS, DEFAULT);
    const overlay = await create(host);
    expect(await overlay.underlayFault()).toBeUndefined();
    const said: (readonly [string, string] | undefined)[] = [];
    const changes = overlay.underlayChanges();
    onCleanup(() => void changes.return?.());
    void (async () => {
      for await (const { fault } of changes) said.push(fault && [fault.code, fault.message]);
    })();
    const steps = [
      [
        ['address del 10.0.0.10/24 dev eth0', 'address add 10.0.0.77/24 dev eth0'],
        ['EADDRNOTAVAIL', 'vtep 10.0.0.10 is not an address of the host'],
      ],
      [[ADDRESS, 'route replace default via 10.0.0.1 src 10.0.0.10'], undefined],
      [['link set eth0 down'], ['ENETDOWN', 'vtep 10.0.0.10 is on eth0, which is down']],
      [['link set eth0 up', DEFAULT], undefined],
      [
        ['link set eth0 mtu 1400'],
        ['EMSGSIZE', 'packets of 1450 bytes do not cross: eth0 carries 1400 less 50 of VXLAN'],
      ],
    ] as const;
    for (const [at, [commands, expected]] of steps.entries()) {
      await ipBatch(host, commands);
      await until(() => said.length > at, `news after ${commands}`);
      expect(said[at]).toEqual(expected);
      const fault = await overlay.underlayFault();
      expect(fault && [fault.code, fault.message]).toEqual(expected);
      expect(fault?.hint ?? '').not.toMatch(/:.*:/);
      if (fault?.code === 'EADDRNOTAVAIL')
        expect(fault.hint).toMatch(/^give it back, or delete the overlay and create it/);
    }
    // What is wrong already is told to whoever comes later.
    for await (const { fault } of overlay.underlayChanges()) {
      expect(fault?.code).toBe('EMSGSIZE');
      break;
    }
    // A flood of news that changes nothing is none.
    await ipBatch(
      host,
      Array.from({ length: 200 }, (_, n) => [
        `address add 10.9.0.${n}/32 dev eth0`,
        `address del 10.9.0.${n}/32 dev eth0`,
      ]).flat(),
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(said).toHaveLength(steps.length);
  });
});

/** Two hosts with eth0 and eth1 each, wired to one another. */
async function wired(
  mtus: readonly [number, number],
  commands: (own: 1 | 2) => readonly string[],
): Promise<[Netns, Netns]> {
  const [a, b] = [await createNetns(), await createNetns()];
  for (const [n, mtu] of mtus.entries()) {
    for (const host of [a, b]) await host.sysctl('net/ipv6/conf/default/accept_dad', 0);
    await a.ip(`link add eth${n} mtu ${mtu} type veth peer name eth${n} mtu ${mtu} netns ${b.name}`);
    for (const host of [a, b]) await host.ip(`link set eth${n} up`);
  }
  await ipBatch(a, commands(1));
  await ipBatch(b, commands(2));
  return [a, b];
}

describeWith(['root', 'ip', 'ping'], 'a packet as large as the overlay says', () => {
  test.each<[name: string, mtus: [number, number], mtu: number, commands: (own: 1 | 2) => string[]]>([
    [
      'over either of two ways from the VTEP on lo',
      [1500, 1400],
      1350,
      (own) => [
        `address add 172.16.0.${own}/24 dev eth0`,
        `address add 172.16.1.${own}/24 dev eth1`,
        `address add 10.1.1.${own}/32 dev lo`,
        `route add default src 10.1.1.${own} nexthop via 172.16.0.${3 - own} nexthop via 172.16.1.${3 - own}`,
      ],
    ],
    [
      'over a route with a locked MTU',
      [9000, 1500],
      1450,
      (own) => [
        `address add 172.16.0.${own}/24 dev eth0`,
        `address add 10.1.1.${own}/32 dev lo`,
        `route add default src 10.1.1.${own} via 172.16.0.${3 - own} mtu lock 1500`,
      ],
    ],
    [
      'over a route of another table',
      [1500, 1400],
      1350,
      (own) => [
        `address add 172.16.0.${own}/24 dev eth0`,
        `address add 172.16.1.${own}/24 dev eth1`,
        'rule add ipproto 17 dport 4789 lookup 201',
        `route add default via 172.16.1.${3 - own} table 201`,
      ],
    ],
    [
      'over a link without an address',
      [1500, 1400],
      1450,
      (own) => [`address add 10.1.1.${own}/32 dev lo`, `route add default dev eth0 src 10.1.1.${own}`],
    ],
    [
      'over a point-to-point link',
      [1400, 1500],
      1350,
      (own) => [`address add 10.1.1.${own} peer 10.1.1.${3 - own}/32 dev eth0`],
    ],
    [
      'over IPv6 with an MTU of the route',
      [1500, 1500],
      1350,
      (own) => [
        `address add fd00:1::${own}/64 dev eth0 nodad`,
        `address add fd00:a::${own}/128 dev lo nodad`,
        `route add default via fd00:1::${3 - own} src fd00:a::${own} mtu 1420`,
      ],
    ],
  ])('crosses %s', async (_, mtus, mtu, commands) => {
    const hosts = await wired(mtus, commands);
    const overlays: Overlay[] = [];
    for (const [at, host] of hosts.entries()) overlays.push(await create(host, { address: `192.168.9.${at + 1}/24` }));
    expect(overlays.map((overlay) => overlay.mtu)).toEqual([mtu, mtu]);
    const [a, b] = overlays as [Overlay, Overlay];
    const netns = overlays.map(({ name }) => new Netns(name));
    for (const [at, other] of [b, a].entries()) {
      const here = netns[at] as Netns;
      const [bridge] = await (netns[1 - at] as Netns).ipJson('link show dev br0');
      await here.ip(`neighbor add 192.168.9.${2 - at} lladdr ${bridge.address} dev br0`);
      await here.bridge(`fdb add ${bridge.address} dev vxlan1 dst ${other.vtep} self permanent`);
    }
    // IPv6's neighbours are not there at once.
    await ping(netns[0] as Netns, '192.168.9.2', { count: 2, interval: 0.2 });
    const whole = { size: mtu - 28, dontFragment: true, count: 8, interval: 0.02, wait: 2 };
    expect(await ping(netns[0] as Netns, '192.168.9.2', whole)).toMatchObject({ lost: 0, errors: [] });
    expect((await ping(netns[1] as Netns, '192.168.9.1', whole)).lost).toBe(0);
  });
});
