// Not by its name: see addon.ts.
import * as nodeModule from 'node:module';
import { dirname } from 'node:path';
import { bundled, installations, isBundled } from './addon.js';
import { accessDenied } from './permission.js';

type Undici = typeof import('undici');

let fromInstallation: Undici | undefined;

/**
 * undici, loaded when it is needed first: it takes longer than all of overns. A bundler may have made something of it that
 * cannot be loaded; then it is the one that is installed where the bundle runs.
 * @throws OvernsError `OVERNS_PLATFORM` in a bundle that has none, `ERR_ACCESS_DENIED` where it may not be read
 */
export async function undici(): Promise<Undici> {
  if (fromInstallation !== undefined) return fromInstallation;
  try {
    return await import('undici');
  } catch (cause) {
    if (!isBundled()) throw accessDenied(folderOf(cause), cause);
    fromInstallation = installed();
    if (fromInstallation !== undefined) return fromInstallation;
    throw bundled(`undici in it cannot be loaded: ${(cause as Error).message.split('\n')[0]}`, {
      hint: `mark overns external (esbuild --external:overns) and install it beside the bundle, or give an ES module what undici needs: \`esbuild --banner:js="import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"\``,
      cause,
    });
  }
}

/** The one that is installed with the package, where that is. */
function installed(): Undici | undefined {
  for (const root of installations()) {
    try {
      return nodeModule.createRequire(`${root}/package.json`)('undici') as Undici;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw accessDenied(folderOf(cause), cause);
    }
  }
  return undefined;
}

/** The package that the file lies in that was refused. */
function folderOf(cause: unknown): string {
  const { resource = '' } = cause as { resource?: string };
  return /^.*\/node_modules\/undici(?=\/|$)/.exec(resource)?.[0] ?? dirname(resource);
}
