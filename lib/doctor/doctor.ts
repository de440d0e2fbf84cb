/** Report of what this machine can do for overlays and what it lacks, each with the remedy. */
import { release } from 'node:os';
import type { Cancel } from '../core/abort.js';
import { checkSignal, throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { checkOptions, type Shape } from '../core/options.js';
import { dockerOption } from '../overlay/ports/options.js';
import { dockerEngine } from '../overlay/targets/docker.js';
import { EngineClient, type EngineOptions } from '../overlay/targets/engine-api.js';
import type { Native } from '../system/native.js';
import { atLeast } from '../system/remedies.js';
import { checkSystem, machine, type OnSystem, type System } from '../system/system.js';
import type { DoctorCheck, DoctorReport } from './check.js';
import { devices } from './devices.js';
import { neighbourLimits, openFiles, privileges, realtime, receiveBuffer, userNamespaces } from './limits.js';
import { Machine } from './machine.js';
import { ipv6, loopback, underlay } from './network.js';
import { overlays, underlayFaults } from './overlays.js';

/**
 * How the machine is examined.
 * @example
 * ```ts
 * import type { DoctorOptions } from 'overns';
 *
 * const options: DoctorOptions = { docker: 'unix:///run/docker.sock', signal: AbortSignal.timeout(5000) };
 * console.log(options.docker); // unix:///run/docker.sock
 * ```
 */
export interface DoctorOptions extends Cancel, OnSystem {
  /** Docker's API, as DOCKER_HOST has it. Default: DOCKER_HOST, else `unix:///var/run/docker.sock`. */
  readonly docker?: string | undefined;
}

const doctorOptions = { docker: dockerOption, signal: checkSignal, system: checkSystem } satisfies Shape;

/**
 * Examines the machine: what it can do for overlays, what it lacks, and how the overlays that stand are served. Changes
 * nothing that lasts: devices are tried in a namespace of their own. On any platform; a machine that cannot do it is a
 * report, no error.
 * @throws AbortError; RangeError, TypeError for a wrong option
 * @example
 * ```ts
 * import { doctor } from 'overns';
 *
 * const { checks } = await doctor();
 * console.log(checks.find(({ id }) => id === 'vxlan')?.status); // ok
 * ```
 */
export async function doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
  const { docker, signal, system = machine } = checkOptions(options, doctorOptions);
  throwIfAborted(signal);
  const checks = process.platform === 'linux' ? await examine(system, { docker, signal }) : [platform()];
  return { ok: checks.every(({ status }) => status !== 'fail'), checks };
}

function platform(): DoctorCheck {
  return {
    id: 'platform',
    title: 'Operating system',
    status: 'fail',
    value: process.platform,
    remedy: 'overlays need Linux; types, stores and overns/testing work here',
  };
}

async function examine(system: System, options: EngineOptions): Promise<DoctorCheck[]> {
  const { signal } = options;
  const own = await Machine.look();
  const addon = loadAddon(system);
  const checks = [
    kernelVersion(),
    addon.check,
    ...privileges(own),
    ...(await devices(own, addon.native)),
    await userNamespaces(own),
    await ipv6(),
    loopback(),
    await underlay(addon.native && system),
    ...(await underlayFaults(addon.native && system, signal)),
    ...(await neighbourLimits()),
    await receiveBuffer(own),
    openFiles(own),
    realtime(own),
    await docker(options),
    ...(addon.native ? await overlays(system, signal) : []),
  ];
  throwIfAborted(signal);
  return checks;
}

function kernelVersion(): DoctorCheck {
  const base = { id: 'kernel', title: 'Linux kernel', value: release() } as const;
  // 4.20 checks requests strictly (NETLINK_GET_STRICT_CHK): older ones ignore what they do not know.
  return atLeast('4.20')
    ? { ...base, status: 'ok' }
    : { ...base, status: 'fail', remedy: 'use a kernel of 4.20 or later; 6.4 brings all features' };
}

function loadAddon(system: System): { check: DoctorCheck; native: Native | undefined } {
  const base = { id: 'addon', title: 'Native addon' } as const;
  try {
    return {
      native: system.native,
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

async function docker({ docker: host, signal }: EngineOptions): Promise<DoctorCheck> {
  const base = { id: 'docker', title: 'Docker', status: 'info' } as const;
  try {
    await using client = new EngineClient(dockerEngine, { docker: host });
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
