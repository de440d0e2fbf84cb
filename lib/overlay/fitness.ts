/** Whether the devices of an overlay can ask at all: one that was made by hand may lack what makes vxlan1 tell its misses. */
import { OvernsError } from '../core/errors.js';
import type { Link } from '../rtnl/types.js';

/** IPv6 needs it (RFC 8200 section 5); below it vxlan1 tells of no IPv6 miss. */
const IPV6_MTU = 1280;
const FLAGS = ['proxy', 'l3miss'] as const;

export interface Fitness {
  /** Why it cannot be served. */
  readonly refusal?: OvernsError;
  /** Shortcomings that leave it working in part only, in sentences. */
  readonly warnings: readonly string[];
}

/** Judges an overlay by its links. One that lacks a device is not judged: who opens it says so. */
export function fitness(overlay: string, links: readonly Link[]): Fitness {
  const vxlan = links.find(({ name, kind }) => name === 'vxlan1' && kind === 'vxlan');
  const bridge = links.find(({ name }) => name === 'br0');
  if (!vxlan || !bridge) return { warnings: [] };
  const refuse = (what: string, hint: string): Fitness => ({
    refusal: new OvernsError('EINVAL', `cannot serve overlay "${overlay}": ${what}`, { hint }),
    warnings: [],
  });
  const ip = `ip -n ${overlay} link set`;
  if (bridge.kind !== 'bridge') {
    return refuse(
      `br0 is no bridge, but ${bridge.kind === undefined ? 'a plain device' : `of kind ${bridge.kind}`}`,
      'delete the overlay and create it again',
    );
  }
  const never = neverAsks(vxlan);
  if (never !== undefined) return refuse(never, remake(overlay));
  if (vxlan.master !== 'br0') {
    const where = vxlan.master === undefined ? 'in no bridge' : `in ${vxlan.master}`;
    return refuse(`vxlan1 is ${where}, so no container reaches it`, `${ip} vxlan1 master br0`);
  }
  for (const { name, up } of [vxlan, bridge]) {
    if (!up) return refuse(`${name} is down`, `${ip} ${name} up`);
  }
  const warnings: string[] = [];
  const warn = (what: string, remedy: string): void => void warnings.push(`overlay "${overlay}": ${what}: ${remedy}`);
  if (vxlan.l2miss !== true) {
    warn(
      'vxlan1 was made without l2miss: where packets for unknown MACs cannot be caught they are lost',
      remake(overlay),
    );
  }
  if (vxlan.mtu < IPV6_MTU) {
    warn(`the MTU of vxlan1 is ${vxlan.mtu}: there is no IPv6 below ${IPV6_MTU}`, `${ip} vxlan1 mtu ${IPV6_MTU}`);
  }
  if (bridge.mcastSnooping === true) {
    warn(
      'br0 snoops on multicast: an MLD querier would keep IPv6 solicitations from vxlan1',
      `${ip} br0 type bridge mcast_snooping 0`,
    );
  }
  return { warnings };
}

/** Why a vxlan device can never tell its misses, whatever is changed about it: the kernel takes these only at its making. */
export function neverAsks(vxlan: Link): string | undefined {
  if (vxlan.collectMetadata === true || vxlan.vni === 0)
    return `${vxlan.name} has no VNI of its own (external), so its misses bear none`;
  const missing = FLAGS.filter((flag) => vxlan[flag] !== true);
  return missing.length === 0
    ? undefined
    : `${vxlan.name} asks for nothing: it was made without ${missing.join(' and ')}`;
}

/** How to make a vxlan device that can ask in the place of one that cannot. */
export function remake(overlay: string): string {
  return `these cannot be changed: remove it with \`ip netns del ${overlay}\` and make it with \`Overlay.create()\`, or vxlan1 with \`ip link add vxlan1 type vxlan id VNI dstport 4789 local VTEP proxy nolearning l2miss l3miss\``;
}
