/** The place of an overlay's only resolver: taken, or taken over from who has it. */
import { throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { askControl, type ControlServer, serveControl } from '../overlay/control.js';
import type { Overlay } from '../overlay/overlay.js';

/**
 * Becomes the resolver of an overlay.
 * @param answer what other processes are answered with from then on
 * @throws OvernsError `EBUSY`: another one is, or something else holds its place
 */
export async function claimOverlay(
  overlay: Overlay,
  takeover: boolean,
  signal: AbortSignal,
  answer: Parameters<typeof serveControl>[1],
): Promise<ControlServer> {
  const deadline = Date.now() + 5000;
  for (;;) {
    try {
      return await serveControl(overlay.netns, answer);
    } catch (error) {
      if (!OvernsError.is(error) || error.code !== 'EADDRINUSE') throw error;
      if (!takeover || Date.now() > deadline) {
        const holder = await askControl(overlay.netns, { op: 'stats' }).catch((thrown: Error) => thrown);
        // Whoever it is that holds the name, it is no resolver to be believed.
        if (holder instanceof Error) {
          const { hint } = holder as OvernsError;
          throw new OvernsError('EBUSY', `overlay "${overlay.name}" cannot be served: ${holder.message}`, {
            hint,
            cause: holder,
          });
        }
        const who = Number.isSafeInteger(holder?.pid) ? ` (pid ${String(holder?.pid)})` : '';
        throw new OvernsError('EBUSY', `overlay "${overlay.name}" is served by another resolver${who}`, {
          hint: 'stop that one, or start with `takeover`',
          cause: error,
        });
      }
      throwIfAborted(signal);
      await askControl(overlay.netns, { op: 'release' });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
