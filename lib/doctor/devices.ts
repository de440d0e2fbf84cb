/** Whether the kernel has the devices that overlays are made of. */
import { readFile, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { VXLAN_PORT } from '../core/address.js';
import type { LinkSpec } from '../rtnl/types.js';
import { kernel, netlinkError } from '../system/kernel-error.js';
import type { Native, NativeRtnl } from '../system/native.js';
import { atLeast, loadModule, SINCE } from '../system/remedies.js';
import type { DoctorCheck } from './check.js';
import { type Machine, text } from './machine.js';

const DEVICES = [
  { kind: 'bridge', title: 'Bridge device', module: 'bridge', option: 'CONFIG_BRIDGE' },
  { kind: 'veth', title: 'veth device', module: 'veth', option: 'CONFIG_VETH' },
  { kind: 'vxlan', title: 'VXLAN device', module: 'vxlan', option: 'CONFIG_VXLAN' },
] as const;
type Device = (typeof DEVICES)[number];

/** The result of making the devices: reasons of failure by kind, and whether localbypass was taken. */
interface Trial {
  readonly failures: ReadonlyMap<string, string>;
  readonly localBypass: boolean | undefined;
}

/** Made for real where that is allowed; else what the kernel says it was built with. */
export async function devices(machine: Machine, addon: Native | undefined): Promise<DoctorCheck[]> {
  const privileged = machine.has('CAP_NET_ADMIN') && machine.has('CAP_SYS_ADMIN');
  const trial = addon !== undefined && privileged ? await tryDevices(addon) : undefined;
  const checks = DEVICES.map(async (device): Promise<DoctorCheck> => {
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

/** Reads the kernel's own description; undefined = it says nothing. */
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
function localBypass(tried: boolean | undefined): DoctorCheck {
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
