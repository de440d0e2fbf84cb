import { createServer } from 'node:http';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Endpoint, Store } from '../../lib/store/contract.js';
import {
  expandStoreUrl,
  type OpenStoreOptions,
  openStore,
  parseStoreUrl,
  recordsOf,
  scopeOf,
} from '../../lib/store/index.js';
import { prefixFor } from '../../lib/store/url.js';

const endpoint: Endpoint = { ip: '192.168.0.2', ips: ['192.168.0.2'], mac: '02:42:c0:a8:00:02', vtep: '10.0.0.1' };
const where = { overlay: 'blue', vni: 42 };

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('parsing', () => {
  test.each([
    ['consul://127.0.0.1:8500/demo', 'consul://127.0.0.1:8500/demo'],
    ['consul://Consul/demo', 'consul://consul:8500/demo'],
    ['CONSUL://consul.example./demo/', 'consul://consul.example.:8500/demo'],
    ['consul://[FD00:0::1]/a/b', 'consul://[fd00::1]:8500/a/b'],
    ['consul://[::1]:80/demo', 'consul://[::1]:80/demo'],
    ['consul+https://consul:8501/demo', 'consul+https://consul:8501/demo'],
    ['consul://h/net/{vni}/%7Bname%7D', 'consul://h:8500/net/{vni}/{name}'],
    ['consul://h/a%25b%3Fc', 'consul://h:8500/a%25b%3Fc'],
    ['consul+https://A,b:1,[::1]/demo', 'consul+https://a:8500,b:1,[::1]:8500/demo'],
    ['consul://h/größe', 'consul://h:8500/gr%C3%B6%C3%9Fe'],
    ['etcd://h/demo', 'etcd://h:2379/demo'],
    ['etcd+https://A,b:1,[::1]/{vni}', 'etcd+https://a:2379,b:1,[::1]:2379/{vni}'],
    ['memory:', 'memory:'],
  ])('%s', (url, text) => {
    expect(parseStoreUrl(url).text).toBe(text);
    expect(parseStoreUrl(text).text).toBe(text);
  });

  test.each([
    '',
    'demo',
    'http://consul:8500/demo',
    'consul',
    'consul:',
    'consul:/h/demo',
    'consul://',
    'consul:///demo',
    'consul://h',
    'consul://h/',
    'consul://h//demo',
    'consul://h/demo//x',
    'consul://h/../x',
    'consul://h/a/%2e%2e/b',
    'consul://h/a%2Fb',
    'consul://h/a\\b',
    'consul://h/a b',
    'consul://h/a%0ab',
    'consul://h/a%',
    'consul://h/a%zz',
    'consul://h/demo?dc=x',
    'consul://h/demo#x',
    'consul://h:0/demo',
    'consul://h:65536/demo',
    'consul://h:/demo',
    'consul://h:80:80/demo',
    'consul://fd00::1/demo',
    'consul://[fd00::1/demo',
    'consul://[1.2.3.4]/demo',
    'consul://[fe80::1%25eth0]/demo',
    'consul://[]/demo',
    'consul://[::ffff:1.2.3.4]/demo',
    'consul://1.2.3/demo',
    'consul://2130706433/demo',
    'consul://0x7f000001/demo',
    'consul://a..b/demo',
    'consul://-a/demo',
    'consul://a,/demo',
    'etcd://a,/demo',
    'etcd://,/demo',
    'etcd://a',
    'consul://h/{}',
    'consul://h/{VNI}',
    'consul://h/{vni',
    'consul://h/vni}',
    'consul://h/{{vni}}',
    'consul://h/{host}/x',
    `consul://h/${'a'.repeat(257)}`,
    `consul://${'a'.repeat(64)}/x`,
    'memory:x',
    'memory://',
    'redis://h/demo',
    'consul+http://h/demo',
    '+https://h/demo',
    'consul://h/demo\n',
  ])('%j is refused', (url) => {
    expect(() => parseStoreUrl(url, 'url')).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
    expect(messageOf(() => parseStoreUrl(url, 'url'))).toMatch(/^url: [^\n]*$/);
  });

  test.each([undefined, null, 1, new URL('consul://h/demo')])('%s is of the wrong type', (url) => {
    expect(() => parseStoreUrl(url)).toThrow(TypeError);
  });

  test('credentials are refused and not repeated', () => {
    for (const url of [
      'consul://me:s3cret@h/demo',
      'consul://s3cret@h',
      'consul://a@s3cret@h/demo',
      'http://s3cret@h/x',
      'consul://h/demo?token=s3cret',
      'consul://h/demo#s3cret',
      'consul:me:s3cret@h',
    ]) {
      expect(messageOf(() => parseStoreUrl(url))).not.toContain('s3cret');
    }
    expect(messageOf(() => parseStoreUrl('consul://me:s3cret@h/demo'))).toContain('CONSUL_HTTP_TOKEN');
    expect(messageOf(() => parseStoreUrl('etcd://h,me:s3cret@h/demo'))).toMatch(/^(?!.*s3cret).*ETCDCTL_USER/);
  });

  test('a scheme that has no driver: the kinds that there are', () => {
    for (const url of ['redis://h/demo', 'etcds://h/demo', 'consul+ftp://h/demo', ':x', 'x']) {
      expect(messageOf(() => parseStoreUrl(url))).toMatch(
        /write memory: or consul:\/\/HOST\[:8500\]\[,HOST\.\.\.\]\/PREFIX/,
      );
    }
  });
});

describe('placeholders', () => {
  test('an overlay’s prefix', () => {
    const url = parseStoreUrl('consul://h/net/{name}-{vni}/{vni}');
    expect(prefixFor(url, where)).toBe('net/blue-42/42');
    expect(expandStoreUrl('consul://h/net/{name}-{vni}', { name: 'a$&b', vni: 1 })).toBe(
      'consul://h:8500/net/a%24%26b-1',
    );
    expect(expandStoreUrl('consul://h/net', { name: 'x', vni: 1 })).toBe('consul://h:8500/net');
  });

  test('what they stand for is checked', () => {
    const url = parseStoreUrl('consul://h/{name}/{vni}');
    expect(() => prefixFor(url, { overlay: '../x', vni: 1 })).toThrow(RangeError);
    expect(() => prefixFor(url, { overlay: '..', vni: 1 })).toThrow(RangeError);
    expect(() => prefixFor(url, { overlay: '{vni}', vni: 1 })).toThrow(/braces/);
    expect(() => prefixFor(url, { overlay: 'x', vni: 0 })).toThrow(RangeError);
    expect(() => prefixFor(url, { overlay: 'x' } as never)).toThrow(TypeError);
  });

  test('methods that name no overlay say what is missing', async () => {
    await using store = await openStore('consul://127.0.0.1:1/net/{vni}');
    await expect(store.publish(endpoint)).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('which overlay'),
    });
    await expect(store.withdraw(endpoint)).rejects.toMatchObject({ code: 'OVERNS_STORE' });
    expect(() => store.watch({ signal: new AbortController().signal })).toThrow(/which overlay/);
    expect(() => recordsOf(store)).toThrow(/which overlay/);
    expect(() => recordsOf(store, where)).not.toThrow();
    await expect(store.publish(endpoint, { vni: 0 })).rejects.toThrow(RangeError);
    await expect(store.publish(endpoint, { overlay: 'blue' })).rejects.toThrow(TypeError);
  });

  test('scopes tell who shares records', async () => {
    await using shared = await openStore('consul://h/net');
    await using apart = await openStore('consul://h/net/{vni}');
    await using same = await openStore('consul://H:8500/net/');
    await using memory = await openStore('memory:');
    await using other = await openStore('memory:');
    const red = { overlay: 'red', vni: 43 };
    expect(scopeOf(shared, where)).toBe(scopeOf(shared, red));
    expect(scopeOf(shared, where)).toBe(scopeOf(same, where));
    expect(scopeOf(apart, where)).not.toBe(scopeOf(apart, red));
    expect(scopeOf(apart, where)).toBe(scopeOf(apart, { overlay: 'other', vni: 42 }));
    expect(scopeOf(memory, where)).toBe(scopeOf(memory, red));
    expect(scopeOf(memory, where)).not.toBe(scopeOf(other, where));
    const own: Store = { lookup: () => null };
    expect(scopeOf(own, where)).not.toBe(scopeOf(own, red));
    expect(scopeOf(own, where)).toBe(scopeOf(own, where));
    expect(() => recordsOf(own)).toThrow(expect.objectContaining({ code: 'OVERNS_STORE_UNSUPPORTED' }));
  });
});

describe('options', () => {
  const https = 'consul+https://127.0.0.1:1/demo';

  test.each<[string, OpenStoreOptions, string]>([
    ['consul://h/demo', { token: 1 as never }, 'token: '],
    ['consul://h/demo', { signal: 1 as never }, 'signal: '],
    ['consul://h/demo', { ca: '/x' }, 'ca: '],
    [https, { key: 1 as never }, 'key: '],
  ])('%s %o', async (url, options, message) => {
    await expect(openStore(url, options)).rejects.toThrow(message);
  });

  test('an aborted signal opens nothing', async () => {
    await expect(openStore('memory:', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });

  test('TLS files that are not there, and halves of a pair', async () => {
    await expect(openStore(https, { ca: '/nowhere/ca.pem' })).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('/nowhere/ca.pem'),
      hint: expect.stringContaining('CONSUL_CACERT'),
    });
    vi.stubEnv('CONSUL_CLIENT_CERT', '-----BEGIN CERTIFICATE-----');
    await expect(openStore(https)).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: 'a certificate without its key',
    });
    vi.stubEnv('CONSUL_CLIENT_CERT', '');
    vi.stubEnv('CONSUL_CACERT', '/nowhere/env.pem');
    await expect(openStore(https)).rejects.toThrow('/nowhere/env.pem');
    // Set for something else: no business of a store without TLS.
    await (await openStore('consul://h/demo')).close();
  });
});

describe('Consul’s own variables', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test.each([
    ['consul://h/demo', 'CONSUL_HTTP_SSL', 'true', 'consul+https://'],
    ['consul+https://h/demo', 'CONSUL_HTTP_SSL_VERIFY', 'false', 'CONSUL_CACERT'],
    ['consul+https://h/demo', 'CONSUL_CAPATH', '/nonexistent', 'CONSUL_CAPATH'],
  ])('%s with %s=%s is refused: security would hang on it', async (url, name, value, hint) => {
    vi.stubEnv(name, value);
    await expect(openStore(url)).rejects.toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringContaining(hint) });
  });

  test('what goes with every request', async () => {
    const seen: (string | undefined)[][] = [];
    const server = createServer((request, response) => {
      const { authorization, 'x-consul-namespace': namespace, 'x-consul-partition': partition } = request.headers;
      seen.push([authorization, namespace as string, partition as string]);
      response.writeHead(404, { 'X-Consul-Index': '1' }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    vi.stubEnv('CONSUL_HTTP_AUTH', 'me:sesame');
    vi.stubEnv('CONSUL_NAMESPACE', 'team');
    vi.stubEnv('CONSUL_PARTITION', 'eu');
    await using store = await openStore(`consul://127.0.0.1:${(server.address() as { port: number }).port}/demo`);
    await store.lookup({ ...where, kind: 'l3', ip: '192.168.0.9' });
    expect(seen).toEqual([[`Basic ${Buffer.from('me:sesame').toString('base64')}`, 'team', 'eu']]);
    server.close();
    server.closeAllConnections();
    vi.stubEnv('CONSUL_NAMESPACE', 'a b');
    await expect(openStore('consul://h/demo')).rejects.toThrow(/^CONSUL_NAMESPACE: /);
  });
});

test('a token that never comes: the signal of a call and close() end what waits for it', async () => {
  const store = await openStore('consul://127.0.0.1:1/demo', { token: () => new Promise<never>(() => {}) });
  const query = { kind: 'l3', ip: '192.168.0.2', overlay: 'blue', vni: 42 } as const;
  await expect(store.lookup(query, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: 'ABORT_ERR' });
  const waiting = store.lookup(query, { signal: new AbortController().signal });
  await store[Symbol.asyncDispose]();
  await expect(waiting).rejects.toMatchObject({ code: 'OVERNS_CLOSED' });
});
