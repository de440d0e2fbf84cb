/** Containers by Podman's names, through the command line and a real Podman. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { twoHosts, uniqueName } from '../support/netns.js';
import { ping } from '../support/ping.js';
import { Podman } from '../support/podman.js';
import { describeWith } from '../support/requirements.js';
import { document, done, refused, refusedJson } from './cli.js';

describeWith(['root', 'ip', 'ping', 'busybox', 'podman'], 'Podman', () => {
  let podman: Podman;
  let env: NodeJS.ProcessEnv;
  let name: string;
  beforeAll(async () => {
    podman = await Podman.start();
    env = { CONTAINER_HOST: podman.host };
  });
  beforeEach(async () => {
    const [host] = await twoHosts();
    name = uniqueName();
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${host.name}`);
  });
  const attach = (container: string, ip = '192.168.0.2'): string => `attach ${name} ${container} --address ${ip}/24`;

  test('attached by name and by id; the two reach each other; detached by name', async () => {
    const one = await podman.run('one');
    const two = await podman.run('two');
    expect(await done(attach('podman:one'), { env })).toMatch(
      new RegExp(`^attached podman:one to overlay ${name}: eth0 192\\.168\\.0\\.2/24 `),
    );
    await done(attach(`podman:${two.id.slice(0, 12)}`, '192.168.0.3'), { env });
    expect((await ping(one.pid, '192.168.0.3', { count: 3, interval: 0.2 })).received).toBe(3);
    // As its alias has it: nobody asks Podman.
    expect(await done(`show ${name}`)).toMatch(/192\.168\.0\.2 +02:42:c0:a8:00:02 +10\.0\.0\.10 +podman:one/);
    expect(await document(`detach ${name} podman:one`, { env })).toMatchObject({ ip: '192.168.0.2' });
    expect(await done(`show ${name}`)).not.toContain('podman:one');
  });

  test('paused is running, and a network that is shared is the same one', async () => {
    await podman.run('main');
    await podman.run('joined', 'container:main');
    await podman.cli(['pause', 'main']);
    await done(attach('podman:main'), { env });
    await podman.cli(['unpause', 'main']);
    expect(await refusedJson(attach('podman:joined', '192.168.0.3'), { env })).toMatchObject({ code: 'EEXIST' });
  });

  test('stopped, started again, unknown, on the host network: what Docker is asked for holds for Podman', async () => {
    await podman.run('stopped');
    await podman.cli(['kill', 'stopped']);
    expect(await refused(attach('podman:stopped'), { env })).toMatch(
      /^container "stopped" is not running \((?:exited|stopped)\); podman start stopped$/,
    );
    await podman.cli(['start', 'stopped']);
    await done(attach('podman:stopped'), { env });
    expect(await refused(attach('podman:nobody'), { env })).toBe(
      `Podman at ${podman.socket} has no container "nobody"; \`podman ps -a\` shows those it has`,
    );
    await podman.run('on-host', 'host');
    expect(await refusedJson(attach('podman:on-host'), { env })).toMatchObject({ code: 'OVERNS_HOST_NETWORK' });
  });

  test('a Podman that is not there', async () => {
    const gone = { CONTAINER_HOST: 'unix:///nonexistent/podman.sock' };
    expect(await refused(attach('podman:demo'), { env: gone })).toBe(
      'Podman cannot be reached at /nonexistent/podman.sock: no such socket; ' +
        "run `systemctl start podman.socket`, or name Podman's socket with CONTAINER_HOST=unix:///PATH",
    );
  });
});
