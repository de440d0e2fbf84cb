/**
 * The examples of the API reference do what they say on the real kernel, unless they bring one of their own or ask none.
 * Without it: test/unit/examples.test.ts.
 */
import { mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { examples, program, ROOT, writePrograms } from '../support/examples.js';
import { createNetns } from '../support/netns.js';
import { exec } from '../support/process.js';
import { describeWith } from '../support/requirements.js';

const all = examples();
const support = join(ROOT, 'test/support');

beforeAll(() => writePrograms(all));

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
    const args = ['--no-warnings', '--import', join(support, 'example-scene.mjs'), program(example)];
    const { code, stdout, stderr } = await host.exec(process.execPath, args, { env, check: false });
    const printed = stdout.split('\n').filter(Boolean);
    expect({ code, stderr, printed }).toEqual({ code: 0, stderr: '', printed: example.prints });
  });
});
