/** What a test asks of the fake kernel is checked: a mistake in a test must not make it pass. */
import { beforeEach, expect, test } from 'vitest';
import { Overlay, Rtnl } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';

let kernel: FakeKernel;
beforeEach(() => {
  kernel = new FakeKernel();
});

// As a caller without types writes them.
// biome-ignore lint/suspicious/noExplicitAny: what is no argument
const any = (value: unknown) => value as any;

test('what cannot be meant is refused, and nothing is done', () => {
  const before = JSON.stringify(kernel.snapshot());
  const refused: readonly (readonly [run: () => unknown, code: string, words: RegExp])[] = [
    [() => kernel.fail('RTM_NEWLNK', 'EPERM'), 'ERR_INVALID_ARG_VALUE', /^syscall: .*RTM_NEWLNK.*RTM_NEWLINK/],
    [() => kernel.fail('ioctl', 'EPERM'), 'ERR_INVALID_ARG_VALUE', /RTM_NEWLINK, .* unshare, write/],
    [() => kernel.fail(any(5), 'EPERM'), 'ERR_INVALID_ARG_TYPE', /^syscall/],
    [() => kernel.intercept(any(5)), 'ERR_INVALID_ARG_TYPE', /^interceptor/],
    [() => kernel.advance(-1), 'ERR_INVALID_ARG_VALUE', /^ms/],
    [() => kernel.advance(Number.NaN), 'ERR_INVALID_ARG_VALUE', /^ms/],
    [() => kernel.advance(any('5')), 'ERR_INVALID_ARG_TYPE', /^ms/],
    [() => kernel.addNetns(''), 'ERR_INVALID_ARG_VALUE', /^name/],
    [() => kernel.addNetns('a/b'), 'ERR_INVALID_ARG_VALUE', /^name/],
    [() => kernel.addNetns(any(5)), 'ERR_INVALID_ARG_TYPE', /^name/],
    [() => kernel.removeNetns(any(5)), 'ERR_INVALID_ARG_TYPE', /^netns/],
    [() => kernel.state(any(null)), 'ERR_INVALID_ARG_TYPE', /^netns/],
    [() => kernel.overrun('', -1), 'ERR_INVALID_ARG_VALUE', /^dropped/],
    [() => kernel.overrun('', any('3')), 'ERR_INVALID_ARG_TYPE', /^dropped/],
  ];
  for (const [run, code, words] of refused) {
    expect(run, String(run)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(words) }));
  }
  expect(JSON.stringify(kernel.snapshot())).toBe(before);
});

test('what it does not model it says, and reaches no engine of the machine', async () => {
  await using rtnl = await Rtnl.open({ system: kernel.system });
  await expect(rtnl.links.add({ kind: 'vlan', name: 'v1', vlanId: 5 })).rejects.toMatchObject({
    code: 'EOPNOTSUPP',
    message: 'the fake kernel has no vlan links, only bridges, veths and vxlans',
  });
  await expect(rtnl.rules.add({ from: '10.0.0.0/8', table: 7 })).rejects.toThrow('the fake kernel takes no rules');
  expect(await rtnl.nexthops.list()).toEqual([]);
  await expect(rtnl.vlans.list()).rejects.toThrow('the fake kernel has no VLANs of bridges');
  await expect(rtnl.mdb.list({ bridge: 'br0' })).rejects.toMatchObject({
    code: 'EOPNOTSUPP',
    message: 'the fake kernel has no multicast groups of bridges',
  });
  await using overlay = await Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
  await expect(overlay.attach('docker:web', { address: '192.168.0.2/24' })).rejects.toMatchObject({
    code: 'OVERNS_DOCKER',
    message: 'the fake kernel has no Docker',
    hint: expect.stringContaining('netns:NAME'),
  });
  await expect(overlay.attach('podman:web', { address: '192.168.0.2/24' })).rejects.toMatchObject({
    code: 'OVERNS_PODMAN',
    message: 'the fake kernel has no Podman',
  });
  await expect(overlay.attach('web', { address: '192.168.0.2/24' })).rejects.toMatchObject({ code: 'ENOENT' });
  kernel.addNetns('web');
  expect((await overlay.attach('web', { address: '192.168.0.2/24' })).container).toBe('netns:web');
});
