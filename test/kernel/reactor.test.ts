/** The addon's resolver thread by itself: what it is told, and tells, before its calls have settled. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EVENT_BITS, type NativeEvent } from '../../lib/system/native.js';
import { machine } from '../../lib/system/system.js';
import { onCleanup } from '../support/cleanup.js';
import { createNetns } from '../support/netns.js';
import { Station, twoSites, until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

describeWith(['root', 'ip'], 'the resolver thread', () => {
  function start(onLookup: (key: string, token: number, id: number) => void = () => {}) {
    const events: NativeEvent[] = [];
    const reactor = new machine.native.Reactor((batch, lookups) => {
      events.push(...batch);
      for (const { key, token, overlay } of lookups) onLookup(key, token, overlay);
    });
    onCleanup(
      () => reactor.close(),
      () => undefined,
    );
    return { reactor, events };
  }

  /** A bridge and a vxlan device, and nobody who asks. */
  async function lonely() {
    const netns = await createNetns();
    await netns.ip('link add br0 type bridge');
    await netns.ip('link add vxlan1 type vxlan id 42 dstport 4789 proxy l2miss l3miss');
    await netns.ip('link set vxlan1 master br0');
    await netns.ip('link set vxlan1 up');
    return netns;
  }

  test('takes what is told while an overlay is being added', async () => {
    const netns = await lonely();
    const { path } = netns;
    const { reactor, events } = start();
    const id = reactor.newId();
    reactor.want(id, EVENT_BITS['overlay-lost']);
    const added = reactor.add(id, { netns: path, hostNetns: path, vtep: '10.0.0.1' });
    reactor.put(
      id,
      ['192.168.0.3', '02:42:c0:a8:00:03', '10.0.0.2', '192.168.0.4', '02:42:c0:a8:00:04', '10.0.0.2'],
      [],
    );
    reactor.forget(id, '192.168.0.4');
    const whole = reactor.reset(id, ['192.168.0.5', '02:42:c0:a8:00:05', '10.0.0.2'], []);
    reactor.put(id, ['192.168.0.6', '02:42:c0:a8:00:06', '10.0.0.2'], []);
    expect((await Promise.all([added, whole]))[1]).toBe(1); // .3, which the reset lacks
    expect(reactor.stats(id)).toMatchObject({ endpoints: 3, missing: 1 });
    expect(await reactor.sweep(id)).toBe(0);
    expect(reactor.stats(id)).toMatchObject({ endpoints: 2, missing: 0 });
    await netns.ip('link delete vxlan1');
    await until(() => events.length > 0, 'the loss of the device');
    expect(events).toMatchObject([{ kind: 'overlay-lost', overlay: id }]);
  });

  test('takes an answer before add() has settled', async () => {
    const [a] = await twoSites();
    const station = await Station.in(a.container.netns);
    const hostNetns = await a.overlay.host();
    const { reactor } = start((key, token, id) => {
      reactor.answer(id, token, key, 'found', '02:42:c0:a8:00:4d', '10.0.0.11', 60_000);
    });
    for (let round = 0; round < 5; round++) {
      const id = reactor.newId();
      const added = reactor.add(id, { netns: a.overlay.netns, hostNetns, vtep: a.overlay.vtep });
      // Asked while the sockets are being opened: the miss is then the first thing that is read.
      await Promise.all([added, station.ask(`192.168.0.${100 + round}`, { waitMs: 50 })]);
      await station.ask(`192.168.0.${200 + round}`, { waitMs: 50 });
      // The last answer may still be on its way to the thread; a lost one never arrives.
      await until(() => reactor.stats(id).answers === reactor.stats(id).lookups, 'an answer for each lookup');
      expect(reactor.stats(id)).toMatchObject({ coalesced: 0 });
      expect(reactor.stats(id).lookups).toBeGreaterThan(0);
      await reactor.remove(id);
    }
  });

  test('carries out and tells what it was told before remove(), whose result counts it', async () => {
    const [a] = await twoSites();
    const station = await Station.in(a.container.netns);
    const held: [string, number, number][] = [];
    const { reactor, events } = start((...lookup) => void held.push(lookup));
    const id = reactor.newId();
    reactor.want(id, EVENT_BITS.resolved);
    await reactor.add(id, { netns: a.overlay.netns, hostNetns: await a.overlay.host(), vtep: a.overlay.vtep });
    void station.ask('192.168.0.77', { waitMs: 500 });
    const [key, token] = await until(() => held[0], 'the lookup');
    reactor.answer(id, token, key, 'found', '02:42:c0:a8:00:4d', '10.0.0.11', 60_000);
    const counted = await reactor.remove(id);
    expect(counted).toMatchObject({ answers: 1 });
    expect(events).toMatchObject([{ kind: 'resolved', ip: '192.168.0.77' }]);
    expect(reactor.stats(id)).toEqual({});
  });

  test('lets no reset wait for an overlay that is gone, or for a thread that is closed', async () => {
    const { path } = await lonely();
    const { reactor } = start();
    const many = Array.from({ length: 20_000 }, (_, n) => [
      `10.1.${n >> 8}.${n & 255}`,
      `02:42:0a:01:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
      '10.0.0.2',
    ]).flat();
    const [first, second] = [reactor.newId(), reactor.newId()];
    await reactor.add(first, { netns: path, hostNetns: path, vtep: '10.0.0.1' });
    await Promise.all([reactor.reset(first, many, []), reactor.remove(first)]);
    await reactor.reset(first, many, []);
    const closed = reactor.reset(second, many, []);
    reactor.close();
    await closed;
    await sleep(0);
  });
});
