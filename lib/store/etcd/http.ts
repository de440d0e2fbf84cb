/**
 * etcd's v3 API as its JSON gateway has it: keys and values are base64, 64-bit numbers text, and what is zero or false is left
 * out.
 *
 * https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/
 */
import { raceAbort } from '../../core/abort.js';
import type { OvernsError } from '../../core/errors.js';
import { checkToken, type TlsOptions } from '../credentials.js';
import { printable } from '../records.js';
import { refusalOf, ServerHttp, type ServerKind, type ServerRequest } from '../server-http.js';
import type { StoreHost } from '../server-url.js';
import { type Credentials, TLS_VARIABLES } from './env.js';

/** How to reach etcd. */
export interface EtcdOptions extends TlsOptions {
  readonly hosts: readonly StoreHost[];
  readonly tls: boolean;
  readonly credentials: Credentials;
}

/** One request. */
export interface EtcdRequest extends Pick<ServerRequest, 'signal' | 'doing' | 'writes' | 'ref' | 'once'> {
  /** The path after `/v3/`. */
  readonly path: string;
  readonly body: unknown;
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** For a watch: on connections of its own. */
  readonly watching?: boolean;
}

/** A request for a stream of watches. */
export interface EtcdStream extends EtcdRequest {
  /** Is told, for each attempt, how to ask for more on the same stream: one that has been cancelled is then told of. */
  readonly sender?: ((send: (request: unknown) => void) => void) | undefined;
}

/** An object of an answer, of which nothing is known. */
export type Json = { readonly [name: string]: unknown };

const AUTHENTICATE_MS = 2000;
const ANSWER_BYTES = 2 ** 16;
const TOKEN_HINT = 'check the option `token` for white space and line ends';

/** Words of etcd about a token that it does not know any more, or about none where there should be one. */
const TOKEN_REFUSED = /invalid auth token|revision of auth store is old|user name is empty/;

/** Words of a watch as well: it tells the one from the other no better. */
const DENIED = /permission denied/;

/** gRPC's codes that pass, and their status in HTTP: cancelled, unavailable. */
const STATUS: Readonly<Record<string, number>> = { 1: 408, 14: 503 };

const kind: ServerKind = {
  title: 'etcd',
  schemes: ['etcd', 'etcd+https'],
  variables: TLS_VARIABLES,
  words(body) {
    try {
      const { error, message } = JSON.parse(body) as Json;
      // That of a stream is an object.
      return String(message ?? (isObject(error) ? error.message : error));
    } catch {
      return body;
    }
  },
  advise({ status, words }, { writes, path }) {
    const has = (...texts: string[]): boolean => texts.some((text) => words.includes(text));
    if (has('no leader', 'leader changed', 'not leader', 'leader failed', 'request timed out')) {
      return { hint: "etcd's members have no majority: wait for them, or look after them", passes: true };
    }
    if (has('permission denied')) {
      const right = writes ? 'write' : 'read';
      return {
        hint: `let a role of this user ${right} the whole prefix: \`etcdctl role grant-permission\` with \`--prefix\``,
      };
    }
    if (has('authentication failed', 'user name is empty', 'user name not found', 'role is not granted')) {
      return { hint: 'set ETCDCTL_USER and ETCDCTL_PASSWORD to a user of etcd and its password' };
    }
    if (has('invalid auth token')) return { hint: 'the token is none of this etcd, or has expired: give another one' };
    if (has('database space exceeded')) {
      return { hint: 'compact and defragment etcd, then `etcdctl alarm disarm`', passes: false };
    }
    if (has('too large')) return { hint: 'raise max-request-bytes of etcd' };
    if (has('too many operations')) return { hint: 'raise max-txn-ops of etcd to 128, which it is by itself' };
    if (status === 404 && path.startsWith('/v3/')) {
      return { hint: 'is it etcd 3.4 or later, and is its JSON gateway on (enable-grpc-gateway)' };
    }
    return undefined;
  },
};

export class EtcdHttp {
  /** The servers, as errors name them. */
  readonly name: string;
  readonly #http: ServerHttp;
  readonly #credentials: Credentials;
  /** The token that is being fetched, or was fetched last. */
  #fetched: { readonly token: Promise<string | undefined>; readonly value?: string | undefined } | undefined;

  constructor({ credentials, ...options }: EtcdOptions) {
    this.#credentials = credentials;
    this.#http = new ServerHttp({
      ...options,
      kind,
      headers: () => ({
        'content-type': 'application/json',
        // A member that is cut off from the others says so, instead of waiting with whoever asked (etcd issue 10819).
        'grpc-metadata-hasleader': 'true',
      }),
    });
    this.name = this.#http.name;
  }

  get size(): number {
    return this.#http.size;
  }

  get closed(): boolean {
    return this.#http.closed;
  }

  /** Returns the answer. All that is sent has the same effect done once or twice. */
  ask(request: EtcdRequest): Promise<Json> {
    return this.#authorized(request.signal, async (headers) => {
      const answer = await this.#http.request({ ...toServer(request), headers });
      return this.parse(request, answer.body.toString('utf8'));
    });
  }

  /**
   * Yields what is told on a stream of watches, which goes on until it fails: a watch that etcd ends is a failure, unless its beginning
   * has been compacted.
   */
  async *stream({ sender, ...request }: EtcdStream): AsyncGenerator<Json, never, undefined> {
    const beat = `${JSON.stringify({ progress_request: {} })}\n`;
    for (let renewed = false; ; renewed = true) {
      const token = await this.#token(request.signal);
      const headers = authorization(token);
      try {
        const more = sender && ((send: (text: string) => void) => sender((one) => send(`${JSON.stringify(one)}\n`)));
        const lines = this.#http.lines({ ...toServer(request), headers, beat, sender: more });
        for await (const line of lines) {
          const { result, error } = this.parse(request, line);
          if (isObject(error)) throw this.#ended(request, error);
          if (!isObject(result)) throw this.strange(request);
          if (
            result.canceled === true &&
            result.compact_revision === undefined &&
            (sender === undefined || result.cancel_reason !== undefined)
          ) {
            throw this.refused(request, String(result.cancel_reason ?? 'etcd has ended the watch'));
          }
          yield result;
        }
      } catch (error) {
        if (renewed || !this.#renew(error, token, DENIED)) throw error;
      }
    }
  }

  parse(request: Pick<EtcdRequest, 'doing'>, text: string): Json {
    try {
      const parsed: unknown = JSON.parse(text);
      if (isObject(parsed)) return parsed;
    } catch {
      // Said below.
    }
    throw this.strange(request);
  }

  strange(request: Pick<EtcdRequest, 'doing'>): OvernsError {
    return this.#http.error(request, 'the answer is not what etcd answers', { hint: 'is it etcd that answers there' });
  }

  /** The error of a request that was answered, but not with what was asked for. */
  refused(request: Pick<EtcdRequest, 'doing' | 'writes'>, words: string, status = 0): OvernsError {
    const asked = { ...request, path: '', method: 'POST', maxBytes: 0, timeoutMs: 0, signal: undefined } as const;
    const shown = printable(words, 300);
    return this.#http.refused(asked, { status, words: shown }, shown);
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** The error by which a stream ended. */
  #ended(request: EtcdRequest, { message, http_code: status, code }: Json): OvernsError {
    const given = typeof status === 'number' ? status : (STATUS[String(code)] ?? 0);
    return this.refused(request, String(message), given);
  }

  async #authorized<T>(
    signal: AbortSignal | undefined,
    run: (headers: Readonly<Record<string, string>>) => Promise<T>,
  ): Promise<T> {
    for (let renewed = false; ; renewed = true) {
      const token = await this.#token(signal);
      try {
        return await run(authorization(token));
      } catch (error) {
        if (renewed || !this.#renew(error, token)) throw error;
      }
    }
  }

  /** Whether another attempt may have a token that counts. */
  #renew(error: unknown, token: string | undefined, also = TOKEN_REFUSED): boolean {
    const words = refusalOf(error)?.words ?? '';
    if (this.#credentials.user === undefined || !(TOKEN_REFUSED.test(words) || also.test(words))) return false;
    // Unless another request has fetched one meanwhile.
    if (this.#fetched?.value === token) this.#fetched = undefined;
    return true;
  }

  async #token(signal: AbortSignal | undefined): Promise<string | undefined> {
    const { token, user } = this.#credentials;
    if (token !== undefined) {
      return checkToken(await raceAbort(Promise.resolve(token()), signal), this.name, TOKEN_HINT);
    }
    if (user === undefined) return undefined;
    if (this.#fetched === undefined) {
      const fetched = { token: this.#authenticate(user), value: undefined as string | undefined };
      this.#fetched = fetched;
      fetched.token.then(
        (value) => {
          fetched.value = value;
        },
        () => {
          // Not kept: it may be permitted now.
          if (this.#fetched === fetched) this.#fetched = undefined;
        },
      );
    }
    return raceAbort(this.#fetched.token, signal);
  }

  async #authenticate(user: NonNullable<Credentials['user']>): Promise<string | undefined> {
    const request: ServerRequest = {
      method: 'POST',
      path: '/v3/auth/authenticate',
      body: JSON.stringify(user),
      maxBytes: ANSWER_BYTES,
      timeoutMs: AUTHENTICATE_MS,
      signal: undefined,
      doing: `authenticating as ${printable(user.name, 60)}`,
    };
    try {
      const { body } = await this.#http.request(request);
      const { token } = this.parse(request, body.toString('utf8'));
      if (typeof token !== 'string') throw this.strange(request);
      return token;
    } catch (error) {
      // As etcdctl has it: credentials that nobody asks for do no harm.
      if (refusalOf(error)?.words.includes('authentication is not enabled')) return undefined;
      throw error;
    }
  }
}

function authorization(token: string | undefined): Readonly<Record<string, string>> {
  return token === undefined ? {} : { authorization: token };
}

export function isObject(value: unknown): value is Json {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function toServer({ path, body, ...request }: EtcdRequest): ServerRequest & { body: string } {
  return { ...request, method: 'POST', path: `/v3/${path}`, body: `${JSON.stringify(body)}\n` };
}
