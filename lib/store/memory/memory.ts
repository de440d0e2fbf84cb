/** The store within this process: for tests, demonstrations, and processes that know all endpoints themselves. */
import { onAbort, throwIfAborted } from '../../core/abort.js';
import type { Answer, Change, Endpoint, Query } from '../contract.js';
import type { DriverStore } from '../driver.js';

/** Changes that a watcher may be behind before it gets everything anew. */
const BACKLOG_MAX = 1024;

interface Station {
  vtep: string;
  readonly ips: Set<string>;
}

/** A watcher's place in the stream of changes. */
interface Feed {
  readonly backlog: Change[];
  /** It has to begin anew: it is new itself, or too far behind. */
  stale: boolean;
  wake: (() => void) | undefined;
}

/** One network in memory, whatever the overlay. */
export class MemoryStore implements DriverStore {
  /** IP to MAC. */
  readonly #owners = new Map<string, string>();
  /** By MAC. */
  readonly #stations = new Map<string, Station>();
  readonly #feeds = new Set<Feed>();
  #index = 0n;
  #closed = false;

  async lookup(query: Query): Promise<Answer | null> {
    const mac = query.kind === 'l3' ? this.#owners.get(query.ip) : query.mac;
    const station = mac === undefined ? undefined : this.#stations.get(mac);
    return mac === undefined || station === undefined ? null : { mac, vtep: station.vtep };
  }

  async publish(endpoint: Endpoint): Promise<void> {
    const { mac, vtep, ips } = endpoint;
    let station = this.#stations.get(mac);
    let changed = false;
    if (station === undefined) {
      station = { vtep, ips: new Set() };
      this.#stations.set(mac, station);
      changed = true;
    } else if (station.vtep !== vtep) {
      station.vtep = vtep;
      changed = true;
    }
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
    this.#emit({ kind: 'put', endpoint: toEndpoint(mac, station), index: ++this.#index });
    // After the put: whoever follows the changes is never without an answer for the address that moved.
    for (const owner of emptied) this.#emit({ kind: 'delete', mac: owner, index: ++this.#index });
  }

  async withdraw(endpoint: Endpoint): Promise<void> {
    const { mac, vtep, ips } = endpoint;
    const station = this.#stations.get(mac);
    // It runs on another host by now: what is known of it is that host's to withdraw.
    if (station === undefined || station.vtep !== vtep) return;
    const gone: string[] = [];
    for (const ip of ips) {
      if (this.#owners.get(ip) !== mac) continue;
      this.#owners.delete(ip);
      gone.push(ip);
      if (this.#take(mac, ip)) break;
    }
    for (const [at, ip] of gone.entries()) {
      const last = at === gone.length - 1 && !this.#stations.has(mac);
      this.#emit({ kind: 'delete', ip, ...(last && { mac }), index: ++this.#index });
    }
  }

  async *watch({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<Change, void, undefined> {
    const feed: Feed = { backlog: [], stale: true, wake: undefined };
    const ignoreSignal = onAbort(signal, () => feed.wake?.());
    this.#feeds.add(feed);
    try {
      while (!this.#closed) {
        throwIfAborted(signal);
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

  close(): void {
    this.#closed = true;
    for (const feed of this.#feeds) feed.wake?.();
  }

  /** Takes an address from a station. True if that was its last, and the station is gone with it. */
  #take(mac: string, ip: string): boolean {
    const station = this.#stations.get(mac);
    station?.ips.delete(ip);
    return station?.ips.size === 0 && this.#stations.delete(mac);
  }

  #emit(change: Change): void {
    for (const feed of this.#feeds) {
      if (feed.stale) continue;
      if (feed.backlog.length < BACKLOG_MAX) feed.backlog.push(change);
      else feed.stale = true;
      feed.wake?.();
    }
  }
}

function toEndpoint(mac: string, { vtep, ips }: Station): Endpoint {
  const all = [...ips];
  return { ip: all[0] as string, ips: all, mac, vtep };
}
