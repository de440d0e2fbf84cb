/**
 * Addresses and names as text: parsing, canonical forms and the checks that every door of the library shares.
 * A canonical string can be compared with `===` and used as a key.
 *
 * Every function that throws here throws a RangeError (`ERR_INVALID_ARG_VALUE`) or a TypeError (`ERR_INVALID_ARG_TYPE`) that
 * begins with the argument's name and says what was expected instead.
 */
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { invalidArgument, invalidType } from './errors.js';

/** The IP version of an address. */
export type IpFamily = 4 | 6;

/** An interface address: the host's address and the length of its network's prefix. */
export interface Cidr {
  /** Canonical, host bits kept. */
  readonly ip: string;
  /** Bits: 1 to 32 for IPv4, 1 to 128 for IPv6. */
  readonly prefix: number;
  readonly family: IpFamily;
}

/** Lowest and highest VNI: 24 bits (RFC 7348, section 5); 0 is not used as an overlay's. */
export const VNI_MIN = 1;
export const VNI_MAX = 0xff_ffff;
/** The port that IANA assigned to VXLAN (RFC 7348, section 5). */
export const VXLAN_PORT = 4789;
/** Overhead of VXLAN for each packet, bytes: outer IP and UDP header, VXLAN header, inner Ethernet header. */
export const VXLAN_OVERHEAD: Readonly<Record<IpFamily, number>> = { 4: 50, 6: 70 };
/** The smallest MTU that the family allows, bytes (RFC 791, RFC 8200 section 5). */
export const MTU_MIN: Readonly<Record<IpFamily, number>> = { 4: 68, 6: 1280 };
export const MTU_MAX = 65_535;

function text(value: unknown, name: string, expected: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, expected);
  return value;
}

function integer(value: unknown, name: string, min: number, max: number, what: string): number {
  if (typeof value !== 'number') throw invalidType(name, value, `${what}, a number`);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalidArgument(name, value, `${what}: an integer from ${min} to ${max}`);
  }
  return value;
}

// --- IP -------------------------------------------------------------------------------------------------------

/** The canonical form of an IP address, or undefined when it is none. Zone ids and IPv4-mapped IPv6 are none. */
function ipForm(value: string): string | undefined {
  // net's IPv4 grammar has one spelling per address: no leading zeros, no short or hexadecimal forms.
  if (isIPv4(value)) return value;
  if (!isIPv6(value) || value.includes('%')) return undefined;
  const form = new SocketAddress({ address: value, family: 'ipv6' }).address;
  return form.startsWith('::ffff:') && form.includes('.') ? undefined : form;
}

/** Says why a text is no IP address, for the error that refuses it. */
function whyNotIp(value: string): string {
  if (isIPv6(value)) {
    return value.includes('%')
      ? 'an address without a zone id'
      : 'an address of one family: write an IPv4-mapped address as IPv4';
  }
  if (value.includes('/')) return 'an IP address: leave out the prefix length';
  return 'an IP address';
}

/**
 * The canonical form of an IPv4 or IPv6 address: dotted, or RFC 5952.
 *
 * Zone ids (`fe80::1%eth0`) are refused: they mean nothing on another machine. So are IPv4-mapped addresses
 * (`::ffff:192.0.2.1`): they never appear in ARP or neighbour discovery, and would give one address two names.
 */
export function canonicalIp(value: unknown, name = 'ip'): string {
  const given = text(value, name, 'an IP address, a string');
  const form = ipForm(given);
  if (form === undefined) throw invalidArgument(name, given, whyNotIp(given));
  return form;
}

/** The family of an address that is known to be one. */
export function ipFamily(ip: string): IpFamily {
  return ip.includes(':') ? 6 : 4;
}

/** The bytes of a canonical address, in network order: 4 or 16. */
export function ipBytes(ip: string): Uint8Array {
  if (ipFamily(ip) === 4) return Uint8Array.from(ip.split('.'), Number);
  const bytes = new Uint8Array(16);
  const [head = '', tail] = ip.split('::') as [string, string?];
  const before = groupBytes(head);
  const after = tail === undefined ? [] : groupBytes(tail);
  bytes.set(before, 0);
  bytes.set(after, 16 - after.length);
  return bytes;
}

/** Bytes of colon-separated groups of an IPv6 address; the last may be dotted. */
function groupBytes(groups: string): number[] {
  const bytes: number[] = [];
  if (groups === '') return bytes;
  for (const group of groups.split(':')) {
    if (group.includes('.')) {
      for (const octet of group.split('.')) bytes.push(Number(octet));
    } else {
      const word = Number.parseInt(group, 16);
      bytes.push(word >> 8, word & 0xff);
    }
  }
  return bytes;
}

/** Why a canonical address cannot be one host's, or undefined when it can. */
export function whyNotUnicastIp(ip: string): string | undefined {
  const bytes = ipBytes(ip);
  const first = bytes[0] as number;
  if (bytes.length === 4) {
    if (ip === '255.255.255.255') return 'broadcast';
    if (ip === '0.0.0.0') return 'unspecified';
    if (first === 0) return 'of 0.0.0.0/8, which no host has';
    if (first === 127) return 'loopback';
    return first >= 224 && first <= 239 ? 'multicast' : undefined;
  }
  if (ip === '::') return 'unspecified';
  if (ip === '::1') return 'loopback';
  if (first === 0xff) return 'multicast';
  // ::/96, IPv4-compatible, was withdrawn by RFC 4291, section 2.5.5.1.
  return bytes.subarray(0, 12).every((byte) => byte === 0) ? 'IPv4-compatible, a withdrawn form' : undefined;
}

/** The canonical form of an address that one host can have: not multicast, unspecified, loopback or broadcast. */
export function unicastIp(value: unknown, name = 'ip'): string {
  const ip = canonicalIp(value, name);
  const why = whyNotUnicastIp(ip);
  if (why !== undefined) throw invalidArgument(name, value, `a unicast address: it is ${why}`);
  return ip;
}

/**
 * The canonical form of a VTEP's address: unicast, and not IPv6 link-local, which is no address without the zone that
 * it is valid in.
 */
export function vtepIp(value: unknown, name = 'vtep'): string {
  const ip = unicastIp(value, name);
  if (isLinkLocal6(ip)) throw invalidArgument(name, value, 'a VTEP address: link-local needs a zone');
  return ip;
}

/** True for fe80::/10 (RFC 4291, section 2.5.6). */
export function isLinkLocal6(ip: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(ip);
}

/**
 * An interface address such as `192.168.0.2/24` or `fd00::2/64`: a host's address with the prefix length of its
 * network. The network's own address and its IPv4 broadcast address are refused (IPv6: the subnet-router anycast
 * address, RFC 4291 section 2.6.1), except on point-to-point prefixes (RFC 3021, RFC 6164) and single hosts.
 */
export function interfaceAddress(value: unknown, name = 'address'): Cidr {
  const given = text(value, name, 'an address with its prefix length, such as 192.168.0.2/24');
  const slash = given.indexOf('/');
  if (slash < 0) {
    const form = ipForm(given);
    const example = form === undefined ? '192.168.0.2/24' : `${form}/${ipFamily(form) === 4 ? 24 : 64}`;
    throw invalidArgument(name, given, `an address with its prefix length: write ${example}`);
  }
  const ip = ipForm(given.slice(0, slash));
  if (ip === undefined) {
    throw invalidArgument(
      name,
      given,
      `${whyNotIp(given.slice(0, slash))} with its prefix length, as in 192.168.0.2/24`,
    );
  }
  const family = ipFamily(ip);
  const bits = family === 4 ? 32 : 128;
  const digits = given.slice(slash + 1);
  const prefix = /^[1-9]\d{0,2}$/.test(digits) ? Number(digits) : 0;
  if (prefix < 1 || prefix > bits) {
    throw invalidArgument(name, given, `an address with a prefix length from 1 to ${bits}`);
  }
  const why = whyNotUnicastIp(ip);
  if (why !== undefined) throw invalidArgument(name, given, `a unicast address: it is ${why}`);
  if (prefix < bits - 1) {
    const host = hostBits(ipBytes(ip), prefix);
    if (host === 'zeros') throw invalidArgument(name, given, "a host's address: it is the network's own");
    if (host === 'ones' && family === 4) {
      throw invalidArgument(name, given, "a host's address: it is the network's broadcast address");
    }
  }
  return { ip, prefix, family };
}

/** `ip/prefix` of an interface address. */
export function formatCidr(cidr: Cidr): string {
  return `${cidr.ip}/${cidr.prefix}`;
}

/** True when the address lies in the network that the interface address belongs to. */
export function sameNetwork(cidr: Cidr, ip: string): boolean {
  if (ipFamily(ip) !== cidr.family) return false;
  const left = ipBytes(cidr.ip);
  const right = ipBytes(ip);
  const whole = cidr.prefix >> 3;
  for (let at = 0; at < whole; at++) if (left[at] !== right[at]) return false;
  const rest = cidr.prefix & 7;
  if (rest === 0) return true;
  const mask = (0xff00 >> rest) & 0xff;
  return ((left[whole] as number) & mask) === ((right[whole] as number) & mask);
}

/** The network that an address is in: its host bits cleared. */
export function networkOf(ip: string, prefix: number): string {
  const bytes = ipBytes(ip).map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - at * 8))));
  return bytes.length === 4 ? bytes.join('.') : ip6Text(bytes);
}

/** The canonical form of the 16 bytes of an IPv6 address. */
export function ip6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[at * 2] as number) << 8) | (bytes[at * 2 + 1] as number)).toString(16),
  );
  return canonicalIp(groups.join(':'));
}

function hostBits(bytes: Uint8Array, prefix: number): 'zeros' | 'ones' | 'mixed' {
  let zeros = true;
  let ones = true;
  for (let bit = prefix; bit < bytes.length * 8; bit++) {
    const set = ((bytes[bit >> 3] as number) >> (7 - (bit & 7))) & 1;
    if (set) zeros = false;
    else ones = false;
  }
  return zeros ? 'zeros' : ones ? 'ones' : 'mixed';
}

// --- MAC ------------------------------------------------------------------------------------------------------

const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

/** The canonical form of a MAC address: six pairs of lower-case hexadecimal digits with colons between them. */
export function canonicalMac(value: unknown, name = 'mac'): string {
  const given = text(value, name, 'a MAC address, a string');
  // The pattern comes after lower-casing, and no other character lower-cases into [0-9a-f:].
  const form = given.toLowerCase();
  if (!MAC.test(form)) throw invalidArgument(name, given, 'a MAC address such as 02:42:c0:a8:00:02');
  return form;
}

/** Why a canonical MAC address cannot be one interface's, or undefined when it can. */
export function whyNotUnicastMac(mac: string): string | undefined {
  if (mac === '00:00:00:00:00:00') return 'all zeros';
  if (mac === 'ff:ff:ff:ff:ff:ff') return 'broadcast';
  // The group bit is the lowest of the first byte (IEEE 802, section 8.2).
  return Number.parseInt(mac.slice(1, 2), 16) & 1 ? 'multicast' : undefined;
}

/** The canonical form of a MAC address that one interface can have: not zero, not multicast, not broadcast. */
export function unicastMac(value: unknown, name = 'mac'): string {
  const mac = canonicalMac(value, name);
  const why = whyNotUnicastMac(mac);
  if (why !== undefined) throw invalidArgument(name, value, `a unicast MAC address: it is ${why}`);
  return mac;
}

/**
 * The MAC address that a container gets when nobody chose one: `02:42:` and the four bytes of its IPv4 address, as
 * Docker's; for IPv6, `02:42:` and the first four bytes of the SHA-256 of the address's 16 bytes. Another container of
 * the overlay can have that one: then the same of the SHA-256 of the address and a byte that counts.
 *
 * @param ip a canonical address
 * @param isTaken whether a container of the overlay has it
 */
export function defaultMac(ip: string, isTaken: (mac: string) => boolean = () => false): string {
  const bytes = ipBytes(ip);
  let tail = bytes.length === 4 ? bytes : hash(bytes);
  for (let count = 1; ; count++) {
    const mac = `02:42:${Array.from(tail, (byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
    if (count > 255 || !isTaken(mac)) return mac;
    tail = hash(Buffer.from([...bytes, count]));
  }
}

function hash(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest().subarray(0, 4);
}

// --- Numbers --------------------------------------------------------------------------------------------------

/** A VXLAN network identifier, 1 to 16777215 (RFC 7348, section 5). */
export function checkVni(value: unknown, name = 'vni'): number {
  return integer(value, name, VNI_MIN, VNI_MAX, 'a VNI');
}

/** A UDP port, 1 to 65535. */
export function checkPort(value: unknown, name = 'port'): number {
  return integer(value, name, 1, 65_535, 'a UDP port');
}

/**
 * An MTU in bytes: at least 68 for IPv4 (RFC 791), at least 1280 when IPv6 is to cross (RFC 8200, section 5); at most
 * 65535.
 */
export function checkMtu(value: unknown, name = 'mtu', family: IpFamily = 4): number {
  return integer(value, name, MTU_MIN[family], MTU_MAX, family === 6 ? 'an MTU that carries IPv6' : 'an MTU');
}

// --- Names ----------------------------------------------------------------------------------------------------

/**
 * A network interface's name: 1 to 15 bytes, without whitespace, control characters, `/`, `:` or `%`, and none of
 * `.`, `..`, `all`, `default` (dev_valid_name() in the kernel's net/core/dev.c; `%` would make it a pattern, and the
 * last two are taken in /proc/sys/net).
 */
export function checkInterfaceName(value: unknown, name = 'ifname'): string {
  const given = text(value, name, 'the name of a network interface, a string');
  const bytes = nameBytes(given);
  if (bytes.length < 1 || bytes.length > 15) {
    throw invalidArgument(name, given, 'the name of a network interface: 1 to 15 bytes');
  }
  if (given === '.' || given === '..' || given === 'all' || given === 'default') {
    throw invalidArgument(name, given, 'a name that the kernel gives to a network interface');
  }
  // 0xa0 is whitespace to the kernel's isspace(), also as a byte within a UTF-8 character.
  if (
    bytes.some((byte) => '/:%'.includes(String.fromCharCode(byte))) ||
    bytes.some((byte) => byte <= 0x20 || byte === 0x7f || byte === 0xa0)
  ) {
    throw invalidArgument(name, given, "the name of a network interface: whitespace, '/', ':' and '%' cannot be in it");
  }
  return given;
}

/** The bytes of a name as the addon writes it: `\\xff` stands for a byte that is no part of UTF-8. */
export function nameBytes(name: string): Buffer {
  const bytes: Buffer[] = [];
  for (const [at, part] of name.split(/\\x([0-9a-fA-F]{2})/).entries()) {
    bytes.push(at % 2 === 0 ? Buffer.from(part) : Buffer.of(Number.parseInt(part, 16)));
  }
  return Buffer.concat(bytes);
}

/**
 * The name of a link that there is, or one of its alternative names: 1 to 127 bytes (ALTIFNAMSIZ), which the kernel
 * chooses more freely than those that it takes (`a b` as an alternative name).
 */
export function checkLinkName(value: unknown, name = 'link'): string {
  const given = text(value, name, 'the name of a link, a string');
  // Nearly always ASCII and short.
  if (/^[\w.@-]{1,127}$/.test(given)) return given;
  const bytes = nameBytes(given);
  if (bytes.length < 1 || bytes.length > 127 || bytes.includes(0)) {
    throw invalidArgument(name, given, 'the name of a link: 1 to 127 bytes, without NUL');
  }
  return given;
}

/**
 * An overlay's name, which is a file name in /run/netns: Unicode of 1 to 255 bytes, without `/`, whitespace or control
 * characters, not `.` or `..`, and without a word and a colon at its start, which name another kind of namespace or
 * container (`pid:`, `docker:`).
 */
export function checkOverlayName(value: unknown, name = 'name'): string {
  const given = text(value, name, "an overlay's name, a string");
  const length = Buffer.byteLength(given);
  if (length < 1 || length > 255) throw invalidArgument(name, given, "an overlay's name: 1 to 255 bytes");
  if (given === '.' || given === '..') throw invalidArgument(name, given, "an overlay's name: it is a directory");
  // Half a surrogate pair has no UTF-8: the file would have another name.
  if (/\p{Surrogate}/u.test(given)) throw invalidArgument(name, given, "an overlay's name: it is no Unicode text");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[/\s\u0000-\u001f\u007f-\u009f]/.test(given)) {
    throw invalidArgument(name, given, "an overlay's name: '/', whitespace and control characters cannot be in it");
  }
  if (/^[a-z]+:/.test(given)) {
    throw invalidArgument(
      name,
      given,
      `an overlay's name: ${given.slice(0, given.indexOf(':') + 1)} names another kind`,
    );
  }
  return given;
}
