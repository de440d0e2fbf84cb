/**
 * Outages of real stores, each with two hosts whose containers talk meanwhile: who is known is reached all the time, who is not is told
 * so, and soon after the store's return each host has published what was attached in between, and the other one reaches it.
 */
import { expect, test } from 'vitest';
import { AgentLog } from '../../lib/cli/agent-log.js';
import type { Log } from '../../lib/cli/output.js';
import { Agent, type AgentEvent, openStore } from '../../lib/index.js';
import { ping as echo } from '../../lib/netns/ping.js';
import { environment, MAIN } from '../cli/cli.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { type Host, manyHosts } from '../support/netns.js';
import { type Attached, Site, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { Relay } from '../support/relay.js';
import { describeWith } from '../support/requirements.js';

/** Agents hold what they publish for so long, milliseconds: longer than an outage, and as by default. */
const LEASE_MS = 15_000;
/** Within this, milliseconds, all is as it should be after the store's return: 2000, and more for a machine that does much else. */
const RECOVERED_MS = 6000;

interface Outage {
  readonly name: string;
  /** Its store. */
  readonly url: string;
  /** It cannot be asked meanwhile, and agents say so. */
  readonly silent: boolean;
  /** Called when one of two hosts has published. */
  snapshot?(): Promise<unknown>;
  begin(): Promise<unknown>;
  /** Resolves when it can be asked again. */
  end(): Promise<unknown>;
}

/** What an agent tells, and what its log makes of that. */
class Witness {
  readonly agent: Agent;
  readonly events: AgentEvent[] = [];
  readonly lines: string[] = [];

  constructor(agent: Agent) {
    this.agent = agent;
    const say = (text: string): void => void this.lines.push(text);
    const log = new AgentLog(
      { debug: () => {}, info: say, warn: say, error: say } as unknown as Log,
      'the store',
      false,
    );
    onCleanup(() => log[Symbol.dispose]());
    void (async () => {
      for await (const event of agent.events()) {
        this.events.push(event);
        log.tell(event);
      }
    })();
  }

  count(kind: AgentEvent['kind']): number {
    return this.events.filter((event) => event.kind === kind).length;
  }
}

async function serve({ overlay, host }: Site, url: string): Promise<Witness> {
  const store = await openStore(url);
  onCleanup(() => store.close());
  const agent = await Agent.start({ store, overlays: [overlay.name], host: host.name, leaseTtlMs: LEASE_MS });
  onCleanup(() => agent.close());
  return new Witness(agent);
}

/** A ping every 5 ms, until its result is asked for. */
function flow({ netns }: Attached, { ip }: Attached): () => Promise<{ readonly lost: number; readonly sent: number }> {
  const running = netns.spawn('ping', ['-n', '-i', '0.005', ip]);
  return async () => {
    await running.stop('SIGINT');
    const seen = [...running.stdout.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, seq]) => Number(seq));
    // The one that is under way at the end has no reply yet. ICMP counts in 16 bits.
    return { sent: seen.length, lost: (seen.at(-1) ?? 0) - new Set(seen).size };
  };
}

async function reaches({ netns }: Attached, { ip }: Attached): Promise<boolean> {
  const [reply] = await echo(netns.name, ip, { timeoutMs: 300 });
  return typeof reply?.rttMs === 'number';
}

/** Goes through an outage. Resolves to how long after the store's return all was as it should be, milliseconds. */
async function suffer({ url, silent, snapshot, begin, end }: Outage): Promise<number> {
  const [a, b] = await twoSites();
  const quiet = await b.attach('192.168.0.4/24');
  const store = await openStore(url);
  onCleanup(() => store.close());
  const one = await serve(a, url);
  await until(async () => (await store.list()).length === 1, 'the first host to publish');
  await snapshot?.();
  const witnesses = [one, await serve(b, url)];
  await until(async () => (await store.list()).length === 3, 'the second host to publish');
  await until(() => witnesses.every(({ agent }) => agent.stats().endpoints === 3), 'both to know of all');
  await until(() => reaches(a.container, b.container), 'the first reply');
  const ended = flow(a.container, b.container);
  await begin();
  if (silent) {
    await until(() => witnesses.every((witness) => witness.count('store-down') > 0), 'agents that say so');
    // Nobody has asked for it yet.
    expect(await ping(a.container.netns, quiet.ip)).toMatchObject({ lost: 0 });
    const unknown = Array.from({ length: 5 }, (_, at) => `192.168.0.${100 + at}`);
    await Promise.all(unknown.map((ip) => echo(a.container.netns.name, ip, { timeoutMs: 300 })));
    const told = (ip: string): boolean =>
      one.events.some((event) => event.kind === 'unresolved' && event.miss.kind === 'l3' && event.miss.ip === ip);
    await until(() => unknown.every(told), 'the end of each lookup');
  }
  // Until here nobody asks twice: what is lost once is seen.
  await a.container.netns.sysctl('net/ipv4/neigh/eth0/retrans_time_ms', 100);
  const late = await b.attach('192.168.0.5/24');
  await end();
  const since = performance.now();
  await until(() => reaches(a.container, late), 'a reply of who came meanwhile');
  const recovered = performance.now() - since;
  await until(async () => (await store.list()).length === 4, 'all records');
  for (const witness of witnesses) {
    // Each outage is one, however often the store is tried.
    expect(witness.count('store-down')).toBe(silent ? 1 : witness.count('store-up'));
    await until(() => witness.count('store-up') === witness.count('store-down'), 'the end of the outage');
    expect(witness.lines.filter((line) => /cannot be (reached|used)|gave no answer/.test(line)).length).toBeLessThan(2);
  }
  expect(await ended()).toMatchObject({ lost: 0 });
  return recovered;
}

async function consuls(): Promise<Outage[]> {
  const [emptied, restored, stable] = await Promise.all([Consul.start(), Consul.start(), Consul.start()]);
  const relays = await Promise.all([0, 1, 2].map(() => Relay.start((stable as Consul).port)));
  const url = ({ address, port }: Consul): string => `consul://${address}:${port}/demo`;
  let copy: ArrayBuffer | undefined;
  const snapshots = `${restored.url}/v1/snapshot`;
  return [
    {
      name: 'Consul killed, and back without its data',
      url: url(emptied),
      silent: true,
      begin: async () => process.kill(emptied.pid, 'SIGKILL'),
      end: () => emptied.restart(),
    },
    {
      name: 'Consul restored from an older snapshot',
      url: url(restored),
      silent: false,
      snapshot: async () => {
        copy = await (await fetch(snapshots)).arrayBuffer();
      },
      begin: async () => {},
      end: async () => expect((await fetch(snapshots, { method: 'PUT', body: copy as ArrayBuffer })).status).toBe(200),
    },
    ...through('Consul', 'consul', relays),
  ];
}

async function etcds(): Promise<Outage[]> {
  const [stopped, emptied, restored, stable] = await Promise.all([0, 1, 2, 3].map(() => Etcd.start()));
  const members = await Etcd.cluster([{}, {}, {}]);
  const relays = await Promise.all([0, 1, 2].map(() => Relay.start((stable as Etcd).port)));
  const url = (...of: (Etcd | undefined)[]): string => `etcd://${of.map((each) => each?.at).join(',')}/demo`;
  let restore: (() => Promise<void>) | undefined;
  return [
    {
      name: 'etcd killed, and back',
      url: url(stopped),
      silent: true,
      begin: async () => process.kill((stopped as Etcd).pid, 'SIGKILL'),
      end: () => (stopped as Etcd).restart(),
    },
    {
      name: 'etcd killed, and back without its data',
      url: url(emptied),
      silent: true,
      begin: () => (emptied as Etcd).stop(),
      end: async () => {
        await (emptied as Etcd).wipe();
        await (emptied as Etcd).restart();
      },
    },
    {
      name: 'etcd restored from an older backup',
      url: url(restored),
      silent: true,
      snapshot: async () => {
        await (restored as Etcd).stop();
        restore = await (restored as Etcd).backup();
        await (restored as Etcd).restart();
      },
      begin: () => (restored as Etcd).stop(),
      end: async () => {
        await restore?.();
        await (restored as Etcd).restart();
      },
    },
    {
      name: 'etcd loses the leader of three',
      url: url(...members),
      silent: false,
      begin: async () => {},
      end: async () => {
        const leader = await leaderOf(members);
        process.kill(leader.pid, 'SIGKILL');
        const others = members.filter((member) => member !== leader);
        await until(async () => (await Promise.all(others.map((member) => member.healthy()))).every(Boolean));
      },
    },
    ...through('etcd', 'etcd', relays),
  ];
}

async function leaderOf(members: readonly Etcd[]): Promise<Etcd> {
  for (const member of members) {
    const { body } = await member.ask('maintenance/status', {});
    const { leader, header } = JSON.parse(body) as { leader: string; header: { member_id: string } };
    if (leader === header.member_id) return member;
  }
  throw new Error('nobody leads');
}

/** Of a server that is well, behind a relay for each. */
function through(title: string, scheme: string, [refusing, silent, slow]: readonly Relay[]): Outage[] {
  const at = (relay: Relay | undefined, prefix: string): string => `${scheme}://${relay?.at}/${prefix}`;
  return [
    {
      name: `${title} answers 500`,
      url: at(refusing, 'refusing'),
      silent: true,
      begin: async () => {
        (refusing as Relay).mode = '500';
        (refusing as Relay).cut();
      },
      end: async () => Object.assign(refusing as Relay, { mode: 'pass' }),
    },
    {
      name: `${title} behind connections that are half open`,
      url: at(silent, 'silent'),
      silent: true,
      begin: async () => Object.assign(silent as Relay, { mode: 'hang' }),
      end: async () => Object.assign(silent as Relay, { mode: 'pass' }),
    },
    {
      name: `${title} answers after two seconds`,
      url: at(slow, 'slow'),
      silent: false,
      begin: async () => Object.assign(slow as Relay, { delayMs: 2000 }),
      end: async () => {
        (slow as Relay).delayMs = 0;
        await slow?.drained();
      },
    },
  ];
}

describeWith(['root', 'ip', 'ping', 'consul', 'etcd'], 'outages', () => {
  test.each([
    ['Consul', consuls],
    ['etcd', etcds],
  ])('of %s', async (_, outages) => {
    const all = await outages();
    const ends = await Promise.allSettled(all.map(suffer));
    const slow: Record<string, unknown> = {};
    for (const [at, { name }] of all.entries()) {
      const ended = ends[at] as PromiseSettledResult<number>;
      const ms = ended.status === 'fulfilled' ? Math.round(ended.value) : undefined;
      console.log(`${name}: ${ms === undefined ? 'failed' : `${ms} ms`}`);
      if (ms === undefined) slow[name] = String((ended as PromiseRejectedResult).reason);
      else if (ms > RECOVERED_MS) slow[name] = `${ms} ms`;
    }
    expect(slow).toEqual({});
  });

  test('a cut between the hosts and their store, of which no packet tells', async () => {
    const hosts = (await manyHosts(3)) as [Host, Host, Host];
    const [a, b] = (await Promise.all([Site.create(hosts[0]), Site.create(hosts[1])])) as [Site, Site];
    await a.attach('192.168.0.2/24');
    await b.attach('192.168.0.3/24');
    await a.container.netns.sysctl('net/ipv4/neigh/eth0/retrans_time_ms', 100);
    const consul = await Consul.start({ netns: hosts[2], address: hosts[2].ip4 });
    const store = `consul://${consul.address}:${consul.port}/demo`;
    // In their hosts, whose way to the store it is.
    const agents = [a, b].map(({ host, overlay }) =>
      host.spawn(process.execPath, [MAIN, 'agent', overlay.name, '--store', store], { env: environment() }),
    );
    await Promise.all(agents.map((agent) => agent.waitFor(/^agent ready$/m)));
    await until(() => reaches(a.container, b.container), 'the first reply');
    const ended = flow(a.container, b.container);
    await hosts[2].ip(`link set ${hosts[2].link} down`);
    await Promise.all(agents.map((agent) => agent.waitFor(/ warn Consul cannot be reached \(1 overlay\)/)));
    const late = await b.attach('192.168.0.5/24');
    await hosts[2].ip(`link set ${hosts[2].link} up`);
    const since = performance.now();
    await until(() => reaches(a.container, late), 'a reply of who came meanwhile');
    const ms = Math.round(performance.now() - since);
    console.log(`a cut: ${ms} ms`);
    expect(ms).toBeLessThan(RECOVERED_MS);
    expect(await ended()).toMatchObject({ lost: 0 });
    for (const agent of agents) expect(agent.stderr.match(/ warn Consul c/g)).toHaveLength(1);
  });
});
