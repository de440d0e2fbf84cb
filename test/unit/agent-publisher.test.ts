/** The agent keeps the endpoints of its host in the store: without a kernel, and with stores that fail. */
import { describe, expect, test } from 'vitest';
import {
  Agent,
  type AgentEvent,
  type AgentOptions,
  type Change,
  ConflictError,
  type Endpoint,
  Overlay,
  OvernsError,
  type OwnedStore,
  openStore,
  queryResolver,
  Rtnl,
  type Store,
  type StoreLease,
} from '../../lib/index.js';
import { askControl } from '../../lib/overlay/control.js';
import { publisherOf } from '../../lib/overlay/ports/publish.js';
import { publishingAgent } from '../../lib/overlay/ports/publishing-agent.js';
import { troubles } from '../../lib/resolver/remote.js';
import { FakeKernel } from '../../lib/testing/index.js';
import { onCleanup } from '../support/cleanup.js';
import '../support/fake-only.js';
import { until } from '../support/overlay.js';

const WHERE = { overlay: 'blue', vni: 42 };
const WEB: Endpoint = {
  ip: '192.168.0.2',
  ips: ['192.168.0.2'],
  mac: '02:42:c0:a8:00:02',
  vtep: '10.0.0.10',
};
/** The same address on another host. */
const RIVAL: Endpoint = { ...WEB, mac: '02:42:c0:a8:00:99', vtep: '10.0.0.11' };

interface Scene {
  readonly kernel: FakeKernel;
  readonly overlay: Overlay;
  readonly store: OwnedStore;
}

async function scene(): Promise<Scene> {
  const kernel = new FakeKernel();
  for (const name of ['web', 'db']) kernel.addNetns(name);
  const overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24', system: kernel.system });
  const store = await openStore('memory:');
  onCleanup(async () => {
    await overlay.close();
    await store.close();
  });
  return { kernel, overlay, store };
}

async function start(
  { kernel }: Scene,
  store: Store,
  options: Partial<AgentOptions> = {},
): Promise<{ agent: Agent; events: AgentEvent[] }> {
  const agent = await Agent.start({ store, system: kernel.system, ...options });
  onCleanup(() => agent.close());
  const events: AgentEvent[] = [];
  const stream = agent.events();
  void (async () => {
    for await (const event of stream) events.push(event);
  })();
  return { agent, events };
}

const attach = ({ overlay }: Scene, name = 'web', address = '192.168.0.2/24') =>
  overlay.attach(`netns:${name}`, { address });
const states = (agent: Agent) => agent.endpoints().map(({ ip, state }) => `${ip} ${state}`);
const kinds = (events: readonly AgentEvent[]) => events.map(({ kind }) => kind).filter((kind) => kind !== 'serving');

/** A store whose methods fail while `down` says so. */
function faulty(store: OwnedStore): Store & { down: Error | undefined; calls: string[] } {
  const through = {
    down: undefined as Error | undefined,
    calls: [] as string[],
    lookup: store.lookup.bind(store),
    watch: store.watch.bind(store),
  };
  const methods = Object.fromEntries(
    (['claim', 'withdraw', 'lease', 'list'] as const).map((method) => [
      method,
      async (...args: unknown[]) => {
        through.calls.push(method);
        if (through.down) throw through.down;
        return (store[method] as (...given: unknown[]) => Promise<unknown>)(...args);
      },
    ]),
  );
  return Object.assign(through, methods) as Store & { down: Error | undefined; calls: string[] };
}

describe('what is attached', () => {
  test('is claimed under a lease, withdrawn when it is detached, and with its overlay', async () => {
    const made = await scene();
    const { overlay, store } = made;
    await attach(made);
    const { agent, events } = await start(made, store);
    await until(() => states(agent).includes('192.168.0.2 published'));
    await attach(made, 'db', '192.168.0.3/24');
    await until(async () => (await store.list()).length === 2);
    for (const { lease } of await store.list()) expect(lease).toBeDefined();
    await overlay.detach('netns:web');
    await until(async () => (await store.list()).length === 1);
    await overlay.delete();
    await until(async () => (await store.list()).length === 0);
    expect(agent.endpoints()).toEqual([]);
    expect(kinds(events)).toEqual(expect.arrayContaining(['published', 'withdrawn']));
  });

  test('adopts what was published without a lease, and leaves other records alone', async () => {
    const made = await scene();
    const { overlay, store } = made;
    await overlay.attach('netns:web', { address: '192.168.0.2/24', store });
    await store.publish({ ...RIVAL, ip: '192.168.0.9', ips: ['192.168.0.9'] });
    expect((await store.list()).map(({ lease }) => lease)).toEqual([undefined, undefined]);
    const { agent } = await start(made, store);
    await until(async () => (await store.list()).some(({ lease }) => lease !== undefined));
    expect((await store.list()).filter(({ lease }) => lease === undefined)).toMatchObject([{ ip: '192.168.0.9' }]);
    expect(states(agent)).toEqual(['192.168.0.2 published']);
  });

  test('stays in the store when its agent is closed, for the next one to go on with', async () => {
    const made = await scene();
    const { store } = made;
    await attach(made);
    const first = await start(made, store);
    await until(() => states(first.agent).includes('192.168.0.2 published'));
    const [before] = await store.list();
    await first.agent.close();
    expect((await store.list())[0]).toEqual(before);
    const second = await start(made, store);
    await until(() => states(second.agent).includes('192.168.0.2 published'));
    const [after] = await store.list();
    expect(after?.lease).not.toBe(before?.lease);
  });

  test('is not published where that is switched off, or the store only looks up', async () => {
    const made = await scene();
    const { store, kernel, overlay } = made;
    await overlay.attach('netns:web', { address: '192.168.0.2/24' });
    const silent = await Agent.start({ store, publish: false, system: kernel.system });
    await attach(made, 'db', '192.168.0.3/24');
    expect([silent.endpoints(), await store.list()]).toEqual([[], []]);
    await silent.close();
    const { agent } = await start(made, { lookup: () => null });
    expect(agent.endpoints()).toEqual([]);
  });
});

describe('a store that fails', () => {
  test('keeps nobody from anything: what could not be published is, once it is back', async () => {
    const made = await scene();
    const { overlay, store } = made;
    const broken = faulty(store);
    broken.down = new Error('out of order');
    await attach(made);
    const { agent, events } = await start(made, broken);
    await until(() => events.some(({ kind }) => kind === 'pending'));
    expect(agent.endpoints()).toMatchObject([{ state: 'pending', error: { message: 'out of order' } }]);
    const late: AgentEvent[] = [];
    for await (const event of agent.events()) {
      late.push(event);
      if (event.kind === 'pending') break;
    }
    broken.down = undefined;
    await until(() => states(agent).includes('192.168.0.2 published'));
    broken.down = new Error('out of order again');
    await overlay.detach('netns:web');
    await attach(made, 'db', '192.168.0.3/24');
    await until(() => states(agent).includes('192.168.0.3 pending'));
    broken.down = undefined;
    await until(async () => (await store.list()).map(({ ip }) => ip).join() === '192.168.0.3');
  });

  test('that cannot list what there is, as a network may be too large, is told what is attached and detached all the same', async () => {
    const made = await scene();
    const { overlay, store } = made;
    const large: Store = {
      ...faulty(store),
      list: async () => {
        throw new OvernsError('OVERNS_STORE', 'the answer is too long');
      },
    };
    await attach(made);
    const { agent } = await start(made, large);
    await until(() => states(agent).includes('192.168.0.2 published'));
    await overlay.detach('netns:web');
    expect(await store.list()).toEqual([]);
  });

  test('whose lease has ended gets another one, and all is claimed again', async () => {
    const made = await scene();
    const { store } = made;
    await attach(made);
    const leases = new Map<StoreLease, { readonly own: StoreLease; end(): Promise<void> }>();
    const ending: Store = {
      ...faulty(store),
      lease: async (options) => {
        const own = await store.lease(options);
        const lost = new AbortController();
        const lease: StoreLease = {
          ...own,
          id: own.id,
          ttlMs: own.ttlMs,
          lost: lost.signal,
          leave: () => own.leave(),
        } as StoreLease;
        leases.set(lease, {
          own,
          end: async () => {
            await own.close();
            lost.abort(new Error('its time was over'));
          },
        });
        return lease;
      },
      claim: (endpoint, { lease, ...options }) =>
        store.claim(endpoint, { ...options, lease: lease && leases.get(lease)?.own }),
    };
    const { agent } = await start(made, ending);
    await until(() => states(agent).includes('192.168.0.2 published'));
    const [first] = leases.values();
    await first?.end();
    await until(async () => (await store.list()).length === 1);
    expect((await store.list())[0]?.lease).toBe([...leases.values()].at(-1)?.own.id);
    expect(leases.size).toBe(2);
  });

  test.each(['all', 'used'] as const)(
    '%s followed: an endpoint that was deleted by hand is there again',
    async (sync) => {
      const made = await scene();
      const { store } = made;
      const { agent } = await start(made, store, { sync });
      await attach(made);
      await until(() => states(agent).includes('192.168.0.2 published'));
      await store.withdraw(WEB);
      await until(async () => (await store.list()).length === 1);
    },
  );
});

describe('an address that two hosts have', () => {
  test('is refused to the second, told with its holder, and taken once that has gone', async () => {
    const made = await scene();
    const { store } = made;
    await store.publish(RIVAL);
    await attach(made);
    const { agent, events } = await start(made, store);
    await until(() => events.some(({ kind }) => kind === 'conflict'));
    expect(agent.endpoints()).toMatchObject([{ state: 'conflict', holder: { vtep: RIVAL.vtep, mac: RIVAL.mac } }]);
    expect(await store.lookup({ ...WHERE, kind: 'l3', ip: WEB.ip })).toMatchObject({ vtep: RIVAL.vtep });
    await store.withdraw(RIVAL);
    await until(() => states(agent).includes('192.168.0.2 published'));
    expect(kinds(events)).toEqual(['conflict', 'conflict-over', 'published']);
  });

  test.each(['all', 'used'] as const)('%s followed: goes to whoever has written last, and comes back', async (sync) => {
    const made = await scene();
    const { store } = made;
    await attach(made);
    const { agent, events } = await start(made, store, { sync });
    await until(() => states(agent).includes('192.168.0.2 published'));
    await store.publish(RIVAL);
    await until(() => events.some(({ kind }) => kind === 'conflict'));
    expect(await store.lookup({ ...WHERE, kind: 'l3', ip: WEB.ip })).toMatchObject({ vtep: RIVAL.vtep });
    await store.withdraw(RIVAL);
    await until(() => states(agent).includes('192.168.0.2 published'));
    expect(kinds(events)).toEqual(['published', 'conflict', 'conflict-over', 'published']);
    expect(await store.lookup({ ...WHERE, kind: 'l3', ip: WEB.ip })).toMatchObject({ vtep: WEB.vtep });
  });

  test('which goes as its container is detached, is left to the other', async () => {
    const made = await scene();
    const { overlay, store } = made;
    await store.publish(RIVAL);
    await attach(made);
    const { agent, events } = await start(made, store);
    await until(() => events.some(({ kind }) => kind === 'conflict'));
    await overlay.detach('netns:web');
    await until(() => events.some(({ kind }) => kind === 'conflict-over'));
    expect(agent.endpoints()).toEqual([]);
    expect(await store.list()).toMatchObject([{ vtep: RIVAL.vtep }]);
  });
});

describe('an attachment', () => {
  test('is claimed by the agent before the container is touched, and withdrawn by it before it goes', async () => {
    const made = await scene();
    const { overlay, store, kernel } = made;
    const { agent, events } = await start(made, store);
    await attach(made);
    // It has been claimed by the time that attach() fulfils, whatever the agent has heard of links by then.
    expect(await store.list()).toMatchObject([{ ip: WEB.ip, lease: expect.any(String) }]);
    expect(states(agent)).toEqual(['192.168.0.2 published']);
    expect((await queryResolver('blue', { system: kernel.system }))?.publishing).toMatchObject({ published: 1 });
    const withdrawn: number[] = [];
    const watching = overlay.endpointEvents();
    const gone = (async () => {
      for await (const event of watching) if (event.kind === 'detached') return (await store.list()).length;
      return undefined;
    })();
    await overlay.detach('netns:web');
    withdrawn.push((await store.list()).length, (await gone) ?? -1);
    expect(withdrawn).toEqual([0, 0]);
    await until(() => agent.endpoints().length === 0);
    expect(kinds(events).filter((kind) => kind === 'published')).toHaveLength(1);
  });

  test('of an address that another host has is refused with its name, and taken with takeover', async () => {
    const made = await scene();
    const { overlay, store, kernel } = made;
    await store.publish(RIVAL);
    const { events } = await start(made, store);
    const before = kernel.state('web');
    const refused = await attach(made).catch((error) => error);
    expect(refused).toBeInstanceOf(ConflictError);
    expect(refused).toMatchObject({
      message: expect.stringContaining(RIVAL.vtep),
      holder: { ip: WEB.ip, mac: RIVAL.mac, vtep: RIVAL.vtep, revision: 1n },
    });
    expect(kernel.state('web')).toEqual(before);
    expect(await store.list()).toMatchObject([{ vtep: RIVAL.vtep }]);
    await overlay.attach('netns:web', { address: '192.168.0.2/24', takeover: true });
    expect(await store.list()).toMatchObject([{ vtep: WEB.vtep }]);
    await until(() => events.some((event) => event.kind === 'conflict' && event.won));
  });

  test('without an address is given the next free one by the agent, under its lease, or is told why not', async () => {
    const made = await scene();
    const { overlay, store } = made;
    await store.publish(RIVAL);
    const { agent } = await start(made, store);
    const web = await overlay.attach('netns:web');
    expect(web.addresses).toEqual(['192.168.0.3/24']);
    expect(states(agent)).toEqual(['192.168.0.3 published']);
    expect(await store.list()).toMatchObject([{ vtep: RIVAL.vtep }, { ip: '192.168.0.3', lease: expect.any(String) }]);
    await overlay.detach('netns:web');
    expect((await overlay.attach('netns:db', { mac: '02:00:00:00:00:07' })).ip).toBe('192.168.0.4');
    const taken = await overlay.attach('netns:web', { mac: RIVAL.mac }).catch((error) => error);
    expect(taken).toMatchObject({ code: 'OVERNS_CONFLICT', holder: { mac: RIVAL.mac, vtep: RIVAL.vtep } });
    for (let at = 5; at < 255; at++) {
      const [ip, mac] = [`192.168.0.${at}`, `02:00:00:00:01:${at.toString(16).padStart(2, '0')}`];
      await store.publish({ ip, ips: [ip], mac, vtep: RIVAL.vtep });
    }
    await expect(overlay.attach('netns:web')).rejects.toMatchObject({
      code: 'OVERNS_POOL_FULL',
      message: 'no address of 192.168.0.0/24 is free (253 in all, 1 of them given back a short while ago)',
    });
    expect((await overlay.endpoints()).map(({ ip }) => ip)).toEqual(['192.168.0.4']);
  });

  test('without an address waits where the store has lost records, until they are there again', async () => {
    const made = await scene();
    const { overlay, store, kernel } = made;
    const others = [3, 4, 5].map((n): Endpoint => {
      const ip = `192.168.0.${n}`;
      return { ip, ips: [ip], mac: `02:42:c0:a8:00:0${n}`, vtep: RIVAL.vtep };
    });
    const changes: Change[] = [{ kind: 'reset', endpoints: others, index: 1n }];
    async function* watch({ signal }: { signal: AbortSignal }): AsyncGenerator<Change> {
      while (!signal.aborted) {
        await until(() => changes.length > 0 || signal.aborted, 'a change', 60_000);
        yield* changes.splice(0);
      }
    }
    const { agent, events } = await start(made, { ...faulty(store), watch });
    changes.push({ kind: 'reset', endpoints: [], index: 2n });
    await until(() => events.some(({ kind }) => kind === 'grace'), 'the doubt');
    expect(agent.overlays()).toMatchObject([{ grace: { listed: 0, missing: 3, graceMs: 60_000 } }]);
    const remote = await queryResolver('blue', { system: kernel.system });
    expect(remote?.status?.grace).toMatchObject({ listed: 0, missing: 3, since: expect.stringMatching(/^\d{4}-/) });
    expect(troubles(remote?.status)).toEqual([expect.stringMatching(/^the store lists 0 of 3 addresses since /)]);
    await expect(overlay.attach('netns:web')).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('has lost records (it lists 0 of 3 addresses): no address is handed out'),
    });
    // Who is told which one is free may have it.
    expect((await attach(made)).ip).toBe('192.168.0.2');
    for (const [at, endpoint] of others.entries()) {
      await store.publish(endpoint);
      changes.push({ kind: 'put', endpoint, index: BigInt(3 + at) });
    }
    await until(() => events.some(({ kind }) => kind === 'grace-over'), 'its end');
    expect(agent.overlays()[0]?.grace).toBeUndefined();
    expect([WEB, ...others].map(({ ip }) => ip)).not.toContain((await overlay.attach('netns:db')).ip);
  });

  test('that fails leaves nothing in the store, nor does one that dies behind its claim', async () => {
    const made = await scene();
    const { store, kernel, overlay } = made;
    const { agent } = await start(made, store);
    kernel.fail('RTM_NEWADDR', 'ENOMEM');
    await expect(attach(made)).rejects.toMatchObject({ code: 'ENOMEM' });
    expect(await store.list()).toEqual([]);
    // As attach does, and no further.
    const dying = await publishingAgent(kernel.system, overlay.netns, {});
    await dying?.publisher(false).claim?.(WEB, {});
    expect(await store.list()).toMatchObject([{ ip: WEB.ip }]);
    await until(async () => (await store.list()).length === 0);
    expect(agent.endpoints()).toEqual([]);
  });

  test('goes on while the store is down, and is published when it is back', async () => {
    const made = await scene();
    const { overlay, store } = made;
    const broken = faulty(store);
    const { agent } = await start(made, broken);
    broken.down = new Error('out of order');
    await attach(made);
    expect(agent.endpoints()).toMatchObject([{ state: 'pending', error: { message: 'out of order' } }]);
    broken.down = undefined;
    await until(async () => (await store.list()).length === 1);
    broken.down = new Error('out of order');
    await overlay.detach('netns:web');
    expect(await store.list()).toHaveLength(1);
    broken.down = undefined;
    await until(async () => (await store.list()).length === 0);
  });

  test('is left to the store that it names, where the agent has another one, and to none if nobody publishes', async () => {
    const made = await scene();
    const { overlay, store, kernel } = made;
    await using other = await openStore('memory:');
    const { agent } = await start(made, store);
    await overlay.attach('netns:web', { address: '192.168.0.2/24', store: other });
    expect(await other.list()).toMatchObject([{ ip: WEB.ip }]);
    await until(async () => (await store.list()).length === 1);
    await agent.close();
    await using _silent = await Agent.start({ store, publish: false, system: kernel.system });
    await attach(made, 'db', '192.168.0.3/24');
    expect(await store.list()).toHaveLength(1);
  });
});

test('what nobody may ask of an agent is answered with what is wrong with it', async () => {
  const made = await scene();
  const { overlay, store, kernel } = made;
  await start(made, store);
  const ask = (request: object) => askControl(kernel.system, overlay.netns, request as never);
  for (const endpoint of [undefined, {}, { ips: [], mac: WEB.mac }, { ips: ['x'], mac: WEB.mac }, { ips: WEB.ips }]) {
    expect(await ask({ op: 'publish', endpoint })).toMatchObject({
      ok: false,
      error: expect.stringContaining('endpoint.'),
    });
  }
  expect(await ask({ op: 'later' })).toEqual({ ok: false, error: 'unknown request' });
  expect(await store.list()).toEqual([]);
});

describe('records that point at this host, where nobody has them', () => {
  test('are withdrawn if an agent that was killed has left them, and told of if somebody has written them', async () => {
    const made = await scene();
    const { store } = made;
    const killed = await store.lease({ name: 'killed' });
    await store.claim(WEB, { lease: killed });
    killed.leave();
    const plain = { ip: '192.168.0.7', ips: ['192.168.0.7'], mac: '02:42:c0:a8:00:07', vtep: WEB.vtep };
    await store.publish(plain);
    const { agent, events } = await start(made, store);
    await until(async () => (await store.list()).length === 1);
    await until(() => events.some(({ kind }) => kind === 'stray'));
    expect(await store.list()).toMatchObject([plain]);
    expect(states(agent)).toEqual(['192.168.0.7 stray']);
    await store.withdraw(plain);
    await until(() => agent.endpoints().length === 0);
  });

  test('are not spoken of while a port of the bridge may be that of a container attached by hand', async () => {
    const made = await scene();
    const { store, kernel } = made;
    await using rtnl = await Rtnl.open({ netns: 'blue', system: kernel.system });
    const peer = { name: 'eth0', netns: 'web' };
    await rtnl.links.add({ kind: 'veth', name: 'by-hand', master: 'br0', up: true, peer });
    await store.publish(WEB);
    const counted = faulty(store);
    const { agent, events } = await start(made, counted);
    const lists = () => counted.calls.filter((call) => call === 'list').length;
    // Once at the start, and once when it has been there for long enough to be told of.
    await until(() => lists() >= 2);
    await kernel.idle();
    expect([agent.endpoints(), kinds(events)]).toEqual([[], []]);
  });
});

test('a thousand endpoints are claimed again at a restart, and go with their overlay', async () => {
  const made = await scene();
  const { overlay, store, kernel } = made;
  await using rtnl = await Rtnl.open({ netns: 'blue', system: kernel.system });
  const count = 1000;
  for (let n = 0; n < count; n++) {
    const name = `ov${n}`;
    const [high, low] = [n >> 8, n & 255];
    await rtnl.links.add({ kind: 'veth', name, master: 'br0', up: true, peer: { name: `p${n}`, netns: 'web' } });
    const mac = `02:42:0a:00:${high.toString(16).padStart(2, '0')}:${low.toString(16).padStart(2, '0')}`;
    await rtnl.links.set({ name, alias: `overns ${mac} 10.0.${high}.${low}/16 eth0 netns:web` });
  }
  const all = async (lease?: string) =>
    (await store.list()).filter((each) => each.lease !== undefined && each.lease !== lease).length === count;
  const first = await start(made, store);
  await until(() => all());
  const [{ lease } = {}] = await store.list();
  await first.agent.close();
  const second = await start(made, store);
  await until(() => all(lease));
  expect(second.agent.endpoints().every(({ state }) => state === 'published')).toBe(true);
  await overlay.delete();
  await until(async () => (await store.list()).length === 0);
});

test('an agent that may not write has the caller do so, where that one has the same store', async () => {
  const made = await scene();
  const { overlay, store, kernel } = made;
  const broken = faulty(store);
  broken.down = new Error('permission denied');
  await start(made, broken);
  const own = publisherOf(store, WHERE, 'publish');
  const agent = await publishingAgent(kernel.system, overlay.netns, {});
  await agent?.publisher(false, own).claim?.(WEB, {});
  expect(await store.list()).toMatchObject([{ ip: WEB.ip }]);
  await agent?.publisher(false, own).withdraw(WEB, {});
  expect(await store.list()).toEqual([]);
  await store.publish(RIVAL);
  await expect(agent?.publisher(false, own).claim?.(WEB, {})).rejects.toBeInstanceOf(ConflictError);
});
