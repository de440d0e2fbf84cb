/** A network within this process: for tests, demonstrations, and processes that know all endpoints themselves. */
import { onAbort, throwIfAborted } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import { conflict } from '../conflict.js';
import type { Answer, Change, Claimed, Endpoint, Query, StoredEndpoint } from '../contract.js';
import type { DriverClaim } from '../driver.js';
import type { Leased } from '../endpoint-table.js';
import type { Interest } from '../interest.js';
import { InterestWatch, type LeasedValue } from '../interest-watch.js';
import type { RecordPlace } from '../record-claims.js';
import { tooLarge } from '../too-large.js';

/** Changes that a watcher may be behind before it gets everything anew. */
const BACKLOG_MAX = 1024;
export const NAME = 'memory:';

interface Station {
  vtep: string;
  readonly ips: Set<string>;
  lease: string | undefined;
  revision: bigint;
}

/** A watcher's place in the stream of changes. */
interface Feed {
  readonly backlog: Change[];
  /** It has to begin anew: it is new itself, or too far behind. */
  stale: boolean;
  wake: (() => void) | undefined;
}

/** One network in memory, whatever the overlay. */
export class MemoryNetwork {
  /** IP to MAC. */
  readonly #owners = new Map<string, string>();
  /** By MAC. */
  readonly #stations = new Map<string, Station>();
  readonly #feeds = new Set<Feed>();
  readonly #interests = new Set<InterestWatch>();
  /** The last changes, for watches that resume. */
  readonly #log: Change[] = [];
  #index = 0n;
  #closed = false;

  async lookup(query: Query): Promise<Answer | null> {
    const mac = query.kind === 'l3' ? this.#owners.get(query.ip) : query.mac;
    const station = mac === undefined ? undefined : this.#stations.get(mac);
    return mac === undefined || station === undefined ? null : { mac, vtep: station.vtep };
  }

  async publish(endpoint: Endpoint): Promise<void> {
    this.#put(endpoint, undefined);
  }

  async withdraw({ mac, vtep, ips }: Endpoint): Promise<void> {
    // It runs on another host by now: what is known of it is that host's to withdraw.
    if (this.#stations.get(mac)?.vtep === vtep) this.#remove(mac, ips);
  }

  async claim(endpoint: Endpoint, { lease, takeover, expect }: DriverClaim): Promise<Claimed> {
    const { mac, vtep, ips } = endpoint;
    const before = this.#stations.get(mac);
    const own = (station: Station): boolean =>
      station.vtep === vtep || (lease !== undefined && station.lease === lease);
    const involved: { ip?: string; mac: string; station: Station }[] = [];
    for (const ip of ips) {
      const owner = this.#owners.get(ip);
      const station = owner === undefined ? undefined : this.#stations.get(owner);
      if (owner !== undefined && station !== undefined) involved.push({ ip, mac: owner, station });
    }
    if (before !== undefined) involved.push({ mac, station: before });
    for (const { station, ...which } of involved) {
      const newer = expect !== undefined && station.revision > expect;
      if (!newer && (takeover || own(station))) continue;
      const { vtep, lease, revision } = station;
      const holder = { ...which, vtep, ...(lease !== undefined && { lease }), revision };
      throw conflict(NAME, endpoint, holder, newer ? expect : undefined);
    }
    // Other addresses of the MAC on the host that loses it are no more reached there.
    const lost = before !== undefined && !own(before) ? [...before.ips].filter((ip) => !ips.includes(ip)) : [];
    this.#put(endpoint, lease ?? (before !== undefined && own(before) ? before.lease : undefined));
    this.#remove(mac, lost);
    return { revision: (this.#stations.get(mac) as Station).revision };
  }

  async list(): Promise<readonly StoredEndpoint[]> {
    return Array.from(this.#stations, ([mac, station]) => ({
      ...toEndpoint(mac, station),
      revision: station.revision,
      ...(station.lease !== undefined && { lease: station.lease }),
    }));
  }

  /** Removes what is under a lease. */
  end(lease: string): void {
    const held = [...this.#stations].filter(([, station]) => station.lease === lease);
    for (const [mac, { ips }] of held) this.#remove(mac, [...ips], true);
  }

  async *watch({
    signal,
    from,
    max,
  }: {
    readonly signal: AbortSignal;
    readonly from?: bigint | undefined;
    readonly max?: number | undefined;
  }): AsyncGenerator<Change, void, undefined> {
    const missed = from === undefined ? undefined : this.#since(from);
    const feed: Feed = { backlog: missed ?? [], stale: missed === undefined, wake: undefined };
    const ignoreSignal = onAbort(signal, () => feed.wake?.());
    this.#feeds.add(feed);
    try {
      throwIfAborted(signal);
      if (from !== undefined && !feed.stale) yield { kind: 'resume', index: from };
      while (!this.#closed) {
        throwIfAborted(signal);
        if (max !== undefined && this.#owners.size > max) throw tooLarge(NAME, max);
        if (feed.stale) {
          feed.stale = false;
          feed.backlog.length = 0;
          const endpoints = Array.from(this.#stations, ([mac, station]) => toEndpoint(mac, station));
          yield { kind: 'reset', endpoints, index: this.#index };
          continue;
        }
        // A stale feed's backlog is never looked at, so taking the whole of it loses nothing that counts.
        for (const change of feed.backlog.splice(0)) {
          if (feed.stale || this.#closed) break;
          yield change;
          throwIfAborted(signal);
        }
        if (feed.stale || feed.backlog.length > 0 || this.#closed || signal.aborted) continue;
        await new Promise<void>((resolve) => {
          feed.wake = resolve;
        });
        feed.wake = undefined;
      }
    } finally {
      ignoreSignal();
      this.#feeds.delete(feed);
    }
  }

  async *watchOnly(
    interest: Interest,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<Change & Leased, void, undefined> {
    const watch = new InterestWatch(interest, {
      atOnce: Number.MAX_SAFE_INTEGER,
      read: async (places) => ({ values: places.map((place) => this.#record(place)), index: this.#index }),
    });
    this.#interests.add(watch);
    try {
      // There is always this process to wait for: like the watch above, it keeps nothing alive by itself.
      yield* watch.changes(signal, false);
    } finally {
      this.#interests.delete(watch);
    }
  }

  #record({ kind, key }: RecordPlace): LeasedValue | undefined {
    const station = this.#stations.get(key);
    if (kind === 'fib') return station && { value: station.vtep, lease: station.lease };
    const value = this.#owners.get(key);
    return value === undefined ? undefined : { value };
  }

  close(): void {
    this.#closed = true;
    for (const watch of this.#interests) watch.fail(new OvernsError('OVERNS_CLOSED', `${NAME} the store is closed`));
    for (const feed of this.#feeds) feed.wake?.();
  }

  /** Writes an endpoint in place of what is known of its addresses. */
  #put({ mac, vtep, ips }: Endpoint, lease: string | undefined): void {
    let station = this.#stations.get(mac);
    let changed = station === undefined || station.vtep !== vtep || station.lease !== lease;
    if (station === undefined) {
      station = { vtep, ips: new Set(), lease, revision: 0n };
      this.#stations.set(mac, station);
    }
    station.vtep = vtep;
    station.lease = lease;
    const emptied: string[] = [];
    for (const ip of ips) {
      const owner = this.#owners.get(ip);
      if (owner === mac) continue;
      changed = true;
      if (owner !== undefined && this.#take(owner, ip)) emptied.push(owner);
      this.#owners.set(ip, mac);
      station.ips.add(ip);
    }
    if (!changed) return;
    this.#emit({ kind: 'put', endpoint: toEndpoint(mac, station) });
    station.revision = this.#index;
    // After the put: whoever follows the changes is never without an answer for the address that moved.
    for (const owner of emptied) this.#emit({ kind: 'delete', mac: owner });
  }

  /** Takes addresses from an endpoint, and the endpoint with its last. */
  #remove(mac: string, ips: readonly string[], expired = false): void {
    const gone: string[] = [];
    for (const ip of ips) {
      if (this.#owners.get(ip) !== mac) continue;
      this.#owners.delete(ip);
      gone.push(ip);
      if (this.#take(mac, ip)) break;
    }
    for (const [at, ip] of gone.entries()) {
      const last = at === gone.length - 1 && !this.#stations.has(mac);
      this.#emit({ kind: 'delete', ip, ...(last && { mac }), ...(expired && { expired }) });
    }
  }

  /** Takes an address from a station. True if that was its last, and the station is gone with it. */
  #take(mac: string, ip: string): boolean {
    const station = this.#stations.get(mac);
    station?.ips.delete(ip);
    return station?.ips.size === 0 && this.#stations.delete(mac);
  }

  /** Lists the changes after one; undefined where they are not known any more. */
  #since(index: bigint): Change[] | undefined {
    const count = this.#index - index;
    if (count < 0n || count > BigInt(this.#log.length)) return undefined;
    return this.#log.slice(this.#log.length - Number(count));
  }

  #emit(event: WithoutIndex<Change>): void {
    const change = { ...event, index: ++this.#index } as Change;
    if (this.#log.push(change) > 2 * BACKLOG_MAX) this.#log.splice(0, BACKLOG_MAX);
    for (const feed of this.#feeds) {
      if (feed.stale) continue;
      if (feed.backlog.length < BACKLOG_MAX) feed.backlog.push(change);
      else feed.stale = true;
      feed.wake?.();
    }
    const { ips = [], mac } = change.kind === 'put' ? change.endpoint : { ips: [], mac: undefined };
    const changed =
      change.kind === 'delete' ? { ips: change.ip === undefined ? [] : [change.ip], mac: change.mac } : { ips, mac };
    for (const watch of this.#interests) {
      for (const key of changed.ips) watch.changed({ kind: 'arp', key });
      if (changed.mac !== undefined) watch.changed({ kind: 'fib', key: changed.mac });
    }
  }
}

type WithoutIndex<C> = C extends unknown ? Omit<C, 'index'> : never;

function toEndpoint(mac: string, { vtep, ips }: Station): Endpoint {
  const all = [...ips];
  return { ip: all[0] as string, ips: all, mac, vtep };
}
