/** An overlay's end, and whatever meets it: aborts, close(), a kill, stores that are stuck, others who make or remove it. */
import { tracingChannel } from 'node:diagnostics_channel';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type AttachOptions, type Endpoint, Overlay, type Store } from '../../lib/index.js';
import { said, startChild } from '../support/child.js';
import { createContainer, exec, type Host, type Netns, twoHosts, uniqueName } from '../support/netns.js';
import { record, Site, startResolver, until } from '../support/overlay.js';
import { describeWith } from '../support/requirements.js';

type Failure = Error & { code?: string; hint?: string };
const address = '192.168.0.2/24';
const answers: Store = { lookup: () => ({ mac: '02:00:00:00:00:09', vtep: '10.0.0.11' }) };

async function failure(work: Promise<unknown>): Promise<Failure> {
  return work.then(
    () => {
      throw new Error('it did not fail');
    },
    (error) => error,
  );
}

/** Calls `act` when a step begins. */
async function at<T>(step: string, act: () => void, work: () => Promise<T>): Promise<T> {
  const handlers = { start: (context: { step: string }) => context.step === step && act() };
  const channel = tracingChannel<unknown, { step: string }>('overns.step');
  channel.subscribe(handlers as never);
  try {
    return await work();
  } finally {
    channel.unsubscribe(handlers as never);
  }
}

async function links(netns: Netns): Promise<string[]> {
  return (await netns.ipJson('link show')).map(({ ifname }) => ifname).sort();
}

async function site(options: Partial<AttachOptions> = {}): Promise<{ host: Host; site: Site; container: Netns }> {
  const [host] = await twoHosts();
  const made = await Site.create(host);
  const { netns } = await made.attach(address, options);
  return { host, site: made, container: netns };
}

describeWith(['root', 'ip'], 'delete', () => {
  test('aborted in time leaves the overlay whole, and served', async () => {
    const { site: one, container } = await site();
    const resolver = await startResolver({ overlays: [one.overlay], store: answers });
    const events = record(resolver);
    const before = await links(one.netns);
    const other = await Overlay.open(one.overlay.name);
    const controller = new AbortController();
    const error = await failure(
      at(
        'turn',
        () => controller.abort(),
        () => other.delete({ signal: controller.signal }),
      ),
    );
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    expect(await links(one.netns)).toEqual(before);
    expect(resolver.overlays()).toHaveLength(1);
    await container.exec('ping', ['-c1', '-W1', '192.168.0.9'], { check: false });
    await until(() => events.some(({ kind }) => kind === 'resolved'), 'an answer');
    expect(events.filter(({ kind }) => kind === 'overlay-lost')).toEqual([]);
    // Nor does it believe who says so without cause.
    await other.delete();
    await until(() => resolver.overlays().length === 0, 'the end of serving');
    expect(events.filter(({ kind }) => kind === 'overlay-lost')).toHaveLength(1);
  });

  test.each([
    ['remove devices', 'close'],
    ['remove devices', 'abort'],
    ['remove namespace', 'close'],
    ['remove namespace', 'abort'],
  ])('at "%s" %s does not keep it from its end', async (step, how) => {
    const { host, site: one, container } = await site();
    const controller = new AbortController();
    let closed: Promise<void> | undefined;
    await at(
      step,
      () => {
        if (how === 'abort') controller.abort();
        else closed = one.overlay.close();
      },
      () => one.overlay.delete({ signal: controller.signal }),
    );
    await closed;
    expect(existsSync(one.netns.path), how).toBe(false);
    expect(await links(container), how).toEqual(['lo']);
    await (await Overlay.create({ name: one.overlay.name, vni: 42, host: host.name })).delete();
  });

  test('closed before it begins does nothing', async () => {
    const { site: one } = await site();
    const before = await links(one.netns);
    let closed: Promise<void> | undefined;
    const deleted = at(
      'turn',
      () => {
        closed = one.overlay.close();
      },
      () => one.overlay.delete(),
    );
    expect(await failure(deleted)).toMatchObject({ code: 'OVERNS_CLOSED' });
    await closed;
    expect(await links(one.netns)).toEqual(before);
  });

  test.each([
    ['remove devices', 'delete'],
    ['remove devices', 'ensure'],
    ['remove namespace', 'delete'],
    ['remove namespace', 'ensure'],
  ])('killed at "%s", %s does the rest', async (step, remedy) => {
    const { host, site: one, container } = await site();
    const { name } = one.overlay;
    await one.overlay.close();
    const child = startChild(
      `import { tracingChannel } from 'node:diagnostics_channel';
        tracingChannel('overns.step').subscribe({
          start: ({ step }) => void (step === args.step && process.kill(process.pid, 'SIGKILL')),
        });
        await (await Overlay.open(args.name)).delete();`,
      { name, step },
    );
    expect(await child.exited).toBe(137);
    const create = { name, vni: 42, address: '192.168.0.1/24', host: host.name };
    if (step !== 'remove devices') {
      expect(await failure(Overlay.open(name))).toMatchObject({ code: 'OVERNS_INCOMPLETE' });
      expect((await failure(Overlay.create(create))).hint).toMatch(/`ensure`.*`Overlay\.delete\(/);
    }
    if (remedy === 'delete') {
      await Overlay.delete(name);
      expect(existsSync(one.netns.path)).toBe(false);
      expect(await links(container)).toEqual(['lo']);
    } else {
      await using overlay = await Overlay.ensure(create);
      // What the overlay had of containers it has still.
      const kept = step === 'remove devices';
      expect(await overlay.endpoints()).toHaveLength(kept ? 1 : 0);
      if (kept) await container.exec('ping', ['-c1', '-W5', '192.168.0.1']);
      await (await Overlay.ensure({ ...create, mtu: overlay.mtu, vtep: overlay.vtep })).delete();
    }
  });

  test('leaves a namespace alone that took its name', async () => {
    const { site: one } = await site();
    const { name } = one.overlay;
    await exec('ip', ['netns', 'del', name]);
    await exec('ip', ['netns', 'add', name]);
    expect(await failure(one.overlay.attach({ path: (await createContainer()).path }, { address }))).toMatchObject({
      code: 'ENOENT',
    });
    // What the handle holds goes, and only that.
    await one.overlay.delete();
    expect(existsSync(one.netns.path)).toBe(true);
    const error = await failure(Overlay.delete(name));
    expect(error).toMatchObject({ code: 'EINVAL' });
    expect(error.hint).toContain(`ip netns delete ${name}`);
    await one.netns.ip('link add other0 type bridge');
    expect((await failure(Overlay.delete(name))).hint).toContain(`ip netns delete ${name}`);
  });
});

describeWith(['root', 'ip'], 'an overlay that lost its vxlan1', () => {
  test('keeps its containers when it is ensured, if they fit', async () => {
    const { host, site: one, container } = await site();
    const { name } = one.overlay;
    await one.netns.ip('link del vxlan1');
    const create = { name, vni: 43, address: '192.168.0.1/24', host: host.name };
    for (const other of [{ address: '192.168.1.1/24' }, { mtu: 1400 }]) {
      expect(await failure(Overlay.ensure({ ...create, ...other }))).toMatchObject({ code: 'EEXIST' });
    }
    expect(await failure(Overlay.open(name))).toMatchObject({ code: 'OVERNS_INCOMPLETE' });
    await one.netns.ip('link del br0');
    await using overlay = await Overlay.ensure(create);
    expect(overlay.vni).toBe(43);
    await container.exec('ping', ['-c1', '-W5', '192.168.0.1']);
    await overlay.detach({ ip: '192.168.0.2' });
    await overlay.delete();
  });
});

describeWith(['root', 'ip'], 'attach and detach', () => {
  test.each(['veth', 'alias', 'addresses', 'up', 'publish'])('closed at "%s" is undone', async (step) => {
    const [host] = await twoHosts();
    const one = await Site.create(host);
    const container = await createContainer();
    const before = await links(one.netns);
    const published = new Set<string>();
    const store: Store = {
      lookup: () => null,
      publish: async ({ ip }) => void published.add(ip),
      withdraw: async ({ ip }) => void published.delete(ip),
    };
    let closed: Promise<void> | undefined;
    const attached = at(
      step,
      () => {
        closed = one.overlay.close();
      },
      () => one.overlay.attach({ path: container.path }, { address: [address, 'fd00::2/64'], store }),
    );
    expect(await failure(attached)).toMatchObject({ code: 'OVERNS_CLOSED' });
    await closed;
    expect(await links(container)).toEqual(['lo']);
    expect(await links(one.netns)).toEqual(before);
    expect([...published]).toEqual([]);
  });

  const stuck = (): Promise<never> => new Promise(() => {});

  test('aborted they do not wait for a store that looks at no signal', async () => {
    const { site: one } = await site();
    const container = await createContainer();
    const soon = (): AbortSignal => AbortSignal.timeout(50);
    const aborted = { name: 'AbortError', code: 'ABORT_ERR' };
    const other = { address: '192.168.0.3/24' };
    const publishes = { lookup: () => null, publish: stuck };
    expect(
      await failure(one.overlay.attach({ path: container.path }, { ...other, store: publishes, signal: soon() })),
    ).toMatchObject(aborted);
    expect(await links(container)).toEqual(['lo']);
    const looks = { lookup: stuck, withdraw: async () => {} };
    expect(await failure(one.overlay.detach({ ip: '192.168.0.77' }, { store: looks, signal: soon() }))).toMatchObject(
      aborted,
    );
    const again: Endpoint[] = [];
    const withdraws = { lookup: () => null, withdraw: stuck, publish: async (each: Endpoint) => void again.push(each) };
    expect(
      await failure(one.overlay.detach({ ip: '192.168.0.2' }, { store: withdraws, signal: soon() })),
    ).toMatchObject(aborted);
    // It is attached still, and so it says.
    expect(await one.overlay.endpoints()).toHaveLength(1);
    expect(again.map(({ ip }) => ip)).toEqual(['192.168.0.2']);
  });

  test('a container is unplugged before its record is withdrawn, and plugged in again where that fails', async () => {
    const { site: one } = await site();
    const veth = (await one.overlay.endpoints())[0]?.veth as string;
    const isUp = async (): Promise<unknown> =>
      (await one.netns.ipJson(`link show dev ${veth}`)).map(({ operstate }) => operstate);
    const seen: unknown[] = [];
    const withdraw = (end: () => Promise<void>) => ({
      lookup: () => null,
      publish: async () => {},
      withdraw: async () => {
        seen.push(await isUp());
        await end();
      },
    });
    const refuses = withdraw(() => Promise.reject(new Error('full')));
    expect(await failure(one.overlay.detach({ ip: '192.168.0.2' }, { store: refuses }))).toMatchObject({
      code: 'OVERNS_STORE',
    });
    expect(await isUp()).toEqual(['UP']);
    await one.overlay.detach({ ip: '192.168.0.2' }, { store: withdraw(async () => {}) });
    expect(seen).toEqual([['DOWN'], ['DOWN']]);
  });

  test('what a store throws is the cause of an error with a code', async () => {
    const { site: one } = await site();
    const container = await createContainer();
    const attach = (publish: NonNullable<Store['publish']>, signal?: AbortSignal) =>
      failure(
        one.overlay.attach(
          { path: container.path },
          { address: '192.168.0.3/24', store: { lookup: () => null, publish, withdraw: async () => {} }, signal },
        ),
      );
    for (const thrown of ['just a string', undefined, new DOMException('no', 'AbortError'), new Error('full')]) {
      const detached = await failure(
        one.overlay.detach(
          { ip: '192.168.0.2' },
          { store: { lookup: () => null, withdraw: () => Promise.reject(thrown) } },
        ),
      );
      expect(detached).toMatchObject({ name: 'OvernsError', code: 'OVERNS_STORE' });
      expect(detached.cause).toBe(thrown);
    }
    const controller = new AbortController();
    const error = await attach(async (_endpoint, { signal }) => {
      controller.abort('just a string');
      signal?.throwIfAborted();
    }, controller.signal);
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'just a string' });
    expect(await links(container)).toEqual(['lo']);
  });
});

describeWith(['root', 'ip'], 'several processes', () => {
  const CHURNS = `
    const create = { name: args.name, vni: 42, address: '192.168.0.1/24', host: args.host };
    const outcomes = {};
    const until = Date.now() + 1500;
    const using = async (opened, run) => { const overlay = await opened; try { await run(overlay); } finally { await overlay.close(); } };
    for (let round = args.seed; Date.now() < until; round++) {
      const work = [
        () => using(Overlay.ensure(create), () => {}),
        () => using(Overlay.create(create), () => {}),
        () => using(Overlay.ensure(create), (overlay) => overlay.attach({ path: args.container }, { address: args.address, ensure: true })),
        () => using(Overlay.open(args.name), (overlay) => overlay.detach({ path: args.container })),
        () => using(Overlay.open(args.name), (overlay) => overlay.delete()),
      ][(round * 7 + args.seed) % 5];
      await work().catch((error) => {
        const key = [error.name, error.code, error.syscall, error.message.replaceAll(args.name, 'NAME')].join(' ');
        outcomes[key] = (outcomes[key] ?? 0) + 1;
      });
    }
    say({ outcomes });`;

  test('that ensure, attach and delete one overlay meet whole ones, or one clear error', {
    timeout: 60_000,
  }, async () => {
    const [host] = await twoHosts();
    const name = uniqueName();
    const children = [];
    for (let seed = 1; seed <= 4; seed++) {
      const container = await createContainer();
      children.push(
        startChild(CHURNS, {
          name,
          host: host.name,
          container: container.path,
          address: `192.168.0.${seed + 1}/24`,
          seed,
        }),
      );
    }
    const codes = new Set<string>();
    for (const child of children) {
      expect(await child.exited, child.stderr).toBe(0);
      for (const key of Object.keys(said(child)[0].outcomes)) codes.add(key);
    }
    const clear = [
      /^OvernsError EEXIST {2}a namespace "NAME" exists already$/,
      /^OvernsError ENOENT {2}there is no overlay "NAME": no network namespace "NAME"/,
      /^OvernsError ENOENT {2}the namespace \S+ has been removed meanwhile$/,
      /^OvernsError ENOENT {2}netns\S* is not attached to "NAME"|^OvernsError ENOENT {2}\S+ is not attached/,
    ];
    expect([...codes].filter((key) => !clear.some((each) => each.test(key)))).toEqual([]);
    await (await Overlay.ensure({ name, vni: 42, host: host.name })).delete();
  });
});

describeWith(['root', 'ip'], 'closing an overlay', () => {
  test('ends its subscriptions', async () => {
    const { site: one } = await site();
    const { overlay } = one;
    const ended = [overlay.misses(), overlay.underlayChanges(), overlay.endpointEvents()].map(async (events) => {
      for await (const _ of events);
      return true;
    });
    await sleep(20);
    await overlay.close();
    expect(await Promise.all(ended)).toEqual([true, true, true]);
  });
});
