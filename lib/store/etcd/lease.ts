/**
 * Leases of etcd: the keys that were put with one go with it, all at once. In requests a lease is a number of 64 bits; here it has
 * the name that `etcdctl` shows and takes, which is that in hexadecimal.
 *
 * https://etcd.io/docs/v3.4/learning/api/#lease-api
 */
import { randomBytes } from 'node:crypto';
import type { Cancel } from '../../core/abort.js';
import type { DriverLease } from '../driver.js';
import { refusalOf } from '../server-http.js';
import { type EtcdHttp, type EtcdRequest, isObject, type Json } from './http.js';

const SECOND = 1000;
const ANSWER_BYTES = 2 ** 16;
const ANSWER_MS = 2 * SECOND;

export async function grantLease(
  http: EtcdHttp,
  { ttlMs, signal }: { readonly ttlMs: number } & Cancel,
): Promise<DriverLease> {
  // Chosen here: when it is granted again, because the answer was lost, it is the same one. 0 would let etcd choose.
  const id = leaseId(String(1n + randomBytes(8).readBigUInt64BE() / 2n));
  const ask = (path: string, more: Json, request: Pick<EtcdRequest, 'doing' | 'signal' | 'once'>): Promise<Json> =>
    http.ask({
      path,
      body: { ID: leaseNumber(id), ...more },
      maxBytes: ANSWER_BYTES,
      timeoutMs: ANSWER_MS,
      writes: true,
      ...request,
    });
  /** How long it lives from now on, milliseconds; 0: there is none. */
  const keepAlive = async (request: Pick<EtcdRequest, 'doing' | 'signal' | 'once'>): Promise<number> => {
    const { result } = await ask('lease/keepalive', {}, request);
    // One that etcd does not know is answered without a time.
    if (!isObject(result) || result.ID !== leaseNumber(id)) throw http.strange(request);
    return result.TTL === undefined ? 0 : seconds(result, http, request) * SECOND;
  };
  const granting = { doing: 'granting a lease', signal };
  const granted = await ask('lease/grant', { TTL: String(Math.ceil(ttlMs / SECOND)) }, granting).then(
    (answer) => seconds(answer, http, granting) * SECOND,
    (error) => {
      if (refusalOf(error)?.words.includes('lease already exists')) return keepAlive(granting);
      throw error;
    },
  );
  return {
    id,
    // No shorter than its elections take, whatever was asked for.
    ttlMs: granted,
    renew: async (options) => (await keepAlive({ ...options, doing: `renewing lease ${id}`, once: true })) > 0,
    revoke: async (options) => {
      try {
        await ask('lease/revoke', {}, { signal: undefined, ...options, doing: `revoking lease ${id}` });
      } catch (error) {
        if (!isUnknownLease(error)) throw error;
      }
    },
  };
}

/** Whether etcd has a lease. */
export async function isLeaseAlive(http: EtcdHttp, id: string, signal: AbortSignal): Promise<boolean> {
  const doing = `looking at lease ${id}`;
  const answer = await http.ask({
    path: 'lease/timetolive',
    body: { ID: leaseNumber(id) },
    maxBytes: ANSWER_BYTES,
    timeoutMs: ANSWER_MS,
    writes: false,
    doing,
    signal,
  });
  // One that it does not know lives for -1 s.
  return typeof answer.TTL === 'string' && /^[1-9]\d{0,9}$/.test(answer.TTL);
}

/** True for the refusal of what would be done with a lease that has ended. */
export function isUnknownLease(error: unknown): boolean {
  return refusalOf(error)?.words.includes('requested lease not found') ?? false;
}

/** The lease that has a number. */
export function leaseId(number: string): string {
  return BigInt.asUintN(64, BigInt(number)).toString(16).padStart(16, '0');
}

export function isLeaseNumber(value: unknown): value is string {
  return typeof value === 'string' && /^-?\d{1,19}$/.test(value);
}

/** Its number, as requests have it. */
export function leaseNumber(id: string): string {
  return String(BigInt.asIntN(64, BigInt(`0x${id}`)));
}

function seconds({ TTL }: Json, http: EtcdHttp, request: Pick<EtcdRequest, 'doing'>): number {
  if (typeof TTL === 'string' && /^[1-9]\d{0,9}$/.test(TTL)) return Number(TTL);
  throw http.strange(request);
}
