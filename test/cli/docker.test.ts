/** Containers by Docker's names, through the command line and a real Docker. */
import { beforeAll, expect, test } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { type Container, Docker } from '../support/docker.js';
import { twoHosts, uniqueName } from '../support/netns.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';
import { document, done, overns, refused, refusedJson } from './cli.js';

describeWith(['root', 'ip', 'ping', 'docker'], 'Docker', () => {
  let docker: Docker;
  beforeAll(async () => {
    docker = await Docker.start();
  });

  async function container(name: string, net = 'none'): Promise<Container> {
    const made = await docker.run(name, { net });
    onCleanup(() => made.remove());
    return made;
  }

  async function overlay(): Promise<string> {
    const [a] = await twoHosts();
    const name = uniqueName();
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    return name;
  }

  test('attached by name, with --docker, DOCKER_HOST or OVERNS_DOCKER; the two reach each other', async () => {
    const name = await overlay();
    const [one, two, three] = [await container('one'), await container('two'), await container('three')];
    expect(await done(`attach ${name} docker:one --address 192.168.0.2/24 --docker ${docker.socket}`)).toMatch(
      new RegExp(`^attached docker:one to overlay ${name}: eth0 192\\.168\\.0\\.2/24 `),
    );
    await done(`attach ${name} two --address 192.168.0.3/24`, { env: { DOCKER_HOST: docker.host } });
    await done(`attach ${name} ${three.id.slice(0, 12)} --address 192.168.0.4/24`, {
      env: { OVERNS_DOCKER: docker.socket },
    });
    expect((await ping(one.pid, '192.168.0.3', { count: 3, interval: 0.2 })).received).toBe(3);
    expect((await ping(two.pid, '192.168.0.4', { count: 3, interval: 0.2 })).received).toBe(3);
    expect((await one.run('ip', 'address', 'show', 'eth0')).stdout).toContain('192.168.0.2/24');
    expect(await done(`show ${name}`)).toMatch(/192\.168\.0\.2 +02:42:c0:a8:00:02 +10\.0\.0\.10 +docker:one/);
    expect(await document(`detach ${name} one`, { env: { DOCKER_HOST: docker.host } })).toMatchObject({
      ip: '192.168.0.2',
    });
    expect((await one.run('ip', 'link')).stdout).not.toContain('eth0');
    expect(await done(`delete ${name}`)).toContain('  docker:two lost its interface with 192.168.0.3\n');
  });

  test('stopped, unknown, on the host network: refused, with what to do', async () => {
    const name = await overlay();
    const stopped = await container('stopped');
    await docker.cli(['kill', 'stopped']);
    await container('on-host', 'host');
    const env = { DOCKER_HOST: docker.host };
    const attach = (which: string): string => `attach ${name} ${which} --address 192.168.0.2/24`;
    expect(await refused(attach('docker:stopped'), { env })).toBe(
      'container "stopped" is not running (exited); docker start stopped',
    );
    expect(await refused(attach('stopped'), { env })).toContain('docker start stopped');
    expect(await refused(`detach ${name} docker:stopped`, { env })).toMatch(
      /is not running \(exited\); the interface .* gone with it, and `overns detach \S+ --address IP`, with the store,/,
    );
    expect(await refused(attach('docker:nobody'), { env })).toBe(
      `Docker at ${docker.socket} has no container "nobody"; \`docker ps -a\` shows those it has`,
    );
    expect(await refused(attach('nobody'), { env })).toContain('no namespace of that name in /run/netns');
    expect(await refusedJson(attach('docker:on-host'), { env })).toMatchObject({ code: 'OVERNS_HOST_NETWORK' });
    expect((await document<{ endpoints: unknown[] }>(`show ${name}`)).endpoints).toEqual([]);
    await docker.cli(['start', stopped.name]);
    await done(attach('stopped'), { env });
  });

  test('a restart takes the interface away; attach brings it back', async () => {
    const name = await overlay();
    await container('again');
    const env = { DOCKER_HOST: docker.host };
    const attach = `attach ${name} again --address 192.168.0.2/24 --ensure`;
    await done(attach, { env });
    await docker.cli(['restart', '-t', '0', 'again']);
    // The kernel removes a dead namespace's links a moment later.
    let last = await overns(attach, { env });
    for (const deadline = Date.now() + 60_000; last.code !== 0 && Date.now() < deadline; )
      last = await overns(attach, { env });
    expect(last).toMatchObject({ code: 0, stdout: expect.stringMatching(/^attached again to overlay/) });
    expect((await (await docker.inspect('again')).run('ip', 'address', 'show', 'eth0')).stdout).toContain(
      '192.168.0.2/24',
    );
  });
});

test('doctor tells where Docker is, and is content without', async () => {
  const { stdout } = await overns('doctor --json --docker /nonexistent/docker.sock');
  expect(JSON.parse(stdout).checks).toContainEqual(
    expect.objectContaining({
      id: 'docker',
      status: 'info',
      value: 'Docker cannot be reached at /nonexistent/docker.sock: no such socket',
    }),
  );
});
