/** agent and records, with a real Consul: the seed's story in this tool's commands. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { Etcd } from '../support/etcd.js';
import { createContainer, exec, type Netns, type Running, twoHosts, uniqueName } from '../support/netns.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';
import { document, done, MAIN, overns, refused, refusedJson, start } from './cli.js';

const DRIVER = fileURLToPath(new URL('../../examples/file-store.mjs', import.meta.url));

/** Two hosts with an overlay and a container each: 192.168.0.2 and 192.168.0.3. */
async function pair(vni = 42): Promise<{ overlays: [string, string]; containers: [Netns, Netns] }> {
  const hosts = await twoHosts();
  const overlays: [string, string] = [uniqueName(), uniqueName()];
  const containers: [Netns, Netns] = [await createContainer(), await createContainer()];
  for (const index of [0, 1] as const) {
    await done(`create ${overlays[index]} --vni ${vni} --address 192.168.0.1/24 --host ${hosts[index].name}`);
    await done(`attach ${overlays[index]} ${containers[index].name} --address 192.168.0.${index + 2}/24`);
  }
  return { overlays, containers };
}

/** A stall of an agent or of Consul may keep its ARP requests waiting. */
async function patient(...containers: readonly Netns[]): Promise<void> {
  for (const container of containers) await container.sysctl('net/ipv4/neigh/eth0/mcast_solicit', 10);
}

/** A line of its log: when, how grave, what. */
function logged(text: string | RegExp, level = 'info'): RegExp {
  const words = typeof text === 'string' ? text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') : text.source;
  return new RegExp(`^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z ${level} ${words}$`, 'm');
}

async function agent(words: string): Promise<Running> {
  const running = start(`agent ${words}`);
  await running.waitFor(/^agent ready$/m);
  return running;
}

/** The kernel cleans up after a namespace on its own time; until then the VNI is taken. */
async function createWhenFree(create: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { code, stderr } = await overns(`${create} --json`);
    if (code === 0) return;
    expect(JSON.parse(stderr).error, stderr).toMatchObject({ code: 'EEXIST' });
    if (Date.now() > deadline) throw new Error(`the VNI is not free after 60 s: ${stderr}`);
  }
}

let consul: Consul;
let count = 0;
/** A store of the test's own. */
const prefix = (): string => `cli${++count}`;
const url = (at: string): string => `consul://127.0.0.1:${consul.port}/${at}`;

describeWith(['root', 'ip', 'ping', 'consul'], 'with Consul', () => {
  beforeAll(async () => {
    consul = await Consul.start();
  });

  describe('records', () => {
    test('put, get, list, delete: what curl sees', async () => {
      const at = prefix();
      const store = `--store ${url(at)}`;
      expect(await done(`records list ${store}`)).toBe('no records\n');
      expect(await done(`records put arp 192.168.0.3 02:42:C0:A8:00:03 ${store}`)).toBe(
        'put arp/192.168.0.3 = 02:42:c0:a8:00:03\n',
      );
      expect(await document(`records put fib 02:42:c0:a8:00:03 10.0.0.11 ${store}`)).toEqual({
        kind: 'fib',
        key: '02:42:c0:a8:00:03',
        value: '10.0.0.11',
        put: true,
      });
      expect(await consul.get(`${at}/arp/192.168.0.3`)).toBe('02:42:c0:a8:00:03');
      expect(await consul.get(`${at}/fib/02:42:c0:a8:00:03`)).toBe('10.0.0.11');
      expect(await done(`records get arp 192.168.0.3 ${store}`)).toBe('02:42:c0:a8:00:03\n');
      await consul.put(`${at}/arp/192.168.0.9`, 'nonsense\u001b[2J');
      const listed = await done(`records list ${store}`);
      expect(listed).toMatch(/^arp +192\.168\.0\.3 +02:42:c0:a8:00:03$/m);
      expect(listed).toMatch(/^arp +192\.168\.0\.9 .*MAC address/m);
      expect(listed).not.toContain('\u001b');
      expect((await document<{ records: unknown[] }>(`records list fib ${store}`)).records).toEqual([
        { kind: 'fib', key: '02:42:c0:a8:00:03', value: '10.0.0.11' },
      ]);
      expect(await refused(`records get arp 192.168.0.9 ${store}`)).toContain('192.168.0.9');
      expect(await done(`records delete arp 192.168.0.9 ${store}`)).toBe('deleted arp/192.168.0.9\n');
      expect(await document(`records delete arp 192.168.0.9 ${store}`)).toEqual({
        kind: 'arp',
        key: '192.168.0.9',
        deleted: false,
      });
      expect(await refusedJson(`records get arp 192.168.0.9 ${store}`)).toMatchObject({ code: 'ENOENT' });
    });

    test('no Consul there', async () => {
      expect(await refused('records list --store consul://127.0.0.1:1/x')).toContain('127.0.0.1:1');
    });
  });

  test("records by hand, an agent on each host: none of four is lost, and the log has the seed's words", async () => {
    const { overlays, containers } = await pair();
    const at = prefix();
    for (const [ip, mac, vtep] of [
      ['192.168.0.2', '02:42:c0:a8:00:02', '10.0.0.10'],
      ['192.168.0.3', '02:42:c0:a8:00:03', '10.0.0.11'],
    ]) {
      await done(`records put arp ${ip} ${mac} --store ${url(at)}`);
      await done(`records put fib ${mac} ${vtep} --store ${url(at)}`);
    }
    const agents = [
      await agent(`${overlays[0]} --store ${url(at)}`),
      await agent(`${overlays[1]} --store ${url(at)} --json --log-level info`),
    ] as const;
    await patient(...containers);
    const { sent, received } = await ping(containers[0], '192.168.0.3', { count: 4, interval: 0.2, wait: 10 });
    expect({ sent, received }).toEqual({ sent: 4, received: 4 });
    await agents[0].waitFor(logged('L3Miss on vxlan1: Who has IP: 192.168.0.3?'));
    await agents[0].waitFor(logged('Populating ARP table from Consul: IP 192.168.0.3 is 02:42:c0:a8:00:03'));
    await agents[0].waitFor(logged('Populating FIB table from Consul: MAC 02:42:c0:a8:00:03 is on host 10.0.0.11'));
    expect(agents[0].stdout).toBe('');
    // Counters while it runs, from another process.
    const shown = await document<{ resolver: { pid: number; stats: { misses: number; answers: number } } }>(
      `show ${overlays[0]}`,
    );
    expect(shown.resolver.pid).toBe(agents[0].pid);
    expect(shown.resolver.stats.answers).toBeGreaterThan(0);
    expect(await done(`show ${overlays[0]}`)).toMatch(new RegExp(`pid ${agents[0].pid}: misses \\d+, answers \\d+`));
    await agents[1].waitFor(/"resolved"/, 'stdout');
    expect(await agents[0].stop('SIGTERM')).toBe(0);
    expect(await agents[1].stop('SIGINT')).toBe(0);
    const events = agents[1].stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toContainEqual(
      expect.objectContaining({
        kind: 'resolved',
        overlay: overlays[1],
        vni: 42,
        endpoint: expect.objectContaining({ mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10' }),
      }),
    );
    for (const each of agents)
      for (const line of each.stderr.trim().split('\n')) expect(line).not.toMatch(/^overns:|error|unexpected/);
  });

  test('attach publishes, detach withdraws; --ensure publishes again', async () => {
    const { overlays, containers } = await pair();
    const at = prefix();
    const [name] = overlays;
    const [container] = containers;
    const store = `--store ${url(at)}`;
    await done(`detach ${name} ${container.name}`);
    const attach = `attach ${name} ${container.name} --address 192.168.0.2/24 --address fd00::2/64 ${store}`;
    expect(await done(attach)).toContain('published in the store');
    const keys = [`${at}/arp/192.168.0.2`, `${at}/arp/fd00::2`, `${at}/fib/02:42:c0:a8:00:02`];
    expect(await consul.keys(`${at}/`)).toEqual(keys);
    expect(await consul.get(keys[2] as string)).toBe('10.0.0.10');
    await done(`records delete arp 192.168.0.2 ${store}`);
    expect(await document(`${attach} --ensure`)).toMatchObject({ attached: false, published: true });
    expect(await consul.keys(`${at}/`)).toEqual(keys);
    expect(await done(`detach ${name} ${container.name} ${store}`)).toContain('withdrawn from the store');
    expect(await consul.keys(`${at}/`)).toEqual([]);
  });

  test("another host's address is refused by name, and taken with --takeover", async () => {
    const { overlays, containers } = await pair();
    const at = prefix();
    const mac = '02:42:c0:a8:00:09';
    await consul.putEndpoint(at, { ip: '192.168.0.9', mac, vtep: '10.0.0.99' });
    await done(`detach ${overlays[0]} ${containers[0].name}`);
    const attach = `attach ${overlays[0]} ${containers[0].name} --address 192.168.0.9/24 --store ${url(at)}`;
    expect(await refused(attach)).toMatch(
      new RegExp(`192\\.168\\.0\\.9 is held by ${mac} at 10\\.0\\.0\\.99, without a lease.*--takeover`, 's'),
    );
    expect(await refusedJson(attach)).toMatchObject({
      code: 'OVERNS_CONFLICT',
      holder: { ip: '192.168.0.9', mac, vtep: '10.0.0.99', revision: expect.stringMatching(/^\d+$/) },
    });
    expect((await exec('ip', ['-n', containers[0].name, 'link'])).stdout).not.toContain('eth0');
    await done(`${attach} --takeover`);
    expect(await consul.get(`${at}/fib/${mac}`)).toBe('10.0.0.10');
  });

  test('a published endpoint whose container is gone is withdrawn by its address', async () => {
    const { overlays, containers } = await pair();
    const at = prefix();
    const store = `--store ${url(at)}`;
    await done(`detach ${overlays[0]} ${containers[0].name}`);
    await done(`attach ${overlays[0]} ${containers[0].name} --address 192.168.0.2/24 ${store}`);
    await containers[0].remove();
    expect(await document(`detach ${overlays[0]} --address 192.168.0.2 ${store}`)).toMatchObject({
      ip: '192.168.0.2',
      withdrawn: true,
    });
    expect(await consul.keys(`${at}/`)).toEqual([]);
  });

  test('one agent serves an overlay; --takeover takes it', async () => {
    const { overlays } = await pair();
    const at = prefix();
    const [name] = overlays;
    const first = await agent(`${name} --store ${url(at)}`);
    const line = await refused(`agent ${name} --store ${url(at)}`);
    expect(line).toContain(`pid ${first.pid}`);
    expect(line).toContain('--takeover');
    expect(await refusedJson(`agent ${name} --store ${url(at)}`)).toMatchObject({ code: 'EBUSY' });
    // Where the taker cannot be started the first goes on.
    expect(await refused(`agent ${name} nowhere --store ${url(at)} --takeover`)).toContain('nowhere');
    const second = await agent(`${name} --store ${url(at)} --takeover`);
    await first.waitFor(logged(`overlay ${name} is taken over by another agent (pid ${second.pid})`, 'warn'));
    await first.waitFor(logged(`overlay ${name} is served by another agent (pid ${second.pid})`));
    // It is there when the other ends.
    expect(await second.stop()).toBe(0);
    await first.waitFor(new RegExp(`served by another agent[^]* info serving overlay ${name}$`, 'm'));
    expect(await document(`show ${name}`)).toMatchObject({ resolver: { pid: first.pid } });
    expect(await first.stop()).toBe(0);
  });

  test('--all --takeover takes what others serve', async () => {
    const { overlays } = await pair();
    const directory = mkdtempSync(join(tmpdir(), 'ot-names-'));
    onCleanup(() => rmSync(directory, { recursive: true, force: true }));
    for (const name of overlays) symlinkSync(`/run/netns/${name}`, join(directory, name));
    const where = `--store ${url(prefix())} --netns-dir ${directory}`;
    const first = await agent(`--all ${where}`);
    const second = await agent(`--all --takeover ${where}`);
    for (const name of overlays) {
      await second.waitFor(logged(`serving overlay ${name}`));
      await first.waitFor(
        logged(`${name}: overlay ${name} is taken over by another agent (pid ${second.pid})`, 'warn'),
      );
      expect(await document(`show ${name} --netns-dir ${directory}`)).toMatchObject({ resolver: { pid: second.pid } });
    }
    expect(await second.stop()).toBe(0);
    expect(await first.stop()).toBe(0);
  });

  test('several with {vni}: every overlay from its own records; the same prefix for two is refused', async () => {
    const [a, b] = [await pair(42), await pair(43)];
    const at = prefix();
    for (const { overlays, containers } of [a, b]) {
      for (const index of [0, 1] as const) {
        await done(`detach ${overlays[index]} ${containers[index].name}`);
        await done(
          `attach ${overlays[index]} ${containers[index].name} --address 192.168.0.${index + 2}/24 --store ${url(at)}/{vni}`,
        );
      }
    }
    expect((await consul.keys(`${at}/43`)).length).toBe(4);
    const names = [...a.overlays, ...b.overlays];
    expect(await refused(['agent', ...names, '--store', url(at)])).toMatch(/vni 42.*vni 43.*share one prefix/);
    const serving = start(`agent ${names.join(' ')} --store ${url(at)}/{vni}`);
    await serving.waitFor(/^agent ready$/m);
    for (const { containers } of [a, b]) {
      await patient(...containers);
      expect((await ping(containers[0], '192.168.0.3', { wait: 10 })).lost).toBe(0);
    }
    await serving.waitFor(logged(`${a.overlays[0]}: L3Miss on vxlan1: Who has IP: 192.168.0.3?`));
    await serving.waitFor(logged(`${b.overlays[0]}: L3Miss on vxlan1: Who has IP: 192.168.0.3?`));
    expect(await serving.stop()).toBe(0);
  });

  test('a Consul that takes connections and never answers is said within five seconds of the start', async () => {
    const own = await Consul.start();
    const { overlays } = await pair();
    process.kill(own.pid, 'SIGSTOP');
    onCleanup(() => void process.kill(own.pid, 'SIGCONT'));
    const running = start(`agent ${overlays[0]} --store consul://127.0.0.1:${own.port}/demo`);
    await running.waitFor(
      logged(/Consul cannot be reached \(1 overlay\): .*nothing within 2000 ms; serving what .*/, 'warn'),
    );
    expect((await document<{ resolver: object }>(`show ${overlays[0]}`)).resolver).toMatchObject({
      status: { store: 'down' },
    });
    process.kill(own.pid, 'SIGCONT');
    await running.waitFor(logged(/Consul .* again after \d+ s .*/));
    expect(await running.stop()).toBe(0);
  });

  test('a resolver thread that dies ends it with status 1 and one line that says why', async () => {
    const { overlays, containers } = await pair();
    const broken = fileURLToPath(new URL('../support/close-epoll.mjs', import.meta.url));
    const running = start(`agent ${overlays[0]} --store ${url(prefix())}`, {
      env: { NODE_OPTIONS: `--import=${broken}` },
    });
    await running.waitFor(/^agent ready$/m);
    process.kill(running.pid, 'SIGUSR2');
    await ping(containers[0], '192.168.0.77', { wait: 0.2 }); // the miss wakes the thread
    expect(await running.exited).toBe(1);
    expect(running.stderr).toMatch(/^overns: the resolver thread has ended: E[A-Z]+ \(epoll_wait\); .*$/m);
    // It has let go of what it served.
    const next = await agent(`${overlays[0]} --store ${url(prefix())}`);
    expect(await next.stop()).toBe(0);
  });

  test('doctor names an agent that hangs once, and tells the rest', async () => {
    const [host] = await twoHosts();
    const names = [uniqueName(), uniqueName(), uniqueName()];
    for (const [at, name] of names.entries()) await done(`create ${name} --vni ${80 + at} --host ${host.name}`);
    const running = await agent(`${names.join(' ')} --store ${url(`${prefix()}/{vni}`)}`);
    process.kill(running.pid, 'SIGSTOP');
    onCleanup(() => void running.child.kill('SIGCONT'));
    const { stdout } = await overns('doctor --json');
    const { checks } = JSON.parse(stdout) as { checks: { id: string; value: string }[] };
    expect(checks.filter(({ value }) => names.some((name) => value.includes(name)))).toEqual([
      {
        id: `agent-${running.pid}`,
        title: `Agent (pid ${running.pid})`,
        status: 'warn',
        value: expect.stringMatching(/^does not answer; it has (ot\S+, ){2}ot\S+$/),
        remedy: 'its process is stopped or blocked: end it, which releases the overlay',
      },
    ]);
    expect(checks.map(({ id }) => id)).toEqual(expect.arrayContaining(['kernel', 'vxlan', 'overlays']));
    process.kill(running.pid, 'SIGCONT');
    expect(await running.stop()).toBe(0);
  });

  test('--json: a line of its own says that the underlay has changed', async () => {
    const [host] = await twoHosts();
    const name = uniqueName();
    await done(`create ${name} --vni 42 --host ${host.name}`);
    const running = await agent(`${name} --json --store ${url(prefix())} --host ${host.name}`);
    await host.ip(`address del ${host.ip4}/24 dev under0`);
    const changes = () =>
      running.stdout
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as { kind?: string })
        .filter(({ kind }) => kind === 'underlay');
    await expect.poll(() => changes().length, { timeout: 20_000 }).toBe(1);
    await host.ip(`address add ${host.ip4}/24 dev under0`);
    await expect.poll(() => changes().length, { timeout: 20_000 }).toBe(2);
    const [lost, back] = changes();
    const about = { kind: 'underlay', overlay: name, vni: 42 };
    const fault = { code: 'EADDRNOTAVAIL', message: expect.stringContaining(host.ip4), hint: expect.any(String) };
    expect(lost).toEqual({ ...about, fault });
    expect(back).toEqual(about);
    expect(await running.stop()).toBe(0);
  });

  test('what is not in the store is said, and Consul that goes and comes back', async () => {
    const own = await Consul.start();
    const { overlays, containers } = await pair();
    const running = await agent(`${overlays[0]} --store consul://127.0.0.1:${own.port}/demo`);
    await ping(containers[0], '192.168.0.77', { wait: 0.2 });
    await running.waitFor(logged('L3Miss on vxlan1: Who has IP: 192.168.0.77?'));
    await running.waitFor(logged('Consul has no record of IP 192.168.0.77'));
    await own.stop();
    await running.waitFor(logged(/Consul cannot be reached \(1 overlay\): .*; serving what is known/, 'warn'));
    // An outage is one line however often it is tried, and who asks later is told of it.
    await ping(containers[0], '192.168.0.78', { wait: 1 });
    expect(await done(`show ${overlays[0]}`)).toMatch(/the store cannot be used since \d{4}-\S+: consul:.*refused/);
    expect((await document<{ resolver: object }>(`show ${overlays[0]}`)).resolver).toMatchObject({
      status: { store: 'down', since: expect.any(String), error: expect.stringContaining('refused'), lost: false },
    });
    const { checks } = await document<{ checks: { id: string }[] }>('doctor');
    expect(checks).toContainEqual(
      expect.objectContaining({
        id: `overlay-${overlays[0]}`,
        status: 'warn',
        value: expect.stringMatching(/refused/),
      }),
    );
    await own.restart();
    await running.waitFor(
      logged(/Consul can be used again after \d+ s \(1 overlay(, \d+ misses without an answer)?\)/),
    );
    // It may be doubted as well, until this host has published again.
    expect(running.stderr.match(/ warn (?!Consul lists)/g)).toHaveLength(1);
    expect(await running.stop()).toBe(0);
  });

  test('an overlay that is removed and made again is served again; its VNI is free meanwhile', async () => {
    const [host] = await twoHosts();
    const name = uniqueName();
    const container = await createContainer();
    const create = `create ${name} --vni 42 --address 192.168.0.1/24 --host ${host.name}`;
    await done(create);
    const running = await agent(`${name} --store ${url(prefix())}`);
    for (const [remove, again] of [
      [() => done(`delete ${name}`), () => done(create)],
      // By hand: the agent's own sockets would keep the namespace, and with it the VNI.
      [() => exec('ip', ['netns', 'del', name]), () => createWhenFree(create)],
    ] as const) {
      const before = running.stderr.length;
      const said = (pattern: RegExp): Promise<unknown> =>
        vi.waitFor(() => expect(running.stderr.slice(before)).toMatch(pattern), { timeout: 30_000 });
      await remove();
      await said(logged(`overlay ${name} is gone, and not served any more`, 'warn'));
      await again();
      await said(logged(`serving overlay ${name}`));
      await done(`attach ${name} ${container.name} --address 192.168.0.2/24`);
      await ping(container, '192.168.0.3', { wait: 0.2 });
      await said(logged('L3Miss on vxlan1: Who has IP: 192.168.0.3?'));
      await done(`detach ${name} ${container.name}`);
    }
    expect(await running.stop()).toBe(0);
    await done(`delete ${name}`);
  });

  test('--all serves what there is, and what comes', async () => {
    const { overlays, containers } = await pair();
    const directory = mkdtempSync(join(tmpdir(), 'ot-names-'));
    onCleanup(() => rmSync(directory, { recursive: true, force: true }));
    const running = await agent(`--all --store ${url(prefix())} --netns-dir ${directory}`);
    for (const index of [0, 1] as const) {
      symlinkSync(`/run/netns/${overlays[index]}`, join(directory, `name${index}`));
      await running.waitFor(logged(`serving overlay name${index}`));
      await ping(containers[index], '192.168.0.77', { wait: 0.2 });
      await running.waitFor(logged(`name${index}: L3Miss on vxlan1: Who has IP: 192.168.0.77?`));
    }
    expect(await running.stop()).toBe(0);
    const both = await agent(`--all --store ${url(prefix())} --netns-dir ${directory}`);
    await ping(containers[1], '192.168.0.78', { wait: 0.2 });
    await both.waitFor(logged('name1: L3Miss on vxlan1: Who has IP: 192.168.0.78?'));
    expect(await both.stop()).toBe(0);
  });

  test('--all beside namespaces that are no overlays: each is named once, the others are served, and it when it can be', async () => {
    const { overlays, containers } = await pair();
    const directory = mkdtempSync(join(tmpdir(), 'ot-names-'));
    onCleanup(() => rmSync(directory, { recursive: true, force: true }));
    const strange = async (make: (netns: Netns) => Promise<unknown>, name: string): Promise<Netns> => {
      const netns = await createContainer();
      await make(netns);
      symlinkSync(netns.path, join(directory, name));
      return netns;
    };
    const vxlan = 'link add vxlan1 type vxlan dstport 4799 proxy l2miss l3miss';
    const bridgeless = await strange((netns) => netns.ip(`${vxlan} id 77 local 10.0.0.10`), 'bridgeless');
    await strange((netns) => netns.ip(`${vxlan} external local 10.0.0.10`), 'external');
    await strange(async (netns) => {
      await netns.ip(`${vxlan} id 78 local 10.0.0.10`);
      await netns.ip('link add br0 type bridge');
    }, 'my net');
    await strange(async () => {}, 'plain');
    symlinkSync(`/run/netns/${overlays[0]}`, join(directory, 'served'));
    const where = `--netns-dir ${directory}`;
    const running = await agent(`--all --store ${url(`${prefix()}/{vni}`)} ${where}`);
    await ping(containers[0], '192.168.0.77', { wait: 0.2 });
    await running.waitFor(logged('served: L3Miss on vxlan1: Who has IP: 192.168.0.77?'));
    for (const [name, why] of [
      ['bridgeless', 'br0'],
      ['external', 'external'],
      ['my net', 'whitespace'],
    ]) {
      const said = running.stderr.match(logged(new RegExp(`overlay ${name} cannot be served.*${why}.*`), 'warn'));
      expect(said, `${name}: ${running.stderr}`).not.toBeNull();
    }
    expect(running.stderr).not.toContain('plain');
    const { overlays: shown, unreadable } = await document<{ overlays: object[]; unreadable: object[] }>(
      `show ${where}`,
    );
    expect(shown).toContainEqual(expect.objectContaining({ overlay: 'served' }));
    expect(unreadable).toEqual([{ overlay: 'external', error: expect.stringContaining('external') }]);
    await bridgeless.ip('link add br0 type bridge');
    await bridgeless.ip('link set br0 up');
    await bridgeless.ip('link set vxlan1 master br0 up');
    await running.waitFor(logged('serving overlay bridgeless'));
    // The other may have been tried half-way.
    expect(running.stderr.match(/ warn overlay (external|my net) cannot be served/g)).toHaveLength(2);
    expect(await running.stop()).toBe(0);
  });

  test('SIGHUP does not end an agent that uses no terminal', async () => {
    const { overlays } = await pair();
    const running = await agent(`${overlays[0]} --store ${url(prefix())}`);
    running.child.kill('SIGHUP');
    expect(await document(`show ${overlays[0]}`)).toMatchObject({ resolver: { pid: running.pid } });
    expect(await running.stop()).toBe(0);
  });

  test('a store of one’s own, by a driver that is named in the environment', async () => {
    const { overlays, containers } = await pair();
    const directory = mkdtempSync(join(tmpdir(), 'ot-file-'));
    onCleanup(() => rmSync(directory, { recursive: true, force: true }));
    const env = { OVERNS_DRIVERS: DRIVER, OVERNS_STORE: `file://${directory}/{vni}.json` };
    expect(await done('agent --help', { env })).toContain(' or file:///PATH.json;');
    for (const index of [0, 1] as const) {
      const attach = `attach ${overlays[index]} ${containers[index].name} --address 192.168.0.${index + 2}/24 --ensure`;
      expect(await done(attach, { env })).toContain('published in the store');
    }
    const running = start(`agent ${overlays.join(' ')}`, { env });
    await running.waitFor(/^agent ready$/m);
    await patient(...containers);
    expect(await ping(containers[0], '192.168.0.3', { wait: 10 })).toMatchObject({ lost: 0 });
    await running.waitFor(
      logged(`${overlays[0]}: Populating ARP table from the file: IP 192.168.0.3 is 02:42:c0:a8:00:03`),
    );
    expect(await running.stop()).toBe(0);
    const records = `records list --store file://${directory}/42.json`;
    expect(await refusedJson(records, { env })).toMatchObject({ code: 'OVERNS_STORE_UNSUPPORTED' });
    for (const [file, words] of [
      ['/nowhere/x.mjs', '/nowhere/x.mjs'],
      [MAIN.replace('main.js', 'words.js'), 'driver'],
    ]) {
      const wrong = await overns(records, { env: { OVERNS_DRIVERS: file } });
      expect(wrong).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(/^overns: OVERNS_DRIVERS: .*\n$/),
      });
      expect(wrong.stderr).toContain(words);
    }
  });

  test('an agent whose overlay is not there, and a store that is none', async () => {
    expect(await refused(`agent ot-nowhere --store ${url('x')}`)).toContain('ot-nowhere');
    expect((await overns('agent x --store http://h/x')).code).toBe(2);
  });
});

describeWith(['root', 'ip', 'ping', 'etcd'], 'with etcd', () => {
  test('attach, agents, records, detach; a server of the list that is not there, and an outage', async () => {
    const etcd = await Etcd.start();
    const { overlays, containers } = await pair();
    const store = `--store etcd://127.0.0.1:1,${etcd.at}/demo`;
    for (const at of [0, 1] as const) {
      await done(`detach ${overlays[at]} ${containers[at].name}`);
      await done(`attach ${overlays[at]} ${containers[at].name} --address 192.168.0.${at + 2}/24 ${store}`);
    }
    expect(await etcd.keys('demo/')).toHaveLength(4);
    expect(await done(`records list ${store}`)).toMatch(/^arp +192\.168\.0\.3 +02:42:c0:a8:00:03$/m);
    const agents = [await agent(`${overlays[0]} ${store}`), await agent(`${overlays[1]} ${store}`)] as const;
    await patient(...containers);
    expect((await ping(containers[0], '192.168.0.3', { count: 4, interval: 0.2, wait: 10 })).lost).toBe(0);
    await agents[0].waitFor(logged('Populating ARP table from etcd: IP 192.168.0.3 is 02:42:c0:a8:00:03'));
    await etcd.stop();
    await agents[0].waitFor(
      logged(/etcd cannot be reached \(1 overlay\): etcd:.*refused.*; serving what is known/, 'warn'),
    );
    expect((await ping(containers[0], '192.168.0.3', { count: 2, interval: 0.2, wait: 10 })).lost).toBe(0);
    await etcd.restart();
    await agents[0].waitFor(logged(/etcd can be used again after \d+ s \(1 overlay.*\)/));
    expect(await done(`detach ${overlays[1]} ${containers[1].name} ${store}`)).toContain('withdrawn from the store');
    expect(await etcd.keys('demo/')).toEqual(['demo/arp/192.168.0.2', 'demo/fib/02:42:c0:a8:00:02']);
    for (const each of agents) expect(await each.stop()).toBe(0);
  });

  test('an agent that is killed, and whose lease is over: a flow loses nothing, nobody new finds it, the next one publishes', async () => {
    const etcd = await Etcd.start();
    const { overlays, containers } = await pair();
    const store = `--store etcd://${etcd.at}/demo`;
    const publishing = `${store} --lease-ttl 2`;
    const agents = [await agent(`${overlays[0]} ${publishing}`), await agent(`${overlays[1]} ${publishing}`)] as const;
    await vi.waitFor(async () => expect(await etcd.keys('demo/')).toHaveLength(4), 30_000);
    await patient(...containers);
    expect((await ping(containers[0], '192.168.0.3', { count: 2, interval: 0.2, wait: 10 })).lost).toBe(0);
    process.kill(agents[1].pid, 'SIGKILL');
    const flow = containers[0].spawn('ping', ['-n', '-i', '0.05', '192.168.0.3']);
    await vi.waitFor(async () => expect(await etcd.keys('demo/')).toHaveLength(2), 30_000);
    await flow.waitFor(/icmp_seq=40 /, 'stdout');
    // Kept, and told by nobody any more.
    expect(await done(`show ${overlays[0]}`)).toMatch(/192\.168\.0\.3 +02:42:c0:a8:00:03 +permanent/);
    const next = await agent(`${overlays[1]} ${publishing}`);
    await vi.waitFor(async () => expect(await etcd.keys('demo/')).toHaveLength(4), 30_000);
    await flow.stop('SIGINT');
    expect(flow.stdout).toContain(' 0% packet loss');
    expect(await done(`show ${overlays[1]}`)).toContain('endpoints of this host: published 1');
    for (const each of [agents[0], next]) expect(await each.stop()).toBe(0);
  });

  test('what is attached and detached without a store is what the agent publishes; another host is refused the address', async () => {
    const etcd = await Etcd.start();
    const { overlays, containers } = await pair();
    const store = `--store etcd://${etcd.at}/demo`;
    const agents = [await agent(`${overlays[0]} ${store}`), await agent(`${overlays[1]} ${store}`)] as const;
    await vi.waitFor(async () => expect(await etcd.keys('demo/')).toHaveLength(4), 30_000);
    expect(await done(`detach ${overlays[1]} ${containers[1].name}`)).toContain(
      'withdrawn from the store by its agent',
    );
    expect(await etcd.keys('demo/')).toHaveLength(2);
    const same = `attach ${overlays[1]} ${containers[1].name} --address 192.168.0.2/24`;
    expect(await refused(same)).toMatch(/192\.168\.0\.2 is held by .* at 10\.0\.0\.10/);
    expect(await done(`${same} --takeover`)).toContain('published in the store by its agent');
    await agents[0].waitFor(logged(/192\.168\.0\.2 \(.*\) is not published: the host at 10\.0\.0\.11 has .*/, 'warn'));
    await agents[1].waitFor(logged(/192\.168\.0\.2 \(.*\) was taken from the host at 10\.0\.0\.10, .*/, 'warn'));
    await done(`delete ${overlays[1]}`);
    await agents[0].waitFor(logged(/192\.168\.0\.2 \(.*\) is in conflict no more/));
    await vi.waitFor(async () => expect(await etcd.get('demo/fib/02:42:c0:a8:00:02')).toBe('10.0.0.10'), 30_000);
    for (const each of agents) expect(await each.stop()).toBe(0);
  });
});
