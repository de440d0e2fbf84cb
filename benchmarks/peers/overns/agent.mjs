// @ts-check
/**
 * overns as an agent for one overlay: a fresh process, which resolves until its stdin ends.
 *
 * agent.mjs PACKAGE OPTIONS(JSON). Prints `ready` when it serves. Commands on stdin, each answered by a line of JSON:
 * `stats`, `block MS` (keeps the event loop busy), `memory`, `cpu`, `received` (bytes, of all its connections), `overlays`.
 */
import { subscribe } from 'node:diagnostics_channel';
import { createInterface } from 'node:readline';

/**
 * @typedef {object} Options
 * @property {string} overlay
 * @property {'memory' | 'lookup' | 'table' | string} store `memory`: the library's, with a watch; `lookup`: a JavaScript
 *   Map behind lookup() alone; `table`: a watch that keeps nothing in JavaScript; else a URL
 * @property {string} [first] of the endpoints known
 * @property {number} [count]
 * @property {string} [vtep] theirs
 * @property {[string, string][]} [endpoints] more: IP and VTEP
 * @property {boolean} [realtime]
 * @property {'all' | 'used' | 'lookup' | 'auto'} [sync]
 * @property {'ahead'} [program]
 * @property {boolean} [prime]
 */

const [, , folder = '', json = '{}'] = process.argv;
/** @type {Options} */
const options = JSON.parse(json);
/** @type {Set<import('node:net').Socket>} */
const sockets = new Set();
subscribe('net.client.socket', (message) => {
  sockets.add(/** @type {{ socket: import('node:net').Socket }} */ (message).socket);
});
const { Overlay, Resolver, openStore } = await import(`${folder}/dist/index.js`);

/** @param {number} value */
const dotted = (value) => `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
/** @param {string} text */
const number = (text) => text.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
/** @param {string} ip */
const macOf = (ip) =>
  `02:42:${ip
    .split('.')
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join(':')}`;

function* endpoints() {
  const first = number(options.first ?? '0.0.0.0');
  for (let i = 0; i < (options.count ?? 0); i++) {
    const ip = dotted(first + i);
    yield { ip, ips: [ip], mac: macOf(ip), vtep: options.vtep };
  }
  for (const [ip, vtep] of options.endpoints ?? []) yield { ip, ips: [ip], mac: macOf(ip), vtep };
}

let asked = 0;

async function makeStore() {
  if (options.store === 'memory') {
    const store = await openStore('memory:');
    for (const endpoint of endpoints()) await store.publish(endpoint);
    return store;
  }
  if (options.store === 'lookup' || options.store === 'table') {
    const known = new Map();
    if (options.store === 'lookup')
      for (const each of endpoints()) known.set(each.ip, { mac: each.mac, vtep: each.vtep });
    const byMac = new Map(Array.from(known.values(), (answer) => [answer.mac, answer]));
    const store = {
      lookup(/** @type {any} */ query) {
        asked++;
        return (query.kind === 'l3' ? known.get(query.ip) : byMac.get(query.mac)) ?? null;
      },
    };
    if (options.store === 'lookup') return store;
    return {
      ...store,
      async *watch(/** @type {{ signal: AbortSignal }} */ { signal }) {
        yield { kind: 'reset', endpoints: endpoints(), index: 1n };
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
    };
  }
  return openStore(options.store);
}

const overlays = [];
for (const name of options.overlay.split(',')) overlays.push(await Overlay.open(name));
const store = await makeStore();
// Older packages do not know each of them.
const { realtime, sync, program, prime } = options;
const resolver = await Resolver.start({
  overlays,
  store,
  realtime,
  ...(sync && { sync }),
  ...(program && { program }),
  ...(prime && { prime }),
});

/** @type {Record<string, (argument: string) => unknown>} */
const commands = {
  stats: () => ({ ...resolver.stats(), asked }),
  block: (ms) => {
    for (const until = Date.now() + Number(ms); Date.now() < until; );
    return { blocked: Number(ms) };
  },
  memory: () => {
    globalThis.gc?.();
    globalThis.gc?.();
    return process.memoryUsage();
  },
  cpu: () => process.cpuUsage(),
  received: () => ({ bytes: [...sockets].reduce((sum, socket) => sum + socket.bytesRead, 0) }),
  overlays: () => resolver.overlays(),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [name = '', argument = ''] = line.split(' ');
  process.stdout.write(`${JSON.stringify(commands[name]?.(argument) ?? null)}\n`);
});
const end = async () => {
  await resolver.close();
  process.exit(0);
};
lines.on('close', end);
process.on('SIGTERM', end);
process.stdout.write('ready\n');
