/** Privileges, and what limits a resolver. */
import { BECOME_PRIVILEGED, type Capability, RAISE_OPEN_FILES, raiseNeighbourLimit } from '../system/remedies.js';
import type { DoctorCheck } from './check.js';
import { type Machine, number } from './machine.js';

/** The receive buffer that a resolver asks for its miss socket, bytes. */
const MISS_BUFFER = 16 * 1024 * 1024;

export function privileges(machine: Machine): DoctorCheck[] {
  const why: readonly (readonly [Capability, string])[] = [
    ['CAP_NET_ADMIN', 'make links and answer misses'],
    ['CAP_SYS_ADMIN', 'make and enter namespaces'],
    ['CAP_NET_RAW', 'deliver the first packet'],
    ['CAP_NET_BIND_SERVICE', 'catch packets for unknown MAC addresses'],
  ];
  return why.map(([capability, use]) => {
    const base = { id: capability.toLowerCase().replaceAll('_', '-'), title: capability } as const;
    return machine.has(capability)
      ? { ...base, status: 'ok', value: machine.initialUserns ? 'yes' : 'yes, in a user namespace' }
      : {
          ...base,
          status: capability === 'CAP_NET_BIND_SERVICE' ? 'warn' : 'fail', // without it the first of those are lost
          value: `no: it takes it to ${use}`,
          remedy: BECOME_PRIVILEGED,
        };
  });
}

export async function userNamespaces(machine: Machine): Promise<DoctorCheck> {
  const base = { id: 'user-namespaces', title: 'User namespaces (rootless mode)' } as const;
  const most = await number('/proc/sys/user/max_user_namespaces');
  const allowed = await number('/proc/sys/kernel/unprivileged_userns_clone');
  const restricted = await number('/proc/sys/kernel/apparmor_restrict_unprivileged_userns');
  const obstacle =
    most === undefined
      ? ['not in this kernel', 'use a kernel with CONFIG_USER_NS, or run as root']
      : most === 0
        ? ['switched off', 'sysctl -w user.max_user_namespaces=15000']
        : allowed === 0
          ? ['for root only', 'sysctl -w kernel.unprivileged_userns_clone=1']
          : restricted === 1
            ? ['restricted by AppArmor', 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0']
            : undefined;
  if (obstacle === undefined) return { ...base, status: 'ok', value: `available, ${most} at most` };
  const [value = '', remedy = ''] = obstacle;
  // A process that has the privileges anyway does not need them.
  return { ...base, status: machine.has('CAP_NET_ADMIN') ? 'info' : 'warn', value, remedy };
}

/** The neighbour table's limits are the machine's own and unknown to child namespaces. */
export async function neighbourLimits(): Promise<DoctorCheck[]> {
  return Promise.all(
    (['ipv4', 'ipv6'] as const).map(async (family): Promise<DoctorCheck> => {
      const base = {
        id: `neighbours-${family}`,
        title: `Neighbour limits, ${family === 'ipv4' ? 'IPv4' : 'IPv6'}`,
      } as const;
      const path = `/proc/sys/net/${family}/neigh/default/gc_thresh`;
      const limits = await Promise.all([1, 2, 3].map((which) => number(`${path}${which}`)));
      const hard = limits[2];
      if (hard === undefined) return { ...base, status: 'info', value: 'not to be seen in this namespace' };
      const value = `gc_thresh ${limits.join('/')}`;
      // Entries of a resolver are exempt; the hosts' own neighbours and the containers' are not.
      return hard >= 4096
        ? { ...base, status: 'ok', value }
        : {
            ...base,
            status: 'info',
            value: `${value}: the resolver's entries are exempt, the containers' own are not`,
            remedy: `${raiseNeighbourLimit(family)} where the containers of this machine have more than ${hard} neighbours in all`,
          };
    }),
  );
}

export async function receiveBuffer(machine: Machine): Promise<DoctorCheck> {
  const base = { id: 'receive-buffer', title: 'Receive buffer for misses' } as const;
  if (machine.initialUserns && machine.has('CAP_NET_ADMIN'))
    return { ...base, status: 'ok', value: 'any size (CAP_NET_ADMIN)' };
  const most = await number('/proc/sys/net/core/rmem_max');
  if (most === undefined) return { ...base, status: 'info', value: 'net.core.rmem_max is not to be seen here' };
  return most >= MISS_BUFFER
    ? { ...base, status: 'ok', value: `net.core.rmem_max ${most}` }
    : {
        ...base,
        status: 'warn',
        value: `net.core.rmem_max ${most}`,
        remedy: `sysctl -w net.core.rmem_max=${MISS_BUFFER}: a smaller buffer loses misses in bursts`,
      };
}

export function openFiles(machine: Machine): DoctorCheck {
  const base = { id: 'open-files', title: 'Open files' } as const;
  const most = machine.limit('Max open files');
  if (most === undefined) return { ...base, status: 'info', value: 'not to be seen here' };
  const value = most === Number.POSITIVE_INFINITY ? 'unlimited' : `${most} at most`;
  return most >= 1024
    ? { ...base, status: 'ok', value }
    : {
        ...base,
        status: 'warn',
        value,
        remedy: `${RAISE_OPEN_FILES}: an agent holds several sockets for every overlay`,
      };
}

export function realtime(machine: Machine): DoctorCheck {
  const base = { id: 'realtime', title: 'Real-time priority' } as const;
  if (machine.initialUserns && machine.has('CAP_SYS_NICE'))
    return { ...base, status: 'ok', value: 'available (CAP_SYS_NICE)' };
  const most = machine.limit('Max realtime priority') ?? 0;
  return most > 0
    ? { ...base, status: 'ok', value: `up to ${most}` }
    : {
        ...base,
        status: 'warn',
        value: 'not available',
        remedy:
          'run as root, or with LimitRTPRIO= (ulimit -r): bursts to a new address can lose packets while the resolver waits for a CPU',
      };
}
