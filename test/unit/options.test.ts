/** Options as callers write them: misspelt, inherited, undefined, null; of every function that takes some. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boolean, checkOptions, integer, signalOf } from '../../lib/core/options.js';
import { netns, Overlay, openStore, Resolver, Rtnl } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';

const shape = { name: [(value: unknown) => String(value)], size: integer(1, 9), loud: boolean } as const;
const read = (options: unknown) => checkOptions(options, shape);

describe('reading options', () => {
  test('what is not given is undefined, and so is what is given as undefined', () => {
    expect(read({ name: 'a', size: undefined })).toEqual({ name: 'a' });
    expect(checkOptions(undefined, { loud: boolean })).toEqual({});
  });

  test('a name that there is not is refused, with the nearest one', () => {
    for (const [given, want] of [
      [{ siz: 3 }, 'unknown option "siz": did you mean size?'],
      [{ LOUD: true }, 'unknown option "LOUD": did you mean loud?'],
      [{ colour: 'red' }, 'unknown option "colour": there are name, size, loud'],
      [Object.create({ loudd: true }), 'unknown option "loudd": did you mean loud?'],
      [Object.assign(Object.create(null), { sise: 1 }), 'unknown option "sise": did you mean size?'],
    ]) {
      expect(() => read({ __proto__: given, name: 'a' })).toThrow(
        expect.objectContaining({ message: want, code: 'ERR_INVALID_ARG_VALUE', name: 'RangeError' }),
      );
    }
    const long = { name: 'a', ['x'.repeat(1e6)]: 1 };
    expect(() => read(long)).toThrow(/^.{0,200}$/);
    // What stands for nothing is no mistake: so a property is taken off with a spread.
    expect(read({ name: 'a', colour: undefined })).toEqual({ name: 'a' });
  });

  test('those of a class, a prototype or a getter count, those of symbols and of Object.prototype do not', () => {
    class Config {
      name = 'a';
      get size() {
        return 4;
      }
      describe() {
        return 'a method';
      }
    }
    expect(read(new Config())).toEqual({ name: 'a', size: 4 });
    expect(read(Object.create({ name: 'a', loud: true }))).toEqual({ name: 'a', loud: true });
    const controller = new AbortController();
    expect(signalOf(controller)).toBe(controller.signal);
    expect(read({ name: 'a', [Symbol('mine')]: 1 })).toEqual({ name: 'a' });
    const shared = Object.prototype as { added?: number };
    shared.added = 1;
    try {
      expect(read({ name: 'a' })).toEqual({ name: 'a' });
    } finally {
      delete shared.added;
    }
  });

  test('each value is read once', () => {
    let reads = 0;
    const given = {
      name: 'a',
      get size() {
        return ++reads;
      },
    };
    expect(read(given).size).toBe(1);
  });

  test.each([[null], ['text'], [7], [true], [[]], [() => {}], [Symbol('s')]])('%s is no object', (value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });

  test('null is no value', () => {
    expect(() => read({ name: 'a', size: null })).toThrow('size: expected a number, got null');
  });
});

describe('every function that takes options refuses one that it does not know', () => {
  const kernel = new FakeKernel();
  const { system } = kernel;
  let overlay: Overlay;
  let rtnl: Rtnl;
  let resolver: Resolver;
  const store = { lookup: () => null };
  beforeAll(async () => {
    kernel.addNetns('web');
    overlay = await Overlay.create({ name: 'blue', vni: 42, system });
    rtnl = await Rtnl.open({ system });
    resolver = await Resolver.start({ overlays: [overlay], store });
  });
  afterAll(async () => {
    await resolver.close();
    await rtnl.close();
  });

  // As a caller without types writes them.
  const wrong = { signel: AbortSignal.timeout(1000), system } as object as Record<string, never>;
  const calls: Record<string, () => unknown> = {
    'Overlay.create': () => Overlay.create({ name: 'red', vni: 43, ...wrong }),
    'Overlay.open': () => Overlay.open('blue', wrong),
    'Overlay.list': () => Overlay.list(wrong),
    'overlay.attach': () => overlay.attach('netns:web', { address: '192.168.0.2/24', ...wrong }),
    'overlay.detach': () => overlay.detach('netns:web', wrong),
    'overlay.endpoints': () => overlay.endpoints(wrong),
    'overlay.misses': () => overlay.misses(wrong),
    'overlay.delete': () => overlay.delete(wrong),
    'Resolver.start': () => Resolver.start({ store, ...wrong }),
    'resolver.events': () => resolver.events(wrong),
    openStore: () => openStore('memory:', wrong),
    'Rtnl.open': () => Rtnl.open(wrong),
    'Rtnl.monitor': () => Rtnl.monitor({ netns: ['web'], ...wrong }),
    'rtnl.monitor': () => rtnl.monitor(wrong),
    'rtnl.links.list': () => rtnl.links.list({}, wrong),
    'rtnl.links.set': () => rtnl.links.set({ name: 'lo', up: true }, wrong),
    'rtnl.setNeighborQueue': () => rtnl.setNeighborQueue('lo', 4096, wrong),
    'rtnl.nsid': () => rtnl.nsid('web', wrong),
    'netns.list': () => netns.list(wrong),
    'netns.open': () => netns.open('web', wrong),
    'netns.create': () => netns.create('red', wrong),
    'netns.remove': () => netns.remove('web', wrong),
    'netns.watch': () => netns.watch(wrong),
    'netns.connect': () => netns.connect('web', { host: '127.0.0.1', port: 1, ...wrong }),
    'netns.listen': () => netns.listen('web', wrong),
    'netns.dgram': () => netns.dgram('web', wrong),
    'kernel.addNetns': () => kernel.addNetns('more', wrong),
    'kernel.send': () => kernel.send({ from: 'web', to: '192.168.0.9', ...wrong }),
    'kernel.fail': () => kernel.fail('RTM_NEWLINK', 'EPERM', wrong),
  };

  test.each(Object.keys(calls))('%s', async (name) => {
    const before = kernel.snapshot();
    const error = await (async () => calls[name]?.())().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(/^unknown option "signel": /),
    });
    expect(kernel.snapshot()).toEqual(before);
  });

  const over = { signal: AbortSignal.abort('why') };
  const there = { ...over, system };
  const item = { link: 'lo', ip: '10.0.0.9', mac: '02:00:00:00:00:01', state: 'permanent' };
  const waiting: Record<string, () => Promise<unknown>> = {
    'Rtnl.open': () => Rtnl.open(there),
    'Rtnl.monitor': () => Rtnl.monitor({ netns: ['web'], ...there }),
    'rtnl.nsid': () => rtnl.nsid('web', over),
    'rtnl.setNeighborQueue': () => rtnl.setNeighborQueue('lo', 4096, over),
    'links.list': () => rtnl.links.list({}, over),
    'links.counters': () => rtnl.links.counters({}, over),
    'links.set': () => rtnl.links.set({ name: 'lo', up: true }, over),
    'links.replace': () => rtnl.links.replace({ kind: 'bridge', name: 'br9' }, over),
    'addresses.add': () => rtnl.addresses.add({ link: 'lo', address: '10.0.0.1/8' }, over),
    'routes.get': () => rtnl.routes.get({ dst: '10.0.0.1' }, over),
    'routes.flush': () => rtnl.routes.flush({}, over),
    'neighbors.add': () => rtnl.neighbors.add(item, over),
    'neighbors.batch': () => rtnl.neighbors.batch([{ op: 'add', item }], over),
    'neighbors.flush': () => rtnl.neighbors.flush({}, over),
    'fdb.flush': () => rtnl.fdb.flush({ link: 'lo' }, over),
    'rules.flush': () => rtnl.rules.flush({}, over),
    'nexthops.flush': () => rtnl.nexthops.flush({}, over),
    'vlans.list': () => rtnl.vlans.list({}, over),
    'mdb.list': () => rtnl.mdb.list({}, over),
    'netns.list': () => netns.list(there),
    'netns.open': () => netns.open('web', there),
    'netns.create': () => netns.create('red', there),
    'netns.ensure': () => netns.ensure('red', there),
    'netns.remove': () => netns.remove('web', there),
    'netns.connect': () => netns.connect('web', { host: '127.0.0.1', port: 1, ...there }),
    'netns.listen': () => netns.listen('web', there),
    'netns.dgram': () => netns.dgram('web', there),
    'netns.spawn': () => netns.spawn('web', 'true', [], there),
    'netns.exec': () => netns.exec('web', 'true', [], there),
  };

  test.each(Object.keys(waiting))('%s does nothing once its signal is aborted', async (name) => {
    const before = kernel.snapshot();
    await expect(waiting[name]?.()).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'why' });
    expect(kernel.snapshot()).toEqual(before);
  });
});
