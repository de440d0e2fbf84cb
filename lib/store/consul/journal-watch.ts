/** The journal of a store as it is followed: a single question to Consul for all overlays of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OvernsError } from '../../core/errors.js';
import { mayPass, refusalOf } from '../server-http.js';
import type { ConsulHttp } from './http.js';
import { type JournalLine, type JournalPlace, JournalReader, warnOfJournal } from './journal.js';
import { ConsulKv } from './kv.js';

const SECOND = 1000;
/** The pause after an answer, milliseconds: none where little happens, and growing with what does. */
const PAUSE_MS = 5;
const PAUSE_MAX_MS = 100;
/** How long a journal is left alone that the token may not read, milliseconds. */
const DENIED_MS = 60_000;
const LATE = 'changes that others make are heard of within a minute only';

/** Whoever follows a network. */
export interface JournalFollower {
  /** The records of these addresses have changed. */
  changed(addresses: readonly string[]): void;
  /** Anything may have. */
  lost(): void;
  /** Nothing is heard any more. */
  fail(error: unknown): void;
}

/** What is followed of one network. */
export interface Following {
  /** Settles once all that changes from then on is told. Rejects as `fail` is called. */
  readonly begun: Promise<void>;
  /** The index of the last change that was told of, of whatever network. */
  readonly index: bigint;
  stop(): void;
}

/** The journal of a store, which is asked for as long as somebody follows it. */
export class JournalFollowers {
  readonly #http: ConsulHttp;
  readonly #place: JournalPlace;
  #watch: JournalWatch | undefined;

  constructor(http: ConsulHttp, place: JournalPlace) {
    this.#http = http;
    this.#place = place;
  }

  /** Follows the network of a prefix until it is stopped. */
  follow(prefix: string, follower: JournalFollower): Following {
    if (this.#watch?.over !== false) this.#watch = new JournalWatch(this.#http, this.#place.prefix);
    return this.#watch.follow(this.#place.network(prefix), follower);
  }

  close(): void {
    this.#watch?.fail(new OvernsError('OVERNS_CLOSED', `${this.#http.name}: the store is closed`));
  }
}

class JournalWatch {
  readonly #http: ConsulHttp;
  readonly #kv: ConsulKv;
  readonly #reader = new JournalReader();
  readonly #followers = new Map<string, Set<JournalFollower>>();
  readonly #stop = new AbortController();
  readonly #begun: Promise<void>;
  #begin = (): void => {};
  #refuse = (_: unknown): void => {};
  #index = 0n;

  constructor(http: ConsulHttp, prefix: string) {
    this.#http = http;
    this.#kv = new ConsulKv(http, prefix);
    this.#begun = new Promise((resolve, reject) => {
      this.#begin = resolve;
      this.#refuse = reject;
    });
    // Nobody need wait for it.
    this.#begun.catch(() => {});
    void this.#run();
  }

  /** Nobody follows it any more, or it has failed. */
  get over(): boolean {
    return this.#stop.signal.aborted;
  }

  follow(network: string, follower: JournalFollower): Following {
    const followers = this.#followers.get(network) ?? new Set();
    this.#followers.set(network, followers.add(follower));
    const index = (): bigint => this.#index;
    return {
      begun: this.#begun,
      get index() {
        return index();
      },
      stop: () => {
        followers.delete(follower);
        if (followers.size === 0 && this.#followers.get(network) === followers) this.#followers.delete(network);
        if (this.#followers.size === 0) this.#stop.abort();
      },
    };
  }

  fail(error: unknown): void {
    const all = this.#all();
    this.#followers.clear();
    this.#stop.abort();
    this.#refuse(error);
    for (const follower of all) follower.fail(error);
  }

  #all(): JournalFollower[] {
    return [...this.#followers.values()].flatMap((each) => [...each]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const timer = { signal, ref: false };
    // Whether the next question waits for a change.
    let wait = false;
    let pause = 0;
    let denied = false;
    while (!signal.aborted) {
      const asked = performance.now();
      try {
        const { pairs, answer } = await this.#kv.listPlain(signal, {
          after: wait ? this.#index : undefined,
          ref: false,
        });
        const waited = performance.now() - asked;
        // 0 would not wait (Consul's advice on blocking queries).
        const next = answer.index || 1n;
        const early: boolean = wait && next === this.#index && waited < SECOND;
        this.#take(next, this.#reader.take(pairs));
        if (pairs.length === 0 || early) pause = SECOND - waited;
        else pause = waited > 2 * Math.max(pause, PAUSE_MS) ? 0 : Math.min(Math.max(2 * pause, PAUSE_MS), PAUSE_MAX_MS);
        wait = !early;
      } catch (error) {
        if (signal.aborted) return;
        if (refusalOf(error)?.status === 403) {
          if (!denied) warnOfJournal(this.#http.name, this.#kv.prefix, 'read', LATE);
          denied = true;
          this.#begin();
          pause = DENIED_MS;
        } else if (wait && mayPass(error)) {
          // Everyone's wait has ended just now, so they do not all come at once.
          pause = Math.random() * SECOND;
        } else {
          this.fail(error);
          return;
        }
        wait = false;
      }
      if (pause > 1) await sleep(pause, undefined, timer).catch(() => {});
    }
  }

  #take(next: bigint, lines: readonly JournalLine[] | undefined): void {
    const begins = this.#index === 0n;
    // Backwards, Consul lost its data or got other ones.
    const back = next < this.#index;
    this.#index = next;
    this.#begin();
    if (begins) return;
    if (lines === undefined || back) {
      for (const follower of this.#all()) follower.lost();
      return;
    }
    for (const { network, addresses } of lines) {
      for (const follower of this.#followers.get(network) ?? []) follower.changed(addresses);
    }
  }
}
