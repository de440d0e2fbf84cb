/** The place of an overlay's only resolver: taken, or taken over from who has it. */
import { throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import {
  askControl,
  type ControlConnection,
  type ControlServer,
  reachControl,
  serveControl,
} from '../overlay/control.js';
import type { Overlay } from '../overlay/overlay.js';

/** How long is tried to become the resolver, milliseconds. */
const CLAIM_MS = 5000;

/** The place of an overlay's resolver, held. */
export interface Claim {
  readonly server: ControlServer;
  /** The process that has given it up. It takes the overlay back when this is closed before it has been asked to `keep` to that. */
  readonly from: ControlConnection | undefined;
}

/**
 * Becomes the resolver of an overlay.
 * @param answer what other processes are answered with from then on
 * @param begin called before who has it is asked to let go, once: so that nothing goes unheard in between
 * @throws OvernsError `EBUSY`: another one is, or something else holds its place
 */
export async function claimOverlay(
  overlay: Overlay,
  takeover: boolean,
  signal: AbortSignal,
  answer: Parameters<typeof serveControl>[2],
  begin: () => Promise<void>,
): Promise<Claim> {
  const { system, netns } = overlay;
  const deadline = Date.now() + CLAIM_MS;
  let from: ControlConnection | undefined;
  let begun = false;
  try {
    for (;;) {
      try {
        return { server: await serveControl(system, netns, answer), from };
      } catch (error) {
        if (!OvernsError.is(error) || error.code !== 'EADDRINUSE') throw error;
        if (!takeover || Date.now() > deadline) throw await heldBy(overlay, error);
      }
      throwIfAborted(signal);
      if (!begun) await begin();
      begun = true;
      throwIfAborted(signal);
      from?.close(); // who has it now is another
      from = await reachControl(system, netns);
      const answered = await from?.ask({ op: 'release' }, signal);
      if (answered?.ok !== true) await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } catch (error) {
    from?.close();
    throw error;
  }
}

/** The refusal, which says who has the overlay. */
async function heldBy(overlay: Overlay, cause: OvernsError): Promise<OvernsError> {
  const holder = await askControl(overlay.system, overlay.netns, { op: 'stats' }).catch((thrown: Error) => thrown);
  // The process that holds the name is no resolver to be believed.
  if (holder instanceof Error) {
    const { hint } = holder as OvernsError;
    return new OvernsError('EBUSY', `overlay "${overlay.name}" cannot be served: ${holder.message}`, {
      hint,
      cause: holder,
    });
  }
  const who = Number.isSafeInteger(holder?.pid) ? ` (pid ${String(holder?.pid)})` : '';
  return new OvernsError('EBUSY', `overlay "${overlay.name}" is served by another resolver${who}`, {
    hint: 'stop that one, or start with `takeover`',
    cause,
  });
}
