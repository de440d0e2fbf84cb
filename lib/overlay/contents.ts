/** Telling by its links what a namespace holds: an overlay, what is left of one, nothing yet, or something else. */
import { OvernsError } from '../core/errors.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import { BRIDGE, VXLAN } from './devices.js';
import { parseAlias } from './ports/alias.js';
import { isVethName } from './ports/attachment.js';

/**
 * `overlay`: it has a vxlan1. `rest`: it has br0 or veths of containers, but no vxlan1: somebody is just making or
 * removing it, or has died while doing so. `empty`: no links but the kernel's own. `other`: something that overns did not
 * make.
 */
export type Contents = 'overlay' | 'rest' | 'empty' | 'other';

/**
 * Devices that every new namespace has, some of them once a module is loaded (net.core.fb_tunnels_only_for_init_net,
 * Documentation/admin-guide/sysctl/net.rst).
 */
const EVERYWHERE = new Set(
  'lo tunl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 sit0 ip6tnl0 ip6gre0'.split(' ') as readonly string[],
);

export function contentsOf(links: readonly Link[]): Contents {
  const own = links.filter(({ name }) => !EVERYWHERE.has(name));
  if (own.some(({ name, kind }) => name === VXLAN && kind === 'vxlan')) return 'overlay';
  if (own.length === 0) return 'empty';
  if (own.some(isPort) || own.every(isBridge)) return 'rest';
  return 'other';
}

/** A container's veth as overns makes them, in whichever bridge; also one that was not given its alias any more. */
export function isPort({ kind, name, alias }: Link): boolean {
  return kind === 'veth' && (parseAlias(alias) !== undefined || (alias === undefined && isVethName(name)));
}

export function isBridge({ kind, name }: Link): boolean {
  return kind === 'bridge' && name === BRIDGE;
}

const noOverlays = new WeakSet<Error>();

/** The error of a namespace that has no vxlan1, with the commands that help where it has these contents. */
export function notAnOverlay(name: string, contents: Contents): OvernsError {
  const error =
    contents === 'rest'
      ? new OvernsError('OVERNS_INCOMPLETE', `overlay "${name}" is incomplete: it has no ${VXLAN}`, {
          hint: `\`Overlay.ensure({ name: '${name}' })\` completes it, \`Overlay.delete('${name}')\` removes it`,
        })
      : new OvernsError('EINVAL', `namespace "${name}" is no overlay: it has no ${VXLAN}`, {
          hint:
            contents === 'empty'
              ? `\`Overlay.ensure({ name: '${name}' })\` makes one of it, \`ip netns delete ${name}\` removes it`
              : `choose another name, or remove it if nobody needs it: \`ip netns delete ${name}\``,
        });
  noOverlays.add(error);
  return error;
}

/** True for the error of a namespace that has no vxlan1 at all, or not yet. */
export function isNoOverlay(error: unknown): boolean {
  return noOverlays.has(error as Error);
}

/** The error of a name that another namespace has, with what can be done about that one. */
export async function nameTaken(name: string, rtnl: Rtnl | undefined, cause?: unknown): Promise<OvernsError> {
  const links = await rtnl?.links.list().catch(() => undefined);
  const contents = links === undefined ? 'other' : contentsOf(links);
  const remove =
    contents === 'overlay' || contents === 'rest' ? `\`Overlay.delete('${name}')\`` : `\`ip netns delete ${name}\``;
  const ways = {
    overlay: 'choose another name',
    rest: 'it is an overlay that lacks its vxlan1: complete it with `ensure`',
    empty: 'choose another name, make an overlay of it with `ensure`',
    other: 'choose another name',
  };
  return new OvernsError('EEXIST', `a namespace "${name}" exists already`, {
    hint: `${ways[contents]}, or remove it: ${remove}`,
    cause,
  });
}
