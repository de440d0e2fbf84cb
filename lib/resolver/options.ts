/** The options of a resolver. */
import { type Cancel, checkSignal } from '../core/abort.js';
import { invalidType } from '../core/errors.js';
import { boolean, checkNames, integer, oneOf, type Shape, type Values } from '../core/options.js';
import type { Overlay } from '../overlay/overlay.js';
import type { Store } from '../store/contract.js';
import { checkSystem, type System } from '../system/system.js';

/**
 * How much of a network is followed in a store that watches: all of it; the addresses that this host uses, where the store has
 * `watchOnly()`; none, so that an answer holds for its TTL. `auto` follows all until there is more than the store is fit to
 * have mirrored (its `mirrorMax`), and from then on what is used.
 * @example
 * ```ts
 * import type { Sync } from 'overns';
 *
 * const sync: Sync = 'used';
 * console.log(sync); // used
 * ```
 */
export type Sync = 'all' | 'used' | 'lookup' | 'auto';
const SYNCS: readonly Sync[] = ['all', 'used', 'lookup', 'auto'];

/**
 * When the kernel's entries are written: `miss`, once somebody asks; `ahead`, as soon as the store's watch tells of an endpoint, so that
 * the first packet meets them. The latter only while all of the network is followed, and while it has no more than 512 addresses:
 * as many neighbours and FDB entries cost the kernel some 400 KiB. They are permanent, which since Linux 5.0 do not count
 * towards `gc_thresh` of neighbours, and with an older kernel they are half of its least limit (1024).
 * @example
 * ```ts
 * import type { Program } from 'overns';
 *
 * const program: Program = 'ahead';
 * console.log(program); // ahead
 * ```
 */
export type Program = 'ahead' | 'miss';
const PROGRAMS: readonly Program[] = ['ahead', 'miss'];
/** As many addresses are programmed ahead at most. */
export const AHEAD_MAX = 512;

/**
 * Options of a resolver: what it serves, and how.
 * @example
 * ```ts
 * import type { ResolverOptions } from 'overns';
 *
 * const options: ResolverOptions = { lookupTimeoutMs: 500, negativeTtlMs: 5000, realtime: true };
 * console.log(options.realtime); // true
 * ```
 */
export interface ResolverOptions extends Cancel {
  /** Overlays to serve from the start; an overlay without a store of its own uses `store`. */
  readonly overlays?: readonly (Overlay | { readonly overlay: Overlay; readonly store: Store })[] | undefined;
  readonly store?: Store | undefined;
  /** How long a lookup may take, milliseconds, 1 to 600000. Default 2000. */
  readonly lookupTimeoutMs?: number | undefined;
  /** How long "absent" holds, milliseconds, 0 to 3600000. Default 1000. */
  readonly negativeTtlMs?: number | undefined;
  /** Lookups under way at once, for one overlay, 1 to 65536. Default 256. */
  readonly maxLookups?: number | undefined;
  /** How much of a network is followed in its store. Default `auto`. */
  readonly sync?: Sync | undefined;
  /** When the kernel's entries are written. Default `miss`. */
  readonly program?: Program | undefined;
  /**
   * With `used`: how long an address is followed that nothing is programmed for any more, milliseconds, 100 to 3600000. After five
   * times as long it is tried whether one is used that is programmed. Default 60000.
   */
  readonly idleMs?: number | undefined;
  /**
   * How long a listing of the store's watch is doubted that lacks more than it has of what was known, or is older than what was
   * seen, milliseconds, 0 to 86400000: what it lacks is served on until then. 0: it is believed at once. Default 60000, which
   * is longer than hosts take to notice that their leases are gone, and to publish again.
   */
  readonly graceMs?: number | undefined;
  /**
   * Send the request by which a container of this host asks for one of another host on to that one: it learns the asker by it,
   * as on any Ethernet, and its host, where it does so too, has the entries of the asker before it misses them. It takes Linux 6.4 or
   * later, and two packets for each request. Default false.
   */
  readonly prime?: boolean | undefined;
  /**
   * How long frames that still come from other hosts for a container which has left this one are sent on to where the store
   * says that it is now, milliseconds, 0 to 3600000; 0: not at all. It is for hosts that have not heard of the move: one whose
   * agent is being restarted, say, or is cut off from the store. Default 60000.
   */
  readonly redirectMs?: number | undefined;
  /** Run the resolver thread under SCHED_FIFO, where permitted. Default false. */
  readonly realtime?: boolean | undefined;
  /** Take an overlay from the resolver that serves it now. Default false: `EBUSY`. */
  readonly takeover?: boolean | undefined;
  /** The machine of its overlays. Default: that of the first of `overlays`, else the one that this process runs on. */
  readonly system?: System | undefined;
}

export function checkStore(value: unknown, name: string): Store {
  if (value === null || typeof value !== 'object' || typeof (value as Store).lookup !== 'function') {
    throw invalidType(name, value, 'a store, which has lookup()');
  }
  const store = value as Store;
  for (const method of ['lookupMany', 'watch', 'watchOnly', 'publish', 'withdraw', 'claim', 'lease', 'list'] as const) {
    if (store[method] !== undefined && typeof store[method] !== 'function')
      throw invalidType(`${name}.${method}`, store[method], 'a function');
  }
  return store;
}

export const resolverOptions = {
  overlays: checkServings,
  store: checkStore,
  lookupTimeoutMs: integer(1, 600_000),
  negativeTtlMs: integer(0, 3_600_000),
  maxLookups: integer(1, 65_536),
  sync: oneOf(...SYNCS),
  program: oneOf(...PROGRAMS),
  idleMs: integer(100, 3_600_000),
  graceMs: integer(0, 86_400_000),
  prime: boolean,
  redirectMs: integer(0, 3_600_000),
  realtime: boolean,
  takeover: boolean,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

type Serving = NonNullable<ResolverOptions['overlays']>[number];

function checkServings(value: unknown, name: string): readonly Serving[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array');
  // All of them before the first is served; not forEach(), which passes over holes.
  for (const [at, item] of value.entries()) {
    if (!isOverlay(item) && !isOverlay(item?.overlay))
      throw invalidType(`${name}[${at}]`, item, 'an Overlay, or one with its store: { overlay, store }');
    if (isOverlay(item)) continue;
    checkNames(item, ['overlay', 'store']);
    if (item.store !== undefined) checkStore(item.store, `${name}[${at}].store`);
  }
  return value;
}

export type CheckedOptions = Values<typeof resolverOptions>;

/** Not by its class: two copies of the package can be loaded. */
export function isOverlay(value: unknown): value is Overlay {
  return value !== null && typeof value === 'object' && 'netns' in value && typeof value.netns === 'string';
}
