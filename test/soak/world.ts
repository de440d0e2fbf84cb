/** Hosts with agents of their own, containers that move between them, and what has to be true of all of it. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Endpoint, Overlay, openStore, queryResolver, Rtnl } from '../../lib/index.js';
import { ping } from '../../lib/netns/ping.js';
import { start } from '../cli/cli.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { createContainer, type Host, manyHosts, type Netns, type Running, uniqueName } from '../support/netns.js';

/** How long what has changed may take to be so everywhere, milliseconds: no claim, but what is not so by then never will be. */
const SETTLE_MS = 60_000;
/** How late a reply may come and not be lost, milliseconds. */
const LATE_MS = 3000;
/** After so long an agent has all that it needs, milliseconds. */
const WARM_MS = 20_000;
/** Longer than any reply takes on this machine, shorter than a container waits before it asks again. */
const REPLY_MS = 1000;

/** A store that can be killed. */
export interface SoakStore {
  readonly kind: string;
  url(): string;
  kill(): void;
  restart(): Promise<void>;
  /** What it held is there again after a restart. */
  readonly keeps: boolean;
}

export async function startEtcd(): Promise<SoakStore> {
  const etcd = await Etcd.start();
  let count = 0;
  return {
    kind: 'etcd',
    url: () => `etcd://${etcd.at}/s${++count}`,
    kill: () => void process.kill(etcd.pid, 'SIGKILL'),
    restart: () => etcd.restart(),
    keeps: true,
  };
}

export async function startConsul(): Promise<SoakStore> {
  const consul = await Consul.start();
  let count = 0;
  return {
    kind: 'Consul',
    url: () => `consul://${consul.address}:${consul.port}/s${++count}`,
    kill: () => void process.kill(consul.pid, 'SIGKILL'),
    restart: () => consul.restart(),
    keeps: false,
  };
}

/** The size of a process: resident memory in MiB, descriptors, threads. */
interface Size {
  readonly rss: number;
  readonly fds: number;
  readonly threads: number;
}

/** No agent of this little work is larger. */
const LARGEST: Size = { rss: 200, fds: 80, threads: 20 };

/** A container, and where it should be. */
export interface Container {
  readonly name: string;
  readonly netns: Netns;
  at: Station | undefined;
  endpoint: Endpoint | undefined;
}

function sizeOf(pid: number): Size {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return {
    rss: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
    fds: readdirSync(`/proc/${pid}/fd`).length,
    threads: Number(/Threads:\s+(\d+)/.exec(status)?.[1]),
  };
}

/** A host with its overlay and its agent. */
export class Station {
  readonly host: Host;
  readonly overlay: Overlay;
  readonly rtnl: Rtnl;
  agent: Running | undefined;
  /** Its agent's size once it had been at work for a while. */
  size: Size | undefined;
  #agentSince = 0;

  constructor(host: Host, overlay: Overlay, rtnl: Rtnl) {
    this.host = host;
    this.overlay = overlay;
    this.rtnl = rtnl;
  }

  async startAgent(url: string): Promise<void> {
    // The threads are for this process's pings.
    this.agent = start(`agent ${this.overlay.name} --store ${url}`, { env: { UV_THREADPOOL_SIZE: '4' } });
    this.size = undefined;
    this.#agentSince = performance.now();
    await this.agent.waitFor(/^agent ready$/m);
  }

  /** @throws where its agent has grown, or is larger than any may be */
  checkSize(): void {
    if (this.agent === undefined) return;
    const size = sizeOf(this.agent.pid);
    if (performance.now() - this.#agentSince > WARM_MS) this.size ??= size;
    const { rss, fds, threads } = this.size ?? LARGEST;
    if (size.fds <= fds + 8 && size.threads <= threads + 4 && size.rss <= rss + 60) return;
    throw new Error(
      `the agent of ${this.overlay.vtep} grows from ${JSON.stringify(this.size ?? LARGEST)} to ${JSON.stringify(size)}`,
    );
  }

  /** As a crash, or the kernel out of memory. */
  async killAgent(): Promise<void> {
    this.agent?.child.kill('SIGKILL');
    await this.agent?.exited;
    this.agent = undefined;
  }

  async stopAgent(): Promise<void> {
    await this.agent?.stop();
    this.agent = undefined;
  }
}

export class World {
  readonly stations: readonly Station[];
  readonly containers: readonly Container[];
  /** The last thing that happened, in words. */
  step = '';
  /** How long it took until all was as it should be, milliseconds. */
  readonly settled: { readonly ms: number; readonly what: string; readonly step: string }[] = [];

  private constructor(stations: readonly Station[], containers: readonly Container[]) {
    this.stations = stations;
    this.containers = containers;
  }

  static async create(hosts: number, containers: number): Promise<World> {
    const stations: Station[] = [];
    for (const host of await manyHosts(hosts)) {
      const overlay = await Overlay.create({ name: uniqueName(), vni: 42, address: '192.168.0.1/24', host: host.name });
      stations.push(new Station(host, overlay, await Rtnl.open({ netns: overlay.name })));
    }
    const all: Container[] = [];
    for (let at = 0; at < hosts * containers; at++) {
      all.push({ name: `c${at}`, netns: await createContainer(), at: undefined, endpoint: undefined });
    }
    return new World(stations, all);
  }

  get attached(): readonly Container[] {
    return this.containers.filter(({ at }) => at !== undefined);
  }

  async attach(container: Container, station: Station, address?: string, mac?: string): Promise<void> {
    container.endpoint = await station.overlay.attach(
      { path: container.netns.path },
      { ...(address && { address }), ...(mac && { mac }) },
    );
    container.at = station;
    const { ip } = container.endpoint;
    const others = this.attached.filter((other) => other !== container && other.endpoint?.ip === ip);
    if (others.length > 0) throw new Error(`${ip} was handed out to ${container.name}, and is ${others[0]?.name}'s`);
    // One that asked in vain while its answer was on the way asks soon again.
    await container.netns.sysctl('net/ipv4/neigh/eth0/retrans_time_ms', 200);
  }

  async detach(container: Container): Promise<void> {
    const station = container.at as Station;
    container.at = undefined;
    await station.overlay.detach({ path: container.netns.path });
  }

  /** Waits until all that a look gives is nothing, and remembers how long it took. */
  async #settle(what: string, look: () => Promise<readonly string[]>): Promise<void> {
    const began = performance.now();
    for (;;) {
      const wrong = await look();
      const took = performance.now() - began;
      if (wrong.length === 0) {
        this.settled.push({ ms: took, what, step: this.step });
        return;
      }
      if (took > SETTLE_MS) throw new Error(`after ${Math.round(took)} ms: ${wrong.slice(0, 10).join('; ')}`);
      await sleep(20);
    }
  }

  /** That pairs reach each other, and others do not. */
  async reach(pairs: readonly (readonly [Container, Container])[]): Promise<void> {
    let open = pairs;
    await this.#settle('reachability', async () => {
      const answers = await Promise.all(
        open.map(async ([from, to]) => {
          const [echo] = await ping(from.netns.name, to.endpoint?.ip as string, { timeoutMs: REPLY_MS });
          return typeof echo?.rttMs === 'number';
        }),
      );
      open = open.filter((_, at) => !answers[at]);
      return open.map(([from, to]) => `${this.words(from)} does not reach ${this.words(to)}`);
    });
  }

  /** That nobody answers for what is detached. */
  async silent(ip: string, askers: readonly Container[]): Promise<void> {
    if (this.attached.some(({ endpoint }) => endpoint?.ip === ip)) return;
    for (const { netns, name } of askers) {
      const [echo] = await ping(netns.name, ip, { timeoutMs: 200 });
      if (typeof echo?.rttMs === 'number') throw new Error(`${ip} answers ${name}, and is nobody's`);
    }
  }

  /** That what the kernels have of remote containers is as it is. */
  async entries(): Promise<void> {
    await this.#settle('forwarding entries', async () => {
      const wrong: string[] = [];
      const where = new Map(this.attached.map(({ at, endpoint }) => [endpoint?.mac, at]));
      for (const station of this.stations) {
        for (const { mac, dst } of await station.rtnl.fdb.list({ link: 'vxlan1' })) {
          if (dst === undefined || mac === '00:00:00:00:00:00') continue;
          const at = where.get(mac);
          const vtep = at?.overlay.vtep;
          if (at !== station && dst === vtep) continue;
          wrong.push(`${station.overlay.vtep} has ${mac} behind ${dst}, and it is ${vtep ?? 'nowhere'}`);
        }
      }
      return wrong;
    });
  }

  /** That the store has whom it should, under leases, and nobody else. */
  async published(url: string): Promise<void> {
    await using store = await openStore(url);
    await this.#settle('records', async () => {
      const found = new Map((await store.list()).map((stored) => [stored.mac, stored]));
      const wrong = this.attached.flatMap((container) => {
        const { mac, ip } = container.endpoint as Endpoint;
        const stored = found.get(mac);
        found.delete(mac);
        const as = stored?.vtep === container.at?.overlay.vtep && stored?.ip === ip && stored.lease !== undefined;
        return as
          ? []
          : [
              `${this.words(container)} is ${stored === undefined ? 'not' : JSON.stringify({ ...stored, revision: 0 })} in the store`,
            ];
      });
      return [
        ...wrong,
        ...[...found.values()].map(({ ip, vtep }) => `the store has ${ip} at ${vtep}, which is nobody's`),
      ];
    });
  }

  /** That no agent doubts what its store lists: it hands out no address then. */
  async believed(): Promise<void> {
    await this.#settle('belief', async () => {
      const found = await Promise.all(this.stations.map(({ overlay }) => queryResolver(overlay.name)));
      return found.flatMap((resolver, at) =>
        resolver?.status?.grace === undefined ? [] : [`${this.stations[at]?.overlay.vtep} doubts its store`],
      );
    });
  }

  /** That nothing grows, and nothing is left behind. */
  async flat(): Promise<void> {
    for (const station of this.stations) {
      const own = this.attached.filter(({ at }) => at === station).length;
      const ports = (await station.rtnl.links.list({ kind: 'veth' })).length;
      if (ports !== own) throw new Error(`${station.overlay.vtep} has ${ports} ports, for ${own} containers`);
      station.checkSize();
    }
  }

  words({ name, endpoint, at }: Container): string {
    return `${name} (${endpoint?.ip} ${at === undefined ? 'detached' : `at ${at.overlay.vtep}`})`;
  }
}

/** A ping that goes on for as long as the test does. */
export class Flow {
  readonly from: Container;
  readonly to: Container;
  readonly #running: Running;
  /** Requests without a reply. */
  readonly #open = new Set<number>();
  #seen = 0;

  constructor(from: Container, to: Container) {
    this.from = from;
    this.to = to;
    this.#running = from.netns.spawn('ping', ['-n', '-O', '-i', '0.2', '-W', '5', to.endpoint?.ip as string]);
  }

  /** Whether it concerns a container. */
  concerns(container: Container): boolean {
    return this.from === container || this.to === container;
  }

  /** How many requests have not been answered, since the last time that it was asked; late replies are waited for. */
  async lost(): Promise<number> {
    const until = performance.now() + LATE_MS;
    while (this.#look() > 0 && performance.now() < until) await sleep(20);
    const { size } = this.#open;
    this.#open.clear();
    return size;
  }

  /** Takes note of what ping has said: which request has no reply yet, and which has got it late. */
  #look(): number {
    const text = this.#running.stdout.slice(this.#seen);
    const end = text.lastIndexOf('\n') + 1;
    this.#seen += end;
    for (const [line, number] of text.slice(0, end).matchAll(/^.*icmp_seq=(\d+).*$/gm)) {
      if (/ bytes from /.test(line)) this.#open.delete(Number(number));
      else this.#open.add(Number(number));
    }
    return this.#open.size;
  }

  async stop(): Promise<void> {
    await this.#running.stop('SIGKILL');
  }
}
