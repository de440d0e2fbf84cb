/**
 * Consul's HTTP interface as far as the store needs it.
 *
 * https://developer.hashicorp.com/consul/api-docs
 */
import { checkToken, type TlsOptions } from '../credentials.js';
import { type ServerAnswer, ServerHttp, type ServerKind, type ServerRequest } from '../server-http.js';
import type { StoreHost } from '../server-url.js';
import { TLS_VARIABLES } from './env.js';
import { Heartbeat } from './heartbeat.js';

/** As many connections for watches, waiting and not: with those for requests less than half of Consul's 200 for a client. */
const WATCHES = 72;

/** How to reach Consul. */
export interface ConsulOptions extends TlsOptions {
  /** At least one. The first is asked until it fails, then the next. */
  readonly hosts: readonly StoreHost[];
  readonly tls: boolean;
  /** Called for every request; undefined or '' = none. */
  readonly token: () => string | undefined | Promise<string | undefined>;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Consul's answer. */
export interface ConsulAnswer extends ServerAnswer {
  /** X-Consul-Index; undefined where Consul sends none (writes). */
  readonly index: bigint | undefined;
}

const kind: ServerKind = {
  title: 'Consul',
  schemes: ['consul', 'consul+https'],
  variables: TLS_VARIABLES,
  watches: WATCHES,
  advise({ status, words }, { method, path }) {
    if (status === 403 && path.startsWith('/v1/session/')) {
      return { hint: 'a lease is a session: give the token `session_prefix "" { policy = "write" }` as well' };
    }
    if (status === 403) return { hint: tokenHint(method === 'GET' ? 'read' : 'write') };
    if (status === 413) {
      return { hint: "raise kv_max_value_size or txn_max_req_len in the limits of Consul's configuration" };
    }
    if (words.includes('No cluster leader')) {
      return { hint: 'the Consul servers have no majority: wait for them, or look after them' };
    }
    return undefined;
  },
};

/** Connections to Consul's agents. */
export class ConsulHttp {
  /** The servers, as errors name them. */
  readonly name: string;
  readonly #http: ServerHttp;
  /** Of each server. */
  readonly #heartbeats: readonly Heartbeat[];

  constructor({ token, headers, ...options }: ConsulOptions) {
    this.#http = new ServerHttp({
      ...options,
      kind,
      headers: async () => {
        const checked = checkToken(
          await token(),
          this.name,
          'check CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, or the option token, for white space and line ends',
        );
        return { ...headers, ...(checked !== undefined && { 'x-consul-token': checked }) };
      },
    });
    this.name = this.#http.name;
    this.#heartbeats = options.hosts.map((_, server) => new Heartbeat(this.#http, server));
  }

  /** Sends a request, again if that can help. */
  async request(request: ServerRequest): Promise<ConsulAnswer> {
    const answer = await this.#http.request(
      request.watching ? { ...request, untilSilent: (server, lost) => this.#of(server).await(lost) } : request,
    );
    this.#of(answer.server).heard(answer.headAt);
    const index = answer.headers['x-consul-index'];
    return { ...answer, index: typeof index === 'string' && /^\d{1,20}$/.test(index) ? BigInt(index) : undefined };
  }

  #of(server: number): Heartbeat {
    return this.#heartbeats[server] as Heartbeat;
  }

  close(): Promise<void> {
    for (const heartbeat of this.#heartbeats) heartbeat.close();
    return this.#http.close();
  }
}

/** The remedy for "Permission denied". */
export function tokenHint(right: 'read' | 'write'): string {
  return `set CONSUL_HTTP_TOKEN, or CONSUL_HTTP_TOKEN_FILE, to the secret of a token that may ${right} these keys`;
}
