/** What the kernel refuses: each refusal says what it was about and what to do, in the words that doctor uses. */
import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { expect, test } from 'vitest';
import { doctor } from '../../lib/doctor/doctor.js';
import { type FdbEntry, type NetlinkError, Rtnl } from '../../lib/index.js';
import { atLeast, BECOME_PRIVILEGED, remedyFor } from '../../lib/system/remedies.js';
import { createNetns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

async function refusal(work: Promise<unknown>): Promise<NetlinkError> {
  return work.then(
    () => {
      throw new Error('it was done');
    },
    (error) => error,
  );
}

describeWith(['root', 'ip'], 'refusals of the kernel', () => {
  test('name the kinds of two links, and what one cannot change', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await rtnl.links.add({ kind: 'vxlan', name: 'vx0', vni: 7, port: 4789 });
    const other = await refusal(rtnl.links.replace({ kind: 'ipvlan', name: 'vx0', link: 'lo' }));
    expect(other.message).toMatch(/: it is of kind vxlan, not of kind ipvlan$/);
    const fixed = await refusal(rtnl.links.replace({ kind: 'vxlan', name: 'vx0', vni: 8, port: 4789 }));
    expect(fixed.hint).toBe(
      'links of kind vxlan cannot change vni once they are made: delete this one and make another',
    );
  });

  test('name what exists, what is missing, and the feature that the kernel lacks', async () => {
    const netns = await createNetns();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    await rtnl.links.add({ kind: 'bridge', name: 'br0', up: true });
    await rtnl.links.add({ kind: 'veth', name: 'v0', peer: { name: 'v1' } });
    await rtnl.links.add({ kind: 'vxlan', name: 'vx0', vni: 7, port: 4789 });
    await rtnl.addresses.add({ link: 'br0', address: '10.0.0.1/24' });
    await rtnl.routes.add({ dst: '10.9.0.0/16', link: 'br0' });
    const neighbor = { link: 'br0', ip: '10.0.0.2', mac: '02:00:00:00:00:02', state: 'permanent' } as const;
    const entry: FdbEntry = { link: 'vx0', mac: '02:00:00:00:00:02', dst: '10.1.0.1', state: 'permanent' };
    await rtnl.neighbors.add(neighbor);
    await rtnl.fdb.add(entry);
    const where = `netns ${netns.name}`;
    const bare = { link: 'nope', ip: '10.0.0.2', state: 'permanent' };
    for (const [work, code, hint] of [
      [
        () => rtnl.links.add({ kind: 'bridge', name: 'v0' }),
        'EEXIST',
        `there is a link "v0" in ${where}: delete it, or`,
      ],
      [
        () => rtnl.links.add({ kind: 'vxlan', name: 'vx1', vni: 7, port: 4789 }),
        'EEXIST',
        'another vxlan device of the host has VNI 7 on this port: delete it, or choose another `vni` or `port`',
      ],
      [
        () => rtnl.addresses.add({ link: 'br0', address: '10.0.0.1/24' }),
        'EEXIST',
        'br0 has 10.0.0.1/24 already: `replace()` changes it',
      ],
      [
        () => rtnl.routes.add({ dst: '10.9.0.0/16', link: 'br0' }),
        'EEXIST',
        'there is a route to 10.9.0.0/16 with the same metric in the same table',
      ],
      [() => rtnl.neighbors.add(neighbor), 'EEXIST', 'there is an entry for 10.0.0.2 on br0: `replace()` changes it'],
      [
        () => rtnl.fdb.add(entry),
        'EEXIST',
        'there is an entry for 02:00:00:00:00:02 on vx0: `replace()` changes it, `append()`',
      ],
      [() => rtnl.neighbors.add(bare), 'ENODEV', `there is no link "nope" in ${where}`],
      [() => rtnl.links.delete({ name: 'nope' }), 'ENODEV', `there is no link "nope" in ${where}`],
      [() => rtnl.links.set({ name: 'v0', master: 'nope' }), 'ENODEV', `there is no link "nope" in ${where}`],
      [() => rtnl.addresses.list({ link: 'nope' }), 'ENODEV', `there is no link "nope" in ${where}`],
      [() => rtnl.neighbors.delete({ link: 'br0', ip: '10.0.0.9' }), 'ENOENT', 'there is no entry for 10.0.0.9 on br0'],
      [
        () => rtnl.fdb.delete({ ...entry, mac: '02:00:00:00:00:09' }),
        'ENOENT',
        'vx0 has no such entry for 02:00:00:00:00:09 in its own FDB',
      ],
      [
        () => rtnl.links.add({ kind: 'nlmon-not-there' as 'nlmon', name: 'x0' }),
        'EOPNOTSUPP',
        `this is Linux ${release()}, without "nlmon-not-there" devices: load the module: modprobe nlmon-not-there`,
      ],
      [
        () => rtnl.links.add({ kind: 'Bridge', name: 'x0' }),
        'EOPNOTSUPP',
        'there is no kind "Bridge": did you mean bridge?',
      ],
      [() => rtnl.links.replace({ name: 'x0', up: true } as never), 'EOPNOTSUPP', 'to make one takes its kind'],
      [
        () => rtnl.links.add({ kind: 'vxlan', name: 'x0' }),
        'EINVAL',
        'a link of kind vxlan takes vni or collectMetadata',
      ],
      [() => rtnl.links.add({ kind: 'macvlan', name: 'x0' }), 'EINVAL', 'a link of kind macvlan takes link'],
      [
        () => rtnl.addresses.delete({ link: 'br0', address: '10.0.0.9/24' }),
        'EADDRNOTAVAIL',
        'there is no 10.0.0.9/24 on br0',
      ],
      [() => rtnl.routes.delete({ dst: '10.99.0.0/16' }), 'ESRCH', 'there is no such route to 10.99.0.0/16'],
      [
        () => rtnl.rules.delete({ priority: 99 }),
        'ENOENT',
        'there is no such rule: `rules.list()` shows those there are',
      ],
      [() => rtnl.nexthops.delete({ id: 99 }), 'ENOENT', 'there is no nexthop 99'],
      [
        () => rtnl.links.set({ name: 'br0', kind: 'vxlan', ageing: 5 }),
        'EOPNOTSUPP',
        'br0 is no vxlan, or vxlan devices cannot be changed',
      ],
      [
        () => rtnl.fdb.flush({ link: 'v0' }),
        'EOPNOTSUPP',
        `bulk deletion of FDB entries of a vxlan takes Linux 6.7 (this is Linux ${release()}), and v0 to be a vxlan`,
      ],
      [
        () => rtnl.fdb.add({ ...entry, link: 'v0', flags: ['master'] }),
        'EOPNOTSUPP',
        'v0 has no such FDB: a vxlan has one',
      ],
    ] as [() => Promise<unknown>, string, string][]) {
      const error = await refusal(work());
      expect([error.code, error.hint], error.message).toEqual([code, expect.stringContaining(hint)]);
      expect(error.netns, error.message).toBe(where);
    }
  });

  test('name the capability and the namespace, as doctor does', async () => {
    const netns = await createNetns();
    const main = new URL('../../dist/index.js', import.meta.url).pathname;
    const script = `
      import { Rtnl } from ${JSON.stringify(main)};
      const rtnl = await Rtnl.open({});
      for (const work of [rtnl.links.add({ kind: 'bridge', name: 'x0' }), Rtnl.open({ netns: ${JSON.stringify(netns.name)} })])
        await work.catch(({ code, hint }) => console.log(JSON.stringify({ code, hint })));
      await rtnl.close();`;
    const as = async (...user: string[]): Promise<{ code: string; hint: string }[]> => {
      const { stdout } = await netns.exec('setpriv', [...user, process.execPath, '--input-type=module', '-e', script]);
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    };
    const none = await as('--bounding-set=-all', '--inh-caps=-all');
    expect(none).toEqual([
      {
        code: 'EPERM',
        hint: `it takes CAP_NET_ADMIN in the user namespace that owns this network namespace, and this process has none: ${BECOME_PRIVILEGED}`,
      },
      {
        code: 'EPERM',
        hint: `it takes CAP_SYS_ADMIN in the user namespace that owns netns ${netns.name}, and this process has none: ${BECOME_PRIVILEGED}`,
      },
    ]);
    const { stdout } = await netns.exec('unshare', ['-Ur', process.execPath, '--input-type=module', '-e', script]);
    const [elsewhere] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(elsewhere).toEqual({
      code: 'EPERM',
      hint: expect.stringContaining('and this process has it in another one'),
    });
  });
});

test('doctor gives the same remedies', async () => {
  const texts = (await doctor()).checks.map(({ remedy }) => remedy ?? '').join('\n');
  const folder = new URL('../../lib/doctor/', import.meta.url);
  const source = readdirSync(folder)
    .map((file) => readFileSync(new URL(file, folder), 'utf8'))
    .join('');
  expect(source).not.toMatch(/modprobe|gc_thresh3=|unshare --user/);
  expect(texts).not.toContain('undefined');
});

test('a full neighbour table: the threshold and its sysctl', () => {
  const failure = { errno: -105, syscall: 'RTM_NEWNEIGH' };
  const refused = { code: 'ENOBUFS', failure, table: 'neighbor', request: { ip: 'fd00::1' } };
  const host = {
    release: '6.18.0',
    read: (path: string) => (path.includes('/ipv6/neigh/default/gc_thresh3') ? '1024' : undefined),
  };
  expect(remedyFor(refused, host)).toBe(
    'the neighbour table of all namespaces together is full (gc_thresh3 = 1024): sysctl -w net.ipv6.neigh.default.gc_thresh3=16384; permanent entries and those with extern_learn are exempt',
  );
  // A child namespace does not show it.
  expect(remedyFor({ ...refused, request: { ip: '10.0.0.1' } }, { ...host, read: () => undefined })).toContain(
    'full (gc_thresh3 of the host): sysctl -w net.ipv4.neigh.default.gc_thresh3=16384',
  );
});

test('what an older kernel lacks is named with the release that has it', () => {
  const failure = { errno: -22, syscall: 'RTM_NEWLINK' };
  const refused = {
    code: 'EINVAL',
    failure,
    table: 'link',
    op: 'add',
    request: { kind: 'vxlan', vni: 7, localbypass: false },
  };
  expect(remedyFor(refused, { release: '6.1.0-28-amd64', read: () => undefined })).toBe(
    'localbypass takes Linux 6.4, this is 6.1.0-28-amd64',
  );
  expect(remedyFor(refused, { release: '6.4.0', read: () => undefined })).toBeUndefined();
  expect([atLeast('6.4', '6.10.1'), atLeast('6.4', '6.3.9'), atLeast('5.19', '6.0'), atLeast('6.4', 'x')]).toEqual([
    true,
    false,
    true,
    false,
  ]);
});
