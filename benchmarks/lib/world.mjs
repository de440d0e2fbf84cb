// @ts-check
/**
 * Where the benchmarks take place: network namespaces of their own that stand for hosts and containers, with an overlay
 * of overns between them, and nothing else. Every system answers in the same devices.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { onCleanup } from './cleanup.mjs';
import { exec } from './process.mjs';

const PREFIX = `ob${process.pid.toString(36)}-`;
let counter = 0;

/** A namespace name that nobody else uses; whatever has it is removed at the end. @param {string} tag */
export function uniqueName(tag) {
  const name = `${PREFIX}${tag}${++counter}`;
  onCleanup(
    () => removeNetns(name),
    () => {
      if (!existsSync(`/run/netns/${name}`)) return;
      try {
        execFileSync('ip', ['-n', name, 'link', 'del', 'vxlan1'], { stdio: 'ignore' });
      } catch {
        // it has none
      }
      execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    },
  );
  return name;
}

/** @param {string} name */
export async function removeNetns(name) {
  if (!name.startsWith(PREFIX)) throw new Error(`${name} is no namespace of this run`);
  if (!existsSync(`/run/netns/${name}`)) return;
  // The device itself first, at once: a namespace is taken down in the background, while the next trial measures.
  await exec(['ip', '-n', name, 'link', 'del', 'vxlan1'], { check: false });
  await exec(['ip', 'netns', 'del', name]);
}

/** @param {string} name */
export const pathOf = (name) => `/run/netns/${name}`;

/**
 * Runs lines of `ip` in a namespace, one process for all.
 * @param {string} name
 * @param {string[]} lines
 */
export async function ip(name, ...lines) {
  await exec(['ip', ...(name ? ['-n', name] : []), '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** A namespace without IPv6: its own solicitations would be misses that nobody asked for. @param {string} tag */
export async function makeNetns(tag) {
  const name = uniqueName(tag);
  await exec(['ip', 'netns', 'add', name]);
  await quiet(name);
  await ip(name, 'link set lo up');
  return name;
}

/** @param {string} name */
async function quiet(name) {
  const script = 'for each in all default; do echo 1 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; done';
  await exec(['sh', '-c', script], { netns: pathOf(name), check: false });
}

/**
 * @typedef {object} Host
 * @property {string} name its namespace
 * @property {string} vtep
 */

/** Two hosts on one wire: 10.0.0.10 and 10.0.0.11. @returns {Promise<[Host, Host]>} */
export async function twoHosts(subnet = '10.0.0') {
  const a = await makeNetns('h');
  const b = await makeNetns('h');
  await ip(a, `link add under0 type veth peer name under0 netns ${b}`);
  await ip(a, `address add ${subnet}.10/24 dev under0`, 'link set under0 up');
  await ip(b, `address add ${subnet}.11/24 dev under0`, 'link set under0 up');
  return [
    { name: a, vtep: `${subnet}.10` },
    { name: b, vtep: `${subnet}.11` },
  ];
}

/** Hosts on one wire: 10.0.0.10 and so on. @param {number} count @returns {Promise<Host[]>} */
export async function severalHosts(count) {
  const wire = await makeNetns('w');
  await ip(wire, 'link add wire0 type bridge mcast_snooping 0', 'link set wire0 up');
  const hosts = [];
  for (let at = 0; at < count; at++) {
    const name = await makeNetns('h');
    const vtep = `10.0.0.${10 + at}`;
    await ip(name, `link add under0 type veth peer name port${at} netns ${wire}`);
    await ip(wire, `link set port${at} master wire0 up`);
    await ip(name, `address add ${vtep}/24 dev under0`, 'link set under0 up');
    hosts.push({ name, vtep });
  }
  return hosts;
}

/**
 * @typedef {object} Container
 * @property {string} name
 * @property {string} path
 * @property {string} ip
 * @property {string} mac
 */
/**
 * @typedef {object} Side an overlay's part on one host
 * @property {Host} host
 * @property {string} name of the overlay
 * @property {string} path
 * @property {number} vni
 * @property {Container[]} containers
 */

/**
 * An overlay on a host, with containers at 192.168.0.2 and so on.
 * @param {any} overns the library
 * @param {Host} host
 * @param {string[]} addresses of the containers
 * @param {number} [vni]
 * @returns {Promise<Side>}
 */
export async function makeSide(overns, host, addresses, vni = 42) {
  const name = uniqueName('o');
  const overlay = await overns.Overlay.create({ name, vni, address: '192.168.0.1/16', host: host.name });
  try {
    await quiet(name);
    const containers = [];
    for (const address of addresses) {
      const container = await makeNetns('c');
      const { mac } = await overlay.attach(`netns:${container}`, { address: `${address}/16` });
      containers.push({ name: container, path: pathOf(container), ip: address, mac });
    }
    return { host, name, path: pathOf(name), vni, containers };
  } finally {
    await overlay.close();
  }
}

/** Two hosts, an overlay, and a container on each side. @param {any} overns */
export async function twoSides(overns) {
  const [a, b] = await twoHosts();
  return { a: await makeSide(overns, a, ['192.168.0.2']), b: await makeSide(overns, b, ['192.168.0.3']) };
}

/**
 * Writes beforehand what misses would ask for, of the containers of the other side.
 * @param {Side} a
 * @param {Side} b
 */
export async function writeEntries(a, b) {
  for (const { side, other } of [
    { side: a, other: b },
    { side: b, other: a },
  ]) {
    for (const { ip: address, mac } of other.containers) {
      await ip(side.name, `neigh replace ${address} lladdr ${mac} dev vxlan1 nud permanent`);
      const entry = ['fdb', 'replace', mac, 'dev', 'vxlan1', 'self', 'dst', other.host.vtep, 'static'];
      await exec(['bridge', '-n', side.name, ...entry]);
    }
  }
}

/** Forgets all that daemons have written and kernels have learned. @param {Side[]} sides */
export async function forgetAll(...sides) {
  await Promise.all(
    sides.map(async ({ name, containers }) => {
      await exec(['ip', '-n', name, 'neigh', 'flush', 'dev', 'vxlan1', 'nud', 'all'], { check: false });
      await exec(['bridge', '-n', name, 'fdb', 'flush', 'dev', 'vxlan1', 'self'], { check: false });
      await exec(['bridge', '-n', name, 'fdb', 'flush', 'dev', 'br0', 'self', 'dynamic'], { check: false });
      for (const container of containers)
        await exec(['ip', '-n', container.name, 'neigh', 'flush', 'all'], { check: false });
    }),
  );
}

/** 02:42: and the four bytes. @param {string} address */
export function macOf(address) {
  return ['02', '42', ...address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))].join(':');
}

/** @param {string} base @param {number} offset */
export function ipAt(base, offset) {
  const value = base.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0) + offset;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}
