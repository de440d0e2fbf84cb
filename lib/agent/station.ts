/** A MAC address of this host: what the kernel has of it, what the store has, and how they stand to each other. */
import type { ConflictError } from '../store/conflict.js';
import type { Endpoint } from '../store/contract.js';

export class Station {
  readonly mac: string;
  /** All IP addresses that it has had. */
  readonly ips = new Set<string>();
  /** The endpoint as it is attached. */
  attached: Endpoint | undefined;
  /** As the store may have it by this host. */
  held: Endpoint | undefined;
  /** The store is to be told something. */
  dirty = false;
  state: 'published' | 'conflict' | 'pending' | undefined;
  revision: bigint | undefined;
  conflict: ConflictError | undefined;
  error: Error | undefined;
  /** About to be attached. */
  #reserved: Endpoint | undefined;
  /** About to be detached. */
  #leaving = false;
  #hold: NodeJS.Timeout | undefined;
  #turns = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(mac: string) {
    this.mac = mac;
  }

  /** What the store is to have. */
  get wanted(): Endpoint | undefined {
    return this.#leaving ? undefined : (this.#reserved ?? this.attached);
  }

  /** Nothing is known of it any more, and nobody is at work with it. */
  get idle(): boolean {
    const known = this.attached ?? this.held ?? this.#reserved;
    return known === undefined && !this.dirty && !this.#leaving && this.#turns <= 1;
  }

  /** The kernel has it so from now on; undefined: not any more. */
  attach(endpoint: Endpoint | undefined): void {
    this.attached = endpoint;
    this.release();
  }

  /** Is about to be attached. */
  reserve(endpoint: Endpoint, ms: number, over: () => void): void {
    this.release();
    this.#reserved = endpoint;
    this.#holdFor(ms, over);
  }

  /** Is about to be detached. */
  leave(ms: number, over: () => void): void {
    this.release();
    this.#leaving = true;
    this.#holdFor(ms, over);
  }

  /** Nothing is about to happen. */
  release(): void {
    clearTimeout(this.#hold);
    this.#reserved = undefined;
    this.#leaving = false;
  }

  publish(revision: bigint): void {
    this.reset();
    this.state = 'published';
    this.revision = revision;
  }

  lose(conflict: ConflictError): void {
    this.reset();
    this.state = 'conflict';
    this.conflict = conflict;
  }

  fail(error: Error): void {
    this.reset();
    this.state = 'pending';
    this.error = error;
  }

  reset(): void {
    this.state = this.revision = this.conflict = this.error = undefined;
  }

  /** Runs one thing after the other. */
  inTurn<T>(run: () => Promise<T>): Promise<T> {
    this.#turns++;
    const turn = this.#turn.then(run).finally(() => {
      this.#turns--;
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #holdFor(ms: number, over: () => void): void {
    this.#hold = setTimeout(() => {
      this.release();
      over();
    }, ms);
    this.#hold.unref();
  }
}

/** Whether two are the same endpoint, wherever it is; two that are none are the same. */
export function sameAddresses(one: Endpoint | undefined, other: Endpoint | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.mac === other.mac && one.ips.length === other.ips.length && one.ips.every((ip) => other.ips.includes(ip));
}
