/** The addresses that somebody uses, whose set changes while a store watches them. */
import { canonicalIp, canonicalMac } from '../core/address.js';
import { invalidType } from '../core/errors.js';

/** Whether a canonical address is a MAC address. */
export function isMac(address: string): boolean {
  return address.length === 17 && address[2] === ':' && address[5] === ':' && address[8] === ':';
}

function canonical(address: unknown): string {
  if (typeof address !== 'string') throw invalidType('address', address, 'an IP or a MAC address');
  return isMac(address) ? canonicalMac(address, 'address') : canonicalIp(address, 'address');
}

/**
 * IP and MAC addresses whose changes are wanted of {@link Store.watchOnly}: who watches adds and removes them while the watch runs.
 * An IP address stands for the endpoint that has it, with its MAC address; a MAC address for the VTEP that it is behind.
 * @example
 * ```ts
 * import { Interest } from 'overns';
 *
 * const interest = new Interest(['192.168.0.3']);
 * interest.add('02:42:C0:A8:00:04').delete('192.168.0.3');
 * console.log([...interest]); // [ '02:42:c0:a8:00:04' ]
 * ```
 */
export class Interest implements Iterable<string> {
  readonly #addresses = new Set<string>();
  readonly #listeners = new Set<(address: string, wanted: boolean) => void>();

  /** @throws RangeError, TypeError for what is no address */
  constructor(addresses: Iterable<string> = []) {
    for (const address of addresses) this.add(address);
  }

  /** How many addresses are in it. */
  get size(): number {
    return this.#addresses.size;
  }

  /**
   * Whether a canonical address is among them.
   * @example
   * ```ts
   * import { Interest } from 'overns';
   *
   * console.log(new Interest(['FD00::3']).has('fd00::3')); // true
   * ```
   */
  has(address: string): boolean {
    return this.#addresses.has(address);
  }

  /**
   * Has an address followed from now on.
   * @throws RangeError, TypeError for what is no address
   * @example
   * ```ts
   * import { Interest } from 'overns';
   *
   * console.log(new Interest().add('192.168.0.3').add('192.168.0.3').size); // 1
   * ```
   */
  add(address: string): this {
    const added = canonical(address);
    if (this.#addresses.has(added)) return this;
    this.#addresses.add(added);
    for (const listener of this.#listeners) listener(added, true);
    return this;
  }

  /**
   * Has an address followed no more.
   * @throws RangeError, TypeError for what is no address
   * @example
   * ```ts
   * import { Interest } from 'overns';
   *
   * console.log(new Interest(['192.168.0.3']).delete('192.168.0.3').size); // 0
   * ```
   */
  delete(address: string): this {
    const removed = canonical(address);
    if (!this.#addresses.delete(removed)) return this;
    for (const listener of this.#listeners) listener(removed, false);
    return this;
  }

  /** Yields them in canonical form, in the order in which they were added. */
  [Symbol.iterator](): IterableIterator<string> {
    return this.#addresses[Symbol.iterator]();
  }

  /**
   * Calls a listener for each address that comes (`wanted`) or goes, at once. The result takes it back.
   * @example
   * ```ts
   * import { Interest } from 'overns';
   *
   * const interest = new Interest();
   * const forget = interest.onChange((address, wanted) => console.log(address, wanted)); // 192.168.0.3 true
   * interest.add('192.168.0.3');
   * forget();
   * ```
   */
  onChange(listener: (address: string, wanted: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
