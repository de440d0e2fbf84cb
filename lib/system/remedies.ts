/**
 * Remedies for what the kernel refuses or lacks: the texts that errors carry as their hint and that `overns doctor`
 * prints as its remedies. One place, so that both say the same.
 */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { nearest } from '../core/suggest.js';
import type { NativeFailure } from './native.js';

/** Bits of /proc/PID/status' Cap lines (include/uapi/linux/capability.h). */
export const CAPABILITY = {
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_NICE: 23,
} as const;
export type Capability = keyof typeof CAPABILITY;

/** How to come by privileges. */
export const BECOME_PRIVILEGED =
  'run as root (sudo), or in a namespace of your own: unshare --user --map-root-user --net --mount';

/** How to come by a kind of device. */
export const loadModule = (module: string): string =>
  `load the module: modprobe ${module} (your distribution may have it in a package of extra kernel modules)`;

/** How to raise the limit of a neighbour table. It is the machine's own, for all namespaces together. */
export const raiseNeighbourLimit = (family: 'ipv4' | 'ipv6'): string =>
  `sysctl -w net.${family}.neigh.default.gc_thresh3=16384`;

export const RAISE_OPEN_FILES = 'ulimit -n 4096';
/** ENOSPC of unshare(2). */
const RAISE_NAMESPACES =
  'this user has as many network namespaces as it may: sysctl -w user.max_net_namespaces=15000, or remove some';

/** The release that brought an attribute or a request, by the name that the API gives it. */
export const SINCE: Readonly<Record<string, string>> = {
  vnifilter: '5.18',
  localbypass: '6.4',
  labelPolicy: '6.7',
  fdbMaxLearned: '6.8',
  reservedBits: '6.14',
  mcRoute: '6.17',
  dscp: '6.13',
  dscpMask: '6.15',
  flowLabel: '6.14',
  sourcePortMask: '6.15',
  destinationPortMask: '6.15',
  'bulk deletion of FDB entries of a bridge': '5.19',
  'bulk deletion of FDB entries of a vxlan': '6.7',
};

/** True if a kernel's release is at least that version. */
export function atLeast(version: string, running = release()): boolean {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(running) ?? [];
  const [wantedMajor = 0, wantedMinor = 0] = version.split('.').map(Number);
  return Number(major) > wantedMajor || (Number(major) === wantedMajor && Number(minor) >= wantedMinor);
}

/** Kinds of links there are (`rtnl_link_ops`), so that one is not taken for another that is misspelt. */
const LINK_KINDS = (
  'amt bareudp batadv bond bridge can dummy erspan geneve gre gretap gtp hsr ifb ip6erspan ip6gre ip6gretap ip6tnl ipip ' +
  'ipoib ipvlan ipvtap lowpan macsec macvlan macvtap netdevsim netkit nlmon ovpn rmnet sit team tun vcan veth virt_wifi ' +
  'vlan vrf vsockmon vti vti6 vxcan vxlan wireguard wwan xfrm'
).split(' ');

/** Fields that a link of a kind cannot be made without: one of the fields in each. */
const NEEDED: Readonly<Record<string, readonly (readonly string[])[]>> = {
  vxlan: [['vni', 'collectMetadata']],
  vlan: [['link'], ['vlanId']],
  macvlan: [['link']],
  macvtap: [['link']],
  ipvlan: [['link']],
  ipvtap: [['link']],
  vrf: [['table']],
};

/** Facts about a refused request beyond the kernel's answer. */
export interface Refused {
  readonly code: string;
  readonly failure: NativeFailure;
  /** `link`, `address`, `route`, `neighbor`, `fdb`: what it was about. */
  readonly table?: string | undefined;
  readonly op?: string | undefined;
  readonly netns?: string | undefined;
  readonly request?: Readonly<Record<string, unknown>> | undefined;
}

/** Finds the remedy for a refusal; undefined when nothing is known beyond the kernel's own words. */
export function remedyFor(refused: Refused, machine: Machine = REAL): string | undefined {
  if (refused.op === 'get' && refused.table === 'route') return noRoute(refused);
  switch (refused.code) {
    case 'EPERM':
    case 'EACCES':
      return privileges(refused, machine);
    case 'ENODEV':
      return noDevice(refused);
    case 'ENOENT':
      return noEntry(refused);
    case 'EEXIST':
      return exists(refused);
    case 'EOPNOTSUPP':
      return unsupported(refused, machine);
    case 'EINVAL':
      return tooNew(refused, machine) ?? missing(refused);
    case 'EADDRNOTAVAIL':
    case 'ESRCH':
      return refused.op === 'delete' ? noEntry(refused) : undefined;
    case 'ENOBUFS':
      return full(refused, machine);
    case 'ENOSPC':
      return refused.failure.syscall === 'unshare' ? RAISE_NAMESPACES : undefined;
    case 'EROFS':
      return readOnly(refused);
    case 'EBUSY':
      if (refused.failure.syscall !== 'RTM_DELRULE') return undefined;
      if (refused.request?.priority === undefined) return 'give its priority as well, if it is to go';
      return 'delete the one that comes first as well, or before: `rules.list({ priority })` has them in the order of the kernel';
    case 'EMFILE':
    case 'ENFILE':
      return `raise the limit of open files: ${RAISE_OPEN_FILES}`;
    default:
      return undefined;
  }
}

/** The machine that the texts look at; another one in tests. */
export interface Machine {
  /** A file's content, undefined where there is none. */
  read(path: string): string | undefined;
  readonly release: string;
}
const REAL: Machine = {
  read(path) {
    try {
      return readFileSync(path, 'utf8').trim();
    } catch {
      return undefined;
    }
  },
  get release() {
    return release();
  },
};

/** Which capability a system call or a request asks for. */
function capabilityFor({ syscall }: NativeFailure): Capability {
  if (syscall.startsWith('RTM_')) return 'CAP_NET_ADMIN';
  if (syscall.startsWith('sched_')) return 'CAP_SYS_NICE';
  if (syscall === 'socket') return 'CAP_NET_RAW';
  return 'CAP_SYS_ADMIN';
}

function privileges({ failure, netns }: Refused, machine: Machine): string {
  if (failure.syscall === 'posix_spawn')
    return 'the file is there, and may not be run as a program: `chmod +x` lets it';
  if (failure.syscall === 'pidfd_send_signal') return 'the program has taken privileges that this process has not';
  const capability = capabilityFor(failure);
  const where = netns ?? 'this network namespace';
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(machine.read('/proc/self/status') ?? '')?.[1] ?? '0';
  const has = ((BigInt(`0x${effective}`) >> BigInt(CAPABILITY[capability])) & 1n) === 1n;
  return has
    ? `it takes ${capability} in the user namespace that owns ${where}, and this process has it in another one: run in the one that made it`
    : `it takes ${capability} in the user namespace that owns ${where}, and this process has none: ${BECOME_PRIVILEGED}`;
}

function readOnly({ failure }: Refused): string {
  const sysctl = /\/proc\/sys\/(\S+)/.exec(failure.message ?? '')?.[1];
  if (sysctl === undefined) return 'name a directory that can be written with `OVERNS_NETNS_DIR`';
  const everywhere = sysctl.replace(/\/conf\/[^/]+\//, '/conf/default/').replaceAll('/', '.');
  return `run overns where /proc/sys can be written (docker run --privileged; with systemd ProtectKernelTunables=no), or make the container with ${everywhere} set already`;
}

function words(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function noDevice({ failure, table, netns, request = {} }: Refused): string {
  if (failure.attribute === 'linkIndex') {
    return `${words(failure.message)} is not the link of index ${String(request.linkIndex)}: list again, or leave one of \`link\` and \`linkIndex\` out`;
  }
  const name =
    failure.syscall === 'RTM_GETLINK'
      ? words(failure.message)
      : (words(request.link) ?? (table === 'link' ? (words(request.name) ?? words(request.index)) : undefined));
  if (name === undefined) {
    return table === 'route' ? 'name the link or a gateway that a link leads to' : 'name a link that exists there';
  }
  return `there is no link ${JSON.stringify(name)} in ${netns ?? 'this network namespace'}: \`ip link\` shows what there is`;
}

/** Explains what routing refuses: its own verdicts, some of them under codes that mean something else everywhere else. */
function noRoute(refused: Refused): string | undefined {
  const dst = words(refused.request?.dst);
  const source = words(refused.request?.source);
  const covers = (type: string): string =>
    `a rule or route of type ${type} is for ${dst}: \`ip rule\` and \`ip route\` show it`;
  switch (refused.code) {
    case 'ENETUNREACH':
      return source === undefined
        ? `no route leads to ${dst}: \`ip route\` shows those there are`
        : `no route leads from ${source} to ${dst}, or ${source} is no address of this namespace: \`ip rule\` and \`ip route\` show what there is`;
    case 'EHOSTUNREACH':
      return refused.request?.inputLink === undefined
        ? covers('unreachable')
        : `this namespace does not forward (net.ipv4.ip_forward), or ${covers('unreachable')}`;
    case 'EACCES':
      return covers('prohibit');
    case 'EINVAL':
      return refused.failure.kernelMessage === undefined ? covers('blackhole') : undefined;
    case 'ENODEV':
      return noDevice(refused);
    default:
      return undefined;
  }
}

function noEntry({ failure, table, request = {} }: Refused): string {
  if (failure.syscall === 'posix_spawn') return 'name a program by its path, or one that lies in the PATH of `env`';
  if (failure.syscall === 'chdir') return 'name a `cwd` that exists';
  if (failure.syscall === 'mount')
    return 'make the file in /etc that /etc/netns/NAME stands for, or use `ownMounts: false`';
  if (table === 'neighbor') return `there is no entry for ${words(request.ip)} on ${words(request.link)}`;
  if (table === 'fdb') {
    const where = Array.isArray(request.flags) && request.flags.includes('master') ? "its bridge's FDB" : 'its own FDB';
    return `${words(request.link)} has no such entry for ${words(request.mac)} in ${where}`;
  }
  if (table === 'address') return `there is no ${words(request.address)} on ${words(request.link)}`;
  if (table === 'route')
    return `there is no such route to ${words(request.dst)}: \`routes.list({ dst })\` shows those there are`;
  if (table === 'rule') return 'there is no such rule: `rules.list()` shows those there are';
  if (table === 'nexthop') return `there is no nexthop ${String(request.id)}`;
  return 'name something that exists';
}

function exists({ failure, table, netns, request = {} }: Refused): string {
  const where = netns === undefined ? '' : ` in ${netns}`;
  const link = words(request.link);
  switch (table) {
    case 'link':
      if (failure.kernelMessage?.includes('VNI')) {
        return `another vxlan device of the host has VNI ${String(request.vni)} on this port: delete it, or choose another \`vni\` or \`port\``;
      }
      return `there is a link ${JSON.stringify(words(request.name) ?? '')}${where}: delete it, or change it with \`set()\``;
    case 'address':
      return `${link} has ${words(request.address)} already: \`replace()\` changes it`;
    case 'route':
      return `there is a route to ${words(request.dst)} with the same metric in the same table: \`replace()\` changes it, \`append()\` adds another way`;
    case 'neighbor':
      return `there is an entry for ${words(request.ip)} on ${link}: \`replace()\` changes it`;
    case 'rule':
      return 'there is such a rule: `replace()` takes it as done';
    case 'nexthop':
      return `there is a nexthop ${String(request.id)}: \`replace()\` changes it`;
    case 'fdb':
      return `there is an entry for ${words(request.mac)} on ${link}: \`replace()\` changes it, \`append()\` adds another destination`;
    default:
      return 'use `ensure()`, which takes a namespace that is there as done, or choose another name';
  }
}

function unsupported(refused: Refused, machine: Machine): string {
  const { failure, table, op, request = {} } = refused;
  const running = `this is Linux ${machine.release}`;
  const kind = words(request.kind);
  const unknownKind = op !== 'set' && failure.kernelMessage?.includes('type') === true;
  if (table === 'link' && kind === undefined && unknownKind)
    return 'there is no such link, and to make one takes its kind';
  if (table === 'link' && kind !== undefined) {
    if (op === 'add' || op === 'replace') {
      if (unknownKind) {
        const meant = LINK_KINDS.includes(kind) ? undefined : nearest(kind, LINK_KINDS);
        if (meant !== undefined) return `there is no kind ${JSON.stringify(kind)}: did you mean ${meant}?`;
        return `${running}, without ${JSON.stringify(kind)} devices: ${loadModule(kind)}`;
      }
    } else if (failure.kernelMessage === undefined) {
      return `${words(request.name)} is no ${kind}, or ${kind} devices cannot be changed: delete it and make another`;
    }
  }
  if (table === 'fdb' && op === 'flush') {
    const master = Array.isArray(request.flags) && request.flags.includes('master');
    const feature = `bulk deletion of FDB entries of a ${master ? 'bridge' : 'vxlan'}`;
    return `${feature} takes Linux ${SINCE[feature]} (${running}), and ${words(request.link)} to be ${master ? 'a port of a bridge' : 'a vxlan or a bridge'}: delete the entries one by one with \`batch()\` instead`;
  }
  if (table === 'fdb') {
    return `${words(request.link)} has no such FDB: a vxlan has one of its own (\`flags: ['self']\`), a port has its bridge's (\`flags: ['master']\`)`;
  }
  return tooNew(refused, machine) ?? `${running}, which lacks the feature: \`doctor()\` tells which`;
}

/** Names what a link of its kind takes and was not given. */
function missing({ table, op, request = {} }: Refused): string | undefined {
  const kind = words(request.kind);
  if (table !== 'link' || op === 'set' || kind === undefined || !Object.hasOwn(NEEDED, kind)) return undefined;
  const fields = NEEDED[kind]?.filter((some) => some.every((field) => request[field] === undefined)) ?? [];
  if (fields.length === 0) return undefined;
  return `a link of kind ${kind} takes ${fields.map((some) => some.join(' or ')).join(' and ')}`;
}

/** An attribute that a later kernel brought. */
function tooNew({ request = {} }: Refused, machine: Machine): string | undefined {
  for (const [name, version] of Object.entries(SINCE)) {
    if (request[name] !== undefined && !atLeast(version, machine.release)) {
      return `${name} takes Linux ${version}, this is ${machine.release}`;
    }
  }
  return undefined;
}

function full({ failure, table, request = {} }: Refused, machine: Machine): string | undefined {
  if (table !== 'neighbor' && failure.syscall !== 'RTM_NEWNEIGH') {
    return 'the kernel had no room for what it was to tell: read faster, or raise net.core.rmem_max';
  }
  const family = String(request.ip ?? '').includes(':') ? 'ipv6' : 'ipv4';
  // The threshold shows in the machine's first namespace only.
  const hard = machine.read(`/proc/sys/net/${family}/neigh/default/gc_thresh3`);
  const threshold = hard === undefined ? 'gc_thresh3 of the host' : `gc_thresh3 = ${hard}`;
  return `the neighbour table of all namespaces together is full (${threshold}): ${raiseNeighbourLimit(family)}; permanent entries and those with extern_learn are exempt`;
}
