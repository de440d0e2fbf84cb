/**
 * The tools the tests need: what the machine has, what the cache folder of the checkout has, and how to get the rest.
 * `npm test` hands the result to the tests in OVERNS_TEST_TOOLS.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { installPackages, unpackPackages } from './debian.mjs';
import { root, which } from './process.mjs';
import { exclusively } from './stale.mjs';

export const cache = join(root, '.cache/tools/root');

/** `has` gets the PATH to look on and says whether the tool is there. `suite`: where the machine's own suites lack it. */
const TOOLS = {
  ip: { packages: ['iproute2'], commands: ['ip', 'bridge'] },
  ping: { packages: ['iputils-ping'], commands: ['ping'] },
  tcpdump: { packages: ['tcpdump'], commands: ['tcpdump'] },
  busybox: { packages: ['busybox-static'], commands: ['busybox'], has: (path) => isStatic(which('busybox', path)) },
  consul: { packages: ['consul'], commands: ['consul'], suite: 'bullseye' },
  docker: { packages: ['docker.io'], commands: ['dockerd', 'docker', 'containerd', 'containerd-shim-runc-v2', 'runc'] },
  cmake: { packages: ['cmake'], commands: ['cmake'] },
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

function present(tool, path) {
  return tool.commands.every((command) => which(command, path)) && (tool.has?.(path) ?? true);
}

/** What is there, without getting anything: `{ name: { ok } | { ok: false, reason, remedy } }`. */
export function detect(failures = {}) {
  const { PATH } = toolEnv();
  const result = {};
  for (const [name, tool] of Object.entries(TOOLS)) {
    if (present(tool, PATH)) result[name] = { ok: true };
    else {
      const what =
        tool.commands.length > 0 ? tool.commands.filter((command) => !which(command, PATH)).join(', ') : name;
      result[name] = {
        ok: false,
        reason: `${what || `a static ${name}`} not found${failures[name] ? `: ${failures[name]}` : ''}`,
        remedy: tool.suite
          ? `npm test (it fetches ${name} from Debian's ${tool.suite})`
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

/** Gets what is lacking: into the cache folder, or (`install`) onto the machine. Returns what {@link detect} does. */
export async function provide({ install = false } = {}) {
  return exclusively('tools', async () => {
    const failures = {};
    const missing = () => Object.entries(TOOLS).filter(([, tool]) => !present(tool, toolEnv().PATH));
    const own = missing().filter(([, tool]) => !tool.suite);
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
    }
    return detect(failures);
  });
}
