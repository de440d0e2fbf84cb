/** The files that stand for namespaces (fs/nsfs.c), read without entering any. */
import { open, readdir, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { accessDenied } from './permission.js';

/** f_type of nsfs (include/uapi/linux/magic.h). */
const NSFS_MAGIC = 0x6e736673;

/** The caller's own namespace. The process as a whole has one: no thread of it that outlives a call ever leaves it. */
export const OWN_NETNS = '/proc/self/ns/net';

/** Rejections are those of node:fs, with their codes; what Node's permission model refuses is said with its remedy. */
export interface Nsfs {
  /** True if the file stands for a namespace, of whichever kind. */
  isNamespace(path: string): Promise<boolean>;
  /** `dev:ino`, equal for two paths to the same namespace. */
  identity(path: string): Promise<string>;
  /** The names in a directory, namespaces or not. */
  names(directory: string): Promise<readonly string[]>;
  /** Holds the namespace of a file open, at a path of its own. */
  open(path: string): Promise<{ readonly path: string; close(): Promise<void> }>;
  /** True for a zombie too, which has no namespaces any more. */
  processExists(pid: number): Promise<boolean>;
}

/** Words for what Node's permission model refuses. */
async function permitted<T>(folder: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    throw accessDenied(folder, cause);
  }
}

/** Names what has to be readable for a path: a process's namespaces lie in a folder of its own. */
const folderOf = (path: string): string => (path.startsWith('/proc/') ? '/proc' : dirname(path));

export const machineNsfs: Nsfs = {
  async isNamespace(path) {
    return (await permitted(folderOf(path), statfs(path))).type === NSFS_MAGIC;
  },
  async identity(path) {
    const { dev, ino } = await permitted(folderOf(path), stat(path, { bigint: true }));
    return `${dev}:${ino}`;
  },
  names: (directory) => permitted(directory, readdir(directory)),
  async open(path) {
    const file = await permitted(folderOf(path), open(path));
    return { path: `/proc/self/fd/${file.fd}`, close: () => file.close() };
  },
  processExists: (pid) =>
    stat(`/proc/${pid}`).then(
      () => true,
      () => false,
    ),
};
