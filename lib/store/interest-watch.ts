/** The changes of single addresses, for drivers that keep records: what has changed is read again, address by address. */
import { abortError, onAbort, throwIfAborted } from '../core/abort.js';
import { defaultMac } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import type { Change, Endpoint } from './contract.js';
import type { Leased, TableChange } from './endpoint-table.js';
import { type Interest, isMac } from './interest.js';
import type { RecordPlace } from './record-claims.js';

/** How often an address is read again because its records change all the time; then it is read in the next round. */
const READ_ATTEMPTS = 5;

/** The value of a record, and the lease that it goes with. */
export interface LeasedValue extends Leased {
  readonly value: string;
}

/** The store, as far as single addresses are followed. */
export interface InterestSource {
  /** As many places are read at once. */
  readonly atOnce: number;
  /** The values at these places, all of one moment, and its revision; undefined: none, or one that is no use. */
  read(
    places: readonly RecordPlace[],
    signal: AbortSignal,
  ): Promise<{ readonly values: readonly (LeasedValue | undefined)[]; readonly index: bigint }>;
  /** Has changed() or lost() called for whatever happens at a place behind a revision, until it is left. */
  follow?(place: RecordPlace, after: bigint): void;
  leave?(place: RecordPlace): void;
}

/** A record as it has been since a revision. */
export interface Written extends LeasedValue {
  readonly index: bigint;
}

/** State of an address, as far as it is known; the lease is that of its `fib` record. */
interface Known extends Leased {
  /** The MAC address that an IP address belongs to, be it without a VTEP. */
  readonly mac: string | undefined;
  readonly vtep: string | undefined;
  /** The revision that it was known at. */
  readonly index: bigint;
}

/** Follows the addresses of one interest. Whoever has a place changed says so; what it has become is read then. */
export class InterestWatch {
  readonly #interest: Interest;
  readonly #source: InterestSource;
  readonly #known = new Map<string, Known>();
  /** IP addresses by the MAC address that they belong to. */
  readonly #byMac = new Map<string, Set<string>>();
  /** Addresses to be read. */
  readonly #dirty = new Set<string>();
  /** MAC addresses that have another VTEP now: there is nothing to be read of them. */
  readonly #moved = new Map<string, Written>();
  /** The places that are followed: how many addresses depend on each. */
  readonly #followed = new Map<string, { readonly place: RecordPlace; users: number }>();
  /** Those of them that are to be followed anew, from where they have been read again. */
  readonly #lost = new Set<string>();
  #failure: unknown;
  #wake = (): void => {};
  #index = 0n;

  constructor(interest: Interest, source: InterestSource) {
    this.#interest = interest;
    this.#source = source;
  }

  /**
   * The record at a place may have changed. `now`: what it is, if that is known. Where a MAC address is says nothing of which
   * addresses belong to it, so that it is told as it is; whatever else has changed is read again.
   */
  changed({ kind, key }: RecordPlace, now?: Written): void {
    if (kind === 'fib' && now !== undefined) {
      if (now.index > (this.#moved.get(key)?.index ?? 0n)) this.#moved.set(key, now);
    } else {
      if (this.#interest.has(key)) this.#dirty.add(key);
      if (kind === 'fib') for (const ip of this.#byMac.get(key) ?? []) this.#dirty.add(ip);
    }
    if (this.#dirty.size > 0 || this.#moved.size > 0) this.#wake();
  }

  /** A place, or none of them, is followed any more: it may have changed meanwhile. */
  lost(place?: RecordPlace): void {
    if (place !== undefined) {
      this.#lost.add(nameOf(place));
      this.changed(place);
      return;
    }
    for (const name of this.#followed.keys()) this.#lost.add(name);
    for (const address of this.#interest) this.#dirty.add(address);
    this.#wake();
  }

  /** Nothing is to be had any more. */
  fail(error: unknown): void {
    this.#failure = error;
    this.#wake();
  }

  /** The addresses that are followed. */
  get interest(): Interest {
    return this.#interest;
  }

  /** Ends with the AbortError of the signal, or what fail() was called with; without an error once the store is closed. */
  async *changes(signal: AbortSignal, ref = true): AsyncGenerator<Change & Leased, void, undefined> {
    throwIfAborted(signal);
    const ignoreInterest = this.#interest.onChange((address, wanted) => {
      if (!wanted) return this.#drop(address);
      this.#dirty.add(address);
      this.#wake();
    });
    const ignoreSignal = onAbort(signal, () => this.#wake());
    // What is followed keeps no process alive by itself.
    const alive = ref ? setInterval(() => {}, 2 ** 30) : undefined;
    try {
      for (const address of this.#interest) this.#dirty.add(address);
      const { index } = await this.#take(signal);
      yield { kind: 'reset', endpoints: this.#endpoints(), index };
      for (;;) {
        throwIfAborted(signal);
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#dirty.size === 0 && this.#moved.size > 0) {
          const { changes, index } = this.#move();
          for (const change of changes) yield { ...change, index };
          continue;
        }
        if (this.#dirty.size === 0) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        const before = this.#index;
        const { changes, index } = await this.#take(signal);
        if (index < before) {
          // Backwards: the store lost its data or got other ones.
          yield { kind: 'reset', endpoints: this.#endpoints(), index };
          continue;
        }
        // Before the last of them it is not known yet what there is at its revision.
        for (const [at, change] of changes.entries()) {
          yield { ...change, index: at === changes.length - 1 ? index : before };
        }
      }
    } catch (error) {
      if (signal.aborted) throw abortError(signal);
      if (OvernsError.is(error) && error.code === 'OVERNS_CLOSED') return;
      throw error;
    } finally {
      clearInterval(alive);
      ignoreInterest();
      ignoreSignal();
      for (const { place } of this.#followed.values()) this.#source.leave?.(place);
      this.#followed.clear();
    }
  }

  /** Takes in which MAC addresses have another VTEP now. */
  #move(): { changes: readonly TableChange[]; index: bigint } {
    const before = new Map<string, Known>();
    for (const [mac, { value: vtep, index, lease }] of this.#moved) {
      for (const address of this.#at(mac)) {
        const was = this.#known.get(address);
        // Not yet read, or read later.
        if (was?.mac !== mac || was.index >= index) continue;
        before.set(address, was);
        this.#known.set(address, { mac, vtep, index, ...(lease !== undefined && { lease }) });
      }
      if (index > this.#index) this.#index = index;
    }
    this.#moved.clear();
    return { changes: this.#compare(before), index: this.#index };
  }

  /** The addresses that may be followed because of a MAC address. */
  #at(mac: string): string[] {
    return [...(this.#byMac.get(mac) ?? []), mac];
  }

  /** Reads what is to be read, and follows it from there on. */
  async #take(signal: AbortSignal): Promise<{ changes: readonly TableChange[]; index: bigint }> {
    // Nothing is told of what is newer before what is read, at a revision that may be older.
    for (const mac of this.#moved.keys())
      for (const each of this.#at(mac)) if (this.#known.has(each)) this.#dirty.add(each);
    this.#moved.clear();
    const addresses = [...this.#dirty];
    this.#dirty.clear();
    const found = new Map<string, Known>();
    let index: bigint | undefined;
    // Two places for each.
    const piece = Math.max(1, this.#source.atOnce >> 1);
    for (let at = 0; at < addresses.length; at += piece) {
      const read = await this.#read(addresses.slice(at, at + piece), found, signal);
      if (index === undefined || read < index) index = read;
    }
    index ??= (await this.#source.read([], signal)).index;
    const known = new Map<string, Known | undefined>();
    for (const [address, now] of found) {
      // Not wanted any more by the time that it has been read.
      if (!this.#interest.has(address)) continue;
      known.set(address, this.#known.get(address));
      this.#set(address, now, index);
    }
    for (const name of this.#lost) {
      const followed = this.#followed.get(name);
      if (followed !== undefined) this.#source.follow?.(followed.place, index);
    }
    this.#lost.clear();
    this.#index = index;
    return { changes: this.#compare(known), index };
  }

  /** Adds what some addresses are to `found`. Returns the earliest revision that was read at. */
  async #read(addresses: readonly string[], found: Map<string, Known>, signal: AbortSignal): Promise<bigint> {
    let earliest: bigint | undefined;
    let asked = addresses.map((address) => ({ address, mac: this.#known.get(address)?.mac ?? likelyMac(address) }));
    for (let attempt = 0; asked.length > 0; attempt++) {
      const places = asked.flatMap(({ address, mac }): RecordPlace[] => [
        { kind: isMac(address) ? 'fib' : 'arp', key: address },
        { kind: 'fib', key: mac },
      ]);
      const { values, index } = await this.#source.read(places, signal);
      if (earliest === undefined || index < earliest) earliest = index;
      asked = asked.flatMap(({ address, mac }, at) => {
        const [own, station] = [values[2 * at], values[2 * at + 1]];
        if (isMac(address)) found.set(address, { mac: address, vtep: own?.value, lease: own?.lease, index });
        else if (own === undefined) found.set(address, { mac: undefined, vtep: undefined, index });
        else if (own.value === mac) found.set(address, { mac, vtep: station?.value, lease: station?.lease, index });
        // Both at one moment: it is read with the MAC address that it has.
        else if (attempt < READ_ATTEMPTS) return [{ address, mac: own.value }];
        else this.#dirty.add(address);
        return [];
      });
    }
    return earliest as bigint;
  }

  /** Takes the state of an address, and follows the places that it depends on from a revision on. */
  #set(address: string, now: Known, index: bigint): void {
    const before = this.#known.get(address);
    // First what is new, so that a place that stays is not left.
    for (const place of placesOf(address, now)) this.#use(place, index);
    if (before !== undefined) this.#forget(address, before);
    this.#known.set(address, now);
    if (isMac(address) || now.mac === undefined) return;
    const ips = this.#byMac.get(now.mac);
    if (ips === undefined) this.#byMac.set(now.mac, new Set([address]));
    else ips.add(address);
  }

  #forget(address: string, before: Known): void {
    for (const place of placesOf(address, before)) this.#unuse(place);
    if (isMac(address) || before.mac === undefined) return;
    const ips = this.#byMac.get(before.mac);
    ips?.delete(address);
    if (ips?.size === 0) this.#byMac.delete(before.mac);
  }

  /** It is not wanted any more. */
  #drop(address: string): void {
    this.#dirty.delete(address);
    const before = this.#known.get(address);
    if (before === undefined) return;
    this.#forget(address, before);
    this.#known.delete(address);
  }

  #use(place: RecordPlace, index: bigint): void {
    const followed = this.#followed.get(nameOf(place));
    if (followed !== undefined) {
      followed.users++;
      return;
    }
    this.#followed.set(nameOf(place), { place, users: 1 });
    this.#lost.delete(nameOf(place));
    this.#source.follow?.(place, index);
  }

  #unuse(place: RecordPlace): void {
    const followed = this.#followed.get(nameOf(place));
    if (followed === undefined || --followed.users > 0) return;
    this.#followed.delete(nameOf(place));
    this.#lost.delete(nameOf(place));
    this.#source.leave?.(place);
  }

  /** Tells first what came or changed, then what is gone, so that who follows is never without an answer for what moves. */
  #compare(before: ReadonlyMap<string, Known | undefined>): TableChange[] {
    const puts = new Map<string, Endpoint & { readonly ips: string[] }>();
    const gone = new Map<string, Leased>();
    const macs = new Map<string, Leased>();
    for (const [address, was] of before) {
      const { mac, vtep } = this.#known.get(address) as Known;
      if (was?.mac !== undefined && was.vtep !== undefined && (was.mac !== mac || vtep === undefined))
        macs.set(was.mac, leaseOf(was));
      if (mac === undefined || vtep === undefined) {
        // Of an address that has just been added as well: it may be programmed.
        if (was === undefined || was.vtep !== undefined) gone.set(address, leaseOf(was));
      } else if (mac !== was?.mac || vtep !== was.vtep) {
        const put = puts.get(mac) ?? { ip: '', ips: [], mac, vtep };
        if (!isMac(address)) put.ips.push(address);
        puts.set(mac, put);
      }
    }
    // A MAC address that no address in use belongs to any more is not followed from now on.
    const macsGone = [...macs].filter(([mac]) => !this.#isThere(mac) && !gone.has(mac));
    return [
      ...Array.from(puts.values(), (put): TableChange => ({ kind: 'put', endpoint: { ...put, ip: put.ips[0] ?? '' } })),
      ...Array.from(gone, ([key, lease]): TableChange => {
        return { kind: 'delete', ...(isMac(key) ? { mac: key } : { ip: key }), ...lease };
      }),
      ...macsGone.map(([mac, lease]): TableChange => ({ kind: 'delete', mac, ...lease })),
    ];
  }

  #isThere(mac: string): boolean {
    return this.#at(mac).some((address) => this.#known.get(address)?.vtep !== undefined);
  }

  #endpoints(): Endpoint[] {
    const found = new Map<string, { ips: string[]; vtep: string }>();
    for (const [address, { mac, vtep }] of this.#known) {
      if (mac === undefined || vtep === undefined) continue;
      const entry = found.get(mac) ?? { ips: [], vtep };
      if (!isMac(address)) entry.ips.push(address);
      found.set(mac, entry);
    }
    return Array.from(found, ([mac, { ips, vtep }]) => ({ ip: ips[0] ?? '', ips, mac, vtep }));
  }
}

function leaseOf(known: Known | undefined): Leased {
  return known?.lease === undefined ? {} : { lease: known.lease };
}

/** The MAC address that the record of an address is read with before it is known. */
function likelyMac(address: string): string {
  return isMac(address) ? address : defaultMac(address);
}

function placesOf(address: string, { mac }: Known): RecordPlace[] {
  if (isMac(address)) return [{ kind: 'fib', key: address }];
  return [{ kind: 'arp', key: address }, ...(mac === undefined ? [] : [{ kind: 'fib' as const, key: mac }])];
}

function nameOf({ kind, key }: RecordPlace): string {
  return `${kind}/${key}`;
}
