/**
 * Decides what must be made anew. Inputs are compared by content, not by time: a checkout of another commit, a
 * restored cache or a copied tree all change times without meaning, and content without changing the order of times.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from './process.mjs';

/** Files under a folder (or the file itself), sorted, as paths relative to the checkout. */
export function files(path, accept = () => true) {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return [];
  if (!statSync(absolute).isDirectory()) return [path];
  return readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .filter(accept)
    .sort();
}

/** Hashes the inputs as they are now: `{ path: hash }` plus whatever else the result depends on. */
export function fingerprint(paths, extra = {}) {
  const hashes = {};
  for (const path of paths) {
    try {
      hashes[path] = createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest('hex');
    } catch (error) {
      // Gone between listing and reading: somebody edits the tree; the next run sees it.
      if (error.code !== 'ENOENT') throw error;
    }
  }
  return { extra, files: hashes };
}

/** The fingerprint that was recorded when the result was last made, or undefined. */
export function recorded(stamp) {
  try {
    return JSON.parse(readFileSync(join(root, stamp), 'utf8'));
  } catch {
    return undefined;
  }
}

export function record(stamp, value) {
  mkdirSync(dirname(join(root, stamp)), { recursive: true });
  writeFileSync(join(root, stamp), JSON.stringify(value));
}

export function forget(stamp) {
  rmSync(join(root, stamp), { force: true });
}

export function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Runs `fn` while no other process of this checkout runs one under the same lock. */
export async function exclusively(name, fn) {
  const lock = join(root, '.cache', `${name}.lock`);
  mkdirSync(dirname(lock), { recursive: true });
  let told = false;
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    let holder = 0;
    let age = Number.POSITIVE_INFINITY;
    try {
      age = Date.now() - statSync(lock).mtimeMs;
      holder = Number(readFileSync(lock, 'utf8'));
    } catch {
      continue;
    }
    // A lock without a pid is one that is being written, unless it stays so.
    if (holder ? !alive(holder) : age > 2000) rmSync(lock, { force: true });
    else {
      if (!told) process.stderr.write(`waiting for ${name} of process ${holder}\n`);
      told = true;
      await sleep(100);
    }
  }
  const release = () => rmSync(lock, { force: true });
  process.on('exit', release);
  try {
    return await fn();
  } finally {
    process.off('exit', release);
    release();
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
