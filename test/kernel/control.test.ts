/** The control socket of an overlay: whoever holds its name or connects to it, nothing that they say ends anything. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { netns, Resolver } from '../../lib/index.js';
import { queryResolver } from '../../lib/resolver/remote.js';
import { onCleanup } from '../support/cleanup.js';
import { twoHosts } from '../support/netns.js';
import { Site, startResolver, until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

async function site(): Promise<Site> {
  const [host] = await twoHosts();
  return Site.create(host);
}

/** Holds the name of the overlay's resolver, and says this to each who connects. */
async function holdName({ overlay }: Site, lines: string): Promise<void> {
  const open = new Set<Socket>();
  const server = await netns.listen({ path: overlay.netns }, { abstract: 'overns' }, (socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => socket.write(lines));
  });
  onCleanup(() => {
    for (const socket of open) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
}

/** Runs a script in the overlay's namespace as an ordinary user. */
function asNobody({ netns: inside }: Site, script: string) {
  const begin = 'import os, socket; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); ';
  return inside.spawn('python3', ['-uc', begin + script]);
}

const good = '{"ok":true,"pid":1,"stats":{"misses":1}}';

describeWith(['root', 'ip'], 'who holds the name of an overlay’s resolver', () => {
  let a: Site;
  beforeAll(async () => {
    a = await site();
  });

  test.each([
    ['no JSON', 'x\n', 'EPROTO'],
    ['null', 'null\n', 'EPROTO'],
    ['an array', '[]\n', 'EPROTO'],
    ['an empty line', '\n', 'EPROTO'],
    ['no counters', '{"ok":true}\n', 'EPROTO'],
    ['a pid that is a text', '{"ok":true,"pid":"x\u001b[2J","stats":{}}\n', 'EPROTO'],
    ['a refusal', '{"ok":false,"error":{}}\n', 'EPROTO'],
    ['a line without an end', 'x'.repeat(3 << 20), 'EPROTO'],
    ['half a line', '{"ok":', 'ETIMEDOUT'],
    ['misses that are none', `${good}\nnull\n`, undefined],
    ['a miss without a time', `${good}\n{"mac":"02:42:c0:a8:00:09"}\n`, undefined],
    ['a time that is a text', `${good}\n{"mac":"02:42:c0:a8:00:09","atNs":"x"}\n`, undefined],
    ['a MAC that is none', `${good}\n{"mac":"\\u001b[2J","atNs":"1"}\n`, undefined],
  ] as const)('says %s: who asks is told, who observes goes on', async (_, lines, code) => {
    await holdName(a, lines);
    const told: Error[] = [];
    const onWarning = (message: unknown): void => {
      const { overlay, error } = message as { overlay: string; error: Error };
      if (overlay === a.overlay.name) told.push(error);
    };
    subscribe('overns:overlay:warning', onWarning);
    onCleanup(() => void unsubscribe('overns:overlay:warning', onWarning));
    await using misses = a.overlay.misses();
    const asked = await queryResolver(a.overlay.name).catch((error) => error);
    if (code === undefined) expect(asked).toMatchObject({ pid: 1, stats: { misses: 1, answers: 0 } });
    else expect(asked).toMatchObject({ code, hint: expect.any(String) });
    // Who observes misses does not look at counters.
    if (!lines.startsWith('{"ok":true') || code === undefined) {
      await until(() => told.length > 0, 'the warning');
      expect(told[0]).toMatchObject({ code: code ?? 'EPROTO' });
    }
    expect(
      await Promise.race([
        misses.next().then(
          ({ done }) => (done ? 'ended' : 'goes on'),
          () => 'failed',
        ),
        sleep(20, 'goes on'),
      ]),
    ).toBe('goes on');
    const start = Resolver.start({ overlays: [a.overlay], store: { lookup: () => null } });
    await expect(start).rejects.toMatchObject({ code: 'EBUSY' });
  });

  test('is an ordinary user’s process: not believed, and named', async () => {
    const squatter = asNobody(a, "s.bind('\\0overns'); s.listen(); print('up'); s.accept(); s.accept(); s.accept()");
    await squatter.waitFor(/up/, 'stdout');
    const refused = { code: 'EACCES', message: expect.stringMatching(/held by pid \d+ of user 65534/) };
    await expect(queryResolver(a.overlay.name)).rejects.toMatchObject(refused);
    const start = Resolver.start({ overlays: [a.overlay], store: { lookup: () => null } });
    await expect(start).rejects.toMatchObject({ code: 'EBUSY', message: expect.stringContaining('user 65534') });
    // It does not keep the overlay from being removed either.
    await a.overlay.delete();
  });
});

describeWith(['root', 'ip'], 'who connects to an overlay’s resolver', () => {
  test('may say anything', async () => {
    const a = await site();
    await startResolver({ overlays: [a.overlay], store: { lookup: () => null } });
    for (const words of [
      'x\n',
      'null\n',
      '[]\n',
      '{}\n',
      '{"op":1}\n',
      '{"op":"dance"}\n',
      '{"op":',
      'x'.repeat(3 << 20),
    ]) {
      const socket = await netns.connect({ path: a.overlay.netns }, { abstract: 'overns' });
      socket.on('error', () => {});
      const said = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(String(chunk))));
      socket.write(words);
      if (words.endsWith('\n')) expect(JSON.parse(await said)).toMatchObject({ ok: false });
      socket.destroy();
    }
    expect(await queryResolver(a.overlay.name)).toMatchObject({
      pid: process.pid,
      status: { store: 'up', lost: false },
    });
  });

  test('as an ordinary user has nothing to say', async () => {
    const a = await site();
    const resolver = await startResolver({ overlays: [a.overlay], store: { lookup: () => null } });
    const ask = asNobody(
      a,
      's.connect(\'\\0overns\'); s.sendall(b\'{"op":"release"}\\n\'); print(s.recv(4096).decode())',
    );
    await ask.waitFor(/"ok":false/, 'stdout');
    expect(resolver.overlays()).toHaveLength(1);
    expect(await queryResolver(a.overlay.name)).toMatchObject({ pid: process.pid });
  });
});
