/** What a host follows of real stores on the real kernel, where it is not all of the network. */
import { expect, test } from 'vitest';
import { openStore, queryResolver, Rtnl } from '../../lib/index.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

/** A host that is not there. */
const ELSEWHERE = '10.0.0.99';

describeWith(['root', 'ip', 'ping', 'consul', 'etcd'], 'sync', () => {
  test.each([
    ['Consul', 'used'],
    ['Consul', 'lookup'],
    ['etcd', 'used'],
    ['etcd', 'lookup'],
  ] as const)('%s, %s: endpoints are found, and moves followed or not', async (kind, sync) => {
    const at =
      kind === 'Consul' ? `consul://127.0.0.1:${(await Consul.start()).port}` : `etcd://${(await Etcd.start()).at}`;
    const store = await openStore(`${at}/demo`);
    onCleanup(() => store.close());
    const [a, b] = await twoSites();
    const { endpoint, ip } = b.container;
    const where = { overlay: a.overlay.name, vni: a.overlay.vni };
    for (const each of [a, b]) await store.publish(each.container.endpoint, where);
    const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store, sync });
    expect(await ping(a.container.netns, ip)).toMatchObject({ lost: 0 });
    expect((await queryResolver(a.overlay.name))?.status).toMatchObject({ sync, syncReason: `${sync} is asked for` });
    await using rtnl = await Rtnl.open({ netns: a.overlay.name });
    const vtep = async () =>
      (await rtnl.fdb.list({ link: 'vxlan1' })).find(({ mac, dst }) => mac === endpoint.mac && dst !== undefined)?.dst;
    expect(await vtep()).toBe(endpoint.vtep);
    await store.publish({ ...endpoint, vtep: ELSEWHERE }, where);
    expect(await store.lookup({ ...where, kind: 'l3', ip })).toMatchObject({ vtep: ELSEWHERE });
    if (sync === 'lookup') {
      // Its answer holds for its TTL.
      expect(await ping(a.container.netns, ip)).toMatchObject({ lost: 0 });
      expect(await vtep()).toBe(endpoint.vtep);
      return;
    }
    await until(async () => (await vtep()) === ELSEWHERE, 'the move');
    await store.publish(endpoint, where);
    await until(async () => (await vtep()) === endpoint.vtep, 'its return');
    expect(await ping(a.container.netns, ip)).toMatchObject({ lost: 0 });
    expect(resolver.stats(a.overlay.name).lookups).toBeLessThan(4);
  });
});
