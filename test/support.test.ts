import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Consul } from './support/consul.js';
import { Docker } from './support/docker.js';
import { http } from './support/http.js';
import { createNetns, manyHosts, type Netns, twoHosts } from './support/netns.js';
import { ping } from './support/ping.js';
import { describeWith, testWith } from './support/requirements.js';

describeWith(['root', 'ip', 'ping'], 'the support for tests', () => {
  describe('namespaces', () => {
    let shared: Netns;
    let inTest: Netns | undefined;
    beforeAll(async () => {
      shared = await createNetns();
    });
    afterAll(() => {
      expect(existsSync(shared.path)).toBe(true);
    });

    test('made in a test', async () => {
      inTest = await createNetns();
      expect(existsSync(inTest.path)).toBe(true);
      inTest.spawn('sleep', ['1000']);
    });
    test('are gone after it; those of a beforeAll stay', () => {
      expect(existsSync(inTest?.path ?? '/')).toBe(false);
      expect(existsSync(shared.path)).toBe(true);
    });
    test('run commands inside', async () => {
      const { stdout } = await shared.exec('cat', ['-'], { input: 'hello' });
      expect(stdout).toBe('hello');
      await expect(shared.exec('sh', ['-c', 'echo no such thing >&2; exit 3'])).rejects.toThrow(
        'exit status 3: no such thing',
      );
      const links = await shared.ipJson('link show');
      expect(links.map((link) => link.ifname)).toEqual(['lo']);
    });
  });

  test('two hosts reach each other over IPv4 and IPv6', async () => {
    const [a, b] = await twoHosts({ ipv6: true, mtu: 1400 });
    await a.exec('ping', ['-c1', '-W2', b.ip4]);
    await b.exec('ping', ['-c1', '-W2', a.ip6]);
    expect((await a.ipJson('link show under0'))[0].mtu).toBe(1400);
  });

  test('many hosts reach each other', async () => {
    const hosts = await manyHosts(3);
    await hosts[0]?.exec('ping', ['-c1', '-W2', hosts[2]?.ip4 ?? '']);
  });

  test('ping tells what came back', async () => {
    const [a, b] = await twoHosts();
    const answered = await ping(a, b.ip4, { count: 3, interval: 0.01 });
    expect(answered).toMatchObject({ sent: 3, received: 3, lost: 0, duplicates: 0, errors: [] });
    expect(answered.replies.map((reply) => reply.seq)).toEqual([1, 2, 3]);
    const silent = await ping(a, '10.0.0.99', { wait: 0.2 });
    expect(silent).toMatchObject({ sent: 1, received: 0, lost: 1, firstMs: undefined });
    const large = await ping(a, b.ip4, { size: 1473, dontFragment: true, wait: 0.2 });
    expect(large.errors.join()).toContain('message too long');
  });

  testWith(['consul'], 'Consul serves here and inside a namespace', async () => {
    const [a, b] = await twoHosts();
    const consul = await Consul.start({ netns: a, address: a.ip4 });
    await consul.putEndpoint('demo', { ip: '192.168.0.2', mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10' });
    expect(await consul.keys('demo')).toEqual(['demo/arp/192.168.0.2', 'demo/fib/02:42:c0:a8:00:02']);
    const seen = await http(b, 'GET', `${consul.url}/v1/kv/demo/arp/192.168.0.2?raw`);
    expect(seen).toEqual({ status: 200, body: '02:42:c0:a8:00:02' });
  });

  testWith(['consul'], 'Consul with ACLs lets nobody in without the token', async () => {
    await using consul = await Consul.start({ acl: true });
    expect((await consul.put('a', 'b')).status).toBe(200);
    expect(await consul.get('a')).toBe('b');
    expect((await http(undefined, 'PUT', `${consul.url}/v1/kv/a`, 'c')).status).toBe(403);
    await consul.restart();
    expect(await consul.get('a')).toBeUndefined();
  });

  testWith(
    ['docker', 'busybox'],
    'a Docker daemon of our own runs containers and leaves the machine alone',
    async () => {
      const forwarding = () => readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8');
      const before = forwarding();
      const docker = await Docker.start();
      const container = await docker.run('one');
      expect(readFileSync(`/proc/${container.pid}/cmdline`, 'utf8')).toContain('sleep');
      expect(readlinkSync(container.path)).not.toBe(readlinkSync('/proc/self/ns/net'));
      const links = JSON.parse((await container.exec('ip', ['-j', 'link'])).stdout) as { ifname: string }[];
      expect(links.map((link) => link.ifname)).toEqual(['lo']);
      expect((await container.run('hostname')).stdout.trim()).toBe(container.id.slice(0, 12));
      await docker.cli(['restart', '-t0', 'one']);
      const again = await container.inspect();
      expect(again.pid).not.toBe(container.pid);
      expect(forwarding()).toBe(before);
      await docker.stop();
      expect(existsSync(`/proc/${again.pid}`)).toBe(false);
      expect(existsSync(docker.socket)).toBe(false);
    },
    60_000,
  );
});
