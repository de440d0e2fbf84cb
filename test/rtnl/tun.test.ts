/** tun and tap devices, which rtnetlink lists and an ioctl makes. */
import { expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import { createNetns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

type Info = { readonly linkinfo: { readonly info_data: object } };

describeWith(['root', 'ip'], 'tun and tap devices', () => {
  test('are made as they are wanted, in the namespace, and stay', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const ids = { owner: 65534, groupId: 65534 };
    const answers = await rtnl.links.batch([
      { op: 'add', item: { kind: 'bridge', name: 'br0' } },
      {
        op: 'add',
        item: {
          ...{ kind: 'tun', name: 'tap0', mode: 'tap', multiQueue: true, vnetHdr: true, ...ids },
          ...{ mtu: 1400, mac: '02:00:00:00:00:07', master: 'br0', up: true },
        },
      },
      { op: 'add', item: { kind: 'tun', name: 'tun0', mode: 'tun', pi: true } },
    ]);
    expect(answers).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
    const [tap] = await rtnl.links.list({ name: 'tap0' });
    expect(tap).toMatchObject({
      ...{ kind: 'tun', mode: 'tap', pi: false, vnetHdr: true, multiQueue: true, persist: true, ...ids },
      ...{ mtu: 1400, mac: '02:00:00:00:00:07', master: 'br0', up: true },
    });
    const dataOf = async (name: string): Promise<object | undefined> =>
      ((await netns.ipJson(`-d link show ${name}`)) as unknown as Info[])[0]?.linkinfo.info_data;
    expect(await dataOf('tap0')).toMatchObject({
      type: 'tap',
      pi: false,
      vnet_hdr: true,
      multi_queue: true,
      persist: true,
    });
    expect(await dataOf('tun0')).toMatchObject({
      type: 'tun',
      pi: true,
      vnet_hdr: false,
      multi_queue: false,
      persist: true,
    });
    // One more change, and what is there already.
    await rtnl.links.replace({ kind: 'tun', name: 'tap0', mode: 'tap', mtu: 1300 });
    await rtnl.links.replace({ ...tap, mtu: 1300 } as never);
    await rtnl.links.set({ name: 'tap0', kind: 'tun', up: false });
    expect(await rtnl.links.list({ kind: 'tun', mtu: 1300, up: false })).toHaveLength(1);
  });

  test('what cannot be is refused, and leaves nothing', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await netns.ip('link add br0 type bridge');
    await rtnl.links.add({ kind: 'tun', name: 'tun0', mode: 'tun' });
    const before = await netns.ipJson('link show');
    const tap = { kind: 'tun', mode: 'tap' } as const;
    for (const name of ['br0', 'tun0']) {
      const error = await rtnl.links.add({ ...tap, name }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'EEXIST', syscall: 'TUNSETIFF', hint: expect.stringContaining(name) });
    }
    await expect(rtnl.links.add({ ...tap, name: 'tap1', master: 'nobody' })).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(rtnl.links.add({ ...tap, name: 'tap1', mtu: 1 })).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(rtnl.links.add({ kind: 'tun', name: 'tap1' } as never)).rejects.toThrow(/^mode: expected/);
    await expect(rtnl.links.add({ ...tap, name: 'tap1', owner: 2 ** 32 - 1 })).rejects.toThrow(/^owner: /);
    await expect(rtnl.links.replace({ ...tap, name: 'tun0' })).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
      hint: expect.stringContaining('mode'),
    });
    expect(await netns.ipJson('link show')).toEqual(before);
  });
});
