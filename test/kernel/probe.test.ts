/** ICMP echo from inside a namespace: who answers, who does not, and what cannot even leave. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ping } from '../../lib/netns/ping.js';
import { createNetns, type Netns, twoHosts } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

const ANSWERED = { sentAtNs: expect.any(BigInt), rttMs: expect.any(Number) };
const LOST = { sentAtNs: expect.any(BigInt), rttMs: null };

async function lone(): Promise<Netns> {
  const netns = await createNetns();
  await netns.sysctl('net/ipv6/conf/default/accept_dad', 0);
  await netns.ip('link add br0 type bridge');
  await netns.ip('link set br0 up');
  await netns.ip('address add 10.1.0.1/24 dev br0');
  await netns.ip('address add fd00:1::1/64 dev br0 nodad');
  return netns;
}

describeWith(['root', 'ip'], 'ping', () => {
  test.each(['127.0.0.1', '::1'])('%s answers every request', async (ip) => {
    const netns = await createNetns();
    const before = process.hrtime.bigint();
    const echoes = await ping(netns.name, ip, { count: 5, intervalMs: 20 });
    const after = process.hrtime.bigint();
    expect(echoes).toEqual(Array(5).fill(ANSWERED));
    const elapsed = Number(after - before) / 1e6;
    echoes.forEach(({ sentAtNs, rttMs }, at) => {
      expect(rttMs).toBeGreaterThan(0);
      expect(rttMs).toBeLessThan(elapsed);
      expect(sentAtNs).toBeGreaterThan(echoes[at - 1]?.sentAtNs ?? before);
      expect(sentAtNs).toBeLessThan(after);
    });
    expect(elapsed).toBeGreaterThanOrEqual(80);
  });

  test('any size, the longest datagram included', async () => {
    const netns = await createNetns();
    for (const size of [0, 1, 7, 8, 9, 1473, 65_507]) {
      for (const ip of ['127.0.0.1', '::1']) {
        expect(await ping(netns.name, ip, { size }), `${size} to ${ip}`).toEqual([ANSWERED]);
      }
    }
  });

  test('many at once do not take each other for themselves', async () => {
    const netns = await createNetns();
    const all = await Promise.all(
      Array.from({ length: 24 }, (_, at) =>
        ping(netns.name, at % 2 === 0 ? '127.0.0.1' : '127.0.0.2', { count: 20, intervalMs: 0 }),
      ),
    );
    expect(all.flat()).toEqual(Array(480).fill(ANSWERED));
  });

  test.each(['10.1.0.2', 'fd00:1::2'])('%s is not there: lost, when the time is up', async (ip) => {
    const netns = await lone();
    // Long before the kernel itself gives up.
    for (const version of ['ipv4', 'ipv6']) await netns.sysctl(`net/${version}/neigh/br0/retrans_time_ms`, 20_000);
    const began = performance.now();
    expect(await ping(netns.name, ip, { count: 2, intervalMs: 50, timeoutMs: 200 })).toEqual([LOST, LOST]);
    const took = performance.now() - began;
    expect(took).toBeGreaterThanOrEqual(249);
    expect(took).toBeLessThan(20_000);
  });

  test('a reply that comes late counts as lost, and not for another request', async () => {
    const [a, b] = await twoHosts();
    // Deaf to the first ARP request, b hears the second two seconds later: only then does the first ping get there.
    await a.sysctl(`net/ipv4/neigh/${a.link}/retrans_time_ms`, 2000);
    await a.sysctl(`net/ipv4/neigh/${a.link}/mcast_solicit`, 10);
    await b.ip(`link set ${b.link} arp off`);
    const pinging = ping(a.name, b.ip4, { count: 2, intervalMs: 5000, timeoutMs: 1500 });
    await sleep(500);
    await b.ip(`link set ${b.link} arp on`);
    expect(await pinging).toEqual([LOST, ANSWERED]);
  });

  test('a datagram that must not be cut: the largest that fits crosses, one byte more is refused', async () => {
    const [a, b] = await twoHosts({ ipv6: true, mtu: 1400 });
    for (const [ip, headers] of [
      [b.ip4, 28],
      [b.ip6, 48],
    ] as const) {
      const fits = 1400 - headers;
      // A link that just came up has not joined its IPv6 multicast groups yet, and hears no solicitation.
      await expect.poll(async () => await ping(a.name, ip, { timeoutMs: 100 }), { timeout: 5000 }).toEqual([ANSWERED]);
      expect(await ping(a.name, ip, { size: fits, dontFragment: true })).toEqual([ANSWERED]);
      const refused = ping(a.name, ip, { size: fits + 1, dontFragment: true });
      await expect(refused).rejects.toMatchObject({ code: 'EMSGSIZE', syscall: 'send' });
      expect(await ping(a.name, ip, { size: fits + 1 })).toEqual([ANSWERED]);
    }
  });

  test('without a route it is told, not waited for', async () => {
    const netns = await createNetns();
    for (const ip of ['10.9.9.9', 'fd00:9::9']) {
      const began = performance.now();
      const error = await ping(netns.name, ip, { timeoutMs: 5000 }).catch((e) => e);
      expect(error).toMatchObject({ name: 'NetlinkError', code: 'ENETUNREACH', syscall: 'connect' });
      expect(error.message).toMatch(new RegExp(`^cannot ping ${ip} in /run/netns/\\S+: network is unreachable`));
      expect(performance.now() - began).toBeLessThan(5000);
    }
    await netns.ip('route add unreachable 10.9.0.0/16');
    await expect(ping(netns.name, '10.9.9.9')).rejects.toMatchObject({ code: 'EHOSTUNREACH' });
  });

  test('what cannot be meant is refused', async () => {
    const netns = await createNetns();
    await expect(ping(netns.name, 'nowhere')).rejects.toThrow(/^ip: "nowhere" is not an IP address$/);
    await expect(ping('no-such-namespace', '127.0.0.1')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(ping('/proc/self/ns/user', '127.0.0.1')).rejects.toMatchObject({ code: 'EINVAL' });
    const range = (name: string): RegExp => new RegExp(`^${name}: expected an integer from \\d+ to \\d+$`);
    for (const [name, bad] of Object.entries({
      count: [0, 1001, 1.5, Number.NaN, '4', null],
      intervalMs: [-1, 60_001, Number.POSITIVE_INFINITY],
      timeoutMs: [0, 60_001],
      size: [-1, 65_508],
    })) {
      for (const value of bad) {
        await expect(ping(netns.name, '127.0.0.1', { [name]: value }), `${name} ${value}`).rejects.toThrow(range(name));
      }
    }
  });
});
