/** The completion script, in a bash as it runs. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { completionScript } from '../../lib/cli/completion.js';
import { flagsOf } from '../../lib/cli/verb.js';
import { aliases, loadVerbs, verbNames } from '../../lib/cli/verbs/index.js';
import { MAIN } from '../cli/cli.js';
import { onCleanup } from '../support/cleanup.js';
import { createContainer, exec, twoHosts, uniqueName } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'overns-completion-'));
  onCleanup(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'script'), `${completionScript(await loadVerbs(), aliases)}\n`);
  await mkdir(join(folder, 'netns'));
  for (const name of ['blue', 'black', '$(touch ran)']) await writeFile(join(folder, 'netns', name), '');
});

/** What bash offers for the last of the words; a blank between the others. */
async function offered(line: string, more: NodeJS.ProcessEnv = {}): Promise<string[]> {
  const script = `set -eu
    source ./script
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    "$(complete -p overns | sed -n 's/.*-F \\([^ ]*\\) .*/\\1/p')"
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await promisify(execFile)('bash', ['--norc', '-c', script, 'bash', ...line.split(' ')], {
    cwd: folder,
    env: { PATH: process.env.PATH, OVERNS_NETNS_DIR: join(folder, 'netns'), ...more },
  });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((word) => word !== '');
}

describe('bash completes', () => {
  test.each([
    ['overns cr', ['create']],
    ['overns --json at', ['attach']],
    ['overns --log-level debug re', ['records', 'remove']],
    ['overns help mis', ['misses']],
    ['overns --ver', ['--version']],
    ['overns create --vn', ['--vni']],
    ['overns rm --ho', ['--host']],
    ['overns create --mtu ', ['auto']],
    ['overns create --mtu = a', ['auto']],
    ['overns show --log-level =', ['error', 'warn', 'info', 'debug']],
    ['overns create --vni ', []],
    ['overns attach --ifname b', []],
    ['overns records ', ['list', 'get', 'put', 'delete']],
    ['overns monitor link ne', ['neigh', 'nexthop', 'netns']],
    ['overns show bl', ['black', 'blue']],
    ['overns delete --timeout 3 blu', ['blue']],
    ['overns show blue --host bla', ['black']],
    ['overns monitor --netns-dir net', ['netns']],
    ['overns attach blue bl', ['black', 'blue']],
    ['overns create bl', []],
    ['overns completion ', ['bash']],
    ['overns nonsense x', []],
  ])('%s', async (line, words) => {
    expect(await offered(line)).toEqual(words);
  });

  test('all verbs, and the flags of each', async () => {
    expect(await offered('overns ')).toEqual([...verbNames, ...Object.keys(aliases), 'help', 'version']);
    for (const verb of await loadVerbs()) {
      const flags = Object.keys(flagsOf(verb)).map((name) => `--${name}`);
      expect(await offered(`overns ${verb.name} --`)).toEqual(flags);
    }
  });

  test('a name is never run', async () => {
    expect(await offered('overns show ')).toEqual(['\\$\\(touch\\ ran\\)', 'black', 'blue']);
    expect(await offered('overns show r')).toEqual([]);
  });
});

describeWith(['root', 'ip'], 'bash completes names of this machine', () => {
  test('overlays where one is meant, namespaces where a container is', async () => {
    const [host] = await twoHosts();
    const container = await createContainer();
    const name = uniqueName();
    onCleanup(() => exec(process.execPath, [MAIN, 'delete', name]));
    await exec(process.execPath, [MAIN, 'create', name, '--vni', '42', '--host', host.name]);
    const command = join(folder, 'overns');
    await writeFile(command, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
    // On a busy machine a command takes longer than a shell waits for it.
    await writeFile(join(folder, 'timeout'), '#!/bin/sh\nshift\nexec "$@"\n', { mode: 0o755 });
    const offers = (line: string) =>
      offered(line, { OVERNS_NETNS_DIR: '/run/netns', PATH: `${folder}:${process.env.PATH}` });
    const overlays = await offers('overns delete ');
    expect(overlays).toContain(name);
    expect(overlays).not.toContain(container.name);
    expect(await offers(`overns attach ${name} ${container.name.slice(0, -1)}`)).toContain(container.name);
  });
});
