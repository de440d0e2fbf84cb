/**
 * A Podman service of the tests' own: in a network and a mount namespace of its own, with all its files in one folder. Its
 * containers' root is a folder with a static busybox; their pids are real ones.
 */
import { readlinkSync, rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.js';
import { busyboxTree, cgroupName, killMountNamespace, LINKER_CACHE, removeEngine } from './engine.js';
import { type ExecOptions, type ExecResult, exec, type Running, spawn } from './process.js';

export class Podman {
  /** Path of the API's unix socket. */
  readonly socket: string;
  /** For CONTAINER_HOST. */
  readonly host: string;
  readonly #folder: string;
  readonly #service: Running;
  #mountNamespace = '';
  #stopped = false;

  private constructor(folder: string, service: Running) {
    this.#folder = folder;
    this.socket = join(folder, 'podman.sock');
    this.host = `unix://${this.socket}`;
    this.#service = service;
  }

  /** Starts a service and waits until it answers. */
  static async start(): Promise<Podman> {
    const folder = await mkdtemp(join(tmpdir(), 'ot-podman-'));
    onCleanup(
      () => removeEngine(folder),
      () => rmSync(folder, { recursive: true, force: true }),
    );
    const program = async (name: string): Promise<string> =>
      (await exec('sh', ['-c', `command -v ${name}`])).stdout.trim();
    // The limits are what any root may set: Podman's own need CAP_SYS_RESOURCE.
    await writeFile(
      join(folder, 'containers.conf'),
      `[containers]
default_sysctls = []
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
conmon_path = ["${await program('conmon')}"]
events_logger = "none"
runtime = "runc"
static_dir = "${folder}/static"
tmp_dir = "${folder}/tmp"
volume_path = "${folder}/volumes"
[engine.runtimes]
runc = ["${await program('runc')}"]
[network]
network_config_dir = "${folder}/networks"
`,
    );
    await writeFile(
      join(folder, 'storage.conf'),
      `[storage]\ndriver = "vfs"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/data"\n`,
    );
    await busyboxTree(join(folder, 'root'));
    // Its locks are in /dev/shm, and those of the machine's own Podman, too.
    const script = `set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
${LINKER_CACHE}
exec podman system service --time=0 "unix://$0/podman.sock"`;
    const service = spawn(
      'unshare',
      ['--net', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, folder],
      { env: settings(folder) },
    );
    const podman = new Podman(folder, service);
    onCleanup(
      () => podman.stop(),
      () => podman.#kill(),
    );
    await podman.#ready();
    return podman;
  }

  /** Runs the `podman` command against this service. */
  cli(args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const env = { ...settings(this.#folder), ...options.env };
    return exec('podman', ['--remote', `--url=${this.host}`, ...args], { timeout: 60_000, ...options, env });
  }

  /** Starts a container that keeps running; it is removed with the test. */
  async run(name: string, net = 'none'): Promise<{ readonly id: string; readonly pid: number }> {
    const group = `--cgroup-parent=/${cgroupName(this.#folder)}`;
    const root = ['--rootfs', join(this.#folder, 'root')];
    onCleanup(() => this.cli(['rm', '-f', '-t', '0', name], { check: false }));
    await this.cli([
      'run',
      '-d',
      '--name',
      name,
      `--network=${net}`,
      group,
      '--env=PATH=/bin',
      ...root,
      'sleep',
      '1000000',
    ]);
    return this.inspect(name);
  }

  async inspect(name: string): Promise<{ readonly id: string; readonly pid: number }> {
    const { stdout } = await this.cli(['container', 'inspect', '--format', '{{.ID}} {{.State.Pid}}', name]);
    const [id = '', pid] = stdout.trim().split(' ');
    return { id, pid: Number(pid) };
  }

  async #ready(): Promise<void> {
    const until = Date.now() + 30_000;
    while ((await this.cli(['version'], { check: false })).code !== 0) {
      if (!this.#service.running || Date.now() > until)
        throw new Error(`podman does not answer: ${this.#service.stderr.slice(-3000)}`);
      await sleep(100);
    }
    this.#mountNamespace = readlinkSync(`/proc/${this.#service.pid}/ns/mnt`);
  }

  /** Removes all containers, ends the service and removes its files. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.cli(['rm', '-f', '-a', '-t', '0'], { check: false });
    await this.#service.stop('SIGTERM', 15_000);
    this.#kill();
    await removeEngine(this.#folder);
  }

  #kill(): void {
    if (this.#mountNamespace) killMountNamespace(this.#mountNamespace);
  }
}

function settings(folder: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    CONTAINERS_CONF: join(folder, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
    HOME: folder,
    TMPDIR: folder,
  };
}
