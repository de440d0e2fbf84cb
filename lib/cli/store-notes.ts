/** How endpoints stand with the store, in words. */
import type { Cancel } from '../core/abort.js';
import { queryResolver, type RemotePublishing } from '../resolver/remote.js';
import type { OnSystem } from '../system/system.js';
import { printable } from './output.js';

/** Whether an endpoint is in the store now, or out of it, by what the agent of its overlay says, with a line that says so. */
export interface StoreNote {
  readonly done: boolean;
  readonly lines: readonly string[];
}

/**
 * What became of an endpoint in the store.
 * @param what it was to be: `published`, `withdrawn`
 * @param byStore it was by --store, or the agent of the same store
 */
export async function storeNote(
  overlay: string,
  what: 'published' | 'withdrawn',
  mac: string,
  byStore: boolean,
  on: Cancel & OnSystem,
): Promise<StoreNote> {
  const resolver = await queryResolver(overlay, on).catch(() => undefined);
  const trouble = resolver?.publishing?.troubles.find((each) => each.mac === mac && each.state !== 'stray');
  if (what === 'published' && trouble !== undefined) return { done: false, lines: [`  ${troubleWords(trouble)}`] };
  const where = what === 'published' ? 'in' : 'from';
  if (byStore) return { done: true, lines: [`  ${what} ${where} the store`] };
  if (resolver?.publishing !== undefined) return { done: true, lines: [`  ${what} ${where} the store by its agent`] };
  const url = resolver?.status?.storeUrl;
  if (url === undefined) return { done: false, lines: [] };
  return {
    done: false,
    lines: [`  not ${what}: pid ${resolver?.pid} answers from ${printable(url)}; --store names it`],
  };
}

/** Says why an endpoint of this host is not in the store as it should be. */
export function troubleWords({ ips, mac, state, holder, error }: RemotePublishing['troubles'][number]): string {
  const which = `${ips.join(' ')} (${mac})`;
  if (state === 'conflict')
    return printable(`not published: ${which} is in the store at ${holder ?? 'another host'}; detach one of the two`);
  if (state === 'stray') return printable(`a record points at this host, where nobody has ${which}`);
  return printable(`not published yet: ${which}${error === undefined ? '' : `: ${error}`}; the agent tries again`);
}
