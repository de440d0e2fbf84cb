#!/usr/bin/env node
/**
 * npm run asan: the C++ tests and the vitest suite on native code built with AddressSanitizer and
 * UndefinedBehaviorSanitizer. `--short`: of the suite only what exercises the native code. Other arguments
 * go to vitest (and leave the C++ tests out). Node itself is not instrumented, so the runtime is preloaded: into every node
 * of the run, through a wrapper that stands first on PATH and in process.execPath, and into nothing else. ASAN_OPTIONS adds
 * to its options: `malloc_context_size=30` for whole stacks of what was allocated and freed.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from './build.mjs';
import { printUsage } from './lib/flags.mjs';
import { install } from './lib/install.mjs';
import { capture, gypEnv, root, run, Stop, script } from './lib/process.mjs';
import { files } from './lib/stale.mjs';
import { provide, toolEnv } from './lib/tools.mjs';
import { prebuild } from './pack.mjs';

const USAGE = `npm run asan [-- --short | VITEST_ARGUMENT...]

  --short  the C++ tests and a part of the suite
  Other arguments are vitest's: files, -t NAME; the C++ tests are left out then.
`;
const folder = join(root, 'build/asan');
/**
 * What exercises the native code. Not those that compare times, which mean nothing here; nor the examples, a hundred
 * processes whose calls the other files make as well: starting them is the dearest of all under a sanitizer.
 */
function shortSuite() {
  const tests = ['test/kernel', 'test/rtnl', 'test/teardown'].flatMap((folder) =>
    files(folder, (path) => path.endsWith('.test.ts') && !path.endsWith('/examples.test.ts')),
  );
  return ['--project', 'all', ...tests];
}

async function compile(env, tests) {
  const output = join(folder, 'build/Release');
  const tree = join(folder, 'cmake');
  const configure = [
    ...[
      '-S',
      root,
      '-B',
      tree,
      '-DCMAKE_CXX_COMPILER=g++',
      '-DOVERNS_ADDON=ON',
      `-DOVERNS_TESTS=${tests ? 'ON' : 'OFF'}`,
    ],
    ...['-DOVERNS_SANITIZE=address;undefined', `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${output}`, '--log-level=NOTICE'],
  ];
  for (const args of [configure, ['--build', tree, '--parallel', '2', '--', '--no-print-directory']]) {
    if ((await run('cmake', args, { env })) !== 0) throw new Stop('asan: the native code did not build (above)');
  }
  // Here leaks count too: nothing in this process is anybody else's.
  if (
    tests &&
    (await run(join(tree, 'overns_tests'), ['--no-colors'], {
      env: { ...env, UBSAN_OPTIONS: 'print_stacktrace=1' },
    })) !== 0
  ) {
    throw new Stop('asan: the C++ tests failed (above)');
  }
}

/** A `node` that preloads the runtime, takes it out of its children's environment and leads their `node` back here. */
function wrapper(runtime) {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const node = join(bin, 'node');
  const hook = join(folder, 'hook.cjs');
  writeFileSync(hook, `delete process.env.LD_PRELOAD;\nprocess.execPath = ${JSON.stringify(node)};\n`);
  writeFileSync(node, `#!/bin/sh\nLD_PRELOAD='${runtime}' exec '${process.execPath}' --require '${hook}' "$@"\n`);
  chmodSync(node, 0o755);
  return node;
}

await script(async () => {
  const given = process.argv.slice(2);
  if (given.includes('--help')) printUsage(USAGE);
  const short = given.includes('--short');
  if (short && given.length > 1) throw new Stop('asan: --short stands alone: see --help');
  await install();
  // The short part is run with the sanitized addon alone. The package test packs: what it ships is made now, not beside
  // tests that measure time.
  await build({ only: short ? 'ts' : undefined });
  if (!short) await prebuild();
  const tools = await provide();
  const env = toolEnv(gypEnv());
  if (!tools.cmake.ok) throw new Stop(`asan: ${tools.cmake.reason}: run \`${tools.cmake.remedy}\``);
  const all = given.length === 0 || short;
  if (all && !tools.doctest.ok)
    process.stderr.write(`asan: C++ tests skipped: ${tools.doctest.reason}: run \`${tools.doctest.remedy}\`\n`);
  await compile(env, all && tools.doctest.ok);

  const runtime = capture('g++', ['-print-file-name=libasan.so']);
  if (!runtime?.startsWith('/')) throw new Stop('asan: g++ has no libasan.so: run `apt-get install libasan8`');
  const node = wrapper(runtime);
  const reports = join(folder, 'reports');
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports);

  const status = await run(
    node,
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...(short ? shortSuite() : given)],
    {
      stdio: ['ignore', 1, 2],
      env: {
        ...env,
        PATH: `${dirname(node)}:${env.PATH}`,
        OVERNS_ADDON: join(folder, 'build/Release/overns.node'),
        OVERNS_TEST_TOOLS: JSON.stringify(tools),
        OVERNS_TEST_SANITIZED: '1',
        // Leaks are the C++ tests' affair: vitest's own native parts leak by design. Node takes SIGSEGV for itself, without
        // a word, unless it is kept from it.
        // Five frames of each allocation: all thirty take a tenth of the time that a node starts in.
        ASAN_OPTIONS: [
          `detect_leaks=0:handle_segv=2:malloc_context_size=5:log_path=${join(reports, 'asan')}`,
          ...(process.env.ASAN_OPTIONS ? [process.env.ASAN_OPTIONS] : []),
        ].join(':'),
        UBSAN_OPTIONS: `print_stacktrace=1:log_path=${join(reports, 'ubsan')}`,
      },
    },
  );
  // A report counts even where the test did not look at its process's end.
  const found = readdirSync(reports);
  for (const name of found) process.stderr.write(`${readFileSync(join(reports, name), 'utf8')}\n`);
  if (found.length > 0) throw new Stop(`asan: ${found.length} report(s), above and in build/asan/reports`);
  if (status !== 0) throw new Stop(`asan: vitest ended with status ${status}`);
  process.stderr.write('asan: clean\n');
});
