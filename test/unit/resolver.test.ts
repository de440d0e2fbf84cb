/** The resolver without a kernel: its lifecycle, and stores that fail in every way. */
import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  type Answer,
  type Change,
  counters,
  Overlay,
  openStore,
  type Query,
  Resolver,
  Rtnl,
  type Store,
} from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';
import { record, until } from '../support/overlay.js';

const REMOTE: Answer = { mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' };

/** Aborted in the next turn, which no load can put behind the end of what waits for a timer. */
function soon(): { signal: AbortSignal } {
  const controller = new AbortController();
  setImmediate(() => controller.abort('enough'));
  return controller;
}

/** Changes that never come, of a watch that does not look at its signal. */
async function* silence(): AsyncGenerator<Change> {
  await new Promise(() => {});
}

/** One that begins, and does not end when it is told to. */
async function* endless(): AsyncGenerator<Change> {
  yield { kind: 'reset', endpoints: [], index: 1n };
  await new Promise(() => {});
}

async function scene(): Promise<{ kernel: FakeKernel; overlay: Overlay }> {
  const kernel = new FakeKernel();
  const overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24', system: kernel.system });
  return { kernel, overlay };
}

describe('lifecycle', () => {
  test('what is refused at the start leaves nothing open', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const open = kernel.openHandles;
    const { fdb, neighbors } = kernel.state('blue');
    const store: Store = { lookup: () => null };
    await expect(Resolver.start({ overlays: [overlay] })).rejects.toMatchObject({ code: 'OVERNS_STORE' });
    await expect(Resolver.start({ overlays: [overlay], store, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
    kernel.fail('bind', 'EPERM');
    await expect(Resolver.start({ overlays: [overlay], store })).rejects.toMatchObject({ code: 'EPERM' });
    await expect(Resolver.start({ overlays: [overlay, overlay], store })).rejects.toMatchObject({ code: 'EBUSY' });
    await kernel.idle();
    expect(kernel.openHandles).toEqual(open);
    expect(kernel.state('blue')).toMatchObject({ fdb, neighbors });
    // The claim has been given back each time.
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    expect(resolver.stats().misses).toBe(0);
  });

  test('an overlay that lacks its bridge cannot be served, and is told so', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using rtnl = await Rtnl.open({ netns: 'blue', system: kernel.system });
    await rtnl.links.delete({ name: 'br0' });
    await expect(Resolver.start({ overlays: [overlay], store: { lookup: () => null } })).rejects.toMatchObject({
      code: 'ENODEV',
      message: expect.stringContaining('blue'),
      hint: expect.stringContaining('br0'),
    });
  });

  const unfit: readonly (readonly [string, (rtnl: Rtnl) => Promise<unknown>, RegExp, RegExp])[] = [
    [
      'in no bridge',
      async (rtnl) => {
        await rtnl.links.delete({ name: 'vxlan1' });
        const asks = { proxy: true, l2miss: true, l3miss: true, local: '10.0.0.10' };
        await rtnl.links.add({ name: 'vxlan1', kind: 'vxlan', vni: 42, port: 4789, ...asks });
        await rtnl.links.set({ name: 'vxlan1', up: true });
      },
      /no bridge/,
      /set vxlan1 master br0/,
    ],
    ['down', (rtnl) => rtnl.links.set({ name: 'vxlan1', up: false }), /vxlan1 is down/, /set vxlan1 up/],
    ['under a bridge that is down', (rtnl) => rtnl.links.set({ name: 'br0', up: false }), /br0 is down/, /set br0 up/],
    [
      'without the flags that make it ask',
      async (rtnl) => {
        await rtnl.links.delete({ name: 'vxlan1' });
        await rtnl.links.add({ name: 'vxlan1', kind: 'vxlan', vni: 42, port: 4789, local: '10.0.0.10', master: 'br0' });
        await rtnl.links.set({ name: 'vxlan1', up: true });
      },
      /without proxy and l3miss/,
      /proxy nolearning l2miss l3miss/,
    ],
  ];
  test.each(unfit)('an overlay whose vxlan1 is %s is refused, with what it lacks', async (_, spoil, message, hint) => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using rtnl = await Rtnl.open({ netns: 'blue', system: kernel.system });
    const open = kernel.openHandles;
    await spoil(rtnl);
    await expect(Resolver.start({ overlays: [overlay], store: { lookup: () => null } })).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
    expect(kernel.openHandles).toEqual(open);
  });

  test('closing gives up lookups, ends subscriptions, takes the punt away and leaves the entries', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const signals: AbortSignal[] = [];
    const store: Store = {
      lookup: (query, { signal }) => {
        if (query.kind === 'l3' && query.ip === '192.168.0.3') return REMOTE;
        signals.push(signal);
        return new Promise(() => {});
      },
    };
    const resolver = await Resolver.start({ overlays: [overlay], store });
    await kernel.miss('blue', { ip: '192.168.0.3' });
    const stuck = kernel.miss('blue', { ip: '192.168.0.9' });
    await until(() => signals.length === 1, 'the lookup');
    const events = resolver.events();
    const ended = events.next();
    await resolver.close();
    await resolver.close();
    expect(signals[0]?.aborted).toBe(true);
    expect(await ended).toMatchObject({ done: true });
    await resolver.closed;
    await stuck;
    const { neighbors, fdb } = kernel.state('blue');
    expect(neighbors.map(({ ip }) => ip)).toEqual(['192.168.0.3']);
    expect(fdb.map(({ dst }) => dst)).toEqual(['10.0.0.11']);
    expect(kernel.openHandles).toEqual(['rtnl blue']);
    expect(() => resolver.events()).toThrow(expect.objectContaining({ code: 'OVERNS_CLOSED' }));
  });

  test('the signal of its start does not close it later; overlays come and go while it runs', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const controller = new AbortController();
    const resolver = await Resolver.start({
      store: { lookup: () => REMOTE },
      signal: controller.signal,
      system: overlay.system,
    });
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(resolver.stats().misses).toBe(0);
    await resolver.add(overlay);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    await resolver.remove('blue');
    await kernel.miss('blue', { ip: '192.168.0.4' });
    expect(resolver.stats()).toMatchObject({ misses: 1, answers: 1 });
    controller.abort();
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    await resolver.add(overlay);
    expect(resolver.overlays()).toHaveLength(1);
    await resolver.close();
    await resolver.closed;
  });

  test('what would be taken in silence is refused: a misspelt store, one without functions, no kinds, a closed overlay', async () => {
    const { overlay } = await scene();
    const store = { lookup: () => REMOTE };
    // As a caller without types writes them.
    // biome-ignore lint/suspicious/noExplicitAny: what is no option
    const start = (options: any) => Resolver.start({ store, ...options });
    await expect(start({ overlays: [{ overlay, stoer: store }] })).rejects.toThrow(/"stoer": did you mean store/);
    await expect(start({ overlays: [{ overlay, store: 5 }] })).rejects.toThrow(/^overlays\[0\]\.store/);
    await expect(start({ store: { ...store, watch: 5 } })).rejects.toThrow(/^store\.watch/);
    await using resolver = await Resolver.start({ store, system: overlay.system });
    expect(() => resolver.events({ kinds: [] })).toThrow(/^kinds/);
    await overlay.close();
    await expect(overlay.host()).rejects.toMatchObject({ code: 'OVERNS_CLOSED' });
    await expect(resolver.add(overlay)).rejects.toMatchObject({ code: 'OVERNS_CLOSED' });
    expect(resolver.overlays()).toEqual([]);
  });

  /** So many overlays, and what is open once they are. */
  async function fleet(count: number) {
    const kernel = new FakeKernel();
    const overlays: Overlay[] = [];
    for (let n = 1; n <= count; n++)
      overlays.push(await Overlay.create({ name: `blue${n}`, vni: n, system: kernel.system }));
    return { kernel, overlays, open: kernel.openHandles };
  }
  const never = new Promise<never>(() => {});
  const silent: Store = {
    lookup: () => null,
    watch: () => ({ [Symbol.asyncIterator]: () => ({ next: () => never }) }),
  };

  test('add, remove and close take a signal: what is aborted is not served, and is not waited for', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using resolver = await Resolver.start({ lookupTimeoutMs: 60_000, system: overlay.system });
    const open = kernel.openHandles;
    const aborted = { signal: AbortSignal.abort('enough') };
    const silent: Store = { lookup: () => null, watch: () => silence() };
    await expect(resolver.add(overlay, silent, aborted)).rejects.toMatchObject({ code: 'ABORT_ERR' });
    await expect(resolver.add(overlay, silent, { signl: 1 } as never)).rejects.toThrow('did you mean signal?');
    const controller = new AbortController();
    const adding = resolver.add(overlay, silent, controller);
    setTimeout(() => controller.abort('enough'), 10);
    await expect(adding).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    expect(resolver.overlays()).toEqual([]);
    await kernel.idle();
    expect(kernel.openHandles).toEqual(open);
    // A watch that does not end is given a second, which nobody need wait for.
    const stuck: Store = { lookup: () => null, watch: () => endless() };
    for (const stop of [() => resolver.remove('blue', soon()), () => resolver.close(soon())]) {
      await resolver.add(overlay, stuck);
      await expect(resolver.remove('blue', aborted)).rejects.toMatchObject({ code: 'ABORT_ERR' });
      expect(resolver.overlays()).toHaveLength(1);
      await expect(stop()).rejects.toMatchObject({ code: 'ABORT_ERR' });
      expect(resolver.overlays()).toEqual([]);
      await until(() => getEventListeners(controller.signal, 'abort').length === 0, 'no listener');
      await sleep(1100);
    }
    await resolver.closed;
  });

  test('overlays start together: a store that does not answer keeps none waiting', async () => {
    const { overlays } = await fleet(20);
    const asked: string[] = [];
    const store: Store = {
      lookup: () => null,
      watch({ overlay }) {
        asked.push(overlay);
        return { [Symbol.asyncIterator]: () => ({ next: () => never }) };
      },
    };
    const controller = new AbortController();
    const starting = Resolver.start({ overlays, store, lookupTimeoutMs: 60_000, signal: controller.signal });
    // None of them has been given up by the time that the last one is asked.
    await until(() => asked.length === overlays.length, 'a watch of each');
    controller.abort();
    await expect(starting).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });

  test('one that cannot be served among many: nothing is served, and nothing stays open', async () => {
    const { kernel, overlays, open } = await fleet(8);
    const tables = overlays.map(({ name }) => kernel.state(name).fdb);
    await using rtnl = await Rtnl.open({ netns: 'blue5', system: kernel.system });
    await rtnl.links.delete({ name: 'br0' });
    const handles = kernel.openHandles;
    await expect(Resolver.start({ overlays, store: silent, lookupTimeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'ENODEV',
      message: expect.stringContaining('blue5'),
    });
    expect(kernel.openHandles).toEqual(handles);
    expect(overlays.map(({ name }) => kernel.state(name).fdb)).toEqual(tables);
    // Every claim has been given back.
    const rest = overlays.filter(({ name }) => name !== 'blue5');
    await (await Resolver.start({ overlays: rest, store: { lookup: () => null } })).close();
    await rtnl.close();
    expect(kernel.openHandles).toEqual(open);
  });

  test('an abort ends a start that waits for its stores, with the reason given', async () => {
    const { kernel, overlays, open } = await fleet(3);
    const controller = new AbortController();
    const starting = Resolver.start({ overlays, store: silent, lookupTimeoutMs: 60_000, signal: controller.signal });
    await sleep(50);
    controller.abort('enough');
    await expect(starting).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' });
    expect(kernel.openHandles).toEqual(open);
  });

  const boom = (): never => {
    throw new Error('boom');
  };
  type Iterator = Partial<AsyncIterator<Change>>;
  const reset: Change = { kind: 'reset', endpoints: [], index: 1n };
  const stubborn: readonly (readonly [string, () => Iterator])[] = [
    ['waits for its next change', () => ({ next: () => never })],
    ['never returns', () => ({ next: () => never, return: () => never })],
    ['throws when it is to return', () => ({ next: () => never, return: boom })],
    ['rejects when it is to return', () => ({ next: () => never, return: () => Promise.reject(new Error('boom')) })],
    ['throws at its first change', () => ({ next: boom })],
    ['is no iterator', () => ({})],
    ['cannot be iterated', boom],
  ];
  test.each(stubborn)('closes although a watch %s', async (_, iterator) => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    let given = false;
    const store: Store = {
      lookup: () => never,
      watch: () => ({
        [Symbol.asyncIterator]: () => {
          const { next, ...rest } = iterator();
          return {
            next: () => {
              if (given) return (next as AsyncIterator<Change>['next'])();
              given = true;
              return Promise.resolve({ value: reset, done: false });
            },
            ...rest,
          };
        },
      }),
    };
    const resolver = await Resolver.start({ overlays: [overlay], store, lookupTimeoutMs: 100 });
    void kernel.miss('blue', { ip: '192.168.0.9' });
    await kernel.idle();
    const from = performance.now();
    await resolver.close();
    expect(performance.now() - from).toBeLessThan(2000);
    expect(kernel.openHandles).toEqual(['rtnl blue']);
  });

  test('a watch that looks at its signal has ended when close() fulfils', async () => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    let ended = false;
    const store: Store = {
      lookup: () => null,
      async *watch({ signal }): AsyncGenerator<Change> {
        try {
          yield reset;
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        } finally {
          await sleep(50);
          ended = true;
        }
      },
    };
    await (await Resolver.start({ overlays: [overlay], store })).close();
    expect(ended).toBe(true);
  });

  test('overlays of different networks on one store are refused', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using red = await Overlay.create({ name: 'red', vni: 43, system: kernel.system });
    await using blue2 = await Overlay.create({ name: 'blue2', vni: 42, port: 4790, system: kernel.system });
    await using store = await openStore('memory:');
    await expect(Resolver.start({ overlays: [overlay, red], store })).rejects.toMatchObject({ code: 'OVERNS_SCOPE' });
    await using resolver = await Resolver.start({ overlays: [overlay, blue2], store });
    expect(resolver.stats().misses).toBe(0);
  });
});

describe('state', () => {
  const down = new Error('no route to the database');
  /** A store that is down until it is told otherwise. */
  const brittle = () => {
    const state = { up: false, error: down };
    const store: Store = {
      lookup: () => null,
      async *watch({ signal }): AsyncGenerator<Change> {
        if (!state.up) throw state.error;
        yield { kind: 'reset', endpoints: [], index: 1n };
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
    };
    return { state, store };
  };

  test('a store that is down at start is told to whoever listens or asks later, and no more once it is up', async () => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    const { state, store } = brittle();
    const before = new Date();
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    const where = { overlay: 'blue', vni: 42 };
    expect(resolver.overlays()).toMatchObject([{ ...where, store: 'down', error: down, punt: true, lost: false }]);
    expect(resolver.overlays()[0]?.since.getTime()).toBeGreaterThanOrEqual(before.getTime());
    const events = resolver.events();
    const first = await events.next();
    expect(first.value).toMatchObject({ ...where, kind: 'store-down', error: down });
    const heard: string[] = [];
    using _on = resolver.on('store-down', ({ kind }) => void heard.push(kind));
    expect(heard).toEqual([]); // not within the call
    await until(() => heard.length > 0, 'the state');
    // One that wants other kinds, and one that has gone by then, are told nothing.
    const up = resolver.events({ kinds: ['store-up'] });
    await resolver.events({ kinds: ['store-down'] }).return?.();
    // What it says last is what is known of it.
    state.error = new Error('access denied');
    await until(() => resolver.overlays()[0]?.error === state.error, 'the last word');
    state.up = true;
    expect((await up.next()).value).toMatchObject({ ...where, kind: 'store-up' });
    expect((await events.next()).value).toMatchObject({ kind: 'store-up' });
    expect(resolver.overlays()).toMatchObject([{ store: 'up' }]);
    expect(resolver.overlays()[0]).not.toHaveProperty('error');
    expect(heard).toEqual(['store-down']);
    const late = record(resolver);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(late).toEqual([]);
  });

  test('an overlay without a punt says why', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using rtnl = await Rtnl.open({ system: kernel.system });
    await rtnl.links.set({ name: 'lo', up: false });
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
    await until(() => resolver.overlays()[0]?.punt === false, 'the state');
    const [status] = resolver.overlays();
    expect(status?.noPunt).toMatch(/lo is down/);
    const seen = record(resolver);
    await until(() => seen.length > 0, 'the event');
    expect(seen).toMatchObject([{ kind: 'punt-off', overlay: 'blue', reason: status?.noPunt }]);
  });

  test('an overlay that is lost, though nobody listened; and one that is back', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
    await using rtnl = await Rtnl.open({ netns: 'blue', system: kernel.system });
    await rtnl.links.delete({ name: 'vxlan1' });
    await until(() => resolver.overlays()[0]?.lost, 'the loss');
    expect(resolver.overlays()[0]?.lostSince).toBeInstanceOf(Date);
    const seen = record(resolver);
    await until(() => seen.length > 0, 'the event');
    expect(seen).toMatchObject([{ kind: 'overlay-lost', overlay: 'blue', cause: 'removed' }]);
    await rtnl.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42, master: 'br0', local: '10.0.0.10', up: true });
    await until(() => !resolver.overlays()[0]?.lost, 'the return');
    expect(resolver.overlays()[0]).not.toHaveProperty('lostSince');
  });

  test('counters: all of them, by overlay, and a gauge is not kept of one that has gone', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using other = await Overlay.create({ name: 'other', vni: 42, port: 4790, system: kernel.system });
    await using resolver = await Resolver.start({ overlays: [overlay, other], store: { lookup: () => REMOTE } });
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(Object.keys(resolver.stats())).toEqual(Object.keys(counters));
    expect(resolver.stats('blue')).toMatchObject({ misses: 1, answers: 1, endpoints: 1 });
    expect(resolver.stats(other)).toMatchObject({ misses: 0, endpoints: 0 });
    expect(() => resolver.stats('red')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(resolver.overlays().map(({ overlay: name, stats }) => [name, stats.misses])).toEqual([
      ['blue', 1],
      ['other', 0],
    ]);
    await resolver.remove('blue');
    expect(resolver.stats()).toMatchObject({ misses: 1, answers: 1, endpoints: 0 });
  });

  test('a watch that is tried again and again leaves nothing on the overlay’s signal', async () => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    let signal: AbortSignal | undefined;
    let tries = 0;
    const store: Store = {
      lookup: () => null,
      // biome-ignore lint/correctness/useYield: it fails
      watch: async function* (options) {
        signal = options.signal;
        tries++;
        throw down;
      },
    };
    await using _resolver = await Resolver.start({ overlays: [overlay], store });
    await until(() => tries > 3, 'some tries');
    expect(getEventListeners(signal as AbortSignal, 'abort').length).toBeLessThanOrEqual(1);
  });
});

describe('stores', () => {
  test('one lookup however many ask; each miss of another address its own', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const asked: Query[] = [];
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const store: Store = {
      async lookup(query) {
        asked.push(query);
        await gate;
        return REMOTE;
      },
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    const misses = [3, 3, 3, 4].map((n) => kernel.miss('blue', { ip: `192.168.0.${n}` }));
    await until(() => asked.length === 2, 'the lookups');
    release();
    await Promise.all(misses);
    expect(asked.map((query) => (query.kind === 'l3' ? query.ip : ''))).toEqual(['192.168.0.3', '192.168.0.4']);
    expect(resolver.stats()).toMatchObject({ misses: 4, coalesced: 2, answers: 2 });
  });

  test('a burst goes to lookupMany; too short an answer is an error of those left out', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const batches: number[] = [];
    const store: Store = {
      lookup: () => null,
      lookupMany: async (queries) => {
        batches.push(queries.length);
        return queries.slice(1).map(() => REMOTE);
      },
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    const events = record(resolver);
    await Promise.all([3, 4, 5].map((n) => kernel.miss('blue', { ip: `192.168.0.${n}` })));
    expect(batches).toEqual([3]);
    expect(events.map(({ kind }) => kind).sort()).toEqual(['resolved', 'resolved', 'unresolved']);
    expect(events.find(({ kind }) => kind === 'unresolved')).toMatchObject({ cause: 'store-error' });
  });

  const failing: readonly (readonly [string, Store['lookup'], string, boolean])[] = [
    ['throws', () => Promise.reject(new Error('no')), 'store-error', true],
    [
      'throws at once',
      () => {
        throw new Error('no');
      },
      'store-error',
      true,
    ],
    ['throws what is no error', () => Promise.reject('no'), 'store-error', true],
    ['answers nonsense', () => ({ mac: 7 }) as unknown as Answer, 'store-error', false],
    ['answers no MAC address', () => ({ ...REMOTE, mac: 'x' }), 'store-error', false],
    ['answers nothing', () => undefined as unknown as null, 'store-error', false],
    ['is silent', () => new Promise<null>(() => {}), 'timeout', false],
    ['throws what cannot be printed', () => Promise.reject(Object.create(null)), 'store-error', true],
    [
      'answers with a thenable that throws',
      () =>
        Object.defineProperty({}, 'then', {
          get: () => {
            throw new Error('no');
          },
        }) as unknown as Promise<null>,
      'store-error',
      true,
    ],
    [
      'answers with an object that throws when it is read',
      () => ({
        get mac(): string {
          throw new Error('no');
        },
        vtep: REMOTE.vtep,
      }),
      'store-error',
      false,
    ],
  ];
  test.each(failing)('a store that %s', async (_, lookup, cause, down) => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup }, lookupTimeoutMs: 50 });
    const events = record(resolver);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(events.map(({ kind }) => kind)).toEqual([...(down ? ['store-down'] : []), 'unresolved']);
    expect(events.at(-1)).toMatchObject({ cause, error: expect.any(Error) });
    // Unknown is not absent: it is asked again.
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(resolver.stats()).toMatchObject({ misses: 2, negative: 0, answers: 0 });
    expect(kernel.state('blue').neighbors).toEqual([]);
  });

  test('a store that leaves three lookups in a row unanswered is down, until it answers one', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    let silent = true;
    const store: Store = { lookup: () => (silent ? new Promise<null>(() => {}) : null) };
    await using resolver = await Resolver.start({ overlays: [overlay], store, lookupTimeoutMs: 20 });
    const events = record(resolver, ({ kind }) => kind.startsWith('store-'));
    const miss = (host: number) => kernel.miss('blue', { ip: `192.168.0.${host}` });
    await miss(3);
    await miss(4);
    silent = false;
    await miss(5);
    silent = true;
    await miss(6);
    await miss(7);
    expect(events).toEqual([]);
    await miss(8);
    expect(events).toMatchObject([{ kind: 'store-down', error: { code: 'ETIMEDOUT' } }]);
    silent = false;
    await miss(9);
    expect(events.map(({ kind }) => kind)).toEqual(['store-down', 'store-up']);
  });

  test('what fails of lookups that were begun before the store was heard again is no outage', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const held: ((error: Error) => void)[] = [];
    let silent = true;
    const store: Store = { lookup: () => (silent ? new Promise<null>((_, reject) => held.push(reject)) : null) };
    await using resolver = await Resolver.start({ overlays: [overlay], store, lookupTimeoutMs: 300 });
    const events = record(resolver);
    const miss = (host: number) => kernel.miss('blue', { ip: `192.168.0.${host}` });
    const late = [3, 4, 5, 6, 7].map(miss);
    await until(() => held.length === 5, 'the lookups');
    silent = false;
    await miss(8);
    held[0]?.(new Error('reset'));
    await Promise.all(late);
    expect(events.map(({ kind }) => kind)).toEqual(Array(6).fill('unresolved'));
    silent = true;
    const next = miss(9);
    await until(() => held.length === 6, 'the lookups');
    held[5]?.(new Error('reset'));
    await next;
    expect(events.map(({ kind }) => kind)).toContain('store-down');
  });

  test('a watch that was begun before the store was heard may fail once: the next one tells how it is now', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const attempts: ((error: Error) => void)[] = [];
    let asked = 0;
    const store: Store = {
      lookup: () => {
        asked++;
        return null;
      },
      async *watch({ overlay }) {
        expect(overlay).toBe('blue');
        await new Promise((_, reject) => attempts.push(reject));
      },
    };
    const started = Resolver.start({ overlays: [overlay], store });
    await until(() => attempts.length === 1, 'the watch');
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(asked).toBe(1);
    attempts[0]?.(new Error('silent'));
    await using resolver = await started;
    expect(resolver.overlays()).toMatchObject([{ store: 'up' }]);
    await until(() => attempts.length === 2, 'the next attempt');
    attempts[1]?.(new Error('silent'));
    await until(() => resolver.overlays()[0]?.store === 'down', 'the outage');
  });

  test('while the store is down what was known answers, and entries stay beyond their TTL', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    let works = true;
    // The time that really passes counts, too.
    let ttlMs = 60_000;
    const store: Store = {
      lookup: () => {
        if (!works) throw new Error('gone');
        return { ...REMOTE, ttlMs };
      },
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    const events = record(resolver);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    works = false;
    await kernel.miss('blue', { ip: '192.168.0.4' });
    kernel.advance(61_000);
    await kernel.idle();
    expect(kernel.state('blue').neighbors).toHaveLength(1);
    works = true;
    ttlMs = 1000;
    await kernel.miss('blue', { ip: '192.168.0.5' });
    kernel.advance(6000);
    await kernel.idle();
    expect(kernel.state('blue').neighbors).toEqual([]);
    expect(events.map(({ kind }) => kind)).toEqual(['resolved', 'store-down', 'unresolved', 'store-up', 'resolved']);
  });

  test('absent holds for negativeTtlMs', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    let lookups = 0;
    const store: Store = {
      lookup: () => {
        lookups++;
        return null;
      },
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store, negativeTtlMs: 5000 });
    for (let n = 0; n < 3; n++) await kernel.miss('blue', { ip: '192.168.0.9' });
    expect([lookups, resolver.stats().negative]).toEqual([1, 2]);
    kernel.advance(5001);
    await kernel.miss('blue', { ip: '192.168.0.9' });
    expect(lookups).toBe(2);
  });

  test.each<[string, unknown, string]>([
    ['null', null, 'gave null for a change'],
    ['another kind', { kind: 'Put' }, "gave a change of kind 'Put'"],
    ['endpoints that are none', { kind: 'reset', endpoints: 5 }, 'gave a reset whose endpoints are 5'],
    ['no endpoints', { kind: 'reset' }, 'gave a reset whose endpoints are undefined'],
    ['nothing to iterate', undefined, 'gave undefined'],
  ])('a watch that gives %s: the store is down, and it is said what was wrong', async (what, change, words) => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    const changes = async function* (): AsyncGenerator<Change> {
      yield change as Change;
    };
    const watch = () => (what === 'nothing to iterate' ? (change as never) : changes());
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null, watch } });
    expect(resolver.overlays()).toMatchObject([
      { store: 'down', error: { code: 'OVERNS_STORE', message: `the store's watch() ${words}` } },
    ]);
  });

  test('a watch that throws what is no error', async () => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    const watch = () => {
      throw 'words';
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null, watch } });
    expect(resolver.overlays()[0]?.error).toMatchObject({ message: expect.stringContaining('words') });
  });

  test('a watch that has always one more change starves nothing', async () => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    const endpoint = { ip: '192.168.0.3', ips: ['192.168.0.3'], ...REMOTE };
    const watch = async function* ({ signal }: { signal: AbortSignal }): AsyncGenerator<Change> {
      yield { kind: 'reset', endpoints: [], index: 0n };
      while (!signal.aborted) yield { kind: 'put', endpoint, index: 1n };
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null, watch } });
    let turns = 0;
    while (turns < 5) {
      await sleep(1);
      turns++;
    }
    expect(resolver.overlays()).toMatchObject([{ store: 'up' }]);
  });

  test.each<[object, string]>([
    [{ ttl: 60 }, 'unknown field of an answer "ttl": did you mean ttlMs?'],
    [{ ttlMs: '60000' }, 'ttlMs: expected a number of milliseconds, got string'],
    [{ ttlMs: null }, 'ttlMs: expected a number of milliseconds, got null'],
    [{ ttlMs: Number.NaN }, 'ttlMs: NaN is not a number of milliseconds, more than 0'],
    [{ ttlMs: -1 }, 'ttlMs: -1 is not a number of milliseconds, more than 0'],
    [{ ttlMs: 0 }, 'ttlMs: 0 is not a number of milliseconds, more than 0'],
  ])('an answer with %o is refused in words', async (more, words) => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const store = { lookup: () => ({ ...REMOTE, ...more }) as Answer };
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    const events = record(resolver);
    await kernel.miss('blue', { ip: '192.168.0.3' });
    await until(() => events.length > 0, 'the event');
    expect(events).toMatchObject([{ kind: 'unresolved', cause: 'store-error', error: { message: words } }]);
  });

  test('a watch that ends or throws is taken up again', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    let watches = 0;
    const froms: (bigint | undefined)[] = [];
    const endpoint = { ip: '192.168.0.3', ips: ['192.168.0.3'], ...REMOTE };
    const store: Store = {
      lookup: () => null,
      async *watch({ signal, from }): AsyncGenerator<Change> {
        watches++;
        froms.push(from);
        if (watches === 1) throw new Error('not yet');
        if (watches === 2) {
          yield { kind: 'reset', endpoints: [endpoint], index: 7n };
          return;
        }
        yield { kind: 'resume', index: from as bigint };
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
    };
    await using resolver = await Resolver.start({ overlays: [overlay], store });
    const events = record(resolver);
    await until(() => watches >= 3, 'a third watch');
    expect(froms).toEqual([undefined, undefined, 7n]);
    await kernel.idle();
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(events.filter(({ kind }) => kind === 'resolved')).toMatchObject([{ by: 'table', endpoint: REMOTE }]);
    expect(events.map(({ kind }) => kind)).toContain('store-up');
    const at = watches;
    await resolver.close();
    await sleep(300);
    expect(watches).toBe(at);
  });

  test('the kernel refuses an entry: rejected, with its reason, and nothing half-done', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => REMOTE } });
    const events = record(resolver);
    kernel.fail('RTM_NEWNEIGH', 'ENOMEM', { where: ({ by, item }) => by === 'resolver' && item.dst !== undefined });
    await kernel.miss('blue', { ip: '192.168.0.3' });
    expect(events).toMatchObject([{ kind: 'rejected', reason: expect.stringContaining('ENOMEM') }]);
    expect(kernel.state('blue').neighbors).toEqual([]);
  });

  test('an overrun is told and counted', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
    const events = record(resolver);
    kernel.overrun('blue', 7);
    await kernel.idle();
    expect(events).toMatchObject([{ kind: 'overrun', dropped: 7, overlay: 'blue' }]);
    expect(resolver.stats().overruns).toBe(1);
  });
});
