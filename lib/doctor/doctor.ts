/** What this machine can do for overlays and what it lacks, each with the remedy. */
import { readFile, stat } from 'node:fs/promises';
import { networkInterfaces, release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { throwIfAborted } from '../core/abort.js';
import { ipFamily, VXLAN_OVERHEAD, VXLAN_PORT } from '../core/address.js';
import { OvernsError } from '../core/errors.js';
import { listNetns } from '../netns/references.js';
import { Overlay } from '../overlay/overlay.js';
import { Docker, type DockerOptions } from '../overlay/targets/docker-api.js';
import { findUnderlay } from '../overlay/underlay.js';
import { queryResolver, troubles } from '../resolver/remote.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { LinkSpec } from '../rtnl/types.js';
import { kernel, netlinkError } from '../system/kernel-error.js';
import type { Native, NativeRtnl } from '../system/native.js';
import {
  atLeast,
  BECOME_PRIVILEGED,
  CAPABILITY,
  type Capability,
  loadModule,
  RAISE_OPEN_FILES,
  raiseNeighbourLimit,
  SINCE,
} from '../system/remedies.js';
import { system } from '../system/system.js';

/** One thing that was looked at. */
export interface Check {
  readonly id: string;
  readonly title: string;
  /** `fail`: overlays do not work without it. `warn`: they do, with the loss that the remedy names. `info`: no judgement. */
  readonly status: 'ok' | 'warn' | 'fail' | 'info';
  /** What was found. */
  readonly value: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** The whole examination. */
export interface DoctorReport {
  /** False if a check failed. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

/** What a resolver asks for as the receive buffer of its miss socket, bytes. */
const MISS_BUFFER = 16 * 1024 * 1024;

/** Examines the machine. Changes nothing that lasts: devices are tried in a namespace of their own. */
export async function doctor(options: DockerOptions = {}): Promise<DoctorReport> {
  throwIfAborted(options.signal);
  const checks = process.platform === 'linux' ? await examine(options) : [platform()];
  return { ok: checks.every(({ status }) => status !== 'fail'), checks };
}

function platform(): Check {
  return {
    id: 'platform',
    title: 'Operating system',
    status: 'fail',
    value: process.platform,
    remedy: 'overlays need Linux; types, stores and overns/testing work here',
  };
}

async function examine(options: DockerOptions): Promise<Check[]> {
  const machine = await Machine.look();
  const addon = loadAddon();
  const checks = [
    kernelVersion(),
    addon.check,
    ...privileges(machine),
    ...(await devices(machine, addon.native)),
    await userNamespaces(machine),
    await ipv6(),
    loopback(),
    await underlay(addon.native),
    ...(await underlayFaults(addon.native)),
    ...(await neighbourLimits()),
    await receiveBuffer(machine),
    openFiles(machine),
    realtime(machine),
    await docker(options),
    ...(addon.native ? await overlays(options.signal) : []),
  ];
  throwIfAborted(options.signal);
  return checks;
}

/** What several checks look at. */
class Machine {
  readonly #capabilities: bigint;
  readonly #limits: string;
  /** False inside a user namespace: what is forced or system-wide is not allowed there, whatever the capabilities say. */
  readonly initialUserns: boolean;

  private constructor(capabilities: bigint, limits: string, initialUserns: boolean) {
    this.#capabilities = capabilities;
    this.#limits = limits;
    this.initialUserns = initialUserns;
  }

  static async look(): Promise<Machine> {
    const status = await text('/proc/self/status');
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1] ?? '0';
    const map = (await text('/proc/self/uid_map')) ?? '';
    return new Machine(
      BigInt(`0x${effective}`),
      (await text('/proc/self/limits')) ?? '',
      /^\s*0\s+0\s+4294967295\s*$/.test(map),
    );
  }

  has(capability: Capability): boolean {
    return ((this.#capabilities >> BigInt(CAPABILITY[capability])) & 1n) === 1n;
  }

  /** The soft limit of that title; Infinity = unlimited, undefined = not to be read. */
  limit(title: string): number | undefined {
    const found = new RegExp(`^${title}\\s+(\\S+)`, 'm').exec(this.#limits)?.[1];
    if (found === undefined) return undefined;
    return found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found);
  }
}

async function text(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (content) => content.trim(),
    () => undefined,
  );
}

async function number(path: string): Promise<number | undefined> {
  const content = await text(path);
  return content !== undefined && /^\d+$/.test(content) ? Number(content) : undefined;
}

function kernelVersion(): Check {
  const base = { id: 'kernel', title: 'Linux kernel', value: release() } as const;
  // 4.20 checks requests strictly (NETLINK_GET_STRICT_CHK): older ones ignore what they do not know.
  return atLeast('4.20')
    ? { ...base, status: 'ok' }
    : { ...base, status: 'fail', remedy: 'use a kernel of 4.20 or later; 6.4 brings all features' };
}

function loadAddon(): { check: Check; native: Native | undefined } {
  const base = { id: 'addon', title: 'Native addon' } as const;
  try {
    return {
      native: system().native,
      check: { ...base, status: 'ok', value: `loaded, Node-API ${process.versions.napi}` },
    };
  } catch (error) {
    const { message, hint } = error as OvernsError;
    return {
      native: undefined,
      check: { ...base, status: 'fail', value: message, remedy: hint ?? 'run `npm run build`' },
    };
  }
}

function privileges(machine: Machine): Check[] {
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

const DEVICES = [
  { kind: 'bridge', title: 'Bridge device', module: 'bridge', option: 'CONFIG_BRIDGE' },
  { kind: 'veth', title: 'veth device', module: 'veth', option: 'CONFIG_VETH' },
  { kind: 'vxlan', title: 'VXLAN device', module: 'vxlan', option: 'CONFIG_VXLAN' },
] as const;
type Device = (typeof DEVICES)[number];

/** What came of making the devices: reasons of failure by kind, and whether localbypass was taken. */
interface Trial {
  readonly failures: ReadonlyMap<string, string>;
  readonly localBypass: boolean | undefined;
}

/** Made for real where that is allowed; else what the kernel says it was built with. */
async function devices(machine: Machine, addon: Native | undefined): Promise<Check[]> {
  const privileged = machine.has('CAP_NET_ADMIN') && machine.has('CAP_SYS_ADMIN');
  const trial = addon !== undefined && privileged ? await tryDevices(addon) : undefined;
  const checks = DEVICES.map(async (device): Promise<Check> => {
    const { kind, title, module } = device;
    const base = { id: kind, title } as const;
    const remedy = loadModule(module);
    if (trial !== undefined) {
      const failure = trial.failures.get(kind);
      if (failure === undefined) return { ...base, status: 'ok', value: 'works: made and removed' };
      return { ...base, status: 'fail', value: failure, remedy };
    }
    const built = await builtWith(device);
    if (built === true) return { ...base, status: 'ok', value: 'the kernel has it; not tried without privileges' };
    if (built === false) return { ...base, status: 'fail', value: 'the kernel was built without it', remedy };
    return { ...base, status: 'info', value: 'cannot be told without privileges' };
  });
  return [...(await Promise.all(checks)), localBypass(trial?.localBypass)];
}

const TRIALS: readonly LinkSpec[] = [
  { kind: 'bridge', name: 'probe0' },
  { kind: 'veth', name: 'probe1', peer: { name: 'probe2' } },
  { kind: 'vxlan', name: 'probe3', vni: 1, port: VXLAN_PORT, localbypass: false },
];

/** Makes one device of each kind in a namespace that goes with the socket, and them with it. */
async function tryDevices(addon: Native): Promise<Trial> {
  let rtnl: NativeRtnl | undefined;
  try {
    rtnl = await kernel({ what: 'make a namespace to try it in' }, addon.openScratchRtnl());
    const failures = new Map<string, string>();
    const answers = await rtnl.batch(
      'link',
      TRIALS.map((item) => ({ op: 'add', item: { ...item } })),
    );
    answers.forEach((failure, at) => {
      const { kind, name } = TRIALS[at] as LinkSpec;
      if (failure !== null) failures.set(kind, netlinkError(failure, { what: `add link ${name}` }).message);
    });
    // Kernels before 6.4 ignore the attribute, and do not list it.
    const [vxlan] = await rtnl.list('link', { kind: 'vxlan' });
    return { failures, localBypass: vxlan && vxlan.localbypass === false };
  } catch (error) {
    return { failures: new Map(DEVICES.map(({ kind }) => [kind, (error as Error).message])), localBypass: undefined };
  } finally {
    rtnl?.close();
  }
}

/** What the kernel's own description says; undefined = it says nothing. */
async function builtWith({ module, option }: Device): Promise<boolean | undefined> {
  const there = await stat(`/sys/module/${module}`).catch(() => undefined);
  if (there !== undefined) return true;
  const loaded = (await text('/proc/modules')) ?? '';
  if (new RegExp(`^${module} `, 'm').test(loaded)) return true;
  const config = await readFile('/proc/config.gz').then(
    (packed) => gunzipSync(packed).toString(),
    () => text(`/boot/config-${release()}`),
  );
  if (config === undefined) return undefined;
  return new RegExp(`^${option}=[ym]$`, 'm').test(config);
}

/** @param tried what came of it; undefined = not tried */
function localBypass(tried: boolean | undefined): Check {
  const base = { id: 'vxlan-localbypass', title: 'VXLAN localbypass' } as const;
  return (tried ?? atLeast(SINCE.localbypass as string))
    ? { ...base, status: 'ok', value: tried === undefined ? 'kernel 6.4 or later' : 'works' }
    : {
        ...base,
        status: 'warn',
        value: 'not in this kernel, 6.4 has it',
        remedy: 'use a later kernel: without it packets to a MAC address that is not known yet are lost until it is',
      };
}

async function userNamespaces(machine: Machine): Promise<Check> {
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
  // Who has the privileges anyway does not need them.
  return { ...base, status: machine.has('CAP_NET_ADMIN') ? 'info' : 'warn', value, remedy };
}

async function ipv6(): Promise<Check> {
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

function loopback(): Check {
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

/** What a new overlay would use. */
async function underlay(addon: Native | undefined): Promise<Check> {
  const base = { id: 'underlay', title: 'Underlay' } as const;
  if (addon === undefined) return { ...base, status: 'info', value: 'not to be seen without the native addon' };
  try {
    await using host = await Rtnl.open();
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

/** Overlays that stand, and whose underlay has changed since. */
async function underlayFaults(addon: Native | undefined): Promise<Check[]> {
  if (addon === undefined) return [];
  const found = await Overlay.list().catch(() => []);
  const checks = await Promise.all(
    found.map(async ({ overlay: name }): Promise<Check | undefined> => {
      const fault = await Overlay.open(name)
        .then(async (opened) => {
          await using overlay = opened;
          return await overlay.underlayFault();
        })
        .catch(() => undefined);
      if (fault === undefined) return undefined;
      const base = { id: `underlay-${name}`, title: `Underlay of overlay ${name}` } as const;
      return { ...base, status: 'warn', value: fault.message, ...(fault.hint && { remedy: fault.hint }) };
    }),
  );
  return checks.filter((check) => check !== undefined);
}

/** The neighbour table's limits are the machine's own and unknown to child namespaces. */
async function neighbourLimits(): Promise<Check[]> {
  return Promise.all(
    (['ipv4', 'ipv6'] as const).map(async (family): Promise<Check> => {
      const base = {
        id: `neighbours-${family}`,
        title: `Neighbour limits, ${family === 'ipv4' ? 'IPv4' : 'IPv6'}`,
      } as const;
      const path = `/proc/sys/net/${family}/neigh/default/gc_thresh`;
      const limits = await Promise.all([1, 2, 3].map((which) => number(`${path}${which}`)));
      const hard = limits[2];
      if (hard === undefined) return { ...base, status: 'info', value: 'not to be seen in this namespace' };
      const value = `gc_thresh ${limits.join('/')}`;
      // What a resolver enters is exempt; the hosts' own neighbours and the containers' are not.
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

async function receiveBuffer(machine: Machine): Promise<Check> {
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

function openFiles(machine: Machine): Check {
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

function realtime(machine: Machine): Check {
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

async function docker({ docker: host, signal }: DockerOptions): Promise<Check> {
  const base = { id: 'docker', title: 'Docker', status: 'info' } as const;
  try {
    await using client = new Docker(host);
    return { ...base, value: `${await client.version({ signal })} at ${client.shown}` };
  } catch (error) {
    if (!OvernsError.is(error)) throw error;
    return {
      ...base,
      value: error.message,
      ...(error.hint === undefined ? {} : { remedy: `for containers by Docker's name: ${error.hint}` }),
    };
  }
}

/** How the overlays of this machine are served: one that is in trouble each. */
async function overlays(signal: AbortSignal | undefined): Promise<Check[]> {
  const base = { id: 'overlays', title: 'Overlays' } as const;
  const names = await listNetns().catch(() => []);
  const checks: Check[] = [];
  let served = 0;
  // One after the other: each that is stuck costs its time, which the caller bounds.
  for (const name of names) {
    throwIfAborted(signal);
    const resolver = await queryResolver(name).catch((error: Error) => error);
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
          : `\`overns show ${name}\` says how it stands`,
    });
  }
  const value = served === 0 ? 'none is served' : `${served} served, ${checks.length} of them in trouble`;
  if (checks.length === 0) return [{ ...base, status: 'ok', value }];
  return [{ ...base, status: 'warn', value, remedy: 'each is named below, with what to do' }, ...checks];
}
