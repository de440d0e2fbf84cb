/** The demo: as root and as nobody, what it prints, every way it ends, and that nothing of it is left. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { pairs } from '../lib/cli/demo/pings.js';
import { Story } from '../lib/cli/demo/story.js';
import type { Container } from '../lib/cli/demo/subjects.js';
import { environment, MAIN } from './cli/cli.js';
import { onCleanup } from './support/cleanup.js';
import { Consul } from './support/consul.js';
import { Etcd } from './support/etcd.js';
import { exec, Running } from './support/process.js';
import { describeWith, testWith } from './support/requirements.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NOBODY = 65_534;

/** What --json prints. */
interface Report {
  readonly ok: boolean;
  readonly hosts: number;
  readonly mode: string;
  readonly store: string;
  readonly pings: readonly {
    readonly from: string;
    readonly to: string;
    readonly sent: number;
    readonly lost: number;
    readonly firstMs: number | null;
  }[];
  readonly misses: number;
  readonly answers: readonly { readonly host: string; readonly ip: string; readonly by: string }[];
}

/** A folder that anybody may use. */
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ot-demo-'));
  onCleanup(() => rmSync(path, { recursive: true, force: true }));
  chmodSync(path, 0o777);
  return path;
}

/** Where this test's demos keep what they keep in files, and what they are known by among all processes. */
let temporary: string;
beforeEach(() => {
  temporary = folder();
});

/** Serves on a free port what a Consul serves, each request after it was seen. */
async function inFrontOf(consul: Consul, see: (body: string) => Promise<void>): Promise<number> {
  const server = createServer(async (incoming, response) => {
    const { method = 'GET', url: path = '/', headers } = incoming;
    const body = await text(incoming);
    await see(body);
    const outgoing = request(`${consul.url}${path}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    outgoing.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Processes that were started with this test's TMPDIR, their children included. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`TMPDIR=${temporary}\0`);
      } catch {
        return false;
      }
    });
}

function namespaces(): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => name.startsWith('overns-demo-'));
  } catch {
    return [];
  }
}

/** Of the demos of others that run meanwhile nothing is known: theirs are the namespaces of processes that live. */
function left(): string[] {
  return namespaces().filter((name) => {
    const pid = Number(/^overns-demo-(\d+)-/.exec(name)?.[1]);
    try {
      return !readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('demo');
    } catch {
      return true;
    }
  });
}

afterEach(async () => {
  // A killed parent's child may take a moment to end.
  await expect.poll(processes, { timeout: 30_000, message: 'processes' }).toEqual([]);
  expect(readdirSync(temporary), 'temporary files').toEqual([]);
  expect(left(), 'namespaces').toEqual([]);
});

type Run = readonly [command: string, ...args: string[]];

const asRoot = (...words: string[]): Run => [process.execPath, MAIN, 'demo', ...words];

function env(): NodeJS.ProcessEnv {
  return environment({ TMPDIR: temporary });
}

async function play([command, ...args]: Run, more: NodeJS.ProcessEnv = {}) {
  return exec(command, args, { check: false, timeout: 60_000, env: { ...env(), ...more } });
}

function start([command, ...args]: Run): Running {
  return new Running(command, args, { env: env() });
}

function reportOf(stdout: string): Report {
  expect(stdout).toMatch(/^\{.*\}\n$/);
  return JSON.parse(stdout) as Report;
}

function checkReport(report: Report, expected: { hosts: number; mode: string; pings: number }): void {
  const { hosts, mode, pings } = expected;
  expect(report).toMatchObject({ ok: true, hosts, mode, store: 'memory:' });
  expect(report.pings).toHaveLength(pings);
  for (const ping of report.pings) {
    expect(ping).toEqual({
      from: expect.stringMatching(/^192\.168\.0\.\d+$/),
      to: expect.stringMatching(/^192\.168\.0\.\d+$/),
      sent: 4,
      lost: 0,
      firstMs: expect.any(Number),
    });
    expect(ping.from).not.toBe(ping.to);
    expect(ping.firstMs).toBeGreaterThan(0);
  }
  // Cold each way: the kernels of both ends ask.
  expect(report.misses).toBeGreaterThanOrEqual(2 * pings);
  expect(report.answers).toHaveLength(report.misses);
}

describeWith(['root'], 'the demo as root', () => {
  test('tells what happens, and ends with a table in which nothing is lost', async () => {
    const { code, stdout, stderr } = await play(asRoot());
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const stages = ['Hosts', 'Overlays', 'Containers', 'Resolver', 'Pings', 'Result'];
    expect([...stdout.matchAll(/^([A-Z][a-z]+) {2}\S/gm)].map(([, stage]) => stage)).toEqual(stages);
    expect(stdout).toMatch(/^ +\d+\.\d ms {2}container1 pings container2, 192\.168\.0\.3$/m);
    expect(stdout).toMatch(
      /^ +\d+\.\d ms {4}host1: {2}who has 192\.168\.0\.3\? {2}02:42:c0:a8:00:03 behind 10\.0\.0\.11/m,
    );
    expect(stdout).toMatch(/^ +\d+\.\d ms {4}4 replies( {2}\d+\.\d\d){4} ms$/m);
    expect(stdout).toMatch(/^ {2}container1 {2}192\.168\.0\.2 {2}container2 {2}192\.168\.0\.3 +4 +0 +\d+\.\d\d ms$/m);
    expect(stdout).toMatch(/^ {2}container2 {2}192\.168\.0\.3 {2}container1 {2}192\.168\.0\.2 +4 +0 +\d+\.\d\d ms$/m);
    expect(stdout).toMatch(/^Nothing was lost: 8 pings, 8 replies\.$/m);
    // The steps are told in the order of their times.
    const times = [...stdout.matchAll(/^ +(\d+\.\d) ms /gm)].map(([, ms]) => Number(ms));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    // Not a terminal: no colours.
    expect(stdout).not.toContain('\u001b');
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
  });

  test('--json: one object on stdout, nothing else anywhere', async () => {
    const { code, stdout, stderr } = await play(asRoot('--json'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    checkReport(reportOf(stdout), { hosts: 2, mode: 'root', pings: 2 });
  });

  test('--json --log-level info tells the story on stderr', async () => {
    const { code, stdout, stderr } = await play(asRoot('--json', '--log-level', 'info'));
    expect(code).toBe(0);
    expect(reportOf(stdout).ok).toBe(true);
    expect(stderr).toMatch(/^Nothing was lost: 8 pings, 8 replies\.$/m);
  });

  test('--hosts 3: everybody pings everybody', async () => {
    const { code, stdout, stderr } = await play(asRoot('--json', '--hosts', '3'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = reportOf(stdout);
    checkReport(report, { hosts: 3, mode: 'root', pings: 6 });
    expect(new Set(report.pings.map(({ from, to }) => `${from} ${to}`)).size).toBe(6);
  });

  // Sixteen pings are waited for, three seconds each.
  test('what is lost is told, and the exit status is 1', { timeout: 480_000 }, async () => {
    // With a third one, so that most of the pings are still to come, however late this is.
    const demo = start(asRoot('--json', '--log-level', 'info', '--hosts', '3'));
    await demo.waitFor(/^Containers/m);
    // The other host's cable is pulled, before there are pings.
    demo.child.kill('SIGSTOP');
    execFileSync('ip', ['-n', `overns-demo-${demo.pid}-host2`, 'link', 'set', 'under0', 'down']);
    demo.child.kill('SIGCONT');
    expect(await demo.exited).toBe(1);
    const report = reportOf(demo.stdout);
    expect(report.ok).toBe(false);
    expect(report.pings.reduce((sum, { lost }) => sum + lost, 0)).toBeGreaterThanOrEqual(8);
    expect(report.pings.at(-1)).toMatchObject({ to: '192.168.0.3', sent: 4, lost: 4, firstMs: null });
    expect(demo.stderr).toMatch(/^\d+ of 24 pings were lost\.$/m);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s in the middle: it cleans up and exits %i', async (signal, status) => {
    // Of twelve ways the first is under way.
    const demo = start(asRoot('--hosts', '4'));
    await demo.waitFor(/container1 pings/, 'stdout');
    expect(namespaces().filter((name) => name.startsWith(`overns-demo-${demo.pid}-`))).toHaveLength(3 * 4 + 1);
    demo.child.kill(signal);
    expect(await demo.exited).toBe(status);
    expect(demo.stderr).toBe('interrupted: removing what was made\n');
    expect(demo.stdout).not.toMatch(/Result/);
  });

  test('SIGINT at any moment leaves nothing behind', async () => {
    for (let ms = 0; ms < 700; ms += 45) {
      const demo = start(asRoot());
      await sleep(ms);
      demo.child.kill('SIGINT');
      expect([0, 130]).toContain(await demo.exited);
      expect(demo.stderr).not.toMatch(/could not|Error|unexpected/);
    }
  });

  test('nobody reads any more: it ends without a word', async () => {
    const demo = start(asRoot());
    await demo.waitFor(/^Overlays/m, 'stdout');
    demo.child.stdout?.destroy();
    expect(await demo.exited).toBe(0);
    expect(demo.stderr).toBe('');
  });

  testWith(['consul'], '--store: a real one, in a folder of its own that is empty afterwards', async () => {
    await using consul = await Consul.start();
    // Somebody's own, of the same container.
    const mine = { ip: '192.168.0.2', mac: '02:42:c0:a8:00:02', vtep: '10.0.0.77' };
    await consul.putEndpoint('demo', mine);
    // What is taken away again is looked at before it goes, however long the machine takes to look.
    let before: string[] | undefined;
    const port = await inFrontOf(consul, async (body) => {
      if (body.includes('delete-cas'))
        before ??= (await consul.keys('demo/overns-demo-')).filter((key) => !key.includes('.changes/'));
    });
    const url = `consul://127.0.0.1:${port}/demo`;
    const demo = start(asRoot('--json', '--log-level', 'info', '--store', url));
    expect(await demo.exited).toBe(0);
    expect(reportOf(demo.stdout)).toMatchObject({ ok: true, store: `${url}/overns-demo-${demo.pid}` });
    const own = `demo/overns-demo-${demo.pid}`;
    expect(before).toEqual([
      `${own}/arp/192.168.0.2`,
      `${own}/arp/192.168.0.3`,
      `${own}/fib/02:42:c0:a8:00:02`,
      `${own}/fib/02:42:c0:a8:00:03`,
    ]);
    expect(await consul.keys('demo')).toEqual(['demo/arp/192.168.0.2', 'demo/fib/02:42:c0:a8:00:02']);
    expect(await consul.get('demo/fib/02:42:c0:a8:00:02')).toBe('10.0.0.77');
  });

  testWith(['etcd'], '--store: etcd, likewise', async () => {
    await using etcd = await Etcd.start();
    const url = `etcd://${etcd.at}/demo`;
    const demo = start(asRoot('--json', '--store', url));
    expect(await demo.exited).toBe(0);
    expect(reportOf(demo.stdout)).toMatchObject({ ok: true, store: `${url}/overns-demo-${demo.pid}` });
    expect(await etcd.keys('demo/')).toEqual([]);
  });

  test('--store: one that is not there is refused in one line', async () => {
    const { code, stderr } = await play(asRoot('--store', 'consul://127.0.0.1:1/demo'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^overns: consul:\/\/127\.0\.0\.1:1: [^\n]*refused[^\n]*\n$/);
  });
});

describe('the demo without privileges', () => {
  /** Runs a command as nobody, with a home and nothing else: no settings of npm's, none of ours. */
  function asNobody(command: readonly string[], more: Readonly<Record<string, string>> = {}): Run {
    const kept = ['OVERNS_ADDON', 'ASAN_OPTIONS', 'UBSAN_OPTIONS'].flatMap((name) =>
      process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`],
    );
    const settings = { HOME: temporary, TMPDIR: temporary, PATH: process.env.PATH ?? '', ...more };
    const own = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    const user =
      process.getuid?.() === 0
        ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs']
        : [];
    return [...user, 'env', '-i', ...own, ...kept, ...command] as unknown as Run;
  }

  /** The built checkout where everybody can read it and nobody can write it. */
  function built(): string {
    const path = folder();
    for (const part of [
      'package.json',
      'package-lock.json',
      'scripts',
      'dist',
      'build/Release/overns.node',
      'node_modules/undici',
    ]) {
      cpSync(join(ROOT, part), join(path, part), { recursive: true });
    }
    chmodSync(path, 0o755);
    return path;
  }

  const unshare = spawnSync('unshare', ['-Urm', 'true'], {
    encoding: 'utf8',
    ...(process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  const refusal = unshare.status === 0 ? undefined : (unshare.stderr ?? unshare.error?.message ?? 'refused').trim();
  if (refusal !== undefined) {
    if (process.env.CI === 'true') throw new Error(`in CI nothing is skipped, but user namespaces: ${refusal}`);
    console.error(`skipped: the demo without privileges: no user namespaces: ${refusal}; run \`overns doctor\``);
  }

  describe.skipIf(refusal !== undefined)('in a user namespace', () => {
    test('nothing but Node and unshare: no npm settings, no ip, no ping', async () => {
      const bin = folder();
      for (const command of ['node', 'unshare', 'true']) {
        const from = command === 'node' ? process.execPath : (await exec('which', [command])).stdout.trim();
        execFileSync('ln', ['-s', from, join(bin, command)]);
      }
      const script = join(built(), 'scripts/demo.mjs');
      const { code, stdout, stderr } = await play(asNobody([join(bin, 'node'), script, '--json'], { PATH: bin }));
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      checkReport(reportOf(stdout), { hosts: 2, mode: 'rootless', pings: 2 });
    });

    test('--hosts 3, told in words', async () => {
      const main = join(built(), 'dist/cli/main.js');
      const { code, stdout, stderr } = await play(asNobody([process.execPath, main, 'demo', '--hosts', '3']));
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/^overns demo: 3 hosts on this machine, without privileges, in a user namespace$/m);
      expect(stdout).toMatch(/^Nothing was lost: 24 pings, 24 replies\.$/m);
    });

    testWith(['consul'], "--store: the machine's network is still there", async () => {
      await using consul = await Consul.start();
      const main = join(built(), 'dist/cli/main.js');
      const url = `consul://127.0.0.1:${consul.port}/{vni}`;
      const { code, stdout } = await play(asNobody([process.execPath, main, 'demo', '--json', '--store', url]));
      expect(code).toBe(0);
      expect(reportOf(stdout)).toMatchObject({ ok: true, mode: 'rootless' });
      expect(await consul.keys('')).toEqual([]);
    });

    test.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const)('%s in the middle: it cleans up and exits %i', async (signal, status) => {
      const demo = start(asNobody([process.execPath, join(built(), 'dist/cli/main.js'), 'demo', '--hosts', '4']));
      await demo.waitFor(/container1 pings/, 'stdout');
      demo.child.kill(signal);
      expect(await demo.exited).toBe(status);
      expect(demo.stderr).toBe('interrupted: removing what was made\n');
    });

    test('the signals of a terminal and of npm come together, and it cleans up all the same', async () => {
      const demo = start(asNobody([process.execPath, join(built(), 'scripts/demo.mjs'), '--hosts', '4']));
      await demo.waitFor(/container1 pings/, 'stdout');
      for (let times = 0; times < 3; times++) {
        demo.child.kill('SIGINT');
        await sleep(5);
      }
      expect(await demo.exited).toBe(130);
      expect(demo.stderr).toBe('interrupted: removing what was made\n');
    });

    test('nobody reads any more: it ends without a word', async () => {
      const demo = start(asNobody([process.execPath, join(built(), 'dist/cli/main.js'), 'demo']));
      await demo.waitFor(/^Overlays/m, 'stdout');
      demo.child.stdout?.destroy();
      expect(await demo.exited).toBe(0);
      expect(demo.stderr).toBe('');
    });

    test('user namespaces are refused: one line with the remedy', async () => {
      const inner = `echo 0 > /proc/sys/user/max_user_namespaces && exec ${process.execPath} ${built()}/dist/cli/main.js demo`;
      const { code, stdout, stderr } = await play(asNobody(['unshare', '-Ur', 'sh', '-c', inner]));
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(/^overns: demo: it needs CAP_NET_ADMIN [^\n]*unshare failed[^\n]*sudo[^\n]*\n$/);
    });
  });

  test('without unshare: one line with the remedy', async () => {
    const main = join(built(), 'dist/cli/main.js');
    const { code, stdout, stderr } = await play(asNobody([process.execPath, main, 'demo'], { PATH: '/nowhere' }));
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^overns: demo: [^\n]*unshare, which is not on PATH; [^\n]*util-linux\n$/);
  });

  test('an unknown flag, through the script', async () => {
    const script = join(built(), 'scripts/demo.mjs');
    const { code, stdout, stderr } = await play(asNobody([process.execPath, script, '--frobnicate']));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^overns: demo has no flag --frobnicate[^\n]*\n$/);
  });

  test('a checkout that is not built and cannot be written: one line', async () => {
    const path = built();
    rmSync(join(path, 'dist'), { recursive: true });
    const { code, stdout, stderr } = await play(asNobody([process.execPath, join(path, 'scripts/demo.mjs')]));
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^demo: \S+ is not built, and not yours to write: run `npm run build` [^\n]*\n$/);
  });
});

describe('who pings whom', () => {
  const ways = (count: number) =>
    pairs(Array.from({ length: count }, (_, at) => ({ name: `container${at + 1}` }) as Container)).map(
      ([from, to]) => `${from.name} ${to.name}`,
    );

  test('few: everybody everybody else', () => {
    expect(ways(2)).toEqual(['container1 container2', 'container2 container1']);
    expect(ways(3)).toHaveLength(6);
    expect(ways(6)).toHaveLength(30);
  });

  test.each([7, 16, 32])('%i: nobody itself or anybody twice, everybody as often as the others', (count) => {
    const all = ways(count);
    expect(all.length).toBeLessThanOrEqual(32);
    expect(new Set(all).size).toBe(all.length);
    const times = (end: 0 | 1) =>
      Array.from(
        { length: count },
        (_, at) => all.filter((way) => way.split(' ')[end] === `container${at + 1}`).length,
      );
    expect(new Set([...times(0), ...times(1)]).size).toBe(1);
    for (const way of all) expect(new Set(way.split(' ')).size).toBe(2);
  });
});

describe('colours', () => {
  const told = (colours: boolean): string => {
    const lines: string[] = [];
    new Story((line) => lines.push(line), { colours }).opening(2, 'root');
    return lines.join('\n');
  };
  afterEach(() => vi.unstubAllEnvs());

  test('on a terminal, unless NO_COLOR is set or it knows none', () => {
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
    expect(told(true)).toBe('\u001b[1moverns demo: 2 hosts on this machine, as root\u001b[22m');
    expect(told(false)).not.toContain('\u001b');
    vi.stubEnv('NO_COLOR', '1');
    expect(told(true)).not.toContain('\u001b');
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'dumb');
    expect(told(true)).not.toContain('\u001b');
  });
});

describe('what cannot be meant', () => {
  test.each([
    ['--hosts 1', /--hosts: 1 is not a number of hosts: 2 to \d+/],
    ['--hosts two', /--hosts: "two" is not a whole number/],
    ['--frobnicate', /demo has no flag --frobnicate/],
    ['hosts', /demo: one word too many: "hosts"/],
    ['--store nowhere', /--store: "nowhere" is not a store URL/],
  ])('%s', async (words, line) => {
    const { code, stdout, stderr } = await play(asRoot(...words.split(' ')));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^overns: [^\\n]*${line.source}[^\\n]*\\n$`));
  });
});
