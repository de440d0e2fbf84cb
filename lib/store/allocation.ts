/** Handing out the addresses of a network. */
import { randomInt } from 'node:crypto';
import type { Cancel } from '../core/abort.js';
import { checkSignal, throwIfAborted } from '../core/abort.js';
import { canonicalIp, checkVni, defaultMac, ipFamily, unicastIp, unicastMac, vtepIp } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { checkOptions, type Shape, signalOf, unchecked } from '../core/options.js';
import { type AddressPool, checkPools, type Pool } from './address-pool.js';
import type { AllocatedAddresses } from './allocated.js';
import type { Endpoint, Holder, Store, StoredEndpoint, StoreLease, Where } from './contract.js';
import { undoAtStore, wroteNothing } from './effect.js';
import { allocatedIn } from './scope.js';

/** How often all is looked at again because somebody else has taken what the addresses are for, meanwhile. */
const ATTEMPTS = 10;
/** How many addresses that were given back unseen are put to rest at a time. */
const RESTING_MAX = 256;

/**
 * Addresses to hand out, and where.
 * @example
 * ```ts
 * import { type AddressAllocatorOptions, openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * const options: AddressAllocatorOptions = { store, overlay: 'blue', vni: 42, pools: [{ network: '192.168.0.0/24' }] };
 * console.log(options.pools.length); // 1
 * ```
 */
export interface AddressAllocatorOptions extends Where {
  /** One with `claim()` and `list()`. */
  readonly store: Store;
  /** One, or one of each family: an address of each is handed out, both or none. */
  readonly pools: readonly AddressPool[];
}

/**
 * Whom addresses are for.
 * @example
 * ```ts
 * import type { AllocateOptions } from 'overns';
 *
 * const options: AllocateOptions = { vtep: '10.0.0.10', mac: '02:00:00:00:00:07' };
 * console.log(options.vtep); // 10.0.0.10
 * ```
 */
export interface AllocateOptions extends Cancel {
  /** The underlay address of its host. */
  readonly vtep: string;
  /**
   * Its MAC address. One that has addresses of the pools at that VTEP already is given the same again: so it is repeated
   * safely. Default: one that is made of the address, another each time.
   */
  readonly mac?: string | undefined;
  /** A lease of the store, which the addresses go with. Default: they are plain. */
  readonly lease?: StoreLease | undefined;
  /** Addresses that this host knows to be taken, beside those in the store. */
  readonly except?: readonly string[] | undefined;
}

/**
 * Addresses that were handed out: claimed in the store, as an endpoint.
 * @example
 * ```ts
 * import { AddressAllocator, type Allocation, openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * const allocator = new AddressAllocator({ store, overlay: 'blue', vni: 42, pools: [{ network: 'fd00::/64' }] });
 * const { addresses }: Allocation = await allocator.allocate({ vtep: '10.0.0.10' });
 * console.log(addresses[0]); // fd00::1/64
 * ```
 */
export interface Allocation {
  readonly endpoint: Endpoint;
  /** Its `ips` in the order of the pools, with the prefix lengths of their networks. */
  readonly addresses: readonly string[];
  /** The store's revision of it. */
  readonly revision: bigint;
}

const allocatorShape = {
  store: [unchecked<Store>()],
  overlay: [overlayName],
  vni: [checkVni],
  pools: [checkPools],
} satisfies Shape;
const allocateShape = {
  vtep: [vtepIp],
  mac: unicastMac,
  lease: unchecked<StoreLease>(),
  except: addressList,
  signal: checkSignal,
} satisfies Shape;
const { except: _, ...reserveShape } = allocateShape;

function overlayName(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  return value;
}

function addressList(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array of addresses');
  return [...(value as readonly unknown[])].map((each, at) => canonicalIp(each, `${name}[${at}]`));
}

type AllocatingStore = Store & Required<Pick<Store, 'claim' | 'list' | 'withdraw'>>;

/** What is asked for, and what the store says about it. */
interface Attempt {
  readonly request: Omit<AllocateOptions, 'except'>;
  /** The endpoint that has some of it already. */
  readonly own: StoredEndpoint | undefined;
  /** An address that it is to have. */
  readonly fixed: string | undefined;
  readonly searches: readonly Search[];
  /** MAC addresses of others. */
  readonly macs: ReadonlySet<string>;
  readonly allocated: AllocatedAddresses | undefined;
}

/**
 * Hands out the addresses of a network, to any number of hosts at once: each takes the lowest that is free by claiming it in the store, where
 * nothing of it may be there. So the endpoint's own records are the reservation, and there is no second table that could
 * contradict them; whoever meets another one goes on behind it, further each time, so that many do not meet again and again.
 *
 * An address is free again when its endpoint is withdrawn, by whomever, or goes with its lease. It is not handed out again before the
 * quarantine of its store is over (`quarantineMs` of {@link openStore}), whose time begins with `withdraw()`; where the
 * lease ends, with the next allocation of anybody. A store of one's own, and a driver without leases, remember no addresses: there the search begins at
 * a random place, so that one seldom comes again soon.
 *
 * It lists the network once for each allocation.
 * @example
 * ```ts
 * import { AddressAllocator, openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * const pools = [{ network: '192.168.0.0/24', except: ['192.168.0.1'] }, { network: 'fd00::/64', except: ['fd00::1'] }];
 * const allocator = new AddressAllocator({ store, overlay: 'blue', vni: 42, pools });
 * const first = await allocator.allocate({ vtep: '10.0.0.10' });
 * const second = await allocator.allocate({ vtep: '10.0.0.11' });
 * console.log(first.addresses, second.endpoint.ip); // [ '192.168.0.2/24', 'fd00::2/64' ] 192.168.0.3
 * await allocator.release(first.endpoint);
 * console.log((await allocator.allocate({ vtep: '10.0.0.11' })).endpoint.ip); // 192.168.0.4
 * ```
 */
export class AddressAllocator {
  readonly #store: AllocatingStore;
  readonly #where: Where;
  readonly #pools: readonly Pool[];

  /**
   * @throws OvernsError `OVERNS_STORE_UNSUPPORTED`: the store has no claim() or no list(); RangeError, TypeError for a wrong argument
   */
  constructor(options: AddressAllocatorOptions) {
    const { store, overlay, vni, pools } = checkOptions(options, allocatorShape);
    if (store === null || typeof store !== 'object') throw invalidType('store', store, 'a store');
    for (const method of ['claim', 'list', 'withdraw'] as const) {
      if (typeof store[method] === 'function') continue;
      throw new OvernsError('OVERNS_STORE_UNSUPPORTED', `this store has no ${method}(), so it hands out no addresses`, {
        hint: "give the container's `address`, or use a store that can claim",
      });
    }
    this.#store = store as AllocatingStore;
    this.#where = { overlay, vni };
    this.#pools = pools;
  }

  /**
   * Claims the lowest free address of each pool.
   * @throws OvernsError `OVERNS_POOL_FULL`; `OVERNS_CONFLICT` (its MAC address is another's), `OVERNS_LEASE`,
   *   `OVERNS_STORE_UNSUPPORTED` (its driver cannot claim), and as the store's `claim()` and `list()`
   * @example
   * ```ts
   * import { AddressAllocator, openStore } from 'overns';
   *
   * await using store = await openStore('memory:');
   * const allocator = new AddressAllocator({ store, overlay: 'blue', vni: 42, pools: [{ network: '192.168.0.0/30' }] });
   * const mac = '02:00:00:00:00:07';
   * const { endpoint } = await allocator.allocate({ vtep: '10.0.0.10', mac });
   * const again = await allocator.allocate({ vtep: '10.0.0.10', mac });
   * console.log(again.endpoint.ip === endpoint.ip); // true
   * await allocator.allocate({ vtep: '10.0.0.11' });
   * const error = await allocator.allocate({ vtep: '10.0.0.11' }).catch((thrown) => thrown);
   * console.log(error.code); // OVERNS_POOL_FULL
   * ```
   */
  async allocate(options: AllocateOptions): Promise<Allocation> {
    const { except = [], ...request } = checkOptions(options, allocateShape);
    return this.#take(request, undefined, except);
  }

  /**
   * Claims a certain address of a pool, as one that is handed out; also one that rests. Repeated, it changes nothing. With the MAC
   * address of an endpoint of that VTEP it is a further address of it.
   * @throws OvernsError `OVERNS_CONFLICT` (it is another's, be it of the same host); otherwise as {@link allocate}; RangeError for one
   *   that is in no pool
   * @example
   * ```ts
   * import { AddressAllocator, openStore } from 'overns';
   *
   * await using store = await openStore('memory:');
   * const allocator = new AddressAllocator({ store, overlay: 'blue', vni: 42, pools: [{ network: '192.168.0.0/24' }] });
   * const { addresses } = await allocator.reserve('192.168.0.77', { vtep: '10.0.0.10' });
   * console.log(addresses); // [ '192.168.0.77/24' ]
   * ```
   */
  async reserve(ip: string, options: Omit<AllocateOptions, 'except'>): Promise<Allocation> {
    const request = checkOptions(options, reserveShape);
    const checked = unicastIp(ip);
    if (!this.#pools.some((pool) => pool.offers(checked))) {
      const words = this.#pools.map(({ text }) => text).join(' and ');
      throw invalidArgument('ip', ip, `an address that ${words} has to hand out`);
    }
    return this.#take(request, checked);
  }

  /**
   * Gives addresses back: withdraws their endpoint, where it is still that one. Repeated, it changes nothing.
   * @throws OvernsError as the store's `withdraw()`
   * @example
   * ```ts
   * import { AddressAllocator, openStore } from 'overns';
   *
   * await using store = await openStore('memory:');
   * const allocator = new AddressAllocator({ store, overlay: 'blue', vni: 42, pools: [{ network: '192.168.0.0/24' }] });
   * const { endpoint } = await allocator.allocate({ vtep: '10.0.0.10' });
   * await allocator.release(endpoint);
   * console.log(await store.list({ overlay: 'blue', vni: 42 })); // []
   * ```
   */
  async release(endpoint: Endpoint, options: Cancel = {}): Promise<void> {
    const signal = signalOf(options);
    await this.#store.withdraw(endpoint, { ...this.#where, ...(signal && { signal }) });
  }

  async #take(
    request: Attempt['request'],
    fixed: string | undefined,
    except: readonly string[] = [],
  ): Promise<Allocation> {
    const { mac, vtep, signal } = request;
    throwIfAborted(signal);
    const allocated = allocatedIn(this.#store, this.#where);
    for (let attempt = 1; ; attempt++) {
      const { endpoints, resting } = await this.#survey(allocated, signal);
      const own = merged(
        endpoints.filter(
          (each) => each.vtep === vtep && (mac !== undefined ? each.mac === mac : each.ips.includes(fixed ?? '')),
        ),
      );
      const missing =
        fixed !== undefined ? [] : this.#pools.filter((pool) => own?.ips.some((ip) => pool.offers(ip)) !== true);
      const taken = [...endpoints.flatMap(({ ips }) => ips), ...except];
      const searches = missing.map((pool) => new Search(pool, taken, resting, allocated === undefined));
      const macs = new Set(endpoints.map((each) => each.mac));
      const done = await this.#claim({ request, own, fixed, searches, macs, allocated });
      if ('endpoint' in done) return done;
      // It helps to look again where a MAC address can be chosen anew, or this very call was made twice.
      const { holder } = done.conflict;
      const chosen = mac === undefined && holder !== undefined && holder.ip === undefined;
      if (attempt === ATTEMPTS || !(chosen || holder?.vtep === vtep)) throw done.conflict;
    }
  }

  /** Reads what is taken, and lets rest what has been given back unseen. */
  async #survey(
    allocated: AllocatedAddresses | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ endpoints: readonly StoredEndpoint[]; resting: ReadonlySet<string> }> {
    // First what was handed out, whose endpoint was there before: where it is not there afterwards it is gone.
    const remembered = (await allocated?.list({ signal })) ?? [];
    const endpoints = await this.#store.list({ ...this.#where, ...(signal && { signal }) });
    const held = new Set(endpoints.flatMap(({ ips }) => ips));
    const gone = remembered.filter(({ ip }) => !held.has(ip));
    const unseen = gone.filter(({ resting }) => !resting);
    await allocated?.rest(unseen.slice(0, RESTING_MAX), { signal });
    return { endpoints, resting: new Set(gone.map(({ ip }) => ip)) };
  }

  /** Tries one choice after the other. Returns the conflict that no other choice helps against. */
  async #claim({
    request,
    own,
    fixed,
    searches,
    macs,
    allocated,
  }: Attempt): Promise<Allocation | { conflict: Conflict }> {
    const { vtep, lease, signal } = request;
    const cancel = signal && { signal };
    for (;;) {
      const found = searches.map((search) => search.next());
      const ips = [...new Set([...(own?.ips ?? []), ...(fixed === undefined ? [] : [fixed]), ...found])].sort(ip4First);
      const ip = ips[0] as string;
      const mac = own?.mac ?? request.mac ?? defaultMac(ip, (each) => macs.has(each));
      const endpoint: Endpoint = { ip, ips, mac, vtep };
      const undo = async (): Promise<void> => {
        if (own === undefined) await undoAtStore((late) => this.#store.withdraw(endpoint, { ...this.#where, ...late }));
      };
      let revision: bigint;
      try {
        const options = { ...this.#where, expect: own?.revision ?? 0n, ...(lease && { lease }), ...cancel };
        ({ revision } = await this.#store.claim(endpoint, options));
      } catch (error) {
        if (!isConflict(error)) throw wroteNothing(error) ? error : await undone(error, ips, undo);
        const { holder } = error;
        const met = searches.filter(({ last }) => holder === undefined || holder.ip === last);
        if (met.length === 0) return { conflict: error };
        for (const search of met) search.goOn();
        continue;
      }
      const given = ips.filter((each) => this.#pools.some((pool) => pool.offers(each)));
      const again = own !== undefined || fixed !== undefined;
      try {
        const added = await Promise.all(given.map((each) => allocated?.add(each, vtep, again, { signal })));
        if (!added.includes(false)) {
          const cidrs = this.#pools.flatMap((pool) =>
            given.filter((each) => pool.offers(each)).map((each) => pool.cidr(each)),
          );
          return { endpoint, addresses: cidrs, revision };
        }
      } catch (error) {
        throw await undone(error, ips, undo);
      }
      // One was handed out and given back since all was listed.
      await this.#store.withdraw(endpoint, { ...this.#where, ...cancel });
      for (const search of searches) search.goOn();
    }
  }
}

/** The search for a free address of one pool. */
class Search {
  readonly #pool: Pool;
  readonly #taken: Set<string>;
  readonly #resting: number;
  #at: bigint;
  /** How far it may jump when it meets somebody else. */
  #spread = 4;
  /** The address that it found last. */
  last = '';

  constructor(pool: Pool, taken: readonly string[], resting: ReadonlySet<string>, anywhere: boolean) {
    this.#pool = pool;
    const rest = [...resting].filter((ip) => pool.offers(ip));
    this.#resting = rest.length;
    this.#taken = new Set([...taken.filter((ip) => pool.offers(ip)), ...rest]);
    this.#at = anywhere ? BigInt(randomInt(2 ** 47)) : 0n;
  }

  /** @throws OvernsError `OVERNS_POOL_FULL` */
  next(): string {
    const free = this.#pool.free(this.#at, this.#taken);
    if (free === undefined) {
      const { text, size } = this.#pool;
      const rest = this.#resting === 0 ? '' : `, ${this.#resting} of them given back a short while ago`;
      throw new OvernsError('OVERNS_POOL_FULL', `no address of ${text} is free (${size} in all${rest})`, {
        hint:
          this.#resting === 0
            ? 'detach what is not needed any more, or use a larger network'
            : 'wait until those that were given back may be handed out again, or use a larger network',
      });
    }
    this.#at = free.at;
    this.last = free.ip;
    return free.ip;
  }

  /** The last one is somebody else's. */
  goOn(): void {
    this.#taken.add(this.last);
    this.#at += BigInt(1 + randomInt(this.#spread));
    this.#spread = Math.min(this.#spread * 4, 2 ** 20);
  }
}

type Conflict = OvernsError & { readonly holder?: Partial<Holder> };

/** A consumer's own store may refuse without the holder. */
function isConflict(error: unknown): error is Conflict {
  return OvernsError.is(error) && error.code === 'OVERNS_CONFLICT';
}

/** Takes back what a failed write may have left. Returns the error, with what may stay. */
async function undone(error: unknown, ips: readonly string[], undo: () => Promise<void>): Promise<unknown> {
  try {
    await undo();
  } catch {
    if (error instanceof Error) error.message += `; records of ${ips.join(', ')} may be in the store all the same`;
  }
  return error;
}

/** One endpoint of those that a listing has by lease. */
function merged([first, ...more]: readonly StoredEndpoint[]): StoredEndpoint | undefined {
  if (first === undefined) return undefined;
  const all = [first, ...more];
  const revision = all.reduce((most, each) => (each.revision > most ? each.revision : most), 0n);
  return { ...first, ips: all.flatMap(({ ips }) => ips), revision };
}

function ip4First(one: string, other: string): number {
  return ipFamily(one) - ipFamily(other);
}
