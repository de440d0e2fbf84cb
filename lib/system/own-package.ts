/** The package that this code is of: in a checkout, or where it is installed. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mayRead } from './permission.js';

export interface OwnPackage {
  readonly root: string;
  readonly version: string;
}

/** There in CommonJS, which a bundler may have made of this. */
declare const __filename: string | undefined;

/** Path of the file that this code is in: of this one, of one of dist/, or of somebody's bundle. */
export function here(): string | undefined {
  const { url } = import.meta as { url?: string };
  if (url?.startsWith('file:')) return fileURLToPath(url);
  return typeof __filename === 'string' ? __filename : undefined;
}

/**
 * Finds the package around this file; undefined in somebody's bundle. A bundler may write into it the path that this
 * file had on the machine that it ran on.
 */
export function ownPackage(): OwnPackage | undefined {
  const file = here();
  // The last of such folders: packages are installed below /usr/lib, too.
  const root = file === undefined ? undefined : /^(.*)\/(?:dist|lib)\//.exec(file)?.[1];
  if (file === undefined || root === undefined || !existsSync(file)) return undefined;
  const manifest = join(root, 'package.json');
  if (!mayRead(manifest)) return { root, version: 'unknown' };
  if (!existsSync(manifest)) return undefined;
  const { name, version } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: unknown; version?: unknown };
  return name === 'overns' ? { root, version: String(version) } : undefined;
}
