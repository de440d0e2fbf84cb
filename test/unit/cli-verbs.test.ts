/** The verbs at work, without a kernel: what they print, and how they end. */
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { run } from '../../lib/cli/run.js';
import { Overlay, openStore, type RemoteResolver, Resolver, type System } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';

async function call(words: string, system: System): Promise<{ status: number; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr'): PassThrough =>
    new PassThrough().on('data', (chunk) => {
      said[name] += chunk;
    });
  const env = { OVERNS_DOCKER: 'unix:///nonexistent/docker.sock' };
  const { status } = await run(words.split(' '), { stdout: stream('stdout'), stderr: stream('stderr'), env, system });
  await new Promise((resolve) => setImmediate(resolve));
  return { status, ...said };
}

async function json(words: string, system: System): Promise<unknown> {
  const { status, stdout, stderr } = await call(`${words} --json`, system);
  expect({ status, stderr }, words).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

test('create, attach, show, detach, delete', async () => {
  const kernel = new FakeKernel();
  const { system } = kernel;
  kernel.addNetns('web');
  const state = kernel.snapshot();
  const created = { overlay: 'blue', vni: 42, vtep: '10.0.0.10', port: 4789, mtu: 1450, addresses: ['192.168.0.1/24'] };
  expect(await json('create blue --vni 42 --address 192.168.0.1/24', system)).toEqual({ ...created, created: true });
  expect(await json('create blue --vni 42 --address 192.168.0.1/24 --ensure', system)).toEqual({
    ...created,
    created: false,
  });
  expect(await json('attach blue netns:web --address 192.168.0.2/24', system)).toMatchObject({ ip: '192.168.0.2' });
  expect(await json('show', system)).toMatchObject({ overlays: [{ overlay: 'blue', vni: 42 }] });
  expect(await json('show blue', system)).toMatchObject({ endpoints: [{ ip: '192.168.0.2' }], resolver: null });
  expect(await json('detach blue netns:web', system)).toMatchObject({ ip: '192.168.0.2' });
  expect((await call('delete blue', system)).status).toBe(0);
  expect(kernel.snapshot()).toEqual(state);
  expect(kernel.openHandles).toEqual([]);
});

test('show --check: the exit status says whether all is well', async () => {
  const kernel = new FakeKernel();
  const { system } = kernel;
  await call('create blue --vni 42', system);
  expect(await call('show', system)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/ SERVED +STORE\nblue .* no +-\n/),
  });
  for (const words of ['show --check', 'show blue --check']) expect((await call(words, system)).status).toBe(1);
  await using overlay = await Overlay.open('blue', { system });
  await using store = await openStore('consul://127.0.0.1:9/{vni}');
  await using _resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
  expect((await call('show --check', system)).stdout).toMatch(/\nblue .* pid \d+ +up\n/);
  for (const words of ['show --check', 'show blue --check']) expect((await call(words, system)).status).toBe(0);
  await call('create red --vni 43', system);
  await using second = await Overlay.open('red', { system });
  await using _other = await Resolver.start({ overlays: [second], store });
  const down = async (): Promise<string> =>
    JSON.parse((await call('show red --json', system)).stdout).resolver.status.store;
  for (const end = Date.now() + 20_000; (await down()) !== 'down' && Date.now() < end; ) await sleep(50);
  const { status, stdout } = await call('show --check --json', system);
  const { overlays } = JSON.parse(stdout);
  expect(
    overlays.map(({ resolver }: { resolver: RemoteResolver }) => [resolver.status?.store, resolver.status?.storeUrl]),
  ).toEqual([
    ['up', undefined],
    ['down', 'consul://127.0.0.1:9/43'],
  ]);
  expect(status).toBe(1);
  expect((await call('show red', system)).stdout).toContain('\n  store consul://127.0.0.1:9/43\n');
  // Done without the store that others answer from: it is said.
  kernel.addNetns('web');
  expect((await call('attach red netns:web --address 192.168.0.2/24', system)).stdout).toMatch(
    /\n {2}not published: pid \d+ answers from consul:\/\/127\.0\.0\.1:9\/43; --store names it\n$/,
  );
  expect((await call('detach red netns:web', system)).stdout).toMatch(/\n {2}not withdrawn: pid \d+ answers from /);
});

test.each([
  ['create blue --vni 43', 1, /^overns: a namespace "blue" exists already/],
  ['create blue --vni 43 --ensure', 1, /is not the same: vni 42 instead of 43/],
  ['create red --vni 42', 1, /VNI already exists/],
  ['attach blue netns:web --address 192.168.0.2/24', 1, /no network namespace "web"/],
  ['detach blue --address 192.168.0.2', 1, /192\.168\.0\.2 is not attached/],
  ['show red', 1, /there is no overlay "red": no network namespace.*; `overns show` shows those there are/],
  ['delete red', 1, /there is no overlay "red"/],
  ['detach blue netns:gone', 1, /no network namespace "gone".*`overns detach blue --address IP`, with the store,/],
])('%s: refused, in one line', async (words, status, message) => {
  const { system } = new FakeKernel();
  expect((await call('create blue --vni 42', system)).status).toBe(0);
  const said = await call(words, system);
  expect({ status: said.status, stdout: said.stdout }, said.stderr).toEqual({ status, stdout: '' });
  expect(said.stderr).toMatch(message);
  expect(said.stderr).toMatch(/^overns: [^\n]+\n$/);
});

test('the kernel refuses: its words, and what to do', async () => {
  const kernel = new FakeKernel();
  kernel.fail('unshare', 'EPERM');
  const { status, stderr } = await call('create blue --vni 42', kernel.system);
  expect(status).toBe(1);
  expect(stderr).toMatch(/operation not permitted.*CAP_SYS_ADMIN/);
});
