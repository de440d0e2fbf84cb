/** How the overlays of this machine stand. */
import { throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { listNetns } from '../netns/references.js';
import { Overlay } from '../overlay/overlay.js';
import { queryResolver, troubles } from '../resolver/remote.js';
import type { System } from '../system/system.js';
import type { DoctorCheck } from './check.js';

/**
 * Overlays that stand, and whose underlay has changed since.
 * @param system undefined: it has no addon
 */
export async function underlayFaults(
  system: System | undefined,
  signal: AbortSignal | undefined,
): Promise<DoctorCheck[]> {
  if (system === undefined) return [];
  const found = await Overlay.list({ signal, system }).catch(() => []);
  const checks = await Promise.all(
    found.map(async ({ overlay: name }): Promise<DoctorCheck | undefined> => {
      const fault = await Overlay.open(name, { signal, system })
        .then(async (opened) => {
          await using overlay = opened;
          return await overlay.underlayFault({ signal });
        })
        .catch(() => undefined);
      if (fault === undefined) return undefined;
      const base = { id: `underlay-${name}`, title: `Underlay of overlay ${name}` } as const;
      return { ...base, status: 'warn', value: fault.message, ...(fault.hint && { remedy: fault.hint }) };
    }),
  );
  return checks.filter((check) => check !== undefined);
}

/** How the overlays of this machine are served: one that is in trouble each. */
export async function overlays(system: System, signal: AbortSignal | undefined): Promise<DoctorCheck[]> {
  const base = { id: 'overlays', title: 'Overlays' } as const;
  const names = await listNetns(system).catch(() => []);
  const checks: DoctorCheck[] = [];
  let served = 0;
  // One after the other: each that is stuck costs its time, which the caller bounds.
  for (const name of names) {
    throwIfAborted(signal);
    const resolver = await queryResolver(name, { signal, system }).catch((error: Error) => error);
    const code = resolver instanceof OvernsError ? resolver.code : undefined;
    // Nobody serves it; it has gone meanwhile; or it is not for this user to see.
    if (resolver === undefined || code === 'ENOENT' || code === 'EPERM') continue;
    served++;
    const words = resolver instanceof OvernsError ? [resolver.message] : [];
    if (!(resolver instanceof Error)) words.push(...troubles(resolver.status));
    if (words.length === 0) continue;
    checks.push({
      id: `overlay-${name}`,
      title: `Overlay ${name}`,
      status: 'warn',
      value: words.join('; '),
      remedy:
        resolver instanceof OvernsError && resolver.hint !== undefined
          ? resolver.hint
          : `\`queryResolver('${name}')\` says how it stands`,
    });
  }
  const value = served === 0 ? 'none is served' : `${served} served, ${checks.length} of them in trouble`;
  if (checks.length === 0) return [{ ...base, status: 'ok', value }];
  return [{ ...base, status: 'warn', value, remedy: 'each is named below, with what to do' }, ...checks];
}
