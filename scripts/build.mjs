#!/usr/bin/env node
/**
 * npm run build: TypeScript into dist/, the addon into build/Release/overns.node. Makes only what is stale.
 * `--only ts`, `--only addon`: one of the two. `--force`: everything anew. `--debug`: the addon for a debugger, without
 * optimisation, until the next build without it.
 */
import { chmodSync, existsSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readFlags } from './lib/flags.mjs';
import { capture, gypEnv, root, run, Stop, script, which } from './lib/process.mjs';
import { lists, sources } from './lib/sources.mjs';
import { exclusively, files, fingerprint, forget, record, recorded, same } from './lib/stale.mjs';

const require = createRequire(import.meta.url);
export const addon = 'build/Release/overns.node';
const USAGE = `npm run build [-- --only ts|addon] [-- --force] [-- --debug]

  --only ts|addon  one of the two
  --force          everything anew, not what is stale alone
  --debug          the addon for a debugger, without optimisation, until the next build without it
`;
const addonStamp = 'build/.addon.json';
const distStamp = 'build/.dist.json';
/** JavaScript as TypeScript makes it, file by file. */
const compiled = 'build/lib';

function installed(name, file) {
  const path = join(root, 'node_modules', name, file);
  if (!existsSync(path)) throw new Stop(`build: ${name} is not installed: run \`npm ci\``);
  return path;
}

/** One line for all that is missing, before a tool fails in its own many words. */
function needCompiler() {
  const cxx = process.env.CXX?.split(' ')[0] ?? 'g++';
  const missing = [
    [which(cxx) || existsSync(cxx), `a C++ compiler (${cxx})`, 'g++'],
    [which('make'), 'make', 'make'],
    [process.env.PYTHON || process.env.npm_config_python || which('python3'), 'python3', 'python3'],
  ].filter(([found]) => !found);
  if (missing.length === 0) return;
  throw new Stop(
    `build: the addon needs ${missing.map(([, what]) => what).join(', ')}, not found on PATH: ` +
      `run \`apt-get install ${missing.map(([, , name]) => name).join(' ')}\` (or your system's equivalent)`,
  );
}

/** What users import and run, by its place in dist/. What these share goes to dist/chunks. */
const ENTRIES = ['index', 'testing/index', 'cli/main'];

async function buildTypeScript(force) {
  const tsc = installed('typescript', 'lib/tsc.js');
  installed('esbuild', 'lib/main.js');
  const inputs = files('lib', (path) => path.endsWith('.ts'));
  const now = fingerprint([...inputs, 'tsconfig.json', 'package.json', 'scripts/build.mjs'], {
    typescript: require('typescript/package.json').version,
    esbuild: require('esbuild/package.json').version,
  });
  const before = recorded(distStamp);
  if (force || !same(now, before?.inputs) || !before.outputs.every((path) => existsSync(join(root, path)))) {
    process.stderr.write('build: TypeScript\n');
    forget(distStamp);
    const pretty = String(Boolean(process.stderr.isTTY));
    rmSync(join(root, compiled), { recursive: true, force: true });
    const emit = ['--outDir', compiled, '--declarationDir', 'dist', '--sourceMap', '--inlineSources'];
    const status = await run(process.execPath, [tsc, '-p', '.', ...emit, '--pretty', pretty]);
    if (status !== 0) throw new Stop('build: TypeScript found errors (above): fix them and run `npm run build` again');
    const outputs = [
      ...inputs
        .filter((path) => !path.endsWith('.d.ts'))
        .map((path) => path.replace(/^lib\/(.*)\.ts$/, 'dist/$1.d.ts')),
      ...(await bundle()),
    ];
    // Files that an earlier source left behind would still be importable, and shipped.
    for (const path of files('dist')) if (!outputs.includes(path)) rmSync(join(root, path));
    record(distStamp, { inputs: now, outputs });
  }
  chmodSync(join(root, 'dist/cli/main.js'), 0o755);
}

/**
 * Bundles lib into few files: Node takes about a millisecond for each module, and a command would load 170 of them. From
 * what TypeScript has compiled: esbuild's own `using` (0.28) throws in one round of a loop what was caught in the one before.
 * Returns their paths.
 */
async function bundle() {
  const { build: esbuild } = require('esbuild');
  const { metafile } = await esbuild({
    absWorkingDir: root,
    entryPoints: ENTRIES.map((name) => ({ in: `${compiled}/${name}.js`, out: name })),
    outdir: 'dist',
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    metafile: true,
    logLevel: 'warning',
  });
  return Object.keys(metafile.outputs);
}

/** Inputs of the addon: `setup` shapes the generated makefiles, a change there means a build from scratch. */
export function addonInputs(env = gypEnv()) {
  if (sources().length === 0) throw new Stop(`build: ${lists.join(' and ')} list no source: nothing to build`);
  installed('node-gyp', 'bin/node-gyp.js');
  installed('node-addon-api', 'package.json');
  const tools = ['CC', 'CXX', 'AR', 'CFLAGS', 'CXXFLAGS', 'CPPFLAGS', 'LDFLAGS', 'npm_config_nodedir'];
  const cxx = process.env.CXX?.split(' ')[0] ?? 'g++';
  const setup = fingerprint(['binding.gyp', 'scripts/lib/sources.mjs', ...lists], {
    ...Object.fromEntries(tools.map((name) => [name, env[name] ?? ''])),
    root,
    node: process.version,
    arch: process.arch,
    compiler: capture(cxx, ['-dumpfullversion', '-dumpmachine']) ?? '',
    gyp: require('node-gyp/package.json').version,
    api: require('node-addon-api/package.json').version,
  });
  return { setup, code: fingerprint(files('native', (path) => /\.(cc|h)$/.test(path))) };
}

async function buildAddon(force) {
  if (process.platform !== 'linux') {
    process.stderr.write(`build: the addon is for Linux only, this is ${process.platform}: skipped\n`);
    return;
  }
  const gyp = installed('node-gyp', 'bin/node-gyp.js');
  const env = { ...gypEnv(), MAKEFLAGS: '--no-print-directory' };
  const { setup, code } = addonInputs(env);
  const before = recorded(addonStamp);
  const built = existsSync(join(root, addon));
  if (!force && built && same({ setup, code, done: true }, before)) return;

  needCompiler();
  process.stderr.write('build: addon\n');
  let verb = 'build';
  const makefile = join(root, 'build/Makefile');
  if (force || !before || !existsSync(makefile) || !same(setup, before.setup)) verb = 'rebuild';
  else {
    // make goes by time. A changed file that is older than its object would be passed over.
    const last = statSync(join(root, addonStamp)).mtimeMs;
    const changed = Object.keys(code.files).filter((path) => code.files[path] !== before.code.files[path]);
    const gone = Object.keys(before.code.files).some((path) => !(path in code.files));
    if (gone || changed.some((path) => statSync(join(root, path)).mtimeMs <= last)) verb = 'rebuild';
  }
  // `rebuild` would empty build/, where other products live; make starts from scratch without the objects.
  if (verb === 'rebuild') {
    forget(addonStamp);
    rmSync(join(root, 'build/Release'), { recursive: true, force: true });
    const configured = await run(process.execPath, [gyp, 'configure', '--loglevel', 'error'], { env });
    if (configured !== 0)
      throw new Stop(
        'build: node-gyp could not configure the addon (above): fix what it names and run `npm run build` again',
      );
  }
  // Written before make reads the sources, so that after a failure the next try builds on what was compiled.
  record(addonStamp, { setup, code, done: false });
  const status = await run(process.execPath, [gyp, 'build', '--jobs', 'max', '--loglevel', 'error'], { env });
  if (status !== 0 || !existsSync(join(root, addon))) {
    throw new Stop(
      'build: the addon did not compile (above): fix what the compiler names and run `npm run build` again',
    );
  }
  record(addonStamp, { setup, code, done: true });
}

/** Builds what is stale. Throws Stop when something cannot be built; what can be is built nevertheless. */
export async function build({ only, force = false } = {}) {
  await exclusively('build', async () => {
    const failures = [];
    for (const [name, step] of [
      ['ts', buildTypeScript],
      ['addon', buildAddon],
    ]) {
      if (only && only !== name) continue;
      try {
        await step(force);
      } catch (error) {
        if (!(error instanceof Stop)) throw error;
        failures.push(error.message);
      }
    }
    if (failures.length > 0) throw new Stop(failures.join('\n'));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(async () => {
    const { only, force, debug } = readFlags('build', USAGE, {
      only: { type: 'string' },
      force: { type: 'boolean', default: false },
      debug: { type: 'boolean', default: false },
    }).values;
    if (only !== undefined && only !== 'ts' && only !== 'addon') throw new Stop('build: --only takes `ts` or `addon`');
    // Part of the recorded environment: a change of it is a build from scratch.
    if (debug) process.env.CXXFLAGS = `${process.env.CXXFLAGS ?? ''} -O0 -g3`.trim();
    await build({ only, force });
  });
}
