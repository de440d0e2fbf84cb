/** create and attach are all or nothing: whichever step fails, and however, the machine is as it was. */
import { execFileSync } from 'node:child_process';
import { tracingChannel } from 'node:diagnostics_channel';
import { existsSync, readlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Answer, type Endpoint, Overlay, type Query, type Store } from '../../lib/index.js';
import { said, startChild } from '../support/child.js';
import { onCleanup } from '../support/cleanup.js';
import { moreThan, openFiles, stateOfAll } from '../support/machine.js';
import { createContainer, exec, type Host, Netns, spawn, twoHosts, uniqueName } from '../support/netns.js';
import { Site, until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

type Phase = 'start' | 'asyncEnd';
const PHASES = ['start', 'asyncEnd'] as const satisfies readonly Phase[];
const channel = tracingChannel<unknown, { step: string }>('overns.step');

/** Calls `listener` synchronously when a step starts and when it is done, while `work` runs. */
async function tracing<T>(listener: (step: string, phase: Phase) => void, work: () => Promise<T>): Promise<T> {
  const handlers = {
    start: ({ step }: { step: string }) => listener(step, 'start'),
    asyncEnd: ({ step }: { step: string }) => listener(step, 'asyncEnd'),
  };
  channel.subscribe(handlers as never);
  try {
    return await work();
  } finally {
    channel.unsubscribe(handlers as never);
  }
}

/** Every step of some work, as it comes. */
async function stepsOf(work: () => Promise<unknown>): Promise<string[]> {
  const steps: string[] = [];
  await tracing((step, phase) => phase === 'start' && steps.push(step), work);
  return steps;
}

async function failure(work: Promise<unknown>): Promise<Error & { code?: string; hint?: string }> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (error) => error,
  );
}

/** A store that keeps what it is given, and can fail on either side of doing so. */
class Ledger implements Store {
  readonly published: Endpoint[] = [];
  fail: 'before' | 'after' | undefined;
  lookup(query: Query): Answer | null {
    const found = this.published.find(({ ips, mac }) =>
      query.kind === 'l3' ? ips.includes(query.ip) : mac === query.mac,
    );
    return found ? { mac: found.mac, vtep: found.vtep } : null;
  }
  async publish(endpoint: Endpoint): Promise<void> {
    if (this.fail === 'before') throw new Error('the ledger is closed');
    this.published.push(endpoint);
    if (this.fail === 'after') throw new Error('the ledger burst into flames');
  }
  async withdraw(endpoint: Endpoint): Promise<void> {
    const at = this.published.findIndex(({ ip, mac }) => ip === endpoint.ip && mac === endpoint.mac);
    if (at >= 0) this.published.splice(at, 1);
  }
}

/** What `work` leaves is what was there: in the namespaces, in /run/netns and among the process's descriptors. */
async function expectNothingLeft(namespaces: readonly Netns[], note: string, work: () => Promise<unknown>) {
  const before = { state: await stateOfAll(...namespaces), files: openFiles() };
  const result = await work();
  await until(
    () => moreThan(before.files, openFiles()).length === 0,
    () => `${note}: the end of ${moreThan(before.files, openFiles()).join(', ')}`,
  );
  expect(await stateOfAll(...namespaces), note).toEqual(before.state);
  return result;
}

describeWith(['root', 'ip'], 'create that fails', () => {
  const addresses = ['192.168.0.1/24', 'fd00::1/64'];

  async function setUp(): Promise<{
    host: Host;
    name: string;
    netns: Netns;
    create: (signal?: AbortSignal) => Promise<Overlay>;
  }> {
    const [host] = await twoHosts();
    const name = uniqueName();
    const create = (signal?: AbortSignal) =>
      Overlay.create({ name, vni: 42, address: addresses, host: host.name, signal });
    return { host, name, netns: new Netns(name), create };
  }

  test('at any step, by an abort before or after it', async () => {
    const { host, netns, create } = await setUp();
    let first: Overlay | undefined;
    const steps = await stepsOf(async () => {
      first = await create();
    });
    await first?.delete();
    expect(steps).toEqual(expect.arrayContaining(['namespace', 'socket', 'br0', 'addresses', 'vxlan1']));
    for (const step of steps) {
      for (const phase of PHASES) {
        const note = `abort at ${step}, ${phase}`;
        const seen: string[] = [];
        await expectNothingLeft([host, netns], note, async () => {
          const controller = new AbortController();
          const error = await failure(
            tracing(
              (at, when) => {
                if (when === 'start') seen.push(at);
                if (at === step && when === phase) controller.abort();
              },
              () => create(controller.signal),
            ),
          );
          expect(error, note).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
          expect(error.message, note).not.toContain('could not be undone');
        });
        // It did get as far as that, and no further.
        expect(seen, note).toEqual(steps.slice(0, steps.indexOf(step) + 1));
        // Neither the name nor the VNI is taken.
        await (await create()).delete();
      }
    }
  });

  test('because it was aborted before it began', async () => {
    const { host, netns, create } = await setUp();
    await expectNothingLeft([host, netns], 'aborted', async () => {
      const reason = new Error('enough');
      expect(await failure(create(AbortSignal.abort(reason)))).toMatchObject({ name: 'AbortError', cause: reason });
    });
  });

  test('because the name vanishes at any step', async () => {
    const { host, name, netns, create } = await setUp();
    let first: Overlay | undefined;
    const steps = await stepsOf(async () => {
      first = await create();
    });
    await first?.delete();
    for (const step of steps.slice(1)) {
      for (const phase of PHASES) {
        const note = `the name gone at ${step}, ${phase}`;
        let late: Overlay | undefined;
        await expectNothingLeft([host, netns], note, async () => {
          const outcome = await tracing(
            (at, when) => {
              if (at === step && when === phase) execFileSync('ip', ['netns', 'del', name]);
            },
            () => create(),
          ).catch((error: Error & { code?: string }) => error);
          if (outcome instanceof Overlay) {
            late = outcome;
            // It was complete when the name went.
            expect([step, phase], note).toEqual([steps.at(-1), 'asyncEnd']);
            await late.close();
          } else {
            expect(outcome.code, `${note}: ${outcome.message}`).toBe('ENOENT');
            expect(outcome.message, note).not.toContain('could not be undone');
          }
        });
        // With the last socket the namespace goes, and vxlan1 with it: the VNI is free, shortly.
        const again = await until(() => create().catch(() => undefined), `${note}: the VNI is still taken`);
        await again.delete();
      }
    }
  });

  test('because the host has the VNI already', async () => {
    const { host, netns, create } = await setUp();
    const other = await Site.create(host, { vni: 42 });
    await expectNothingLeft([host, netns, other.netns], 'vni', async () => {
      const error = await failure(create());
      expect(error).toMatchObject({ code: 'EEXIST', name: 'NetlinkError' });
      expect(error.message).toContain('A VXLAN device with the specified VNI already exists');
      expect(error.message).toContain('vxlan1');
      expect(error.hint).toBeTruthy();
    });
    await other.overlay.delete();
    await (await create()).delete();
  });

  test('because the name is taken: by an overlay, a namespace, a leftover file', async () => {
    const { host, name, netns, create } = await setUp();
    const first = await create();
    const container = await createContainer();
    await first.attach({ path: container.path }, { address: '192.168.0.2/24' });
    for (const vni of [42, 43]) {
      await expectNothingLeft([host, netns, container], `an overlay, vni ${vni}`, async () => {
        const error = await failure(Overlay.create({ name, vni, address: addresses, host: host.name }));
        expect(error).toMatchObject({ code: 'EEXIST', message: `a namespace "${name}" exists already` });
        expect(error.hint).toContain('`Overlay.delete(');
      });
    }
    expect((await first.endpoints()).map(({ ip }) => ip)).toEqual(['192.168.0.2']);
    await first.delete();

    await exec('ip', ['netns', 'add', name]);
    await expectNothingLeft([host, netns], 'a namespace', async () => {
      expect(await failure(create())).toMatchObject({ code: 'EEXIST' });
    });
    await exec('ip', ['netns', 'del', name]);

    const file = `/run/netns/${name}`;
    writeFileSync(file, 'mine');
    const forget = onCleanup(() => existsSync(file) && unlinkSync(file));
    await expectNothingLeft([host], 'a file', async () => {
      expect(await failure(create())).toMatchObject({ code: 'EEXIST' });
    });
    expect(existsSync(file)).toBe(true);
    unlinkSync(file);
    forget();
  });

  test('because descriptors run out, wherever they do', async () => {
    const { host, name, netns } = await setUp();
    const container = await createContainer();
    const child = startChild(
      `import { createInterface } from 'node:readline';
      import { fstatSync } from 'node:fs';
      const run = async () => {
        const overlay = await Overlay.create({ name: args.name, vni: 42, address: args.addresses, host: args.host });
        try {
          await overlay.attach({ path: args.container }, { address: '192.168.0.2/24' });
        } finally {
          await overlay.delete();
        }
      };
      await run(); // everything is loaded
      const isOpen = (fd) => {
        try {
          return Boolean(fstatSync(fd));
        } catch {
          return false;
        }
      };
      // Without a descriptor of its own, as there may be none to spare.
      const count = () => Array.from({ length: 1024 }, (_, fd) => fd).filter(isOpen).length;
      say({ open: count() });
      for await (const line of createInterface({ input: process.stdin })) {
        const outcome = await run().then(() => ({ ok: true }), ({ code, message, hint }) => ({ ok: false, code, message, hint }));
        say({ ...outcome, open: count() });
      }
      process.exit(0);`,
      { name, addresses, host: host.name, container: container.path },
    );
    await child.waitFor(/open/, 'stdout');
    const [{ open }] = said(child);
    const before = await stateOfAll(host, netns, container);
    const failed: string[] = [];
    for (let spare = 0, done = 1; ; spare++, done++) {
      expect(spare, 'descriptors that it takes').toBeLessThan(40);
      // A limit below what is open lets nothing be opened; pipes to this test are counted in `open`.
      await exec('prlimit', [`--nofile=${open + spare}:`, '--pid', `${child.pid}`]);
      child.child.stdin?.write('run\n');
      const outcome = await until(
        () => said(child)[done],
        () =>
          `an outcome with ${spare} to spare, of a child that ${child.running ? 'runs' : 'has ended'}: ${child.stderr}`,
      );
      await exec('prlimit', ['--nofile=1024:', '--pid', `${child.pid}`]);
      expect(outcome.open, `descriptors left with ${spare} to spare`).toBe(open);
      expect(await stateOfAll(host, netns, container), `with ${spare} to spare`).toEqual(before);
      if (outcome.ok) break;
      expect(outcome.code, JSON.stringify(outcome)).toBe('EMFILE');
      expect(outcome.message).not.toMatch(/could not be undone|\n/);
      failed.push(outcome.message);
    }
    expect(new Set(failed).size, failed.join('\n')).toBeGreaterThan(1);
  });
});

describeWith(['root', 'ip'], 'attach that fails', () => {
  const address = ['192.168.0.2/24', 'fd00::2/64'];

  async function setUp(): Promise<{ site: Site; container: Netns; store: Ledger }> {
    const [host] = await twoHosts();
    return { site: await Site.create(host), container: await createContainer(), store: new Ledger() };
  }

  test('at any step, by an abort before or after it', async () => {
    const { site, container, store } = await setUp();
    const attach = (signal?: AbortSignal) => site.overlay.attach({ path: container.path }, { address, store, signal });
    const detach = () => site.overlay.detach({ ip: '192.168.0.2' }, { store });
    const steps = await stepsOf(async () => {
      await attach();
      await detach();
    });
    expect(steps).toEqual(expect.arrayContaining(['veth', 'alias', 'ipv6', 'addresses', 'up', 'publish']));
    for (const step of steps) {
      for (const phase of PHASES) {
        const note = `abort at ${step}, ${phase}`;
        await expectNothingLeft([site.host, site.netns, container], note, async () => {
          const controller = new AbortController();
          const error = await failure(
            tracing(
              (at, when) => {
                if (at === step && when === phase) controller.abort();
              },
              () => attach(controller.signal),
            ),
          );
          expect(error, note).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
          expect(error.message, note).not.toContain('could not be undone');
        });
        expect(store.published, note).toEqual([]);
        expect(await site.overlay.endpoints(), note).toEqual([]);
      }
    }
    await attach();
    expect(store.published).toHaveLength(1);
    await detach();
    expect(store.published).toEqual([]);
  });

  test.each(['before', 'after'] as const)('because the store fails %s it has written', async (when) => {
    const { site, container, store } = await setUp();
    store.fail = when;
    await expectNothingLeft([site.host, site.netns, container], when, async () => {
      const error = await failure(site.overlay.attach({ path: container.path }, { address, store }));
      expect(error.message).toContain('the ledger');
    });
    expect(store.published).toEqual([]);
    expect(await site.overlay.endpoints()).toEqual([]);
    store.fail = undefined;
    await site.overlay.attach({ path: container.path }, { address, store });
  });

  test('because a store without publish() was given', async () => {
    const { site, container } = await setUp();
    await expectNothingLeft([site.netns, container], 'store', async () => {
      const error = await failure(
        site.overlay.attach({ path: container.path }, { address, store: { lookup: () => null } }),
      );
      expect(error.message).toContain('publish()');
    });
  });

  test('because the interface is there already', async () => {
    const { site, container, store } = await setUp();
    await container.ip('link add eth0 type veth peer name elsewhere');
    await expectNothingLeft([site.host, site.netns, container], 'eth0', async () => {
      const error = await failure(site.overlay.attach({ path: container.path }, { address, store }));
      expect(error).toMatchObject({ code: 'EEXIST' });
      expect(error.message).toContain('has an interface "eth0" already');
      expect(error.hint).toContain('ifname');
    });
    expect(store.published).toEqual([]);
    await site.overlay.attach({ path: container.path }, { address, store, ifname: 'over0' });
  });

  test('because the interface appears in the middle', async () => {
    const { site, container } = await setUp();
    await container.ip('link add other type veth peer name elsewhere');
    const before = await stateOfAll(site.host, site.netns);
    const error = await failure(
      tracing(
        (step, phase) => {
          if (step === 'veth' && phase === 'start')
            execFileSync('ip', ['-n', container.name, 'link', 'set', 'other', 'name', 'eth0']);
        },
        () => site.overlay.attach({ path: container.path }, { address }),
      ),
    );
    expect(error).toMatchObject({ code: 'EEXIST', name: 'NetlinkError' });
    expect(await stateOfAll(site.host, site.netns)).toEqual(before);
    expect((await container.ipJson('link show')).map(({ ifname }) => ifname).sort()).toEqual([
      'elsewhere',
      'eth0',
      'lo',
    ]);
  });

  test('because the addresses or the MAC are attached already', async () => {
    const { site, container, store } = await setUp();
    await site.attach(address, { store });
    const published = [...store.published];
    for (const [taken, options] of [
      ['192.168.0.2', { address: '192.168.0.2/24' }],
      ['fd00::2', { address: ['192.168.0.9/24', 'fd00::2/64'] }],
      ['02:42:c0:a8:00:02', { address: '192.168.0.9/24', mac: '02:42:C0:A8:00:02' }],
    ] as const) {
      await expectNothingLeft([site.host, site.netns, container], taken, async () => {
        const error = await failure(site.overlay.attach({ path: container.path }, { ...options, store }));
        expect(error).toMatchObject({ code: 'EEXIST' });
        expect(error.message).toContain(`${taken} is attached to "${site.overlay.name}" already`);
      });
      expect(store.published).toEqual(published);
    }
  });

  test("because it is the overlay's own namespace", async () => {
    const { site } = await setUp();
    await expectNothingLeft([site.host, site.netns], 'itself', async () => {
      expect(await failure(site.overlay.attach({ path: site.netns.path }, { address }))).toMatchObject({
        code: 'EINVAL',
        message: expect.stringContaining("the overlay's own namespace"),
      });
    });
  });

  test('because its process dies, at any step', async () => {
    const { site, container, store } = await setUp();
    const steps = await stepsOf(() => site.overlay.attach({ path: container.path }, { address, store }));
    await site.overlay.detach({ path: container.path }, { store });
    for (const step of steps) {
      for (const phase of PHASES) {
        const note = `dead at ${step}, ${phase}`;
        const process_ = spawn('unshare', ['--net', '--', 'sleep', '1000']);
        const path = `/proc/${process_.pid}/ns/net`;
        const own = readlinkSync('/proc/self/ns/net');
        await until(() => readlinkSync(path) !== own, 'a namespace of its own');
        const before = await stateOfAll(site.host, site.netns);
        const outcome = await tracing(
          (at, when) => {
            if (at !== step || when !== phase) return;
            process.kill(process_.pid, 'SIGKILL');
            // Until it is a zombie: nobody has reaped it while this runs.
            while (existsSync(path)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
          },
          () => site.overlay.attach({ pid: process_.pid }, { address, store }),
        ).catch((error: Error & { code?: string }) => error);
        await process_.exited;
        if (outcome instanceof Error) {
          expect(outcome.message, note).not.toContain('could not be undone');
          expect(outcome.code, `${note}: ${outcome.message}`).toMatch(/^(ENOENT|ESRCH|ENODEV)$/);
          expect(store.published, note).toEqual([]);
        } else {
          // It was attached when it died: the kernel takes the veth with the namespace. The record is withdrawn by its
          // address, whether the veth is still there, is just going, or has gone.
          await site.overlay.detach({ ip: '192.168.0.2' }, { store });
          expect(store.published, note).toEqual([]);
        }
        await until(
          async () => JSON.stringify(await stateOfAll(site.host, site.netns)) === JSON.stringify(before),
          `${note}: the end of its veth`,
        );
      }
    }
  });

  test('because the overlay is deleted meanwhile', async () => {
    for (const step of ['socket', 'veth', 'alias', 'addresses', 'up', 'publish']) {
      const { site, container, store } = await setUp();
      const before = await stateOfAll(site.host, container);
      const other = await Overlay.open(site.overlay.name);
      // Not synchronously: the deletion and the attachment run side by side from this step on.
      let deleted: Promise<void> | undefined;
      const outcome = await tracing(
        (at, phase) => {
          if (at === step && phase === 'start') deleted = other.delete();
        },
        () => site.overlay.attach({ path: container.path }, { address, store }),
      ).catch((error: Error) => error);
      await deleted;
      if (outcome instanceof Error) expect(store.published, step).toEqual([]);
      expect(existsSync(site.netns.path), step).toBe(false);
      await site.overlay.close();
      await until(
        async () => JSON.stringify(await stateOfAll(site.host, container)) === JSON.stringify(before),
        `${step}: the end of the veth`,
      );
    }
  });
});

describeWith(['root', 'ip', 'ping'], 'killed in the middle, nothing can be undone', () => {
  const DIES = `
    import { tracingChannel } from 'node:diagnostics_channel';
    tracingChannel('overns.step').subscribe({
      start: ({ step }) => void (say({ step }), step === args.at && process.kill(process.pid, 'SIGKILL')),
    });
    if (args.attach) {
      const overlay = await Overlay.open(args.create.name);
      await overlay.attach({ path: args.container }, args.attach);
    } else {
      await Overlay.create(args.create);
    }`;

  test('ensured again it is whole, whichever step it was', { timeout: 60_000 }, async () => {
    const [host] = await twoHosts();
    const container = await createContainer();
    const create = { name: uniqueName(), vni: 42, address: ['192.168.0.1/24', 'fd00::1/64'], host: host.name };
    const attach = { address: ['192.168.0.2/24', 'fd00::2/64'], gateway: '192.168.0.1' };
    const dies = async (args: object): Promise<number> => {
      const child = startChild(DIES, args);
      return child.exited;
    };
    for (const at of ['socket', 'turn', 'br0', 'addresses', 'vxlan1']) {
      expect(await dies({ create, at }), at).toBe(137);
      await using overlay = await Overlay.ensure(create);
      // All of it: what is there is compared.
      await (await Overlay.ensure({ ...create, mtu: overlay.mtu, vtep: overlay.vtep, port: overlay.port })).close();
      await overlay.delete();
    }
    await using overlay = await Overlay.ensure(create);
    for (const at of ['veth', 'alias', 'ipv6', 'addresses', 'up', 'carrier', 'routes', 'queue']) {
      expect(await dies({ create, attach, container: container.path, at }), at).toBe(137);
      await overlay.attach({ path: container.path }, { ...attach, ensure: true });
      expect(await container.ip('-o address show dev eth0'), at).toMatch(/192\.168\.0\.2\/24.*fd00::2\/64/s);
      expect(await container.ip('route show default'), at).toContain('via 192.168.0.1 dev eth0');
      expect(await overlay.endpoints(), at).toHaveLength(1);
      await overlay.detach({ path: container.path });
      expect(await container.ip('-o link show'), at).not.toContain('eth0');
    }
    await overlay.delete();
  });
});
