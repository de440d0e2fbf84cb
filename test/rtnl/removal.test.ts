/** What is removed is what was said: a field without a value, or nothing at all, stands for nothing. */
import { expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import { createNetns, type Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

type Loose = Readonly<Record<string, Readonly<Record<string, (...values: unknown[]) => Promise<unknown>>>>>;

const refused = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };

async function opened(): Promise<{ netns: Netns; rtnl: Rtnl; loose: Loose }> {
  const netns = await createNetns();
  const rtnl = await Rtnl.open({ netns: netns.name });
  return { netns, rtnl, loose: rtnl as unknown as Loose };
}

describeWith(['root', 'ip', 'ping'], 'what is removed', () => {
  test('nothing given deletes nothing, in every table', async () => {
    const { netns, rtnl, loose } = await opened();
    await using _ = rtnl;
    const before = await netns.ip('-d rule list');
    for (const table of ['links', 'addresses', 'routes', 'neighbors', 'fdb', 'rules', 'nexthops']) {
      const columns = { link: undefined, name: undefined, dst: undefined, from: undefined, table: undefined };
      const fields = { links: ['name'], rules: ['from', 'table'], routes: ['dst', 'table'] }[table] ?? ['link'];
      const named = Object.fromEntries(Object.entries(columns).filter(([name]) => fields.includes(name)));
      for (const item of [{}, named]) {
        await expect(loose[table]?.delete?.(item), table).rejects.toMatchObject(refused);
        await expect(loose[table]?.batch?.([{ op: 'delete', item }]), table).rejects.toMatchObject(refused);
      }
    }
    await expect(loose.rules?.delete?.({ family: 'inet6' })).rejects.toMatchObject(refused);
    await expect(loose.rules?.add?.({})).rejects.toMatchObject(refused);
    await expect(loose.rules?.add?.({ family: 'inet', priority: undefined })).rejects.toMatchObject(refused);
    expect(await netns.ip('-d rule list')).toBe(before);
    await netns.exec('ping', ['-c', '1', '127.0.0.1']);
  });

  test('a field without a value takes no other row', async () => {
    const { netns, rtnl, loose } = await opened();
    await using _ = rtnl;
    await netns.sysctl('net/ipv6/conf/default/addr_gen_mode', 1); // no address of the kernel's own
    await rtnl.links.add({ kind: 'vxlan', name: 'vx', vni: 7, port: 4789, up: true });
    for (const dst of ['10.0.0.1', '10.0.0.2'])
      await rtnl.fdb.append({ link: 'vx', mac: '00:00:00:00:00:00', dst, state: 'permanent' });
    await rtnl.rules.add({ priority: 9, from: '10.0.0.0/8', table: 42 });
    await rtnl.routes.add({ dst: '10.9.0.0/16', link: 'vx', metric: 5 });
    await rtnl.addresses.add({ link: 'vx', address: '10.1.0.1/24' });
    const before = [await netns.ip('rule'), await netns.ip('route'), await netns.ip('addr'), await netns.bridge('fdb')];
    const everything = { link: 'vx', mac: '00:00:00:00:00:00', dst: undefined };
    await expect(loose.fdb?.delete?.(everything)).rejects.toMatchObject(refused);
    await expect(loose.rules?.delete?.({ table: 42, from: undefined })).rejects.toThrow(/^from: expected a value, or/);
    await expect(loose.routes?.delete?.({ dst: '10.9.0.0/16', metric: undefined })).rejects.toThrow(/^metric: /);
    const address = { link: 'vx', address: '10.1.0.1/24', peer: undefined };
    await expect(loose.addresses?.delete?.(address)).rejects.toThrow(/^peer: /);
    expect([
      await netns.ip('rule'),
      await netns.ip('route'),
      await netns.ip('addr'),
      await netns.bridge('fdb'),
    ]).toEqual(before);
    for (const [table, filter] of [
      ['fdb', { link: 'vx', dst: undefined }],
      ['fdb', { link: 'vx', mac: undefined }],
      ['routes', { table: undefined }],
      ['routes', { root: undefined }],
      ['rules', { priority: undefined }],
      ['addresses', { link: undefined }],
      ['neighbors', { link: undefined }],
      ['nexthops', { id: undefined }],
    ] as const) {
      await expect(loose[table]?.flush?.(filter), table).rejects.toMatchObject(refused);
      if (table !== 'fdb') await expect(loose[table]?.flush?.(null), table).rejects.toMatchObject(refused);
    }
    expect([
      await netns.ip('rule'),
      await netns.ip('route'),
      await netns.ip('addr'),
      await netns.bridge('fdb'),
    ]).toEqual(before);
    // A link, a neighbour and a nexthop go by their key; the rest of what made them may stand there.
    const link = { kind: 'veth', name: 'd0', mtu: undefined } as const;
    await rtnl.links.add(link);
    await rtnl.links.delete(link);
    expect(await rtnl.links.list({ name: 'd0' })).toEqual([]);
  });

  test("the kernel's own rules go by their priority only", async () => {
    const { netns, rtnl } = await opened();
    await using _ = rtnl;
    for (const item of [{ table: 255 }, { action: 'table' }, { protocol: 'kernel' }, { family: 'inet6', table: 254 }]) {
      const error = await rtnl.rules.delete(item as { table: number }).catch((thrown) => thrown);
      expect(error, JSON.stringify(item)).toMatchObject({ code: 'EBUSY', syscall: 'RTM_DELRULE' });
      expect(error.hint).toBe('give its priority as well, if it is to go');
    }
    // One of somebody's, in front of it, goes as ever.
    await rtnl.rules.add({ priority: 100, table: 254, from: '10.0.0.0/8' });
    await rtnl.rules.delete({ table: 254 });
    const [none] = await rtnl.rules.batch([{ op: 'delete', item: { table: 254 } }]);
    expect(none).toMatchObject({ ok: false, error: { code: 'EBUSY' } });
    expect((await netns.ip('rule list')).trim().split('\n').length).toBe(3);
    const [local] = await rtnl.rules.list({ family: 'inet', priority: 0 });
    await rtnl.rules.add({ ...local, priority: 50 });
    await rtnl.rules.delete({ priority: 0 });
    expect(await netns.ip('rule list')).toMatch(/^50:\tfrom all lookup local/);
    await netns.exec('ping', ['-c', '1', '127.0.0.1']);
  });

  test('addresses are flushed as they are listed', async () => {
    const { netns, rtnl } = await opened();
    await using _ = rtnl;
    await rtnl.links.add({ kind: 'veth', name: 'v0', up: true, peer: { name: 'v1' } });
    for (const address of ['10.1.0.1/24', '10.1.0.2/24', '10.2.0.1/24', 'fd00::1/64'])
      await rtnl.addresses.add({ link: 'v0', address });
    await rtnl.addresses.add({ link: 'v1', address: '10.3.0.1/24' });
    expect(await rtnl.addresses.flush({ link: 'v0', family: 'inet' })).toBe(3);
    expect((await rtnl.addresses.list({ link: 'v0' })).map(({ address }) => address)).toContain('fd00::1/64');
    expect(await rtnl.addresses.flush({ link: 'v0', address: '10.1.0.1/24' })).toBe(0);
    const rest = (await rtnl.addresses.list()).filter(({ scope }) => scope !== 'host').length;
    expect(await rtnl.addresses.flush()).toBe(rest);
    expect(await netns.ip('-o addr')).toMatch(/^1: lo +inet 127\.0\.0\.1\/8[^\n]*\n1: lo +inet6 ::1\/128[^\n]*\n$/);
    expect(await rtnl.addresses.flush({ link: 'lo', family: 'inet' })).toBe(1);
  });

  test('of a batch the wrong one is named, and nothing is sent', async () => {
    const { rtnl, loose } = await opened();
    await using _ = rtnl;
    const right = { op: 'add', item: { link: 'lo', address: '10.0.0.1/8' } };
    const batch = (table: string, ...operations: unknown[]): Promise<unknown> | undefined =>
      loose[table]?.batch?.(operations);
    await expect(batch('addresses', right, { op: 'add', item: { link: 'lo', address: 5 } })).rejects.toThrow(
      /^operations\[1\]: address: /,
    );
    await expect(batch('addresses', right, right, { op: 'add', item: { link: 'lo', adress: 5 } })).rejects.toThrow(
      /^operations\[2\]: unknown field /,
    );
    const neighbor = { op: 'add', item: { link: 'lo', ip: '10.0.0.9', state: 'noarp' } };
    await expect(batch('neighbors', neighbor, { op: 'add', item: { link: 'lo', ip: 'x' } })).rejects.toThrow(
      /^operations\[1\]: ip: "x"/,
    );
    for (const table of ['links', 'addresses', 'neighbors', 'fdb', 'rules']) {
      // biome-ignore lint/suspicious/noSparseArray: what is refused
      await expect(loose[table]?.batch?.([, { op: 'delete', item: {} }]), table).rejects.toThrow(
        /^operations\[0\]: operation: expected an object, got undefined$/,
      );
    }
    await rtnl.links.add({ kind: 'bridge', name: 'br0' });
    const gone = { op: 'delete', item: { name: 'br0' } };
    await expect(batch('links', gone, { op: 'replace', item: { kind: 'bridge', name: 'b', Mtu: 1 } })).rejects.toThrow(
      /^operations\[1\]: unknown field /,
    );
    expect((await rtnl.links.list({ kind: 'bridge' })).length).toBe(1);
    expect((await rtnl.addresses.list()).map(({ address }) => address)).not.toContain('10.0.0.1/8');
    expect(await rtnl.neighbors.list()).toEqual([]);
  });

  test('an empty name is no null', async () => {
    const { rtnl } = await opened();
    await using _ = rtnl;
    await rtnl.links.add({ kind: 'bridge', name: 'br0' });
    await rtnl.links.add({ kind: 'veth', name: 'd0', master: 'br0' });
    for (const change of [{ master: '' }, { masterIndex: 0 }]) {
      const code = 'ERR_INVALID_ARG_VALUE';
      await expect(rtnl.links.set({ name: 'd0', ...change })).rejects.toMatchObject({ name: 'RangeError', code });
      await expect(rtnl.links.replace({ kind: 'veth', name: 'd0', ...change })).rejects.toMatchObject({ code });
    }
    expect((await rtnl.links.list({ name: 'd0' }))[0]?.master).toBe('br0');
    await rtnl.links.set({ name: 'd0', master: null });
    expect((await rtnl.links.list({ name: 'd0' }))[0]?.master).toBeUndefined();
  });

  test('what the kernel knows as true only may be false', async () => {
    const { rtnl } = await opened();
    await using _ = rtnl;
    await rtnl.rules.add({ priority: 7, table: 9, l3mdev: false });
    expect(await rtnl.rules.list({ table: 9 })).toMatchObject([{ priority: 7 }]);
    await rtnl.rules.delete({ priority: 7, table: 9, l3mdev: false });
    const wrong = { link: 'lo', address: '127.0.0.2/8', family: 'inet6' } as const;
    await expect(rtnl.addresses.add(wrong)).rejects.toThrow(/^family: expected that of address/);
    await expect(rtnl.addresses.add({ ...wrong, family: 5 as never })).rejects.toThrow(/^family: /);
    await expect(rtnl.addresses.add({ link: 'lo', address: '127.0.0.2/8', unknown: 5 as never })).rejects.toThrow(
      /^unknown: /,
    );
  });
});
