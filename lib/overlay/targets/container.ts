/** Containers by what callers call them: the kinds of targets there are, and how a reference is read. */
import { throwIfAborted } from '../../core/abort.js';
import { invalidType, OvernsError } from '../../core/errors.js';
import { checkNetns, netnsDirectory } from '../../netns/references.js';
import { dockerEngine } from './docker.js';
import { parseDockerAddress } from './docker-address.js';
import { findInEngine } from './engine.js';
import { type EngineOptions, isContainerName } from './engine-api.js';
import * as kinds from './registry.js';
import { type ContainerTarget, netnsTarget, type Target, type TargetKind, type TargetOptions } from './target.js';

type Kinds = typeof kinds;
type ReferenceOf<Kind> =
  Kind extends TargetKind<infer Scheme, infer Value> ? { readonly [Name in Scheme]: Value } : never;

/** In the order of their schemes; those of texts without one are the last. */
const KINDS = (Object.values(kinds) as readonly TargetKind<string, unknown>[]).toSorted(
  (a, b) => Number(a.claims !== undefined) - Number(b.claims !== undefined),
);

/**
 * A container. A string is written as its kind has it, such as `docker:NAME`, `netns:NAME`, `pid:N` or an absolute path, or is
 * a bare name (Docker's first, else a named namespace); an object has the scheme as its only name.
 * @useDeclaredType
 * @example
 * ```ts
 * import type { ContainerRef } from 'overns';
 *
 * const same: ContainerRef[] = ['docker:demo', { docker: 'demo' }];
 * const others: ContainerRef[] = ['netns:web', 'pid:4711', { path: '/proc/4711/ns/net' }];
 * console.log(same.length + others.length); // 5
 * ```
 */
export type ContainerRef = string | ReferenceOf<Kinds[keyof Kinds]>;

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
export function checkContainer(ref: ContainerRef, { docker }: EngineOptions = {}): void {
  parse(ref, 'container');
  if (docker !== undefined) parseDockerAddress(docker);
}

/**
 * Finds a container's network namespace.
 * @throws OvernsError `ENOENT` (unknown), `ESRCH` (process gone), `OVERNS_NOT_RUNNING`, `OVERNS_HOST_NETWORK`,
 *   the code of an engine that cannot be asked (`OVERNS_DOCKER`), `EINVAL`, `EACCES`; RangeError or TypeError for a reference that
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
        const found = await findInEngine(dockerEngine, name, options);
        if (typeof found !== 'string') return found;
        absent = `Docker at ${found} does not know it`;
      } catch (error) {
        if (!OvernsError.is(error) || error.code !== dockerEngine.code) throw error;
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
        { hint: `say which is meant: ${containerForms}`, cause: error },
      );
    }
  };
}
