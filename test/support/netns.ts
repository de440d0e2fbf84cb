/** Network namespaces for tests: made and removed through iproute2, the oracle that product code never calls. */
import { execFileSync, type SpawnOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import { onCleanup } from './cleanup.js';
import { type ExecOptions, type ExecResult, exec, type Running, spawn } from './process.js';

export { type ExecOptions, type ExecResult, exec, Running, spawn } from './process.js';

/** Every namespace of a run begins with this and the pid of the run. */
export const PREFIX = `ot${process.env.OVERNS_TEST_RUN ?? process.pid}-`;
let counter = 0;

/**
 * A namespace name nobody else uses. Whatever namespace has it when the test ends is removed: use it for overlays
 * and namespaces that the code under test makes.
 */
export function uniqueName(): string {
  const name = `${PREFIX}${process.pid.toString(36)}-${++counter}`;
  onCleanup(
    () => removeNetns(name),
    () => {
      if (existsSync(`/run/netns/${name}`)) execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    },
  );
  return name;
}

/** Removes a namespace and the processes that still run in it; absent is fine. */
export async function removeNetns(name: string): Promise<void> {
  if (!name.startsWith('ot')) throw new Error(`${name}: not a namespace of the tests`);
  if (!existsSync(`/run/netns/${name}`)) return;
  // A process inside would keep the namespace, and its vxlan device, alive.
  const pids = await exec('ip', ['netns', 'pids', name], { check: false });
  for (const pid of pids.stdout.split('\n').filter(Boolean).map(Number)) {
    if (pid === process.pid) throw new Error(`${name}: the test itself runs in it`);
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ended by itself
    }
  }
  // The vxlan device itself, should something still hold the namespace open.
  await exec('ip', ['-n', name, 'link', 'del', 'vxlan1'], { check: false });
  try {
    await exec('ip', ['netns', 'del', name]);
  } catch (error) {
    // Gone meanwhile is fine, too.
    if (existsSync(`/run/netns/${name}`)) throw error;
  }
}

/** A namespace of a test. */
export class Netns implements AsyncDisposable {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }

  /** The file that stands for it. */
  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Runs a command inside. */
  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return exec('nsenter', [`--net=${this.path}`, '--', command, ...args], options);
  }

  /** Starts a command inside that keeps running until it ends or the test does. */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): Running {
    return spawn('nsenter', [`--net=${this.path}`, '--', command, ...args], options);
  }

  /** `ip -n NAME ...`: pass the words as one string or as a list. Resolves to stdout. */
  async ip(...words: string[]): Promise<string> {
    return (await exec('ip', ['-n', this.name, ...split(words)])).stdout;
  }

  /** `ip -j -d -n NAME ...`, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON has no types
  async ipJson(...words: string[]): Promise<any[]> {
    const { stdout } = await exec('ip', ['-j', '-d', '-n', this.name, ...split(words)]);
    return JSON.parse(stdout || '[]');
  }

  /** `bridge -n NAME ...`. Resolves to stdout. */
  async bridge(...words: string[]): Promise<string> {
    return (await exec('bridge', ['-n', this.name, ...split(words)])).stdout;
  }

  /** `bridge -j -d -n NAME ...`, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON has no types
  async bridgeJson(...words: string[]): Promise<any[]> {
    const { stdout } = await exec('bridge', ['-j', '-d', '-n', this.name, ...split(words)]);
    return JSON.parse(stdout || '[]');
  }

  /** Writes a value below /proc/sys inside the namespace, such as `net/ipv6/conf/all/disable_ipv6`. */
  async sysctl(key: string, value: string | number): Promise<void> {
    await this.exec('sh', ['-c', `printf %s "$1" > "/proc/sys/$2"`, 'sh', String(value), key]);
  }

  /** Removes it now instead of at the end of the test. */
  remove(): Promise<void> {
    return removeNetns(this.name);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}

function split(words: readonly string[]): string[] {
  return words.length === 1 ? (words[0] as string).trim().split(/\s+/) : [...words];
}

/** Makes a namespace with its loopback up. */
export async function createNetns(): Promise<Netns> {
  const netns = new Netns(uniqueName());
  await exec('ip', ['netns', 'add', netns.name]);
  await netns.ip('link set lo up');
  return netns;
}

/** A namespace that stands for a container: empty, loopback up. */
export function createContainer(): Promise<Netns> {
  return createNetns();
}

export interface HostsOptions {
  /** Adds fd00:10::10/64, ::11, ... to the underlay. Default false. */
  readonly ipv6?: boolean;
  /** MTU of the underlay. Default 1500. */
  readonly mtu?: number;
}

/** A namespace that stands for a machine, with its underlay device `under0`. */
export class Host extends Netns {
  /** Underlay address: 10.0.0.10, 10.0.0.11, ... */
  readonly ip4: string;
  /** fd00:10::10, fd00:10::11, ...; set up only with `ipv6`. */
  readonly ip6: string;
  readonly link = 'under0';

  constructor(name: string, index: number) {
    super(name);
    this.ip4 = `10.0.0.${10 + index}`;
    this.ip6 = `fd00:10::${10 + index}`;
  }
}

async function createHost(index: number): Promise<Host> {
  const { name } = await createNetns();
  const host = new Host(name, index);
  // Duplicate address detection would keep the first second's packets back.
  await host.sysctl('net/ipv6/conf/default/accept_dad', 0);
  return host;
}

async function address(host: Host, options: HostsOptions): Promise<void> {
  if (options.mtu !== undefined) await host.ip(`link set ${host.link} mtu ${options.mtu}`);
  await host.ip(`address add ${host.ip4}/24 dev ${host.link}`);
  if (options.ipv6) await host.ip(`address add ${host.ip6}/64 dev ${host.link} nodad`);
  await host.ip(`link set ${host.link} up`);
}

/** Two hosts joined by a veth pair: 10.0.0.10/24 and 10.0.0.11/24 (fd00:10::10/64 and fd00:10::11/64). */
export async function twoHosts(options: HostsOptions = {}): Promise<[Host, Host]> {
  const [a, b] = await Promise.all([createHost(0), createHost(1)]);
  await a.ip(`link add under0 type veth peer name under0 netns ${b.name}`);
  await Promise.all([address(a, options), address(b, options)]);
  if (options.ipv6) await carries(a, b);
  return [a, b];
}

/**
 * Waits until IPv6 crosses: a link joins the groups that neighbour discovery needs when the kernel has told of its
 * carrier, which it does once a second.
 */
async function carries(a: Host, b: Host): Promise<void> {
  await Promise.all([a.exec('ping', ['-c1', '-W5', b.ip6]), b.exec('ping', ['-c1', '-W5', a.ip6])]);
}

/** As many hosts as wanted, joined by a bridge in a namespace of its own. */
export async function manyHosts(count: number, options: HostsOptions = {}): Promise<Host[]> {
  const wire = await createNetns();
  await wire.ip('link add wire0 type bridge mcast_snooping 0');
  await wire.ip('link set wire0 up');
  const hosts: Host[] = [];
  for (let index = 0; index < count; index++) {
    const host = await createHost(index);
    await host.ip(`link add under0 type veth peer name port${index} netns ${wire.name}`);
    if (options.mtu !== undefined) await wire.ip(`link set port${index} mtu ${options.mtu}`);
    await wire.ip(`link set port${index} master wire0 up`);
    await address(host, options);
    hosts.push(host);
  }
  const [first, ...others] = hosts as [Host, ...Host[]];
  if (options.ipv6) await Promise.all(others.map((other) => carries(first, other)));
  return hosts;
}
