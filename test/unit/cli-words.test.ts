/** What is printed, word for word: the seed's and iproute2's forms. */
import { describe, expect, test } from 'vitest';
import { errorJson, errorLine } from '../../lib/cli/failure.js';
import { printable, table, toJson } from '../../lib/cli/output.js';
import { answerLines, eventLines, missLine } from '../../lib/cli/words.js';
import { NetlinkError, OvernsError } from '../../lib/core/errors.js';
import type { Miss } from '../../lib/overlay/miss.js';
import type { RtnlEvent } from '../../lib/rtnl/monitor/events.js';

const where = { overlay: 'overns', vni: 42, link: 'vxlan1', atNs: 9_007_199_254_740_993n } as const;
const l3: Miss = { ...where, kind: 'l3', ip: '192.168.0.3' };
const l2: Miss = { ...where, kind: 'l2', mac: '02:42:c0:a8:00:03' };
const endpoint = { mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' };

describe("the seed's words", () => {
  test('misses', () => {
    expect(missLine(l3)).toBe('L3Miss on vxlan1: Who has IP: 192.168.0.3?');
    expect(missLine(l2)).toBe('L2Miss on vxlan1: Who has Mac Address: 02:42:c0:a8:00:03?');
  });

  test('answers: an L3 miss fills both tables at once', () => {
    const event = { ...where, kind: 'resolved', endpoint, by: 'store', tookUs: 1 } as const;
    expect(answerLines({ ...event, miss: l3 }, 'Consul')).toEqual([
      'Populating ARP table from Consul: IP 192.168.0.3 is 02:42:c0:a8:00:03',
      'Populating FIB table from Consul: MAC 02:42:c0:a8:00:03 is on host 10.0.0.11',
    ]);
    expect(answerLines({ ...event, miss: l2 }, 'Consul')).toEqual([
      'Populating FIB table from Consul: MAC 02:42:c0:a8:00:03 is on host 10.0.0.11',
    ]);
  });
});

describe("iproute2's words", () => {
  test.each<[RtnlEvent, string]>([
    [
      { kind: 'miss', query: 'l3', link: 'eth0', ip: '10.0.0.100', state: 'incomplete', vxlan: false, atNs: 1n },
      'miss 10.0.0.100 dev eth0 INCOMPLETE',
    ],
    [
      { kind: 'miss', query: 'l3', link: 'vxlan1', ip: '192.168.0.3', state: 'stale', vxlan: true, atNs: 1n },
      'miss 192.168.0.3 dev vxlan1 STALE',
    ],
    [
      { kind: 'miss', query: 'l2', link: 'vxlan1', mac: '02:42:c0:a8:00:03', state: 'stale', vxlan: true, atNs: 1n },
      'miss dev vxlan1 lladdr 02:42:c0:a8:00:03 STALE',
    ],
    [
      { kind: 'neighbor', action: 'new', atNs: 0n, link: 'eth0', ip: '10.0.0.100', state: 'failed' },
      '10.0.0.100 dev eth0 FAILED',
    ],
    [
      {
        kind: 'neighbor',
        action: 'delete',
        atNs: 0n,
        link: 'vxlan1',
        ip: '192.168.0.3',
        mac: '02:42:c0:a8:00:03',
        state: 'permanent',
        flags: ['extern_learn'],
      },
      'Deleted 192.168.0.3 dev vxlan1 lladdr 02:42:c0:a8:00:03 extern_learn PERMANENT',
    ],
    [
      {
        kind: 'fdb',
        action: 'new',
        atNs: 0n,
        link: 'vxlan1',
        mac: '02:42:c0:a8:00:03',
        dst: '10.0.0.11',
        state: 'permanent',
        flags: ['self'],
      },
      '02:42:c0:a8:00:03 dev vxlan1 dst 10.0.0.11 self permanent',
    ],
    [
      {
        kind: 'fdb',
        action: 'delete',
        atNs: 0n,
        link: 'veth1',
        mac: '02:42:c0:a8:00:03',
        state: 'dynamic',
        flags: ['master'],
      },
      'Deleted 02:42:c0:a8:00:03 dev veth1',
    ],
    [
      { kind: 'route', action: 'new', atNs: 0n, dst: '8.8.8.8/32', gateway: '10.0.0.1', link: 'eth0' },
      '8.8.8.8 via 10.0.0.1 dev eth0',
    ],
    [{ kind: 'overrun', dropped: 3 }, 'overrun: 3 events were lost'],
  ])('%o', (event, line) => {
    expect(eventLines(event)).toEqual([line]);
  });

  test('addresses: two lines', () => {
    expect(
      eventLines({ kind: 'address', action: 'delete', atNs: 0n, link: 'eth0', address: 'fd00::1/64', scope: 'global' }),
    ).toEqual(['Deleted eth0    inet6 fd00::1/64 scope global', '       valid_lft forever preferred_lft forever']);
  });

  test('links: two lines, the flags in words', () => {
    const link = {
      index: 33,
      name: 'veth1',
      mtu: 1500,
      mac: 'a6:e0:7a:da:a9:ea',
      up: false,
      flags: ['broadcast', 'multicast'],
      operstate: 'down',
    } as const;
    const lines = ['33: veth1: <BROADCAST,MULTICAST> mtu 1500 state DOWN', '    link/ether a6:e0:7a:da:a9:ea'];
    expect(eventLines({ kind: 'link', action: 'new', atNs: 0n, ...link })).toEqual(lines);
    expect(eventLines({ kind: 'link', action: 'delete', atNs: 0n, ...link })).toEqual([
      `Deleted ${lines[0]}`,
      lines[1],
    ]);
    expect(
      eventLines({
        kind: 'link',
        action: 'new',
        atNs: 0n,
        ...link,
        link: 32,
        linkNetnsid: 0,
        flags: ['up', 'broadcast', 'multicast'],
        up: true,
        master: 'br0',
      }),
    ).toEqual([
      '33: veth1@if32: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 master br0 state DOWN',
      '    link/ether a6:e0:7a:da:a9:ea link-netnsid 0',
    ]);
    expect(
      eventLines({
        kind: 'link',
        action: 'new',
        atNs: 0n,
        index: 1,
        name: 'lo',
        mtu: 65_536,
        up: true,
        flags: ['up', 'loopback', 'running', 'lower_up'],
        mac: '00:00:00:00:00:00',
      })[1],
    ).toBe('    link/loopback 00:00:00:00:00:00');
  });
});

describe('errors', () => {
  test('one line, whatever is in it', () => {
    expect(errorLine(new OvernsError('ENOENT', 'no overlay "x"', { hint: '`overns show` lists them' }))).toBe(
      'overns: no overlay "x"; `overns show` lists them',
    );
    expect(errorLine(new OvernsError('OVERNS_STORE', 'it says:\n  first\r\n  second\u001b[31m'))).toBe(
      'overns: it says: first second\\x1b[31m',
    );
    expect(errorLine('thrown as a string')).toBe('overns: thrown as a string');
    expect(errorLine(undefined)).toBe('overns: undefined');
    expect(errorLine(new TypeError('x is not a function'))).toContain('this is a defect of overns');
    expect(
      errorLine(Object.assign(new Error('EACCES: permission denied, open /x'), { code: 'EACCES', syscall: 'open' })),
    ).toBe('overns: EACCES: permission denied, open /x; `overns doctor` says which privileges are missing');
  });

  test("JSON has the kernel's own words apart", () => {
    const error = new NetlinkError('EEXIST', 'cannot create vxlan1: File exists', {
      errno: -17,
      syscall: 'RTM_NEWLINK',
      kernelMessage: 'A VXLAN device with the specified VNI already exists',
      request: {},
      hint: 'use another VNI',
    });
    expect(JSON.parse(errorJson(error, 1))).toEqual({
      error: {
        code: 'EEXIST',
        message: 'cannot create vxlan1: File exists',
        hint: 'use another VNI',
        errno: -17,
        syscall: 'RTM_NEWLINK',
        kernelMessage: 'A VXLAN device with the specified VNI already exists',
      },
      exitCode: 1,
    });
  });
});

test('JSON keeps what a number cannot hold, and errors', () => {
  expect(JSON.parse(toJson({ ...l3, error: new OvernsError('X', 'why') }))).toMatchObject({
    atNs: '9007199254740993',
    error: { code: 'X', message: 'why' },
  });
});

test('tables line up and let nothing through', () => {
  expect(
    table(
      ['A', 'LONGER', ''],
      [
        ['one', 'x', ''],
        ['2', 'two\nlines', 'why'],
      ],
    ),
  ).toEqual(['A    LONGER', 'one  x', '2    two lines  why']);
  expect(printable('\u0007\u009b\u202e\u2028ok')).toBe('\\x07\\x9b\\u202e\\u2028ok');
});
