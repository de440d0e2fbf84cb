/** Monitors: what the kernel does, as typed events; lost events made good; several namespaces; named ones. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import {
  identityOf,
  type Link,
  type Neighbor,
  Rtnl,
  type RtnlEvent,
  type RtnlSyncEvent,
  type Subscription,
} from '../../lib/index.js';
import { openMonitor } from '../../lib/rtnl/monitor/events.js';
import { type MonitorSource, monitorNamespaces } from '../../lib/rtnl/monitor/monitor.js';
import { machine } from '../../lib/system/system.js';
import { createNetns, exec, type Netns, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';

/** Reads until an event fulfils the condition; what came, the last one included. */
async function until<E>(events: Subscription<E>, condition: (event: E) => boolean, ms = 30_000): Promise<E[]> {
  const seen: E[] = [];
  const late = sleep(ms, 'late' as const, { ref: false });
  for (;;) {
    const next = await Promise.race([events.next(), late]);
    if (next === 'late') throw new Error(`not among ${JSON.stringify(seen.slice(-20), text)}`);
    if (next.done) throw new Error('ended');
    seen.push(next.value);
    if (condition(next.value)) return seen;
  }
}
const text = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

/** A namespace with the veth v0 (10.1.0.1/24) up, and its other end v1. */
async function withVeth(): Promise<Netns> {
  const netns = await createNetns();
  await netns.sysctl('net/ipv6/conf/default/accept_dad', 0);
  await netns.ip('link add v0 type veth peer name v1');
  await netns.ip('link set v1 up');
  await netns.ip('link set v0 up');
  await netns.ip('address add 10.1.0.1/24 dev v0');
  return netns;
}

describeWith(['root', 'ip'], 'Rtnl.monitor', () => {
  test('objects are plain and have the fields that exist', async () => {
    const netns = await withVeth();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await using events = rtnl.monitor();
    await netns.ip('neigh add 10.1.0.2 lladdr 02:00:00:00:00:01 dev v0');
    const atNs = expect.any(BigInt);
    const linkIndex = expect.any(Number);
    const [neighbor] = (await until(events, (e) => e.kind === 'neighbor')).slice(-1);
    expect(neighbor).toEqual({
      kind: 'neighbor',
      action: 'new',
      link: 'v0',
      linkIndex,
      ip: '10.1.0.2',
      mac: '02:00:00:00:00:01',
      state: 'permanent',
      atNs,
    });
    expect(Object.getPrototypeOf(neighbor)).toBe(Object.prototype);
    expect(neighbor && 'flags' in neighbor).toBe(false);
    await netns.ip('link add vxlan1 type vxlan id 42 local 10.1.0.1 dstport 4789');
    await netns.bridge('fdb add 02:00:00:00:00:09 dev vxlan1 dst 10.1.0.9 port 4790');
    const [fdb] = (await until(events, (e) => e.kind === 'fdb')).slice(-1);
    expect(fdb).toEqual({
      kind: 'fdb',
      action: 'new',
      link: 'vxlan1',
      linkIndex,
      mac: '02:00:00:00:00:09',
      dst: '10.1.0.9',
      port: 4790,
      state: 'permanent',
      flags: ['self'],
      atNs,
    });
    await netns.ip('link del vxlan1');
    // Named as it was, though it is gone.
    const gone = await until(events, (e) => e.kind === 'link' && e.action === 'delete');
    expect(gone.at(-1)).toMatchObject({ name: 'vxlan1', linkKind: 'vxlan' });
    expect(gone.find((e) => e.kind === 'fdb')).toMatchObject({ action: 'delete', link: 'vxlan1' });
  });

  test('the rows of a listing are those of a listing field by field, whatever their number', async () => {
    const netns = await withVeth();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const linkIndex = (await rtnl.links.list({ name: 'v0' }))[0]?.index as number;
    // Around the number of rows that share a text.
    for (const count of [0, 1, 31, 32, 33, 1000]) {
      await netns.ip('neigh flush dev v0 nud permanent');
      const rows = Array.from({ length: count }, (_, i) => ({
        link: 'v0',
        linkIndex,
        ip: i % 3 === 0 ? `2001:db8::${(i + 1).toString(16)}` : `10.1.${i >> 8}.${i & 0xff}`,
        mac: `02:00:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 0xff).toString(16).padStart(2, '0')}`,
        state: 'permanent',
      }));
      const answers = await rtnl.neighbors.batch(rows.map((item) => ({ op: 'replace', item })));
      expect(answers.every(({ ok }) => ok)).toBe(true);
      const key = (row: Neighbor): string => row.ip;
      const listed = (await rtnl.neighbors.list({ link: 'v0' })).filter(({ state }) => state === 'permanent');
      expect([...listed].sort((a, b) => (key(a) < key(b) ? -1 : 1))).toEqual(
        [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1)),
      );
    }
  });

  test('resync tells additions, changes and deletions apart', async () => {
    const netns = await withVeth();
    await netns.ip('neigh add 10.1.0.7 lladdr 02:00:00:00:00:07 dev v0');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await using events = rtnl.monitor({ resync: true });
    const told = async (kind: string, words: string): Promise<string> => {
      await netns.ip(words);
      const about = words.split(' ')[2] as string;
      // Of what the command names: an address brings routes along, a link its own addresses.
      const event = (await until(events, (e) => e.kind === kind && JSON.stringify(e, text).includes(`"${about}"`))).at(
        -1,
      );
      return (event as { action: string }).action;
    };
    const [snapshot] = (await until(events, (e) => e.kind === 'snapshot')).slice(-1) as [
      Extract<RtnlSyncEvent, { kind: 'snapshot' }>,
    ];
    expect(snapshot.links?.map(({ name }) => name)).toEqual(expect.arrayContaining(['lo', 'v0', 'v1']));
    expect(snapshot.neighbors).toContainEqual(expect.objectContaining({ ip: '10.1.0.7' }));
    expect(snapshot).not.toHaveProperty('netns');
    expect(await told('neighbor', 'neigh replace 10.1.0.7 lladdr 02:00:00:00:00:08 dev v0')).toBe('change');
    expect(await told('neighbor', 'neigh add 10.1.0.8 lladdr 02:00:00:00:00:08 dev v0')).toBe('add');
    expect(await told('neighbor', 'neigh replace 10.1.0.8 lladdr 02:00:00:00:00:09 dev v0')).toBe('change');
    expect(await told('link', 'link set v0 mtu 1400')).toBe('change');
    expect(await told('link', 'link add v2 type bridge')).toBe('add');
    expect(await told('link', 'link set v2 up')).toBe('change');
    expect(await told('address', 'address add 10.2.0.1/24 dev v0')).toBe('add');
    expect(await told('address', 'address change 10.2.0.1/24 dev v0 valid_lft 100 preferred_lft 100')).toBe('change');
    expect(await told('route', 'route add 10.3.0.0/16 via 10.1.0.2')).toBe('add');
    // Another route (identityOf) in the place of the first, of which the kernel tells in one word.
    expect(await told('route', 'route replace 10.3.0.0/16 via 10.1.0.3')).toBe('add');
    await until(events, (e) => e.kind === 'route' && e.action === 'delete' && e.gateway === '10.1.0.2');
    expect(await told('route', 'route del 10.3.0.0/16')).toBe('delete');
  });

  test('rules and nexthops are told of as they are listed, and taken as they are told of', async () => {
    const netns = await withVeth();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await using events = rtnl.monitor({ groups: ['rule', 'nexthop'] });
    await rtnl.rules.add({ priority: 7, from: '10.0.0.0/8', iif: 'v0', action: 'prohibit' });
    await rtnl.nexthops.add({ id: 7, gateway: '10.1.0.9', link: 'v0' });
    const [rule] = (await until(events, (e) => e.kind === 'rule')).slice(-1);
    const [nexthop] = (await until(events, (e) => e.kind === 'nexthop')).slice(-1);
    if (rule?.kind !== 'rule' || nexthop?.kind !== 'nexthop') throw new Error('other events');
    const [listedRule] = await rtnl.rules.list({ priority: 7 });
    const [listedHop] = await rtnl.nexthops.list({ id: 7 });
    const atNs = expect.any(BigInt);
    expect(rule).toEqual({ ...listedRule, kind: 'rule', action: 'new', ruleAction: 'prohibit', atNs });
    expect(nexthop).toEqual({ ...listedHop, kind: 'nexthop', action: 'new', atNs });
    expect(identityOf('rule', rule)).toBe(identityOf('rule', listedRule as object));
    await rtnl.rules.replace(rule as never); // is there
    await rtnl.nexthops.replace(nexthop);
    await rtnl.rules.delete(rule as never);
    await rtnl.nexthops.delete(nexthop);
    const gone = await until(events, (e) => e.kind === 'nexthop' && e.action === 'delete');
    expect(gone.find((e) => e.kind === 'rule')).toMatchObject({ action: 'delete', ruleAction: 'prohibit' });
    expect(await rtnl.rules.list({ priority: 7 })).toEqual([]);
  });

  test('routes that go with their link without a word are told of', async () => {
    const netns = await withVeth();
    await netns.ip('route add 10.3.0.0/16 via 10.1.0.2');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await using events = rtnl.monitor({ groups: ['route'], resync: true });
    await using plain = rtnl.monitor({ groups: ['route'] });
    const isIt = (e: RtnlSyncEvent | RtnlEvent): boolean => e.kind === 'route' && e.dst === '10.3.0.0/16';
    await until(events, (e) => e.kind === 'snapshot');
    await netns.ip('link set v0 down');
    const seen = await until(events, isIt);
    expect(seen.at(-1)).toMatchObject({ action: 'delete', gateway: '10.1.0.2', link: 'v0' });
    expect(seen.every(({ kind }) => kind === 'route')).toBe(true);
    // Should the kernel ever tell, looking for them is not needed any more.
    await netns.ip('route add blackhole 10.4.0.0/16');
    const told = await until(plain, (e) => e.kind === 'route' && e.dst === '10.4.0.0/16');
    expect(told.some(isIt)).toBe(false);
  });

  test('what is told of before its link has the name of the link', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await using events = rtnl.monitor();
    // A bridge has an entry of its own before the kernel tells of the bridge (br_dev_newlink).
    for (let round = 0; round < 20; round++) await netns.ip(`link add br${round} type bridge`);
    const seen = await until(events, (e) => e.kind === 'link' && e.name === 'br19');
    const entries = seen.filter((e) => e.kind === 'fdb');
    expect(entries.map(({ link, master }) => `${link} ${master}`)).toEqual(
      Array.from({ length: 20 }, (_, round) => `br${round} br${round}`),
    );
    expect(seen.findIndex((e) => e.kind === 'fdb')).toBeLessThan(seen.findIndex((e) => e.kind === 'link'));
  });

  test('misses bear the name that their link has now', async () => {
    const netns = await createNetns();
    await netns.ip('link add vxlan1 type vxlan id 42 local 10.0.0.10 dstport 4789 l2miss');
    await netns.ip('link set vxlan1 up');
    const misses: string[] = [];
    const monitor = openMonitor(machine, { path: netns.path, groups: ['miss'], netns: undefined }, (events) => {
      misses.push(...events.map(({ link, mac }) => `${link} ${mac}`));
    });
    try {
      const send = `import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0))
s.send(bytes.fromhex('0242000000' + sys.argv[2] + '02420000000188b5') + bytes(46))`;
      for (const [link, last] of [
        ['vxlan1', '07'],
        ['other', '08'],
      ] as const) {
        if (link === 'other') await netns.ip('link set vxlan1 name other');
        await netns.exec('python3', ['-c', send, link, last]);
        await expect.poll(() => misses, { timeout: 10_000 }).toContain(`${link} 02:42:00:00:00:${last}`);
      }
    } finally {
      monitor.close();
    }
  });

  test("what a bridge tells of a port is the link's news", async () => {
    const netns = await withVeth();
    await netns.ip('link add br0 type bridge');
    await netns.ip('link set br0 up');
    await netns.ip('link set v1 master br0');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    for (const resync of [false, true]) {
      await using events = rtnl.monitor({ groups: ['link'], resync });
      const cost = resync ? 78 : 77;
      await netns.bridge(`link set dev v1 cost ${cost} hairpin on`);
      const [told] = (await until(events, (e) => e.kind === 'link' && e.bridgePort?.cost === cost)).slice(-1);
      const [listed] = await rtnl.links.list({ name: 'v1' });
      const { kind, bridgePort, ...row } = listed as Link;
      // Timers run, and v1 joins groups by itself a while after it is up.
      const port = Object.entries(bridgePort ?? {}).filter(([name]) => !/Timer$|^mcastGroups$/.test(name));
      // All of it, and not what a bridge knows alone.
      expect(told).toMatchObject({ ...row, linkKind: kind, kind: 'link', action: resync ? 'change' : 'new' });
      expect(told).toHaveProperty('bridgePort', expect.objectContaining(Object.fromEntries(port)));
      await netns.ip('link set v1 nomaster');
      const gone = await until(events, (e) => e.kind === 'link' && e.name === 'v1' && e.master === undefined);
      expect(gone.some((e) => e.kind === 'link' && e.action === 'delete')).toBe(false);
      await netns.ip('link set v1 master br0');
    }
  });

  test('a listing that leaves a row out removes nothing', async () => {
    const netns = await withVeth();
    await netns.ip('neigh add 10.1.0.7 lladdr 02:00:00:00:00:07 dev v0');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    let listings = 0;
    const source: MonitorSource = {
      path: netns.path,
      words: undefined,
      // As neigh_dump_table does now and then when the table changes while it is read.
      list: async () => ({
        links: await rtnl.links.list(),
        neighbors: (await rtnl.neighbors.list()).filter(({ ip }) => ip !== '10.1.0.7' || listings++ % 2 === 0),
        fdb: [],
      }),
    };
    await using events = monitorNamespaces<RtnlSyncEvent>(machine, [source], { groups: ['neigh'], resync: true });
    await until(events, (e) => e.kind === 'snapshot');
    const isIt = (e: RtnlSyncEvent): boolean => e.kind === 'neighbor' && e.ip === '10.1.0.7';
    while (listings < 6) await sleep(20);
    await netns.ip('neigh add 10.1.0.8 lladdr 02:00:00:00:00:07 dev v0');
    const seen = await until(events, (e) => e.kind === 'neighbor' && e.ip === '10.1.0.8');
    expect(seen.filter(isIt)).toEqual([]);
  });

  test('50,000 changing neighbours are mirrored through overruns, and end equal to a dump', async () => {
    const seed = seedOf('OVERNS_MONITOR_SEED');
    console.log(`seed ${seed}`);
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return Math.floor((state / 0x80000000) * below);
    };
    const netns = await createNetns();
    await netns.ip('link add vxlan1 type vxlan id 42 local 10.0.0.10 dstport 4789');
    await netns.ip('link set vxlan1 up');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const COUNT = 50_000;
    const ip = (i: number): string => `100.64.${i >> 8}.${i & 0xff}`;
    const item = (i: number): Neighbor => ({
      link: 'vxlan1',
      ip: ip(i),
      mac: `02:00:${[0, 1, 2, 3].map(() => random(256).toString(16).padStart(2, '0')).join(':')}`,
      state: 'permanent',
    });
    await using events = rtnl.monitor({ groups: ['neigh'], resync: true, receiveBuffer: 1 << 18, maxQueue: 5000 });
    const mirror = new Map<string, string>();
    const count = { overrun: 0, snapshot: 0, add: 0, change: 0, delete: 0 };
    const reading = (async () => {
      for await (const batch of events.batches()) {
        for (const event of batch) {
          if (event.kind === 'overrun') count.overrun++;
          if (event.kind === 'snapshot') {
            count.snapshot++;
            mirror.clear();
            for (const row of event.neighbors ?? [])
              if (row.link === 'vxlan1') mirror.set(identityOf('neighbor', row), `${row.mac} ${row.state}`);
          }
          if (event.kind !== 'neighbor' || event.link !== 'vxlan1') continue;
          count[event.action]++;
          const key = identityOf('neighbor', event);
          // What the words say is what the mirror has.
          if (event.action === 'add' && mirror.has(key)) throw new Error(`${key} added twice`);
          if (event.action === 'change' && !mirror.has(key)) throw new Error(`${key} changed, unknown`);
          if (event.action === 'delete') mirror.delete(key);
          else mirror.set(key, `${event.mac} ${event.state}`);
        }
        // A slow consumer as well, now and then.
        if (random(50) === 0) {
          const end = Date.now() + 20 + random(60);
          while (Date.now() < end /* the reader is blocked */);
        }
      }
    })();
    void reading.catch(() => undefined);
    const there = new Set<number>();
    await rtnl.neighbors.batch(Array.from({ length: COUNT }, (_, i) => ({ op: 'replace', item: item(i) })));
    for (let i = 0; i < COUNT; i++) there.add(i);
    const words = (): number => Math.min(count.add, count.change, count.delete);
    // On a machine that is too busy to hear anything but losses, some quiet rounds more.
    for (let round = 0; round < 60 || (round < 160 && words() === 0); round++) {
      const operations = Array.from({ length: 1 + random(round < 60 && round % 3 === 0 ? 8000 : 300) }, () => {
        const i = random(COUNT);
        if (random(3) === 0 && there.delete(i)) return { op: 'delete' as const, item: item(i) };
        there.add(i);
        return { op: 'replace' as const, item: item(i) };
      });
      await rtnl.neighbors.batch(operations);
      if (round >= 60) await sleep(100);
      else if (random(2) === 0) await sleep(random(40));
    }
    const rows = (await rtnl.neighbors.list({ link: 'vxlan1' })).filter(({ ip }) => ip.startsWith('100.64.'));
    expect(rows.length).toBe(there.size);
    const expected = new Map(rows.map((row) => [identityOf('neighbor', row), `${row.mac} ${row.state}`]));
    const equal = (): boolean => {
      let own = 0;
      for (const [key, value] of mirror) {
        if (!key.includes(' 100.64.')) continue;
        own++;
        if (expected.get(key) !== value) return false;
      }
      return own === expected.size;
    };
    const late = Date.now() + 20_000;
    while (!equal()) {
      if (Date.now() > late) throw new Error(`drifted: ${mirror.size} of ${expected.size}, ${JSON.stringify(count)}`);
      await Promise.race([sleep(20), reading]);
    }
    console.log(JSON.stringify(count));
    expect(count.overrun).toBeGreaterThan(3);
    expect(count.snapshot).toBeGreaterThanOrEqual(count.overrun);
    // Not by snapshots alone.
    expect(words()).toBeGreaterThan(0);
    await events.return?.();
    await reading;
  });

  test('several namespaces in one stream; one whose name goes is let go of', async () => {
    const [a, b] = [await createNetns(), await createNetns()];
    const events = await Rtnl.monitor({ netns: [a.name, { path: b.path }], groups: ['link'] });
    const seen = async (name: string): Promise<RtnlEvent & { netns?: string }> =>
      (await until(events, (e) => e.kind === 'link' && e.name === name)).at(-1) as RtnlEvent & { netns?: string };
    await b.ip('link add b0 type bridge');
    expect((await seen('b0')).netns).toBe(b.path);
    await a.ip('link add a0 type bridge');
    expect((await seen('a0')).netns).toBe(a.name);
    await a.ip('link add toB type veth peer name toA');
    await a.ip(`link set toA netns ${b.name}`);
    await seen('toA');
    await a.remove();
    const gone = (await until(events, (e) => e.kind === 'netns')).at(-1);
    expect(gone).toMatchObject({ kind: 'netns', action: 'delete', name: a.name, netns: a.name });
    // No descriptor of ours keeps it: what leads there goes with it.
    await until(events, (e) => e.kind === 'link' && e.action === 'delete' && e.name === 'toA');
    await b.ip('link set b0 up');
    expect((await seen('b0')).netns).toBe(b.path);
    await events.return?.();
  });

  test('a namespace that goes while it is listed stops the others not', async () => {
    const [a, b] = [await createNetns(), await createNetns()];
    for (let round = 0; round < 5; round++) {
      const { name } = round === 0 ? a : await createNetns();
      const events = await Rtnl.monitor({ netns: [name, b.name], resync: true });
      await exec('ip', ['netns', 'del', name]);
      const seen = until(events, (e) => e.kind === 'link' && e.name === `b${round}`);
      await until(await Rtnl.monitor({ netns: [b.name], resync: true }), () => true);
      await b.ip(`link add b${round} type bridge`);
      await seen;
      await events.return?.();
    }
  });

  test('resync of several namespaces: the rows name theirs', async () => {
    const [a, b] = [await createNetns(), await createNetns()];
    const events = await Rtnl.monitor({ netns: [a.name, b.name], groups: ['link'], resync: true });
    const [snapshot] = await until(events, () => true);
    expect(snapshot).toMatchObject({
      kind: 'snapshot',
      links: [
        { name: 'lo', netns: a.name },
        { name: 'lo', netns: b.name },
      ],
    });
    await b.ip('link add b0 type bridge');
    const [added] = await until(events, () => true);
    expect(added).toMatchObject({ kind: 'link', action: 'add', name: 'b0', netns: b.name });
    await events.return?.();
  });

  test('named namespaces that come and go', async () => {
    await using rtnl = await Rtnl.open();
    await using events = rtnl.monitor({ groups: ['netns'] });
    const name = uniqueName();
    const told = (e: RtnlEvent): boolean => e.kind === 'netns' && e.name === name;
    for (let round = 0; round < 3; round++) {
      await exec('ip', ['netns', 'add', name]);
      expect((await until(events, told)).at(-1)).toMatchObject({ action: 'new', path: `/run/netns/${name}` });
      await exec('ip', ['netns', 'del', name]);
      expect((await until(events, told)).at(-1)).toMatchObject({ action: 'delete' });
    }
  });

  test('what is no option is refused by name', async () => {
    await using rtnl = await Rtnl.open();
    // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
    const monitor = (options: any) => () => void rtnl.monitor(options).return?.();
    expect(monitor({ groups: ['links'] })).toThrow(/^groups: "links" is not one of link, /);
    expect(monitor({ groups: [] })).toThrow(/^groups: /);
    expect(monitor({ groups: 'link' })).toThrow(/^groups: expected an array/);
    expect(monitor({ resync: 1 })).toThrow(/^resync: expected a boolean/);
    expect(monitor({ receiveBuffer: 10 })).toThrow(/^receiveBuffer: 10 is not an integer from 4096/);
    await expect(Rtnl.monitor({ netns: [] })).rejects.toThrow(/^netns: /);
    await expect(Rtnl.monitor({ netns: ['ot-nowhere'] })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
