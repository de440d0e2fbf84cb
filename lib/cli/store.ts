/** The store of a command line. */
import { type OwnedStore, openStore } from '../index.js';
import { expandStoreUrl } from '../store/index.js';

/** The store of one overlay: `{vni}` and `{name}` in the URL stand for it. */
export function openOverlayStore(
  url: string,
  overlay: { readonly name: string; readonly vni: number },
  signal: AbortSignal,
): Promise<OwnedStore> {
  return openStore(expandStoreUrl(url, overlay), { signal });
}
