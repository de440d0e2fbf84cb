/** netns.spawn and netns.exec: programs in a namespace, with their streams, their end, and nothing left of them. */
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { netns, ProgramError } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { createNetns, exec, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

const INDEX = new URL('../../dist/index.js', import.meta.url).href;

/** Descriptors of this process that are pipes. */
async function pipes(): Promise<number> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith('pipe:')).length;
}

async function settles(what: () => Promise<unknown>, at: unknown): Promise<void> {
  for (let tries = 0; (await what()) !== at && tries < 300; tries++) await sleep(10);
  expect(await what()).toBe(at);
}

/** What the kernel says of a process: R, S, Z, ...; '' when it is gone. */
async function stateOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return /\) (.)/.exec(stat)?.[1] ?? '';
}

async function temporary(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ot-program-'));
  onCleanup(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

describeWith(['root', 'ip'], 'programs in a namespace', () => {
  test('run there, while this process stays where it is', async () => {
    const space = await createNetns();
    await space.ip('link add one type bridge');
    const own = await readlink('/proc/self/ns/net');
    const { stdout } = await netns.exec(space.name, 'readlink', ['/proc/self/ns/net']);
    expect(stdout.trim()).toBe(
      (await exec('ip', ['netns', 'exec', space.name, 'readlink', '/proc/self/ns/net'])).stdout.trim(),
    );
    expect(stdout.trim()).not.toBe(own);
    const threads = await readdir('/proc/self/task');
    for (const thread of threads) expect(await readlink(`/proc/self/task/${thread}/ns/net`).catch(() => own)).toBe(own);
    // /sys of the namespace, as `ip netns exec` shows it; the caller's without mounts of its own.
    expect((await netns.exec({ path: space.path }, 'ls', ['/sys/class/net'])).stdout).toBe('lo\none\n');
    const shared = await netns.exec(space.name, 'ls', ['/sys/class/net'], { ownMounts: false });
    expect(shared.stdout).not.toContain('one');
    const mounts = await netns.exec(space.name, 'readlink', ['/proc/self/ns/mnt'], { ownMounts: false });
    expect(mounts.stdout.trim()).toBe(await readlink('/proc/self/ns/mnt'));
    // By the process that lives in it.
    await using sleeper = await netns.spawn(space.name, 'sleep', ['60']);
    expect((await netns.exec({ pid: sleeper.pid }, 'readlink', ['/proc/self/ns/net'])).stdout).toBe(stdout);
  });

  test('see the files of /etc/netns/NAME in the place of those in /etc', async () => {
    const space = await createNetns();
    const directory = `/etc/netns/${space.name}`;
    await mkdir(directory, { recursive: true });
    onCleanup(() => rm(directory, { recursive: true, force: true }));
    // A file that every machine has.
    await writeFile(`${directory}/os-release`, '192.0.2.7 only-here\n');
    const own = await readFile('/etc/os-release', 'utf8');
    expect((await netns.exec(space.name, 'cat', ['/etc/os-release'])).stdout).toBe('192.0.2.7 only-here\n');
    expect((await netns.exec(space.path, 'cat', ['/etc/os-release'])).stdout).toBe('192.0.2.7 only-here\n');
    expect((await netns.exec(space.name, 'cat', ['/etc/os-release'], { ownMounts: false })).stdout).toBe(own);
    expect(await readFile('/etc/os-release', 'utf8')).toBe(own);
    await writeFile(`${directory}/no-such-file`, '');
    await expect(netns.exec(space.name, 'true')).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'mount',
      message: expect.stringContaining(`${directory}/no-such-file on /etc/no-such-file`),
    });
  });

  test('streams: a megabyte there and back, descriptors, nothing', async () => {
    const before = await pipes();
    const space = await createNetns();
    const sent = Buffer.alloc(1 << 20, 'abcdefg');
    const back = await netns.exec(space.name, 'cat', [], { input: sent, encoding: 'buffer' });
    expect(back.stdout.equals(sent)).toBe(true);
    // One that does not read what it is given is no error.
    expect(await netns.exec(space.name, 'true', [], { input: sent })).toEqual({ stdout: '', stderr: '' });
    // The two descriptors crossed, and no stdin.
    const script = 'echo out; echo err >&2; cat';
    const file = join(await temporary(), 'file');
    const { open } = await import('node:fs/promises');
    const handle = await open(file, 'w');
    await using both = await netns.spawn(space.name, 'sh', ['-c', script], { stdio: ['ignore', handle.fd, handle.fd] });
    expect([both.stdin, both.stdout, both.stderr]).toEqual([null, null, null]);
    expect(await both.exited).toEqual({ code: 0, signal: null });
    await handle.close();
    expect(await readFile(file, 'utf8')).toBe('out\nerr\n');
    await settles(pipes, before);
  });

  test('arguments, environment, directory, name: as given', async () => {
    const space = await createNetns();
    const odd = ['', ' a  b', '"$(id)"', "'", 'ü\n', '-n'];
    const { stdout } = await netns.exec(space.name, 'printf', ['%s|', ...odd]);
    expect(stdout).toBe(odd.map((each) => `${each}|`).join(''));
    const directory = await temporary();
    const env = { PATH: process.env.PATH, ONLY: 'this', NOT: undefined };
    expect((await netns.exec(space.name, 'env', [], { env })).stdout).toBe(`PATH=${env.PATH}\nONLY=this\n`);
    expect((await netns.exec(space.name, 'pwd', ['-P'], { cwd: directory })).stdout.trim()).toBe(directory);
    expect((await netns.exec(space.name, 'sh', ['-c', 'echo $0'], { argv0: 'other' })).stdout.trim()).toBe('other');
    // Looked for along its own PATH, past what may not be run.
    await mkdir(join(directory, 'a'));
    await mkdir(join(directory, 'b'));
    await writeFile(join(directory, 'a', 'tool'), '#!/bin/sh\necho a', { mode: 0o644 });
    await writeFile(join(directory, 'b', 'tool'), '#!/bin/sh\necho b', { mode: 0o755 });
    const PATH = `${directory}/none:${directory}/a:${directory}/b`;
    expect((await netns.exec(space.name, 'tool', [], { env: { PATH } })).stdout).toBe('b\n');
    expect((await netns.exec(space.name, './tool', [], { cwd: join(directory, 'b') })).stdout).toBe('b\n');
    const refused = netns.exec(space.name, 'tool', [], { env: { PATH: `${directory}/a` } });
    await expect(refused).rejects.toMatchObject({ code: 'EACCES', hint: expect.stringContaining('chmod') });
    // No signal is ignored or blocked, as SIGPIPE is here.
    const status = (await netns.exec(space.name, 'cat', ['/proc/self/status'])).stdout;
    expect(status).toMatch(/^SigBlk:\t0+$/m);
    // The two below the first real-time signal are the C library's own.
    expect(status).toMatch(/^SigIgn:\t0+[018]*0{7}$/m);
    // And no descriptor beyond those that any child has.
    const fds = await netns.exec(space.name, 'ls', ['/proc/self/fd']);
    expect(fds.stdout).toBe((await exec('ls', ['/proc/self/fd'])).stdout);
  });

  test('how it ended', async () => {
    const space = await createNetns();
    const failing = netns.exec(space.name, 'sh', ['-c', 'echo some; echo worse >&2; exit 7']);
    await expect(failing).rejects.toThrow(ProgramError);
    await expect(failing).rejects.toMatchObject({
      code: 'OVERNS_EXIT',
      message: 'sh: exit status 7: worse',
      exit: { code: 7, signal: null },
      stdout: 'some\n',
      stderr: 'worse\n',
    });
    const killed = netns.exec(space.name, 'sh', ['-c', 'kill -SEGV $$']);
    await expect(killed).rejects.toMatchObject({ message: 'sh: ended by SIGSEGV', exit: { signal: 'SIGSEGV' } });
    await using child = await netns.spawn(space.name, 'sleep', ['60']);
    expect(child.exit).toBeUndefined();
    expect(child.kill(0)).toBe(true);
    expect(child.kill('SIGUSR1')).toBe(true);
    expect(await child.exited).toEqual({ code: null, signal: 'SIGUSR1' });
    expect(child.exit).toEqual({ code: null, signal: 'SIGUSR1' });
    expect(child.kill()).toBe(false);
    expect(await stateOf(child.pid)).toBe('');
  });

  test('what cannot be started says why, and leaves nothing', async () => {
    const before = await pipes();
    const space = await createNetns();
    await expect(netns.exec(space.name, 'no-such-program')).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'posix_spawn',
      message: expect.stringContaining('cannot start no-such-program'),
      hint: expect.stringContaining('PATH'),
    });
    const nowhere = netns.spawn(space.name, 'true', [], { cwd: '/no/such/directory' });
    await expect(nowhere).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'chdir',
      hint: expect.stringContaining('cwd'),
    });
    await expect(netns.spawn(space.name, '/etc/passwd')).rejects.toMatchObject({ code: 'EACCES' });
    await expect(netns.spawn('ot-nowhere', 'true')).rejects.toMatchObject({ code: 'ENOENT' });
    const closed = netns.spawn(space.name, 'true', [], { stdio: ['ignore', 999_999, 'ignore'] });
    await expect(closed).rejects.toMatchObject({ code: 'EBADF' });
    await settles(pipes, before);
  });

  test('aborted, or out of time: it ends, and what it has started is not waited for', async () => {
    const before = await pipes();
    const space = await createNetns();
    const pidFile = join(await temporary(), 'pid');
    const slow = ['-c', `echo begun; sleep 60 & echo $! > ${pidFile}; wait`];
    const late = netns.exec(space.name, 'sh', slow, { timeout: 300 });
    await expect(late).rejects.toMatchObject({ code: 'ETIMEDOUT', exit: { signal: 'SIGTERM' }, stdout: 'begun\n' });
    process.kill(Number(await readFile(pidFile, 'utf8')), 'SIGKILL');
    const aborted = netns.exec(space.name, 'sleep', ['60'], { signal: AbortSignal.timeout(100) });
    await expect(aborted).rejects.toMatchObject({ code: 'ABORT_ERR' });
    await expect(netns.exec(space.name, 'true', [], { signal: AbortSignal.abort() })).rejects.toThrow(/aborted/);
    // Deaf to the signal: killed after two seconds.
    const deaf = 'trap "" TERM; echo deaf; while :; do sleep 60 & wait; done';
    const start = performance.now();
    await using stubborn = await netns.spawn(space.name, 'sh', ['-c', deaf], { timeout: 200 });
    expect(await stubborn.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(performance.now() - start).toBeGreaterThan(2100);
    const loud = netns.exec(space.name, 'yes', [], { maxBuffer: 1000 });
    await expect(loud).rejects.toMatchObject({ code: 'ENOBUFS', exit: { signal: 'SIGKILL' } });
    const error = (await loud.catch((thrown) => thrown)) as ProgramError;
    expect(error.stdout.length).toBe(1000);
    await stubborn[Symbol.asyncDispose]();
    await settles(pipes, before);
  });

  test('fifty at once, none left as a zombie', async () => {
    const space = await createNetns();
    const before = await pipes();
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, n) => netns.exec(space.name, 'sh', ['-c', `echo ${n}`])),
    );
    expect(all.map(({ stdout }) => Number(stdout))).toEqual(Array.from({ length: 50 }, (_, n) => n));
    const children = (await exec('ps', ['--ppid', String(process.pid), '-o', 'stat=,args='], { check: false })).stdout;
    expect(children.split('\n').filter((line) => line.startsWith('Z'))).toEqual([]);
    await settles(pipes, before);
  });

  test('with the worker or the process that started it, it ends', async () => {
    const space = await createNetns();
    const before = await pipes();
    const code = `
      const { workerData, parentPort } = require('node:worker_threads');
      import(workerData.index).then(async ({ netns }) => {
        const child = await netns.spawn(workerData.name, 'sleep', ['60']);
        parentPort.postMessage(child.pid);
        for (;;) await netns.exec(workerData.name, 'true');
      });`;
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(code, { eval: true, workerData: { index: INDEX, name: space.name } });
      const [pid] = await once(worker, 'message');
      expect(await stateOf(pid)).not.toBe('');
      await sleep(Math.random() * 20);
      await worker.terminate();
      expect(await stateOf(pid)).toBe('');
    }
    const program = `
      const { netns } = await import(${JSON.stringify(INDEX)});
      const child = await netns.spawn(${JSON.stringify(space.name)}, 'sleep', ['60']);
      console.log(child.pid);
      if (process.argv[1] === 'exit') process.exit(0);
      child.unref();`;
    for (const how of ['exit', 'unref']) {
      const { stdout } = await exec(process.execPath, ['--input-type=module', '-e', program, how]);
      await settles(() => stateOf(Number(stdout)), '');
    }
    await settles(pipes, before);
  });
});

test('what is no argument is refused by name', async () => {
  // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
  const { spawn } = netns as any;
  const name = uniqueName();
  await expect(spawn(name)).rejects.toThrow(/^command: /);
  await expect(spawn(name, '')).rejects.toThrow(/^command: /);
  await expect(spawn(name, 'a\0b')).rejects.toThrow(/^command: /);
  await expect(spawn(name, 'true', 'args')).rejects.toThrow(/^args: /);
  await expect(spawn(name, 'true', ['a', 1])).rejects.toThrow(/^args\[1\]: /);
  await expect(spawn(name, 'true', [], { env: { 'A=B': 'c' } })).rejects.toThrow(/^env: /);
  await expect(spawn(name, 'true', [], { env: { A: 1 } })).rejects.toThrow(/^env\.A: /);
  await expect(spawn(name, 'true', [], { stdio: ['pipe'] })).rejects.toThrow(/^stdio: /);
  await expect(spawn(name, 'true', [], { stdio: ['pipe', 'file', -1] })).rejects.toThrow(/^stdio\[1\]: /);
  await expect(spawn(name, 'true', [], { timeout: 0 })).rejects.toThrow(/^timeout: /);
  await expect(spawn(name, 'true', [], { killSignal: 'SIGNONE' })).rejects.toThrow(/^killSignal: /);
  await expect(spawn(name, 'true', [], { ownMounts: 1 })).rejects.toThrow(/^ownMounts: /);
  await expect(spawn(name, 'true', [], { cwd: 1 })).rejects.toThrow(/^cwd: /);
  await expect(spawn(name, 'true', [], 7)).rejects.toThrow(/^options: /);
});
