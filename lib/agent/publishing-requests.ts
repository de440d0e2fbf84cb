/** What other processes ask of the agent about this host's endpoints, over the control socket of their overlay. */
import { canonicalIp, unicastMac } from '../core/address.js';
import { invalidType } from '../core/errors.js';
import type { ControlAnswer, ControlRequest } from '../overlay/control.js';
import { ConflictError } from '../store/conflict.js';
import type { Endpoint } from '../store/contract.js';
import type { EndpointStatus } from './endpoint-status.js';
import type { Outcome, PublishedOverlay } from './published-overlay.js';

/** Before the one who asks gives up: what has not been done by then is pending. */
const ANSWER_MS = 3500;
/** Endpoints that are not well, of which others are told in detail. */
const TROUBLES_MAX = 100;

/** Answers `publish`, `allocate` and `withdraw`; undefined: it is another request. */
export function answerPublishing(
  request: ControlRequest,
  overlay: () => Promise<PublishedOverlay | undefined>,
): Promise<ControlAnswer> | undefined {
  if (request.op !== 'publish' && request.op !== 'allocate' && request.op !== 'withdraw') return undefined;
  return answer(request, overlay);
}

async function answer(
  request: ControlRequest,
  overlay: () => Promise<PublishedOverlay | undefined>,
): Promise<ControlAnswer> {
  try {
    const endpoint = request.op === 'allocate' ? undefined : endpointOf(request.endpoint);
    const published = await overlay();
    if (published === undefined) return { ok: false, error: 'the overlay is not published' };
    if (endpoint === undefined) return await allocate(request, published);
    const outcome =
      request.op === 'publish' ? published.reserve(endpoint, request.takeover === true) : published.release(endpoint);
    const { revision, pending } = await inTime(outcome);
    return {
      ok: true,
      pid: process.pid,
      ...(revision !== undefined && { revision: String(revision) }),
      ...(pending && { pending: pending.message }),
    };
  } catch (error) {
    const { code, message, hint } = error as { code?: string; message: string; hint?: string };
    if (!(error instanceof ConflictError)) return { ok: false, code, error: message, hint };
    return {
      ok: false,
      code,
      error: message,
      hint,
      holder: { ...error.holder, revision: String(error.holder.revision) },
    };
  }
}

/** What is not done in time is given up, and taken back: nobody would learn of it. */
async function allocate({ pools, mac, except }: ControlRequest, published: PublishedOverlay): Promise<ControlAnswer> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), ANSWER_MS);
  try {
    const given = await published.allocate({ pools, mac, except, signal: late.signal });
    const { endpoint, addresses, revision } = given;
    return { ok: true, pid: process.pid, endpoint, addresses, revision: String(revision) };
  } catch (error) {
    if (!late.signal.aborted) throw error;
    return { ok: false, error: 'the store has not answered yet', hint: 'try again when it does' };
  } finally {
    clearTimeout(timer);
  }
}

async function inTime(outcome: Promise<Outcome>): Promise<Outcome> {
  outcome.catch(() => {});
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Outcome>((resolve) => {
    timer = setTimeout(() => resolve({ pending: new Error('the store has not answered yet') }), ANSWER_MS);
  });
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws TypeError, RangeError */
function endpointOf(given: unknown): Endpoint {
  const { ips, mac } = (given ?? {}) as { readonly ips?: unknown; readonly mac?: unknown };
  if (!Array.isArray(ips) || ips.length === 0) throw invalidType('endpoint.ips', ips, 'an array of addresses');
  const canonical = ips.map((ip, at) => canonicalIp(ip, `endpoint.ips[${at}]`));
  // The agent knows the host's own VTEP.
  return { ip: canonical[0] as string, ips: canonical, mac: unicastMac(mac, 'endpoint.mac'), vtep: '' };
}

/** How the endpoints of an overlay stand, as other processes are told. */
export function publishingWords(endpoints: readonly EndpointStatus[]): object {
  const counts = { published: 0, pending: 0, conflict: 0, stray: 0 };
  for (const { state } of endpoints) counts[state]++;
  const troubles = endpoints
    .filter(({ state }) => state !== 'published')
    .slice(0, TROUBLES_MAX)
    .map(({ ips, mac, state, holder, error }) => ({
      ips,
      mac,
      state,
      ...(holder?.vtep !== undefined && { holder: holder.vtep }),
      ...(error && { error: error.message }),
    }));
  return { ...counts, troubles };
}
