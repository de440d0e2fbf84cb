/**
 * Every public function survives every wrong type and value: what is of the wrong type is a TypeError or a RangeError
 * that names the argument and has Node's own code; what only the kernel or a store can judge is their refusal; nothing
 * crashes, nothing hangs, and nothing else is thrown.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Overlay, OvernsError, openStore, Resolver, Rtnl } from '../../lib/index.js';
import { createContainer, createNetns, type Netns, twoHosts, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';

const SEED = seedOf('OVERNS_ARGUMENTS_SEED');
const RUNS = process.env.CI_FULL === '1' ? 400 : 40;

/** Anything that a caller could hand over by mistake. */
const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    1.5,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1n,
    Symbol('wrong'),
    '',
    'x',
    'a\0b',
    '\ud800',
    'é'.repeat(200),
    '__proto__',
    'constructor',
    [],
    [null],
    ['x'],
    [{}],
    {},
    Object.create(null),
    new Array(2 ** 32 - 1),
    () => 'x',
    new Date(Number.NaN),
    new Uint8Array(3),
    new Uint8Array(0x11000),
    new Proxy({}, {}),
    { toString: () => 'x' },
    {
      [Symbol.toPrimitive]: () => {
        throw new Error('a conversion of the caller');
      },
    },
  ),
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withTypedArray: true,
    withNullPrototype: true,
    withSparseArray: true,
  }),
  fc.string({ unit: 'binary' }),
  fc.double(),
);

type Call = (value: unknown) => unknown;
interface Case {
  /** How errors name it. */
  readonly argument: string;
  readonly call: Call;
  /** The right type: such a value may be accepted, or refused for what it says. */
  readonly takes: (value: unknown) => boolean;
}
const is =
  (...types: string[]) =>
  (value: unknown): boolean =>
    types.includes(typeof value);
const text = is('string');
const number = is('number');
const truth = is('boolean');
const list = (value: unknown): boolean => Array.isArray(value);
const object = (value: unknown): boolean => typeof value === 'object' && value !== null;
const record = (value: unknown): boolean => object(value) && !Array.isArray(value);
const bytes = (value: unknown): boolean => value instanceof Uint8Array;
const never = (): boolean => false;
const either =
  (...of: ((value: unknown) => boolean)[]) =>
  (value: unknown): boolean =>
    of.some((each) => each(value));

/** A case for each field of an object that a function takes. */
function fields(call: (extra: object) => unknown, types: Record<string, (value: unknown) => boolean>): Case[] {
  return Object.entries(types).map(([argument, takes]) => ({
    argument,
    takes,
    call: (value) => call({ [argument]: value }),
  }));
}

async function check(what: string, { argument, call, takes }: Case): Promise<void> {
  await fc.assert(
    fc.asyncProperty(anything, async (value) => {
      if (value === undefined) return;
      let error: unknown;
      try {
        const result = await call(value);
        // What was opened is closed again.
        await (result as AsyncDisposable | undefined)?.[Symbol.asyncDispose]?.();
        expect(takes(value), `${what}: ${argument} was taken`).toBe(true);
        return;
      } catch (thrown) {
        error = thrown;
      }
      const { code, message } = error as { code?: string; message: string };
      const named =
        (error instanceof TypeError || error instanceof RangeError) &&
        /^ERR_INVALID_ARG_(TYPE|VALUE)$/.test(code ?? '');
      if (named) {
        expect(message, what).toMatch(new RegExp(`\\b${argument.replace(/s$/, 's?')}\\b`));
        return;
      }
      if (takes(value) && OvernsError.is(error)) return;
      throw error;
    }),
    {
      seed: SEED,
      numRuns: RUNS,
      examples: [null, 5, 'x', true, {}, [], Symbol('s'), () => 1, 1n, new Array(2 ** 32 - 1)].map(
        (each): [unknown] => [each],
      ),
    },
  );
}

const cases = new Map<string, Case[]>();
let rtnl: Rtnl;
let overlay: Overlay;
let resolver: Resolver;
let host: Netns;

describeWith(['root', 'ip'], 'wrong arguments', () => {
  beforeAll(async () => {
    console.log(`arguments: seed ${SEED} (OVERNS_ARGUMENTS_SEED=${SEED} for the same once more)`);
    const netns = await createNetns();
    rtnl = await Rtnl.open({ netns: netns.name });
    await rtnl.links.add({ kind: 'bridge', name: 'br0' });
    await rtnl.links.add({ kind: 'vxlan', name: 'vx0', vni: 7, port: 4789 });
    [host] = await twoHosts();
    overlay = await Overlay.create({ name: uniqueName(), vni: 42, address: '192.168.0.1/24', host: host.name });
    const container = await createContainer();
    const store = await openStore('memory:');
    resolver = await Resolver.start({ overlays: [overlay], store });
    const address = { link: 'br0', address: '10.0.0.1/24' };
    const route = { dst: '10.9.0.0/16', link: 'br0' };
    const neighbor = { link: 'br0', ip: '10.0.0.2', mac: '02:00:00:00:00:01', state: 'permanent' };
    const entry = { link: 'vx0', mac: '02:00:00:00:00:01', dst: '10.1.0.1', state: 'permanent' };
    const loose = rtnl as unknown as Record<string, Record<string, (...values: unknown[]) => Promise<unknown>>>;
    const method =
      (table: string, verb: string): ((...values: unknown[]) => Promise<unknown>) =>
      (...values) =>
        (loose[table]?.[verb] as (...all: unknown[]) => Promise<unknown>)?.call(loose[table], ...values);

    cases.set('Rtnl.open', [
      { argument: 'options', takes: object, call: (value) => Rtnl.open(value as never) },
      ...fields((extra) => Rtnl.open(extra), { netns: either(text, object), signal: never }),
    ]);
    for (const [table, item] of Object.entries({
      links: { kind: 'bridge', name: 'br9' },
      addresses: address,
      routes: route,
      neighbors: neighbor,
      fdb: entry,
    })) {
      for (const verb of ['add', 'replace', 'append', 'delete']) {
        cases.set(`${table}.${verb}`, [
          { argument: 'item', takes: never, call: (value) => method(table, verb)(object(value) ? 0 : value) },
          {
            argument: 'options',
            takes: object,
            call: (value) => method(table, verb)(item, object(value) ? {} : value),
          },
          ...fields((extra) => method(table, verb)(item, extra), { signal: never }),
        ]);
      }
      cases.set(`${table}.batch`, [
        {
          argument: 'operations',
          takes: (value) => Array.isArray(value) && value.length === 0,
          call: (value) => method(table, 'batch')(list(value) && (value as []).length > 0 ? 1 : value),
        },
        { argument: 'operation', takes: never, call: (value) => method(table, 'batch')([object(value) ? 5 : value]) },
        {
          argument: 'op',
          takes: never,
          call: (value) => method(table, 'batch')([{ op: value === 'set' ? 1 : value, item }]),
        },
      ]);
      cases.set(`${table}.list`, [
        { argument: 'filter', takes: object, call: (value) => method(table, 'list')(list(value) ? 1 : value) },
        { argument: 'options', takes: object, call: (value) => method(table, 'list')({}, object(value) ? {} : value) },
      ]);
    }
    cases.set('links.add, fields', [
      ...fields((extra) => rtnl.links.add({ kind: 'vxlan', name: 'vx9', vni: 9, port: 4999, ...extra } as never), {
        kind: text,
        name: text,
        index: number,
        up: truth,
        arp: truth,
        promiscuous: truth,
        mtu: number,
        mac: text,
        master: (value) => value === null || text(value),
        masterIndex: number,
        link: either(text, number),
        netns: either(text, object),
        txQueueLength: number,
        addrGenMode: text,
        linkMode: text,
        vni: number,
        local: text,
        group: text,
        device: either(text, number),
        port: number,
        portRange: record,
        ttl: number,
        df: text,
        learning: truth,
        reservedBits: bytes,
        bridgePort: record,
        alias: never,
        peer: record,
      }),
      ...fields((extra) => rtnl.links.add({ kind: 'veth', name: 'va9', peer: { name: 'vb9', ...extra } } as never), {
        name: text,
        mac: text,
        mtu: number,
        netns: either(text, object),
      }).map((each) => ({ ...each, argument: `peer.${each.argument}` })),
      ...fields((extra) => rtnl.links.set({ name: 'br0', bridgePort: extra } as never), {
        state: text,
        cost: number,
        hairpin: truth,
        backupPort: either(text, number),
      }).map((each) => ({ ...each, argument: `bridgePort.${each.argument}` })),
      ...fields((extra) => rtnl.links.set({ name: 'nope', ...extra } as never), { alias: text, newName: text }),
    ]);
    cases.set(
      'addresses.add, fields',
      fields((extra) => rtnl.addresses.add({ ...address, ...extra } as never), {
        link: text,
        address: text,
        peer: text,
        broadcast: text,
        scope: either(text, number),
        flags: list,
        label: text,
        validLifetime: number,
        preferredLifetime: number,
        metric: number,
        protocol: either(text, number),
        nodad: truth,
      }),
    );
    cases.set('routes.add, fields', [
      ...fields((extra) => rtnl.routes.add({ ...route, ...extra } as never), {
        dst: text,
        family: text,
        type: either(text, number),
        from: text,
        gateway: text,
        link: text,
        source: text,
        table: number,
        metric: number,
        tos: number,
        scope: either(text, number),
        protocol: either(text, number),
        flags: list,
        nexthops: list,
        nexthop: number,
        preference: text,
        expires: number,
        metrics: record,
      }),
      ...fields((extra) => rtnl.routes.add({ dst: '10.8.0.0/16', nexthops: [extra] } as never), {
        gateway: text,
        link: text,
        weight: number,
        flags: list,
      }).map((each) => ({ ...each, argument: `nexthops\\[0\\].${each.argument}` })),
    ]);
    cases.set(
      'neighbors.add, fields',
      fields((extra) => rtnl.neighbors.add({ ...neighbor, ...extra } as never), {
        link: text,
        ip: text,
        mac: text,
        state: text,
        flags: list,
        protocol: number,
      }),
    );
    cases.set(
      'fdb.add, fields',
      fields((extra) => rtnl.fdb.add({ ...entry, ...extra } as never), {
        link: text,
        mac: text,
        dst: text,
        vni: number,
        sourceVni: number,
        port: number,
        via: text,
        vlan: number,
        nexthop: number,
        protocol: number,
        state: text,
        flags: list,
      }),
    );
    cases.set('fdb.flush', [
      {
        argument: 'filter',
        takes: object,
        call: (value) => rtnl.fdb.flush((object(value) ? { link: 'vx0' } : value) as never),
      },
      ...fields((extra) => rtnl.fdb.flush({ link: 'vx0', ...extra } as never), {
        link: text,
        dst: text,
        vni: number,
        port: number,
        via: text,
        nexthop: number,
        vlan: number,
        state: text,
        flags: list,
        withoutFlags: list,
      }),
    ]);
    cases.set('list, fields of the filter', [
      ...fields((extra) => rtnl.links.list(extra), {
        name: text,
        kind: text,
        master: text,
        mac: text,
        index: number,
        mtu: number,
        up: truth,
        flags: list,
        vni: number,
        bridgePort: object,
      }),
      ...fields((extra) => rtnl.rules.list(extra), { priority: number, from: text, l3mdev: truth }),
      ...fields((extra) => rtnl.routes.list(extra), {
        link: text,
        table: number,
        family: text,
        type: either(text, number),
        protocol: either(text, number),
      }),
      ...fields((extra) => rtnl.neighbors.list(extra), { link: text, ip: text, mac: text }),
      ...fields((extra) => rtnl.neighbors.flush({ ip: '10.0.0.77', ...extra }), { link: text, mac: text }),
      ...fields((extra) => rtnl.nexthops.list(extra), { link: text, family: text, gateway: text }),
    ]);
    cases.set('setNeighborQueue, nsid', [
      { argument: 'link', takes: text, call: (value) => rtnl.setNeighborQueue(value as never, 1000) },
      { argument: 'bytes', takes: number, call: (value) => rtnl.setNeighborQueue('br0', value as never) },
      {
        argument: 'options',
        takes: object,
        call: (value) => rtnl.setNeighborQueue('br0', 1000, (object(value) ? {} : value) as never),
      },
      { argument: 'netns', takes: either(text, object), call: (value) => rtnl.nsid(value as never) },
    ]);
    cases.set('Rtnl.monitor', [
      {
        argument: 'options',
        takes: either(object, list),
        call: (value) => rtnl.monitor((object(value) || list(value) ? {} : value) as never),
      },
      ...fields((extra) => rtnl.monitor(extra), { maxQueue: number, overflow: never, signal: never }),
    ]);
    cases.set('Overlay.create', [
      {
        argument: 'options',
        takes: never,
        call: (value) => Overlay.create((object(value) || list(value) ? 1 : value) as never),
      },
      // Nothing is created: the host has none of these names, addresses and VNIs free.
      ...fields((extra) => Overlay.create({ name: overlay.name, vni: 42, host: host.name, ...extra } as never), {
        name: never,
        vni: number,
        address: either(text, list),
        port: number,
        mtu: either(number, text),
        vtep: text,
        signal: never,
      }).filter(({ argument }) => argument !== 'name'),
      ...fields((extra) => Overlay.create({ vni: 42, host: 'no-such-host', ...extra } as never), { name: text }),
      ...fields((extra) => Overlay.create({ name: overlay.name, vni: 42, ...extra } as never), {
        host: either(text, object),
      }),
    ]);
    cases.set('Overlay.open, list', [
      { argument: 'name', takes: text, call: (value) => Overlay.open(value as never) },
      {
        argument: 'options',
        takes: either(object, list),
        call: (value) => Overlay.open(overlay.name, (object(value) || list(value) ? {} : value) as never),
      },
      {
        argument: 'options',
        takes: either(object, list),
        call: (value) => Overlay.list((object(value) || list(value) ? {} : value) as never),
      },
      ...fields((extra) => Overlay.open(overlay.name, extra), { host: either(text, object), signal: never }),
    ]);
    cases.set('Overlay, methods', [
      {
        argument: 'container',
        takes: either(text, object),
        call: (value) =>
          overlay.attach((text(value) ? `netns:${value}` : value) as never, { address: '192.168.0.2/24' }),
      },
      {
        argument: 'options',
        takes: never,
        call: (value) => overlay.attach({ path: container.path }, (object(value) || list(value) ? 1 : value) as never),
      },
      // The interface is there already: nothing is attached.
      ...fields(
        (extra) =>
          overlay.attach({ path: container.path }, { address: '192.168.0.2/24', ifname: 'lo', ...extra } as never),
        {
          address: either(text, list),
          mac: text,
          store: never,
          signal: never,
        },
      ),
      ...fields(
        (extra) => overlay.attach({ path: '/proc/1/ns/mnt' }, { address: '192.168.0.2/24', ...extra } as never),
        { ifname: text },
      ),
      {
        argument: 'target|container',
        takes: either(text, object),
        call: (value) => overlay.detach((text(value) ? `netns:${value}` : value) as never),
      },
      { argument: 'ip', takes: text, call: (value) => overlay.detach({ ip: value as never }) },
      ...fields((extra) => overlay.detach({ ip: '192.168.0.9' }, extra), { store: never, signal: never }),
      {
        argument: 'options',
        takes: either(object, list),
        call: (value) => overlay.endpoints((object(value) || list(value) ? {} : value) as never),
      },
      {
        argument: 'options',
        takes: never,
        call: (value) => overlay.delete((object(value) || list(value) ? 1 : value) as never),
      },
      ...fields((extra) => overlay.misses(extra), { maxQueue: number, overflow: never, signal: never }),
      ...fields((extra) => overlay.endpoints(extra), { signal: never }),
    ]);
    cases.set('Resolver', [
      {
        argument: 'options',
        takes: either(object, list),
        call: (value) => Resolver.start((object(value) || list(value) ? {} : value) as never),
      },
      ...fields((extra) => Resolver.start(extra), {
        overlays: (value) => Array.isArray(value) && value.length === 0,
        store: never,
        lookupTimeoutMs: number,
        negativeTtlMs: number,
        maxLookups: number,
        realtime: truth,
        takeover: truth,
        signal: never,
      }),
      { argument: 'overlay', takes: never, call: (value) => resolver.add(value as never) },
      { argument: 'overlay', takes: text, call: (value) => resolver.remove(value as never) },
      ...fields((extra) => resolver.events(extra), {
        maxQueue: number,
        overflow: never,
        signal: never,
        kinds: (value) => Array.isArray(value) && value.length === 0,
      }),
      { argument: 'kind', takes: never, call: (value) => resolver.on(value as never, () => {}) },
      {
        argument: 'fn',
        takes: is('function'),
        call: (value) => void resolver.on('resolved', value as never)[Symbol.dispose](),
      },
    ]);
    cases.set('openStore and its stores', [
      { argument: 'url', takes: text, call: (value) => openStore(value as never) },
      {
        argument: 'options',
        takes: either(object, list),
        call: (value) => openStore('memory:', (object(value) || list(value) ? {} : value) as never),
      },
      ...fields((extra) => openStore('consul://127.0.0.1:1/x', extra), {
        token: either(text, is('function')),
        signal: never,
      }),
      ...fields((extra) => openStore('consul+https://127.0.0.1:1/x', extra), { ca: text, cert: text, key: text }),
      {
        argument: 'query',
        takes: never,
        call: (value) => store.lookup((object(value) ? 1 : value) as never, {} as never),
      },
      ...fields(
        (extra) => store.lookup({ overlay: 'x', vni: 42, kind: 'l3', ip: '10.0.0.1', ...extra } as never, {} as never),
        { overlay: text, vni: number, kind: never, ip: text },
      ),
      { argument: 'endpoint', takes: never, call: (value) => store.publish((object(value) ? 1 : value) as never) },
      ...fields(
        (extra) =>
          store.publish({
            ip: '10.0.0.1',
            ips: ['10.0.0.1'],
            mac: '02:00:00:00:00:01',
            vtep: '10.1.0.1',
            ...extra,
          } as never),
        { ip: text, ips: list, mac: text, vtep: text },
      ),
      { argument: 'endpoint', takes: never, call: (value) => store.withdraw((object(value) ? 1 : value) as never) },
    ]);
    afterAll(async () => {
      await resolver.close();
      await store.close();
      await rtnl.close();
    });
  });

  for (const group of [
    'Rtnl.open',
    ...['links', 'addresses', 'routes', 'neighbors', 'fdb'].flatMap((table) =>
      ['add', 'replace', 'append', 'delete', 'batch', 'list'].map((verb) => `${table}.${verb}`),
    ),
    'links.add, fields',
    'addresses.add, fields',
    'routes.add, fields',
    'neighbors.add, fields',
    'fdb.add, fields',
    'fdb.flush',
    'list, fields of the filter',
    'setNeighborQueue, nsid',
    'Rtnl.monitor',
    'Overlay.create',
    'Overlay.open, list',
    'Overlay, methods',
    'Resolver',
    'openStore and its stores',
  ]) {
    test(group, { timeout: 120_000 }, async () => {
      const all = cases.get(group) ?? [];
      expect(all.length).toBeGreaterThan(0);
      const wrong: string[] = [];
      for (const each of all) {
        await check(group, each).catch((error: Error) =>
          wrong.push(`${each.argument}: ${(error.cause as Error | undefined)?.message ?? error.message}`),
        );
      }
      expect(wrong).toEqual([]);
    });
  }

  test('nothing of all that has changed the overlay', async () => {
    expect(await overlay.endpoints()).toEqual([]);
    expect((await Overlay.list()).filter(({ overlay: name }) => name === overlay.name)).toHaveLength(1);
  });
});
