/** Watches of single keys of etcd, of which a host has as many as it uses addresses: all of them on one stream. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OvernsError } from '../../core/errors.js';
import { mayPass } from '../server-http.js';
import type { EtcdHttp, Json } from './http.js';
import { WATCH_MS } from './kv.js';

/** How long a server is looked for that goes on where one has failed: longer than an election takes, milliseconds. */
const PATIENCE_MS = 5000;
/** The longest wait before the first attempt, and of all; it doubles with every further one. */
const PAUSE_MS = 50;
const PAUSE_MAX_MS = 500;
/** One answer: the events of one key. */
const LINE_BYTES = 16 * 2 ** 20;
/** The watch that the stream begins with: etcd gives no sign of life on a stream that has none. */
const FIRST_ID = '1';

/** A key that is followed. */
export interface KeyWatch {
  /** As requests have it. */
  readonly key: string;
  /** Whatever happens to it behind this revision is told. */
  readonly after: bigint;
  /** A key that may be read by whoever may read this one. */
  readonly home: string;
  /** @param last the last of its events, as etcd gives it */
  changed(last: unknown): void;
  /** It is not followed any more, and has to be read again before it is. */
  lost(): void;
  /** No server can be asked. */
  fail(error: unknown): void;
}

export class EtcdKeyWatches {
  readonly #http: EtcdHttp;
  /** By the id that etcd knows each by. */
  readonly #watches = new Map<string, KeyWatch>();
  #lastId = Number(FIRST_ID);
  /** Sends a request on the stream, once it is open. */
  #send: ((request: unknown) => void) | undefined;
  #running: AbortController | undefined;

  constructor(http: EtcdHttp) {
    this.#http = http;
  }

  /** Follows a key until the result is called. */
  follow(watch: KeyWatch): () => void {
    const id = `${++this.#lastId}`;
    this.#watches.set(id, watch);
    if (this.#running === undefined) {
      this.#running = new AbortController();
      void this.#run(watch.home, this.#running);
    } else {
      this.#create(id, watch);
    }
    return () => {
      if (!this.#watches.delete(id)) return;
      this.#send?.({ cancel_request: { watch_id: id } });
      if (this.#watches.size === 0) this.#stop();
    };
  }

  close(): void {
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    this.#stop();
    const closed = new OvernsError('OVERNS_CLOSED', `${this.#http.name}: the store is closed`);
    for (const watch of watches) watch.fail(closed);
  }

  #stop(): void {
    this.#running?.abort();
    this.#running = undefined;
    this.#send = undefined;
  }

  #create(id: string, { key, after }: KeyWatch): void {
    this.#send?.({ create_request: { key, start_revision: String(after + 1n), watch_id: id } });
  }

  /** Keeps a stream open for as long as something is followed. */
  async #run(home: string, running: AbortController): Promise<void> {
    const { signal } = running;
    let lostAt: number | undefined;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await this.#listen(home, signal, () => {
          // What happened meanwhile is read by those who follow, from a revision that this server has.
          if (lostAt !== undefined) this.#tellAll((watch) => watch.lost());
          lostAt = undefined;
          attempt = 0;
        });
      } catch (error) {
        if (signal.aborted) return;
        this.#send = undefined;
        lostAt ??= performance.now();
        if (!mayPass(error) || performance.now() - lostAt > PATIENCE_MS) {
          this.#stop();
          this.#tellAll((watch) => watch.fail(error));
          return;
        }
        const pause = Math.min(PAUSE_MS * 2 ** Math.min(attempt, 10), PAUSE_MAX_MS);
        await sleep(Math.random() * pause, undefined, { signal, ref: false }).catch(() => {});
      }
    }
  }

  #tellAll(tell: (watch: KeyWatch) => void): void {
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const watch of watches) tell(watch);
  }

  /** Reads one stream until it fails. */
  async #listen(home: string, signal: AbortSignal, opened: () => void): Promise<void> {
    let send = (_: unknown): void => {};
    const stream = this.#http.stream({
      path: 'watch',
      body: { create_request: { key: home, watch_id: FIRST_ID } },
      maxBytes: LINE_BYTES,
      timeoutMs: WATCH_MS,
      signal,
      ref: false,
      watching: true,
      doing: 'following keys',
      sender: (given) => {
        send = given;
      },
    });
    for await (const answer of stream) {
      if (signal.aborted) return;
      if (answer.watch_id === FIRST_ID && answer.created === true) {
        this.#send = send;
        opened();
        for (const [id, watch] of this.#watches) this.#create(id, watch);
      } else {
        this.#take(answer);
      }
    }
  }

  #take({ watch_id: id, events, compact_revision: compacted }: Json): void {
    const watch = typeof id === 'string' ? this.#watches.get(id) : undefined;
    if (watch === undefined) return;
    if (compacted !== undefined) {
      this.#watches.delete(id as string);
      watch.lost();
    } else if (Array.isArray(events) && events.length > 0) {
      watch.changed(events.at(-1));
    }
  }
}
