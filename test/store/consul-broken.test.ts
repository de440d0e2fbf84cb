/** What a Consul in good health never does: a server on the loopback that fails, hangs, lies and talks nonsense. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Change, Endpoint, OwnedStore, Query } from '../../lib/store/contract.js';
import { openStore, recordsOf } from '../../lib/store/index.js';

const IP = '192.168.0.2';
const MAC = '02:42:c0:a8:00:02';
const VTEP = '10.0.0.10';
const query: Query = { overlay: 'blue', vni: 42, kind: 'l2', mac: MAC };
const endpoint: Endpoint = { ip: IP, ips: [IP], mac: MAC, vtep: VTEP };
const never = { signal: new AbortController().signal };
const CONSUL = { 'X-Consul-Index': '7' };

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  vi.useRealTimers();
});

async function listen(server: Server | TcpServer): Promise<OwnedStore> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const store = await openStore(`consul://127.0.0.1:${port}/demo`);
  closers.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => (server as Server).closeAllConnections?.(),
    () => store.close(),
  );
  return store;
}

/** A store in front of a handler, and the requests that arrived. */
async function serve(handler: Handler): Promise<{ store: OwnedStore; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    handler(request, response, requests.length);
  });
  return { store: await listen(server), requests };
}

/** A store in front of raw TCP. */
function serveTcp(handler: (socket: Socket) => void): Promise<OwnedStore> {
  return listen(
    createTcpServer((socket) => {
      socket.on('error', () => {});
      closers.push(() => socket.destroy());
      handler(socket);
    }),
  );
}

async function failure(call: unknown): Promise<Error & { code?: string; hint?: string }> {
  return Promise.resolve(call).then(
    (result) => new Error(`it succeeded: ${JSON.stringify(result)}`),
    (error) => error,
  );
}

const good: Handler = (_, response) => response.writeHead(200, CONSUL).end(VTEP);

describe('trying again', () => {
  test.each([500, 502, 503, 429])('status %d passes', async (status) => {
    const { store, requests } = await serve((request, response, count) =>
      count < 4 ? response.writeHead(status).end('not now') : good(request, response, count),
    );
    expect(await store.lookup(query, never)).toEqual({ mac: MAC, vtep: VTEP });
    expect(requests).toHaveLength(4);
  });

  test('a server that stays broken is given up, in its words', async () => {
    const { store, requests } = await serve((_, response) => response.writeHead(500).end('No cluster leader\n'));
    expect(await failure(store.lookup(query, never))).toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringMatching(/: reading demo\/fib\/02:42:c0:a8:00:02: answered 500: No cluster leader$/),
      hint: expect.stringContaining('no majority'),
    });
    expect(requests).toHaveLength(4);
  });

  test('writes are tried again, too', async () => {
    const { store, requests } = await serve((request, response, count) => {
      if (request.method === 'GET') response.writeHead(404, CONSUL).end();
      else if (count === 2) response.socket?.destroy();
      else response.writeHead(200).end('{"Results":[],"Errors":null}');
    });
    await store.publish(endpoint);
    expect(requests.map(({ method }) => method)).toEqual(['GET', 'PUT', 'PUT']);
    expect(requests[2]).toMatchObject({ url: '/v1/txn' });
  });

  test('a connection that is reset is made anew', async () => {
    const { store } = await serve((request, response, count) => {
      if (count === 1) request.socket.resetAndDestroy();
      else good(request, response, count);
    });
    expect(await store.lookup(query, never)).toEqual({ mac: MAC, vtep: VTEP });
  });

  test('a kept-alive connection that the server closed is no failure', async () => {
    const { store } = await serve((request, response, count) => {
      good(request, response, count);
      setTimeout(() => request.socket.destroy(), 5);
    });
    for (let round = 0; round < 10; round++) {
      expect(await store.lookup(query, never)).toEqual({ mac: MAC, vtep: VTEP });
      await sleep(round);
    }
  });

  test.each([400, 401, 403, 405, 413, 301])('status %d does not pass', async (status) => {
    const { store, requests } = await serve((_, response) => response.writeHead(status).end('\u001b[31mno\nway'));
    const error = await failure(store.lookup(query, never));
    expect(error).toMatchObject({ code: 'OVERNS_STORE', hint: expect.any(String) });
    expect(error.message).toContain(`answered ${status}: \\u001b[31mno\\u000away`);
    expect(requests).toHaveLength(1);
  });

  test('abort ends the waiting between two attempts', async () => {
    const controller = new AbortController();
    const { store } = await serve((_, response) => {
      response.writeHead(500).end();
      setTimeout(() => controller.abort(), 20);
    });
    // It would wait for 50 s.
    const random = vi.spyOn(Math, 'random').mockReturnValue(1000);
    const started = performance.now();
    expect(await failure(store.lookup(query, controller))).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    expect(performance.now() - started).toBeLessThan(10_000);
    random.mockRestore();
  });
});

describe('silence', () => {
  test('abort ends a request that gets no answer, before the head and within the body', async () => {
    for (const handler of [
      () => {},
      (_: IncomingMessage, response: ServerResponse) => response.writeHead(200, CONSUL).write('1'),
    ]) {
      const { store, requests } = await serve(handler);
      const controller = new AbortController();
      const looking = failure(store.lookup(query, controller));
      while (requests.length === 0) await sleep(5);
      await sleep(50);
      controller.abort();
      // Before a later timer, and that before the one that ends an attempt.
      const late = sleep(1000, 'late', { ref: false });
      expect(await Promise.race([looking, late])).toMatchObject({ code: 'ABORT_ERR' });
      expect(requests).toHaveLength(1);
    }
  });

  test('an attempt without an answer is given up and made anew', async () => {
    const { store } = await serve((request, response, count) => {
      if (count > 1) good(request, response, count);
      else response.writeHead(200, CONSUL).write('10.0');
    });
    const started = performance.now();
    expect(await store.lookup(query, never)).toEqual({ mac: MAC, vtep: VTEP });
    expect(performance.now() - started).toBeGreaterThan(1900);
  });

  test('for good, it says how long it waited', async () => {
    const { store, requests } = await serve(() => {});
    expect(await failure(store.lookup(query, never))).toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('no answer within 2000 ms'),
    });
    expect(requests).toHaveLength(4);
  }, 60_000);

  test('close ends a request that gets no answer', async () => {
    const { store } = await serve(() => {});
    const looking = failure(store.lookup(query, never));
    await sleep(50);
    await store.close();
    expect(await looking).toMatchObject({ code: 'OVERNS_CLOSED' });
  });
});

describe('nonsense', () => {
  test.each([
    ['another protocol', (socket: Socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
    [
      'an answer cut short',
      (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 99\r\n\r\n10.0'),
    ],
    ['a connection closed at once', (socket: Socket) => socket.end()],
    ['a head without end', (socket: Socket) => socket.write(`HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(2 ** 20)}`)],
  ])('%s', async (_, handler) => {
    const store = await serveTcp((socket) => socket.once('data', () => handler(socket)));
    const error = await failure(store.lookup(query, never));
    expect(error).toMatchObject({ code: 'OVERNS_STORE', hint: expect.any(String) });
    expect(error.message).toMatch(/^consul:\/\/127\.0\.0\.1:\d+: reading demo\/fib\/[^\n]{1,400}$/);
  });

  test("another web server's 404 is no absence, its 200 no record", async () => {
    for (const status of [404, 200]) {
      const { store } = await serve((_, response) => response.writeHead(status).end('<html>'));
      expect(await failure(store.lookup(query, never))).toMatchObject({
        code: 'OVERNS_STORE',
        message: expect.stringContaining('X-Consul-Index'),
      });
    }
  });

  test.each(['-1', '1.5', 'x', '9'.repeat(30), ''])('X-Consul-Index: %j', async (index) => {
    const { store } = await serve((_, response) => response.writeHead(200, { 'X-Consul-Index': index }).end(VTEP));
    expect(await failure(store.lookup(query, never))).toMatchObject({ code: 'OVERNS_STORE' });
  });

  test('a value without end is not read to its end', async () => {
    let sent = 0;
    let closed: Promise<void> | undefined;
    const { store } = await serve((_, response) => {
      closed = new Promise((resolve) => response.on('close', resolve));
      response.writeHead(200, CONSUL);
      const chunk = Buffer.alloc(2 ** 16, 'a');
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      };
      response.on('drain', more);
      more();
    });
    expect(await failure(store.lookup(query, never))).toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('more than 1048576 bytes'),
    });
    await closed;
    const before = sent;
    await sleep(50);
    expect(sent).toBe(before);
    expect(sent).toBeLessThan(2 ** 24);
  });

  test('a prefix that is too large to be listed ends a watch, with what to do', async () => {
    let closed: Promise<void> | undefined;
    const { store } = await serve((_, response) => {
      closed = new Promise((resolve) => response.on('close', resolve));
      response.writeHead(200, CONSUL);
      const chunk = Buffer.alloc(2 ** 20, 'a');
      const more = () => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', more);
      more();
    });
    const error = await failure(store.watch()[Symbol.asyncIterator]().next());
    expect(error).toMatchObject({ code: 'OVERNS_TOO_LARGE', hint: expect.stringContaining("sync: 'used'") });
    await closed;
  });

  test('an error page without end is not read to its end', async () => {
    const { store } = await serve((_, response) => {
      response.writeHead(403);
      response.write('Permission denied '.repeat(1e5));
    });
    const error = await failure(store.lookup(query, never));
    expect(error.message).toContain('answered 403: Permission denied');
    expect(error.message.length).toBeLessThan(500);
  });

  test.each([
    '',
    'null',
    '{}',
    '[',
    '[null]',
    '[1]',
    '[{}]',
    '[{"Key":1,"Value":"","ModifyIndex":1}]',
    '[{"Key":"demo/arp/192.168.0.2","Value":1,"ModifyIndex":1}]',
    '[{"Key":"demo/arp/192.168.0.2","Value":"","ModifyIndex":"1"}]',
    '<html>',
  ])('a list that is %j', async (body) => {
    const { store } = await serve((_, response) => response.writeHead(200, CONSUL).end(body));
    const expected = { code: 'OVERNS_STORE', message: expect.stringContaining('not what Consul answers') };
    expect(await failure(recordsOf(store).list())).toMatchObject(expected);
    expect(await failure(store.withdraw(endpoint))).toMatchObject(expected);
    expect(await failure(store.watch(never)[Symbol.asyncIterator]().next())).toMatchObject(expected);
  });

  test('values that are no Base64, and keys from elsewhere, are bad records at most', async () => {
    const pairs = [
      { Key: 'demo/arp/192.168.0.2', Value: '@@@', ModifyIndex: 1 },
      { Key: 'demo/arp/../../x', Value: 'eA==', ModifyIndex: 1 },
      { Key: 'elsewhere/arp/192.168.0.3', Value: 'eA==', ModifyIndex: 1 },
      { Key: '__proto__', Value: null, ModifyIndex: 1 },
    ];
    const { store } = await serve((_, response) => response.writeHead(200, CONSUL).end(JSON.stringify(pairs)));
    expect(await recordsOf(store).list()).toMatchObject([
      { key: '192.168.0.2', problem: expect.stringContaining('empty') },
      { key: '../../x', problem: expect.stringContaining('is not an IP address') },
    ]);
  });

  test('conflicts without end, and a conflict in no words', async () => {
    const pair = (key: string, value: string) =>
      JSON.stringify([{ Key: key, Value: Buffer.from(value).toString('base64'), ModifyIndex: 5 }]);
    for (const body of [
      '{"Errors":[{"What":"index is stale"}]}',
      'oops',
      '{"Errors":null}',
      'null',
      '{"Errors":[null]}',
    ]) {
      const { store, requests } = await serve((request, response) => {
        if (request.method === 'PUT') response.writeHead(409).end(body);
        else if (request.url?.includes('/fib/')) response.writeHead(200, CONSUL).end(pair(`demo/fib/${MAC}`, VTEP));
        else response.writeHead(200, CONSUL).end(pair(`demo/arp/${IP}`, MAC));
      });
      expect(await failure(store.withdraw(endpoint))).toMatchObject({
        code: 'OVERNS_STORE',
        message: expect.stringContaining(`withdrawing ${IP}`),
      });
      expect(requests.filter(({ method }) => method === 'PUT')).toHaveLength(5);
      expect(await failure(store.publish(endpoint))).toMatchObject({ code: 'OVERNS_STORE' });
    }
  });

  test('"false" to a write', async () => {
    const { store } = await serve((_, response) => response.writeHead(200).end('false'));
    expect(await failure(recordsOf(store).put('arp', IP, MAC))).toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringContaining('writing demo/arp/192.168.0.2: false'),
    });
  });
});

describe('watching', () => {
  const list = (vtep: string) =>
    JSON.stringify([
      { Key: `demo/arp/${IP}`, Value: Buffer.from(MAC).toString('base64'), ModifyIndex: 1 },
      { Key: `demo/fib/${MAC}`, Value: Buffer.from(vtep).toString('base64'), ModifyIndex: 1 },
    ]);

  test('an index that goes backwards is a reset; one that stays is nothing, and looked at anew if it came early', async () => {
    const indexes = ['9', '9', '4', '5'];
    const { store, requests } = await serve((_, response, count) => {
      const index = indexes[count - 1];
      if (index !== undefined) response.writeHead(200, { 'X-Consul-Index': index }).end(list(`10.0.0.${count}`));
    });
    const controller = new AbortController();
    const changes = store.watch(controller)[Symbol.asyncIterator]();
    const next = async () => (await changes.next()).value as Change;
    expect(await next()).toMatchObject({ kind: 'reset', index: 9n, endpoints: [{ vtep: '10.0.0.1' }] });
    expect(await next()).toMatchObject({ kind: 'reset', index: 4n, endpoints: [{ vtep: '10.0.0.3' }] });
    expect(await next()).toMatchObject({ kind: 'put', index: 5n, endpoint: { vtep: '10.0.0.4' } });
    expect(requests.map(({ url }) => /index=(\d+)/.exec(url ?? '')?.[1])).toEqual([undefined, '9', undefined, '4']);
    const waiting = failure(changes.next());
    controller.abort();
    expect(await waiting).toMatchObject({ code: 'ABORT_ERR' });
  });

  test('an index of 0, and answers that do not wait, make no storm of requests', async () => {
    const { store, requests } = await serve((_, response) => response.writeHead(404, { 'X-Consul-Index': '0' }).end());
    const lists = () => requests.map(({ url }) => url).filter((url) => url?.includes('recurse'));
    const controller = new AbortController();
    const started = performance.now();
    const changes = store.watch(controller)[Symbol.asyncIterator]();
    expect((await changes.next()).value).toMatchObject({ kind: 'reset', endpoints: [] });
    const waiting = failure(changes.next());
    while (lists().length < 2) await sleep(5);
    await sleep(300);
    controller.abort();
    expect(await waiting).toMatchObject({ code: 'ABORT_ERR' });
    expect(lists().slice(0, 2)).toEqual(['/v1/kv/demo/?recurse', '/v1/kv/demo/?recurse&index=1&wait=30000ms']);
    // A second after a question that did not wait come the next two: one to look, one to wait.
    expect(lists().length).toBeLessThanOrEqual(2 + (2 * (performance.now() - started)) / 1000);
  });

  test('a hiccup is not told, a server that stays away is, and watching again begins with a reset', async () => {
    let away = false;
    let hanging: ServerResponse | undefined;
    const { store } = await serve((_, response, count) => {
      if (away || count === 2) response.socket?.destroy();
      else if (count === 4) hanging = response;
      else response.writeHead(200, { 'X-Consul-Index': String(count) }).end(list(`10.0.0.${count}`));
    });
    const changes = store.watch(never)[Symbol.asyncIterator]();
    expect((await changes.next()).value).toMatchObject({ kind: 'reset' });
    expect((await changes.next()).value).toMatchObject({ kind: 'put', index: 3n });
    const waiting = failure(changes.next());
    while (hanging === undefined) await sleep(5);
    away = true;
    hanging.socket?.destroy();
    expect(await waiting).toMatchObject({ code: 'OVERNS_STORE', message: expect.stringContaining('reading demo/: ') });
    expect(await changes.next()).toEqual({ done: true, value: undefined });
    away = false;
    const again = store.watch(never)[Symbol.asyncIterator]();
    expect((await again.next()).value).toMatchObject({ kind: 'reset' });
    await again.return?.();
  });
});
