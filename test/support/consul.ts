/** A real Consul agent per test or file, on free ports of the loopback of this namespace or of a given one. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.js';
import { freePorts, type HttpResult, http } from './http.js';
import type { Netns } from './netns.js';
import { type Running, spawn } from './process.js';

export interface ConsulOptions {
  /** The namespace to run in (its loopback is up already). Default: the test's own. */
  readonly netns?: Netns;
  /** Address to serve HTTP on. Default 127.0.0.1; an address of the namespace lets other hosts reach it. */
  readonly address?: string;
  /** HTTP port. Default: a free one, in a namespace of its own 8500. */
  readonly port?: number;
  /** Turns ACLs on, default policy deny; `token` is then the token that may do all. Default false. */
  readonly acl?: boolean;
  /** Serves HTTPS as well, on `httpsPort`. Default false. */
  readonly https?: boolean;
  /** More of the agent's configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export class Consul implements AsyncDisposable {
  /** `http://ADDRESS:PORT`. */
  readonly url: string;
  readonly address: string;
  readonly port: number;
  /** The token that may do all, with `acl`. */
  readonly token: string | undefined;
  /** Where it serves HTTPS, with `https`. */
  readonly httpsPort: number;
  readonly netns: Netns | undefined;
  readonly #folder: string;
  readonly #arguments: readonly string[];
  #process: Running | undefined;

  private constructor(
    folder: string,
    address: string,
    port: number,
    httpsPort: number,
    args: readonly string[],
    token: string | undefined,
    netns: Netns | undefined,
  ) {
    this.#folder = folder;
    this.#arguments = args;
    this.address = address;
    this.port = port;
    this.httpsPort = httpsPort;
    this.url = `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
    this.token = token;
    this.netns = netns;
  }

  /** Starts an agent and waits until it has a leader. */
  static async start(options: ConsulOptions = {}): Promise<Consul> {
    for (let tries = 1; ; tries++) {
      const consul = await Consul.#configured(options);
      try {
        await consul.restart();
        return consul;
      } catch (error) {
        // One of its ports went to somebody else before it was up.
        if (tries === 5 || options.netns || !/address already in use/.test(String(error))) throw error;
      }
    }
  }

  static async #configured(options: ConsulOptions): Promise<Consul> {
    const { netns, address = '127.0.0.1', acl = false, https = false, config: more = {} } = options;
    const folder = await mkdtemp(join(tmpdir(), 'ot-consul-'));
    onCleanup(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
    const ports = netns ? [8500, 8300, 8301, 8302, 8501] : await freePorts(5);
    const [http, server, lan, wan, tls] = ports as [number, number, number, number, number];
    const port = options.port ?? http;
    const token = acl ? randomUUID() : undefined;
    const config = {
      ...more,
      bind_addr: '127.0.0.1',
      ports: { http: port, dns: -1, grpc: -1, server, serf_lan: lan, serf_wan: wan, ...(https ? { https: tls } : {}) },
      addresses: { http: address },
      disable_update_check: true,
      log_level: 'WARN',
      ...(acl ? { acl: { enabled: true, default_policy: 'deny', tokens: { master: token } } } : {}),
    };
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    const args = ['agent', '-dev', `-config-file=${join(folder, 'config.json')}`, `-node=ot${port}`];
    return new Consul(folder, address, port, tls, args, token, netns);
  }

  /** Starts the agent (again): what it held is gone, it keeps its data in memory. */
  async restart(): Promise<void> {
    await this.stop();
    const env = { ...process.env, HOME: this.#folder };
    const options = { env, cwd: this.#folder };
    this.#process = this.netns
      ? this.netns.spawn('consul', this.#arguments, options)
      : spawn('consul', this.#arguments, options);
    const until = Date.now() + 20_000;
    for (;;) {
      if (!this.#process.running) throw new Error(`consul ended: ${this.#process.stdout}${this.#process.stderr}`);
      const leader = await this.request('GET', '/v1/status/leader').catch(() => undefined);
      if (
        leader?.status === 200 &&
        leader.body.length > 2 &&
        (!this.token || (await this.request('GET', '/v1/acl/token/self')).status === 200)
      ) {
        // A leader is elected a moment before it takes writes.
        const ready = await this.put('overns-ready', '1').catch(() => undefined);
        if (ready?.status === 200 && ready.body.trim() === 'true') break;
      }
      if (Date.now() > until)
        throw new Error(`consul has no leader after 20 s: ${this.#process.stdout}${this.#process.stderr}`);
      await sleep(50);
    }
    await this.request('DELETE', '/v1/kv/overns-ready');
  }

  /** Pid of the agent, for signals such as SIGSTOP. */
  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  /** A request to the agent, from its own namespace, with the master token when there is one. */
  request(
    method: string,
    path: string,
    body?: string | Buffer,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpResult> {
    const token: Record<string, string> = this.token ? { 'X-Consul-Token': this.token } : {};
    return http(this.netns, method, `${this.url}${path}`, body, { ...token, ...headers });
  }

  /** Exactly what `curl -X PUT -d VALUE http://.../v1/kv/KEY` sends. */
  put(key: string, value: string | Buffer): Promise<HttpResult> {
    return this.request('PUT', `/v1/kv/${key}`, value, {
      'Content-Type': 'application/x-www-form-urlencoded',
      Accept: '*/*',
      'User-Agent': 'curl/7.88.1',
    });
  }

  /** The value of a key, or undefined. */
  async get(key: string): Promise<string | undefined> {
    const { status, body } = await this.request('GET', `/v1/kv/${key}?raw`);
    return status === 200 ? body : undefined;
  }

  /** The keys below a prefix, sorted. */
  async keys(prefix: string): Promise<string[]> {
    const { status, body } = await this.request('GET', `/v1/kv/${prefix}?keys`);
    return status === 200 ? (JSON.parse(body) as string[]).sort() : [];
  }

  /** The records of one endpoint, as the seed puts them: PREFIX/arp/IP = MAC, PREFIX/fib/MAC = VTEP. */
  async putEndpoint(
    prefix: string,
    endpoint: { readonly ip: string; readonly mac: string; readonly vtep: string },
  ): Promise<void> {
    for (const [key, value] of [
      [`${prefix}/arp/${endpoint.ip}`, endpoint.mac],
      [`${prefix}/fib/${endpoint.mac}`, endpoint.vtep],
    ] as const) {
      const { status, body } = await this.put(key, value);
      if (status !== 200 || body.trim() !== 'true') throw new Error(`consul refused ${key}: ${status} ${body}`);
    }
  }

  /** Deletes a key, or with `recurse` all that begin with it. */
  async delete(key: string, options: { readonly recurse?: boolean } = {}): Promise<void> {
    await this.request('DELETE', `/v1/kv/${key}${options.recurse ? '?recurse' : ''}`);
  }

  /** Ends the agent; `restart()` brings it back empty. */
  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
