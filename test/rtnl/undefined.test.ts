/** Where undefined counts as absent, for the compiler (exactOptionalPropertyTypes) and when it runs. */
import { expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';

test('what is made, changed and looked for takes it in every table', async () => {
  const kernel = new FakeKernel();
  try {
    await using rtnl = await Rtnl.open({ system: kernel.system });
    const nothing: undefined = undefined;
    await rtnl.links.add({ kind: 'bridge', name: 'br0', up: true, mtu: nothing });
    await rtnl.links.set({ name: 'br0', mtu: nothing, master: nothing });
    await rtnl.addresses.add({ link: 'br0', address: '10.0.0.1/24', broadcast: nothing });
    await rtnl.routes.add({ dst: '10.9.0.0/16', link: 'br0', gateway: nothing });
    await rtnl.neighbors.add({ link: 'br0', ip: '10.0.0.2', mac: '02:00:00:00:00:02', state: nothing });
    await rtnl.fdb.replace({ link: 'br0', mac: '02:00:00:00:00:02', dst: nothing });
    for (const rows of [
      await rtnl.links.list({ name: nothing, kind: 'bridge' }),
      await rtnl.addresses.list({ link: 'br0', family: nothing }),
      await rtnl.routes.list({ dst: '10.9.0.0/16', root: nothing, table: nothing }),
      await rtnl.neighbors.list({ ip: '10.0.0.2', mac: nothing }),
      await rtnl.fdb.list({ mac: '02:00:00:00:00:02', vlan: nothing }),
    ])
      expect(rows).toHaveLength(1);
    expect((await rtnl.neighbors.list({ ip: '10.0.0.2' }))[0]?.state).toBe('permanent');
    // The fake has none: it has been sent.
    expect((await rtnl.rules.list({ priority: nothing })).length).toBe(5);
    expect(await rtnl.nexthops.list({ id: nothing })).toEqual([]);
    for (const removal of [
      // @ts-expect-error: one field less is more
      () => rtnl.addresses.delete({ link: 'br0', address: '10.0.0.1/24', peer: nothing }),
      // @ts-expect-error
      () => rtnl.routes.delete({ dst: '10.9.0.0/16', gateway: nothing }),
      // @ts-expect-error
      () => rtnl.fdb.delete({ link: 'br0', mac: '02:00:00:00:00:02', dst: nothing }),
      // @ts-expect-error
      () => rtnl.rules.delete({ priority: 9, from: nothing }),
      // @ts-expect-error
      () => rtnl.addresses.flush({ link: nothing }),
      // @ts-expect-error
      () => rtnl.routes.flush({ table: nothing }),
      // @ts-expect-error
      () => rtnl.neighbors.flush({ link: nothing }),
      // @ts-expect-error
      () => rtnl.fdb.flush({ link: 'br0', dst: nothing }),
      // @ts-expect-error
      () => rtnl.rules.flush({ table: nothing }),
      // @ts-expect-error
      () => rtnl.nexthops.flush({ id: nothing }),
    ])
      await expect(removal(), String(removal)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(await rtnl.neighbors.list({ ip: '10.0.0.2' })).toHaveLength(1);
  } finally {
  }
});
