/** misses and monitor: what they print, and every way they end. */
import { expect, test } from 'vitest';
import { createContainer, createNetns, exec, type Netns, twoHosts, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { done, environment, MAIN, overns, refused, start } from './cli.js';

/** An overlay with one container, as the seed has it. */
async function overlay(): Promise<{ name: string; container: Netns }> {
  const [a] = await twoHosts();
  const name = uniqueName();
  const container = await createContainer();
  await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
  await done(`attach ${name} ${container.name} --address 192.168.0.2/24`);
  return { name, container };
}

/** A stream says nothing until something happens: asks again until it does. */
async function until(
  running: { waitFor: ReturnType<typeof start>['waitFor'] },
  pattern: RegExp,
  cause: () => Promise<unknown>,
): Promise<void> {
  for (let tries = 0; ; tries++) {
    await cause();
    try {
      await running.waitFor(pattern, 'stdout', 500);
      return;
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

const ask =
  (container: Netns, ip = '192.168.0.3') =>
  (): Promise<unknown> =>
    container.exec('ping', ['-c1', '-W1', '-q', ip], { check: false });

describeWith(['root', 'ip', 'ping'], 'misses', () => {
  test("in the seed's words: the IP, then the MAC", async () => {
    const { name, container } = await overlay();
    const misses = start(`misses ${name}`);
    await until(misses, /^L3Miss on vxlan1: Who has IP: 192\.168\.0\.3\?$/m, ask(container));
    await exec('ip', [
      '-n',
      name,
      'neighbor',
      'replace',
      '192.168.0.3',
      'lladdr',
      '02:42:c0:a8:00:03',
      'dev',
      'vxlan1',
      'nud',
      'permanent',
    ]);
    await until(misses, /^L2Miss on vxlan1: Who has Mac Address: 02:42:c0:a8:00:03\?$/m, ask(container));
    expect(await misses.stop('SIGINT')).toBe(0);
    expect(misses.stderr).toBe('');
    for (const line of misses.stdout.trim().split('\n')) expect(line).toMatch(/^L[23]Miss on vxlan1: Who has /);
  });

  test('as JSON Lines, and with times; SIGTERM and SIGHUP end it as well', async () => {
    const { name, container } = await overlay();
    const misses = start(`misses ${name} --json`);
    const began = Date.now();
    const hung = start(`misses ${name} --time`);
    await until(misses, /192\.168\.0\.3/, ask(container));
    await until(hung, /192\.168\.0\.3/, ask(container));
    expect(await misses.stop('SIGTERM')).toBe(0);
    expect(await hung.stop('SIGHUP')).toBe(0);
    const [, time = ''] = /^(\S+Z) L3Miss on vxlan1: Who has IP: 192\.168\.0\.3\?$/m.exec(hung.stdout) ?? [];
    expect(Date.parse(time)).toBeGreaterThanOrEqual(began - 1000);
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now() + 1000);
    const first = JSON.parse(misses.stdout.split('\n').find((line) => line.includes('192.168.0.3')) as string);
    expect(first).toEqual({
      kind: 'l3',
      ip: '192.168.0.3',
      link: 'vxlan1',
      overlay: name,
      vni: 42,
      atNs: expect.stringMatching(/^\d+$/),
    });
  });

  test('a reader that has gone is no error', async () => {
    const { name, container } = await overlay();
    const piped = exec('sh', ['-c', `"$0" "${MAIN}" misses ${name} | head -n1; echo "status $?"`, process.execPath], {
      env: environment(),
      timeout: 30_000,
    });
    let ended = false;
    void piped.finally(() => {
      ended = true;
    });
    while (!ended) await ask(container)();
    const { stdout, stderr } = await piped;
    expect(stdout).toMatch(/^L3Miss on vxlan1: .*\nstatus 0\n$/);
    expect(stderr).toBe('');
  });

  test('of what is no overlay', async () => {
    expect(await refused('misses ot-nowhere')).toContain('ot-nowhere');
    const c = await createNetns();
    expect(await refused(`misses ${c.name}`)).toContain(c.name);
  });
});

describeWith(['root', 'ip', 'ping'], 'monitor', () => {
  test('links that come and go, as ip monitor has them', async () => {
    const netns = await createNetns();
    const monitor = start(`monitor link --netns ${netns.name}`);
    await until(monitor, /^\d+: probe\d+@?.*: </m, async () => {
      await netns.ip('link add probe0 type veth peer name probe1');
      await netns.ip('link del probe0');
    });
    await monitor.waitFor(/^Deleted \d+: probe0/m, 'stdout');
    expect(monitor.stdout).toMatch(
      /^\d+: probe0@probe1: <BROADCAST,MULTICAST,M-DOWN> mtu 1500 qdisc noop state DOWN group default\n {4}link\/ether [0-9a-f:]{17} brd ff:ff:ff:ff:ff:ff$/m,
    );
    expect(await monitor.stop('SIGINT')).toBe(0);
    expect(monitor.stderr).toBe('');
  });

  test('neighbours, entries and misses of an overlay', async () => {
    const { name, container } = await overlay();
    const monitor = start(`monitor neigh --netns ${name}`);
    const json = start(`monitor neigh --netns ${name} --json`);
    await until(monitor, /^miss 192\.168\.0\.3 dev vxlan1 STALE$/m, ask(container));
    await until(json, /"miss"/, ask(container));
    await exec('bridge', ['-n', name, 'fdb', 'add', '02:42:c0:a8:00:03', 'dev', 'vxlan1', 'self', 'dst', '10.0.0.11']);
    await monitor.waitFor(/^02:42:c0:a8:00:03 dev vxlan1 dst 10\.0\.0\.11 .*self permanent$/m, 'stdout');
    await exec('ip', [
      '-n',
      name,
      'neighbor',
      'add',
      '192.168.0.3',
      'lladdr',
      '02:42:c0:a8:00:03',
      'dev',
      'vxlan1',
      'nud',
      'permanent',
    ]);
    await monitor.waitFor(/^192\.168\.0\.3 dev vxlan1 lladdr 02:42:c0:a8:00:03 PERMANENT$/m, 'stdout');
    await exec('ip', ['-n', name, 'neighbor', 'del', '192.168.0.3', 'dev', 'vxlan1']);
    await monitor.waitFor(/^Deleted 192\.168\.0\.3 dev vxlan1/m, 'stdout');
    await json.waitFor(/"delete"/, 'stdout');
    expect(await json.stop('SIGTERM')).toBe(0);
    const events = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toContainEqual(expect.objectContaining({ kind: 'miss', link: 'vxlan1', ip: '192.168.0.3' }));
    expect(events).toContainEqual(expect.objectContaining({ kind: 'neighbor', action: 'delete', ip: '192.168.0.3' }));
    expect(events.every(({ kind }) => ['miss', 'neighbor', 'fdb', 'overrun'].includes(kind))).toBe(true);
  });

  test("the miss of a device that asks user space, as the seed's first one", async () => {
    const netns = await createNetns();
    await netns.ip('link add eth0 type veth peer name eth1');
    for (const link of ['eth0', 'eth1']) await netns.ip(`link set ${link} up`);
    await netns.ip('address add 10.0.0.1/24 dev eth0');
    await netns.sysctl('net/ipv4/neigh/eth0/app_solicit', 1);
    const monitor = start('monitor neigh', { env: { OVERNS_NETNS: netns.name } });
    await until(monitor, /^miss 10\.0\.0\.100 dev eth0 INCOMPLETE$/m, ask(netns, '10.0.0.100'));
    expect(await monitor.stop('SIGINT')).toBe(0);
  });

  test('a namespace that is none', async () => {
    expect(await refused('monitor --netns ot-nowhere')).toContain('no network namespace "ot-nowhere"');
    const { code, stderr } = await overns('monitor --netns pid:4194304');
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('no process 4194304') });
  });
});
