/** Comparing an overlay that exists with the one that is wanted. */
import { type Cidr, formatCidr } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import { BRIDGE } from './devices.js';
import { givenAddresses } from './ports/container-network.js';

export interface WantedOverlay {
  readonly name: string;
  readonly vni: number;
  readonly port: number;
  readonly learning: boolean | undefined;
  readonly addresses: readonly Cidr[] | undefined;
  readonly mtu: number | 'auto';
  readonly vtep: string | undefined;
  /** Path of the host's namespace. */
  readonly host: string;
}

/**
 * Refuses an overlay that is not the same as the one that is wanted: what was left open may be anything.
 * @throws OvernsError `EEXIST` that names the differences
 */
export async function refuseDifferences(rtnl: Rtnl, links: readonly Link[], wanted: WantedOverlay): Promise<void> {
  const vxlan = links.find(({ kind }) => kind === 'vxlan') as Link;
  const differences: string[] = [];
  const compare = (what: string, is: unknown, want: unknown): void => {
    if (want !== undefined && is !== want)
      differences.push(`${what} ${String(is ?? 'none')} instead of ${String(want)}`);
  };
  compare('vni', vxlan.vni, wanted.vni);
  compare('port', vxlan.port, wanted.port);
  compare('learning', vxlan.learning, wanted.learning);
  compare('vtep', vxlan.local, wanted.vtep);
  compare('mtu', vxlan.mtu, wanted.mtu === 'auto' ? undefined : wanted.mtu);
  if ((await rtnl.nsid({ path: wanted.host })) !== vxlan.linkNetnsid) differences.push('it belongs to another host');
  const bridge = links.find(({ name, kind }) => name === BRIDGE && kind === 'bridge');
  if (bridge === undefined || vxlan.master !== BRIDGE) differences.push(`${vxlan.name} is no port of a ${BRIDGE}`);
  else if (wanted.addresses !== undefined) {
    const texts = wanted.addresses.map(formatCidr);
    const listed = await rtnl.addresses.list({ link: BRIDGE });
    const own = givenAddresses(
      listed.map(({ address }) => address),
      texts,
    );
    compare('address', own.join(' ') || 'none', [...texts].sort().join(' ') || 'none');
  }
  if (vxlan.up !== true) differences.push(`${vxlan.name} is down`);
  if (differences.length > 0) throw differsFrom(wanted.name, differences);
}

/** The error of an overlay that is there, but not as it is wanted. */
export function differsFrom(name: string, differences: readonly string[]): OvernsError {
  return new OvernsError('EEXIST', `overlay "${name}" exists, but is not the same: ${differences.join(', ')}`, {
    hint: `ask for what is there, or remove it: \`Overlay.delete('${name}')\``,
  });
}
