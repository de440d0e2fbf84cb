import { OvernsError } from '../../core/errors.js';
import { type Attachment, Overlay, type OverlayInfo, Rtnl, type System } from '../../index.js';
import { isNoOverlay } from '../../overlay/contents.js';
import { givenAddresses } from '../../overlay/ports/container-network.js';
import { refuseForbidden, surveyOverlays } from '../../overlay/survey.js';
import { queryResolver, type RemotePublishing, type RemoteResolver, troubles } from '../../resolver/remote.js';
import { ownPackage } from '../../system/own-package.js';
import { DONE, REFUSED } from '../failure.js';
import { toggle } from '../flags.js';
import { hostFlag, overlayArgument } from '../kinds.js';
import { describe as describeError, errorWords, printable, table } from '../output.js';
import { troubleWords } from '../store-notes.js';
import { defineVerb } from '../verb.js';

/** The vxlan device of every overlay. */
const LINK = 'vxlan1';

interface Details extends OverlayInfo {
  readonly addresses: readonly string[];
  readonly endpoints: readonly Attachment[];
  readonly neighbors: Awaited<ReturnType<Rtnl['neighbors']['list']>>;
  readonly fdb: Awaited<ReturnType<Rtnl['fdb']['list']>>;
  /** State of the resolver that serves it; null = none does. */
  readonly resolver: RemoteResolver | Error | null;
}

export const verb = defineVerb({
  name: 'show',
  summary: 'Show the overlays of this host, or all about one: endpoints, neighbours, FDB, counters',
  description:
    'With --check it is for monitoring: the exit status is 1 unless each overlay is served, its store up and its underlay as it was made for.',
  args: [{ ...overlayArgument, optional: true }],
  flags: { host: hostFlag, check: toggle('exit with 1 if something is wrong with what is shown') },
  examples: [
    ['overns show', 'the overlays'],
    ['overns show overns', 'all about one'],
    ['overns show --check >/dev/null', 'for monitoring'],
  ],
  streams: false,
  async run({ args: [name], flags: { host, check } }, { signal, system, out, json }) {
    if (name === undefined) {
      // A namespace that looks like an overlay and cannot be read as one is shown as well, since somebody will look for it.
      const { found: overlays, failed } = refuseForbidden(await surveyOverlays(system, signal));
      const unreadable = failed.map(({ overlay, error }) => ({ overlay, error: error.message }));
      const faults = new Map<string, OvernsError>();
      for (const { overlay } of overlays) {
        const fault = await faultOf(overlay, signal, system);
        if (fault !== undefined) faults.set(overlay, fault);
      }
      const resolvers = await Promise.all(overlays.map(({ overlay }) => resolverOf(overlay, signal, system)));
      const rows = overlays.map((each, at) => ({
        ...each,
        resolver: resolvers[at],
        ...underlayJson(faults.get(each.overlay)),
      }));
      const well = resolvers.every(isWell) && faults.size === 0 && failed.length === 0;
      if (json) await out.json({ overlays: rows, ...(unreadable.length > 0 && { unreadable }) });
      else if (overlays.length + failed.length === 0) await out.lines(['no overlays']);
      else {
        await out.lines(
          table(
            ['OVERLAY', 'VNI', 'VTEP', 'PORT', 'MTU', 'SERVED', 'STORE'],
            overlays.map(({ overlay, vni, vtep, port, mtu }, at) => [
              overlay,
              String(vni),
              vtep,
              String(port),
              String(mtu),
              ...servedWords(resolvers[at] ?? null),
            ]),
          ),
        );
        const warnings = [
          ...[...faults].map(([overlay, fault]) => `warning: overlay ${overlay}: ${errorWords(fault)}`),
          ...unreadable.map(({ overlay, error }) => printable(`warning: overlay ${overlay} cannot be read: ${error}`)),
        ];
        if (warnings.length > 0) await out.lines(['', ...warnings]);
      }
      return check && !well ? REFUSED : DONE;
    }
    await using overlay = await Overlay.open(name, { signal, system, host }).catch(async (error: Error) => {
      throw isNoOverlay(error) ? await withResolver(name, error, system) : error;
    });
    await using rtnl = await Rtnl.open({ netns: { path: overlay.netns }, signal, system });
    const [fault, endpoints, addresses, neighbors, fdb, resolver] = await Promise.all([
      overlay.underlayFault({ signal }).catch(() => undefined),
      overlay.endpoints({ signal }),
      rtnl.addresses.list({ link: 'br0' }, { signal }),
      rtnl.neighbors.list({ link: LINK }, { signal }),
      rtnl.fdb.list({ link: LINK }, { signal }),
      resolverOf(name, signal, system),
    ]);
    const details: Details = {
      overlay: name,
      vni: overlay.vni,
      vtep: overlay.vtep,
      port: overlay.port,
      mtu: overlay.mtu,
      addresses: givenAddresses(addresses.map(({ address }) => address)),
      endpoints,
      // As `ip neighbor` leaves them out: what needs no resolution, such as multicast.
      neighbors: neighbors.filter(({ state }) => state !== 'noarp'),
      fdb,
      resolver,
    };
    if (json) await out.json({ ...details, ...underlayJson(fault) });
    else
      await out.lines(
        fault === undefined ? describe(details) : [...describe(details), '', 'Underlay:', `  ${errorWords(fault)}`],
      );
    return check && (fault !== undefined || !isWell(resolver)) ? REFUSED : DONE;
  },
});

/** Asks who serves an overlay. One that is stopped or stuck must not keep the rest from being shown. */
async function resolverOf(name: string, signal: AbortSignal, system: System): Promise<RemoteResolver | Error | null> {
  const found = await queryResolver(name, { signal, system }).catch((error: Error) => error);
  return found ?? null;
}

function isWell(resolver: RemoteResolver | Error | null): boolean {
  return resolver !== null && !(resolver instanceof Error) && troubles(resolver.status).length === 0;
}

function servedWords(resolver: RemoteResolver | Error | null): readonly [served: string, store: string] {
  if (resolver === null) return ['no', '-'];
  if (resolver instanceof Error) return ['no answer', '-'];
  return [`pid ${resolver.pid}`, resolver.status?.store ?? '-'];
}

/** Finds the fault of an overlay's underlay; one that cannot be looked at is none to complain of. */
async function faultOf(name: string, signal: AbortSignal, system: System): Promise<OvernsError | undefined> {
  try {
    await using overlay = await Overlay.open(name, { signal, system });
    return await overlay.underlayFault({ signal });
  } catch {
    return undefined;
  }
}

function underlayJson(fault: OvernsError | undefined): object {
  if (fault === undefined) return {};
  const { code, message, hint } = describeError(fault);
  return { underlay: { code, message, hint } };
}

function describe({
  overlay,
  vni,
  vtep,
  port,
  mtu,
  addresses,
  endpoints,
  neighbors,
  fdb,
  resolver,
}: Details): string[] {
  const section = (title: string, lines: readonly string[]): string[] => [
    '',
    `${title}:${lines.length === 0 ? ' none' : ''}`,
    ...lines,
  ];
  const rows = (heading: readonly string[], items: readonly (readonly string[])[]): string[] =>
    items.length === 0 ? [] : table(heading, items, '  ');
  return [
    `overlay ${overlay}: vni ${vni}, vtep ${vtep} port ${port}, mtu ${mtu}${addresses.length === 0 ? '' : `, br0 ${addresses.join(' ')}`}`,
    ...section(
      'Endpoints',
      rows(
        ['IP', 'MAC', 'VTEP', 'CONTAINER', 'INTERFACE'],
        endpoints.map((each) => [each.ips.join(' '), each.mac, each.vtep, each.container, each.ifname]),
      ),
    ),
    ...section(
      'Neighbours',
      rows(
        ['IP', 'MAC', 'STATE'],
        neighbors.map((each) => [each.ip, each.mac ?? '', each.state]),
      ),
    ),
    ...section(
      'FDB',
      rows(
        ['MAC', 'DST', 'STATE', 'FLAGS'],
        fdb.map((each) => [each.mac, each.dst ?? '', each.state, (each.flags ?? []).join(' ')]),
      ),
    ),
    ...section(
      'Resolver',
      resolverWords(resolver).map((line) => `  ${line}`),
    ),
  ];
}

/** Asks the resolver of an overlay whose vxlan1 is gone: it still says how it stands. */
async function withResolver(name: string, error: Error, system: System): Promise<Error> {
  const resolver = await queryResolver(name, { system }).catch(() => undefined);
  if (resolver === undefined) return error;
  const since = resolver.status?.lostSince === undefined ? '' : ` since ${resolver.status.lostSince}`;
  return new OvernsError(
    'EINVAL',
    `overlay "${name}" has lost its ${LINK}${since}; pid ${resolver.pid} serves it still`,
    {
      hint: `remove what is left of it with \`overns delete ${name}\`, and create it again`,
      cause: error,
    },
  );
}

function publishingWords(publishing: RemotePublishing | undefined): string[] {
  if (publishing === undefined) return [];
  const { troubles: named, ...counts } = publishing;
  const counted = Object.entries(counts).filter(([state, count]) => count > 0 || state === 'published');
  return [
    `endpoints of this host: ${counted.map(([state, count]) => `${state} ${count}`).join(', ')}`,
    ...named.map(troubleWords),
  ];
}

function resolverWords(resolver: Details['resolver']): string[] {
  if (resolver === null) return ['none serves this overlay: `overns agent` does'];
  if (resolver instanceof Error) return [printable(resolver.message)];
  const counted = Object.entries(resolver.stats).map(([key, value]) => `${key} ${value}`);
  const { storeUrl, sync, syncReason = '' } = resolver.status ?? {};
  const { version } = resolver;
  const other = version === undefined || version === ownPackage()?.version ? '' : ` (overns ${printable(version)})`;
  return [
    `pid ${resolver.pid}${other}: ${counted.join(', ')}`,
    ...(storeUrl === undefined ? [] : [`store ${printable(storeUrl)}`]),
    ...(sync === undefined ? [] : [`sync ${sync}${syncReason === '' ? '' : ` (${printable(syncReason)})`}`]),
    ...troubles(resolver.status).map((each) => printable(each)),
    ...publishingWords(resolver.publishing),
  ];
}
