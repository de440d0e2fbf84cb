/** Node's permission model (`node --permission`), which lets a process read only what its flags name. */
import { OvernsError } from '../core/errors.js';

/** Asks the permission model; a process without one may read all. */
export function mayRead(path: string): boolean {
  const { permission } = process as { permission?: { has(scope: string, reference?: string): boolean } };
  return permission?.has('fs.read', path) ?? true;
}

/** The error of a folder that has to be readable, and is not; any other cause as it is. */
export function accessDenied(folder: string, cause: unknown): unknown {
  if ((cause as NodeJS.ErrnoException).code !== 'ERR_ACCESS_DENIED') return cause;
  return new OvernsError('ERR_ACCESS_DENIED', `Node's permission model does not let ${folder} be read`, {
    hint: `start node with --allow-fs-read=${folder}/*`,
    cause,
  });
}
