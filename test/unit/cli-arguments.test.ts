/** What the arguments alone show: help, mistakes, the environment, and how errors look. The machine is not touched. */
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/run.js';
import { verbNames } from '../../lib/cli/verbs/index.js';
import { nearest } from '../../lib/core/suggest.js';
import type { System } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';

interface Call {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function call(words: string | readonly string[], env: NodeJS.ProcessEnv = {}, system?: System): Promise<Call> {
  const said = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr'): PassThrough => {
    const through = new PassThrough();
    through.on('data', (chunk) => {
      said[name] += chunk;
    });
    return through;
  };
  const argv = typeof words === 'string' ? words.split(' ').filter(Boolean) : words;
  const { status } = await run(argv, { stdout: stream('stdout'), stderr: stream('stderr'), env, system });
  await new Promise((resolve) => setImmediate(resolve));
  return { status, ...said };
}

/** A mistake: status 2, nothing on stdout, one line on stderr. */
async function mistake(words: string | readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { status, stdout, stderr } = await call(words, env);
  expect({ status, stdout }, stderr).toEqual({ status: 2, stdout: '' });
  expect(stderr).toMatch(/^overns: [^\n]+\n$/);
  return stderr.slice('overns: '.length, -1);
}

/** Words that are right, for the verbs that want others than a name. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  attach: ['x', 'y'],
  detach: ['x', 'y'],
  misses: ['x'],
  monitor: [],
  records: ['list'],
  doctor: [],
  demo: [],
  completion: ['bash'],
};

/** What verbs cannot do without. */
const NEEDED = { OVERNS_VNI: '1', OVERNS_ADDRESS: '10.0.0.2/24', OVERNS_STORE: 'consul://127.0.0.1:8500/demo' };

const STORE = '--store consul://127.0.0.1:8500/demo';

describe('help and version', () => {
  test('overns --help names every verb and the exit statuses', async () => {
    for (const words of ['', '--help', '-h', 'help', '--json --help']) {
      const { status, stdout, stderr } = await call(words);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      for (const verb of verbNames) expect(stdout).toMatch(new RegExp(`^  ${verb} +\\S`, 'm'));
      expect(stdout).toContain('0 done, 2 the arguments are wrong');
    }
  });

  test.each(verbNames)('overns %s --help', async (verb) => {
    const { status, stdout } = await call([verb, '--help']);
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: overns ${verb}\\b`));
    expect(stdout).toContain('Examples:');
    // Every flag stands there with its variable, on a line that a terminal can show.
    for (const [, flag = ''] of stdout.matchAll(/^ {2}--([a-z-]+)/gm)) {
      if (flag !== 'help') expect(stdout).toContain(`OVERNS_${flag.toUpperCase().replaceAll('-', '_')}`);
    }
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    expect(await call(['help', verb])).toMatchObject({ status: 0, stdout });
    expect(await call([verb, '-h'])).toMatchObject({ status: 0, stdout });
  });

  test('help comes before every mistake', async () => {
    for (const words of ['create --nonsense --help', 'create --vni x -h', 'records --help foo bar baz']) {
      expect(await call(words)).toMatchObject({ status: 0, stdout: expect.stringMatching(/^Usage/), stderr: '' });
    }
  });

  test('one-shot verbs take --timeout, streams do not', async () => {
    for (const verb of verbNames) {
      const streams = ['agent', 'misses', 'monitor', 'demo'].includes(verb);
      expect((await call([verb, '--help'])).stdout.includes('--timeout'), verb).toBe(!streams);
    }
    expect(await mistake('misses overns --timeout 3')).toContain('misses has no flag --timeout');
  });

  test('the version', async () => {
    for (const words of ['--version', '-V', 'create --version']) {
      expect(await call(words)).toMatchObject({ status: 0, stdout: '0.1.0\n', stderr: '' });
    }
    for (const words of ['version --json', '--json --version', 'create --version --json']) {
      const { status, stdout } = await call(words);
      expect({ status, printed: JSON.parse(stdout) }, words).toEqual({ status: 0, printed: { version: '0.1.0' } });
    }
  });
});

describe('mistakes in the verb and its flags', () => {
  test.each([
    ['--log-level debug', 'a verb is missing'],
    ['--vni', 'there is no flag --vni before a verb'],
    ['creat', 'did you mean `overns create`?'],
    ['atach', 'did you mean `overns attach`?'],
    ['misess', 'did you mean `overns misses`?'],
    ['mon', 'did you mean `overns monitor`?'],
    ['CREATE', 'did you mean `overns create`?'],
    ['frobnicate', '`overns --help` shows the verbs'],
    ['toString', 'there is no verb "toString"'],
    ['__proto__', 'there is no verb "__proto__"'],
    ['help creat', 'did you mean `overns create`?'],
    ['create x --vn 1', 'create has no flag --vn; did you mean --vni?'],
    ['create x --adress 1', 'did you mean --address?'],
    ['create x --vni 1 -x', 'create has no flag -x; `overns create --help` shows its flags'],
    ['create x --__proto__', 'create has no flag --__proto__'],
    ['create x --constructor', 'create has no flag --constructor'],
    ['create x --vni', '--vni needs a value; write --vni N'],
    ['create x --vni --ensure', '--vni needs a value'],
    ['create x --vni 1 --vni 2', '--vni is given twice'],
    ['create x --vni 1 --json=yes', '--json takes no value'],
    ['create', 'create: NAME is missing'],
    ['create x y --vni 1', 'create: one word too many: "y"'],
    ['create x', '--vni N is missing'],
    ['attach x', 'attach: CONTAINER is missing'],
    ['show x y', 'one word too many'],
    ['doctor x', 'one word too many'],
    ['agent overns', '--store URL is missing'],
    [`agent ${STORE}`, 'agent: NAME is missing; name the overlays to serve, or --all'],
    [`agent overns --all ${STORE}`, 'NAME and --all are both given'],
    [`agent a b a ${STORE}`, 'a is named twice'],
    ['monitor neig', 'did you mean neigh?'],
    ['monitor everything', 'is not one of link, address, route, neigh'],
    ['demo --hosts 1', '2 to 32'],
  ])('overns %s', async (words, said) => {
    expect(await mistake(words)).toContain(said);
  });

  test('words behind -- are no flags', async () => {
    expect(await mistake('create --vni 1 -- --json extra')).toContain('one word too many: "extra"');
  });

  test('flags of every verb may stand before it', async () => {
    expect(await mistake('--log-level debug create x --vni 0')).toContain('--vni: 0 is not a VNI');
    expect(await mistake('--log-level loud create x --vni 1')).toContain('error, warn, info, debug');
  });
});

describe('mistakes in values, before the machine is touched', () => {
  test.each([
    ['create x --vni 0', '--vni: 0 is not a VNI'],
    ['create x --vni 16777216', '--vni: 16777216 is not a VNI'],
    ['create x --vni -1', '--vni: -1 is not a VNI'],
    ['create x --vni 1.5', '--vni: "1.5" is not a whole number'],
    ['create x --vni 0x10', '--vni: "0x10"'],
    ['create x --vni 1e3', '--vni: "1e3"'],
    ['create x --vni 99999999999999999999', '--vni: "99999999999999999999"'],
    ['create x --vni=', '--vni: "" is not a whole number'],
    ['create x --vni 1 --port 0', '--port: 0 is not a UDP port'],
    ['create x --vni 1 --port 65536', '--port: 65536'],
    ['create x --vni 1 --mtu 67', '--mtu: 67 is not an MTU'],
    ['create x --vni 1 --mtu 65536', '--mtu: 65536 is not an MTU'],
    ['create x --vni 1 --mtu big', '--mtu: "big"'],
    ['create x --vni 1 --mtu 1279 --address fd00::1/64', '--mtu: 1279 is not an MTU that carries IPv6'],
    ['create x --vni 1 --address 192.168.0.1', 'write 192.168.0.1/24'],
    ['create x --vni 1 --address 192.168.0.256/24', '--address: "192.168.0.256/24"'],
    ['create x --vni 1 --address 192.168.0.1/33', '--address: "192.168.0.1/33"'],
    ['create x --vni 1 --address 192.168.0.0/24', "network's own"],
    ['create x --vni 1 --address 224.0.0.1/24', 'multicast'],
    ['create x --vni 1 --address 10.0.0.1/24,10.0.0.1/24', '10.0.0.1/24 is given twice'],
    ['create x --vni 1 --address fd00::1/64 --address fd00:0::1/64', 'fd00::1/64 is given twice'],
    ['create x --vni 1 --vtep 10.0.0.1/24', '--vtep: "10.0.0.1/24"'],
    ['create x --vni 1 --vtep 224.0.0.1', '--vtep: "224.0.0.1"'],
    ['create x --vni 1 --host pid:0', '--host'],
    ['create x --vni 1 --host a/b', '--host'],
    ['create x --vni 1 --timeout 0', '--timeout: "0" is not a time'],
    ['create x --vni 1 --timeout -1', '--timeout: "-1" is not a time'],
    ['create x --vni 1 --timeout soon', '--timeout: "soon" is not a time'],
    ['create x --vni 1 --netns-dir=', '--netns-dir'],
    ['create a/b --vni 1', 'NAME: "a/b"'],
    ['create .. --vni 1', 'NAME: ".."'],
    ['create pid:1 --vni 1', 'NAME: "pid:1"'],
    ['attach x docker:../y --address 10.0.0.2/24', 'CONTAINER: "../y"'],
    ['attach x pid:zero --address 10.0.0.2/24', '"pid:zero"'],
    ['attach x y --address 10.0.0.2', 'write 10.0.0.2/24'],
    ['attach x y --address 10.0.0.2/24 --mac 02:42', '--mac: "02:42"'],
    ['attach x y --address 10.0.0.2/24 --mac 01:00:5e:00:00:01', 'multicast'],
    ['attach x y --address 10.0.0.2/24 --ifname a/b', '--ifname: "a/b"'],
    ['attach x y --address 10.0.0.2/24 --ifname abcdefghijklmnop', '1 to 15 bytes'],
    [
      'attach x y --address 10.0.0.2/24 --gateway 10.0.1.1',
      '--gateway: "10.0.1.1" is not in a network of the container',
    ],
    ['attach x y --address 10.0.0.2/24 --route 10.8.0.0/16,10.0.1.1', '--route: "10.0.1.1" is not in a network of'],
    ['attach x y --address 10.0.0.2/24 --route 10.8.0.0/16,fd00::1', '--route: "fd00::1" is not of the family of'],
    ['attach x y --address 10.0.0.2/24 --route foo', '--route: "foo" is not a network with its prefix length'],
    ['attach x y --address 10.0.0.2/24 --docker ssh://h', '--docker: "ssh://h"'],
    ['attach x y --address 10.0.0.2/24 --store memory:', '--store: memory: lives in one process'],
    ['attach x y --address 10.0.0.2/24 --store redis://h/x', '--store: "redis://h/x"'],
    ['attach x y --address 10.0.0.2/24 --store consul://h', '--store'],
    ['attach x y --address 10.0.0.2/24 --store consul://u:p@h/x', 'CONSUL_HTTP_TOKEN'],
    ['detach x', 'CONTAINER is missing; name it, or its address with --address IP'],
    ['detach x y --address 10.0.0.2', 'CONTAINER and --address are both given'],
    ['detach x --address 10.0.0.2/24', 'leave out the prefix length'],
    ['monitor --netns pid:x', '--netns'],
    [`records ${STORE}`, 'list|get|put|delete is missing'],
    [`records lsit ${STORE}`, 'did you mean list?'],
    [`records list arp x ${STORE}`, 'a word too many'],
    [`records get arp ${STORE}`, 'something is missing'],
    [`records get mac 10.0.0.1 ${STORE}`, '"mac"'],
    [`records get arp 10.0.0 ${STORE}`, 'KEY: "10.0.0"'],
    [`records get fib 10.0.0.1 ${STORE}`, 'KEY: "10.0.0.1"'],
    [`records put arp 10.0.0.1 10.0.0.2 ${STORE}`, 'VALUE: "10.0.0.2"'],
    [`records put fib 02:42:c0:a8:00:03 224.0.0.1 ${STORE}`, 'VALUE: "224.0.0.1"'],
    [`records put arp 10.0.0.1 ${STORE}`, 'something is missing'],
    ['records list --store consul://h/{vni}', 'stands for many networks'],
    ['records list --store memory:', 'memory: lives in one process'],
    ['agent x --store memory:', 'memory: lives in one process'],
  ])('overns %s', async (words, said) => {
    expect(await mistake(words)).toContain(said);
  });

  test('a secret in a store URL is not repeated', async () => {
    expect(await mistake('agent x --store consul://user:hunter2@h/x')).not.toContain('hunter2');
  });

  test('what came from outside cannot forge a line or move the cursor', async () => {
    const line = await mistake(['create', 'x\n\u001b[2Joverns: all is well', '--vni', '1']);
    for (const character of ['\n', '\u001b']) expect(line).not.toContain(character);
    expect(await mistake(['\u202egnitatsed'])).not.toContain('\u202e');
  });
});

describe('the environment', () => {
  test('every flag has a variable; the command line comes first', async () => {
    expect(await mistake('create x', { OVERNS_VNI: '0' })).toContain('OVERNS_VNI: 0 is not a VNI');
    expect(await mistake('create x --vni -5', { OVERNS_VNI: '7' })).toContain('--vni: -5');
    expect(await mistake('create x --vni 1', { OVERNS_ADDRESS: '10.0.0.1/24,nonsense' })).toContain(
      'OVERNS_ADDRESS: "nonsense"',
    );
    expect(await mistake('create x --vni 1', { OVERNS_ENSURE: 'perhaps' })).toContain(
      'OVERNS_ENSURE: "perhaps" is neither 1 nor 0',
    );
    expect(await mistake('create x --vni 1', { OVERNS_TIMEOUT: 'x' })).toContain('OVERNS_TIMEOUT');
    expect(await mistake('create x --vni 1', { OVERNS_LOG_LEVEL: 'x' })).toContain('OVERNS_LOG_LEVEL');
    expect(await mistake('agent x', { OVERNS_STORE: 'memory:' })).toContain('OVERNS_STORE: memory:');
  });

  test('no secret of a URL is repeated, wherever it stands', async () => {
    for (const url of ['consul://h/demo?token=s3cret', 'consul://me:s3cret@h/demo', 'tcp://me:s3cret@127.0.0.1:2375']) {
      for (const words of [`records list --store ${url}`, `show x ${url}`, url, `attach x ${url} --docker ${url}`]) {
        expect(await mistake(words)).not.toContain('s3cret');
      }
      expect(await mistake('attach x y --address 10.0.0.2/24', { OVERNS_STORE: `${url}\u0001` })).not.toContain(
        's3cret',
      );
      expect(await mistake('attach x y --address 10.0.0.2/24', { OVERNS_DOCKER: url })).not.toContain('s3cret');
    }
  });

  test('an empty variable is none', async () => {
    expect(await mistake('create x', { OVERNS_VNI: '' })).toContain('--vni N is missing');
  });

  test('a variable does not stand in the way of what the line says', async () => {
    // The address of the environment gives way to the container of the line: the mistake found is another.
    expect(await mistake('detach x pid:0', { OVERNS_ADDRESS: '10.0.0.2' })).toContain('CONTAINER: 0');
    expect(await mistake('detach x', { OVERNS_ADDRESS: 'nonsense' })).toContain('OVERNS_ADDRESS: "nonsense"');
  });

  test('what Kubernetes and Docker set for a service named overns is passed over, and that is said', async () => {
    const kubernetes = {
      OVERNS_PORT: 'tcp://10.96.12.7:8500',
      OVERNS_SERVICE_HOST: '10.96.12.7',
      OVERNS_SERVICE_PORT: '8500',
      OVERNS_PORT_8500_TCP: 'tcp://10.96.12.7:8500',
      OVERNS_PORT_4789_UDP_ADDR: '10.96.12.7',
    };
    // The next mistake is found: this one was none.
    expect(await mistake('create x', kubernetes)).toContain('--vni N is missing');
    expect(await mistake('create x --vni 1 --mtu x', { OVERNS_PORT: 'udp://[fd00::1]:4789' })).toContain('--mtu');
    expect(await mistake('create x --vni 1', { OVERNS_PORT: 'tcp://' })).toContain('OVERNS_PORT: "tcp://"');
    const { system } = new FakeKernel();
    const { status, stderr } = await call('create x --vni 1', kubernetes, system);
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: expect.stringContaining('OVERNS_PORT=tcp://10.96.12.7:8500'),
    });
    expect(await call('show --json', kubernetes, system)).toMatchObject({ status: 0, stderr: '' });
  });

  test('rubbish in any variable is named, by the verbs that have the flag', async () => {
    const rubbish = ['\ufffd\ufffd', `\u001b[2J`, 'x'.repeat(100_000)];
    for (const name of verbNames) {
      const help = (await call([name, '--help'])).stdout;
      for (const [variable] of help.matchAll(/OVERNS_[A-Z_]+/g)) {
        // A directory may be called anything, and be missing.
        if (variable === 'OVERNS_NETNS_DIR') continue;
        for (const text of rubbish) {
          const line = await mistake([name, ...(ARGUMENTS[name] ?? ['x'])], { ...NEEDED, [variable]: text });
          expect(line, `${name} ${variable}`).toContain(variable);
          expect(line.length).toBeLessThan(600);
        }
      }
    }
    // Another verb's is no concern.
    expect(await mistake('delete', { OVERNS_VNI: 'x', OVERNS_MAC: 'x' })).toContain('NAME is missing');
  });

  test('JSON by the environment', async () => {
    const { status, stderr } = await call('creat', { OVERNS_JSON: '1' });
    expect(status).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'OVERNS_USAGE' } });
  });
});

describe('errors', () => {
  test('with --json: one object on stderr, nothing on stdout', async () => {
    for (const [words, code] of [
      ['creat --json', 'OVERNS_USAGE'],
      ['--json create x --vni 0', 'ERR_INVALID_ARG_VALUE'],
      ['create x --json --vni', 'OVERNS_USAGE'],
      ['show ot-nowhere --nonsense --json', 'OVERNS_USAGE'],
    ] as const) {
      const { status, stdout, stderr } = await call(words);
      expect({ status, stdout }, words).toEqual({ status: 2, stdout: '' });
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(JSON.parse(stderr)).toEqual({
        error: expect.objectContaining({ code, message: expect.any(String) }),
        exitCode: 2,
      });
    }
  });

  test('a stack trace only with --debug', async () => {
    expect((await call('creat')).stderr.split('\n')).toHaveLength(2);
    expect((await call('creat --debug')).stderr).toMatch(/\n\s+at /);
    expect((await call('creat', { OVERNS_DEBUG: '1' })).stderr).toMatch(/\n\s+at /);
  });
});

describe('did you mean', () => {
  const words = ['create', 'delete', 'attach', 'detach', 'misses', 'monitor'];
  test.each([
    ['create', 'create'],
    ['craete', 'create'],
    ['delet', 'delete'],
    ['atttach', 'attach'],
    ['deatch', 'detach'],
    ['miss', 'misses'],
    ['x', undefined],
    ['', undefined],
    ['something', undefined],
    ['a'.repeat(100_000), undefined],
  ])('%.20s', (word, want) => {
    expect(nearest(word, words)).toBe(want);
  });
});
