/** How long create and attach take beside the seed's own commands, which make the same. */
import { expect, test } from 'vitest';
import { Overlay } from '../../lib/index.js';
import { createContainer, exec, type Netns, twoHosts, uniqueName } from '../support/netns.js';
import { distribution } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

const ROUNDS = 11;

/** create-overlay.sh and attach-ctn.sh, but for sudo and Docker's inspect. */
const SEED = `set -e
ip netns add "$overns"
ip netns exec "$overns" ip link add dev br0 type bridge
ip netns exec "$overns" ip addr add dev br0 192.168.0.1/24
ip link add dev vxlan1 type vxlan id 42 proxy learning l2miss l3miss dstport 4789
ip link set vxlan1 netns "$overns"
ip netns exec "$overns" ip link set vxlan1 master br0
ip netns exec "$overns" ip link set vxlan1 up
ip netns exec "$overns" ip link set br0 up
ip link add dev veth1 mtu 1450 type veth peer name veth2 mtu 1450
ip link set dev veth1 netns "$overns"
ip netns exec "$overns" ip link set veth1 master br0
ip netns exec "$overns" ip link set veth1 up
ip link set dev veth2 netns "$ctn"
ip netns exec "$ctn" ip link set dev veth2 name eth0 address 02:42:c0:a8:00:02
ip netns exec "$ctn" ip addr add dev eth0 192.168.0.2/24
ip netns exec "$ctn" ip link set dev eth0 up`;

describeWith(['root', 'ip'], 'create and attach', () => {
  test("are at least five times ahead of the seed's commands", async () => {
    const [host] = await twoHosts();
    const times: Record<'seed' | 'overns', number[]> = { seed: [], overns: [] };
    const timed = async (into: number[], work: () => Promise<unknown>): Promise<void> => {
      const start = performance.now();
      await work();
      into.push(performance.now() - start);
    };
    const seed = async (name: string, container: Netns): Promise<void> => {
      await timed(times.seed, () =>
        exec('nsenter', [`--net=${host.path}`, '--', 'sh', '-c', SEED], {
          env: { ...process.env, overns: name, ctn: container.name },
        }),
      );
      for (const link of ['vxlan1', 'veth1', 'br0']) await exec('ip', ['-n', name, 'link', 'del', link]);
      await exec('ip', ['netns', 'del', name]);
    };
    const overns = async (name: string, container: Netns): Promise<void> => {
      let overlay: Overlay | undefined;
      await timed(times.overns, async () => {
        overlay = await Overlay.create({ name, vni: 42, address: '192.168.0.1/24', host: host.name });
        await overlay.attach({ path: container.path }, { address: '192.168.0.2/24' });
      });
      await overlay?.delete();
    };
    const name = uniqueName();
    for (let round = 0; round < ROUNDS; round++) {
      const container = await createContainer();
      for (const run of round % 2 === 0 ? [seed, overns] : [overns, seed]) await run(name, container);
      await container.remove();
    }
    // Of each its best: what other tests take of the CPUs is nobody's speed.
    const ratio = Math.min(...times.seed) / Math.min(...times.overns);
    console.log(`the seed's commands: ${distribution(times.seed)}`);
    console.log(`create + attach:     ${distribution(times.overns)}; ${ratio.toFixed(1)}x ahead`);
    // Under a sanitizer only one of the two is slower.
    expect(ratio).toBeGreaterThanOrEqual(process.env.OVERNS_TEST_SANITIZED ? 1 : 5);
  });
});
