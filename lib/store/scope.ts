/**
 * Abilities of the stores of {@link openStore} beyond the public Store: they say which records an overlay's are, and hand them
 * out raw. Keyed by symbols, since a consumer's own store has none of it.
 */
import { OvernsError } from '../core/errors.js';
import type { AllocatedAddresses } from './allocated.js';
import type { Store, Where } from './contract.js';
import type { RecordStore } from './records.js';

// Symbol.for: two loaded copies of the package understand each other's stores.
/** Method `(where) => string`: names the set of records that an overlay's queries go to. */
export const scope: unique symbol = Symbol.for('overns.store.scope') as never;
/** Method `(where?) => RecordStore`. */
export const records: unique symbol = Symbol.for('overns.store.records') as never;
/** Method `(where) => AllocatedAddresses | undefined`: undefined where the driver cannot remember them. */
export const allocated: unique symbol = Symbol.for('overns.store.allocated') as never;

/** A store that knows its scopes. */
export interface ScopedStore extends Store {
  [scope](where: Where): string;
  [records](where?: Where): RecordStore;
  [allocated](where: Where): AllocatedAddresses | undefined;
}

/** True for a store that says whose records an overlay's are, and keeps networks apart by itself. */
export function isScoped(store: Store): store is ScopedStore {
  return scope in store;
}

const foreign = new WeakMap<Store, number>();
let foreignCount = 0;

/**
 * A string that is equal for two overlays whose records are the same set. Overlays of different VNIs must not share
 * one. A consumer's own store is told the overlay with every call and keeps them apart by itself: no two overlays share.
 */
export function scopeOf(store: Store, where: Where): string {
  if (isScoped(store)) return store[scope](where);
  let id = foreign.get(store);
  if (id === undefined) {
    id = ++foreignCount;
    foreign.set(store, id);
  }
  return `own:${id}/${where.vni}/${where.overlay}`;
}

/** The error for two networks that would share records. */
export function sharedScope(first: Where, second: Where): OvernsError {
  const words = ({ overlay, vni }: Where): string => `"${overlay}" (vni ${vni})`;
  return new OvernsError(
    'OVERNS_SCOPE',
    `overlays ${words(first)} and ${words(second)} would share one prefix of the store`,
    { hint: 'a prefix belongs to one network: write {vni} or {name} into the URL, or open a store for each' },
  );
}

/** The memory of which addresses were handed out; undefined for a store that has none. */
export function allocatedIn(store: Store, where: Where): AllocatedAddresses | undefined {
  return allocated in store ? (store as ScopedStore)[allocated](where) : undefined;
}

/** The store's records as they are stored. */
export function recordsOf(store: Store, where?: Where): RecordStore {
  if (records in store) return (store as ScopedStore)[records](where);
  throw new OvernsError('OVERNS_STORE_UNSUPPORTED', 'this store does not hand out its records', {
    hint: 'open one with `openStore()`',
  });
}
