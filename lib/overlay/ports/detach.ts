/** Detaching: finding a port, withdrawing its endpoint, removing its veth. */
import type { Cancel } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import type { Rtnl } from '../../rtnl/rtnl.js';
import { hadNoEffect, undoAtStore } from '../../store/effect.js';
import type { ContainerTarget } from '../targets/target.js';
import { type Attached, type Attachment, listAttached, publicEndpoint } from './attachment.js';
import { type PortOverlay, removePort } from './port.js';
import type { Publisher } from './publish.js';

/** A port by its address, by the words that it was announced with, or by the namespace that its other end is in. */
export type PortQuery =
  | { readonly ip: string }
  | { readonly container: string }
  | { readonly target: Pick<ContainerTarget, 'path' | 'description'> };

/**
 * Finds a port; undefined where there is none.
 * @throws OvernsError `ENOTUNIQ` (a container has several)
 */
export async function findPort(
  rtnl: Rtnl,
  overlay: PortOverlay,
  query: PortQuery,
  cancel: Cancel = {},
): Promise<Attached | undefined> {
  const attached = await listAttached(rtnl, overlay.vtep, cancel);
  if ('ip' in query) return attached.find(({ attachment }) => attachment.ips.includes(query.ip));
  const [words, own] =
    'container' in query
      ? [query.container, attached.filter(({ attachment }) => attachment.container === query.container)]
      : [query.target.description, await portsInto(rtnl, attached, query.target.path)];
  if (own.length > 1) throw severalPorts(words, overlay.name, own);
  return own[0];
}

async function portsInto(rtnl: Rtnl, attached: readonly Attached[], path: string): Promise<readonly Attached[]> {
  const nsid = await rtnl.nsid({ path });
  return nsid < 0 ? [] : attached.filter(({ link }) => link.linkNetnsid === nsid);
}

function severalPorts(words: string, overlay: string, attached: readonly Attached[]): OvernsError {
  const ways = attached.map(({ attachment }) => `${attachment.ifname || attachment.veth} ${attachment.ip}`);
  return new OvernsError('ENOTUNIQ', `${words} is attached to "${overlay}" several times: ${ways.join(', ')}`, {
    hint: `say which by its address: \`{ ip: '${attached[0]?.attachment.ip}' }\``,
  });
}

/** Says with the error of a detachment that the store may have taken the records away, and could not be told them again. */
function sayWhatMayLack(error: unknown): void {
  if (error instanceof Error) error.message += '; it is attached still, and its records may be gone from the store';
}

/** Plugs a port in or out. One that is gone is no failure: it goes with its container. */
async function plug(rtnl: Rtnl, veth: string, up: boolean): Promise<void> {
  try {
    await rtnl.links.set({ name: veth, up });
  } catch (error) {
    if (!OvernsError.is(error) || error.code !== 'ENODEV') throw error;
  }
}

/** Withdraws the endpoint of a port where it was published, and removes the port: both or none. */
export async function detachPort(
  rtnl: Rtnl,
  { link, attachment }: Attached,
  publisher: Publisher | undefined,
  { signal }: Cancel,
): Promise<Attachment> {
  const endpoint = publicEndpoint(attachment);
  try {
    if (publisher) {
      // Unplugged first: a frame of its own behind the withdrawal would teach its peers again where it no longer is.
      await plug(rtnl, link.name, false);
      await publisher.withdraw(endpoint, { signal });
    }
    await removePort(rtnl, link.name);
  } catch (error) {
    if (publisher) await plug(rtnl, link.name, true).catch(() => {});
    // It may have been withdrawn all the same, when the answer was lost or not waited for.
    if (publisher && !hadNoEffect(error))
      await undoAtStore((cancel) => publisher.publish(endpoint, cancel)).catch(() => sayWhatMayLack(error));
    throw error;
  }
  return attachment;
}
