/** The endpoints that a set of records makes, and what changed from one set to the next. */
import type { Change, Endpoint } from '../contract.js';
import type { RecordKind } from '../records.js';

type WithoutIndex<C> = C extends unknown ? Omit<C, 'index'> : never;

/** Records of one moment, as endpoints. Those that make none (one half missing) are left out. */
export class Snapshot {
  /** MAC to VTEP, of all `fib` records. */
  readonly #vteps = new Map<string, string>();
  /** IP to MAC, of the `arp` records that have their `fib` record. */
  readonly #owners = new Map<string, string>();
  /** MAC to IPs. */
  readonly #addresses = new Map<string, string[]>();

  constructor(records: Iterable<{ readonly kind: RecordKind; readonly key: string; readonly value: string }>) {
    const arp: (readonly [ip: string, mac: string])[] = [];
    for (const { kind, key, value } of records) {
      if (kind === 'fib') this.#vteps.set(key, value);
      else arp.push([key, value]);
    }
    for (const [ip, mac] of arp) {
      if (!this.#vteps.has(mac)) continue;
      this.#owners.set(ip, mac);
      const ips = this.#addresses.get(mac);
      if (ips === undefined) this.#addresses.set(mac, [ip]);
      else ips.push(ip);
    }
  }

  endpoints(): Endpoint[] {
    return Array.from(this.#addresses.keys(), (mac) => this.#endpoint(mac));
  }

  /** What leads from an earlier snapshot to this one: first what is gone, then what came or changed. */
  *since(earlier: Snapshot): Generator<WithoutIndex<Exclude<Change, { kind: 'reset' }>>> {
    for (const [mac, ips] of earlier.#addresses) {
      const gone = ips.filter((ip) => !this.#owners.has(ip));
      const macGone = !this.#vteps.has(mac);
      for (const [at, ip] of gone.entries()) {
        yield { kind: 'delete', ip, ...(macGone && at === gone.length - 1 && { mac }) };
      }
      if (macGone && gone.length === 0) yield { kind: 'delete', mac };
    }
    for (const [mac, ips] of this.#addresses) {
      const same =
        earlier.#vteps.get(mac) === this.#vteps.get(mac) && ips.every((ip) => earlier.#owners.get(ip) === mac);
      if (!same) yield { kind: 'put', endpoint: this.#endpoint(mac) };
    }
  }

  #endpoint(mac: string): Endpoint {
    const ips = this.#addresses.get(mac) as string[];
    return { ip: ips[0] as string, ips, mac, vtep: this.#vteps.get(mac) as string };
  }
}
