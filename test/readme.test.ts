/** The README's JavaScript is JavaScript on the oldest Node there is to be, and does what it says, on the real thing. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { onCleanup } from './support/cleanup.js';
import { Consul } from './support/consul.js';
import { createContainer, createNetns, exec, type Netns, Running, twoHosts, uniqueName } from './support/netns.js';
import { ping } from './support/ping.js';
import { describeWith, testWith } from './support/requirements.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
// Below the package, so that it is found by its own name.
const folder = join(ROOT, '.cache', `readme-${process.pid}`);
const blocks: string[] = [];

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  onCleanup(() => rm(folder, { recursive: true, force: true }));
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
  expect(readme).not.toMatch(/^```(ts|typescript|javascript)$/m);
  for (const [, block] of readme.matchAll(/^```js\n([\s\S]*?)^```$/gm)) blocks.push(block as string);
});

/** The one block that has this in it, with names of this run in the place of its own. */
async function program(sign: string, names: Readonly<Record<string, string>> = {}, after = ''): Promise<string> {
  const found = blocks.filter((block) => block.includes(sign));
  expect(found).toHaveLength(1);
  let code = found[0] as string;
  for (const [own, other] of Object.entries(names)) {
    expect(code).toContain(own);
    code = code.replaceAll(own, other);
  }
  const file = join(folder, `${sign.replaceAll(/\W+/g, '-')}.mjs`);
  await writeFile(file, code + after);
  return file;
}

test('each block is JavaScript', async () => {
  expect(blocks.length).toBeGreaterThanOrEqual(5);
  for (const [at, block] of blocks.entries()) {
    const file = join(folder, `block-${at}.mjs`);
    await writeFile(file, block);
    await exec(process.execPath, ['--check', file]);
  }
});

test('the fake kernel: what is programmed, what does not cross, what is refused', async () => {
  const { stdout } = await exec(process.execPath, [await program('FakeKernel')]);
  expect(stdout).toContain("'02:42:c0:a8:00:03 10.0.0.11'");
  expect(stdout).toMatch(/crossed: false/);
  expect(stdout).toMatch(/^EPERM \S/m);
});

test('a source of endpoints of one function', async () => {
  const sign = 'async lookup(query';
  const use = `
    const asked = [];
    const db = { find: async (query) => (asked.push(query), query.ip ? { mac: 'm', host: 'h' } : undefined) };
    const options = {};
    console.log(JSON.stringify([
      await store.lookup({ kind: 'l3', ip: '192.168.0.3', vni: 42 }, options),
      await store.lookup({ kind: 'l2', mac: '02:42:c0:a8:00:03', vni: 42 }, options),
      asked,
    ]));`;
  const { stdout } = await exec(process.execPath, [await program(sign, {}, use)]);
  expect(JSON.parse(stdout)).toEqual([
    { mac: 'm', vtep: 'h', ttlMs: 60_000 },
    null,
    [
      { network: 42, ip: '192.168.0.3' },
      { network: 42, mac: '02:42:c0:a8:00:03' },
    ],
  ]);
});

test('the tests of a driver, in node:test', async () => {
  const names = {
    './examples/file-store.mjs': join(ROOT, 'examples/file-store.mjs'),
    '/tmp/stores': join(folder, 'stores'),
  };
  const { stdout } = await exec(process.execPath, ['--test-reporter=tap', await program('storeConformance', names)]);
  expect(stdout).toMatch(/^# pass 4\d$/m);
  expect(stdout).toMatch(/^# fail 0$/m);
});

describeWith(['root', 'ip', 'ping'], 'on the real kernel', () => {
  /** Runs a program of the README in a namespace, until it ends or the test does. */
  const start = (netns: Netns, file: string): Running =>
    new Running('nsenter', [`--net=${netns.path}`, process.execPath, '--no-warnings', file]);

  testWith(['consul'], 'an overlay, a container, and the answers of Consul', async () => {
    const [host] = await twoHosts();
    const demo = await createContainer();
    const name = uniqueName();
    const consul = await Consul.start({ netns: host });
    await consul.putEndpoint('demo', { ip: '192.168.0.3', mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' });
    onCleanup(() => exec('ip', ['netns', 'del', name], { check: false }));
    const running = start(
      host,
      await program('resolver.events()', { "'overns', vni": `'${name}', vni`, 'docker:demo': `netns:${demo.name}` }),
    );
    const until = Date.now() + 30_000;
    while (!running.stdout.includes('192.168.0.3') && Date.now() < until) {
      await ping(demo, '192.168.0.3', { wait: 0.2 }).catch(() => sleep(200));
      // It may have been resolved before the program listened to events: asked for anew.
      for (const [netns, link] of [
        [name, 'vxlan1'],
        [demo.name, 'eth0'],
      ] as const)
        await exec('ip', ['-n', netns, 'neigh', 'del', '192.168.0.3', 'dev', link], { check: false });
    }
    await running.waitFor(/^192\.168\.0\.3 10\.0\.0\.11 \d+(\.\d+)? µs$/m, 'stdout');
    expect(running.stderr).toBe('');
    expect(await consul.get('demo/arp/192.168.0.2')).toBe('02:42:c0:a8:00:02');
    await running.stop();
  });

  test('rtnetlink: entries written, flushed and told of', async () => {
    const overlay = await createNetns();
    await overlay.ip('link add vxlan1 type vxlan id 42 dstport 4789');
    await overlay.ip('link set vxlan1 up');
    const running = start(overlay, await program('Rtnl.open', { "'overns' }": `'${overlay.name}' }` }));
    const until = Date.now() + 30_000;
    while (!running.stdout.includes('192.168.0.9') && running.running && Date.now() < until) {
      await overlay.ip('neighbor replace 192.168.0.9 lladdr 02:42:c0:a8:00:09 dev vxlan1');
      await overlay.ip('neighbor del 192.168.0.9 dev vxlan1');
      await sleep(100);
    }
    await running.waitFor(/192\.168\.0\.9/, 'stdout');
    expect((await overlay.ipJson('neighbor show dev vxlan1'))[0]).toMatchObject({
      dst: '192.168.0.3',
      state: ['PERMANENT'],
    });
    expect(JSON.stringify(await overlay.bridgeJson('fdb show dev vxlan1'))).not.toContain('10.0.0.11');
    expect(running.stderr).toBe('');
    await running.stop();
  });

  test('sockets and programs of a namespace', async () => {
    const [blue, red] = await Promise.all([createNetns(), createNetns()]);
    await exec('ip', [
      '-n',
      blue.name,
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      red.name,
    ]);
    for (const [netns, last] of [
      [blue, 2],
      [red, 3],
    ] as const) {
      await netns.ip(`address add 192.168.0.${last}/24 dev eth0`);
      await netns.ip('link set eth0 up');
    }
    const after = `
      socket.write('hello');
      for await (const chunk of socket) { console.log(String(chunk), JSON.parse(stdout).some((link) => link.ifname === 'eth0')); break; }
      server.close();`;
    const file = await program('netns.listen', { "'blue'": `'${blue.name}'`, "'red'": `'${red.name}'` }, after);
    const { stdout } = await exec(process.execPath, ['--no-warnings', file]);
    expect(stdout).toBe('hello true\n');
  });
});
