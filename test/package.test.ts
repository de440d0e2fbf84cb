/** What a consumer gets: the packed tarball in an empty project, without a compiler and without install scripts. */
import { existsSync, realpathSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { build as vite } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ExecOptions, exec } from './support/process.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

/** npm's own program, so that it runs with a PATH that holds nothing else. */
function npm(): string {
  const found = [
    process.env.npm_execpath,
    join(dirname(dirname(process.execPath)), 'lib/node_modules/npm/bin/npm-cli.js'),
    ...(process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, 'npm')),
  ].find((file) => file !== undefined && existsSync(file));
  if (found === undefined) throw new Error('npm not found');
  return realpathSync(found);
}

/** The environment without what an outer `npm test` adds. */
function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(?!config_nodedir$)|^INIT_CWD$|^OVERNS_/.test(name)),
  );
}

describe('the package', () => {
  let folder: string;
  let project: string;
  let tarball: string;
  let bare: NodeJS.ProcessEnv;
  let packed: readonly string[];

  /** Runs a command in the consumer's project, with node and a shell but no compiler on PATH. */
  const run = (command: string, args: readonly string[], options: ExecOptions = {}) =>
    exec(command, args, { cwd: project, env: bare, timeout: 120_000, ...options });
  const node = (...args: string[]) => run(process.execPath, args);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ot-package-'));
    project = join(folder, 'project');
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await mkdir(project);
    await symlink(process.execPath, join(bin, 'node'));
    await symlink('/bin/sh', join(bin, 'sh'));
    bare = { ...cleanEnv(), PATH: bin };
    const result = await exec(process.execPath, [npm(), 'pack', '--json', '--pack-destination', folder], {
      cwd: root,
      env: cleanEnv(),
      timeout: 240_000,
    });
    const [entry] = JSON.parse(result.stdout) as { filename: string; files: { path: string }[] }[];
    if (entry === undefined) throw new Error(`npm pack: ${result.stdout}`);
    tarball = join(folder, entry.filename);
    packed = entry.files.map((file) => file.path);
    await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    await run(process.execPath, [
      npm(),
      'install',
      '--ignore-scripts',
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
      tarball,
    ]);
  }, 300_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('holds what is used and nothing else', () => {
    const outside = packed.filter(
      (path) => !/^(dist\/|prebuilds\/|docs\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(path),
    );
    expect(outside).toEqual([]);
    expect(packed).toContain(`prebuilds/${process.platform}-${process.arch}/overns.glibc.node`);
    expect(packed).toContain('dist/index.js');
    expect(packed).toContain('dist/index.d.ts');
    expect(packed).toContain('dist/testing/index.d.ts');
    expect(packed).toContain('dist/cli/main.js');
  });

  test('has the sources that its source maps name', async () => {
    const maps = packed.filter((path) => path.endsWith('.js.map'));
    expect(maps).toContain('dist/index.js.map');
    const sources: string[] = [];
    for (const path of maps) {
      const map = JSON.parse(await readFile(join(project, 'node_modules/overns', path), 'utf8'));
      expect(map.sourcesContent, path).toEqual(map.sources.map(() => expect.stringContaining('\n')));
      sources.push(...map.sources);
    }
    expect(sources.some((path) => path.endsWith('/lib/resolver/resolver.ts'))).toBe(true);
  });

  test('has no install script', async () => {
    const manifest = JSON.parse(await readFile(join(project, 'node_modules/overns/package.json'), 'utf8'));
    expect(Object.keys(manifest.scripts ?? {}).filter((name) => /install|^prepare$/.test(name))).toEqual([]);
    expect(manifest.gypfile).toBe(false);
  });

  const use = `
    Rtnl.open().then(async (rtnl) => {
      const links = await rtnl.links.list();
      await rtnl.close();
      console.log(links.some((link) => link.name === 'lo') ? 'works' : JSON.stringify(links));
    });`;

  test('works from ESM', async () => {
    await writeFile(join(project, 'esm.mjs'), `import { Rtnl } from 'overns';\n${use}`);
    expect((await node('esm.mjs')).stdout).toBe('works\n');
  });

  test('works from require()', async () => {
    await writeFile(join(project, 'require.cjs'), `const { Rtnl } = require('overns');\n${use}`);
    expect((await node('--no-warnings', 'require.cjs')).stdout).toBe('works\n');
  });

  const fake = `
    const kernel = new FakeKernel();
    kernel.addNetns('web');
    Overlay.create({ name: 'blue', vni: 42, system: kernel.system }).then(async (overlay) => {
      const { ip } = await overlay.attach('netns:web', { address: '192.168.0.2/24' });
      await overlay.close();
      console.log(ip);
    });`;

  test('brings its fake kernel to ESM and to require(), which works where the addon does not', async () => {
    // As on another platform: nothing that could load an addon is reached.
    const elsewhere = "Object.defineProperty(process, 'platform', { value: 'darwin' });\n";
    await writeFile(join(project, 'elsewhere.cjs'), elsewhere);
    await writeFile(
      join(project, 'fake.mjs'),
      `import { Overlay } from 'overns';\nimport { FakeKernel } from 'overns/testing';\n${fake}`,
    );
    await writeFile(
      join(project, 'fake.cjs'),
      `const { Overlay } = require('overns');\nconst { FakeKernel } = require('overns/testing');\n${fake}`,
    );
    for (const file of ['fake.mjs', 'fake.cjs']) {
      expect((await node('--no-warnings', '--require', './elsewhere.cjs', file)).stdout).toBe('192.168.0.2\n');
    }
    await writeFile(
      join(project, 'none.mjs'),
      `import { Rtnl } from 'overns';\nRtnl.open().catch((e) => console.log(e.code));`,
    );
    expect((await node('--require', './elsewhere.cjs', 'none.mjs')).stdout).toBe('OVERNS_PLATFORM\n');
  });

  test('loads nothing of the fake kernel by itself', async () => {
    const dist = join(project, 'node_modules/overns/dist');
    await rename(join(dist, 'testing'), join(dist, 'testing.away'));
    try {
      expect((await node('esm.mjs')).stdout).toBe('works\n');
      await run(join(project, 'node_modules/.bin/overns'), ['--help']);
    } finally {
      await rename(join(dist, 'testing.away'), join(dist, 'testing'));
    }
  });

  test('has a command', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    // Executed itself, as a shell would: the file's mode and its first line count.
    const { stdout } = await run(join(project, 'node_modules/.bin/overns'), ['--version']);
    expect(stdout).toContain(version);
  });

  describe('bundled', () => {
    /** Prints what comes of the addon, and of a store that needs undici. */
    const program = () => `import { openStore, Rtnl } from 'overns';
      const told = (e) => [e.code, e.message, e.hint].join(' | ');
      const links = Rtnl.open().then(async (rtnl) => {
        const list = await rtnl.links.list();
        await rtnl.close();
        return list.some((link) => link.name === 'lo') ? 'works' : JSON.stringify(list);
      }).catch(told);
      const store = openStore('consul://127.0.0.1:1/demo').then(async (store) => {
        const said = await store.lookup({ kind: 'l3', ip: '192.168.0.2', overlay: 'blue', vni: 42 }, {}).catch(told);
        await store[Symbol.asyncDispose]();
        return said;
      }).catch(told);
      Promise.all([links, store]).then((all) => console.log(all.join('\\n')));`;
    const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

    const bundlers: Record<string, (out: string) => Promise<unknown>> = {
      'esbuild, CommonJS': (out) =>
        build({
          entryPoints: [join(project, 'program.mjs')],
          bundle: true,
          platform: 'node',
          format: 'cjs',
          outfile: out,
        }),
      'esbuild, an ES module with require()': (out) =>
        build({
          ...{
            entryPoints: [join(project, 'program.mjs')],
            bundle: true,
            platform: 'node',
            format: 'esm',
            outfile: out,
          },
          banner: { js: REQUIRE },
        }),
      'vite, for a server': (out) =>
        vite({
          ...{ root: project, configFile: false, logLevel: 'silent' },
          ssr: { noExternal: true },
          build: {
            ssr: 'program.mjs',
            outDir: dirname(out),
            rollupOptions: { output: { entryFileNames: basename(out) } },
          },
        }),
    };

    const addon = () =>
      join(project, 'node_modules/overns/prebuilds', `${process.platform}-${process.arch}`, 'overns.glibc.node');

    beforeAll(() => writeFile(join(project, 'program.mjs'), program()));

    describe.each(Object.entries(bundlers))('by %s', (name, bundle) => {
      let out: string;
      beforeAll(async () => {
        out = join(project, 'bundles', name.replaceAll(/\W+/g, '-'), name.includes('CommonJS') ? 'out.cjs' : 'out.mjs');
        await bundle(out);
      });

      test('works where overns is installed', async () => {
        const [links, store] = (await node(out)).stdout.split('\n');
        expect(links).toBe('works');
        expect(store).toMatch(/^OVERNS_STORE \| consul:\/\/127\.0\.0\.1:1: .*refused/);
      });

      test('elsewhere says what to do, and takes the addon from where it is told', async () => {
        // With the chunks that some of them make.
        await cp(dirname(out), join(folder, basename(dirname(out))), { recursive: true });
        const away = join(folder, basename(dirname(out)), basename(out));
        const [links, store] = (await node(away)).stdout.split('\n');
        expect(links).toMatch(
          /^OVERNS_PLATFORM \| overns was bundled into \/.*\/out\.[cm]js, and .* \| mark overns external .*--external:overns.*OVERNS_ADDON/,
        );
        expect(store).toMatch(/^OVERNS_STORE \| .*refused/);
        const env = { ...bare, OVERNS_ADDON: addon() };
        expect((await run(process.execPath, [away], { env })).stdout).toMatch(/^works\n/);
      });
    });

    /** The two lines that the program prints. */
    const said = async (file: string, env = bare) => (await run(process.execPath, [file], { env })).stdout.split('\n');

    test('by esbuild as an ES module without require(), works where overns is installed; elsewhere a store says what to do', async () => {
      const out = join(project, 'bundles/plain.mjs');
      await build({
        entryPoints: [join(project, 'program.mjs')],
        bundle: true,
        platform: 'node',
        format: 'esm',
        outfile: out,
      });
      const [links, store] = await said(out);
      expect(links).toBe('works');
      expect(store).toMatch(/^OVERNS_STORE \| consul:\/\/127\.0\.0\.1:1: .*refused/);
      const away = join(folder, 'plain.mjs');
      await copyFile(out, away);
      const [alone, lost] = await said(away, { ...bare, OVERNS_ADDON: addon() });
      expect(alone).toBe('works');
      expect(lost).toMatch(
        /^OVERNS_PLATFORM \| overns was bundled into .*\/plain\.mjs, and undici in it cannot be loaded: .* \| mark overns external .* --banner:js=/,
      );
      expect(lost).not.toContain('OVERNS_ADDON');
    });

    test('by webpack, which writes the path that the package had where it ran, looks where the bundle runs', async () => {
      const out = join(project, 'bundles/webpack.mjs');
      await build({
        entryPoints: [join(project, 'program.mjs')],
        bundle: true,
        platform: 'node',
        format: 'esm',
        outfile: out,
        define: { 'import.meta.url': '"file:///nowhere/node_modules/overns/dist/chunks/chunk-ABCDEFGH.js"' },
      });
      const [links, store] = await said(out);
      expect(links).toBe('works');
      expect(store).toMatch(/^OVERNS_STORE \| /);
      const away = join(folder, 'webpack.mjs');
      await copyFile(out, away);
      expect((await said(away))[0]).toMatch(
        /^OVERNS_PLATFORM \| overns was bundled into .*\/webpack\.mjs, and its native addon was left behind \| .*OVERNS_ADDON/,
      );
      expect((await said(away, { ...bare, OVERNS_ADDON: addon() }))[0]).toBe('works');
    });

    test('the path of the addon is looked at', async () => {
      for (const path of ['/nowhere/overns.node', project]) {
        const env = { ...bare, OVERNS_ADDON: path };
        const { stdout } = await run(process.execPath, ['program.mjs'], { env });
        expect(stdout).toMatch(new RegExp(`^OVERNS_PLATFORM \\| OVERNS_ADDON: ${path} is not a file \\| set it to `));
      }
      const env = { ...bare, OVERNS_ADDON: join(project, 'package.json') };
      const { stdout } = await run(process.execPath, ['program.mjs'], { env });
      expect(stdout).toMatch(/^OVERNS_PLATFORM \| OVERNS_ADDON: .*package\.json cannot be loaded: /);
    });
  });

  describe("under Node's permission model", () => {
    const model = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission';
    const restricted = (...flags: string[]) => node('--no-warnings', model, ...flags, 'esm.mjs').catch(String);
    const files = () => ['esm.mjs', 'package.json', 'node_modules/overns/package.json', 'node_modules/overns/dist/*'];
    beforeAll(() =>
      writeFile(
        join(project, 'esm.mjs'),
        `import { Rtnl } from 'overns';\n${use.replace('});', "}).catch((e) => console.log(e.code + ' | ' + e.message + ' | ' + e.hint));")}`,
      ),
    );

    test('with what it needs it works', async () => {
      expect(await restricted('--allow-fs-read=*', '--allow-addons')).toMatchObject({ stdout: 'works\n' });
    });

    test('without addons it names the flag', async () => {
      expect(await restricted('--allow-fs-read=*')).toMatchObject({
        stdout: expect.stringMatching(/^OVERNS_PLATFORM \| .*permission model.* \| start node with --allow-addons\n$/),
      });
    });

    test('without the files of namespaces to be read it names their folder', async () => {
      await writeFile(
        join(project, 'list.mjs'),
        "import { netns } from 'overns';\nnetns.list().catch((e) => console.log(e.code + ' | ' + e.message + ' | ' + e.hint));",
      );
      const { stdout } = await node(
        '--no-warnings',
        model,
        `--allow-fs-read=${project}/*`,
        '--allow-addons',
        'list.mjs',
      );
      expect(stdout).toMatch(
        /^ERR_ACCESS_DENIED \| Node's permission model .*\/run\/netns .* \| start node with --allow-fs-read=\/run\/netns\/\*\n$/,
      );
    });

    test('without undici to be read a store and Docker name its folder', async () => {
      await writeFile(
        join(project, 'undici.mjs'),
        `import { openStore, Overlay } from 'overns';
        import { FakeKernel } from 'overns/testing';
        const told = (e) => console.log(e.code + ' | ' + e.message + ' | ' + e.hint);
        const store = await openStore('consul://127.0.0.1:1/demo');
        await store.lookup({ kind: 'l3', ip: '192.168.0.2', overlay: 'blue', vni: 42 }, {}).catch(told);
        // A fake kernel that asks Docker all the same.
        const system = { ...new FakeKernel({ underlay: '10.0.0.10/24' }).system, checkEngine() {} };
        const overlay = await Overlay.create({ name: 'blue', vni: 42, system });
        const options = { address: '192.168.0.2/24', docker: 'unix:///nowhere/docker.sock' };
        await overlay.attach('docker:demo', options).catch(told);
        await overlay.close();`,
      );
      const files = [
        ...['undici.mjs', 'package.json', 'node_modules/overns/*'].map((f) => join(project, f)),
        '/run/*',
        '/proc/*',
      ];
      const flags = (more: readonly string[]) => [...files, ...more].map((file) => `--allow-fs-read=${file}`);
      const undici = join(project, 'node_modules/undici');
      const denied = `ERR_ACCESS_DENIED | Node's permission model does not let ${undici} be read | start node with --allow-fs-read=${undici}/*\n`;
      const without = await node('--no-warnings', model, '--allow-addons', ...flags([]), 'undici.mjs');
      expect(without.stdout).toBe(denied + denied);
      const all = await node('--no-warnings', model, '--allow-addons', ...flags([`${undici}/*`]), 'undici.mjs');
      expect(all.stdout).toMatch(/^OVERNS_STORE \| .*connection refused.*\nOVERNS_DOCKER \| .*no such socket.*\n$/);
    });

    test('without the addon to be read it names the folder', async () => {
      const flags = files().map((file) => `--allow-fs-read=${join(project, file)}`);
      expect(await restricted(...flags, '--allow-addons')).toMatchObject({
        stdout: expect.stringMatching(
          /^OVERNS_PLATFORM \| .* \| start node with --allow-fs-read=.*node_modules\/overns\/\*/,
        ),
      });
    });
  });

  describe('in TypeScript, its declarations checked too', () => {
    beforeAll(async () => {
      await mkdir(join(project, 'node_modules/@types'), { recursive: true });
      for (const name of ['@types/node', 'undici-types']) {
        await rm(join(project, 'node_modules', name), { recursive: true, force: true });
        await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name));
      }
      await writeFile(
        join(project, 'consumer.mts'),
        `import { openStore, Overlay, OvernsError, Resolver, Rtnl, type Endpoint, type ResolverEvent, type Store } from 'overns';
import { FakeKernel, type FakeRequest } from 'overns/testing';

export async function main(signal: AbortSignal): Promise<Endpoint> {
  await using overlay = await Overlay.create({ name: 'overns', vni: 42, address: '192.168.0.1/24' });
  const endpoint = await overlay.attach('netns:demo', { address: '192.168.0.2/24' });
  await using store = await openStore('consul://127.0.0.1:8500/demo');
  await store.publish(endpoint);
  const own: Store = { lookup: (query) => (query.kind === 'l3' ? { mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10' } : null) };
  await using resolver = await Resolver.start({ overlays: [overlay, { overlay, store: own }], store });
  resolver.on('resolved', (event) => console.log(event.tookUs, event.endpoint.mac));
  for await (const event of resolver.events({ signal })) tell(event);
  return endpoint;
}

function tell(event: ResolverEvent): string {
  switch (event.kind) {
    case 'resolved':
      return \`\${event.miss.kind} \${event.endpoint.vtep} \${event.tookUs}\`;
    case 'overrun':
      return String(event.dropped);
    default:
      return event.overlay;
  }
}

export async function links(): Promise<readonly string[]> {
  await using rtnl = await Rtnl.open({ netns: { pid: 1 } });
  const [answer] = await rtnl.fdb.batch([{ op: 'replace', item: { link: 'vxlan1', mac: '02:42:c0:a8:00:02', dst: '10.0.0.10', state: 'reachable' } }]);
  if (answer && !answer.ok) console.log(answer.error.errno, answer.error.code);
  return (await rtnl.links.list()).map((link) => link.name);
}

export async function tested(): Promise<readonly string[]> {
  const kernel = new FakeKernel({ underlay: '10.0.0.10/24' });
  await using _rtnl = await Rtnl.open({ system: kernel.system });
  kernel.fail('RTM_NEWLINK', 'EPERM', { where: (request: FakeRequest) => request.item.kind === 'vxlan' });
  const crossing = await kernel.send({ from: 'web', to: '192.168.0.3' });
  return crossing.crossed ? [crossing.netns] : [crossing.why, ...kernel.openHandles];
}

export const code = (error: unknown): string => (error instanceof OvernsError ? error.code : '');
`,
      );
      await writeFile(
        join(project, 'consumer.cts'),
        `import overns = require('overns');\nexport const open: typeof overns.Rtnl.open = (options) => overns.Rtnl.open(options);\nimport testing = require('overns/testing');\nexport const kernel = (): testing.FakeKernel => new testing.FakeKernel();\n`,
      );
    });

    test.each([
      ['nodenext', 'nodenext', ['consumer.mts', 'consumer.cts']],
      ['bundler', 'esnext', ['consumer.mts']],
    ])(
      'module resolution %s',
      async (moduleResolution, module, files) => {
        const config = {
          compilerOptions: {
            target: 'es2022',
            // `await using` is the consumer's choice; the declarations ask for no more than Node's own types.
            lib: ['es2022', 'esnext.disposable'],
            module,
            moduleResolution,
            types: ['node'],
            strict: true,
            exactOptionalPropertyTypes: true,
            noUncheckedIndexedAccess: true,
            skipLibCheck: false,
            noEmit: true,
          },
          files,
        };
        const path = join(project, `tsconfig.${moduleResolution}.json`);
        await writeFile(path, JSON.stringify(config));
        const result = await run(process.execPath, [require.resolve('typescript/lib/tsc.js'), '-p', path], {
          check: false,
        });
        expect(result.stdout).toBe('');
        expect(result.code).toBe(0);
      },
      60_000,
    );
  });

  test('publint has nothing to say', async () => {
    const result = await exec(
      process.execPath,
      [join(root, 'node_modules/publint/src/cli.js'), 'run', tarball, '--strict'],
      { check: false, cwd: root },
    );
    expect(result.stdout + result.stderr).toContain('All good!');
    expect(result.code).toBe(0);
  });

  test('attw finds its types', async () => {
    const cli = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    const result = await exec(process.execPath, [cli, tarball, '--profile', 'esm-only', '--no-emoji'], {
      check: false,
      cwd: root,
    });
    expect(result.code, result.stdout + result.stderr).toBe(0);
  });
});
