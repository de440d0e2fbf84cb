/** Shared parts of the drivers' tests: names, and somebody who follows a store's changes. */
import assert from 'node:assert/strict';
import type { Change, Endpoint, OwnedStore, Query, Where } from '../store/contract.js';
import type { Interest } from '../store/interest.js';

export const BLUE: Where = { overlay: 'blue', vni: 42 };
export const RED: Where = { overlay: 'red', vni: 43 };
export const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'] as const;
export const [M1, M2, M3] = MACS;
export const [V1, V2] = ['10.0.0.1', '10.0.0.2'] as const;
export const [A, B, C6] = ['192.168.0.2', '192.168.0.3', 'fd00::2'];

export const l3 = (ip: string, where = BLUE): Query => ({ ...where, kind: 'l3', ip });
export const l2 = (mac: string, where = BLUE): Query => ({ ...where, kind: 'l2', mac });
export const endpoint = (mac: string, vtep: string, ...ips: readonly [string, ...string[]]): Endpoint => ({
  ip: ips[0],
  ips,
  mac,
  vtep,
});

export const code = (expected: string) => (error: unknown) => {
  assert.equal((error as { code?: unknown }).code, expected, `code of ${String(error)}`);
  return true;
};

export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `${what} within ${ms} ms` })), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** State of somebody who applies each change of a watch. */
export class Follower {
  readonly #arp = new Map<string, string>();
  readonly #fib = new Map<string, string>();
  readonly #gaps = new Map<string, number>();
  readonly #controller = new AbortController();
  readonly #patienceMs: number;
  readonly #ended: Promise<void>;
  #error: unknown;
  #wake = (): void => {};
  first: Change | undefined;
  /** The index of the last change. */
  last = -1n;
  wentBack = false;

  /** All that was told. */
  readonly told: Change[] = [];

  /** @param known who has followed it before, and from where this one goes on, or the addresses that are followed alone */
  constructor(store: OwnedStore, where: Where, patienceMs: number, from?: Follower | Interest) {
    this.#patienceMs = patienceMs;
    const known = from instanceof Follower ? from : undefined;
    if (known !== undefined) {
      for (const [ip, mac] of known.#arp) this.#arp.set(ip, mac);
      for (const [mac, vtep] of known.#fib) this.#fib.set(mac, vtep);
    }
    const { signal } = this.#controller;
    const changes =
      from === undefined || from instanceof Follower
        ? store.watch({ ...where, signal, from: known?.last })
        : store.watchOnly?.(from, { ...where, signal });
    assert.ok(changes !== undefined, 'the store has no watchOnly()');
    this.#ended = this.#run(changes).catch((error) => {
      this.#error = error;
      this.#wake();
    });
  }

  async #run(changes: AsyncIterable<Change>): Promise<void> {
    for await (const change of changes) {
      this.told.push(change);
      this.first ??= change;
      if (change.kind !== 'reset' && change.index < this.last) this.wentBack = true;
      this.last = change.index;
      this.#apply(change);
      this.#wake();
    }
    throw new assert.AssertionError({ message: 'the watch ended by itself' });
  }

  #apply(change: Change): void {
    const before = new Set(this.#arp.keys());
    if (change.kind === 'reset') {
      this.#arp.clear();
      this.#fib.clear();
      for (const each of change.endpoints) this.#put(each);
    } else if (change.kind === 'put') {
      this.#put(change.endpoint);
    } else if (change.kind === 'delete') {
      if (change.ip !== undefined) this.#arp.delete(change.ip);
      if (change.mac !== undefined) this.#fib.delete(change.mac);
    }
    for (const ip of before) if (this.answer(ip) === null) this.#gaps.set(ip, this.gaps(ip) + 1);
  }

  #put({ ips, mac, vtep }: Endpoint): void {
    this.#fib.set(mac, vtep);
    for (const ip of ips) this.#arp.set(ip, mac);
  }

  answer(ip: string): { mac: string; vtep: string } | null {
    const mac = this.#arp.get(ip);
    const vtep = mac === undefined ? undefined : this.#fib.get(mac);
    return mac === undefined || vtep === undefined ? null : { mac, vtep };
  }

  /** How many addresses are known. */
  get known(): number {
    return [...this.#arp.keys()].filter((ip) => this.answer(ip) !== null).length;
  }

  /** How often an address that was known was known no more. */
  gaps(ip: string): number {
    return this.#gaps.get(ip) ?? 0;
  }

  async until(holds: (self: this) => boolean): Promise<void> {
    const deadline = performance.now() + this.#patienceMs;
    while (!holds(this)) {
      if (this.#error !== undefined) throw this.#error;
      const changed = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(changed, Math.max(1, deadline - performance.now()), 'the watch does not tell what is waited for');
    }
  }

  async stop(): Promise<void> {
    this.#controller.abort();
    await within(this.#ended, this.#patienceMs, 'the watch does not end');
    code('ABORT_ERR')(this.#error);
  }
}
