/** Without privileges: the same in a user namespace, where this user is root over what the demo makes. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { onAbort, throwIfAborted } from '../../core/abort.js';
import { OvernsError } from '../../core/errors.js';
import { netnsDirectory } from '../../netns/references.js';
import { kernel } from '../../system/kernel-error.js';
import type { System } from '../../system/system.js';

/** CAP_NET_ADMIN, CAP_NET_RAW (the resolver's taps, the pings) and CAP_SYS_ADMIN (include/uapi/linux/capability.h). */
const CAPABILITIES = [12n, 13n, 21n] as const;

/** Tells the inner process that it is the inner one, and which directory for names of namespaces is its own. */
const INSIDE = 'OVERNS_DEMO_INSIDE';
/**
 * util-linux's unshare: root of a user namespace and of a mount namespace. The network stays the machine's, so that a
 * real store can be reached; whatever the demo makes or sends is in network namespaces of its own.
 */
const UNSHARE = ['-Urm'] as const;

/** True in the process that {@link runRootless} starts; its namespaces get their names where nobody else's are. */
export function insideUserNamespace(): boolean {
  const directory = process.env[INSIDE];
  if (!directory) return false;
  process.env.OVERNS_NETNS_DIR = directory;
  return true;
}

/** Whether this process may make network namespaces here: asked of its capabilities, then of the kernel. */
export async function privileged({ native: addon }: System): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  if (!CAPABILITIES.every((bit) => ((effective >> bit) & 1n) === 1n)) return false;
  // A container may have the capabilities and be refused all the same: by seccomp, or by who owns its mounts.
  const path = join(netnsDirectory(), `overns-demo-${process.pid}-trial`);
  try {
    await kernel({ what: `make namespace ${path}` }, addon.createNetns(path));
  } catch (error) {
    if (OvernsError.is(error) && ['EPERM', 'EACCES', 'EROFS'].includes(error.code)) return false;
    throw error;
  }
  await kernel({ what: `remove namespace ${path}` }, addon.deleteNetns(path));
  return true;
}

/** Runs this command line again as root of a user namespace. Resolves to its exit status. */
export async function runRootless(signal: AbortSignal, why: () => NodeJS.Signals): Promise<number> {
  await tryUnshare();
  const directory = await mkdtemp(join(tmpdir(), 'overns-demo-'));
  try {
    throwIfAborted(signal);
    const child = start([process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, [INSIDE]: directory },
      // A group of its own: what Ctrl-C sends to ours reaches it once, from here.
      detached: true,
    });
    const off = onAbort(signal, () => child.kill(why()));
    return await ended(child).finally(off);
  } finally {
    // The mounts in it went with their namespace.
    await rm(directory, { recursive: true, force: true });
  }
}

/** Fails with one line if this user may not. */
async function tryUnshare(): Promise<void> {
  let stderr = '';
  let status: number;
  try {
    const child = start(['true'], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    status = await ended(child);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new OvernsError(
      'EPERM',
      'demo: without CAP_NET_ADMIN and CAP_SYS_ADMIN it needs the command unshare, which is not on PATH',
      { hint: 'run it as root (sudo), or install util-linux', cause },
    );
  }
  if (status === 0) return;
  const words = stderr.trim().split('\n')[0] || `unshare ended with status ${status}`;
  throw new OvernsError(
    'EPERM',
    `demo: it needs CAP_NET_ADMIN and CAP_SYS_ADMIN, or a user namespace, which is refused (${words})`,
    { hint: 'run it as root (sudo), or see what `overns doctor` says of user namespaces' },
  );
}

function start(command: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn('unshare', [...UNSHARE, '--', ...command], options);
}

function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
