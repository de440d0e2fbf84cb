/** Overlays that somebody has made by hand: what can never ask is refused in words, and each device asks for itself. */
import { expect, test } from 'vitest';
import { type Miss, Overlay } from '../../lib/index.js';
import { createContainer, createNetns, type Netns, twoHosts } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

describeWith(['root', 'ip', 'ping'], 'overlays made by hand', () => {
  async function made(...vxlans: readonly (readonly [name: string, args: string])[]): Promise<Netns> {
    const [host] = await twoHosts();
    const overlay = await createNetns();
    await overlay.ip('link add name br0 type bridge');
    await overlay.ip('link set br0 up');
    for (const [name, args] of vxlans) {
      await host.ip(`link add ${name} type vxlan ${args}`);
      await host.ip(`link set ${name} netns ${overlay.name}`);
      await overlay.ip(`link set ${name} master br0 up`);
    }
    return overlay;
  }

  for (const [what, args, words] of [
    ['external', 'external dstport 4789 proxy l2miss l3miss', /no VNI of its own \(external\)/],
    ['made without the flags', 'id 42 dstport 4789 local 10.0.0.10', /without proxy and l3miss/],
    ['made without l3miss', 'id 42 dstport 4789 local 10.0.0.10 proxy l2miss', /without l3miss/],
    ['made without proxy', 'id 42 dstport 4789 local 10.0.0.10 l2miss l3miss', /without proxy/],
  ] as const) {
    test(`one whose vxlan1 is ${what} is refused`, async () => {
      const { name } = await made(['vxlan1', args]);
      const error = await Overlay.open(name).catch((thrown) => thrown);
      expect(error).toMatchObject({ code: 'EINVAL', message: expect.stringMatching(words), hint: expect.any(String) });
      expect((await Overlay.list()).map(({ overlay }) => overlay)).not.toContain(name);
    });
  }

  test('a second vxlan device asks under its own name and VNI', async () => {
    const common = 'dstport 4789 local 10.0.0.10 proxy l2miss l3miss';
    const netns = await made(['vxlan1', `id 42 ${common}`], ['vxlan2', `id 43 ${common}`]);
    const container = await createContainer();
    await netns.ip(`link add p0 type veth peer name eth0 netns ${container.name}`);
    await netns.ip('link set p0 master br0 up');
    await container.ip('address add 192.168.0.2/24 dev eth0');
    await container.ip('link set eth0 up');
    await using overlay = await Overlay.open(netns.name);
    const seen = new Set<string>();
    await using misses = overlay.misses();
    void (async () => {
      for await (const miss of misses as AsyncIterable<Miss>) {
        if (miss.kind === 'l3' && miss.ip === '192.168.0.3') seen.add(`${miss.link} ${miss.vni}`);
      }
    })();
    await until(async () => {
      await container.exec('ping', ['-c1', '-W1', '192.168.0.3'], { check: false });
      return seen.size >= 2;
    }, 'a miss of each device');
    expect([...seen].sort()).toEqual(['vxlan1 42', 'vxlan2 43']);
  });
});
