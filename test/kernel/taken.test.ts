/** A port, a VNI or a name that somebody else has already: the refusal says who, and what to do about it. */
import { expect, test } from 'vitest';
import { netns, Overlay, type OverlayOptions } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { createNetns, exec, type Host, twoHosts, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

function create(host: Host, name: string, options: Partial<OverlayOptions> = {}): Promise<Overlay> {
  return Overlay.create({ name, vni: 42, host: host.name, ...options });
}

/** Refused, and nothing left behind. */
async function refusal(host: Host): Promise<{ code: string; hint: string }> {
  const name = uniqueName();
  const error = await create(host, name).then(
    () => {
      throw new Error('it was made');
    },
    (thrown) => thrown,
  );
  const { stdout } = await exec('ip', ['netns', 'list']);
  expect(stdout.split('\n').map((line) => line.split(' ')[0])).not.toContain(name);
  return error;
}

/** With other numbers there is nothing in the way. */
async function does(host: Host, options: Partial<OverlayOptions>): Promise<void> {
  await using _ = await create(host, uniqueName(), options);
}

const OTHER_PORT = 'choose another port with `port`, the same on every host';

describeWith(['root', 'ip'], 'a UDP port is taken', () => {
  test('by a vxlan device for all VNIs, as Open vSwitch and Cilium make', async () => {
    const [host] = await twoHosts();
    await host.ip('link add ovs0 type vxlan external dstport 4789');
    await host.ip('link set ovs0 up');
    expect(await refusal(host)).toMatchObject({
      code: 'EADDRINUSE',
      hint: `the vxlan device ovs0 of the host has UDP port 4789 for all VNIs: delete it (\`ip link del ovs0\`), or ${OTHER_PORT}`,
    });
    await does(host, { port: 4790 });
  });

  test('by a vxlan device with other settings, in another namespace', async () => {
    const [host] = await twoHosts();
    const other = await createNetns();
    await host.ip(`link add vx9 netns ${other.name} type vxlan id 9 dstport 4789 gbp`);
    await other.ip('link set vx9 up');
    expect((await refusal(host)).hint).toBe(
      `the vxlan device vx9 in netns ${other.name} has UDP port 4789 with other settings: delete it (\`ip -n ${other.name} link del vx9\`), or ${OTHER_PORT}`,
    );
  });

  test.each(['0.0.0.0', '10.0.0.10', '::'])('by a process, on %s', async (address) => {
    const [host] = await twoHosts();
    const socket = await netns.dgram(host.name, { host: address, port: 4789 });
    onCleanup(() => void socket.close());
    const error = await refusal(host);
    expect(error.code).toBe('EADDRINUSE');
    expect(error.hint).toMatch(
      new RegExp(
        `^process ${process.pid} \\([^)]+\\) has UDP port 4789 of the host: stop it, or ${OTHER_PORT.replace(/[()]/g, '\\$&')}$`,
      ),
    );
  });

  test('by a socket that belongs to no process that can be seen', async () => {
    const [host] = await twoHosts();
    // Nothing of the host's, though its name does not say so.
    const elsewhere = await createNetns();
    await elsewhere.ip('link add ovs0 type vxlan external dstport 4789');
    await elsewhere.ip('link set ovs0 up');
    // A device whose namespace has no name.
    const hidden = host.spawn('unshare', ['-n', 'sleep', '600']);
    await expect
      .poll(() => exec('readlink', [`/proc/${hidden.pid}/ns/net`]).then(({ stdout }) => stdout))
      .not.toBe((await host.exec('readlink', ['/proc/self/ns/net'])).stdout);
    await host.ip(`link add vx0 netns ${hidden.pid} type vxlan external dstport 4789`);
    await exec('nsenter', ['-t', String(hidden.pid), '-n', 'ip', 'link', 'set', 'vx0', 'up']);
    const { hint } = await refusal(host);
    expect(hint).toMatch(/^a socket of the kernel or of a hidden process has UDP port 4789 of the host .*`port`/);
  });
});

describeWith(['root', 'ip'], 'a VNI is taken', () => {
  test('by another overlay of the host', async () => {
    const [host] = await twoHosts();
    const first = uniqueName();
    await using _ = await Overlay.create({ name: first, vni: 42, host: host.name });
    expect(await refusal(host)).toMatchObject({
      code: 'EEXIST',
      hint: `the overlay "${first}" has VNI 42 on port 4789: choose another \`vni\` or \`port\`, or delete it: \`Overlay.delete('${first}')\``,
    });
    await does(host, { vni: 43 });
    await does(host, { port: 4790 });
  });

  test('by a vxlan device of the host, or in a namespace of somebody else', async () => {
    const [host, other] = await twoHosts();
    await host.ip('link add vx0 type vxlan id 42 dstport 4789');
    // As much of another host's is in nobody's way.
    await other.ip('link add vx1 type vxlan id 42 dstport 4789');
    expect((await refusal(host)).hint).toBe(
      'the vxlan device vx0 of the host has VNI 42 on port 4789: choose another `vni` or `port`, or delete it: `ip link del vx0`',
    );
    await host.ip('link del vx0');
    const foreign = await createNetns();
    await host.ip(`link add vx0 netns ${foreign.name} type vxlan id 42 dstport 4789`);
    expect((await refusal(host)).hint).toContain(`ip -n ${foreign.name} link del vx0`);
  });
});
