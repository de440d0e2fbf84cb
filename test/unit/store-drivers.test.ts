/** Kinds of stores: how a driver comes in, what is checked of it, and that nothing else knows which there are. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DriverStore, openStore, registerStore, type StoreDriver } from '../../lib/index.js';
import { recordsOf, storeForms } from '../../lib/store/index.js';
import { storeConformance } from '../../lib/testing/index.js';

const where = { overlay: 'blue', vni: 42 };
const endpoint = { ip: '192.168.0.2', ips: ['192.168.0.2'], mac: '02:00:00:00:00:01', vtep: '10.0.0.1' };

describe('memory:', () => {
  test.each(storeConformance({ url: () => 'memory:', shared: false }))('$name', ({ run }) => run());
});

/** A driver that notes what it is called with. */
function recorder(schemes: readonly string[] = ['rec']): { driver: StoreDriver; calls: [string, ...unknown[]][] } {
  const calls: [string, ...unknown[]][] = [];
  const note =
    <T>(name: string, result: T) =>
    async (...args: unknown[]): Promise<T> => {
      calls.push([name, ...args]);
      return result;
    };
  const opened: DriverStore = {
    lookup: note('lookup', null),
    publish: note('publish', undefined),
    withdraw: note('withdraw', undefined),
    watch: (options) => {
      calls.push(['watch', options]);
      return (async function* () {})();
    },
    close: note('close', undefined),
  };
  const driver: StoreDriver = {
    title: 'a recorder',
    schemes,
    form: 'rec://NAME:PASSWORD@HOST/PREFIX',
    example: 'rec://h/demo',
    parse(url, refuse) {
      if (!url.startsWith('rec://h/')) throw refuse('a URL as rec://h/demo');
      return { text: url, prefix: url.slice('rec://h/'.length) };
    },
    redact: (url) => url.replace(/:[^:@]*@/, ':...@'),
    open: (address, options) => {
      calls.push(['open', address, options]);
      return opened;
    },
  };
  return { driver, calls };
}

/** Registers for one test. */
async function withDriver(run: (given: ReturnType<typeof recorder>) => Promise<void>): Promise<void> {
  const given = recorder();
  const registration = registerStore(given.driver);
  try {
    await run(given);
  } finally {
    registration[Symbol.dispose]();
  }
}

describe('a driver that is registered', () => {
  test('is told the overlay and its prefix with each call, of checked arguments only', () =>
    withDriver(async ({ calls }) => {
      const store = await openStore('rec://h/net/{name}/{vni}', { token: 'x' });
      const told = { prefix: 'net/blue/42', ...where };
      const mac = endpoint.mac;
      await store.lookup({ ...where, kind: 'l2', mac: mac.toUpperCase() });
      await store.publish({ ...endpoint, ips: ['FD00::2', endpoint.ip] }, where);
      await store.withdraw(endpoint, where);
      for await (const _ of store.watch(where));
      await expect(store.publish({ ...endpoint, mac: 'x' }, where)).rejects.toThrow('endpoint.mac');
      await expect(store.publish(endpoint)).rejects.toThrow('which overlay');
      await expect(store.publish(endpoint, { ...where, signal: AbortSignal.abort() })).rejects.toThrow('aborted');
      await store.close();
      await store.close();
      await expect(store.publish(endpoint, where)).rejects.toMatchObject({ code: 'OVERNS_CLOSED' });
      expect(calls).toMatchObject([
        ['open', { prefix: 'net/{name}/{vni}' }, { token: 'x' }],
        ['lookup', { kind: 'l2', mac, ...where }, told],
        ['publish', { ips: [endpoint.ip, 'fd00::2'] }, told],
        ['withdraw', endpoint, told],
        ['watch', told],
        ['close'],
      ]);
    }));

  test('is told the prefix alone where its URL is of one network and the caller names none', () =>
    withDriver(async ({ calls }) => {
      await using store = await openStore('rec://h/demo');
      await store.publish(endpoint);
      expect(calls[1]?.[2]).toEqual({ prefix: 'demo', signal: undefined });
    }));

  test('reads its URLs, and no secret of one that is wrong is repeated', () =>
    withDriver(async () => {
      await expect(openStore('rec://me:hunter2@h/x')).rejects.toThrow('"rec://***@h/x" is not a URL as rec://h/demo');
      expect(storeForms()).toContain('rec://NAME:PASSWORD@HOST/PREFIX');
    }));

  test('need not have records', () =>
    withDriver(async () => {
      await using store = await openStore('rec://h/demo');
      expect(() => recordsOf(store)).toThrow(expect.objectContaining({ code: 'OVERNS_STORE_UNSUPPORTED' }));
    }));

  test('is gone when it is taken away, and the stores that it opened are not', async () => {
    const { driver } = recorder();
    const registration = registerStore(driver);
    await using store = await openStore('REC://h/demo'.replace('REC', 'rec'));
    registration[Symbol.dispose]();
    registration[Symbol.dispose]();
    await expect(openStore('rec://h/demo')).rejects.toThrow(/a store URL: write memory: or consul:/);
    await store.publish(endpoint, where);
  });

  test('what fails to open says so as it is', async () => {
    const registration = registerStore({
      ...recorder().driver,
      open: () => {
        throw new Error('not today');
      },
    });
    await expect(openStore('rec://h/demo')).rejects.toThrow('not today');
    registration[Symbol.dispose]();
  });
});

describe('what is no driver', () => {
  const { driver } = recorder();
  test.each<[string, unknown, string]>([
    ['nothing', undefined, 'driver'],
    ['no way to open', { ...driver, open: undefined }, 'driver.open'],
    ['no title', { ...driver, title: 1 }, 'driver.title'],
    ['no schemes', { ...driver, schemes: [] }, 'driver.schemes'],
    ['a scheme with a colon', { ...driver, schemes: ['rec:'] }, 'driver.schemes'],
    ['a scheme in capitals', { ...driver, schemes: ['Rec'] }, 'driver.schemes'],
    ['a scheme of another', { ...driver, schemes: ['rec', 'consul'] }, 'consul: has a driver already (Consul)'],
  ])('%s', (_, given, message) => {
    expect(() => registerStore(given as StoreDriver)).toThrow(message);
    expect(storeForms()).not.toContain('rec:');
  });

  test('the same one twice', () =>
    withDriver(async ({ driver: again }) => {
      expect(() => registerStore(again)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    }));
});

test('nothing outside the folder of a driver names it, but for one line of the registry', () => {
  const lib = resolve(import.meta.dirname, '../../lib');
  const folders = readdirSync(join(lib, 'store'), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
  expect(folders).toContain('consul');
  const lines = readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !folders.some((name) => file.startsWith(`store/${name}/`)))
    .flatMap((file) =>
      readFileSync(join(lib, file), 'utf8')
        .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
        .split('\n')
        .filter((line) => new RegExp(`\\b(${folders.join('|')})(driver)?\\b[:'/+,\\]]`, 'i').test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
  expect(lines).toEqual([
    "store/registry.ts: import { consul } from './consul/driver.js';",
    "store/registry.ts: import { etcd } from './etcd/driver.js';",
    "store/registry.ts: import { memory } from './memory/driver.js';",
    'store/registry.ts: const drivers: StoreDriver[] = [memory, consul, etcd] as StoreDriver[];',
  ]);
});
