/** From what a caller calls a container to its network namespace. */
import { readFile } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { throwIfAborted } from '../../core/abort.js';
import { invalidArgument, invalidType, OvernsError } from '../../core/errors.js';
import type { NetnsRef } from '../../netns/references.js';
import { checkNetns, netnsDirectory, netnsIdentity, netnsPath, parseNetns } from '../../netns/references.js';
import { checkContainerName, Docker, type DockerContainer, type DockerOptions, isContainerName } from './docker.js';
import { parseDockerAddress } from './docker-address.js';

/**
 * A container. A string is `docker:NAME`, `netns:NAME`, `pid:N`, an absolute path, or a bare name (Docker's first,
 * else a named namespace).
 * @example
 * ```ts
 * import type { ContainerRef } from 'overns';
 *
 * const same: ContainerRef[] = ['docker:demo', { docker: 'demo' }];
 * const others: ContainerRef[] = ['netns:web', 'pid:4711', { path: '/proc/4711/ns/net' }];
 * console.log(same.length + others.length); // 5
 * ```
 */
export type ContainerRef =
  | string
  | { readonly docker: string }
  | { readonly netns: string }
  | { readonly path: string }
  | { readonly pid: number };

/** A container's network namespace. */
export interface ContainerTarget {
  /** The namespace's file. */
  readonly path: string;
  /** `docker:NAME`, `netns:NAME`, `pid:N` or the path: what was found, in words. */
  readonly description: string;
  /** As {@link netnsIdentity} gives it when the container was found: a later difference is another container. */
  readonly identity: string;
  /** Docker's id. */
  readonly id?: string;
}

/** A reference taken apart; `bare` is Docker's or a namespace's. */
type Parsed =
  | { kind: 'docker'; name: string }
  | { kind: 'netns'; ref: NetnsRef; description: string }
  | { kind: 'bare'; name: string };

function parse(ref: ContainerRef, argument: string): Parsed {
  if (typeof ref === 'string') {
    const [, scheme, rest] = /^(docker|netns|pid):(.*)$/s.exec(ref) ?? [];
    if (scheme === 'docker' && rest !== undefined) return { kind: 'docker', name: checkContainerName(rest, argument) };
    if (scheme === 'pid') return { kind: 'netns', ref: parseNetns(ref, argument), description: ref };
    if (scheme === 'netns' && rest !== undefined) return netns(rest, argument);
    if (isAbsolute(ref)) return netns(ref, argument);
    checkNetns(ref, argument);
    return { kind: 'bare', name: ref };
  }
  if (ref !== null && typeof ref === 'object') {
    if ('docker' in ref) {
      if (typeof ref.docker !== 'string') throw invalidType(`${argument}.docker`, ref.docker, 'a string');
      return { kind: 'docker', name: checkContainerName(ref.docker, argument) };
    }
    if ('netns' in ref) {
      if (typeof ref.netns !== 'string') throw invalidType(`${argument}.netns`, ref.netns, 'a string');
      return netns(ref.netns, argument);
    }
    if ('pid' in ref || 'path' in ref) {
      checkNetns(ref, argument);
      return { kind: 'netns', ref, description: 'pid' in ref ? `pid:${ref.pid}` : ref.path };
    }
  }
  throw invalidType(
    argument,
    ref,
    'docker:NAME, netns:NAME, pid:N, an absolute path, a name, or an object with one of them',
  );
}

function netns(name: string, argument: string): Parsed {
  if (name === '') throw invalidArgument(argument, 'netns:', 'a container: a name is missing');
  checkNetns(name, argument);
  return { kind: 'netns', ref: name, description: isAbsolute(name) ? name : `netns:${name}` };
}

/**
 * Checks a reference, and where Docker is said to be, as far as they can be checked without looking at the machine.
 * @throws RangeError ERR_INVALID_ARG_VALUE or TypeError ERR_INVALID_ARG_TYPE
 */
export function checkContainer(ref: ContainerRef, { docker }: DockerOptions = {}): void {
  parse(ref, 'container');
  if (docker !== undefined) parseDockerAddress(docker);
}

/**
 * Finds a container's network namespace.
 * @throws OvernsError `ENOENT` (unknown), `ESRCH` (process gone), `OVERNS_NOT_RUNNING`, `OVERNS_HOST_NETWORK`,
 *   `OVERNS_DOCKER` (Docker cannot be reached), `EINVAL`, `EACCES`; RangeError or TypeError for a reference that
 *   cannot be meant
 */
export async function resolveContainer(ref: ContainerRef, options: DockerOptions = {}): Promise<ContainerTarget> {
  throwIfAborted(options.signal);
  const parsed = parse(ref, 'container');
  if (parsed.kind === 'netns') return fromNetns(parsed.ref, parsed.description);
  if (parsed.kind === 'bare') return fromBareName(parsed.name, options);
  await using docker = new Docker(options.docker);
  const container = await docker.inspect(parsed.name, options);
  if (container === null) {
    throw new OvernsError('ENOENT', `Docker at ${docker.shown} has no container "${parsed.name}"`, {
      hint: '`docker ps -a` shows those it has',
    });
  }
  // Awaited here: what it asks must be answered before the connection is closed.
  return await fromDocker(docker, parsed.name, container, options);
}

async function fromNetns(ref: NetnsRef, description: string): Promise<ContainerTarget> {
  const path = await netnsPath(ref, 'container');
  return { path, description, identity: await identify(path, description) };
}

/** Docker's if Docker can be asked and knows it, else a named namespace's. */
async function fromBareName(name: string, options: DockerOptions): Promise<ContainerTarget> {
  let absent = 'Docker has no such names';
  if (isContainerName(name)) {
    try {
      await using docker = new Docker(options.docker);
      const container = await docker.inspect(name, options);
      if (container !== null) return await fromDocker(docker, name, container, options);
      absent = `Docker at ${docker.shown} does not know it`;
    } catch (error) {
      if (!OvernsError.is(error) || error.code !== 'OVERNS_DOCKER') throw error;
      absent = error.message;
    }
  }
  try {
    return await fromNetns(name, `netns:${name}`);
  } catch (error) {
    if (!OvernsError.is(error) || error.code !== 'ENOENT') throw error;
    throw new OvernsError(
      'ENOENT',
      `no container "${name}": ${absent}, and there is no namespace of that name in ${netnsDirectory()}`,
      {
        hint: 'write docker:NAME, netns:NAME, pid:N or a path to say which is meant',
        cause: error,
      },
    );
  }
}

async function fromDocker(
  docker: Docker,
  name: string,
  container: DockerContainer,
  options: DockerOptions,
): Promise<ContainerTarget> {
  const description = `docker:${name}`;
  requireRunning(name, container);
  if (container.networkMode === 'host') throw hostNetwork(name);
  const path = await dockerNetns(name, container);
  const identity = await identify(path, description);
  if (identity === (await netnsIdentity('/proc/self/ns/net'))) throw hostNetwork(name);
  // A pid can pass to another process. If Docker says the same after the namespace was read as before, it was the container's.
  const again = await docker.inspect(container.id, options);
  if (again === null || again.pid !== container.pid || again.startedAt !== container.startedAt) {
    throw new OvernsError('OVERNS_NOT_RUNNING', `container "${name}" stopped or restarted meanwhile`, {
      hint: 'try again once it runs',
    });
  }
  return { path, description, identity, id: container.id };
}

function requireRunning(name: string, { pid, status }: DockerContainer): void {
  if (pid > 0) return;
  throw new OvernsError(
    'OVERNS_NOT_RUNNING',
    `container "${name}" is not running${status === '' ? '' : ` (${status})`}`,
    {
      hint:
        status === 'restarting'
          ? `wait for it: \`docker logs ${name}\` may tell why it restarts`
          : `docker start ${name}`,
    },
  );
}

function hostNetwork(name: string): OvernsError {
  return new OvernsError(
    'OVERNS_HOST_NETWORK',
    `container "${name}" uses its host's network and has no namespace of its own to attach`,
    {
      hint: 'run it with --net=none or with a network of its own',
    },
  );
}

/** By the process first: Docker's own file is mounted in the daemon's mount namespace, which need not be ours. */
async function dockerNetns(name: string, container: DockerContainer): Promise<string> {
  let failure: unknown;
  try {
    const path = await netnsPath({ pid: container.pid });
    if (await belongsTo(container)) return path;
  } catch (error) {
    if (!OvernsError.is(error)) throw error;
    failure = error;
  }
  if (isAbsolute(container.sandboxKey)) {
    try {
      return await netnsPath(container.sandboxKey);
    } catch {}
  }
  if (OvernsError.is(failure) && failure.code === 'EACCES') {
    throw new OvernsError('EACCES', `container "${name}": ${failure.message}`, {
      hint: 'run as root with CAP_SYS_PTRACE',
      cause: failure,
    });
  }
  throw new OvernsError('ESRCH', `container "${name}" runs as process ${container.pid}, which is not to be seen here`, {
    hint: 'it has just stopped, or Docker runs in another pid namespace: run overns where Docker runs',
    cause: failure,
  });
}

/**
 * False if the process is seen to be another container's: then Docker counts pids in another pid namespace. Where
 * there are no cgroups to tell, it is taken for the container's.
 */
async function belongsTo({ pid, id }: DockerContainer): Promise<boolean> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return groups.includes(id) || !/[0-9a-f]{64}/.test(groups);
}

async function identify(path: string, description: string): Promise<string> {
  try {
    return await netnsIdentity(path);
  } catch (cause) {
    throw new OvernsError('ESRCH', `${description}: its namespace has gone meanwhile`, {
      hint: 'start it again',
      cause,
    });
  }
}
