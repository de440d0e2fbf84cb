// @ts-check
/** A real etcd and a real Consul on loopback, with as many endpoints in them as a bench asks for. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.mjs';
import { Running } from './process.mjs';
import { provide } from './tools.mjs';
import { ipAt, macOf } from './world.mjs';

/**
 * @typedef {object} Server
 * @property {string} url that the library opens, with the prefix `demo`
 * @property {string} address of its HTTP interface
 * @property {number} pid
 * @property {(known: { first: string, from: number, to: number, vtep: string }) => Promise<void>} fill writes the
 *   endpoints with these numbers
 * @property {() => Promise<void>} stop
 */

/** As many requests that fill a store are on their way at once. */
const FILLERS = 8;
const base64 = (/** @type {string} */ text) => Buffer.from(text).toString('base64');

/** In memory: a bench of watches is not to wait for the disk. */
function folderOf(/** @type {string} */ what) {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `overns-bench-${what}-`));
  onCleanup(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** @param {number} count @returns {Promise<number[]>} */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
      return server;
    }),
  );
  const ports = servers.map((server) => /** @type {import('node:net').AddressInfo} */ (server.address()).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** @param {Running} daemon @param {() => Promise<boolean>} ready */
async function untilReady(daemon, ready) {
  for (const until = Date.now() + 20_000; !(await ready().catch(() => false)); await sleep(100)) {
    if (!daemon.running) throw new Error(`the store ended: ${daemon.stdout}${daemon.stderr}`);
    if (Date.now() > until) throw new Error(`the store does not serve after 20 s: ${daemon.stdout}${daemon.stderr}`);
  }
}

/** @param {string} method @param {string} url @param {unknown} body */
async function ask(method, url, body) {
  const answer = await fetch(url, { method, body: JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${text.slice(0, 200)}`);
  return text;
}

/**
 * Writes endpoints in transactions.
 * @param {Parameters<Server['fill']>[0]} known
 * @param {number} atOnce endpoints
 * @param {(records: [key: string, value: string][]) => Promise<unknown>} write
 */
async function fillWith({ first, from, to, vtep }, atOnce, write) {
  let next = from;
  const filler = async () => {
    while (next < to) {
      /** @type {[string, string][]} */
      const records = [];
      for (const end = Math.min(to, next + atOnce); next < end; next++) {
        const ip = ipAt(first, next);
        records.push([`demo/arp/${ip}`, macOf(ip)], [`demo/fib/${macOf(ip)}`, vtep]);
      }
      await write(records);
    }
  };
  await Promise.all(Array.from({ length: FILLERS }, filler));
}

/** @returns {Promise<Server | string>} or why there is none */
export async function startEtcd() {
  const tool = await provide('etcd');
  if (!tool.ok) return tool.reason;
  const folder = folderOf('etcd');
  const [client, peer] = await freePorts(2);
  const address = `http://127.0.0.1:${client}`;
  const peers = `http://127.0.0.1:${peer}`;
  const args = [
    `--data-dir=${folder}`,
    `--listen-client-urls=${address}`,
    `--advertise-client-urls=${address}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
    '--quota-backend-bytes=8589934592',
    '--logger=zap',
    '--log-level=error',
  ];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD')));
  const daemon = new Running(['etcd', ...args], { cwd: folder, env });
  await untilReady(daemon, async () =>
    (await ask('POST', `${address}/v3/kv/range`, { key: 'eA==' })).includes('header'),
  );
  return {
    url: `etcd://127.0.0.1:${client}/demo`,
    address,
    pid: daemon.pid,
    fill: (known) =>
      fillWith(known, 60, (records) => {
        const success = records.map(([key, value]) => ({ request_put: { key: base64(key), value: base64(value) } }));
        return ask('POST', `${address}/v3/kv/txn`, { success });
      }),
    stop: () => daemon.stop(),
  };
}

/** @returns {Promise<Server | string>} or why there is none */
export async function startConsul() {
  const tool = await provide('consul');
  if (!tool.ok) return tool.reason;
  const folder = folderOf('consul');
  const [port, lan, wan, rpc] = await freePorts(4);
  const config = {
    server: true,
    bootstrap_expect: 1,
    data_dir: join(folder, 'data'),
    bind_addr: '127.0.0.1',
    client_addr: '127.0.0.1',
    ports: { http: port, dns: -1, grpc: -1, serf_lan: lan, serf_wan: wan, server: rpc },
    // All watchers come from one address here.
    limits: { http_max_conns_per_client: 10_000 },
    disable_update_check: true,
    log_level: 'ERR',
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  // Not -dev, which spreads its JSON over lines.
  const daemon = new Running(['consul', 'agent', `-config-file=${join(folder, 'config.json')}`], {
    cwd: folder,
    env: { ...process.env, HOME: folder },
  });
  const address = `http://127.0.0.1:${port}`;
  await untilReady(daemon, async () => (await ask('PUT', `${address}/v1/kv/ready`, 1)).trim() === 'true');
  return {
    url: `consul://127.0.0.1:${port}/demo`,
    address,
    pid: daemon.pid,
    fill: (known) =>
      fillWith(known, 32, (records) => {
        const verbs = records.map(([key, value]) => ({ KV: { Verb: 'set', Key: key, Value: base64(value) } }));
        return ask('PUT', `${address}/v1/txn`, verbs);
      }),
    stop: () => daemon.stop(),
  };
}
