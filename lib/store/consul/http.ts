/**
 * Consul's HTTP interface as far as the store needs it: one request at a time answered within a time and a size, tried
 * again when that can help, and every failure in Consul's own words.
 *
 * https://developer.hashicorp.com/consul/api-docs
 */
import type { Pool } from 'undici';
import { abortError, onAbort, raceAbort, throwIfAborted } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import { undici } from '../../system/undici.js';
import { printable } from '../records.js';
import { formatHost, type StoreHost } from '../server-url.js';
import { type RetryPolicy, retry } from './retry.js';

/** TLS material, PEM. */
export interface TlsOptions {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name that the server's certificate is to have; default the URL's. */
  readonly serverName?: string | undefined;
}

/** How to reach Consul. */
export interface ConsulOptions extends TlsOptions {
  readonly host: StoreHost;
  readonly tls: boolean;
  /** Called for every request; undefined or '' = none. */
  readonly token: () => string | undefined | Promise<string | undefined>;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** One request. */
export interface ConsulRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** From `/v1/` on, escaped, with its query. */
  readonly path: string;
  readonly body?: string | undefined;
  /** Longest answer that is read, bytes. */
  readonly maxBytes: number;
  /** For one attempt, milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Statuses that are answers rather than failures; 200 always is. */
  readonly accept?: readonly number[];
  /** What is being done, on what, for errors: `reading demo/arp/192.168.0.2`. */
  readonly doing: string;
  /** For a watch: it gets a connection of its own, and leaves the others to those who want answers now. */
  readonly watching?: boolean;
  /** One attempt only. */
  readonly once?: boolean;
  /** False: the request does not keep the process alive. Only for a watch. */
  readonly ref?: boolean | undefined;
}

/** Consul's answer. */
export interface ConsulAnswer {
  readonly status: number;
  /** X-Consul-Index; undefined where Consul sends none (writes). */
  readonly index: bigint | undefined;
  readonly body: Buffer;
  /** When the head of the answer arrived, as performance.now(). */
  readonly headAt: number;
}

const CONNECT_MS = 2000;
/** How long an idle connection is kept. It does not keep the process alive. */
const KEEP_ALIVE_MS = 30_000;
/** Connections for ordinary requests; more wait for one of these. */
const CONNECTIONS = 16;
/** How often a sign of life is asked for while a watch waits and nothing is heard, milliseconds. */
const BEAT_MS = 1000;
/** How long it may take: with it, a server that has vanished without a word is missed within 5 s. */
const BEAT_ANSWER_MS = 2500;
/** A timer that is so late, milliseconds, says that this process was busy, not that the server is silent. */
const BEAT_LATE_MS = 500;
/** Failures of a beat of which the waiting connection hears by itself. */
const HEARD = new Set(['ECONNREFUSED', 'ECONNRESET', 'UND_ERR_SOCKET', 'EPIPE']);
const WORDS_MAX = 300;
const POLICY: RetryPolicy = { attempts: 4, baseMs: 50, capMs: 1000 };

/** Network failures that pass: the server restarts, the path flaps, a kept-alive connection was closed. */
const PASSING = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

const passing = new WeakSet<Error>();

/** True for a failure that another attempt may not meet. */
export function mayPass(error: unknown): boolean {
  return passing.has(error as Error);
}

/** Connections to one Consul agent. */
export class ConsulHttp {
  /** The server, as errors name it. */
  readonly name: string;
  readonly #options: ConsulOptions;
  readonly #origin: string;
  readonly #closing = new AbortController();
  /** Watches that wait, as what ends their waiting. */
  readonly #waiting = new Set<() => void>();
  #beating: NodeJS.Timeout | undefined;
  /** When the server was last heard of, as performance.now(). */
  #heardAt = 0;
  #pools: { requests: Pool; blocking: Pool; background: Pool } | undefined;

  constructor(options: ConsulOptions) {
    this.#options = options;
    this.#origin = `${options.tls ? 'https' : 'http'}://${formatHost(options.host)}`;
    this.name = `consul${options.tls ? '+https' : ''}://${formatHost(options.host)}`;
  }

  /**
   * Sends a request, again if that can help: all that is sent here has the same effect done once or twice.
   *
   * @throws OvernsError `OVERNS_STORE`; `OVERNS_CLOSED` once closed
   * @throws AbortError
   */
  request(request: ConsulRequest): Promise<ConsulAnswer> {
    return retry(
      () => this.#attempt(request),
      request.once ? { ...POLICY, attempts: 1 } : POLICY,
      (error) => mayPass(error) && !this.#closing.signal.aborted,
      request.signal,
      request.ref ?? true,
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#beating);
    const pools = this.#pools;
    if (pools === undefined) return;
    await Promise.all([pools.requests.destroy(), pools.blocking.destroy(), pools.background.destroy()]);
  }

  async #attempt(request: ConsulRequest): Promise<ConsulAnswer> {
    const { signal, timeoutMs } = request;
    throwIfAborted(signal);
    // One controller for the three ways to give up: AbortSignal.any() would hold on to long-lived signals.
    const attempt = new AbortController();
    const giveUp = () => attempt.abort();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      giveUp();
    }, timeoutMs);
    if (request.ref === false) timer.unref();
    let vanished = false;
    // It can wait for long, and a connection to what has vanished tells nothing.
    const ignoreBeat =
      request.watching && request.once
        ? this.#awaitBeat(() => {
            vanished = true;
            giveUp();
          })
        : () => {};
    const ignoreSignal = onAbort(signal, giveUp);
    const ignoreClosing = onAbort(this.#closing.signal, giveUp);
    try {
      if (this.#closing.signal.aborted) throw this.#closed();
      return await this.#send(request, attempt.signal);
    } catch (error) {
      if (signal?.aborted) throw abortError(signal);
      if (this.#closing.signal.aborted) throw this.#closed();
      if (OvernsError.is(error)) throw error;
      if (vanished) throw this.#error(request, `no sign of life within ${BEAT_ANSWER_MS} ms`, this.#silence());
      throw late ? this.#lateError(request) : this.#networkError(request, error as Error);
    } finally {
      clearTimeout(timer);
      ignoreSignal();
      ignoreClosing();
      ignoreBeat();
    }
  }

  /** Calls `lost` once the server gives no sign of life any more. The result takes it back. */
  #awaitBeat(lost: () => void): () => void {
    this.#waiting.add(lost);
    this.#heardAt = performance.now();
    this.#beat();
    return () => void this.#waiting.delete(lost);
  }

  /** One for all watches: a small question that every Consul answers by itself, whatever the token may do. */
  #beat(): void {
    if (this.#beating !== undefined || this.#waiting.size === 0 || this.#closing.signal.aborted) return;
    const next = (run: () => void, ms: number): void => {
      this.#beating = setTimeout(() => {
        this.#beating = undefined;
        run();
      }, ms);
      this.#beating.unref();
    };
    next(() => {
      if (this.#waiting.size === 0) return;
      if (performance.now() - this.#heardAt < BEAT_MS / 2) return this.#beat();
      const asked = performance.now();
      const controller = new AbortController();
      const lost = (): void => {
        controller.abort();
        for (const each of [...this.#waiting]) each();
        this.#beat();
      };
      const judge = (due: number): void => {
        if (this.#heardAt >= asked) this.#beat();
        else if (performance.now() - due > BEAT_LATE_MS) next(() => judge(performance.now()), BEAT_MS);
        else lost();
      };
      next(() => judge(asked + BEAT_ANSWER_MS), BEAT_ANSWER_MS);
      this.#ask(controller.signal).then(
        () => {
          this.#heardAt = performance.now();
          clearTimeout(this.#beating);
          this.#beating = undefined;
          this.#beat();
        },
        (error: NodeJS.ErrnoException) => {
          if (controller.signal.aborted || this.#closing.signal.aborted) return;
          clearTimeout(this.#beating);
          this.#beating = undefined;
          if (HEARD.has(error.code ?? '')) this.#beat();
          else lost();
        },
      );
    }, BEAT_MS);
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { background } = await this.#connect();
    const answer = await background.request({ method: 'GET', path: '/v1/status/leader', signal });
    await answer.body.dump();
  }

  #silence(): { hint: string } {
    return { hint: `is ${formatHost(this.#options.host)} cut off, down, or stopped` };
  }

  async #send(request: ConsulRequest, signal: AbortSignal): Promise<ConsulAnswer> {
    const token = await raceAbort(this.#token(), signal);
    const pools = await this.#connect();
    const pool = request.watching ? (request.ref === false ? pools.background : pools.blocking) : pools.requests;
    const answer = await pool.request({
      method: request.method,
      path: request.path,
      body: request.body ?? null,
      headers: { ...this.#options.headers, ...(token !== undefined && { 'x-consul-token': token }) },
      signal,
      // The attempt has a time limit of its own, which blocking queries need longer.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const headAt = performance.now();
    this.#heardAt = headAt;
    const good = answer.statusCode === 200 || (request.accept?.includes(answer.statusCode) ?? false);
    const body = await read(answer.body, good ? request.maxBytes : WORDS_MAX * 4, good);
    if (body === undefined) {
      throw this.#error(request, `the answer has more than ${request.maxBytes} bytes`, {
        hint: 'delete what does not belong there, or spread the network over several prefixes',
      });
    }
    if (!good) throw this.#refusal(request, answer.statusCode, body);
    const index = answer.headers['x-consul-index'];
    return {
      status: answer.statusCode,
      index: typeof index === 'string' && /^\d{1,20}$/.test(index) ? BigInt(index) : undefined,
      body,
      headAt,
    };
  }

  async #token(): Promise<string | undefined> {
    const token = await this.#options.token();
    if (token === undefined || token === '') return undefined;
    // The token itself is never shown.
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw new OvernsError('OVERNS_STORE', `${this.name}: the token is no text that a header can carry`, {
        hint: 'check CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, or the option token, for white space and line ends',
      });
    }
    return token;
  }

  /** The connection pools. */
  async #connect() {
    if (this.#pools !== undefined) return this.#pools;
    const { Pool, buildConnector } = await undici();
    if (this.#closing.signal.aborted) throw this.#closed();
    if (this.#pools !== undefined) return this.#pools;
    const { ca, cert, key, serverName: servername } = this.#options;
    const tls = this.#options.tls
      ? { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...(servername && { servername }) }
      : {};
    const connect = buildConnector({ ...tls, timeout: CONNECT_MS });
    const background: typeof connect = (options, callback) =>
      connect(options, (...[error, socket]) => {
        if (error) return callback(error, null);
        // undici refs a socket for as long as a request is on it.
        socket.unref();
        socket.ref = () => socket;
        callback(null, socket);
      });
    const keepAliveTimeout = KEEP_ALIVE_MS;
    this.#pools = {
      requests: new Pool(this.#origin, { connect, keepAliveTimeout, connections: CONNECTIONS }),
      blocking: new Pool(this.#origin, { connect, keepAliveTimeout }),
      background: new Pool(this.#origin, { connect: background, keepAliveTimeout }),
    };
    return this.#pools;
  }

  #closed(): OvernsError {
    return new OvernsError('OVERNS_CLOSED', `${this.name}: the store is closed`);
  }

  /** The error of something that Consul did not do. */
  #error(
    request: ConsulRequest,
    why: string,
    details: { hint?: string; cause?: unknown; passes?: boolean },
  ): OvernsError {
    const error = new OvernsError('OVERNS_STORE', `${this.name}: ${request.doing}: ${why}`, details);
    if (details.passes) passing.add(error);
    return error;
  }

  #lateError(request: ConsulRequest): OvernsError {
    return this.#error(request, `no answer within ${request.timeoutMs} ms`, {
      hint: `is it Consul that answers on ${formatHost(this.#options.host)}, and is it busy or cut off`,
      passes: true,
    });
  }

  #networkError(request: ConsulRequest, cause: Error): OvernsError {
    const { code } = cause as NodeJS.ErrnoException;
    // An AggregateError, of a name with several addresses, has no message.
    const words = printable(cause.message || code || cause.name, WORDS_MAX);
    const [why, hint] = this.#explain(code, words);
    return this.#error(request, why, { hint, cause, passes: code !== undefined && PASSING.has(code) });
  }

  /** What happened, and what to do about it. */
  #explain(code: string | undefined, words: string): readonly [why: string, hint: string] {
    const at = formatHost(this.#options.host);
    if (code === 'ECONNREFUSED') {
      return [`connection refused: ${words}`, `start Consul, or name one that runs; nothing listens on ${at}`];
    }
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
      return [`host name not found: ${words}`, 'check the host in the store URL'];
    }
    if (code === 'UND_ERR_CONNECT_TIMEOUT') return [`no connection within ${CONNECT_MS} ms`, `check the way to ${at}`];
    if (!this.#options.tls) return [words, `is it Consul that answers on ${at}`];
    if (code === 'EPROTO' || code?.startsWith('ERR_SSL')) {
      return [words, `does Consul speak TLS on ${at}? without it the URL begins with consul://`];
    }
    // TLS 1.3 ends the handshake before the server has looked at the client's certificate.
    if (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET') {
      return this.#options.cert === undefined
        ? [words, 'if Consul wants a certificate of its clients, set CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY']
        : [words, `is it Consul that answers on ${at}, and does it know the authority of CONSUL_CLIENT_CERT`];
    }
    return [words, 'set CONSUL_CACERT to the authority that signed the certificate of the server'];
  }

  #refusal(request: ConsulRequest, status: number, body: Buffer): OvernsError {
    const words = printable(body.toString('utf8').trim(), WORDS_MAX);
    const said = `answered ${status}${words === '' ? '' : `: ${words}`}`;
    const passes = status >= 500 || status === 429;
    let hint = passes ? "Consul's log says more" : `is it Consul that answers on ${formatHost(this.#options.host)}`;
    if (status === 403) {
      hint = tokenHint(request.method === 'GET' ? 'read' : 'write');
    } else if (status === 413) {
      hint = "raise kv_max_value_size or txn_max_req_len in the limits of Consul's configuration";
    } else if (words.includes('HTTPS server')) {
      hint = 'write consul+https:// in the store URL';
    } else if (words.includes('No cluster leader')) {
      hint = 'the Consul servers have no majority: wait for them, or look after them';
    }
    return this.#error(request, said, { hint, passes });
  }
}

/** What to do about "Permission denied". */
export function tokenHint(right: 'read' | 'write'): string {
  return `set CONSUL_HTTP_TOKEN, or CONSUL_HTTP_TOKEN_FILE, to the secret of a token that may ${right} these keys`;
}

/** Reads a body up to a size: what is longer is cut if it need not be whole, else the result is undefined. */
async function read(body: AsyncIterable<Buffer>, max: number, whole: boolean): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop early ends the connection.
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > max) return whole ? undefined : Buffer.concat(chunks, max);
  }
  return Buffer.concat(chunks, size);
}
