// @ts-check
/**
 * The watches of many agents, in one process: each has a store of its own, with connections of its own, and follows what its
 * agent would. No kernel, and no native thread: what a store has to bear, and when each of them hears.
 *
 * watchers.mjs PACKAGE, with its options as the first line of stdin (JSON). Prints `ready` once each has heard what there is.
 * Commands on stdin, each answered by a line of JSON: `heard` (what they were told of `told` since the last time), `cpu`.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {object} Options
 * @property {string} url
 * @property {'all' | 'used'} sync
 * @property {string[][]} uses the addresses that each of them uses
 * @property {string[]} told the MAC addresses whose changes are noted
 */

const [, , folder = ''] = process.argv;
const lines = createInterface({ input: process.stdin });
const line = await new Promise((resolve) => lines.once('line', resolve));
/** @type {Options} */
const { url, sync, uses, told } = JSON.parse(line);
const { Interest, openStore } = await import(`${folder}/dist/index.js`);

const noted = new Set(told);
/** @type {[mac: string, vtep: string, at: number][]} */
let heard = [];

/** Watches that broke off and were begun again. */
let broken = 0;

/** @param {string[]} addresses @returns {Promise<void>} once it has heard what there is */
async function watch(addresses) {
  const store = await openStore(url);
  return new Promise((resolve) => {
    (async () => {
      for (;;) {
        try {
          for await (const change of sync === 'used' ? store.watchOnly(new Interest(addresses)) : store.watch()) {
            if (change.kind === 'reset') resolve();
            if (change.kind === 'put' && noted.has(change.endpoint.mac))
              heard.push([change.endpoint.mac, change.endpoint.vtep, Date.now()]);
          }
        } catch {
          broken++;
          await sleep(100 + Math.random() * 400);
        }
      }
    })();
  });
}

// A few at once: a thousand that begin in the same moment are another bench.
const waiting = [...uses];
await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await watch(next);
  }),
);

/** @type {Record<string, () => unknown>} */
const commands = {
  heard: () => {
    const all = heard;
    heard = [];
    return { heard: all, broken };
  },
  cpu: () => process.cpuUsage(),
};
lines.on('line', (line) => process.stdout.write(`${JSON.stringify(commands[line]?.() ?? null)}\n`));
lines.on('close', () => process.exit());
process.on('SIGTERM', () => process.exit());
process.stdout.write('ready\n');
