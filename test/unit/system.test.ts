/** The machine is given to what uses it: two fake kernels live in one process and never meet. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import {
  Agent,
  type Miss,
  netns,
  Overlay,
  OverlayFollower,
  openStore,
  queryResolver,
  Resolver,
  type ResolverEvent,
  Rtnl,
} from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';
import { onCleanup } from '../support/cleanup.js';
import { until } from '../support/overlay.js';

/** One machine of two, which are alike but for an address. */
async function machineAt(last: number) {
  const kernel = new FakeKernel({ underlay: `10.0.0.${last}/24` });
  const { system } = kernel;
  kernel.addNetns('web');
  const overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24', system });
  onCleanup(() => overlay.close());
  return { kernel, system, overlay };
}

test('overlays of one name, their resolvers and misses, on two machines at once', async () => {
  const [a, b] = await Promise.all([machineAt(10), machineAt(11)]);
  expect([a.overlay.vtep, b.overlay.vtep]).toEqual(['10.0.0.10', '10.0.0.11']);
  // Both are told of the same endpoints; only what a kernel holds is its own.
  await using store = await openStore('memory:');
  const [at2, at3] = [
    await a.overlay.attach('netns:web', { address: '192.168.0.2/24', store }),
    await b.overlay.attach('netns:web', { address: '192.168.0.3/24', store }),
  ];
  const told: Record<'a' | 'b', ResolverEvent[]> = { a: [], b: [] };
  const serve = async (overlay: Overlay, events: ResolverEvent[]): Promise<Resolver> => {
    const resolver = await Resolver.start({ overlays: [overlay], store });
    onCleanup(() => resolver.close());
    resolver.on('resolved', (event) => events.push(event));
    return resolver;
  };
  const [here, there] = [await serve(a.overlay, told.a), await serve(b.overlay, told.b)];
  expect([here.system, there.system]).toEqual([a.system, b.system]);
  await a.kernel.miss('blue', { ip: '192.168.0.3' });
  expect(a.kernel.state('blue').neighbors).toMatchObject([{ ip: '192.168.0.3', mac: at3.mac }]);
  expect(b.kernel.state('blue').neighbors).toEqual([]);
  await b.kernel.miss('blue', { ip: '192.168.0.2' });
  expect(b.kernel.state('blue').fdb).toContainEqual(expect.objectContaining({ mac: at2.mac, dst: '10.0.0.10' }));
  await until(() => told.b.length > 0, 'the answer');
  expect([told.a, told.b].map((events) => events.map((event) => 'miss' in event && event.miss))).toMatchObject([
    [{ kind: 'l3', ip: '192.168.0.3' }],
    [{ kind: 'l3', ip: '192.168.0.2' }],
  ]);
  // The end of one thread is none of the other's.
  await here.close();
  expect(await queryResolver('blue', { system: a.system })).toBeUndefined();
  expect((await queryResolver('blue', { system: b.system }))?.stats).toMatchObject({ answers: 1 });
  await b.kernel.miss('blue', { ip: '192.168.0.9' });
  expect(there.stats().misses).toBe(2);
  // Clocks, failures and clean-ups, too.
  a.kernel.fail('RTM_NEWLINK', 'EPERM');
  await (await Overlay.create({ name: 'red', vni: 43, system: b.system })).close();
  await expect(Overlay.create({ name: 'red', vni: 43, system: a.system })).rejects.toMatchObject({ code: 'EPERM' });
  await a.overlay.delete();
  expect(Object.keys(a.kernel.snapshot())).toEqual(['', 'web']);
  expect(Object.keys(b.kernel.snapshot())).toEqual(['', 'web', 'blue', 'red']);
});

test('what is made on a machine stays on it', async () => {
  const [a, b] = await Promise.all([machineAt(10), machineAt(11)]);
  const { system } = a;
  // No namespace of these names, and no addon that is needed, on the machine of the tests.
  const misses: Miss[] = [];
  const heard = a.overlay.misses();
  onCleanup(() => heard.return?.());
  void (async () => {
    for await (const miss of heard) misses.push(miss);
  })();
  const endpoints = a.overlay.endpointEvents();
  onCleanup(() => endpoints.return?.());
  expect((await endpoints.next()).value).toMatchObject({ kind: 'endpoints', endpoints: [] });
  await using resolver = await Resolver.start({ store: { lookup: () => null }, system });
  await using follower = await OverlayFollower.start({ resolver });
  expect(resolver.overlays().map(({ overlay }) => overlay)).toEqual(['blue']);
  await follower[Symbol.asyncDispose]();
  await resolver.close();
  await using agent = await Agent.start({ store: { lookup: () => null }, system });
  expect(agent.overlays().map(({ overlay }) => overlay)).toEqual(['blue']);
  await netns.create('db', { system });
  await netns.ensure('db', { system });
  await using held = await netns.open('db', { system });
  await netns.remove('db', { system });
  await using rtnl = await Rtnl.open({ netns: held, system });
  await rtnl.links.add({ kind: 'veth', name: 'v0', peer: { name: 'v1', netns: 'web' } });
  expect(a.kernel.state('web').links.map(({ name }) => name)).toEqual(['lo', 'v1']);
  expect(await rtnl.nsid('web')).toBe(0);
  expect(await netns.list({ system })).toEqual(['blue', 'web']);
  expect((await Overlay.list({ system })).map(({ vtep }) => vtep)).toEqual(['10.0.0.10']);
  await using again = await Overlay.open('blue', { system });
  expect(await again.underlayFault()).toBeUndefined();
  await again.attach('web', { address: '192.168.0.2/24' });
  expect((await endpoints.next()).value).toMatchObject({ kind: 'attached' });
  await a.kernel.miss('blue', { ip: '192.168.0.9' });
  await until(() => misses.length > 0, 'the miss');
  await again.detach('web');
  await Overlay.delete('blue', { system });
  expect(Object.keys(b.kernel.snapshot())).toEqual(['', 'web', 'blue']);
});

test('a resolver serves overlays of one machine', async () => {
  const [a, b] = await Promise.all([machineAt(10), machineAt(11)]);
  const store = { lookup: () => null };
  const refusal = { code: 'EINVAL', message: 'overlay "blue" is on another machine than this resolver' };
  await expect(Resolver.start({ overlays: [a.overlay, b.overlay], store })).rejects.toMatchObject(refusal);
  await expect(Resolver.start({ overlays: [a.overlay], store, system: b.system })).rejects.toMatchObject(refusal);
  await using resolver = await Resolver.start({ overlays: [{ overlay: b.overlay, store }] });
  await expect(resolver.add(a.overlay, store)).rejects.toMatchObject(refusal);
  expect(a.kernel.openHandles).toEqual(['rtnl blue']);
});

test('what is no machine is named', async () => {
  for (const wrong of [null, 'host', {}, new FakeKernel()]) {
    await expect(Rtnl.open({ system: wrong as never })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('system'),
    });
  }
});

test('lib reaches for the machine of the process as the default of an option only', () => {
  const lib = resolve(import.meta.dirname, '../../lib');
  const wrong: string[] = [];
  for (const file of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file === 'system/system.ts') continue;
    const text = readFileSync(join(lib, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    const imported = /import \{([^}]*)\} from '[^']*system\/system\.js'/.exec(text);
    if (imported === null || !/\bmachine\b/.test(imported[1] ?? '')) continue;
    const code = text.replace(imported[0], '').replace(/'[^'\n]*'|`[^`\n]*`/g, '');
    const uses = code.split('\n').filter((line) => /\bmachine\b/.test(line));
    const others = uses.filter((line) => !/\bsystem = machine\b|\?\? machine;/.test(line));
    wrong.push(...others.map((line) => `${file}:${line}`));
  }
  expect(wrong).toEqual([]);
  expect(readFileSync(join(lib, 'system/system.ts'), 'utf8')).not.toMatch(/^(export )?(let|var) /m);
});

test('lib hands the machine on: no call inside it falls back to that of the process', () => {
  const lib = resolve(import.meta.dirname, '../../lib');
  const statics = Object.entries({ Overlay, Rtnl, Resolver, Agent }).flatMap(([name, type]) =>
    Object.getOwnPropertyNames(type).map((member) => `${name}.${member}`),
  );
  const entries = new Set([...statics, ...Object.keys(netns).map((name) => `netns.${name}`)]);
  for (const name of ['queryResolver', 'doctor', 'ping']) entries.add(name);
  const calls: string[] = [];
  const wrong: string[] = [];
  for (const file of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.startsWith('testing/')) continue;
    const text = readFileSync(join(lib, file), 'utf8');
    if (![...entries].some((name) => text.includes(`${name}(`))) continue;
    const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
    const visit = (node: ts.Node): void => {
      ts.forEachChild(node, visit);
      if (!ts.isCallExpression(node) || !entries.has(node.expression.getText(source))) return;
      const call = `${file}: ${node.getText(source)}`;
      calls.push(call);
      // `on` and `options` are handed on whole.
      const given = node.arguments.map((each) => each.getText(source));
      if (!given.some((each) => /\bsystem\b|^(on|options)$/.test(each))) wrong.push(call);
    };
    visit(source);
  }
  expect(wrong).toEqual([]);
  expect(calls).toEqual(expect.arrayContaining([expect.stringMatching(/^cli\/store-notes.ts: queryResolver\(/)]));
});
