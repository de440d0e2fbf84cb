/**
 * A Docker daemon of the tests' own: in a network and a mount namespace of its own, so that nothing it sets reaches
 * the machine, with one image made of a static busybox. Its containers' pids are real ones.
 */
import { readlinkSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.js';
import { busyboxTree, cgroupName, killMountNamespace, LINKER_CACHE, removeEngine } from './engine.js';
import { type ExecOptions, type ExecResult, exec, type Running, spawn } from './process.js';

export const IMAGE = 'overns-test';

export interface ContainerOptions {
  /** Default `none`: an empty network namespace. */
  readonly net?: string;
  /** Command that it runs. Default: sleeps until it is stopped. */
  readonly command?: readonly string[];
  /** Further arguments of `docker run`. */
  readonly args?: readonly string[];
}

/** One container, as `docker inspect` tells of it. */
export class Container {
  readonly docker: Docker;
  readonly name: string;
  readonly id: string;
  /** Pid of its first process when it was started; see {@link inspect} after a restart. */
  readonly pid: number;
  /** Where Docker says its namespace is: real only inside the daemon's own mount namespace. */
  readonly sandboxKey: string;

  constructor(docker: Docker, name: string, id: string, pid: number, sandboxKey: string) {
    this.docker = docker;
    this.name = name;
    this.id = id;
    this.pid = pid;
    this.sandboxKey = sandboxKey;
  }

  /** Its network namespace. */
  get path(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** Runs one of the machine's commands in the container's network namespace. */
  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return exec('nsenter', [`--net=${this.path}`, '--', command, ...args], options);
  }

  /** Runs one of busybox's commands inside the container, as `docker exec` does. */
  run(...command: string[]): Promise<ExecResult> {
    return this.docker.cli(['exec', this.name, ...command]);
  }

  /** The container as it is now: pids change with a restart. */
  async inspect(): Promise<Container> {
    return this.docker.inspect(this.name);
  }

  async remove(): Promise<void> {
    await this.docker.cli(['rm', '-f', this.name], { check: false });
  }
}

export class Docker implements AsyncDisposable {
  /** Path of the API's unix socket. */
  readonly socket: string;
  /** For DOCKER_HOST. */
  readonly host: string;
  readonly #folder: string;
  readonly #daemon: Running;
  #mountNamespace = '';
  #stopped = false;

  private constructor(folder: string, daemon: Running) {
    this.#folder = folder;
    this.socket = join(folder, 'docker.sock');
    this.host = `unix://${this.socket}`;
    this.#daemon = daemon;
  }

  /** Starts a daemon, waits until it answers, and imports {@link IMAGE}. */
  static async start(): Promise<Docker> {
    const folder = await mkdtemp(join(tmpdir(), 'ot-docker-'));
    // Mounts of its own over /run: a containerd of the machine's would be taken for its own, and shims put sockets there.
    const script = `set -e
ip link set lo up
mount -t tmpfs tmpfs /run
${LINKER_CACHE}
exec dockerd "$@"`;
    const args = [
      '--bridge=none',
      '--iptables=false',
      '--ip-forward=false',
      '--ip-masq=false',
      '--userland-proxy=false',
      '--storage-driver=vfs',
      '--exec-opt=native.cgroupdriver=cgroupfs',
      `--cgroup-parent=/${cgroupName(folder)}`,
      `--data-root=${join(folder, 'data')}`,
      `--exec-root=${join(folder, 'exec')}`,
      `--pidfile=${join(folder, 'docker.pid')}`,
      `--config-file=${join(folder, 'daemon.json')}`,
      `--host=unix://${join(folder, 'docker.sock')}`,
      '--log-level=warn',
    ];
    await writeFile(join(folder, 'daemon.json'), '{}');
    onCleanup(
      () => removeEngine(folder),
      () => rmSync(folder, { recursive: true, force: true }),
    );
    const daemon = spawn('unshare', [
      '--net',
      '--mount',
      '--propagation',
      'private',
      '--',
      'sh',
      '-c',
      script,
      folder,
      ...args,
    ]);
    const docker = new Docker(folder, daemon);
    onCleanup(
      () => docker.stop(),
      () => docker.#kill(),
    );
    await docker.#ready();
    await docker.#import();
    return docker;
  }

  /** Pid of dockerd. */
  get pid(): number {
    return this.#daemon.pid;
  }

  /** Runs the `docker` command against this daemon. */
  cli(args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const env = { ...process.env, ...options.env, DOCKER_HOST: this.host, DOCKER_CONFIG: this.#folder };
    return exec('docker', args, { timeout: 60_000, ...options, env });
  }

  /** Starts a container that keeps running. */
  async run(name: string, options: ContainerOptions = {}): Promise<Container> {
    const { net = 'none', command = ['sleep', '1000000'], args = [] } = options;
    await this.cli(['run', '-d', '--name', name, `--net=${net}`, ...args, IMAGE, ...command]);
    return this.inspect(name);
  }

  async inspect(name: string): Promise<Container> {
    const { stdout } = await this.cli([
      'inspect',
      '--format',
      '{{.Id}} {{.State.Pid}} {{.NetworkSettings.SandboxKey}}',
      name,
    ]);
    const [id = '', pid = '0', sandboxKey = ''] = stdout.trim().split(' ');
    return new Container(this, name, id, Number(pid), sandboxKey);
  }

  async #ready(): Promise<void> {
    const until = Date.now() + 30_000;
    for (;;) {
      if (!this.#daemon.running) throw new Error(`dockerd ended: ${this.#daemon.stderr.slice(-3000)}`);
      if ((await this.cli(['version', '--format', '{{.Server.Version}}'], { check: false })).code === 0) break;
      if (Date.now() > until)
        throw new Error(`dockerd does not answer after 30 s: ${this.#daemon.stderr.slice(-3000)}`);
      await sleep(100);
    }
    this.#mountNamespace = readlinkSync(`/proc/${this.pid}/ns/mnt`);
  }

  async #import(): Promise<void> {
    const tree = join(this.#folder, 'image');
    await busyboxTree(tree);
    const archive = join(this.#folder, 'image.tar');
    await exec('tar', ['-c', '-f', archive, '-C', tree, '.']);
    await this.cli(['import', '--change', 'ENV PATH=/bin', archive, IMAGE]);
    await rm(tree, { recursive: true });
    await rm(archive);
  }

  /** Removes all containers, ends the daemon and removes its files. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const { stdout } = await this.cli(['ps', '-aq'], { check: false });
    const ids = stdout.split('\n').filter(Boolean);
    if (ids.length > 0) await this.cli(['rm', '-f', ...ids], { check: false });
    await this.#daemon.stop('SIGTERM', 15_000);
    this.#kill();
    await removeEngine(this.#folder);
  }

  #kill(): void {
    if (this.#mountNamespace) killMountNamespace(this.#mountNamespace);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
