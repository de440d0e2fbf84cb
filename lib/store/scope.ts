/**
 * What the stores of {@link openStore} can do beyond the public Store: take the place of one overlay's records, say
 * which records those are, and hand them out raw. Keyed by symbols, since a consumer's own store has none of it.
 */
import { OvernsError } from '../errors.js';
import type { Store, Where } from '../types.js';
import type { RecordStore } from './records.js';

// Symbol.for: two loaded copies of the package understand each other's stores.
/** Method `(where) => Store`: the store as one overlay sees it. */
export const forOverlay: unique symbol = Symbol.for('overns.store.forOverlay') as never;
/** Method `(where) => string`: names the set of records that an overlay's queries go to. */
export const scope: unique symbol = Symbol.for('overns.store.scope') as never;
/** Method `() => RecordStore`. */
export const records: unique symbol = Symbol.for('overns.store.records') as never;

/** A store that knows its scopes. */
export interface ScopedStore extends Store {
  [forOverlay](where: Where): Store;
  [scope](where: Where): string;
  [records](): RecordStore;
}

/**
 * The store as one overlay sees it: `publish`, `withdraw` and `watch` of a store opened with `{vni}` or `{name}` in its
 * URL work on the result only. Any other store is returned as it is. The view needs no closing; its store does.
 */
export function storeFor(store: Store, where: Where): Store {
  return forOverlay in store ? (store as ScopedStore)[forOverlay](where) : store;
}

const foreign = new WeakMap<Store, number>();
let foreignCount = 0;

/**
 * A string that is equal for two overlays whose records are the same set. Overlays of different VNIs must not share
 * one. A consumer's own store is told the VNI with every query and keeps them apart by itself: no two overlays share.
 */
export function scopeOf(store: Store, where: Where): string {
  if (scope in store) return (store as ScopedStore)[scope](where);
  let id = foreign.get(store);
  if (id === undefined) {
    id = ++foreignCount;
    foreign.set(store, id);
  }
  return `own:${id}/${where.vni}/${where.overlay}`;
}

/** The store's records as they are stored. */
export function recordsOf(store: Store): RecordStore {
  if (records in store) return (store as ScopedStore)[records]();
  throw new OvernsError('OVERNS_STORE_UNSUPPORTED', 'this store does not hand out its records', {
    hint: 'open one with openStore()',
  });
}
