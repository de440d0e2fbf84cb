#!/usr/bin/env node
/**
 * npm run lint: Biome, types, unused code, the API reference, clang-format and clang-tidy. `--write` (npm run format) fixes what can be
 * fixed. `--fast` leaves clang-tidy out. CI=true: a missing clang tool is a failure.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { readFlags } from './lib/flags.mjs';
import { root, run, Stop, script, which } from './lib/process.mjs';
import { sources } from './lib/sources.mjs';
import { files } from './lib/stale.mjs';
import { toolEnv } from './lib/tools.mjs';

const USAGE = `npm run lint [-- --fast] [-- --write]

  --fast   leaves clang-tidy out, which takes minutes
  --write  fixes what can be fixed, as npm run format
`;

const ci = process.env.CI === 'true';
const env = toolEnv();
const bin = (name) => join(root, 'node_modules/.bin', name);
const failed = [];
const skipped = [];

async function check(name, command, args) {
  process.stderr.write(`lint: ${name}\n`);
  if ((await run(command, args, { env })) !== 0) failed.push(name);
}

/** The clang tool of version 14: other versions format and judge differently. */
function clang(name) {
  const found = which(`${name}-14`, env.PATH);
  if (!found) (ci ? failed : skipped).push(`${name} (not found: run \`apt-get install ${name}-14\`)`);
  return found;
}

/** clang-tidy takes seconds a file: two at a time, each one's output in one piece. */
async function tidy(command, paths) {
  process.stderr.write('lint: clang-tidy\n');
  const database = join(root, 'build/lint');
  if (
    (await run(
      'cmake',
      ['-S', root, '-B', database, '-DOVERNS_ADDON=ON', '-DOVERNS_UNITY=OFF', '--log-level=WARNING'],
      { env },
    )) !== 0
  ) {
    failed.push('clang-tidy');
    return;
  }
  const queue = [...paths];
  let bad = false;
  const worker = async () => {
    for (let path = queue.shift(); path; path = queue.shift()) {
      const output = await new Promise((resolve) => {
        const child = spawn(command, ['-p', database, '--quiet', path], {
          cwd: root,
          env,
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let text = '';
        let errors = '';
        child.stdout.on('data', (chunk) => (text += chunk));
        child.stderr.on('data', (chunk) => (errors += chunk));
        child.on('error', (error) => resolve(`${error.message}\n`));
        child.on('close', (status) => resolve(status === 0 ? '' : text || errors));
      });
      if (output) bad = true;
      process.stderr.write(output);
    }
  };
  await Promise.all([worker(), worker()]);
  if (bad) failed.push('clang-tidy');
}

await script(async () => {
  const { values } = readFlags('lint', USAGE, {
    write: { type: 'boolean', default: false },
    fast: { type: 'boolean', default: false },
  });
  const { write } = values;
  const cxx = ['native', 'test/native', 'benchmarks']
    .flatMap((folder) => files(folder))
    .filter((path) => /\.(cc|h)$/.test(path) && !path.includes('/node_modules/'));

  await check('biome', bin('biome'), ['check', ...(write ? ['--write'] : []), '--no-errors-on-unmatched']);
  await check('types', 'npm', ['run', '--silent', 'typecheck']);
  await check('knip', bin('knip'), []);
  await check('API reference', 'npm', ['run', '--silent', 'docs', '--', '--logLevel', 'Warn']);
  const format = clang('clang-format');
  if (format && cxx.length > 0)
    await check('clang-format', format, write ? ['-i', ...cxx] : ['--dry-run', '-Werror', ...cxx]);
  if (!values.fast) {
    const command = clang('clang-tidy');
    if (command) await tidy(command, sources());
  }
  if (skipped.length > 0) process.stderr.write(`lint: skipped ${skipped.join(', ')}\n`);
  if (failed.length > 0)
    throw new Stop(`lint: failed: ${failed.join(', ')}: \`npm run format\` fixes what it can, the rest is named above`);
  process.stderr.write('lint: clean\n');
});
