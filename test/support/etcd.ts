/** A real etcd per test or file, alone or three of them, on free ports of the loopback or in given namespaces. */
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.js';
import { freePorts, http } from './http.js';
import type { Netns } from './netns.js';
import { exec, type Running, spawn } from './process.js';

export interface EtcdOptions {
  /** The namespace to run in (its loopback is up already). Default: the test's own. */
  readonly netns?: Netns;
  /** Address for clients and members. Default 127.0.0.1. */
  readonly address?: string;
  /** Serves clients over TLS alone. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string; readonly clients?: boolean };
  /** False: it need not answer before start() is done. Default true. */
  readonly healthy?: boolean;
  /** More of its arguments. */
  readonly args?: readonly string[];
}

interface Place {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
}

/** Neither command likes variables that it does not need. */
function withoutEtcd(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD')));
}

const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64');

export class Etcd implements AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** `ADDRESS:PORT`. */
  readonly at: string;
  readonly netns: Netns | undefined;
  /** Directory that it keeps its data in. */
  readonly folder: string;
  readonly #url: string;
  readonly #arguments: readonly string[];
  readonly #tls: EtcdOptions['tls'];
  readonly #healthy: boolean;
  #process: Running | undefined;

  private constructor(folder: string, place: Place, others: readonly Place[], options: EtcdOptions) {
    const { netns, tls, healthy = true, args = [] } = options;
    this.folder = folder;
    this.netns = netns;
    this.#tls = tls;
    this.#healthy = healthy;
    this.#url = place.client;
    const { hostname, port, host } = new URL(place.client);
    this.address = hostname;
    this.port = Number(port);
    this.at = host;
    this.#arguments = [
      `--name=${place.name}`,
      `--data-dir=${join(folder, 'data')}`,
      `--listen-client-urls=${place.client}`,
      `--advertise-client-urls=${place.client}`,
      `--listen-peer-urls=${place.peer}`,
      `--initial-advertise-peer-urls=${place.peer}`,
      `--initial-cluster=${others.map(({ name, peer }) => `${name}=${peer}`).join(',')}`,
      // A busy machine must not make an election of every delay.
      '--heartbeat-interval=100',
      '--election-timeout=1000',
      '--log-level=warn',
      '--logger=zap',
      ...(tls ? [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`] : []),
      ...(tls?.clients ? ['--client-cert-auth', `--trusted-ca-file=${tls.ca}`] : []),
      ...args,
    ];
  }

  /** Starts one and waits until it serves. */
  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    for (let tries = 1; ; tries++) {
      const [etcd] = await Etcd.#configured([options]);
      try {
        await (etcd as Etcd).restart();
        return etcd as Etcd;
      } catch (error) {
        // One of its ports went to somebody else before it was up.
        if (tries === 5 || options.netns || !/address already in use/.test(String(error))) throw error;
      }
    }
  }

  /** Starts the members of one cluster, and waits until it serves. */
  static async cluster(options: readonly EtcdOptions[]): Promise<Etcd[]> {
    const members = await Etcd.#configured(options);
    for (const member of members) member.spawn();
    for (const member of members) await member.ready();
    return members;
  }

  static async #configured(options: readonly EtcdOptions[]): Promise<Etcd[]> {
    const ports = await freePorts(options.length * 2);
    const places = options.map(({ netns, address = '127.0.0.1', tls }, at): Place => {
      const [client, peer] = netns ? [2379, 2380] : [ports[at * 2], ports[at * 2 + 1]];
      return {
        name: `ot${at}`,
        client: `http${tls ? 's' : ''}://${address}:${client}`,
        peer: `http://${address}:${peer}`,
      };
    });
    return Promise.all(
      options.map(async (each, at) => {
        // In memory: each write waits until the disk has it.
        const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'ot-etcd-'));
        onCleanup(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
        return new Etcd(folder, places[at] as Place, places, each);
      }),
    );
  }

  /** Starts it (again), with what it held. */
  async restart(): Promise<void> {
    await this.stop();
    this.spawn();
    await this.ready();
  }

  spawn(): void {
    const options = { env: withoutEtcd(), cwd: this.folder };
    this.#process = this.netns
      ? this.netns.spawn('etcd', this.#arguments, options)
      : spawn('etcd', this.#arguments, options);
  }

  /** Waits until it answers with a quorum. */
  async ready(): Promise<void> {
    const until = Date.now() + 30_000;
    for (;;) {
      if (!this.#process?.running) throw new Error(`etcd ended: ${this.#process?.stderr}`);
      if (await this.healthy()) return;
      if (Date.now() > until) throw new Error(`etcd does not serve after 30 s: ${this.#process.stderr}`);
      await sleep(50);
    }
  }

  async healthy(): Promise<boolean> {
    const { body = '' } = await this.ask('kv/range', { key: base64('x') }).catch(() => ({ body: '' }));
    if (!this.#healthy) return body !== '';
    return body.includes('"header"') || body.includes('user name is empty');
  }

  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  /** A request to its gateway. TLS: not with this, but with etcdctl(). */
  async ask(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<{ body: string }> {
    if (this.#tls) {
      await this.etcdctl('endpoint', 'health');
      return { body: '"header"' };
    }
    return http(this.netns, 'POST', `${this.#url}/v3/${path}`, JSON.stringify(body), headers);
  }

  /** Runs etcd's own command against it. */
  async etcdctl(...args: string[]): Promise<{ stdout: string }> {
    const tls = this.#tls;
    const env = { ...withoutEtcd(), ETCDCTL_API: '3' };
    const security = tls ? [`--cacert=${tls.ca}`, `--cert=${tls.cert}`, `--key=${tls.key}`] : [];
    const all = [`--endpoints=${this.#url}`, ...security, ...args];
    return this.netns ? this.netns.exec('etcdctl', all, { env }) : exec('etcdctl', all, { env });
  }

  async put(key: string | Buffer, value: string | Buffer): Promise<void> {
    const { body } = await this.ask('kv/put', { key: base64(key), value: base64(value) });
    if (!body.includes('"header"')) throw new Error(`etcd refused ${key}: ${body}`);
  }

  async #range(key: string, end?: string): Promise<{ key: string; value: string }[]> {
    const { body } = await this.ask('kv/range', { key: base64(key), ...(end && { range_end: base64(end) }) });
    const text = (given = ''): string => Buffer.from(given, 'base64').toString();
    const { kvs = [] } = JSON.parse(body) as { kvs?: { key: string; value?: string }[] };
    return kvs.map(({ key: found, value }) => ({ key: text(found), value: text(value) }));
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#range(key))[0]?.value;
  }

  /** The keys below a prefix that ends with a slash, sorted. */
  async keys(prefix: string): Promise<string[]> {
    return (await this.#range(prefix, `${prefix.slice(0, -1)}0`)).map(({ key }) => key);
  }

  async putEndpoint(
    prefix: string,
    endpoint: { readonly ip: string; readonly mac: string; readonly vtep: string },
  ): Promise<void> {
    await this.put(`${prefix}/arp/${endpoint.ip}`, endpoint.mac);
    await this.put(`${prefix}/fib/${endpoint.mac}`, endpoint.vtep);
  }

  /** Forgets what was before now, as etcd's own housekeeping does. */
  async compact(): Promise<void> {
    const { body } = await this.ask('kv/range', { key: base64('x') });
    const { revision } = (JSON.parse(body) as { header: { revision: string } }).header;
    await this.ask('kv/compaction', { revision, physical: true });
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }

  /** Stopped, it loses all that it holds. */
  async wipe(): Promise<void> {
    await rm(join(this.folder, 'data'), { recursive: true, force: true });
  }

  /** Stopped, it keeps a copy of what it holds; the result puts that in place of what it holds then. */
  async backup(): Promise<() => Promise<void>> {
    const [data, copy] = [join(this.folder, 'data'), join(this.folder, 'copy')];
    await cp(data, copy, { recursive: true });
    return async () => {
      await this.wipe();
      await cp(copy, data, { recursive: true });
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
