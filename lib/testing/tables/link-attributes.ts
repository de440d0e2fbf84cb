/** Fields of a request about a link: read, and refused where the kernel refuses it. */
import { ipFamily } from '../../core/address.js';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import { boolean, type Item, mac, number, text } from '../fields.js';
import { Refusal } from '../refusal.js';
import { type FakeLink, ZERO_MAC } from './table.js';

const MTU = { ethernet: [68, 65_535], lo: [0, 0x7fff_ffff] } as const;

const BRIDGE_INFO = {
  forwardDelay: 1500,
  helloTime: 200,
  maxAge: 2000,
  ageingTime: 30_000,
  stpState: 0,
  priority: 32_768,
  vlanFiltering: false,
  groupFwdMask: 0,
  mcastRouter: 1,
  mcastSnooping: true,
  mcastQuerier: false,
  nfCallIptables: false,
  nfCallIp6tables: false,
  nfCallArptables: false,
};
const VXLAN_INFO = {
  ttl: 0,
  ttlInherit: false,
  tos: 0,
  df: 0,
  label: 0,
  labelPolicy: 0,
  learning: true,
  proxy: false,
  rsc: false,
  l2miss: false,
  l3miss: false,
  collectMetadata: false,
  ageing: 300,
  limit: 0,
  port: 8472,
  udpCsum: true,
  udpZeroCsum6Tx: false,
  udpZeroCsum6Rx: false,
  remcsumTx: false,
  remcsumRx: false,
  localbypass: true,
};
/** By kind: what a link has where the request says nothing. */
export const INFO: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bridge: BRIDGE_INFO,
  vxlan: VXLAN_INFO,
  veth: {},
};

export function unicast(address: string): boolean {
  return address !== ZERO_MAC && (Number.parseInt(address.slice(0, 2), 16) & 1) === 0;
}

export interface Settings {
  readonly up: boolean | undefined;
  readonly mtu: number | undefined;
  readonly mac: string | undefined;
  readonly alias: string | undefined;
  readonly group: number | undefined;
  /** Null: none. */
  readonly master: FakeLink | undefined | null;
}

export function vxlanFamily(link: FakeLink): 4 | 6 {
  return typeof link.info.local === 'string' ? ipFamily(link.info.local) : 4;
}

export function noSuchLinks(kind: string): OvernsError {
  return new OvernsError('EOPNOTSUPP', `the fake kernel has no ${kind} links, only bridges, veths and vxlans`);
}

/** Reads what a link is to be, and refuses what is of the wrong type or range, as the addon does before it sends anything. */
export function checkLink(item: Item): void {
  for (const name of ['name', 'newName', 'kind', 'netns', 'alias', 'master'])
    if (name !== 'master' || item.master !== null) text(item, name);
  for (const name of ['index', 'masterIndex']) number(item, name, 0x7fff_ffff);
  for (const name of ['mtu', 'linkGroup']) number(item, name, 0xffff_ffff);
  boolean(item, 'up');
  mac(item, 'mac');
  if (item.master === '') throw invalidArgument('master', '', 'the name of a link, or null for none');
  readInfo(item, INFO[text(item, 'kind') ?? ''] ?? {});
  readPeer(item);
}

/** IFNAMSIZ, and dev_valid_name (net/core/dev.c). */
export function checkName(name: string): void {
  if (Buffer.byteLength(name) > 15) {
    throw new Refusal('ERANGE', 'RTM_NEWLINK', { kernelMessage: 'Attribute failed policy validation', attribute: '3' });
  }
  if (name === '' || name === '.' || name === '..' || /[/:\s]/.test(name)) throw new Refusal('EINVAL', 'RTM_NEWLINK');
}

export function checkAlias(alias: string | undefined): void {
  if (alias === undefined || Buffer.byteLength(alias) <= 255) return;
  throw new Refusal('ERANGE', 'RTM_NEWLINK', { kernelMessage: 'Attribute failed policy validation', attribute: '20' });
}

export function checkMaster(master: FakeLink | undefined | null, kind: string | undefined): void {
  if (!master) return;
  if (master.kind !== 'bridge') throw new Refusal('EOPNOTSUPP', 'RTM_NEWLINK');
  if (kind !== 'bridge') return;
  throw new Refusal('ELOOP', 'RTM_NEWLINK', { kernelMessage: 'Can not enslave a bridge to a bridge' });
}

export function checkMtu(mtu: number | undefined, loopback: boolean): void {
  if (mtu === undefined) return;
  const [min, max] = loopback ? MTU.lo : MTU.ethernet;
  const word = mtu < min ? 'less than device minimum' : mtu > max ? 'greater than device maximum' : undefined;
  if (word !== undefined) throw new Refusal('EINVAL', 'RTM_NEWLINK', { kernelMessage: `mtu ${word}` });
}

/** The attributes of the kind that the request gives, of the types that the defaults have. */
export function readInfo(item: Item, defaults: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(defaults)) {
    const read = typeof value === 'boolean' ? boolean(item, name) : number(item, name, 0xffff_ffff);
    if (read !== undefined) given[name] = read;
  }
  return given;
}

export function readPeer(item: Item): { name?: string; mac?: string; mtu?: number; netns?: string } {
  const peer = item.peer as Item | undefined | null;
  if (peer === undefined || peer === null) return {};
  if (typeof peer !== 'object') throw new TypeError('peer: expected an object');
  const [name, address, mtu, netns] = [
    text(peer, 'name'),
    mac(peer, 'mac'),
    number(peer, 'mtu', 0xffff_ffff),
    text(peer, 'netns'),
  ];
  return {
    ...(name === undefined || name === '' ? {} : { name }),
    ...(address === undefined ? {} : { mac: address }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(netns === undefined || netns === '' ? {} : { netns }),
  };
}
