#!/usr/bin/env node
/**
 * Makes what `npm pack` ships beyond the sources: dist/ and this platform's prebuild, made when they are stale. Runs as
 * `prepack`, and by hand as `npm run prebuild-addon`. The addon is compiled in a copy of its sources, so that a
 * running checkout keeps its own.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addonInputs, build, needCompiler } from './build.mjs';
import { gypEnv, root, run, Stop, script } from './lib/process.mjs';
import { exclusively, forget, record, recorded, same } from './lib/stale.mjs';

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
  await exclusively('prebuild', async () => {
    const inputs = addonInputs();
    const there =
      existsSync(join(root, folder)) && readdirSync(join(root, folder)).some((name) => name.endsWith('.node'));
    if (!force && there && same(inputs, recorded(stamp))) return;
    needCompiler();
    process.stderr.write('pack: prebuilding the addon\n');
    forget(stamp);
    rmSync(join(root, folder), { recursive: true, force: true });
    const tree = join(root, '.cache/prebuild');
    rmSync(tree, { recursive: true, force: true });
    mkdirSync(tree, { recursive: true });
    for (const path of ['package.json', 'binding.gyp', 'native', 'scripts/lib/sources.mjs']) {
      cpSync(join(root, path), join(tree, path), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'));
    const args = ['--napi', '--strip', '--tag-libc', '--target', process.versions.node, '--cwd', tree, '--out', root];
    const status = await run(process.execPath, [join(root, 'node_modules/prebuildify/bin.js'), ...args], {
      env: { ...gypEnv(), JOBS: 'max', MAKEFLAGS: '--no-print-directory', npm_config_loglevel: 'error' },
    });
    if (status !== 0)
      throw new Stop('pack: prebuildify failed (above): fix what it names and run `npm run prebuild-addon`');
    rmSync(tree, { recursive: true, force: true });
    record(stamp, inputs);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    await build();
    await prebuild({ force: process.argv.includes('--force') });
  });
}
