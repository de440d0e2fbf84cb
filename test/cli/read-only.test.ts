/** Machines that let less be written than a bare one does: nothing more is asked of them than there must be. */
import { expect, test } from 'vitest';
import { createContainer, type ExecResult, exec, type Netns, twoHosts, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { done, environment, MAIN } from './cli.js';

/** The command, after others that change what it sees of the file system, in a mount namespace of its own. */
function after(prelude: string, words: string, { netns }: { netns?: Netns } = {}): Promise<ExecResult> {
  const script = `${prelude} && exec "$0" "$@"`;
  const args = ['-m', 'sh', '-c', script, process.execPath, MAIN, ...words.split(' ')];
  const options = { check: false, env: environment() };
  return netns === undefined ? exec('unshare', args, options) : netns.exec('unshare', args, options);
}

const SYSCTLS = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys';

async function overlay(): Promise<{ readonly name: string; readonly container: Netns }> {
  const [host] = await twoHosts();
  const name = uniqueName();
  await done(`create ${name} --vni 42 --host ${host.name} --address fd00:9::1/64`);
  return { name, container: await createContainer() };
}

describeWith(['root', 'ip'], 'a read-only', () => {
  test('/proc/sys, with IPv6 switched on: an IPv6 address is attached', async () => {
    const { name, container } = await overlay();
    const { code, stderr } = await after(SYSCTLS, `attach ${name} netns:${container.name} --address fd00:9::2/64`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await container.ip('-6 address show dev eth0')).toContain('fd00:9::2/64');
  });

  test('/proc/sys, with IPv6 switched off: refused with what to do, and nothing is left behind', async () => {
    const { name, container } = await overlay();
    await container.sysctl('net/ipv6/conf/default/disable_ipv6', 1);
    const attach = `attach ${name} netns:${container.name} --address fd00:9::2/64`;
    const { code, stderr } = await after(SYSCTLS, attach);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^overns: cannot switch IPv6 on for eth0 in netns:\S+: read-only file system [^\n]*net\.ipv6\.conf\.default\.disable_ipv6 set already\n$/,
    );
    expect(await container.ipJson('link show')).toHaveLength(1);
    await done(attach);
  });

  test('directory of namespaces: another one is named, and does', async () => {
    const [host] = await twoHosts();
    const create = `create ${uniqueName()} --vni 42`;
    const readOnly = 'mount -t tmpfs -o ro none /run/netns';
    const { code, stderr } = await after(readOnly, create, { netns: host });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^overns: [^\n]*read-only file system[^\n]*--netns-dir[^\n]*\n$/);
    // Another directory, which is gone with the mount namespace.
    const elsewhere = `${readOnly} && mount -t tmpfs none /mnt`;
    expect(await after(elsewhere, `${create} --netns-dir /mnt/netns`, { netns: host })).toMatchObject({ code: 0 });
  });
});

describeWith(['root', 'ip'], 'a machine without', () => {
  test.each([
    ['/run/netns', 'mount -t tmpfs none /run'],
    ['/sys', 'mount -t tmpfs none /sys && mount -t tmpfs none /run/netns'],
    ["other users' processes in /proc", 'mount -t proc -o hidepid=2 none /proc && mount -t tmpfs none /run/netns'],
  ])('%s: an overlay is made', async (_, prelude) => {
    const [host] = await twoHosts();
    const made = await after(prelude, `create ${uniqueName()} --vni 42`, { netns: host });
    expect({ code: made.code, stderr: made.stderr }).toEqual({ code: 0, stderr: '' });
  });
});
