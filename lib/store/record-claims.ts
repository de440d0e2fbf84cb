/** Claims on records: what a claim reads of them, whether it is refused, and what it writes, for drivers with transactions. */
import { conflict } from './conflict.js';
import type { Endpoint, StoredEndpoint } from './contract.js';
import type { DriverClaim } from './driver.js';
import type { GoodRecord } from './endpoint-table.js';
import type { RecordKind } from './records.js';

/** Where a record is, below its prefix. */
export interface RecordPlace {
  readonly kind: RecordKind;
  readonly key: string;
}

/** A record with what the store knows of it. */
export interface HeldRecord {
  readonly value: string;
  /** Revision of its last change, more than 0. */
  readonly revision: bigint;
  readonly lease: string | undefined;
}

/** The records that a claim reads. */
export interface ClaimReader {
  /** The store, as errors name it. */
  readonly name: string;
  /** The records at these places, all seen at one moment; undefined where there is none. */
  read(places: readonly RecordPlace[]): Promise<readonly (HeldRecord | undefined)[]>;
  /** All records that can be used. */
  all(): Promise<Iterable<RecordPlace & HeldRecord>>;
}

/** A part of the transaction that a claim is: what a record has to be for any of it to be done, and what becomes of it. */
export interface ClaimStep extends RecordPlace {
  /** The revision that the record has; 0n: there is none. */
  readonly before: bigint;
  readonly becomes: 'keep' | 'remove' | { readonly value: string; readonly lease: string | undefined };
}

/** The changes that a claim makes. */
export interface ClaimPlan {
  /** None: all is as it should be. */
  readonly steps: readonly ClaimStep[];
  /** The newest revision of what is there already. */
  readonly revision: bigint;
}

/**
 * Plans a claim by what is stored now.
 * @throws ConflictError
 */
export async function planClaim(endpoint: Endpoint, claim: DriverClaim, reader: ClaimReader): Promise<ClaimPlan> {
  const { mac, vtep, ips } = endpoint;
  const { lease, takeover, expect } = claim;
  const [station, ...addresses] = await reader.read([
    { kind: 'fib', key: mac },
    ...ips.map((key) => ({ kind: 'arp' as const, key })),
  ]);
  const others = [...new Set(addresses.flatMap((record) => (record && record.value !== mac ? [record.value] : [])))];
  const stations = new Map<string, HeldRecord | undefined>();
  if (others.length > 0) {
    const found = await reader.read(others.map((key) => ({ kind: 'fib', key })));
    for (const [at, other] of others.entries()) stations.set(other, found[at]);
  }
  const ours = (record: HeldRecord): boolean => lease !== undefined && record.lease === lease;
  const refuse = (own: boolean, holder: Parameters<typeof conflict>[2]): void => {
    const newer = expect !== undefined && holder.revision > expect;
    if (newer || !(takeover || own)) throw conflict(reader.name, endpoint, holder, newer ? expect : undefined);
  };
  const isOwn = station === undefined || station.value === vtep || ours(station);
  for (const [at, record] of addresses.entries()) {
    if (record === undefined) continue;
    const ip = ips[at] as string;
    const behind = record.value === mac ? station : stations.get(record.value);
    const own = record.value === mac ? isOwn : behind?.value === vtep || ours(record);
    refuse(own, { ip, mac: record.value, ...(behind && { vtep: behind.value }), ...held(record, behind) });
  }
  if (station !== undefined) refuse(isOwn, { mac, vtep: station.value, ...held(station) });

  const target = lease ?? (isOwn ? station?.lease : undefined);
  const steps: ClaimStep[] = [];
  const put = (place: RecordPlace, record: HeldRecord | undefined, value: string, anyhow = false): void => {
    const same = record !== undefined && record.value === value && record.lease === target && !anyhow;
    steps.push({ ...place, before: record?.revision ?? 0n, becomes: same ? 'keep' : { value, lease: target } });
  };
  for (const [at, record] of addresses.entries()) put({ kind: 'arp', key: ips[at] as string }, record, mac);
  // A host that removes it for having no address has to notice that it has got one.
  const grows = steps.some(({ becomes }) => becomes !== 'keep');
  put({ kind: 'fib', key: mac }, station, vtep, grows);
  if (!isOwn || others.length > 0) steps.push(...(await losses(endpoint, isOwn, stations, reader)));
  const revision = [station, ...addresses].reduce((most, record) => max(most, record?.revision ?? 0n), 0n);
  return { steps: steps.some(({ becomes }) => becomes !== 'keep') ? steps : [], revision };
}

/** Finds what goes because the claim has taken addresses: nothing is left that leads nowhere, or to another host than before. */
async function losses(
  { mac, ips }: Endpoint,
  isOwn: boolean,
  stations: ReadonlyMap<string, HeldRecord | undefined>,
  reader: ClaimReader,
): Promise<ClaimStep[]> {
  const steps: ClaimStep[] = [];
  const needed = new Set<string>();
  for (const { kind, key, value, revision } of await reader.all()) {
    if (kind !== 'arp' || ips.includes(key)) continue;
    needed.add(value);
    if (!isOwn && value === mac) steps.push({ kind, key, before: revision, becomes: 'remove' });
  }
  for (const [key, record] of stations) {
    const becomes = record === undefined || needed.has(key) ? 'keep' : 'remove';
    steps.push({ kind: 'fib', key, before: record?.revision ?? 0n, becomes });
  }
  return steps;
}

function held(record: HeldRecord, other?: HeldRecord): { readonly lease?: string; readonly revision: bigint } {
  const revision = max(record.revision, other?.revision ?? 0n);
  return { ...(record.lease !== undefined && { lease: record.lease }), revision };
}

function max(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}

/** The endpoints that records make, with the newest revision and the lease of each. */
export function storedEndpoints(records: Iterable<GoodRecord & HeldRecord>): StoredEndpoint[] {
  const stations = new Map<string, HeldRecord>();
  const addresses: (RecordPlace & HeldRecord)[] = [];
  for (const record of records) {
    if (record.kind === 'fib') stations.set(record.key, record);
    else addresses.push(record);
  }
  const found = new Map<string, { ips: string[]; mac: string; vtep: string; lease?: string; revision: bigint }>();
  for (const { key: ip, value: mac, revision, lease: own } of addresses) {
    const station = stations.get(mac);
    if (station === undefined) continue;
    // It goes with the lease of either record: but as long as one of them stays it is nobody's to call leased.
    const lease = own === station.lease ? own : undefined;
    const which = `${mac} ${lease}`;
    const newest = max(revision, station.revision);
    const known = found.get(which);
    if (known === undefined) {
      found.set(which, {
        ips: [ip],
        mac,
        vtep: station.value,
        ...(lease !== undefined && { lease }),
        revision: newest,
      });
    } else {
      known.ips.push(ip);
      known.revision = max(known.revision, newest);
    }
  }
  return Array.from(found.values(), (one) => ({ ip: one.ips[0] as string, ...one }));
}
