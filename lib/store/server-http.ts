/**
 * Requests to the servers of a store over HTTP: each answered within a time and a size, tried again when that can help, by
 * another server where there are several, and every failure in the server's own words.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { PassThrough } from 'node:stream';
import type { Dispatcher, Pool } from 'undici';
import { abortError, onAbort, raceAbort, throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { networkWords } from '../core/network-error.js';
import { undici } from '../system/undici.js';
import type { TlsOptions, TlsVariables } from './credentials.js';
import { hadNoEffect, inDoubt, withoutEffect } from './effect.js';
import { printable } from './records.js';
import { type RetryPolicy, retry } from './retry.js';
import { formatHost, type StoreHost } from './server-url.js';

/** Particulars of a kind of server. */
export interface ServerKind {
  /** `Consul`. */
  readonly title: string;
  /** The scheme of its URLs: that without TLS, and that with it. */
  readonly schemes: readonly [plain: string, tls: string];
  readonly variables: TlsVariables;
  /** As many connections to a server at most for watches; what is asked beyond them waits. Default: as many as there are watches. */
  readonly watches?: number | undefined;
  /** The server's words in the body of a refusal. Default: all of it. */
  words?(body: string): string;
  /** The remedy for a refusal, and whether another attempt may not meet it. Undefined: as is generally so. */
  advise(refusal: Refusal, request: ServerRequest): { hint: string; passes?: boolean } | undefined;
}

/** An answer that refuses. */
export interface Refusal {
  readonly status: number;
  readonly words: string;
}

/** How to reach the servers. */
export interface ServerOptions extends TlsOptions {
  readonly kind: ServerKind;
  /** At least one. The first is asked until it fails, then the next. */
  readonly hosts: readonly StoreHost[];
  readonly tls: boolean;
  /** Called for every request: what goes with it. */
  readonly headers: () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
}

/** One request. */
export interface ServerRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Escaped, with its query. */
  readonly path: string;
  readonly body?: string | undefined;
  /** Beside those that go with every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Longest answer that is read, bytes; of a stream, longest line. */
  readonly maxBytes: number;
  /** For one attempt, milliseconds; of a stream, until it begins. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Statuses that are answers rather than failures; 200 always is. */
  readonly accept?: readonly number[];
  /** The work under way and its object, for errors: `reading demo/arp/192.168.0.2`. */
  readonly doing: string;
  /** Whether it changes something, where its method does not tell. */
  readonly writes?: boolean | undefined;
  /** For a watch: it gets a connection of its own, and leaves the others to those who want answers now. */
  readonly watching?: boolean | undefined;
  /** One attempt only. */
  readonly once?: boolean;
  /** False: the request does not keep the process alive. Only for a watch. */
  readonly ref?: boolean | undefined;
  /** Is told how to end the attempt because the server that it is made to is silent. The result takes it back. */
  readonly untilSilent?: (server: number, lost: (why: string) => void) => () => void;
}

/** A request whose answer is lines that go on coming. */
export interface ServerStream extends ServerRequest {
  readonly body: string;
  /** Body that is sent again and again so that the server says something. */
  readonly beat: string;
  /** Is told, for each attempt, how to send more. */
  readonly sender?: ((send: (text: string) => void) => void) | undefined;
}

/** The server's answer. */
export interface ServerAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** When the head of the answer arrived, as performance.now(). */
  readonly headAt: number;
  /** The server that it came from, by its place among the hosts. */
  readonly server: number;
}

const CONNECT_MS = 2000;
/** How long an idle connection is kept. It does not keep the process alive. */
const KEEP_ALIVE_MS = 30_000;
/** Connections to a server for ordinary requests; more wait for one of these. */
const CONNECTIONS = 16;
/** How often a sign of life is asked for on a stream, milliseconds. */
export const BEAT_MS = 1000;
/** How long it may take: with it, a server that has vanished without a word is missed within 5 s. */
export const BEAT_ANSWER_MS = 2500;
/** A timer that is so late, milliseconds, says that this process was busy, not that the server is silent. */
export const BEAT_LATE_MS = 500;
/** Errors of answers that are too long. */
const tooLong = new WeakSet<Error>();
const WORDS_MAX = 300;
const ENDED = 'the server ended the connection';
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

/** Failures before a request was sent. */
const UNSENT = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** There is no way to the server at all. */
const NO_WAY = new Set(['EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH', 'ETIMEDOUT']);

/** Statuses below 500 that pass: the server gave up waiting, or there were too many requests. */
const MAY_PASS = [408, 429];

const passing = new WeakSet<Error>();
const refusals = new WeakMap<Error, Refusal>();

/** True for a failure that another attempt may not meet. */
export function mayPass(error: unknown): boolean {
  return passing.has(error as Error);
}

/** A server's answer, where an error is its refusal. */
export function refusalOf(error: unknown): Refusal | undefined {
  return refusals.get(error as Error);
}

/** The connections to one server. */
interface Server {
  /** `consul://127.0.0.1:8500`. */
  readonly name: string;
  readonly at: string;
  readonly origin: string;
  pools: Pools | undefined;
}

/** The connections to a server. */
interface Pools extends Readonly<Record<'requests' | 'watches' | 'background' | 'pulse', Pool>> {
  /** Those that are open. */
  readonly sockets: Set<Socket>;
}

function poolsOf({ pools }: Server): readonly Pool[] {
  return pools ? [pools.requests, pools.watches, pools.background, pools.pulse] : [];
}

/** One attempt, for whoever carries it out. */
interface Attempt {
  readonly server: Server;
  readonly signal: AbortSignal;
  /** It has begun to answer: its time limit is off. */
  begun(): void;
  /** Gives up. */
  lose(why: string): void;
}

/** Connections to the servers of one store. */
export class ServerHttp {
  /** The servers, as errors name them together. */
  readonly name: string;
  readonly #options: ServerOptions;
  readonly #servers: readonly Server[];
  #current = 0;
  readonly #closing = new AbortController();

  constructor(options: ServerOptions) {
    this.#options = options;
    const { kind, tls, hosts } = options;
    const scheme = kind.schemes[tls ? 1 : 0];
    this.#servers = hosts.map((host) => {
      const at = formatHost(host);
      return { name: `${scheme}://${at}`, at, origin: `${tls ? 'https' : 'http'}://${at}`, pools: undefined };
    });
    this.name = `${scheme}://${hosts.map(formatHost).join(',')}`;
  }

  get #server(): Server {
    return this.#servers[this.#current] as Server;
  }

  /** How many servers there are. */
  get size(): number {
    return this.#servers.length;
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /**
   * Sends a request, again if that can help: all that is sent here has the same effect done once or twice.
   *
   * @throws OvernsError `OVERNS_STORE`; `OVERNS_CLOSED` once closed
   * @throws AbortError
   */
  request(request: ServerRequest): Promise<ServerAnswer> {
    let doubt = false;
    const attempts = request.once ? 1 : Math.max(POLICY.attempts, this.size + 1);
    return retry(
      async () => {
        const attempt = this.#begin(request);
        try {
          return await this.#send(request, attempt);
        } catch (thrown) {
          const error = attempt.failed(thrown);
          doubt ||= !hadNoEffect(error);
          if (doubt) inDoubt(error);
          throw error;
        } finally {
          attempt.end();
        }
      },
      { ...POLICY, attempts },
      (error) => mayPass(error) && !this.closed,
      request.signal,
      request.ref ?? true,
    );
  }

  /**
   * The lines of one long answer, from one server. What is sent goes on as well: the beat, so that a connection to what has vanished
   * is told from one on which there is nothing to say. Ends only with an error.
   */
  async *lines(request: ServerStream): AsyncGenerator<string, never, undefined> {
    const attempt = this.#begin(request);
    // A server reads on beside its answer only where the connection serves nothing else: `reset`.
    const body = new PassThrough();
    body.write(request.body);
    request.sender?.((text) => {
      if (!body.destroyed) body.write(text);
    });
    let heardAt = performance.now();
    // Not while whoever reads the lines is busy with one.
    let listening = true;
    let due = heardAt + BEAT_MS;
    const beating = setInterval(() => {
      const now = performance.now();
      const late = now - due > BEAT_LATE_MS;
      due = now + BEAT_MS;
      this.dropSourceless(this.#servers.indexOf(attempt.server));
      if (!listening) return;
      body.write(request.beat);
      if (!late && now - heardAt > BEAT_ANSWER_MS + BEAT_MS / 2) attempt.lose(silence(BEAT_ANSWER_MS));
    }, BEAT_MS);
    beating.unref();
    try {
      const answer = await this.#dispatch(request, attempt, { body, reset: true });
      heardAt = performance.now();
      attempt.begun();
      let rest = '';
      const decoder = new TextDecoder();
      for await (const chunk of answer.body) {
        listening = false;
        const parts = (rest + decoder.decode(chunk as Buffer, { stream: true })).split('\n');
        rest = parts.pop() as string;
        if (rest.length > request.maxBytes) throw this.#tooLong(attempt.server, request);
        for (const part of parts) if (part !== '') yield part;
        heardAt = performance.now();
        listening = true;
      }
      throw this.error(
        request,
        ENDED,
        { passes: true, hint: `${this.#options.kind.title}'s log says why` },
        attempt.server.name,
      );
    } catch (error) {
      throw attempt.failed(error);
    } finally {
      clearInterval(beating);
      body.destroy();
      attempt.end();
    }
  }

  /**
   * Gives up the connections to a server that were made from an address which this host has no more: nothing comes back to
   * it, and nothing tells of that.
   */
  dropSourceless(at: number): void {
    const server = this.#servers[at] as Server;
    const { pools } = server;
    if (pools === undefined) return;
    const own = Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).map(({ address }) => address),
    );
    // Those of loopback are not all listed, and link-local ones bear a zone.
    const listed = new Set(own);
    const gone = [...pools.sockets].find(
      ({ localAddress: from }) =>
        from !== undefined && !listed.has(from) && !/^(127\.|::1$|fe80:)/.test(from) && !from.includes('%'),
    );
    if (gone !== undefined) this.#drop(server, `this host has no more the address ${gone.localAddress}`);
  }

  /** Gives up all connections to a server: what is under way on them fails, and whatever comes is sent on new ones. */
  #drop(server: Server, why: string): void {
    const pools = poolsOf(server);
    server.pools = undefined;
    const error = Object.assign(new Error(why), { code: 'ETIMEDOUT' });
    for (const pool of pools) void pool.destroy(error);
  }

  /** Asks a server for a sign of life that every one gives, whoever asks. Rejects as undici does. */
  async ping(server: number, path: string, signal: AbortSignal): Promise<void> {
    const { pulse } = await this.#connect(this.#servers[server] as Server);
    const answer = await pulse.request({ method: 'GET', path, signal });
    await answer.body.dump();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const all = this.#servers.flatMap(poolsOf);
    await Promise.all(all.map((pool) => pool.destroy()));
  }

  /** The error of something that a server did not do. */
  error(
    request: Pick<ServerRequest, 'doing'>,
    why: string,
    details: { hint?: string | undefined; cause?: unknown; passes?: boolean | undefined },
    name = this.name,
  ): OvernsError {
    const error = new OvernsError('OVERNS_STORE', `${name}: ${request.doing}: ${why}`, details);
    if (details.passes) passing.add(error);
    return error;
  }

  /** The error of a refusal: an answer's, or what a stream says instead of going on. */
  refused(request: ServerRequest, refusal: Refusal, why: string, name = this.name): OvernsError {
    const { kind, hosts } = this.#options;
    const passes = refusal.status >= 500 || MAY_PASS.includes(refusal.status);
    const at = hosts.map(formatHost).join(', ');
    let advice = kind.advise(refusal, request);
    if (advice === undefined && refusal.words.includes('HTTPS server')) {
      advice = { hint: `write ${kind.schemes[1]}:// in the store URL` };
    }
    advice ??= { hint: passes ? `${kind.title}'s log says more` : `is it ${kind.title} that answers on ${at}` };
    const error = this.error(request, why, { passes, ...advice }, name);
    refusals.set(error, refusal);
    // 408: the server gave up waiting for what it had asked for in turn.
    return refusal.status < 500 && refusal.status !== 408 ? withoutEffect(error) : error;
  }

  /** Begins an attempt, which has three ways to be given up. */
  #begin(request: ServerRequest): Attempt & { failed(error: unknown): unknown; end(): void } {
    const { signal, timeoutMs } = request;
    throwIfAborted(signal);
    const server = this.#server;
    // One controller for all of them: AbortSignal.any() would hold on to long-lived signals.
    const controller = new AbortController();
    const giveUp = () => controller.abort();
    let why: { readonly words: string; readonly hint: string; readonly passes: boolean } | undefined;
    const timer = setTimeout(() => {
      const { title } = this.#options.kind;
      const hint = `is it ${title} that answers on ${server.at}, and is it busy or cut off`;
      why = { words: `no answer within ${timeoutMs} ms`, hint, passes: true };
      giveUp();
    }, timeoutMs);
    if (request.ref === false) timer.unref();
    const lose = (words: string): void => {
      if (controller.signal.aborted) return;
      why = { words, hint: `is ${server.at} cut off, down, or stopped`, passes: this.size > 1 };
      giveUp();
      // What else goes there waits for the same.
      this.#drop(server, words);
    };
    // It can wait for long, and a connection to what has vanished tells nothing.
    const ignoreSilence = request.untilSilent?.(this.#servers.indexOf(server), lose) ?? (() => {});
    const ignoreSignal = onAbort(signal, giveUp);
    const ignoreClosing = onAbort(this.#closing.signal, giveUp);
    return {
      server,
      signal: controller.signal,
      lose,
      begun: () => clearTimeout(timer),
      failed: (error) => {
        if (signal?.aborted) return abortError(signal, `${server.name}: ${request.doing}: no answer`);
        if (this.closed) return this.#closed();
        const failure =
          why !== undefined
            ? this.error(request, why.words, why, server.name)
            : OvernsError.is(error)
              ? error
              : this.#networkError(server, request, error as Error);
        // Another one is asked from now on, unless somebody has found it failing before.
        if (mayPass(failure) && server === this.#server) this.#current = (this.#current + 1) % this.size;
        return failure;
      },
      end: () => {
        clearTimeout(timer);
        ignoreSilence();
        ignoreSignal();
        ignoreClosing();
      },
    };
  }

  async #send(request: ServerRequest, attempt: Attempt): Promise<ServerAnswer> {
    const answer = await this.#dispatch(request, attempt, { body: request.body ?? null });
    const headAt = performance.now();
    const body = await read(answer.body, request.maxBytes);
    if (body === undefined) throw this.#tooLong(attempt.server, request);
    const server = this.#servers.indexOf(attempt.server);
    return { status: answer.statusCode, headers: answer.headers, body, headAt, server };
  }

  /** The head of the answer, if it is one. */
  async #dispatch(
    request: ServerRequest,
    { server, signal }: Attempt,
    more: Pick<Dispatcher.RequestOptions, 'body' | 'reset'>,
  ): Promise<Dispatcher.ResponseData> {
    if (this.closed) throw this.#closed();
    const headers = await raceAbort(Promise.resolve(this.#options.headers()), signal);
    const pools = await this.#connect(server);
    const pool = request.watching ? (request.ref === false ? pools.background : pools.watches) : pools.requests;
    const answer = await pool.request({
      ...more,
      method: request.method,
      path: request.path,
      headers: { ...headers, ...request.headers },
      signal,
      // The attempt has a time limit of its own, which a watch needs longer.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    if (answer.statusCode === 200 || request.accept?.includes(answer.statusCode)) return answer;
    const { kind } = this.#options;
    const body = ((await read(answer.body, WORDS_MAX * 4, false)) as Buffer).toString('utf8');
    const words = printable((kind.words?.(body) ?? body).trim(), WORDS_MAX);
    const why = `answered ${answer.statusCode}${words === '' ? '' : `: ${words}`}`;
    throw this.refused(request, { status: answer.statusCode, words }, why, server.name);
  }

  /** The connection pools of a server. */
  async #connect(server: Server): Promise<Pools> {
    if (server.pools !== undefined) return server.pools;
    const { Pool, buildConnector } = await undici();
    if (this.closed) throw this.#closed();
    if (server.pools !== undefined) return server.pools;
    const { ca, cert, key, serverName: servername } = this.#options;
    const tls = this.#options.tls
      ? { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...(servername && { servername }) }
      : {};
    const plain = buildConnector({ ...tls, timeout: CONNECT_MS });
    const sockets = new Set<Socket>();
    const connect: typeof plain = (options, callback) =>
      plain(options, (...[error, socket]) => {
        if (error) return callback(error, null);
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
        callback(null, socket);
      });
    const background: typeof connect = (options, callback) =>
      connect(options, (...[error, socket]) => {
        if (error) return callback(error, null);
        // undici refs a socket for as long as a request is on it.
        socket.unref();
        socket.ref = () => socket;
        callback(null, socket);
      });
    const keepAliveTimeout = KEEP_ALIVE_MS;
    const { watches } = this.#options.kind;
    const watching = watches === undefined ? {} : { connections: watches };
    server.pools = {
      requests: new Pool(server.origin, { connect, keepAliveTimeout, connections: CONNECTIONS }),
      watches: new Pool(server.origin, { connect, keepAliveTimeout, ...watching }),
      background: new Pool(server.origin, { connect: background, keepAliveTimeout, ...watching }),
      pulse: new Pool(server.origin, { connect: background, keepAliveTimeout, connections: 1 }),
      sockets,
    };
    return server.pools;
  }

  #closed(): OvernsError {
    return new OvernsError('OVERNS_CLOSED', `${this.name}: the store is closed`);
  }

  #tooLong(server: Server, request: ServerRequest): OvernsError {
    const hint = 'delete what does not belong there, or spread the network over several prefixes';
    const error = this.error(request, `the answer has more than ${request.maxBytes} bytes`, { hint }, server.name);
    tooLong.add(error);
    return error;
  }

  #networkError(server: Server, request: ServerRequest, cause: Error): OvernsError {
    // undici has no code for an answer that ends in the middle.
    const cut = cause.name === 'HTTPParserError' && cause.message.includes('EOF');
    const code = cut ? 'UND_ERR_SOCKET' : (cause as NodeJS.ErrnoException).code;
    const words = cut ? ENDED : printable(networkWords(cause), WORDS_MAX);
    const [why, hint] = this.#explain(server, code, words);
    const error = this.error(
      request,
      why,
      { hint, cause, passes: code !== undefined && (PASSING.has(code) || (code === 'ENOTFOUND' && this.size > 1)) },
      server.name,
    );
    return code !== undefined && UNSENT.has(code) ? withoutEffect(error) : error;
  }

  /** Cause and remedy. */
  #explain({ at }: Server, code: string | undefined, words: string): readonly [why: string, hint: string] {
    const { kind, tls, cert } = this.#options;
    const { title, schemes, variables } = kind;
    if (code === 'ECONNREFUSED') {
      return [`connection refused: ${words}`, `start ${title}, or name one that runs; nothing listens on ${at}`];
    }
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
      return [`host name not found: ${words}`, 'check the host in the store URL'];
    }
    if (code === 'UND_ERR_CONNECT_TIMEOUT') return [`no connection within ${CONNECT_MS} ms`, `check the way to ${at}`];
    if (code !== undefined && NO_WAY.has(code)) return [`not to be reached: ${words}`, `check the way to ${at}`];
    const closed = code === 'UND_ERR_SOCKET' || code === 'ECONNRESET';
    if (!tls) {
      return [
        words,
        `is it ${title} that answers on ${at}${closed ? `? over TLS the URL begins with ${schemes[1]}://` : ''}`,
      ];
    }
    if (code === 'EPROTO' || code?.startsWith('ERR_SSL')) {
      return [words, `does ${title} speak TLS on ${at}? without it the URL begins with ${schemes[0]}://`];
    }
    // TLS 1.3 ends the handshake before the server has looked at the client's certificate.
    if (closed) {
      return cert === undefined
        ? [
            words,
            `does ${title} speak TLS on ${at}? if it wants a certificate of its clients, set ${variables.cert} and ${variables.key}`,
          ]
        : [words, `is it ${title} that answers on ${at}, and does it know the authority of ${variables.cert}`];
    }
    return [words, `set ${variables.ca} to the authority that signed the certificate of the server`];
  }
}

/** Whether a request has failed because its answer is longer than `maxBytes`. */
export function isTooLong(error: unknown): boolean {
  return error instanceof Error && tooLong.has(error);
}

/** The words for a server of which nothing is heard. */
export function silence(ms: number): string {
  return `no sign of life within ${ms} ms`;
}

/** Reads a body up to a size: what is longer is cut if it need not be whole, else the result is undefined. */
async function read(body: AsyncIterable<Buffer>, max: number, whole = true): Promise<Buffer | undefined> {
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
