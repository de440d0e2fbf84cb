#!/usr/bin/env node
/**
 * What `npm pack` ships beyond the sources: dist/ and this platform's addon, made when they are stale. Runs as `prepack`,
 * and by hand as `npm run prebuild-addon`.
 */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addon, addonInputs, build } from './build.mjs';
import { capture, root, Stop, script } from './lib/process.mjs';
import { exclusively, forget, record, recorded, same } from './lib/stale.mjs';

const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
const file = join(folder, `overns.${libc}.node`);
const stamp = '.cache/prebuild.json';

/** Makes prebuilds/PLATFORM-ARCH/overns.LIBC.node, the built addon without its symbols, when that is not what was built. */
export async function prebuild({ force = false } = {}) {
  if (process.platform !== 'linux') {
    process.stderr.write(
      `pack: the addon is for Linux only, this is ${process.platform}: a package packed here has none\n`,
    );
    return;
  }
  await exclusively('prebuild', async () => {
    const inputs = addonInputs();
    if (!force && existsSync(file) && same(inputs, recorded(stamp))) return;
    forget(stamp);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    // Under its own name once it is whole: who packs meanwhile ships all of it or nothing.
    const part = `${file}.part`;
    copyFileSync(join(root, addon), part);
    if (capture('strip', ['--strip-unneeded', part]) === undefined)
      throw new Stop('pack: `strip` failed on the addon: it comes with the compiler, in Debian as binutils');
    renameSync(part, file);
    record(stamp, inputs);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    await build();
    await prebuild({ force: process.argv.includes('--force') });
  });
}
