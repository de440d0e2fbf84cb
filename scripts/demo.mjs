#!/usr/bin/env node
/**
 * npm run demo: installs and builds what is stale, then runs `overns demo` with the arguments given here. What it needs
 * besides Node and a compiler it makes itself; without privileges it takes a user namespace (util-linux's unshare).
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { install } from './lib/install.mjs';
import { root, Stop, script } from './lib/process.mjs';

const main = join(root, 'dist/cli/main.js');

function writable() {
  try {
    accessSync(root, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function prepare() {
  if (writable()) {
    await install();
    await build();
    return;
  }
  // Somebody else's checkout: it is used as it is.
  if (!existsSync(main) || !existsSync(join(root, 'build/Release/overns.node'))) {
    throw new Stop(`demo: ${root} is not built, and not yours to write: run \`npm run build\` there as its owner`);
  }
}

function play(args) {
  return new Promise((resolve, reject) => {
    // In a group of its own: Ctrl-C reaches this process from the terminal and once more from npm, and a second signal
    // would end the demo before it has cleaned up.
    const child = spawn(process.execPath, [main, 'demo', ...args], {
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    let last = Number.NEGATIVE_INFINITY;
    const forward = (signal) => {
      const now = performance.now();
      if (now - last > 1000) child.kill(signal);
      last = now;
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? 128 + os.signals[signal]));
  });
}

await script(async () => {
  await prepare();
  return play(process.argv.slice(2));
});
