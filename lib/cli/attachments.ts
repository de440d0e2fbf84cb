/** The endpoints of an overlay with the containers they belong to. */
import { isLinkLocal6 } from '../address.js';
import { parseAlias } from '../endpoint-alias.js';
import { type Address, type Endpoint, type Overlay, Rtnl } from '../index.js';

export interface Attachment extends Endpoint {
  /** As it was attached: `docker:demo`, `netns:demo`, ...; '' = not recorded. */
  readonly container: string;
}

export async function attachments(overlay: Overlay, signal: AbortSignal): Promise<readonly Attachment[]> {
  await using rtnl = await Rtnl.open({ netns: { path: overlay.netns }, signal });
  const [endpoints, links] = await Promise.all([
    overlay.endpoints({ signal }),
    rtnl.links.list({ kind: 'veth' }, { signal }),
  ]);
  const containers = new Map<string, string>();
  for (const { alias } of links) {
    const parsed = parseAlias(alias);
    if (parsed !== undefined) containers.set(parsed.mac, parsed.container);
  }
  return endpoints.map((endpoint) => ({ ...endpoint, container: containers.get(endpoint.mac) ?? '' }));
}

/**
 * What somebody gave an interface, sorted: without the link-local addresses that the kernel adds by itself.
 * @param wanted what was asked for, kept even if it is link-local
 */
export function givenAddresses(addresses: readonly Address[], wanted: readonly string[] = []): string[] {
  return addresses
    .map(({ address }) => address)
    .filter((address) => !isLinkLocal6(address) || wanted.includes(address))
    .sort();
}
