/** What Docker's API can answer, right and wrong, from a server of the test's own on a unix socket. */
import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ContainerRef, checkContainer, resolveContainer } from '../../lib/overlay/targets/container.js';
import { dockerEngine } from '../../lib/overlay/targets/docker.js';
import { dockerConnection, parseDockerAddress } from '../../lib/overlay/targets/docker-address.js';
import { EngineClient, type EngineOptions } from '../../lib/overlay/targets/engine-api.js';
import { machine } from '../../lib/system/system.js';
import { onCleanup } from '../support/cleanup.js';

const ID = 'a'.repeat(64);

interface Inspection {
  readonly pid?: number;
  readonly status?: string;
  readonly net?: string;
  readonly key?: string;
  readonly started?: string;
}

function inspection({
  pid = process.pid,
  status = 'running',
  net = 'none',
  key = '',
  started = 'then',
}: Inspection): string {
  return JSON.stringify({
    Id: ID,
    Name: '/demo',
    State: { Pid: pid, Status: status, StartedAt: started },
    HostConfig: { NetworkMode: net },
    NetworkSettings: { SandboxKey: key },
  });
}

/** A server that answers so; its requests. */
async function serve(listener: RequestListener): Promise<{ docker: string; asked: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'ot-docker-api-'));
  const docker = join(folder, 'docker.sock');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(docker, resolve));
  onCleanup(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { docker, asked };
}

const answer =
  (status: number, body: string): RequestListener =>
  (_request, response) =>
    response.writeHead(status).end(body);

const find = (ref: ContainerRef, options: EngineOptions = {}) => resolveContainer(ref, { ...options, system: machine });

const failure = (promise: Promise<unknown>): Promise<Error & { code?: string; hint?: string }> =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error) => error,
  );

let host: string | undefined;
beforeEach(() => {
  host = process.env.DOCKER_HOST;
  delete process.env.DOCKER_HOST;
});
afterEach(() => {
  if (host === undefined) delete process.env.DOCKER_HOST;
  else process.env.DOCKER_HOST = host;
});

describe('where Docker is', () => {
  test.each([
    ['/run/x.sock', '/run/x.sock'],
    ['unix:///run/x.sock', '/run/x.sock'],
    ['tcp://127.0.0.1:2375', 'tcp://127.0.0.1:2375'],
    ['tcp://127.9.9.9', 'tcp://127.9.9.9:2375'],
    ['tcp://localhost:99', 'tcp://localhost:99'],
    ['tcp://localhost:80', 'tcp://localhost:80'],
    ['tcp://[::1]:2375', 'tcp://[::1]:2375'],
    ['http://127.0.0.1:2375/', 'tcp://127.0.0.1:2375'],
    ['https://127.0.0.1', 'tcp://127.0.0.1:2376'],
  ])('%s is taken', (given, shown) => {
    expect(parseDockerAddress(given).shown).toBe(shown);
  });

  test.each([
    '',
    'docker.sock',
    'unix://',
    'unix://docker.sock',
    'ssh://root@host',
    'tcp://',
    'tcp://10.0.0.1:2375',
    'tcp://example.org',
    'tcp://127.0.0.1.example.org',
    'tcp://user:secret@127.0.0.1',
    'tcp://127.0.0.1/path',
    'tcp://127.0.0.1?x',
    'tcp://127.0.0.1:0',
    'tcp://127.0.0.1:65536',
    'npipe:////./pipe/docker_engine',
    'fd://',
    'https://10.0.0.1',
  ])('%j is refused', (given) => {
    expect(() => parseDockerAddress(given)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
  });

  test("DOCKER_HOST counts when nothing is said, and its own mistakes are not the caller's", async () => {
    process.env.DOCKER_HOST = 'unix:///there/it/is';
    expect(dockerConnection().shown).toBe('/there/it/is');
    process.env.DOCKER_HOST = '';
    expect(dockerConnection().shown).toBe('/var/run/docker.sock');
    process.env.DOCKER_HOST = 'tcp://10.0.0.1:2375';
    expect(await failure(find('docker:demo'))).toMatchObject({
      code: 'OVERNS_DOCKER',
      message: expect.stringContaining('DOCKER_HOST'),
    });
  });
});

describe('names', () => {
  test.each(['demo', 'a', 'A.b-c_d', '0a', ID])('%s is asked for', async (name) => {
    const { docker, asked } = await serve(answer(404, '{}'));
    expect(await failure(find({ docker: name }, { docker }))).toMatchObject({ code: 'ENOENT' });
    expect(asked).toEqual([`GET /containers/${name}/json`]);
  });

  test.each(['', '..', '../info', 'a/b', 'a?x=1', 'a%2fb', '-a', '.a', 'a b', 'ü', 'a\n', 'a'.repeat(256)])(
    '%j never reaches a URL',
    async (name) => {
      const { docker, asked } = await serve(answer(200, inspection({})));
      expect(await failure(find({ docker: name }, { docker }))).toMatchObject({
        code: 'ERR_INVALID_ARG_VALUE',
      });
      expect(() => checkContainer({ docker: name })).toThrow();
      expect(asked).toEqual([]);
    },
  );

  test('what is no reference is refused', () => {
    for (const wrong of [null, undefined, 1, {}, [], { docker: 1 }, { netns: 2 }, { pid: '1' }, { path: 1 }]) {
      expect(() => checkContainer(wrong as never)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
    }
    for (const wrong of [
      '',
      'docker:',
      'netns:',
      'pid:',
      'pid:x',
      'pid:0',
      'pid:-1',
      'pid:1.5',
      'pid:99999999',
      'a/b',
      '..',
      { pid: 0 },
      { path: 'relative' },
      { netns: '' },
    ]) {
      expect(() => checkContainer(wrong as never), JSON.stringify(wrong)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
      );
    }
  });
});

describe('what Docker says', () => {
  test.each([
    ['exited', 'docker start demo'],
    ['created', 'docker start demo'],
    ['restarting', 'wait'],
  ])('%s: not running', async (status, hint) => {
    const { docker } = await serve(answer(200, inspection({ pid: 0, status })));
    const error = await failure(find('docker:demo', { docker }));
    expect(error).toMatchObject({ code: 'OVERNS_NOT_RUNNING', message: `container "demo" is not running (${status})` });
    expect(error.hint).toContain(hint);
    // A bare name that Docker knows is Docker's, running or not.
    expect(await failure(find('demo', { docker }))).toMatchObject({ code: 'OVERNS_NOT_RUNNING' });
  });

  test("the host's network is refused, by its name and by the namespace", async () => {
    const named = await serve(answer(200, inspection({ net: 'host' })));
    expect(await failure(find('docker:demo', named))).toMatchObject({ code: 'OVERNS_HOST_NETWORK' });
    // container:ID of one that uses the host's network
    const joined = await serve(answer(200, inspection({ net: 'container:abc' })));
    expect(await failure(find('docker:demo', joined))).toMatchObject({ code: 'OVERNS_HOST_NETWORK' });
  });

  test('a process that is not here', async () => {
    const { docker } = await serve(answer(200, inspection({ pid: 4_194_304 })));
    const error = await failure(find('docker:demo', { docker }));
    expect(error).toMatchObject({ code: 'ESRCH', message: expect.stringContaining('process 4194304') });
    expect(error.hint).toContain('pid namespace');
  });

  test('an ordinary file is not taken for a sandbox', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ot-key-'));
    onCleanup(() => rmSync(folder, { recursive: true }));
    const key = join(folder, 'default');
    writeFileSync(key, '');
    const { docker } = await serve(answer(200, inspection({ pid: 4_194_304, key })));
    expect(await failure(find('docker:demo', { docker }))).toMatchObject({ code: 'ESRCH' });
  });

  test.each([
    [500, '{"message":"something\\nbroke"}', 'something broke'],
    [503, 'plain words', 'plain words'],
    [403, '', 'no reason given'],
  ])('%i: refused in its words', async (status, body, said) => {
    const { docker } = await serve(answer(status, body));
    const error = await failure(find('docker:demo', { docker }));
    expect(error).toMatchObject({ code: 'OVERNS_DOCKER' });
    expect(error.message).toContain(`${status} ${said}`);
  });

  test.each([
    '',
    'null',
    '[]',
    '{}',
    '"x"',
    '{"Id":"x","State":{"Pid":"1"}}',
    '{"Id":"x","State":{"Pid":-1}}',
    '{"Id":',
  ])('%j is no inspection', async (body) => {
    const { docker } = await serve(answer(200, body));
    expect(await failure(find('docker:demo', { docker }))).toMatchObject({
      code: 'OVERNS_DOCKER',
      message: expect.stringContaining("does not speak Docker's API"),
    });
  });

  test('an answer without end is not read to its end', async () => {
    const { docker } = await serve((_request, response) => {
      response.writeHead(200);
      const chunk = Buffer.alloc(1 << 20, 0x20);
      const more = (): void => {
        while (response.write(chunk));
        response.once('drain', more);
      };
      more();
    });
    expect(await failure(find('docker:demo', { docker }))).toMatchObject({ code: 'OVERNS_DOCKER' });
  });

  test('a connection that breaks, and a socket that is none', async () => {
    const { docker } = await serve((request) => request.socket.destroy());
    expect(await failure(find('docker:demo', { docker }))).toMatchObject({ code: 'OVERNS_DOCKER' });
    const absent = await failure(find('docker:demo', { docker: '/nonexistent/docker.sock' }));
    expect(absent).toMatchObject({
      code: 'OVERNS_DOCKER',
      message: 'Docker cannot be reached at /nonexistent/docker.sock: no such socket',
    });
    expect(absent.hint).toContain('DOCKER_HOST');
    expect((await failure(find('docker:demo', { docker: '/etc/passwd' }))).message).toContain('nobody listens there');
  });

  test('cancelled while it says nothing', async () => {
    const { docker } = await serve(() => {});
    const error = await failure(find('docker:demo', { docker, signal: AbortSignal.timeout(50) }));
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    const before = await failure(find('pid:1', { signal: AbortSignal.abort() }));
    expect(before).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
  });

  test('the version, and what is none', async () => {
    const good = await serve(answer(200, '{"Version":"20.10.24"}'));
    await using docker = new EngineClient(dockerEngine, { docker: good.docker });
    expect(await docker.version()).toBe('20.10.24');
    const bad = await serve(answer(200, '<html>'));
    await using other = new EngineClient(dockerEngine, { docker: bad.docker });
    expect(await failure(other.version())).toMatchObject({ code: 'OVERNS_DOCKER' });
  });
});

test('a name that neither Docker nor a namespace has names both places', async () => {
  const { docker } = await serve(answer(404, '{"message":"No such container: nowhere"}'));
  const error = await failure(find('ot-nowhere', { docker }));
  expect(error).toMatchObject({ code: 'ENOENT' });
  expect(error.message).toBe(
    `no container "ot-nowhere": Docker at ${docker} does not know it, and there is no namespace of that name in /run/netns`,
  );
  const without = await failure(find('ot-nowhere', { docker: '/nonexistent' }));
  expect(without.message).toContain(
    'Docker cannot be reached at /nonexistent: no such socket, and there is no namespace',
  );
});

test('a container that restarts while it is looked at is not taken', async () => {
  // The namespace must differ from ours: any process's that has another one will do.
  const other = await otherNamespace();
  if (other === undefined) return;
  let calls = 0;
  const { docker } = await serve((_request, response) =>
    response.end(inspection({ pid: other, started: calls++ === 0 ? 'then' : 'now' })),
  );
  expect(await failure(find('docker:demo', { docker }))).toMatchObject({
    code: 'OVERNS_NOT_RUNNING',
    message: expect.stringContaining('restarted meanwhile'),
  });
});

/** A child in a namespace of its own; undefined where that is not allowed. */
async function otherNamespace(): Promise<number | undefined> {
  const { spawn } = await import('../support/process.js');
  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec sleep 60']);
  try {
    await child.waitFor(/ready/, 'stdout');
  } catch {
    return undefined;
  }
  return readlinkSync(`/proc/${child.pid}/ns/net`) === readlinkSync('/proc/self/ns/net') ? undefined : child.pid;
}
