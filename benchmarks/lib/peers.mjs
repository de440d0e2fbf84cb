// @ts-check
/** The systems that answer misses: how each is started for one overlay. */
import { join } from 'node:path';
import { root } from '../../scripts/lib/process.mjs';
import { startConsul } from './consul.mjs';
import { CPU, Running } from './process.mjs';
import { program, provide } from './tools.mjs';
import { ipAt, macOf, pathOf } from './world.mjs';

/** @typedef {Awaited<ReturnType<typeof startConsul>>} Consul */

/**
 * Endpoints that a daemon is to know: `count` endpoints from `first` on, all at `vtep`.
 * @typedef {object} Known
 * @property {string} first
 * @property {number} count
 * @property {string} vtep
 */

/**
 * How to start a daemon.
 * @typedef {object} Peer
 * @property {string[]} command
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [netns]
 * @property {Consul} [consul] what it asks; it runs only while this peer does
 */

/** @param {Known} known */
export function endpointsOf({ first, count, vtep }) {
  return Array.from({ length: count }, (_, i) => {
    const ip = ipAt(first, i);
    return { ip, mac: macOf(ip), vtep };
  });
}

/**
 * overns, by default with the memory store.
 * @param {string} folder of the package
 * @param {import('./world.mjs').Side} side
 * @param {Known} known
 * @param {Record<string, unknown>} [more]
 * @returns {Peer}
 */
export function overnsPeer(folder, side, known, more = {}) {
  const options = { overlay: side.name, store: 'memory', ...known, realtime: true, ...more };
  const agent = join(root, 'benchmarks/peers/overns/agent.mjs');
  return { command: [process.execPath, '--expose-gc', agent, folder, JSON.stringify(options)] };
}

/** @param {import('./world.mjs').Side} side @param {Known} known @returns {Peer} */
export function floorPeer(side, { first, count, vtep }) {
  const range = ['--first', first, '--last', ipAt(first, count - 1)];
  return { command: [program('floor'), '--netns', side.path, '--vtep', vtep, ...range, '--realtime'] };
}

/**
 * @param {import('./world.mjs').Side} side
 * @param {Known} known
 * @returns {Promise<Peer | string>} or why it is absent
 */
export async function goPeer(side, { first, count, vtep }) {
  const tool = await provide('go');
  if (!tool.ok) return tool.reason;
  return {
    command: [program('go-misses'), '-first', first, '-last', ipAt(first, count - 1), '-vtep', vtep],
    netns: side.path,
  };
}

/**
 * @param {import('./world.mjs').Side} side
 * @param {Consul | string} consul
 * @returns {Promise<Peer | string>}
 */
export async function seedPeer(side, consul) {
  const python = await provide('python');
  if (!python.ok) return python.reason;
  if (typeof consul === 'string') return consul;
  const script = join(root, 'benchmarks/peers/seed/arpd_consul.py');
  return {
    command: [python.interpreter, script, side.name, consul.host, 'demo'],
    env: python.env,
    netns: pathOf(side.host.name),
    consul,
  };
}

/**
 * @param {import('./world.mjs').Host} host
 * @param {{ ip: string, mac: string, vtep: string }[]} endpoints
 * @returns {Promise<Consul | string>}
 */
export async function consulPeer(host, endpoints) {
  const tool = await provide('consul');
  if (!tool.ok) return tool.reason;
  const consul = await startConsul(host, endpoints);
  consul.pause();
  return consul;
}

/**
 * Runs `fn` while daemons serve, each in a fresh process.
 * @template T
 * @param {Peer[]} peers one per host
 * @param {(running: Running[]) => Promise<T>} fn
 * @param {number | string} [cpu]
 * @returns {Promise<T>}
 */
export async function serving(peers, fn, cpu = CPU.peer) {
  const consul = peers.find((peer) => peer.consul)?.consul;
  await consul?.resume();
  const running = peers.map(({ command, env, netns }) => new Running(command, { cpu, env, netns }));
  try {
    await Promise.all(running.map((daemon) => daemon.waitFor(/^ready$/m)));
    return await fn(running);
  } finally {
    await Promise.all(running.map((daemon) => daemon.stop()));
    consul?.pause();
  }
}
