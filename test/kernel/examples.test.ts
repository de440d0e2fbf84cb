/**
 * The examples of the API reference do what they say: each is type-checked, and run on the fake kernel and, unless it
 * brings one of its own or asks none, on the real one.
 */
import { mkdir, mkdtemp, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { compile, type Example, examples, ROOT, typeErrors, withoutExample } from '../support/examples.js';
import { createNetns } from '../support/netns.js';
import { exec } from '../support/process.js';
import { describeWith } from '../support/requirements.js';

const all = examples();
// Below the package, so that it is found by its own name.
const folder = join(ROOT, '.cache', `examples-${process.pid}`);
const support = join(ROOT, 'test/support');

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  onCleanup(() => rm(folder, { recursive: true, force: true }));
  for (const example of all) {
    await writeFile(join(folder, example.name), example.code);
    await writeFile(join(folder, example.name.replace(/ts$/, 'mjs')), compile(example));
  }
});

const compiled = ({ name }: Example): string => join(folder, name.replace(/ts$/, 'mjs'));

test('every export has one, and every method of a class', () => {
  expect(withoutExample()).toEqual([]);
  expect(all.length).toBeGreaterThan(100);
});

test('they are TypeScript', () => {
  const names = all.map(({ name }) => name);
  expect(typeErrors(folder, names)).toEqual([]);
});

test('on the fake kernel', async () => {
  const some = all.filter(({ on }) => on !== 'real');
  const files = some.map((example) => (example.on === 'fake' ? 'own:' : '') + compiled(example));
  const { stdout } = await exec(process.execPath, ['--no-warnings', join(support, 'fake-examples.mjs'), ...files]);
  const results = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  expect(results).toEqual(some.map((example) => ({ file: compiled(example), printed: example.prints, error: '' })));
});

describeWith(['root', 'ip'], 'on the real kernel', () => {
  test.each(all.filter(({ on }) => on === 'both' || on === 'real'))('$name', async (example) => {
    const host = await createNetns();
    await host.ip('link add under0 type veth peer name under1');
    await host.ip('address add 10.0.0.10/24 dev under0');
    for (const link of ['under0', 'under1']) await host.ip(`link set ${link} up`);
    const directory = await mkdtemp(join(tmpdir(), 'ot-examples-'));
    onCleanup(async () => {
      for (const name of await readdir(directory)) {
        await exec('umount', ['-l', join(directory, name)], { check: false });
        await rm(join(directory, name), { force: true });
      }
      await exec('umount', ['-l', directory], { check: false });
      await rmdir(directory);
    });
    const env = { ...process.env, OVERNS_NETNS_DIR: directory };
    const args = ['--no-warnings', '--import', join(support, 'example-scene.mjs'), compiled(example)];
    const { code, stdout, stderr } = await host.exec(process.execPath, args, { env, check: false });
    const printed = stdout.split('\n').filter(Boolean);
    expect({ code, stderr, printed }).toEqual({ code: 0, stderr: '', printed: example.prints });
  });
});
