/** The refusals of a claim. */
import { OvernsError } from '../core/errors.js';
import type { Endpoint, Holder } from './contract.js';

/**
 * A claim that was refused because of what another holds, with code `OVERNS_CONFLICT`. Nothing was written.
 * @example
 * ```ts
 * import { openStore } from 'overns';
 *
 * await using store = await openStore('memory:');
 * const endpoint = { ip: '192.168.0.2', ips: ['192.168.0.2'], mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10' };
 * await store.claim(endpoint);
 * const error = await store.claim({ ...endpoint, vtep: '10.0.0.11' }).catch((thrown) => thrown);
 * console.log(error.code, error.holder.mac, error.holder.vtep); // OVERNS_CONFLICT 02:42:c0:a8:00:02 10.0.0.10
 * ```
 */
export class ConflictError extends OvernsError {
  /** The holder of the address. The endpoint's own host, where only an expected revision speaks against the claim. */
  readonly holder: Holder;

  constructor(message: string, holder: Holder, hint: string) {
    super('OVERNS_CONFLICT', message, { hint });
    this.holder = holder;
  }
}
ConflictError.prototype.name = 'ConflictError';

/**
 * The refusal of a claim.
 * @param at the store, as errors name it
 * @param expect the revision that the holder's is newer than, where that is all that speaks against the claim
 */
export function conflict(at: string, { mac, vtep }: Endpoint, holder: Holder, expect?: bigint): ConflictError {
  const { ip, lease, revision } = holder;
  const what = ip === undefined ? `the MAC address ${mac}` : ip;
  const host = holder.vtep === undefined ? 'which has no VTEP' : `at ${holder.vtep}`;
  const whose = ip === undefined ? `the host ${host}` : `${holder.mac} ${host}`;
  const how = lease === undefined ? 'without a lease' : `under lease ${lease}`;
  const held = `${what} is held by ${whose}, ${how}, revision ${revision}`;
  if (expect !== undefined) {
    const hint = 'it has changed since: look at it again, and expect what is there now';
    return new ConflictError(`${at}: ${held}, newer than ${expect}`, holder, hint);
  }
  const hint = `take it with \`takeover\` if ${vtep} is to have it, or withdraw it there first`;
  return new ConflictError(`${at}: ${held}`, holder, hint);
}

/** The error of a lease that takes no claims any more. */
export function leaseEnded(
  at: string,
  id: string,
  why = 'has ended: its time was over, or somebody revoked it',
): OvernsError {
  return new OvernsError('OVERNS_LEASE', `${at}: lease ${id} ${why}`, {
    hint: 'make another one, and claim again what is to be held under it',
  });
}
