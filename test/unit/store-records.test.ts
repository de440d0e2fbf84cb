import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Endpoint } from '../../lib/store/contract.js';
import { EndpointTable } from '../../lib/store/endpoint-table.js';
import {
  checkEndpoint,
  checkKey,
  checkKind,
  checkValue,
  decodeRecord,
  printable,
  type RecordKind,
  readRecord,
  recordEntry,
} from '../../lib/store/records.js';

const IP = '192.168.0.2';
const MAC = '02:42:c0:a8:00:02';
const bytes = (text: string) => Buffer.from(text);
/** Nothing in a message may move the cursor, end the line or turn the direction of the text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNFIT = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

describe('values as stored', () => {
  test.each<[RecordKind, string, string, string]>([
    ['arp', IP, MAC, MAC],
    ['arp', IP, `${MAC}\n`, MAC],
    ['arp', IP, `${MAC.toUpperCase()}\r\n \t`, MAC],
    ['fib', MAC, '10.0.0.1', '10.0.0.1'],
    ['fib', MAC, '10.0.0.1\n', '10.0.0.1'],
    ['fib', MAC, 'FD00:0::1', 'fd00::1'],
    ['arp', 'fd00::2', MAC, MAC],
  ])('%s/%s = %j', (kind, key, stored, value) => {
    expect(decodeRecord(kind, key, bytes(stored), 'x')).toBe(value);
  });

  test.each<[RecordKind, string, string, RegExp]>([
    ['arp', IP, '', /empty/],
    ['arp', IP, '\n', /empty/],
    ['arp', IP, 'zz', /"zz" is not a MAC address/],
    ['arp', IP, '02-42-c0-a8-00-02', /is not a MAC address/],
    ['arp', IP, '01:00:5e:00:00:01', /multicast/],
    ['arp', IP, 'ff:ff:ff:ff:ff:ff', /broadcast/],
    ['arp', IP, '00:00:00:00:00:00', /zeros/],
    ['arp', IP, '10.0.0.1', /is not a MAC address/],
    ['arp', IP, `${MAC} ${MAC}`, /is not a MAC address/],
    ['arp', IP, `\u0000${MAC}`, /is not a MAC address/],
    ['arp', IP, 'a'.repeat(2 ** 19), /value of 524288 bytes, "a{40}\.\.\.", is not/],
    ['arp', IP, '"x" is not "y\u009b', /is not a MAC address/],
    ['fib', MAC, MAC, /is not an IP address/],
    ['fib', MAC, '224.0.0.1', /multicast/],
    ['fib', MAC, 'ff02::1', /multicast/],
    ['fib', MAC, '0.0.0.0', /unspecified/],
    ['fib', MAC, '255.255.255.255', /broadcast/],
    ['fib', MAC, '127.0.0.1', /loopback/],
    ['fib', MAC, 'fe80::1', /link-local/],
    ['fib', MAC, 'fe80::1%eth0', /zone/],
    ['fib', MAC, '::ffff:10.0.0.1', /IPv4-mapped/],
    ['fib', MAC, '10.0.0.1/24', /prefix length/],
    ['fib', MAC, '10.0.0.1:4789', /is not an IP address/],
    ['arp', 'FD00::2', MAC, /key is to be written fd00::2/],
    ['arp', '224.0.0.1', MAC, /key "224.0.0.1" is not a unicast address/],
    ['arp', 'x/y', MAC, /key "x\/y" is not an IP address/],
    ['fib', MAC.toUpperCase(), '10.0.0.1', /key is to be written 02:42:c0:a8:00:02/],
    ['fib', '33:33:00:00:00:01', '10.0.0.1', /multicast/],
  ])('%s/%s = %.60j is refused', (kind, key, stored, problem) => {
    expect(() => decodeRecord(kind, key, bytes(stored), 'demo/x in consul://h:8500')).toThrow(
      expect.objectContaining({
        code: 'OVERNS_RECORD',
        message: expect.stringMatching(problem),
        hint: expect.stringContaining('put '),
      }),
    );
    const entry = recordEntry(kind, key, bytes(stored), undefined);
    expect(entry.problem).toMatch(problem);
    expect(entry.value.length).toBeLessThan(300);
  });

  test('bytes that are no UTF-8', () => {
    expect(readRecord('arp', IP, Buffer.from([0xff, 0xfe, 0x80]))).toHaveProperty('problem');
  });

  test('whatever is stored: a canonical value, or a problem in one printable line', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.string({ unit: 'binary', maxLength: 100 }).map(bytes),
      fc.string({ unit: 'grapheme', maxLength: 100 }).map(bytes),
      fc.ipV4().map(bytes),
      fc.ipV6().map(bytes),
    );
    const key = fc.oneof(fc.string({ unit: 'binary' }), fc.ipV4(), fc.ipV6(), fc.constant(MAC), fc.constant(IP));
    fc.assert(
      fc.property(fc.constantFrom<RecordKind>('arp', 'fib'), key, anything, (kind, at, stored) => {
        const read = readRecord(kind, at, stored);
        const entry = recordEntry(kind, at, stored, undefined);
        if ('value' in read) {
          expect(checkValue(kind, read.value)).toBe(read.value);
          expect(checkKey(kind, at)).toBe(at);
          expect(entry).toEqual({ kind, key: at, value: read.value });
        } else {
          expect(read.problem).not.toMatch(UNFIT);
          expect(read.problem.length).toBeLessThan(1000);
          expect(entry.value).not.toMatch(UNFIT);
          expect(entry.problem).toBe(read.problem);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('what is written is read back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (octets) => {
        const mac = Array.from(octets, (one) => one.toString(16).padStart(2, '0')).join(':');
        const usable = (octets[0] as number) % 2 === 0 && octets.some((one) => one > 0);
        const read = readRecord('arp', IP, bytes(mac));
        expect(read).toEqual(usable ? { value: mac } : { problem: expect.any(String) });
      }),
    );
  });

  test('printable', () => {
    expect(printable('a\u001b[31m\u202eb\ud800', 99)).toBe('a\\u001b[31m\\u202eb\\ud800');
    expect(printable('abcdef', 3)).toBe('abc...');
    expect(printable('😀', 99)).toBe('😀');
  });
});

describe('arguments', () => {
  test('kinds, keys and values to be written', () => {
    expect(() => checkKind('mac')).toThrow(/^kind: /);
    expect(() => checkKind(1)).toThrow(TypeError);
    expect(checkKey('fib', MAC.toUpperCase())).toBe(MAC);
    expect(() => checkKey('arp', MAC)).toThrow(/^key: /);
    expect(() => checkValue('fib', MAC)).toThrow(/^value: /);
    expect(() => checkValue('arp', '01:00:5e:00:00:01')).toThrow(/multicast/);
  });

  test('endpoints', () => {
    const good = { ip: 'FD00::2', ips: [IP, 'fd00::2', 'FD00:0::2'], mac: MAC.toUpperCase(), vtep: '10.0.0.1' };
    expect(checkEndpoint(good)).toEqual({ ip: 'fd00::2', ips: ['fd00::2', IP], mac: MAC, vtep: '10.0.0.1' });
    const bad: [unknown, RegExp][] = [
      [null, /^endpoint: /],
      ['x', /^endpoint: /],
      [{ ...good, ips: [] }, /^endpoint\.ips: /],
      [{ ...good, ips: IP }, /^endpoint\.ips: /],
      [{ ...good, ips: [IP, '224.0.0.1'] }, /^endpoint\.ips\[1\]: /],
      [{ ...good, ip: '10.9.9.9' }, /^endpoint\.ip: /],
      [{ ...good, mac: '01:00:5e:00:00:01' }, /^endpoint\.mac: /],
      [{ ...good, vtep: 'fe80::1' }, /^endpoint\.vtep: /],
      [{ ...good, vtep: undefined }, /^endpoint\.vtep: /],
    ];
    for (const [endpoint, message] of bad) expect(() => checkEndpoint(endpoint)).toThrow(message);
  });
});

describe('snapshots', () => {
  const ips = ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4'];
  const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'];
  const vteps = ['10.0.0.1', '10.0.0.2'];
  type Records = { kind: RecordKind; key: string; value: string }[];
  const set = fc
    .record({
      arp: fc.dictionary(fc.constantFrom(...ips), fc.constantFrom(...macs)),
      fib: fc.dictionary(fc.constantFrom(...macs), fc.constantFrom(...vteps)),
    })
    .map(
      ({ arp, fib }): Records => [
        ...Object.entries(arp).map(([key, value]) => ({ kind: 'arp' as const, key, value })),
        ...Object.entries(fib).map(([key, value]) => ({ kind: 'fib' as const, key, value })),
      ],
    );

  /** A table such as a resolver keeps, which knows nothing but the changes. */
  class Table {
    readonly arp = new Map<string, string>();
    readonly fib = new Map<string, string>();
    put({ ips, mac, vtep }: Endpoint) {
      for (const ip of ips) this.arp.set(ip, mac);
      this.fib.set(mac, vtep);
    }
    known(): string[] {
      return [...this.arp].flatMap(([ip, mac]) => (this.fib.has(mac) ? [ip] : []));
    }
    answers() {
      return Object.fromEntries([...this.arp].map(([ip, mac]) => [ip, `${mac} ${this.fib.get(mac)}`]).sort());
    }
  }

  test('halves make no endpoint', () => {
    const table = new EndpointTable([
      { kind: 'arp', key: IP, value: MAC },
      { kind: 'fib', key: '02:00:00:00:00:01', value: '10.0.0.1' },
    ]);
    expect(table.endpoints()).toEqual([]);
  });

  test('following the changes leads to what a reset would give, and no address is unknown in between', () => {
    fc.assert(
      fc.property(fc.array(set, { minLength: 2, maxLength: 6 }), fc.boolean(), (history, whole) => {
        const follower = new Table();
        let before = history[0] as Records;
        const table = new EndpointTable(before);
        for (const endpoint of table.endpoints()) follower.put(endpoint);
        for (const records of history.slice(1)) {
          const fresh = new Table();
          for (const endpoint of new EndpointTable(records).endpoints()) fresh.put(endpoint);
          const stay = follower.known().filter((ip) => fresh.known().includes(ip));
          const keys = new Map([...before, ...records].map((record) => [`${record.kind} ${record.key}`, record]));
          const changes = Array.from(keys.values(), ({ kind, key }) => ({
            kind,
            key,
            value: records.find((record) => record.kind === kind && record.key === key)?.value,
          }));
          for (const change of whole ? table.replace(records) : table.apply(changes)) {
            if (change.kind === 'put') follower.put(change.endpoint);
            else {
              if (change.ip !== undefined) follower.arp.delete(change.ip);
              if (change.mac !== undefined) follower.fib.delete(change.mac);
            }
            expect(follower.known()).toEqual(expect.arrayContaining(stay));
          }
          expect(follower.answers()).toEqual(fresh.answers());
          expect(table.replace(records)).toEqual([]);
          before = records;
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a move is one put', () => {
    const table = new EndpointTable([
      { kind: 'arp', key: IP, value: MAC },
      { kind: 'fib', key: MAC, value: '10.0.0.1' },
    ]);
    expect(table.apply([{ kind: 'fib', key: MAC, value: '10.0.0.2' }])).toEqual([
      { kind: 'put', endpoint: { ip: IP, ips: [IP], mac: MAC, vtep: '10.0.0.2' } },
    ]);
    expect(table.replace([])).toEqual([{ kind: 'delete', ip: IP, mac: MAC }]);
  });

  test('a half that went alone is forgotten with the other', () => {
    const table = new EndpointTable([
      { kind: 'arp', key: IP, value: MAC },
      { kind: 'fib', key: MAC, value: '10.0.0.1' },
    ]);
    expect(table.apply([{ kind: 'arp', key: IP, value: undefined }])).toEqual([{ kind: 'delete', ip: IP }]);
    expect(table.apply([{ kind: 'fib', key: MAC, value: undefined }])).toEqual([{ kind: 'delete', mac: MAC }]);
  });
});
