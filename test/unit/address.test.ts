import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  canonicalIp,
  canonicalMac,
  checkInterfaceName,
  checkMtu,
  checkOverlayName,
  checkPort,
  checkVni,
  defaultMac,
  formatCidr,
  interfaceAddress,
  ipBytes,
  sameNetwork,
  unicastIp,
  unicastMac,
  vtepIp,
} from '../../lib/core/address.js';

/** Calls and returns what was thrown, as the caller sees it. */
function refusal(call: () => unknown): { name: string; code: unknown; message: string } {
  try {
    call();
  } catch (error) {
    const { name, message } = error as Error;
    return { name, message, code: (error as { code?: unknown }).code };
  }
  throw new Error('nothing was thrown');
}

describe('IP addresses', () => {
  test.each([
    ['192.168.0.2', '192.168.0.2'],
    ['FD00::2', 'fd00::2'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0DB8:0000:0001:0001:0001:0001:0001', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['::', '::'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ])('%s is written %s', (given, canonical) => {
    expect(canonicalIp(given)).toBe(canonical);
    expect(canonicalIp(canonical)).toBe(canonical);
  });

  test.each([
    '',
    ' ',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '0x1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4\n',
    '1.2.3.4\0',
    '1.2.3.4/24',
    '16909060',
    ':::',
    '1::2::3',
    'fe80::1%eth0',
    '::ffff:1.2.3.4',
    '::ffff:102:304',
    '[fd00::1]',
    'localhost',
    '１.2.3.4',
  ])('%j is refused', (given) => {
    expect(refusal(() => canonicalIp(given, 'vtep'))).toMatchObject({
      name: 'RangeError',
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining('vtep: '),
    });
  });

  test.each([undefined, null, 1, {}, ['1.2.3.4'], new String('1.2.3.4')])('%j is of the wrong type', (given) => {
    expect(refusal(() => canonicalIp(given, 'vtep'))).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('vtep: expected an IP address'),
    });
  });

  test.each([
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', '0.0.0.0/8'],
    ['127.8.0.1', 'loopback'],
    ['ff02::1', 'multicast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::1.2.3.4', 'IPv4-compatible'],
  ])('%s is no host address', (given, why) => {
    expect(refusal(() => unicastIp(given)).message).toContain(why);
  });

  test('a VTEP is not link-local, an endpoint may be', () => {
    expect(unicastIp('FE80::1')).toBe('fe80::1');
    expect(refusal(() => vtepIp('fe80::1')).message).toContain('zone');
    expect(refusal(() => vtepIp('febf::1')).message).toContain('zone');
    expect(vtepIp('fec0::1')).toBe('fec0::1');
    expect(vtepIp('10.0.0.1')).toBe('10.0.0.1');
  });

  test('bytes in network order', () => {
    expect([...ipBytes('192.168.0.2')]).toEqual([192, 168, 0, 2]);
    expect(Buffer.from(ipBytes('2001:db8::1:0:0:1')).toString('hex')).toBe('20010db8000000000001000000000001');
    expect(Buffer.from(ipBytes('::')).toString('hex')).toBe('0'.repeat(32));
    expect(Buffer.from(ipBytes('1::')).toString('hex')).toBe(`0001${'0'.repeat(28)}`);
    expect(Buffer.from(ipBytes('::1.2.3.4')).toString('hex')).toBe(`${'0'.repeat(24)}01020304`);
  });
});

describe('interface addresses', () => {
  test('host bits are kept, the address is canonical', () => {
    expect(interfaceAddress('192.168.0.2/24')).toEqual({ ip: '192.168.0.2', prefix: 24, family: 4 });
    expect(formatCidr(interfaceAddress('FD00:0::2/64'))).toBe('fd00::2/64');
  });

  test('a missing prefix length names the remedy', () => {
    expect(refusal(() => interfaceAddress('192.168.0.2')).message).toBe(
      'address: "192.168.0.2" is not an address with its prefix length: write 192.168.0.2/24',
    );
    expect(refusal(() => interfaceAddress('FD00::2')).message).toContain('write fd00::2/64');
    expect(refusal(() => interfaceAddress('nonsense')).message).toContain('write 192.168.0.2/24');
  });

  test.each([
    '192.168.0.2/',
    '192.168.0.2/0',
    '192.168.0.2/024',
    '192.168.0.2/33',
    '192.168.0.2/-1',
    '192.168.0.2/24/24',
    '192.168.0.2/24 ',
    '192.168.0.2/1e1',
    '192.168.0.2/255.255.255.0',
    '/24',
    'fd00::2/129',
    'fd00::2/1000',
    'fe80::1%eth0/64',
    '192.168.0.0/24',
    '192.168.0.255/24',
    '192.168.1.255/23',
    '127.0.0.1/8',
    '224.0.0.5/24',
    'fd00::/64',
    'ff02::1/64',
  ])('%s is refused', (given) => {
    expect(refusal(() => interfaceAddress(given, 'addr'))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(/^addr: /),
    });
  });

  test.each([
    '10.0.0.0/31',
    '10.0.0.1/31',
    '10.0.0.0/32',
    'fd00::/127',
    'fd00::/128',
    'fd00::ffff:ffff:ffff:ffff/64',
    '192.168.0.255/23',
  ])('%s is a host on its network', (given) => {
    expect(formatCidr(interfaceAddress(given))).toBe(given);
  });

  test('two addresses of one network', () => {
    const cidr = interfaceAddress('192.168.1.2/23');
    expect(sameNetwork(cidr, '192.168.0.9')).toBe(true);
    expect(sameNetwork(cidr, '192.168.2.9')).toBe(false);
    expect(sameNetwork(cidr, 'fd00::1')).toBe(false);
    expect(sameNetwork(interfaceAddress('fd00::1/64'), 'fd00::2:0:0:1')).toBe(true);
    expect(sameNetwork(interfaceAddress('10.0.0.1/32'), '10.0.0.1')).toBe(true);
    expect(sameNetwork(interfaceAddress('10.0.0.1/32'), '10.0.0.2')).toBe(false);
  });
});

describe('MAC addresses', () => {
  test('lower case', () => {
    expect(canonicalMac('02:42:C0:A8:00:02')).toBe('02:42:c0:a8:00:02');
  });

  test.each([
    '',
    '02-42-c0-a8-00-02',
    '0242.c0a8.0002',
    '2:42:c0:a8:0:2',
    '02:42:c0:a8:00',
    '02:42:c0:a8:00:02:03',
    '02:42:c0:a8:00:0g',
    '02:42:c0:a8:00:02\n',
  ])('%j is refused', (given) => {
    expect(refusal(() => canonicalMac(given)).message).toContain('is not a MAC address such as 02:42:c0:a8:00:02');
  });

  test.each([
    ['00:00:00:00:00:00', 'all zeros'],
    ['ff:ff:ff:ff:ff:ff', 'broadcast'],
    ['01:00:5e:00:00:01', 'multicast'],
    ['33:33:00:00:00:01', 'multicast'],
    ['0b:00:00:00:00:01', 'multicast'],
  ])('%s is no interface', (given, why) => {
    expect(refusal(() => unicastMac(given)).message).toContain(why);
  });

  test("the default is Docker's for IPv4, a hash for IPv6", () => {
    expect(defaultMac('192.168.0.2')).toBe('02:42:c0:a8:00:02');
    const hash = createHash('sha256').update(Buffer.from('fd000000000000000000000000000002', 'hex')).digest('hex');
    expect(defaultMac('fd00::2').replaceAll(':', '')).toBe(`0242${hash.slice(0, 8)}`);
    expect(unicastMac(defaultMac('fd00::2'))).toBe(defaultMac('fd00::2'));
  });
});

describe('numbers', () => {
  test('ends of the ranges', () => {
    expect(checkVni(1)).toBe(1);
    expect(checkVni(2 ** 24 - 1)).toBe(16_777_215);
    expect(checkPort(65_535)).toBe(65_535);
    expect(checkMtu(68)).toBe(68);
    expect(checkMtu(1280, 'mtu', 6)).toBe(1280);
    expect(checkMtu(65_535)).toBe(65_535);
  });

  test.each([0, -1, 2 ** 24, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('VNI %d is refused', (given) => {
    expect(refusal(() => checkVni(given)).message).toBe(`vni: ${given} is not a VNI: an integer from 1 to 16777215`);
  });

  test('wrong types, ports and MTUs', () => {
    expect(refusal(() => checkVni('42')).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(refusal(() => checkVni(42n)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(refusal(() => checkPort(0)).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(refusal(() => checkPort(65_536)).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(refusal(() => checkMtu(67)).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(refusal(() => checkMtu(1279, 'mtu', 6)).message).toContain('1280');
    expect(refusal(() => checkMtu(65_536)).code).toBe('ERR_INVALID_ARG_VALUE');
  });
});

describe('names', () => {
  test.each([
    '',
    'a'.repeat(16),
    '.',
    '..',
    'all',
    'default',
    'eth 0',
    'eth\t0',
    'eth/0',
    'eth:0',
    'eth%d',
    'eth\0',
    'ääääääää',
    'eà',
  ])('interface name %j is refused', (given) => {
    expect(refusal(() => checkInterfaceName(given))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });

  test.each(['a', 'eth0', 'a'.repeat(15), 'veth.42-x_y', 'äää'])('interface name %j is fine', (given) => {
    expect(checkInterfaceName(given)).toBe(given);
  });

  test.each([
    '',
    '.',
    '..',
    'a/b',
    '../x',
    'a b',
    'a\nb',
    'a\0b',
    'a\u001b[31m',
    'a\u009bb',
    'a'.repeat(256),
    'ä'.repeat(128),
    'pid:1',
    'netns:x',
    'docker:x',
    'another:x',
  ])('overlay name %j is refused', (given) => {
    expect(refusal(() => checkOverlayName(given, 'name'))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(/^name: /),
    });
  });

  test.each(['overns', 'net-42', '...', 'a'.repeat(255), 'größe'])('overlay name %j is fine', (given) => {
    expect(checkOverlayName(given)).toBe(given);
  });
});
