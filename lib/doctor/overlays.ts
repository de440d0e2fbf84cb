/** How the overlays of this machine stand. */
import { throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { listNetns } from '../netns/references.js';
import { SilentResolver } from '../overlay/control.js';
import { Overlay } from '../overlay/overlay.js';
import { askResolver, troubles } from '../resolver/remote.js';
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

/** How long a resolver may take to answer, milliseconds: a report that comes is worth more than one that is complete. */
const PATIENCE_MS = 1500;

/** How the overlays of this machine are served: one that is in trouble each, and each process that does not answer. */
export async function overlays(system: System, signal: AbortSignal | undefined): Promise<DoctorCheck[]> {
  const base = { id: 'overlays', title: 'Overlays' } as const;
  const names = await listNetns(system).catch(() => []);
  const answers = await Promise.all(
    names.map((name) => askResolver(system, name, signal, PATIENCE_MS).catch((error: Error) => error)),
  );
  throwIfAborted(signal);
  const checks: DoctorCheck[] = [];
  const silent = new Map<number | undefined, { readonly names: string[]; readonly error: SilentResolver }>();
  let served = 0;
  let troubled = 0;
  for (const [at, name] of names.entries()) {
    const resolver = answers[at];
    const code = resolver instanceof OvernsError ? resolver.code : undefined;
    // Nobody serves it; it has gone meanwhile; or it is not for this user to see.
    if (resolver === undefined || code === 'ENOENT' || code === 'EPERM') continue;
    served++;
    if (resolver instanceof SilentResolver) {
      const { pid } = resolver;
      silent.set(pid, { names: [...(silent.get(pid)?.names ?? []), name], error: resolver });
      troubled++;
      continue;
    }
    const words = resolver instanceof OvernsError ? [resolver.message] : [];
    if (!(resolver instanceof Error)) words.push(...troubles(resolver.status));
    if (words.length === 0) continue;
    troubled++;
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
  for (const [pid, { names: its, error }] of silent) checks.push(silentAgent(pid, its, error));
  const value = served === 0 ? 'none is served' : `${served} served, ${troubled} of them in trouble`;
  if (checks.length === 0) return [{ ...base, status: 'ok', value }];
  return [{ ...base, status: 'warn', value, remedy: 'each is named below, with what to do' }, ...checks];
}

function silentAgent(pid: number | undefined, names: readonly string[], { hint = '' }: SilentResolver): DoctorCheck {
  const shown = names.slice(0, 5).join(', ');
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  return {
    id: pid === undefined ? 'agent' : `agent-${pid}`,
    title: pid === undefined ? 'Agent' : `Agent (pid ${pid})`,
    status: 'warn',
    value: `does not answer; it has ${shown}${more}`,
    remedy: hint,
  };
}
