/**
 * Records of which addresses were handed out, kept beside the records of a network under `PREFIX.allocated`, in the same form: an
 * `arp` record is an address, the `fib` record of its MAC address the host that it was for. It decides nothing about whose an address is,
 * which only the endpoint's own records do; it says that an address has been somebody's:
 *
 *     no endpoint, no record      free
 *     an endpoint                 taken, whatever is remembered
 *     no endpoint, a record       given back, and not to be handed out again for a while: under a lease of that time, which
 *                                 nobody renews, it goes by itself; without one nobody knows yet that it was given back
 *
 * The last is what a lease leaves that has ended, or a host that has died: no code of anybody's runs then. Whoever sees it
 * next puts it under such a lease. So no clocks of hosts are compared, and nothing has to be cleared away.
 *
 * It is no part of the network's own prefix, so that no watch is woken by it.
 */
import type { Cancel } from '../core/abort.js';
import { defaultMac } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import type { DriverStore, StoreNetwork } from './driver.js';

/** The methods of a driver that this takes. */
type AllocatedStore = Required<Pick<DriverStore, 'lookup' | 'publish' | 'claim' | 'list' | 'lease'>>;

/** How many are put under a lease at once. */
const PARALLEL = 8;

/** An address that was handed out. */
export interface AllocatedAddress {
  readonly ip: string;
  readonly vtep: string;
  /** It was given back, and is free once its record is gone. */
  readonly resting: boolean;
  /** Revision of its record. */
  readonly revision: bigint;
}

export class AllocatedAddresses {
  readonly #store: AllocatedStore;
  readonly #network: StoreNetwork;
  readonly #quarantineMs: number;

  constructor(store: AllocatedStore, network: StoreNetwork, quarantineMs: number) {
    this.#store = store;
    this.#network = { ...network, prefix: `${network.prefix}.allocated`, unwatched: true };
    this.#quarantineMs = quarantineMs;
  }

  async list({ signal }: Cancel): Promise<readonly AllocatedAddress[]> {
    const listed = await this.#store.list({ ...this.#network, signal });
    return listed.flatMap(({ ips, vtep, lease, revision }) =>
      ips.map((ip) => ({ ip, vtep, resting: lease !== undefined, revision })),
    );
  }

  /** The record of an address; undefined where there is none. */
  async find(ip: string, { signal }: Cancel): Promise<Pick<AllocatedAddress, 'ip' | 'vtep'> | undefined> {
    const { overlay = '', vni = 1 } = this.#network;
    const answer = await this.#store.lookup({ overlay, vni, kind: 'l3', ip }, { ...this.#network, signal });
    return answer === null ? undefined : { ip, vtep: answer.vtep };
  }

  /**
   * Remembers an address that is being handed out.
   * @param again it may have been handed out before: it is its holder's to say
   * @returns false where somebody has had it meanwhile
   */
  async add(ip: string, vtep: string, again: boolean, { signal }: Cancel): Promise<boolean> {
    const record = recordOf(ip, vtep);
    // What is published is under no lease from then on.
    if (again) await this.#store.publish(record, { ...this.#network, signal });
    else return this.#claim(record, { expect: 0n, signal });
    return true;
  }

  /** Lets addresses that were given back rest. */
  async rest(addresses: readonly Pick<AllocatedAddress, 'ip' | 'vtep'>[], { signal }: Cancel): Promise<void> {
    if (addresses.length === 0) return;
    const lease = await this.#store.lease({ name: 'overns-quarantine', ttlMs: this.#quarantineMs, signal });
    const waiting = [...addresses];
    const next = async (): Promise<void> => {
      for (let one = waiting.pop(); one !== undefined; one = waiting.pop())
        await this.#claim(recordOf(one.ip, one.vtep), { lease: lease.id, takeover: true, signal });
    };
    await Promise.all(Array.from({ length: PARALLEL }, next));
  }

  async #claim(
    record: ReturnType<typeof recordOf>,
    options: Cancel & { readonly expect?: bigint; readonly lease?: string; readonly takeover?: boolean },
  ): Promise<boolean> {
    try {
      await this.#store.claim(record, { takeover: false, ...this.#network, ...options });
      return true;
    } catch (error) {
      if (OvernsError.is(error) && error.code === 'OVERNS_CONFLICT') return false;
      throw error;
    }
  }
}

/** With a MAC address of its own, whatever its holder's was: which may have another address later, or did before. */
function recordOf(ip: string, vtep: string) {
  return { ip, ips: [ip], mac: defaultMac(ip), vtep };
}
