/** monitor, compared with `ip monitor` over the same changes; `ip -j monitor` prints the same text (iproute2 6.1). */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createNetns, exec, type Netns, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { start } from './cli.js';

/** Changes of everything that ip monitor shows, each with what the kernel brings along. */
const CHANGES = [
  'link add v0 type veth peer name v1',
  'link set v0 up',
  'link set v1 up',
  'link set v0 mtu 1400',
  'address add 10.1.0.1/24 brd + dev v0',
  'address add 10.1.0.5/24 dev v0',
  'address add 10.9.0.1 peer 10.9.0.2/32 dev v0',
  'address change 10.1.0.1/24 dev v0 valid_lft 1000 preferred_lft 900',
  'address add 2001:db8::1/64 dev v0 nodad',
  'neigh add 10.1.0.2 lladdr 02:00:00:00:00:01 dev v0',
  'neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev v0 nud reachable router',
  'neigh add 2001:db8::9 lladdr 02:00:00:00:00:02 dev v0 nud stale extern_learn',
  'neigh del 10.1.0.2 dev v0',
  'route add 10.2.0.0/16 via 10.1.0.2',
  'route add 10.4.0.0/16 via 10.1.0.2 dev v0 metric 5 table 100 proto static',
  'route add 10.5.0.1 dev v0 src 10.1.0.1 scope link',
  'route replace 10.2.0.0/16 via 10.1.0.3',
  'route del 10.2.0.0/16',
  'route add default via 10.1.0.9 onlink dev v0',
  'route add blackhole 10.7.0.0/16',
  'route add 10.8.0.0/16 nexthop via 10.1.0.2 weight 2 nexthop via 10.1.0.3',
  '-6 route add 2001:db8:2::/48 via 2001:db8::2',
  '-6 route add unreachable 2001:db8:3::/48',
  'rule add priority 100 from 10.2.0.0/16 lookup 42',
  'rule add priority 101 not from 10.2.0.1 to 10.3.0.0/16 tos 0x10 fwmark 0x1/0xff iif v0 oif v1 lookup main',
  // One that has no name: iproute2 takes names from /etc/protocols, which a bare machine lacks.
  'rule add priority 102 ipproto 253 sport 100-200 dport 443 uidrange 5-6 lookup main suppress_prefixlength 0',
  '-6 rule add priority 103 from 2001:db8::1 iif nobody prohibit proto static',
  'rule add priority 104 fwmark 7 goto 32766',
  'rule del priority 100',
  'nexthop add id 1 via 10.1.0.2 dev v0',
  'nexthop add id 2 via 2001:db8::2 dev v0 onlink proto static',
  'nexthop add id 3 group 1',
  'nexthop add id 4 group 1,3 type resilient buckets 32 idle_timer 60',
  'nexthop add id 5 blackhole',
  'nexthop add id 6 via 10.1.0.3 fdb',
  'nexthop replace id 1 via 10.1.0.4 dev v0',
  'nexthop del id 1',
  'link set v0 alias outside',
  'address del 10.9.0.1/32 peer 10.9.0.2/32 dev v0',
  'link set v0 down',
  'link del v0',
];

/** The lines without what trails. */
function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trimEnd().replace(/^((?:Deleted )?\d+:)\t/, '$1 '))
    .filter((line) => line !== '');
}

async function change(netns: Netns): Promise<void> {
  for (const words of CHANGES) {
    await exec('ip', ['-n', netns.name, ...words.split(' ')]);
    // The kernel tells of a carrier on its own time.
    if (words.includes('link set v')) await sleep(100);
  }
}

/** All of them have begun to listen: what they hear from now on comes after the mark `begin0`. */
async function begin(netns: Netns, ...outputs: (() => string)[]): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (let tries = 0; !outputs.every((output) => output().includes('first')); tries++) {
    if (Date.now() > deadline) throw new Error('nothing is heard');
    // No bridge: its news as such are the business of `bridge monitor`.
    await netns.ip(`link add first${tries} type veth peer name tsrif${tries}`);
    await sleep(100);
  }
  await netns.ip('link add begin0 type veth peer name begin1');
}

/** What came between the marks: after the last word of `begin0`, before the first of `end0`. */
function between<T>(items: T[]): T[] {
  const about = (mark: string) => (item: T) => JSON.stringify(item).includes(mark);
  return items.slice(items.findLastIndex(about('begin0')) + 1, items.findIndex(about('end0')));
}

describeWith(['root', 'ip'], 'monitor beside ip monitor', () => {
  test('line by line', async () => {
    const netns = await createNetns();
    const groups = ['link', 'address', 'route', 'neigh', 'rule', 'nexthop'];
    const theirs = netns.spawn('ip', ['monitor', ...groups]);
    const ours = start(`monitor ${groups.join(' ')} --netns ${netns.name}`);
    await begin(
      netns,
      () => theirs.stdout,
      () => ours.stdout,
    );
    await change(netns);
    // By what only now comes: a device named so anew.
    await netns.ip('link add end0 type veth peer name end1');
    await ours.waitFor(/end0/, 'stdout');
    await theirs.waitFor(/end0/, 'stdout');
    const expected = between(linesOf(theirs.stdout));
    const printed = between(linesOf(ours.stdout));
    expect(expected.length).toBeGreaterThan(80);
    expect(printed).toEqual(expected);
    await theirs.stop('SIGTERM');
    expect(await ours.stop('SIGINT')).toBe(0);
  });

  test('as JSON Lines: an object for each entry of the text, in the same order', async () => {
    const netns = await createNetns();
    const groups = ['link', 'address', 'route', 'neigh', 'rule', 'nexthop'];
    const text = start(`monitor ${groups.join(' ')} --netns ${netns.name}`);
    const json = start(`monitor ${groups.join(' ')} --netns ${netns.name} --json`);
    await begin(
      netns,
      () => text.stdout,
      () => json.stdout,
    );
    await change(netns);
    await netns.ip('link add end0 type veth peer name end1');
    await text.waitFor(/end0/, 'stdout');
    await json.waitFor(/end0/, 'stdout');
    const about = between(linesOf(text.stdout).filter((line) => !/^\s/.test(line)));
    const told = between(linesOf(json.stdout).map((line) => JSON.parse(line)));
    expect(told.length).toBe(about.length);
    for (const [at, event] of told.entries()) {
      const line = about[at] as string;
      expect(line.startsWith('Deleted ')).toBe(event.action === 'delete');
      expect(line).toContain(
        String(event.name ?? event.link ?? event.dst?.replace('/32', '') ?? event.priority ?? event.id),
      );
      if (event.kind === 'address') expect(line).toContain(event.address.split('/')[0]);
      if (event.kind === 'neighbor') expect(line).toContain(`${event.ip} dev ${event.link}`);
      if (event.mtu) expect(line).toContain(`mtu ${event.mtu} `);
      expect(event.atNs).toMatch(/^\d+$/);
      expect(event).not.toHaveProperty('netns');
    }
    for (const kind of ['link', 'address', 'route', 'neighbor', 'rule', 'nexthop'])
      expect(told.some((e) => e.kind === kind)).toBe(true);
    for (const each of [text, json]) expect(await each.stop('SIGINT')).toBe(0);
  });

  test('several namespaces, and named ones that come and go', async () => {
    const [a, b] = [await createNetns(), await createNetns()];
    const name = uniqueName();
    const text = start(`monitor link netns --netns ${a.name} --netns ${b.name}`);
    await begin(a, () => text.stdout);
    await b.ip('link add b0 type bridge');
    await text.waitFor(new RegExp(`^\\[${b.name}\\] \\d+: b0: <`, 'm'), 'stdout');
    await exec('ip', ['netns', 'add', name]);
    await text.waitFor(new RegExp(`^\\[${name}\\] netns ${name}$`, 'm'), 'stdout');
    await exec('ip', ['netns', 'del', name]);
    await text.waitFor(new RegExp(`^\\[${name}\\] Deleted netns ${name}$`, 'm'), 'stdout');
    expect(await text.stop('SIGINT')).toBe(0);
    expect(text.stderr).toBe('');
  });
});
