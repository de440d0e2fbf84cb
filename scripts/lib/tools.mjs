/**
 * The tools the tests need: what the machine has, what the cache folder of the checkout has, and how to get the rest.
 * `npm test` hands the result to the tests in OVERNS_TEST_TOOLS.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { installPackages, unpackPackages } from './debian.mjs';
import { root, which } from './process.mjs';
import { exclusively } from './stale.mjs';

export const cache = join(root, '.cache/tools/root');

/**
 * `commands`: what must be on PATH. `probe`: a command of it that must succeed, for a tool may be there without what it
 * needs: libraries, or what an interrupted run had yet to unpack. `has` says of what is no command whether it is there.
 * `suite`: where the machine's own suites lack it. `unpack`: it is never installed. `wrap`: what an unpacked command is started with.
 *
 * A package that is unpacked and not installed has no user or group of its own, no alternatives, no service and no files in
 * /etc: what is listed here does without, or is told to.
 */
const TOOLS = {
  ip: { packages: ['iproute2'], commands: ['ip', 'bridge'], probe: ['bridge', '-V'] },
  ping: { packages: ['iputils-ping'], commands: ['ping'], probe: ['ping', '-V'] },
  // Started by root it goes on as the user tcpdump, whom installing it makes.
  tcpdump: {
    packages: ['tcpdump'],
    commands: ['tcpdump'],
    probe: ['tcpdump', '--version'],
    wrap: { tcpdump: '--relinquish-privileges=root' },
  },
  busybox: {
    packages: ['busybox-static'],
    commands: ['busybox'],
    probe: ['busybox', 'true'],
    has: (path) => isStatic(which('busybox', path)),
  },
  consul: { packages: ['consul'], commands: ['consul'], probe: ['consul', 'version'], suite: 'bullseye' },
  // Installing it would start a server.
  etcd: {
    packages: ['etcd-server', 'etcd-client'],
    commands: ['etcd', 'etcdctl'],
    probe: ['etcd', '--version'],
    unpack: true,
  },
  docker: {
    packages: ['docker.io'],
    commands: ['dockerd', 'docker', 'containerd', 'containerd-shim-runc-v2', 'runc'],
    probe: ['runc', '--version'],
  },
  // Installing it would start a socket of its own.
  podman: {
    packages: ['podman', 'runc'],
    commands: ['podman', 'conmon', 'runc'],
    probe: ['podman', '--version'],
    unpack: true,
  },
  cmake: { packages: ['cmake'], commands: ['cmake'], probe: ['cmake', '--version'] },
  doctest: {
    packages: ['doctest-dev'],
    commands: [],
    has: () =>
      ['/usr/include', '/usr/local/include', join(cache, 'usr/include')].some((dir) =>
        existsSync(join(dir, 'doctest/doctest.h')),
      ),
  },
};

/** A container's image holds no libraries: the busybox it is made of must not ask for any. */
function isStatic(file) {
  if (!file) return false;
  const head = Buffer.alloc(4096);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, head, 0, head.length, 0);
  } finally {
    closeSync(fd);
  }
  if (head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2) return false;
  const offset = Number(head.readBigUInt64LE(32));
  const size = head.readUInt16LE(54);
  const count = head.readUInt16LE(56);
  const PT_INTERP = 3;
  for (let i = 0; i < count && offset + i * size + 4 <= head.length; i++) {
    if (head.readUInt32LE(offset + i * size) === PT_INTERP) return false;
  }
  return true;
}

/** PATH and library path with the cache folder's behind the machine's own. */
export function toolEnv(env = process.env) {
  const bins = ['usr/local/sbin', 'usr/local/bin', 'usr/sbin', 'usr/bin', 'sbin', 'bin'];
  // A user's PATH often lacks the sbin folders, where ip and bridge live.
  const path = [env.PATH ?? '', '/usr/sbin', '/sbin', ...bins.map((dir) => join(cache, dir))].filter(Boolean);
  const result = { ...env, PATH: [...new Set(path.join(delimiter).split(delimiter))].join(delimiter) };
  const triplets = existsSync(join(cache, 'usr/lib'))
    ? readdirSync(join(cache, 'usr/lib')).filter((name) => /-linux-gnu/.test(name))
    : [];
  const libraries = triplets
    .flatMap((name) => [join(cache, 'usr/lib', name), join(cache, 'lib', name)])
    .filter(existsSync);
  if (libraries.length > 0) {
    result.LD_LIBRARY_PATH = [
      ...new Set([...(env.LD_LIBRARY_PATH ?? '').split(delimiter).filter(Boolean), ...libraries]),
    ].join(delimiter);
  }
  return result;
}

/** Whether this process may make network namespaces and devices, asked of its capabilities, not its uid. */
export function privileged() {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(
    existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '',
  );
  const caps = BigInt(`0x${line?.[1] ?? '0'}`);
  const CAP_NET_ADMIN = 12n;
  const CAP_SYS_ADMIN = 21n;
  return ((caps >> CAP_NET_ADMIN) & (caps >> CAP_SYS_ADMIN) & 1n) === 1n;
}

/** Why a tool cannot be used, or undefined when it can. */
function lacking(name, tool, env) {
  const missing = tool.commands.filter((command) => !which(command, env.PATH));
  if (missing.length > 0) return `${missing.join(', ')} not found`;
  if (tool.has && !tool.has(env.PATH)) return `${tool.commands.length > 0 ? `a static ${name}` : name} not found`;
  if (!tool.probe) return undefined;
  const [command, ...args] = tool.probe;
  const { status, stderr, error } = spawnSync(command, args, { env, encoding: 'utf8', timeout: 20_000 });
  if (status === 0) return undefined;
  const said = error?.message ?? (stderr.trim().split('\n')[0] || `it ends with status ${status}`);
  return `\`${tool.probe.join(' ')}\` fails: ${said}`;
}

/** Puts a script that adds an argument before a command that was unpacked into the cache folder. */
function wrap(commands) {
  const folder = join(cache, 'usr/local/bin');
  for (const [command, argument] of Object.entries(commands)) {
    const file = ['usr/sbin', 'usr/bin', 'sbin', 'bin'].map((dir) => join(cache, dir, command)).find(existsSync);
    if (!file) continue;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, command), `#!/bin/sh\nexec '${file}' '${argument}' "$@"\n`, { mode: 0o755 });
  }
}

/** Looks at what is there, without getting anything: `{ name: { ok } | { ok: false, reason, remedy } }`. */
export function detect(failures = {}) {
  const env = toolEnv();
  const result = {};
  for (const [name, tool] of Object.entries(TOOLS)) {
    const reason = lacking(name, tool, env);
    if (reason === undefined) result[name] = { ok: true };
    else {
      result[name] = {
        ok: false,
        reason: `${reason}${failures[name] ? `: ${failures[name]}` : ''}`,
        remedy: tool.suite
          ? `npm test (it fetches ${name} from Debian's ${tool.suite})`
          : tool.unpack
            ? `npm test (it fetches ${name} from Debian)`
            : `apt-get install ${tool.packages.join(' ')}`,
      };
    }
  }
  result.root =
    process.platform !== 'linux'
      ? {
          ok: false,
          reason: `network namespaces need Linux, this is ${process.platform}`,
          remedy: 'npm test on a Linux machine',
        }
      : privileged()
        ? { ok: true }
        : { ok: false, reason: 'no CAP_NET_ADMIN and CAP_SYS_ADMIN', remedy: 'sudo npm test' };
  return result;
}

/**
 * Gets what is lacking: into the cache folder, or onto the machine with OVERNS_TEST_INSTALL=1 and, unless that is 0, with
 * CI=true. Returns what {@link detect} does.
 */
export async function provide() {
  const install = (process.env.OVERNS_TEST_INSTALL ?? (process.env.CI === 'true' ? '1' : '0')) === '1';
  return exclusively('tools', async () => {
    const failures = {};
    const missing = () => Object.entries(TOOLS).filter(([name, tool]) => lacking(name, tool, toolEnv()));
    const own = missing().filter(([, tool]) => !tool.suite && !tool.unpack);
    if (install && own.length > 0) {
      const packages = own.flatMap(([, tool]) => tool.packages);
      process.stderr.write(`test: installing ${packages.join(' ')}\n`);
      const why = installPackages(packages);
      if (why) for (const [name] of own) failures[name] = why;
    }
    for (const [name, tool] of missing()) {
      process.stderr.write(`test: fetching ${tool.packages.join(' ')} into .cache/tools\n`);
      const why = unpackPackages(tool.packages, cache, tool.suite);
      if (why) failures[name] = why;
      else if (tool.wrap) wrap(tool.wrap);
    }
    return detect(failures);
  });
}
