// @ts-check
/**
 * A real Docker Swarm: two daemons, each in a host's network namespace and a mount namespace of its own, with an
 * attachable overlay network between them and a container on each. It fills its tables before anybody asks.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.mjs';
import { exec, Running } from './process.mjs';
import { provide } from './tools.mjs';
import { pathOf, twoHosts } from './world.mjs';

const IMAGE = 'overns-bench';
const NETWORK = 'bench';
// A mount namespace of its own over /run: a containerd of the machine's would be taken for its own.
const START = 'mount -t tmpfs tmpfs /run && exec dockerd "$@"';

class Daemon {
  #mounts = '';

  /** @param {import('./world.mjs').Host} host @param {string} folder */
  constructor(host, folder) {
    this.host = host;
    this.folder = folder;
    this.socket = join(folder, 'docker.sock');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'daemon.json'), '{}');
    const options = {
      bridge: 'none',
      iptables: 'false',
      'ip-forward': 'false',
      'ip-masq': 'false',
      'userland-proxy': 'false',
      'storage-driver': 'vfs',
      'exec-opt': 'native.cgroupdriver=cgroupfs',
      'cgroup-parent': `/${this.#group}`,
      'data-root': join(folder, 'data'),
      'exec-root': join(folder, 'exec'),
      pidfile: join(folder, 'docker.pid'),
      'config-file': join(folder, 'daemon.json'),
      host: `unix://${this.socket}`,
      'log-level': 'warn',
    };
    const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    onCleanup(
      () => this.#remove(),
      () => {
        this.#kill();
        rmSync(folder, { recursive: true, force: true });
        this.#removeGroups();
      },
    );
    // nsenter, not `ip netns exec`: that would put another /sys in place, without control groups.
    const command = ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', START, 'sh', ...args];
    this.process = new Running(command, { netns: pathOf(host.name) });
  }

  get #group() {
    return `overns-bench-${process.pid}-${basename(this.folder)}`;
  }

  /** @param {string[]} args */
  async cli(...args) {
    const env = { ...process.env, DOCKER_HOST: `unix://${this.socket}`, DOCKER_CONFIG: this.folder };
    return (await exec(['docker', ...args], { env, timeout: 120_000 })).stdout.trim();
  }

  /** A request to the API. @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  api(method, path, body) {
    return new Promise((resolve, reject) => {
      const headers = { 'Content-Type': 'application/json' };
      const sent = request({ socketPath: this.socket, method, path: `/v1.41${path}`, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        response.on('end', () => {
          if ((response.statusCode ?? 500) >= 300)
            reject(new Error(`${method} ${path}: ${response.statusCode} ${text.trim()}`));
          else resolve(text ? JSON.parse(text) : undefined);
        });
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async ready() {
    for (const until = Date.now() + 30_000; ; ) {
      if (!this.process.running) throw new Error(`dockerd ended: ${this.process.stderr.trim().slice(-1000)}`);
      if (await this.api('GET', '/version').catch(() => undefined)) break;
      if (Date.now() > until) throw new Error(`dockerd is silent: ${this.process.stderr.trim().slice(-1000)}`);
      await sleep(100);
    }
    this.#mounts = readlinkSync(`/proc/${this.process.pid}/ns/mnt`);
  }

  /** @param {string} archive */
  async load(archive) {
    await this.cli('import', '--change', 'ENV PATH=/bin', archive, IMAGE);
  }

  /** @param {string} name @param {string[]} args @returns {Promise<string>} path of its network namespace */
  async run(name, ...args) {
    await this.cli('run', '-d', '--name', name, ...args, IMAGE, 'sleep', '1000000');
    return `/proc/${await this.cli('inspect', '--format', '{{.State.Pid}}', name)}/ns/net`;
  }

  async #remove() {
    const ids = (await this.cli('ps', '-aq').catch(() => '')).split('\n').filter(Boolean);
    if (ids.length > 0) await this.cli('rm', '-f', ...ids).catch(() => undefined);
    await this.process.stop('SIGTERM', 10_000);
    this.#kill();
    await sleep(50);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    this.#removeGroups();
  }

  /** The control groups of its containers, once their processes are gone. */
  #removeGroups() {
    const top = '/sys/fs/cgroup';
    for (const parent of [top, ...readdirSync(top).map((name) => join(top, name))]) {
      const group = join(parent, this.#group);
      for (let attempt = 0; attempt < 20 && existsSync(group); attempt++) {
        try {
          for (const child of readdirSync(group, { withFileTypes: true }))
            if (child.isDirectory()) rmdirSync(join(group, child.name));
          rmdirSync(group);
        } catch {
          // Somebody in it is just ending. This runs while the process exits as well: no timers.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
        }
      }
    }
  }

  /** Finds what still runs of this daemon: dockerd, containerd and the shims share its mount namespace. */
  #kill() {
    if (!this.#mounts) return;
    /** @type {Map<number, number>} */
    const parents = new Map();
    const own = new Set();
    for (const entry of readdirSync('/proc')) {
      const pid = Number(entry);
      if (!pid) continue;
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
        if (readlinkSync(`/proc/${pid}/ns/mnt`) === this.#mounts) own.add(pid);
      } catch {
        // ended meanwhile
      }
    }
    // A container has a mount namespace of its own and descends from a shim.
    /** @param {number} pid @returns {boolean} */
    const belongs = (pid) => own.has(pid) || (parents.has(pid) && belongs(parents.get(pid) ?? 0));
    for (const pid of parents.keys()) {
      if (!belongs(pid)) continue;
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended meanwhile
      }
    }
  }
}

/** An image's archive: a static busybox. @param {string} folder */
async function makeImage(folder) {
  const tree = join(folder, 'image');
  for (const name of ['bin', 'dev', 'proc', 'sys', 'etc', 'tmp']) mkdirSync(join(tree, name), { recursive: true });
  await exec(['sh', '-c', 'cp "$(command -v busybox)" "$1"', 'sh', join(tree, 'bin/busybox')]);
  for (const name of ['sleep', 'sh', 'ping']) symlinkSync('busybox', join(tree, 'bin', name));
  const archive = join(folder, 'image.tar');
  await exec(['tar', '-c', '-f', archive, '-C', tree, '.']);
  return archive;
}

/**
 * @param {(text: string) => void} log
 * @returns {Promise<{ a: Daemon, b: Daemon, network: string, image: string, between: string[] } | string>} or why there is none
 */
export async function startSwarm(log) {
  const tool = await provide('docker');
  if (!tool.ok) return tool.reason;
  log('starting a Docker Swarm');
  try {
    const folder = mkdtempSync(join(tmpdir(), 'overns-bench-docker-'));
    onCleanup(() => rmSync(folder, { recursive: true, force: true }));
    const [hostA, hostB] = await twoHosts('10.0.1');
    const a = new Daemon(hostA, join(folder, 'a'));
    const b = new Daemon(hostB, join(folder, 'b'));
    const archive = await makeImage(folder);
    await Promise.all([a.ready(), b.ready()]);
    await a.cli('swarm', 'init', '--advertise-addr', hostA.vtep);
    const token = await a.cli('swarm', 'join-token', '-q', 'worker');
    await b.cli('swarm', 'join', '--advertise-addr', hostB.vtep, '--token', token, `${hostA.vtep}:2377`);
    const network = await a.cli(
      'network',
      'create',
      '-d',
      'overlay',
      '--attachable',
      '--subnet',
      '10.77.0.0/16',
      NETWORK,
    );
    await Promise.all([a.load(archive), b.load(archive)]);
    const one = await a.run('one', '--net', NETWORK, '--ip', '10.77.1.2');
    const two = await b.run('two', '--net', NETWORK, '--ip', '10.77.1.3');
    // Its tables are filled by gossip: when a ping comes through, they are.
    await a.cli('exec', 'one', 'ping', '-c', '1', '-W', '20', '10.77.1.3');
    const between = ['--container-a', one, '--container-b', two, '--ip-a', '10.77.1.2', '--ip-b', '10.77.1.3'];
    return { a, b, network, image: IMAGE, between };
  } catch (error) {
    return `no Swarm here: ${/** @type {Error} */ (error).message.split('\n')[0]}`;
  }
}
