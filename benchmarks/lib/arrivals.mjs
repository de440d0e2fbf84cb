// @ts-check
/** When others have a container that has moved: the kernel of a host, and the store's own command. */
import { join } from 'node:path';
import { root } from '../../scripts/lib/process.mjs';
import { Running, usage } from './process.mjs';

/** @typedef {{ mac: string, vtep: string }} Move */

/** The changes of a kernel's FDB, as it tells them. */
export class Fdb {
  /** @type {Map<string, number>} */
  #seen = new Map();

  /** @param {import('./world.mjs').Side} side */
  constructor(side) {
    this.process = new Running(['bridge', '-n', side.name, '-timestamp', 'monitor', 'fdb']);
    let rest = '';
    let at = 0;
    this.process.child.stdout?.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [, day, time, year, us] = /^Timestamp: (\w+ \w+ +\d+) (\S+) (\d+) (\d+) usec$/.exec(line) ?? [];
        if (us !== undefined) at = new Date(`${day} ${year} ${time}`).getTime() + Number(us) / 1000;
        const [, mac, vtep] = /^([0-9a-f:]{17}) dev vxlan1 dst (\S+)/.exec(line) ?? [];
        if (vtep !== undefined && !this.#seen.has(`${mac} ${vtep}`)) this.#seen.set(`${mac} ${vtep}`, at);
      }
    });
  }

  /** When it was there; undefined: it is not yet. @param {Move} move */
  when({ mac, vtep }) {
    return this.#seen.get(`${mac} ${vtep}`);
  }
}

/** What follows a whole prefix with the store's own command. */
export class Bare {
  /** @type {Map<string, number>} */
  #seen = new Map();
  #text = '';
  #bytes = 0;

  /** @param {{ store: 'etcd' | 'consul' }} cell @param {import('./servers.mjs').Server} server @param {string} mac the one that it waits for */
  constructor({ store }, { address }, mac) {
    const command =
      store === 'etcd'
        ? ['etcdctl', `--endpoints=${address}`, 'watch', '--prefix', 'demo/']
        : [join(root, 'benchmarks/peers/curl/watch.sh'), `${address}/v1/kv/demo/`, mac];
    this.name = store === 'etcd' ? 'etcdctl' : 'curl';
    this.process = new Running(command, { env: { ...process.env, ETCDCTL_API: '3' } });
    this.process.child.stdout?.on('data', (text) => this.#take(text, store === 'etcd'));
  }

  /** @param {string} text @param {boolean} plain */
  #take(text, plain) {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('bytes ')) this.#bytes += Number(line.slice(6));
      const value = plain ? line : Buffer.from(/"Value":"([^"]*)"/.exec(line)?.[1] ?? '', 'base64').toString();
      if (value.startsWith('10.9.2.') && !this.#seen.has(value)) this.#seen.set(value, Date.now());
    }
  }

  /** CPU seconds, with those of the processes that it has started. */
  get cpu() {
    const { cpu, children } = usage(this.process.pid);
    return cpu + children;
  }

  /** Bytes; undefined where it does not say. */
  get received() {
    return this.name === 'curl' ? this.#bytes : undefined;
  }

  /** @param {Move} move */
  when({ vtep }) {
    return this.#seen.get(vtep);
  }
}
