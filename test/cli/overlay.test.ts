/** create, attach, detach, delete and show on the real kernel, with iproute2 as the oracle. */
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { createContainer, exec, type Host, PREFIX, twoHosts, uniqueName } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith, testWith } from '../support/requirements.js';
import { document, done, environment, MAIN, overns, refused, refusedJson, start } from './cli.js';

/** For setpriv: no capability at all. The user stays, who can read the checkout wherever it is. */
const UNPRIVILEGED = ['--bounding-set=-all', '--inh-caps=-all', '--'];

/** A host and the name of an overlay to come. */
async function host(): Promise<{ a: Host; name: string }> {
  const [a] = await twoHosts();
  return { a, name: uniqueName() };
}

/** Everything of a namespace that a failed step could have changed; nothing that the kernel changes by itself. */
async function state(...names: string[]): Promise<string> {
  const listed = async (...words: string[]): Promise<string[]> =>
    (await exec('ip', words)).stdout.trimEnd().split('\n');
  const links = await Promise.all(
    names.map(async (name) =>
      (await listed('-n', name, '-o', 'link')).map((line) => line.replace(/<.*?>| qdisc .*| state .*/g, '')),
    ),
  );
  const addresses = await Promise.all(
    names.map(async (name) =>
      (await listed('-n', name, '-o', 'address'))
        .filter((line) => !line.includes('fe80::'))
        .map((line) => line.replace(/\\.*/, '')),
    ),
  );
  // Test files that run beside this one make and remove their own.
  const own = `${PREFIX}${process.pid.toString(36)}-`;
  const present = readdirSync('/run/netns').filter((name) => name.startsWith(own));
  return JSON.stringify({ names: present.sort(), links, addresses });
}

/** A TCP server that accepts and says nothing; its port. */
async function silentServer(connected = (): void => {}): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    connected();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => void server.close());
  return (server.address() as { port: number }).port;
}

/** A port that nobody listens on, or will: it is taken, by the near end of a connection. */
async function closedPort(): Promise<number> {
  const socket = connect(await silentServer(), '127.0.0.1');
  onCleanup(() => void socket.destroy());
  await once(socket, 'connect');
  return socket.localPort as number;
}

describeWith(['root', 'ip'], 'create', () => {
  test('makes what the seed makes, and says so', async () => {
    const { a, name } = await host();
    const stdout = await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    expect(stdout).toBe(`created overlay ${name}: vni 42, vtep 10.0.0.10 port 4789, mtu 1450\n  br0 192.168.0.1/24\n`);
    const { stdout: links } = await exec('ip', ['-n', name, '-d', 'link']);
    expect(links).toMatch(/br0:.*mtu 1450/);
    expect(links).toMatch(/vxlan1@.*master br0/);
    expect(links).toMatch(/vxlan id 42 local 10\.0\.0\.10 .*dstport 4789/);
    expect(links).toContain('l2miss');
    expect(links).toContain('l3miss');
    expect((await exec('ip', ['-n', name, '-4', '-o', 'address', 'show', 'br0'])).stdout).toContain('192.168.0.1/24');
  });

  test('as a document, from inside the host', async () => {
    const { a, name } = await host();
    expect(await document(`create ${name} --vni 43 --port 4790 --mtu 1400 --vtep 10.0.0.10`, { netns: a })).toEqual({
      overlay: name,
      vni: 43,
      vtep: '10.0.0.10',
      port: 4790,
      mtu: 1400,
      addresses: [],
      created: true,
    });
  });

  test('what exists is left as it is; --ensure is content with the same', async () => {
    const { a, name } = await host();
    const create = `create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`;
    await done(create);
    const before = await state(a.name, name);
    expect(await refused(create)).toContain(name);
    expect(await refusedJson(create)).toMatchObject({ code: 'EEXIST' });
    expect(await done(`${create} --ensure`)).toMatch(/^exists already: overlay /);
    expect(await document(`${create} --ensure`)).toMatchObject({ created: false, vni: 42 });
    expect(
      await done(`create ${name}`, {
        env: { OVERNS_ENSURE: '1', OVERNS_VNI: '42', OVERNS_ADDRESS: '192.168.0.1/24', OVERNS_HOST: a.name },
      }),
    ).toMatch(/^exists already/);
    for (const [flags, said] of [
      ['--vni 43 --address 192.168.0.1/24', 'vni 42 instead of 43'],
      ['--vni 42', 'address 192.168.0.1/24 instead of none'],
      ['--vni 42 --address 192.168.0.1/25', 'address 192.168.0.1/24 instead of 192.168.0.1/25'],
      ['--vni 42 --address 192.168.0.1/24 --port 99', 'port 4789 instead of 99'],
      ['--vni 42 --address 192.168.0.1/24 --mtu 1300', 'mtu 1450 instead of 1300'],
    ] as const) {
      const line = await refused(`create ${name} ${flags} --host ${a.name} --ensure`);
      expect(line).toContain(said);
      expect(line).toContain(`overns delete ${name}`);
    }
    expect(await state(a.name, name)).toBe(before);
  });

  test('ensured by several processes at once, and attached to: all succeed, one is made', async () => {
    const { a, name } = await host();
    const c = await createContainer();
    const create = `create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name} --ensure`;
    await Promise.all(Array.from({ length: 4 }, () => done(create)));
    const attach = `attach ${name} ${c.name} --address 192.168.0.2/24 --gateway 192.168.0.1 --ensure`;
    await Promise.all(Array.from({ length: 4 }, () => done(attach)));
    expect((await document<{ endpoints: object[] }>(`show ${name}`)).endpoints).toHaveLength(1);
    expect(await c.ip('route show default')).toMatch(/^default via 192\.168\.0\.1 dev eth0/);
  });

  test("a link-local gateway is the caller's own to ask for; steps are told with --log-level debug", async () => {
    const { a, name } = await host();
    const create = `create ${name} --vni 42 --address fe80::1/64 --address fd00::1/64 --host ${a.name}`;
    const { code, stderr } = await overns(`${create} --log-level debug`);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^debug: step namespace\n(debug: step \S+\n)*debug: step vxlan1\n$/);
    expect(await document(`${create} --ensure`)).toMatchObject({ created: false });
    expect(await document(`show ${name}`)).toMatchObject({ addresses: ['fd00::1/64'] });
  });

  test('another overlay with the VNI is in the way, --ensure or not', async () => {
    const { a, name } = await host();
    const other = uniqueName();
    await done(`create ${name} --vni 42 --host ${a.name}`);
    const before = await state(a.name, name);
    for (const ensure of ['', ' --ensure'])
      expect(await refused(`create ${other} --vni 42 --host ${a.name}${ensure}`)).toMatch(/vni|VNI|exists/);
    expect(await state(a.name, name)).toBe(before);
  });

  test('a host that is none', async () => {
    const name = uniqueName();
    expect(await refused(`create ${name} --vni 42 --host ot-nowhere`)).toContain(
      'no network namespace "ot-nowhere" in /run/netns',
    );
    expect(await refused(`create ${name} --vni 42 --host /etc/passwd`)).toContain('ordinary file');
    expect(readdirSync('/run/netns')).not.toContain(name);
  });

  test('without privileges: one line, nothing made', async () => {
    const { a, name } = await host();
    const before = await state(a.name);
    const { code, stderr } = await exec(
      'setpriv',
      [...UNPRIVILEGED, process.execPath, MAIN, 'create', name, '--vni', '42'],
      { check: false },
    );
    expect({ code, lines: stderr.trim().split('\n').length }, stderr).toEqual({ code: 1, lines: 1 });
    expect(stderr).toMatch(/^overns: .*(permitted|denied|privilege|CAP_)/i);
    expect(await state(a.name)).toBe(before);
  });

  test('in a user namespace, the names in a directory of its own', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ot-rootless-'));
    onCleanup(() => rmSync(directory, { recursive: true, force: true }));
    const script = `set -e
      overns() { "${process.execPath}" "${MAIN}" "$@" --netns-dir "${directory}"; }
      ip link set lo up
      ip link add under0 type veth peer name under1
      ip address add 10.0.0.10/24 dev under0
      ip link set under0 up
      overns create blue --vni 42 --address 192.168.0.1/24
      overns attach blue pid:$$ --address 192.168.0.2/24
      overns show
      overns detach blue --address 192.168.0.2
      overns delete blue
      overns show`;
    const { stdout } = await exec('unshare', ['-Urnm', 'sh', '-c', script], {
      env: environment({ HOME: directory }),
      timeout: 100_000,
    });
    expect(stdout).toMatch(/^created overlay blue: vni 42, vtep 10\.0\.0\.10 port 4789, mtu 1450$/m);
    expect(stdout).toMatch(/^attached pid:\d+ to overlay blue: eth0 192\.168\.0\.2\/24/m);
    expect(stdout).toMatch(/^blue +42 +10\.0\.0\.10/m);
    expect(stdout).toMatch(/deleted overlay blue\nno overlays\n$/);
  });

  test('a time that is too short undoes what was begun', async () => {
    const { a, name } = await host();
    const before = await state(a.name);
    const line = await refused(`create ${name} --vni 42 --host ${a.name} --timeout 0.001`);
    expect(line).toBe(
      `create ${name}: not done within 0.001 s, and given up; what was begun is undone; --timeout allows more time`,
    );
    expect(await state(a.name)).toBe(before);
  });
});

describeWith(['root', 'ip', 'ping'], 'attach and detach', () => {
  test('a container on each host, entries by hand, a ping across', async () => {
    const [a, b] = await twoHosts();
    const [one, two] = [uniqueName(), uniqueName()];
    const [c, d] = await Promise.all([createContainer(), createContainer()]);
    await done(`create ${one} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    await done(`create ${two} --vni 42 --address 192.168.0.1/24 --host ${b.name}`);
    expect(await done(`attach ${one} ${c.name} --address 192.168.0.2/24`)).toBe(
      `attached ${c.name} to overlay ${one}: eth0 192.168.0.2/24 02:42:c0:a8:00:02, vtep 10.0.0.10\n`,
    );
    expect(
      await document(
        `attach ${two} netns:${d.name} --address 192.168.0.3/24,fd00::3/64 --mac 02:42:00:00:00:03 --ifname lan0`,
      ),
    ).toEqual({
      overlay: two,
      container: `netns:${d.name}`,
      ifname: 'lan0',
      addresses: ['192.168.0.3/24', 'fd00::3/64'],
      ip: '192.168.0.3',
      ips: ['192.168.0.3', 'fd00::3'],
      mac: '02:42:00:00:00:03',
      vtep: '10.0.0.11',
      veth: 'ov024200000003',
      gateway: [],
      routes: [],
      attached: true,
      published: false,
    });
    expect(await d.ip('-o address show lan0')).toContain('192.168.0.3/24');
    for (const [overlay, ip, mac, vtep] of [
      [one, '192.168.0.3', '02:42:00:00:00:03', '10.0.0.11'],
      [two, '192.168.0.2', '02:42:c0:a8:00:02', '10.0.0.10'],
    ] as const) {
      await exec('ip', ['-n', overlay, 'neighbor', 'replace', ip, 'lladdr', mac, 'dev', 'vxlan1', 'nud', 'permanent']);
      await exec('bridge', ['-n', overlay, 'fdb', 'replace', mac, 'dev', 'vxlan1', 'self', 'dst', vtep]);
    }
    expect((await ping(c, '192.168.0.3', { count: 3 })).received).toBeGreaterThan(0);
  });

  test('attached already: an error, unless --ensure and the same', async () => {
    const { a, name } = await host();
    const [c, d] = await Promise.all([createContainer(), createContainer()]);
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    const attach = `attach ${name} ${c.name} --address 192.168.0.2/24`;
    await done(attach);
    const before = await state(a.name, name, c.name, d.name);
    expect(await refusedJson(attach)).toMatchObject({ code: 'EEXIST' });
    expect(await done(`${attach} --ensure`)).toMatch(/is attached already to overlay/);
    expect(await document(`${attach} --ensure`)).toMatchObject({
      attached: false,
      ip: '192.168.0.2',
      mac: '02:42:c0:a8:00:02',
    });
    expect(await refused(`${attach} --mac 02:42:00:00:00:09 --ensure`)).toContain(
      'mac 02:42:c0:a8:00:02 instead of 02:42:00:00:00:09',
    );
    expect(await refused(`attach ${name} ${c.name} --address 192.168.0.2/25 --ensure`)).toContain('192.168.0.2/24');
    expect(await refused(`attach ${name} ${d.name} --address 192.168.0.2/24 --ensure`)).toContain(
      'belongs to another container',
    );
    // Its address is taken, or its interface: both are in the way.
    await refused(`attach ${name} ${d.name} --address 192.168.0.2/24`);
    await refused(`attach ${name} ${c.name} --address 192.168.0.9/24`);
    expect(await state(a.name, name, c.name, d.name)).toBe(before);
  });

  test('what is unknown', async () => {
    const { a, name } = await host();
    const c = await createContainer();
    expect(await refused(`attach ot-nowhere ${c.name} --address 192.168.0.2/24`)).toContain('ot-nowhere');
    expect(await refused(`detach ot-nowhere ${c.name}`)).toContain('ot-nowhere');
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    const before = await state(a.name, name, c.name);
    expect(await refused(`attach ${name} ot-nobody --address 192.168.0.2/24`)).toContain(
      'no container "ot-nobody": Docker cannot be reached',
    );
    expect(await refused(`attach ${name} docker:ot-nobody --address 192.168.0.2/24`)).toContain(
      'Docker cannot be reached at /nonexistent/docker.sock',
    );
    expect(await refused(`attach ${name} pid:4194304 --address 192.168.0.2/24`)).toContain('no process 4194304');
    expect(await refused(`detach ${name} ${c.name}`)).toContain(c.name);
    expect(await refused(`detach ${name} --address 192.168.0.77`)).toContain('192.168.0.77');
    // A namespace that is no overlay
    expect(await refused(`attach ${c.name} ${a.name} --address 192.168.0.2/24`)).toContain(c.name);
    expect(await state(a.name, name, c.name)).toBe(before);
  });

  test('detached by its container, by its address, and when the container is gone', async () => {
    const { a, name } = await host();
    const containers = await Promise.all([createContainer(), createContainer(), createContainer()]);
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    const before = await state(name);
    for (const [index, c] of containers.entries())
      await done(`attach ${name} ${c.name} --address 192.168.0.${index + 2}/24`);
    const [c, d, e] = containers as [typeof a, typeof a, typeof a];
    expect(await done(`detach ${name} ${c.name}`)).toBe(
      `detached ${c.name} from overlay ${name}: 192.168.0.2 02:42:c0:a8:00:02\n`,
    );
    expect(await c.ip('-o link')).not.toContain('eth0');
    expect(await document(`detach ${name} --address 192.168.0.3`)).toMatchObject({
      overlay: name,
      ip: '192.168.0.3',
      detached: true,
      withdrawn: false,
    });
    expect(await d.ip('-o link')).not.toContain('eth0');
    await e.remove();
    // The kernel takes the veth with the container; what is left to do is to say so.
    const gone = await overns(`detach ${name} --address 192.168.0.4`);
    expect(gone.code).toBeLessThanOrEqual(1);
    expect(JSON.parse(await state(name)).links).toEqual(JSON.parse(before).links);
  });

  testWith(
    ['consul'],
    'without an address the next free one of the network is taken, printed and published',
    async () => {
      const { a, name } = await host();
      const [c, d] = [await createContainer(), await createContainer()];
      await using consul = await Consul.start();
      const url = `consul://${consul.address}:${consul.port}/demo`;
      await done(`create ${name} --vni 42 --address 192.168.0.1/30,fd00::1/64 --host ${a.name}`);
      expect(await done(`attach ${name} ${c.name} --store ${url} --gateway 192.168.0.1`)).toContain(
        `overlay ${name}: eth0 192.168.0.2/30 fd00::2/64 02:42:c0:a8:00:02, vtep `,
      );
      expect(await c.ip('-o address show dev eth0')).toMatch(/192\.168\.0\.2\/30.*fd00::2\/64/s);
      expect(await consul.get('demo/arp/fd00::2')).toBe('02:42:c0:a8:00:02');
      const same = await document(`attach ${name} ${c.name} --store ${url} --gateway 192.168.0.1 --ensure`);
      expect(same).toMatchObject({ attached: false, ips: ['192.168.0.2', 'fd00::2'], published: true });
      expect(await refused(`attach ${name} ${d.name} --store ${url}`)).toMatch(
        /^no address of 192\.168\.0\.0\/30 is free \(1 in all\); detach what is not needed/,
      );
      await done(`detach ${name} ${c.name} --store ${url}`);
      expect(await consul.keys('demo/')).toEqual([]);
      expect(await refused(`attach ${name} ${d.name} --store ${url}`)).toContain(
        'given back a short while ago); wait until',
      );
    },
  );

  test('a store that cannot be reached: nothing is left behind', async () => {
    const { a, name } = await host();
    const c = await createContainer();
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    const before = await state(a.name, name, c.name);
    const port = await closedPort();
    const line = await refused(
      `attach ${name} ${c.name} --address 192.168.0.2/24 --store consul://127.0.0.1:${port}/demo`,
    );
    expect(line).toContain(`127.0.0.1:${port}`);
    expect(line).not.toContain('may be in the store');
    expect(await state(a.name, name, c.name)).toBe(before);
  });

  test('records of a store that says nothing: it is named', async () => {
    const port = await silentServer();
    const line = await refused(`records list --store consul://127.0.0.1:${port}/demo --timeout 0.5`);
    expect(line).toMatch(
      /^records list: not done within 0\.5 s, and given up: consul:\/\/127\.0\.0\.1:\d+: reading demo\/: no answer;/,
    );
  });

  test('a store that says nothing: --timeout, and Ctrl-C, undo what was begun', async () => {
    const { a, name } = await host();
    const c = await createContainer();
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    const before = await state(a.name, name, c.name);
    let connections = 0;
    const port = await silentServer(() => connections++);
    const attach = `attach ${name} ${c.name} --address 192.168.0.2/24 --store consul://127.0.0.1:${port}/demo`;
    const began = Date.now();
    await done('--version');
    const attaching = Date.now();
    expect(await refused(`${attach} --timeout 0.7`)).toContain('not done within 0.7 s');
    // By itself the store gives up after four attempts of 2 s, counted from when the process is up.
    expect(Date.now() - attaching).toBeLessThan(8_000 + attaching - began);
    expect(await state(a.name, name, c.name)).toBe(before);
    const earlier = connections;
    const running = start(`${attach} --timeout 30`);
    await until(() => connections > earlier, 'a connection', 60_000);
    // Ended by the signal itself, as a shell's loop expects.
    expect(await running.stop('SIGINT')).toBe(130);
    expect(running.stderr).toMatch(
      /^overns: attach: interrupted: records of 192\.168\.0\.2, .* may be in the store.*\n$/,
    );
    expect(await state(a.name, name, c.name)).toBe(before);
  });
});

describeWith(['root', 'ip'], 'delete and show', () => {
  test('says who lost the interface, and leaves the host as it was', async () => {
    const { a, name } = await host();
    const c = await createContainer();
    const before = await state(a.name, c.name);
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    await done(`attach ${name} ${c.name} --address 192.168.0.2/24`);
    expect(await done(`delete ${name}`)).toBe(
      [
        `deleted overlay ${name}`,
        `  netns:${c.name} lost its interface with 192.168.0.2`,
        '  what was published of them stays in the store: `overns records delete` takes it away',
        '    arp 192.168.0.2, fib 02:42:c0:a8:00:02\n',
      ].join('\n'),
    );
    expect(await state(a.name, c.name)).toBe(before);
    expect(await refused(`delete ${name}`)).toContain(name);
    // The VNI is free again.
    expect(await document(`create ${name} --vni 42 --host ${a.name}`)).toMatchObject({ created: true });
    expect(await document(`delete ${name}`)).toEqual({ overlay: name, vni: 42, deleted: true, endpoints: [] });
  });

  test('what is no overlay is not deleted', async () => {
    const c = await createContainer();
    const before = await state(c.name);
    expect(await refused(`delete ${c.name}`)).toContain(c.name);
    expect(await state(c.name)).toBe(before);
  });

  test('shows all, and one with all about it', async () => {
    const { a, name } = await host();
    const c = await createContainer();
    await done(`create ${name} --vni 42 --address 192.168.0.1/24 --host ${a.name}`);
    await done(`attach ${name} ${c.name} --address 192.168.0.2/24`);
    await exec('ip', [
      '-n',
      name,
      'neighbor',
      'replace',
      '192.168.0.3',
      'lladdr',
      '02:42:c0:a8:00:03',
      'dev',
      'vxlan1',
      'nud',
      'permanent',
    ]);
    await exec('bridge', [
      '-n',
      name,
      'fdb',
      'replace',
      '02:42:c0:a8:00:03',
      'dev',
      'vxlan1',
      'self',
      'dst',
      '10.0.0.11',
    ]);
    expect(await done('show')).toMatch(
      new RegExp(
        `^OVERLAY +VNI +VTEP +PORT +MTU +SERVED +STORE\\n(.*\\n)*${name} +42 +10\\.0\\.0\\.10 +4789 +1450 +no +-$`,
        'm',
      ),
    );
    const { overlays } = await document<{ overlays: { overlay: string }[] }>('show');
    expect(overlays.find(({ overlay }) => overlay === name)).toEqual({
      overlay: name,
      vni: 42,
      vtep: '10.0.0.10',
      port: 4789,
      mtu: 1450,
      resolver: null,
    });
    const text = await done(`show ${name}`);
    expect(text).toContain(`overlay ${name}: vni 42, vtep 10.0.0.10 port 4789, mtu 1450, br0 192.168.0.1/24`);
    expect(text).toMatch(/192\.168\.0\.2 +02:42:c0:a8:00:02 +10\.0\.0\.10/);
    expect(text).toMatch(/192\.168\.0\.3 +02:42:c0:a8:00:03 +permanent/);
    expect(text).toMatch(/02:42:c0:a8:00:03 +10\.0\.0\.11 /);
    expect(text).toContain('none serves this overlay');
    expect(await document(`show ${name}`)).toMatchObject({
      overlay: name,
      vni: 42,
      endpoints: [{ ip: '192.168.0.2', mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10', container: `netns:${c.name}` }],
      neighbors: [expect.objectContaining({ ip: '192.168.0.3', mac: '02:42:c0:a8:00:03' })],
      fdb: expect.arrayContaining([expect.objectContaining({ mac: '02:42:c0:a8:00:03', dst: '10.0.0.11' })]),
      resolver: null,
    });
    expect(await refused('show ot-nowhere')).toContain('ot-nowhere');
  });
});

describe('doctor', () => {
  test('as a table and as a document; nothing stays behind', async () => {
    const { code, stdout } = await overns('doctor');
    const report = JSON.parse((await overns('doctor --json')).stdout);
    expect(code).toBe(report.ok ? 0 : 1);
    for (const { id, title, status, value, remedy } of report.checks) {
      expect(id).toMatch(/^[a-z0-9-]+$/);
      expect(['ok', 'warn', 'fail', 'info']).toContain(status);
      // Those of an overlay come and go with other tests' overlays.
      if (!/^(overlay|underlay)-/.test(id)) expect(stdout).toContain(title);
      expect(value).not.toBe('');
      // What is wrong has a remedy.
      if (status === 'warn' || status === 'fail') expect(remedy, id).toMatch(/\w/);
    }
    expect(report.ok).toBe(!report.checks.some(({ status }: { status: string }) => status === 'fail'));
  });
});

describeWith(['root', 'ip'], 'doctor on a machine that lacks something', () => {
  test('privileges', async () => {
    const { code, stdout } = await exec('setpriv', [...UNPRIVILEGED, process.execPath, MAIN, 'doctor', '--json'], {
      check: false,
    });
    const { ok, checks } = JSON.parse(stdout);
    expect({ code, ok }).toEqual({ code: 1, ok: false });
    for (const id of ['cap-net-admin', 'cap-sys-admin', 'cap-net-raw']) {
      expect(checks).toContainEqual(
        expect.objectContaining({ id, status: 'fail', remedy: expect.stringContaining('root') }),
      );
    }
  });

  test('a loopback that is down', async () => {
    const c = await createContainer();
    await c.ip('link set lo down');
    const { code, stdout } = await overns('doctor --json', { netns: c });
    expect(code).toBe(1);
    expect(JSON.parse(stdout).checks).toContainEqual(
      expect.objectContaining({ id: 'loopback', status: 'fail', remedy: expect.stringContaining('ip link set lo up') }),
    );
    await c.ip('link set lo up');
    expect((await overns('doctor', { netns: c })).code).toBe(0);
  });

  test('the devices are tried for real', async () => {
    const { stdout } = await overns('doctor --json');
    for (const id of ['bridge', 'veth', 'vxlan']) {
      expect(JSON.parse(stdout).checks).toContainEqual(
        expect.objectContaining({ id, status: 'ok', value: 'works: made and removed' }),
      );
    }
  });

  test('nothing is left of what was tried', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'overns-test-'));
    onCleanup(() => rmSync(folder, { recursive: true }));
    // In a mount namespace of its own: nobody else's mounts come there, and only names of namespaces go.
    const mounts = 'grep -v " /run/netns/" /proc/self/mountinfo';
    const script = `before=$(${mounts}); "$@" >/dev/null; after=$(${mounts}); [ "$before" = "$after" ] || echo "$after"`;
    const command = ['sh', '-c', script, 'sh', process.execPath, MAIN, 'doctor'];
    const { stdout } = await exec('unshare', ['--mount', '--propagation', 'private', ...command], {
      env: environment({ TMPDIR: folder }),
      check: false,
    });
    expect(stdout).toBe('');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describeWith(['root'], 'without descriptors to spare', () => {
  test('it is refused in one line, and no argument is to blame', async () => {
    const refusals: string[] = [];
    // With less Node does not come as far as to run anything; what it needs itself differs from release to release.
    for (let most = 16; ; most++) {
      const { code, stdout, stderr } = await exec(
        'bash',
        ['-c', `ulimit -n ${most}; exec "$0" "$@"`, process.execPath, MAIN, 'show'],
        { check: false, env: environment() },
      );
      if (code === 0) break;
      if (!/^overns: /.test(stderr) && refusals.length === 0) continue;
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      refusals.push(stderr);
      expect(most).toBeLessThan(32);
    }
    expect(refusals[0]).toMatch(
      /^overns: EMFILE: too many open files[^\n]+; it takes some 30 of them: ulimit -n 4096\n$/,
    );
    for (const each of refusals) expect(each).toMatch(/^overns: [^\n]+\n$/);
  });
});
