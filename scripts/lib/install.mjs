/** node_modules: whether it is what the lock file says, and making it so. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gypEnv, root, run, Stop } from './process.mjs';
import { exclusively } from './stale.mjs';

/** Compares what npm recorded in node_modules with what the lock file wants; optional packages of other platforms may lack. */
function stale() {
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  let found;
  try {
    found = JSON.parse(readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8')).packages;
  } catch {
    return true;
  }
  return Object.entries(wanted).some(([path, entry]) => {
    if (!path) return false;
    if (!found[path]) return !entry.optional;
    return found[path].version !== entry.version || !existsSync(join(root, path, 'package.json'));
  });
}

/** Runs `npm ci` when node_modules is not what package-lock.json says. */
export async function install() {
  await exclusively('install', async () => {
    if (!stale()) return;
    process.stderr.write('installing the dependencies (npm ci)\n');
    const status = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { env: gypEnv() });
    if (status !== 0)
      throw new Stop('npm ci failed (above): check that the npm registry can be reached, then try again');
  });
}
