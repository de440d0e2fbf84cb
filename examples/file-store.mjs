// @ts-check
/**
 * A driver for a store of your own, here a JSON file for each network, which several processes may share:
 *
 *     OVERNS_DRIVERS=examples/file-store.mjs overns agent overns --store 'file:///srv/overns/{vni}.json'
 */
import { mkdir, open, readFile, rename, rm, watch, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** @type {(path: string) => Promise<{ index: number, endpoints: import('overns').Endpoint[] }>} */
async function read(path) {
  return JSON.parse(await readFile(path, 'utf8').catch(() => '{ "index": 0, "endpoints": [] }'));
}

/**
 * One writer at a time: who has made the lock file. The new content takes the place of the old one at once.
 * @param {string} path @param {(one: import('overns').Endpoint) => readonly string[]} keep the addresses of each that stay
 * @param {AbortSignal} closed @param {import('overns').Endpoint[]} added
 */
async function change(path, closed, keep, ...added) {
  await mkdir(dirname(path), { recursive: true });
  let lock = await open(`${path}.lock`, 'wx').catch(() => undefined);
  while (lock === undefined) {
    await sleep(2);
    if (closed.aborted) throw Object.assign(new Error(`${path}: the store is closed`), { code: 'OVERNS_CLOSED' });
    lock = await open(`${path}.lock`, 'wx').catch(() => undefined);
  }
  try {
    const { index, endpoints } = await read(path);
    const kept = endpoints.flatMap((one) => {
      const [ip, ...rest] = keep(one);
      return ip === undefined ? [] : [{ ...one, ip, ips: [ip, ...rest] }];
    });
    await writeFile(`${path}.new`, JSON.stringify({ index: index + 1, endpoints: [...kept, ...added] }));
    await rename(`${path}.new`, path);
  } finally {
    await lock.close();
    await rm(`${path}.lock`);
  }
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
      change(
        prefix,
        closing.signal,
        ({ mac, ips }) => (mac === endpoint.mac ? [] : ips.filter((ip) => !endpoint.ips.includes(ip))),
        endpoint,
      ),
    // What runs on another host by now is that host's to withdraw.
    withdraw: (endpoint, { prefix }) =>
      change(prefix, closing.signal, ({ mac, vtep, ips }) =>
        mac === endpoint.mac && vtep === endpoint.vtep ? ips.filter((ip) => !endpoint.ips.includes(ip)) : ips,
      ),
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
          if (index !== last && !end.aborted) yield { kind: 'reset', endpoints, index: BigInt(index) };
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
