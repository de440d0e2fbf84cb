/** Whether a server of Consul still lives while watches wait: a small question a second, one for all of them. */
import { BEAT_ANSWER_MS, BEAT_LATE_MS, BEAT_MS, type ServerHttp, silence } from '../server-http.js';

/** Failures of a beat of which the waiting connection hears by itself. */
const HEARD = new Set(['ECONNREFUSED', 'ECONNRESET', 'UND_ERR_SOCKET', 'EPIPE']);

export class Heartbeat {
  readonly #http: ServerHttp;
  readonly #server: number;
  /** Watches that wait, as what ends their waiting. */
  readonly #waiting = new Set<(why: string) => void>();
  #beating: NodeJS.Timeout | undefined;
  /** When the server was last heard of, as performance.now(). */
  #heardAt = 0;

  /** @param server its place among the hosts */
  constructor(http: ServerHttp, server: number) {
    this.#http = http;
    this.#server = server;
  }

  /** Calls `lost` once the server gives no sign of life any more. The result takes it back. */
  await(lost: (why: string) => void): () => void {
    this.#waiting.add(lost);
    this.#heardAt = performance.now();
    this.#beat();
    return () => void this.#waiting.delete(lost);
  }

  /** The server has answered something. */
  heard(at: number): void {
    this.#heardAt = Math.max(this.#heardAt, at);
  }

  close(): void {
    clearTimeout(this.#beating);
  }

  #next(run: () => void, ms: number): void {
    clearTimeout(this.#beating);
    this.#beating = setTimeout(() => {
      this.#beating = undefined;
      run();
    }, ms);
    this.#beating.unref();
  }

  #beat(): void {
    if (this.#beating === undefined && this.#waiting.size > 0 && !this.#http.closed) {
      this.#next(() => this.#ask(), BEAT_MS);
    }
  }

  #again(): void {
    clearTimeout(this.#beating);
    this.#beating = undefined;
    this.#beat();
  }

  /** Asks what every Consul answers by itself, whatever the token may do. */
  #ask(): void {
    if (this.#waiting.size === 0) return;
    this.#http.dropSourceless(this.#server);
    const asked = performance.now();
    if (asked - this.#heardAt < BEAT_MS / 2) {
      this.#beat();
      return;
    }
    const controller = new AbortController();
    const lost = (): void => {
      controller.abort();
      for (const each of [...this.#waiting]) each(silence(BEAT_ANSWER_MS));
      this.#again();
    };
    const judge = (due: number): void => {
      if (this.#heardAt >= asked) this.#beat();
      else if (performance.now() - due > BEAT_LATE_MS) this.#next(() => judge(performance.now()), BEAT_MS);
      else lost();
    };
    this.#next(() => judge(asked + BEAT_ANSWER_MS), BEAT_ANSWER_MS);
    this.#http.ping(this.#server, '/v1/status/leader', controller.signal).then(
      () => {
        this.heard(performance.now());
        this.#again();
      },
      (error: NodeJS.ErrnoException) => {
        if (controller.signal.aborted || this.#http.closed) return;
        if (HEARD.has(error.code ?? '')) this.#again();
        else lost();
      },
    );
  }
}
