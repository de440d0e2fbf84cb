/** Where Docker is said to listen, by its environment, contexts and certificates; TLS with a server that asks for both. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { dockerEngine } from '../../lib/overlay/targets/docker.js';
import { dockerConnection, parseDockerAddress } from '../../lib/overlay/targets/docker-address.js';
import { EngineClient } from '../../lib/overlay/targets/engine-api.js';
import { onCleanup } from '../support/cleanup.js';
import { exec } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'ot-docker-home-'));
  onCleanup(() => rmSync(home, { recursive: true, force: true }));
  for (const name of [
    'DOCKER_HOST',
    'DOCKER_CONTEXT',
    'DOCKER_TLS_VERIFY',
    'DOCKER_TLS',
    'DOCKER_CERT_PATH',
    'XDG_RUNTIME_DIR',
  ])
    vi.stubEnv(name, undefined);
  vi.stubEnv('DOCKER_CONFIG', home);
});
afterEach(() => vi.unstubAllEnvs());

const refusal = (words: RegExp) =>
  expect.objectContaining({ code: 'OVERNS_DOCKER', message: expect.stringMatching(words) });

describe('addresses', () => {
  test.each([
    ['ssh://root@host', /run overns on that machine/],
    ['npipe:////./pipe/docker_engine', /Windows/],
    ['fd://', /what the daemon is started with/],
    ['tcp://10.0.0.1:2375', /run overns on the machine of that Docker/],
    ['https://10.0.0.1:2376', /run overns on the machine of that Docker/],
    ['nonsense', /unix:\/\/\/PATH/],
    ['x'.repeat(10_000), /^.{0,300}$/],
  ])('%.40s: says why not', (given, why) => {
    expect(() => parseDockerAddress(given)).toThrow(why);
    vi.stubEnv('DOCKER_HOST', given);
    expect(() => dockerConnection()).toThrow(refusal(/^DOCKER_HOST: /));
  });
});

describe('contexts', () => {
  const context = (name: string, meta: unknown): string => {
    const id = createHash('sha256').update(name).digest('hex');
    mkdirSync(join(home, 'contexts', 'meta', id), { recursive: true });
    writeFileSync(
      join(home, 'contexts', 'meta', id, 'meta.json'),
      typeof meta === 'string' ? meta : JSON.stringify(meta),
    );
    return id;
  };
  const current = (name: unknown): void =>
    writeFileSync(join(home, 'config.json'), JSON.stringify({ currentContext: name }));
  const endpoint = (Host: unknown, more = {}): object => ({ Name: 'x', Endpoints: { docker: { Host, ...more } } });

  test('the current one, DOCKER_CONTEXT before it, DOCKER_HOST before both', () => {
    expect(dockerConnection().shown).toBe('/var/run/docker.sock');
    context('rootless', endpoint('unix:///run/user/1000/docker.sock'));
    context('other', endpoint('unix:///run/other.sock'));
    current('rootless');
    expect(dockerConnection().shown).toBe('/run/user/1000/docker.sock');
    vi.stubEnv('DOCKER_CONTEXT', 'other');
    expect(dockerConnection().shown).toBe('/run/other.sock');
    vi.stubEnv('DOCKER_CONTEXT', 'default');
    expect(dockerConnection().shown).toBe('/var/run/docker.sock');
    vi.stubEnv('DOCKER_CONTEXT', 'nowhere');
    vi.stubEnv('DOCKER_HOST', 'unix:///run/host.sock');
    expect(dockerConnection().shown).toBe('/run/host.sock');
    expect(dockerConnection('/run/said.sock').shown).toBe('/run/said.sock');
  });

  test.each([
    ['one that there is not', undefined],
    ['no JSON', '{'],
    ['no endpoint', { Endpoints: null }],
    ['no host', endpoint(7)],
    ['another machine', endpoint('ssh://me@there')],
  ])('%s is said by its name', (_what, meta) => {
    if (meta !== undefined) context('mine', meta);
    current('mine');
    expect(() => dockerConnection()).toThrow(refusal(/Docker's context "mine" \(.*config\.json\)/));
    vi.stubEnv('DOCKER_CONTEXT', 'mine');
    expect(() => dockerConnection()).toThrow(refusal(/Docker's context "mine" \(DOCKER_CONTEXT\)/));
  });

  test.each(['{', '[]', 'null', '{"currentContext": 7}', '{"currentContext": ""}'])(
    '%s in config.json is passed over',
    (text) => {
      writeFileSync(join(home, 'config.json'), text);
      expect(dockerConnection().shown).toBe('/var/run/docker.sock');
    },
  );

  test('its certificates', () => {
    const id = context('secure', endpoint('tcp://127.0.0.1:2376', { SkipTLSVerify: true }));
    current('secure');
    expect(dockerConnection().tlsOptions).toBeUndefined();
    const files = join(home, 'contexts', 'tls', id, 'docker');
    mkdirSync(files, { recursive: true });
    for (const name of ['ca', 'cert', 'key']) writeFileSync(join(files, `${name}.pem`), `the ${name}`);
    expect(dockerConnection()).toMatchObject({
      origin: 'https://127.0.0.1:2376',
      tlsOptions: { ca: 'the ca', cert: 'the cert', key: 'the key', rejectUnauthorized: false },
    });
  });
});

describe('TLS by the environment', () => {
  test('asked for, but not of a unix socket; files that are missing are named', () => {
    vi.stubEnv('DOCKER_TLS_VERIFY', '1');
    expect(dockerConnection().tlsOptions).toBeUndefined();
    expect(dockerConnection('tcp://127.0.0.1:2376')).toMatchObject({ tlsOptions: { rejectUnauthorized: true } });
    vi.stubEnv('DOCKER_CERT_PATH', home);
    expect(() => dockerConnection('tcp://127.0.0.1:2376')).toThrow(refusal(/DOCKER_CERT_PATH: .*ca\.pem/));
    writeFileSync(join(home, 'ca.pem'), 'ca');
    writeFileSync(join(home, 'cert.pem'), 'cert');
    expect(() => dockerConnection('tcp://127.0.0.1:2376')).toThrow(refusal(/DOCKER_CERT_PATH: .*key\.pem/));
    vi.stubEnv('DOCKER_TLS_VERIFY', '');
    expect(dockerConnection('tcp://127.0.0.1:2375').tlsOptions).toBeUndefined();
  });
});

describe('another daemon', () => {
  test("a rootless Docker's or Podman's socket is pointed to where the usual one is missing", async () => {
    vi.stubEnv('XDG_RUNTIME_DIR', home);
    await using docker = new EngineClient(dockerEngine, { docker: join(home, 'none.sock') });
    const before = (await docker.version().catch((error) => error)) as Error & { hint: string };
    expect(before.message).toContain('no such socket');
    mkdirSync(join(home, 'podman'));
    writeFileSync(join(home, 'podman', 'podman.sock'), '');
    const after = (await docker.version().catch((error) => error)) as Error & { hint: string };
    expect(after.hint).toContain(`DOCKER_HOST=unix://${join(home, 'podman', 'podman.sock')}`);
  });
});

describeWith(['consul'], 'a daemon with TLS', () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ot-docker-tls-'));
    await exec('consul', ['tls', 'ca', 'create'], { cwd: folder });
    for (const role of ['-server', '-client']) await exec('consul', ['tls', 'cert', 'create', role], { cwd: folder });
    return () => rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');

  function certificates(...names: readonly ('ca' | 'cert' | 'key')[]): void {
    const files = { ca: 'consul-agent-ca.pem', cert: 'dc1-client-consul-0.pem', key: 'dc1-client-consul-0-key.pem' };
    for (const name of names) writeFileSync(join(home, `${name}.pem`), pem(files[name]));
    vi.stubEnv('DOCKER_CERT_PATH', home);
    vi.stubEnv('DOCKER_TLS_VERIFY', '1');
  }

  async function daemon(): Promise<string> {
    const server: Server = createServer(
      {
        key: pem('dc1-server-consul-0-key.pem'),
        cert: pem('dc1-server-consul-0.pem'),
        ca: pem('consul-agent-ca.pem'),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (_request, response) => response.end(JSON.stringify({ Version: '28.0' })),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onCleanup(() => {
      server.closeAllConnections();
      server.close();
    });
    return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const version = async (): Promise<string> => {
    await using docker = new EngineClient(dockerEngine);
    return await docker.version();
  };

  test('is spoken to, with certificates on both sides', async () => {
    vi.stubEnv('DOCKER_HOST', await daemon());
    certificates('ca', 'cert', 'key');
    expect(await version()).toBe('28.0');
    // The address itself can say so.
    vi.stubEnv('DOCKER_HOST', (process.env.DOCKER_HOST as string).replace('tcp', 'https'));
    expect(await version()).toBe('28.0');
  });

  test('without a certificate of ours, with another authority, and in the clear: each is told apart', async () => {
    vi.stubEnv('DOCKER_HOST', await daemon());
    certificates('ca');
    await expect(version()).rejects.toMatchObject({
      code: 'OVERNS_DOCKER',
      message: expect.stringContaining('ended the TLS connection'),
      hint: expect.stringContaining('cert.pem'),
    });
    const other = mkdtempSync(join(folder, 'other-'));
    await exec('consul', ['tls', 'ca', 'create'], { cwd: other });
    certificates('cert', 'key');
    writeFileSync(join(home, 'ca.pem'), readFileSync(join(other, 'consul-agent-ca.pem')));
    await expect(version()).rejects.toMatchObject({
      code: 'OVERNS_DOCKER',
      message: expect.stringContaining('its certificate is not trusted'),
      hint: expect.stringContaining('ca.pem'),
    });
    vi.stubEnv('DOCKER_TLS_VERIFY', '');
    await expect(version()).rejects.toMatchObject({ code: 'OVERNS_DOCKER' });
  });

  test('TLS to a daemon that has none', async () => {
    const server = createHttpServer((_request, response) => response.end('{}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onCleanup(() => void server.close());
    vi.stubEnv('DOCKER_HOST', `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
    certificates('ca', 'cert', 'key');
    await expect(version()).rejects.toMatchObject({
      code: 'OVERNS_DOCKER',
      message: expect.stringContaining('it does not speak TLS'),
    });
  });

  test('that wants TLS and is spoken to in the clear says so', async () => {
    const server = createHttpServer((_request, response) =>
      response.writeHead(400).end('Client sent an HTTP request to an HTTPS server.\n'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onCleanup(() => void server.close());
    await using docker = new EngineClient(dockerEngine, {
      docker: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    });
    await expect(docker.inspect('demo')).rejects.toMatchObject({
      code: 'OVERNS_DOCKER',
      message: expect.stringContaining('wants TLS'),
      hint: expect.stringContaining('DOCKER_TLS_VERIFY'),
    });
  });
});
