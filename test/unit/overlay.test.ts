/** Overlays without a kernel: whatever step fails or is interrupted, nothing is left behind. */
import { describe, expect, test } from 'vitest';
import { type Endpoint, Overlay, OvernsError, openStore, Rtnl, type Store } from '../../lib/index.js';
import { FakeKernel } from '../../lib/testing/index.js';
import '../support/fake-only.js';

/** What a program sees of the kernel, for comparison. */
function traces(kernel: FakeKernel): unknown {
  return { state: kernel.snapshot(), open: kernel.openHandles };
}

/** Has the request with the given number fail, or do something else; true once it has come. */
function at(
  kernel: FakeKernel,
  number: number,
  act: () => string | undefined,
): { readonly met: () => string | undefined } {
  let count = 0;
  let met: string | undefined;
  kernel.intercept((request) => {
    if (count++ !== number) return undefined;
    met = `${request.syscall} ${JSON.stringify(request.item)}`;
    return act();
  });
  return { met: () => met };
}

const store: Store = { lookup: () => null, publish: async () => {}, withdraw: async () => {} };

async function scene(): Promise<{ kernel: FakeKernel; overlay: Overlay }> {
  const kernel = new FakeKernel();
  kernel.addNetns('web');
  const overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24', system: kernel.system });
  return { kernel, overlay };
}

describe('every request of create() refused in turn', () => {
  test.each([
    ['refused', 'EPERM'],
    ['interrupted', 'ABORT_ERR'],
  ])('%s: all of it is undone', async (how, code) => {
    for (let number = 0; ; number++) {
      const kernel = new FakeKernel();
      const before = traces(kernel);
      const controller = new AbortController();
      const step = at(kernel, number, () => (how === 'refused' ? 'EPERM' : void controller.abort()));
      const { system } = kernel;
      const { signal } = controller;
      const options = { name: 'blue', vni: 42, address: ['192.168.0.1/24', 'fd00::1/64'], signal, system };
      const result = await Overlay.create(options).catch((error: Error & { code: string }) => error);
      await kernel.idle();
      if (step.met() === undefined) {
        // All requests have had their turn.
        expect(result).toBeInstanceOf(Overlay);
        expect(number).toBeGreaterThan(8);
        await (result as Overlay).close();
        return;
      }
      expect(result, step.met()).toMatchObject({ code });
      expect(traces(kernel), step.met()).toEqual(before);
    }
  });
});

describe('every request of attach() refused in turn', () => {
  test.each([
    ['refused', 'EPERM'],
    ['interrupted', 'ABORT_ERR'],
  ])('%s: all of it is undone', async (how, code) => {
    for (let number = 0; ; number++) {
      const { kernel, overlay } = await scene();
      await using _overlay = overlay;
      const before = traces(kernel);
      const published: Endpoint[] = [];
      const own: Store = {
        ...store,
        publish: async (endpoint) => void published.push(endpoint),
        withdraw: async () => void published.pop(),
      };
      const controller = new AbortController();
      const step = at(kernel, number, () => (how === 'refused' ? 'EPERM' : void controller.abort()));
      const options = { address: ['192.168.0.2/24', 'fd00::2/64'], store: own, signal: controller.signal };
      const result = await overlay.attach('netns:web', options).catch((error: Error & { code: string }) => error);
      await kernel.idle();
      if (step.met() === undefined) {
        expect(result).toMatchObject({ ip: '192.168.0.2' });
        expect(published).toHaveLength(1);
        expect(number).toBeGreaterThan(8);
        return;
      }
      expect(result, step.met()).toMatchObject({ code });
      expect(traces(kernel), step.met()).toEqual(before);
      expect(published, step.met()).toEqual([]);
    }
  });

  test('a store that refuses: the container is as it was, and what may have been written is taken back', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const before = traces(kernel);
    const calls: string[] = [];
    const refusing: Store = {
      lookup: () => null,
      publish: async () => {
        calls.push('publish');
        throw new Error('full');
      },
      withdraw: async () => void calls.push('withdraw'),
    };
    await expect(overlay.attach('netns:web', { address: '192.168.0.2/24', store: refusing })).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: 'publish() of the store failed: full',
      cause: expect.objectContaining({ message: 'full' }),
    });
    await kernel.idle();
    expect(calls).toEqual(['publish', 'withdraw']);
    expect(traces(kernel)).toEqual(before);
  });

  test("another host's address in the store: nothing is touched, unless it is taken over", async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using held = await openStore('memory:');
    const where = { overlay: 'blue', vni: 42 };
    const mac = '02:42:c0:a8:00:02';
    const query = { ...where, kind: 'l3', ip: '192.168.0.2' } as const;
    await held.claim({ ip: '192.168.0.2', ips: ['192.168.0.2'], mac, vtep: '10.0.0.99' }, where);
    const before = traces(kernel);
    const written: unknown[] = [];
    kernel.intercept(({ syscall, item }) => {
      if (/NEW|DEL|SET/.test(syscall)) written.push([syscall, item]);
      return undefined;
    });
    const options = { address: '192.168.0.2/24', store: held };
    const refused = { code: 'OVERNS_CONFLICT', holder: { ip: '192.168.0.2', mac, vtep: '10.0.0.99', revision: 1n } };
    for (const ensure of [false, true]) {
      await expect(overlay.attach('netns:web', { ...options, ensure })).rejects.toMatchObject(refused);
    }
    await kernel.idle();
    expect([written, traces(kernel)]).toEqual([[], before]);
    expect(await held.lookup(query)).toEqual({ mac, vtep: '10.0.0.99' });
    await overlay.attach('netns:web', { ...options, takeover: true });
    expect(await held.lookup(query)).toEqual({ mac, vtep: overlay.vtep });
    await overlay.attach('netns:web', { ...options, ensure: true });
    await overlay.detach('netns:web', { store: held });
    expect(await held.list(where)).toEqual([]);
  });

  test('what was claimed goes when the container cannot be attached after all', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await using own = await openStore('memory:');
    const before = traces(kernel);
    kernel.fail('RTM_NEWADDR', 'EPERM');
    const options = { address: '192.168.0.2/24', store: own };
    await expect(overlay.attach('netns:web', options)).rejects.toMatchObject({ code: 'EPERM' });
    await kernel.idle();
    expect([await own.list({ overlay: 'blue', vni: 42 }), traces(kernel)]).toEqual([[], before]);
  });

  test('a store that cannot claim is published to', async () => {
    const { overlay } = await scene();
    await using _overlay = overlay;
    const calls: string[] = [];
    const unable: Store = {
      ...store,
      publish: async ({ ip }) => void calls.push(ip),
      claim: () => Promise.reject(new OvernsError('OVERNS_STORE_UNSUPPORTED', 'no claim()')),
    };
    await overlay.attach('netns:web', { address: '192.168.0.2/24', store: unable });
    expect(calls).toEqual(['192.168.0.2']);
  });

  test('a store that never answers and looks at no signal: an abort ends the call, and nothing is left', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    const before = traces(kernel);
    const never = () => new Promise<never>(() => {});
    const mute: Store = { lookup: never, publish: never, withdraw: never };
    const soon = () => ({ store: mute, signal: AbortSignal.timeout(50) });
    const address = '192.168.0.2/24';
    await expect(overlay.attach('netns:web', { address, ...soon() })).rejects.toMatchObject({ code: 'ABORT_ERR' });
    await kernel.idle();
    expect(traces(kernel)).toEqual(before);
    await overlay.attach('netns:web', { address });
    await expect(overlay.detach('netns:web', soon())).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(await overlay.endpoints()).toHaveLength(1);
    await expect(overlay.detach({ ip: '192.168.0.9' }, soon())).rejects.toMatchObject({ code: 'ABORT_ERR' });
  });

  test('what cannot be undone is said', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    kernel.fail('RTM_SETNEIGHTBL', 'ENOMEM');
    kernel.fail('RTM_DELLINK', 'EBUSY');
    const attached = overlay.attach('netns:web', { address: '192.168.0.2/24' });
    await expect(attached).rejects.toMatchObject({
      code: 'ENOMEM',
      message: expect.stringMatching(/could not be undone: veth \(.*resource busy/),
    });
  });
});

describe('detach and delete', () => {
  test('the record goes first, and comes back when the veth cannot go', async () => {
    const { kernel, overlay } = await scene();
    await using _overlay = overlay;
    await overlay.attach('netns:web', { address: '192.168.0.2/24' });
    const calls: string[] = [];
    const own: Store = {
      lookup: () => null,
      publish: async () => void calls.push('publish'),
      withdraw: async () => void calls.push('withdraw'),
    };
    kernel.fail('RTM_DELLINK', 'EPERM');
    await expect(overlay.detach('netns:web', { store: own })).rejects.toMatchObject({ code: 'EPERM' });
    expect(calls).toEqual(['withdraw', 'publish']);
    expect(await overlay.endpoints()).toHaveLength(1);
    await overlay.detach('netns:web', { store: own });
    expect(calls).toEqual(['withdraw', 'publish', 'withdraw']);
    expect(kernel.state('web').links.map(({ name }) => name)).toEqual(['lo']);
  });

  test('a veth that goes at the same moment is no failure', async () => {
    const { kernel, overlay } = await scene();
    await overlay.attach('netns:web', { address: '192.168.0.2/24' });
    kernel.fail('RTM_DELLINK', 'ENODEV', { where: ({ item }) => String(item.name).startsWith('veth') });
    expect(await overlay.detach('netns:web')).toMatchObject({ ip: '192.168.0.2' });
    kernel.fail('RTM_DELLINK', 'ENODEV', { where: ({ item }) => String(item.name).startsWith('veth') });
    await overlay.delete();
    expect(Object.keys(kernel.snapshot())).not.toContain('blue');
  });

  test('a refusal in the middle of delete() leaves the handle usable, and a second try does the rest', async () => {
    const { kernel, overlay } = await scene();
    await overlay.attach('netns:web', { address: '192.168.0.2/24' });
    kernel.fail('RTM_DELLINK', 'EPERM', { where: ({ item }) => item.linkGroup !== undefined });
    await expect(overlay.delete()).rejects.toMatchObject({ code: 'EPERM' });
    await overlay.delete();
    expect(Object.keys(kernel.snapshot())).toEqual(['', 'web']);
    expect(kernel.openHandles).toEqual([]);
  });
});

describe('the underlay', () => {
  test.each([
    [{ underlay: [] }, 'EADDRNOTAVAIL', /no address that other hosts could reach/],
    [
      { underlay: ['10.0.0.10/24', '10.1.0.10/24'] },
      'EADDRNOTAVAIL',
      /no route leads out of the host, and it has several addresses/,
    ],
    [{ underlay: '10.0.0.10/24', mtu: 100 }, 'EMSGSIZE', /too few for IP/],
  ])('%o', async (host, code, message) => {
    const kernel = new FakeKernel(host);
    const before = traces(kernel);
    const created = Overlay.create({ name: 'blue', vni: 42, system: kernel.system });
    await expect(created).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(traces(kernel)).toEqual(before);
  });

  test('the route out decides among several; IPv6 costs 20 bytes more', async () => {
    const kernel = new FakeKernel({ underlay: ['10.0.0.10/24', '10.1.0.10/24'], mtu: 9000 });
    await using rtnl = await Rtnl.open({ system: kernel.system });
    await rtnl.routes.add({ dst: 'default', gateway: '10.1.0.1' });
    await using four = await Overlay.create({ name: 'four', vni: 4, system: kernel.system });
    expect([four.vtep, four.mtu]).toEqual(['10.0.0.10', 8950]);
    kernel.addNetns('host6', { underlay: 'fd00:10::6/64' });
    await using six = await Overlay.create({ name: 'six', vni: 6, host: 'host6', system: kernel.system });
    expect([six.vtep, six.mtu]).toEqual(['fd00:10::6', 1430]);
  });
});
