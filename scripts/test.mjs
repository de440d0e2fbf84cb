#!/usr/bin/env node
import { spawn } from 'node:child_process';
/**
 * npm test: dependencies, build, tools, then the C++ unit tests and vitest. Arguments go to vitest (and leave the C++
 * tests out). CI=true or OVERNS_TEST_INSTALL=1: tools are installed on the machine, unless OVERNS_TEST_INSTALL=0; CI=true:
 * nothing may be skipped.
 * The last line sums up both.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { printUsage } from './lib/flags.mjs';
import { install } from './lib/install.mjs';
import { gypEnv, root, run, Stop, script } from './lib/process.mjs';
import { provide, toolEnv } from './lib/tools.mjs';
import { prebuild } from './pack.mjs';

const USAGE = `npm test [-- VITEST_ARGUMENT...]

  Arguments are vitest's: files, -t NAME; the C++ tests are left out then. CONTRIBUTING.md has the variables.
`;

const ci = process.env.CI === 'true';
const total = { passed: 0, failed: 0, skipped: 0 };

/** Runs a command with its output on our stdout, and returns that output as well. */
function tee(command, args, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 2] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on('error', (error) => resolve({ status: 127, output: error.message }));
    child.on('close', (code, signal) => resolve({ status: signal ? 128 : code, output }));
  });
}

async function nativeTests(tools, env) {
  const lacking = ['cmake', 'doctest'].filter((name) => !tools[name].ok);
  if (process.platform !== 'linux' || lacking.length > 0) {
    const why =
      lacking.map((name) => `${tools[name].reason}: run \`${tools[name].remedy}\``).join('; ') || 'they are for Linux';
    console.log(`C++ unit tests skipped: ${why}`);
    total[ci ? 'failed' : 'skipped']++;
    return;
  }
  process.stderr.write('test: C++ unit tests\n');
  const folder = join(root, 'build/cmake');
  // CMake refuses a folder that was configured at another place: the checkout was moved or copied.
  const cacheFile = join(folder, 'CMakeCache.txt');
  if (existsSync(cacheFile) && !readFileSync(cacheFile, 'utf8').includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
    rmSync(folder, { recursive: true });
  }
  for (const args of [
    ['-S', root, '-B', folder, '--log-level=NOTICE'],
    ['--build', folder, '--parallel', '2', '--', '--no-print-directory'],
  ]) {
    if ((await run('cmake', args, { env })) !== 0) {
      console.log('C++ unit tests failed: they did not build (above)');
      total.failed++;
      return;
    }
  }
  const { status, output } = await tee(join(folder, 'overns_tests'), ['--no-colors'], env);
  // [doctest] test cases:  12 |  12 passed | 0 failed | 0 skipped
  const counts = /test cases:\s*\d+\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped/.exec(output);
  const failed = Number(counts?.[2] ?? 0);
  total.passed += Number(counts?.[1] ?? 0);
  total.failed += status !== 0 && failed === 0 ? 1 : failed;
  total.skipped += Number(counts?.[3] ?? 0);
  if (!counts) console.log(`C++ unit tests ended with status ${status} without a summary`);
}

async function vitest(args, env) {
  const folder = join(root, '.cache/test');
  mkdirSync(folder, { recursive: true });
  const report = join(folder, `vitest-${process.pid}.json`);
  rmSync(report, { force: true });
  const status = await run(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...args,
    ],
    { env, stdio: ['ignore', 1, 2] },
  );
  let failed = 0;
  if (existsSync(report)) {
    const result = JSON.parse(readFileSync(report, 'utf8'));
    total.passed += result.numPassedTests;
    total.skipped += result.numPendingTests + result.numTodoTests;
    // A file that cannot be loaded has no tests that could fail.
    failed =
      result.numFailedTests +
      result.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
    if (result.numPendingTests + result.numTodoTests > 0) {
      console.log('Skipped:');
      for (const file of result.testResults) {
        for (const test of file.assertionResults) {
          if (test.status !== 'passed' && test.status !== 'failed') console.log(`  ${test.fullName}`);
        }
      }
    }
    rmSync(report, { force: true });
  }
  // Namespaces left behind, an unhandled error, a crash: no test of its own failed, the run did.
  if (status !== 0 && failed === 0) {
    console.log(`vitest ended with status ${status}`);
    failed = 1;
  }
  total.failed += failed;
}

await script(async () => {
  const args = process.argv.slice(2);
  if (args.includes('--help')) printUsage(USAGE);
  await install();
  await build();
  // The package test packs: what it ships is compiled now, not beside tests that measure time.
  if (args.length === 0) await prebuild();
  const tools = await provide();
  const env = { ...toolEnv(gypEnv()), OVERNS_TEST_TOOLS: JSON.stringify(tools) };
  if (args.length === 0) await nativeTests(tools, env);
  await vitest(args, env);

  for (const [name, tool] of Object.entries(tools)) {
    if (!tool.ok) console.log(`Lacking: ${name}: ${tool.reason}. To have its tests: ${tool.remedy}`);
  }
  if (ci && total.skipped > 0) {
    console.log('In CI nothing may be skipped: the skipped tests count as failed.');
    total.failed += total.skipped;
    total.skipped = 0;
  }
  if (total.passed + total.failed === 0) throw new Stop('test: no test ran');
  console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
  return total.failed > 0 ? 1 : 0;
});
