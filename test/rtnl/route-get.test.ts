/** The kernel asked for one route: what `ip route get` says, for every kind of answer and of refusal. */
import { beforeAll, expect, test } from 'vitest';
import { type RouteAnswer, type RouteQuery, Rtnl } from '../../lib/index.js';
import { createNetns, type Netns } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { exec } from '../support/process.js';
import { describeWith } from '../support/requirements.js';

/** The question in iproute2's words. */
function words(query: RouteQuery): string[] {
  const pairs: [string, unknown][] = [
    ['from', query.source],
    ['iif', query.inputLink],
    ['oif', query.link],
    ['mark', query.mark],
    ['tos', query.tos],
    ['ipproto', query.ipProtocol],
    ['sport', query.sourcePort],
    ['dport', query.destinationPort],
    ['uid', query.uid],
  ];
  const given = pairs.filter(([, value]) => value !== undefined).flatMap(([word, value]) => [word, String(value)]);
  return ['route', 'get', ...(query.match ? ['fibmatch'] : []), query.dst, ...given];
}

const TABLES: Readonly<Record<string, number>> = { main: 254, local: 255 };

/** What both say, in one form. */
// biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON has no types
function asTold(row: any, query: RouteQuery): Record<string, unknown> {
  // iproute2 leaves out the length of a whole address.
  const bits = query.dst.includes(':') ? 128 : 32;
  const whole = /^default$|\//.test(row.dst) ? row.dst : `${row.dst}/${bits}`;
  return {
    dst: whole,
    type: row.type,
    gateway: row.gateway ?? row.via?.host,
    link: row.dev,
    // A source that was asked for: told as `from`, to which IPv6 adds what it would have chosen.
    source: query.match ? row.prefsrc : (query.source ?? row.prefsrc),
    table: row.table === undefined ? undefined : (TABLES[row.table] ?? Number(row.table)),
    metric: row.metric,
    mark: row.mark,
    uid: row.uid,
    inputLink: row.iif,
    mtu: row.metrics?.[0]?.mtu,
    nexthop: row.nhid,
    // biome-ignore lint/suspicious/noExplicitAny: as above
    nexthops: row.nexthops?.map((hop: any) => [hop.gateway, hop.dev, hop.weight]),
  };
}

function told(answer: RouteAnswer): Record<string, unknown> {
  const { dst, type, gateway, link, source, table, metric, mark, uid, inputLink, metrics, nexthop, nexthops } = answer;
  const hops = nexthops?.map((hop) => [hop.gateway, hop.link, hop.weight]);
  const own = { dst, type, gateway, link, source, table, metric, mark, uid, inputLink, nexthop };
  return { ...own, mtu: metrics?.mtu, nexthops: hops };
}

const REFUSALS: Readonly<Record<string, string>> = {
  ENETUNREACH: 'Network is unreachable',
  EHOSTUNREACH: 'No route to host',
  EACCES: 'Permission denied',
  EINVAL: 'Invalid argument',
  ENODEV: 'Cannot find device',
};

describeWith(['root', 'ip'], 'the route to an address', () => {
  let netns: Netns;
  let rtnl: Rtnl;

  beforeAll(async () => {
    netns = await createNetns();
    await netns.sysctl('net/ipv6/conf/default/accept_dad', 0);
    await netns.sysctl('net/ipv4/ip_forward', 1);
    const commands = [
      ...['0', '1'].flatMap((n) => [
        `link add eth${n} type veth peer name up${n}`,
        `link set up${n} up`,
        `link set eth${n} up`,
        `address add 10.1.${n}.1/24 dev eth${n}`,
        `address add ${n === '0' ? 'fd00::1' : 'fd00:1::1'}/64 dev eth${n} nodad`,
      ]),
      'route add default via 10.1.0.254 mtu lock 1400',
      'route add 10.60.0.0/16 proto bird src 10.1.1.1 nexthop via 10.1.0.2 dev eth0 nexthop via 10.1.1.2 dev eth1 weight 3',
      'route add 10.62.0.0/16 via inet6 fd00:1::2 dev eth1',
      ...['unreachable 10.50', 'prohibit 10.51', 'blackhole 10.52', 'throw 10.53'].map(
        (each) => `route add ${each}.0.0/16`,
      ),
      'nexthop add id 7 via 10.1.1.9 dev eth1',
      'route add 10.61.0.0/16 nhid 7',
      // By mark, by UDP port, by user, by source.
      ...['fwmark 7', 'ipproto 17 dport 4789', 'uidrange 4242-4242', 'from 10.1.1.1'].map(
        (by, at) => `rule add ${by} lookup ${100 + at}`,
      ),
      ...[0, 1, 2, 3].map((at) => `route add default via 10.1.1.${100 + at} dev eth1 table ${100 + at}`),
      'route add default via fd00::fe dev eth0 mtu 1410',
      'route add fd00:60::/64 nexthop via fd00::2 dev eth0 nexthop via fd00:1::2 dev eth1 weight 3',
      ...['unreachable fd00:50', 'prohibit fd00:51', 'blackhole fd00:52'].map((each) => `route add ${each}::/32`),
      'route add default via fd00:1::fe dev eth1 table 103',
    ];
    const batch = commands.join('\n');
    await exec('ip', ['-n', netns.name, '-batch', '-'], { input: batch });
    await netns.ip('-6 rule add from fd00:1::1 lookup 103');
    rtnl = await Rtnl.open({ netns: netns.name });
    // The kernel settles an IPv6 address in a work of its own.
    for (const dst of ['fd00::1', 'fd00:1::1'])
      await until(async () => (await rtnl.routes.get({ dst })).type === 'local', `${dst} of its own`);
  });

  const QUERIES: readonly RouteQuery[] = [
    { dst: '192.0.2.1' },
    { dst: '192.0.2.1', match: true },
    { dst: '10.1.0.9' },
    { dst: '10.1.0.1' },
    { dst: '10.1.0.1', match: true },
    { dst: '127.0.0.1' },
    { dst: '10.1.0.255' },
    { dst: '255.255.255.255' },
    { dst: '224.0.0.1' },
    { dst: '0.0.0.0' },
    { dst: '192.0.2.1', link: 'eth1' },
    { dst: '192.0.2.1', link: 'lo' },
    { dst: '192.0.2.1', mark: 7 },
    { dst: '192.0.2.1', mark: 0xffff_ffff },
    { dst: '192.0.2.1', ipProtocol: 17, destinationPort: 4789, sourcePort: 50_000 },
    { dst: '192.0.2.1', ipProtocol: 6, destinationPort: 4789 },
    { dst: '192.0.2.1', uid: 4242 },
    { dst: '192.0.2.1', source: '10.1.1.1' },
    { dst: '192.0.2.1', source: '10.1.1.1', match: true },
    { dst: '192.0.2.1', source: '10.1.0.1' },
    { dst: '192.0.2.1', source: '10.1.1.9', inputLink: 'eth1' },
    { dst: '192.0.2.1', tos: 16 },
    { dst: '10.60.1.1', match: true },
    { dst: '10.60.1.1', link: 'eth1' },
    { dst: '10.61.1.1' },
    { dst: '10.61.1.1', match: true },
    { dst: '10.62.1.1' },
    { dst: '2001:db8::1' },
    { dst: '2001:db8::1', match: true },
    { dst: '2001:db8::1', source: 'fd00:1::1' },
    { dst: '2001:db8::1', source: 'fd00::1' },
    { dst: '2001:db8::1', link: 'eth0' },
    { dst: 'fd00::1' },
    { dst: 'fd00::1', match: true },
    { dst: 'fd00:1::9' },
    { dst: 'fd00:60::1', match: true },
    { dst: '::1' },
  ];
  test.each(QUERIES.map((query) => [words(query).join(' '), query] as const))('%s', async (_, query) => {
    const [oracle] = await netns.ipJson(...words(query));
    const answer = await rtnl.routes.get(query);
    expect(told(answer)).toEqual(asTold(oracle, query));
    expect(answer.family).toBe(query.dst.includes(':') ? 'inet6' : 'inet');
    expect(answer.unknown).toBeUndefined();
  });

  const REFUSED: readonly (readonly [RouteQuery, code: string, hint: string | RegExp])[] = [
    [{ dst: '10.50.0.1' }, 'EHOSTUNREACH', 'a rule or route of type unreachable is for 10.50.0.1'],
    [{ dst: '10.51.0.1' }, 'EACCES', 'a rule or route of type prohibit is for 10.51.0.1'],
    [{ dst: '10.52.0.1' }, 'EINVAL', 'a rule or route of type blackhole is for 10.52.0.1'],
    [{ dst: '10.53.0.1' }, 'ENETUNREACH', 'no route leads to 10.53.0.1'],
    [{ dst: '10.50.0.1', match: true }, 'EHOSTUNREACH', 'type unreachable'],
    [{ dst: '10.1.0.9', source: '10.1.0.3' }, 'ENETUNREACH', '10.1.0.3 is no address of this namespace'],
    [{ dst: '10.1.0.9', link: 'eth9' }, 'ENODEV', 'there is no link "eth9"'],
    [{ dst: 'fd00:50::1' }, 'EHOSTUNREACH', 'type unreachable'],
    [{ dst: 'fd00:51::1' }, 'EACCES', 'type prohibit'],
    [{ dst: 'fd00:52::1' }, 'EINVAL', 'type blackhole'],
  ];
  test.each(REFUSED.map((each) => [words(each[0]).join(' '), ...each] as const))(
    '%s is refused',
    async (_, query, code, hint) => {
      const oracle = await exec('ip', ['-n', netns.name, ...words(query)], { check: false });
      expect(oracle.stderr).toContain(REFUSALS[code]);
      await expect(rtnl.routes.get(query)).rejects.toMatchObject({
        code,
        hint: expect.stringContaining(hint as string),
      });
    },
  );

  test('what the argument alone shows is refused before the kernel is asked', async () => {
    for (const [query, code, message] of [
      [{ dst: '10.0.0.0/8' }, 'ERR_INVALID_ARG_VALUE', /^dst: "10.0.0.0\/8" is not/],
      [{}, 'ERR_INVALID_ARG_TYPE', /^dst: /],
      [{ dst: '10.1.0.9', source: 'fd00::1' }, 'ERR_INVALID_ARG_VALUE', /^source: .*same family as dst/],
      [{ dst: '10.1.0.9', mark: -1 }, 'ERR_INVALID_ARG_VALUE', /^mark: /],
      [{ dst: '10.1.0.9', destinationPort: 65_536 }, 'ERR_INVALID_ARG_VALUE', /^destinationPort: /],
      [{ dst: '10.1.0.9', link: '' }, 'ERR_INVALID_ARG_VALUE', /^link: /],
      [null, 'ERR_INVALID_ARG_TYPE', /^query: /],
      [{ dst: '10.1.0.9', form: '10.1.0.1' }, 'ERR_INVALID_ARG_VALUE', /^unknown field "form"/],
    ] as const) {
      await expect(rtnl.routes.get(query as RouteQuery)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
    }
    await expect(rtnl.routes.get({ dst: '10.1.0.9' }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  test('forwarding that is off is named', async () => {
    await netns.sysctl('net/ipv4/ip_forward', 0);
    await expect(rtnl.routes.get({ dst: '192.0.2.1', source: '10.1.1.9', inputLink: 'eth1' })).rejects.toMatchObject({
      code: 'EHOSTUNREACH',
      hint: expect.stringContaining('net.ipv4.ip_forward'),
    });
    await netns.sysctl('net/ipv4/ip_forward', 1);
  });

  test('what a match tells is a row that can be deleted', async () => {
    await netns.ip('route add 10.70.0.0/16 via 10.1.1.2 dev eth1 metric 9 mtu 1300');
    const row = await rtnl.routes.get({ dst: '10.70.1.1', match: true });
    expect(await rtnl.routes.list({ dst: '10.70.0.0/16' })).toEqual([row]);
    await rtnl.routes.delete(row);
    expect((await rtnl.routes.get({ dst: '10.70.1.1', match: true })).dst).toBe('default');
  });
});
