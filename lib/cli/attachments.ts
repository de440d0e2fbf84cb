/** The endpoints of an overlay with the containers they belong to. */
import { parseAlias } from '../endpoint-alias.js';
import { type Endpoint, type Overlay, Rtnl } from '../index.js';

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
