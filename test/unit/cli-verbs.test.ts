/** The verbs at work, without a kernel: what they print, and how they end. */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { run } from '../../lib/cli/run.js';
import { FakeKernel } from '../../lib/testing/index.js';

async function call(words: string): Promise<{ status: number; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr'): PassThrough =>
    new PassThrough().on('data', (chunk) => {
      said[name] += chunk;
    });
  const env = { OVERNS_DOCKER: 'unix:///nonexistent/docker.sock' };
  const { status } = await run(words.split(' '), { stdout: stream('stdout'), stderr: stream('stderr'), env });
  await new Promise((resolve) => setImmediate(resolve));
  return { status, ...said };
}

async function json(words: string): Promise<unknown> {
  const { status, stdout, stderr } = await call(`${words} --json`);
  expect({ status, stderr }, words).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

test('create, attach, show, detach, delete', async () => {
  await using kernel = FakeKernel.install();
  kernel.addNetns('web');
  const state = kernel.snapshot();
  const created = { overlay: 'blue', vni: 42, vtep: '10.0.0.10', port: 4789, mtu: 1450, addresses: ['192.168.0.1/24'] };
  expect(await json('create blue --vni 42 --address 192.168.0.1/24')).toEqual({ ...created, created: true });
  expect(await json('create blue --vni 42 --address 192.168.0.1/24 --ensure')).toEqual({ ...created, created: false });
  expect(await json('attach blue netns:web --address 192.168.0.2/24')).toMatchObject({ ip: '192.168.0.2' });
  expect(await json('show')).toMatchObject({ overlays: [{ overlay: 'blue', vni: 42 }] });
  expect(await json('show blue')).toMatchObject({ endpoints: [{ ip: '192.168.0.2' }], resolver: null });
  expect(await json('detach blue netns:web')).toMatchObject({ ip: '192.168.0.2' });
  expect((await call('delete blue')).status).toBe(0);
  expect(kernel.snapshot()).toEqual(state);
  expect(kernel.openHandles).toEqual([]);
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
  await using _kernel = FakeKernel.install();
  expect((await call('create blue --vni 42')).status).toBe(0);
  const said = await call(words);
  expect({ status: said.status, stdout: said.stdout }, said.stderr).toEqual({ status, stdout: '' });
  expect(said.stderr).toMatch(message);
  expect(said.stderr).toMatch(/^overns: [^\n]+\n$/);
});

test('the kernel refuses: its words, and what to do', async () => {
  await using kernel = FakeKernel.install();
  kernel.fail('unshare', 'EPERM');
  const { status, stderr } = await call('create blue --vni 42');
  expect(status).toBe(1);
  expect(stderr).toMatch(/operation not permitted.*CAP_SYS_ADMIN/);
});
