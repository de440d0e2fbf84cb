/** Finds and loads the addon: in a checkout, in the package, or where OVERNS_ADDON says. */
import { existsSync, statSync } from 'node:fs';
// Not by its name: bundlers' users put an `import { createRequire }` of their own before everything.
import * as nodeModule from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { OvernsError } from '../core/errors.js';
import { here, ownPackage } from './own-package.js';
import { mayRead } from './permission.js';

/** Which C library: of a machine that may not be looked at, the usual one. */
function libc(): string {
  const alpine = '/etc/alpine-release';
  return mayRead(alpine) && existsSync(alpine) ? 'musl' : 'glibc';
}

/** Below the package's root. What is built here goes before what was packed. */
function places(): readonly [built: string, packed: string] {
  return ['build/Release/overns.node', `prebuilds/${process.platform}-${process.arch}/overns.${libc()}.node`];
}

const BUILD = 'run `npm run build` in a checkout; a package ships prebuilds for the platforms it was packed on';
const NAMED = "set it to the path of overns.glibc.node (or overns.musl.node) in the package's prebuilds, or unset it";

/** True in a bundle. */
export const isBundled = (): boolean => ownPackage() === undefined;

/** The roots of the packages that are installed where a bundle can find them: beside it, or beside the program. */
export function installations(): readonly string[] {
  const found = new Set<string>();
  for (const file of [here(), process.argv[1]]) {
    if (file === undefined) continue;
    try {
      found.add(dirname(nodeModule.createRequire(resolve(file)).resolve('overns/package.json')));
    } catch {
      // not installed there
    }
  }
  return [...found];
}

function unreadable(folder: string): OvernsError {
  return new OvernsError('OVERNS_PLATFORM', `Node's permission model does not let ${folder} be read`, {
    hint: `start node with --allow-fs-read=${folder}/* and --allow-addons`,
  });
}

/** Path of the addon. Throws OVERNS_PLATFORM where there is none. */
function find(): string {
  const given = process.env.OVERNS_ADDON;
  if (given) {
    const path = resolve(given);
    if (!mayRead(path)) throw unreadable(dirname(path));
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) return path;
    throw new OvernsError('OVERNS_PLATFORM', `OVERNS_ADDON: ${path} is not a file`, {
      hint: NAMED,
    });
  }
  const own = ownPackage()?.root;
  let denied: string | undefined;
  for (const root of own === undefined ? installations() : [own]) {
    for (const place of places()) {
      const path = join(root, place);
      if (!mayRead(path)) denied ??= root;
      else if (existsSync(path)) return path;
    }
  }
  if (denied !== undefined) throw unreadable(denied);
  if (own !== undefined) {
    throw new OvernsError('OVERNS_PLATFORM', `${own} has no native addon for this machine: no ${places()[1]}`, {
      hint: BUILD,
    });
  }
  throw bundled('its native addon was left behind', {
    hint: 'mark overns external (esbuild --external:overns) and install it beside the bundle, or set OVERNS_ADDON to the path of its addon',
  });
}

/** For what only works outside a bundle. */
export function bundled(what: string, details: { hint: string; cause?: unknown }): OvernsError {
  const where = [here(), process.argv[1]].find((file) => file !== undefined && existsSync(file));
  return new OvernsError(
    'OVERNS_PLATFORM',
    `overns was bundled${where === undefined ? '' : ` into ${where}`}, and ${what}`,
    details,
  );
}

/** The addon's exports. Throws OVERNS_PLATFORM. */
export function loadAddon(): unknown {
  const path = find();
  try {
    // Not require(), which takes a file of any kind for what its name says.
    const module: { exports?: unknown } = { exports: {} };
    process.dlopen(module, path);
    return module.exports;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ERR_DLOPEN_DISABLED') {
      throw new OvernsError('OVERNS_PLATFORM', "Node's permission model refuses overns' native addon", {
        hint: 'start node with --allow-addons',
        cause,
      });
    }
    throw new OvernsError(
      'OVERNS_PLATFORM',
      `${process.env.OVERNS_ADDON ? 'OVERNS_ADDON: ' : "overns' native addon "}${path} cannot be loaded: ${message.split('\n')[0]}`,
      {
        hint: process.env.OVERNS_ADDON ? NAMED : BUILD,
        cause,
      },
    );
  }
}
