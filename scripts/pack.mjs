#!/usr/bin/env node
/**
 * Makes what `npm pack` ships beyond the sources: dist/ and this platform's prebuild, which is the addon of the build
 * without its symbols. Runs as `prepack`, and by hand as `npm run prebuild-addon`.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addon, addonInputs, build } from './build.mjs';
import { readFlags } from './lib/flags.mjs';
import { root, run, Stop, script } from './lib/process.mjs';
import { exclusively, forget, record, recorded, same } from './lib/stale.mjs';

const USAGE = `npm run prebuild-addon [-- --force]

  --force  also when it is there already
`;
const folder = `prebuilds/${process.platform}-${process.arch}`;
const stamp = '.cache/prebuild.json';

/** Makes prebuilds/PLATFORM-ARCH/overns.LIBC.node when it is not what the sources give. */
export async function prebuild({ force = false } = {}) {
  if (process.platform !== 'linux') {
    process.stderr.write(
      `pack: the addon is for Linux only, this is ${process.platform}: a package packed here has none\n`,
    );
    return;
  }
  await build({ only: 'addon' });
  await exclusively('prebuild', async () => {
    const inputs = addonInputs();
    const there =
      existsSync(join(root, folder)) && readdirSync(join(root, folder)).some((name) => name.endsWith('.node'));
    if (!force && there && same(inputs, recorded(stamp))) return;
    process.stderr.write('pack: prebuilding the addon\n');
    forget(stamp);
    rmSync(join(root, folder), { recursive: true, force: true });
    mkdirSync(join(root, folder), { recursive: true });
    const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc';
    const file = join(root, folder, `overns.${libc}.node`);
    const status = await run('strip', ['--strip-all', '-o', `${file}.part`, join(root, addon)]);
    if (status !== 0) {
      rmSync(`${file}.part`, { force: true });
      throw new Stop('pack: strip failed (above): it comes with the compiler, in binutils');
    }
    chmodSync(`${file}.part`, 0o644);
    renameSync(`${file}.part`, file);
    record(stamp, inputs);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    const { force } = readFlags('pack', USAGE, { force: { type: 'boolean', default: false } }).values;
    await build();
    await prebuild({ force });
  });
}
