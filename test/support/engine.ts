/** What the tests' own engines of containers, Docker and Podman, have in common. */
import { readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from './process.js';

/**
 * Shell, in a mount namespace of the daemon's own with its folder as $0: a daemon from the cache folder starts itself or its
 * helpers without LD_LIBRARY_PATH, so that the linker's own cache has to know.
 */
export const LINKER_CACHE = `if [ -n "$LD_LIBRARY_PATH" ]; then
  { cat /etc/ld.so.conf; echo "$LD_LIBRARY_PATH" | tr : '\\n'; } > "$0/ld.so.conf"
  ldconfig -X -f "$0/ld.so.conf" -C "$0/ld.so.cache"
  mount --bind "$0/ld.so.cache" /etc/ld.so.cache
fi`;

/** Makes a container's root file system of a static busybox. */
export async function busyboxTree(tree: string): Promise<void> {
  await mkdir(join(tree, 'bin'), { recursive: true });
  for (const dir of ['dev', 'proc', 'sys', 'etc', 'tmp']) await mkdir(join(tree, dir));
  await exec('sh', ['-c', 'cp "$(command -v busybox)" "$1"', 'sh', join(tree, 'bin/busybox')]);
  const { stdout } = await exec('busybox', ['--list']);
  for (const applet of stdout.split('\n').filter((name) => name && name !== 'busybox'))
    await symlink('busybox', join(tree, 'bin', applet));
}

/** Kills whatever of a daemon's still runs: all its helpers share its mount namespace, and have the containers as children. */
export function killMountNamespace(mountNamespace: string): void {
  const own = new Set<number>();
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!pid) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
      if (readlinkSync(`/proc/${pid}/ns/mnt`) === mountNamespace) own.add(pid);
    } catch {
      // ended meanwhile
    }
  }
  // A container's processes have a mount namespace of their own and descend from a shim.
  const belongs = (pid: number): boolean => own.has(pid) || (parents.has(pid) && belongs(parents.get(pid) as number));
  for (const pid of parents.keys()) {
    if (!belongs(pid)) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ended meanwhile
    }
  }
}

/** The control group that a daemon puts its containers into. */
export function cgroupName(folder: string): string {
  return folder.slice(folder.lastIndexOf('/') + 1);
}

/** Removes a daemon's folder, and the control groups of its containers. */
export async function removeEngine(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  const top = '/sys/fs/cgroup';
  for (const parent of [top, ...readdirSync(top).map((name) => join(top, name))]) {
    const group = join(parent, cgroupName(folder));
    try {
      for (const child of readdirSync(group, { withFileTypes: true }))
        if (child.isDirectory()) rmdirSync(join(group, child.name));
      rmdirSync(group);
    } catch {
      // not in this hierarchy, or its processes are just ending
    }
  }
}
