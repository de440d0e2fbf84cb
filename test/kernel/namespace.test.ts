/** netns: named namespaces, and sockets that live in one. */
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { netns, Rtnl } from '../../lib/index.js';
import { createNetns, exec, twoHosts, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

/** How many sockets this process has open. */
function sockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

/** Closing takes a turn or two of the event loop. */
async function settlesAt(count: number): Promise<void> {
  for (let tries = 0; sockets() !== count && tries < 200; tries++) await sleep(10);
  expect(sockets()).toBe(count);
}

async function textOf(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket) text += chunk;
  return text;
}

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

describeWith(['root', 'ip', 'ping'], 'sockets of a namespace', () => {
  test.each([4, 6] as const)('a TCP echo from one namespace to another, IPv%i', async (family) => {
    const before = sockets();
    const [a, b] = await twoHosts({ ipv6: family === 6 });
    const host = family === 4 ? b.ip4 : b.ip6;
    const from: (string | undefined)[] = [];
    const server = await netns.listen(b.name, { host, port: 7, allowHalfOpen: true }, (socket) => {
      from.push(socket.remoteAddress);
      socket.pipe(socket);
    });
    const { port } = server.address() as { port: number };
    expect(port).toBe(7);
    const localAddress = family === 4 ? a.ip4 : a.ip6;
    const socket = await netns.connect({ path: a.path }, { host, port, localAddress, localPort: 4711, noDelay: true });
    expect(socket).toMatchObject({ remoteAddress: host, remotePort: port, localAddress, localPort: 4711 });
    const sent = 'x'.repeat(1 << 20);
    socket.end(sent);
    expect((await textOf(socket)) === sent).toBe(true);
    expect(from).toEqual([localAddress]);
    // It is not there in the caller's own namespace.
    await expect(netns.connect({ pid: process.pid }, { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    await closed(server);
    await settlesAt(before);
  });

  test('a UDP exchange, IPv4 and IPv6', async () => {
    const before = sockets();
    const [a, b] = await twoHosts({ ipv6: true });
    for (const [own, other] of [
      [a.ip4, b.ip4],
      [a.ip6, b.ip6],
    ] as const) {
      const server = await netns.dgram(b.name, { host: other, port: 5353 });
      server.on('message', (message, { address, port }) => server.send(`${message} back`, port, address));
      const client = await netns.dgram(a.name, { host: own });
      client.send('there and', 5353, other);
      const [message, from] = await once(client, 'message');
      expect(String(message)).toBe('there and back');
      expect(from).toMatchObject({ address: other, port: 5353 });
      server.close();
      client.close();
    }
    await settlesAt(before);
  });

  test('an abstract name belongs to its namespace', async () => {
    const before = sockets();
    const [a, b] = [await createNetns(), await createNetns()];
    const server = await netns.listen(a.name, { abstract: 'here' }, (socket) => socket.end('found'));
    expect(await textOf(await netns.connect(a.name, { abstract: 'here' }))).toBe('found');
    await expect(netns.connect(b.name, { abstract: 'here' })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(netns.listen(a.name, { abstract: 'here' })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await closed(server);
    await settlesAt(before);
  });

  test('what fails says so, and leaves no descriptor', async () => {
    const before = sockets();
    const [a, b] = await twoHosts();
    const refused = netns.connect(a.name, { host: b.ip4, port: 9 });
    await expect(refused).rejects.toMatchObject({ code: 'ECONNREFUSED', address: b.ip4, port: 9 });
    // Out of 10.0.0.0/24 leads no route.
    await expect(netns.connect(a.name, { host: '192.0.2.1', port: 9 })).rejects.toMatchObject({ code: 'ENETUNREACH' });
    const nobody = netns.connect(a.name, { host: '10.0.0.99', port: 9 });
    await expect(nobody).rejects.toMatchObject({ code: 'EHOSTUNREACH' });
    const foreign = netns.connect(a.name, { host: b.ip4, port: 9, localAddress: '10.0.0.77' });
    await expect(foreign).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    const server = await netns.listen(a.name, { host: a.ip4, port: 80 });
    await expect(netns.listen(a.name, { host: a.ip4, port: 80 })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: expect.stringContaining(`listen on ${a.ip4} port 80`),
    });
    await expect(netns.listen(a.name, { host: b.ip4 })).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    // The same port elsewhere is another one.
    await closed(await netns.listen(b.name, { host: b.ip4, port: 80 }));
    const socket = await netns.dgram(a.name, { host: a.ip4, port: 80 });
    await expect(netns.dgram(a.name, { host: a.ip4, port: 80 })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await expect(netns.connect('ot-nowhere', { host: b.ip4, port: 9 })).rejects.toMatchObject({ code: 'ENOENT' });
    socket.close();
    await closed(server);
    await settlesAt(before);
  });

  test('aborted while it connects', async () => {
    const before = sockets();
    const [a] = await twoHosts();
    // Long before the kernel itself gives up.
    await a.sysctl(`net/ipv4/neigh/${a.link}/retrans_time_ms`, 20_000);
    const signal = AbortSignal.timeout(100);
    const start = performance.now();
    const waiting = netns.connect(a.name, { host: '10.0.0.99', port: 9, signal });
    await expect(waiting).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(performance.now() - start).toBeLessThan(20_000);
    await expect(netns.listen(a.name, { signal })).rejects.toMatchObject({ code: 'ABORT_ERR' });
    await settlesAt(before);
  });

  test('a worker that is terminated leaves no descriptor, wherever it is', async () => {
    const before = sockets();
    const [a, b] = await twoHosts();
    const server = await netns.listen(b.name, { host: b.ip4 });
    const { port } = server.address() as { port: number };
    const code = `
      const { workerData, parentPort } = require('node:worker_threads');
      import(workerData.index).then(async ({ netns }) => {
        parentPort.postMessage('loaded');
        for (;;) {
          const sockets = await Promise.all([
            netns.connect(workerData.a, { host: workerData.host, port: workerData.port }),
            netns.listen(workerData.a, {}),
            netns.dgram(workerData.a, {}),
          ]);
          parentPort.postMessage('made');
          sockets[0].destroy();
          sockets[1].close();
          sockets[2].close();
        }
      });`;
    const workerData = { index: new URL('../../dist/index.js', import.meta.url).href, a: a.name, host: b.ip4, port };
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(code, { eval: true, workerData });
      await once(worker, 'message');
      if (round > 0) await sleep(Math.random() * 40);
      await worker.terminate();
    }
    await closed(server);
    await settlesAt(before);
  });
});

describeWith(['root', 'ip'], 'named namespaces', () => {
  test('made, listed, held open, watched, removed', async () => {
    const name = uniqueName();
    await using events = netns.watch();
    const next = async (): Promise<unknown> => {
      for (;;) {
        const { value, done } = await events.next();
        if (done) return 'ended';
        if (value.kind === 'netns' && value.name === name) return value.action;
      }
    };
    await netns.create(name);
    expect(await next()).toBe('new');
    expect((await exec('ip', ['netns', 'list'])).stdout).toMatch(new RegExp(`^${name}\\b`, 'm'));
    expect(await netns.list()).toContain(name);
    await expect(netns.create(name)).rejects.toMatchObject({
      code: 'EEXIST',
      hint: expect.stringContaining('ensure()'),
    });
    await using held = await netns.open(name);
    await netns.delete(name);
    expect(await next()).toBe('delete');
    expect(existsSync(`/run/netns/${name}`)).toBe(false);
    await expect(netns.delete(name)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(netns.open(name)).rejects.toMatchObject({ code: 'ENOENT' });
    // It lives on for whoever holds it.
    await using rtnl = await Rtnl.open({ netns: held });
    expect((await rtnl.links.list()).map((link) => link.name)).toEqual(['lo']);
    await using own = await netns.open({ pid: process.pid });
    await using here = await Rtnl.open({ netns: own });
    expect((await here.links.list()).length).toBeGreaterThan(0);
  });

  test('made unless it is there, by however many at once', async () => {
    const name = uniqueName();
    const made = await Promise.all(Array.from({ length: 8 }, () => netns.ensure(name)));
    expect(made.filter(Boolean)).toEqual([true]);
    const identity = statSync(`/run/netns/${name}`).ino;
    expect(await netns.ensure(name)).toBe(false);
    expect(statSync(`/run/netns/${name}`).ino).toBe(identity);
    // One that is being made just then: a file first.
    const half = uniqueName();
    writeFileSync(`/run/netns/${half}`, '');
    try {
      const waiting = netns.ensure(half);
      await sleep(20);
      unlinkSync(`/run/netns/${half}`);
      expect(await waiting).toBe(true);
    } finally {
      await netns.remove(half);
    }
    await expect(netns.ensure(half, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(existsSync(`/run/netns/${half}`)).toBe(false);
  });

  test('a name that is not UTF-8 is left out, and the others are there', async () => {
    const [plain, odd] = [uniqueName(), uniqueName()];
    const events = netns.watch();
    // The name as bash has it: the byte 0xff is not UTF-8 anywhere.
    await exec('bash', ['-c', `ip netns add "$(printf '${odd}\\377')"`]);
    try {
      await netns.create(plain);
      const names = await netns.list();
      expect(names).toContain(plain);
      expect(names.filter((name) => name.startsWith(odd))).toEqual([]);
      await expect(netns.open(`${odd}\ufffd`)).rejects.toMatchObject({ code: 'ENOENT' });
      for await (const event of events) {
        if (event.kind !== 'netns' || ![plain, odd].some((name) => event.name.startsWith(name))) continue;
        expect(event).toMatchObject({ action: 'new', name: plain });
        break;
      }
    } finally {
      await exec('bash', ['-c', `ip netns delete "$(printf '${odd}\\377')"`]);
      await netns.remove(plain);
    }
  });

  test('a leftover file is no namespace, and stays', async () => {
    const name = uniqueName();
    writeFileSync(`/run/netns/${name}`, '');
    try {
      await expect(netns.ensure(name)).rejects.toMatchObject({
        code: 'EINVAL',
        hint: expect.stringMatching(/^a leftover/),
      });
      expect(existsSync(`/run/netns/${name}`)).toBe(true);
    } finally {
      unlinkSync(`/run/netns/${name}`);
    }
  });

  test('what is no argument is refused by name', async () => {
    // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
    const { connect, listen, dgram, create, ensure, exec, spawn, open } = netns as any;
    // Left out by mistake, it is not the caller's own.
    for (const nowhere of [undefined, null, {}, 5]) {
      const message = expect.stringMatching(/^netns: expected a namespace name/);
      const refused = { code: 'ERR_INVALID_ARG_TYPE', message };
      await expect(connect(nowhere, { host: '::1', port: 1 })).rejects.toMatchObject(refused);
      await expect(connect(nowhere, { abstract: 'x' })).rejects.toMatchObject(refused);
      await expect(listen(nowhere, {})).rejects.toMatchObject(refused);
      await expect(listen(nowhere, { abstract: 'x' })).rejects.toMatchObject(refused);
      await expect(dgram(nowhere, {})).rejects.toMatchObject(refused);
      await expect(exec(nowhere, 'true')).rejects.toMatchObject(refused);
      await expect(spawn(nowhere, 'true')).rejects.toMatchObject(refused);
      if (nowhere !== undefined) await expect(open(nowhere)).rejects.toMatchObject(refused);
    }
    await expect(ensure('a/b')).rejects.toThrow(/^name: /);
    await expect(ensure()).rejects.toThrow(/^name: /);
    await expect(connect('x', { host: 'localhost', port: 1 })).rejects.toThrow(/^host: "localhost" is not an IP/);
    await expect(connect('x', { host: '::1', port: 0 })).rejects.toThrow(/^port: 0 is not an integer from 1/);
    await expect(connect('x', { host: '::1', port: 1, localAddress: '1.2.3.4' })).rejects.toThrow(/^localAddress: /);
    await expect(connect('x', { abstract: '' })).rejects.toThrow(/^abstract: /);
    await expect(connect('x')).rejects.toThrow(/^options: /);
    await expect(listen('x', { port: 70_000 })).rejects.toThrow(/^port: /);
    await expect(listen('x', {}, 1)).rejects.toThrow(/^onConnection: /);
    await expect(dgram('x', { host: 1 })).rejects.toThrow(/^host: /);
    await expect(create('a/b')).rejects.toThrow(/^name: /);
    await expect(create()).rejects.toThrow(/^name: /);
  });
});
