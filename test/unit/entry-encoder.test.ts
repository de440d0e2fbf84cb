/** A batch comes to the same records whether the addon reads the addresses that follow one another, or JavaScript does. */
import { describe, expect, test } from 'vitest';
import { encodeEntries } from '../../lib/rtnl/entry-encoder.js';
import { ENTRY_RECORD } from '../../lib/rtnl/entry-layout.js';
import { loadAddon } from '../../lib/system/addon.js';
import type { Native } from '../../lib/system/native.js';

type Item = Readonly<Record<string, unknown>>;

const socket = await (loadAddon() as Native).openRtnl('/proc/self/ns/net');
const read = socket.addresses.bind(socket);
const MAC = '02:42:c0:a8:00:09';
const neighbor = (more: Item = {}): Item => ({
  link: 'vxlan1',
  ip: '192.168.0.9',
  mac: MAC,
  state: 'permanent',
  ...more,
});
const replaced = (items: readonly Item[]) => items.map((item) => ({ op: 'replace', item }));

function outcome(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
}

function expectSame(table: 'neighbor' | 'fdb', operations: readonly { op: string; item: unknown }[]): unknown {
  const expected = outcome(() => encodeEntries(table, operations));
  expect(outcome(() => encodeEntries(table, operations, read))).toEqual(expected);
  return expected;
}

describe('entries that are like the one before', () => {
  test.each([
    '10.0.0.1',
    'fd00::9',
    'FD00:0::9',
    'fe80::1',
    '::',
    '0.0.0.0',
    '255.255.255.255',
    '1:2:3:4:5:6:7::',
    '::1:2:3:4:5:6:7',
    'fd00::1.2.3.4',
    '::ffff:1.2.3.4',
    '::ffff:102:304',
    '::1.2.3.4',
    '010.0.0.1',
    '10.0.0',
    '10.0.0.1 ',
    ' 10.0.0.1',
    '10.0.0.256',
    '10.0.0.1/24',
    'fe80::1%lo',
    'fe80::1%1',
    '1::2::3',
    'g::1',
    '',
    '\n',
    '10.0.0.1\n',
    '\n10.0.0.1',
    `10.0.0.1\n${MAC}\n10.0.0.2`,
    '10.0.0.1\u0000',
    '１0.0.0.1',
    '\u{1d7d8}.0.0.1',
    '10.0.0.İ',
    'x'.repeat(5000),
    null,
    7,
    [],
  ])('with the IP %j', (ip) => {
    expectSame('neighbor', replaced([neighbor(), neighbor({ ip }), neighbor()]));
    expectSame(
      'fdb',
      replaced(
        [neighbor(), neighbor(), neighbor()].map(({ ip: _, ...item }, at) => ({
          ...item,
          dst: at === 1 ? ip : '10.0.0.1',
        })),
      ),
    );
  });

  test.each([
    '02:42:C0:A8:00:09',
    '00:00:00:00:00:00',
    'ff:ff:ff:ff:ff:ff',
    '02-42-c0-a8-00-09',
    '0242c0a80009',
    '2:42:c0:a8:0:9',
    '02:42:c0:a8:00:0g',
    '02:42:c0:a8:00:09 ',
    '02:42:c0:a8:00:0\u0139',
    '',
    '\n',
    undefined,
    null,
    7,
  ])('with the MAC %j', (mac) => {
    expectSame('neighbor', replaced([neighbor(), neighbor({ mac }), neighbor()]));
    expectSame(
      'fdb',
      replaced([neighbor(), neighbor({ mac }), neighbor()].map(({ ip, ...item }) => ({ ...item, dst: ip }))),
    );
  });

  test.each<Item>([
    { state: undefined },
    { state: 'reachable' },
    { state: 'nonsense' },
    { link: 'br0' },
    { link: '' },
    { link: undefined },
    { vni: 42 },
    { vni: -1 },
    { flags: ['router'] },
    { linkIndex: 7 },
    { nonsense: 1 },
    { unknown: [] },
    { port: 4789 },
  ])('but for %j', (more) => {
    expectSame('neighbor', replaced([neighbor(), neighbor(more), neighbor(), neighbor()]));
    expectSame('neighbor', replaced([neighbor(more), neighbor(more), neighbor()]));
  });

  test.each(['add', 'append', 'delete', 'set', 'nonsense', undefined])('but for the verb %j', (op) => {
    const plain = { op: 'replace', item: neighbor() };
    expectSame('neighbor', [
      plain,
      { op: op as string, item: neighbor() },
      { op: op as string, item: neighbor() },
      plain,
    ]);
    const entry = { link: 'vxlan1', mac: MAC, dst: '10.0.0.1' };
    expectSame('fdb', [
      { op: op as string, item: entry },
      { op: op as string, item: { ...entry, state: undefined } },
    ]);
  });

  test('names the first of several that are wrong', () => {
    const wrong = [neighbor(), neighbor(), neighbor({ ip: '10.0.0' }), neighbor({ nonsense: 1 })];
    expect(expectSame('neighbor', replaced(wrong))).toMatch(/operations\[2\]/);
  });

  test('more of them than are read at once', () => {
    const many = replaced(
      Array.from({ length: 70_000 }, (_, i) => neighbor({ ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` })),
    );
    const { records } = encodeEntries('neighbor', many, read);
    expect(Buffer.compare(records, encodeEntries('neighbor', many).records)).toBe(0);
    expect([...records.slice(-ENTRY_RECORD.size).slice(ENTRY_RECORD.ip, ENTRY_RECORD.ip + 4)]).toEqual([
      10, 1, 17, 111,
    ]);
  });

  test('what cannot be a text of a batch is refused, and nothing is written beside the records', () => {
    const records = new Uint8Array(2 * ENTRY_RECORD.size);
    for (const [first, count, text] of [
      [0, 1, `${MAC}\n10.0.0.1`],
      [1, 2, `${MAC}\n10.0.0.1\n${MAC}\n10.0.0.1`],
      [1, 1, MAC],
      [1, 1, `${MAC}\n10.0.0.1\n`],
      [3, 0, ''],
      [1, 0xffff_ffff, ''],
      [0, 1, ''],
    ] as const)
      expect(read(records, first, count, text), `${first} ${count} ${JSON.stringify(text)}`).toBe(false);
    expect(read(records, 1, 1, `${MAC}\n10.0.0.1`)).toBe(true);
    expect(read(records, 0, 0, '')).toBe(true);
  });
});
