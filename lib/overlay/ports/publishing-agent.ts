/**
 * The agent of an overlay as the one that publishes what is attached: asked over the overlay's control socket, it holds all of a
 * host under its lease. It is told before a container is touched, and takes back by itself what is not attached soon.
 */
import { type Cancel, firstAborted, throwIfAborted } from '../../core/abort.js';
import { interfaceAddress } from '../../core/address.js';
import { OvernsError } from '../../core/errors.js';
import type { Allocation } from '../../store/allocation.js';
import { ConflictError } from '../../store/conflict.js';
import type { Endpoint, Holder } from '../../store/contract.js';
import { checkEndpoint } from '../../store/records.js';
import type { System } from '../../system/system.js';
import { askControl, type ControlAnswer, type ControlRequest } from '../control.js';
import { publicEndpoint } from './attachment.js';
import type { Publisher } from './publish.js';

/** How long an agent may take to say whether it publishes, milliseconds: one that is stopped keeps nobody from attaching. */
const HELLO_MS = 2000;
const NO_AGENT = new Set(['EPROTO', 'ETIMEDOUT', 'EACCES']);

/** An agent that publishes. */
export interface PublishingAgent {
  /** URL of the overlay's records; undefined for a store of a program's own. */
  readonly storeUrl: string | undefined;
  /**
   * @param takeover takes what another host has
   * @param own the same store as the caller has it: asked where the agent's own asking fails, as the caller may do more there
   */
  publisher(takeover: boolean, own?: Publisher): Publisher;
}

/** Finds the agent that serves the overlay in the namespace at `path`; undefined where none publishes what is attached. */
export async function publishingAgent(
  system: System,
  path: string,
  { signal }: Cancel,
): Promise<PublishingAgent | undefined> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), HELLO_MS);
  const either = firstAborted(signal, late.signal);
  const answer = await askControl(system, path, { op: 'stats' }, either.signal).catch((error: Error) => {
    throwIfAborted(signal);
    // What is no agent, or one that does not answer, is not the one that publishes.
    if (late.signal.aborted || (OvernsError.is(error) && NO_AGENT.has(error.code))) return undefined;
    throw error;
  });
  clearTimeout(timer);
  either.release();
  if (answer?.ok !== true || typeof answer.publishing !== 'object' || answer.publishing === null) return undefined;
  const { storeUrl } = (answer.status ?? {}) as { readonly storeUrl?: unknown };
  const ask = async (request: ControlRequest, cancel: Cancel): Promise<ControlAnswer | undefined> => {
    const told = await askControl(system, path, request, cancel.signal);
    if (told?.ok === false) throw refusalOf(told);
    return told;
  };
  return {
    storeUrl: typeof storeUrl === 'string' ? storeUrl : undefined,
    publisher: (takeover, own) => {
      const publish = (endpoint: Endpoint, cancel: Cancel) =>
        ask({ op: 'publish', endpoint: publicEndpoint(endpoint), takeover }, cancel);
      return {
        claim: async (endpoint, cancel) => {
          const answer = await publish(endpoint, cancel);
          if (answer === undefined)
            throw new OvernsError('OVERNS_STORE_UNSUPPORTED', 'the agent of the overlay has ended meanwhile');
          if (answer.pending !== undefined) await insist(() => own?.claim?.(endpoint, cancel));
        },
        allocate: async (pools, { mac, except, signal }) => {
          const answer = await ask({ op: 'allocate', pools, mac, except }, { signal });
          const given = allocationOf(answer);
          if (given !== undefined) return given;
          throw new OvernsError('OVERNS_STORE_UNSUPPORTED', 'the agent of the overlay has ended meanwhile', {
            hint: 'start it again, or give the container an `address`',
          });
        },
        // The next agent sees for itself what is attached, and what is not.
        publish: async (endpoint, cancel) => void (await publish(endpoint, cancel)),
        withdraw: async (endpoint, cancel) => {
          const answer = await ask({ op: 'withdraw', endpoint: publicEndpoint(endpoint) }, cancel);
          if (answer?.pending !== undefined) await insist(() => own?.withdraw(endpoint, cancel));
        },
      };
    },
  };
}

/** What fails here too the agent tries again; a conflict is one. */
async function insist(ask: () => Promise<void> | undefined): Promise<void> {
  try {
    await ask();
  } catch (error) {
    if (!OvernsError.is(error) || error.code === 'OVERNS_CONFLICT') throw error;
  }
}

/** @throws RangeError, TypeError for what no agent answers */
function allocationOf(answer: ControlAnswer | undefined): Allocation | undefined {
  if (answer === undefined) return undefined;
  const { endpoint, addresses, revision } = answer;
  if (!Array.isArray(addresses) || typeof revision !== 'string' || !/^\d{1,20}$/.test(revision))
    throw new OvernsError('EPROTO', 'what answers as the agent of the overlay makes no sense', {
      hint: 'it is no overns, or one of another version: end it, or use the same version',
    });
  for (const [at, address] of addresses.entries()) interfaceAddress(address, `addresses[${at}]`);
  return { endpoint: checkEndpoint(endpoint), addresses: addresses as string[], revision: BigInt(revision) };
}

/** The error that an agent has answered with. */
function refusalOf({ code, error, hint, holder }: ControlAnswer): OvernsError {
  const words = typeof error === 'string' ? error.slice(0, 1000) : 'no reason was given';
  const remedy = typeof hint === 'string' ? hint.slice(0, 1000) : 'see what the agent says';
  const read = holderOf(holder);
  if (code === 'OVERNS_CONFLICT' && read !== undefined) return new ConflictError(words, read, remedy);
  if (code === 'OVERNS_POOL_FULL') return new OvernsError('OVERNS_POOL_FULL', words, { hint: remedy });
  return new OvernsError('OVERNS_STORE', `the agent of the overlay: ${words}`, { hint: remedy });
}

function holderOf(given: unknown): Holder | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  const { ip, mac, vtep, lease, revision } = given as Record<string, unknown>;
  if (typeof mac !== 'string' || typeof revision !== 'string' || !/^\d{1,20}$/.test(revision)) return undefined;
  return {
    mac,
    revision: BigInt(revision),
    ...(typeof ip === 'string' && { ip }),
    ...(typeof vtep === 'string' && { vtep }),
    ...(typeof lease === 'string' && { lease }),
  };
}
