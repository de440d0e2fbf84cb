/** The addon by itself: a callback that closes what calls it. What it would read afterwards shows under AddressSanitizer. */
import { expect, test } from 'vitest';
import { machine } from '../../lib/system/system.js';
import { createNetns } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

describeWith(['root', 'ip'], 'a callback', () => {
  test('closes its resolver, and throws', async () => {
    const netns = await createNetns();
    await netns.ip('link add br0 type bridge');
    await netns.ip('link add vxlan1 type vxlan id 42 dstport 4789 proxy l2miss l3miss');
    await netns.ip('link set vxlan1 up');
    const path = `/run/netns/${netns.name}`;
    const told: string[] = [];
    const reactor = new machine.native.Reactor((events) => {
      for (const { kind } of events) told.push(kind);
      reactor.close();
      throw new Error('thrown by the callback');
    });
    const id = reactor.newId();
    await reactor.add(id, { netns: path, hostNetns: path, vtep: '10.0.0.1' });
    reactor.want(id, ~0);
    await netns.ip('link delete vxlan1');
    await until(() => told.length > 0, 'the loss of the device');
    expect(told).toEqual(['overlay-lost']);
  });

  test('closes its monitor, and throws', async () => {
    const netns = await createNetns();
    let calls = 0;
    const monitor = machine.native.openMonitor(`/run/netns/${netns.name}`, ['link'], () => {
      calls++;
      monitor.close();
      throw new Error('thrown by the callback');
    });
    await netns.ip('link add br0 type bridge');
    await until(() => calls > 0, 'news of the link');
    await netns.ip('link set br0 up');
    expect(calls).toBe(1);
  });
});
