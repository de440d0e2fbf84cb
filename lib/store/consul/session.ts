/**
 * Leases as Consul's sessions: whoever holds keys with one loses them when it ends, all at once.
 *
 * https://developer.hashicorp.com/consul/api-docs/session
 */
import type { Cancel } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import type { DriverLease } from '../driver.js';
import type { ConsulHttp } from './http.js';

const SECOND = 1000;
const ANSWER_BYTES = 2 ** 16;
const ANSWER_MS = 2 * SECOND;
/** Consul takes no shorter time, and no longer one than a day. */
const TTL_MIN_S = 10;

export async function makeSession(
  http: ConsulHttp,
  { name, ttlMs, signal }: { readonly name: string; readonly ttlMs: number } & Cancel,
): Promise<DriverLease> {
  const seconds = Math.max(TTL_MIN_S, Math.ceil(ttlMs / SECOND));
  const body = JSON.stringify({
    Name: name,
    TTL: `${seconds}s`,
    Behavior: 'delete',
    // The next holder of a key is not to wait for it.
    LockDelay: '0s',
    // By default a session ends with the health of the server that it was made through.
    NodeChecks: [],
  });
  const ask = (path: string, doing: string, more: Cancel & { once?: boolean; accept?: number[]; body?: string }) =>
    http.request({
      method: 'PUT',
      path,
      maxBytes: ANSWER_BYTES,
      timeoutMs: ANSWER_MS,
      signal: undefined,
      doing,
      ...more,
    });
  // Where it is tried again because the answer was lost there is one too many, which nobody renews.
  const answer = await ask('/v1/session/create', `making a session for ${name}`, { body, signal });
  const id = sessionId(answer.body);
  if (id === undefined) {
    throw new OvernsError('OVERNS_STORE', `${http.name}: making a session: the answer is not what Consul answers`, {
      hint: 'is it Consul that answers there',
    });
  }
  return {
    id,
    ttlMs: seconds * SECOND,
    renew: async (options) => {
      const renewed = await ask(`/v1/session/renew/${id}`, `renewing session ${id}`, {
        ...options,
        once: true,
        accept: [404],
      });
      return renewed.status !== 404;
    },
    revoke: async (options) => {
      await ask(`/v1/session/destroy/${id}`, `ending session ${id}`, options);
    },
  };
}

/** Whether Consul has a session. */
export async function isSessionAlive(http: ConsulHttp, id: string, signal: AbortSignal): Promise<boolean> {
  const answer = await http.request({
    method: 'GET',
    path: `/v1/session/info/${encodeURIComponent(id)}`,
    maxBytes: ANSWER_BYTES,
    timeoutMs: ANSWER_MS,
    doing: `looking at session ${id}`,
    signal,
  });
  return /"ID"/.test(answer.body.toString('utf8'));
}

function sessionId(body: Buffer): string | undefined {
  try {
    const { ID } = (JSON.parse(body.toString('utf8')) ?? {}) as { ID?: unknown };
    return typeof ID === 'string' && /^[\da-f-]{36}$/i.test(ID) ? ID : undefined;
  } catch {
    return undefined;
  }
}
