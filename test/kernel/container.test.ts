/** Namespaces and containers, by every name they go by. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { listNetns, netnsIdentity, netnsPath, parseNetns } from '../../lib/netns/references.js';
import { type ContainerRef, resolveContainer } from '../../lib/overlay/targets/container.js';
import { machine } from '../../lib/system/system.js';
import { onCleanup } from '../support/cleanup.js';
import { Docker } from '../support/docker.js';
import { createNetns, exec, spawn } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

const find = (ref: ContainerRef, options: { readonly docker?: string } = {}) =>
  resolveContainer(ref, { ...options, system: machine });

const failure = (promise: Promise<unknown>): Promise<Error & { code?: string; hint?: string }> =>
  promise.then(
    (value) => {
      throw new Error(`it did not fail: ${JSON.stringify(value)}`);
    },
    (error) => error,
  );

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ot-folder-'));
  onCleanup(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

// No Docker of the machine's own shall take part.
const nowhere = { docker: '/nonexistent/docker.sock' };

describe('references', () => {
  test.each([
    ['overns', 'overns'],
    ['pid:17', { pid: 17 }],
    ['/proc/1/ns/net', '/proc/1/ns/net'],
  ])('%s', (given, want) => {
    expect(parseNetns(given)).toEqual(want);
  });

  test.each([
    '',
    '.',
    '..',
    'a/b',
    'pid:',
    'pid:0',
    'pid:x',
    'pid:1x',
    'pid:-1',
    'pid:4194305',
    'a\nb',
    'a\u0000',
    'x'.repeat(256),
  ])('%j is none', (given) => {
    expect(() => parseNetns(given)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
  });

  test('one that cannot be meant', async () => {
    for (const wrong of [1, null, {}, [], { pid: '1' }, { path: 1 }]) {
      expect(await failure(netnsPath(machine, wrong as never)), JSON.stringify(wrong)).toMatchObject({
        code: 'ERR_INVALID_ARG_TYPE',
      });
    }
    expect(await failure(netnsPath(machine, { pid: 1.5 }))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    expect(await failure(netnsPath(machine, { path: 'relative' }))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });

  test('the own namespace', async () => {
    expect(await netnsPath(machine, undefined)).toBe('/proc/self/ns/net');
    expect(await netnsIdentity(machine, '/proc/self/ns/net')).toBe(
      await netnsIdentity(machine, await netnsPath(machine, { pid: process.pid })),
    );
  });

  test('what is not there, or no namespace', async () => {
    expect(await failure(netnsPath(machine, 'ot-nowhere'))).toMatchObject({
      code: 'ENOENT',
      message: 'no network namespace "ot-nowhere" in /run/netns',
    });
    expect(await failure(netnsPath(machine, '/nonexistent/x'))).toMatchObject({
      code: 'ENOENT',
      message: '/nonexistent/x does not exist',
    });
    expect(await failure(netnsPath(machine, '/etc/passwd/x'))).toMatchObject({ code: 'ENOENT' });
    expect(await failure(netnsPath(machine, '/etc/passwd'))).toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('ordinary file'),
    });
    expect(await failure(netnsPath(machine, '/proc/self/ns/mnt'))).toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('not a network namespace'),
    });
    expect(await failure(netnsPath(machine, { pid: 4_194_304 }))).toMatchObject({
      code: 'ESRCH',
      message: 'no process 4194304 here',
    });
  });

  test('a process that has exited and is not yet waited for', async () => {
    // Still running when its parent becomes one that never waits: the shell itself might.
    const parent = spawn('sh', ['-c', 'sleep 2 & echo $!; exec sleep 60']);
    const [, pid = ''] = await parent.waitFor(/(\d+)\n/, 'stdout');
    while (!/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')))
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await failure(netnsPath(machine, { pid: Number(pid) }))).toMatchObject({
      code: 'ESRCH',
      message: `process ${pid} has exited`,
    });
  });
});

describeWith(['root', 'ip'], 'named namespaces', () => {
  const saved = process.env.OVERNS_NETNS_DIR;
  afterEach(() => {
    if (saved === undefined) delete process.env.OVERNS_NETNS_DIR;
    else process.env.OVERNS_NETNS_DIR = saved;
  });

  test('by name, path, pid: the same namespace', async () => {
    const netns = await createNetns();
    const inside = netns.spawn('sh', ['-c', 'echo ready; exec sleep 60']);
    await inside.waitFor(/ready/, 'stdout');
    const identity = await netnsIdentity(machine, netns.path);
    for (const [ref, description] of [
      [netns.name, `netns:${netns.name}`],
      [`netns:${netns.name}`, `netns:${netns.name}`],
      [{ netns: netns.name }, `netns:${netns.name}`],
      [netns.path, netns.path],
      [{ path: netns.path }, netns.path],
      [`pid:${inside.pid}`, `pid:${inside.pid}`],
      [{ pid: inside.pid }, `pid:${inside.pid}`],
    ] as const) {
      const found = await find(ref, nowhere);
      expect(found, JSON.stringify(ref)).toMatchObject({ identity, description });
      expect(await netnsIdentity(machine, found.path)).toBe(identity);
    }
    expect(identity).not.toBe(await netnsIdentity(machine, '/proc/self/ns/net'));
  });

  test('in a directory of their own', async () => {
    const netns = await createNetns();
    const directory = folder();
    symlinkSync(netns.path, join(directory, 'blue'));
    writeFileSync(join(directory, 'leftover'), '');
    process.env.OVERNS_NETNS_DIR = directory;
    expect(await listNetns(machine)).toEqual(['blue']);
    expect(await netnsIdentity(machine, await netnsPath(machine, 'blue'))).toBe(
      await netnsIdentity(machine, netns.path),
    );
    const error = await failure(netnsPath(machine, netns.name));
    expect(error.message).toBe(`no network namespace "${netns.name}" in ${directory}`);
    expect(await failure(netnsPath(machine, 'leftover'))).toMatchObject({
      code: 'EINVAL',
      hint: expect.stringContaining('ip netns delete leftover'),
    });
    process.env.OVERNS_NETNS_DIR = join(directory, 'none');
    expect(await listNetns(machine)).toEqual([]);
  });

  test('only those that live are listed', async () => {
    const netns = await createNetns();
    expect(await listNetns(machine)).toContain(netns.name);
    await netns.remove();
    expect(await listNetns(machine)).not.toContain(netns.name);
  });
});

describeWith(['root', 'docker'], 'containers of a real Docker', () => {
  let docker: Docker;
  beforeAll(async () => {
    docker = await Docker.start();
  });
  const options = (): { docker: string } => ({ docker: docker.socket });

  test('by name, short id and id', async () => {
    const container = await docker.run('demo');
    onCleanup(() => container.remove());
    const identity = await netnsIdentity(machine, container.path);
    for (const ref of [
      'docker:demo',
      'demo',
      { docker: 'demo' },
      `docker:${container.id}`,
      container.id.slice(0, 12),
    ]) {
      expect(await find(ref, options()), JSON.stringify(ref)).toMatchObject({
        identity,
        id: container.id,
        path: container.path,
      });
    }
  });

  test("its name comes before a namespace's, docker: and netns: say which is meant", async () => {
    const netns = await createNetns();
    const container = await docker.run(netns.name);
    onCleanup(() => container.remove());
    expect((await find(netns.name, options())).id).toBe(container.id);
    expect((await find(`netns:${netns.name}`, options())).identity).toBe(await netnsIdentity(machine, netns.path));
    await container.remove();
    expect((await find(netns.name, options())).identity).toBe(await netnsIdentity(machine, netns.path));
  });

  test('DOCKER_HOST', async () => {
    const container = await docker.run('by-env');
    onCleanup(() => container.remove());
    const saved = process.env.DOCKER_HOST;
    process.env.DOCKER_HOST = docker.host;
    onCleanup(() => {
      if (saved === undefined) delete process.env.DOCKER_HOST;
      else process.env.DOCKER_HOST = saved;
    });
    expect((await find('docker:by-env')).id).toBe(container.id);
  });

  test('stopped, started again, restarted, removed', async () => {
    const container = await docker.run('changing');
    onCleanup(() => container.remove());
    const first = await find('docker:changing', options());
    await docker.cli(['kill', 'changing']);
    expect(await failure(find('docker:changing', options()))).toMatchObject({
      code: 'OVERNS_NOT_RUNNING',
      message: 'container "changing" is not running (exited)',
      hint: 'docker start changing',
    });
    await docker.cli(['start', 'changing']);
    const again = await find('docker:changing', options());
    expect(again.id).toBe(first.id);
    expect(again.path).not.toBe(first.path);
    await container.remove();
    expect(await failure(find('docker:changing', options()))).toMatchObject({ code: 'ENOENT' });
  });

  test("the host's network is refused, another container's is taken", async () => {
    const host = await docker.run('on-host', { net: 'host' });
    const main = await docker.run('main');
    const joined = await docker.run('joined', { net: 'container:main' });
    onCleanup(() => Promise.all([host, main, joined].map((each) => each.remove())));
    expect(await failure(find('docker:on-host', options()))).toMatchObject({
      code: 'OVERNS_HOST_NETWORK',
      hint: expect.stringContaining('--net=none'),
    });
    expect((await find('docker:joined', options())).identity).toBe((await find('docker:main', options())).identity);
  });

  test('paused is running', async () => {
    const container = await docker.run('paused');
    onCleanup(() => container.remove());
    const paused = await docker.cli(['pause', 'paused'], { check: false });
    if (paused.code !== 0) return;
    expect((await find('docker:paused', options())).id).toBe(container.id);
    await docker.cli(['unpause', 'paused']);
  });

  test('its SandboxKey is no namespace here, and not taken for one', async () => {
    const container = await docker.run('key');
    onCleanup(() => container.remove());
    // The daemon has a mount namespace of its own.
    expect(['ENOENT', 'EINVAL']).toContain((await failure(netnsPath(machine, container.sandboxKey))).code);
    expect((await find('docker:key', options())).path).toBe(container.path);
    const inside = await exec('nsenter', [
      `--mount=/proc/${docker.pid}/ns/mnt`,
      'stat',
      '-fc',
      '%T',
      container.sandboxKey,
    ]);
    expect(inside.stdout.trim()).toBe('nsfs');
  });
});
