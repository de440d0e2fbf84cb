/** Overlays under test: hosts with an overlay each, containers attached to it, and a fast way to have all of it cold. */
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  type AttachOptions,
  type Endpoint,
  type Neighbor,
  Overlay,
  type OverlayOptions,
  Resolver,
  type ResolverEvent,
  type ResolverOptions,
  Rtnl,
} from '../../lib/index.js';
import { onCleanup } from './cleanup.js';
import { createContainer, type Host, type HostsOptions, Netns, type Running, twoHosts, uniqueName } from './netns.js';

/**
 * A container's kernel asks for a neighbour again after so long, instead of after a second (Site.attach): who has an
 * answer within half of it got it for the first request. A request is replayed for a second after its answer.
 */
export const ASKS_AGAIN_MS = 10_000;
/** Below it nobody has asked twice. */
export const PROMPT_MS = ASKS_AGAIN_MS / 2;

/** A container's namespace and what it was attached as. */
export interface Attached {
  readonly netns: Netns;
  readonly endpoint: Endpoint;
  readonly ip: string;
}

/** A host with its overlay. */
export class Site {
  readonly host: Host;
  readonly overlay: Overlay;
  /** The overlay's namespace. */
  readonly netns: Netns;
  readonly containers: Attached[] = [];

  private constructor(host: Host, overlay: Overlay) {
    this.host = host;
    this.overlay = overlay;
    this.netns = new Netns(overlay.name);
  }

  /** Makes an overlay on a host, as the seed's: VNI 42, gateway 192.168.0.1/24. */
  static async create(host: Host, options: Partial<OverlayOptions> = {}): Promise<Site> {
    const overlay = await Overlay.create({
      name: uniqueName(),
      vni: 42,
      address: '192.168.0.1/24',
      host: host.name,
      ...options,
    });
    onCleanup(
      () => overlay.close(),
      () => undefined,
    );
    return new Site(host, overlay);
  }

  /** A new namespace that stands for a container, attached. */
  async attach(
    address: AttachOptions['address'],
    options: Omit<AttachOptions, 'address'> = {},
    netns?: Netns,
  ): Promise<Attached> {
    const container = netns ?? (await createContainer());
    const endpoint = await this.overlay.attach({ path: container.path }, { address, ...options });
    const versions = new Set(endpoint.ips.map((ip) => (ip.includes(':') ? 'ipv6' : 'ipv4')));
    for (const version of versions)
      await container.sysctl(`net/${version}/neigh/${options.ifname ?? 'eth0'}/retrans_time_ms`, ASKS_AGAIN_MS);
    const attached = { netns: container, endpoint, ip: endpoint.ip };
    this.containers.push(attached);
    return attached;
  }

  get container(): Attached {
    return this.containers[0] as Attached;
  }
}

export interface SitesOptions extends HostsOptions {
  readonly overlay?: Partial<OverlayOptions>;
  readonly attach?: Omit<AttachOptions, 'address'>;
  /** Gives the containers fd00::2/64 and fd00::3/64 besides. Default false. */
  readonly inner6?: boolean;
}

/** Two hosts, each with an overlay and one container: 192.168.0.2 and 192.168.0.3. */
export async function twoSites(options: SitesOptions = {}): Promise<[Site, Site]> {
  const hosts = await twoHosts(options);
  const [a, b] = (await Promise.all(hosts.map((host) => Site.create(host, options.overlay)))) as [Site, Site];
  await Promise.all(
    [a, b].map((site, at) => {
      const addresses = [`192.168.0.${at + 2}/24`, ...(options.inner6 ? [`fd00::${at + 2}/64`] : [])];
      return site.attach(addresses, options.attach);
    }),
  );
  return [a, b];
}

/** Starts a resolver that ends with the test (or the file, from a beforeAll). */
export async function startResolver(options: ResolverOptions): Promise<Resolver> {
  const resolver = await Resolver.start(options);
  onCleanup(
    () => resolver.close(),
    () => undefined,
  );
  return resolver;
}

/** Everything that a resolver tells, as it comes; or what is wanted of it. */
export function record(resolver: Resolver, wanted: (event: ResolverEvent) => boolean = () => true): ResolverEvent[] {
  const seen: ResolverEvent[] = [];
  const kinds = [
    'resolved',
    'unresolved',
    'rejected',
    'unreadable',
    'overrun',
    'overflow',
    'store-down',
    'store-up',
    'grace',
    'grace-over',
    'punt-off',
    'punt-on',
    'overlay-lost',
    'overlay-back',
    'contradicted',
    'sync',
  ] as const;
  for (const kind of kinds) resolver.on(kind, (event) => void (wanted(event) && seen.push(event)));
  return seen;
}

/** Waits until `look` gives something. */
export async function until<T>(
  look: () => T | Promise<T>,
  what: string | (() => string) = 'it',
  timeout = 30_000,
): Promise<NonNullable<Awaited<T>>> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const found = await look();
    if (found) return found as NonNullable<Awaited<T>>;
    if (Date.now() > deadline) {
      throw new Error(`${typeof what === 'string' ? what : what()} did not happen within ${timeout} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * Sockets into namespaces that forget in a millisecond what their kernels learned of each other's containers. Without
 * listing neighbours: the kernel has one table for all namespaces, and a list takes as long as that has ever been large.
 */
export class Cold {
  readonly #sites: readonly { readonly site: Site; readonly rtnl: Rtnl }[];
  readonly #containers = new Map<Netns, Rtnl>();
  readonly #also: readonly string[];

  private constructor(sites: readonly { readonly site: Site; readonly rtnl: Rtnl }[], also: readonly string[]) {
    this.#sites = sites;
    this.#also = also;
  }

  /** @param also addresses that they have besides those they were attached with */
  static async of(sites: readonly Site[], also: readonly string[] = []): Promise<Cold> {
    const cold = new Cold(
      await Promise.all(sites.map(async (site) => ({ site, rtnl: await inside(site.netns) }))),
      also,
    );
    onCleanup(
      () => cold.#close(),
      () => undefined,
    );
    return cold;
  }

  /** vxlan1's neighbours, its forwarding entries, what the bridges learned behind it, and the containers' neighbours. */
  async go(): Promise<void> {
    await Promise.all([...this.#sites.map(({ rtnl }) => this.#overlay(rtnl)), this.containers()]);
  }

  /** The containers' neighbours only. */
  async containers(): Promise<void> {
    const ips = this.#ips();
    await Promise.all(
      this.#sites.flatMap(({ site }) =>
        site.containers.map(async ({ netns }) => {
          const rtnl = this.#containers.get(netns) ?? (await inside(netns));
          this.#containers.set(netns, rtnl);
          await forget(rtnl, 'eth0', ips);
        }),
      ),
    );
  }

  async #close(): Promise<void> {
    await Promise.all(
      [...this.#sites.map(({ rtnl }) => rtnl), ...this.#containers.values()].map((rtnl) => rtnl.close()),
    );
  }

  #ips(): string[] {
    return [
      ...this.#sites.flatMap(({ site }) => site.containers.flatMap(({ endpoint }) => endpoint.ips)),
      ...this.#also,
    ];
  }

  async #overlay(rtnl: Rtnl): Promise<void> {
    await forget(rtnl, 'vxlan1', this.#ips());
    for (const { link, mac, flags, dst, state } of await rtnl.fdb.list({ link: 'vxlan1' })) {
      if (mac === '00:00:00:00:00:00') continue;
      const learnedByBridge = flags?.includes('master') === true && state !== 'permanent';
      if (dst !== undefined) await rtnl.fdb.delete({ link, mac }).catch(gone);
      else if (learnedByBridge) await rtnl.fdb.delete({ link, mac, flags: ['master'] }).catch(gone);
    }
  }
}

function inside({ path }: Netns): Promise<Rtnl> {
  return Rtnl.open({ netns: { path } });
}

async function forget(rtnl: Rtnl, link: string, ips: readonly string[]): Promise<void> {
  const operations = ips.map((ip) => ({ op: 'delete' as const, item: { link, ip } as Neighbor }));
  for (const answer of await rtnl.neighbors.batch(operations)) if (!answer.ok) gone(answer.error);
}

/** It aged out, or was deleted, in between. */
function gone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Outcome of one datagram. */
export interface Asked {
  /** Until its echo was back; undefined when none came in time. */
  readonly ms: number | undefined;
  /** Packets that the container's interface sent for it: one ARP request and the datagram make two. */
  readonly packets: number;
  /** When it was sent, CLOCK_MONOTONIC. */
  readonly startedNs: bigint;
}

/** A process inside a container that echoes datagrams and sends them: a ping without a process per ping. */
export class Station {
  readonly #process: Running;
  readonly #waiting = new Map<number, (answer: Asked) => void>();
  #last = 0;

  private constructor(process: Running) {
    this.#process = process;
    createInterface({ input: process.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const answer = JSON.parse(line) as { id?: number; ms?: number; packets: number; startedNs?: string };
      if (answer.id === undefined) return;
      this.#waiting.get(answer.id)?.({
        ms: answer.ms,
        packets: answer.packets,
        startedNs: BigInt(answer.startedNs ?? 0),
      });
      this.#waiting.delete(answer.id);
    });
  }

  static async in(netns: Netns): Promise<Station> {
    const script = fileURLToPath(new URL('station.mjs', import.meta.url));
    const process = netns.spawn(globalThis.process.execPath, [script]);
    const station = new Station(process);
    await process.waitFor(/ready/, 'stdout');
    return station;
  }

  /** Sends one datagram to another station, and waits for its echo. `asksAgainMs` is for who was not attached by a Site. */
  ask(
    to: string,
    options: { readonly waitMs?: number; readonly size?: number; readonly asksAgainMs?: number } = {},
  ): Promise<Asked> {
    return this.#command({ to, ...options });
  }

  /** Packets that the container's interface sent so far. */
  async sent(): Promise<number> {
    return (await this.#command({})).packets;
  }

  #command(command: object): Promise<Asked> {
    const id = ++this.#last;
    const answer = new Promise<Asked>((resolve, reject) => {
      this.#waiting.set(id, resolve);
      void this.#process.exited.then(() => reject(new Error(`the station ended: ${this.#process.stderr}`)));
      this.#process.child.stdin?.write(`${JSON.stringify({ id, ...command })}\n`);
    });
    answer.catch(() => undefined); // a test that has failed already waits no longer
    return answer;
  }
}

/** The value below which the given part (0 to 1) of the values lies. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

/** `n 60, p50 0.4 ms, p99 1.2 ms, max 2.0 ms`. */
export function distribution(values: readonly number[]): string {
  const figure = (part: number): string => percentile(values, part).toFixed(2);
  return `n ${values.length}, p50 ${figure(0.5)} ms, p99 ${figure(0.99)} ms, max ${figure(1)} ms`;
}
