// @ts-check
/**
 * Tools of the benchmarks: our own small programs, compiled when stale, and the peers' languages and
 * libraries, from the machine or, where it lacks them, as Debian packages in .cache/bench.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { unpackPackages } from '../../scripts/lib/debian.mjs';
import { capture, gypEnv, root, run, Stop, which } from '../../scripts/lib/process.mjs';
import { files as allFiles, exclusively, fingerprint, record, recorded, same } from '../../scripts/lib/stale.mjs';
import { toolEnv } from '../../scripts/lib/tools.mjs';
import { onCleanup } from './cleanup.mjs';

const cache = join(root, '.cache/bench/root');
const binaries = join(root, '.cache/bench/bin');
const usr = (/** @type {string} */ path) => join(cache, 'usr', path);

/**
 * A peer that cannot run, and why.
 * @typedef {{ ok: true } & Record<string, any> | { ok: false, reason: string }} Tool
 */

/** @type {(path: string, accept: (path: string) => boolean) => string[]} */
const files = /** @type {any} */ (allFiles);

/** @param {string} name @returns {string} path of one of our C++ programs */
export function program(name) {
  return join(binaries, name);
}

/** Compiles benchmarks/tools/*.cc and the C++ peers. */
export async function compilePrograms() {
  await exclusively('bench', async () => {
    const sources = files(
      'benchmarks',
      (/** @type {string} */ path) => path.endsWith('.cc') && !path.includes('node_modules'),
    );
    const headers = files('benchmarks/tools', (path) => path.endsWith('.h'));
    mkdirSync(binaries, { recursive: true });
    for (const source of sources) {
      const name = source.slice(source.lastIndexOf('/') + 1, -'.cc'.length);
      const stamp = `.cache/bench/bin/${name}.json`;
      const now = fingerprint([source, ...headers], { compiler: capture('g++', ['-dumpfullversion']) ?? '' });
      if (existsSync(program(name)) && same(now, recorded(stamp))) continue;
      process.stderr.write(`bench: compiling ${name}\n`);
      const status = await run('g++', [
        '-std=c++20',
        '-O2',
        '-Wall',
        '-Wextra',
        '-pthread',
        '-o',
        program(name),
        source,
      ]);
      if (status !== 0) throw new Stop(`bench: ${source} did not compile (above): a C++20 compiler is needed`);
      record(stamp, now);
    }
  });
}

/**
 * A copy of what is built now. Somebody may build again while a run of an hour measures: it measures one thing.
 * @param {string} from a built checkout
 * @returns {string} folder with dist/ and the addon
 */
export function snapshot(from) {
  const folder = join(root, `.cache/bench/package-${process.pid}`);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  remove();
  onCleanup(remove);
  mkdirSync(join(folder, 'build/Release'), { recursive: true });
  cpSync(join(from, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(from, 'build/Release/overns.node'), join(folder, 'build/Release/overns.node'));
  cpSync(join(from, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(from, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** PATH with the sbin folders and the caches' behind the machine's own. */
export function benchEnv() {
  /** @type {Record<string, string | undefined>} */
  const env = toolEnv();
  env.PATH = [env.PATH, usr('bin'), usr('sbin')].join(':');
  // Also before there is anything: packages come while a bench runs.
  env.LD_LIBRARY_PATH = [env.LD_LIBRARY_PATH, usr('lib/x86_64-linux-gnu')].filter(Boolean).join(':');
  return env;
}

/** @param {string} what @param {string[]} packages @returns {string | undefined} why it failed */
function fetch(what, packages) {
  process.stderr.write(`bench: fetching ${what} into .cache/bench\n`);
  return unpackPackages(packages, cache);
}

/** Python 3 with pyroute2 and python-consul. The system's: another python3 on PATH does not see Debian's modules. */
function python() {
  const interpreter = '/usr/bin/python3';
  if (!existsSync(interpreter)) return { ok: false, reason: 'no /usr/bin/python3' };
  const modules = usr('lib/python3/dist-packages');
  const env = { ...process.env, PYTHONPATH: modules, PYTHONDONTWRITEBYTECODE: '1' };
  const works = () => capture(interpreter, ['-c', 'import pyroute2, consul'], { env }) !== undefined;
  if (works()) return { ok: true, interpreter, env };
  const why = fetch('pyroute2 and python-consul', ['python3-pyroute2', 'python3-consul']);
  if (works()) return { ok: true, interpreter, env };
  return { ok: false, reason: `python3-pyroute2 and python3-consul: ${why ?? 'cannot be imported'}` };
}

/** The Go peers, built offline against Debian's own source package of vishvananda/netlink. */
async function go() {
  const library = 'share/gocode/src/github.com/vishvananda/netlink';
  const installed = existsSync(join('/usr', library)) && which('go') !== undefined;
  if (!installed && !existsSync(usr(library))) {
    const why = fetch('Go and vishvananda/netlink', ['golang-go', 'golang-github-vishvananda-netlink-dev']);
    if (!existsSync(usr(library))) return { ok: false, reason: `golang-go: ${why ?? 'not found'}` };
  }
  const goroot = usr('lib/go');
  const command = installed ? /** @type {string} */ (which('go')) : join(goroot, 'bin/go');
  const path = join(root, '.cache/bench/go');
  const env = {
    ...process.env,
    ...(installed ? {} : { GOROOT: goroot }),
    GOPATH: [path, installed ? '/usr/share/gocode' : usr('share/gocode')].join(':'),
    GO111MODULE: 'off',
    GOFLAGS: '',
    GOCACHE: join(path, 'cache'),
    CGO_ENABLED: '0',
  };
  const sources = files('benchmarks/peers/go', (file) => file.endsWith('.go'));
  for (const folder of new Set(sources.map((file) => dirname(file)))) {
    const name = `go-${folder.slice(folder.lastIndexOf('/') + 1)}`;
    const stamp = `.cache/bench/bin/${name}.json`;
    const now = fingerprint(sources, { go: capture(command, ['version'], { env }) ?? '' });
    if (existsSync(program(name)) && same(now, recorded(stamp))) continue;
    process.stderr.write(`bench: compiling ${name}\n`);
    mkdirSync(binaries, { recursive: true });
    if ((await run(command, ['build', '-o', program(name), '.'], { cwd: join(root, folder), env })) !== 0)
      return { ok: false, reason: `${folder} did not build with ${capture(command, ['version'], { env }) ?? 'go'}` };
    record(stamp, now);
  }
  return { ok: true };
}

/** npm's `netlink`, in a folder of its own with its own lock file. It ships prebuilds: no install script is run. */
async function npmNetlink() {
  const folder = join(root, 'benchmarks/peers/npm-netlink');
  const wanted = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).dependencies.netlink;
  const found = () => {
    try {
      return JSON.parse(readFileSync(join(folder, 'node_modules/netlink/package.json'), 'utf8')).version === wanted;
    } catch {
      return false;
    }
  };
  if (!found()) {
    process.stderr.write(`bench: installing netlink ${wanted} from npm\n`);
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', args, { cwd: folder, env: gypEnv() });
  }
  const loads = capture(process.execPath, ['-e', 'require("netlink")'], { cwd: folder }) !== undefined;
  if (loads) return { ok: true };
  return {
    ok: false,
    reason: found() ? 'it cannot be loaded here' : 'npm ci of benchmarks/peers/npm-netlink failed (above)',
  };
}

function command(/** @type {string} */ name, /** @type {string[]} */ packages) {
  if (which(name, benchEnv().PATH)) return { ok: true };
  const why = fetch(name, packages);
  return which(name, benchEnv().PATH) ? { ok: true } : { ok: false, reason: `${name}: ${why ?? 'not found'}` };
}

function consul() {
  const { PATH } = toolEnv();
  if (which('consul', PATH)) return { ok: true };
  const why = unpackPackages(['consul'], join(root, '.cache/tools/root'), 'bullseye');
  return which('consul', toolEnv().PATH) ? { ok: true } : { ok: false, reason: `consul: ${why ?? 'not found'}` };
}

function etcd() {
  const { PATH } = toolEnv();
  if (which('etcd', PATH) && which('etcdctl', PATH)) return { ok: true };
  const why = unpackPackages(['etcd-server', 'etcd-client'], join(root, '.cache/tools/root'));
  return which('etcdctl', toolEnv().PATH) ? { ok: true } : { ok: false, reason: `etcd: ${why ?? 'not found'}` };
}

const PROVIDERS = {
  python,
  go,
  'npm-netlink': npmNetlink,
  consul,
  etcd,
  curl: () => command('curl', ['curl']),
  iperf3: () => command('iperf3', ['iperf3']),
  ping: () => command('ping', ['iputils-ping']),
  iproute2: () => command('bridge', ['iproute2']),
  docker: () => {
    const { PATH } = toolEnv();
    const missing = ['dockerd', 'docker', 'containerd', 'runc', 'busybox'].filter((name) => !which(name, PATH));
    return missing.length === 0 ? { ok: true } : { ok: false, reason: `${missing.join(', ')} not found` };
  },
};

/** @type {Map<string, Promise<Tool>>} */
const provided = new Map();

/**
 * Gets what a peer needs, once a run.
 * @param {keyof typeof PROVIDERS} name
 * @returns {Promise<any>}
 */
export function provide(name) {
  const before = provided.get(name);
  if (before) return before;
  const made = exclusively('bench', async () => PROVIDERS[name]()).catch((error) => ({
    ok: false,
    reason: error.message,
  }));
  provided.set(name, made);
  return made;
}
