/** The host's network, as a new overlay would use it. */
import { networkInterfaces } from 'node:os';
import { ipFamily, VXLAN_OVERHEAD, VXLAN_PORT } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import { findUnderlay } from '../overlay/underlay.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { System } from '../system/system.js';
import type { DoctorCheck } from './check.js';
import { number, text } from './machine.js';

export async function ipv6(): Promise<DoctorCheck> {
  const base = { id: 'ipv6', title: 'IPv6' } as const;
  if ((await text('/proc/net/if_inet6')) === undefined) {
    return {
      ...base,
      status: 'warn',
      value: 'not in this kernel',
      remedy: 'boot without ipv6.disable=1 if overlays are to carry IPv6',
    };
  }
  return (await number('/proc/sys/net/ipv6/conf/all/disable_ipv6')) === 1
    ? {
        ...base,
        status: 'warn',
        value: 'disabled',
        remedy: 'sysctl -w net.ipv6.conf.all.disable_ipv6=0 if overlays are to carry IPv6',
      }
    : { ...base, status: 'ok', value: 'available' };
}

export function loopback(): DoctorCheck {
  const base = { id: 'loopback', title: "Host's loopback device" } as const;
  // Node lists interfaces that are up only.
  return networkInterfaces().lo === undefined
    ? {
        ...base,
        status: 'fail',
        value: 'lo is down',
        remedy: 'ip link set lo up: packets to a MAC address that is not known yet take their way through it',
      }
    : { ...base, status: 'ok', value: 'lo is up' };
}

/**
 * Tells what a new overlay would use.
 * @param system undefined: it has no addon
 */
export async function underlay(system: System | undefined): Promise<DoctorCheck> {
  const base = { id: 'underlay', title: 'Underlay' } as const;
  if (system === undefined) return { ...base, status: 'info', value: 'not to be seen without the native addon' };
  try {
    await using host = await Rtnl.open({ system });
    const { vtep, mtu, limit } = await findUnderlay(host, { port: VXLAN_PORT });
    const inside = Math.max(0, mtu - VXLAN_OVERHEAD[ipFamily(vtep)]);
    const value = `vtep ${vtep}, ${limit} carries ${mtu} bytes: ${inside} inside the overlay`;
    return inside < 1280
      ? { ...base, status: 'warn', value, remedy: `raise the MTU of ${limit}: IPv6 needs 1280 inside the overlay` }
      : { ...base, status: 'ok', value };
  } catch (error) {
    if (!OvernsError.is(error)) throw error;
    return { ...base, status: 'info', value: error.message, ...(error.hint && { remedy: error.hint }) };
  }
}
