/** The endpoints that a set of records makes, and what of them changes when records do. */
import type { Change, Endpoint } from './contract.js';
import type { RecordKind } from './records.js';

type WithoutIndex<C> = C extends unknown ? Omit<C, 'index'> : never;

/** A change behind a `reset`, but for its index. A deletion bears the lease that the endpoint went with until then. */
export type TableChange = WithoutIndex<Exclude<Change, { kind: 'reset' | 'resume' }>> & Leased;

/** A part of a change or of a record: the lease that it goes with. */
export interface Leased {
  readonly lease?: string | undefined;
}

/** A record that can be used. */
export interface GoodRecord extends Leased {
  readonly kind: RecordKind;
  readonly key: string;
  readonly value: string;
}

/** New state of a record. Undefined: it is gone, or can be used no more. */
export interface RecordChange extends Leased {
  readonly kind: RecordKind;
  readonly key: string;
  readonly value: string | undefined;
}

/** Records as endpoints. Those that make none (one half missing) are kept and not told of. */
export class EndpointTable {
  /** MAC to VTEP, of all `fib` records. */
  readonly #vteps = new Map<string, string>();
  /** MAC to lease, of the `fib` records that go with one. */
  readonly #leases = new Map<string, string>();
  /** IP to MAC, of all `arp` records. */
  readonly #owners = new Map<string, string>();
  /** MAC to IPs, of all `arp` records. */
  readonly #addresses = new Map<string, Set<string>>();

  constructor(records: Iterable<GoodRecord>) {
    for (const record of records) this.#set(record);
  }

  /** As many IP addresses have a record. */
  get size(): number {
    return this.#owners.size;
  }

  endpoints(): Endpoint[] {
    return Array.from(this.#addresses.keys())
      .filter((mac) => this.#vteps.has(mac))
      .map((mac) => this.#endpoint(mac));
  }

  /** Takes all records of a later moment in place of these. */
  replace(records: Iterable<GoodRecord>): TableChange[] {
    const changes: RecordChange[] = [];
    const kept = { arp: new Set<string>(), fib: new Set<string>() };
    const before = { arp: this.#owners, fib: this.#vteps };
    for (const record of records) {
      kept[record.kind].add(record.key);
      if (before[record.kind].get(record.key) !== record.value) changes.push(record);
      else if (record.kind === 'fib') this.#lease(record);
    }
    for (const kind of ['arp', 'fib'] as const) {
      for (const key of before[kind].keys()) if (!kept[kind].has(key)) changes.push({ kind, key, value: undefined });
    }
    return this.apply(changes);
  }

  /**
   * Takes changes that were made at once. Tells first what came or changed, then what is gone, so that whoever follows is never
   * without an answer for an address that moves.
   */
  apply(changes: readonly RecordChange[]): TableChange[] {
    const macs = new Set<string>();
    for (const { kind, key, value } of changes) {
      if (kind === 'fib') macs.add(key);
      else for (const mac of [this.#owners.get(key), value]) if (mac !== undefined) macs.add(mac);
    }
    const before = Array.from(macs, (mac) => ({
      mac,
      vtep: this.#vteps.get(mac),
      ips: this.#addressesOf(mac),
      lease: this.#leases.get(mac),
    }));
    for (const change of changes) this.#set(change);
    const found: TableChange[] = [];
    for (const { mac, vtep, ips } of before) {
      const now = this.#addressesOf(mac);
      const same = vtep === this.#vteps.get(mac) && now.every((ip) => ips.includes(ip));
      if (now.length > 0 && !same) found.push({ kind: 'put', endpoint: this.#endpoint(mac) });
    }
    for (const { mac, vtep, ips, lease } of before) {
      const leased = lease === undefined ? {} : { lease };
      const gone = ips.filter((ip) => !this.#isComplete(ip));
      const macGone = vtep !== undefined && !this.#vteps.has(mac);
      for (const [at, ip] of gone.entries()) {
        found.push({ kind: 'delete', ip, ...(macGone && at === gone.length - 1 && { mac }), ...leased });
      }
      if (macGone && gone.length === 0) found.push({ kind: 'delete', mac, ...leased });
    }
    return found;
  }

  #set(record: RecordChange): void {
    const { kind, key, value } = record;
    if (kind === 'fib') {
      if (value === undefined) this.#vteps.delete(key);
      else this.#vteps.set(key, value);
      this.#lease(record);
      return;
    }
    const owner = this.#owners.get(key);
    if (owner === value) return;
    if (owner !== undefined) {
      const ips = this.#addresses.get(owner);
      ips?.delete(key);
      if (ips?.size === 0) this.#addresses.delete(owner);
    }
    if (value === undefined) {
      this.#owners.delete(key);
      return;
    }
    this.#owners.set(key, value);
    const ips = this.#addresses.get(value);
    if (ips === undefined) this.#addresses.set(value, new Set([key]));
    else ips.add(key);
  }

  #lease({ key, value, lease }: RecordChange): void {
    if (value === undefined || lease === undefined) this.#leases.delete(key);
    else this.#leases.set(key, lease);
  }

  /** The addresses of an endpoint that whoever follows knows. */
  #addressesOf(mac: string): string[] {
    return this.#vteps.has(mac) ? [...(this.#addresses.get(mac) ?? [])] : [];
  }

  #isComplete(ip: string): boolean {
    const mac = this.#owners.get(ip);
    return mac !== undefined && this.#vteps.has(mac);
  }

  #endpoint(mac: string): Endpoint {
    const ips = [...(this.#addresses.get(mac) as Set<string>)];
    return { ip: ips[0] as string, ips, mac, vtep: this.#vteps.get(mac) as string };
  }
}
