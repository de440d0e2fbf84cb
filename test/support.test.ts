import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createNetns, manyHosts, type Netns, twoHosts } from './support/netns.js';

describe('the support for tests', () => {
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
      await expect(shared.exec('sh', ['-c', 'echo no such thing >&2; exit 3'])).rejects.toThrow('exit status 3: no such thing');
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
});
