/**
 * Network namespaces as callers name them, and as the kernel knows them. Naming one never enters it: sockets in
 * other namespaces are the addon's business.
 */
import { isAbsolute, join, resolve } from 'node:path';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { OWN_NETNS } from '../system/nsfs.js';
import type { System } from '../system/system.js';

/**
 * A network namespace: a name in /run/netns, an absolute path to an nsfs file, or a process.
 * @example
 * ```ts
 * import type { NetnsRef } from 'overns';
 *
 * const refs: NetnsRef[] = ['web', { path: '/run/netns/web' }, { pid: 4711 }];
 * console.log(refs.length); // 3
 * ```
 */
export type NetnsRef = string | { readonly path: string } | { readonly pid: number };

/** The largest pid there can be (PID_MAX_LIMIT, include/linux/threads.h). */
const PID_MAX = 4_194_304;

/**
 * Where named namespaces are, absolute: `OVERNS_NETNS_DIR`, else `/run/netns` as iproute2 has it. Rootless set-ups
 * keep theirs in a private directory.
 */
export function netnsDirectory(): string {
  return resolve(process.env.OVERNS_NETNS_DIR || '/run/netns');
}

/** The file of a named namespace. */
export function netnsFile(name: string): string {
  return join(netnsDirectory(), name);
}

/** A reference before anything is looked up: the file, and the words for it in errors. */
interface Named {
  readonly path: string;
  readonly description: string;
  readonly pid?: number;
  readonly name?: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a NUL cuts a path short, a newline forges an error line, half a surrogate pair has no UTF-8
const NAME = /^[^/\u0000-\u001f\u007f\p{Surrogate}]+$/u;

/**
 * Checks a name that becomes a file in {@link netnsDirectory}: what `ip netns add` accepts.
 * @throws RangeError ERR_INVALID_ARG_VALUE
 */
export function checkNetnsName(name: string, argument = 'netns'): string {
  if (!NAME.test(name) || name === '.' || name === '..' || Buffer.byteLength(name) > 255) {
    throw invalidArgument(argument, name, 'a namespace name (1 to 255 bytes, without "/" or control characters)');
  }
  return name;
}

const NETNS_WORDS = 'a namespace name, an absolute path, { path } or { pid }';

function checkPid(pid: unknown, argument: string): number {
  if (typeof pid !== 'number') throw invalidType(`${argument}.pid`, pid, 'a number');
  if (!Number.isInteger(pid) || pid < 1 || pid > PID_MAX) {
    throw invalidArgument(`${argument}.pid`, pid, `a process id (1 to ${PID_MAX})`);
  }
  return pid;
}

function checkPath(path: unknown, argument: string): string {
  if (typeof path !== 'string') throw invalidType(`${argument}.path`, path, 'a string');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: as for names
  if (!isAbsolute(path) || /[\u0000-\u001f\u007f\p{Surrogate}]/u.test(path)) {
    throw invalidArgument(`${argument}.path`, path, 'an absolute path');
  }
  return path;
}

function named(ref: NetnsRef | undefined, argument: string): Named {
  if (ref === undefined) return { path: OWN_NETNS, description: 'the own namespace' };
  if (typeof ref === 'string') {
    if (isAbsolute(ref)) return { path: checkPath(ref, argument), description: ref };
    checkNetnsName(ref, argument);
    return { path: netnsFile(ref), description: `netns:${ref}`, name: ref };
  }
  if (ref !== null && typeof ref === 'object') {
    if ('pid' in ref) {
      const pid = checkPid(ref.pid, argument);
      return { path: `/proc/${pid}/ns/net`, description: `pid:${pid}`, pid };
    }
    if ('path' in ref) {
      const path = checkPath(ref.path, argument);
      return { path, description: path };
    }
  }
  throw invalidType(argument, ref, NETNS_WORDS);
}

/**
 * Checks a reference as far as it can be checked without looking at the machine.
 * @throws RangeError ERR_INVALID_ARG_VALUE or TypeError ERR_INVALID_ARG_TYPE
 */
export function checkNetns(ref: NetnsRef | undefined, argument = 'netns'): void {
  named(ref, argument);
}

/** The reference itself, where one must be given: the caller's own namespace is not meant by a mistake. */
export function netnsReference(value: unknown, argument: string): NetnsRef {
  if (value === undefined) throw invalidType(argument, value, NETNS_WORDS);
  named(value as NetnsRef, argument);
  return value as NetnsRef;
}

/** The text for a reference: the counterpart of {@link parseNetns}. */
export function netnsLabel(ref: NetnsRef): string {
  if (typeof ref === 'string') return ref;
  return 'path' in ref ? ref.path : `pid:${ref.pid}`;
}

/** A reference as a command line writes it: a name, an absolute path, or `pid:N`. */
export function parseNetns(text: string, argument = 'netns'): NetnsRef {
  const pid = /^pid:(.*)$/s.exec(text)?.[1];
  if (pid !== undefined) {
    if (!/^[0-9]{1,10}$/.test(pid)) throw invalidArgument(argument, text, `"pid:" and a process id (1 to ${PID_MAX})`);
    return { pid: checkPid(Number(pid), argument) };
  }
  checkNetns(text, argument);
  return text;
}

/**
 * The file of a namespace, checked to be one.
 * @param ref undefined = the caller's own namespace
 * @throws OvernsError `ENOENT` (no such name or path), `ESRCH` (no such process), `EACCES`, `EINVAL` (not a network
 *   namespace); RangeError or TypeError for a reference that cannot be meant
 */
export async function netnsPath(system: System, ref: NetnsRef | undefined, argument = 'netns'): Promise<string> {
  const target = named(ref, argument);
  try {
    if (await system.nsfs.isNamespace(target.path)) {
      const type = /^\/proc\/[^/]+(?:\/task\/[0-9]+)?\/ns\/([a-z_]+)$/.exec(target.path)?.[1];
      if (type !== undefined && type !== 'net') {
        throw new OvernsError('EINVAL', `${target.path} is a namespace, but not a network namespace`, {
          hint: `for that process it is ${target.path.slice(0, -type.length)}net`,
        });
      }
      return target.path;
    }
  } catch (error) {
    if (OvernsError.is(error)) throw error;
    throw await unreachable(system, target, error as NodeJS.ErrnoException);
  }
  throw new OvernsError('EINVAL', `${target.path} is not a network namespace: it is an ordinary file`, {
    hint:
      target.name === undefined
        ? 'name a file below /proc/PID/ns or a mounted namespace; one mounted in another mount namespace does not show here'
        : `a leftover of a namespace that is gone, or one mounted in another mount namespace: \`ip netns delete ${target.name}\` removes it`,
  });
}

async function unreachable(system: System, target: Named, error: NodeJS.ErrnoException): Promise<OvernsError> {
  if (OvernsError.is(error)) return error;
  const details = (hint: string): { hint: string; cause: unknown } => ({ hint, cause: error });
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new OvernsError(
      'EACCES',
      `${target.path}: permission denied`,
      details('it takes the privileges of that process: root, and CAP_SYS_PTRACE'),
    );
  }
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR' && error.code !== 'ESRCH') {
    return new OvernsError(
      error.code ?? 'EIO',
      `${target.path}: ${error.message}`,
      details('name a network namespace that exists'),
    );
  }
  if (target.pid !== undefined) {
    // A zombie has an entry in /proc, but no namespaces any more.
    const exists = await system.nsfs.processExists(target.pid);
    return new OvernsError(
      'ESRCH',
      exists ? `process ${target.pid} has exited` : `no process ${target.pid} here`,
      details('name a process that runs in this pid namespace'),
    );
  }
  if (target.name !== undefined) {
    return new OvernsError(
      'ENOENT',
      `no network namespace "${target.name}" in ${netnsDirectory()}`,
      details('`ip netns list` shows what is there; `OVERNS_NETNS_DIR` names another directory'),
    );
  }
  return new OvernsError(
    'ENOENT',
    `${target.path} does not exist`,
    details('name the file of a network namespace that exists'),
  );
}

/**
 * Identity of a namespace (`dev:ino` of its nsfs file): equal for two references to the same namespace.
 * Unique among those that live: the number of a namespace that is gone can come back.
 * @param path as {@link netnsPath} gives it
 */
export function netnsIdentity(system: System, path: string): Promise<string> {
  return system.nsfs.identity(path);
}

/** The names in {@link netnsDirectory} that are namespaces now, sorted; none if there is no such directory. */
export async function listNetns(system: System): Promise<readonly string[]> {
  const directory = netnsDirectory();
  let names: readonly string[];
  try {
    names = await system.nsfs.names(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const live = await Promise.all(
    names.map((name) => system.nsfs.isNamespace(join(directory, name)).catch(() => false)),
  );
  return names.filter((_, index) => live[index]).sort();
}
