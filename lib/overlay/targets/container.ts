/** Containers by what callers call them: the kinds of targets there are, and how a reference is read. */
import { throwIfAborted } from '../../core/abort.js';
import { invalidType, OvernsError } from '../../core/errors.js';
import { checkNetns, netnsDirectory } from '../../netns/references.js';
import { docker, findInDocker } from './docker.js';
import { parseDockerAddress } from './docker-address.js';
import { type DockerOptions, isContainerName } from './docker-api.js';
import { netns } from './netns.js';
import { path } from './path.js';
import { pid } from './pid.js';
import { type ContainerTarget, netnsTarget, type Target, type TargetKind, type TargetOptions } from './target.js';

/** Another kind of target is another file, and a line here. */
const KINDS: readonly TargetKind[] = [docker, netns, pid, path];

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

/** How containers are written, for help and errors. */
export const containerForms: string = KINDS.map(({ form }) => form).join(', ');

function parse(ref: ContainerRef, argument: string): Target {
  if (typeof ref === 'string') {
    for (const kind of KINDS) {
      if (kind.claims?.(ref)) return kind.fromText(ref, argument);
      if (!kind.claims && ref.startsWith(`${kind.scheme}:`))
        return kind.fromText(ref.slice(kind.scheme.length + 1), argument);
    }
    checkNetns(ref, argument);
    return bareName(ref);
  }
  if (ref !== null && typeof ref === 'object') {
    for (const kind of KINDS) {
      if (!(kind.scheme in ref)) continue;
      const value = (ref as Readonly<Record<string, unknown>>)[kind.scheme];
      if (kind.fromProperty) return kind.fromProperty(value, argument);
      if (typeof value !== 'string') throw invalidType(`${argument}.${kind.scheme}`, value, 'a string');
      return kind.fromText(value, argument);
    }
  }
  throw invalidType(argument, ref, `${containerForms}, a name, or an object with one of them`);
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
export async function resolveContainer(ref: ContainerRef, options: TargetOptions): Promise<ContainerTarget> {
  throwIfAborted(options.signal);
  return await parse(ref, 'container')(options);
}

/** Docker's container if Docker can be asked and knows the name, else a named namespace. */
function bareName(name: string): Target {
  return async (options) => {
    let absent = 'Docker has no such names';
    if (isContainerName(name)) {
      try {
        const found = await findInDocker(name, options);
        if (typeof found !== 'string') return found;
        absent = `Docker at ${found} does not know it`;
      } catch (error) {
        if (!OvernsError.is(error) || error.code !== 'OVERNS_DOCKER') throw error;
        absent = error.message;
      }
    }
    try {
      return await netnsTarget(name, `netns:${name}`)(options);
    } catch (error) {
      if (!OvernsError.is(error) || error.code !== 'ENOENT') throw error;
      throw new OvernsError(
        'ENOENT',
        `no container "${name}": ${absent}, and there is no namespace of that name in ${netnsDirectory()}`,
        { hint: 'write docker:NAME, netns:NAME, pid:N or a path to say which is meant', cause: error },
      );
    }
  };
}
