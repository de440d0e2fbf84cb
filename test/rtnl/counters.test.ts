/** Counters of links, as /sys and iproute2 show them. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { netns, Rtnl } from '../../lib/index.js';
import { createNetns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

describeWith(['root', 'ip', 'ping'], 'counters of links', () => {
  test('are those of /sys', async () => {
    const space = await createNetns();
    await space.ip('link add br0 type bridge');
    await space.ip('link add port0 type veth peer name port1');
    await space.ip('link set port0 master br0');
    await space.ip('link set lo up');
    await space.exec('ping', ['-c3', '-i0.01', '-s', '1000', '127.0.0.1']);
    await using rtnl = await Rtnl.open({ netns: space.name });
    const all = await rtnl.links.counters();
    expect(all.map(({ link }) => link).sort()).toEqual(['br0', 'lo', 'port0', 'port1']);
    for (const { link, index, rxOtherhostDropped, ...counters } of all) {
      expect(typeof rxOtherhostDropped).toBe('bigint');
      const files = Object.keys(counters).map((name) => `/sys/class/net/${link}/statistics/${snake(name)}`);
      const { stdout } = await netns.exec(space.name, 'cat', [`/sys/class/net/${link}/ifindex`, ...files]);
      expect([BigInt(index), ...Object.values(counters)]).toEqual(stdout.trim().split('\n').map(BigInt));
    }
    const [lo] = await rtnl.links.counters({ name: 'lo' });
    expect(lo).toMatchObject({ rxPackets: 6n, txBytes: 6n * 1028n });
    const names = async (filter: object): Promise<string[]> =>
      (await rtnl.links.counters(filter)).map(({ link }) => link).sort();
    expect(await names({ kind: 'veth' })).toEqual(['port0', 'port1']);
    expect(await names({ master: 'br0' })).toEqual(['port0']);
    expect(await names({ name: 'br0', kind: 'veth' })).toEqual([]);
    expect(await names({ name: 'none' })).toEqual([]);
    expect(await names({ name: 'a-name-that-is-too-long' })).toEqual([]);
    await expect(rtnl.links.counters({ master: 'none' })).rejects.toMatchObject({ code: 'ENODEV' });
  });

  test('of the machine itself are 64 bits wide', async () => {
    await using rtnl = await Rtnl.open();
    const read = async (): Promise<bigint> => BigInt(await readFile('/sys/class/net/lo/statistics/rx_bytes', 'utf8'));
    const before = await read();
    const [lo] = await rtnl.links.counters({ name: 'lo' });
    expect((lo?.rxBytes ?? -1n) >= before).toBe(true);
    expect((lo?.rxBytes ?? -1n) <= (await read())).toBe(true);
  });
});

test('what is no filter is refused by name', async () => {
  // biome-ignore lint/suspicious/noExplicitAny: what callers without types pass
  await using rtnl = (await Rtnl.open()) as any;
  const { links } = rtnl;
  await expect(links.counters({ nmae: 'lo' })).rejects.toThrow(/"nmae": did you mean name/);
  await expect(links.counters({ name: 1 })).rejects.toThrow(/^name: /);
  await expect(links.counters('lo')).rejects.toThrow(/^filter: /);
  await expect(links.counters({}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORT_ERR' });
});
