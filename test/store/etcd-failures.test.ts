/** The etcd store while etcd fails: alone and as a cluster of three, whose watch goes on without losing or doubling anything. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Change, Endpoint, OwnedStore, Query } from '../../lib/store/contract.js';
import { openStore } from '../../lib/store/index.js';
import { Interest } from '../../lib/store/interest.js';
import { onCleanup } from '../support/cleanup.js';
import { Etcd } from '../support/etcd.js';
import { manyHosts } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { Relay } from '../support/relay.js';
import { describeWith } from '../support/requirements.js';

const IP = '192.168.0.2';
const MAC = '02:42:c0:a8:00:02';
const VTEP = '10.0.0.10';
const query: Query = { overlay: 'blue', vni: 42, kind: 'l3', ip: IP };
const one: Endpoint = { ip: IP, ips: [IP], mac: MAC, vtep: VTEP };
const numbered = (n: number): Endpoint => {
  const ip = `10.1.${n >> 8}.${n & 255}`;
  return {
    ip,
    ips: [ip],
    mac: `02:42:0a:01:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
    vtep: VTEP,
  };
};

const failure = async (call: unknown): Promise<Error & { code?: string; hint?: string }> =>
  Promise.resolve(call).then(
    (result) => new Error(`it succeeded: ${JSON.stringify(result)}`),
    (error) => error,
  );

/** Whoever follows a store, and never begins again. */
class Following {
  readonly told: Change[] = [];
  error: (Error & { hint?: string }) | undefined;
  readonly #controller = new AbortController();

  /** @param what from where it goes on, or the addresses that it follows alone */
  constructor(store: OwnedStore, what?: bigint | Interest) {
    onCleanup(() => this.#controller.abort());
    const { signal } = this.#controller;
    const changes =
      what instanceof Interest ? store.watchOnly?.(what, { signal }) : store.watch({ signal, from: what });
    void this.#run(changes as AsyncIterable<Change>).catch((error) => {
      this.error = error;
    });
  }

  async #run(changes: AsyncIterable<Change>): Promise<void> {
    for await (const change of changes) this.told.push(change);
  }

  count(kind: Change['kind']): number {
    return this.told.filter((change) => change.kind === kind).length;
  }

  /** What was put, in its order. */
  get puts(): string[] {
    return this.told.flatMap((change) => (change.kind === 'put' ? [change.endpoint.ip] : []));
  }

  async until(holds: (self: this) => boolean, what: string): Promise<void> {
    await until(() => {
      if (this.error !== undefined) throw this.error;
      return holds(this);
    }, what);
  }
}

const opened: OwnedStore[] = [];
async function open(url: string): Promise<OwnedStore> {
  const store = await openStore(url);
  opened.push(store);
  return store;
}
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

describeWith(['etcd'], 'an etcd alone', () => {
  test('a connection that is cut: the watch goes on from its revision, and what came and went meanwhile is told', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const direct = await open(`etcd://${etcd.at}/demo`);
    const store = await open(`etcd://${relay.at}/demo`);
    await direct.publish(one);
    const following = new Following(store);
    await following.until(({ told }) => told.length > 0, 'the reset');
    await sleep(100);
    relay.mode = 'refuse';
    relay.cut();
    await direct.publish(numbered(1));
    await direct.withdraw(numbered(1));
    await direct.publish(numbered(2));
    await sleep(300);
    relay.mode = 'pass';
    await following.until(({ told }) => told.length === 4, 'what happened meanwhile');
    await direct.publish(numbered(3));
    await following.until(({ told }) => told.length === 5, 'what happens now');
    expect(following.told.map(({ kind }) => kind)).toEqual(['reset', 'put', 'delete', 'put', 'put']);
  });

  test('what was compacted while it was away is compared: deletions that nobody told of are told', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const direct = await open(`etcd://${etcd.at}/demo`);
    const store = await open(`etcd://${relay.at}/demo`);
    await direct.publish(one);
    await direct.publish(numbered(1));
    const following = new Following(store);
    await following.until(({ told }) => told.length > 0, 'the reset');
    await sleep(100);
    relay.mode = 'refuse';
    relay.cut();
    await direct.withdraw(numbered(1));
    await direct.publish(numbered(2));
    await direct.publish(numbered(3));
    await direct.withdraw(numbered(3));
    await etcd.compact();
    relay.mode = 'pass';
    await following.until(({ told }) => told.length === 3, 'what has changed');
    expect(following.told.slice(1)).toMatchObject([
      { kind: 'put', endpoint: numbered(2) },
      { kind: 'delete', ip: numbered(1).ip, mac: numbered(1).mac },
    ]);
    await direct.publish(numbered(4));
    await following.until(({ told }) => told.length === 4, 'what happens now');
    expect(following.count('reset')).toBe(1);
  });

  test('a watch that follows one that broke off goes on without reading everything again', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const direct = await open(`etcd://${etcd.at}/demo`);
    const store = await open(`etcd://${relay.at}/demo`);
    await direct.publish(one);
    const first = new Following(store);
    await first.until(({ told }) => told.length > 0, 'the reset');
    await sleep(100);
    relay.mode = 'refuse';
    relay.cut();
    await until(() => first.error !== undefined, 'the end of the watch');
    await direct.publish(numbered(1));
    const from = (first.told[0] as Change).index;
    const refused = new Following(store, from);
    await until(() => refused.error !== undefined, 'the end of another');
    expect(refused.told).toEqual([]);
    const ranges: string[] = [];
    relay.heard = (bytes) => {
      const path = /^POST (\S+)/.exec(bytes.toString('latin1'))?.[1];
      if (path !== undefined) ranges.push(path);
    };
    relay.mode = 'pass';
    const second = new Following(store, from);
    await second.until(({ told }) => told.length === 2, 'what happened meanwhile');
    expect(second.told).toMatchObject([
      { kind: 'resume', index: from },
      { kind: 'put', endpoint: numbered(1) },
    ]);
    expect(ranges.filter((path) => path === '/v3/kv/range').length).toBeLessThanOrEqual(1); // one record: which history it is
  });

  test('restarted it is followed on; empty, or as it was before, it is told whole', async () => {
    const etcd = await Etcd.start();
    const store = await open(`etcd://${etcd.at}/demo`);
    await store.publish(one);
    await etcd.stop();
    const restore = await etcd.backup();
    await etcd.restart();
    await store.publish(numbered(1));
    const following = new Following(store);
    await following.until(({ told }) => told.length === 1, 'the reset');

    await etcd.restart();
    await store.publish(numbered(2));
    await following.until(({ puts }) => puts.length === 1, 'what happens after a restart');
    expect(following.count('reset')).toBe(1);

    await etcd.stop();
    await restore();
    await etcd.restart();
    await following.until((self) => self.count('reset') === 2, 'the older records');
    expect(following.told.at(-1)).toMatchObject({ kind: 'reset', endpoints: [one] });
    // Other transactions behind the same revisions.
    for (const n of [11, 12, 13]) await store.publish(numbered(n));
    await following.until(({ puts }) => puts.length === 4, 'what happens in the other history');

    await etcd.stop();
    await etcd.wipe();
    await etcd.restart();
    await following.until((self) => self.count('reset') === 3, 'that it is empty');
    expect(following.told.at(-1)).toMatchObject({ kind: 'reset', endpoints: [] });
    await store.publish(one);
    await following.until(({ puts }) => puts.length === 5, 'what happens in the new one');
  });

  test('restored and written to beyond what was seen: the other history is noticed all the same', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const direct = await open(`etcd://${etcd.at}/demo`);
    await direct.publish(one);
    await etcd.stop();
    const restore = await etcd.backup();
    await etcd.restart();
    const following = new Following(await open(`etcd://${relay.at}/demo`));
    await following.until(({ told }) => told.length === 1, 'the reset');
    await direct.publish(numbered(1));
    await following.until(({ puts }) => puts.length === 1, 'what is lost then');
    relay.mode = 'hang';
    await etcd.stop();
    await restore();
    await etcd.restart();
    for (const n of [5, 6, 7]) await direct.publish(numbered(n));
    relay.mode = 'pass';
    relay.cut();
    await following.until((self) => self.count('reset') === 2, 'what is there now');
    const { endpoints } = following.told.at(-1) as Extract<Change, { kind: 'reset' }>;
    expect(Array.from(endpoints, ({ ip }) => ip).sort()).toEqual([...[5, 6, 7].map((n) => numbered(n).ip), IP].sort());
  });

  test('a lease is kept by one that was restarted, and is lost with one that has begun anew', async () => {
    const etcd = await Etcd.start();
    const store = await open(`etcd://${etcd.at}/demo`);
    const lease = await store.lease({ name: 'docker0', ttlMs: 3000 });
    await store.claim(one, { lease });
    await etcd.restart();
    await sleep(1500);
    expect([lease.lost.aborted, await store.lookup(query)]).toEqual([false, { mac: MAC, vtep: VTEP }]);
    await etcd.stop();
    await etcd.wipe();
    await etcd.restart();
    await until(() => lease.lost.aborted, 'the loss');
    expect(await failure(store.claim(one, { lease }))).toMatchObject({ code: 'OVERNS_LEASE' });
  });

  test('gone for good: the watch fails within seconds, lookups say what is refused, and all works when it is back', async () => {
    const etcd = await Etcd.start();
    const store = await open(`etcd://${etcd.at}/demo`);
    await store.publish(one);
    const following = new Following(store);
    await following.until(({ told }) => told.length === 1, 'the reset');
    await etcd.stop();
    expect(await failure(store.lookup(query))).toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringMatching(
        /^etcd:\/\/127\.0\.0\.1:\d+: reading demo\/arp\/192\.168\.0\.2: connection refused/,
      ),
      hint: expect.stringContaining('start etcd'),
    });
    await until(() => following.error !== undefined, 'the failure of the watch');
    expect(following.error).toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('reading demo/: '),
    });
    await etcd.restart();
    expect(await store.lookup(query)).toEqual({ mac: MAC, vtep: VTEP });
    await new Following(store).until(({ told }) => told.length === 1, 'the reset');
  });

  test('single addresses are followed on one stream, whatever the overlay; cut, they are read again', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const direct = await open(`etcd://${etcd.at}/{vni}`);
    const [blue, red] = [
      { overlay: 'blue', vni: 42 },
      { overlay: 'red', vni: 43 },
    ];
    const endpoints = Array.from({ length: 20 }, (_, at) => numbered(at + 1));
    for (const where of [blue, red]) for (const each of endpoints) await direct.publish(each, where);
    const store = await open(`etcd://${relay.at}/{vni}`);
    const known = new Map<string, string>();
    const errors: unknown[] = [];
    const controller = new AbortController();
    onCleanup(() => controller.abort());
    for (const where of [blue, red]) {
      const interest = new Interest(endpoints.map(({ ip }) => ip));
      const changes = store.watchOnly?.(interest, { ...where, signal: controller.signal }) as AsyncIterable<Change>;
      void (async () => {
        for await (const change of changes) {
          const puts = change.kind === 'reset' ? [...change.endpoints] : change.kind === 'put' ? [change.endpoint] : [];
          for (const { ips, vtep } of puts) for (const ip of ips) known.set(`${where.vni} ${ip}`, vtep);
          if (change.kind === 'delete' && change.ip !== undefined) known.delete(`${where.vni} ${change.ip}`);
        }
      })().catch((error) => errors.push(error));
    }
    await until(() => known.size === 40, 'the endpoints of both');
    const [moved, gone, coming] = [numbered(1), numbered(2), numbered(3)];
    for (const mode of ['pass', 'refuse'] as const) {
      const vtep = mode === 'pass' ? '10.0.0.98' : '10.0.0.99';
      relay.mode = mode;
      if (mode === 'refuse') relay.cut();
      await direct.publish({ ...moved, vtep }, red);
      if (mode === 'refuse') {
        await direct.withdraw(gone, red);
        // What was followed from is not to be had any more.
        await etcd.compact();
        relay.mode = 'pass';
      }
      await until(() => known.get(`43 ${moved.ip}`) === vtep, 'the move');
    }
    await until(() => !known.has(`43 ${gone.ip}`), 'the withdrawal');
    await direct.publish({ ...coming, vtep: '10.0.0.97' }, blue);
    await until(() => known.get(`42 ${coming.ip}`) === '10.0.0.97', 'a change behind it');
    expect([errors, known.get(`42 ${moved.ip}`)]).toEqual([[], VTEP]);
  });

  test('half open or gone for good, single addresses fail within seconds as well', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const store = await open(`etcd://${relay.at}/demo`);
    await store.publish(one);
    for (const mode of ['hang', 'refuse'] as const) {
      relay.mode = 'pass';
      const following = new Following(store, new Interest([IP]));
      await following.until(({ told }) => told.length === 1, 'the reset');
      relay.mode = mode;
      if (mode === 'refuse') relay.cut();
      await until(() => following.error !== undefined, 'the failure');
      expect(following.error).toMatchObject({ code: 'OVERNS_STORE' });
      relay.cut();
    }
  });

  test('half open: the watch fails within five seconds', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const store = await open(`etcd://${relay.at}/demo`);
    await store.publish(one);
    const following = new Following(store);
    await following.until(({ told }) => told.length === 1, 'the reset');
    // While nothing is wrong nothing is said.
    await sleep(4000);
    expect([following.error, following.told.length]).toEqual([undefined, 1]);
    relay.mode = 'hang';
    const since = performance.now();
    await until(() => following.error !== undefined, 'the loss');
    expect(performance.now() - since).toBeLessThan(5000);
    expect(following.error).toMatchObject({ message: expect.stringContaining('no sign of life within 2500 ms') });
    relay.mode = 'pass';
    relay.cut();
    expect(await store.lookup(query)).toEqual({ mac: MAC, vtep: VTEP });
  });

  test('slow by less than its time it serves; answering 500 it is tried again, and told of in the end', async () => {
    const etcd = await Etcd.start();
    const relay = await Relay.start(etcd.port);
    const store = await open(`etcd://${relay.at}/demo`);
    await store.publish(one);
    const following = new Following(store);
    await following.until(({ told }) => told.length === 1, 'the reset');
    relay.delayMs = 1500;
    expect(await store.lookup(query)).toEqual({ mac: MAC, vtep: VTEP });
    await sleep(4000);
    relay.delayMs = 0;
    await store.publish(numbered(1));
    await following.until(({ puts }) => puts.length === 1, 'what happens behind a slow server');
    // Fewer than a lookup makes attempts, whoever sends them.
    let refusals = 0;
    relay.heard = () => {
      if (++refusals > 3) relay.mode = 'pass';
    };
    relay.mode = '500';
    relay.cut();
    expect(await store.lookup(query)).toEqual({ mac: MAC, vtep: VTEP });
    relay.heard = () => {};
    relay.mode = '500';
    relay.cut();
    expect(await failure(store.lookup(query))).toMatchObject({
      message: expect.stringContaining('answered 500: not now'),
      hint: "etcd's log says more",
    });
    await until(() => following.error !== undefined, 'the end of the watch');
    expect(following.error?.message).toContain('reading demo/: answered 500');
    expect(following.told.map(({ kind }) => kind)).toEqual(['reset', 'put']);
  });
});

describeWith(['etcd'], 'a cluster of three', () => {
  const leaderOf = async (members: readonly Etcd[]): Promise<Etcd> => {
    for (const member of members) {
      const { body } = await member.ask('maintenance/status', {});
      const { leader, header } = JSON.parse(body) as { leader: string; header: { member_id: string } };
      if (leader === header.member_id) return member;
    }
    throw new Error('nobody leads');
  };

  test('its leader killed, a server stopped in its tracks: nothing is lost or told twice', async () => {
    const members = await Etcd.cluster([{}, {}, {}]);
    const leader = await leaderOf(members);
    // The watch is at the leader, then at one that will be stopped.
    const others = members.filter((member) => member !== leader);
    const url = `etcd://${[leader, ...others].map(({ at }) => at).join(',')}/demo`;
    const following = new Following(await open(url));
    await following.until(({ told }) => told.length === 1, 'the reset');
    const writer = await open(`etcd://${others[1]?.at}/demo`);
    let written = 0;
    let writing = true;
    const write = (async () => {
      // Without a leader nothing is written; what is tried again has been written once or twice.
      while (writing) {
        await writer.publish(numbered(++written)).catch(() => written--);
        await sleep(10);
      }
    })();
    await following.until(({ puts }) => puts.length > 10, 'changes');
    process.kill(leader.pid, 'SIGKILL');
    const before = following.puts.length;
    await following.until(({ puts }) => puts.length > before + 10, 'changes after the leader has gone');
    leader.spawn();
    await leader.ready();
    // Half open: it is there, and says nothing.
    process.kill((others[0] as Etcd).pid, 'SIGSTOP');
    const then = following.puts.length;
    await following.until(({ puts }) => puts.length > then + 10, 'changes after a server has fallen silent');
    process.kill((others[0] as Etcd).pid, 'SIGCONT');
    writing = false;
    await write;
    await following.until(({ puts }) => puts.at(-1) === numbered(written).ip, 'the last change');
    expect(following.puts).toEqual(Array.from({ length: written }, (_, n) => numbered(n + 1).ip));
    expect(following.count('reset')).toBe(1);
    const order = following.told.map(({ index }) => index);
    expect(order).toEqual([...new Set(order)].sort((a, b) => Number(a - b)));
  });

  test('a lease outlives the leader, and what is under it stays', async () => {
    const members = await Etcd.cluster([{}, {}, {}]);
    const leader = await leaderOf(members);
    const others = members.filter((member) => member !== leader);
    const store = await open(`etcd://${[leader, ...others].map(({ at }) => at).join(',')}/demo`);
    const lease = await store.lease({ name: 'docker0', ttlMs: 2000 });
    await store.claim(one, { lease });
    process.kill(leader.pid, 'SIGKILL');
    await sleep(2 * lease.ttlMs + 2000);
    expect([lease.lost.aborted, await store.lookup(query)]).toEqual([false, { mac: MAC, vtep: VTEP }]);
    await store.claim(numbered(1), { lease });
    await lease.close();
    expect(await store.list()).toEqual([]);
  });

  test('without a majority it says so, and works by itself when there is one again', async () => {
    const members = await Etcd.cluster([{}, {}, {}]);
    const store = await open(`etcd://${members.map(({ at }) => at).join(',')}/demo`);
    await store.publish(one);
    const following = new Following(store);
    await following.until(({ told }) => told.length === 1, 'the reset');
    for (const member of members.slice(1)) process.kill(member.pid, 'SIGKILL');
    await until(() => following.error !== undefined, 'the failure of the watch');
    const refused = async () => {
      const error = await failure(store.lookup(query));
      return error.message.includes('no leader') ? error : undefined;
    };
    const error = await until(async () => (await refused()) ?? false, 'a member that has no leader');
    expect(error).toMatchObject({ hint: expect.stringContaining('no majority') });
    for (const member of members.slice(1)) member.spawn();
    for (const member of members) await member.ready();
    expect(await store.lookup(query)).toEqual({ mac: MAC, vtep: VTEP });
    await new Following(store).until(({ told }) => told.length === 1, 'the reset');
  });
});

describeWith(['root', 'ip', 'etcd'], 'a cluster of three hosts', () => {
  test('a member that is cut off from the others, and one that the client is cut off from, are left for another', async () => {
    const hosts = await manyHosts(4);
    const places = hosts.slice(0, 3).map((host) => ({ netns: host, address: host.ip4 }));
    const [a, b, c] = (await Etcd.cluster(places)) as [Etcd, Etcd, Etcd];
    const client = hosts[3] as (typeof hosts)[0];
    const script = `
      const { openStore } = await import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)});
      const store = await openStore('etcd://${[a, b, c].map(({ at }) => at).join(',')}/demo');
      for await (const change of store.watch()) {
        console.log(change.kind === 'put' ? change.endpoint.ip : change.kind);
      }`;
    const child = client.spawn(process.execPath, ['--input-type=module', '-e', script]);
    await child.waitFor(/reset/, 'stdout');
    const cut = (from: string[], host: (typeof hosts)[0], verb = 'add') =>
      Promise.all(from.map((ip) => host.ip(`route ${verb} blackhole ${ip}/32`)));
    const heard = () => child.stdout.trim().split('\n');
    let n = 0;
    const hears = async (through: Etcd, what: string) => {
      n++;
      await until(async () => {
        // There may be no leader yet.
        await through.putEndpoint('demo', numbered(n)).catch(() => {});
        await sleep(50);
        return heard().includes(numbered(n).ip);
      }, what);
    };
    await hears(a, 'a change');
    await cut([b.address, c.address], hosts[0] as (typeof hosts)[0]);
    await hears(c, 'a change that the member at which it watched did not hear of');
    await cut([b.address, c.address], hosts[0] as (typeof hosts)[0], 'del');
    await cut([b.address], client);
    await hears(c, 'a change past a member that it cannot reach');
    expect(child.stderr).toBe('');
    expect(heard()).toEqual(['reset', ...Array.from({ length: n }, (_, at) => numbered(at + 1).ip)]);
  });
});
