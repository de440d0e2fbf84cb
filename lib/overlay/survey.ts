/** The overlays of a machine, found among its named namespaces. */
import { join } from 'node:path';
import { throwIfAborted } from '../core/abort.js';
import type { OvernsError } from '../core/errors.js';
import { listNetns, netnsDirectory } from '../netns/references.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { System } from '../system/system.js';
import { type OverlayInfo, readState } from './state.js';

/** The overlays among the named namespaces, and those that look like one and cannot be read. */
export interface Survey {
  readonly found: readonly OverlayInfo[];
  readonly failed: readonly { readonly overlay: string; readonly error: Error }[];
}

/** Looks at every namespace that has a vxlan1: which of them are overlays, and why the others are not. */
export async function surveyOverlays(system: System, signal: AbortSignal | undefined): Promise<Survey> {
  const found: OverlayInfo[] = [];
  const failed: { overlay: string; error: Error }[] = [];
  for (const name of await listNetns(system)) {
    throwIfAborted(signal);
    try {
      const info = await lookAt(system, name);
      if (info !== undefined) found.push(info);
    } catch (error) {
      // One that has gone since it was listed is none.
      if ((error as OvernsError).code !== 'ENOENT') failed.push({ overlay: name, error: error as Error });
    }
  }
  return { found, failed };
}

/** Not in the loop itself: of `await using` there esbuild keeps the error of one round for the next. */
async function lookAt(system: System, name: string): Promise<OverlayInfo | undefined> {
  const path = join(netnsDirectory(), name);
  await using rtnl = await Rtnl.open({ netns: { path }, system });
  const state = await readState(name, path, rtnl, undefined);
  if (!state) return undefined;
  const { path: _path, host: _host, device: _device, ...info } = state;
  return info;
}

/** Throws where none could be looked at for want of privileges, which is not to be taken for none. */
export function refuseForbidden(survey: Survey): Survey {
  const forbidden = survey.failed.find(({ error }) => ['EPERM', 'EACCES'].includes((error as OvernsError).code));
  if (survey.found.length === 0 && forbidden) throw forbidden.error;
  return survey;
}
