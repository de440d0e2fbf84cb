/** Consul as a host with many overlays meets it, which it allows 200 connections, and as several servers of which one fails. */
import { afterEach, expect, test } from 'vitest';
import { type Endpoint, Overlay, type OwnedStore, openStore, Resolver } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import { Follower } from '../../lib/testing/store-follower.js';
import { Consul } from '../support/consul.js';
import '../support/fake-only.js';
import { until } from '../support/overlay.js';
import { Relay } from '../support/relay.js';
import { describeWith } from '../support/requirements.js';

const PATIENCE_MS = 30_000;
const where = { overlay: 'blue', vni: 42 };
const endpoint: Endpoint = { ip: '192.168.0.3', ips: ['192.168.0.3'], mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' };

const opened: OwnedStore[] = [];
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});
async function open(url: string): Promise<OwnedStore> {
  const store = await openStore(url);
  opened.push(store);
  return store;
}

describeWith(['consul'], 'many overlays on one host', () => {
  test.each(['all', 'used'] as const)(
    '%s: 250 are followed on a part of the connections that Consul allows',
    async (sync) => {
      const count = 250;
      const consul = await Consul.start();
      const relay = await Relay.start(consul.port);
      const [other, store] = await Promise.all(
        [`127.0.0.1:${consul.port}`, relay.at].map((at) => open(`consul://${at}/net/{vni}`)),
      );
      const kernel = new FakeKernel();
      const overlays: Overlay[] = [];
      for (let n = 1; n <= count; n++) {
        overlays.push(
          await Overlay.create({ name: `o${n}`, vni: n, address: '192.168.0.1/24', system: kernel.system }),
        );
      }
      const of = (n: number) => ({ overlay: `o${n}`, vni: n });
      const [first, last] = [of(1), of(count)];
      for (const each of [first, last]) await other?.publish(endpoint, each);
      await using resolver = await Resolver.start({ overlays, store, sync });
      const states = () => new Set(resolver.overlays().map((each) => `${each.store} ${each.sync}`));
      await until(() => states().size === 1 && states().has(`up ${sync}`), 'all to be up');
      const vtep = ({ overlay }: { overlay: string }) =>
        kernel.state(overlay).fdb.find(({ mac, dst }) => mac === endpoint.mac && dst !== undefined)?.dst;
      for (const each of [first, last]) {
        await kernel.miss(each.overlay, { ip: endpoint.ip });
        await until(() => vtep(each) === endpoint.vtep, `the answer in ${each.overlay}`);
      }
      for (const each of [first, last]) await other?.publish({ ...endpoint, vtep: '10.0.0.12' }, each);
      await until(() => [first, last].every((each) => vtep(each) === '10.0.0.12'), 'both moves');
      expect([...states()]).toEqual([`up ${sync}`]);
      expect(relay.connections).toBeLessThan(110);
    },
  );
});

describeWith(['consul'], 'several servers', () => {
  test('the next one is asked where one is refused, hangs or answers 500, and watches go on there', async () => {
    const consul = await Consul.start();
    const relays = await Promise.all([1, 2].map(() => Relay.start(consul.port)));
    const [one, two] = relays as [Relay, Relay];
    const direct = await open(`consul://127.0.0.1:${consul.port}/demo`);
    const store = await open(`consul://${one.at},${two.at},nobody.invalid/demo`);
    await direct.publish(endpoint, where);
    const following = new Follower(store, where, PATIENCE_MS);
    await following.until(({ known }) => known === 1);
    let vtep = 20;
    const works = async (): Promise<void> => {
      const moved = { ...endpoint, vtep: `10.0.0.${++vtep}` };
      await direct.publish(moved, where);
      await following.until(() => following.answer(endpoint.ip)?.vtep === moved.vtep);
      expect(await store.lookup({ ...where, kind: 'l3', ip: endpoint.ip })).toMatchObject({ vtep: moved.vtep });
    };
    await works();
    for (const [mode, failing] of [
      ['refuse', one],
      ['500', two],
      ['hang', one],
    ] as const) {
      failing.mode = mode;
      if (mode !== 'hang') failing.cut();
      await works();
      failing.mode = 'pass';
      if (mode === 'hang') failing.cut(); // what it swallowed is answered by nobody
    }
    await following.stop();
  });
});
