/**
 * A port composed as the plugin of a container engine needs it: the far end waits in the host until the engine moves, names
 * and addresses it, and the port is found again by the engine's own id. On the fake kernel and on the real one.
 */
import { describe, expect, test } from 'vitest';
import { interfaceAddress } from '../../lib/core/address.js';
import { type Transaction, transaction } from '../../lib/core/transaction.js';
import { type Endpoint, Overlay, Rtnl, type Store } from '../../lib/index.js';
import { lockNamespace } from '../../lib/netns/lock.js';
import {
  announcePort,
  configurePort,
  makePort,
  type Port,
  planPort,
  removeLeftovers,
} from '../../lib/overlay/ports/port.js';
import { publisherOf, publishPort } from '../../lib/overlay/ports/publish.js';
import { onCleanup } from '../support/cleanup.js';
import { describeWith } from '../support/requirements.js';
import { fakeStage, realStage, type Stage } from '../support/stage.js';

const ID = '23cacfb9'.repeat(8);
const OWNER = { container: `endpoint:${ID}`, ifname: 'eth0', required: true };
const stopped = new Error('stopped here');

/** An overlay on a host, as the plugin has it. */
class Plugin {
  readonly overlay: Overlay;
  readonly rtnl: Rtnl;
  readonly host: Rtnl;
  readonly hostPath: string;
  readonly published: Endpoint[] = [];
  readonly #store: Store = {
    lookup: () => null,
    publish: async (endpoint) => void this.published.push(endpoint),
    withdraw: async ({ ip }) => void this.published.splice(this.published.findIndex((each) => each.ip === ip)),
  };

  private constructor(overlay: Overlay, rtnl: Rtnl, host: Rtnl, hostPath: string) {
    this.overlay = overlay;
    this.rtnl = rtnl;
    this.host = host;
    this.hostPath = hostPath;
  }

  static async start(stage: Stage): Promise<Plugin> {
    const { system } = stage;
    const [host] = await stage.hosts();
    const overlay = await Overlay.create({ name: stage.name(), vni: 42, address: '192.168.0.1/24', host, system });
    const path = await overlay.host();
    const [rtnl, inHost] = await Promise.all([
      Rtnl.open({ netns: overlay.name, system }),
      Rtnl.open({ netns: host, system }),
    ]);
    onCleanup(async () => {
      await Promise.all([rtnl.close(), inHost.close()]);
      await overlay.delete();
    });
    return new Plugin(overlay, rtnl, inHost, path);
  }

  /** Makes a port whose far end waits in the host as `ifname`. */
  async make(t: Transaction, ip: string, ifname: string): Promise<Port> {
    const unlock = await t.step(
      'turn',
      () => lockNamespace(this.overlay.system, this.overlay.netns, undefined),
      (release) => release(),
    );
    const addresses = [interfaceAddress(`${ip}/24`, 'address')];
    const port = await planPort(this.rtnl, this.overlay, { addresses, mac: undefined, anyAddress: false });
    const peer = { path: this.hostPath, ifname, transit: true };
    await removeLeftovers(this.rtnl, port.veth, peer);
    await makePort(t, this.rtnl, this.overlay, port, peer);
    unlock();
    return port;
  }

  announce(t: Transaction, port: Port, owner = OWNER) {
    return announcePort(t, this.rtnl, this.overlay, port, owner);
  }

  publish(t: Transaction, endpoint: Endpoint): Promise<void> {
    const { name, vni } = this.overlay;
    return publishPort(t, publisherOf(this.#store, { overlay: name, vni }, 'publish'), endpoint, { overlay: name });
  }

  /** What there is of ports: both ends, the endpoints, the records. */
  async traces(): Promise<object> {
    const links = [...(await this.rtnl.links.list({ kind: 'veth' })), ...(await this.host.links.list())];
    return {
      links: links.map(({ name, alias, up }) => [name, alias, up]).filter(([name]) => /^ov/.test(String(name))),
      endpoints: await this.overlay.endpoints(),
      published: [...this.published],
    };
  }
}

describe.each([
  ['fake', describe, fakeStage],
  ['real', describeWith.bind(null, ['root']), realStage],
] as const)('on the %s kernel', (_which, describeHere, makeStage) => {
  describeHere('a port that is left for an engine to move', () => {
    test('it is moved, named and addressed by the engine, and detached by its id', async () => {
      const stage = makeStage();
      const plugin = await Plugin.start(stage);
      const { overlay, host } = plugin;
      await transaction(undefined, async (t) => {
        const port = await plugin.make(t, '192.168.0.2', 'ov23cacfb9');
        await plugin.publish(t, await plugin.announce(t, port));
      });
      const [waiting] = await host.links.list({ name: 'ov23cacfb9' });
      expect(waiting).toMatchObject({ mac: '02:42:c0:a8:00:02', mtu: overlay.mtu, up: false });
      expect(await overlay.endpoints()).toMatchObject([{ ip: '192.168.0.2', container: OWNER.container }]);
      expect(plugin.published).toEqual([
        { ip: '192.168.0.2', ips: ['192.168.0.2'], mac: '02:42:c0:a8:00:02', vtep: '10.0.0.10' },
      ]);

      // As dockerd does it.
      const [container, other] = [await stage.netns(), await stage.netns()];
      await host.links.set({ name: 'ov23cacfb9', netns: container, newName: 'eth0' });
      const inside = await Rtnl.open({ netns: container, system: stage.system });
      onCleanup(() => inside.close());
      await inside.addresses.add({ link: 'eth0', address: '192.168.0.2/24' });
      await inside.links.set({ name: 'eth0', up: true });
      await overlay.attach(`netns:${other}`, { address: '192.168.0.3/24' });
      expect(await stage.send(other, '192.168.0.2')).toBe(true);

      expect(await overlay.detach({ container: OWNER.container })).toMatchObject({ ip: '192.168.0.2' });
      expect((await inside.links.list()).map(({ name }) => name)).toEqual(['lo']);
      await expect(overlay.detach({ container: OWNER.container })).rejects.toMatchObject({ code: 'ENOENT' });
    });

    test('two wait in the host at once, not announced yet, and neither is taken for what a dead attach left', async () => {
      const plugin = await Plugin.start(makeStage());
      const both = await transaction(undefined, async (t) => [
        await plugin.make(t, '192.168.0.2', 'ov1'),
        await plugin.make(t, '192.168.0.3', 'ov2'),
      ]);
      const names = (await plugin.host.links.list()).map(({ name }) => name).filter((name) => name.startsWith('ov'));
      expect(names.sort()).toEqual(['ov1', 'ov2']);
      await transaction(undefined, async (t) => {
        for (const [at, port] of both.entries())
          await plugin.announce(t, port, { ...OWNER, container: `endpoint:${at}` });
      });
      expect((await plugin.overlay.endpoints()).map(({ container }) => container).sort()).toEqual([
        'endpoint:0',
        'endpoint:1',
      ]);
    });

    test('an id that the alias has no room for is refused, since detach would not find it', async () => {
      const plugin = await Plugin.start(makeStage());
      const before = await plugin.traces();
      const made = transaction(undefined, async (t) =>
        plugin.announce(t, await plugin.make(t, '192.168.0.2', 'ov1'), { ...OWNER, container: 'x'.repeat(220) }),
      );
      await expect(made).rejects.toMatchObject({ code: 'E2BIG' });
      expect(await plugin.traces()).toEqual(before);
    });

    test.each(['making', 'announcing', 'publishing'])('undone after %s it leaves nothing', async (last) => {
      const plugin = await Plugin.start(makeStage());
      const before = await plugin.traces();
      const made = transaction(undefined, async (t) => {
        const port = await plugin.make(t, '192.168.0.2', 'ov1');
        if (last === 'making') throw stopped;
        const endpoint = await plugin.announce(t, port);
        if (last === 'announcing') throw stopped;
        await plugin.publish(t, endpoint);
        throw stopped;
      });
      await expect(made).rejects.toBe(stopped);
      expect(stopped.message).toBe('stopped here'); // and nothing that could not be undone
      expect(await plugin.traces()).toEqual(before);
    });

    test('announced, configured and published later: undone, the port is as it was made', async () => {
      const stage = makeStage();
      const plugin = await Plugin.start(stage);
      const port = await transaction(undefined, (t) => plugin.make(t, '192.168.0.2', 'ov1'));
      const container = await stage.netns();
      await plugin.host.links.set({ name: 'ov1', netns: container, newName: 'eth0' });
      const inside = await Rtnl.open({ netns: container, system: stage.system });
      onCleanup(() => inside.close());
      const state = async () => [
        await plugin.traces(),
        (await inside.links.list({ name: 'eth0' })).map(({ up }) => up),
        (await inside.addresses.list({ link: 'eth0' })).length,
        (await inside.routes.list({ link: 'eth0', table: 254 })).length,
      ];
      const before = await state();
      const later = async (t: Transaction): Promise<void> => {
        const endpoint = await plugin.announce(t, port);
        await configurePort(t, plugin.rtnl, inside, port, {
          path: `/run/netns/${container}`,
          container,
          ifname: 'eth0',
          routes: [{ dst: 'default', family: 'inet', gateway: '192.168.0.1' }],
        });
        await plugin.publish(t, endpoint);
      };
      await expect(
        transaction(undefined, async (t) => {
          await later(t);
          throw stopped;
        }),
      ).rejects.toBe(stopped);
      expect(stopped.message).toBe('stopped here');
      expect(await state()).toEqual(before);
      await transaction(undefined, later);
      expect(plugin.published).toHaveLength(1);
      expect(await stage.send(container, '192.168.0.1')).toBe(true);
    });
  });
});
