// @ts-check
/**
 * A driver for a store of your own, here a JSON file for each network, which several processes may share:
 *
 *     OVERNS_DRIVERS=examples/file-store.mjs overns agent overns --store 'file:///srv/overns/{vni}.json'
 */
import { mkdir, open, readFile, rename, rm, watch, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** @typedef {import('overns').Endpoint & { revision: number }} Row */

/** @type {(path: string) => Promise<{ index: number, endpoints: Row[] }>} */
async function read(path) {
  return JSON.parse(await readFile(path, 'utf8').catch(() => '{ "index": 0, "endpoints": [] }'));
}

/** @type {(row: Row) => import('overns').Endpoint} */
const endpointOf = ({ revision: _, ...endpoint }) => endpoint;

/**
 * The rows with an endpoint in place of what they know of its addresses.
 * @param {Row[]} rows @param {import('overns').Endpoint} endpoint @param {number} revision @returns {Row[]}
 */
function put(rows, endpoint, revision) {
  const others = without(rows, endpoint.ips, ({ mac }) => mac !== endpoint.mac);
  const known = rows.find(({ mac, vtep }) => mac === endpoint.mac && vtep === endpoint.vtep)?.ips ?? [];
  return [...others, { ...endpoint, ips: [...new Set([...endpoint.ips, ...known])], revision }];
}

/**
 * Rows without some addresses; those that are left with none go.
 * @param {Row[]} rows @param {readonly string[]} ips @param {(row: Row) => boolean} keep @returns {Row[]}
 */
function without(rows, ips, keep) {
  return rows.filter(keep).flatMap((row) => {
    const [ip, ...rest] = row.ips.filter((each) => !ips.includes(each));
    return ip === undefined ? [] : [{ ...row, ip, ips: [ip, ...rest] }];
  });
}

/**
 * One writer at a time: who has made the lock file. The new content takes the place of the old one at once.
 * @param {string} path @param {AbortSignal} closed
 * @param {(rows: Row[], revision: number) => Row[]} edit gives the same rows back where nothing is to be changed
 */
async function change(path, closed, edit) {
  await mkdir(dirname(path), { recursive: true });
  let lock = await open(`${path}.lock`, 'wx').catch(() => undefined);
  while (lock === undefined) {
    await sleep(2);
    if (closed.aborted) throw Object.assign(new Error(`${path}: the store is closed`), { code: 'OVERNS_CLOSED' });
    lock = await open(`${path}.lock`, 'wx').catch(() => undefined);
  }
  try {
    const { index, endpoints } = await read(path);
    const edited = edit(endpoints, index + 1);
    if (edited === endpoints) return;
    await writeFile(`${path}.new`, JSON.stringify({ index: index + 1, endpoints: edited }));
    await rename(`${path}.new`, path);
  } finally {
    await lock.close();
    await rm(`${path}.lock`);
  }
}

/**
 * Why a claim is refused; undefined where nothing speaks against it.
 * @param {Row[]} rows @param {import('overns').Endpoint} endpoint @param {import('overns').DriverClaim} claim
 */
function refusal(rows, { mac, vtep, ips }, { prefix, takeover, expect }) {
  for (const row of rows) {
    const ip = row.ips.find((each) => ips.includes(each));
    if (row.mac !== mac && ip === undefined) continue;
    const newer = expect !== undefined && BigInt(row.revision) > expect;
    if (!newer && (takeover || row.vtep === vtep)) continue;
    const holder = { ...(ip && { ip }), mac: row.mac, vtep: row.vtep, revision: BigInt(row.revision) };
    const text = `${prefix}: ${ip ?? mac} is held by ${row.mac} at ${row.vtep}, revision ${row.revision}`;
    return Object.assign(new Error(text), { code: 'OVERNS_CONFLICT', holder });
  }
  return undefined;
}

/** @type {import('overns').StoreDriver['open']} */
function openFiles() {
  const closing = new AbortController();
  return {
    async lookup(query, { prefix }) {
      const { endpoints } = await read(prefix);
      const { mac, vtep } =
        endpoints.find((one) => (query.kind === 'l3' ? one.ips.includes(query.ip) : one.mac === query.mac)) ?? {};
      return mac === undefined || vtep === undefined ? null : { mac, vtep };
    },
    publish: (endpoint, { prefix }) =>
      change(prefix, closing.signal, (rows, revision) => put(rows, endpoint, revision)),
    // What runs on another host by now is that host's to withdraw.
    withdraw: ({ mac, vtep, ips }, { prefix }) =>
      change(prefix, closing.signal, (rows) =>
        rows.flatMap((row) => (row.mac === mac && row.vtep === vtep ? without([row], ips, () => true) : [row])),
      ),
    async claim(endpoint, options) {
      let claimed = 0;
      await change(options.prefix, closing.signal, (rows, revision) => {
        const error = refusal(rows, endpoint, options);
        if (error !== undefined) throw error;
        const same = rows.find(({ mac, vtep }) => mac === endpoint.mac && vtep === endpoint.vtep);
        const done = same !== undefined && endpoint.ips.every((ip) => same.ips.includes(ip));
        claimed = done ? same.revision : revision;
        return done ? rows : put(rows, endpoint, revision);
      });
      return { revision: BigInt(claimed) };
    },
    list: async ({ prefix }) =>
      (await read(prefix)).endpoints.map((row) => ({ ...row, revision: BigInt(row.revision) })),
    // Everything anew at each change: enough for a file.
    async *watch({ prefix, signal, ref = true }) {
      await mkdir(dirname(prefix), { recursive: true });
      const left = new AbortController();
      const end = AbortSignal.any([signal, closing.signal, left.signal]);
      const events = watch(dirname(prefix), { signal: end, persistent: ref })[Symbol.asyncIterator]();
      try {
        for (let last = -1; !closing.signal.aborted; ) {
          const event = events.next(); // listens from here on, before the look
          event.catch(() => {});
          const { index, endpoints } = await read(prefix);
          if (index !== last && !end.aborted) {
            yield { kind: 'reset', endpoints: endpoints.map(endpointOf), index: BigInt(index) };
          }
          last = index;
          await event;
        }
      } catch (error) {
        if (signal.aborted || !closing.signal.aborted) throw error;
      } finally {
        left.abort();
      }
    },
    close: () => closing.abort(),
  };
}

/** @type {import('overns').StoreDriver} */
export default {
  title: 'the file',
  schemes: ['file'],
  form: 'file:///PATH.json',
  example: 'file:///srv/overns/demo.json',
  parse(url, refuse) {
    const path = /^file:\/\/(\/[^?#@]+\.json)$/i.exec(url)?.[1];
    if (path === undefined) throw refuse('a path as in file:///srv/overns/demo.json');
    return { text: `file://${path}`, prefix: path };
  },
  open: openFiles,
};
